"""Kinds of fields of a step: each checks a value, says it in words and encodes it.

:mod:`farm.scenario.steps` declares every field with its kind; the checks there are, and what is said of a wrong value,
are here.
"""

from __future__ import annotations

import enum
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, TypeVar

from farm.errors import UnknownNameError, UsageError
from farm.scenario.functions import FUNCTIONS
from farm.text import counted, one_line

_Name = TypeVar("_Name", bound=enum.Enum)

#: The largest numbers of 32 and of 64 bits.
WORD, LONG = (1 << 32) - 1, (1 << 64) - 1

#: Number by which an instruction names all functions.
ALL_FUNCTIONS = 0xFF


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


def wrong(what: str, value: object, expected: str) -> NoReturn:
    """Raise :class:`~farm.errors.UsageError`: ``value``, which is called ``what``, is not what was expected."""
    raise UsageError(f"{what} {shown(value)} found; expected {expected}")


def whole_number(what: str, value: object, most: int, least: int = 0) -> None:
    """Raise :class:`~farm.errors.UsageError` unless ``value``, which is called ``what``, is an int in this range."""
    if type(value) is not int or not least <= value <= most:  # True is no number here
        limits = (str(limit) if abs(limit) < 100_000 else f"{limit:#x}" for limit in (least, most))
        wrong(what, value, f"a whole number from {' to '.join(limits)}")


def named(what: str, value: _Name | str, valid: type[_Name]) -> _Name:
    """The member of ``valid`` that ``value`` is or names.

    Raises :class:`~farm.errors.UnknownNameError`, or :class:`~farm.errors.UsageError` for what is no name.
    """
    if isinstance(value, valid):
        return value
    member = valid.__members__.get(value.upper()) if isinstance(value, str) else None
    if member is not None:
        return member
    names = [name.lower() for name in valid.__members__]
    if not isinstance(value, str):
        wrong(what, value, ", ".join(names))
    raise UnknownNameError(what, value, names)


# The kinds.


class Field:
    """A kind of field: what its values are, how they are said, and which words of an instruction they become."""

    called: str | None = None  #: the name of the field in errors, where it is not the field's own

    def check(self, what: str, value: object) -> None:
        """Raise :class:`~farm.errors.UsageError` unless ``value``, which is called ``what``, is of this kind."""
        raise NotImplementedError

    def words(self, value: Any) -> str:
        """``value`` as a part of a sentence."""
        return str(value)

    def encode(self, words: list[int], value: Any) -> None:
        """Add the 32-bit words of ``value`` to the operands ``words``: one, unless a kind says otherwise."""
        words.append(value)


class Number(Field):
    """A whole number from ``least`` to ``most``, which counts ``unit`` if one is given."""

    def __init__(self, most: int = WORD, least: int = 0, unit: str = "") -> None:
        self.most, self.least, self.unit = most, least, unit

    def check(self, what: str, value: object) -> None:
        if type(value) is not int or not self.least <= value <= self.most:
            whole_number(what, value, self.most, self.least)

    def words(self, value: int) -> str:
        return counted(value, self.unit) if self.unit else str(value)


class Long(Number):
    """A number of 64 bits, or its negative: two words, the low one first."""

    def words(self, value: int) -> str:
        return str(value) if value < 1 << 16 else f"{value:#x}"

    def encode(self, words: list[int], value: int) -> None:
        words += (value & WORD, value >> 32 & WORD)


class Offset(Number):
    """Bytes behind the beginning of what was named before; most often none."""

    def words(self, value: int) -> str:
        return f", {counted(value, 'byte')} past its beginning" if value else ""


class Function(Number):
    """The number of a patchable function."""

    called = "function"

    def __init__(self) -> None:
        super().__init__(len(FUNCTIONS) - 1)

    def words(self, value: int) -> str:
        return f"whatever_{value}"


class FunctionOrAll(Function):
    """The number of a patchable function, or None for all of them."""

    def check(self, what: str, value: object) -> None:
        if value is not None:
            super().check(what, value)

    def words(self, value: int | None) -> str:
        return "every patchable function" if value is None else super().words(value)

    def encode(self, words: list[int], value: int | None) -> None:
        words.append(ALL_FUNCTIONS if value is None else value)


class Member(Field):
    """A field that holds one of some members of an enumeration, each with its words."""

    def __init__(self, valid: Iterable[enum.Enum], words: Mapping[Any, str] | None = None) -> None:
        self.valid = tuple(valid)
        self._words = words or {}
        self._type, self._valid = type(self.valid[0]), frozenset(self.valid)

    def check(self, what: str, value: object) -> None:
        if type(value) is not self._type or value not in self._valid:
            wrong(what, value, ", ".join(f"{self._type.__name__}.{member.name}" for member in self.valid))

    def words(self, value: enum.Enum) -> str:
        return self._words[value]

    def encode(self, words: list[int], value: enum.Enum) -> None:
        words.append(value._value_)


class Flag(Field):
    """True or False, each with its words."""

    def __init__(self, true: str, false: str) -> None:
        self._true, self._false = true, false

    def check(self, what: str, value: object) -> None:
        if type(value) is not bool:
            wrong(what, value, "True or False")

    def words(self, value: bool) -> str:  # noqa: FBT001 - it is what the field holds
        return self._true if value else self._false

    def encode(self, words: list[int], value: bool) -> None:  # noqa: FBT001 - likewise
        words.append(int(value))


class Nested(Field):
    """Steps inside the step: no operand, but instructions behind the last one, and sentences of their own.

    Who walks through a program checks them (:mod:`farm.scenario.check`).
    """

    def words(self, value: object) -> str:
        del value
        return ""

    def encode(self, words: list[int], value: object) -> None:
        """Add nothing."""
