"""Which lines and branches of the guest's own patch code the suite reaches."""

from __future__ import annotations

import msgspec

SCHEMA = 1


class Branch(msgspec.Struct, frozen=True, array_like=True):
    """One way out of a conditional branch in ``line``; ``number`` counts the ways of that line from 0."""

    line: int
    number: int
    taken: int  #: times


class Source(msgspec.Struct, frozen=True):
    """A file of the guest's."""

    path: str  #: from the root of the project: ``arch/arm64/patch.c``
    lines: dict[int, int]  #: times that each line with code was reached
    branches: tuple[Branch, ...] = ()
    excused: dict[int, str] = {}  #: lines that the suite cannot reach, and why


class Unit(msgspec.Struct, frozen=True):
    """What was measured of one guest, or why nothing was."""

    variant: str
    mechanism: str
    toolchain: str
    engine: str | None
    sources: tuple[Source, ...] = ()
    reason: str | None = None  #: why it was not measured


class Coverage(msgspec.Struct, frozen=True):
    """``coverage.json``."""

    schema: int
    farm: str
    units: tuple[Unit, ...]
