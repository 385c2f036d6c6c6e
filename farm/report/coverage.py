"""The coverage table: a row a variant, a column a file of its architecture's, and one for the mechanisms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from farm.cell import EngineName
from farm.measure.coverage import Coverage, Line, Source, by_variant, complaints, one_way, unreached

if TYPE_CHECKING:
    from rich.console import Console

CAPTION = "lines reached of those with code, and ways of conditional branches taken (?: nothing tells branches apart)"

_FILES = ("patch.c", "stub.S", "sites.c")
_COLUMNS = (*_FILES, "mechanisms")


def _column(source: Source) -> str:
    name = Path(source.path).name
    return name if name in _FILES else "mechanisms"


def _of(counts: Sequence[int]) -> str:
    return f"{sum(count > 0 for count in counts)}/{len(counts)}"


def _square(column: str, sources: list[Source], *, tells_branches: bool) -> str:
    """``11/11 4/4``: lines, and branches, of which a stub has none."""
    lines = [count for source in sources for count in source.lines.values()]
    if not lines:
        return "–"
    if column == "stub.S":
        return _of(lines)
    return f"{_of(lines)} {_of([w.taken for s in sources for w in s.branches]) if tells_branches else '?'}"


def rows(coverage: Coverage) -> list[list[str]]:
    """The table with its head; what was not measured is not in it."""
    engines: dict[str, dict[str, None]] = {}
    telling = set()
    for unit in coverage.units:
        if unit.engine:
            engines.setdefault(unit.variant, {})[EngineName.of(unit.engine).engine] = None
            if unit.branches:
                telling.add(unit.variant)
    table_rows = [["variant", *_COLUMNS, "engines"]]
    for variant, sources in by_variant(coverage).items():
        squares = [
            _square(column, [s for s in sources if _column(s) == column], tells_branches=variant in telling)
            for column in _COLUMNS
        ]
        table_rows.append([variant, *squares, ", ".join(engines[variant])])
    return table_rows


def totals(coverage: Coverage) -> str:
    """``patch.c: 280 of 280 lines, 120 of 130 ways of branches; stub.S: ...``, of all variants."""
    lines: dict[str, list[int]] = {name: [] for name in _COLUMNS}
    ways: dict[str, list[int]] = {name: [] for name in _COLUMNS}
    for sources in by_variant(coverage).values():
        for source in sources:
            lines[_column(source)] += source.lines.values()
            ways[_column(source)] += (way.taken for way in source.branches)
    parts = []
    for name in _COLUMNS:
        branches = f", {_percent(ways[name])} of branches" if ways[name] else ""
        if lines[name]:
            parts.append(f"{name}: {_percent(lines[name])} of lines{branches}")
    return "; ".join(parts)


def _percent(counts: Sequence[int]) -> str:
    """The share that was reached, in per cent; rounded down, so that 100 % is all."""
    return f"{100 * sum(count > 0 for count in counts) // len(counts)} % ({_of(counts)})"


def notes(coverage: Coverage) -> list[str]:
    """Every line that was not reached, with the reason; every one of patch.c with a way not taken; what is missing."""
    everywhere = tuple(by_variant(coverage))

    def where(line: Line) -> str:
        anywhere = line.variants == everywhere and len(everywhere) > 1
        return "anywhere" if anywhere else f"on {', '.join(line.variants)}"

    holes = Counter(unit.reason for unit in coverage.units if unit.reason and not unit.failed)
    return [
        *(f"{line} not reached {where(line)}: {line.excuse or 'no reason is given'}" for line in unreached(coverage)),
        *(f"{line}: not every way taken {where(line)}" for line in one_way(coverage) if line.must_be_reached),
        *(f"{count} guest{'s' * (count > 1)} not measured: {reason}" for reason, count in holes.items()),
    ]


def show(coverage: Coverage, console: Console) -> None:
    """The table, what was not reached and why, and what is not as it should be."""
    from rich.table import Table

    head, *body = rows(coverage)
    if body:
        view = Table(title="coverage", caption=CAPTION, caption_justify="left")
        for name in head:
            view.add_column(name, no_wrap=name != "engines")
        for row in body:
            view.add_row(*row)
        console.print(view)
    for line in notes(coverage):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for line in complaints(coverage):
        console.print(f"✗ {line}", markup=False, highlight=False, soft_wrap=True)
    if body:
        console.print(totals(coverage), markup=False, highlight=False, soft_wrap=True)
