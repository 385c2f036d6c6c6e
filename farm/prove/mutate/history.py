"""Bugs that others have had, as patches: each is applied to a text in memory, and must be noticed.

A patch is a line that names the bug, a line ``Guest: VARIANT/MECHANISM[/TOOLCHAIN]``, and a unified diff of one file of
patch code, from the root of the project.
"""

from __future__ import annotations

import concurrent.futures
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from farm import paths
from farm.errors import UsageError
from farm.prove.mutate.judge import Court
from farm.prove.mutate.judged import Judged, Mutant
from farm.prove.mutate.operators import Mutation
from farm.prove.mutate.subject import Broken, Text
from farm.run.plan import Selection, make

OPERATOR = "history"  #: in place of the name of one

_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@")


@dataclass(frozen=True)
class Bug:
    """A bug that somebody has had."""

    name: str  #: its number, and what it was
    variant: str
    mechanism: str
    toolchain: str  #: empty: the one that is used by default
    file: str  #: from the root of the project
    hunks: tuple[tuple[int, tuple[str, ...]], ...]  #: the first line of each, and its lines
    path: Path  #: of the patch

    def of(self, text: str) -> str:
        """``text``, the file, with the bug in it.  Raises :class:`~farm.errors.UsageError` if it is another text."""
        lines, made, at = text.splitlines(keepends=True), [], 0
        for first, hunk in self.hunks:
            made += lines[at : first - 1]
            at = first - 1
            for line in hunk:
                kind, rest = line[:1], line[1:]
                if kind in (" ", "-"):
                    if at >= len(lines) or lines[at] != rest:
                        raise UsageError(f"{self.path}: does not apply to {self.file}, line {at + 1}")
                    made += [rest] if kind == " " else []
                    at += 1
                else:
                    made.append(rest)
        return "".join([*made, *lines[at:]])

    def broken(self, texts: list[Text], toolchain: str) -> Broken:
        """The guest with the bug.  Raises :class:`~farm.errors.UsageError` if its file is none of its patch code."""
        path = paths.data("images").parent / self.file
        text = next((text for text in texts if text.path == path), None)
        if text is None:
            raise UsageError(f"{self.path}: {self.file} is no patch code of {self.variant}/{self.mechanism}")
        content = self.of(text.content.decode()).encode()
        line = self.hunks[0][0]
        last = max(first + len(hunk) for first, hunk in self.hunks)
        mutation = Mutation(OPERATOR, line, last, 0, len(text.content), content)
        mutant = Mutant(self.variant, self.mechanism, toolchain, self.file, line, 1, OPERATOR, "", self.name)
        return Broken(mutant, text, mutation)


def read(folder: Path) -> list[Bug]:
    """The bugs in ``folder``, by number.  Raises :class:`~farm.errors.UsageError` if a patch is none."""
    found = [_bug(path) for path in sorted(folder.glob("*.patch"))]
    if not found:
        raise UsageError(f"{folder}: no patch there")
    return sorted(found, key=lambda bug: (len(bug.name.split()[0]), bug.name))


def _bug(path: Path) -> Bug:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    head = {key: value.strip() for key, colon, value in (line.partition(":") for line in lines[1:3]) if colon}
    guest, file = head.get("Guest", "").split("/"), ""
    hunks: list[tuple[int, list[str]]] = []
    for line in lines:
        if line.startswith("+++ b/"):
            if file:
                raise UsageError(f"{path}: patches {file} and {line[6:].strip()}; a bug is in one file")
            file = line[6:].strip()
        elif hunk := _HUNK.match(line):
            hunks.append((int(hunk[1]), []))
        elif hunks and line[:1] in (" ", "-", "+"):
            hunks[-1][1].append(line)
    if len(guest) not in (2, 3) or not hunks or not file:
        raise UsageError(f"{path}: expected a name, a line Guest: VARIANT/MECHANISM, and a unified diff of one file")
    variant, mechanism, *toolchain = guest
    made = tuple((first, tuple(hunk)) for first, hunk in hunks)
    return Bug(lines[0].strip(), variant, mechanism, "".join(toolchain), file, made, path)


def judge(bugs: Sequence[Bug], known: Selection, pool: concurrent.futures.Executor) -> list[tuple[Bug, Judged]]:
    """What becomes of a guest with each of ``bugs``, in their order.

    Raises as :func:`farm.run.plan.make`, :meth:`Bug.broken` and :func:`farm.guest.build.image`.
    """
    by_guest: dict[tuple[str, str, str], list[Bug]] = {}
    for bug in bugs:
        by_guest.setdefault((bug.variant, bug.mechanism, bug.toolchain), []).append(bug)

    def of_guest(guest: tuple[str, str, str]) -> list[tuple[Bug, Judged]]:
        variant, mechanism, toolchain = guest
        asked = (toolchain,) if toolchain else ()
        plan = make(replace(known, arch=(variant,), mechanism=(mechanism,), toolchain=asked))
        spec = plan.spec(plan.cells[0].cell)
        with tempfile.TemporaryDirectory(prefix="farm-history-", ignore_cleanup_errors=True) as folder:
            court = Court(plan, spec, Path(folder), learns=False)
            return [(bug, court.judge(bug.broken(court.texts, spec.toolchain))) for bug in by_guest[guest]]

    found = {bug.name: (bug, judged) for made in pool.map(of_guest, by_guest) for bug, judged in made}
    return [found[bug.name] for bug in bugs]
