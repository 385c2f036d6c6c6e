"""``farm mutate``: who would notice a bug."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from farm.cli.app import (
    CPUS,
    Arch,
    ArchPath,
    Jobs,
    JsonFlag,
    Mechanism,
    MechanismPath,
    ScenarioPath,
    ToolchainNames,
    app,
    as_json,
    closing_engines,
    console_for,
    names_option,
    output_folder,
    selection_of,
    write,
)
from farm.errors import FarmError, OutputError, UsageError

if TYPE_CHECKING:
    from farm.prove.mutate.judged import Judged
    from farm.run.plan import Selection


@app.command(
    help=(
        "Break the patch code on purpose, and see who notices.\n\nEach mutant is one guest with one place of its "
        "mechanism's code broken. The scenarios that reach the place run first, then the others, then the proofs. What "
        "nobody notices is equivalent, unreachable here, or a hole. Exit status 1: there are holes."
    )
)
def mutate(
    arch: Arch = None,
    mechanism: Mechanism = None,
    toolchain: ToolchainNames = None,
    operator: Annotated[
        list[str] | None, names_option("Ways to break code (--operators lists them)", "--operator")
    ] = None,
    at: Annotated[str, typer.Option(metavar="FILE[:LINE]", help="Only there; globs, from any folder on")] = "",
    sample: Annotated[int | None, typer.Option(min=1, metavar="N", help="Judge so many, drawn at random")] = None,
    seed: Annotated[int, typer.Option(metavar="S", help="Of --sample")] = 0,
    since: Annotated[str, typer.Option(metavar="COMMIT", help="Only of lines that have changed since")] = "",
    operators: Annotated[bool, typer.Option("--operators", help="List the ways to break code, and end")] = False,
    history: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Judge the patches there instead, each a bug that somebody had")
    ] = None,
    arch_path: ArchPath = None,
    mechanism_path: MechanismPath = None,
    scenario_path: ScenarioPath = None,
    jobs: Jobs = CPUS,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write mutants.jsonl there as they end, then mutants.json")
    ] = None,
    json: JsonFlag = False,
) -> None:
    from farm import __version__
    from farm.processes import workers
    from farm.prove.mutate import hunt
    from farm.prove.mutate.operators import OPERATORS
    from farm.report import mutants as report
    from farm.run import plan as plans

    if operators:
        width = max(map(len, OPERATORS))
        for each in OPERATORS.values():
            typer.echo(f"{each.name:<{width}}  {each.what}")
        return
    selection = selection_of(arch, mechanism, None, toolchain, None, None, arch_path, scenario_path, mechanism_path)
    if history:
        given = {"arch": arch, "mechanism": mechanism, "operator": operator, "at": at, "sample": sample, "since": since}
        if unfit := next((name for name, value in given.items() if value), None):
            raise UsageError(f"--history and --{unfit}: a patch says itself what it is of")
        raise typer.Exit(_judge_history(history, selection, jobs, json=json))
    chosen = plans.choose(operator or (), list(OPERATORS), "operator")
    plan = plans.make(selection)
    wanted = hunt.Wanted(frozenset(chosen), at, sample, seed, since)
    folder = output_folder(output) if output else None
    began = time.perf_counter()
    judged: list[Judged] = []
    with contextlib.ExitStack() as stack:
        log = None
        if folder:
            try:
                log = stack.enter_context((folder / report.LOG).open("wb", buffering=0))
            except OSError as error:
                raise OutputError(f"{folder / report.LOG}: cannot be written: {error.strerror}") from None
        progress = stack.enter_context(report.Progress(console_for(stderr=True)))

        def hear(each: Judged, known: bool) -> None:
            del known
            judged.append(each)
            if log:
                log.write(report.encoded(each))
            progress.show(judged)

        try:
            with closing_engines(), workers(jobs) as pool:
                hunted = hunt.find(plan, wanted, pool)
                progress.expect(sum(len(guest.mutants) for guest in hunted))
                hunt.hunt(plan, hunted, pool, hear)
        except KeyboardInterrupt:
            typer.echo(f"interrupted, what is judged is kept: {report.summary(judged)}", err=True)
            raise
    document = report.document(hunted, judged, round(time.perf_counter() - began, 1), __version__)
    if folder:
        write(folder / report.FILE, as_json(document))
    if json:
        typer.echo(as_json(document).decode())
    else:
        report.show(document, console_for(), selection.path_options())
    if not judged:
        reasons = dict.fromkeys(guest.unbroken for guest in hunted if guest.unbroken)
        raise FarmError("no mutant was judged: " + ("; ".join(reasons) or "nothing that was selected can be broken so"))
    raise typer.Exit(1 if report.holes(judged) else 0)


def _judge_history(folder: Path, selection: Selection, jobs: int, *, json: bool) -> int:
    """Judge the patches in ``folder`` and say who notices each; the exit status."""
    from farm.processes import workers
    from farm.prove.mutate import history
    from farm.prove.mutate.judged import Outcome
    from farm.report import mutants as report

    bugs = history.read(folder)
    with closing_engines(), workers(jobs) as pool:
        judged = history.judge(bugs, selection, pool)
    if json:
        rows = [{"bug": bug.name, "guest": f"{bug.variant}/{bug.mechanism}", "judged": each} for bug, each in judged]
        typer.echo(as_json(rows).decode())
    else:
        for line in report.history(judged):
            typer.echo(line)
    return 0 if all(each.outcome is Outcome.KILLED for _, each in judged) else 1
