"""The output of ``farm diff``, for a terminal and for a comment on a pull request.

Both are lists of lines in which cells that went the same way stand together: a scenario that fails on twelve variants
is one line, and so are a hundred scenarios that fail in the same place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from farm.cell import Cell, Verdict
from farm.report.markdown import LIMIT, code, fenced
from farm.report.text import clipped
from farm.results.diff import Change, Changed, Diff, Fact, Side
from farm.text import counted

if TYPE_CHECKING:
    from rich.console import Console

_LINES = 20  # of one change
_NAMES = 8  # in one line
_SLOWER = 10
_LONGEST = 400  # characters of a reason, or of a list of names

_STYLES = {
    Change.NEW_FAILURE: "bold red",
    Change.NEW_FLAKY: "bold red",
    Change.VANISHED: "bold red",
    Change.NEWLY_SKIPPED: "bold red",
    Change.WEAKENED: "bold yellow",
    Change.STILL_FAILING: "red",
    Change.KNOWN_BAD: "yellow",
}


class Group(NamedTuple):
    """Cells that went the same way: some scenarios, all in the same places."""

    before: Verdict | None
    after: Verdict | None
    scenarios: list[str]
    cells: list[Changed]

    def text(self) -> str:
        """One line: ``crc_dispatch: pass -> crash on arm64, ppc64 under stub/zig/unicorn``."""
        how = f"{self.before or 'not there'} -> {self.after or 'not there'}"
        if self.before is self.after:
            same = all(changed.reason == changed.reason_before for changed in self.cells)
            how = f"{self.after}{'' if same else ', in another way'}"
        count = f" ({len(self.cells)} cells)" if len(self.cells) > 1 else ""
        where = places(changed.cell for changed in self.cells)
        return f"{_some(self.scenarios)}: {how} on {where}{count}"

    def reason(self) -> str:
        """Why, in one line, or nothing; of cells with several reasons the first."""
        reasons = list(dict.fromkeys(changed.reason for changed in self.cells if changed.reason))
        if not reasons:
            return ""
        others = len(reasons) - 1
        more = f" (and {others} other reason{'s' * (others > 1)})" if others else ""
        return brief(reasons[0]) + more


def brief(text: str) -> str:
    """``text`` on one line, and not too long."""
    return clipped(text, _LONGEST)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return brief(", ".join(names[:_NAMES])) + more


def places(cells: Iterable[Cell]) -> str:
    """Guests and engines of ``cells``: ``arm64, ppc64 under stub/zig/unicorn; alpha under stub/gcc/qemu-user``."""
    variants: dict[str, dict[str, None]] = {}
    for cell in cells:
        under = f"{cell.mechanism}/{cell.toolchain}/{cell.engine}"
        variants.setdefault(under, {})[cell.variant] = None
    together: dict[tuple[str, ...], list[str]] = {}
    for under, names in variants.items():
        together.setdefault(tuple(names), []).append(under)
    return brief("; ".join(f"{', '.join(names)} under {', '.join(under)}" for names, under in together.items()))


def groups(cells: Iterable[Changed]) -> list[Group]:
    """``cells``, which all have one change, in groups: regressions first, and the largest of them."""
    scenarios: dict[tuple[Verdict | None, Verdict | None, str], list[Changed]] = {}
    for changed in cells:
        scenarios.setdefault((changed.before, changed.after, changed.cell.scenario), []).append(changed)
    together: dict[tuple[Verdict | None, Verdict | None, frozenset[tuple[str, ...]]], Group] = {}
    for (before, after, scenario), members in scenarios.items():
        where = frozenset((c.cell.variant, c.cell.mechanism, c.cell.toolchain, c.cell.engine) for c in members)
        group = together.setdefault((before, after, where), Group(before, after, [], []))
        group.scenarios.append(scenario)
        group.cells.extend(members)
    return sorted(together.values(), key=lambda group: (not group.cells[0].regression, -len(group.cells)))


def changed(number: int, change: Change) -> str:
    """``3 new failures``."""
    plural = "s" if number != 1 and change in (Change.NEW_FAILURE, Change.ADDED) else ""
    return f"{number} {change}{plural}"


def headline(diff: Diff) -> str:
    """The answer in one line."""
    if diff.nothing:
        return "no difference"
    counts = Counter(changed.change for changed in diff.cells if changed.regression or not diff.regression)
    told = ", ".join(changed(counts[change], change) for change in Change if counts[change])
    return f"{'regression' if diff.regression else 'no regression'}: {told or 'every cell is as before'}"


def _side(side: Side) -> str:
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in side.verdicts.items())
    return brief(f"{side.path}, begun {side.run.started}: {sum(side.verdicts.values())} cells, {verdicts}")


def _fact(fact: Fact) -> str:
    """A line for ``fact``; of two lists of versions it has only those that are not in both."""
    before, after = ((text or "").split(" and ") for text in (fact.before, fact.after))
    was, now = " and ".join(x for x in before if x not in after), " and ".join(x for x in after if x not in before)
    return brief(f"{fact.what}: {was or 'nothing'} -> {now or 'nothing'}")


def _beside(diff: Diff) -> list[str]:
    """A line for each thing that differs but for verdicts and times."""
    lines = [_fact(fact) for fact in diff.facts]
    if diff.expectations:
        lines.append(f"the model expects another trace of {_some(diff.expectations)}")
    if diff.images:
        names = [f"{image.variant}/{image.mechanism}/{image.toolchain}" for image in diff.images]
        lines.append(f"{len(names)} image{'s' * (len(names) > 1)}: {_some(names)}")
    return lines


def _times(diff: Diff) -> list[str]:
    lines = [
        brief(f"{slow.name}: {slow.before:.3f} s -> {slow.after:.3f} s, {slow.factor:.1f} times")
        for slow in diff.slower[:_SLOWER]
    ]
    if len(diff.slower) > _SLOWER:
        lines.append(f"and {len(diff.slower) - _SLOWER} more")
    return lines


def _changes(diff: Diff) -> Iterable[tuple[Change, int, list[Group]]]:
    """Each change that there is, with its number of cells and its groups."""
    for change in Change:
        cells = [changed for changed in diff.cells if changed.change is change]
        if cells:
            yield change, len(cells), groups(cells)


def _whole(diff: Diff) -> str:
    return f"slower by more than the noise (the median cell took {diff.ratio:.2f} times as long)"


def _lines(diff: Diff) -> Iterable[tuple[str, str]]:
    """Lines for a terminal, each with its style."""
    for name, side in (("A", diff.before), ("B", diff.after)):
        yield "dim", f"{name}: {_side(side)}"
    for line in _beside(diff):
        yield "cyan", f"changed: {line}"
    for change, count, change_groups in _changes(diff):
        yield _STYLES.get(change, "green"), changed(count, change)
        for group in change_groups[:_LINES]:
            yield "", f"  {group.text()}"
            if reason := group.reason():
                yield "dim", f"      {reason}"
            if group.after is not None and (reproduce := group.cells[0].reproduce):
                yield "dim", f"      {brief(reproduce)}"
        if len(change_groups) > _LINES:
            yield "", f"  and {counted(sum(len(group.cells) for group in change_groups[_LINES:]), 'more cell')}"
    if diff.slower:
        yield "yellow", _whole(diff)
        for line in _times(diff):
            yield "", f"  {line}"
    yield "bold red" if diff.regression else "bold green", headline(diff)


def text(diff: Diff) -> str:
    """The comparison as plain text, for a log or a file."""
    return "".join(f"{line}\n" for _, line in _lines(diff))


def show(diff: Diff, console: Console) -> None:
    """Prints the comparison, in colour on a terminal."""
    for style, line in _lines(diff):
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


def markdown(diff: Diff, limit: int = LIMIT) -> str:
    """The comparison for a comment on a pull request: at most ``limit`` bytes."""
    blocks = [f"# patchfarm: {headline(diff)}\n\n"]
    blocks += [f"- {name}: {code(_side(side), _LONGEST)}\n" for name, side in (("A", diff.before), ("B", diff.after))]
    blocks += [f"- changed: {code(line, _LONGEST)}\n" for line in _beside(diff)]
    for change, count, change_groups in _changes(diff):
        blocks.append(f"\n## {changed(count, change)}\n\n")
        for group in change_groups[:_LINES]:
            reason = f": {code(group.reason(), _LONGEST)}" if group.reason() else ""
            blocks.append(f"- {code(group.text(), _LONGEST)}{reason}\n")
        if len(change_groups) > _LINES:
            blocks.append(f"- and {sum(len(group.cells) for group in change_groups[_LINES:])} more cells\n")
        commands = [group.cells[0].reproduce for group in change_groups[:_LINES] if group.after is not None]
        if any(commands):
            blocks.append("\n" + fenced("\n".join(brief(line) for line in commands if line)) + "\n")
    if diff.slower:
        blocks.append(f"\n## {_whole(diff)}\n\n")
        blocks += [f"- {code(line, _LONGEST)}\n" for line in _times(diff)]
    return _cut(blocks, limit)


def _cut(blocks: Sequence[str], limit: int) -> str:
    """As many of ``blocks`` as ``limit`` bytes have room for."""
    left_out = "\nThe rest does not fit here.\n"
    document = "".join(blocks)
    for kept in range(len(blocks) - 1, 0, -1):
        if len(document.encode()) <= limit:
            break
        document = "".join(blocks[:kept]) + left_out
    return document
