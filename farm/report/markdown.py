"""``summary.md``: what a reviewer reads first, as a comment on a pull request or a job's summary.

The outcome, then what is not as expected, then the grid, then why cells did not run.  It fits by construction: every
part has a limit and takes no more than is left, and what was cut is said.  What comes from elsewhere is in code spans
and fenced blocks, where GitHub finds neither markup nor people to mention.
"""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from farm.cell import SKIPPED, Verdict
from farm.report import agreed, by_kind, reasons, second_attempt, totals, uncontrolled, unwitnessed
from farm.report.explain import explain
from farm.report.grid import ALL, LEGEND, Grid, folded
from farm.report.text import clipped
from farm.run.verdict import Result
from farm.text import counted

if TYPE_CHECKING:
    from farm.run.journal import Run
    from farm.run.plan import Plan

LIMIT = 60_000  # bytes; a comment may have 65,536 characters, and whoever posts it may have something to add
_EXPLAINED = 10
_OPEN = 3  # of them, those that are not folded
_EXPLANATION = 4_000  # characters
_NAME = 200  # characters
_WIDEST = 6  # columns of a table


class _Room:
    """The bytes that are left."""

    def __init__(self, size: int) -> None:
        self.left = size

    def takes(self, block: str) -> bool:
        """``block`` fits; then its room is gone."""
        size = len(block.encode()) + 2  # the empty line behind it
        if size > self.left:
            return False
        self.left -= size
        return True

    def part(self, share: float) -> _Room:
        """A room for some of what is left; what it does not use comes back with :meth:`back`."""
        size = int(self.left * share)
        self.left -= size
        return _Room(size)

    def back(self, room: _Room) -> None:
        self.left += room.left


def code(text: str | None, limit: int = _NAME) -> str:
    """``text`` as a code span on one line, which it cannot leave, in a table neither."""
    text = clipped(text or "", limit).replace("|", "\u00a6")
    longest = max(map(len, re.findall("`+", text)), default=0)
    if not text:
        return "(nothing)"
    fence = "`" * (longest + 1)
    pad = " " if text[0] == "`" or text[-1] == "`" else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def fenced(text: str) -> str:
    """``text`` in a code block that it cannot end."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _folded(title: str, content: str, *, opened: bool = False) -> str:
    """``content`` under a line that unfolds it."""
    head = f"<details{' open' if opened else ''}>\n<summary>{html.escape(title)}</summary>"
    return f"{head}\n\n{content}\n\n</details>"


def render(results: Sequence[Result], plan: Plan, run: Run, complaints: Sequence[str] = ()) -> str:
    """The summary of ``results``; ``complaints`` are what could not be used of their file."""
    failures = [result for result in results if result.failed]
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    how = f"; confinement {run.confinement}" if run.confinement else ""
    foot = code(f"{run.host}; farm {run.farm}, {versions}{how}; plan {run.plan[:12]}", 2_000)
    room = _Room(LIMIT)
    blocks = [_outcome(results, failures), _counts(results), foot]
    for block in blocks:
        room.takes(block)
    blocks.pop()
    blocks += _list("Missing, or not to be used", complaints, room.part(0.1), opened=True)
    if failures:
        share = room.part(0.6)
        blocks += _failures(failures, plan, share)
        room.back(share)
    share = room.part(0.7)
    blocks += _grids(results, share)
    room.back(share)
    bad = [result for result in results if result.verdict is Verdict.XFAIL]
    blocks += _list("Known-bad cells that failed", map(_with_reason, bad), room.part(0.2))
    again = [result for result in results if result.retried]
    blocks += _list("Cells run twice, for the emulator failed", map(_run_twice, again), room.part(0.2))
    blocks += _list("Without a negative control", uncontrolled(results, plan), room.part(0.2))
    blocks += _list("Shown by no engine", unwitnessed(results, plan), room.part(0.2))
    holes = [f"{counted(count, 'cell')} {reason}" for reason, count in reasons(results)]
    blocks += _list("Why cells did not run", holes, room)
    return "\n\n".join([*blocks, foot]) + "\n"


def _outcome(results: Sequence[Result], failures: Sequence[Result]) -> str:
    whole = counted(len(results), "cell")
    if failures:
        return f"# patchfarm: {len(failures):,} of {whole} {'is' if len(failures) == 1 else 'are'} not as expected"
    missing = sum(result.verdict is Verdict.NOT_RUN for result in results)
    if missing:
        return f"# patchfarm: nothing failed, but {missing:,} of {whole} {'was' if missing == 1 else 'were'} not run"
    ran = sum(result.verdict not in SKIPPED for result in results)
    every = "the one cell that ran is" if ran == 1 else f"all {ran:,} cells that ran are"
    return f"# patchfarm: {every} as expected" if ran else "# patchfarm: no cell ran"


def _counts(results: Sequence[Result]) -> str:
    lines = [f"{totals(results)}."]
    weak = sum(result.verdict is Verdict.PASS_INSENSITIVE for result in results)
    if weak:
        passes = counted(weak, "pass is", "passes are")
        lines.append(f"{passes} insensitive: the engine could not have shown what the scenario detects.")
    if sentence := agreed(results):
        lines.append(f"{sentence}.")
    return "\n".join(lines)


def _with_reason(result: Result) -> str:
    return f"{result.cell}: {result.verdict}, {result.reason or 'no reason'}"


def _run_twice(result: Result) -> str:
    return f"{result.cell}: {result.verdict}, {second_attempt(result)}"


def _list(title: str, items: Iterable[str], room: _Room, *, opened: bool = False) -> list[str]:
    """The items as a folded list, as many as there is room for; nothing if there are none."""
    items = list(items)
    if not items or not room.takes(_folded(f"{title} (000,000)", "- and 000,000 more", opened=True)):
        return []
    lines = []
    for item in items:
        text = f"- {code(item)}"
        if not room.takes(text):
            break
        lines.append(text)
    if len(lines) < len(items):
        lines.append(f"- and {len(items) - len(lines):,} more")
    return [_folded(f"{title} ({len(items):,})", "\n".join(lines), opened=opened)]


def _failures(failures: Sequence[Result], plan: Plan, room: _Room) -> list[str]:
    """The failures: some explained, one of each kind first; the others named."""
    blocks = ["## Not as expected"]
    room.takes(blocks[0])
    ordered = by_kind(failures)
    share = room.part(0.75)
    explained = 0
    for result in ordered[:_EXPLAINED]:
        text = explain(result, plan)
        if len(text) > _EXPLANATION:
            text = text[:_EXPLANATION] + "\n… cut: junit.xml has all of it"
        title = f"{result.cell}: {result.verdict}"
        block = _folded(clipped(title, _NAME), fenced(text), opened=explained < _OPEN)
        if not share.takes(block):
            break
        blocks.append(block)
        explained += 1
    room.back(share)
    return blocks + _list("The others", map(_with_reason, ordered[explained:]), room)


def _grids(results: Sequence[Result], room: _Room) -> list[str]:
    """The grid, as many rows as there is room for; where it is too wide, engines added up, then each mechanism."""
    whole = Grid.of(results)
    ran = whole.without_holes()
    blocks = ["   ".join(LEGEND)]
    room.takes(blocks[0])
    adds = whole.can_be_added_up and len(ran.columns) > _WIDEST
    if adds:
        whole = whole.added_up()
    if holes := whole.holes():
        blocks += [note] if room.takes(note := f"Folded away: {code(folded(holes, results), 1_000)}") else []
    shown = whole.without_holes()
    share = room.part(0.5)
    blocks += _tables(shown, share)
    room.back(share)
    return [*blocks, *_by_mechanism(results, ran, room)] if adds else blocks


def _by_mechanism(results: Sequence[Result], cell_grid: Grid, room: _Room) -> list[str]:
    """The engines of each mechanism, folded unless some cell failed; those that failed first."""
    failed = {result.cell.mechanism for result in results if result.failed}
    blocks = []
    for mechanism in sorted(cell_grid.mechanisms, key=lambda mechanism: mechanism not in failed):
        columns = cell_grid.of_mechanism(mechanism)
        of_mechanism = totals(result for result in results if result.cell.mechanism == mechanism)
        title = clipped(f"{mechanism} by engine: {of_mechanism}", _NAME)
        if not room.takes(_folded(title, "", opened=True)):
            blocks.append("The other mechanisms do not fit.")
            break
        content = "\n\n".join(_tables(cell_grid.only(columns), room, code(mechanism)))
        blocks.append(_folded(title, content, opened=mechanism in failed))
    return blocks


def _tables(cell_grid: Grid, room: _Room, mechanism: str = "") -> list[str]:
    """The grid as tables of about as many columns each, none too wide; all of ``mechanism``, if so."""
    number = -(-len(cell_grid.columns) // _WIDEST)
    cuts = [len(cell_grid.columns) * n // number for n in range(number + 1)]
    parts = [cell_grid.only(cell_grid.columns[start:end]) for start, end in itertools.pairwise(cuts)]
    return [_table(part, room, mechanism) for part in parts]


def _table(cell_grid: Grid, room: _Room, mechanism: str) -> str:
    names = [[code(part) for part in column if part and code(part) != mechanism] for column in cell_grid.columns]
    heads = [mechanism or "variant", *map("<br>".join, names)]
    head = f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|"
    if not room.takes(head + "\n\n000,000 more rows do not fit."):
        return "This table does not fit."
    rows = []
    for row in cell_grid.rows:
        texts = [""] * len(cell_grid.columns)
        for number, column in enumerate(cell_grid.columns):
            if square := cell_grid.squares.get((row, column)):
                texts[number] = square.brief() if column[1] is ALL else square.text()
        text = f"| {' | '.join([code(row), *texts])} |"
        if not room.takes(text):
            break
        rows.append(text)
    cut = len(cell_grid.rows) - len(rows)
    more = ["", f"{counted(cut, 'more row')} {'does' if cut == 1 else 'do'} not fit."] if cut else []
    return "\n".join([head, *rows, *more])
