"""Mutants for people, as JSON, and from JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from farm import documents
from farm.prove.mutate.judged import Judged, Outcome
from farm.report.progress import bar
from farm.text import counted, printable, quoted

if TYPE_CHECKING:
    from rich.console import Console

    from farm.prove.mutate.history import Bug
    from farm.prove.mutate.hunt import Hunted
    from farm.prove.mutate.judged import Mutant

SCHEMA = 1
FILE = "mutants.json"  #: in an output folder
LOG = "mutants.jsonl"  #: likewise; a line a mutant, written as each ends

#: Columns of the tables, and how each is counted.
COLUMNS: tuple[tuple[str, Callable[[Judged], bool]], ...] = (
    ("scenario", lambda each: each.outcome is Outcome.KILLED and not each.proved and each.by != "image"),
    ("proof", lambda each: each.proved),
    ("image", lambda each: each.by == "image"),
    ("equivalent", lambda each: each.outcome is Outcome.EQUIVALENT),
    ("unreachable", lambda each: each.outcome is Outcome.UNREACHABLE),
    ("holes", lambda each: each.outcome is Outcome.HOLE),
    ("not built", lambda each: each.outcome is Outcome.NOT_BUILT),
)


class Guest(msgspec.Struct, frozen=True):
    """A guest, and how many mutants of it were judged."""

    name: str
    variant: str
    mechanism: str
    toolchain: str
    mutants: int
    unbroken: str | None = None  #: why none


class Document(msgspec.Struct, frozen=True):
    """``mutants.json``."""

    schema: int
    farm: str
    seconds: float
    guests: tuple[Guest, ...]
    mutants: tuple[Judged, ...]


class Progress:
    """Progress of a hunt: a bar on a terminal, elsewhere a line at each tenth."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = bar(console) if console.is_interactive and console.file.isatty() else None
        self._task = self._bar.add_task("looking for mutants", total=None) if self._bar else None
        self._total = self._tenths = 0

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar:
            self._bar.stop()

    def expect(self, total: int) -> None:
        """There are ``total`` mutants."""
        self._total = total
        if self._bar and self._task is not None:
            self._bar.update(self._task, total=total, description="no hole yet")

    def show(self, mutants: Sequence[Judged]) -> None:
        """Show that these ``mutants`` are judged."""
        if self._bar and self._task is not None:
            found = counted(len(holes(mutants)), "hole")
            self._bar.update(self._task, completed=len(mutants), description=found)
        elif self._total and (tenths := len(mutants) * 10 // self._total) > self._tenths:
            self._tenths = tenths
            self._console.print(summary(mutants), highlight=False)


def encoded(each: Judged) -> bytes:
    """A line of ``mutants.jsonl``."""
    return msgspec.json.encode(each) + b"\n"


def document(hunted: Sequence[Hunted], judged: Sequence[Judged], seconds: float, farm: str) -> Document:
    """What ``mutants.json`` holds; mutants are in the order of their guests and lines."""
    numbers = Counter(_guest_of(each) for each in judged)
    guests = tuple(
        Guest(
            str(g.spec),
            g.spec.variant.name,
            g.spec.mechanism,
            g.spec.toolchain,
            numbers[str(g.spec)],
            g.unbroken or None,
        )
        for g in hunted
    )
    order = {guest.name: number for number, guest in enumerate(guests)}

    def key(each: Judged) -> tuple[int, str, int, int, str, str]:
        mutant = each.mutant
        return order[_guest_of(each)], mutant.file, mutant.line, mutant.column, mutant.operator, mutant.after

    return Document(SCHEMA, farm, seconds, guests, tuple(sorted(judged, key=key)))


def _guest_of(each: Judged) -> str:
    return f"{each.mutant.variant}/{each.mutant.mechanism}/{each.mutant.toolchain}"


def read(folder: Path) -> Document | None:
    """The mutants in an output folder; None if there are none.  Raises :class:`~farm.errors.UsageError`."""
    return documents.read(folder / FILE, Document, "mutants", SCHEMA)


def counts(mutants: Sequence[Judged]) -> list[int]:
    """How many of ``mutants`` there are, and in each of :data:`COLUMNS`."""
    return [len(mutants), *(sum(map(is_one, mutants)) for _, is_one in COLUMNS)]


def grouped(mutants: Sequence[Judged], key: Callable[[Judged], str]) -> dict[str, list[Judged]]:
    """``mutants`` by what ``key`` says of each, in its order."""
    groups: dict[str, list[Judged]] = {}
    for each in mutants:
        groups.setdefault(key(each), []).append(each)
    return dict(sorted(groups.items()))


def holes(mutants: Sequence[Judged]) -> list[Judged]:
    """The mutants that nobody noticed and that do something else."""
    return [each for each in mutants if each.outcome is Outcome.HOLE]


def show(made: Document, console: Console, options: str) -> None:
    """The kill tables by operator and by guest, each hole, and the sum."""
    for title, key in (
        ("operator", lambda each: each.mutant.operator),
        ("guest", _guest_of),
    ):
        _table(title, grouped(made.mutants, key), console)
    for line in _told(made, options):
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def _table(title: str, groups: dict[str, list[Judged]], console: Console) -> None:
    from rich import table as rich

    view = rich.Table(show_lines=False, caption="killed by a scenario, by a proof alone, by a rule of the image")
    view.add_column(title, no_wrap=True)
    for name in ("mutants", *(name for name, _ in COLUMNS)):
        view.add_column(name, justify="right")
    for name, mutants in groups.items():
        view.add_row(name, *(f"{number:,}" if number else "" for number in counts(mutants)))
    console.print(view)


def _told(made: Document, options: str) -> Iterator[str]:
    for each in holes(made.mutants):
        mutant = each.mutant
        yield f"hole {mutant.name}: `{mutant.before}` -> `{mutant.after}`"
        yield f"  $ {command(mutant, options)}"
    unbroken = Counter(guest.unbroken for guest in made.guests if guest.unbroken)
    for why, number in unbroken.most_common():
        yield f"no mutants of {counted(number, 'guest')}: {why}"
    yield ""
    yield summary(made.mutants)


def command(mutant: Mutant, options: str) -> str:
    """The command that judges this mutant again, with those of its line that are broken in the same way."""
    parts = [
        "farm mutate",
        options,
        f"--arch {mutant.variant} --mechanism {mutant.mechanism} --toolchain {mutant.toolchain}",
        f"--operator {mutant.operator} --at {quoted(f'{mutant.file}:{mutant.line}')}",
    ]
    return " ".join(part for part in parts if part)


def summary(mutants: Sequence[Judged]) -> str:
    """How many mutants there are, and what became of them, in one line."""
    outcomes = Counter(each.outcome for each in mutants)
    proved = sum(each.proved for each in mutants)
    killed = f"{outcomes[Outcome.KILLED]:,} killed ({proved:,} by a proof alone)"
    others = ", ".join(
        f"{outcomes[outcome]:,} {name}"
        for outcome, name in (
            (Outcome.EQUIVALENT, "equivalent"),
            (Outcome.UNREACHABLE, "unreachable here"),
            (Outcome.HOLE, "hole" if outcomes[Outcome.HOLE] == 1 else "holes"),
            (Outcome.NOT_BUILT, "not built"),
        )
    )
    return f"{counted(len(mutants), 'mutant')}: {killed}, {others}"


def history(judged: Sequence[tuple[Bug, Judged]]) -> Iterator[str]:
    """A line a bug: what noticed it, or that nothing did; then the sum."""
    names = [bug.name for bug, _ in judged]
    guests = [f"{bug.variant}/{bug.mechanism}" for bug, _ in judged]
    widths = max(map(len, names)), max(map(len, guests))
    for name, guest, (_, each) in zip(names, guests, judged, strict=True):
        engine = f" on {each.engine}" if each.engine and not each.proved else ""
        by = f"{'farm prove ' if each.proved else ''}{each.by}{engine}" if each.by else f"{each.outcome}: {each.why}"
        yield printable(f"{name:<{widths[0]}}  {guest:<{widths[1]}}  {by}")
    noticed = sum(each.outcome is Outcome.KILLED for _, each in judged)
    yield ""
    yield f"{noticed:,} of {counted(len(judged), 'bug')} noticed"
