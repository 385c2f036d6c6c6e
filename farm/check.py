"""What a scenario must be, checked before anything is made of it: the one check of suites, files and live guests.

:func:`scenario` and :func:`steps` look at what is written and count what it would cost; that takes microseconds a
step and always ends.  :func:`by_model` finds out the rest.  A step's number is the one it has in its program
(:mod:`farm.wire`).
"""

from __future__ import annotations

import enum
import re
import unicodedata
from collections.abc import Collection
from collections.abc import Set as AbstractSet
from typing import NamedTuple, NoReturn, TypeGuard, get_args

from farm import model, wire
from farm.backend import MECHANISM_FILES, AbiFeature, Feature
from farm.errors import UsageError
from farm.scenario import (
    FUNCTIONS,
    PATTERN_SIZE,
    REAL_TARGETS,
    WORK,
    Address,
    Call,
    Code,
    Defect,
    FailPoke,
    Interrupted,
    LockText,
    Loop,
    Output,
    Patch,
    Query,
    Restore,
    Scenario,
    Scribble,
    Shape,
    Sites,
    Tamper,
    Target,
    has_call_site,
    shown,
    whole_number,
)

#: Steps inside steps inside steps, and targets that run at once.  The smallest stack, Unicorn's 64 KiB, has room for
#: both together on every architecture; twice as much overflows it on sparc64, s390x and ppc64v1.
MOST_NESTED = 16
MOST_RUNNING = 100

#: Steps of one program, each of two words or more.
MOST_STEPS = (wire.PROGRAM_WORDS - 3) // 2

#: Events that one program may make, those folded into loops among them: a second or so for the model.  A piece of real
#: work counts as one for every 256 bytes.
MOST_EVENTS = 50_000
_BYTES = 256
_TAMPERING = 64  # events that as many requests cost

_TARGETS, _SHAPES = tuple(Target), tuple(Shape)
_CALLED = [tuple(shape for shape in Shape if has_call_site(function, shape)) for function in range(len(FUNCTIONS))]
_WORKING = frozenset(function for function, kind in enumerate(FUNCTIONS) if kind in WORK)
_WORD, _LONG = (1 << 32) - 1, (1 << 64) - 1
_NAME = re.compile(r"\w[\w.-]*")


def scenario(made: object) -> None:
    """Raise :class:`~farm.errors.UsageError` with what is wrong with ``made``, if anything is."""
    if not isinstance(made, Scenario):
        raise UsageError(f"{shown(made)} found; expected a farm.scenario.Scenario")
    try:
        _fields(made)
        steps(made.steps)
    except UsageError as error:
        raise UsageError(f"{label(made)}: {error}") from None
    except AttributeError as error:
        raise UsageError(f"{label(made)}: {_taken_apart(error)}") from None


def steps(program: object, first: int = 0) -> None:
    """Raise :class:`~farm.errors.UsageError` unless a guest can be asked for ``program``, a tuple of steps.

    ``first`` is the number of the first step.
    """
    walk = _Walk(first)
    try:
        walk.steps("steps", program, 1)
    except UsageError as error:
        raise error if walk.at is None else UsageError(f"step {walk.at}: {error}") from None
    except AttributeError as error:
        raise UsageError(f"step {walk.at}: {_taken_apart(error)}") from None


def _taken_apart(error: AttributeError) -> str:
    return f"it has no {error.name}, though all of its kind have"


def by_model(made: Scenario) -> None:
    """Raise :class:`~farm.errors.UsageError` if the model refuses ``made``, or a guest has no room for it."""
    try:
        wire.encode(made, big_endian=False)
        for features in ((), ("clmul",)) if made.depends_on_cpu else ((),):
            model.predict(made, frozenset(features))
    except wire.TooLongError as error:
        raise UsageError(f"{label(made)}: step {error.step}: {error}") from None
    except ValueError as error:
        raise UsageError(f"{label(made)}: {error}") from None


def label(made: Scenario) -> str:
    """``scenario BS-03 tail_call``."""
    words = (getattr(made, what, None) for what in ("id", "name"))
    return " ".join(["scenario", *(str(word) if _is_name(word) else shown(word) for word in words)])


# The fields of a scenario.


def _fields(made: Scenario) -> None:
    for what in ("id", "name"):
        if not _is_name(getattr(made, what)):
            _wrong(what, getattr(made, what), "letters, digits, '_', '-' and '.', with neither of the last two first")
    if made.id.partition("-")[0] not in Scenario.GROUPS:
        raise UsageError(f"id: the group must be one of {', '.join(Scenario.GROUPS)}")
    if not _is_line(made.title):
        _wrong("title", made.title, "a line of text")
    if not _is_set(made.detects):
        _wrong("detects", made.detects, "a set of farm.scenario.Defect")
    if not made.detects:
        raise UsageError("it detects nothing, so it proves nothing")
    for defect in made.detects:
        _member("detects", defect, tuple(Defect))
    if made.only is not None:
        _only(made.only)
    _names("requires", made.requires, get_args(Feature))
    _names("abi", made.abi, get_args(AbiFeature))
    if not _is_set(made.tags) or not all(map(_is_name, made.tags)):
        _wrong("tags", made.tags, "a set of names")
    if type(made.bugs) is not tuple or not all(map(_is_line, made.bugs)):
        _wrong("bugs", made.bugs, "a tuple of text")


def _only(only: object) -> None:
    if type(only) is not tuple or len(only) != 2 or not _is_set(only[0]) or not _is_line(only[1]) or not all(only):
        _wrong("only", only, "None, or a set of mechanisms and the reason why the others are left out")
    _names("only", only[0], MECHANISM_FILES)


def _names(what: str, names: object, valid: Collection[str]) -> None:
    if not _is_set(names):
        _wrong(what, names, f"a set of {', '.join(valid)}")
    for name in names:
        if type(name) is not str or name not in valid:
            _wrong(what, name, ", ".join(valid))


def _is_set(value: object) -> TypeGuard[AbstractSet[object]]:
    return type(value) in (frozenset, set)


def _is_name(value: object) -> bool:
    """It can be part of a cell's name, and a word of a command line."""
    return type(value) is str and _NAME.fullmatch(value) is not None


def _is_line(value: object) -> bool:
    """It is text that a line of a report can hold."""
    if type(value) is not str:
        return False
    return value.isprintable() or not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in value)


def _wrong(what: str, value: object, expected: str) -> NoReturn:
    raise UsageError(f"{what} {shown(value)} found; expected {expected}")


def _member(what: str, value: object, valid: tuple[enum.Enum, ...]) -> None:
    if type(value) is not type(valid[0]) or value not in valid:
        _wrong(what, value, ", ".join(f"{type(member).__name__}.{member.name}" for member in valid))


# Steps.


class _Cost(NamedTuple):
    """What steps come to at most: events, and targets that run at once."""

    events: int
    running: int = 0


class _Walk:
    """Numbers the steps of one program as it looks at them."""

    def __init__(self, first: int) -> None:
        self.first = self.next = first
        self.at: int | None = None  #: the step that is looked at, for which an error counts

    def steps(self, what: str, program: object, level: int) -> _Cost:
        """What ``program`` comes to.  Raises :class:`~farm.errors.UsageError`."""
        if type(program) is not tuple:
            _wrong(what, program, "a tuple of steps")
        if program and level > MOST_NESTED:
            raise UsageError(f"steps inside steps, {level} levels deep; a guest takes {MOST_NESTED}")
        events = running = 0
        for step in program:
            if self.next - self.first == MOST_STEPS:
                self.at = None
                raise UsageError(f"too many steps: more than {MOST_STEPS}; expected no more than that many")
            number = self.at = self.next
            self.next += 1
            cost = self.step(step, level)
            self.at = number
            events, running = events + cost.events, max(running, cost.running)
            if events > MOST_EVENTS:
                raise UsageError(f"{events} events, counting those in loops; expected {MOST_EVENTS} at most")
            if running > MOST_RUNNING:
                raise UsageError(f"{running} calls inside one another; a guest takes {MOST_RUNNING}")
        return _Cost(events, running)

    def step(self, step: object, level: int) -> _Cost:
        if type(step) not in wire.OPS:
            valid = ", ".join(step_type.__name__ for step_type in wire.OPS)
            raise UsageError(f"{shown(step)} found; expected a step of farm.scenario: {valid}")
        match step:
            case Call():
                return self.call(step, level)
            case Loop():
                whole_number("loop: count", step.count, _WORD)
                once = self.steps("loop: steps", step.steps, level + 1)
                return _Cost(1 + step.count * once.events, once.running)
            case Patch():
                _function("patch", step.function)
                _member("patch: target", step.target, _TARGETS)
                whole_number("patch: offset", step.offset, _WORD)
            case Sites():
                _function("sites", step.function)
                _member("sites: target", step.target, REAL_TARGETS)
            case Tamper():
                _function("tamper", step.function)
                return _Cost(_TAMPERING)
            case Restore() | Query() | Scribble() | Address():
                _function(type(step).__name__.lower(), step.function)
            case Code():
                if step.function is not None:
                    _function("code", step.function)
            case Interrupted():
                _function("interrupted", step.function)
                _function("interrupted", step.other)
                _member("interrupted: target", step.target, REAL_TARGETS)
                _member("interrupted: elsewhere", step.elsewhere, REAL_TARGETS)
            case LockText():
                if type(step.locked) is not bool:
                    _wrong("locktext: locked", step.locked, "True or False")
            case FailPoke():
                whole_number("failpoke: number", step.number, _WORD)
            case Output():
                return _Cost(1 + 2 * PATTERN_SIZE // _BYTES)
        return _Cost(1)

    def call(self, step: Call, level: int) -> _Cost:
        _function("call", step.function)
        _member("call: shape", step.shape, _SHAPES)
        if step.shape not in _CALLED[step.function]:
            valid = ", ".join(shape.name.lower() for shape in _CALLED[step.function])
            raise UsageError(f"call: shape {step.shape.name.lower()} found; whatever_{step.function} has {valid}")
        whole_number("call: x", step.x, _LONG)
        whole_number("call: count", step.count, _WORD)
        whole_number("call: at", step.at, _WORD)
        whole_number("call: stride", step.stride, _LONG, -_LONG)
        inside = self.steps("call: inside", step.inside, level + 1)
        match step.shape:
            case Shape.LOOPED | Shape.CALLBACK:
                entries = step.count
            case Shape.RECURSIVE:
                entries = step.count + 1
            case _:
                entries = 2 if step.shape is Shape.TWICE else 1
        each = 1
        if step.function in _WORKING:
            longest = step.x & 0xFFFF if entries == 1 and not step.stride else PATTERN_SIZE
            each += min(longest, PATTERN_SIZE) // _BYTES
        levels = entries if step.shape is Shape.RECURSIVE else 1
        running = max(levels, min(step.at + 1, levels) + inside.running)
        return _Cost(1 + entries * each + inside.events, running)


def _function(what: str, number: object) -> None:
    whole_number(f"{what}: function", number, len(FUNCTIONS) - 1)
