"""Merges the results that the shards of a plan left into one run.

:func:`merge` trusts no shard to be there: the plan that every shard left beside its results says which cells there must
be, and each must have exactly one result.  What cannot belong together (another plan, farm, engine or compiler) is
refused; what is missing or doubled is named, and all that was measured is still reported.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from farm.cell import Cell, Planned, Verdict
from farm.errors import FarmError, UsageError
from farm.run import journal as journals
from farm.run import plan as plans
from farm.run.journal import Recorded, Run
from farm.run.plan import Plan, Selection
from farm.run.verdict import Result, lost, unfinished
from farm.text import counted

_LISTED = 20  # cells named, of those that are missing


class MergeError(FarmError):
    """Shards that do not belong together."""


@dataclass(frozen=True)
class Merged:
    """One run from its shards."""

    plan: Plan
    run: Run
    results: list[Result]  #: in plan order, at most one a cell
    problems: list[str] = field(default_factory=list)  #: what is missing, doubled, foreign or spoilt, in sentences
    unfinished: list[Result] = field(default_factory=list)  #: the provisional results of cells that have no other

    @property
    def shown(self) -> list[Result]:
        """A result for every planned cell, for reports: what is missing must not look as if all were well."""
        by_cell = {result.cell: unfinished(result) for result in self.unfinished}
        by_cell |= {result.cell: result for result in self.results}
        return [by_cell.get(planned.cell) or lost(planned.cell) for planned in self.plan.cells]


@dataclass(frozen=True)
class _Source:
    path: Path
    recorded: Recorded

    @property
    def name(self) -> str:
        return f"shard {self.recorded.run.shard}" if self.recorded.run.shard else "the whole plan"

    @property
    def plan(self) -> str:
        return self.recorded.run.whole or self.recorded.run.plan


def merge(paths: Iterable[Path], selection: Selection, *, mixed: bool = False) -> Merged:
    """The results in these folders as one run.

    ``selection`` has the paths of out-of-tree folders.  With ``mixed`` the engines and compilers may differ.

    Raises :class:`MergeError` for shards that do not belong together, :class:`~farm.errors.UsageError` for files that
    are no results.
    """
    files = journals.files_in(paths)
    begun = [path for path in files if not _cut_off(path)]
    sources = [_Source(path, journals.read(path)) for path in begun or files]
    for source in sources[1:]:
        _same(sources[0], source, mixed=mixed)
    plan = _plan(sources, selection)
    results: dict[Cell, list[tuple[_Source, Result]]] = {planned.cell: [] for planned in plan.cells}
    foreign: dict[str, list[Cell]] = defaultdict(list)
    for source in sources:
        for result in source.recorded.results:
            if result.cell in results:
                results[result.cell].append((source, result))
            else:
                foreign[str(source.path)].append(result.cell)
    unsure = {result.cell: result for source in sources for result in source.recorded.unfinished}
    left = {cell: unsure[cell] for cell, have in results.items() if not have and cell in unsure}
    problems = [*_missing(plan, results, sources, left), *_doubled(results)]
    problems += [f"{path}: {_cells(cells)} that the plan does not have" for path, cells in foreign.items()]
    problems += [f"{path}: was cut off in its first line" for path in files if path not in begun]
    problems += [complaint for source in sources for complaint in source.recorded.complaints]
    order = list(Verdict)
    kept = [max((r for _, r in have), key=lambda r: order.index(r.verdict)) for have in results.values() if have]
    together = _together([source.recorded.run for source in sources], plan)
    return Merged(replace(plan, shards=()), together, kept, problems, list(left.values()))


def _cut_off(path: Path) -> bool:
    """Returns whether the writer of these results died before the end of their first line."""
    try:
        with path.open("rb") as file:
            return not file.readline().endswith(b"\n")
    except OSError:
        return False  # reading it will say why


def _same(one: _Source, other: _Source, *, mixed: bool) -> None:
    """Raises :class:`MergeError`, which says what differs and how."""
    where = f"{one.path} ({one.name}) and {other.path} ({other.name}) do not belong together"
    if one.recorded.run.farm != other.recorded.run.farm:
        raise MergeError(f"{where}: farm {one.recorded.run.farm} and farm {other.recorded.run.farm}")
    if one.plan != other.plan:
        raise MergeError(f"{where}: they are of different plans, {_plans_differ(one, other)}")
    if one.recorded.run.quarantine != other.recorded.run.quarantine:
        raise MergeError(f"{where}: they were held against different lists of known-bad cells")
    if mixed:
        return
    ours, theirs = journals.tools(one.recorded.run), journals.tools(other.recorded.run)
    for tool in sorted(ours | theirs):
        first, second = ours.get(tool, set()), theirs.get(tool, set())
        if first != second:
            differ = [", ".join(sorted(left - right)) or "not" for left, right in ((first, second), (second, first))]
            raise MergeError(f"{where}: {tool} is {differ[0]} and {differ[1]}; --allow-mixed merges them all the same")


def _plans_differ(one: _Source, other: _Source) -> str:
    ours, theirs = _cells_of(one), _cells_of(other)
    if ours is None or theirs is None:
        return f"{one.plan[:12]} and {other.plan[:12]}"
    if alone := [cell for cell in ours if cell not in theirs] or [cell for cell in theirs if cell not in ours]:
        return f"of {len(ours):,} and {len(theirs):,} cells; {alone[0]} is in one alone"
    changed = [cell for cell in ours if ours[cell] != theirs[cell]]
    if not changed:
        return "of the same cells, but their scenarios do other things"
    cell = changed[0]
    return f"planned otherwise: {_cells(changed)}: {_planned(ours[cell])} and {_planned(theirs[cell])}"


def _planned(planned: Planned) -> str:
    return f"{planned.verdict} ({planned.reason})" if planned.verdict else "to run"


def _cells_of(source: _Source) -> dict[Cell, Planned] | None:
    try:
        return {planned.cell: planned for planned in plans.cells_in(source.path.parent / plans.FILE)}
    except UsageError:
        return None


def _plan(sources: Sequence[_Source], selection: Selection) -> Plan:
    """The whole plan, divided as the first shard has it that left all of it."""
    refused: list[FarmError] = []
    for path in (path for source in sources if (path := source.path.parent / plans.FILE).is_file()):
        try:
            plan = plans.read(path, selection)
        except UsageError as error:
            refused.append(error)
            continue
        if plan.sha256 == sources[0].plan:
            return plan
        refused.append(MergeError(f"{path} is not the plan of the results beside it"))
    nothing = MergeError(f"no {plans.FILE} beside {sources[0].path}: nothing says which cells there must be")
    raise refused[0] if refused else nothing


def _missing(
    plan: Plan, results: Mapping[Cell, Sequence[Any]], sources: Sequence[_Source], began: Collection[Cell]
) -> list[str]:
    absent: dict[tuple[int, bool], list[Cell]] = defaultdict(list)  # by shard, and whether it began them
    for planned, number in zip(plan.cells, plan.shards or (0,) * len(plan.cells), strict=True):
        if not results[planned.cell]:
            absent[number, planned.cell in began].append(planned.cell)
    there = {source.recorded.run.shard for source in sources}
    count = max(plan.shards, default=0)
    problems = []
    left = _LISTED
    for (number, begun), cells in sorted(absent.items()):
        shard = f"{number}/{count}"
        lost = "is missing" if number and shard not in there else "left unfinished" if begun else "has no result of"
        problems.append(f"{f'shard {shard}' if number else 'the run'} {lost}: {_cells(cells, left)}")
        left = max(1, left - len(cells))
    return problems


def _cells(cells: Sequence[Cell], listed: int = 1) -> str:
    """``3,900 cells, first A``; at most ``listed`` of them, a line each if they are more."""
    number = f"{counted(len(cells), 'cell')}{', first' if len(cells) > listed else ':'}"
    space = " " if listed == 1 or len(cells) == 1 else "\n  "
    return number + "".join(f"{space}{cell}" for cell in cells[:listed])


def _doubled(results: Mapping[Cell, Sequence[tuple[_Source, Result]]]) -> list[str]:
    pairs: dict[tuple[str, str], list[tuple[Result, Result]]] = defaultdict(list)
    for have in results.values():
        for source, result in have[1:]:
            first, one = have[0]
            pairs[f"{first.path} ({first.name})", f"{source.path} ({source.name})"].append((one, result))
    problems = []
    for (here, there), twice in pairs.items():
        differ = [(one, other) for one, other in twice if (one.verdict, one.trace) != (other.verdict, other.trace)]
        how = "with the same results"
        if differ:
            one, other = differ[0]
            how = f"{len(differ):,} with other results, first {one.cell}: {one.verdict} and {other.verdict}"
        cells = _cells([one.cell for one, _ in twice])
        problems.append(f"twice there, in {here} and in {there}: {cells}; {how}")
    return problems


def _together(parts: Sequence[Run], plan: Plan) -> Run:
    """The header of the whole."""
    versions: dict[str, set[str]] = defaultdict(set)
    for part in parts:
        for tool, version in part.versions.items():
            versions[tool] |= set(version.split(journals.AND))
    joined = {tool: journals.AND.join(sorted(versions[tool])) for tool in sorted(versions)}
    hosts = journals.AND.join(sorted({part.host for part in parts}))
    started = min(part.started for part in parts)
    changes: dict[str, Any] = {"plan": plan.sha256, "host": hosts, "versions": joined, "started": started, "phases": {}}
    changes["confinement"] = journals.confinements(parts)
    return msgspec.structs.replace(parts[0], schema=journals.SCHEMA, **changes, shard=None, whole=None)


def write(merged: Merged, path: Path) -> None:
    """``results.jsonl`` of the whole.  Raises :class:`~farm.errors.OutputError`."""
    journal = journals.Journal(path, merged.run)
    try:
        journal.add([*merged.results, *merged.unfinished])
    finally:
        journal.close()
