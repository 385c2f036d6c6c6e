"""What ``farm list`` shows: rows of what there is, each a dictionary with a ``name``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from farm import backend, scenarios
from farm.backend import MECHANISM_FILES
from farm.controls import CONTROLS
from farm.engines import engines
from farm.errors import MissingToolError, UnknownNameError
from farm.toolchain import TOOLCHAINS


def rows(what: str, arch_path: tuple[Path, ...] = (), scenario_path: tuple[Path, ...] = ()) -> list[dict[str, Any]]:
    """Everything of the kind ``what``.  Raises :class:`~farm.errors.UnknownNameError` if there is no such kind."""
    makers: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "variants": lambda: _variants(arch_path),
        "mechanisms": _mechanisms,
        "engines": _engines,
        "toolchains": lambda: _toolchains(arch_path),
        "scenarios": lambda: _scenarios(scenario_path),
        "controls": _controls,
    }
    if what not in makers:
        raise UnknownNameError("list", what, makers)
    return makers[what]()


def brief(value: object) -> str:
    """A value of a row on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _variants(arch_path: tuple[Path, ...]) -> list[dict[str, Any]]:
    rows = []
    for v in backend.load(arch_path).values():
        holes = {name: engine.hole(v) for name, engine in engines().items()}
        rows.append(
            {
                "name": v.name,
                "architecture": v.architecture,
                "bits": v.bits,
                "byte_order": v.byte_order,
                "mechanisms": [name for name in MECHANISM_FILES if not v.supports(name)],
                "toolchains": list(v.toolchain),
                "engines": {name: hole.reason if hole else "ready" for name, hole in holes.items()},
            }
        )
    return rows


def _mechanisms() -> list[dict[str, Any]]:
    return [
        {"name": "pointer", "what": "a C function loads its target once, tests it for NULL and calls it"},
        {"name": "stub", "what": "one jump in asm, poked in place; far targets go through a data slot beside it"},
    ]


def _engines() -> list[dict[str, Any]]:
    return [{"name": name, "blind_to": sorted(map(str, engine.blind_to))} for name, engine in engines().items()]


def _toolchains(arch_path: tuple[Path, ...]) -> list[dict[str, Any]]:
    rows = []
    for name, toolchain in TOOLCHAINS.items():
        versions: dict[str, str] = {}
        for v in backend.load(arch_path).values():
            if name in v.toolchain:
                try:
                    versions[v.name] = toolchain.version(v)
                except MissingToolError as error:
                    versions[v.name] = str(error)
        rows.append({"name": name, "variants": versions})
    return rows


def _scenarios(scenario_path: tuple[Path, ...]) -> list[dict[str, Any]]:
    return [
        {
            "name": s.name,
            "id": s.id,
            "title": s.title,
            "detects": sorted(map(str, s.detects)),
            "mechanisms": [m for m in MECHANISM_FILES if not s.only or m in s.only[0]],
            "tags": sorted(s.tags),
            "bugs": list(s.bugs),
        }
        for s in scenarios.load(scenario_path).values()
    ]


def _controls() -> list[dict[str, Any]]:
    return [
        {
            "name": c.name,
            "defect": str(c.defect),
            "what": c.what,
            "probe": c.probe,
            "mechanisms": sorted(c.mechanisms),
        }
        for c in CONTROLS.values()
    ]
