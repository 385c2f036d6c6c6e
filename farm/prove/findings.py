"""What the audit of stores to code finds (:mod:`farm.prove.audit`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec


class Breach(msgspec.Struct, frozen=True):
    """A rule that is broken, and the store that breaks it."""

    rule: str
    why: str
    source: str  #: manual and section, if there is one
    address: int
    before: str  #: bytes, hexadecimal
    after: str
    pc: int  #: of the instruction that stored; 0: it is about no store
    where: str  #: the address in words
    by: str  #: the instruction's address in words

    @property
    def story(self) -> str:
        """One paragraph: what was stored, by what, and what is wrong with it."""
        stored = f"{self.by} stores {self.before} -> {self.after} at {self.where}: " if self.pc else f"{self.where}: "
        return f"{stored}{self.why}{f' ({self.source})' if self.source else ''}"


@dataclass
class Findings:
    """What the audit of some programs found."""

    breaches: list[Breach] = field(default_factory=list)
    requests: int = 0
    stores: Counter[str] = field(default_factory=Counter)  #: that were judged, by what they are to: code, fresh, data
    relied_on: Counter[str] = field(default_factory=Counter)  #: stores that no manual promises, by who relies on them
    unaudited: Counter[str] = field(default_factory=Counter)  #: stores that are not, or not wholly, judged, and why

    def add(self, other: Findings) -> None:
        """Count what ``other`` found, too."""
        self.breaches += other.breaches
        self.requests += other.requests
        for mine, others in (
            (self.stores, other.stores), (self.relied_on, other.relied_on), (self.unaudited, other.unaudited),
        ):  # fmt: skip
            if others:
                mine.update(others)


def total(found: Iterable[Findings]) -> Findings:
    """All that was ``found``, together."""
    findings = Findings()
    for each in found:
        findings.add(each)
    return findings
