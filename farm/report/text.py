"""Names and reasons come from elsewhere (arch.toml, scenarios, compilers, guests): here they are made fit for a report.

Every format has its own way to quote what means something to it; what means nothing good to any is replaced here.
"""

from __future__ import annotations

import functools

from farm.text import printable

__all__ = ["Once", "clipped", "indented", "line", "printable"]


@functools.lru_cache(maxsize=8192)  # names and reasons recur, in every cell of theirs
def line(text: str | None) -> str:
    """:func:`printable`, on one line."""
    return " ".join(printable(text).split())


def clipped(text: str, limit: int) -> str:
    """``text`` on one line, cut to ``limit`` characters."""
    text = line(text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


class Once:
    """Words of several lines, as compilers have them, are told whole but once, and then by their first line."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __call__(self, text: str | None) -> str | None:
        if not text or "\n" not in text or text not in self._told:
            self._told.add(text or "")
            return text
        return f"{text.partition(chr(10))[0]}: as above"


def indented(text: str, by: str) -> list[str]:
    """The lines of ``text``, each with ``by`` before it."""
    return [f"{by}{part}".rstrip() for part in printable(text).split("\n")]
