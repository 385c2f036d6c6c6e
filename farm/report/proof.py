"""Proofs for people and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from farm.prove.guests import Proved
from farm.prove.proof import Finding, Proof
from farm.text import counted

SCHEMA = 1


def bad(made: Sequence[Proved]) -> list[Proof]:
    """The proofs of guests that go wrong as they are."""
    return [proof for guest in made for proof in guest.proofs if proof.is_bad]


def lines(made: Sequence[Proved], *, verbose: bool = False) -> Iterator[str]:
    """The proofs for people: a guest a line, each counterexample as a story, what was left out, then the sum.

    With ``verbose`` the mutants, too: how each was found out, or why it does no harm.
    """
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
    yield from (f"  CPU {line.cpu} {line.text}" for line in proof.story)


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
    return "; ".join([*parts, counted(points, "point"), *promised])


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
        *([f"mutants: {', '.join(f'{n:,} {f}' for f, n in sorted(mutants.items()))}"] if mutants else ()),
        counted(points, "point"),
    ]
    left = Counter(guest.unproved for guest in made if guest.unproved)
    return "\n".join(["; ".join(parts), *(f"{counted(n, 'guest')} not proved: {why}" for why, n in left.items())])


def document(made: Sequence[Proved], version: str) -> dict[str, Any]:
    """The proofs as JSON has them."""
    return {
        "schema": SCHEMA,
        "farm": version,
        "guests": [
            {
                "variant": guest.spec.variant.name,
                "mechanism": guest.spec.mechanism,
                "toolchain": guest.spec.toolchain,
                "unproved": guest.unproved or None,
                "points": sum(proof.points for proof in guest.proofs),
            }
            for guest in made
        ],
        "proofs": [proof for guest in made for proof in guest.proofs],
    }
