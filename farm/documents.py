"""Documents: files of JSON that the farm writes for itself to read."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from farm.errors import UNREADABLE, UsageError

T = TypeVar("T")


def read(path: Path, kind: type[T], what: str, schema: int | None = None) -> T | None:
    """The document in ``path``, a ``kind``; None if there is no such file.

    ``what`` names one in an error, as in "a plan"; ``schema`` is the one that its field of that name must have.

    Raises :class:`~farm.errors.UsageError` if the file cannot be read or is something else.
    """
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        found = msgspec.json.decode(body, type=kind)
    except UNREADABLE as error:
        raise UsageError(f"{path}: not {what} of the farm's: {error}") from None
    if schema is not None and (other := getattr(found, "schema")) != schema:  # noqa: B009 - no type says that it has one
        raise UsageError(f"{path}: {what} of schema {other}; this farm reads {schema}")
    return found
