"""Names and reasons come from elsewhere (arch.toml, scenarios, compilers, guests): here they are made fit for a report.

Every format has its own way to quote what means something to it; what means nothing good to any is replaced here.
"""

from __future__ import annotations

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


def line(text: str | None) -> str:
    """:func:`printable`, on one line."""
    return " ".join(printable(text).split())


def clipped(text: str, limit: int) -> str:
    """``text`` on one line, cut to ``limit`` characters."""
    text = line(text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def indented(text: str, by: str) -> list[str]:
    """The lines of ``text``, each with ``by`` before it."""
    return [f"{by}{part}".rstrip() for part in printable(text).split("\n")]
