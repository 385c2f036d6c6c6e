"""Mechanisms: how a function is made patchable, each a folder with a ``mechanism.toml`` under ``images/mechanism``.

Sources lie in the mechanism's own folder, or in ``common``, which holds what several share; what an architecture has to
supply lies in its folder under ``arch``.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from farm import paths
from farm.errors import BackendError
from farm.guest.variant import Variant
from farm.scenario import layout

_COMMON = "common"

#: Files of ``common`` that every guest has, whatever its mechanism; if it patches text; if it redirects call sites.
SHARED, SHARED_IF_TEXT, SHARED_IF_SITES = ("layer.c", "target.c"), ("text.c",), ("site_table.c",)

_OPTIONAL = "?"


@dataclass(frozen=True, kw_only=True)
class Patched:
    """``[patched]``: what a patch changes on every architecture, in words."""

    instruction: str
    store: str
    reach: str


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """A mechanism, as its ``mechanism.toml`` describes it."""

    name: str  #: of its folder
    folder: Path
    what: str  #: one line
    sources: tuple[str, ...]  #: C and asm, in the folder or in ``common``
    architecture: tuple[str, ...] = ()  #: what an architecture supplies; ``?`` behind a file that it need not have
    patches: Literal["stub", "pointer"] = "stub"  #: the region whose bytes a patch changes; ``pointer`` is data
    redirects: bool = False  #: a patch redirects call sites besides, those that kept relocations lead to
    patched: Patched | None = None  #: None: what ``arch.toml`` says of the stub

    @property
    def pokes(self) -> bool:
        """A patch stores to code; else to data alone."""
        return self.patches == "stub"

    @property
    def shared(self) -> list[str]:
        """The files of the farm's layer around the mechanism."""
        return [*SHARED, *(SHARED_IF_TEXT if self.pokes else ()), *(SHARED_IF_SITES if self.redirects else ())]

    def files(self, variant: Variant) -> list[Path]:
        """The C and asm files, those of the architecture included."""
        shared = self.folder.parent / _COMMON
        sources = [*self.shared, *self.sources]
        own = [self.folder / name if (self.folder / name).is_file() else shared / name for name in sources]
        supplied = [variant.source(name.removesuffix(_OPTIONAL)) for name in self.architecture]
        return [*own, *(path for path in supplied if path.is_file())]

    def defines(self) -> dict[str, str]:
        """Macros that tell the mechanism's sources, and those in ``common``, what its ``mechanism.toml`` says."""
        defines = {"MECHANISM_IDENTITY": str(layout.MECHANISMS[self.name])}
        defines |= {f"PROMISES_{name}": "1" for name in ("CHECKS_TARGETS", "CLOSES_TEXT")}
        if self.pokes:
            defines |= {"PROMISES_TRANSPARENT": "1", "MECHANISM_TEXT": "TEXT_ALL" if self.redirects else "TEXT_STUBS"}
        return defines

    def include(self) -> list[Path]:
        """The folders where its sources find their headers."""
        return [self.folder, self.folder.parent / _COMMON]

    def missing(self, variant: Variant) -> str | None:
        """None if the mechanism exists on ``variant``, else the reason why not."""
        required = [name for name in self.architecture if not name.endswith(_OPTIONAL)]
        absent = [name for name in required if not variant.source(name).is_file()]
        return f"{variant.architecture} has no {self.name}: no {' or '.join(absent)}" if absent else None


@functools.cache
def load() -> dict[str, Mechanism]:
    """Every mechanism by name, in the order of :data:`farm.scenario.layout.MECHANISMS`.

    Raises :class:`~farm.errors.BackendError` with file and key if one cannot be used.
    """
    folder = paths.data("images") / "mechanism"
    return {name: read(folder / name / "mechanism.toml") for name in layout.MECHANISMS}


def read(path: Path) -> Mechanism:
    """The mechanism that the ``mechanism.toml`` in ``path`` describes; raises as :func:`load`."""
    derived: dict[str, Any] = {"name": path.parent.name, "folder": path.parent}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        valid = set(Mechanism.__dataclass_fields__) - derived.keys()
        if unknown := sorted(table.keys() - valid):
            raise BackendError(f"{path}: {unknown[0]}: unknown key; valid are {', '.join(sorted(valid))}")
        return msgspec.convert({**table, **derived}, Mechanism, dec_hook=lambda _, value: value)
    except OSError as error:
        raise BackendError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BackendError(f"{path}: {error}") from None
