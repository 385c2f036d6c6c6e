"""A table that some other command has measured and the report shows: calibration, proofs, mutants."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from farm import documents

#: Names that a table may have; its file is ``NAME.json`` in the output folder.
NAMES = ("calibration", "engines", "proof", "mutation")

State = Literal["good", "weak", "bad", "none"]


class Field(msgspec.Struct, frozen=True):
    """One field, and how it is to be seen."""

    text: str
    state: State = "none"


class Table(msgspec.Struct, frozen=True):
    """Rows under columns, with what is to be said of the whole beneath."""

    name: str
    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Field, ...], ...]
    notes: tuple[str, ...] = ()


def found(folder: Path) -> list[Table]:
    """The tables in an output folder.

    Raises :class:`~farm.errors.UsageError` if one of their files is something else.
    """
    tables = (documents.read(folder / f"{name}.json", Table, "a table") for name in NAMES)
    return [made for made in tables if made is not None]
