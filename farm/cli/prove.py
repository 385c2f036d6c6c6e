"""``farm prove``: what no emulator shows by itself."""

from __future__ import annotations

import functools
from typing import Annotated

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
    selection_of,
)
from farm.errors import FarmError

_ENGINE = "unicorn"  # the only one that notes stores

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
    strict: Annotated[
        bool, typer.Option("--strict", help="What no manual promises is a breach although a system relies on it")
    ] = False,
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
