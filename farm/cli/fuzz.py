"""``farm fuzz``: random programs until one goes wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from farm.cell import Verdict
from farm.cli.app import (
    CPUS,
    Arch,
    ArchPath,
    ControlName,
    EngineNames,
    Jobs,
    Mechanism,
    MechanismPath,
    ToolchainNames,
    app,
    ci_status,
    close_engines,
    console_for,
    number_option,
    output_folder,
    selection_of,
    timeout_option,
    write,
)
from farm.errors import FarmError
from farm.text import counted


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
    mechanism_path: MechanismPath = None,
    seconds: Annotated[
        float | None,
        number_option("--seconds", "seconds", 0.1, 1e7, "How long, once the guests are built", show_default="10"),
    ] = None,
    programs: Annotated[int | None, typer.Option(min=1, metavar="N", help="How many programs")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="NUMBER", help="Same seed, same programs", show_default="random")
    ] = None,
    first: Annotated[int, typer.Option(min=0, metavar="NUMBER", help="The program to begin with")] = 0,
    control: ControlName = None,
    jobs: Jobs = CPUS,
    timeout: Annotated[float, timeout_option("How long one program may take")] = 1.0,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where a finding goes")] = Path("farm-out"),
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only say how it ended")] = False,
) -> None:
    import random

    from farm.measure.fuzz import hunt
    from farm.report import fuzz as reports

    selection = hunt.select(
        selection_of(arch, mechanism, engine, toolchain, None, None, arch_path, None, mechanism_path)
    )
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    seconds = 10.0 if seconds is None and programs is None else seconds
    console = console_for()
    finding = None
    try:
        with reports.Progress(console, programs, seconds, quiet=quiet) as progress:
            ground = hunt.survey(selection, control, jobs, timeout)
            hunter = hunt.Hunt(ground.benches, seed, jobs)
            progress.say(f"seed {seed}, {counted(len(ground.benches), 'guest')}")
            try:
                finding = hunter.run(first, programs, seconds, progress.tell)
            except KeyboardInterrupt:
                outcome = "all as the model says"
                if hunter.suspect is not None:
                    outcome = f"but program {hunter.suspect} has failed once"
                typer.echo(f"interrupted: seed {seed}: {hunter.tally}, {outcome}", err=True)
                raise
            if finding:
                progress.say(f"program {finding.number} of seed {seed} fails on {finding.bench}; shrinking it")
                hunter.shrink(finding)
    finally:
        close_engines()
    if not quiet:
        for hole, count in ground.holes.items():
            guests = counted(count, "guest")
            console.print(f"{guests} {hole.verdict}: {hole.reason}", highlight=False, soft_wrap=True)
    if finding is None and not hunter.tally.runs:
        raise FarmError(f"nothing was run: seed {seed}: {hunter.tally}")
    if finding is None:
        console.print(f"seed {seed}: {hunter.tally}, all as the model says", highlight=False, soft_wrap=True)
        raise typer.Exit(ci_status(any(hole.verdict is Verdict.NOT_RUN for hole in ground.holes), console))
    file = output / f"{finding.original.name}.py"
    text = reports.text(finding, reports.command(selection, seed, finding.number, control), control)
    typer.echo(reports.explained(finding, ground.plan, control, file))
    typer.echo(f"\n{text}")
    console.print(f"seed {seed}: {hunter.tally}, 1 of them failed", highlight=False, soft_wrap=True)
    write(output_folder(output) / file.name, text.encode())
    console.print(f"scenario in {file}", highlight=False, soft_wrap=True)
    raise typer.Exit(1)
