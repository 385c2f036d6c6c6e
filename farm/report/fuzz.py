"""The output of ``farm fuzz``: its progress, and a failing program ready to be pasted into the suite."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from farm.guest.controls import CONTROLS
from farm.measure.fuzz import source
from farm.report.explain import explain
from farm.run.plan import Plan, Selection
from farm.run.verdict import reproducer
from farm.scenario import walk
from farm.text import command_line, quoted

if TYPE_CHECKING:
    from rich.console import Console

    from farm.measure.fuzz.hunt import Finding, Tally


class Progress:
    """A live bar on a terminal, a line for each quarter elsewhere; nothing if ``quiet``."""

    def __init__(self, console: Console, programs: int | None, seconds: float | None, *, quiet: bool) -> None:
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        self._console = console
        self._quiet = quiet
        self._programs, self._seconds = programs, seconds
        self._quarters = 0
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self._bar = Bar(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)
        self._task = self._bar.add_task("building guests", total=1.0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def tell(self, tally: Tally) -> None:
        """Show ``tally``."""
        done = max(
            tally.programs / self._programs if self._programs else 0.0,
            tally.seconds / self._seconds if self._seconds else 0.0,
        )
        self._bar.update(self._task, completed=done, description=str(tally))
        if not self._quiet and not self._console.is_terminal and int(4 * done) > self._quarters:
            self._quarters = int(4 * done)
            self._console.print(f"{min(done, 1):.0%}: {tally}", highlight=False)

    def say(self, what: str) -> None:
        """Show what is being done."""
        self._bar.update(self._task, description=what)
        if not self._quiet and not self._console.is_terminal:
            self._console.print(what, highlight=False)


def command(selection: Selection, seed: int, number: int, control: str | None) -> str:
    """The command that finds program ``number`` of ``seed`` again."""
    words = ["farm", "fuzz", "--seed", str(seed), "--first", str(number), "--programs", "1"]
    for option in ("arch", "mechanism", "engine", "toolchain"):
        names = getattr(selection, option)
        words += [f"--{option}", ",".join(names)] if names else []
    words += ["--control", control] if control else []
    return f"{command_line(words)} {selection.path_options()}".rstrip()


def text(finding: Finding, found_again_by: str, control: str | None) -> str:
    """The shrunk program as a file for ``--scenario-path``."""
    scenario = finding.scenario
    if control:
        scenario = dataclasses.replace(scenario, detects=frozenset({CONTROLS[control].defect}))
    cells = [f"    {result.cell}: {result.verdict}" for result in finding.failing]
    notes = ["Fails on", *cells] if cells else ["Did not fail when it was run again."]
    return source.module(scenario, [*notes, "", f"Again: {found_again_by}"])


def explained(finding: Finding, plan: Plan, control: str | None, file: Path) -> str:
    """Several lines: what happened, on which cells, and how it was shrunk."""
    result = finding.failing[0] if finding.failing else finding.result
    suites = Plan((), {finding.scenario.name: finding.scenario}, plan.variants, plan.selection)
    options = f"{plan.selection.path_options()} --scenario-path {quoted(file)}".lstrip()
    reproduce = None if control else reproducer(result.cell, options)  # no other command plants a bug
    lines = [explain(msgspec.structs.replace(result, reproduce=reproduce), suites, control)]
    before, after = (sum(1 for _ in walk(s.steps)) for s in (finding.original, finding.scenario))
    lines.append(f"  {finding.original.title}, shrunk from {before} steps to {after}, fails on")
    lines += [f"    {failed.cell}: {failed.verdict}" for failed in finding.failing]
    if not finding.failing:
        lines.append("    nothing, when it was run again")
    return "\n".join(lines)
