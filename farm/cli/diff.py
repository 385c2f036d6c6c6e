"""``farm diff``: what became of every cell between two runs."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from farm.cli.app import app, as_json, console_for, write


class Format(enum.StrEnum):
    """Output formats of ``farm diff``."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"


@app.command(help="Say what became of every cell between two runs. Exit status 1: one of them is worse.")
def diff(
    before: Annotated[Path, typer.Argument(metavar="A", help="The earlier run: its output folder or results.jsonl")],
    after: Annotated[Path, typer.Argument(metavar="B", help="The later run")],
    format_: Annotated[Format, typer.Option("--format", help="How to say it")] = Format.TEXT,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there instead")] = None,
) -> None:
    from farm.report import diff as reports
    from farm.results import diff as diffs

    a, b = diffs.load(before), diffs.load(after)
    for complaint in a.complaints + b.complaints:
        typer.echo(complaint, err=True)
    comparison = diffs.compare(a, b, (typer.format_filename(before), typer.format_filename(after)))
    if format_ is Format.JSON:
        text = as_json(comparison).decode() + "\n"
    else:
        text = reports.markdown(comparison) if format_ is Format.MARKDOWN else reports.text(comparison)
    if output:
        write(output, text.encode())
    elif format_ is Format.TEXT:
        reports.show(comparison, console_for())
    else:
        typer.echo(text, nl=False)
    raise typer.Exit(1 if comparison.regression else 0)
