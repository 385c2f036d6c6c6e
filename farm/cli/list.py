"""``farm list``: what there is."""

from __future__ import annotations

from typing import Annotated

import typer

from farm.cli.app import (
    ArchPath,
    JsonFlag,
    MechanismPath,
    ScenarioPath,
    app,
    as_json,
    paths_of,
)
from farm.errors import UsageError


@app.command("list", help="List what there is. With --json, an array of objects, each with a name.")
def list_(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help=(
                "variants, mechanisms, instructions, rules, bodies, baselines, engines, toolchains, scenarios, controls"
            ),
        ),
    ],
    arch_path: ArchPath = None,
    mechanism_path: MechanismPath = None,
    scenario_path: ScenarioPath = None,
    controls: Annotated[
        bool, typer.Option("--controls", help="Of each scenario, the negative controls that turn it red")
    ] = False,
    json: JsonFlag = False,
) -> None:
    from farm.cli.listing import lines, rows

    listed = rows(what, paths_of(arch_path, scenario_path, mechanism_path))
    if controls:
        if what != "scenarios":
            raise UsageError(f"--controls: {what} have none; it goes with `farm list scenarios`")
        listed = [{"name": row["name"], "controls": row["controls"]} for row in listed if not row["absent"]]
    if json:
        typer.echo(as_json(listed).decode())
        return
    for line in lines(what, listed):
        typer.echo(line)
