"""The calibration table: which planted bug which engine noticed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from farm.guest.controls import CONTROLS
from farm.guest.mechanisms import Mechanism
from farm.prove.calibrate import Finding
from farm.report import uncontrolled
from farm.report.progress import bar
from farm.report.table import Field, Table
from farm.report.text import printable
from farm.text import counted

if TYPE_CHECKING:
    from rich.console import Console

    from farm.guest.mechanisms import Mechanism
    from farm.guest.variant import Variant
    from farm.run.plan import Plan

NAME = "calibration"
_STYLES = {"good": "green", "weak": "yellow", "bad": "red", "none": ""}


class Progress:
    """Progress of a calibration: a bar on a terminal, elsewhere a line at each tenth."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = console.is_interactive and console.file.isatty()
        self._bar = bar(console) if self._live else None
        self._task = self._bar.add_task("without bugs", total=None) if self._bar else None
        self._tenths = 0
        self.tally = "no finding yet"  #: in words

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, findings: Sequence[Finding], total: int) -> None:
        """Show that there are ``findings`` now, of ``total``."""
        wrong = sum(not finding.as_claimed for finding in findings)
        self.tally = f"{len(findings):,} of {counted(total, 'finding')}, {wrong:,} not as claimed"
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=len(findings), total=total, description=f"{wrong:,} not as claimed")
        elif (tenths := len(findings) * 10 // total) > self._tenths:
            self._tenths = tenths
            self._console.print(self.tally, highlight=False)


def table(findings: Sequence[Finding], plan: Plan, names: Sequence[str]) -> Table:
    """A row a control, a column an engine; then every claim that was not borne out, and what could not be planted."""
    engines = sorted({finding.cell.engine for finding in findings})
    rows = []
    for name, control in CONTROLS.items():
        of_control = [finding for finding in findings if finding.control.name == name]
        if of_control:
            by_engine = ([finding for finding in of_control if finding.cell.engine == engine] for engine in engines)
            rows.append((Field(name), Field(str(control.defect)), *map(_noticed, by_engine)))
    wrong = sorted(_unlike(finding) for finding in findings if not finding.as_claimed)
    notes = (
        *wrong,
        *_impossible(plan, names),
        *uncontrolled([finding.result for finding in findings], plan),
        f"{counted(len(findings), 'finding')}, {len(wrong):,} not as claimed",
    )
    caption = "noticed / cells whose scenario claims to detect it"
    return Table(NAME, NAME, caption, ("control", "defect", *engines), tuple(rows), notes)


def show(made: Table, console: Console) -> None:
    """The table, then its notes."""
    from rich import table as rich
    from rich.text import Text

    view = rich.Table(title=made.title, caption=made.caption, show_lines=False)
    numbers = made.name == NAME
    for i, name in enumerate(made.columns):
        view.add_column(name, justify="right" if numbers and i > 1 else "left")
    for row in made.rows:
        view.add_row(*(Text(field.text, style=_STYLES[field.state]) for field in row))
    console.print(view)
    for note in made.notes:
        console.print(printable(note), markup=False, highlight=False, soft_wrap=True)


def _noticed(findings: Sequence[Finding]) -> Field:
    """The number of cells that noticed one control on one engine, as a field of the table."""
    if not findings:
        return Field("–")
    blind = findings[0].blind
    text = f"{sum(finding.noticed for finding in findings)}/{len(findings)}{' blind' * blind}"
    if not all(finding.as_claimed for finding in findings):
        return Field(text, "bad")
    return Field(text, "weak" if blind else "good")


def _unlike(finding: Finding) -> str:
    """A sentence on how a finding differs from the claim."""
    claim = "says it is blind to this, yet noticed" if finding.blind else "should have noticed"
    if not finding.sound:
        claim = "does not pass without the bug either"
    reason = f" ({finding.result.verdict}: {finding.result.reason})" if finding.result.reason else ""
    return f"{finding.control.name}: {finding.cell} {claim}{reason}"


def _impossible(plan: Plan, names: Sequence[str]) -> list[str]:
    """A line for each control in ``names`` that some variant of ``plan`` cannot have, with the reason."""
    variants = [plan.variants[name] for name in dict.fromkeys(planned.cell.variant for planned in plan.cells)]
    where: dict[tuple[str, str], list[str]] = {}
    for name in names:
        for variant in variants:
            reason = CONTROLS[name].impossible(variant)
            if reason:
                where.setdefault((name, reason), []).append(variant.name)
    lines = [f"{name} is not applicable to {', '.join(on)}: {reason}" for (name, reason), on in where.items()]
    for mechanism in dict.fromkeys(planned.cell.mechanism for planned in plan.cells):
        lacking: dict[str, list[str]] = {}
        for name in names:
            reason = _lacking(name, variants, plan.mechanisms[mechanism])
            if reason:
                lacking.setdefault(reason, []).append(name)
        lines += [f"{', '.join(those)}: not applicable to {mechanism}: {reason}" for reason, those in lacking.items()]
    return lines


def _lacking(name: str, variants: Sequence[Variant], mechanism: Mechanism) -> str | None:
    """The reason why ``mechanism`` has control ``name`` nowhere, though some of ``variants`` could; None if it does."""
    able = [variant for variant in variants if not CONTROLS[name].impossible(variant)]
    reasons = {CONTROLS[name].impossible(variant, mechanism) for variant in able}
    return reasons.pop() if len(reasons) == 1 else None
