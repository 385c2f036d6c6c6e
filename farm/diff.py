"""What became of every cell between two runs, the earlier one called A and the later one B.

Each cell of either run has exactly one :class:`Change`, which :func:`classify` reads off its two verdicts.  The rest,
versions and images and times, is said beside it and is no regression by itself.

Times differ from host to host and from run to run, so what is *slower* is decided by what this pair shows of itself.
Only cells that passed in both runs count.  The median of their ratios, B over A, is how much slower the whole run is,
and is taken out.  What is left of a cell, or of the sum over a group of cells (those of one variant, mechanism,
toolchain and engine), is slower if three things are true: it lost at least :data:`SECONDS`; it lost at least the
factor :data:`FACTOR`; and the logarithm of its ratio lies further from the median than :data:`DEVIATIONS` times the
usual distance, which is the median absolute deviation, scaled to be a standard deviation where noise is normal.
Medians, because a few cells wait for a child to start and take a thousand times as long as the rest.  So a host that
is ten times slower makes nothing slower, and neither does what slows down more than half of all cells: that cannot be
told from a slower host, and the median ratio itself is reported for it.
"""

from __future__ import annotations

import enum
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from farm.errors import FarmError
from farm.plan import Cell
from farm.run import Recorded, Run, read
from farm.verdict import FAILED, PASSED, SKIPPED, Result, Verdict

SCHEMA = 1
SECONDS = 0.25  # a cell that waits for the host or for a child may well lose half of this
FACTOR = 1.5
DEVIATIONS = 4
_GROUPS = 10  # fewer say nothing of how far groups usually are from the median; cells do

_FAILING = FAILED - {Verdict.XPASS}  # an unexpected pass is a stale list, the guest did right


class Change(enum.Enum):
    """What became of a cell, what matters most first."""

    NEW_FAILURE = "new failure"  #: fails in B and did not in A, where it may not even have been
    NEW_FLAKY = "new flaky"  #: the same, though not every time
    VANISHED = "vanished"  #: in A alone
    NEWLY_SKIPPED = "newly skipped"  #: ran in A
    WEAKENED = "weakened"  #: passes as before, but could no longer have shown a defect
    STILL_FAILING = "still failing"  #: in the same way or in another
    KNOWN_BAD = "known-bad changed"  #: to, or from, a pass or a failure that is listed as known-bad
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
    """A group ``variant/mechanism/toolchain/engine``, or a cell, that lost more than the noise."""

    name: str
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
    """What ``farm diff --format json`` prints."""

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
        """There is no difference, times apart."""
        return not (self.cells or self.facts or self.expectations or self.images or self.slower)


def load(path: Path) -> Recorded:
    """The results in ``path``, an output folder or a ``results.jsonl``.

    Raises :class:`~farm.errors.UsageError` for what is neither, :class:`~farm.errors.FarmError` if it holds no result.
    """
    file = path / "results.jsonl" if path.is_dir() else path
    recorded = read(file)
    if not recorded.results:
        raise FarmError(f"{file}: holds no result")
    return recorded


def compare(before: Recorded, after: Recorded, names: tuple[str, str] = ("A", "B")) -> Diff:
    """The difference from ``before`` to ``after``, which came from files of these ``names``."""
    a = {result.cell: result for result in before.results}
    b = {result.cell: result for result in after.results}
    every = [_changed(cell, a.get(cell), b.get(cell)) for cell in {**a, **b}]
    order = list(Change)
    changed = sorted(
        (found for found in every if found.change is not Change.UNCHANGED), key=lambda c: order.index(c.change)
    )
    counts = Counter(found.change for found in every)
    common = [(a[cell], b[cell]) for cell in a if cell in b]
    ratio, slow = _slower(common)
    return Diff(
        SCHEMA,
        _side(names[0], before),
        _side(names[1], after),
        any(found.regression for found in changed),
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
    return Changed(
        cell,
        classify(was, now),
        was,
        now,
        before.reason if before else None,
        after.reason if after else None,
        after.reproduce if after else None,
    )


def _facts(before: Run, after: Run) -> list[Fact]:
    """What differs in the headers, but for when the runs began; the plan of the whole where a run is a shard."""

    def told(run: Run) -> dict[str, str | None]:
        return {
            "farm": run.farm,
            "plan": (run.whole or run.plan)[:12],
            "shard": run.shard,
            "host": run.host,
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


def _slower(common: Sequence[tuple[Result, Result]]) -> tuple[float | None, list[Slower]]:
    """The median ratio, and the groups and single cells that the module's rule finds, those that lost most first.

    A cell of a group that is found is part of it.
    """
    cells: dict[Cell, tuple[float, float]] = {}
    groups: dict[tuple[str, str, str, str], tuple[float, float]] = {}
    sizes: Counter[tuple[str, str, str, str]] = Counter()
    for x, y in common:
        if x.verdict in PASSED and y.verdict in PASSED and x.seconds > 0 and y.seconds > 0:
            cells[x.cell] = (x.seconds, y.seconds)
            key = _group(x.cell)
            was, now = groups.get(key, (0.0, 0.0))
            groups[key] = (was + x.seconds, now + y.seconds)
            sizes[key] += 1
    if not cells:
        return None, []
    middle = statistics.median(_logarithms(cells))
    noise = _spread(cells, middle)
    slow_groups = _beyond(groups, middle, _spread(groups, middle) if len(groups) >= _GROUPS else noise)
    slow_cells = {cell: by for cell, by in _beyond(cells, middle, noise).items() if _group(cell) not in slow_groups}
    found = [
        *(Slower("/".join(key), sizes[key], *groups[key], factor) for key, factor in slow_groups.items()),
        *(Slower(str(cell), 1, *cells[cell], factor) for cell, factor in slow_cells.items()),
    ]
    return math.exp(middle), sorted(found, key=lambda slow: slow.before - slow.after)


def _group(cell: Cell) -> tuple[str, str, str, str]:
    return cell.variant, cell.mechanism, cell.toolchain, cell.engine


def _logarithms(times: Mapping[_K, tuple[float, float]]) -> list[float]:
    return [math.log(now / was) for was, now in times.values()]


def _spread(times: Mapping[_K, tuple[float, float]], middle: float) -> float:
    return 1.4826 * statistics.median(abs(value - middle) for value in _logarithms(times))


def _beyond(times: Mapping[_K, tuple[float, float]], middle: float, noise: float) -> dict[_K, float]:
    """How much slower each is that is slower, ``middle`` and ``noise`` being logarithms."""
    least = max(math.log(FACTOR), DEVIATIONS * noise)
    return {
        key: now / was / math.exp(middle)
        for key, (was, now) in times.items()
        if now - was * math.exp(middle) >= SECONDS and math.log(now / was) - middle >= least
    }
