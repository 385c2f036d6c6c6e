"""``results.jsonl``: what ran, and a line for each result."""

from __future__ import annotations

import codecs
import contextlib
import itertools
import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from farm import __version__
from farm.cell import Cell, EngineName
from farm.engines import engines
from farm.errors import UNREADABLE, FarmError, OutputError, UsageError
from farm.guest.toolchain import TOOLCHAINS
from farm.run.plan import Plan
from farm.run.quarantine import Quarantine
from farm.run.verdict import Result
from farm.text import counted

FILE = "results.jsonl"  #: in an output folder
SCHEMA = 2
_READ = (1, SCHEMA)  # schemas; in 1 there were no provisional results, and the first of two of one cell counted
_TOGETHER = 1000  # lines that are encoded at once: one by one takes twice as long
_ENCODER = msgspec.json.Encoder()
AND = " and "  #: between the versions of one tool


class Run(msgspec.Struct):
    """The first line of ``results.jsonl``: ``{"run": ...}``."""

    schema: int
    farm: str
    plan: str  #: sha256
    host: str
    versions: dict[str, str]
    started: str  #: ISO 8601, in UTC
    shard: str | None = None  #: ``k/n``, if this is one part of a plan
    whole: str | None = None  #: sha256 of the plan that it is a part of
    quarantine: str | None = None  #: sha256 of the list of known-bad cells that its verdicts were held against
    #: Seconds of ``plan``, ``build`` and ``run``; a resumed run adds its own, an interrupted one has none.
    phases: dict[str, float] = {}

    def took(self, phase: str, since: float) -> None:
        """Add to a phase what has gone by ``since`` (:func:`time.perf_counter`)."""
        self.phases[phase] = round(self.phases.get(phase, 0.0) + time.perf_counter() - since, 3)


class _Head(msgspec.Struct):
    run: Run


_HEAD = b'{"run":'


class _Versioned(msgspec.Struct):
    schema: int


class _AnyHead(msgspec.Struct):
    """The first line of any farm's results, older or newer."""

    run: _Versioned


def describe(plan: Plan, quarantine: Quarantine | None = None) -> Run:
    """Account of the run of ``plan``: the versions of the tools, the host, and the list of known-bad cells.

    A shard names the versions that the whole plan needs, so that all shards say the same.
    """
    by_tool: dict[str, set[str]] = {"python": {platform.python_version()}}
    engine_by_name = engines()
    for engine, variant, toolchain in {
        (p.cell.engine, p.cell.variant, p.cell.toolchain) for p in plan.whole.cells if p.verdict is None
    }:
        name = EngineName.of(engine).engine
        by_tool.setdefault(name, set()).add(engine_by_name[name].version(plan.variants[variant]))
        by_tool.setdefault(toolchain, set()).add(TOOLCHAINS[toolchain].version(plan.variants[variant]))
    versions = {name: AND.join(sorted(numbers)) for name, numbers in sorted(by_tool.items())}
    host = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    started = datetime.now(UTC).isoformat(timespec="seconds")
    listed = quarantine.sha256 if quarantine else None
    run = Run(SCHEMA, __version__, plan.sha256, host, versions, started, quarantine=listed)
    if plan.part:
        run.shard, run.whole = plan.part.name, plan.whole.sha256
    return run


def tools(run: Run) -> dict[str, set[str]]:
    """The versions of what builds and runs the guests, by name."""
    return {tool: set(version.split(AND)) for tool, version in run.versions.items() if tool != "python"}


def _foreign(run: Run, earlier: Run) -> str | None:
    """Why ``earlier`` results cannot be resumed by ``run``: another farm or tool made them; None if they can."""
    if earlier.farm != run.farm:
        return f"farm {earlier.farm} made them, and here is {run.farm}"
    there = tools(earlier)
    for tool, versions in tools(run).items():
        if not versions <= there.get(tool, versions):
            return f"{tool} {AND.join(sorted(there[tool]))} made them, and here is {AND.join(sorted(versions))}"
    return None


class Journal:
    """``results.jsonl``: a line a result, flushed as it comes, rewritten in plan order on a clean end.

    With ``resume`` the results that are there are kept, but for those that are ``outdated``.
    """

    results: dict[Cell, Result]  #: without the provisional ones, which are in the file alone
    complaints: list[str]  #: a sentence for each line of an earlier run that cannot be used

    def __init__(
        self,
        path: Path,
        run: Run,
        *,
        resume: bool = False,
        outdated: Callable[[Result], bool] = lambda _: False,
    ) -> None:
        self.path = path
        self.run = run
        self.results = {}
        self.complaints = []
        kept: list[Result] = []
        if resume and path.exists():
            earlier, results, self.complaints, unfinished = read(path)
            if earlier.plan != run.plan:
                raise UsageError(f"{path}: holds the results of another plan; without --resume it is overwritten")
            if earlier.quarantine != run.quarantine:
                raise UsageError(f"{path}: another list of known-bad cells applied; without --resume it is overwritten")
            if foreign := _foreign(run, earlier):
                raise UsageError(f"{path}: {foreign}; without --resume it is overwritten")
            self.run = msgspec.structs.replace(earlier, schema=SCHEMA)
            kept = [result for result in (*results, *unfinished) if not outdated(result)]
        # With earlier results at stake the new file takes the old one's place only when it holds them.
        begun = path.with_suffix(".jsonl.partial") if kept else path
        self._file = self._guarded(lambda: begun.open("wb"))
        try:
            self._write(_ENCODER.encode_lines([_Head(self.run)]))
            self.add(kept)
            if begun != path:
                self._guarded(lambda: begun.replace(path))
        except OutputError:
            self.close()
            raise

    def _guarded(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}") from None

    def _write(self, lines: bytes) -> None:
        def write() -> None:
            self._file.write(lines)
            self._file.flush()

        self._guarded(write)

    def add(self, results: Iterable[Result]) -> None:
        """Append results, all at once.  Raises :class:`~farm.errors.OutputError` if the disk is full."""
        lines = list(results)
        self.results.update((result.cell, result) for result in lines if not result.provisional)
        if lines:
            self._write(_ENCODER.encode_lines(lines))

    def in_order(self, plan: Plan) -> list[Result]:
        """The result of each cell of ``plan``.  Raises :class:`~farm.errors.FarmError` unless every one has one."""
        cells = [planned.cell for planned in plan.cells]
        missing = [cell for cell in cells if cell not in self.results]
        if missing or len(self.results) != len(cells):
            which = str(missing[0]) if missing else "more results than planned cells"
            raise FarmError(f"{counted(len(missing), 'planned cell has', 'planned cells have')} no result: {which}")
        return [self.results[cell] for cell in cells]

    def finish(self, plan: Plan) -> None:
        """Rewrite in plan order.  Raises as :meth:`in_order`, and :class:`~farm.errors.OutputError`."""
        self.close()
        results = self.in_order(plan)

        def write() -> None:
            partial = self.path.with_suffix(".jsonl.partial")
            with partial.open("wb") as file:
                file.write(_ENCODER.encode_lines([_Head(self.run)]))
                for first in range(0, len(results), _TOGETHER):
                    file.write(_ENCODER.encode_lines(results[first : first + _TOGETHER]))
            partial.replace(self.path)

        self._guarded(write)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()


class Recorded(NamedTuple):
    """Contents of ``results.jsonl``."""

    run: Run
    results: list[Result]  #: that are sure, one a cell
    complaints: list[str]  #: a sentence for each line that cannot be used
    unfinished: Sequence[Result] = ()  #: the provisional results of cells that have no other: the run was cut short


class NoHeaderError(UsageError):
    """A file of results begins with anything but a header, or with a part of one."""


def files_in(paths: Iterable[Path]) -> list[Path]:
    """Every ``results.jsonl`` in these folders, however deep, each once; a file stands for itself.

    Raises :class:`~farm.errors.UsageError` for a path that has none.
    """
    files: dict[Path, Path] = {}
    for path in paths:
        here = sorted(path.rglob(FILE)) if path.is_dir() else [path] if path.is_file() else []
        if not here:
            raise UsageError(f"{path}: no {FILE} there")
        for file in here:
            files.setdefault(file.resolve(), file)
    return list(files.values())


def read(path: Path) -> Recorded:
    """The run and its results; what cannot be used is left out, and said.  Of two lines of a cell the last counts.

    Raises :class:`NoHeaderError` if the file is no journal, or was cut off in its first line, and
    :class:`~farm.errors.UsageError` if it is of a farm that is too new, or cannot be read.
    """
    lines = _lines(path)
    run = _head(path, lines)
    results, complaints = _results(path, lines, 2, last_counts=run.schema > 1)
    sure = [result for result in results if not result.provisional]
    return Recorded(run, sure, complaints, [result for result in results if result.provisional])


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None


def _head(path: Path, lines: Sequence[bytes]) -> Run:
    try:
        schema = msgspec.json.decode(lines[0], type=_AnyHead).run.schema
        if schema not in _READ:
            raise UsageError(f"{path}: results of schema {schema}; this farm reads {' and '.join(map(str, _READ))}")
        return msgspec.json.decode(lines[0], type=_Head).run
    except UNREADABLE:
        begun = len(lines) == 1 and _HEAD.startswith(lines[0][: len(_HEAD)])
        what = "was cut off: its run died before the first result" if begun else "is no run header"
        hint = "" if begun else "; is it a results.jsonl?"
        raise NoHeaderError(f"{path}: line 1 {what}{hint}") from None


def _results(path: Path, lines: Sequence[bytes], first: int, *, last_counts: bool) -> tuple[list[Result], list[str]]:
    """The results in ``lines`` from that of number ``first`` on, one a cell, and what is wrong with the others."""
    decoder = msgspec.json.Decoder(Result)
    results: dict[Cell, Result] = {}
    complaints = []
    for number, line in enumerate(lines[first - 1 :], first):
        if not line.strip():
            continue
        try:
            result = decoder.decode(line)
        except UNREADABLE as error:
            what = "was cut off" if number == len(lines) else f"is no result ({error})"  # no newline behind it
            complaints.append(f"{path}: line {number} {what}; it is left out")
            continue
        if result.cell in results and not last_counts:
            complaints.append(f"{path}: line {number} is a second result of {result.cell}; it is left out")
            continue
        results[result.cell] = result
    return list(results.values()), complaints


def unfinished(results: Sequence[Result]) -> list[str]:
    """A sentence about these, whose run was cut short before they were sure, if there are any."""
    if not results:
        return []
    number = counted(len(results), "cell is", "cells are")
    return [f"{number} unfinished, first {results[0].cell} (so far {results[0].verdict}); --resume runs what is left"]


def make_way(path: Path) -> str | None:
    """Take away a journal without a header, which no run can go on with; what was done, in a sentence.

    If results follow where the header should be, the file is kept under another name.

    Raises :class:`~farm.errors.UsageError` as :func:`read` does, and :class:`~farm.errors.OutputError`.
    """
    lines = _lines(path)
    try:
        _head(path, lines)
    except NoHeaderError:
        results, _ = _results(path, lines, 1, last_counts=True)
    else:
        return None
    try:
        if not results:
            path.unlink()
            return f"{path}: holds no header and no result; the run begins anew"
        aside = next(to for n in itertools.count(1) if not (to := path.with_name(f"{path.name}.{n}")).exists())
        path.rename(aside)
    except OSError as error:
        raise OutputError(f"{path}: cannot be taken away: {error.strerror}") from None
    return f"{path}: holds {len(results):,} results but no header; it is {aside} now, and the run begins anew"
