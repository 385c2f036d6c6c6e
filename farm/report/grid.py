"""The grid: variants down, mechanism and engine across, counts of cells by verdict.

A grid of many mechanisms, engines and profiles is wider than any page.  Every report makes it narrower in the same
two steps: columns in which no cell ran are folded away, and a mechanism's engines are added up where its columns
would still not fit.  Rows stay as they are, so that a variant is always to be found in its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from farm.cell import FAILED, SKIPPED, Verdict
from farm.run.verdict import Result
from farm.text import counted

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
    Verdict.RULE_BROKEN: "✗ rule-broken",
    Verdict.MISMATCH: "✗ mismatch",
    Verdict.BUILD_ERROR: "✗ build-error",
    Verdict.ENGINE_ERROR: "! engine-error",
}

LEGEND = (
    "✓ pass",
    "≈ pass, but this engine could not have shown the defect",
    "– not applicable",
    "○ not run",
    "✗ failed",
    "! the emulator failed",
)

#: Engine of a column in which the engines of a mechanism are added up.
ALL = None

_ORDER = list(Verdict)

Column = tuple[str, str | None]  #: mechanism, and engine or :data:`ALL`


@dataclass
class Square:
    """The cells of one variant under one mechanism, toolchain and engine."""

    counts: Counter[Verdict] = field(default_factory=Counter)

    @property
    def worst(self) -> Verdict:
        return max(self.counts, key=_ORDER.index)

    @property
    def failed(self) -> bool:
        """Some cell is not as expected."""
        return not FAILED.isdisjoint(self.counts)

    @property
    def hole(self) -> bool:
        """No cell ran."""
        return SKIPPED.issuperset(self.counts)

    def text(self) -> str:
        """Counts and marks, the worst last: ``32✓ 1≈ 4–``."""
        return " ".join(self._parts(_ORDER))

    def lines(self) -> list[str]:
        """:meth:`text`, with a line for each verdict that is spelled out: ``32✓ 4–`` and ``1✗ crash``."""
        short = [verdict for verdict in _ORDER if len(MARKS[verdict]) == 1]
        spelled = [verdict for verdict in _ORDER if verdict not in short]
        return list(filter(None, [" ".join(self._parts(short)), *self._parts(spelled)]))

    def brief(self) -> str:
        """Counts by sign, whatever verdicts it stands for: ``32✓ 4– 3✗``."""
        signs: Counter[str] = Counter()
        for verdict in _ORDER:
            signs[MARKS[verdict][0]] += self.counts[verdict]
        return " ".join(f"{count}{sign}" for sign, count in signs.items() if count)

    def _parts(self, verdicts: Iterable[Verdict]) -> Iterator[str]:
        return (f"{self.counts[v]}{MARKS[v]}" for v in verdicts if self.counts[v])


@dataclass
class Grid:
    """Variants down, mechanism and engine across."""

    rows: list[str] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)
    squares: dict[tuple[str, Column], Square] = field(default_factory=dict)
    built: dict[str, tuple[str, str | None]] = field(default_factory=dict)  #: variant, and toolchain if several, by row

    @classmethod
    def of(cls, results: Iterable[Result]) -> Grid:
        """The grid of ``results``; a variant built by several toolchains has a row for each.

        The columns of a mechanism are side by side.
        """
        counts: Counter[tuple[str, str, str, str, Verdict]] = Counter(
            (cell.variant, cell.toolchain, cell.mechanism, cell.engine, result.verdict)
            for result in results
            for cell in (result.cell,)
        )
        toolchains: dict[str, set[str]] = {}
        for variant, toolchain, *_ in counts:
            toolchains.setdefault(variant, set()).add(toolchain)
        made = cls()
        columns: dict[str, dict[Column, None]] = {}
        for (variant, toolchain, mechanism, engine, verdict), count in counts.items():
            several = len(toolchains[variant]) > 1
            row = f"{variant} ({toolchain})" if several else variant
            made.built.setdefault(row, (variant, toolchain if several else None))
            columns.setdefault(mechanism, {})[mechanism, engine] = None
            made.squares.setdefault((row, (mechanism, engine)), Square()).counts[verdict] += count
        made.rows = list(made.built)
        made.columns = [column for of_mechanism in columns.values() for column in of_mechanism]
        return made

    @property
    def mechanisms(self) -> list[str]:
        return list(dict.fromkeys(mechanism for mechanism, _ in self.columns))

    def of_mechanism(self, mechanism: str) -> list[Column]:
        """The columns of ``mechanism``."""
        return [column for column in self.columns if column[0] == mechanism]

    def holes(self) -> list[Column]:
        """Columns in which no cell ran; none if no cell ran at all, for then they are all that there is to see."""
        ran = {column for (_, column), square in self.squares.items() if not square.hole}
        return [column for column in self.columns if column not in ran] if ran else []

    def only(self, columns: Sequence[Column], rows: Sequence[str] | None = None) -> Grid:
        """The grid of ``columns`` alone, and of ``rows`` alone if they are named."""
        chosen = set(columns)
        squares = {place: square for place, square in self.squares.items() if place[1] in chosen}
        return Grid(list(self.rows if rows is None else rows), list(columns), squares, self.built)

    def where_failed(self) -> Grid:
        """The grid of the mechanisms and the rows in which some cell failed."""
        bad = [place for place, square in self.squares.items() if square.failed]
        rows = {row for row, _ in bad}
        mechanisms = {mechanism for _, (mechanism, _) in bad}
        columns = [column for column in self.columns if column[0] in mechanisms]
        return self.only(columns, [row for row in self.rows if row in rows])

    def added_up(self) -> Grid:
        """The grid with one column a mechanism, in which its engines are added up."""
        made = Grid(self.rows, [(mechanism, ALL) for mechanism in self.mechanisms], {}, self.built)
        for (row, (mechanism, _)), square in self.squares.items():
            made.squares.setdefault((row, (mechanism, ALL)), Square()).counts.update(square.counts)
        return made

    @property
    def can_be_added_up(self) -> bool:
        """There are several mechanisms, and one of them has several engines."""
        return 1 < len(self.mechanisms) < len(self.columns)

    @property
    def engines(self) -> list[str]:
        return list(dict.fromkeys(engine for _, engine in self.columns if engine is not ALL))

    def without_holes(self) -> Grid:
        """The grid of the columns in which some cell ran."""
        holes = set(self.holes())
        return self.only([column for column in self.columns if column not in holes])


def folded(columns: Sequence[Column], results: Iterable[Result]) -> str:
    """How many ``columns`` are folded away, which they are, and why none of their cells ran: words after a colon."""
    chosen = set(columns)
    why = Counter(
        f"{result.verdict}: {result.reason}"
        for result in results
        for cell in (result.cell,)
        if (cell.mechanism, cell.engine) in chosen or (cell.mechanism, ALL) in chosen
    )
    by_engine: dict[str | None, list[str]] = {}
    for mechanism, engine in columns:
        by_engine.setdefault(engine, []).append(mechanism)
    places = [
        ", ".join(mechanisms) if engine is ALL else f"{', '.join(mechanisms)} on {engine}"
        for engine, mechanisms in by_engine.items()
    ]
    (reason, _), *others = why.most_common()
    where = f"{counted(len(columns), 'column')} in which no cell ran ({'; '.join(places)})"
    return f"{where}: {'most are ' if others else ''}{reason}"
