"""Programs from a seed: any steps that the model accepts, in any order.

Every program has a random generator of its own, seeded with the seed and its number, and uses nothing of it that has
changed between versions of Python: the same seed makes the same programs everywhere, and any of them can be made alone.
What is selected to run has no influence on them.

A step that a mechanism, an ABI or a CPU may lack marks its program with a need (:data:`NEEDS`); the program then only
runs where that is met.  Half of the programs need nothing.  A step that leaves the specification is thrown away.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from farm.scenario import (
    FLOAT,
    FUNCTIONS,
    PATTERN_SIZE,
    REAL_TARGETS,
    WORK,
    Call,
    Code,
    Defect,
    Fact,
    FailPoke,
    Interrupted,
    Kind,
    Load,
    LockText,
    Loop,
    Original,
    Patch,
    Promise,
    Query,
    Restore,
    Scenario,
    Shape,
    Sites,
    Step,
    Target,
    has_call_site,
    layout,
    piece,
    walk,
    wire,
)
from farm.scenario.fields import Field, Flag, Function, FunctionOrAll, Long, Member, Nested
from farm.scenario.model import Reference, ScenarioError, size
from farm.scenario.steps import OPS

#: Needs that not every cell meets, and the field of a scenario that declares each, with what; None: the steps do.
NEEDS: dict[str, tuple[str, str] | None] = {
    "text": ("needs", Promise.REPORTS_FAILED_POKE),
    "variadic": None,
    "original": None,
    "float": ("requires", "float"),
    "clmul": ("requires", "clmul"),
    "int128": ("abi", "int128"),
    "asm": None,
}

#: What a step that is about stores to text needs of a mechanism.
_TEXT = {Promise.REFUSES_FOREIGN, Promise.REFUSES_REENTRY, Promise.REPORTS_FAILED_POKE, Fact.POKES}

#: The defect that a program of steps alone claims; whoever adopts one knows better.
ANY_DEFECT = frozenset({Defect.LOST_PATCH})

_NUMBERS = (0, 1, 5, 0x55, 0x8280, 1 << 31, (1 << 32) - 1, 1 << 32, 0x0123_4567_89AB_CDEF, 1 << 63, (1 << 64) - 1)
_LENGTHS = (0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 130)
_LONGEST = 20  # steps that are not inside another one
_NESTED = 3  # steps inside another one, at most
_DEEPEST = 3  # levels of nesting


class Program(NamedTuple):
    """A scenario, and what a CPU with no optional features does with it."""

    scenario: Scenario
    events: tuple[wire.Event, ...]


@dataclass(frozen=True)
class Writer:
    """Draws the steps of one program."""

    random: random.Random
    may: frozenset[str]  #: what the program may need
    cast: tuple[int, ...]  #: the functions that most steps are about, so that they meet

    def one_in(self, count: int) -> bool:
        return self.random.randrange(count) == 0

    def function(self) -> int:
        return self.random.randrange(len(FUNCTIONS)) if self.one_in(8) else self.random.choice(self.cast)

    def number(self, function: int) -> int:
        """An ``x`` for a call of ``function``."""
        draw = self.random
        if FUNCTIONS[function] in WORK:
            length = draw.choice(_LENGTHS)
            start = PATTERN_SIZE - length if self.one_in(4) else draw.randrange(PATTERN_SIZE - length + 1)
            flags = {name: self.one_in(2) for name in ("more", "in_place", "wrap")}
            return piece(length, start, **flags)
        return self.long()

    def long(self) -> int:
        return self.random.choice(_NUMBERS) if self.one_in(2) else self.random.randrange(1 << 64)

    def nested(self, depth: int) -> tuple[Step, ...]:
        """Steps for the inside of another; none where there are levels enough."""
        if depth >= _DEEPEST:
            return ()
        return tuple(self.step(depth + 1) for _ in range(1 + self.random.randrange(_NESTED)))

    def field(self, kind: Field, depth: int) -> object:
        """Something that a field of this kind may hold."""
        match kind:
            case FunctionOrAll():
                return None if self.one_in(3) else self.function()
            case Function():
                return self.function()
            case Member():
                return self.random.choice(kind.valid)
            case Flag():
                return self.one_in(2)
            case Long():
                return self.long()
            case Nested():
                return self.nested(depth)
        return self.random.randrange(4)  # some number

    def step(self, depth: int = 0) -> Step:
        """Any step that needs no more than the program may."""
        while True:
            step = self.random.choice(_BY_WEIGHT)(self, depth)
            if self.may.issuperset(needs(step)):
                return step


#: The shapes that each function has a call site for, by function.
_SHAPES = [[shape for shape in Shape if has_call_site(function, shape)] for function in range(len(FUNCTIONS))]


def _call(writer: Writer, depth: int) -> Step:
    draw, function = writer.random, writer.function()
    shape = draw.choice(_SHAPES[function])
    count = draw.randrange(4) if shape in (Shape.LOOPED, Shape.CALLBACK, Shape.RECURSIVE) else 1
    inside = writer.nested(depth) if writer.one_in(4) else ()
    at = draw.randrange(count + 1) if inside and shape is Shape.RECURSIVE else 0
    stride = draw.randrange(4) if depth and writer.one_in(2) else 0
    return Call(function, writer.number(function), shape, count, at, inside, stride)


def _original(writer: Writer, depth: int) -> Step:
    function = writer.function()
    return Original(function, writer.number(function), writer.nested(depth) if writer.one_in(4) else ())


_TARGETS = tuple(Target)


def _patch(writer: Writer, depth: int) -> Step:
    del depth
    target = writer.random.choice(REAL_TARGETS if writer.one_in(2) else _TARGETS)
    refused = writer.one_in(8) and target not in (Target.NULL, Target.RET0)
    return Patch(writer.function(), target, 1 + writer.random.randrange(40) if refused else 0)


def _sites(writer: Writer, depth: int) -> Step:
    del depth
    return Sites(writer.function(), Target.DEFAULT if writer.one_in(2) else writer.random.choice(REAL_TARGETS))


def _fail_poke(writer: Writer, depth: int) -> Step:
    del writer, depth
    return FailPoke()


def _interrupted(writer: Writer, depth: int) -> Step:
    del depth
    outer, inner = (writer.random.choice(REAL_TARGETS) for _ in range(2))
    return Interrupted(writer.function(), outer, writer.function(), inner)


def any_step(kind: type[Step], writer: Writer, depth: int) -> Step:
    """A step of ``kind``, each field of which is drawn by itself."""
    return kind(*[writer.field(field, depth) for field in kind.FIELDS.values()])


#: The types of step whose fields hang together, or whose model accepts few of all that they may hold.
_OWN: dict[type[Step], Callable[[Writer, int], Step]] = {
    Call: _call,
    Original: _original,
    Patch: _patch,
    Sites: _sites,
    FailPoke: _fail_poke,
    Interrupted: _interrupted,
}

#: Weight of each type of step among the draws, where it is not 1.
_WEIGHTS: dict[type[Step], int] = {
    Call: 10,
    Patch: 8,
    Restore: 3,
    Query: 2,
    Code: 2,
    LockText: 2,
    Load: 2,
    Loop: 2,
}

#: For each type of step the function that draws one, and how often it is asked.
MAKERS: dict[type[Step], tuple[Callable[[Writer, int], Step], int]] = {
    kind: (_OWN.get(kind, functools.partial(any_step, kind)), _WEIGHTS.get(kind, 1)) for kind in OPS
}
_BY_WEIGHT = [maker for maker, weight in MAKERS.values() for _ in range(weight)]


def needs(step: Step) -> Iterator[str]:
    """The needs of ``step`` itself, without the steps inside it."""
    if isinstance(step, LockText) or step.needs() & _TEXT:
        yield "text"
    match step:
        case Patch() | Interrupted():
            if FUNCTIONS[step.function] is Kind.CRC and step.target is Target.FAST:
                yield "clmul"
        case Call() | Original():
            kind = FUNCTIONS[step.function]
            if isinstance(step, Original):
                yield "original"
            elif step.shape is Shape.BARE:
                yield "asm"
            if kind in FLOAT:
                yield "float"
            if isinstance(step, Call) and kind is Kind.VARIADIC:
                yield "variadic"
            if kind is Kind.INT128:
                yield "int128"


def needs_of(steps: tuple[Step, ...]) -> frozenset[str]:
    """The needs of a program of ``steps``."""
    return frozenset(need for step in walk(steps) for need in needs(step))


def as_scenario(name: str, title: str, steps: tuple[Step, ...]) -> Scenario:
    """The scenario of ``steps``, which says what it needs."""
    needed = needs_of(steps)

    def declared(field: str) -> frozenset[str]:
        parts = (NEEDS[need] for need in needed)
        return frozenset(part[1] for part in parts if part and part[0] == field)

    return Scenario(
        "FZ-" + name.partition("_")[2].replace("_", "-"),
        name,
        title,
        steps,
        ANY_DEFECT,
        needs=declared("needs"),
        requires=declared("requires"),
        abi=declared("abi"),
    )


def program(seed: int, number: int) -> Program:
    """Program ``number`` of ``seed``."""
    draw = random.Random(f"{seed}/{number}")  # noqa: S311 - the same programs everywhere is the point
    may = frozenset() if draw.randrange(2) else frozenset(need for need in NEEDS if draw.randrange(2))
    first, other = draw.randrange(len(FUNCTIONS)), draw.randrange(len(FUNCTIONS))
    writer = Writer(draw, may, (first, first, (first + 1) % len(FUNCTIONS), other))
    steps: list[Step] = []
    events: list[wire.Event] = []
    guest, numbers, room = Reference(), 0, layout.PROGRAM_WORDS - 3
    tries = 1 + draw.randrange(_LONGEST)
    while tries > 0 or not steps:
        tries -= 1
        step, trial = writer.step(), guest.copy()
        words = len(wire.program_words((step,)))
        try:
            trial.execute(step, numbers)
        except ScenarioError:
            continue
        if words <= room and len(events) + len(trial.events) <= layout.TRACE_EVENTS:
            steps.append(step)
            events += trial.events
            trial.events = []
            guest, numbers, room = trial, numbers + size(step), room - words
    name = f"fuzz_{seed}_{number}"
    return Program(as_scenario(name, f"Program {number} of seed {seed}", tuple(steps)), tuple(events))
