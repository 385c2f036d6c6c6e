"""Proofs in ``report.html``: a grid of guests, each counterexample as a picture of two columns, and counts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from farm.prove.proof import PATCHING, Finding, Mutation, Proof, What
from farm.report.proof import Document, Guest, bad, file_of
from farm.report.text import line

_PICTURES = 100  # counterexamples that a page has room for
_OPEN = 3  # of them that are seen at once
_NAMED = 6  # guests that are named where a reason is

#: Look and mark of a finding about a guest as it is.
_LOOKS = {
    Finding.PROVED: ("pass", "✓"),
    Finding.SAMPLED: ("pass", "≈"),
    Finding.REFUTED: ("fail", "✗"),
    Finding.UNEXPLORED: ("missing", "○"),
}
_OF_MUTANTS = (Finding.REFUTED, Finding.HARMLESS, Finding.UNEXPLORED)

_TITLES = {What.INTERLEAVE: "Calls that meet a patch", What.COHERENCE: "Fetches behind a patch"}
_INTERLEAVE = """
Every call that meets a patch, on another CPU or in an interrupt, must come to the old target or to the new one,
whatever the rules of the architecture let it see of the patch. What two requests leave that are made at once must be
what they leave one after the other.
"""
_COHERENCE = """
When a request is over, no fetch of what it stored may be stale. A mutant does one step of it otherwise: it must be
refuted, or be harmless by a rule.
"""
_CAPTIONS = {What.INTERLEAVE: _INTERLEAVE, What.COHERENCE: _COHERENCE}


def page(made: Document) -> dict[str, Any]:
    """The data of the view of one command's proofs."""
    as_they_are = [proof for proof in made.proofs if not proof.mutant]
    mutants = [proof for proof in made.proofs if proof.mutant]
    refuted = bad(made.proofs)
    return {
        "title": _TITLES[made.what],
        "caption": _CAPTIONS[made.what],
        "command": f"farm prove {made.what}",
        "file": file_of(made.what),
        "grid": _grid(made),
        "refuted": len(refuted),
        "pictures": [
            {**_picture(proof), "open": number < _OPEN} for number, proof in enumerate(_chosen(refuted)[:_PICTURES])
        ],
        "mutants": _mutants(mutants),
        "harmless": _reasons(proof for proof in mutants if proof.finding is Finding.HARMLESS),
        "unproved": _by_reason((guest.unproved, guest.name) for guest in made.guests if guest.unproved),
        "unexplored": _reasons(proof for proof in made.proofs if proof.finding is Finding.UNEXPLORED),
        "relied_on": _by_reason((system, proof.guest) for proof in as_they_are for system in proof.relied_on),
    }


def _grid(made: Document) -> dict[str, Any]:
    """Variants down, mechanisms across; in a square how many proofs of the guest ended how."""
    found: dict[str, Counter[tuple[bool, Finding]]] = {guest.name: Counter() for guest in made.guests}
    for proof in made.proofs:
        found[proof.guest][bool(proof.mutant), proof.finding] += 1
    mechanisms = dict.fromkeys(guest.mechanism for guest in made.guests)
    rows: dict[tuple[str, str], dict[str, Guest]] = {}
    for guest in made.guests:
        rows.setdefault((guest.variant, guest.toolchain), {})[guest.mechanism] = guest
    return {
        "mechanisms": list(mechanisms),
        "rows": [
            {
                "variant": variant,
                "toolchain": toolchain,
                "squares": [
                    _square(guests[each], found[guests[each].name]) if each in guests else None for each in mechanisms
                ],
            }
            for (variant, toolchain), guests in sorted(rows.items())
        ],
    }


def _square(guest: Guest, found: Counter[tuple[bool, Finding]]) -> dict[str, Any]:
    parts = [(*look, found[False, finding]) for finding, look in _LOOKS.items() if found[False, finding]]
    looks = [look for look, _, _ in parts]
    return {
        "look": "fail" if "fail" in looks else looks[0] if looks else "hole" if guest.unproved else "missing",
        "parts": parts,
        "mutants": [(found[True, finding], str(finding)) for finding in _OF_MUTANTS if found[True, finding]],
        "points": guest.points,
        "unproved": guest.unproved,
    }


def _chosen(proofs: Sequence[Proof]) -> list[Proof]:
    """The proofs in the order in which they are shown: first one of each guest."""
    first: dict[str, int] = {}
    for number, proof in enumerate(proofs):
        first.setdefault(proof.guest, number)
    return [proofs[number] for number in dict.fromkeys([*first.values(), *range(len(proofs))])]


def _picture(proof: Proof) -> dict[str, Any]:
    return {
        "name": proof.name,
        "why": _words(proof.why),
        "source": proof.source,
        "beside": proof.does,
        "steps": [{"patches": step.cpu == PATCHING, "words": _words(step.text)} for step in proof.story],
        "command": re.split(" (?=-)", line(proof.reproduce)),  # a line does not end within an option
    }


def _words(text: str) -> list[tuple[bool, str]]:
    """``text`` in parts, and whether each is code: what stands between backquotes."""
    return [(bool(number % 2), part) for number, part in enumerate(line(text).split("`")) if part]


def _mutants(mutants: Sequence[Proof]) -> dict[str, Any]:
    """How many mutants of each kind ended how."""
    counts = Counter((proof.mutation, proof.finding) for proof in mutants)
    sums = Counter(proof.finding for proof in mutants)
    return {
        "total": len(mutants),
        "sums": [(sums[finding], str(finding)) for finding in _OF_MUTANTS if sums[finding]],
        "findings": [str(finding) for finding in _OF_MUTANTS],
        "rows": [
            {"kind": str(kind or "otherwise"), "counts": [counts[kind, finding] for finding in _OF_MUTANTS]}
            for kind in (*Mutation, None)
            if any(counts[kind, finding] for finding in Finding)
        ],
    }


def _reasons(proofs: Iterable[Proof]) -> list[dict[str, Any]]:
    return _by_reason((f"{proof.why} ({proof.source})" if proof.source else proof.why, proof.guest) for proof in proofs)


def _by_reason(given: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Reasons and the guests that have them, the commonest first."""
    counts: Counter[str] = Counter()
    guests: dict[str, dict[str, None]] = {}
    for why, guest in given:
        counts[why] += 1
        guests.setdefault(why, {})[guest] = None
    return [{"why": _words(why), "count": count, "where": _some(guests[why])} for why, count in counts.most_common()]


def _some(guests: Collection[str]) -> str:
    return ", ".join(guests) if len(guests) <= _NAMED else f"{len(guests):,} guests"
