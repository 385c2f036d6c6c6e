"""``farm report``: what is derived from results that are there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from farm.cli.app import ArchPath, ScenarioPath, app, console_for, status_of, write_reports
from farm.errors import FarmError

if TYPE_CHECKING:
    from farm.plan import Planned


@app.command()
def report(
    output: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with results.jsonl")] = Path("farm-out"),
    arch_path: ArchPath = None,
    scenario_path: ScenarioPath = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Explain every failure")] = False,
) -> None:
    """Make the reports again from results.jsonl, and show the grid."""
    from farm import backend, scenarios
    from farm import plan as plans
    from farm import run as runs
    from farm.report import terminal

    header, results, complaints = runs.read(output / "results.jsonl")
    for complaint in complaints:
        typer.echo(complaint, err=True)
    cells: list[Planned] = [plans.Planned(result.cell) for result in results]
    arches = tuple(path.resolve() for path in arch_path or ())
    suites = tuple(path.resolve() for path in scenario_path or ())
    made = plans.Plan(tuple(cells), scenarios.load(suites), backend.load(arches))
    if not results:
        raise FarmError(f"{output / 'results.jsonl'}: holds no result")
    write_reports(results, made, header, output, complaints)
    console = console_for()
    terminal.show(results, made, console, verbose=verbose)
    raise typer.Exit(status_of(results, console))
