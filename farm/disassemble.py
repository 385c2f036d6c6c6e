"""Code in words: what patching changed, for people."""

from __future__ import annotations

import contextlib
import re
import struct
from typing import TYPE_CHECKING, Literal

from farm.errors import ImageError
from farm.scenario import FUNCTIONS

if TYPE_CHECKING:
    from farm.backend import Variant
    from farm.image import Image

_MODES = {"little": "LITTLE_ENDIAN", "big": "BIG_ENDIAN"}


def instructions(variant: Variant, data: bytes, address: int) -> list[str]:
    """``data`` at ``address``, a line an instruction; what is none (a data slot) as hexadecimal."""
    if not variant.disassembler:
        return _words(variant, data, address)
    import capstone

    arch, *modes = variant.disassembler
    mode = 0
    for name in modes:
        mode |= getattr(capstone, f"CS_MODE_{_MODES.get(name, name).upper()}")
    engine = capstone.Cs(getattr(capstone, f"CS_ARCH_{arch.upper()}"), mode)
    engine.skipdata = True
    return [
        f"{i.address:#x}: {i.bytes.hex():<20} {i.mnemonic} {i.op_str}".rstrip() for i in engine.disasm(data, address)
    ]


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


def pointers(image: Image, data: bytes, address: int) -> list[str]:
    """``data`` as the mechanism's pointers, with the functions that they name."""
    code = ("Q" if image.word_size == 8 else "I") * (len(data) // image.word_size)
    values = struct.unpack((">" if image.big_endian else "<") + code, data)
    places = range(address, address + len(data), image.word_size)
    return [f"{at:#x}: {value:#x} {_pointed(image, value)}" for at, value in zip(places, values, strict=True)]


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
    image: Image,
    variant: Variant,
    before: bytes,
    after: bytes | None,
    *,
    focus: int | None = None,
    when: str = "after the cell",
) -> list[str]:
    """The patched bytes of every function that changed, before and after, and of ``focus`` in any case.

    ``when`` says when ``after`` was read; lines that differ are marked.
    """
    start, _ = image.patched
    size = len(before) // len(FUNCTIONS)
    lines: list[str] = []
    for function in range(len(FUNCTIONS)):
        old = before[function * size : (function + 1) * size]
        new = after[function * size : (function + 1) * size] if after is not None else None
        if function != focus and (new is None or new == old):
            continue
        address = start + function * size
        linked = _lines(image, variant, old, address)
        lines.append(f"whatever_{function} as linked:")
        lines += [f"    {line}" for line in linked]
        if new == old:
            lines.append(f"whatever_{function} {when}: the same")
        elif new is None:
            lines.append(f"  {when}: not known, the guest did not live to say")
        else:
            lines.append(f"whatever_{function} {when}:")
            now = _lines(image, variant, new, address)
            lines += [f"  {'  ' if line in linked else '> '}{line}" for line in now]
    return lines or ["no patched byte differs from the linked image"]


def _lines(image: Image, variant: Variant, data: bytes, address: int) -> list[str]:
    if image.mechanism == "pointer":
        return pointers(image, data[: len(data) // image.word_size * image.word_size], address)
    return named(image, variant, data, address) + _slots(image, data, address)


def _slots(image: Image, data: bytes, address: int) -> list[str]:
    """The aligned words of ``data`` that hold a function's address, as pointers: the data slot, a literal."""
    size = image.word_size
    start = -address % size
    whole = data[start : start + (len(data) - start) // size * size]
    return [line for line in pointers(image, whole, address + start) if re.search(r" [a-z_]+\d+$", line)]


def _named(image: Image, line: str) -> str:
    """``line`` with the name of the address that it ends in, if it does and the address has one."""
    operand = re.search(r"[ ,](?:0x|\$)([0-9a-f]+)(?:\.l)?$", line)
    name = image.name_of(int(operand[1], 16)) if operand else "0x"
    return line if name.startswith("0x") else f"{line} <{name}>"
