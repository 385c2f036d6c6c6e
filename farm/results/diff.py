"""Compares two runs cell by cell, the earlier one called A and the later one B.

Each cell of either run has exactly one :class:`Change`, which :func:`classify` reads off its two verdicts.  The rest,
versions and images and times, is said beside it and is no regression by itself.

Times differ from host to host and from run to run, so what is *slower* is decided by what this pair shows of itself.
Only cells that passed in both runs count, each with the logarithm of its ratio, B over A.  The median of all is how
much slower the whole run is; it is reported, and taken out.  Three things can be slower:

- a part of the run (what is of one engine, mechanism or toolchain): within each variant, whose cells run at about the
  same time, the median of its cells is held against that of the others; the part is slower if the median of these
  distances is at least the factor :data:`FACTOR`, and :data:`DEVIATIONS` times its standard error, and if it lost
  :data:`SECONDS` altogether.  What is found is taken out before anything else is looked for, so that a slower engine is
  no noise that hides a slower cell;
- the sum over a group of cells (those of one variant, mechanism, toolchain and engine), or a cell, if it lost at least
  :data:`SECONDS` and the factor :data:`FACTOR`, and lies further from the median than :data:`DEVIATIONS` times the
  usual distance, which is the median absolute deviation, scaled to be a standard deviation where noise is normal.

A whole variant is no part: a host that was busy while it ran looks the same.  Medians, because a few cells wait for a
child to start and take a thousand times as long as the rest.  So a host that is ten times slower makes nothing slower,
and neither does what slows down all parts alike: that cannot be told from a slower host.
"""

from __future__ import annotations

import enum
import math
import os
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from farm.cell import FAILED, PASSED, SKIPPED, Cell, Verdict
from farm.errors import FarmError
from farm.run.journal import FILE, Recorded, Run, read, unfinished
from farm.run.verdict import Result

SCHEMA = 1
SECONDS = 1.0  # a cell that waits for a child on a busy host may well lose half of this
FACTOR = 1.5
DEVIATIONS = 4
_GROUPS = 10  # fewer say nothing of how far groups usually are from the median; cells do
_CELLS = 10  # of a part in one variant, and as many others; fewer are not compared
_VARIANTS = 5  # fewer that can be compared say nothing of a part

_FAILING = FAILED - {Verdict.XPASS}  # an unexpected pass is a stale list, the guest did right


class Change(enum.Enum):
    """The change of a cell from A to B, in order of importance."""

    NEW_FAILURE = "new failure"  #: fails in B and did not in A, where it may not even have been
    NEW_FLAKY = "new flaky"  #: the same, though not every time
    VANISHED = "vanished"  #: in A alone
    NEWLY_SKIPPED = "newly skipped"  #: ran in A
    WEAKENED = "weakened"  #: passes as before, but could no longer have shown a defect
    STILL_FAILING = "still failing"  #: in the same way or in another
    KNOWN_BAD = "known-bad changed"  #: a listed failure: from a pass, to an unexpected one, or to another failure
    FIXED = "fixed"
    NOW_RUN = "now run"  #: was skipped in A, and does not fail
    ADDED = "new cell"  #: in B alone, and does not fail
    STRENGTHENED = "strengthened"  #: passes as before, and now could have shown a defect
    UNCHANGED = "unchanged"

    __hash__ = object.__hash__  # as in Verdict

    def __str__(self) -> str:
        return self.value


def classify(before: Verdict | None, after: Verdict | None) -> Change:
    """The change from ``before`` to ``after``; None is a run without the cell, and not both are."""
    if after is None:
        return Change.VANISHED
    if after in _FAILING:
        if before in _FAILING:
            return Change.STILL_FAILING
        return Change.NEW_FLAKY if after is Verdict.FLAKY else Change.NEW_FAILURE
    if before is None:
        return Change.ADDED
    if after in SKIPPED:
        return Change.UNCHANGED if before in SKIPPED else Change.NEWLY_SKIPPED
    if before in SKIPPED:
        return Change.NOW_RUN
    if before is after:
        return Change.UNCHANGED
    if after in PASSED and before in _FAILING | {Verdict.XFAIL}:
        return Change.FIXED
    if after in PASSED and before in PASSED:
        return Change.WEAKENED if after is Verdict.PASS_INSENSITIVE else Change.STRENGTHENED
    return Change.KNOWN_BAD


class Changed(msgspec.Struct, frozen=True):
    """A cell, and what became of it."""

    cell: Cell
    change: Change
    before: Verdict | None  #: None: not in A
    after: Verdict | None  #: None: not in B
    reason_before: str | None
    reason: str | None  #: why the verdict of B is no pass
    reproduce: str | None  #: a command

    @property
    def regression(self) -> bool:
        if self.change is Change.VANISHED:
            return self.before not in SKIPPED
        return self.change in (Change.NEW_FAILURE, Change.NEW_FLAKY, Change.NEWLY_SKIPPED, Change.WEAKENED)


class Fact(msgspec.Struct, frozen=True):
    """Something about the runs themselves that differs: ``unicorn`` was ``2.1.2`` and is ``2.1.4``."""

    what: str
    before: str | None
    after: str | None


class NewImage(msgspec.Struct, frozen=True):
    """A guest that was built anew and came out different."""

    variant: str
    mechanism: str
    toolchain: str
    before: str  #: sha256
    after: str


class Slower(msgspec.Struct, frozen=True):
    """A part, group or cell that became slower by more than the noise."""

    name: str  #: a part ``*/*/*/unicorn``, a group ``arm64/stub/zig/unicorn``, or a cell
    cells: int
    before: float  #: seconds
    after: float  #: seconds
    factor: float  #: slower by this much, beside what the whole run is slower


class Side(msgspec.Struct, frozen=True):
    """One of the two runs."""

    path: str
    run: Run
    verdicts: dict[str, int]  #: how many cells have which


class Diff(msgspec.Struct, frozen=True):
    """The output of ``farm diff --format json``."""

    schema: int
    before: Side  #: A
    after: Side  #: B
    regression: bool
    counts: dict[str, int]  #: cells by change, those that are unchanged included
    cells: list[Changed]  #: those that are not; what matters most first
    facts: list[Fact]
    expectations: list[str]  #: scenarios of which the model expects another trace
    images: list[NewImage]
    ratio: float | None  #: median over the cells that passed in both of B's seconds by A's
    slower: list[Slower]

    @property
    def nothing(self) -> bool:
        """True if there is no difference, times apart."""
        return not (self.cells or self.facts or self.expectations or self.images or self.slower)


def load(path: Path) -> Recorded:
    """The results in ``path``, an output folder or a ``results.jsonl``.

    Raises :class:`~farm.errors.UsageError` for what is neither, :class:`~farm.errors.FarmError` if it holds no result.
    """
    file = path / FILE if os.path.isdir(path) else path  # noqa: PTH112 - Path's raises for some
    recorded = read(file)
    if not recorded.results:
        raise FarmError(f"{file}: holds no result{' that is sure' if recorded.unfinished else ''}")
    recorded.complaints.extend(f"{file}: {said}" for said in unfinished(recorded.unfinished))
    return recorded


def compare(before: Recorded, after: Recorded, names: tuple[str, str] = ("A", "B")) -> Diff:
    """The difference from ``before`` to ``after``, which came from files of these ``names``."""
    a = {result.cell: result for result in before.results}
    b = {result.cell: result for result in after.results}
    every = [_changed(cell, a.get(cell), b.get(cell)) for cell in {**a, **b}]
    order = list(Change)
    changed = sorted(
        (each for each in every if each.change is not Change.UNCHANGED), key=lambda c: order.index(c.change)
    )
    counts = Counter(each.change for each in every)
    common = [(a[cell], b[cell]) for cell in a if cell in b]
    ratio, slow = _slower(common)
    return Diff(
        SCHEMA,
        _side(names[0], before),
        _side(names[1], after),
        any(each.regression for each in changed),
        {str(change): counts[change] for change in Change if counts[change]},
        changed,
        _facts(before.run, after.run),
        sorted({x.cell.scenario for x, y in common if x.expected and y.expected and x.expected != y.expected}),
        _images(before.results, after.results),
        ratio,
        slow,
    )


def _side(name: str, recorded: Recorded) -> Side:
    counts = Counter(result.verdict for result in recorded.results)
    return Side(name, recorded.run, {str(verdict): counts[verdict] for verdict in Verdict if counts[verdict]})


def _changed(cell: Cell, before: Result | None, after: Result | None) -> Changed:
    was, now = before.verdict if before else None, after.verdict if after else None
    change = classify(was, now)
    if was is now is Verdict.XFAIL and before and after:
        same = (before.excused, before.trace) == (after.excused, after.trace)
        change = Change.UNCHANGED if same else Change.KNOWN_BAD
    return Changed(
        cell,
        change,
        was,
        now,
        before.reason if before else None,
        after.reason if after else None,
        after.reproduce if after else None,
    )


def _facts(before: Run, after: Run) -> list[Fact]:
    """Differences of the headers, except the time of the start; of a shard, the whole plan is compared."""

    def told(run: Run) -> dict[str, str | None]:
        return {
            "farm": run.farm,
            "plan": (run.whole or run.plan)[:12],
            "shard": run.shard,
            "known-bad list": (run.quarantine or "")[:12] or None,
            "host": run.host,
            "confinement": run.confinement,
            **run.versions,
        }

    a, b = told(before), told(after)
    return [Fact(what, a.get(what), b.get(what)) for what in {**a, **b} if a.get(what) != b.get(what)]


def _images(before: Iterable[Result], after: Iterable[Result]) -> list[NewImage]:
    def built(results: Iterable[Result]) -> dict[tuple[str, str, str], str]:
        return {(r.cell.variant, r.cell.mechanism, r.cell.toolchain): r.image for r in results if r.image}

    a, b = built(before), built(after)
    return [NewImage(*key, a[key], b[key]) for key in a if key in b and a[key] != b[key]]


_K = TypeVar("_K")


_Times = dict[Cell, tuple[float, float]]


def _slower(common: Sequence[tuple[Result, Result]]) -> tuple[float | None, list[Slower]]:
    """The median ratio, and the parts, groups and single cells that the module's rule finds, what lost most first.

    A cell of a group that is found is part of it.
    """
    times: _Times = {
        x.cell: (x.seconds, y.seconds)
        for x, y in common
        if x.verdict in PASSED and y.verdict in PASSED and x.seconds > 0 and y.seconds > 0
    }
    if not times:
        return None, []
    slower, cells = _slower_parts(times)
    groups, seen = _summed(cells), _summed(times)
    sizes = Counter(map(_group, times))
    middle = statistics.median(_logarithms(cells))
    noise = _deviation(_logarithms(cells), middle)
    slow_groups = _beyond(groups, middle, _deviation(_logarithms(groups), middle) if len(groups) >= _GROUPS else noise)
    slow_cells = {cell: by for cell, by in _beyond(cells, middle, noise).items() if _group(cell) not in slow_groups}
    slower += [Slower("/".join(key), sizes[key], *seen[key], factor) for key, factor in slow_groups.items()]
    slower += [Slower(str(cell), 1, *times[cell], factor) for cell, factor in slow_cells.items()]
    ratio = math.exp(statistics.median(_logarithms(times)))
    return ratio, sorted(slower, key=lambda slow: slow.before - slow.after)


def _slower_parts(times: _Times) -> tuple[list[Slower], _Times]:
    """The parts that are slower than the rest, and ``times`` as if in A they had been so slow already."""
    parts: dict[str, list[Cell]] = {}
    variants: dict[str, list[Cell]] = {}
    for cell in times:
        for name in _parts(cell):
            parts.setdefault(name, []).append(cell)
        variants.setdefault(cell.variant, []).append(cell)
    logarithms = dict(zip(times, _logarithms(times), strict=True))
    slower = []
    for _ in range(len(parts)):
        behind, name = max((_behind(name, variants.values(), logarithms), name) for name in parts)
        cells = parts.pop(name)
        before, after = (math.fsum(times[cell][side] for cell in cells) for side in (0, 1))
        if behind and after - before * math.exp(statistics.median(logarithms.values())) >= SECONDS:
            slower.append(Slower(name, len(cells), before, after, math.exp(behind)))
            for cell in cells:
                logarithms[cell] -= behind
    return slower, {cell: (now / math.exp(logarithms[cell]), now) for cell, (_, now) in times.items()}


def _parts(cell: Cell) -> tuple[str, str, str]:
    return f"*/*/*/{cell.engine.partition(':')[0]}", f"*/{cell.mechanism}/*/*", f"*/*/{cell.toolchain}/*"


def _behind(part: str, variants: Iterable[Sequence[Cell]], logarithms: Mapping[Cell, float]) -> float:
    """The logarithm by which ``part`` is slower than the rest; 0 if that is too little to report."""
    distances = []
    for cells in variants:
        of_part = [logarithms[cell] for cell in cells if part in _parts(cell)]
        others = [logarithms[cell] for cell in cells if part not in _parts(cell)]
        if min(len(of_part), len(others)) >= _CELLS:
            distances.append(statistics.median(of_part) - statistics.median(others))
    if len(distances) < _VARIANTS:
        return 0.0
    behind = statistics.median(distances)
    error = 1.2533 * _deviation(distances, behind) / math.sqrt(len(distances))
    return behind if behind >= max(math.log(FACTOR), DEVIATIONS * error) else 0.0


def _summed(times: _Times) -> dict[tuple[str, str, str, str], tuple[float, float]]:
    groups: dict[tuple[str, str, str, str], tuple[float, float]] = {}
    for cell, (was, now) in times.items():
        before, after = groups.get(_group(cell), (0.0, 0.0))
        groups[_group(cell)] = (before + was, after + now)
    return groups


def _group(cell: Cell) -> tuple[str, str, str, str]:
    return cell.variant, cell.mechanism, cell.toolchain, cell.engine


def _logarithms(times: Mapping[_K, tuple[float, float]]) -> list[float]:
    return [math.log(now / was) for was, now in times.values()]


def _deviation(values: Iterable[float], middle: float) -> float:
    return 1.4826 * statistics.median(abs(value - middle) for value in values)


def _beyond(times: Mapping[_K, tuple[float, float]], middle: float, noise: float) -> dict[_K, float]:
    """The factor of each key that became slower beyond the noise; ``middle`` and ``noise`` are logarithms."""
    least = max(math.log(FACTOR), DEVIATIONS * noise)
    return {
        key: now / was / math.exp(middle)
        for key, (was, now) in times.items()
        if now - was * math.exp(middle) >= SECONDS and math.log(now / was) - middle >= least
    }
