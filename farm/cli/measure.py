"""``farm calibrate``, ``farm cost`` and ``farm fuzz``: what a default run does not tell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from farm.cli.app import (
    CPUS,
    Arch,
    ArchPath,
    EngineNames,
    Jobs,
    JsonFlag,
    Mechanism,
    ScenarioNames,
    ScenarioPath,
    Tag,
    ToolchainNames,
    app,
    as_json,
    ci_status,
    close_engines,
    closing_engines,
    console_for,
    names_option,
    number_option,
    only_one,
    output_folder,
    selection_of,
    timeout_option,
    write,
)
from farm.errors import FarmError


@app.command(
    help=(
        "Plant each negative control and see who notices.\n\nEvery scenario that claims to must, wherever the "
        "engine is not blind."
    )
)
def calibrate(
    arch: Arch = None,
    mechanism: Mechanism = None,
    engine: EngineNames = None,
    toolchain: ToolchainNames = None,
    scenario: ScenarioNames = None,
    tag: Tag = None,
    arch_path: ArchPath = None,
    scenario_path: ScenarioPath = None,
    control: Annotated[list[str] | None, names_option("Negative controls", "--control")] = None,
    jobs: Jobs = CPUS,
    output: Annotated[Path | None, typer.Option(metavar="DIR", help="Also write calibration.json there")] = None,
) -> None:
    from farm import plan as plans
    from farm.calibrate import calibrate as measure
    from farm.controls import CONTROLS
    from farm.processes import workers
    from farm.report import calibration

    made = plans.make(selection_of(arch, mechanism, engine, toolchain, scenario, tag, arch_path, scenario_path))
    names = plans.choose(control or (), list(CONTROLS), "control")
    folder = output_folder(output) if output else None
    with closing_engines(), workers(jobs) as pool:
        findings = measure(made, names, pool, lambda _: None)
    if not findings:
        raise FarmError("nothing to calibrate: no selected scenario claims to detect what the selected controls plant")
    table = calibration.table(findings, made, names)
    if folder:
        write(folder / f"{table.name}.json", as_json(table))
    calibration.show(table, console_for())
    raise typer.Exit(0 if all(finding.as_claimed for finding in findings) else 1)


@app.command(help="Count the instructions that a call executes, by mechanism.")
def cost(
    arch: Arch = None,
    engine: EngineNames = None,
    toolchain: ToolchainNames = None,
    arch_path: ArchPath = None,
    jobs: Jobs = CPUS,
    json: JsonFlag = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="A table for a comment or a document")] = False,
    output: Annotated[Path | None, typer.Option(metavar="DIR", help="Also write cost.json there")] = None,
) -> None:
    from farm import plan as plans
    from farm.cost import measure_all
    from farm.live import ANY_SCENARIO
    from farm.report import cost as report

    only_one(json=json, markdown=markdown)
    made = plans.make(selection_of(arch, ["pointer"], engine, toolchain, list(ANY_SCENARIO), None, arch_path, None))
    folder = output_folder(output) if output else None
    with closing_engines():
        costs = measure_all(made, jobs)
    if folder:
        write(folder / "cost.json", as_json(costs))
    if json:
        typer.echo(as_json(costs).decode())
    elif markdown:
        typer.echo(report.markdown(costs))
    else:
        report.show(costs, console_for())
    if not any(found.instructions or found.failed for found in costs):
        raise FarmError("nothing was measured: no guest can run on an engine that tells what it executes")
    raise typer.Exit(1 if any(found.failed for found in costs) else 0)


@app.command(
    help=(
        "Run random programs until one goes wrong.\n\nWhat a guest does not run as the model says is shrunk and "
        "printed as a scenario."
    )
)
def fuzz(
    arch: Arch = None,
    mechanism: Mechanism = None,
    engine: EngineNames = None,
    toolchain: ToolchainNames = None,
    arch_path: ArchPath = None,
    seconds: Annotated[
        float | None,
        number_option("--seconds", "seconds", 0.1, 1e7, "How long, once the guests are built", show_default="10"),
    ] = None,
    programs: Annotated[int | None, typer.Option(min=1, metavar="N", help="How many programs")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="NUMBER", help="Same seed, same programs", show_default="random")
    ] = None,
    first: Annotated[int, typer.Option(min=0, metavar="NUMBER", help="The program to begin with")] = 0,
    control: Annotated[str | None, typer.Option(metavar="NAME", help="Plant this negative control")] = None,
    jobs: Jobs = CPUS,
    timeout: Annotated[float, timeout_option("How long one program may take")] = 1.0,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where a finding goes")] = Path("farm-out"),
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only say how it ended")] = False,
) -> None:
    import random

    from farm.fuzz import hunt
    from farm.report import fuzz as reports

    selection = hunt.select(selection_of(arch, mechanism, engine, toolchain, None, None, arch_path, None))
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    seconds = 10.0 if seconds is None and programs is None else seconds
    console = console_for()
    finding = None
    try:
        with reports.Progress(console, programs, seconds, quiet=quiet) as progress:
            ground = hunt.survey(selection, control, jobs)
            hunter = hunt.Hunt(ground.guests, seed, jobs, timeout)
            progress.say(f"seed {seed}, {len(ground.guests)} guests")
            try:
                finding = hunter.run(first, programs, seconds, progress.tell)
            except KeyboardInterrupt:
                outcome = "all as the model says"
                if hunter.suspect is not None:
                    outcome = f"but program {hunter.suspect} has failed once"
                typer.echo(f"interrupted: seed {seed}: {hunter.tally}, {outcome}", err=True)
                raise
            if finding:
                progress.say(f"program {finding.number} of seed {seed} fails on {finding.guest}; shrinking it")
                hunter.shrink(finding)
    finally:
        close_engines()
    if not quiet:
        for hole, count in ground.holes.items():
            guests = f"{count} guest{'s' * (count != 1)}"
            console.print(f"{guests} {hole.verdict}: {hole.reason}", highlight=False, soft_wrap=True)
    if finding is None and not hunter.tally.runs:
        raise FarmError(f"nothing was run: seed {seed}: {hunter.tally}")
    if finding is None:
        console.print(f"seed {seed}: {hunter.tally}, all as the model says", highlight=False, soft_wrap=True)
        raise typer.Exit(ci_status(any(hole.verdict == "not-run" for hole in ground.holes), console))
    file = output / f"{finding.original.name}.py"
    text = reports.text(finding, reports.command(selection, seed, finding.number, control), control)
    typer.echo(reports.explained(finding, ground.plan, control, file))
    typer.echo(f"\n{text}")
    console.print(f"seed {seed}: {hunter.tally}, 1 of them failed", highlight=False, soft_wrap=True)
    write(output_folder(output) / file.name, text.encode())
    console.print(f"scenario in {file}", highlight=False, soft_wrap=True)
    raise typer.Exit(1)
