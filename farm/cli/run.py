"""``farm run``: run a plan and report it."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import importlib.util
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from farm.cell import EngineName, Verdict
from farm.cli.app import (
    CPUS,
    Arch,
    ArchPath,
    EngineNames,
    Jobs,
    Mechanism,
    MechanismPath,
    QuarantineFile,
    ScenarioNames,
    ScenarioPath,
    Tag,
    Timeout,
    ToolchainNames,
    alone,
    app,
    ci_status,
    close_engines,
    console_for,
    only_one,
    output_folder,
    remove_reports,
    selection_of,
    shard_of,
    status_of,
    write,
    write_reports,
)
from farm.cli.history import remember
from farm.errors import ExhaustedError, FarmError, MissingToolError, UnknownNameError, UsageError, exhausted
from farm.processes import telling
from farm.text import counted

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable

    from rich.console import Console

    from farm.prove.auditor import Auditor
    from farm.run.journal import Journal, Run
    from farm.run.plan import Plan, Selection
    from farm.run.quarantine import Quarantine
    from farm.run.verdict import Result


def _require(plan: Plan, required: list[str]) -> None:
    """Every required engine runs at least one cell and none of its cells lacks an install."""
    from farm.engines import engines

    for name in required:
        if EngineName.of(name).engine not in engines():
            raise UnknownNameError("engine", name, engines())
        of_engine = [p for p in plan.cells if p.cell.engine == name]
        missing = next((p for p in of_engine if p.verdict is Verdict.NOT_RUN), None)
        if missing:
            raise FarmError(f"required engine {name} cannot run {missing.cell}: {missing.reason}")
        if not any(p.verdict is None for p in of_engine):
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


@app.command(help="Run a plan and report it.")
def run(
    arch: Arch = None,
    mechanism: Mechanism = None,
    engine: EngineNames = None,
    toolchain: ToolchainNames = None,
    scenario: ScenarioNames = None,
    tag: Tag = None,
    arch_path: ArchPath = None,
    mechanism_path: MechanismPath = None,
    scenario_path: ScenarioPath = None,
    jobs: Jobs = CPUS,
    timeout: Timeout = 5.0,
    shard: Annotated[str | None, typer.Option(metavar="K/N", help="Run one part of the plan")] = None,
    plan_file: Annotated[Path | None, typer.Option("--plan", metavar="FILE", help="Run a saved plan")] = None,
    executor: Annotated[str, typer.Option(metavar="WHERE", help="local, or dask=ADDRESS")] = "local",
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where results go")] = Path("farm-out"),
    resume: Annotated[bool, typer.Option("--resume", help="Keep results of unchanged guests, run the rest")] = False,
    require: Annotated[list[str] | None, typer.Option(metavar="ENGINE", help="Fail if this engine is missing")] = None,
    retries: Annotated[
        int, typer.Option(min=0, max=100, metavar="N", help="Run a cell again whose emulator failed")
    ] = 1,
    max_failures: Annotated[
        int | None, typer.Option("--max-failures", min=1, metavar="N", help="Begin no other cell after N failures")
    ] = None,
    first_failure: Annotated[bool, typer.Option("-x", help="The same as --max-failures 1")] = False,
    quarantine: QuarantineFile = None,
    quarantine_verify: Annotated[
        bool, typer.Option("--quarantine-verify", help="Run what is listed as known-bad alone; say what still is")
    ] = False,
    audit: Annotated[
        Literal["first", "full", "off"],
        typer.Option(
            metavar="HOW", help="Judge stores to code, under unicorn: first (16 requests a cell), full or off"
        ),
    ] = "first",
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="A line a cell; explain every failure")] = False,
    history: Annotated[bool, typer.Option(help="Add the run to the history")] = True,
    require_confinement: Annotated[
        bool, typer.Option("--require-confinement", help="Run nothing if guests cannot be confined")
    ] = False,
    no_confinement: Annotated[
        bool, typer.Option("--no-confinement", help="Let guests do on this machine what you can")
    ] = False,
) -> None:
    from farm import confinement
    from farm.prove.engines import measure_unknown
    from farm.report import quarantine as verification
    from farm.report import terminal
    from farm.run import plan as plans
    from farm.run import quarantine as quarantines

    began = time.perf_counter()
    selection = selection_of(
        arch, mechanism, engine, toolchain, scenario, tag, arch_path, scenario_path, mechanism_path
    )
    only_one(x=first_failure, max_failures=max_failures)
    only_one(require_confinement=require_confinement, no_confinement=no_confinement)
    if require_confinement or no_confinement:
        confinement.choose("require" if require_confinement else "off")
    confinement.confines()
    limit = 1 if first_failure else max_failures
    selectors = ("arch", "mechanism", "engine", "toolchain", "scenario", "tag")
    if plan_file and (named := next((name for name in selectors if getattr(selection, name)), None)):
        raise UsageError(f"--plan and --{named}: the saved plan says which cells there are; `farm plan` makes another")
    if limit and quarantine_verify:
        raise UsageError("--max-failures: --quarantine-verify must run all that is listed")
    known = quarantines.find(quarantine, selection)
    if quarantine_verify:
        selection = _everywhere(selection, known)
    if executor == "local" and not verbose:  # which tells of each command, but of none so early
        _load_emulator(selection, min(jobs, CPUS))
    plan = plans.read(plan_file, selection) if plan_file else plans.possible(selection)
    plan = shard_of(plan, shard)
    console = console_for()
    if known.entries or quarantine_verify:
        console.print(verification.head(known, plan), markup=False, highlight=False, soft_wrap=True)
    if quarantine_verify:
        plan = known.only(plan)
        if not plan.cells:
            raise typer.Exit(_verified(known, [], console))
    if not plan.cells:
        raise FarmError("nothing to run: the plan has no cell")
    plan.check_ready()
    _require(plan, require or [])
    measure_unknown(plan, min(jobs, CPUS), functools.partial(typer.echo, err=True))
    told: list[str] = []

    def tell(results: list[Result]) -> None:
        """Write what will be shown when the reports are there, for whoever reads it may not read on."""
        with console.capture() as written:
            terminal.show(
                results, plan, console, verbose=verbose, audited_on=() if audit == "off" else _watching_engines()
            )
        told.append(written.get())

    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(_executor(executor, jobs))
        stack.enter_context(alone(folder := output_folder(output)))
        if verbose:
            stack.enter_context(
                telling(lambda said: console.print(f"$ {said}", markup=False, highlight=False, soft_wrap=True))
            )
        ran, results, left_out = _execute(
            plan,
            folder,
            console,
            pool,
            jobs,
            timeout,
            retries,
            known,
            began,
            limit,
            _auditor(audit, plan),
            tell,
            resume=resume,
            verbose=verbose,
            remembered=history and not quarantine_verify,
        )
    console.file.writelines(told)
    console.print(f"results in {folder}", highlight=False)
    if left_out:
        console.print(left_out, markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1)
    raise typer.Exit(
        _verified(known, results, console) if quarantine_verify else status_of(results, console, part=bool(ran.shard))
    )


def _auditor(how: Literal["first", "full", "off"], plan: Plan) -> Auditor | None:
    from farm.prove.auditor import FIRST, Auditor

    if how == "off":
        return None
    options = plan.selection.path_options()
    return Auditor(FIRST, options) if how == "first" else Auditor(0, f"{options} --audit full".lstrip())


def _watching_engines() -> list[str]:
    """Names of the engines whose cells can be audited."""
    from farm.engines import Watches, engines

    return [name for name, engine in engines().items() if isinstance(engine, Watches)]


def _load_emulator(selection: Selection, count: int) -> None:
    """Start children of Unicorn, unless only other engines are selected: they load it while the plan is made.

    One is enough for one variant: what else the plan turns out to need is started once it is there.
    """
    from farm.engines.unicorn import UNICORN

    names = [name.strip() for pattern in selection.engine for name in pattern.split(",")]
    selected = not names or any(fnmatch.fnmatchcase(UNICORN.name, name) for name in names)
    if selected and importlib.util.find_spec("unicorn"):
        one = len(selection.arch) == 1 and not set(selection.arch[0]) & set(",*?[")
        UNICORN.warm_up(1 if one else count)


def _everywhere(selection: Selection, known: Quarantine) -> Selection:
    """``selection``, with every toolchain and profile unless it names some: a list may be about any."""
    if not known.path.exists():
        raise UsageError(f"--quarantine-verify: there is no {known.path} here; name the list with --quarantine")
    return replace(selection, toolchain=selection.toolchain or ("*",), engine=selection.engine or ("*",))


def _verified(known: Quarantine, results: list[Result], console: Console) -> int:
    """Say which entries are still needed; the exit status."""
    from farm.report.quarantine import verified

    for line in verified(known, results):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    missing = any(listed.idle is not None and listed.idle.verdict is Verdict.NOT_RUN for listed in known.entries)
    return status_of(results, console, part=True) or ci_status(missing, console)


def _execute(
    plan: Plan,
    folder: Path,
    console: Console,
    pool: concurrent.futures.Executor,
    jobs: int,
    timeout: float,
    retries: int,
    known: Quarantine,
    began: float,
    max_failures: int | None,
    auditor: Auditor | None,
    tell: Callable[[list[Result]], None],
    *,
    resume: bool,
    verbose: bool,
    remembered: bool,
) -> tuple[Run, list[Result], str]:
    """The run, its results, and what is to be said of cells that were left out after ``max_failures``.

    While the pages are made ``tell`` hears of the results, and a whole run is added to the history if it is to be
    ``remembered``.
    """
    import concurrent.futures

    from farm.engines import warm_up
    from farm.guest import build
    from farm.processes import kill_all
    from farm.report.progress import Progress
    from farm.run import journal as journals
    from farm.run import plan as plans
    from farm.run.batch import batches
    from farm.run.execute import execute, outdated

    if isinstance(pool, concurrent.futures.ThreadPoolExecutor):  # elsewhere the children are not ours
        cells = [planned.cell for planned in plan.cells if planned.verdict is None]
        guests = {(cell.variant, cell.mechanism, cell.toolchain) for cell in cells}
        warm_up([cell.engine for cell in cells], min(jobs, len(guests)))
    path, header = folder / journals.FILE, journals.describe(plan, known)
    shown = Progress(console, plan, verbose=verbose)
    shown.begin()
    if resume and path.exists() and (said := journals.make_way(path)):
        typer.echo(said, err=True)
    if resume and path.exists():
        journal = journals.Journal(path, header, resume=True, outdated=outdated(plan, jobs))
        for complaint in journal.complaints:
            typer.echo(complaint, err=True)
    else:
        journal = journals.Journal(path, header)
    try:
        remove_reports(folder)
        write(folder / plans.FILE, plan.whole.json())
        journal.run.took("plan", began)
        try:
            with shown as progress:
                specs = list(dict.fromkeys(batch.spec for batch in batches(plan, journal.results)))
                progress.building(len(specs))
                building = time.perf_counter()
                images = build.images(specs, jobs)
                journal.run.took("build", building)
                running = time.perf_counter()
                execute(
                    plan,
                    journal,
                    pool,
                    progress.results,
                    timeout=timeout,
                    retries=retries,
                    quarantine=known,
                    max_failures=max_failures,
                    images=images,
                    auditor=auditor,
                )
                journal.run.took("run", running)
        except KeyboardInterrupt:
            kill_all()
            raise
        finally:
            pool.shutdown()
            close_engines()
        left_out = ""
        if max_failures and (left := len(plan.cells) - len(journal.results)):
            number = counted(left, "cell was", "cells were")
            left_out = f"--max-failures {max_failures}: {number} not run; --resume runs them"
            plan = replace(plan, cells=tuple(p for p in plan.cells if p.cell in journal.results))
        results = journal.in_order(plan)

        def meanwhile() -> None:
            if not left_out:
                journal.finish(plan)
                if remembered:
                    remember(folder, journal.run, results)
            tell(results)

        write_reports(results, plan, journal.run, folder, [left_out] if left_out else [], meanwhile=meanwhile)
    except KeyboardInterrupt:
        typer.echo(f"interrupted: {_kept(journal, plan, folder)}", err=True)
        raise
    except (OSError, MemoryError, RuntimeError) as error:
        if no_more := exhausted(error):
            raise ExhaustedError(f"{no_more}; {_kept(journal, plan, folder)}") from None
        raise
    finally:
        journal.close()
    return journal.run, results, left_out


def _kept(journal: Journal, plan: Plan, folder: Path) -> str:
    """A sentence on where the results of an unfinished run are, and which command goes on from there."""
    done, planned = len(journal.results), len(plan.cells)
    rest = "--resume runs the rest" if done < planned else f"`farm report {folder}` makes their reports"
    return f"{done:,} of {planned:,} results are in {journal.path}; {rest}"
