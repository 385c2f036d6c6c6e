"""The cost table: a row a variant and toolchain, a column a way to call."""

from __future__ import annotations

from collections.abc import Sequence
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


def _rows(costs: Sequence[Cost]) -> list[list[str]]:
    """The table with its head; what has no numbers is not in it."""
    ways = measured_ways(costs)
    measured = [cost for cost in costs if cost.instructions]
    return [
        ["variant", "toolchain", *ways],
        *([line(cost.variant), line(cost.toolchain), *(_text(cost, way) for way in ways)] for cost in measured),
    ]


def _notes(costs: Sequence[Cost]) -> list[str]:
    return [printable(f"{cost.name}: {cost.note or cost.reason}") for cost in costs if cost.note or cost.reason]


def plain(costs: Sequence[Cost]) -> str:
    """The table as plain text, for a log or a file."""
    rows = _rows(costs)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows if len(rows) > 1 else []:
        cells = (
            f"{text:<{width}}" if i < 2 else f"{text:>{width}}"
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells))
    return "\n".join([*lines, *([CAPTION] if lines else []), *_notes(costs)])


def markdown(costs: Sequence[Cost]) -> str:
    """The table in Markdown, for a document."""
    head, *rows = _rows(costs)
    rows = [[*map(code, row[:2]), *row[2:]] for row in rows]
    lines = [head, ["---", "---", *["---:"] * (len(head) - 2)], *rows] if rows else []
    notes = [f"- {code(note, _NOTE)}" for note in _notes(costs)]
    return "\n".join([*(f"| {' | '.join(fields)} |" for fields in lines), "", *([CAPTION, ""] if rows else []), *notes])


def show(costs: Sequence[Cost], console: Console) -> None:
    """The table on a terminal, else :func:`plain`."""
    if not console.is_terminal:
        console.print(plain(costs), markup=False, highlight=False, soft_wrap=True)
        return
    from rich.table import Table

    head, *rows = _rows(costs)
    if rows:
        view = Table(title="cost", caption=CAPTION, caption_justify="left")
        for i, name in enumerate(head):
            view.add_column(name, justify="left" if i < 2 else "right", no_wrap=i < 2)
        for row in rows:
            view.add_row(*row)
        console.print(view)
    for note in _notes(costs):
        console.print(note, markup=False, highlight=False, soft_wrap=True)
