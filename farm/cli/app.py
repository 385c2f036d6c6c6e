"""The command itself, and what its sub-commands share: options, selections, files."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from farm.errors import OutputError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.console import Console

    from farm.run.journal import Run
    from farm.run.plan import Plan, Selection
    from farm.run.verdict import Result

#: Commands, each a module of that name, in the order in which one meets them.
COMMANDS = [
    "run",
    "plan",
    "report",
    "show",
    "trace",
    "debug",
    "diff",
    "history",
    "list",
    "new",
    "build",
    "calibrate",
    "prove",
    "litmus",
    "mutate",
    "cost",
    "coverage",
    "fuzz",
    "ci",
    "doctor",
]


#: Exit status of a command whose output nobody reads any more: that of SIGPIPE, as a shell counts.
UNREAD = 141


def flush_or_drop() -> None:
    """Write what is still to be written; where nobody is any more, as on a closed terminal, let it go.

    Else Python would try at its end, fail, and put a status of its own in place of the command's.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextlib.contextmanager
def _unread() -> Iterator[None]:
    """A context that ends quietly where nobody reads on, as of `farm list | head`; typer would call that a failure."""
    try:
        yield
    except BrokenPipeError:
        flush_or_drop()
        raise typer.Exit(UNREAD) from None


class _Commands(TyperGroup):
    """Lists the commands in the order in which one meets them, and gives one that was interrupted its exit status."""

    def invoke(self, ctx: Any) -> Any:
        from farm.interrupts import interruptible, status_of

        try:
            with interruptible(), _unread():
                return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            flush_or_drop()
            raise typer.Exit(status_of(interrupt)) from None

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with _unread():  # which shows the help
            return super().make_context(*arguments, **options)

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=COMMANDS.index)


app = typer.Typer(
    name="farm",
    cls=_Commands,
    help="A test farm for runtime-patchable calls: one scenario, many architectures, the same behaviour.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Names = Annotated[list[str] | None, typer.Option(metavar="NAMES")]


def names_option(what: str, *flags: str) -> Any:
    """The option of a selector."""
    return typer.Option(*flags, metavar="NAMES", help=f"{what}: names, globs, comma lists")


Arch = Annotated[list[str] | None, names_option("Architectures or variants", "--arch")]
Mechanism = Annotated[list[str] | None, names_option("Mechanisms", "--mechanism")]
EngineNames = Annotated[list[str] | None, names_option("Engines", "--engine")]
ToolchainNames = Annotated[list[str] | None, names_option("Toolchains", "--toolchain")]
ScenarioNames = Annotated[list[str] | None, names_option("Scenarios, by id or name", "--scenario")]
Tag = Annotated[list[str] | None, names_option("Tags of scenarios", "--tag")]
ArchPath = Annotated[list[Path] | None, typer.Option(metavar="DIR", help="Folder with an arch.toml, or with several")]
MechanismPath = Annotated[
    list[Path] | None, typer.Option(metavar="DIR", help="Folder of a mechanism of your own, or of several")
]
ScenarioPath = Annotated[list[Path] | None, typer.Option(metavar="PATH", help="Python file, or folder, of scenarios")]
CellName = Annotated[str, typer.Argument(metavar="CELL", help="VARIANT/MECHANISM/TOOLCHAIN/ENGINE/SCENARIO")]
ControlName = Annotated[str | None, typer.Option(metavar="NAME", help="Plant this negative control")]
CPUS = os.cpu_count() or 1
Jobs = Annotated[int, typer.Option("-j", "--jobs", min=1, max=10_000, metavar="N", help="Workers", show_default="CPUs")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Machine-readable output")]
QuarantineFile = Annotated[
    Path | None,
    typer.Option(
        "--quarantine", metavar="FILE", help="Known-bad cells", show_default="quarantine.toml, if it is there"
    ),
]


def _timeout(value: str | float) -> float:
    from farm.engines import timeout_of

    return timeout_of(value, "--timeout")


def timeout_option(help_: str) -> Any:
    """The option of a deadline."""
    return typer.Option(metavar="SECONDS", parser=_timeout, help=help_)


def number_option(name: str, unit: str, least: float, most: float, help_: str, show_default: bool | str = True) -> Any:
    """The option of a number of ``unit``, in one sentence if it is none, or out of bounds."""

    def number(value: str | float) -> float:
        try:
            found = float(value)
        except ValueError:
            found = math.nan
        if not least <= found <= most:
            raise UsageError(f"{name} {value}: expected {unit}, from {least:g} to {most:,.0f}")
        return found

    return typer.Option(name, metavar=unit.upper(), parser=number, help=help_, show_default=show_default)


Timeout = Annotated[float, timeout_option("How long one cell may take")]


def selection_of(
    arch: list[str] | None,
    mechanism: list[str] | None,
    engine: list[str] | None,
    toolchain: list[str] | None,
    scenario: list[str] | None,
    tag: list[str] | None,
    arch_path: list[Path] | None,
    scenario_path: list[Path] | None,
    mechanism_path: list[Path] | None,
) -> Selection:
    """The selection that the selectors ask for."""
    from farm.run.plan import Selection

    return Selection(
        arch or (),
        mechanism or (),
        engine or (),
        toolchain or (),
        scenario or (),
        tag or (),
        resolved(arch_path),
        resolved(scenario_path),
        resolved(mechanism_path),
    )


def paths_of(
    arch_path: list[Path] | None, scenario_path: list[Path] | None, mechanism_path: list[Path] | None
) -> Selection:
    """The selection of all that is known with these paths."""
    return selection_of(None, None, None, None, None, None, arch_path, scenario_path, mechanism_path)


def shard_of(plan: Plan, shard: str | None) -> Plan:
    """The part of ``plan`` that ``k/n`` names.  Raises :class:`~farm.errors.UsageError`."""
    if shard is None:
        return plan
    number, slash, count = shard.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal()):
        raise UsageError(f"--shard {shard}: expected k/n, for example 1/4")
    return plan.shard(int(number), int(count))


def only_one(**given: object) -> None:
    """Raise :class:`~farm.errors.UsageError` if more than one of these options, by their names, is given."""
    names = [("-" if len(name) == 1 else "--") + name.replace("_", "-") for name, value in given.items() if value]
    if len(names) > 1:
        raise UsageError(f"{names[0]} and {names[1]}: one of them at a time")


def resolved(paths: Sequence[Path] | None) -> tuple[Path, ...]:
    """Absolute paths of an option that may be given several times, so that a change of folder does no harm."""
    return tuple(path.resolve() for path in paths or ())


def control_of(name: str | None, plan: Plan) -> str | None:
    """``name``, if it can be planted in every cell of ``plan``.  Raises :class:`~farm.errors.UsageError`."""
    from farm.guest.controls import CONTROLS

    if name is None:
        return None
    if name not in CONTROLS:
        raise UnknownNameError("control", name, CONTROLS)
    control = CONTROLS[name]
    for cell in (planned.cell for planned in plan.cells):
        variant, mechanism = plan.variants[cell.variant], plan.mechanisms[cell.mechanism]
        if not control.applies(variant, mechanism, variant.features(cell.engine)):
            why = control.impossible(variant, mechanism) or "the CPU of this engine is not one that it is about"
            raise UsageError(f"control {name} cannot be planted in {cell}: {why}")
    return name


def as_json(content: Any) -> bytes:
    """``content`` as JSON, for people too."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(content), indent=1)


def console_for(*, stderr: bool = False) -> Console:
    """The terminal, or 120 columns of a log; when nobody reads it any more, the work goes on without it."""
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            self.quiet = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120
    return Output(stderr=stderr, width=width)


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


def output_folder(path: Path) -> Path:
    """``path``, made if need be.  Raises :class:`~farm.errors.OutputError`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"output folder {path}: cannot be made: {error.strerror}") from None
    return path


def write(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write a file, of one part or of several.  Raises :class:`~farm.errors.OutputError`."""
    try:
        with path.open("wb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from None


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """A context in which no other run writes into ``folder``.

    Raises :class:`~farm.errors.UsageError` if one does, and :class:`~farm.errors.OutputError`.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except NotImplementedError:
        raise OutputError(
            f"output folder {folder}: its file system knows no locks; --output names another one"
        ) from None
    except Timeout:
        raise UsageError(f"output folder {folder}: another run writes there; --output names another one") from None
    except OSError as error:
        raise OutputError(f"output folder {folder}: cannot be written: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()


def close_engines() -> None:
    """End the children that are idle."""
    from farm.engines import engines

    for engine in engines().values():
        engine.close()


_REPORTS = ("junit.xml", "summary.md", "results.ktap", "trace.json", "badge.svg", "report.html")


def remove_reports(folder: Path) -> None:
    """Remove the reports of earlier results.  Raises :class:`~farm.errors.OutputError`."""
    for path in (folder / name for name in _REPORTS):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{path}: cannot be removed: {error.strerror}") from None


@contextlib.contextmanager
def closing_engines() -> Iterator[None]:
    """A context that leaves no child behind, however it ends."""
    try:
        yield
    finally:
        close_engines()


def write_reports(
    results: list[Result],
    plan: Plan,
    run: Run,
    folder: Path,
    complaints: Sequence[str] = (),
    *,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Every file that is derived from results, and from what other commands left in ``folder``.

    ``complaints`` are what could not be used of the results.  ``meanwhile`` is done too, while another process makes
    the pages.  Raises :class:`~farm.errors.OutputError` if a file cannot be written; then there are none, for a part of
    a report may look like a whole one.
    """
    from farm.processes import beside
    from farm.report import Material, badge, chrome, html, junit, ktap, markdown

    measured = html.found(folder)
    all_complaints = [*complaints, *measured.complaints]
    material = Material(
        run,
        results,
        plan,
        all_complaints,
        measured.costs,
        measured.coverage,
        measured.tables,
        measured.proofs,
        measured.mutants,
    )

    def write_pages() -> None:
        """What jinja2 makes: it takes longer than all the others together."""
        write(folder / "badge.svg", badge.render(results, plan).encode())
        write(folder / "report.html", html.render(material))

    try:
        with beside(write_pages):
            write(folder / "junit.xml", junit.render(results, plan, run))
            write(folder / "summary.md", markdown.render(results, plan, run, complaints).encode())
            write(folder / "results.ktap", ktap.render(results, plan).encode())
            write(folder / "trace.json", chrome.render(results, run))
            meanwhile()
    except OutputError as error:
        with contextlib.suppress(OutputError):
            remove_reports(folder)
        raise OutputError(f"{error}; the results are kept, and `farm report {folder}` makes their reports") from None


def status_of(results: Sequence[Result], console: Console, *, part: bool = False) -> int:
    """The exit status that ``results`` deserve.  Where no cell ran nothing was tested, unless they are but a part."""
    from farm.cell import SKIPPED, Verdict

    if any(result.failed for result in results):
        return 1
    if not part and all(result.verdict in SKIPPED for result in results):
        console.print("no cell ran, so nothing was tested", highlight=False)
        return 3
    return ci_status(any(result.verdict is Verdict.NOT_RUN for result in results), console)


def ci_status(missing: bool, console: Console) -> int:
    """The exit status where nothing failed: of CI, ``missing`` cells are a failure."""
    if missing and os.environ.get("CI") == "true":
        console.print("CI=true: a cell of a selected engine that is not run is a failure", highlight=False)
        return 1
    return 0
