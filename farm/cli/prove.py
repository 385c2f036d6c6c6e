"""``farm prove``: what no emulator shows by itself."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from farm.cli.app import (
    CPUS,
    Arch,
    ArchPath,
    Jobs,
    JsonFlag,
    Mechanism,
    MechanismPath,
    ScenarioNames,
    ScenarioPath,
    Tag,
    Timeout,
    ToolchainNames,
    app,
    as_json,
    closing_engines,
    names_option,
    output_folder,
    selection_of,
    write,
)
from farm.errors import FarmError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from farm.guest.variant import Variant
    from farm.prove.asking import Asked
    from farm.prove.proof import What
    from farm.run.plan import Plan, Selection

_ENGINE = "unicorn"  # the only one that notes stores

Strict = Annotated[
    bool, typer.Option("--strict", help="What no manual promises is wrong although a system relies on it")
]
Request = Annotated[
    list[str] | None, names_option("Requests, by what a function leads to before and behind", "--request")
]


def _output(name: str) -> Any:
    return typer.Option(metavar="DIR", help=f"Also write {name} there")


prove = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(prove, name="prove", help="Prove what no emulator shows by itself.")


@prove.callback()
def _group() -> None:
    """What is proved is a command of its own."""


@prove.command(
    help=(
        "Audit every store to code.\n\nEach scenario is run once an image, and what it stores to code, with the "
        "maintenance that follows, is held against the rules of the architecture (farm list rules). Exit status 1: a "
        "rule is broken, or a cell does not do as the model says."
    )
)
def rules(
    arch: Arch = None,
    mechanism: Mechanism = None,
    toolchain: ToolchainNames = None,
    scenario: ScenarioNames = None,
    tag: Tag = None,
    arch_path: ArchPath = None,
    mechanism_path: MechanismPath = None,
    scenario_path: ScenarioPath = None,
    strict: Strict = False,
    jobs: Jobs = CPUS,
    timeout: Timeout = 20.0,
    json: JsonFlag = False,
) -> None:
    from farm import __version__
    from farm.processes import workers
    from farm.prove.cells import audit
    from farm.report import audit as report
    from farm.run import plan as plans
    from farm.run.batch import batches

    plan = plans.make(
        selection_of(arch, mechanism, [_ENGINE], toolchain, scenario, tag, arch_path, scenario_path, mechanism_path)
    )
    work = batches(plan, timeout=timeout)
    if not work:
        raise FarmError(f"nothing to audit: no selected cell can run on {_ENGINE}")
    with closing_engines(), workers(jobs) as pool:
        images = list(pool.map(functools.partial(audit, strict=strict), work))
    if json:
        typer.echo(as_json(report.document(images, __version__)).decode())
    else:
        for line in report.lines(images):
            typer.echo(line)
    if not any(made.cells for made in images):
        raise FarmError("nothing was audited: " + "; ".join(dict.fromkeys(made.unaudited for made in images)))
    raise typer.Exit(1 if report.broken(images) or report.failed(images) else 0)


@prove.command(
    help=(
        "Ask each architecture's encoders about every bit and both edges.\n\nThey run under QEMU, and a disassembler "
        "reads where what they make leads. Exit status 1: a displacement is cut off or wrong, a target in reach is "
        "refused, or more than the displacement changes."
    )
)
def encoders(
    arch: Arch = None,
    toolchain: ToolchainNames = None,
    arch_path: ArchPath = None,
    jobs: Jobs = CPUS,
    json: JsonFlag = False,
) -> None:
    from farm.prove.encoders import ask_all

    plan = _possible("stub", arch, toolchain, arch_path)
    _ask(ask_all, plan, "encoders", "as the disassembler reads", jobs, json=json)


@prove.command(
    help=(
        "Ask the decoders of the mechanism detour about every kind of instruction.\n\nThey run under QEMU; what they "
        "write in its place is read by a disassembler and executed by Unicorn, beside the original. Exit status 1: it "
        "does something else where it was moved to, or an instruction is refused that does the same anywhere."
    )
)
def decoders(
    arch: Arch = None,
    toolchain: ToolchainNames = None,
    arch_path: ArchPath = None,
    jobs: Jobs = CPUS,
    json: JsonFlag = False,
) -> None:
    from farm.prove.decoders import ask_all

    plan = _possible("detour", arch, toolchain, arch_path)
    _ask(ask_all, plan, "decoders", "the same where it was moved to", jobs, json=json)


@prove.command(
    help=(
        "Ask what mechanisms share about what none of them needs.\n\nStores of any size to any place, comparisons of "
        "each bit, memory up to its last byte, targets at both edges of the text: under QEMU. Exit status 1: an answer "
        "is wrong."
    )
)
def helpers(
    arch: Arch = None,
    toolchain: ToolchainNames = None,
    arch_path: ArchPath = None,
    jobs: Jobs = CPUS,
    json: JsonFlag = False,
) -> None:
    from farm.prove.helpers import ask_all

    plan = _possible("stub", arch, toolchain, arch_path)
    _ask(ask_all, plan, "helpers", "as promised", jobs, json=json)


def _possible(
    mechanism: str, arch: list[str] | None, toolchain: list[str] | None, arch_path: list[Path] | None
) -> Plan:
    """The cells of a mechanism under QEMU."""
    from farm.run import plan as plans

    return plans.possible(selection_of(arch, [mechanism], ["qemu-user"], toolchain, None, None, arch_path, None, None))


def _ask(
    ask_all: Callable[[Variant, str], Asked], plan: Plan, what: str, right: str, jobs: int, *, json: bool
) -> NoReturn:
    """Ask those of each variant and toolchain of the plan, and end with the status that their answers mean."""
    from farm import __version__
    from farm.processes import workers
    from farm.report import encoders as report

    pairs = dict.fromkeys((planned.cell.variant, planned.cell.toolchain) for planned in plan.cells)
    with workers(jobs) as pool:
        asked = list(pool.map(lambda pair: ask_all(plan.variants[pair[0]], pair[1]), pairs))
    if json:
        typer.echo(as_json(report.document(asked, __version__, what)).decode())
    else:
        for line in report.lines(asked, right):
            typer.echo(line)
    if all(each.unproved for each in asked):
        raise FarmError("nothing was asked: " + "; ".join(dict.fromkeys(each.unproved for each in asked)))
    raise typer.Exit(1 if any(each.wrong for each in asked) else 0)


@prove.command(
    help=(
        "Try every preemption of a patch.\n\nEach request is made once, and calls that meet it are followed, one "
        "instruction at a time, through all that the rules of the architecture (farm list rules) let them see. Exit "
        "status 1: a call comes to an end that is neither the old target's nor the new one's."
    )
)
def interleave(
    arch: Arch = None,
    mechanism: Mechanism = None,
    toolchain: ToolchainNames = None,
    request: Request = None,
    call: Annotated[list[str] | None, names_option("Call sites", "--call")] = None,
    arch_path: ArchPath = None,
    mechanism_path: MechanismPath = None,
    strict: Strict = False,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Draw N schedules of each call, in place of all that there are"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Seed of the first one; the next has the next")] = 0,
    jobs: Jobs = CPUS,
    timeout: Timeout = 20.0,
    output: Annotated[Path | None, _output("interleave.json")] = None,
    json: JsonFlag = False,
) -> None:
    from farm.prove.calls import CALLS
    from farm.prove.proof import What
    from farm.run.plan import choose

    selection = selection_of(arch, mechanism, [_ENGINE], toolchain, None, None, arch_path, None, mechanism_path)
    calls = choose(call, CALLS, "call") if call else ()
    drawn = (seed, seeds) if seeds else None
    _prove(
        selection, What.INTERLEAVE, request, jobs, timeout, output, calls=calls, strict=strict, json=json, seeds=drawn
    )


@prove.command(
    help=(
        "Prove that no fetch is stale.\n\nEach request is made once, and from its stores and its maintenance follows "
        "what may be fetched when it is over. Then mutants of it: each step left out, swapped or aimed elsewhere, each "
        "store torn; each is refuted, or harmless by a rule. Exit status 1: the guest as it is may fetch what is stale."
        "\n\nWith --as-litmus each poke of an arm64 guest becomes a litmus file, with a caller, and the outcomes that "
        "farm litmus finds in it are held against those that the proof expects. Exit status 1: they differ, too."
    )
)
def coherence(
    arch: Arch = None,
    mechanism: Mechanism = None,
    toolchain: ToolchainNames = None,
    request: Request = None,
    arch_path: ArchPath = None,
    mechanism_path: MechanismPath = None,
    mutants: Annotated[bool, typer.Option(help="Judge mutants, too")] = True,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show the mutants, too")] = False,
    as_litmus: Annotated[
        bool, typer.Option("--as-litmus", help="Print each poke as a litmus file; with --output, write a file each")
    ] = False,
    jobs: Jobs = CPUS,
    timeout: Timeout = 20.0,
    output: Annotated[Path | None, _output("coherence.json")] = None,
    json: JsonFlag = False,
) -> None:
    from farm.prove.proof import What

    selection = selection_of(arch, mechanism, [_ENGINE], toolchain, None, None, arch_path, None, mechanism_path)
    if as_litmus:
        _as_litmus(selection, request, jobs, timeout, output, mutants=mutants, json=json, verbose=verbose)
    _prove(selection, What.COHERENCE, request, jobs, timeout, output, mutants=mutants, json=json, verbose=verbose)


def _as_litmus(
    selection: Selection,
    request: list[str] | None,
    jobs: int,
    timeout: float,
    output: Path | None,
    *,
    mutants: bool,
    json: bool,
    verbose: bool,
) -> NoReturn:
    """Print every poke of the selection as a litmus file, and say whether both judges agree."""
    from farm import __version__
    from farm.processes import workers
    from farm.prove import guests, pokes
    from farm.prove.proof import What
    from farm.report import pokes as report
    from farm.run import plan as plans

    what = What.COHERENCE
    names = tuple(plans.choose(request, guests.NAMES[what], "request") if request else guests.NAMES[what])
    ready, left = guests.of(plans.make(selection))
    work = [guests.Work(spec, what, names, mutants=mutants, timeout=timeout) for spec in ready]
    folder = output_folder(output) if output else None
    with closing_engines(), workers(jobs) as pool:
        made = [*pool.map(pokes.of_guest, work), *(pokes.Guests(each.spec, (), each.unproved) for each in left)]
    shown = [each.poke for guest in made for each in guest.pokes if each.poke.program]
    for poke in shown:
        if poke.mutant and not verbose:
            continue
        if folder:
            write(folder / f"{poke.name}.litmus", poke.text.encode())
        elif not json:
            typer.echo(poke.text)
    if json:
        typer.echo(as_json(report.document(made, __version__)).decode())
    else:
        for line in report.lines(made):
            typer.echo(line)
    if not shown:
        raise FarmError("no litmus file: " + "; ".join(report.reasons(made)))
    raise typer.Exit(1 if report.disagreeing(made) or report.stale(made) else 0)


def _prove(
    selection: Selection,
    what: What,
    request: list[str] | None,
    jobs: int,
    timeout: float,
    output: Path | None,
    *,
    json: bool,
    calls: Sequence[str] = (),
    mutants: bool = True,
    strict: bool = False,
    verbose: bool = False,
    seeds: tuple[int, int] | None = None,
) -> None:
    """Prove every guest of the selection, and say what came of it."""
    from farm import __version__
    from farm.processes import workers
    from farm.prove import guests
    from farm.prove.interleave import Seeds
    from farm.report import proof as report
    from farm.run import plan as plans

    names = plans.choose(request, guests.NAMES[what], "request") if request else guests.NAMES[what]
    ready, left = guests.of(plans.make(selection))
    options = selection.path_options()
    work = [
        guests.Work(
            spec,
            what,
            tuple(names),
            tuple(calls),
            mutants=mutants,
            seeds=Seeds(*seeds) if seeds else None,
            strict=strict,
            timeout=timeout,
            options=options,
        )
        for spec in ready
    ]
    folder = output_folder(output) if output else None
    with closing_engines(), workers(jobs) as pool:
        proved = [*pool.map(guests.prove, work), *left]
    document = report.document(what, proved, __version__)
    if folder:
        write(folder / report.file_of(what), as_json(document))
    if json:
        typer.echo(as_json(document).decode())
    else:
        for line in report.lines(proved, verbose=verbose):
            typer.echo(line)
    if not document.proofs:
        raise FarmError("nothing was proved: " + "; ".join(dict.fromkeys(guest.unproved for guest in proved)))
    raise typer.Exit(1 if report.bad(document.proofs) else 0)
