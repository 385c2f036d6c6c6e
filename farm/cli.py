"""The command line, ``farm``: a function a command.

Exit status: 0 all as expected, 1 some cell is not, 2 usage, 3 the farm itself could not do its work, 130 interrupted.
Everything that takes time to import is imported where it is used, so that help and lists come at once.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from farm.errors import BuildError, FarmError, MissingToolError, OutputError, UnknownNameError, UsageError

if TYPE_CHECKING:
    import concurrent.futures

    from rich.console import Console

    from farm.plan import Plan, Planned, Selection
    from farm.verdict import Result

app = typer.Typer(
    name="farm",
    help="A test farm for runtime-patchable calls: one scenario, many architectures, the same behaviour.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Names = Annotated[list[str] | None, typer.Option(metavar="NAMES")]


def _names(what: str, *flags: str) -> Any:
    return typer.Option(*flags, metavar="NAMES", help=f"{what}: names, globs, comma lists")


Arch = Annotated[list[str] | None, _names("Architectures or variants", "--arch")]
Mechanism = Annotated[list[str] | None, _names("Mechanisms", "--mechanism")]
EngineNames = Annotated[list[str] | None, _names("Engines", "--engine")]
ToolchainNames = Annotated[list[str] | None, _names("Toolchains", "--toolchain")]
ScenarioNames = Annotated[list[str] | None, _names("Scenarios, by id or name", "--scenario")]
Tag = Annotated[list[str] | None, _names("Tags of scenarios", "--tag")]
ArchPath = Annotated[list[Path] | None, typer.Option(metavar="DIR", help="Folder with an arch.toml, or with several")]
ScenarioPath = Annotated[list[Path] | None, typer.Option(metavar="PATH", help="Python file, or folder, of scenarios")]
_CPUS = os.cpu_count() or 1
Jobs = Annotated[int, typer.Option("-j", "--jobs", min=1, help="Workers", show_default="CPUs")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Machine-readable output")]
Timeout = Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How long one cell may take")]


def _selection(
    arch: list[str] | None,
    mechanism: list[str] | None,
    engine: list[str] | None,
    toolchain: list[str] | None,
    scenario: list[str] | None,
    tag: list[str] | None,
    arch_path: list[Path] | None,
    scenario_path: list[Path] | None,
) -> Selection:
    from farm.plan import Selection

    return Selection(
        arch or (),
        mechanism or (),
        engine or (),
        toolchain or (),
        scenario or (),
        tag or (),
        tuple(path.resolve() for path in arch_path or ()),
        tuple(path.resolve() for path in scenario_path or ()),
    )


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120
    return Console(stderr=stderr, width=width)


def _version(value: bool) -> None:
    if value:
        from farm import __version__

        typer.echo(f"patchfarm {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version")
    ] = False,
) -> None:
    """Options before the command."""
    del version


# run


def _shard(plan: Plan, shard: str | None) -> Plan:
    if shard is None:
        return plan
    number, slash, count = shard.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal()):
        raise UsageError(f"--shard {shard}: expected k/n, for example 1/4")
    return plan.shard(int(number), int(count))


def _require(plan: Plan, required: list[str]) -> None:
    """Every required engine runs at least one cell and none of its cells lacks an install."""
    from farm.engines import engines

    for name in required:
        if name.partition(":")[0] not in engines():
            raise UnknownNameError("engine", name, engines())
        mine = [p for p in plan.cells if p.cell.engine == name]
        missing = next((p for p in mine if p.verdict == "not-run"), None)
        if missing:
            raise FarmError(f"required engine {name} cannot run {missing.cell}: {missing.reason}")
        if not any(p.verdict is None for p in mine):
            raise FarmError(f"required engine {name} runs no cell of this plan")


def _executor(name: str, jobs: int) -> concurrent.futures.Executor:
    import concurrent.futures

    kind, _, address = name.partition("=")
    if kind == "local" and not address:
        return concurrent.futures.ThreadPoolExecutor(jobs)
    if kind == "dask" and address:
        try:
            from distributed import Client
        except ImportError:
            raise MissingToolError("dask", "pip install 'patchfarm[dask]'") from None
        try:
            executor: concurrent.futures.Executor = Client(address, timeout=10).get_executor()
        except (OSError, ValueError) as error:
            raise UsageError(f"--executor {name}: no scheduler answers there: {error}") from None
        return executor
    raise UsageError(f"--executor {name}: expected local or dask=ADDRESS")


def _output_folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"output folder {path}: cannot be made: {error.strerror}") from None
    return path


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from None


def _close_engines() -> None:
    from farm.engines import engines

    for engine in engines().values():
        engine.close()


@app.command()
def run(
    arch: Arch = None,
    mechanism: Mechanism = None,
    engine: EngineNames = None,
    toolchain: ToolchainNames = None,
    scenario: ScenarioNames = None,
    tag: Tag = None,
    arch_path: ArchPath = None,
    scenario_path: ScenarioPath = None,
    jobs: Jobs = _CPUS,
    timeout: Timeout = 5.0,
    shard: Annotated[str | None, typer.Option(metavar="K/N", help="Run one part of the plan")] = None,
    plan_file: Annotated[Path | None, typer.Option("--plan", metavar="FILE", help="Run a saved plan")] = None,
    executor: Annotated[str, typer.Option(help="local, or dask=ADDRESS")] = "local",
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where results go")] = Path("farm-out"),
    resume: Annotated[bool, typer.Option("--resume", help="Keep the results that are there, run the rest")] = False,
    require: Annotated[list[str] | None, typer.Option(metavar="ENGINE", help="Fail if this engine is missing")] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="A line a cell; explain every failure")] = False,
) -> None:
    """Run a plan and report it."""
    from farm import plan as plans
    from farm.report import terminal

    selection = _selection(arch, mechanism, engine, toolchain, scenario, tag, arch_path, scenario_path)
    plan = plans.read(plan_file, selection) if plan_file else plans.make(selection)
    plan = _shard(plan, shard)
    if not plan.cells:
        raise FarmError("nothing to run: this shard of the plan has no cell")
    _require(plan, require or [])
    console = _console()
    with _executor(executor, jobs) as pool:
        folder = _output_folder(output)
        results = _execute(plan, folder, console, pool, jobs, timeout, resume=resume, verbose=verbose)
    terminal.show(results, plan, console, verbose=verbose)
    console.print(f"results in {folder}", highlight=False)
    raise typer.Exit(_status(results, console))


def _execute(
    plan: Plan,
    folder: Path,
    console: Console,
    pool: concurrent.futures.Executor,
    jobs: int,
    timeout: float,
    *,
    resume: bool,
    verbose: bool,
) -> list[Result]:
    import concurrent.futures

    from farm import image
    from farm import run as runs
    from farm.engines import engines
    from farm.engines.child import kill_all
    from farm.report.progress import Progress

    if isinstance(pool, concurrent.futures.ThreadPoolExecutor):  # elsewhere the children are not ours
        for name in {p.cell.engine.partition(":")[0] for p in plan.cells if p.verdict is None}:
            engines()[name].warm_up(min(jobs, len({p.cell.variant for p in plan.cells})))
    journal = runs.Journal(folder / "results.jsonl", runs.describe(plan), resume=resume)
    try:
        _write(folder / "plan.json", plan.json())
        try:
            with Progress(console, plan, verbose=verbose) as progress:
                specs = list(dict.fromkeys(batch.spec for batch in runs.batches(plan, journal.results)))
                progress.building(len(specs))
                image.build_all(specs, jobs)
                runs.execute(plan, journal, pool, progress.results, timeout=timeout)
        except KeyboardInterrupt:
            kill_all()
            raise
        finally:
            pool.shutdown()
            _close_engines()
        journal.finish(plan)
    except KeyboardInterrupt:
        done = len(journal.results)
        journal.close()
        message = f"interrupted: {done} of {len(plan.cells)} results are in {journal.path}; --resume runs the rest"
        typer.echo(message, err=True)
        raise SystemExit(130) from None
    finally:
        journal.close()
    results = [journal.results[planned.cell] for planned in plan.cells]
    _reports(results, plan, journal.run, folder)
    return results


def _reports(results: list[Result], plan: Plan, run: Any, folder: Path) -> None:
    from farm.report import junit, markdown

    _write(folder / "junit.xml", junit.render(results, plan))
    _write(folder / "summary.md", markdown.render(results, plan, run).encode())


def _status(results: Sequence[Result], console: Console) -> int:
    from farm.verdict import Verdict

    if any(result.failed for result in results):
        return 1
    return _ci_status(any(result.verdict is Verdict.NOT_RUN for result in results), console)


def _ci_status(missing: bool, console: Console) -> int:
    if missing and os.environ.get("CI") == "true":
        console.print("CI=true: a cell of a selected engine that is not run is a failure", highlight=False)
        return 1
    return 0


@app.command()
def plan(
    arch: Arch = None,
    mechanism: Mechanism = None,
    engine: EngineNames = None,
    toolchain: ToolchainNames = None,
    scenario: ScenarioNames = None,
    tag: Tag = None,
    arch_path: ArchPath = None,
    scenario_path: ScenarioPath = None,
    shard: Annotated[str | None, typer.Option(metavar="K/N", help="Only one part of the plan")] = None,
    json: JsonFlag = False,
) -> None:
    """Show which cells there are, and why some will not run; with --json, a file for `farm run --plan`."""
    from farm import plan as plans

    selection = _selection(arch, mechanism, engine, toolchain, scenario, tag, arch_path, scenario_path)
    made = _shard(plans.make(selection), shard)
    if json:
        typer.echo(made.json().decode())
        return
    for planned in made.cells:
        typer.echo(f"{planned.cell}" + (f"  {planned.verdict}: {planned.reason}" if planned.verdict else ""))
    holes = sum(planned.verdict is not None for planned in made.cells)
    typer.echo(f"{len(made.cells)} cells, {len(made.cells) - holes} to run")


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

    header, results = runs.read(output / "results.jsonl")
    cells: list[Planned] = [plans.Planned(result.cell) for result in results]
    arches = tuple(path.resolve() for path in arch_path or ())
    suites = tuple(path.resolve() for path in scenario_path or ())
    made = plans.Plan(tuple(cells), scenarios.load(suites), backend.load(arches))
    if not results:
        raise FarmError(f"{output / 'results.jsonl'}: holds no result")
    _reports(results, made, header, output)
    console = _console()
    terminal.show(results, made, console, verbose=verbose)
    raise typer.Exit(_status(results, console))


@app.command("list")
def list_(
    what: Annotated[
        str,
        typer.Argument(
            help="variants, mechanisms, instructions, baselines, engines, toolchains, scenarios or controls"
        ),
    ],
    arch_path: ArchPath = None,
    scenario_path: ScenarioPath = None,
    controls: Annotated[
        bool, typer.Option("--controls", help="Of each scenario, the negative controls that turn it red.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """List what there is; with --json an array of objects, each with a name."""
    from farm.listing import brief, rows

    found = rows(what, tuple(arch_path or ()), tuple(scenario_path or ()))
    if controls:
        if what != "scenarios":
            raise UsageError(f"--controls: {what} have none; it goes with `farm list scenarios`")
        found = [{"name": row["name"], "controls": row["controls"]} for row in found if not row["absent"]]
    if json:
        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
        return
    width = max(len(row["name"]) for row in found)
    for row in found:
        typer.echo(f"{row['name']:<{width}}  " + "  ".join(brief(v) for k, v in row.items() if k != "name"))


# fuzz


@app.command()
def fuzz(
    arch: Arch = None,
    mechanism: Mechanism = None,
    engine: EngineNames = None,
    toolchain: ToolchainNames = None,
    arch_path: ArchPath = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="How long, once the guests are built", show_default="10")
    ] = None,
    programs: Annotated[int | None, typer.Option(min=1, metavar="N", help="How many programs")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same programs", show_default="random")] = None,
    first: Annotated[int, typer.Option(min=0, metavar="NUMBER", help="The program to begin with")] = 0,
    control: Annotated[str | None, typer.Option(metavar="NAME", help="Plant this negative control")] = None,
    jobs: Jobs = _CPUS,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How long one program may take")] = 1.0,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where a finding goes")] = Path("farm-out"),
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only say how it ended")] = False,
) -> None:
    """Run random programs until a guest does not do as the model says; print that one, shrunk, as a scenario."""
    import random

    from farm.fuzz import hunt
    from farm.report import fuzz as reports

    selection = hunt.select(_selection(arch, mechanism, engine, toolchain, None, None, arch_path, None))
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    seconds = 10.0 if seconds is None and programs is None else seconds
    console = _console()
    finding = None
    try:
        with reports.Progress(console, programs, seconds, quiet=quiet) as progress:
            ground = hunt.survey(selection, control, jobs)
            hunter = hunt.Hunt(ground.guests, seed, jobs, timeout)
            progress.say(f"seed {seed}, {len(ground.guests)} guests")
            try:
                finding = hunter.run(first, programs, seconds, progress.tell)
            except KeyboardInterrupt:
                outcome = "all as the model says"
                if hunter.suspect is not None:
                    outcome = f"but program {hunter.suspect} has failed once"
                typer.echo(f"interrupted: seed {seed}: {hunter.tally}, {outcome}", err=True)
                raise SystemExit(130) from None
            if finding:
                progress.say(f"program {finding.number} of seed {seed} fails on {finding.guest}; shrinking it")
                hunter.shrink(finding)
    finally:
        _close_engines()
    if not quiet:
        for hole, count in ground.holes.items():
            console.print(f"{count} guests {hole.verdict}: {hole.reason}", highlight=False, soft_wrap=True)
    if finding is None and not hunter.tally.runs:
        raise FarmError(f"nothing was run: seed {seed}: {hunter.tally}")
    if finding is None:
        console.print(f"seed {seed}: {hunter.tally}, all as the model says", highlight=False, soft_wrap=True)
        raise typer.Exit(_ci_status(any(hole.verdict == "not-run" for hole in ground.holes), console))
    file = output / f"{finding.original.name}.py"
    text = reports.text(finding, reports.command(selection, seed, finding.number, control), control)
    typer.echo(reports.explained(finding, ground.plan, control, file))
    typer.echo(f"\n{text}")
    console.print(f"seed {seed}: {hunter.tally}, 1 of them failed", highlight=False, soft_wrap=True)
    _write(_output_folder(output) / file.name, text.encode())
    console.print(f"scenario in {file}", highlight=False, soft_wrap=True)
    raise typer.Exit(1)


# build, calibrate, cost, doctor


@app.command()
def build(
    arch: Arch = None,
    mechanism: Mechanism = None,
    toolchain: ToolchainNames = None,
    arch_path: ArchPath = None,
    control: Annotated[str | None, typer.Option(metavar="NAME", help="Plant this negative control")] = None,
    jobs: Jobs = _CPUS,
) -> None:
    """Build guests and say where they are."""
    from farm import image
    from farm import plan as plans
    from farm.controls import CONTROLS

    if control is not None and control not in CONTROLS:
        raise UnknownNameError("control", control, CONTROLS)
    made = plans.make(_selection(arch, mechanism, None, toolchain, None, None, arch_path, None))
    specs = dict.fromkeys(
        image.Spec(made.variants[p.cell.variant], p.cell.mechanism, p.cell.toolchain, control)
        for p in made.cells
        if not made.variants[p.cell.variant].supports(p.cell.mechanism)
    )
    failures: list[FarmError] = []
    for spec, built in image.build_all(list(specs), jobs).items():
        if isinstance(built, FarmError):
            typer.echo(f"{spec}: {built}", err=True)
            failures.append(built)
        elif isinstance(built, Exception):
            raise built
        else:
            typer.echo(f"{spec!s:<24} {built.path}  {built.sha256[:12]}")
    if failures:
        raise typer.Exit(max(1 if isinstance(error, BuildError) else error.exit_status for error in failures))


@app.command()
def calibrate(
    arch: Arch = None,
    mechanism: Mechanism = None,
    engine: EngineNames = None,
    toolchain: ToolchainNames = None,
    scenario: ScenarioNames = None,
    tag: Tag = None,
    arch_path: ArchPath = None,
    scenario_path: ScenarioPath = None,
    control: Annotated[list[str] | None, _names("Negative controls", "--control")] = None,
    jobs: Jobs = _CPUS,
) -> None:
    """Plant each negative control and see who notices: every scenario must, wherever the engine is not blind."""
    import concurrent.futures

    from farm import plan as plans
    from farm.calibrate import calibrate as measure
    from farm.controls import CONTROLS
    from farm.engines.child import kill_all
    from farm.report import calibration

    made = plans.make(_selection(arch, mechanism, engine, toolchain, scenario, tag, arch_path, scenario_path))
    names = plans.choose(control or (), list(CONTROLS), "control")
    console = _console()
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        try:
            findings = measure(made, names, pool, lambda _: None)
        except KeyboardInterrupt:
            kill_all()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    _close_engines()
    if not findings:
        raise FarmError("nothing to calibrate: no selected scenario claims to detect what the selected controls plant")
    calibration.show(findings, made, names, console)
    raise typer.Exit(0 if all(finding.as_claimed for finding in findings) else 1)


@app.command()
def cost(
    arch: Arch = None,
    engine: EngineNames = None,
    toolchain: ToolchainNames = None,
    arch_path: ArchPath = None,
    jobs: Jobs = _CPUS,
    json: JsonFlag = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="A table for a comment or a document")] = False,
) -> None:
    """Count the instructions that a call executes: of each baseline and of each mechanism."""
    from farm import plan as plans
    from farm.cost import measure_all
    from farm.engines.child import kill_all
    from farm.live import ANY_SCENARIO
    from farm.report import cost as report

    made = plans.make(_selection(arch, ["pointer"], engine, toolchain, list(ANY_SCENARIO), None, arch_path, None))
    try:
        costs = measure_all(made, jobs)
    except KeyboardInterrupt:
        kill_all()
        raise
    _close_engines()
    if json:
        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(costs), indent=1).decode())
    elif markdown:
        typer.echo(report.markdown(costs))
    else:
        report.show(costs, _console())
    raise typer.Exit(1 if any(found.failed for found in costs) else 0)


@app.command()
def doctor(
    install: Annotated[bool, typer.Option("--install", help="Install what apt can install")] = False,
) -> None:
    """Say what is here, what is missing, and the command that installs it."""
    from farm import doctor as doctors

    findings = doctors.check()
    status = 0
    if install:
        status = doctors.install(findings)
        findings = doctors.check()
    doctors.report(findings)
    missing = any(finding.required and finding.found is None for finding in findings)
    raise typer.Exit(3 if missing else status)


def _fail(error: FarmError) -> NoReturn:
    typer.echo(f"farm: {error}", err=True)
    raise SystemExit(error.exit_status)


def main() -> None:
    """Entry point of the ``farm`` command."""
    gc.set_threshold(100_000)  # there are many results and no cycles: looking for some took a tenth of a run
    try:
        app()
    except FarmError as error:
        _fail(error)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
