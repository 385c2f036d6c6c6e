"""The cost table: guests, and ways to call them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from farm.measure.cost import Cost, measured_ways
from farm.report.markdown import code
from farm.report.text import line, printable

if TYPE_CHECKING:
    from rich.console import Console

CAPTION = "instructions executed per call, of a loop around one, and how many more than of a direct call"
_NOTE = 2_000  # characters, in Markdown
_NONE = "–"  # there is no such way


def _text(cost: Cost, way: str) -> str:
    count, more = cost.instructions.get(way), cost.over_direct(way)
    if count is None or more is None:
        return _NONE
    return str(count) if way == "direct" else f"{count} {more:+d}"


def _table(costs: Sequence[Cost]) -> tuple[int, list[list[str]]]:
    """The table with its head, and how many columns tell a row; what has no numbers is not in it.

    A row is a guest and a column a way to call; the other way round if there are fewer guests than ways.
    """
    ways = measured_ways(costs)
    measured = [cost for cost in costs if cost.instructions]
    if len(measured) < len(ways):
        head = ["call", *(line(cost.name) for cost in measured)]
        return 1, [head, *([way, *(_text(cost, way) for cost in measured)] for way in ways)]
    rows = [[line(cost.variant), line(cost.toolchain), *(_text(cost, way) for way in ways)] for cost in measured]
    return 2, [["variant", "toolchain", *ways], *rows]


def _folded(costs: Sequence[Cost], width: int | None, gap: int) -> Iterator[tuple[int, list[list[str]]]]:
    """The table of :func:`_table` in as many parts as it takes to be ``width`` wide, ``gap`` between its columns."""
    keys, rows = _table(costs)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    begin = end = keys
    while begin < len(widths):
        left = (width or sum(widths) + gap * len(widths)) - sum(widths[:keys]) - gap * (keys - 1)
        while end < len(widths) and (end == begin or left >= gap + widths[end]):
            left -= gap + widths[end]
            end += 1
        yield keys, [[*row[:keys], *row[begin:end]] for row in rows]
        begin = end


def _notes(costs: Sequence[Cost]) -> list[str]:
    return [printable(f"{cost.name}: {cost.note or cost.reason}") for cost in costs if cost.note or cost.reason]


def plain(costs: Sequence[Cost], width: int | None = None) -> str:
    """The table as plain text, for a log or a file; in parts, one below the other, if it is wider than ``width``."""
    lines = []
    for keys, rows in _folded(costs, width, gap=2):
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (
                f"{text:<{wide}}" if i < keys else f"{text:>{wide}}"
                for i, (text, wide) in enumerate(zip(row, widths, strict=True))
            )
            lines.append("  ".join(cells))
        lines.append("")
    return "\n".join([*lines[:-1], *([CAPTION] if lines else []), *_notes(costs)])


def markdown(costs: Sequence[Cost]) -> str:
    """The table in Markdown, for a document."""
    keys, (head, *rows) = _table(costs)
    rows = [[*map(code, row[:keys]), *row[keys:]] for row in rows]
    if keys == 1:
        head[1:] = map(code, head[1:])
    lines = [head, [*["---"] * keys, *["---:"] * (len(head) - keys)], *rows] if len(head) > keys else []
    notes = [f"- {code(note, _NOTE)}" for note in _notes(costs)]
    return "\n".join(
        [*(f"| {' | '.join(fields)} |" for fields in lines), "", *([CAPTION, ""] if lines else []), *notes]
    )


def show(costs: Sequence[Cost], console: Console) -> None:
    """The table on a terminal, else :func:`plain`."""
    if not console.is_terminal:
        console.print(plain(costs, console.width), markup=False, highlight=False, soft_wrap=True)
        return
    from rich.table import Table

    parts = list(_folded(costs, console.width - 4, gap=3))  # within its frame
    for keys, (head, *rows) in parts:
        view = Table(title="cost")
        for i, name in enumerate(head):
            view.add_column(name, justify="left" if i < keys else "right", no_wrap=True)
        for row in rows:
            view.add_row(*row)
        console.print(view)
    for note in [*([CAPTION] if parts else []), *_notes(costs)]:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
