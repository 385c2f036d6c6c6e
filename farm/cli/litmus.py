"""``farm litmus``: which final states a litmus test of instruction fetch can have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from farm.cli.app import JsonFlag, app, as_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm.prove.litmus.judge import Judged


def _bit(what: str) -> Any:
    return typer.Option(min=0, max=1, metavar="0|1", help=what, show_default="the file's CacheType")


@app.command(
    help=(
        "Say which final states a litmus test can have.\n\nFiles are of herd's format. "
        "Exit status 1: a verdict is not as --kinds says: unsound if a forbidden outcome is observed, incomplete if an "
        "allowed one is not."
    )
)
def litmus(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Litmus files")],
    dic: Annotated[int | None, _bit("CTR_EL0.DIC: instruction caches need no invalidation; implies --idc 1")] = None,
    idc: Annotated[int | None, _bit("CTR_EL0.IDC: data caches need no cleaning")] = None,
    kinds: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Expected verdicts: a test and its kind a line")
    ] = None,
    outcomes: Annotated[bool, typer.Option("--outcomes", help="Show every final state")] = False,
    witness: Annotated[bool, typer.Option("--witness", help="Show an order of events that leads there")] = False,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="For each file")] = 20.0,
    json: JsonFlag = False,
) -> None:
    from farm.errors import UsageError
    from farm.prove.litmus import judge as judges

    if dic and idc == 0:
        raise UsageError("--dic 1 --idc 0: DIC implies IDC")
    expected = judges.read_kinds(kinds) if kinds else None
    judged = []
    for one in judges.judge(
        files,
        dic=None if dic is None else bool(dic),
        idc=None if idc is None else bool(idc),
        kinds=expected,
        witness=witness,
        timeout=timeout,
    ):
        judged.append(one)
        if one.error:
            typer.echo(f"farm: {one.error}", err=True)
        elif not json:
            _show(one, outcomes=outcomes, witness=witness)
    failed = [one for one in judged if one.error]
    if json:
        typer.echo(as_json(judged).decode())
    else:
        typer.echo(_summary(judged))
    wrong = any(one.agrees is False for one in judged)
    raise typer.Exit(2 if any(one.refused for one in failed) else 3 if failed else 1 if wrong else 0)


def _show(one: Judged, *, outcomes: bool, witness: bool) -> None:
    mark = {True: "✓", False: "✗", None: " "}[one.agrees]
    states = f"{len(one.states)} state{'s' if len(one.states) != 1 else ''}"
    typer.echo(
        f"{mark} {one.name}: {one.verdict}, {states}"
        + (f": {one.mistake}, expected {one.expected}" * bool(one.mistake))
    )
    for state in one.states if outcomes else ():
        typer.echo(f"    {state}")
    for number, line in enumerate(one.witness if witness else (), 1):
        typer.echo(f"  {number:3}  {line}")
    for note in one.notes:
        typer.echo(f"    note: {note}")


def _summary(judged: Sequence[Judged]) -> str:
    agree, unsound, incomplete, failed = (
        sum(map(bool, each))
        for each in (
            [one.agrees for one in judged],
            [one.mistake == "unsound" for one in judged],
            [one.mistake == "incomplete" for one in judged],
            [one.error for one in judged],
        )
    )
    compared = sum(one.expected is not None for one in judged)
    return (
        f"{len(judged)} tests, {compared} with an expected verdict: {agree} agree, {unsound} unsound, "
        f"{incomplete} incomplete; {failed} without a verdict"
    )
