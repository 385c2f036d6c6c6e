"""``farm report``: what is derived from results that are there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from farm.cell import Planned
from farm.cli.app import (
    ArchPath,
    MechanismPath,
    ScenarioPath,
    app,
    console_for,
    paths_of,
    status_of,
    write_reports,
)
from farm.errors import FarmError, UsageError
from farm.text import counted

if TYPE_CHECKING:
    from farm.run.journal import Run
    from farm.run.verdict import Result


@app.command(help="Make the reports again from results.jsonl, and show the grid.")
def report(
    output: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with results.jsonl")] = Path("farm-out"),
    arch_path: ArchPath = None,
    mechanism_path: MechanismPath = None,
    scenario_path: ScenarioPath = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Explain every failure")] = False,
) -> None:
    from farm import suite
    from farm.guest import arch_toml
    from farm.report import terminal
    from farm.run import journal as journals
    from farm.run import plan as plans
    from farm.run import verdict

    header, results, complaints, unfinished = journals.read(output / journals.FILE)
    results += map(verdict.unfinished, unfinished)
    if not results:
        raise FarmError(f"{output / journals.FILE}: holds no result")
    complaints += journals.unfinished(unfinished)
    missing = _completed(output / plans.FILE, header, results, complaints) or bool(unfinished)
    for complaint in complaints:
        typer.echo(complaint, err=True)
    selection = paths_of(arch_path, scenario_path, mechanism_path)
    scenarios, variants = suite.load(selection.scenario_path), arch_toml.load(selection.arch_path)
    plan = plans.Plan(tuple(Planned(result.cell) for result in results), scenarios, variants, selection)
    write_reports(results, plan, header, output, complaints)
    console = console_for()
    terminal.show(results, plan, console, verbose=verbose)
    raise typer.Exit(3 if missing else status_of(results, console, part=bool(header.shard)))


def _completed(path: Path, header: Run, results: list[Result], complaints: list[str]) -> bool:
    """Bring ``results`` into the order of the plan in ``path``, with what it says is missing; whether anything is.

    ``complaints`` is told.
    """
    from farm.run.plan import planned_in
    from farm.run.verdict import lost

    if not path.is_file():
        return False
    try:
        planned = planned_in(path, header.whole or header.plan, header.shard)
    except UsageError as error:
        complaints.append(str(error))
        return False
    with_result = {result.cell for result in results}
    missing = [each.cell for each in planned if each.cell not in with_result]
    if missing:
        number = counted(len(missing), "planned cell has", "planned cells have")
        complaints.append(f"{number} no result, first {missing[0]}; --resume runs them")
    results += map(lost, missing)
    order = {each.cell: number for number, each in enumerate(planned)}
    results.sort(key=lambda result: order.get(result.cell, len(order)))
    return bool(missing)
