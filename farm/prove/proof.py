"""What a proof says: of each call that meets a patch, or of each mutant of one."""

from __future__ import annotations

import enum

import msgspec


class Finding(enum.StrEnum):
    """How a proof ended."""

    PROVED = "proved"  #: nothing that the rules allow goes wrong
    REFUTED = "refuted"  #: something does, which the story tells
    HARMLESS = "harmless"  #: a mutant, and nothing that the rules allow goes wrong
    UNEXPLORED = "unexplored"  #: not, or not all, was looked at, for the reason given


class Line(msgspec.Struct, frozen=True):
    """A line of a story: what a CPU does.  CPU A patches, CPU B calls."""

    cpu: str
    text: str


class Proof(msgspec.Struct, frozen=True):
    """A proof of one request: as it was made, or as a mutant of it would be."""

    guest: str  #: variant/mechanism/toolchain
    request: str
    call: str  #: the call that meets it; empty: any fetch
    reader: str  #: which CPU calls
    finding: Finding
    why: str = ""
    source: str = ""  #: manual and section of the rule, if there is one
    relied_on: tuple[str, ...] = ()  #: systems that rely on what no manual promises, where the guest does, too
    mutant: str = ""  #: what is not as the guest does it; empty: nothing
    points: int = 0  #: instructions that were executed, each under one view
    moments: int = 0  #: in which the changes can be found
    story: tuple[Line, ...] = ()

    @property
    def name(self) -> str:
        """What it is a proof of, in one line."""
        parts = [self.guest, self.request, self.mutant, f"call {self.call}" if self.call else "", f"on {self.reader}"]
        return ", ".join(part for part in parts if part)

    @property
    def is_bad(self) -> bool:
        """The guest as it is goes wrong."""
        return self.finding is Finding.REFUTED and not self.mutant
