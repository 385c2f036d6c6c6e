"""``farm cost``: the instructions that a call executes."""

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
    MechanismPath,
    ToolchainNames,
    app,
    as_json,
    closing_engines,
    console_for,
    only_one,
    output_folder,
    selection_of,
    write,
)
from farm.errors import FarmError


@app.command(help="Count the instructions that a call executes, by mechanism.")
def cost(
    arch: Arch = None,
    engine: EngineNames = None,
    toolchain: ToolchainNames = None,
    arch_path: ArchPath = None,
    mechanism_path: MechanismPath = None,
    jobs: Jobs = CPUS,
    json: JsonFlag = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="A table for a comment or a document")] = False,
    output: Annotated[Path | None, typer.Option(metavar="DIR", help="Also write cost.json there")] = None,
) -> None:
    from farm.live import ANY_SCENARIO
    from farm.measure.cost import measure_all
    from farm.report import cost as report
    from farm.run import plan as plans

    only_one(json=json, markdown=markdown)
    plan = plans.make(
        selection_of(arch, ["pointer"], engine, toolchain, list(ANY_SCENARIO), None, arch_path, None, mechanism_path)
    )
    folder = output_folder(output) if output else None
    with closing_engines():
        costs = measure_all(plan, jobs)
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
