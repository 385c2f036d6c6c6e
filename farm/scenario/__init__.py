"""The parts of a test of a patchable call: steps, defects and scenarios.

A scenario is a list of steps that knows nothing of architectures, mechanisms or engines.  The reference model
(:mod:`farm.scenario.model`) says what any correct mechanism must do with it; the wire format
(:mod:`farm.scenario.wire`) turns it into a program for the guest.
"""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from farm.scenario.fields import named, shown, whole_number
from farm.scenario.functions import (
    COMPOSITE,
    DERIVED,
    EVERYWHERE,
    FLOAT,
    FUNCTIONS,
    PATTERN_SIZE,
    REAL_TARGETS,
    REFUSALS,
    WORK,
    Kind,
    Shape,
    Status,
    Target,
    has_call_site,
)
from farm.scenario.promises import Fact, Need, Promise, ordered
from farm.scenario.steps import (
    Address,
    Call,
    Code,
    FailPoke,
    Interrupted,
    Load,
    LockText,
    Loop,
    Original,
    Output,
    Patch,
    Protection,
    Query,
    Restore,
    Scribble,
    Sites,
    Step,
    Tamper,
    Unload,
    substeps,
    walk,
)

__all__ = [
    "COMPOSITE",
    "DERIVED",
    "EVERYWHERE",
    "FLOAT",
    "FUNCTIONS",
    "PATTERN_SIZE",
    "POKING",
    "REAL_TARGETS",
    "REFUSALS",
    "WORK",
    "AbiFeature",
    "Address",
    "Call",
    "Code",
    "Defect",
    "Fact",
    "FailPoke",
    "Feature",
    "Interrupted",
    "Kind",
    "Load",
    "LockText",
    "Loop",
    "Original",
    "Output",
    "Patch",
    "Promise",
    "Protection",
    "Query",
    "Restore",
    "Scenario",
    "Scribble",
    "Shape",
    "Sites",
    "Status",
    "Step",
    "Tamper",
    "Target",
    "Unload",
    "address",
    "best",
    "call",
    "code",
    "has_call_site",
    "loop",
    "named",
    "null",
    "original",
    "output",
    "patch",
    "piece",
    "query",
    "restore",
    "ret0",
    "shown",
    "sites",
    "substeps",
    "walk",
    "whole_number",
]


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
    WRONG_ORIGINAL = "wrong-original"
    ORIGINAL_ARGUMENT = "original-argument"
    ORIGINAL_REGISTER = "original-register"
    ORIGINAL_FLOAT = "original-float"
    UNRELOCATED = "unrelocated"
    WRONG_RESUMPTION = "wrong-resumption"
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
    STALE_CACHE = "stale-cache"
    LATE_SITE = "late-site"
    LOST_CONDITION = "lost-condition"
    LOST_LINK = "lost-link"
    TAIL_AS_CALL = "tail-as-call"
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


#: A feature of a CPU model that a scenario can require.
Feature = Literal["clmul", "float", "bti"]

#: A feature of an ABI that a scenario or a negative control is about.
#:
#: ``int128``: a 16-byte integer type; ``extension``: whoever passes a narrow integer extends it to the register;
#: ``variadic-count``: a hidden register tells a variadic function how doubles are passed; ``red-zone``: memory below
#: the stack pointer that is its owner's; ``toc``: a register with the table of contents (ELFv2), the global pointer
#: (mips) or the base of all data (hppa); ``entry-register``: a register that holds a function's own address when it is
#: entered indirectly; ``kept-flags``, ``kept-floats``, ``kept-vectors``: flags, floating-point registers and vector
#: registers that survive a call; ``delay-slot``: the instruction behind a call is executed before the target is;
#: ``landing-pads``: what an indirect branch may lead to begins with an instruction that says so.
AbiFeature = Literal[
    "int128",
    "extension",
    "variadic-count",
    "red-zone",
    "toc",
    "entry-register",
    "kept-flags",
    "kept-floats",
    "kept-vectors",
    "delay-slot",
    "landing-pads",
]


@dataclass(frozen=True)
class Scenario:
    """One behaviour that every correct mechanism shows on every architecture.

    ``detects`` must not be empty.  ``needs`` names what a mechanism must promise or be (:class:`Promise`,
    :class:`Fact`) for the scenario to be about it, besides what its steps need of themselves.  ``only`` restricts it to
    some mechanisms and says why the others cannot express it.  All else that must hold is checked when a suite is
    loaded (:mod:`farm.scenario.check`), not here.
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
    needs: frozenset[str] = field(default_factory=frozenset)

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
        """The scenario's expected events, or whether it can run at all, differ between CPU profiles."""
        return bool(self.requires) or any(
            isinstance(step, Patch) and step.target is Target.BEST for step in walk(self.steps)
        )

    @functools.cached_property
    def all_needs(self) -> tuple[Need, ...]:
        """:attr:`needs`, then what the steps need besides, each part in the order of :data:`promises.NEEDS`."""
        needs = frozenset().union(*(step.needs() for step in walk(self.steps)))
        return (*ordered(self.needs), *ordered(needs - self.needs))

    @property
    def redirected(self) -> bool:
        """Every mechanism that runs the scenario redirects call sites."""
        return Fact.REDIRECTS in self.needs or (self.only is not None and self.only[0] <= _REDIRECTING)

    def __hash__(self) -> int:
        return hash(self.name)  # a key of caches: not every step each time


#: The farm's own mechanisms that store to code, for ``only``; ``needs={"pokes"}`` is about others too.
POKING = frozenset({"stub", "relocated"})

_REDIRECTING = frozenset({"relocated"})  # of the farm's own


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


def original(function: int, x: int = 0, *, inside: tuple[Step, ...] = ()) -> Original:
    """``original(0, 5)``: call the default target, whatever the function leads to."""
    return Original(function, x, inside)


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
