"""``farm build``: guests, and where they are."""

from __future__ import annotations

import typer

from farm.cli.app import (
    CPUS,
    Arch,
    ArchPath,
    ControlName,
    Jobs,
    Mechanism,
    MechanismPath,
    ToolchainNames,
    app,
    selection_of,
)
from farm.errors import BuildError, FarmError, UnknownNameError


@app.command(help="Build guests and say where they are.")
def build(
    arch: Arch = None,
    mechanism: Mechanism = None,
    toolchain: ToolchainNames = None,
    arch_path: ArchPath = None,
    mechanism_path: MechanismPath = None,
    control: ControlName = None,
    jobs: Jobs = CPUS,
) -> None:
    from farm.guest import build as builds
    from farm.guest.controls import CONTROLS
    from farm.run import plan as plans

    if control is not None and control not in CONTROLS:
        raise UnknownNameError("control", control, CONTROLS)
    plan = plans.make(selection_of(arch, mechanism, None, toolchain, None, None, arch_path, None, mechanism_path))
    specs = dict.fromkeys(
        plan.spec(p.cell, control)
        for p in plan.cells
        if not plan.mechanisms[p.cell.mechanism].missing(plan.variants[p.cell.variant], p.cell.toolchain)
    )
    failures: list[FarmError] = []
    for spec, built in builds.images(list(specs), jobs).items():
        if isinstance(built, FarmError):
            typer.echo(f"{spec}: {built}", err=True)
            failures.append(built)
        elif isinstance(built, Exception):
            raise built
        else:
            typer.echo(f"{spec!s:<24} {built.path}  {built.sha256[:12]}")
    if failures:
        raise typer.Exit(max(1 if isinstance(error, BuildError) else error.exit_status for error in failures))
