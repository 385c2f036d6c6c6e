"""``farm calibrate``: who notices which negative control."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from farm.cli.app import (
    CPUS,
    Arch,
    ArchPath,
    EngineNames,
    Jobs,
    JsonFlag,
    Mechanism,
    MechanismPath,
    ScenarioNames,
    ScenarioPath,
    Tag,
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
from farm.errors import FarmError, UsageError

if TYPE_CHECKING:
    from farm.run.plan import Selection


@app.command(
    help=(
        "Plant each negative control and see who notices.\n\nEvery scenario that claims to must, wherever the "
        "engine is not blind. With --engines, measure what each engine can notice of code that is stored."
    )
)
def calibrate(
    arch: Arch = None,
    mechanism: Mechanism = None,
    engine: EngineNames = None,
    toolchain: ToolchainNames = None,
    scenario: ScenarioNames = None,
    tag: Tag = None,
    arch_path: ArchPath = None,
    mechanism_path: MechanismPath = None,
    scenario_path: ScenarioPath = None,
    control: Annotated[list[str] | None, names_option("Negative controls", "--control")] = None,
    engines: Annotated[
        bool, typer.Option("--engines", help="Calibrate engines: store code with and without maintenance, in pieces")
    ] = False,
    jobs: Jobs = CPUS,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write calibration.json there, or engines.json")
    ] = None,
    json: JsonFlag = False,
) -> None:
    from farm.guest.controls import CONTROLS
    from farm.processes import workers
    from farm.prove.calibrate import Finding
    from farm.prove.calibrate import calibrate as measure
    from farm.prove.engines import measure_unknown
    from farm.report import calibration
    from farm.run import plan as plans

    selection = selection_of(
        arch, mechanism, engine, toolchain, scenario, tag, arch_path, scenario_path, mechanism_path
    )
    if engines:
        unfit = ("mechanism", "toolchain", "scenario", "tag", "scenario_path", "mechanism_path")
        given = [*(name for name in unfit if getattr(selection, name)), *(["control"] if control else ())]
        if given:
            raise UsageError(f"--engines and --{given[0].replace('_', '-')}: a probe knows engines and variants only")
        raise typer.Exit(_calibrate_engines(selection, jobs, output, json=json))
    if json:
        raise UsageError("--json goes with --engines; --output DIR writes what is found about controls as JSON")
    plan = plans.make(selection)
    names = plans.choose(control or (), list(CONTROLS), "control")
    measure_unknown(plan, jobs, functools.partial(typer.echo, err=True))
    folder = output_folder(output) if output else None
    findings: list[Finding] = []

    def say() -> None:
        table = calibration.table(findings, plan, names)
        if folder:
            write(folder / f"{table.name}.json", as_json(table))
        calibration.show(table, console_for())

    with calibration.Progress(console_for(stderr=True)) as progress:

        def keep(of_batch: Sequence[Finding], total: int) -> None:
            findings.extend(of_batch)
            progress.show(findings, total)

        try:
            with closing_engines(), workers(jobs) as pool:
                measure(plan, names, pool, keep)
        except KeyboardInterrupt:
            typer.echo(f"interrupted: {progress.tally}", err=True)
            if findings:
                say()
            raise
    if not findings:
        raise FarmError("nothing to calibrate: no selected scenario claims to detect what the selected controls plant")
    say()
    raise typer.Exit(0 if all(finding.as_claimed for finding in findings) else 1)


def _calibrate_engines(selection: Selection, jobs: int, output: Path | None, *, json: bool) -> int:
    """Measure the selected engines and show what was found; the exit status."""
    from farm.engines import engines
    from farm.guest import arch_toml
    from farm.processes import workers
    from farm.prove.engines import measure_all
    from farm.report import calibration
    from farm.report import engines as report
    from farm.report.progress import bar
    from farm.run import measured
    from farm.run import plan as plans

    variants = arch_toml.load(selection.arch_path)
    names = plans.choose(selection.engine, list(engines()), "engine")
    arches = plans.chosen_variants(selection, variants)
    folder = output_folder(output) if output else None
    pairs = [
        (engines()[name], variants[arch])
        for name in names
        for arch in arches
        if selection.engine or plans.is_default(name, variants[arch])
    ]
    console = console_for(stderr=True)
    with contextlib.ExitStack() as stack:
        advance: Callable[[], None] = lambda: None  # noqa: E731 - nobody watches
        if console.is_interactive and console.file.isatty():
            shown = stack.enter_context(bar(console))
            advance = functools.partial(shown.advance, shown.add_task("engines", total=len(pairs)))
        stack.enter_context(closing_engines())
        pool = stack.enter_context(workers(jobs))
        rows = measure_all(pairs, pool, lambda _rows: advance())
    if all(row.reason for row in rows):
        raise FarmError("nothing was measured: " + "; ".join(dict.fromkeys(row.reason or "" for row in rows)))
    measured.keep(rows)
    differing = measured.differing(rows)
    table = report.table(rows, differing)
    if folder:
        write(folder / f"{table.name}.json", as_json(table))
    if json:
        typer.echo(as_json(rows).decode())
    else:
        calibration.show(table, console_for())
    return 1 if differing else 0
