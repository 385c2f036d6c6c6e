"""Executes a plan and journals every result.

The unit of work is a :class:`Batch`: some cells of one image on one engine.  :func:`run_batch` is a plain function of a
picklable argument, and a worker only ever holds the parent's end of an engine's child, so any
:class:`concurrent.futures.Executor` will do.  Locally that is a thread pool: threads share warm children, and nothing
is lost when a child is killed.
"""

from __future__ import annotations

import codecs
import concurrent.futures
import contextlib
import os
import platform
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from farm import __version__, image, wire
from farm.backend import Variant
from farm.engines import Engine, Reply, engines
from farm.errors import UNREADABLE, BuildError, FarmError, ImageError, MissingToolError, OutputError, UsageError
from farm.plan import Cell, Plan
from farm.processes import Stopping, kill_all, stopping
from farm.quarantine import Quarantine
from farm.scenario import Scenario
from farm.toolchain import TOOLCHAINS
from farm.verdict import PASSED, SKIPPED, UNSURE, Judge, Result, Verdict, reproducer, skipped

SCHEMA = 1
TIMEOUT = 5.0  # seconds a cell
RETRIES = 1  # of a cell whose emulator failed
_BATCH = 256  # cells
AND = " and "  #: between the versions of one tool
_CROSS_CHECKED = 16  # one cell in so many also runs in the engine's slow mode


@dataclass(frozen=True)
class Batch:
    """Cells of one image on one engine."""

    spec: image.Spec
    engine: str  #: as in the cells, with its profile
    cells: tuple[Cell, ...]
    scenarios: tuple[Scenario, ...]
    timeout: float = TIMEOUT
    confirm: bool = True  #: run an unsure verdict once more
    retries: int = RETRIES  #: how often a cell is run again whose emulator failed
    options: str = ""  #: of the command line, that a reproducer needs

    @property
    def variant(self) -> Variant:
        """As the engine's profile runs it."""
        return self.spec.variant.profiled(self.engine)


def batches(
    plan: Plan,
    skip: Iterable[Cell] = (),
    timeout: float = TIMEOUT,
    retries: int = RETRIES,
    size: int | None = None,
) -> list[Batch]:
    """The work of ``plan``, less the cells in ``skip``; ``size`` is the most cells of a batch."""
    size = size or _BATCH
    done = set(skip)
    options = plan.selection.path_options()
    groups: dict[tuple[str, str, str, str], list[Cell]] = {}
    for planned in plan.cells:
        cell = planned.cell
        if planned.verdict is None and cell not in done:
            groups.setdefault((cell.variant, cell.mechanism, cell.toolchain, cell.engine), []).append(cell)
    return [
        Batch(
            spec,
            engine,
            tuple(part),
            tuple(plan.scenarios[cell.scenario] for cell in part),
            timeout,
            retries=retries,
            options=options,
        )
        for (variant, mechanism, toolchain, engine), cells in groups.items()
        for spec in (image.Spec(plan.variants[variant], mechanism, toolchain),)
        for part in (cells[i : i + size] for i in range(0, len(cells), size))
    ]


def run_batch(batch: Batch, built: image.Image | None = None) -> list[Result]:
    """One result a cell, in order; whatever goes wrong is a verdict.  ``built`` is the image, if known already.

    Of a batch that is ended on the way, the cells that have passed.
    """
    try:
        built = built or image.build(batch.spec)
    except Stopping:
        return []
    except BuildError as error:
        return [_failed(cell, Verdict.BUILD_ERROR, str(error), batch.options) for cell in batch.cells]
    except MissingToolError as error:
        return [skipped(cell, "not-run", str(error)) for cell in batch.cells]
    except ImageError as error:
        return [_failed(cell, Verdict.BUILD_ERROR, str(error), batch.options) for cell in batch.cells]
    engine = engines()[batch.engine.partition(":")[0]]
    results: list[Result] = []
    try:
        _judge(batch, built, engine, results)
    except Stopping:
        return [result for result in results if result.verdict in PASSED]
    return results


def _failed(cell: Cell, verdict: Verdict, reason: str, options: str) -> Result:
    reproduce = reproducer(cell, options)
    return Result(cell, verdict, reason, None, None, None, None, 0.0, sensitive=False, reproduce=reproduce)


def _judge(batch: Batch, built: image.Image, engine: Engine, results: list[Result]) -> None:
    """Fill ``results``.  Raises :class:`~farm.processes.Stopping`."""
    judge = Judge(built, engine, batch.spec.variant.features(batch.engine), batch.options)
    variant = batch.variant
    programs = [wire.encode(scenario, big_endian=built.big_endian) for scenario in batch.scenarios]
    traces: list[bytes] = []
    before = time.perf_counter()
    epoch = time.time() - before
    for cell, scenario, reply in zip(
        batch.cells, batch.scenarios, engine.run(built, variant, programs, batch.timeout), strict=True
    ):
        if stopping():
            raise Stopping
        now = time.perf_counter()
        results.append(judge.judge(cell, scenario, reply, now - before, epoch + before))
        traces.append(reply.trace)
        before = now
    _retry(batch, built, engine, judge, results, programs, traces)
    for i, result in enumerate(results):
        if result.verdict in UNSURE and batch.confirm:
            results[i] = again(batch, built, engine, judge, i, result)
    _cross_check(batch, built, engine, results, programs, traces)


def _retry(
    batch: Batch,
    built: image.Image,
    engine: Engine,
    judge: Judge,
    results: list[Result],
    programs: Sequence[bytes],
    traces: list[bytes],
) -> None:
    """The cells whose emulator failed, once more on a fresh child: the new result counts, and tells of the first."""
    for _ in range(batch.retries):
        failed = [i for i, result in enumerate(results) if result.verdict is Verdict.ENGINE_ERROR]
        if not failed:
            return
        replies = engine.run(built, batch.variant, [programs[i] for i in failed], batch.timeout, fresh=True)
        for i, reply in zip(failed, replies, strict=True):
            if stopping():
                raise Stopping
            first = results[i]
            second = judge.judge(first.cell, batch.scenarios[i], reply, first.seconds, first.began)
            said = first.retried or f"{first.verdict}: {first.reason}"
            results[i] = msgspec.structs.replace(second, retried=said)
            traces[i] = reply.trace


def again(batch: Batch, built: image.Image, engine: Engine, judge: Judge, i: int, first: Result) -> Result:
    """The cell once more on fresh state: the same failure is believed, anything else is flaky."""
    scenario, variant = batch.scenarios[i], batch.variant
    program = wire.encode(scenario, big_endian=built.big_endian)
    (reply,) = engine.run(built, variant, [program], batch.timeout, fresh=True)
    if reply.failure == "crash" and reply.pc is None:
        reply = _located(engine, built, batch, program, reply)
    second = judge.judge(batch.cells[i], scenario, reply, first.seconds, first.began)
    if (second.verdict, second.trace) == (first.verdict, first.trace):
        return msgspec.structs.replace(second, retried=first.retried)
    outcomes = f"first {first.verdict} ({first.reason}), then {second.verdict} ({second.reason or 'as expected'})"
    return msgspec.structs.replace(first, verdict=Verdict.FLAKY, reason=outcomes)


def _located(engine: Engine, built: image.Image, batch: Batch, program: bytes, reply: Reply) -> Reply:
    pc = engine.locate(built, batch.variant, program, batch.timeout)
    return Reply(failure=reply.failure, detail=reply.detail, pc=pc)


def _cross_check(
    batch: Batch,
    built: image.Image,
    engine: Engine,
    results: list[Result],
    programs: Sequence[bytes],
    traces: Sequence[bytes],
) -> None:
    """A slice of the passed cells in the engine's slow mode: if they differ the engine is not to be trusted.

    That is not retried: an engine that contradicts itself now and then is no better than one that always does.
    """
    chosen = [
        i
        for i, result in enumerate(results)
        if result.verdict in PASSED and zlib.crc32(str(result.cell).encode()) % _CROSS_CHECKED == 0
    ]
    if not chosen:
        return
    replies = engine.cross_check(built, batch.variant, [programs[i] for i in chosen], batch.timeout)
    if replies is None:
        return
    for i, reply in zip(chosen, replies, strict=True):
        if reply.trace != traces[i]:
            reason = f"one instruction at a time gives another result: {reply.detail or 'the traces differ'}"
            results[i] = msgspec.structs.replace(results[i], verdict=Verdict.ENGINE_ERROR, reason=reason)


# The journal.


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


class _Versioned(msgspec.Struct):
    schema: int


class _AnyHead(msgspec.Struct):
    """The first line of any farm's results, older or newer."""

    run: _Versioned


def describe(plan: Plan, quarantine: Quarantine | None = None) -> Run:
    """What ran this plan, and which list of known-bad cells applied.

    Of a shard, the versions that the whole plan needs, so that all shards say the same.
    """
    found: dict[str, set[str]] = {"python": {platform.python_version()}}
    known = engines()
    for name, variant, toolchain in {
        (p.cell.engine.partition(":")[0], p.cell.variant, p.cell.toolchain)
        for p in plan.whole.cells
        if p.verdict is None
    }:
        found.setdefault(name, set()).add(known[name].version(plan.variants[variant]))
        found.setdefault(toolchain, set()).add(TOOLCHAINS[toolchain].version(plan.variants[variant]))
    versions = {name: AND.join(sorted(numbers)) for name, numbers in sorted(found.items())}
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
    """What of ``run`` its ``earlier`` results were not made with."""
    if earlier.farm != run.farm:
        return f"farm {earlier.farm} made them, and here is {run.farm}"
    there = tools(earlier)
    for tool, versions in tools(run).items():
        if not versions <= there.get(tool, versions):
            return f"{tool} {AND.join(sorted(there[tool]))} made them, and here is {AND.join(sorted(versions))}"
    return None


def outdated(plan: Plan, workers: int) -> Callable[[Result], bool]:
    """Whether a result of an earlier run of ``plan`` is of another guest than would be run now.  Builds them all."""
    specs = list(dict.fromkeys(batch.spec for batch in batches(plan)))
    built = image.build_all(specs, workers)
    images = {
        (spec.variant.name, spec.mechanism, spec.toolchain): made.sha256
        for spec, made in built.items()
        if isinstance(made, image.Image)
    }

    def is_outdated(result: Result) -> bool:
        cell = result.cell
        return result.verdict not in SKIPPED and result.image != images.get(
            (cell.variant, cell.mechanism, cell.toolchain)
        )

    return is_outdated


class Journal:
    """``results.jsonl``: a line a result, flushed as it comes, rewritten in plan order on a clean end.

    With ``resume`` the results that are there are kept, but for those that are ``outdated``.
    """

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
        self.results: dict[Cell, Result] = {}
        if resume and path.exists():
            earlier, results, _ = read(path)
            if earlier.plan != run.plan:
                raise UsageError(f"{path}: holds the results of another plan; without --resume it is overwritten")
            if earlier.quarantine != run.quarantine:
                raise UsageError(f"{path}: another list of known-bad cells applied; without --resume it is overwritten")
            if foreign := _foreign(run, earlier):
                raise UsageError(f"{path}: {foreign}; without --resume it is overwritten")
            self.run = earlier
            self.results = {result.cell: result for result in results if not outdated(result)}
        # With earlier results at stake the new file takes the old one's place only when it holds them.
        begun = path.with_suffix(".jsonl.partial") if self.results else path
        self._file = self._guarded(lambda: begun.open("wb"))
        try:
            self._write(msgspec.json.encode(_Head(self.run)))
            for result in self.results.values():
                self._write(msgspec.json.encode(result))
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

    def _write(self, line: bytes) -> None:
        def write() -> None:
            self._file.write(line + b"\n")
            self._file.flush()

        self._guarded(write)

    def add(self, results: Iterable[Result]) -> None:
        """Append results.  Raises :class:`~farm.errors.OutputError` if the disk is full."""
        lines = []
        for result in results:
            self.results[result.cell] = result
            lines.append(msgspec.json.encode(result))
        if lines:
            self._write(b"\n".join(lines))

    def finish(self, plan: Plan) -> None:
        """Rewrite in plan order.  Raises :class:`~farm.errors.FarmError` unless every planned cell has one result."""
        self.close()
        cells = [planned.cell for planned in plan.cells]
        missing = [cell for cell in cells if cell not in self.results]
        if missing or len(self.results) != len(cells):
            which = str(missing[0]) if missing else "more results than planned cells"
            raise FarmError(f"{len(missing)} planned cells have no result: {which}")

        def write() -> None:
            partial = self.path.with_suffix(".jsonl.partial")
            with partial.open("wb") as file:
                file.write(msgspec.json.encode(_Head(self.run)) + b"\n")
                file.writelines(msgspec.json.encode(self.results[cell]) + b"\n" for cell in cells)
            partial.replace(self.path)

        self._guarded(write)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()


class Recorded(NamedTuple):
    """What ``results.jsonl`` holds."""

    run: Run
    results: list[Result]
    complaints: list[str]  #: a sentence for each line that cannot be used


def read(path: Path) -> Recorded:
    """The run and its results; what cannot be used is left out, and said.

    Raises :class:`~farm.errors.UsageError` if the file is not a journal at all.
    """
    try:
        lines = path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        schema = msgspec.json.decode(lines[0], type=_AnyHead).run.schema
        if schema != SCHEMA:
            raise UsageError(f"{path}: results of schema {schema}; this farm reads {SCHEMA}")
        run = msgspec.json.decode(lines[0], type=_Head).run
    except UNREADABLE:
        raise UsageError(f"{path}: line 1 is no run header; is it a results.jsonl?") from None
    decoder = msgspec.json.Decoder(Result)
    results: dict[Cell, Result] = {}
    complaints = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        try:
            result = decoder.decode(line)
        except UNREADABLE as error:
            what = "was cut off" if number == len(lines) else f"is no result ({error})"  # no newline behind it
            complaints.append(f"{path}: line {number} {what}; it is left out")
            continue
        if result.cell in results:
            complaints.append(f"{path}: line {number} is a second result of {result.cell}; it is left out")
            continue
        results[result.cell] = result
    return Recorded(run, list(results.values()), complaints)


# Running.


def execute(
    plan: Plan,
    journal: Journal,
    executor: concurrent.futures.Executor,
    on_results: Callable[[Sequence[Result]], None],
    *,
    timeout: float = TIMEOUT,
    retries: int = RETRIES,
    quarantine: Quarantine | None = None,
) -> None:
    """Run what ``journal`` has no result for, and add it there as ``quarantine`` has it count.

    ``on_results`` hears of every result once, those of an earlier run and those of cells that cannot run included.
    """
    on_results(list(journal.results.values()))
    holes = [
        skipped(p.cell, p.verdict, p.reason or "")
        for p in plan.cells
        if p.verdict is not None and p.cell not in journal.results
    ]
    journal.add(holes)
    on_results(holes)
    settle = (quarantine or Quarantine()).settle
    work = batches(plan, journal.results, timeout, retries)
    futures = {executor.submit(run_batch, batch) for batch in work}
    try:
        for future in concurrent.futures.as_completed(futures):
            results = [settle(result) for result in future.result()]
            journal.add(results)
            on_results(results)
    except KeyboardInterrupt:
        kill_all()
        for future in futures:
            future.cancel()
        concurrent.futures.wait(futures, timeout=2)
        ended = (future for future in futures if future.done() and not future.cancelled() and not future.exception())
        journal.add(settle(r) for future in ended for r in future.result() if r.cell not in journal.results)
        raise
    finally:
        for future in futures:
            future.cancel()
