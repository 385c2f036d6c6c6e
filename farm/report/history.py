"""The output of ``farm history``: the runs, their trends, changed verdicts, and cells that went and came back."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from farm.cell import FAILED, Verdict
from farm.report.diff import brief, groups
from farm.report.grid import MARKS
from farm.results.history import View
from farm.text import counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_BARS = "▁▂▃▄▅▆▇█"
_TURNS = 10  # runs of which the changes are shown
_GROUPS = 6  # lines of one of them
_SUSPECTS = 10
_STRIPS = 40


def sparkline(values: Sequence[float], width: int) -> str:
    """A bar a value, the lowest one the smallest of them and the highest the largest; in ``width`` bars at most.

    If there are more values a bar is the mean of several, each of as many but for rounding.
    """
    bars = min(len(values), width)
    ends = [i * len(values) // bars for i in range(bars + 1)]
    values = [statistics.fmean(values[a:b]) for a, b in itertools.pairwise(ends)]
    low, high = min(values), max(values)
    if low == high:
        return _BARS[3] * len(values)
    return "".join(_BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] for value in values)


def trends(view: View, width: int = 120) -> list[str]:
    """A line for each number that is followed over time: ``passed  ▁▅██  10,600 -> 10,738``, in ``width`` columns.

    Of the runs, those that planned less than half of what the largest did are left out: they are about something else.
    """
    most = max(run.planned for run in view.runs)
    whole = [run for run in view.runs if 2 * run.planned >= most]
    rows: list[tuple[str, str, list[float]]] = [
        ("planned", ",.0f", [run.planned for run in whole]),
        ("ran", ",.0f", [run.ran for run in whole]),
        ("passed", ",.0f", [run.passed for run in whole]),
        ("guest lines", ".1%", [run.lines.reached / run.lines.total for run in whole if run.lines]),
        ("seconds", ",.1f", [run.seconds for run in whole if run.seconds is not None]),
    ]
    lines = []
    for name, form, values in rows:
        if len(values) > 1:
            ends = f"{values[0]:{form}} -> {values[-1]:{form}}"
            lines.append(f"{name:<11}  {sparkline(values, max(4, width - 15 - len(ends)))}  {ends}")
    left_out = len(view.runs) - len(whole)
    if lines and left_out:
        lines.append(f"({counted(left_out, 'run')} of less than half the cells left out)")
    return lines


def _table(view: View) -> Table:
    from rich.table import Table
    from rich.text import Text

    covered = any(run.lines for run in view.runs)
    table = Table()
    table.add_column("begun", no_wrap=True)
    table.add_column("plan", no_wrap=True)
    for name in ("cells", "passed", "failed", "skipped", "seconds", *(["guest lines"] if covered else [])):
        table.add_column(name, justify="right")
    for run in view.runs:
        failed = sum(run.verdicts.get(str(verdict), 0) for verdict in FAILED)
        table.add_row(
            Text(brief(run.run.started)),
            run.run.plan[:8] + (f" {run.run.shard}" if run.run.shard else ""),
            str(run.planned),
            str(run.passed),
            Text(str(failed), style="bold red" if failed else ""),
            str(run.planned - run.ran),
            f"{run.seconds:.1f}" if run.seconds is not None else "",
            *([f"{run.lines.reached / run.lines.total:.1%}"] if run.lines else []),
        )
    return table


def _mark(verdict: Verdict | None) -> str:
    """The mark of a verdict, one character; a space for none."""
    return MARKS[verdict][0] if verdict else " "


def changes(view: View) -> list[str]:
    """Lines about the verdicts that changed, the newest run first."""
    lines = []
    for turn in view.turns[::-1][:_TURNS]:
        turn_groups = groups(turn.cells)
        lines.append(f"{brief(turn.started)}: {counted(len(turn.cells), 'cell has', 'cells have')} another verdict")
        for group in turn_groups[:_GROUPS]:
            reason = group.reason()
            lines.append(f"  {group.text()}{f': {reason}' if reason else ''}")
        if len(turn_groups) > _GROUPS:
            lines.append(f"  and {counted(sum(len(group.cells) for group in turn_groups[_GROUPS:]), 'more cell')}")
    if len(view.turns) > _TURNS:
        lines.append(f"and {counted(len(view.turns) - _TURNS, 'run')} before these")
    return lines


def suspects(view: View) -> list[str]:
    """The cells whose verdict went and came back; those that did so together stand in one line."""
    together: dict[tuple[tuple[Verdict, ...], int, float], list[str]] = {}
    for suspect in view.suspects:
        together.setdefault((tuple(suspect.verdicts), suspect.ran, suspect.rate), []).append(str(suspect.cell))
    lines = []
    for (verdicts, ran, rate), cells in list(together.items())[:_SUSPECTS]:
        more = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
        how = brief(" -> ".join(map(str, verdicts)))
        lines.append(f"  {brief(cells[0])}{more}: {how} ({len(verdicts) - 1} changes in {ran} runs, {rate:.0%})")
    if len(together) > _SUSPECTS:
        lines.append(f"  and {counted(sum(map(len, list(together.values())[_SUSPECTS:])), 'more cell')}")
    if lines:
        lines.insert(0, "went and came back: flaky, or broken and mended")
    return lines


def strips(view: View) -> list[str]:
    """Each cell that was asked for, a mark a run."""
    lines = [
        f"{''.join(_mark(verdict) for verdict in strip.verdicts)}  {brief(str(strip.cell))}"
        for strip in view.cells[:_STRIPS]
    ]
    if len(view.cells) > _STRIPS:
        lines.append(f"and {counted(len(view.cells) - _STRIPS, 'more cell')}")
    return lines


def show(view: View, console: Console) -> None:
    """Prints the whole history."""
    console.print(
        f"{brief(view.path)}: {counted(len(view.runs), 'run')}", markup=False, highlight=False, soft_wrap=True
    )
    if not view.runs:
        return
    console.print(_table(view))
    for lines in (trends(view, console.width), strips(view), changes(view), suspects(view)):
        if lines:
            console.print()
            for line in lines:
                console.print(line, markup=False, highlight=False, soft_wrap=True)
