"""Reports: everything is derived from results, so a report can be made again from ``results.jsonl``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from farm.cell import SKIPPED, Verdict
from farm.guest.controls import has_control
from farm.run.verdict import Result

if TYPE_CHECKING:
    from farm.measure.cost import Cost
    from farm.measure.coverage import Coverage
    from farm.report.table import Table
    from farm.run.journal import Run
    from farm.run.plan import Plan

#: Short form of each verdict, for where there is little room.
MARKS = {
    Verdict.PASS: "✓",
    Verdict.PASS_INSENSITIVE: "≈",
    Verdict.NOT_APPLICABLE: "–",
    Verdict.NOT_RUN: "○",
    Verdict.XFAIL: "x xfail",
    Verdict.XPASS: "✗ xpass",
    Verdict.FLAKY: "? flaky",
    Verdict.TIMEOUT: "✗ timeout",
    Verdict.CRASH: "✗ crash",
    Verdict.MISMATCH: "✗ mismatch",
    Verdict.BUILD_ERROR: "✗ build-error",
    Verdict.ENGINE_ERROR: "! engine-error",
}

LEGEND = (
    "✓ pass   ≈ pass, but this engine could not have shown the defect   "
    "– not applicable   ○ not run   ✗ failed   ! the emulator failed"
)

_ORDER = list(Verdict)


@dataclass(frozen=True)
class Material:
    """All that a report can be made of."""

    run: Run
    results: Sequence[Result]
    plan: Plan
    complaints: Sequence[str] = ()  #: a sentence for each thing that could not be used
    costs: Sequence[Cost] = ()
    coverage: Coverage | None = None
    tables: Sequence[Table] = ()


@dataclass
class Square:
    """The cells of one variant under one mechanism, toolchain and engine."""

    counts: Counter[Verdict] = field(default_factory=Counter)

    @property
    def worst(self) -> Verdict:
        return max(self.counts, key=_ORDER.index)

    def text(self) -> str:
        """Counts and marks, the worst last: ``32✓ 1≈ 4–``."""
        return " ".join(f"{self.counts[v]}{MARKS[v]}" for v in _ORDER if self.counts[v])


@dataclass
class Grid:
    """Variants down, mechanism and engine across."""

    rows: list[str] = field(default_factory=list)
    columns: list[tuple[str, str]] = field(default_factory=list)
    squares: dict[tuple[str, tuple[str, str]], Square] = field(default_factory=dict)
    built: dict[str, tuple[str, str | None]] = field(default_factory=dict)  #: variant, and toolchain if several, by row


def grid(results: Iterable[Result]) -> Grid:
    """The grid of ``results``; a variant built by several toolchains has a row for each."""
    counts: Counter[tuple[str, str, str, str, Verdict]] = Counter(
        (cell.variant, cell.toolchain, cell.mechanism, cell.engine, result.verdict)
        for result in results
        for cell in (result.cell,)
    )
    toolchains: dict[str, set[str]] = {}
    for variant, toolchain, *_ in counts:
        toolchains.setdefault(variant, set()).add(toolchain)
    cell_grid = Grid()
    for (variant, toolchain, mechanism, engine, verdict), count in counts.items():
        several = len(toolchains[variant]) > 1
        row = f"{variant} ({toolchain})" if several else variant
        column = (mechanism, engine)
        if row not in cell_grid.rows:
            cell_grid.rows.append(row)
            cell_grid.built[row] = (variant, toolchain if several else None)
        if column not in cell_grid.columns:
            cell_grid.columns.append(column)
        cell_grid.squares.setdefault((row, column), Square()).counts[verdict] += count
    return cell_grid


def totals(results: Iterable[Result]) -> str:
    """Counts by verdict: ``10,652 pass, 86 pass-insensitive, 4,862 not-applicable``."""
    counts = Counter(result.verdict for result in results)
    return ", ".join(f"{counts[verdict]:,} {verdict}" for verdict in _ORDER if counts[verdict])


def by_kind(failures: Iterable[Result]) -> list[Result]:
    """``failures``, the first of each kind (variant, mechanism, toolchain and verdict) before all others."""
    first: dict[tuple[str, str, str, Verdict], Result] = {}
    others = []
    for result in failures:
        cell = result.cell
        if first.setdefault((cell.variant, cell.mechanism, cell.toolchain, result.verdict), result) is not result:
            others.append(result)
    return [*first.values(), *others]


def reasons(results: Iterable[Result]) -> list[tuple[str, int]]:
    """The reasons why cells did not run, each with its number of cells."""
    counts: Counter[str] = Counter()
    for result in results:
        if result.verdict in (Verdict.NOT_APPLICABLE, Verdict.NOT_RUN):
            counts[f"{result.verdict}: {result.reason}"] += 1
    return counts.most_common()


def second_attempt(result: Result) -> str:
    """The note on a cell that was run twice because the emulator failed; empty if it was run once."""
    return f"second attempt; in the first the emulator failed: {result.retried}" if result.retried else ""


def agreement(results: Sequence[Result]) -> tuple[int, int]:
    """The number of scenarios that ran in more than one cell, and how many of them left one trace everywhere.

    A scenario that asks what the CPU has may leave another trace on each kind of CPU.
    """
    agree: dict[str, bool] = {}
    for (name, _), ran in comparable(results).items():
        if len(ran) > 1:
            traces = {result.trace for result in ran}
            agree[name] = agree.get(name, True) and len(traces) == 1 and None not in traces
    return len(agree), sum(agree.values())


def comparable(results: Iterable[Result]) -> dict[tuple[str, str | None], list[Result]]:
    """Results that should have one and the same trace, by scenario and the digest of what is expected.

    A cell that never ran, as its guest does not compile or its result is missing, agrees with none and is left out.
    """
    by_expectation: dict[tuple[str, str | None], list[Result]] = {}
    for result in results:
        if result.verdict not in SKIPPED and (result.trace, result.expected) != (None, None):
            by_expectation.setdefault((result.cell.scenario, result.expected), []).append(result)
    return by_expectation


def uncontrolled(results: Iterable[Result], plan: Plan) -> list[str]:
    """A line for each scenario that ran with no negative control: none has ever shown that it can fail."""
    ran = {(r.cell.scenario, r.cell.mechanism) for r in results if r.verdict not in SKIPPED}
    variants = plan.variants.values()
    return [
        f"{name} has no negative control under {mechanism}: nothing shows that it can fail"
        for name, mechanism in sorted(ran)
        if name in plan.scenarios and not has_control(plan.scenarios[name].detects, variants, mechanism)
    ]
