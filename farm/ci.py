"""What a forge needs: a matrix of shards, and one result of what they left.

:func:`merge` trusts no shard to be there: the plan that every shard left beside its results says which cells there must
be, and each must have exactly one result.  What cannot belong together (another plan, farm, engine or compiler) is
refused; what is missing or doubled is named, and all that was measured is still reported.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from farm import plan as plans
from farm import run as runs
from farm import shards
from farm.errors import FarmError, UsageError
from farm.plan import Cell, Plan, Planned, Selection
from farm.run import Recorded, Run
from farm.text import quoted
from farm.verdict import SKIPPED, Result, Verdict, lost, unfinished

RESULTS = "results.jsonl"
PLAN = "plan.json"
_LISTED = 20  # cells named, of those that are missing
_ENDLESS = 86_400.0  # seconds; no cell takes that long, so a file that says so is not to be believed

_PATHS = '${FARM_ARCH_PATH:+--arch-path "$FARM_ARCH_PATH"} ${FARM_SCENARIO_PATH:+--scenario-path "$FARM_SCENARIO_PATH"}'
_QUARANTINE = '${FARM_QUARANTINE:+--quarantine "$FARM_QUARANTINE"}'

#: Shell that fetches the results of the default branch's last pipeline that succeeded into ``earlier``, if there are.
GITLAB_EARLIER = (
    'url="$CI_API_V4_URL/projects/$CI_PROJECT_ID/jobs/artifacts/$CI_DEFAULT_BRANCH/raw/farm-out/results.jsonl"',
    'fetch="curl --fail --silent --show-error --location --create-dirs --output earlier/results.jsonl"',
    '$fetch --header "JOB-TOKEN: $CI_JOB_TOKEN" "$url?job=farm-merge" || { rm -rf earlier; echo "none earlier"; }',
)


class PlanError(FarmError):
    """Nothing to divide."""


class MergeError(FarmError):
    """Shards that do not belong together."""


# Planning.


def some_work(plan: Plan) -> None:
    """Raises :class:`PlanError` if no cell of ``plan`` can run here: every job would be green, and nothing tested."""
    if any(planned.verdict is None for planned in plan.cells):
        return
    verdict, reason = Counter((planned.verdict, planned.reason) for planned in plan.cells).most_common(1)[0][0]
    raise PlanError(f"none of the {len(plan.cells):,} cells can run here, most are {verdict}: {reason}")


def known_seconds(paths: Iterable[Path]) -> tuple[dict[Cell, float], list[str]]:
    """What cells took in earlier runs, the last named wins; and a sentence for each file that cannot tell.

    Raises :class:`~farm.errors.UsageError` for a path without results, and for a file that never had any.
    """
    known: dict[Cell, float] = {}
    complaints = []
    for path in found(named := list(paths)):
        try:
            recorded = runs.read(path)
        except UsageError as error:  # of an older farm, say: a guess will do
            if path in named and isinstance(error, runs.NoHeaderError):
                raise
            complaints.append(str(error))
            continue
        ran = (result for result in recorded.results if result.verdict not in SKIPPED)
        known |= {result.cell: result.seconds for result in ran if 0 <= result.seconds < _ENDLESS}
    return known, complaints


def found(paths: Iterable[Path]) -> list[Path]:
    """Every ``results.jsonl`` in these folders, however deep, each once; a file stands for itself.

    Raises :class:`~farm.errors.UsageError` for a path that has none.
    """
    files: dict[Path, Path] = {}
    for path in paths:
        here = sorted(path.rglob(RESULTS)) if path.is_dir() else [path] if path.is_file() else []
        if not here:
            raise UsageError(f"{path}: no {RESULTS} there")
        for file in here:
            files.setdefault(file.resolve(), file)
    return list(files.values())


class Shard(msgspec.Struct, frozen=True):
    """One job."""

    shard: str  #: as ``farm run --shard`` takes it
    name: str  #: as a file or an artifact may be called
    cells: int
    seconds: float  #: of one worker, building included


def jobs(division: shards.Division) -> list[Shard]:
    """A job a shard."""
    count = division.count
    return [
        Shard(f"{number}/{count}", f"{number}-of-{count}", division.numbers.count(number), round(seconds, 1))
        for number, seconds in enumerate(division.loads, 1)
    ]


def github(division: shards.Division) -> dict[str, Any]:
    """The matrix of a job."""
    return {"include": jobs(division)}


def gitlab(division: shards.Division, plan_file: Path) -> dict[str, Any]:
    """A child pipeline: a job a shard, then ``farm-merge``.

    Nothing of the project is in it: ``templates/gitlab.yml`` sets the variables ``FARM_*``.
    """
    pipeline: dict[str, Any] = {
        "stages": ["run", "merge"],
        "workflow": {"rules": [{"when": "always"}]},
        "default": {
            "image": "$FARM_IMAGE",
            "before_script": ['python -m pip install --quiet "$FARM_REQUIREMENT"', "farm doctor --install"],
        },
    }
    for job in jobs(division):
        out = f"farm-shards/{job.name}"
        run = f"farm run --plan {quoted(plan_file)} --shard {job.shard} --output {out}"
        pipeline[f"farm-{job.name}"] = {
            "stage": "run",
            "needs": [{"pipeline": "$FARM_PARENT", "job": "farm-plan"}],
            "script": [f"{run} {_PATHS} {_QUARANTINE}"],
            "artifacts": {"when": "always", "paths": [out], "expire_in": "1 week"},
        }
    out = "farm-out"
    pipeline["farm-merge"] = {
        "stage": "merge",
        "when": "always",  # and with the artifacts of every shard that left some
        "script": [
            *GITLAB_EARLIER,
            f"farm ci merge farm-shards --output {out} {_PATHS} $([ ! -d earlier ] || echo --baseline earlier)",
        ],
        "artifacts": {
            "when": "always",
            "expose_as": "patchfarm",
            "paths": [f"{out}/"],
            "reports": {"junit": f"{out}/junit.xml"},
        },
    }
    return pipeline


# Merging.


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
        known = {result.cell: unfinished(result) for result in self.unfinished}
        known |= {result.cell: result for result in self.results}
        return [known.get(planned.cell) or lost(planned.cell) for planned in self.plan.cells]


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
    files = found(paths)
    begun = [path for path in files if not _cut_off(path)]
    sources = [_Source(path, runs.read(path)) for path in begun or files]
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
    """Whoever wrote these results died before the end of their first line."""
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
    ours, theirs = runs.tools(one.recorded.run), runs.tools(other.recorded.run)
    for tool in sorted(ours | theirs):
        mine, yours = ours.get(tool, set()), theirs.get(tool, set())
        if mine != yours:
            said = [", ".join(sorted(left - right)) or "not" for left, right in ((mine, yours), (yours, mine))]
            raise MergeError(f"{where}: {tool} is {said[0]} and {said[1]}; --allow-mixed merges them all the same")


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
        return {planned.cell: planned for planned in plans.cells_in(source.path.parent / PLAN)}
    except UsageError:
        return None


def _plan(sources: Sequence[_Source], selection: Selection) -> Plan:
    """The whole plan, divided as the first shard has it that left all of it."""
    refused: list[FarmError] = []
    for path in (path for source in sources if (path := source.path.parent / PLAN).is_file()):
        try:
            plan = plans.read(path, selection)
        except UsageError as error:
            refused.append(error)
            continue
        if plan.sha256 == sources[0].plan:
            return plan
        refused.append(MergeError(f"{path} is not the plan of the results beside it"))
    nothing = MergeError(f"no {PLAN} beside {sources[0].path}: nothing says which cells there must be")
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
    number = f"{len(cells):,} cell{'s' if len(cells) > 1 else ''}{', first' if len(cells) > listed else ':'}"
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
            versions[tool] |= set(version.split(runs.AND))
    joined = {tool: runs.AND.join(sorted(versions[tool])) for tool in sorted(versions)}
    hosts = runs.AND.join(sorted({part.host for part in parts}))
    started = min(part.started for part in parts)
    changes: dict[str, Any] = {"plan": plan.sha256, "host": hosts, "versions": joined, "started": started, "phases": {}}
    return msgspec.structs.replace(parts[0], schema=runs.SCHEMA, **changes, shard=None, whole=None)


def write(merged: Merged, path: Path) -> None:
    """``results.jsonl`` of the whole.  Raises :class:`~farm.errors.OutputError`."""
    journal = runs.Journal(path, merged.run)
    try:
        journal.add([*merged.results, *merged.unfinished])
    finally:
        journal.close()


def baseline(path: Path) -> tuple[Recorded | None, str | None]:
    """An earlier run to compare with; or why it cannot be one.

    Raises :class:`~farm.errors.UsageError` if nothing is there, and for a file that never was results.
    """
    (file, *more) = found([path])
    if more:
        raise UsageError(f"--baseline {path}: holds {1 + len(more)} runs; name one of them")
    try:
        return runs.read(file), None
    except UsageError as error:  # of an older farm, say: that must not stop the newer one
        if path == file and isinstance(error, runs.NoHeaderError):
            raise
        return None, f"nothing is compared: {error}"
