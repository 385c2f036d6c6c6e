"""What a proof says: of each call that meets a patch, or of each mutant of one."""

from __future__ import annotations

import enum
from typing import Literal

import msgspec

Cpu = Literal["A", "B"]
PATCHING: Cpu = "A"
CALLING: Cpu = "B"


class What(enum.StrEnum):
    """What is proved."""

    INTERLEAVE = "interleave"
    COHERENCE = "coherence"


class Reader(enum.StrEnum):
    """Whose view of a request it is."""

    OTHER = "another CPU"
    SAME = "the CPU that patches"


#: Whose view a proof of two requests at once is.
TOGETHER = "two CPUs that patch at once"


class Finding(enum.StrEnum):
    """How a proof ended."""

    PROVED = "proved"  #: nothing that the rules allow goes wrong
    REFUTED = "refuted"  #: something does, which the story tells
    HARMLESS = "harmless"  #: a mutant, and nothing that the rules allow goes wrong
    SAMPLED = "sampled"  #: nothing goes wrong in any of the schedules that were drawn
    UNEXPLORED = "unexplored"  #: not, or not all, was looked at, for the reason given


class Mutation(enum.StrEnum):
    """What a mutant does otherwise than the guest."""

    LEFT_OUT = "left out"
    MISAIMED = "aimed elsewhere"
    SWAPPED = "swapped with what comes next"
    TORN = "stored in two halves"


class Line(msgspec.Struct, frozen=True):
    """A line of a story: what a CPU does."""

    cpu: Cpu
    text: str


class Proof(msgspec.Struct, frozen=True):
    """A proof of one request: as it was made, or as a mutant of it would be."""

    guest: str  #: variant/mechanism/toolchain
    request: str
    call: str  #: the call that meets it; empty: any fetch
    reader: str  #: which CPU calls (:class:`Reader`), or :data:`TOGETHER`
    finding: Finding
    why: str = ""
    source: str = ""  #: manual and section of the rule, if there is one
    relied_on: tuple[str, ...] = ()  #: systems that rely on what no manual promises, where the guest does, too
    mutant: str = ""  #: what is not as the guest does it; empty: nothing
    mutation: Mutation | None = None  #: of which kind that is
    points: int = 0  #: instructions that were executed, each under one view
    moments: int = 0  #: in which the changes can be found
    runs: int = 0  #: through schedules that were drawn; 0: all that there are were looked at
    seed: int | None = None  #: of the schedule that goes wrong
    story: tuple[Line, ...] = ()
    reproduce: str = ""  #: the command that shows it again, if the guest as it is goes wrong

    @property
    def name(self) -> str:
        """What it is a proof of, in one line."""
        parts = [self.guest, self.request, self.mutant, f"call {self.call}" if self.call else "", f"on {self.reader}"]
        return ", ".join(part for part in parts if part)

    def doer(self, cpu: Cpu) -> str:
        """Who does what a line of the story tells: a call on the CPU that patches is made by an interrupt there."""
        return "an interrupt" if cpu == CALLING and self.reader == Reader.SAME else f"CPU {cpu}"

    @property
    def does(self) -> str:
        """What the CPU does, or the interrupt, that the story tells of beside the one that patches."""
        return f"{self.doer(CALLING)} {'patches, too' if self.reader == TOGETHER else 'calls'}"

    @property
    def is_bad(self) -> bool:
        """The guest as it is goes wrong."""
        return self.finding is Finding.REFUTED and not self.mutant
