"""Tables of a TOML file as dataclasses, every key checked: shared by ``arch.toml`` and ``mechanism.toml``.

A mistake is an error of the caller's, which is given the dotted key and what is wrong there: what was found and what is
valid.
"""

from __future__ import annotations

import functools
import tomllib
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from farm.errors import BackendError

_Record = TypeVar("_Record")

#: Makes an error of a dotted key and of what is wrong there.
Complaint = Callable[[str, str], Exception]


def document_in(path: Path, expected: str) -> dict[str, Any]:
    """The document in ``path``; ``expected`` says, if there is no such file, what it belongs to.

    Raises :class:`~farm.errors.BackendError`.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BackendError(f"{path}: no such file; {expected}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BackendError(f"{path}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise BackendError(f"{path}: not valid TOML: {error}") from None


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """Types of the fields of ``cls``; evaluated once, for that takes longer than all the rest."""
    return typing.get_type_hints(cls)


def convert(
    table: dict[str, Any],
    cls: type[_Record],
    error: Complaint,
    key: str = "",
    derived: dict[str, Any] | None = None,
) -> _Record:
    """``table``, which is at ``key``, as a ``cls``; ``derived`` are fields that no file may have.

    Raises what ``error`` makes.
    """
    derived, prefix = derived or {}, f"{key}." if key else ""
    hints = _hints(cls)  # type: ignore[arg-type]  # a class can be hashed
    expected = {f.name: f for f in fields(cls) if f.name not in derived}  # type: ignore[arg-type]
    for name in table:
        if name not in expected:
            raise error(f"{prefix}{name}", f"unknown key; valid are {', '.join(expected)}")
    values: dict[str, Any] = dict(derived)
    for name, f in expected.items():
        if name in table:
            at, hint = f"{prefix}{name}", hints[name]
            if f.default != table[name]:
                _check_filled(at, table[name], hint, error)
            values[name] = _value(at, table[name], hint, error)
        elif f.default is MISSING and f.default_factory is MISSING:
            raise error(f"{prefix}{name}", f"missing; expected {_describe(hints[name])}")
    return cls(**values)


def filled(key: str, value: object, error: Complaint) -> str:
    """``value`` if it is a line of text.  Raises what ``error`` makes."""
    _check_filled(key, value, str, error)
    return typing.cast("str", _value(key, value, str, error))


def _check_filled(key: str, value: object, hint: Any, error: Complaint) -> None:
    if isinstance(value, str) and not value.strip():
        raise error(key, f"{value!r} found; expected {_describe(hint)} that is not empty")


def _value(key: str, value: object, hint: Any, error: Complaint) -> Any:
    """``value`` as a ``hint``; of tables, and of lists of tables, every key is checked."""
    arguments, origin = typing.get_args(hint), typing.get_origin(hint)
    table = next((of for of in (hint, *arguments) if is_dataclass(of)), None)
    if origin is tuple and table and isinstance(value, list):
        return tuple(_value(f"{key}[{number}]", each, table, error) for number, each in enumerate(value))
    if origin is frozenset and isinstance(value, list):
        return frozenset(_value(f"{key}[{number}]", each, arguments[0], error) for number, each in enumerate(value))
    if origin is Mapping and table and isinstance(value, dict):
        return {name: _value(f"{key}.{name}", each, table, error) for name, each in value.items()}
    if origin is Mapping and isinstance(value, dict):
        return {name: filled(f"{key}.{name}", each, error) for name, each in value.items()}
    if table and isinstance(value, dict):
        return convert(value, typing.cast("type", table), error, key)
    try:
        converted = msgspec.convert(value, hint)
    except msgspec.ValidationError:
        raise error(key, f"{value!r} found; expected {_describe(hint)}") from None
    for text in (value,) if isinstance(value, str) else value if isinstance(value, list) else ():
        if isinstance(text, str) and not text.isprintable():
            raise error(key, f"{text!r} found; expected text without control characters")
    return converted


def _describe(hint: Any) -> str:
    """A type in the words of a TOML file."""
    arguments, origin = typing.get_args(hint), typing.get_origin(hint)
    if origin is Literal:
        return "one of " + ", ".join(repr(value) for value in arguments)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "one of " + ", ".join(repr(member.value) for member in hint)
    if origin in (tuple, frozenset):
        return f"a list, each {_describe(arguments[0])}"
    if origin is Mapping and is_dataclass(arguments[1]):
        return f"tables, each {_describe(arguments[1])}"
    if origin is Mapping:
        return f"for each NAME {_describe(arguments[1])}" if is_dataclass(arguments[1]) else 'a table of NAME = "..."'
    if is_dataclass(hint):
        return f"a table of {', '.join(f.name for f in fields(hint))}"
    if arguments:  # X | None
        return _describe(arguments[0])
    return {int: "an integer", str: "a string", bool: "true or false"}[hint]
