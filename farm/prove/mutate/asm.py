"""Mutations of asm, line by line."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator

from farm.prove.mutate.operators import Mutation, Terms

_COMMENT = re.compile(rb"/\*.*?\*/|//[^\n]*", re.DOTALL)
_LABEL = re.compile(rb"\s*[\w.$\\@]+:(?!:)")
_DROPPED = re.compile(
    rb"\s*\.(balign|p2align|align|thumb_func|arm|thumb|type|option|set|machine|localentry|abiversion)\b"
)
_DATA = re.compile(rb"\s*\.(quad|8byte|long|4byte|word|int|2byte|short|byte)\b(.*)")
_NARROWER = {b"quad": b"4byte", b"8byte": b"4byte", b"long": b"2byte", b"4byte": b"2byte", b"word": b"2byte"}
_NARROWER |= {b"int": b"2byte", b"2byte": b"byte", b"short": b"byte"}
_HEX = re.compile(rb"(?<![\w.])0x([0-9a-fA-F]+)")
_DECIMAL = re.compile(rb"(?<![\w.$%\\#-])#?(\d+)(?![\w.:]|\()")
_SYMBOL = re.compile(rb"(?<![\w.%$:\\])([A-Za-z_]\w*\\n|\d+[fb])(?![\w(])")


def mutations(text: bytes, active: Container[int], terms: Terms) -> Iterator[Mutation]:
    """Every mutation of ``text`` that begins in an ``active`` line."""
    blank = _COMMENT.sub(lambda match: re.sub(rb"[^\n]", b" ", match[0]), text)
    if terms.comments:
        blank = re.sub(re.escape(terms.comments.encode()) + rb"[^\n]*", lambda m: b" " * len(m[0]), blank)
    at, before = 0, None
    for number, line in enumerate(blank.split(b"\n"), 1):
        label = _LABEL.match(line)
        skipped = label.end() if label else 0
        code = line[skipped:].rstrip()
        start = at + skipped + len(code) - len(code.lstrip())
        end = at + skipped + len(code)
        is_instruction = code.strip() != b"" and not code.lstrip().startswith((b".", b"#")) and not _is_macro(code)
        if number in active and code.strip():
            found = (
                _instruction(text[start:end], start, terms) if is_instruction else _directive(text[start:end], start)
            )
            for operator, first, last, replacement in found:
                if text[first:last] != replacement:
                    yield Mutation(operator, number, number, first, last, replacement)
            if is_instruction and before and not label:
                swapped = text[start:end] + text[before[1] : start] + text[before[0] : before[1]]
                yield Mutation("swap-instructions", number - 1, number, before[0], end, swapped)
        before = (start, end) if is_instruction and number in active else None
        at += len(line) + 1


def _is_macro(code: bytes) -> bool:
    """A line that is one word in capitals: what it stands for is mutated where it is defined."""
    return re.fullmatch(rb"\s*[A-Z_]{4,}", code) is not None


_Found = tuple[str, int, int, bytes]


def _instruction(code: bytes, start: int, terms: Terms) -> Iterator[_Found]:
    end = start + len(code)
    yield "drop-instruction", start, end, b""
    yield "duplicate-instruction", start, end, code + b"\n    " + code
    mnemonic = code.split()[0]
    for call, jump in terms.links:
        if mnemonic == call.encode():
            yield "lost-link", start, start + len(mnemonic), jump.encode()
    for pattern, always in terms.conditions:
        if (match := re.fullmatch(pattern.encode(), mnemonic)) is not None:
            yield "lost-condition", start, start + len(mnemonic), match.expand(always.encode())
    for pattern, other in terms.registers:
        for match in re.finditer(pattern.encode(), code):
            yield "clobber-register", start + match.start(), start + match.end(), match.expand(other.encode())
    yield from _constants(code, start)
    for match in _SYMBOL.finditer(code, len(mnemonic)):
        yield "shift-displacement", start + match.start(), start + match.end(), b"%b + %d" % (match[1], terms.unit)


def _directive(code: bytes, start: int) -> Iterator[_Found]:
    if _DROPPED.match(code):
        yield "drop-directive", start, start + len(code), b""
    data = _DATA.match(code)
    if data:
        yield from _constants(code, start)
        at = start + code.index(data[1])
        if data[1] in _NARROWER:
            yield "narrow-store", at, at + len(data[1]), _NARROWER[data[1]]
        for match in _SYMBOL.finditer(code):
            yield "shift-displacement", start + match.start(), start + match.end(), b"%b + 4" % match[1]


def _constants(code: bytes, start: int) -> Iterator[_Found]:
    for match in _HEX.finditer(code):
        value = int(match[1], 16)
        for bit in dict.fromkeys((0, max(value.bit_length() - 1, 0))):
            flipped = b"0x%0*x" % (len(match[1]), value ^ 1 << bit)
            yield "flip-bit", start + match.start(), start + match.end(), flipped
    for match in _DECIMAL.finditer(code):
        value = int(match[1])
        for other in (value + 1, value - 1):
            if other >= 0:
                yield "off-by-one", start + match.start(1), start + match.end(1), b"%d" % other
