"""Words of others (guests, emulators, compilers, files), made fit to be shown, and to be typed into a shell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

_REPLACEMENT = "\ufffd"


def printable(text: str | None) -> str:
    """``text`` with its lines and tabs, but nothing else that acts instead of being seen.

    Control characters, lone surrogates, marks that turn the direction of writing, line separators other than the
    newline: each becomes U+FFFD.
    """
    text = text or ""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else _REPLACEMENT for c in text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """``text`` without the ends of its lines."""
    return " ".join(line.strip() for line in text.splitlines())


def counted(number: int, noun: str, plural: str = "") -> str:
    """``number`` of what ``noun`` names: ``1 cell``, ``2,000 cells``; ``plural`` if it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def quoted(path: Path | str) -> str:
    """``path`` as one word of a shell; if people could not read it, of one that knows ``$'...'`` (POSIX 2024).

    A name of a file may have bytes that are no UTF-8: Python has a lone surrogate for each (PEP 383).
    """
    name = str(path)
    if name.isprintable():
        return shlex.quote(name)
    word = "".join(chr(b) if 32 <= b < 127 and b not in b"'\\" else f"\\{b:03o}" for b in os.fsencode(name))
    return f"$'{word}'"


def command_line(words: Iterable[str]) -> str:
    """A command as one types it into a shell."""
    return " ".join(map(quoted, words))
