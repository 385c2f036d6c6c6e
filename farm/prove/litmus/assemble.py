"""Assembles the A64 instructions that litmus tests are made of, one form a row (Arm ARM DDI 0487, C6.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from farm.errors import UsageError
from farm.prove.litmus.facts import kind

_IN_ORDER = ("EQ", "NE", "CS", "CC", "MI", "PL", "VS", "VC", "HI", "LS", "GE", "LT", "GT", "LE")
CONDITIONS = {name: number for number, name in enumerate(_IN_ORDER)}
CONDITIONS |= {"HS": 2, "LO": 3}

_DOMAINS = {"SY": 15, "ST": 14, "LD": 13, "ISH": 11, "ISHST": 10, "ISHLD": 9, "OSH": 3, "OSHST": 2, "OSHLD": 1}
_ZERO = 31  # number of the zero register


class FormError(UsageError):
    """An instruction is none of the forms that are read."""


@dataclass(frozen=True)
class Instruction:
    """An instruction: its word, and which registers it needs and makes.

    ``kind`` is ``alu``, ``select``, ``load``, ``store``, ``branch``, ``dc``, ``ic``, ``isb``, ``nop``, ``udf``,
    ``eret``, ``to-elr``, ``from-elr``, or a barrier with what it orders: ``dmb.full``, ``dsb.ld``, ``dmb.st``.
    """

    word: int
    text: str
    kind: str
    reads: tuple[int, ...] = ()  #: registers; of a store, the first is what is stored
    writes: int | None = None
    flags: bool = False  #: the flags are read
    sets_flags: bool = False
    size: int = 8  #: bytes, of a load or a store
    extend: str = ""  #: of the index of a load or a store: ``SXTW``, ``UXTW``, ``LSL``
    offset: int = 0
    ordered: bool = False  #: acquire or release


def _register(text: str) -> tuple[int, int]:
    """Width bit and number of a register."""
    match = re.fullmatch(r"([XW])(ZR|\d+)", text, re.IGNORECASE)
    if not match or (match[2].upper() != "ZR" and int(match[2]) > 30):
        raise FormError(f"`{text}` is no register that is read: X0 to X30, W0 to W30, XZR, WZR")
    return int(match[1] in "Xx"), _ZERO if match[2].upper() == "ZR" else int(match[2])


def _same_width(*names: str) -> tuple[int, list[int]]:
    found = [_register(name) for name in names]
    if len({wide for wide, _ in found}) != 1:
        raise FormError(f"registers of two widths: {', '.join(names)}")
    return found[0][0] << 31, [number for _, number in found]


def _address(text: str) -> int:
    wide, number = _register(text)
    if not wide or number == _ZERO:
        raise FormError(f"`{text}` is no register of an address")
    return number


def _integer(text: str, low: int, high: int) -> int:
    try:
        value = int(text.lstrip("#"), 0)
    except ValueError:
        raise FormError(f"`{text}` is no integer") from None
    if not low <= value <= high:
        raise FormError(f"{value} is not from {low} to {high}")
    return value


def _nonzero(*registers: int) -> tuple[int, ...]:
    return tuple(register for register in registers if register != _ZERO)


def _made(register: int) -> int | None:
    return None if register == _ZERO else register


def _mov(text: str, rd: str, source: str) -> Instruction:
    if source.startswith("#"):
        wide, (d,) = _same_width(rd)
        value = _integer(source, -65536, 65535)
        word = 0x52800000 | value << 5 if value >= 0 else 0x12800000 | ~value << 5
        return Instruction(wide | word | d, text, "alu", (), _made(d))
    wide, (d, m) = _same_width(rd, source)
    return Instruction(wide | 0x2A0003E0 | m << 16 | d, text, "alu", _nonzero(m), _made(d))


def _bitmask(value: int, width: int) -> int:
    """N, immr and imms of a logical immediate (Arm ARM DDI 0487, DecodeBitMasks)."""
    size = 2
    while size <= width:
        for ones in range(1, size):
            for turn in range(size):
                run = (1 << ones) - 1
                part = (run >> turn | run << (size - turn)) & ((1 << size) - 1)
                if sum(part << at for at in range(0, width, size)) == value:
                    imms = (0x3F & ~(2 * size - 1)) | ones - 1
                    return int(size == 64) << 12 | turn << 6 | imms
        size *= 2
    raise FormError(f"{value} is no immediate of a logical instruction")


_ARITHMETIC = {"ADD": (0x0B000000, 0x11000000), "SUB": (0x4B000000, 0x51000000)}
_LOGICAL = {"AND": (0x0A000000, 0x12000000), "ORR": (0x2A000000, 0x32000000), "EOR": (0x4A000000, 0x52000000)}


def _three(text: str, name: str, rd: str, rn: str, last: str) -> Instruction:
    wide, (d, n) = _same_width(rd, rn)
    by_register, by_value = (_ARITHMETIC | _LOGICAL)[name]
    if not last.startswith("#"):
        wide, (d, n, m) = _same_width(rd, rn, last)
        return Instruction(wide | by_register | m << 16 | n << 5 | d, text, "alu", _nonzero(n, m), _made(d))
    if d == _ZERO or (n == _ZERO and name in _ARITHMETIC):
        raise FormError("the stack pointer is not read")
    if name in _ARITHMETIC:
        field = _integer(last, 0, 4095)
    else:
        field = _bitmask(_integer(last, 0, (1 << 64) - 1), 64 if wide else 32)
    return Instruction(wide | by_value | field << 10 | n << 5 | d, text, "alu", _nonzero(n), d)


def _cmp(text: str, rn: str, last: str) -> Instruction:
    wide, (n,) = _same_width(rn)
    if last.startswith("#"):
        if n == _ZERO:
            raise FormError("the stack pointer is not read")
        word, reads = 0x7100001F | _integer(last, 0, 4095) << 10, _nonzero(n)
    else:
        wide, (n, m) = _same_width(rn, last)
        word, reads = 0x6B00001F | m << 16, _nonzero(n, m)
    return Instruction(wide | word | n << 5, text, "alu", reads, sets_flags=True)


def _condition(text: str) -> int:
    if text.upper() not in CONDITIONS:
        raise FormError(f"`{text}` is no condition")
    return CONDITIONS[text.upper()]


def _cset(text: str, rd: str, condition: str) -> Instruction:
    wide, (d,) = _same_width(rd)
    word = wide | 0x1A9F07E0 | (_condition(condition) ^ 1) << 12 | d
    return Instruction(word, text, "select", (), _made(d), flags=True)


def _csel(text: str, rd: str, rn: str, rm: str, condition: str) -> Instruction:
    wide, (d, n, m) = _same_width(rd, rn, rm)
    word = wide | 0x1A800000 | m << 16 | _condition(condition) << 12 | n << 5 | d
    return Instruction(word, text, "select", (n, m), _made(d), flags=True)


_PLACE = re.compile(r"\[\s*(\w+)\s*(?:,\s*(#?-?\w+)\s*(?:,\s*(\w+)\s*(?:#0)?\s*)?)?\]")
_ONE = {"LDAR": 0x88DFFC00, "STLR": 0x889FFC00}


def _access(text: str, name: str, rt: str, place: str) -> Instruction:
    wide, t = _register(rt)
    load = name.startswith("LD")
    match = _PLACE.fullmatch(place)
    if not match:
        raise FormError(f"`{place}` is no place that is read: [Xn], [Xn,#imm], [Xn,Xm], [Xn,Wm,SXTW]")
    n, size = _address(match[1]), 8 if wide else 4
    extend, offset = "", 0
    index: tuple[int, ...] = ()
    if match[2] is None or match[2].startswith("#"):
        offset = _integer(match[2], 0, 4095 * size) if match[2] else 0
        if match[3] or offset % size or (offset and name in _ONE):
            raise FormError(f"`{place}` is no place that is read")
        word = (0xB9400000 if load else 0xB9000000) | offset // size << 10
        if name in _ONE:
            word = _ONE[name]
    else:
        index_wide, m = _register(match[2])
        extend = (match[3] or "LSL").upper()
        if name in _ONE or {"LSL": 1, "SXTW": 0, "UXTW": 0}.get(extend) != index_wide:
            raise FormError(f"`{place}` is no place that is read")
        option = {"LSL": 3, "SXTW": 6, "UXTW": 2}[extend]
        word, index = (0xB8600800 if load else 0xB8200800) | m << 16 | option << 13, (m,)
    word |= wide << 30 | n << 5 | t
    reads = (n, *index) if load else (t, n, *index)
    made = _made(t) if load else None
    return Instruction(
        word,
        text,
        "load" if load else "store",
        reads,
        made,
        size=size,
        extend=extend,
        offset=offset,
        ordered=name in _ONE,
    )


def _barrier(text: str, name: str, domain: str) -> Instruction:
    if domain.upper() not in _DOMAINS:
        raise FormError(f"`{domain}` is no domain that is read: {', '.join(_DOMAINS)}")
    base = {"DSB": 0xD503309F, "DMB": 0xD50330BF}[name]
    return Instruction(base | _DOMAINS[domain.upper()] << 8, text, kind(f"{name} {domain}".lower()))


def _maintenance(text: str, name: str, what: str, place: str = "") -> Instruction:
    known = {("DC", "CVAU"): 0xD50B7B20, ("IC", "IVAU"): 0xD50B7520}
    alone = {("IC", "IALLU"): 0xD508751F, ("IC", "IALLUIS"): 0xD508711F}
    if place and (name, what.upper()) in known:
        t = _address(place)
        return Instruction(known[name, what.upper()] | t, text, kind(f"{name} {what}, x{t}".lower()), (t,))
    if not place and (name, what.upper()) in alone:
        return Instruction(alone[name, what.upper()], text, kind("ic ivau, x0"))
    raise FormError(f"`{text}` is none of DC CVAU, IC IVAU, IC IALLU, IC IALLUIS")


def _indirect(text: str, name: str, rn: str = "X30") -> Instruction:
    n = _address(rn)
    word = {"BR": 0xD61F0000, "BLR": 0xD63F0000, "RET": 0xD65F0000}[name]
    return Instruction(word | n << 5, text, "branch", (n,), 30 if name == "BLR" else None)


def _elr(text: str, name: str, first: str, second: str) -> Instruction:
    there, rt = (first, second) if name == "MSR" else (second, first)
    if there.upper() != "ELR_EL1":
        raise FormError(f"`{there}` is no system register that is read: ELR_EL1")
    wide, t = _register(rt)
    if not wide:
        raise FormError(f"`{rt}` is not wide enough")
    if name == "MSR":
        return Instruction(0xD5184020 | t, text, "to-elr", _nonzero(t))
    return Instruction(0xD5384020 | t, text, "from-elr", (), _made(t))


def _distance(target: str, pc: int, labels: Mapping[str, int], bits: int) -> int:
    """Bytes from ``pc`` to a label, or as ``.+8`` says."""
    if match := re.fullmatch(r"\.\s*([+-]\s*\d+)?", target):
        distance = int((match[1] or "0").replace(" ", ""))
    elif target in labels:
        distance = labels[target] - pc
    else:
        raise FormError(f"no label `{target}` in this column")
    if distance % 4 or not -(1 << bits + 1) <= distance < 1 << bits + 1:
        raise FormError(f"`{target}` is not in reach")
    return distance


def _branch(text: str, name: str, words: list[str], pc: int, labels: Mapping[str, int]) -> Instruction:
    far = name in ("B", "BL")
    field = _distance(words[-1], pc, labels, 26 if far else 19) >> 2
    if far:
        base = 0x14000000 if name == "B" else 0x94000000
        return Instruction(base | field & 0x3FFFFFF, text, "branch", (), 30 if name == "BL" else None)
    short = (field & 0x7FFFF) << 5
    if name in ("CBZ", "CBNZ"):
        wide, (t,) = _same_width(words[0])
        base = 0x34000000 if name == "CBZ" else 0x35000000
        return Instruction(wide | base | short | t, text, "branch", _nonzero(t))
    return Instruction(0x54000000 | short | _condition(name.partition(".")[2]), text, "branch", flags=True)


def _adr(text: str, rd: str, target: str, pc: int, labels: Mapping[str, int]) -> Instruction:
    wide, d = _register(rd)
    if not wide:
        raise FormError(f"`{rd}` is not wide enough")
    at = _distance(target, pc, labels, 19)
    return Instruction(0x10000000 | (at & 3) << 29 | (at >> 2 & 0x7FFFF) << 5 | d, text, "alu", (), _made(d))


#: Forms without a label: mnemonic, numbers of operands, and what makes the instruction.
_FORMS: dict[str, tuple[tuple[int, ...], Callable[..., Instruction]]] = {
    "MOV": ((2,), _mov),
    "CMP": ((2,), _cmp),
    "CSET": ((2,), _cset),
    "CSEL": ((4,), _csel),
    "NOP": ((0,), lambda text: Instruction(0xD503201F, text, "nop")),
    "ERET": ((0,), lambda text: Instruction(0xD69F03E0, text, "eret")),
    "UDF": ((1,), lambda text, value: Instruction(_integer(value, 0, 65535), text, "udf")),
}
_NAMED: dict[str, tuple[tuple[int, ...], Callable[..., Instruction]]] = {
    **dict.fromkeys((*_ARITHMETIC, *_LOGICAL), ((3,), _three)),
    **dict.fromkeys(("LDR", "STR", "LDAR", "STLR"), ((2,), _access)),
    **dict.fromkeys(("DSB", "DMB"), ((1,), _barrier)),
    **dict.fromkeys(("DC",), ((2,), _maintenance)),
    **dict.fromkeys(("IC",), ((1, 2), _maintenance)),
    **dict.fromkeys(("BR", "BLR"), ((1,), _indirect)),
    **dict.fromkeys(("RET",), ((0, 1), _indirect)),
    **dict.fromkeys(("MSR", "MRS"), ((2,), _elr)),
}
_ISB = 0xD5033FDF


def assemble(text: str, pc: int = 0, labels: Mapping[str, int] | None = None) -> Instruction:
    """The instruction ``text`` at address ``pc``.  Raises :class:`FormError` with the reason if it is not read."""
    name, _, rest = text.strip().partition(" ")
    name = name.upper()
    words = [word.strip() for word in re.split(r",(?![^\[]*\])", rest)] if rest.strip() else []
    if name in ("DC", "IC") and words:
        words = [*words[0].split(None, 1), *words[1:]]
    if name == "ISB" and (not words or [word.upper() for word in words] == ["SY"]):
        return Instruction(_ISB, text, kind("isb"))
    wanted: tuple[int, ...]
    if name in ("B", "BL", "CBZ", "CBNZ") or name.startswith("B."):
        wanted = (2,) if name.startswith("CB") else (1,)
        if len(words) in wanted:
            return _branch(text, name, words, pc, labels or {})
    elif name == "ADR":
        wanted = (2,)
        if len(words) == 2:
            return _adr(text, words[0], words[1], pc, labels or {})
    elif name in _FORMS:
        wanted, make = _FORMS[name]
        if len(words) in wanted:
            return make(text, *words)
    elif name in _NAMED:
        wanted, make = _NAMED[name]
        if len(words) in wanted:
            return make(text, name, *words)
    else:
        raise FormError(f"`{text}` is no instruction that is read")
    raise FormError(f"`{text}`: {name} has {' or '.join(map(str, wanted))} operands here")


def decoded(word: int) -> Instruction | None:
    """The instruction of a word that is in no column: an undefined one, or one that has no register; else None."""
    if word < 1 << 16:
        return Instruction(word, f"UDF #{word}", "udf")
    if word >> 26 in (0x05, 0x25):
        distance = ((word & 0x3FFFFFF ^ 0x2000000) - 0x2000000) * 4
        return assemble(f"{'BL' if word >> 31 else 'B'} .{distance:+d}")
    for text in ("NOP", "ISB"):
        if assemble(text).word == word:
            return assemble(text)
    return None
