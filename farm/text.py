"""Words of others (guests, emulators, compilers, files), made fit to be shown to people."""

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
