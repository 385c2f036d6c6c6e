"""Code in words: what patching changed, for people."""

from __future__ import annotations

import contextlib
import functools
import re
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from farm.errors import ImageError
from farm.scenario import FUNCTIONS

if TYPE_CHECKING:
    from farm.guest.image import Image
    from farm.guest.mechanisms import Mechanism
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
    """An instruction that was decoded, or a word where nothing can decode one."""

    address: int
    data: bytes
    text: str


class Pointer(NamedTuple):
    """An address in memory."""

    address: int  #: where it lies
    value: int
    name: str  #: of the function that it names, or its value if it names none; empty if no image is there to tell

    @property
    def text(self) -> str:
        return f"{self.value:#x} {self.name}".rstrip()


def decoded(variant: Variant, data: bytes, address: int, image: Image | None = None) -> Iterator[Instruction]:
    """The instructions of ``data`` at ``address``; what is none is a directive, or a word if there is no disassembler.

    With ``image``, what an instruction leads to has its name: ``b 0x1002f60 <fast_0>``.
    """
    for i in _decoded(variant, data, address) if variant.disassembler else _words(variant, data, address):
        yield i._replace(text=_named(image, i.text)) if image else i


def texts(
    variant: Variant, data: bytes, address: int, wanted: Callable[[str], bool] | None = None
) -> Iterator[tuple[int, int, str]]:
    """Address, size and text of the instructions of ``data``, as :func:`decoded` but faster; what is none has ``.``.

    Of those of which ``wanted`` does not want the mnemonic, there is none.
    """
    for at, size, mnemonic, operands in _engine(variant.disassembler).disasm_lite(data, address):
        if wanted is None or wanted(mnemonic):
            yield at, size, f"{mnemonic} {operands}".rstrip()


def _engine(disassembler: tuple[str, ...]) -> Any:
    """Capstone as ``disassembler`` says; each thread has its own, for one serves one at a time."""
    return _engine_of(disassembler, threading.get_ident())


@functools.lru_cache(maxsize=64)
def _engine_of(disassembler: tuple[str, ...], thread: int) -> Any:
    del thread
    engine = _new(disassembler)
    engine.skipdata = True
    return engine


def _new(disassembler: tuple[str, ...]) -> Any:
    import capstone

    arch, *modes = disassembler
    mode = 0
    for name in modes:
        mode |= getattr(capstone, f"CS_MODE_{_MODES.get(name, name).upper()}")
    return capstone.Cs(getattr(capstone, f"CS_ARCH_{arch.upper()}"), mode)


class Registers(NamedTuple):
    """Registers that an instruction reads and writes, by name; of one with two names, one of them."""

    read: frozenset[str]
    written: frozenset[str]
    mnemonic: str

    @property
    def may_load(self) -> bool:
        """It may load from memory: all that do begin so, and others too."""
        return self.mnemonic.startswith("l")

    @property
    def may_store(self) -> bool:
        """It may store to memory."""
        return self.mnemonic.startswith(("s", "push"))


#: Of ppc, whose registers capstone does not tell: instructions that write no register of their first operand; and those
#: that read it, too.
_PPC_READS = re.compile(r"st|cmp|mt|b|tw|td|dcb|icb|sync|isync|lwsync|eieio|nop")
_PPC_KEEPS = re.compile(r"rl[wd]imi")


def registers(disassembler: tuple[str, ...], code: bytes, address: int) -> Registers | None:
    """What the first instruction of ``code``, which is at ``address``, reads and writes; None: it cannot be told."""
    instruction = next(_detailed(disassembler, threading.get_ident()).disasm(code, address, 1), None)
    if instruction is None:
        return None
    mnemonic = str(instruction.mnemonic)
    if disassembler[0] == "ppc":
        names = re.findall(r"\br\d+\b", instruction.op_str)
        if _PPC_READS.match(mnemonic) or not names:
            return Registers(frozenset(names), frozenset(), mnemonic)
        read = names if _PPC_KEEPS.match(mnemonic) else names[1:]
        return Registers(frozenset(read), frozenset(names[:1]), mnemonic)
    try:
        read_, written = instruction.regs_access()
    except Exception:  # noqa: BLE001 - capstone's own, which needs capstone to be named
        return None

    def names_of(numbers: Iterable[int]) -> frozenset[str]:
        return frozenset(re.sub(r"^w(\d+)$", r"x\1", instruction.reg_name(number)) for number in numbers)

    return Registers(names_of(read_), names_of(written), mnemonic)


@functools.lru_cache(maxsize=64)
def _detailed(disassembler: tuple[str, ...], thread: int) -> Any:
    """Capstone with details; a thread's own, as above."""
    del thread
    engine = _new(disassembler)
    engine.detail = True
    return engine


def _decoded(variant: Variant, data: bytes, address: int) -> Iterator[Instruction]:
    arch = variant.disassembler[0]
    for i in _engine(variant.disassembler).disasm(data, address):
        text = f"{i.mnemonic} {i.op_str}".rstrip()
        yield Instruction(i.address, bytes(i.bytes), _alpha(i, text) if arch == "alpha" else text)


def _words(variant: Variant, data: bytes, address: int) -> Iterator[Instruction]:
    for offset in range(0, len(data), 4):
        word = data[offset : offset + 4]
        text = f"{int.from_bytes(word, variant.byte_order):#0{2 + 2 * len(word)}x}"
        yield Instruction(address + offset, word, text)


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


def is_instruction(variant: Variant, image: Image) -> bool:
    """The word that a patch changes in a stub of ``image`` is a whole instruction, not an operand, a mask or data."""
    stubs, start = image.stubs, image.symbols["stub_start"]
    word = start + stubs.word, stubs.word_size
    return any((i.address, len(i.data)) == word for i in decoded(variant, image.bytes_at(start, stubs.size), start))


def instructions(variant: Variant, data: bytes, address: int, image: Image | None = None) -> list[str]:
    """The lines of what :func:`decoded` tells: address, bytes and text."""
    return [_line(variant, i) for i in decoded(variant, data, address, image)]


def pointers(variant: Variant, data: bytes, address: int, image: Image | None) -> list[Pointer]:
    """The pointers that ``data`` at ``address`` is, with the functions that they name if the image is there to tell."""
    code = ("Q" if variant.word_size == 8 else "I") * (len(data) // variant.word_size)
    values = struct.unpack((">" if variant.big_endian else "<") + code, data)
    places = range(address, address + len(data), variant.word_size)
    return [
        Pointer(at, value, _pointed(image, value) if image else "") for at, value in zip(places, values, strict=True)
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


@dataclass
class Block:
    """Some lines of code under a title, or a title alone."""

    title: str
    lines: list[tuple[bool, str]] = field(default_factory=list)  #: whether it is marked as changed, and the line


def listing(blocks: Iterable[Block]) -> list[str]:
    """The lines of ``blocks`` as people read them: those that changed are marked with ``>``."""
    return [
        text
        for block in blocks
        for text in (block.title, *(f"  {'> ' if changed else '  '}{line}" for changed, line in block.lines))
    ]


def patched(
    variant: Variant,
    mechanism: Mechanism | None,
    start: int,
    before: bytes,
    after: bytes | None,
    *,
    image: Image | None = None,
    focus: int | None = None,
    when: str = "after the cell",
) -> list[Block]:
    """The patched bytes (at ``start``) of every function that changed, before and after, and of ``focus`` in any case.

    ``mechanism`` is None if it is another farm's.
    ``when`` says when ``after`` was read; lines that differ are marked.  Names are those of ``image``.
    """
    size = len(before) // len(FUNCTIONS)
    blocks: list[Block] = []
    for function in range(len(FUNCTIONS)):
        old = before[function * size : (function + 1) * size]
        new = after[function * size : (function + 1) * size] if after is not None else None
        if function != focus and (new is None or new == old):
            continue
        address = start + function * size
        linked = _lines(variant, mechanism, old, address, image)
        blocks.append(Block(f"whatever_{function} as linked:", [(False, line) for line in linked]))
        if new == old:
            blocks.append(Block(f"whatever_{function} {when}: the same"))
        elif new is None:
            blocks.append(Block(f"whatever_{function} {when}: not known, the guest did not live to say"))
        else:
            now = _lines(variant, mechanism, new, address, image)
            blocks.append(Block(f"whatever_{function} {when}:", [(line not in linked, line) for line in now]))
    return blocks or [Block("no patched byte differs from the linked image")]


def _lines(variant: Variant, mechanism: Mechanism | None, data: bytes, address: int, image: Image | None) -> list[str]:
    if mechanism and not mechanism.pokes:
        whole = data[: len(data) // variant.word_size * variant.word_size]
        return [_line(variant, pointer) for pointer in pointers(variant, whole, address, image)]
    return [_line(variant, part) for part in parts(variant, data, address, image)]


def _line(variant: Variant, part: Instruction | Pointer) -> str:
    if isinstance(part, Instruction) and variant.disassembler:
        return f"{part.address:#x}: {part.data.hex():<20} {part.text}"
    return f"{part.address:#x}: {part.text}"


def parts(variant: Variant, data: bytes, address: int, image: Image | None) -> Iterator[Instruction | Pointer]:
    """Instructions of ``data`` at ``address``, and the addresses of functions among them, if the image can tell."""
    at = address
    for slot in _slots(variant, data, address, image) if image else ():
        yield from decoded(variant, data[at - address : slot.address - address], at, image)
        yield slot
        at = slot.address + variant.word_size
    yield from decoded(variant, data[at - address :], at, image)


def _slots(variant: Variant, data: bytes, address: int, image: Image) -> list[Pointer]:
    """The aligned words of ``data`` that hold a function's address: the data slot, a literal."""
    size = variant.word_size
    start = -address % size
    whole = data[start : start + (len(data) - start) // size * size]
    return [p for p in pointers(variant, whole, address + start, image) if re.fullmatch(r"[a-z_]+\d+", p.name)]


def _named(image: Image, text: str) -> str:
    """``text`` of an instruction with the name of the address that it ends in, if it does and the address has one.

    On hppa what a branch links to comes behind it: ``b,l 0x1030000, rp``.
    """
    operand = re.search(r"(?:^|[ ,])(?:0x|\$)([0-9a-f]+)(?:\.l|, r[0p])?$", text)
    name = image.name_of(int(operand[1], 16)) if operand else "0x"
    return text if name.startswith("0x") else f"{text} <{name}>"
