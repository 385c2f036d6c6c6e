"""``farm diff``: two runs."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from farm.cli.app import app, console_for, write


class Format(enum.StrEnum):
    """How a comparison is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(metavar="A", help="The earlier run: its output folder or results.jsonl")],
    after: Annotated[Path, typer.Argument(metavar="B", help="The later run")],
    format_: Annotated[Format, typer.Option("--format", help="How to say it")] = Format.TEXT,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there instead")] = None,
) -> None:
    """Say what became of every cell between two runs; exit 1 if any is worse."""
    from farm import diff as diffs
    from farm.report import diff as reports

    a, b = diffs.load(before), diffs.load(after)
    for complaint in a.complaints + b.complaints:
        typer.echo(complaint, err=True)
    found = diffs.compare(a, b, (str(before), str(after)))
    if format_ is Format.JSON:
        import msgspec

        text = msgspec.json.format(msgspec.json.encode(found), indent=1).decode() + "\n"
    else:
        text = reports.markdown(found) if format_ is Format.MARKDOWN else reports.text(found)
    if output:
        write(output, text.encode())
    elif format_ is Format.TEXT:
        reports.show(found, console_for())
    else:
        typer.echo(text, nl=False)
    raise typer.Exit(1 if found.regression else 0)
