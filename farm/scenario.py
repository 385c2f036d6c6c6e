"""What a test of a patchable call is made of: steps, defects and scenarios.

A scenario is a list of steps that knows nothing of architectures, mechanisms or engines.  The reference model
(:mod:`farm.model`) says what any correct mechanism must do with it; the wire format (:mod:`farm.wire`) turns it
into a program for the guest.

The guest has some patchable functions (:data:`FUNCTIONS`), each with four targets (:class:`Target`).  Every call
takes one 64-bit number ``x``; a function with more parameters gets the others derived from it
(:func:`farm.model.arguments`), so a step never needs to know a prototype.
"""

from __future__ import annotations

import enum
import functools
import reprlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias, TypeVar

from farm.errors import UnknownNameError, UsageError
from farm.text import one_line

_Name = TypeVar("_Name", bound=enum.Enum)


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
    """Where a patchable function may lead."""

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
    """How the call site looks in C."""

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


def has_call_site(function: int, shape: Shape) -> bool:
    """``function`` is called in ``shape`` somewhere in the guest."""
    match shape:
        case Shape.BARE | Shape.CALLBACK | Shape.CONDITIONAL | Shape.MODULE | Shape.TWICE:
            return FUNCTIONS[function] is Kind.INT
        case Shape.COUNTED:
            return FUNCTIONS[function] in (Kind.INT, Kind.VOID)
    return True


class Status(enum.IntEnum):
    """What a patch request answers."""

    OK = 0
    BAD_TARGET = 1
    MISALIGNED = 2
    FOREIGN = 3
    READ_ONLY = 4
    UNSUPPORTED = 5
    BUSY = 6


#: What a refusal means.
REFUSALS = {
    Status.BAD_TARGET: "not executable, not a function, NULL on a function that returns a value, or the stub itself",
    Status.MISALIGNED: "the address to patch, or the target, is not at an instruction boundary",
    Status.FOREIGN: "the bytes at the stub are not what this mechanism wrote there",
    Status.READ_ONLY: "the text cannot be made writable",
    Status.UNSUPPORTED: "the mechanism has no such operation",
    Status.BUSY: "another request is being carried out",
}


class Defect(enum.Enum):
    """A class of bug.  A scenario says which it detects, an engine to which it is blind."""

    LOST_PATCH = "lost-patch"
    WRONG_DISPLACEMENT = "wrong-displacement"
    RANGE_TRUNCATION = "range-truncation"
    STALE_FETCH = "stale-fetch"
    TORN_STORE = "torn-store"
    WRONG_INITIAL_TARGET = "wrong-initial-target"
    LOST_RESTORE = "lost-restore"
    WRONG_RESTORE_INSIDE = "wrong-restore-inside"
    INEXACT_RESTORE = "inexact-restore"
    NEIGHBOUR_OVERWRITTEN = "neighbour-overwritten"
    NULL_CALLED = "null-called"
    RET0_VALUE = "ret0-value"
    WRONG_QUERY = "wrong-query"
    CLOBBERED_REGISTER = "clobbered-register"
    CLOBBERED_ARGUMENT = "clobbered-argument"
    CLOBBERED_FLOAT = "clobbered-float"
    CLOBBERED_VECTOR = "clobbered-vector"
    CLOBBERED_FLAGS = "clobbered-flags"
    CLOBBERED_KEPT_FLAGS = "clobbered-kept-flags"
    CLOBBERED_SCRATCH = "clobbered-scratch"
    HIDDEN_REGISTER = "hidden-register"
    LOST_DELAY_SLOT = "lost-delay-slot"
    ENTRY_REGISTER = "entry-register"
    VARIADIC_COUNT = "variadic-count"
    STRUCT_POINTER = "struct-pointer"
    FLOAT_ARGUMENT = "float-argument"
    STACK_ARGUMENT = "stack-argument"
    NARROW_EXTENSION = "narrow-extension"
    TRUNCATED_RETURN = "truncated-return"
    WRONG_ADDRESS = "wrong-address"
    LAZY_ARGUMENT = "lazy-argument"
    RETURN_ADDRESS = "return-address"
    RED_ZONE = "red-zone"
    WRONG_STACK = "wrong-stack"
    LOST_TOC = "lost-toc"
    UNCHECKED_REQUEST = "unchecked-request"
    IGNORED_ERROR = "ignored-error"
    LOST_STATE = "lost-state"
    OVERREAD = "overread"
    WRONG_DISPATCH = "wrong-dispatch"
    HALF_DONE = "half-done"
    STALE_SITE = "stale-site"
    LATE_SITE = "late-site"
    LOST_CONDITION = "lost-condition"
    LOST_LINK = "lost-link"
    NOT_SERIALISED = "not-serialised"
    LEFT_WRITABLE = "left-writable"
    BYTE_ORDER = "byte-order"
    BYPASS = "bypass"
    MISSING_PAD = "missing-pad"
    PAD_OVERWRITTEN = "pad-overwritten"
    SITE_LEFT_BEHIND = "site-left-behind"
    WRONG_PROTECTION = "wrong-protection"
    COARSE_ALIGNMENT = "coarse-alignment"
    END_INCLUDED = "end-included"
    HALF_COMPARED = "half-compared"
    UNCHECKED_SURROUNDINGS = "unchecked-surroundings"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Call:
    """Call a patchable function through a call site of the given shape.

    ``count`` is the number of iterations (LOOPED) or the recursion depth (RECURSIVE).  ``inside`` is a sub-program
    that the target runs before it returns, at recursion level ``at`` (0 is the outermost).  ``stride`` is added to
    ``x`` for every iteration of the innermost :class:`Loop` around it.
    """

    function: int
    x: int = 0
    shape: Shape = Shape.USED
    count: int = 1
    at: int = 0
    inside: tuple[Step, ...] = ()
    stride: int = 0


@dataclass(frozen=True, slots=True)
class Patch:
    """Ask the mechanism to lead ``function`` to ``target``; ``offset`` is added to the address that is patched."""

    function: int
    target: Target
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Restore:
    """Lead ``function`` back to its default, byte for byte."""

    function: int


@dataclass(frozen=True, slots=True)
class Query:
    """Ask which target ``function`` reaches now."""

    function: int


@dataclass(frozen=True, slots=True)
class Code:
    """Compare the patched bytes of ``function`` (all of them for ``None``) with those of the pristine image."""

    function: int | None = None


@dataclass(frozen=True, slots=True)
class Sites:
    """Look at every call site of ``function`` that one store redirects, where the mechanism redirects any.

    Each must lead straight to ``target``, or to the patchable function if it does not reach.  What a site has to hold
    comes from the linked image: nothing that the mechanism knows is believed.
    """

    function: int
    target: Target


@dataclass(frozen=True, slots=True)
class Scribble:
    """Overwrite the patched instruction with one that is not the mechanism's own, as another patching tool would."""

    function: int


@dataclass(frozen=True, slots=True)
class Tamper:
    """Change the code of ``function`` and of its call sites, bit by bit, as another tool would.

    While a bit is changed a request is made, which must be refused; then the bit is put back.  Every byte has its turn
    but those of a data slot.
    """

    function: int


@dataclass(frozen=True, slots=True)
class LockText:
    """Make every later attempt to open the text for writing fail (or, with ``locked=False``, succeed again).

    The memory of the module can be filled all the same: it is not text before that.
    """

    locked: bool = True


@dataclass(frozen=True, slots=True)
class FailPoke:
    """Make the ``number``-th store to code from now fail, once (0: none); a request that meets it changes nothing."""

    number: int = 1


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Lead ``function`` to ``target``; in the middle of that, another request wants ``other`` led to ``elsewhere``."""

    function: int
    target: Target
    other: int
    elsewhere: Target


@dataclass(frozen=True, slots=True)
class Protection:
    """Ask the memory itself whether all text can be read and executed now, and none of it be written."""


@dataclass(frozen=True, slots=True)
class Load:
    """Load the module: text with call sites of its own appears and is called with the MODULE shape."""


@dataclass(frozen=True, slots=True)
class Unload:
    """Unload the module: its memory belongs to somebody else until it is loaded again."""


@dataclass(frozen=True, slots=True)
class Loop:
    """Run ``steps`` ``count`` times; the trace folds them into one event that carries a digest."""

    count: int
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Address:
    """Compare the address of ``function`` as several translation units and writable data have it."""

    function: int


@dataclass(frozen=True, slots=True)
class Output:
    """Digest of what the CHACHA calls have written since the one that began anew."""


Step: TypeAlias = (
    Call
    | Patch
    | Restore
    | Query
    | Code
    | Sites
    | Scribble
    | Tamper
    | LockText
    | FailPoke
    | Interrupted
    | Protection
    | Load
    | Unload
    | Loop
    | Output
    | Address
)


def substeps(step: Step) -> tuple[Step, ...]:
    """The steps nested in ``step``."""
    if isinstance(step, Call):
        return step.inside
    return step.steps if isinstance(step, Loop) else ()


@dataclass(frozen=True)
class Scenario:
    """One behaviour that every correct mechanism shows on every architecture.

    ``detects`` must not be empty.  ``only`` restricts the scenario to some mechanisms and says why the others cannot
    express it.  What else must hold is checked when a suite is loaded (:mod:`farm.check`), not here.
    """

    id: str  #: group and number, ``BS-03``
    name: str
    title: str
    steps: tuple[Step, ...]
    detects: frozenset[Defect]
    only: tuple[frozenset[str], str] | None = None
    requires: frozenset[str] = field(default_factory=frozenset)  #: CPU features, without which it cannot be run
    abi: frozenset[str] = field(default_factory=frozenset)  #: what the ABI must have (``Variant.abi``) to run it
    tags: frozenset[str] = field(default_factory=frozenset)
    bugs: tuple[str, ...] = ()

    #: Groups by the letters of the id.
    GROUPS: ClassVar[dict[str, str]] = {
        "BS": "basic semantics",
        "AB": "ABI preservation",
        "CS": "call shapes",
        "PT": "patch timing and re-entrancy",
        "CC": "concurrency",
        "RP": "range and placement",
        "CO": "cache and coherence",
        "FB": "failure and bad input",
        "CR": "real work",
        "FZ": "found by farm fuzz",
    }

    @functools.cached_property
    def depends_on_cpu(self) -> bool:
        """What is expected, or whether it can run at all, differs between CPU profiles."""
        return bool(self.requires) or any(
            isinstance(step, Patch) and step.target is Target.BEST for step in walk(self.steps)
        )

    def __hash__(self) -> int:
        return hash((self.id, self.name))  # a key of caches: not every step each time


#: The mechanisms that store to code.
POKING = frozenset({"stub", "relocated"})


def walk(steps: Iterable[Step]) -> Iterator[Step]:
    """Every step and everything nested in it, in the order of their numbers."""
    for step in steps:
        yield step
        if inside := substeps(step):
            yield from walk(inside)


# What is said of a wrong value.

_SHORT = reprlib.Repr()
_SHORT.maxother = _SHORT.maxstring = 60  # characters


def shown(value: object) -> str:
    """``value`` as an error shows it: in short and on one line, whatever it is."""
    try:
        return one_line(_SHORT.repr(value))
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - anything may be in a user's file, numbers too long to print among it
        if isinstance(value, int):
            return f"a number of {value.bit_length():,} bits"
        return f"something of type {type(value).__name__}"


def whole_number(what: str, value: object, most: int, least: int = 0) -> None:
    """Raise :class:`~farm.errors.UsageError` unless ``value``, which is called ``what``, is an int in this range."""
    if type(value) is not int or not least <= value <= most:  # True is no number here
        limits = (str(limit) if abs(limit) < 100_000 else f"{limit:#x}" for limit in (least, most))
        raise UsageError(f"{what} {shown(value)} found; expected a whole number from {' to '.join(limits)}")


def named(what: str, value: _Name | str, valid: type[_Name]) -> _Name:
    """The member of ``valid`` that ``value`` is or names.

    Raises :class:`~farm.errors.UnknownNameError`, or :class:`~farm.errors.UsageError` for what is no name.
    """
    if isinstance(value, valid):
        return value
    names = [name.lower() for name in valid.__members__]
    if not isinstance(value, str):
        raise UsageError(f"{what} {shown(value)} found; expected {', '.join(names)}")
    if value.upper() not in valid.__members__:
        raise UnknownNameError(what, value, names)
    return valid[value.upper()]


# The words a scenario is written in.


def call(
    function: int,
    x: int = 0,
    shape: Shape | str = Shape.USED,
    *,
    count: int = 1,
    at: int = 0,
    inside: tuple[Step, ...] = (),
    stride: int = 0,
) -> Call:
    """``call(0, 5)``, ``call(0, 5, "tail")``, ``call(0, 5, inside=(patch(0, "fast"),))``."""
    return Call(function, x, named("shape", shape, Shape), count, at, inside, stride)


def patch(function: int, target: Target | str, offset: int = 0) -> Patch:
    """``patch(0, "fast")``."""
    return Patch(function, named("target", target, Target), offset)


def null(function: int) -> Patch:
    """Lead a void function nowhere: the call returns at once."""
    return Patch(function, Target.NULL)


def ret0(function: int) -> Patch:
    """Let the call return 0 at once, in the full width of its type."""
    return Patch(function, Target.RET0)


def restore(function: int) -> Restore:
    """``restore(0)``."""
    return Restore(function)


def query(function: int) -> Query:
    """``query(0)``."""
    return Query(function)


def code(function: int | None = None) -> Code:
    """``code(0)``, or ``code()`` for every patchable function at once."""
    return Code(function)


def sites(function: int, target: Target | str) -> Sites:
    """``sites(0, "fast")``."""
    return Sites(function, named("target", target, Target))


def piece(length: int, start: int = 0, *, more: bool = False, in_place: bool = False, wrap: bool = False) -> int:
    """The ``x`` of a CRC or CHACHA call: ``length`` bytes of the pattern from ``start``.

    ``more`` goes on where the last call ended instead of beginning anew; ``in_place`` lets CHACHA read from where it
    writes; ``wrap`` begins CHACHA at the last value of its block counter.
    """
    whole_number("length of a piece:", length, PATTERN_SIZE)
    whole_number("start of a piece:", start, PATTERN_SIZE)
    return length | start << 16 | more << 32 | in_place << 33 | wrap << 34


def best(function: int) -> Patch:
    """Let dispatch choose the target for this CPU."""
    return Patch(function, Target.BEST)


def address(function: int) -> Address:
    """``address(0)``."""
    return Address(function)


def output() -> Output:
    """``output()``."""
    return Output()


def loop(count: int, *steps: Step) -> Loop:
    """``loop(100, patch(0, "fast"), call(0, 5))``."""
    return Loop(count, steps)
