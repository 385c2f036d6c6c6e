"""The architectures: ``arch/*/arch.toml`` read into variants (:mod:`farm.guest.variant`).

One file describes one architecture and its variants.  Everything in it is checked when it is read; a mistake is
reported with the file, the key, what was found and what is valid.
"""

from __future__ import annotations

import functools
import tomllib
import typing
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from farm import paths
from farm.cell import EngineName
from farm.errors import BackendError
from farm.guest.contradictions import contradictions
from farm.guest.variant import GccSettings, QemuUserSettings, Unavailable, UnicornSettings, Variant, ZigSettings
from farm.text import printable

_ENGINE_TABLES: dict[str, type] = {"qemu-user": QemuUserSettings, "unicorn": UnicornSettings}
_TOOLCHAIN_TABLES: dict[str, type] = {"zig": ZigSettings, "gcc": GccSettings}

_DERIVED = {"name", "architecture", "folder"}


def load_folder(folder: Path) -> list[Variant]:
    """The variants that ``folder/arch.toml`` describes.

    Raises :class:`~farm.errors.BackendError` for anything in it that is not as it should be.
    """
    path = folder / "arch.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BackendError(f"{path}: no such file; an architecture is a folder with an arch.toml") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BackendError(f"{path}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise BackendError(f"{path}: not valid TOML: {error}") from None
    unknown = set(document) - {"variant"}
    if unknown or not isinstance(document.get("variant"), dict) or not document["variant"]:
        found = f"key {min(unknown)!r}" if unknown else "no variant"
        raise BackendError(f"{path}: {found}; expected one or more tables [variant.NAME] and nothing else")
    return [_variant(path, name, table) for name, table in document["variant"].items()]


def _variant(path: Path, name: str, table: object) -> Variant:
    key = f"variant.{name}"
    if not isinstance(table, dict):
        raise BackendError(f"{path}: {key}: expected a table, found {table!r}")
    table = dict(table)
    toolchains = _subtables(path, f"{key}.toolchain", table.pop("toolchain", {}), tuple(_TOOLCHAIN_TABLES))
    engines = _subtables(path, f"{key}.engine", table.pop("engine", {}), tuple(_ENGINE_TABLES))
    derived = {
        "name": name,
        "architecture": printable(path.parent.name),
        "folder": path.parent,
        "toolchain": {
            tool: _convert(path, f"{key}.toolchain.{tool}", settings, _TOOLCHAIN_TABLES[tool])
            for tool, settings in toolchains.items()
        },
        "engine": {
            engine: _convert(
                path,
                f"{key}.engine.{engine}",
                settings,
                Unavailable if "unavailable" in settings else _ENGINE_TABLES[EngineName.of(engine).engine],
            )
            for engine, settings in engines.items()
        },
    }
    variant: Variant = _convert(path, key, table, Variant, derived)
    for where, why in contradictions(variant):
        raise BackendError(f"{path}: {key}{'.' if where else ''}{where}: {why}")
    return variant


def _subtables(path: Path, key: str, table: object, valid: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    if not isinstance(table, dict) or not all(isinstance(value, dict) for value in table.values()):
        raise BackendError(f"{path}: {key}: expected tables [{key}.NAME]")
    for name in table:
        if EngineName.of(name).engine not in valid:
            raise BackendError(f"{path}: {key}.{name}: unknown name; valid are {', '.join(valid)}")
    return table


def _convert(path: Path, key: str, table: dict[str, Any], cls: type, derived: dict[str, Any] | None = None) -> Any:
    """``table`` as a ``cls``, with every complaint naming the file and the key."""
    derived = derived or {}
    hints = typing.get_type_hints(cls)
    expected = {f.name: f for f in fields(cls) if f.name not in derived}
    for name in table:
        if name not in expected:
            raise BackendError(f"{path}: {key}.{name}: unknown key; valid are {', '.join(expected)}")
    values: dict[str, Any] = dict(derived)
    for name, f in expected.items():
        if name in table and (table[name] != "" or f.default == ""):
            values[name] = _value(path, f"{key}.{name}", table[name], hints[name])
        elif name in table:
            raise BackendError(f"{path}: {key}.{name}: '' found; expected {_describe(hints[name])} that is not empty")
        elif f.default is MISSING and f.default_factory is MISSING:
            raise BackendError(f"{path}: {key}.{name}: missing; expected {_describe(hints[name])}")
    return cls(**values)


def _value(path: Path, key: str, value: object, hint: Any) -> Any:
    """``value`` as a ``hint``; of tables, and of lists of tables, every key is checked."""
    arguments = typing.get_args(hint)
    table = next((of for of in (hint, *arguments) if is_dataclass(of)), None)
    if typing.get_origin(hint) is tuple and table and isinstance(value, list):
        return tuple(_value(path, f"{key}[{number}]", each, table) for number, each in enumerate(value))
    if table and isinstance(value, dict):
        return _convert(path, key, value, typing.cast("type", table))
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError:
        raise BackendError(f"{path}: {key}: {value!r} found; expected {_describe(hint)}") from None


def _describe(hint: Any) -> str:
    """A type in the words of a TOML file."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(repr(value) for value in arguments)
    if typing.get_origin(hint) is tuple:
        return f"a list, each {_describe(arguments[0])}"
    if is_dataclass(hint):
        return f"a table of {', '.join(f.name for f in fields(hint))}"
    if arguments:  # X | None
        return _describe(arguments[0])
    return {int: "an integer", str: "a string", bool: "true or false"}[hint]


@functools.cache
def load(extra: tuple[Path, ...] = ()) -> dict[str, Variant]:
    """Every variant by name: the farm's own architectures, then those in ``extra`` folders.

    An extra folder is one architecture, or holds several.
    """
    folders = [path.parent for path in sorted(paths.data("arch").glob("*/arch.toml"))]
    for path in extra:
        if (path / "arch.toml").exists():
            folders.append(path)
        else:
            inner = [toml.parent for toml in sorted(path.glob("*/arch.toml"))]
            if not inner:
                raise BackendError(f"{path}: no arch.toml there, nor in a folder below it")
            folders += inner
    variants: dict[str, Variant] = {}
    for folder in folders:
        for variant in load_folder(folder.resolve()):
            if variant.name in variants:
                raise BackendError(
                    f"{folder / 'arch.toml'}: variant.{variant.name}: already defined in "
                    f"{variants[variant.name].folder / 'arch.toml'}"
                )
            variants[variant.name] = variant
    return variants
