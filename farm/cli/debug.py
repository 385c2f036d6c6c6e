"""``farm debug``: a cell under qemu-user with gdb."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from farm.cli.app import (
    ArchPath,
    CellName,
    ControlName,
    MechanismPath,
    ScenarioPath,
    app,
    console_for,
    control_of,
    only_one,
    paths_of,
    timeout_option,
)

if TYPE_CHECKING:
    from farm.run.bench import Bench
    from farm.run.plan import Plan
    from farm.scenario import Scenario


@app.command(help="Run a cell under qemu-user with gdb. Where that cannot be, print the commands.")
def debug(
    cell: CellName,
    arch_path: ArchPath = None,
    mechanism_path: MechanismPath = None,
    scenario_path: ScenarioPath = None,
    control: ControlName = None,
    print_only: Annotated[bool, typer.Option("--print", help="Only print the commands")] = False,
    batch: Annotated[bool, typer.Option("--batch", help="Show every stop, without a terminal")] = False,
    script: Annotated[
        Path | None, typer.Option("-x", metavar="FILE", help="Run this gdb script, without a terminal")
    ] = None,
    gdb: Annotated[str | None, typer.Option(metavar="PATH", help="The debugger", show_default="gdb-multiarch")] = None,
    timeout: Annotated[float, timeout_option("How long it may take without a terminal")] = 60.0,
) -> None:
    from farm.errors import MissingToolError, UsageError
    from farm.measure import debug as debugging
    from farm.run import plan as plans

    only_one(batch=batch, print=print_only)
    only_one(print=print_only, x=script is not None)
    if script is not None and not script.is_file():
        raise UsageError(f"-x {script}: no such file")
    plan, planned = plans.one(cell, paths_of(arch_path, scenario_path, mechanism_path))
    control = control_of(control, plan)
    prepared = debugging.prepare(plan, planned.cell, control)
    gdb_path = debugging.find_gdb(gdb)
    version = prepared.bench.engine.version(prepared.bench.variant) if not prepared.missing else "missing"
    typer.echo(f"{prepared.cell}{f' with {control}' if control else ''}, {prepared.cell.engine} {version}")
    if prepared.note:
        typer.echo(prepared.note)
    unattended = batch or script is not None
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if unattended and gdb_path is None:
        raise MissingToolError(*debugging.MISSING_GDB)
    if print_only or gdb_path is None or (not unattended and (prepared.missing or not terminal)):
        for line in debugging.commands(prepared, gdb_path):
            typer.echo(line)
        return
    answer = debugging.run(prepared, gdb_path, batch=batch, extra=script, timeout=timeout)
    failed = _say_outcome(plan, prepared.bench, plan.scenarios[prepared.cell.scenario], answer, control)
    raise typer.Exit(int(failed and bool(answer or batch)))  # a session may end before the guest does


def _say_outcome(plan: Plan, bench: Bench, scenario: Scenario, answer: bytes, control: str | None) -> bool:
    """Print what the guest's trace says, if it left one; returns whether the cell failed."""
    from farm.engines import Reply
    from farm.report import show as reports

    typer.echo("")
    if not answer:
        typer.echo("the guest left no trace: it was ended, or died, before it could answer")
        return True
    result = bench.judged(scenario, Reply(answer))
    for line in reports.outcome(result, plan, console_for().width, control):
        typer.echo(line)
    return result.failed
