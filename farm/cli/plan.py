"""``farm plan``: which cells there are, and why some will not run."""

from __future__ import annotations

from typing import Annotated

import typer

from farm.cli.app import (
    Arch,
    ArchPath,
    EngineNames,
    JsonFlag,
    Mechanism,
    MechanismPath,
    ScenarioNames,
    ScenarioPath,
    Tag,
    ToolchainNames,
    app,
    selection_of,
    shard_of,
)
from farm.text import counted


@app.command(
    help=("Show which cells there are, and why some will not run.\n\nWith --json, a file for `farm run --plan`.")
)
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
    shard: Annotated[str | None, typer.Option(metavar="K/N", help="Only one part of the plan")] = None,
    json: JsonFlag = False,
) -> None:
    from farm.run import plan as plans

    selection = selection_of(
        arch, mechanism, engine, toolchain, scenario, tag, arch_path, scenario_path, mechanism_path
    )
    made = shard_of(plans.make(selection), shard)
    if json:
        typer.echo(made.json().decode())
        return
    for planned in made.cells:
        typer.echo(f"{planned.cell}" + (f"  {planned.verdict}: {planned.reason}" if planned.verdict else ""))
    holes = sum(planned.verdict is not None for planned in made.cells)
    typer.echo(f"{counted(len(made.cells), 'cell')}, {len(made.cells) - holes:,} to run")
