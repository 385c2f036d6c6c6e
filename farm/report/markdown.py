"""``summary.md``: fits a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from farm.report import LEGEND, agreement, grid, reasons, totals, uncontrolled
from farm.report.explain import explain
from farm.verdict import Result

if TYPE_CHECKING:
    from farm.plan import Plan
    from farm.run import Run

_EXPLAINED = 10
_LISTED = 100


def plain(text: str) -> str:
    """``text`` inside a table or a list, where it must not become markup."""
    for character in "\\`*_{}[]<>|#~&":
        text = text.replace(character, "\\" + character)
    text = " ".join(text.split())
    return re.sub(r"^(\d*)([-+=.)])", r"\1\\\2", text)  # no list, and no line under a heading


def fenced(text: str) -> str:
    """``text`` in a code block that it cannot end."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"


def render(results: Sequence[Result], plan: Plan, run: Run) -> str:
    """The grid, the holes, the failures, and what ran them."""
    failures = [result for result in results if result.failed]
    made = grid(results)
    head = "all as expected" if not failures else f"{len(failures)} of {len(results)} cells are not as expected"
    lines = [f"# patchfarm: {head}", "", f"{len(results)} cells: {totals(results)}", ""]
    lines.append("| variant | " + " | ".join(f"{m}<br>{e}" for m, e in made.columns) + " |")
    lines.append("|---" * (1 + len(made.columns)) + "|")
    for row in made.rows:
        squares = [made.squares.get((row, column)) for column in made.columns]
        lines.append(f"| {plain(row)} | " + " | ".join(s.text() if s else "" for s in squares) + " |")
    lines += ["", LEGEND, ""]
    compared, agree = agreement(results)
    if compared:
        lines += [f"{agree} of {compared} scenarios leave one and the same trace in every cell that ran them.", ""]
    holes = reasons(results)
    if holes:
        lines += ["## Not run", "", *(f"- {count} cells {plain(reason)}" for reason, count in holes), ""]
    lines += [f"- {plain(line)}" for line in uncontrolled(results, plan)]
    if failures:
        lines += ["## Not as expected", ""]
        for result in failures[:_EXPLAINED]:
            lines += [f"**{plain(str(result.cell))}**: {result.verdict}", "", fenced(explain(result, plan)), ""]
        rest = failures[_EXPLAINED : _EXPLAINED + _LISTED]
        lines += [f"- {plain(str(r.cell))}: {r.verdict}, {plain(r.reason or '')}" for r in rest]
        if len(failures) > _EXPLAINED + _LISTED:
            lines.append(f"- and {len(failures) - _EXPLAINED - _LISTED} more")
        lines.append("")
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    lines += [f"{plain(run.host)}; farm {run.farm}, {plain(versions)}; plan {run.plan[:12]}"]
    return "\n".join(lines) + "\n"
