"""``farm trace``: every instruction of a cell around its patches."""

from __future__ import annotations

from typing import Annotated

import typer

from farm.cli.app import (
    ArchPath,
    CellName,
    ControlName,
    JsonFlag,
    MechanismPath,
    ScenarioPath,
    app,
    close_engines,
    console_for,
    control_of,
    paths_of,
)

_ITEMS = 2000  # of a trace, by default


@app.command(help="Show every instruction of a cell around its patches.\n\nAnd what each stores; the rest is folded.")
def trace(
    cell: CellName,
    arch_path: ArchPath = None,
    mechanism_path: MechanismPath = None,
    scenario_path: ScenarioPath = None,
    control: ControlName = None,
    whole: Annotated[bool, typer.Option("--all", help="Fold nothing")] = False,
    first: Annotated[int | None, typer.Option("--from", min=0, metavar="STEP", help="Begin with this step")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Items at most", show_default="2000; with --all, no limit")
    ] = None,
    json: JsonFlag = False,
) -> None:
    from farm.measure import instructions as traces
    from farm.report import show as reports
    from farm.report import trace as listing
    from farm.run import plan as plans

    plan, planned = plans.one(cell, paths_of(arch_path, scenario_path, mechanism_path))
    control = control_of(control, plan)
    if limit is None and not whole:
        limit = _ITEMS
    try:
        cell_trace = traces.trace(plan, planned.cell, control, whole=whole, first=first, limit=limit)
    finally:
        close_engines()
    if json:
        import msgspec

        recording = cell_trace.recording
        document = {
            "cell": cell_trace.cell,
            "engine": recording.engine,
            "note": recording.note,
            "instructions": recording.count,
            "recorded": len(recording.executed),
            "items": cell_trace.items,
            "more": cell_trace.more,
            "result": cell_trace.result,
        }
        typer.echo(msgspec.json.encode(document).decode())
        raise typer.Exit(1 if cell_trace.result.failed else 0)
    console = console_for()
    for line in listing.render(cell_trace, plan.scenarios[planned.cell.scenario], whole=whole):
        style = listing.style(line)
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)
    typer.echo("")
    for line in reports.outcome(cell_trace.result, plan, console.width, control):
        typer.echo(line)
    raise typer.Exit(1 if cell_trace.result.failed else 0)
