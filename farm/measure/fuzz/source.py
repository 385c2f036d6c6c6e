"""A scenario as Python source, in the words that the suite is written in.

Whatever the fields of a step are, they are written as the step's word takes them: by place as long as none was left
out before, by name from there on.  So a new type of step needs nothing here.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields
from functools import cache
from typing import Any

from farm import scenario as words
from farm.measure.fuzz.generate import ANY_DEFECT
from farm.scenario import Loop, Patch, Scenario, Step, Target, walk

_WIDTH = 120
_INDENT = 4

#: Requests that have a word of their own.
_SHORT = {Target.NULL: "null", Target.RET0: "ret0", Target.BEST: "best"}


def _word(step: Step) -> str:
    """The name that writes ``step``: a function of :mod:`farm.scenario` if there is one, else the step's class."""
    if isinstance(step, Patch) and step.target in _SHORT and not step.offset:
        return _SHORT[step.target]
    name = type(step).__name__
    return name.lower() if callable(getattr(words, name.lower(), None)) else name


@cache
def _by_place(word: str) -> int:
    """The number of arguments that ``word`` takes by place."""
    maker: Callable[..., Step] = getattr(words, word)
    kinds = [parameter.kind for parameter in inspect.signature(maker).parameters.values()]
    return kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _value(value: object, word: str) -> str:
    if isinstance(value, enum.Enum):
        return f'"{value.name.lower()}"' if word.islower() else f"{type(value).__name__}.{value.name}"
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0x1000:
        return f"0x{value:X}"
    return repr(value)


def _arguments(step: Step, indent: int) -> list[str]:
    """The arguments of the word of ``step``."""
    word = _word(step)
    if word in _SHORT.values() and isinstance(step, Patch):
        return [str(step.function)]
    if isinstance(step, Loop):
        return [str(step.count), *(expression(inner, indent) for inner in step.steps)]
    written: list[str] = []
    named = False
    for number, part in enumerate(fields(step)):
        value: Any = getattr(step, part.name)
        if part.default is not MISSING and value == part.default:
            named = True
            continue
        if isinstance(value, tuple):
            text = _tuple([expression(inner, indent + _INDENT) for inner in value], indent)
        else:
            text = _value(value, word)
        named = named or isinstance(value, bool | tuple) or number >= _by_place(word)
        written.append(f"{part.name}={text}" if named else text)
    return written


def _tuple(items: list[str], indent: int) -> str:
    return _wrapped("(", items, ",)" if len(items) == 1 else ")", indent)


def _wrapped(opening: str, items: list[str], closing: str, indent: int) -> str:
    """``opening``, ``items``, ``closing``: on one line if they fit there, else each item on a line of its own."""
    line = opening + ", ".join(items) + closing
    if len(line) + indent <= _WIDTH - 2 * _INDENT and "\n" not in line:
        return line
    pad = " " * (indent + _INDENT)
    return opening + "".join(f"\n{pad}{item}," for item in items) + f"\n{' ' * indent}{closing.removeprefix(',')}"


def expression(step: Step, indent: int = 0) -> str:
    """Python that makes ``step``; lines after the first are indented by ``indent`` and more."""
    return _wrapped(f"{_word(step)}(", _arguments(step, indent + _INDENT), ")", indent)


def names(steps: tuple[Step, ...]) -> set[str]:
    """The names that the source of ``steps`` imports from :mod:`farm.scenario`."""
    used = {_word(step) for step in walk(steps)}
    enums = {type(value).__name__ for step in walk(steps) if not _word(step).islower() for value in _values(step)}
    return used | enums


def _values(step: Step) -> list[enum.Enum]:
    values = (getattr(step, part.name) for part in fields(step))
    return [value for value in values if isinstance(value, enum.Enum)]


def _set(items: frozenset[str]) -> str:
    return "frozenset({" + ", ".join(f'"{item}"' for item in sorted(items)) + "})"


def module(scenario: Scenario, notes: Iterable[str] = ()) -> str:
    """A file for ``--scenario-path`` with ``scenario`` alone, and ``notes`` in a comment."""
    used = sorted({"Defect", "Scenario", *names(scenario.steps)})
    imports = f"from farm.scenario import {', '.join(used)}"
    if len(imports) > _WIDTH:
        imports = "from farm.scenario import (\n" + "".join(f"    {name},\n" for name in used) + ")"
    guess = "  # a guess: say here what it would detect" if scenario.detects == ANY_DEFECT else ""
    defects = ", ".join(f"Defect.{defect.name}" for defect in sorted(scenario.detects, key=str))
    needs = [f"{name}={_set(needed)}," for name in ("needs", "requires", "abi") if (needed := getattr(scenario, name))]
    if scenario.only:
        needs.insert(0, f'only=({_set(scenario.only[0])}, "{scenario.only[1]}"),')
    lines = [
        f'"""{scenario.title}."""',
        *([""] if notes else []),
        *(f"# {note}".rstrip() for note in notes),
        "",
        imports,
        "",
        "SCENARIOS = (",
        "    Scenario(",
        f'        "{scenario.id}",',
        f'        "{scenario.name}",',
        f'        "{scenario.title}",',
        f"        {_tuple([expression(step, 3 * _INDENT) for step in scenario.steps], 2 * _INDENT)},",
        f"        frozenset({{{defects}}}),{guess}",
        *(f"        {need}" for need in needs),
        "    ),",
        ")",
        "",
    ]
    return "\n".join(lines)
