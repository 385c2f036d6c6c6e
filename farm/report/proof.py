"""Proofs for people, as JSON, and from JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from farm import documents
from farm.errors import UsageError
from farm.prove.proof import Finding, Proof, What
from farm.text import counted, printable

if TYPE_CHECKING:
    from farm.prove.guests import Proved

SCHEMA = 1


def bad(proofs: Iterable[Proof]) -> list[Proof]:
    """The proofs of guests that go wrong as they are."""
    return [proof for proof in proofs if proof.is_bad]


def lines(made: Sequence[Proved], *, verbose: bool = False) -> Iterator[str]:
    """The proofs for people: a guest a line, each counterexample as a story, what was left out, then the sum.

    With ``verbose`` the mutants, too: how each was found out, or why it does no harm.  Names are a guest's own.
    """
    return map(printable, _lines(made, verbose=verbose))


def _lines(made: Sequence[Proved], *, verbose: bool) -> Iterator[str]:
    width = max((len(str(guest.spec)) for guest in made), default=0)
    for guest in made:
        yield f"{guest.spec!s:<{width}}  {_summary(guest)}"
    for guest in made:
        for proof in guest.proofs:
            if proof.is_bad or (verbose and proof.mutant):
                yield ""
                yield from _told(proof)
    yield from _left_out(made)
    yield ""
    yield _sum(made)


def _told(proof: Proof) -> Iterator[str]:
    yield f"{proof.finding} {proof.name}: {proof.why}{f' ({proof.source})' if proof.source else ''}"
    yield from (f"  {proof.doer(line.cpu)} {line.text}" for line in proof.story)
    if proof.reproduce:
        yield f"  $ {proof.reproduce}"


def _summary(guest: Proved) -> str:
    if guest.unproved:
        return f"not proved: {guest.unproved}"
    points = sum(proof.points for proof in guest.proofs)
    found = Counter(proof.finding for proof in guest.proofs if not proof.mutant)
    parts = [", ".join(f"{number:,} {finding}" for finding, number in sorted(found.items()))]
    if mutants := Counter(proof.finding for proof in guest.proofs if proof.mutant):
        parts.append(
            f"{counted(mutants.total(), 'mutant')}: "
            + ", ".join(f"{number:,} {finding}" for finding, number in sorted(mutants.items()))
        )
    relied_on = Counter(system for proof in guest.proofs if not proof.mutant for system in proof.relied_on)
    promised = [f"{number:,} that no manual promises: {system}" for system, number in relied_on.items()]
    runs = sum(proof.runs for proof in guest.proofs)
    drawn = [counted(runs, "run")] if runs else []
    return "; ".join([*parts, *drawn, counted(points, "point"), *promised])


def _left_out(made: Sequence[Proved]) -> Iterator[str]:
    """What was not explored, by reason."""
    reasons = Counter(p.why for guest in made for p in guest.proofs if p.finding is Finding.UNEXPLORED)
    if reasons:
        yield ""
    for why, number in reasons.most_common():
        yield f"unexplored, {number:,}: {why}"


def _sum(made: Sequence[Proved]) -> str:
    proofs = [proof for guest in made for proof in guest.proofs]
    found = Counter(proof.finding for proof in proofs if not proof.mutant)
    mutants = Counter(proof.finding for proof in proofs if proof.mutant)
    points = sum(proof.points for proof in proofs)
    parts = [
        f"{counted(sum(bool(guest.proofs) for guest in made), 'guest')}: "
        + (", ".join(f"{number:,} {finding}" for finding, number in sorted(found.items())) or "nothing to prove"),
        *([counted(runs, "run")] if (runs := sum(proof.runs for proof in proofs)) else ()),
        *([f"mutants: {', '.join(f'{n:,} {f}' for f, n in sorted(mutants.items()))}"] if mutants else ()),
        counted(points, "point"),
    ]
    left = Counter(guest.unproved for guest in made if guest.unproved)
    return "\n".join(["; ".join(parts), *(f"{counted(n, 'guest')} not proved: {why}" for why, n in left.items())])


# As JSON.


class Guest(msgspec.Struct, frozen=True):
    """A guest, and how much was proved of it."""

    variant: str
    mechanism: str
    toolchain: str
    unproved: str | None  #: why nothing is
    points: int

    @property
    def name(self) -> str:
        """The name that proofs have for it."""
        return f"{self.variant}/{self.mechanism}/{self.toolchain}"


class Document(msgspec.Struct, frozen=True):
    """The proofs of a command as JSON has them."""

    schema: int
    farm: str  #: version
    what: What
    guests: tuple[Guest, ...]
    proofs: tuple[Proof, ...]


def document(what: What, made: Sequence[Proved], version: str) -> Document:
    """The document of ``made``, by the farm's ``version``."""
    guests = tuple(
        Guest(
            guest.spec.variant.name,
            guest.spec.mechanism,
            guest.spec.toolchain,
            guest.unproved or None,
            sum(proof.points for proof in guest.proofs),
        )
        for guest in made
    )
    return Document(SCHEMA, version, what, guests, tuple(proof for guest in made for proof in guest.proofs))


def file_of(what: What) -> str:
    """The name of its file in an output folder."""
    return f"{what}.json"


def read(folder: Path, what: What) -> Document | None:
    """The proofs that an output folder holds; None if there are none.

    Raises :class:`~farm.errors.UsageError` if their file is something else.
    """
    path = folder / file_of(what)
    found = documents.read(path, Document, "proofs", SCHEMA)
    if found is None:
        return None
    if found.what is not what:
        raise UsageError(f"{path}: holds what `farm prove {found.what}` writes")
    unknown = {proof.guest for proof in found.proofs} - {guest.name for guest in found.guests}
    if unknown:
        raise UsageError(f"{path}: not proofs of the farm's: {min(unknown)} is none of its guests")
    return found
