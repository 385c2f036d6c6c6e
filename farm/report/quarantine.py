"""A list of known-bad cells: how much it lists, and after a verification which entries are still needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from farm.cell import FAILED, SKIPPED, Verdict
from farm.report import totals
from farm.run.verdict import Result
from farm.text import counted

if TYPE_CHECKING:
    from farm.run.plan import Plan
    from farm.run.quarantine import Listed, Quarantine


def head(quarantine: Quarantine, plan: Plan) -> str:
    """``quarantine.toml: 3 entries, 12 cells of this plan``."""
    entries = counted(len(quarantine.entries), "entry", "entries")
    return f"{quarantine.path}: {entries}, {counted(len(quarantine.only(plan).cells), 'cell')} of this plan"


def verified(quarantine: Quarantine, results: Sequence[Result]) -> list[str]:
    """A line an entry: whether ``results`` show that it is still needed."""
    return [
        f"{quarantine.path}: entry {listed.number} ({listed.entry.issue}, {listed.entry.owner}): "
        + _state(listed, [result for result in results if result.cell in listed.cells])
        for listed in quarantine.entries
    ]


def _state(listed: Listed, results: list[Result]) -> str:
    if listed.idle:
        return f"matches nothing here: {listed.idle.verdict}: {listed.idle.reason}"
    if not results:
        return f"matches nothing that is selected: it lists {counted(len(listed.cells), 'other cell')}"
    return f"{_need({result.verdict for result in results})}: {totals(results)}"


def _need(verdicts: set[Verdict]) -> str:
    if verdicts == {Verdict.XPASS}:
        return "can go"
    if Verdict.XPASS in verdicts:
        return "lists too much"
    if verdicts & FAILED:
        return "fails otherwise than listed"
    if Verdict.XFAIL in verdicts:
        return "still needed"
    return "could not be run" if verdicts <= SKIPPED else "undecided, for it has not failed this time"
