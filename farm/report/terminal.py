"""The grid, for a terminal or a log."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from farm.cell import EngineName, Verdict
from farm.report import agreed, by_kind, reasons, second_attempt, totals, uncontrolled, unwitnessed
from farm.report.audit import judged
from farm.report.explain import explain
from farm.report.grid import ALL, LEGEND, Column, Grid, Square, folded
from farm.report.text import Once, line
from farm.run.verdict import Result
from farm.text import counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from farm.run.plan import Plan

_EXPLAINED = 5
_REASONS = 12


def _style(square: Square) -> str:
    if square.failed:
        return "bold red"
    if not square.counts[Verdict.PASS] and not square.counts[Verdict.PASS_INSENSITIVE]:
        return "dim"
    return "green" if square.counts[Verdict.PASS] else "yellow"


def _head(column: Column) -> list[str]:
    """Mechanism, engine and profile, a line each, as far as there are any."""
    mechanism, engine = column
    return [line(part) for part in (mechanism, *EngineName.of(engine or "")) if part]


def _lines(square: Square, column: Column) -> list[str]:
    """What is in a square: failures have lines of their own, unless engines are added up."""
    return [square.brief()] if column[1] is ALL else square.lines()


def table(cell_grid: Grid, title: str | None = None) -> Table:
    """A grid as a table."""
    from rich.table import Table
    from rich.text import Text

    view = Table(title=title)
    view.add_column("variant", overflow="fold")
    for column in cell_grid.columns:
        view.add_column(Text("\n".join(_head(column))), overflow="fold")
    for row in cell_grid.rows:
        texts = [Text() for _ in cell_grid.columns]
        for text, column in zip(texts, cell_grid.columns, strict=True):
            if square := cell_grid.squares.get((row, column)):
                text.append("\n".join(_lines(square, column)), _style(square))
        view.add_row(Text(line(row)), *texts)
    return view


def blocks(cell_grid: Grid, width: int) -> list[list[Column]]:
    """The columns in blocks, each a table that is at most ``width`` wide.

    A mechanism is divided only if it alone is wider; a single column that is wider has a block of its own.
    """
    from rich.cells import cell_len

    def wide(texts: Iterable[str]) -> int:
        return max(map(cell_len, texts)) + 3  # two spaces and the line on its left

    widths = {column: wide(_head(column)) for column in cell_grid.columns}
    for (_, column), square in cell_grid.squares.items():
        widths[column] = max(widths[column], wide(_lines(square, column)))
    room = width - 1 - wide(["variant", *map(line, cell_grid.rows)])
    found: list[list[Column]] = [[]]
    left = room
    for mechanism in cell_grid.mechanisms:
        columns = cell_grid.of_mechanism(mechanism)
        whole = sum(widths[column] for column in columns)
        for column in columns:
            if found[-1] and (widths[column] > left or (column == columns[0] and left < whole <= room)):
                found.append([])
                left = room
            found[-1].append(column)
            left -= widths[column]
    return found


def legend(width: int) -> str:
    """What the signs mean, in lines that end between two of them."""
    lines = [LEGEND[0]]
    for meaning in LEGEND[1:]:
        if len(longer := f"{lines[-1]}   {meaning}") <= width:
            lines[-1] = longer
        else:
            lines.append(meaning)
    return "\n".join(lines)


def _show_grid(results: Sequence[Result], console: Console, *, verbose: bool) -> None:
    """The grid, as narrow as the terminal: where it would not fit, engines are added up but for what failed."""

    def tables(of: Grid, title: str | None = None) -> None:
        for columns in blocks(of, console.width):
            console.print(table(of.only(columns), title))
            title = None

    whole = Grid.of(results)
    ran = whole.without_holes()
    adds = not verbose and whole.can_be_added_up and len(blocks(ran, console.width)) > 1
    if adds:
        whole = whole.added_up()
        tables(whole.without_holes(), "patchfarm")
        failed = ran.where_failed()
        if failed.columns:
            console.print("By engine, where a cell failed:")
            tables(failed)
    else:
        tables(ran, "patchfarm")
    console.print(legend(console.width), markup=False, highlight=False)
    if adds:
        note = f"engines are added up ({', '.join(ran.engines)}): -v shows each, and so does report.html"
        console.print(line(note), markup=False, highlight=False, soft_wrap=True)
    if holes := whole.holes():
        console.print(line(f"folded away: {folded(holes, results)}"), markup=False, highlight=False, soft_wrap=True)


def show(
    results: Sequence[Result],
    plan: Plan,
    console: Console,
    *,
    verbose: bool = False,
    audited_on: Collection[str] = (),
) -> None:
    """The grid, then why cells did not run, then the failures explained.

    ``audited_on`` names the engines of whose cells the stores to code were to be judged.
    """
    _show_grid(results, console, verbose=verbose)
    holes = reasons(results)
    for reason, count in holes if verbose else holes[:_REASONS]:
        console.print(f"{counted(count, 'cell')} {line(reason)}", markup=False, highlight=False, soft_wrap=True)
    if len(holes) > _REASONS and not verbose:
        more = f"{counted(len(holes) - _REASONS, 'more reason')}: -v lists them all, report.html too"
        console.print(more, highlight=False)
    failures = by_kind(result for result in results if result.failed)
    once = Once()
    for result in failures if verbose else failures[:_EXPLAINED]:
        console.print()
        told = msgspec.structs.replace(result, reason=once(result.reason))
        console.print(explain(told, plan), markup=False, highlight=False, soft_wrap=True)
    if len(failures) > _EXPLAINED and not verbose:
        more = f"{counted(len(failures) - _EXPLAINED, 'more cell')} failed: -v explains all, report.html shows them"
        console.print(f"\n{more}", highlight=False)
    again = [result for result in results if result.retried]
    for result in again if verbose else again[:_EXPLAINED]:
        note = f"{result.verdict} {result.cell}: {second_attempt(result)}"
        console.print(line(note), markup=False, highlight=False, soft_wrap=True)
    if len(again) > _EXPLAINED and not verbose:
        more = f"{counted(len(again) - _EXPLAINED, 'more cell')} run twice: -v lists them all, junit.xml too"
        console.print(more, highlight=False)
    notes = uncontrolled(results, plan)
    for note in notes if verbose else notes[:_REASONS]:
        console.print(line(note), markup=False, highlight=False, soft_wrap=True)
    if len(notes) > _REASONS and not verbose:
        more = f"{counted(len(notes) - _REASONS, 'more scenario')} without a control: -v lists all, report.html too"
        console.print(more, highlight=False)
    if sentence := judged(results, audited_on):
        console.print(sentence, highlight=False, soft_wrap=True)
    for note in unwitnessed(results, plan)[: None if verbose else _REASONS]:
        console.print(line(note), markup=False, highlight=False, soft_wrap=True)
    if sentence := agreed(results):
        console.print(f"\n{sentence}")
    console.print(f"{counted(len(results), 'cell')}: {totals(results)}", highlight=False)
