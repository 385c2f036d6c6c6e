"""``farm coverage``: what of the guest's own patch code the suite reaches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from farm.cell import Verdict
from farm.cli.app import (
    CPUS,
    Arch,
    ArchPath,
    EngineNames,
    Jobs,
    JsonFlag,
    Mechanism,
    MechanismPath,
    ScenarioNames,
    ScenarioPath,
    Tag,
    Timeout,
    ToolchainNames,
    app,
    as_json,
    ci_status,
    closing_engines,
    console_for,
    output_folder,
    selection_of,
    write,
)
from farm.errors import FarmError


@app.command(
    help=(
        "Measure which of the guest's patch code the scenarios reach.\n\nBy line and branch; coverage.json and "
        "lcov.info say more. Exit status 1: a line of arch/*/patch.c is not reached and no comment says why, a "
        "comment says so of one that is, or a cell does not do as the model says."
    )
)
def coverage(
    arch: Arch = None,
    mechanism: Mechanism = None,
    engine: EngineNames = None,
    toolchain: ToolchainNames = None,
    scenario: ScenarioNames = None,
    tag: Tag = None,
    arch_path: ArchPath = None,
    mechanism_path: MechanismPath = None,
    scenario_path: ScenarioPath = None,
    jobs: Jobs = CPUS,
    timeout: Timeout = 20.0,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go")] = Path("farm-out"),
    json: JsonFlag = False,
) -> None:
    from rich.progress import Progress

    from farm.measure.coverage import complaints, measure_all
    from farm.report import coverage as reports
    from farm.report import lcov
    from farm.run import plan as plans

    plan = plans.make(
        selection_of(arch, mechanism, engine, toolchain, scenario, tag, arch_path, scenario_path, mechanism_path)
    )
    folder = output_folder(output)
    errors = console_for(stderr=True)
    with closing_engines(), Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("guests", total=None)
        measured = measure_all(plan, jobs, timeout, lambda done, of: progress.update(task, completed=done, total=of))
    document = as_json(measured)
    write(folder / "coverage.json", document)
    write(folder / "lcov.info", lcov.render(measured, Path.cwd()).encode())
    if json:
        typer.echo(document.decode())
    else:
        console = console_for()
        reports.show(measured, console)
        console.print(f"coverage.json and lcov.info in {folder}", highlight=False)
    if not any(unit.sources or unit.failed for unit in measured.units):
        raise FarmError("nothing was measured: no cell of the plan can run here")
    status = ci_status(any(planned.verdict is Verdict.NOT_RUN for planned in plan.cells), errors)
    raise typer.Exit(1 if complaints(measured) else status)
