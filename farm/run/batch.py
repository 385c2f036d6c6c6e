"""Batches: some cells of one image on one engine, the unit of work.

:func:`run_batch` is a plain function of a picklable argument, and a worker only ever holds the parent's end of an
engine's child, so any :class:`concurrent.futures.Executor` will do.
"""

from __future__ import annotations

import contextlib
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from farm.cell import PASSED, UNSURE, Cell, Hole, Verdict
from farm.engines import CrossChecks, Note, Watch
from farm.errors import BuildError, FarmError, ImageError, MissingToolError
from farm.guest import image
from farm.processes import Stopping
from farm.run.bench import Bench
from farm.run.plan import Plan
from farm.run.verdict import Result, reproducer, skipped
from farm.scenario import Scenario

TIMEOUT = 5.0  # seconds a cell
RETRIES = 1  # of a cell whose emulator failed
SIZE = 256  # cells of a batch at most

Sink = Callable[[Result], None]  #: hears of a result as it comes, and again if that was provisional and is sure now


class Audit(Protocol):
    """The audit of cells on one bench."""

    def watch(self, programs: Iterable[bytes]) -> Watch | None:
        """What must be noted as these ``programs`` run; None: nothing, for all have been audited before."""

    def of(self, scenario: Scenario, program: bytes, passed: Result, notes: Sequence[Note] | None) -> Result:
        """The result of a cell that has ``passed``, audited; it is run again if there are no ``notes`` of how it did.

        Raises :class:`~farm.processes.Stopping`.
        """

    def close(self) -> None:
        """Keep what was learnt."""


class Auditor(Protocol):
    """Whoever judges what passed cells have stored to code (:mod:`farm.prove.auditor`), which is built on this."""

    def open(self, bench: Bench) -> Audit | None:
        """The audit of cells on ``bench``; None if nothing there can be audited."""


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
    cross_checked: int = 16  #: one cell in so many also runs in the engine's slow mode
    auditor: Auditor | None = None  #: of what passes; None: nothing is audited

    def bench(self, built: image.Image | None = None) -> Bench:
        """The bench that the cells are run on; its image is built, unless it is at hand."""
        return Bench.of(self.spec, self.engine, self.timeout, self.options, built)


def batches(
    plan: Plan,
    skip: Iterable[Cell] = (),
    timeout: float = TIMEOUT,
    retries: int = RETRIES,
    size: int = SIZE,
    auditor: Auditor | None = None,
) -> list[Batch]:
    """The work of ``plan``, less the cells in ``skip``; ``size`` is the most cells of a batch."""
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
            auditor=auditor,
        )
        for (_, _, _, engine), cells in groups.items()
        for spec in (plan.spec(cells[0]),)
        for part in (cells[i : i + size] for i in range(0, len(cells), size))
    ]


class Waiting:
    """Batches that wait for the threads of this process.

    A thread goes on with the guest that it has run last, for another has to be opened, and its code translated anew:
    that takes as long as a hundred cells.
    """

    def __init__(self, work: Iterable[Batch]) -> None:
        self._lock = threading.Lock()
        self._left: dict[str, deque[Batch]] = {}  # by guest and engine, in the order of the plan
        self._last: dict[int, str] = {}  # guest and engine of each thread
        for batch in work:
            self._left.setdefault(f"{batch.spec}/{batch.engine}", deque()).append(batch)

    def next(self) -> Batch:
        """The batch that the calling thread runs next; there must be one.

        It is of the thread's own guest, else of the first that no other thread has, else of that with most left.
        """
        thread = threading.get_ident()
        with self._lock:
            guest = self._last.get(thread, "")
            if guest not in self._left:
                taken = set(self._last.values())
                free = (one for one in self._left if one not in taken)
                guest = next(free, None) or max(self._left, key=lambda one: len(self._left[one]))
                self._last[thread] = guest
            batches = self._left[guest]
            batch = batches.popleft()
            if not batches:
                del self._left[guest]
            return batch


def run_batch(
    batch: Batch,
    built: image.Image | Exception | None = None,
    sink: Sink | None = None,
    enough: Callable[[], bool] = lambda: False,
) -> list[Result]:
    """Run ``batch`` and return one result a cell, in order; whatever goes wrong is a verdict.

    ``built`` is the image, or why there is none, if that is known already.  ``sink`` is told of each result as it is
    made.  A result that is owed a retry, a confirmation or a cross-check is provisional, until that tells what it is.
    Once there is ``enough`` no other cell begins.  A batch that is ended on the way returns the results there are.
    """
    tell = sink or (lambda _: None)
    try:
        if isinstance(built, Exception):
            raise built
        bench = batch.bench(built)
    except Stopping:
        return []
    except (BuildError, ImageError, MissingToolError) as error:
        results = [_without_image(cell, error, batch.options) for cell in batch.cells]
        for result in results:
            tell(result)
        return results
    audit = batch.auditor.open(bench) if batch.auditor else None
    running = _Running(batch, bench, tell, audit)
    with contextlib.suppress(Stopping):
        running.run(enough)
    if audit:
        audit.close()
    return running.results


def _without_image(cell: Cell, error: FarmError, options: str) -> Result:
    if isinstance(error, MissingToolError):
        return skipped(cell, Hole(Verdict.NOT_RUN, str(error)))
    reproduce = reproducer(cell, options)
    verdict = Verdict.BUILD_ERROR
    return Result(cell, verdict, str(error), None, None, None, None, 0.0, sensitive=False, reproduce=reproduce)


class _Running:
    """A batch on its way, and the results of it so far."""

    def __init__(self, batch: Batch, bench: Bench, tell: Sink, audit: Audit | None) -> None:
        self.results: list[Result] = []
        self._batch = batch
        self._bench = bench
        self._judge = bench.judge
        self._tell = tell
        self._programs = [bench.encode(scenario) for scenario in batch.scenarios]
        self._traces: list[bytes] = []
        self._audit = audit
        #: Numbers of the cells that are to be cross-checked, should they pass.
        self._chosen = {
            i
            for i, cell in enumerate(batch.cells if isinstance(bench.engine, CrossChecks) else ())
            if zlib.crc32(str(cell).encode()) % batch.cross_checked == 0
        }

    def run(self, enough: Callable[[], bool]) -> None:
        """Fill :attr:`results`.  Raises :class:`~farm.processes.Stopping`."""
        batch = self._batch
        before = time.perf_counter()
        epoch = time.time() - before
        owed = self._owed(batch.retries)
        watch = self._audit.watch(self._programs) if self._audit else None
        replies = self._bench.watched(self._programs, watch) if watch else self._bench.replies(self._programs)
        for i, (cell, scenario, reply) in enumerate(zip(batch.cells, batch.scenarios, replies, strict=True)):
            now = time.perf_counter()
            result = self._judge.judge(cell, scenario, reply, now - before, epoch + before)
            result = self._audited(i, result, reply.notes if watch else None)
            self._traces.append(reply.trace)
            self.results.append(result)
            self._settle(i, result, owed)
            before = time.perf_counter()
            if enough():
                replies.close()
                break
        self._retry()
        for i, result in enumerate(self.results):
            if result.verdict in UNSURE and batch.confirm:
                self._settle(i, self._bench.confirmed(batch.scenarios[i], result))
        self._cross_check()

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
            replies = self._bench.replies([self._programs[i] for i in failed], fresh=True)
            for i, reply in zip(failed, replies, strict=True):
                first = self.results[i]
                second = self._judge.judge(first.cell, self._batch.scenarios[i], reply, first.seconds, first.began)
                outcome = first.retried or f"{first.verdict}: {first.reason}"
                self._traces[i] = reply.trace
                second = self._audited(i, msgspec.structs.replace(second, retried=outcome))
                self._settle(i, second, self._owed(left))

    def _cross_check(self) -> None:
        """A slice of the passed cells in the engine's slow mode: if they differ the engine is not to be trusted.

        That is not retried: an engine that contradicts itself now and then is no better than one that always does.
        """
        chosen = [i for i in sorted(self._chosen) if i < len(self.results) and self.results[i].verdict in PASSED]
        replies = self._bench.cross_checks([self._programs[i] for i in chosen])
        for i, reply in zip(chosen, replies, strict=True):
            self._chosen.remove(i)
            result = self.results[i]
            if reply.trace != self._traces[i]:
                reason = f"one instruction at a time gives another result: {reply.detail or 'the traces differ'}"
                result = msgspec.structs.replace(result, verdict=Verdict.ENGINE_ERROR, reason=reason)
            self._settle(i, result)

    def _audited(self, i: int, result: Result, notes: Sequence[Note] | None = None) -> Result:
        """The ``result`` of cell ``i``; if it has passed, audited by these ``notes`` of it."""
        if self._audit is None or result.verdict not in PASSED:
            return result
        return self._audit.of(self._batch.scenarios[i], self._programs[i], result, notes)
