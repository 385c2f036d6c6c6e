"""Code in words: what patching changed, for people."""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from farm.errors import ImageError
from farm.scenario import FUNCTIONS

if TYPE_CHECKING:
    from farm.guest.image import Image
    from farm.guest.variant import Variant

_MODES = {"little": "LITTLE_ENDIAN", "big": "BIG_ENDIAN"}


#: Branches that may go on behind themselves, as capstone writes them, by its architectures.  Of one that is not here,
#: as sh whose literals lie in the code unmarked, nobody can tell.
_CONDITIONAL = {
    "aarch64": r"b\.|[ct]bn?z",
    "arm": r"(bx?|(pop|ldm\w*)(?=.*\bpc\b))(eq|ne|hs|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)\b|cbn?z",
    "loongarch": r"b(eq|ne|lt|ge|ltu|geu|eqz|nez|ceqz|cnez)\b",
    "m68k": r"b(hi|ls|cc|cs|ne|eq|vc|vs|pl|mi|ge|lt|gt|le)\.",
    "mips": r"b(eq|ne|lez|gtz|ltz|gez|eqz|nez|c1t|c1f)l?\b",
    "ppc": r"b(t|f|dn?z|eq|ne|lt|gt|le|ge|so|ns|un|nu)(lr|ctr)?\b",
    "riscv": r"(c\.)?b(eq|ne|lt|ge|gt|le)u?z?\b",
    "sparc": r"(f?b(n?e|gu?|leu?|ge|l|cc|cs|pos|neg|vc|vs)|br(n?z|lez|lz|gz|gez))\b",
    "systemz": r"(jg?|b(?=\w+r\b))n?(o|h|l|e|z|m|p|lh|he|le)r?\b|cl?g?[ir][jb]|brctg?\b",
    "x86": r"j(?!mp)",
}


class Instruction(NamedTuple):
    """One that was decoded."""

    address: int
    data: bytes
    text: str


def decoded(variant: Variant, data: bytes, address: int) -> Iterator[Instruction]:
    """``data`` at ``address``, which has a disassembler; what is no instruction is a directive."""
    import capstone

    arch, *modes = variant.disassembler
    mode = 0
    for name in modes:
        mode |= getattr(capstone, f"CS_MODE_{_MODES.get(name, name).upper()}")
    engine = capstone.Cs(getattr(capstone, f"CS_ARCH_{arch.upper()}"), mode)
    engine.skipdata = True
    for i in engine.disasm(data, address):
        text = f"{i.mnemonic} {i.op_str}".rstrip()
        yield Instruction(i.address, bytes(i.bytes), _alpha(i, text) if arch == "alpha" else text)


def _alpha(instruction: Any, text: str) -> str:
    """``text`` with where the branch leads (Alpha Architecture Handbook, 4.3), if it is one.

    Capstone 6.0.0a11 takes the 21-bit displacement for one of 16 bits, so what lies further back comes out wrong.
    """
    word = int.from_bytes(instruction.bytes, "little")
    if word >> 26 < 0x30:  # BR, the first of the branch format's opcodes
        return text
    displacement = (word & 0xFFFFF) - (word & 0x100000)
    return f"{text.rpartition(',')[0]},{instruction.address + 4 + 4 * displacement:#x}"


def tells_branches(variant: Variant) -> bool:
    """:func:`is_conditional` knows the instructions of ``variant``."""
    return variant.disassembler[:1] != () and variant.disassembler[0] in _CONDITIONAL


def is_conditional(variant: Variant, instruction: Instruction) -> bool:
    """The instruction is a branch that may go on behind itself."""
    return re.match(_CONDITIONAL[variant.disassembler[0]], instruction.text) is not None


def instructions(variant: Variant, data: bytes, address: int) -> list[str]:
    """``data`` at ``address``, a line an instruction; what is none (a data slot) as hexadecimal."""
    if not variant.disassembler:
        return _words(variant, data, address)
    return [f"{i.address:#x}: {i.data.hex():<20} {i.text}" for i in decoded(variant, data, address)]


def named(image: Image, variant: Variant, data: bytes, address: int) -> list[str]:
    """As :func:`instructions`, with the name of what each jumps to, if it has one: ``b 0x1002f60 <fast_0>``."""
    return [_named(image, line) for line in instructions(variant, data, address)]


def _words(variant: Variant, data: bytes, address: int) -> list[str]:
    """``data`` for an architecture that has no disassembler: in words of 32 bits."""
    words = (data[offset : offset + 4] for offset in range(0, len(data), 4))
    return [
        f"{address + 4 * i:#x}: {int.from_bytes(word, variant.byte_order):#0{2 + 2 * len(word)}x}"
        for i, word in enumerate(words)
    ]


def pointers(variant: Variant, data: bytes, address: int, image: Image | None) -> list[str]:
    """``data`` as the mechanism's pointers, with the functions that they name if the image is there to tell."""
    code = ("Q" if variant.word_size == 8 else "I") * (len(data) // variant.word_size)
    values = struct.unpack((">" if variant.big_endian else "<") + code, data)
    places = range(address, address + len(data), variant.word_size)
    return [
        f"{at:#x}: {value:#x} {_pointed(image, value) if image else ''}".rstrip()
        for at, value in zip(places, values, strict=True)
    ]


def _pointed(image: Image, value: int) -> str:
    """The function that ``value`` is the address of: of its code, or of its descriptor."""
    name = image.name_of(value)
    with contextlib.suppress(ImageError):
        if value not in image.functions.values():
            order: Literal["big", "little"] = "big" if image.big_endian else "little"
            entry = int.from_bytes(image.bytes_at(value, image.word_size), order)
            name = image.name_of(entry) if entry in image.functions.values() else name
    return name


def patched(
    variant: Variant,
    mechanism: str,
    start: int,
    before: bytes,
    after: bytes | None,
    *,
    image: Image | None = None,
    focus: int | None = None,
    when: str = "after the cell",
) -> list[str]:
    """The patched bytes (at ``start``) of every function that changed, before and after, and of ``focus`` in any case.

    ``when`` says when ``after`` was read; lines that differ are marked.  Names are those of ``image``.
    """
    size = len(before) // len(FUNCTIONS)
    lines: list[str] = []
    for function in range(len(FUNCTIONS)):
        old = before[function * size : (function + 1) * size]
        new = after[function * size : (function + 1) * size] if after is not None else None
        if function != focus and (new is None or new == old):
            continue
        address = start + function * size
        linked = _lines(variant, mechanism, old, address, image)
        lines.append(f"whatever_{function} as linked:")
        lines += [f"    {line}" for line in linked]
        if new == old:
            lines.append(f"whatever_{function} {when}: the same")
        elif new is None:
            lines.append(f"whatever_{function} {when}: not known, the guest did not live to say")
        else:
            lines.append(f"whatever_{function} {when}:")
            now = _lines(variant, mechanism, new, address, image)
            lines += [f"  {'  ' if line in linked else '> '}{line}" for line in now]
    return lines or ["no patched byte differs from the linked image"]


def _lines(variant: Variant, mechanism: str, data: bytes, address: int, image: Image | None) -> list[str]:
    if mechanism == "pointer":
        return pointers(variant, data[: len(data) // variant.word_size * variant.word_size], address, image)
    if image is None:
        return instructions(variant, data, address)
    lines: list[str] = []
    at = 0
    for offset, slot in _slots(variant, data, address, image):
        lines += [*named(image, variant, data[at:offset], address + at), slot]
        at = offset + variant.word_size
    return [*lines, *named(image, variant, data[at:], address + at)]


def _slots(variant: Variant, data: bytes, address: int, image: Image) -> list[tuple[int, str]]:
    """The aligned words of ``data`` that hold a function's address, as pointers: the data slot, a literal."""
    size = variant.word_size
    start = -address % size
    whole = data[start : start + (len(data) - start) // size * size]
    lines = pointers(variant, whole, address + start, image)
    return [(start + i * size, line) for i, line in enumerate(lines) if re.search(r" [a-z_]+\d+$", line)]


def _named(image: Image, line: str) -> str:
    """``line`` with the name of the address that it ends in, if it does and the address has one.

    On hppa what a branch links to comes behind it: ``b,l 0x1030000, rp``.
    """
    operand = re.search(r"[ ,](?:0x|\$)([0-9a-f]+)(?:\.l|, r[0p])?$", line)
    name = image.name_of(int(operand[1], 16)) if operand else "0x"
    return line if name.startswith("0x") else f"{line} <{name}>"
