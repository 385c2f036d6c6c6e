"""Executes a plan and journals every result.

Locally the executor is a thread pool: threads share warm children, and nothing is lost when a child is killed.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import queue
import threading
from collections.abc import Callable, Mapping, Sequence

from farm import confinement
from farm.cell import SKIPPED, Cell
from farm.guest import build, image
from farm.processes import kill_all
from farm.run.batch import RETRIES, TIMEOUT, Auditor, Batch, Waiting, batches, run_batch
from farm.run.journal import Journal
from farm.run.plan import Plan
from farm.run.quarantine import Quarantine
from farm.run.verdict import Result, skipped

_GATHERED = 0.1  # seconds for which results wait at most to be written together


def outdated(plan: Plan, workers: int) -> Callable[[Result], bool]:
    """Return a predicate: the image of an earlier result of ``plan`` is stale.  Builds all images."""
    specs = list(dict.fromkeys(batch.spec for batch in batches(plan)))
    outcomes = build.images(specs, workers)
    images = {
        (spec.variant.name, spec.mechanism, spec.toolchain): outcome.sha256
        for spec, outcome in outcomes.items()
        if isinstance(outcome, image.Image)
    }

    def is_outdated(result: Result) -> bool:
        cell = result.cell
        return result.verdict not in SKIPPED and result.image != images.get(
            (cell.variant, cell.mechanism, cell.toolchain)
        )

    return is_outdated


def _mode() -> confinement.Mode:
    """How guests are confined elsewhere: not less than the header of the results says."""
    return "require" if confinement.confines() else confinement.mode()


def _elsewhere(mode: confinement.Mode, batch: Batch) -> list[Result]:
    confinement.choose(mode)
    return run_batch(batch)


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
    auditor: Auditor | None = None,
) -> None:
    """Run what ``journal`` has no result for, and add it there as ``quarantine`` has it count.

    ``images`` are those that are built already, and why others are not; what is run elsewhere builds its own.
    ``auditor`` audits what passes.
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
        work = batches(plan, journal.results, timeout, retries, auditor=auditor)
        begun = len(futures)
        waiting = Waiting(work)

        def run_next() -> list[Result]:
            batch = waiting.next()
            return run_batch(batch, (images or {}).get(batch.spec), hear, enough.is_set)

        for batch in work:
            future = executor.submit(run_next) if shared else executor.submit(_elsewhere, _mode(), batch)
            futures.append(future)
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
