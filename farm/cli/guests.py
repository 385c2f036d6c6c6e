"""``farm list``, ``farm build`` and ``farm doctor``: what there is."""

from __future__ import annotations

from typing import Annotated

import typer

from farm.cli.app import (
    CPUS,
    Arch,
    ArchPath,
    Jobs,
    JsonFlag,
    Mechanism,
    ScenarioPath,
    ToolchainNames,
    app,
    as_json,
    selection_of,
)
from farm.errors import BuildError, FarmError, UnknownNameError, UsageError
from farm.guest import mechanisms


@app.command("list", help="List what there is. With --json, an array of objects, each with a name.")
def list_(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="variants, mechanisms, instructions, baselines, engines, toolchains, scenarios or controls",
        ),
    ],
    arch_path: ArchPath = None,
    scenario_path: ScenarioPath = None,
    controls: Annotated[
        bool, typer.Option("--controls", help="Of each scenario, the negative controls that turn it red")
    ] = False,
    json: JsonFlag = False,
) -> None:
    from farm.cli.listing import brief, rows

    found = rows(what, tuple(arch_path or ()), tuple(scenario_path or ()))
    if controls:
        if what != "scenarios":
            raise UsageError(f"--controls: {what} have none; it goes with `farm list scenarios`")
        found = [{"name": row["name"], "controls": row["controls"]} for row in found if not row["absent"]]
    if json:
        typer.echo(as_json(found).decode())
        return
    width = max(len(row["name"]) for row in found)
    for row in found:
        typer.echo(f"{row['name']:<{width}}  " + "  ".join(brief(v) for k, v in row.items() if k != "name"))


@app.command(help="Build guests and say where they are.")
def build(
    arch: Arch = None,
    mechanism: Mechanism = None,
    toolchain: ToolchainNames = None,
    arch_path: ArchPath = None,
    control: Annotated[str | None, typer.Option(metavar="NAME", help="Plant this negative control")] = None,
    jobs: Jobs = CPUS,
) -> None:
    from farm.guest import build, image
    from farm.guest.controls import CONTROLS
    from farm.run import plan as plans

    if control is not None and control not in CONTROLS:
        raise UnknownNameError("control", control, CONTROLS)
    made = plans.make(selection_of(arch, mechanism, None, toolchain, None, None, arch_path, None))
    specs = dict.fromkeys(
        image.Spec(made.variants[p.cell.variant], p.cell.mechanism, p.cell.toolchain, control)
        for p in made.cells
        if not mechanisms.load()[p.cell.mechanism].missing(made.variants[p.cell.variant])
    )
    failures: list[FarmError] = []
    for spec, built in build.images(list(specs), jobs).items():
        if isinstance(built, FarmError):
            typer.echo(f"{spec}: {built}", err=True)
            failures.append(built)
        elif isinstance(built, Exception):
            raise built
        else:
            typer.echo(f"{spec!s:<24} {built.path}  {built.sha256[:12]}")
    if failures:
        raise typer.Exit(max(1 if isinstance(error, BuildError) else error.exit_status for error in failures))


@app.command(help="Say what is here, what is missing, and how to install it.")
def doctor(
    install: Annotated[bool, typer.Option("--install", help="Install what apt can install")] = False,
    tests: Annotated[bool, typer.Option("--tests", help="Also what only the farm's own tests need")] = False,
) -> None:
    from farm import doctor as doctors

    findings = doctors.check(tests=tests)
    status = 0
    if install:
        status = doctors.install(findings)
        findings = doctors.check(tests=tests)
    doctors.report(findings)
    missing = any(finding.required and finding.found is None for finding in findings)
    raise typer.Exit(3 if missing else status)
