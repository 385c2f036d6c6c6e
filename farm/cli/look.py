"""``farm show``, ``farm trace`` and ``farm debug``: one cell looked at closely."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from farm.cli.app import (
    ArchPath,
    JsonFlag,
    ScenarioPath,
    app,
    close_engines,
    console_for,
    only_one,
    resolved,
    status_of,
    timeout_option,
)
from farm.errors import FarmError

if TYPE_CHECKING:
    from farm.plan import Cell, Plan

CellName = Annotated[str, typer.Argument(metavar="CELL", help="VARIANT/MECHANISM/TOOLCHAIN/ENGINE/SCENARIO")]
ControlName = Annotated[str | None, typer.Option(metavar="NAME", help="Plant this negative control")]

_ITEMS = 2000  # of a trace, by default


def _control(name: str | None, plan: Plan) -> str | None:
    """``name``, if it can be planted in every cell of ``plan``.  Raises :class:`~farm.errors.UsageError`."""
    from farm.controls import CONTROLS
    from farm.errors import UnknownNameError, UsageError

    if name is None:
        return None
    if name not in CONTROLS:
        raise UnknownNameError("control", name, CONTROLS)
    control = CONTROLS[name]
    for cell in (planned.cell for planned in plan.cells):
        variant = plan.variants[cell.variant]
        if not control.applies(variant, cell.mechanism, variant.features(cell.engine)):
            why = control.impossible(variant) or f"it is about {', '.join(sorted(control.mechanisms))}"
            if cell.mechanism in control.mechanisms and not control.impossible(variant):
                why = "the CPU of this engine is not one that it is about"
            raise UsageError(f"control {name} cannot be planted in {cell}: {why}")
    return name


@app.command(help="Show everything recorded of a cell. The parts of CELL may be globs: then of several.")
def show(
    cell: CellName,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with results.jsonl")] = Path("farm-out"),
    arch_path: ArchPath = None,
    scenario_path: ScenarioPath = None,
    json: JsonFlag = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Every event of a long trace")] = False,
) -> None:
    import msgspec

    from farm import backend, scenarios
    from farm import plan as plans
    from farm import run as runs
    from farm.report import show as reports

    arches, suites = resolved(arch_path), resolved(scenario_path)
    selection = plans.Selection(arch_path=arches, scenario_path=suites)
    known = plans.Plan((), scenarios.load(suites), backend.load(arches), selection)
    recorded = runs.read(folder / "results.jsonl")
    for complaint in recorded.complaints:
        typer.echo(complaint, err=True)
    found = reports.find([*recorded.results, *recorded.unfinished], cell, known)
    if not found:
        raise _absent(plans.named(cell, arches, suites), cell, folder)
    console = console_for()
    for number, result in enumerate(found):
        if json:
            typer.echo(msgspec.json.encode(result).decode())
            continue
        if number:
            typer.echo("")
        for line in reports.show(result, known, recorded.run, console.width, whole=verbose):
            typer.echo(line)
    unfinished = any(result.provisional for result in found)
    raise typer.Exit(3 if unfinished else status_of(found, console_for(stderr=True), part=True))


def _absent(plan: Plan, name: str, folder: Path) -> FarmError:
    """Why cells that exist have no result in ``folder``."""
    from farm import plan as plans

    file = folder / "plan.json"
    planned = plans.cells_in(file) if file.is_file() else ()
    mine = {p.cell for p in plan.cells}
    missing = [p.cell for p in planned if p.cell in mine]
    if missing:
        return FarmError(
            f"{missing[0]}: planned, but without a result: its run was cut short; farm run --resume runs it"
        )
    holes = [p for p in plan.cells if p.verdict]
    why = f"; it would not run: {holes[0].verdict}: {holes[0].reason}" if len(holes) == len(plan.cells) else ""
    return FarmError(f"{name}: the run in {folder} did not have it{why}")


@app.command(help="Show every instruction of a cell around its patches.\n\nAnd what each stores; the rest is folded.")
def trace(
    cell: CellName,
    arch_path: ArchPath = None,
    scenario_path: ScenarioPath = None,
    control: ControlName = None,
    whole: Annotated[bool, typer.Option("--all", help="Fold nothing")] = False,
    first: Annotated[int | None, typer.Option("--from", min=0, metavar="STEP", help="Begin with this step")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Items at most", show_default="2000; with --all, no limit")
    ] = None,
    json: JsonFlag = False,
) -> None:
    from farm import plan as plans
    from farm import trace as traces
    from farm.report import show as reports
    from farm.report import trace as listing

    plan, planned = plans.one(cell, resolved(arch_path), resolved(scenario_path))
    control = _control(control, plan)
    if limit is None and not whole:
        limit = _ITEMS
    try:
        made = traces.trace(plan, planned.cell, control, whole=whole, first=first, limit=limit)
    finally:
        close_engines()
    if json:
        import msgspec

        recording = made.recording
        document = {
            "cell": made.cell,
            "engine": recording.engine,
            "note": recording.note,
            "instructions": recording.count,
            "recorded": len(recording.executed),
            "items": made.items,
            "more": made.more,
            "result": made.result,
        }
        typer.echo(msgspec.json.encode(document).decode())
        raise typer.Exit(1 if made.result.failed else 0)
    console = console_for()
    for line in listing.render(made, plan.scenarios[planned.cell.scenario], whole=whole):
        style = listing.style(line)
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)
    typer.echo("")
    for line in reports.outcome(made.result, plan, console.width, control):
        typer.echo(line)
    raise typer.Exit(1 if made.result.failed else 0)


@app.command(help="Run a cell under qemu-user with gdb. Where that cannot be, print the commands.")
def debug(
    cell: CellName,
    arch_path: ArchPath = None,
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
    from farm import debug as debugging
    from farm import plan as plans
    from farm.engines.qemu_user import QEMU_USER
    from farm.errors import MissingToolError, UsageError

    only_one(batch=batch, print=print_only)
    only_one(print=print_only, x=script is not None)
    if script is not None and not script.is_file():
        raise UsageError(f"-x {script}: no such file")
    plan, planned = plans.one(cell, resolved(arch_path), resolved(scenario_path))
    control = _control(control, plan)
    prepared = debugging.prepare(plan, planned.cell, control)
    found = debugging.find_gdb(gdb)
    version = QEMU_USER.version(prepared.variant) if not prepared.missing else "missing"
    typer.echo(f"{prepared.cell}{f' with {control}' if control else ''}, {prepared.cell.engine} {version}")
    if prepared.note:
        typer.echo(prepared.note)
    unattended = batch or script is not None
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if unattended and found is None:
        raise MissingToolError(*debugging.MISSING_GDB)
    if print_only or found is None or (not unattended and (prepared.missing or not terminal)):
        for line in debugging.commands(prepared, found):
            typer.echo(line)
        return
    answer = debugging.run(prepared, found, batch=batch, extra=script, timeout=timeout)
    failed = _say_outcome(plan, prepared.cell, answer, control)
    raise typer.Exit(int(failed and bool(answer or batch)))  # a session may end before the guest does


def _say_outcome(plan: Plan, cell: Cell, answer: bytes, control: str | None) -> bool:
    """Say what the guest's trace says, if it left one; whether the cell failed."""
    from farm import image
    from farm.engines import Reply
    from farm.engines.qemu_user import QEMU_USER
    from farm.report import show as reports
    from farm.verdict import Judge

    typer.echo("")
    if not answer:
        typer.echo("the guest left no trace: it was ended, or died, before it could answer")
        return True
    variant = plan.variants[cell.variant]
    built = image.build(image.Spec(variant, cell.mechanism, cell.toolchain, control))
    judge = Judge(built, QEMU_USER, variant.features(cell.engine), plan.selection.path_options(), kept=True)
    result = judge.judge(cell, plan.scenarios[cell.scenario], Reply(answer), 0.0)
    for line in reports.outcome(result, plan, console_for().width, control):
        typer.echo(line)
    return result.failed
