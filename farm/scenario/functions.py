"""Parts of every guest: patchable functions, their targets, the shapes of their calls, the answers to requests.

A guest has some patchable functions (:data:`FUNCTIONS`), each with four targets (:class:`Target`).  Every call takes
one 64-bit number ``x``; a function with more parameters gets the others derived from it
(:func:`farm.scenario.model.arguments`), so a step never needs to know a prototype.
"""

from __future__ import annotations

import enum
import functools


class Kind(enum.Enum):
    """Prototype of a patchable function."""

    __hash__ = object.__hash__  # members are singletons; Enum's own is written in Python and slow

    INT = 0  #: ``uint32_t f(uint32_t)``
    LONG = 1  #: ``uint64_t f(uint64_t, uint32_t)``: a register pair on 32-bit architectures
    WIDE = 2  #: ``uint32_t f(uintptr_t x 8)``: every integer argument register there is
    VOID = 3  #: ``void f(uint32_t)``: the only kind for which NULL is a legal target
    CRC = 4  #: ``uint16_t crc_t10dif(uint16_t crc, const uint8_t *buffer, size_t length)``
    CHACHA = 5  #: ``uint32_t chacha20(uint32_t counter, uint8_t *out, const uint8_t *in, size_t length)``
    MANY = 6  #: ``uint32_t f(uintptr_t x 12)``: every integer argument register, and the stack
    NARROW = 7  #: ``int16_t f(int8_t, uint8_t, int16_t, uint16_t, int32_t, uint32_t, int8_t, uint16_t)``
    SMALL = 8  #: a struct of 16 bytes by value and as the result: two registers where the ABI does that
    LARGE = 9  #: a struct of 32 bytes by value and as the result: through a hidden pointer
    DOUBLES = 10  #: ``double f(double x 8)``: -0.0, infinity, NaNs with payloads
    MIXED = 11  #: ``uint64_t f(uint32_t, double, uint64_t, ...)``: integers, doubles and pairs, interleaved
    VARIADIC = 12  #: ``uint32_t f(uint32_t count, ...)``
    INT128 = 13  #: ``__int128 f(uint32_t, __int128)``


#: The kind of each patchable function, by number.
FUNCTIONS: tuple[Kind, ...] = (
    Kind.INT,
    Kind.INT,
    Kind.INT,
    Kind.INT,
    Kind.LONG,
    Kind.WIDE,
    Kind.VOID,
    Kind.VOID,
    Kind.CRC,
    Kind.CHACHA,
    Kind.MANY,
    Kind.NARROW,
    Kind.SMALL,
    Kind.LARGE,
    Kind.DOUBLES,
    Kind.MIXED,
    Kind.VARIADIC,
    Kind.INT128,
)

#: Functions whose ``x`` names a piece of the guest's pattern and how to go on with it (:class:`Piece`).
WORK = frozenset({Kind.CRC, Kind.CHACHA})

#: Kinds whose call sites take ``x`` as a LONG function's do and derive the arguments from it.
DERIVED = frozenset(kind for kind in Kind if kind.value >= Kind.CRC.value)

#: Kinds that need floating-point registers; a guest keeps them apart, for a CPU profile may lack those.
FLOAT = frozenset({Kind.DOUBLES, Kind.MIXED, Kind.VARIADIC})

#: Kinds whose value is no integer, so that RET0 is refused.
COMPOSITE = frozenset({Kind.SMALL, Kind.LARGE, Kind.DOUBLES, Kind.INT128})

#: The functions that every mechanism has on every architecture and CPU.
EVERYWHERE = tuple(number for number, kind in enumerate(FUNCTIONS) if kind not in FLOAT and kind is not Kind.INT128)

#: Bytes of the guest's pattern, ``(7 * i + 3) & 0xff``; it ends where an unmapped page begins.
PATTERN_SIZE = 4096


class Target(enum.Enum):
    """Target that a patchable function may lead to."""

    __hash__ = object.__hash__  # members are singletons; Enum's own is written in Python and slow

    DEFAULT = 0
    FAST = 1
    OTHER = 2
    FAR = 3  #: linked further away than the architecture's near branch reaches
    # What follows are not targets of their own but what a request may name.
    NULL = 0xF0
    RET0 = 0xF1
    STUB = 0xF2  #: the patchable function itself: an endless loop if accepted
    DATA = 0xF3  #: an address that is not executable
    MISALIGNED = 0xF4  #: the default target plus one byte: the middle of an instruction
    HALFWAY = 0xF8  #: the default target plus half of what every function is aligned to
    END = 0xF9  #: the first address behind the text that the near targets lie in
    FAR_END = 0xFA  #: likewise, of the far ones
    ZERO = 0xF5  #: address 0 by mistake, that is, without saying NULL
    NEXT = 0xF6  #: the patchable function with the next number: a stub that leads to another stub
    BEST = 0xF7  #: what dispatch chooses for this CPU: FAST if it can run there, else DEFAULT


#: The four that are functions of the guest.
REAL_TARGETS = (Target.DEFAULT, Target.FAST, Target.OTHER, Target.FAR)


class Shape(enum.Enum):
    """Form of the call site in C."""

    __hash__ = object.__hash__  # members are singletons; Enum's own is written in Python and slow

    USED = 0  #: ``return f(x) + 1;``
    IGNORED = 1  #: ``f(x); return 0;``
    TAIL = 2  #: ``return f(x);``
    LOOPED = 3  #: ``for (i = 0; i < count; i++) sum += f(x + i);``
    POINTER = 4  #: through the function's address, taken and stored in writable data
    BARE = 5  #: in asm, by a function of the INT kind: hidden registers, flags, red zone and delay slot in use
    CALLBACK = 6  #: INT: the function's address is handed to an iterator, which calls it ``count`` times
    COUNTED = 7  #: INT and VOID: ``f(next(x))``; the call answers how often ``next`` was evaluated
    CONDITIONAL = 8  #: INT: ``return x & 1 ? f(x) : x;``, a conditional branch where the architecture has one
    MODULE = 9  #: INT: as USED, in the module's text: only while it is loaded
    TWICE = 10  #: INT: ``f(x) + f(x + 1)``, two call sites side by side
    RECURSIVE = 11  #: the target calls the patchable function again, ``count`` levels deep


@functools.cache
def has_call_site(function: int, shape: Shape) -> bool:
    """``function`` is called in ``shape`` somewhere in the guest."""
    match shape:
        case Shape.BARE | Shape.CALLBACK | Shape.CONDITIONAL | Shape.MODULE | Shape.TWICE:
            return FUNCTIONS[function] is Kind.INT
        case Shape.COUNTED:
            return FUNCTIONS[function] in (Kind.INT, Kind.VOID)
    return True


class Status(enum.IntEnum):
    """Answer to a patch request."""

    OK = 0
    BAD_TARGET = 1
    MISALIGNED = 2
    FOREIGN = 3
    READ_ONLY = 4
    UNSUPPORTED = 5
    BUSY = 6


#: Meaning of each refusal.
REFUSALS = {
    Status.BAD_TARGET: "not executable, not a function, NULL on a function that returns a value, or the stub itself",
    Status.MISALIGNED: "the address to patch, or the target, is not at an instruction boundary",
    Status.FOREIGN: "the bytes at the stub are not what this mechanism wrote there",
    Status.READ_ONLY: "the text cannot be made writable",
    Status.UNSUPPORTED: "the mechanism has no such operation",
    Status.BUSY: "another request is being carried out",
}
