"""Calibration: what each engine can and cannot notice, measured.

For every negative control (:mod:`farm.guest.controls`) the guests are built with that bug planted and the scenarios
that claim to detect it are run.  Where the engine is sensitive every one of them must fail; where it was measured to be
blind (:mod:`farm.run.measured`) none may.  Either way a claim is only believed when it has been seen.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from farm.cell import PASSED, Cell, Verdict
from farm.engines import engine_named
from farm.guest import image
from farm.guest.controls import CONTROLS, Control
from farm.run import measured
from farm.run.batch import Batch, batches, run_batch
from farm.run.plan import Plan
from farm.run.verdict import Result

#: A planted bug may make a guest loop for ever, and that is as good as any other failure.
TIMEOUT = 1.0

NOTICED = frozenset({Verdict.MISMATCH, Verdict.CRASH, Verdict.TIMEOUT})


@dataclass(frozen=True)
class Finding:
    """One cell with one bug planted."""

    control: Control
    cell: Cell
    result: Result
    blind: bool  #: the engine cannot notice this defect
    sound: bool  #: without the bug the cell passes, so that what is noticed is the bug

    @property
    def noticed(self) -> bool:
        return self.result.verdict in NOTICED

    @property
    def as_claimed(self) -> bool:
        known = self.noticed or self.result.verdict in PASSED
        return self.sound and known and self.noticed != self.blind


def work(plan: Plan, names: Sequence[str]) -> list[tuple[Control, Batch]]:
    """The batches that calibrate the cells of ``plan`` with the controls in ``names``."""
    cells_by_batch: dict[tuple[str, image.Spec, str], list[Cell]] = {}
    for planned in plan.cells:
        cell = planned.cell
        if planned.verdict is not None:
            continue
        variant, mechanism = plan.variants[cell.variant], plan.mechanisms[cell.mechanism]
        for name in names:
            control = CONTROLS[name]
            claims = control.defect in plan.scenarios[cell.scenario].detects
            if claims and control.applies(variant, mechanism, variant.features(cell.engine)):
                spec = plan.spec(cell, name)
                cells_by_batch.setdefault((name, spec, cell.engine), []).append(cell)
    return [
        (
            CONTROLS[name],
            Batch(
                spec,
                engine,
                tuple(cells),
                tuple(plan.scenarios[c.scenario] for c in cells),
                TIMEOUT,
                confirm=False,
            ),
        )
        for (name, spec, engine), cells in cells_by_batch.items()
    ]


def _sound(cells: set[Cell], plan: Plan, executor: concurrent.futures.Executor) -> set[Cell]:
    """The cells among ``cells`` that pass with no bug planted."""
    others = {planned.cell for planned in plan.cells} - cells
    futures = [executor.submit(run_batch, batch) for batch in batches(plan, others)]
    results = (result for future in futures for result in future.result())
    return {result.cell for result in results if result.verdict in PASSED}


def calibrate(
    plan: Plan,
    names: Sequence[str],
    executor: concurrent.futures.Executor,
    on_findings: Callable[[Sequence[Finding], int], None],
) -> list[Finding]:
    """A finding for every control and every cell that claims to notice it.

    The cells are run without any bug first.  ``on_findings`` hears of those of a batch, and of how many all are.
    """
    findings: list[Finding] = []
    planted = work(plan, names)
    total = sum(len(batch.cells) for _, batch in planted)
    sound = _sound({cell for _, batch in planted for cell in batch.cells}, plan, executor)
    futures = {executor.submit(run_batch, batch): (control, batch) for control, batch in planted}
    for future in concurrent.futures.as_completed(futures):
        control, batch = futures[future]
        variant = batch.spec.variant.profiled(batch.engine)
        blind_to = measured.blind_to(engine_named(batch.engine), variant, alias=batch.spec.made_by.alias)
        blind = control.defect in blind_to
        of_batch = [Finding(control, result.cell, result, blind, result.cell in sound) for result in future.result()]
        findings += of_batch
        on_findings(of_batch, total)
    return findings
