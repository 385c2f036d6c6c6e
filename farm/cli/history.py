"""``farm history``: what earlier runs found."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from farm.cli.app import JsonFlag, app, as_json, console_for, write
from farm.errors import FarmError, UsageError
from farm.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm.results.history import Cells, Record
    from farm.run.journal import Run
    from farm.run.verdict import Result


class _ShowByDefault(TyperGroup):
    """``farm history`` alone, or with options, is ``farm history show``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["show", *args]
        found: list[str] = super().parse_args(ctx, args)
        return found


history = typer.Typer(cls=_ShowByDefault, help="What earlier runs found (also: farm history show).")
app.add_typer(history, name="history")

HistoryFile = Annotated[
    Path | None,
    typer.Option("--file", metavar="PATH", help="The history", show_default="PATCHFARM_HISTORY, else the user's own"),
]
_STREAM = Path("-")


def _file(chosen: Path | None) -> Path:
    from farm import paths

    path = chosen or paths.history()
    if path is None:
        raise UsageError("PATCHFARM_HISTORY turns the history off: name a file with --file")
    return path


def _record(folder: Path, run: Run, results: Sequence[Result]) -> tuple[Record, Cells]:
    """The record of a run, with the coverage of its folder if that can be read."""
    from farm.results import history as histories

    try:
        lines = histories.lines_of(folder, results)
    except FarmError as error:
        typer.echo(f"farm: {error}", err=True)
        lines = None
    return histories.record(run, results, lines)


def remember(folder: Path, run: Run, results: Sequence[Result]) -> None:
    """Add a run that has just ended to the history, unless that is off; what is wrong there is only said."""
    from farm import paths
    from farm.results.history import History

    path = paths.history()
    if path is None:
        return
    try:
        with History(path, create=True) as file:
            file.add(*_record(folder, run, results))
    except FarmError as error:
        typer.echo(f"farm: the run is not in the history: {error}", err=True)


@history.command(help="Show the last runs: totals, trends, changes, suspected flakiness.")
def show(
    cell: Annotated[str | None, typer.Option(metavar="GLOB", help="Only these cells, each with its verdicts")] = None,
    last: Annotated[int, typer.Option(min=1, metavar="N", help="How many runs")] = 20,
    file: HistoryFile = None,
    json: JsonFlag = False,
) -> None:
    from farm.report import history as reports
    from farm.results import history as histories

    with histories.History(_file(file)) as opened:
        view = histories.view(opened, last, cell)
    if json:
        typer.echo(as_json(view).decode())
    else:
        reports.show(view, console_for())


@history.command(help="Add a run. One that is there already changes nothing.")
def add(
    output: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with results.jsonl, or the file")] = Path(
        "farm-out"
    ),
    file: HistoryFile = None,
) -> None:
    from farm.results import diff as diffs
    from farm.results import history as histories

    path = _file(file)
    recorded = diffs.load(output)
    for complaint in recorded.complaints:
        typer.echo(complaint, err=True)
    kept = _record(output if output.is_dir() else output.parent, recorded.run, recorded.results)
    with histories.History(path, create=True) as opened:
        new = opened.add(*kept)
    typer.echo(f"{path}: {'added' if new else 'has it already'}")


@history.command("export", help="Write every run as a line of JSON.")
def export(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; - is standard output")],
    file: HistoryFile = None,
) -> None:
    from farm.results import history as histories

    path = _file(file)
    with histories.History(path) as opened:
        if os.path.exists(target) and target.samefile(path):  # noqa: PTH110 - Path's raises for some
            raise UsageError(f"{target}: is the history itself: name another file")
        lines = (line + b"\n" for line in opened.export())
        if target == _STREAM:
            sys.stdout.buffer.writelines(lines)
        else:
            write(target, lines)


@history.command("import", help="Add the runs of an export. Those that are there already change nothing.")
def import_(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="An export; - is standard input")],
    file: HistoryFile = None,
) -> None:
    from farm.results import history as histories

    path = _file(file)
    try:
        lines = (sys.stdin.buffer if source == _STREAM else source.open("rb")).readlines()
    except OSError as error:
        raise UsageError(f"{source}: cannot be read: {error.strerror}") from None
    with histories.History(path, create=True) as opened:
        added, complaints = opened.load(lines, str(source))
    for complaint in complaints:
        typer.echo(complaint, err=True)
    typer.echo(f"{path}: {counted(added, 'run')} added")


@history.command(help="Forget old runs.")
def prune(
    keep: Annotated[int, typer.Option(min=0, metavar="N", help="How many of the newest runs to keep")],
    file: HistoryFile = None,
) -> None:
    from farm.results import history as histories

    path = _file(file)
    with histories.History(path) as opened:
        gone = opened.prune(keep)
    typer.echo(f"{path}: {counted(gone, 'run')} removed")
