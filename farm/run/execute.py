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
import itertools
import os
import platform
import queue
import threading
import time
import zlib
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from farm import __version__
from farm.cell import PASSED, SKIPPED, UNSURE, Cell, EngineName, Hole, Verdict
from farm.engines import Engine, Reply, engine_named, engines
from farm.errors import UNREADABLE, BuildError, FarmError, ImageError, MissingToolError, OutputError, UsageError
from farm.guest import image
from farm.guest.arch_toml import Variant
from farm.guest.toolchain import TOOLCHAINS
from farm.processes import Stopping, kill_all, stopping
from farm.run.plan import Plan
from farm.run.quarantine import Quarantine
from farm.run.verdict import Judge, Result, reproducer, skipped
from farm.scenario import Scenario, wire

SCHEMA = 2
_READ = (1, SCHEMA)  # schemas; in 1 there were no provisional results, and the first of two of one cell counted
TIMEOUT = 5.0  # seconds a cell
RETRIES = 1  # of a cell whose emulator failed
_BATCH = 256  # cells
AND = " and "  #: between the versions of one tool
_CROSS_CHECKED = 16  # one cell in so many also runs in the engine's slow mode
_GATHERED = 0.1  # seconds for which results wait at most to be written together

Sink = Callable[[Result], None]  #: hears of a result as it comes, and again if that was provisional and is sure now


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


def run_batch(
    batch: Batch,
    built: image.Image | Exception | None = None,
    sink: Sink | None = None,
    enough: Callable[[], bool] = lambda: False,
) -> list[Result]:
    """One result a cell, in order; whatever goes wrong is a verdict.

    ``built`` is the image, or why there is none, if that is known already.  ``sink`` is told of each result as it is
    made.  One that is owed a retry, a confirmation or a cross-check is provisional, until that tells what it is.  Once
    there is ``enough`` no other cell begins.  Of a batch that is ended on the way, the results that there are.
    """
    tell = sink or (lambda _: None)
    try:
        if isinstance(built, Exception):
            raise built
        built = built or image.build(batch.spec)
    except Stopping:
        return []
    except (BuildError, ImageError, MissingToolError) as error:
        results = [_without_image(cell, error, batch.options) for cell in batch.cells]
        for result in results:
            tell(result)
        return results
    running = _Running(batch, built, engine_named(batch.engine), tell)
    with contextlib.suppress(Stopping):
        running.run(enough)
    return running.results


def _without_image(cell: Cell, error: FarmError, options: str) -> Result:
    if isinstance(error, MissingToolError):
        return skipped(cell, Hole(Verdict.NOT_RUN, str(error)))
    reproduce = reproducer(cell, options)
    verdict = Verdict.BUILD_ERROR
    return Result(cell, verdict, str(error), None, None, None, None, 0.0, sensitive=False, reproduce=reproduce)


class _Running:
    """A batch on its way, and the results of it so far."""

    def __init__(self, batch: Batch, built: image.Image, engine: Engine, tell: Sink) -> None:
        self.results: list[Result] = []
        self._batch = batch
        self._built = built
        self._engine = engine
        self._tell = tell
        self._judge = Judge(built, engine, batch.spec.variant.features(batch.engine), batch.options)
        self._programs = [wire.encode(scenario, big_endian=built.big_endian) for scenario in batch.scenarios]
        self._traces: list[bytes] = []
        has_slow_mode = engine.cross_check(built, batch.variant, (), batch.timeout) is not None
        #: Those that are to be cross-checked, should they pass.
        self._chosen = {
            i
            for i, cell in enumerate(batch.cells if has_slow_mode else ())
            if zlib.crc32(str(cell).encode()) % _CROSS_CHECKED == 0
        }

    def run(self, enough: Callable[[], bool]) -> None:
        """Fill :attr:`results`.  Raises :class:`~farm.processes.Stopping`."""
        batch = self._batch
        before = time.perf_counter()
        epoch = time.time() - before
        owed = self._owed(batch.retries)
        replies = self._replies(range(len(batch.cells)))
        for i, (cell, scenario, reply) in enumerate(zip(batch.cells, batch.scenarios, replies, strict=True)):
            now = time.perf_counter()
            result = self._judge.judge(cell, scenario, reply, now - before, epoch + before)
            self._traces.append(reply.trace)
            self.results.append(result)
            self._settle(i, result, owed)
            before = now
            if enough():
                replies.close()
                break
        self._retry()
        for i, result in enumerate(self.results):
            if result.verdict in UNSURE and batch.confirm:
                self._settle(i, again(batch, self._built, self._engine, self._judge, i, result))
        self._cross_check()

    def _replies(self, numbers: Sequence[int], *, fresh: bool = False) -> Generator[Reply, None, None]:
        """Those to the cells of these ``numbers``, of which none is believed that comes while the run is ended."""
        programs = [self._programs[i] for i in numbers]
        batch = self._batch
        return _believed(self._engine.run(self._built, batch.variant, programs, batch.timeout, fresh=fresh))

    def _owed(self, retries: int) -> frozenset[Verdict]:
        """The verdicts that are not the last word of their cells while these may be run anew ``retries`` times."""
        return (UNSURE if self._batch.confirm else frozenset()) | ({Verdict.ENGINE_ERROR} if retries else set())

    def _settle(self, i: int, result: Result, owed: Collection[Verdict] = ()) -> None:
        """``result`` is what is known of cell ``i`` now.

        It is provisional if its verdict is among those that are ``owed`` more, or if it has passed and is to be
        cross-checked.
        """
        provisional = i in self._chosen if result.verdict in PASSED else result.verdict in owed
        if result.provisional != provisional:
            result = msgspec.structs.replace(result, provisional=provisional)
        self.results[i] = result
        self._tell(result)

    def _retry(self) -> None:
        """The cells whose emulator failed, once more on a fresh child.

        The new result counts, and tells of the first.
        """
        for left in reversed(range(self._batch.retries)):
            failed = [i for i, result in enumerate(self.results) if result.verdict is Verdict.ENGINE_ERROR]
            if not failed:
                return
            for i, reply in zip(failed, self._replies(failed, fresh=True), strict=True):
                first = self.results[i]
                second = self._judge.judge(first.cell, self._batch.scenarios[i], reply, first.seconds, first.began)
                said = first.retried or f"{first.verdict}: {first.reason}"
                self._traces[i] = reply.trace
                self._settle(i, msgspec.structs.replace(second, retried=said), self._owed(left))

    def _cross_check(self) -> None:
        """A slice of the passed cells in the engine's slow mode: if they differ the engine is not to be trusted.

        That is not retried: an engine that contradicts itself now and then is no better than one that always does.
        """
        batch = self._batch
        chosen = [i for i in sorted(self._chosen) if i < len(self.results) and self.results[i].verdict in PASSED]
        programs = [self._programs[i] for i in chosen]
        replies = self._engine.cross_check(self._built, batch.variant, programs, batch.timeout) if chosen else ()
        for i, reply in zip(chosen, _believed(replies or ()), strict=True):
            self._chosen.remove(i)
            result = self.results[i]
            if reply.trace != self._traces[i]:
                reason = f"one instruction at a time gives another result: {reply.detail or 'the traces differ'}"
                result = msgspec.structs.replace(result, verdict=Verdict.ENGINE_ERROR, reason=reason)
            self._settle(i, result)


def _believed(replies: Iterable[Reply]) -> Generator[Reply, None, None]:
    """The replies up to when the run is ended: what a child that was killed leaves behind tells nothing.

    Raises :class:`~farm.processes.Stopping`.
    """
    for reply in replies:
        if stopping():
            raise Stopping
        yield reply


def again(batch: Batch, built: image.Image, engine: Engine, judge: Judge, i: int, first: Result) -> Result:
    """The cell once more on fresh state: the same failure is believed, anything else is flaky.

    Raises :class:`~farm.processes.Stopping`.
    """
    scenario, variant = batch.scenarios[i], batch.variant
    program = wire.encode(scenario, big_endian=built.big_endian)
    (reply,) = _believed(engine.run(built, variant, [program], batch.timeout, fresh=True))
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


_HEAD = b'{"run":'


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
        (EngineName.of(p.cell.engine).engine, p.cell.variant, p.cell.toolchain)
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
            self._write(msgspec.json.encode(_Head(self.run)))
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

    def _write(self, line: bytes) -> None:
        def write() -> None:
            self._file.write(line + b"\n")
            self._file.flush()

        self._guarded(write)

    def add(self, results: Iterable[Result]) -> None:
        """Append results, all at once.  Raises :class:`~farm.errors.OutputError` if the disk is full."""
        lines = []
        for result in results:
            if not result.provisional:
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
    results: list[Result]  #: that are sure, one a cell
    complaints: list[str]  #: a sentence for each line that cannot be used
    unfinished: Sequence[Result] = ()  #: the provisional results of cells that have no other: the run was cut short


class NoHeaderError(UsageError):
    """A file of results begins with anything but a header, or with a part of one."""


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
    number = f"{len(results):,} cell{' is' if len(results) == 1 else 's are'}"
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
    max_failures: int | None = None,
    images: Mapping[image.Spec, image.Image | Exception] | None = None,
) -> None:
    """Run what ``journal`` has no result for, and add it there as ``quarantine`` has it count.

    ``images`` are those that are built already, and why others are not; what is run elsewhere builds its own.
    ``on_results`` hears of every result once, those of an earlier run and those of cells that cannot run included.
    After ``max_failures`` of this run, each as sure as any, no other cell is run.
    """
    on_results(list(journal.results.values()))
    holes = [
        skipped(planned.cell, planned.hole)
        for planned in plan.cells
        if planned.hole and planned.cell not in journal.results
    ]
    journal.add(holes)
    on_results(holes)
    settle = (quarantine or Quarantine()).settle
    shared = isinstance(executor, concurrent.futures.ThreadPoolExecutor)  # from elsewhere come whole batches alone
    heard: list[Result] = []
    failing: set[Cell] = set()  # sure or not yet
    enough = threading.Event()

    def hear(result: Result) -> None:
        heard.append(result)
        if max_failures is not None:
            (failing.add if settle(result).failed else failing.discard)(result.cell)
            if len(failing) >= max_failures:
                enough.set()

    def record() -> None:
        """Journal what was heard.  It is forgotten only then, so that no signal loses it."""
        results = [settle(result) for result in heard[:]]
        journal.add(results)
        del heard[: len(results)]
        if sure := [result for result in results if not result.provisional]:
            on_results(sure)

    futures: list[concurrent.futures.Future[list[Result]]] = []
    ended: queue.SimpleQueue[concurrent.futures.Future[list[Result]]] = queue.SimpleQueue()

    def go() -> bool:
        """Run all that has no result, or as much of it as is enough; whether there was anything."""
        work = batches(plan, journal.results, timeout, retries)
        begun = len(futures)
        for batch in work:
            here = ((images or {}).get(batch.spec), hear, enough.is_set) if shared else ()
            futures.append(executor.submit(run_batch, batch, *here))
            futures[-1].add_done_callback(ended.put)
        left = len(work)
        # It is this thread that writes, for it has nothing else to do: no worker waits for the disk, and none that
        # waits for its own cell holds back the results of others.
        while left:
            with contextlib.suppress(queue.Empty, concurrent.futures.CancelledError):
                future = ended.get(timeout=_GATHERED)
                left -= 1
                results = future.result()
                for result in () if shared else results:
                    hear(result)
            record()
            if enough.is_set():
                for future in futures[begun:]:
                    future.cancel()
        return bool(work)

    try:
        while go() and enough.is_set():
            if len(failing) >= (max_failures or 0):
                break
            enough.clear()  # what seemed to have failed has not: go on
    except KeyboardInterrupt:
        kill_all()
        raise
    finally:
        for future in futures:
            future.cancel()
        try:
            concurrent.futures.wait(futures, timeout=2)
            if not shared:
                whole = (f.result() for f in futures if f.done() and not f.cancelled() and not f.exception())
                heard += [result for results in whole for result in results if result.cell not in journal.results]
        finally:
            record()
