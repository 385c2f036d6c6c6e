"""Input for the jobs of a forge: a matrix of shards or a child pipeline, and durations from earlier runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from farm.cell import SKIPPED, Cell
from farm.errors import FarmError, UsageError
from farm.run import journal as journals
from farm.run import shards
from farm.run.journal import Recorded
from farm.run.plan import Plan
from farm.text import quoted

_ENDLESS = 86_400.0  # seconds; no cell takes that long, so a file that says so is not to be believed

_PATHS = " ".join(
    f'${{FARM_{what.upper()}_PATH:+--{what}-path "$FARM_{what.upper()}_PATH"}}'
    for what in ("arch", "scenario", "mechanism")
)
_QUARANTINE = '${FARM_QUARANTINE:+--quarantine "$FARM_QUARANTINE"}'

#: Shell that fetches the results of the default branch's last pipeline that succeeded into ``earlier``, if there are.
GITLAB_EARLIER = (
    'url="$CI_API_V4_URL/projects/$CI_PROJECT_ID/jobs/artifacts/$CI_DEFAULT_BRANCH/raw/farm-out/results.jsonl"',
    'fetch="curl --fail --silent --show-error --location --create-dirs --output earlier/results.jsonl"',
    '$fetch --header "JOB-TOKEN: $CI_JOB_TOKEN" "$url?job=farm-merge" || { rm -rf earlier; echo "none earlier"; }',
)


class PlanError(FarmError):
    """Nothing to divide."""


def some_work(plan: Plan) -> None:
    """Raises :class:`PlanError` if no cell of ``plan`` can run here: every job would be green, and nothing tested."""
    if any(planned.verdict is None for planned in plan.cells):
        return
    verdict, reason = Counter((planned.verdict, planned.reason) for planned in plan.cells).most_common(1)[0][0]
    raise PlanError(f"none of the {len(plan.cells):,} cells can run here, most are {verdict}: {reason}")


def known_seconds(paths: Iterable[Path]) -> tuple[dict[Cell, float], list[str]]:
    """Seconds per cell in earlier runs (the last path named wins), and a sentence for each file that cannot tell.

    Raises :class:`~farm.errors.UsageError` for a path without results, and for a file that never had any.
    """
    seconds_by_cell: dict[Cell, float] = {}
    complaints = []
    for path in journals.files_in(named := list(paths)):
        try:
            recorded = journals.read(path)
        except UsageError as error:  # of an older farm, say: a guess will do
            if path in named and isinstance(error, journals.NoHeaderError):
                raise
            complaints.append(str(error))
            continue
        ran = (result for result in recorded.results if result.verdict not in SKIPPED)
        seconds_by_cell |= {result.cell: result.seconds for result in ran if 0 <= result.seconds < _ENDLESS}
    return seconds_by_cell, complaints


def baseline(path: Path) -> tuple[Recorded | None, str | None]:
    """An earlier run to compare with; or why it cannot be one.

    Raises :class:`~farm.errors.UsageError` if nothing is there, and for a file that never was results.
    """
    (file, *more) = journals.files_in([path])
    if more:
        raise UsageError(f"--baseline {path}: holds {1 + len(more)} runs; name one of them")
    try:
        return journals.read(file), None
    except UsageError as error:  # of an older farm, say: that must not stop the newer one
        if path == file and isinstance(error, journals.NoHeaderError):
            raise
        return None, f"nothing is compared: {error}"


class Shard(msgspec.Struct, frozen=True):
    """One shard of a plan, run by one job."""

    shard: str  #: as ``farm run --shard`` takes it
    name: str  #: as a file or an artifact may be called
    cells: int
    seconds: float  #: of one worker, building included


def jobs(division: shards.Division) -> list[Shard]:
    """The jobs of a division, one a shard."""
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
