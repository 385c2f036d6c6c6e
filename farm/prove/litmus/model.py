"""A litmus test as it has been read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from farm.errors import UsageError
from farm.prove.litmus.forms import Instruction

LINE = 0x100  #: bytes from one location of data to the next
ELR = 32  #: number of ELR_EL1 among the registers


class LitmusError(UsageError):
    """A litmus file cannot be read, or says what is not supported: file, line and reason."""


class Register(NamedTuple):
    """A register of a thread."""

    thread: int
    number: int

    def __str__(self) -> str:
        return f"{self.thread}:X{self.number}"


class Location(NamedTuple):
    """A location of data, by its name."""

    name: str

    def __str__(self) -> str:
        return f"[{self.name}]"


class Fault(NamedTuple):
    """An undefined instruction that a thread met: at a label, or anywhere."""

    thread: int
    label: str | None = None

    def __str__(self) -> str:
        return f"fault(P{self.thread}{f':{self.label}' if self.label else ''},UndefinedInstruction)"


Place = Register | Location | Fault


@dataclass(frozen=True)
class Term:
    """A condition: ``and`` and ``or`` of terms, ``not`` of one, ``is`` of a place and a value, ``same`` of two places.

    An ``and`` of nothing is true, an ``or`` of nothing false.
    """

    what: Literal["and", "or", "not", "is", "same"]
    terms: tuple[Term, ...] = ()
    place: Place | None = None
    other: Place | None = None
    value: int = 0


TRUE, FALSE = Term("and"), Term("or")


@dataclass
class Column:
    """What one thread executes, or what handles its faults."""

    thread: int
    handler: bool
    base: int
    code: list[tuple[str, int]] = field(default_factory=list)  #: text and line
    labels: dict[str, int] = field(default_factory=dict)  #: addresses

    @property
    def end(self) -> int:
        return self.base + 4 * len(self.code)


@dataclass
class Final:
    """What a test asks of its final states."""

    quantifier: Literal["exists", "~exists", "forall"] = "forall"
    condition: Term = TRUE
    filter: Term = TRUE  #: states in which it does not hold do not count
    places: list[Place] = field(default_factory=list)  #: all that is looked at
    shown: list[Place] = field(default_factory=list)  #: those that a state shows


@dataclass
class Litmus:
    """A litmus test, its instructions assembled and its names laid out: one location a cache line."""

    name: str
    dic: bool
    idc: bool
    columns: list[Column]
    instructions: dict[int, Instruction]  #: by address
    known: dict[int, Instruction]  #: by word
    registers: dict[Register, int]  #: initial values
    memory: dict[int, int]  #: initial values of the locations: data, and instructions that are modifiable
    names: dict[int, str]  #: of locations and labels, by address
    data: dict[str, int]  #: addresses of the locations of data
    labels: dict[tuple[int, str], int]
    final: Final

    @property
    def threads(self) -> list[Column]:
        return [column for column in self.columns if not column.handler]

    @property
    def places(self) -> list[Place]:
        return self.final.places

    def line(self, address: int) -> int:
        """The line of the instruction at an address, or of the one before it."""
        column = max((c for c in self.columns if c.base <= address), key=lambda c: c.base)
        return column.code[min((address - column.base) // 4, len(column.code) - 1)][1]

    def text(self, value: int) -> str:
        """A value as herd shows it: a name, a label, an instruction or a number."""
        if value in self.names:
            return self.names[value]
        if value in self.known and value >= 1 << 16:
            shown = self.known[value].shown
            return shown if shown == "NOP" else f'instr:"{shown}"'
        for name, address in self.data.items():  # within a location
            if address < value < address + LINE:
                return f"{name}+{value - address}"
        for column in self.columns:  # an address of code without a label
            if column.base <= value <= column.end:
                return f"P{column.thread}{'.F' * column.handler}+{value - column.base:#x}"
        return str(value - (1 << 64) if value >> 63 else value)
