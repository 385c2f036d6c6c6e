"""The calibration table: which planted bug which engine noticed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from farm.calibrate import Finding
from farm.controls import CONTROLS
from farm.report import uncontrolled

if TYPE_CHECKING:
    from rich.console import Console

    from farm.plan import Plan


def show(findings: Sequence[Finding], plan: Plan, names: Sequence[str], console: Console) -> None:
    """A row a control, a column an engine; then every claim that was not borne out, and what could not be planted."""
    from rich.table import Table
    from rich.text import Text

    engines = sorted({finding.cell.engine for finding in findings})
    view = Table(title="calibration", caption="noticed / cells whose scenario claims to detect it", show_lines=False)
    view.add_column("control")
    view.add_column("defect")
    for engine in engines:
        view.add_column(engine, justify="right")
    for name, control in CONTROLS.items():
        mine = [finding for finding in findings if finding.control.name == name]
        if not mine:
            continue
        row = []
        for engine in engines:
            cells = [finding for finding in mine if finding.cell.engine == engine]
            noticed = sum(finding.noticed for finding in cells)
            blind = " blind" if cells and cells[0].blind else ""
            fine = all(finding.as_claimed for finding in cells)
            text = f"{noticed}/{len(cells)}{blind}" if cells else "–"
            row.append(Text(text, style="red" if not fine else "yellow" if blind else "green"))
        view.add_row(name, str(control.defect), *row)
    console.print(view)
    wrong = [finding for finding in findings if not finding.as_claimed]
    for finding in wrong:
        claim = "says it is blind to this, yet noticed" if finding.blind else "should have noticed"
        if not finding.sound:
            claim = "does not pass without the bug either"
        reason = f" ({finding.result.verdict}: {finding.result.reason})" if finding.result.reason else ""
        line = f"{finding.control.name}: {finding.cell} {claim}{reason}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for line in _impossible(plan, names):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for line in uncontrolled([finding.result for finding in findings], plan):
        console.print(line, highlight=False)
    console.print(f"{len(findings)} findings, {len(wrong)} not as claimed", highlight=False)


def _impossible(plan: Plan, names: Sequence[str]) -> list[str]:
    """A line for each control in ``names`` that some variant of ``plan`` cannot have, with the reason."""
    variants = [plan.variants[name] for name in dict.fromkeys(planned.cell.variant for planned in plan.cells)]
    where: dict[tuple[str, str], list[str]] = {}
    for name in names:
        for variant in variants:
            reason = CONTROLS[name].impossible(variant)
            if reason:
                where.setdefault((name, reason), []).append(variant.name)
    return [f"{name} is not applicable to {', '.join(on)}: {reason}" for (name, reason), on in where.items()]
