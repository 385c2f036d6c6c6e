"""The grid, for a terminal or a log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from farm.cell import FAILED, EngineName, Verdict
from farm.report import LEGEND, Square, agreement, by_kind, grid, reasons, second_attempt, totals, uncontrolled
from farm.report.explain import explain
from farm.report.text import Once, line
from farm.run.verdict import Result

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from farm.run.plan import Plan

_EXPLAINED = 5
_REASONS = 12
_WIDEST = 1000  # columns of a terminal


def _style(square: Square) -> str:
    if square.worst in FAILED:
        return "bold red"
    if not square.counts[Verdict.PASS] and not square.counts[Verdict.PASS_INSENSITIVE]:
        return "dim"
    return "green" if square.counts[Verdict.PASS] else "yellow"


def table(results: Sequence[Result], mechanisms: Sequence[str] = ()) -> Table:
    """Variants down, mechanism and engine across, counts by verdict; of some mechanisms alone if they are named."""
    from rich.table import Table
    from rich.text import Text

    cell_grid = grid(results)
    if mechanisms:
        cell_grid.columns = [column for column in cell_grid.columns if column[0] in mechanisms]
    view = Table(title="patchfarm")
    view.add_column("variant", overflow="fold")
    for mechanism, engine in cell_grid.columns:
        name, profile = EngineName.of(engine)
        view.add_column(Text("\n".join(line(part) for part in (mechanism, name, profile))), overflow="fold")
    for row in cell_grid.rows:
        squares = [cell_grid.squares.get((row, column)) for column in cell_grid.columns]
        view.add_row(Text(line(row)), *(Text(s.text(), style=_style(s)) if s else Text("") for s in squares))
    return view


def show(results: Sequence[Result], plan: Plan, console: Console, *, verbose: bool = False) -> None:
    """The grid, then why cells did not run, then the failures explained."""
    from rich.measure import Measurement

    whole = table(results)
    needed = Measurement.get(console, console.options.update(max_width=_WIDEST), whole).maximum
    if needed <= console.width:
        console.print(whole)
    else:  # a table a mechanism
        for mechanism in dict.fromkeys(result.cell.mechanism for result in results):
            console.print(table(results, [mechanism]))
    console.print(LEGEND, highlight=False)
    holes = reasons(results)
    for reason, count in holes if verbose else holes[:_REASONS]:
        console.print(f"{count:,} cells {line(reason)}", markup=False, highlight=False, soft_wrap=True)
    if len(holes) > _REASONS and not verbose:
        more = f"{len(holes) - _REASONS:,} more reasons: -v lists them all, report.html too"
        console.print(more, highlight=False)
    failures = by_kind(result for result in results if result.failed)
    once = Once()
    for result in failures if verbose else failures[:_EXPLAINED]:
        console.print()
        told = msgspec.structs.replace(result, reason=once(result.reason))
        console.print(explain(told, plan), markup=False, highlight=False, soft_wrap=True)
    if len(failures) > _EXPLAINED and not verbose:
        more = f"{len(failures) - _EXPLAINED:,} more cells failed: -v explains them all, report.html shows them"
        console.print(f"\n{more}", highlight=False)
    again = [result for result in results if result.retried]
    for result in again if verbose else again[:_EXPLAINED]:
        note = f"{result.verdict} {result.cell}: {second_attempt(result)}"
        console.print(line(note), markup=False, highlight=False, soft_wrap=True)
    if len(again) > _EXPLAINED and not verbose:
        more = f"{len(again) - _EXPLAINED:,} more cells were run twice: -v lists them all, junit.xml too"
        console.print(more, highlight=False)
    for note in uncontrolled(results, plan):
        console.print(line(note), markup=False, highlight=False, soft_wrap=True)
    compared, agree = agreement(results)
    if compared:
        console.print(f"\n{agree} of {compared} scenarios leave one and the same trace in every cell that ran them")
    console.print(f"{len(results):,} cells: {totals(results)}", highlight=False)
