"""``farm calibrate``: who notices which negative control."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from farm.cli.app import (
    CPUS,
    Arch,
    ArchPath,
    EngineNames,
    Jobs,
    Mechanism,
    MechanismPath,
    ScenarioNames,
    ScenarioPath,
    Tag,
    ToolchainNames,
    app,
    as_json,
    closing_engines,
    console_for,
    names_option,
    output_folder,
    selection_of,
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
    mechanism_path: MechanismPath = None,
    scenario_path: ScenarioPath = None,
    control: Annotated[list[str] | None, names_option("Negative controls", "--control")] = None,
    jobs: Jobs = CPUS,
    output: Annotated[Path | None, typer.Option(metavar="DIR", help="Also write calibration.json there")] = None,
) -> None:
    from farm.guest.controls import CONTROLS
    from farm.processes import workers
    from farm.prove.calibrate import Finding
    from farm.prove.calibrate import calibrate as measure
    from farm.report import calibration
    from farm.run import plan as plans

    plan = plans.make(
        selection_of(arch, mechanism, engine, toolchain, scenario, tag, arch_path, scenario_path, mechanism_path)
    )
    names = plans.choose(control or (), list(CONTROLS), "control")
    folder = output_folder(output) if output else None
    findings: list[Finding] = []

    def say() -> None:
        table = calibration.table(findings, plan, names)
        if folder:
            write(folder / f"{table.name}.json", as_json(table))
        calibration.show(table, console_for())

    with calibration.Progress(console_for(stderr=True)) as progress:

        def keep(of_batch: Sequence[Finding], total: int) -> None:
            findings.extend(of_batch)
            progress.show(findings, total)

        try:
            with closing_engines(), workers(jobs) as pool:
                measure(plan, names, pool, keep)
        except KeyboardInterrupt:
            typer.echo(f"interrupted: {progress.tally}", err=True)
            if findings:
                say()
            raise
    if not findings:
        raise FarmError("nothing to calibrate: no selected scenario claims to detect what the selected controls plant")
    say()
    raise typer.Exit(0 if all(finding.as_claimed for finding in findings) else 1)
