"""Operators: the ways in which patch code is broken, each with a name and a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Operator:
    """A way to break a text."""

    name: str
    what: str  #: in words, of what the mutant does otherwise


class Mutation(NamedTuple):
    """A text with one place of it replaced."""

    operator: str
    line: int  #: of the text, from 1, where the place begins
    last: int  #: line where the statement ends that the place is in
    start: int  #: bytes before the place
    end: int  #: bytes before what is behind it
    replacement: bytes

    def of(self, text: bytes) -> bytes:
        """``text``, broken."""
        return text[: self.start] + self.replacement + text[self.end :]


class Terms(NamedTuple):
    """What operators must know of an architecture."""

    unit: int  #: bytes by which a displacement is shifted: what instructions are aligned to
    block: int  #: bytes that maintenance with an address is for, at most
    registers: tuple[tuple[str, str], ...] = ()  #: of asm: a pattern, and what takes the place of what it fits
    links: tuple[tuple[str, str], ...] = ()  #: of asm: a call's mnemonic, and the jump's
    conditions: tuple[tuple[str, str], ...] = ()  #: of asm: a pattern of conditional branches, and the one always taken
    comments: str = ""  #: of asm: what begins a comment up to the end of the line


def _table(*operators: tuple[str, str]) -> dict[str, Operator]:
    return {name: Operator(name, what) for name, what in operators}


#: Of C.
C = _table(
    ("drop-statement", "a statement is left out"),
    ("duplicate-statement", "a statement is executed twice"),
    ("swap-statements", "a statement is executed before the one that stands above it"),
    ("narrow-store", "fewer bytes are stored, or counted, than should be"),
    ("widen-store", "more bytes are stored, or counted, than should be"),
    ("split-store", "what one store changes is stored in pieces"),
    ("byte-order", "a word is stored, or made, in the other byte order"),
    ("flip-bit", "a bit of a constant is the other one"),
    ("shift-displacement", "a sum or a difference is an instruction's size too large"),
    ("shift-count", "bits are shifted one place too far, or not far enough"),
    ("drop-bits", "of bits that are combined, or masked, one part is left out"),
    ("off-by-one", "a number is one more or less"),
    ("wrong-sign", "a number has no sign, or gets one"),
    ("plus-minus", "what should be added is subtracted, or the other way round"),
    ("swap-operands", "of a difference, or of a function's arguments, two are exchanged"),
    ("boundary", "a limit itself is taken in, or left out"),
    ("negate-condition", "a condition is the contrary"),
    ("skip-check", "a check is left out"),
    ("drop-operand", "of conditions that are combined one is left out"),
    ("drop-error", "a failure is reported as success, or not looked at"),
    ("unwrap-call", "a function's argument is used in place of its result: no alias, no Thumb bit, no byte order"),
    ("loop-stride", "of a loop every other round is left out"),
    ("loop-once", "a loop ends after its first round"),
    ("loop-late", "a loop begins one late"),
    ("maintenance-place", "maintenance is for the block behind"),
    ("maintenance-length", "maintenance is for the first half alone"),
    ("drop-instruction", "an instruction of asm is left out"),
    ("duplicate-instruction", "an instruction of asm is executed twice"),
    ("swap-instructions", "an instruction of asm is executed before the one above it"),
    ("drop-volatile", "a compiler may leave out, or repeat, what must be loaded or stored once"),
)

#: Of asm.
ASM = _table(
    ("drop-instruction", "an instruction of asm is left out"),
    ("duplicate-instruction", "an instruction of asm is executed twice"),
    ("swap-instructions", "an instruction of asm is executed before the one above it"),
    ("drop-directive", "an alignment, a type or a mode is left out"),
    ("clobber-register", "another register is written, or used, than should be"),
    ("lost-link", "a call becomes a jump"),
    ("lost-condition", "a conditional branch is always taken"),
    ("flip-bit", "a bit of a constant is the other one"),
    ("off-by-one", "a number is one more or less"),
    ("shift-displacement", "a sum or a difference is an instruction's size too large"),
    ("narrow-store", "fewer bytes are stored, or counted, than should be"),
)

OPERATORS: dict[str, Operator] = C | ASM
