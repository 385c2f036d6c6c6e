"""``farm show``: everything recorded of a cell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from farm.cli.app import (
    ArchPath,
    CellName,
    JsonFlag,
    MechanismPath,
    ScenarioPath,
    app,
    console_for,
    paths_of,
    status_of,
)
from farm.errors import FarmError

if TYPE_CHECKING:
    from farm.run.plan import Plan


@app.command(help="Show everything recorded of a cell. The parts of CELL may be globs: then of several.")
def show(
    cell: CellName,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with results.jsonl")] = Path("farm-out"),
    arch_path: ArchPath = None,
    mechanism_path: MechanismPath = None,
    scenario_path: ScenarioPath = None,
    json: JsonFlag = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Every event of a long trace")] = False,
) -> None:
    import msgspec

    from farm import suite
    from farm.guest import arch_toml
    from farm.report import show as reports
    from farm.run import journal as journals
    from farm.run import plan as plans

    selection = paths_of(arch_path, scenario_path, mechanism_path)
    known = plans.Plan((), suite.load(selection.scenario_path), arch_toml.load(selection.arch_path), selection)
    recorded = journals.read(folder / journals.FILE)
    for complaint in recorded.complaints:
        typer.echo(complaint, err=True)
    matching = reports.find([*recorded.results, *recorded.unfinished], cell, known)
    if not matching:
        raise _absent(plans.named(cell, selection), cell, folder)
    console = console_for()
    for number, result in enumerate(matching):
        if json:
            typer.echo(msgspec.json.encode(result).decode())
            continue
        if number:
            typer.echo("")
        for line in reports.show(result, known, recorded.run, console.width, whole=verbose):
            typer.echo(line)
    unfinished = any(result.provisional for result in matching)
    raise typer.Exit(3 if unfinished else status_of(matching, console_for(stderr=True), part=True))


def _absent(plan: Plan, name: str, folder: Path) -> FarmError:
    """The error that says why cells that exist have no result in ``folder``."""
    from farm.run import plan as plans

    file = folder / plans.FILE
    planned = plans.cells_in(file) if file.is_file() else ()
    selected = {p.cell for p in plan.cells}
    missing = [p.cell for p in planned if p.cell in selected]
    if missing:
        return FarmError(
            f"{missing[0]}: planned, but without a result: its run was cut short; farm run --resume runs it"
        )
    holes = [p for p in plan.cells if p.verdict]
    why = f"; it would not run: {holes[0].verdict}: {holes[0].reason}" if len(holes) == len(plan.cells) else ""
    return FarmError(f"{name}: the run in {folder} did not have it{why}")
