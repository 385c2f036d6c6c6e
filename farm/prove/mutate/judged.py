"""What became of mutants: data that reports read too."""

from __future__ import annotations

import enum

import msgspec


class Mutant(msgspec.Struct, frozen=True):
    """A guest whose patch code is broken in one place."""

    variant: str
    mechanism: str
    toolchain: str
    file: str
    line: int
    column: int
    operator: str
    before: str
    after: str

    @property
    def name(self) -> str:
        """The mutant in one line, without what is changed."""
        return f"{self.variant}/{self.mechanism}/{self.toolchain} {self.file}:{self.line}:{self.column} {self.operator}"


class Outcome(enum.StrEnum):
    """What became of a mutant."""

    KILLED = "killed"  #: somebody noticed
    NOT_BUILT = "does not build"
    EQUIVALENT = "equivalent"  #: it does what the guest does, as a machine has seen
    UNREACHABLE = "unreachable here"  #: no scenario executes what differs
    HOLE = "hole"  #: it does something else, and nobody noticed


class Judged(msgspec.Struct, frozen=True):
    """A mutant, and what became of it."""

    mutant: Mutant
    outcome: Outcome
    by: str = ""  #: the scenario, the proof or the check that noticed; empty: none
    engine: str = ""
    why: str = ""  #: what was noticed, or why nothing could be
    seconds: float = 0.0
    digest: str = ""  #: of the broken text
    proved: bool = False  #: it was noticed by a proof, and by no scenario
