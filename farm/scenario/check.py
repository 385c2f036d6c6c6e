"""The one check of scenarios, before anything is made of them: of suites, files and live guests.

:func:`scenario` and :func:`steps` look at what is written and count what it would cost; that takes microseconds a
step and always ends.  :func:`by_model` finds out the rest.  A step's number is the one it has in its program
(:mod:`farm.scenario.wire`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from collections.abc import Set as AbstractSet
from typing import TypeGuard, get_args

from farm.errors import UsageError
from farm.scenario import AbiFeature, Defect, Feature, Scenario, layout, model, shown, wire
from farm.scenario.fields import Member, wrong
from farm.scenario.promises import NEEDS, Fact, Promise
from farm.scenario.steps import OPS, Cost, Step, substeps

#: Steps inside steps inside steps, and targets that run at once.  The smallest stack, Unicorn's 64 KiB, has room for
#: both together on every architecture; twice as much overflows it on sparc64, s390x and ppc64v1.
MOST_NESTED = 16
MOST_RUNNING = 100

#: Steps of one program, each of two words or more.
MOST_STEPS = (layout.PROGRAM_WORDS - 3) // 2

#: Events that one program may make, those folded into loops among them: a second or so for the model.
MOST_EVENTS = 50_000

_DEFECT = Member(Defect)
_CPU_FEATURES, _ABI_FEATURES = get_args(Feature), get_args(AbiFeature)
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
            wrong(what, getattr(made, what), "letters, digits, '_', '-' and '.', with neither of the last two first")
    if made.id.partition("-")[0] not in Scenario.GROUPS:
        raise UsageError(f"id: the group must be one of {', '.join(Scenario.GROUPS)}")
    if not _is_line(made.title):
        wrong("title", made.title, "a line of text")
    if not _is_set(made.detects):
        wrong("detects", made.detects, "a set of farm.scenario.Defect")
    if not made.detects:
        raise UsageError("it detects nothing, so it proves nothing")
    for defect in made.detects:
        _DEFECT.check("detects", defect)
    if made.only is not None:
        _only(made.only)
    _names("needs", made.needs, NEEDS)
    _names("requires", made.requires, _CPU_FEATURES)
    _names("abi", made.abi, _ABI_FEATURES)
    if not _is_set(made.tags) or not all(map(_is_name, made.tags)):
        wrong("tags", made.tags, "a set of names")
    if type(made.bugs) is not tuple or not all(map(_is_line, made.bugs)):
        wrong("bugs", made.bugs, "a tuple of text")


def _only(only: object) -> None:
    if type(only) is not tuple or len(only) != 2 or not _is_set(only[0]) or not _is_line(only[1]) or not all(only):
        wrong("only", only, "None, or a set of mechanisms and the reason why the others are left out")
    for name in only[0]:
        if not _is_name(name):
            wrong("only", name, "the name of a mechanism")


def _names(what: str, names: object, valid: Collection[str]) -> None:
    if not _is_set(names):
        wrong(what, names, f"a set of {', '.join(valid)}")
    for name in names:
        if type(name) not in (str, Promise, Fact) or name not in valid:
            wrong(what, name, ", ".join(valid))


def _is_set(value: object) -> TypeGuard[AbstractSet[object]]:
    return type(value) in (frozenset, set)


def _is_name(value: object) -> bool:
    """``value`` can be part of a cell's name, and a word of a command line."""
    return type(value) is str and _NAME.fullmatch(value) is not None


def _is_line(value: object) -> bool:
    """``value`` is text that a line of a report can hold."""
    if type(value) is not str:
        return False
    return value.isprintable() or not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in value)


# Steps.


class _Walk:
    """Numbers the steps of one program as it looks at them."""

    def __init__(self, first: int) -> None:
        self.first = self.next = first
        self.at: int | None = None  #: the step that is looked at, for which an error counts

    def steps(self, what: str, program: object, level: int) -> Cost:
        """Cost of ``program``.  Raises :class:`~farm.errors.UsageError`."""
        if type(program) is not tuple:
            wrong(what, program, "a tuple of steps")
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
        return Cost(events, running)

    def step(self, step: object, level: int) -> Cost:
        """Cost of ``step``.  Raises :class:`~farm.errors.UsageError`."""
        if type(step) not in OPS:
            valid = ", ".join(kind.__name__ for kind in sorted(OPS, key=OPS.__getitem__))
            raise UsageError(f"{shown(step)} found; expected a step of farm.scenario: {valid}")
        assert isinstance(step, Step)
        step.check()
        if step.NESTED is None:
            return step.COST
        inside = substeps(step)
        if type(inside) is tuple and not inside:  # as almost always
            return step.cost(Cost(0))
        return step.cost(self.steps(f"{type(step).__name__.lower()}: {step.NESTED}", inside, level + 1))
