"""The architectures: ``arch/*/arch.toml`` read into variants (:mod:`farm.guest.variant`).

One file describes one architecture: in ``[variant.NAME]`` each variant, in ``[common]`` what they share.  A variant's
own value overrules the common one; tables are merged key by key, lists are replaced.  Everything is checked when it is
read; a mistake is reported with the file, the key as it was written, what was found and what is valid.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from farm import paths
from farm.cell import EngineName
from farm.errors import BackendError
from farm.guest.contradictions import contradictions
from farm.guest.toml_table import convert, document_in, filled
from farm.guest.variant import (
    GccSettings,
    NativeSettings,
    QemuSystemSettings,
    QemuUserSettings,
    Unavailable,
    UnicornSettings,
    Variant,
    ZigSettings,
)
from farm.text import printable

_ENGINE_TABLES: dict[str, type] = {
    "qemu-user": QemuUserSettings,
    "unicorn": UnicornSettings,
    "native": NativeSettings,
    "qemu-system": QemuSystemSettings,
}
_TOOLCHAIN_TABLES: dict[str, type] = {"zig": ZigSettings, "gcc": GccSettings}


@dataclass(frozen=True)
class _Source:
    """Tables of an ``arch.toml`` about one variant: the variant's own, and ``[common]``, which it overrules.

    Keys are dotted, as in ``engine.unicorn.mode``, and begin inside these tables.
    """

    path: Path
    name: str  #: the variant's
    own: dict[str, Any]
    common: dict[str, Any]

    @classmethod
    def of(cls, path: Path, name: str, own: dict[str, Any], common: dict[str, Any]) -> _Source:
        """The source of the variant ``name``, without what is common of engines for which ``own`` decides."""
        held = dict(common)
        for table, other in (("engine", "unavailable"), ("unavailable", "engine")):
            if isinstance(common.get(table), dict) and isinstance(own.get(other), dict):
                held[table] = {engine: value for engine, value in common[table].items() if engine not in own[other]}
        return cls(path, name, own, held)

    @functools.cached_property
    def own_keys(self) -> frozenset[str]:
        return frozenset(key for key, _ in _walk(self.own))

    @functools.cached_property
    def common_keys(self) -> frozenset[str]:
        return frozenset(key for key, _ in _walk(self.common))

    def inherits(self, key: str) -> bool:
        """The variant has what ``[common]`` says of ``key``."""
        return key in self.common_keys and key not in self.own_keys

    def place(self, key: str) -> str:
        """The key as it was written, ``variant.arm.page`` or ``common.page``; the former if it is nowhere."""
        return f"{'common' if self.inherits(key.partition('[')[0]) else f'variant.{self.name}'}{key and f'.{key}'}"

    def error(self, key: str, why: str) -> BackendError:
        return BackendError(f"{self.path}: {self.place(key)}: {why}")

    def variant(self) -> Variant:
        table = _merged(self.common, self.own)
        toolchains = self._tables("toolchain", table.pop("toolchain", {}), _TOOLCHAIN_TABLES)
        engines = self._tables("engine", table.pop("engine", {}), _ENGINE_TABLES)
        unavailable = self._reasons(table.pop("unavailable", {}))
        derived = {
            "name": self.name,
            "architecture": printable(self.path.parent.name),
            "siblings": (),
            "folder": self.path.parent,
            "toolchain": {name: toolchains[name] for name in _TOOLCHAIN_TABLES if name in toolchains},
            "engine": dict(sorted({**engines, **unavailable}.items())),
        }
        variant = convert(table, Variant, self.error, derived=derived)
        for key, why in contradictions(variant):
            raise self.error(key, why)
        return variant

    def _tables(self, key: str, tables: object, classes: dict[str, type]) -> dict[str, Any]:
        """``[KEY.NAME]`` for each name, as the class that belongs to it; an engine's name may have a profile."""
        if not isinstance(tables, dict):
            raise self.error(key, f"{tables!r} found; expected tables [{self.place(key)}.NAME]")
        settings: dict[str, Any] = {}
        for name, table in tables.items():
            cls = classes.get(EngineName.of(name).engine if key == "engine" else name)
            if cls is None:
                raise self.error(f"{key}.{name}", f"unknown name; valid are {', '.join(classes)}")
            if not isinstance(table, dict):
                raise self.error(f"{key}.{name}", f"{table!r} found; expected a table")
            if "unavailable" in table:
                raise self.error(f"{key}.{name}.unavailable", f'unknown key; write it as unavailable."{name}"')
            settings[name] = convert(table, cls, self.error, f"{key}.{name}")
        return settings

    def _reasons(self, table: object) -> dict[str, Unavailable]:
        """Reasons in the table ``unavailable``, by the engine's name, which may have a profile."""
        if not isinstance(table, dict):
            raise self.error("unavailable", f'{table!r} found; expected a table of ENGINE = "why it cannot run it"')
        reasons = {}
        for name, why in table.items():
            key = f"unavailable.{name}"
            if EngineName.of(name).engine not in _ENGINE_TABLES:
                raise self.error(key, f"unknown name; valid are {', '.join(_ENGINE_TABLES)}")
            reasons[name] = Unavailable(unavailable=filled(key, why, self.error))
        return reasons


def load_folder(folder: Path) -> list[Variant]:
    """The variants that ``folder/arch.toml`` describes.

    Raises :class:`~farm.errors.BackendError` for anything in it that is not as it should be.
    """
    path = folder / "arch.toml"
    common, tables = _read(path)
    sources = [_Source.of(path, name, table, common) for name, table in tables.items()]
    variants = [replace(source.variant(), siblings=tuple(tables)) for source in sources]
    for key, value in _walk(common):
        if not isinstance(value, dict) and not any(source.inherits(key) for source in sources):
            raise BackendError(f"{path}: common.{key}: no variant has it, for each says otherwise; leave it out here")
    return variants


def place(variant: Variant, key: str) -> str:
    """The file and the key that hold ``key`` of ``variant``: ``.../arch.toml: common.engine.unicorn.mode``."""
    path = variant.folder / "arch.toml"
    common, tables = _read(path)
    return f"{path}: {_Source.of(path, variant.name, tables[variant.name], common).place(key)}"


def _read(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The table ``[common]`` of an ``arch.toml``, empty if there is none, and that of each variant."""
    document = document_in(path, "an architecture is a folder with an arch.toml")
    common, variants = document.pop("common", {}), document.pop("variant", None)
    if document or not isinstance(variants, dict) or not variants:
        unexpected = f"key {min(document)!r}" if document else "no variant"
        raise BackendError(
            f"{path}: {unexpected}; expected one or more tables [variant.NAME], [common] for what they share, and "
            "nothing else"
        )
    for key, table in (("common", common), *((f"variant.{name}", table) for name, table in variants.items())):
        if not isinstance(table, dict):
            raise BackendError(f"{path}: {key}: expected a table, found {table!r}")
        engines, reasons = table.get("engine"), table.get("unavailable")
        if isinstance(engines, dict) and isinstance(reasons, dict):
            for name in engines.keys() & reasons.keys():
                raise BackendError(f"{path}: {key}.unavailable.{name}: found beside {key}.engine.{name}; expected one")
    return common, variants


def _walk(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Each dotted key of ``table`` and of the tables in it, with its value."""
    for name, value in table.items():
        yield f"{prefix}{name}", value
        if isinstance(value, dict):
            yield from _walk(value, f"{prefix}{name}.")


def _merged(common: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """``common`` with what ``own`` says instead; tables are merged key by key."""
    tables = {
        name: _merged(common[name], value)
        for name, value in own.items()
        if isinstance(value, dict) and isinstance(common.get(name), dict)
    }
    return {**common, **own, **tables}


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
