"""``farm ci``: plan for a forge, and one result of what its jobs left."""

from __future__ import annotations

import enum
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from farm.cli.app import (
    CPUS,
    Arch,
    ArchPath,
    EngineNames,
    Jobs,
    Mechanism,
    MechanismPath,
    QuarantineFile,
    ScenarioNames,
    ScenarioPath,
    Tag,
    ToolchainNames,
    app,
    as_json,
    console_for,
    number_option,
    output_folder,
    paths_of,
    selection_of,
    status_of,
    write,
    write_reports,
)
from farm.errors import OutputError, UsageError
from farm.text import printable

if TYPE_CHECKING:
    from farm.results.merge import Merged
    from farm.run.journal import Recorded

_COMMENT = 65_000  # bytes of summary.md with its comparison; a comment may have 65,536 characters

ci = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(ci, name="ci", help="Run a plan on many machines of a forge, and lose no cell.")


class Format(enum.Enum):
    """Output formats of ``farm ci plan``."""

    GITHUB = "github"
    GITLAB = "gitlab"
    JSON = "json"


@ci.command(help="Divide a plan into shards of about the same duration.\n\nThe plan is saved, the jobs are printed.")
def plan(
    arch: Arch = None,
    mechanism: Mechanism = None,
    engine: EngineNames = None,
    toolchain: ToolchainNames = None,
    scenario: ScenarioNames = None,
    tag: Tag = None,
    arch_path: ArchPath = None,
    mechanism_path: MechanismPath = None,
    scenario_path: ScenarioPath = None,
    kind: Annotated[
        Format, typer.Option("--format", help="A matrix, a child pipeline, or all that is known")
    ] = Format.JSON,
    shards: Annotated[int | None, typer.Option(min=1, metavar="N", help="How many jobs", show_default="1")] = None,
    max_minutes: Annotated[
        float | None,
        number_option("--max-minutes", "minutes", 0.01, 1e6, "As many jobs as it takes for each to be this quick"),
    ] = None,
    jobs: Jobs = CPUS,
    durations: Annotated[
        list[Path] | None, typer.Option(metavar="PATH", help="results.jsonl, or a folder, of earlier runs")
    ] = None,
    quarantine: QuarantineFile = None,
    output: Annotated[Path, typer.Option(metavar="FILE", help="The plan, for `farm run --plan`")] = Path(
        "farm-plan.json"
    ),
) -> None:
    import dataclasses

    import msgspec

    from farm.results import forge
    from farm.run import plan as plans
    from farm.run import quarantine as quarantines
    from farm.run import shards as divisions

    if shards is not None and max_minutes is not None:
        raise UsageError("--shards and --max-minutes: one of them decides how many jobs there are")
    if shards is not None and shards > divisions.LIMIT:
        raise UsageError(f"--shards {shards}: a forge runs at most {divisions.LIMIT} jobs of one matrix")
    selection = selection_of(
        arch, mechanism, engine, toolchain, scenario, tag, arch_path, scenario_path, mechanism_path
    )
    quarantines.find(quarantine, selection)  # what every shard would refuse is refused here
    made = plans.make(selection)
    forge.some_work(made)
    known_seconds, complaints = forge.known_seconds(durations or [])
    for complaint in complaints:
        typer.echo(complaint, err=True)
    if max_minutes is not None:
        division = divisions.fit(made.cells, 60 * max_minutes, jobs, known_seconds)
    else:
        division = divisions.divide(made.cells, shards or 1, known_seconds)
        if division.count < (shards or 1):
            typer.echo(
                f"--shards {shards}: there is work for {division.count}, so that is how many there are", err=True
            )
    made = dataclasses.replace(made, shards=division.numbers)
    output_folder(output.parent)
    write(output, made.json())
    longest = max(division.loads) / jobs
    typer.echo(
        f"{len(made.cells)} cell{'s' * (len(made.cells) != 1)} in {division.count} shard{'s' * (division.count != 1)}, "
        f"the longest about {longest:.0f} s on {jobs} worker{'s' * (jobs != 1)}; "
        f"the plan is in {output}",
        err=True,
    )
    if kind is Format.GITHUB:
        typer.echo(msgspec.json.encode(forge.github(division)).decode())
        return
    document: object = forge.gitlab(division, output)
    if kind is Format.JSON:
        document = {"plan": printable(str(output)), "sha256": made.sha256, "shards": forge.jobs(division)}
    typer.echo(as_json(document).decode())


@ci.command(help="Make one run of its shards. Cells that are missing or there twice are named, and an error.")
def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="What the shards left, however deep")],
    arch_path: ArchPath = None,
    mechanism_path: MechanismPath = None,
    scenario_path: ScenarioPath = None,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where the whole goes")] = Path("farm-out"),
    baseline: Annotated[
        Path | None, typer.Option(metavar="PATH", help="results.jsonl, or its folder, to compare with")
    ] = None,
    allow_mixed: Annotated[
        bool, typer.Option("--allow-mixed", help="Though engines or compilers differ between shards")
    ] = False,
) -> None:
    from farm.report import github, terminal
    from farm.results import forge
    from farm.results import merge as merging
    from farm.run import journal as journals
    from farm.run import plan as plans

    if any((output / journals.FILE).resolve() == path.resolve() for path in journals.files_in(folders)):
        raise UsageError(f"--output {output}: its {journals.FILE} is one of those to merge; name another folder")
    before, complaint = forge.baseline(baseline) if baseline else (None, None)
    selection = paths_of(arch_path, scenario_path, mechanism_path)
    merged = merging.merge(folders, selection, mixed=allow_mixed)
    if complaint:
        typer.echo(complaint, err=True)
    folder = output_folder(output)
    write(folder / plans.FILE, merged.plan.json())
    merging.write(merged, folder / journals.FILE)
    write_reports(merged.shown, merged.plan, merged.run, folder, merged.problems)
    summary = folder / "summary.md"
    write(summary, summarised(summary.read_text(encoding="utf-8"), merged, before).encode())
    console = console_for()
    terminal.show(merged.shown, merged.plan, console)
    if step_summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        _append(Path(step_summary), summary.read_bytes())
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in github.render(merged.results, merged.problems):
            typer.echo(line)
    console.print(f"results in {folder}", highlight=False)
    for problem in merged.problems:
        typer.echo(f"farm: {problem}", err=True)
    raise typer.Exit(3 if merged.problems else status_of(merged.results, console))


def summarised(text: str, merged: Merged, before: Recorded | None) -> str:
    """``summary.md``: ``text``, which is about the results, and what became of the cells since ``before``."""
    from farm.report import diff as report
    from farm.results import diff
    from farm.run.journal import Recorded

    if merged.problems:  # text says further down which
        text = f"# patchfarm: the results are not whole\n\n{text}"
    if before:
        after = Recorded(merged.run, merged.results, [])
        left = _COMMENT - len(text.encode())
        text += f"\n{report.markdown(diff.compare(before, after, ('before', 'now')), left)}"
    return text


def _append(path: Path, content: bytes) -> None:
    try:
        with path.open("ab") as file:
            file.write(content)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from None
