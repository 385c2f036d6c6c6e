"""The A64 instructions that litmus tests are made of: one function a form (Arm ARM DDI 0487, C6.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from farm.errors import UsageError
from farm.prove.litmus.facts import kind_of

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
    shift: int = 0  #: of that index
    offset: int = 0
    ordered: str = ""  #: ``acquire``, ``acquire-pc`` (of RCpc: LDAPR) or ``release``
    condition: int = 0  #: of a select
    shown: str = ""  #: as a state shows it: in capitals, and a label as a distance


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


def integer(text: str, low: int, high: int) -> int:
    """An immediate within bounds."""
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


def _shift(text: str, kinds: Mapping[str, int], most: int) -> tuple[int, int]:
    """Number of the kind of a shift or an extension, and its amount."""
    name, _, amount = text.partition(" ")
    if name.upper() not in kinds:
        raise FormError(f"`{text}` is none of {', '.join(kinds)}")
    return kinds[name.upper()], integer(amount, 0, most) if amount else 0


WIDE = {"MOVN": 0x12800000, "MOVZ": 0x52800000, "MOVK": 0x72800000}


def mov(text: str, rd: str, source: str) -> Instruction:
    """MOV of a register or of any value that one instruction makes."""
    if not source.startswith("#"):
        wide, (d, m) = _same_width(rd, source)
        return Instruction(wide | 0x2A0003E0 | m << 16 | d, text, "alu", _nonzero(m), _made(d))
    wide, (d,) = _same_width(rd)
    width = 64 if wide else 32
    value = integer(source, -(1 << width - 1), (1 << width) - 1) & (1 << width) - 1
    for base, wanted in ((WIDE["MOVZ"], value), (WIDE["MOVN"], ~value & (1 << width) - 1)):
        for half in range(width // 16):
            if not wanted & ~(0xFFFF << 16 * half):
                return Instruction(wide | base | half << 21 | wanted >> 16 * half << 5 | d, text, "alu", (), _made(d))
    if d == _ZERO:
        raise FormError("the stack pointer is not read")
    return Instruction(wide | 0x320003E0 | _bitmask(value, width) << 10 | d, text, "alu", (), d)


def move_wide(text: str, name: str, rd: str, value: str, shift: str = "LSL #0") -> Instruction:
    """MOVZ, MOVN and MOVK."""
    wide, (d,) = _same_width(rd)
    _, amount = _shift(shift, {"LSL": 0}, 48 if wide else 16)
    if amount % 16:
        raise FormError(f"`{shift}` is not by 16 bits or a multiple")
    word = wide | WIDE[name] | amount // 16 << 21 | integer(value, 0, 65535) << 5 | d
    return Instruction(word, text, "alu", _nonzero(d) if name == "MOVK" else (), _made(d))


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
    raise FormError(f"{value} is no immediate of this instruction")


_ARITHMETIC = {"ADD": 0x0B000000, "ADDS": 0x2B000000, "SUB": 0x4B000000, "SUBS": 0x6B000000}
_LOGICAL = {"AND": 0x0A000000, "ORR": 0x2A000000, "EOR": 0x4A000000, "ANDS": 0x6A000000}
_INVERTED = {"BIC": 0x0A200000, "ORN": 0x2A200000, "EON": 0x4A200000, "BICS": 0x6A200000}
THREE = _ARITHMETIC | _LOGICAL | _INVERTED
SHIFTS = {"LSL": 0, "LSR": 1, "ASR": 2, "ROR": 3}
_EXTENDS = {"UXTB": 0, "UXTH": 1, "UXTW": 2, "UXTX": 3, "SXTB": 4, "SXTH": 5, "SXTW": 6, "SXTX": 7}


def three(text: str, name: str, rd: str, rn: str, last: str, more: str = "") -> Instruction:
    """Arithmetic and logic of two registers, the second shifted or extended, or of a register and a value."""
    flags = name.endswith("S")
    extend = name in _ARITHMETIC and more.partition(" ")[0].upper() in _EXTENDS
    wide, (d, n) = _same_width(rd, rn)
    if last.startswith("#"):
        field, by_value = (
            _by_value(name, last, more, 64 if wide else 32),
            0x11000000 if name in _ARITHMETIC else 0x12000000,
        )
        if n == _ZERO and name in _ARITHMETIC:
            raise FormError("the stack pointer is not read")
        word, reads = THREE[name] & 0x60000000 | by_value | field << 10, _nonzero(n)
    elif extend:
        kind, amount = _shift(more, _EXTENDS, 4)
        last_wide, m = _register(last)
        if last_wide != (kind & 3 == 3) or (last_wide and not wide):
            raise FormError(f"`{last},{more}`: an extension is of a W register, UXTX and SXTX of an X register")
        if n == _ZERO:
            raise FormError("the stack pointer is not read")
        word, reads = THREE[name] | 1 << 21 | m << 16 | kind << 13 | amount << 10, _nonzero(n, m)
    else:
        _, (m,) = _same_width(last)
        _same_width(rd, last)
        kind, amount = _shift(more or "LSL", SHIFTS, 63 if wide else 31)
        if name in _ARITHMETIC and kind == SHIFTS["ROR"]:
            raise FormError(f"{name} has no ROR")
        word, reads = THREE[name] | m << 16 | kind << 22 | amount << 10, _nonzero(n, m)
    if d == _ZERO and not flags and (extend or last.startswith("#")):
        raise FormError("the stack pointer is not read")
    return Instruction(wide | word | n << 5 | d, text, "alu", reads, _made(d), sets_flags=flags)


def _by_value(name: str, value: str, more: str, width: int) -> int:
    """The field of an immediate."""
    if name in _LOGICAL and not more:
        low, high = -(1 << width - 1), (1 << width) - 1
        return _bitmask(integer(value, low, high) & high, width)
    if name in _INVERTED or name in _LOGICAL:
        raise FormError(f"{name} has no such value")
    _, amount = _shift(more or "LSL", {"LSL": 0}, 12)
    if amount not in (0, 12):
        raise FormError(f"`{more}` is neither by 0 nor by 12 bits")
    field = integer(value, 0, 4095 if more else 0xFFFFFF)
    if field > 4095:
        if field & 4095:
            raise FormError(f"{field} is no immediate of this instruction")
        field, amount = field >> 12, 12
    return field | (amount // 12) << 12


def without_target(text: str, name: str, rn: str, *last: str) -> Instruction:
    """CMP, CMN and TST: what they compute is not kept."""
    return three(text, {"CMP": "SUBS", "CMN": "ADDS", "TST": "ANDS"}[name], f"{rn[:1]}ZR", rn, *last)


def of_zero(text: str, name: str, rd: str, *last: str) -> Instruction:
    """NEG and MVN."""
    return three(text, {"NEG": "SUB", "NEGS": "SUBS", "MVN": "ORN"}[name], rd, f"{rd[:1]}ZR", *last)


def shifted(text: str, name: str, rd: str, rn: str, by: str) -> Instruction:
    """LSL, LSR, ASR and ROR, by a value or by a register."""
    wide, (d, n) = _same_width(rd, rn)
    width = 64 if wide else 32
    if not by.startswith("#"):
        _, (_, m) = _same_width(rd, by)
        word = 0x1AC02000 | m << 16 | SHIFTS[name] << 10
        return Instruction(wide | word | n << 5 | d, text, "alu", _nonzero(n, m), _made(d))
    amount = integer(by, 0, width - 1)
    fields = {
        "LSL": (0x53000000, -amount % width, width - 1 - amount),
        "LSR": (0x53000000, amount, width - 1),
        "ASR": (0x13000000, amount, width - 1),
        "ROR": (0x13800000, n, amount),
    }
    base, high, low = fields[name]
    return Instruction(
        wide | (wide >> 9) | base | high << 16 | low << 10 | n << 5 | d, text, "alu", _nonzero(n), _made(d)
    )


def sxtw(text: str, rd: str, rn: str) -> Instruction:
    """SXTW."""
    wide, d = _register(rd)
    source_wide, n = _register(rn)
    if not wide or source_wide:
        raise FormError(f"`{text}`: SXTW makes an X register of a W register")
    return Instruction(0x93407C00 | n << 5 | d, text, "alu", _nonzero(n), _made(d))


def _condition(text: str) -> int:
    if text.upper() not in CONDITIONS:
        raise FormError(f"`{text}` is no condition")
    return CONDITIONS[text.upper()]


SELECTS = {"CSEL": 0x1A800000, "CSINC": 0x1A800400, "CSINV": 0x5A800000, "CSNEG": 0x5A800400}


def select(text: str, name: str, rd: str, rn: str, rm: str, condition: str) -> Instruction:
    """CSEL and its like."""
    wide, (d, n, m) = _same_width(rd, rn, rm)
    number = _condition(condition)
    word = wide | SELECTS[name] | m << 16 | number << 12 | n << 5 | d
    return Instruction(word, text, "select", (n, m), _made(d), flags=True, condition=number)


def select_alias(text: str, name: str, rd: str, *last: str) -> Instruction:
    """CSET and CSETM of a condition; CINC, CINV and CNEG of a register and a condition: the contrary selects."""
    full = {"CSET": "CSINC", "CSETM": "CSINV", "CINC": "CSINC", "CINV": "CSINV", "CNEG": "CSNEG"}[name]
    contrary = _IN_ORDER[_condition(last[-1]) ^ 1]
    rn = last[0] if len(last) == 2 else f"{rd[:1]}ZR"
    return select(text, full, rd, rn, rn, contrary)


_PLACE = re.compile(r"\[\s*(\w+)\s*(?:,\s*(#?-?\w+)\s*(?:,\s*(\w+)\s*(?:#\s*(\d+))?\s*)?)?\]")
ORDERED = {"LDAR": (0x88DFFC00, "acquire"), "LDAPR": (0xB8BFC000, "acquire-pc"), "STLR": (0x889FFC00, "release")}
NEAR = {"LDUR": 0xB8400000, "STUR": 0xB8000000}


def access(text: str, name: str, rt: str, place: str) -> Instruction:
    """Loads and stores of one register."""
    wide, t = _register(rt)
    load = name.startswith("LD")
    match = _PLACE.fullmatch(place)
    if not match:
        raise FormError(f"`{place}` is no place that is read: [Xn], [Xn,#imm], [Xn,Xm], [Xn,Wm,SXTW]")
    n, size = _address(match[1]), 8 if wide else 4
    extend, offset, shift = "", 0, 0
    index: tuple[int, ...] = ()
    word, ordered = ORDERED.get(name, (0, ""))
    if match[2] is None or match[2].startswith("#"):
        low, high = (-256, 255) if name in NEAR else (0, 4095 * size)
        offset = integer(match[2], low, high) if match[2] else 0
        if match[3] or (offset and ordered) or (offset % size and name not in NEAR):
            raise FormError(f"`{place}` is no place that is read")
        if name in NEAR:
            word = NEAR[name] | (offset & 511) << 12
        elif not ordered:
            word = (0xB9400000 if load else 0xB9000000) | offset // size << 10
    else:
        index_wide, m = _register(match[2])
        extend, shift = (match[3] or "LSL").upper(), int(match[4] or 0)
        known = {"LSL": 1, "SXTX": 1, "SXTW": 0, "UXTW": 0}
        if ordered or name in NEAR or known.get(extend) != index_wide or shift not in (0, 2 + wide):
            raise FormError(f"`{place}` is no place that is read")
        option = {"LSL": 3, "SXTX": 7, "SXTW": 6, "UXTW": 2}[extend]
        word = (0xB8600800 if load else 0xB8200800) | m << 16 | option << 13 | (shift > 0) << 12
        index = (m,)
    word |= wide << 30 | n << 5 | t
    return Instruction(
        word, text, "load" if load else "store", (n, *index) if load else (t, n, *index),
        _made(t) if load else None, size=size, extend=extend, shift=shift, offset=offset, ordered=ordered,
    )  # fmt: skip


def barrier(text: str, name: str, domain: str) -> Instruction:
    """DMB and DSB."""
    if domain.upper() not in _DOMAINS:
        raise FormError(f"`{domain}` is no domain that is read: {', '.join(_DOMAINS)}")
    base = {"DSB": 0xD503309F, "DMB": 0xD50330BF}[name]
    return Instruction(base | _DOMAINS[domain.upper()] << 8, text, kind_of(f"{name} {domain}".lower()))


def maintenance(text: str, name: str, what: str, place: str = "") -> Instruction:
    """DC and IC."""
    known = {("DC", "CVAU"): 0xD50B7B20, ("IC", "IVAU"): 0xD50B7520}
    alone = {("IC", "IALLU"): 0xD508751F, ("IC", "IALLUIS"): 0xD508711F}
    if place and (name, what.upper()) in known:
        t = _address(place)
        return Instruction(known[name, what.upper()] | t, text, kind_of(f"{name} {what}, x{t}".lower()), (t,))
    if not place and (name, what.upper()) in alone:
        return Instruction(alone[name, what.upper()], text, kind_of("ic ivau, x0"))
    raise FormError(f"`{text}` is none of DC CVAU, IC IVAU, IC IALLU, IC IALLUIS")


def indirect(text: str, name: str, rn: str = "X30") -> Instruction:
    """BR, BLR and RET."""
    n = _address(rn)
    word = {"BR": 0xD61F0000, "BLR": 0xD63F0000, "RET": 0xD65F0000}[name]
    return Instruction(word | n << 5, text, "branch", (n,), 30 if name == "BLR" else None)


def elr(text: str, name: str, first: str, second: str) -> Instruction:
    """MSR and MRS of ELR_EL1."""
    there, rt = (first, second) if name == "MSR" else (second, first)
    if there.upper() != "ELR_EL1":
        raise FormError(f"`{there}` is no system register that is read: ELR_EL1")
    wide, t = _register(rt)
    if not wide:
        raise FormError(f"`{rt}` is not wide enough")
    if name == "MSR":
        return Instruction(0xD5184020 | t, text, "to-elr", _nonzero(t))
    return Instruction(0xD5384020 | t, text, "from-elr", (), _made(t))


def distance(target: str, pc: int, labels: Mapping[str, int], bits: int) -> int:
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


def branch(text: str, name: str, words: list[str], pc: int, labels: Mapping[str, int]) -> Instruction:
    """Branches to a label."""
    far = name in ("B", "BL")
    field = distance(words[-1], pc, labels, 26 if far else 14 if name.startswith("TB") else 19) >> 2
    if far:
        base = 0x14000000 if name == "B" else 0x94000000
        return Instruction(base | field & 0x3FFFFFF, text, "branch", (), 30 if name == "BL" else None)
    if name in ("TBZ", "TBNZ"):
        wide, t = _register(words[0])
        bit = integer(words[1], 0, 63 if wide else 31)
        base = (0x36000000 if name == "TBZ" else 0x37000000) | bit >> 5 << 31 | (bit & 31) << 19
        return Instruction(base | (field & 0x3FFF) << 5 | t, text, "branch", _nonzero(t))
    short = (field & 0x7FFFF) << 5
    if name in ("CBZ", "CBNZ"):
        wide, (t,) = _same_width(words[0])
        base = 0x34000000 if name == "CBZ" else 0x35000000
        return Instruction(wide | base | short | t, text, "branch", _nonzero(t))
    return Instruction(0x54000000 | short | _condition(name.partition(".")[2]), text, "branch", flags=True)


def adr(text: str, rd: str, target: str, pc: int, labels: Mapping[str, int]) -> Instruction:
    """ADR."""
    wide, d = _register(rd)
    if not wide:
        raise FormError(f"`{rd}` is not wide enough")
    at = distance(target, pc, labels, 19)
    return Instruction(0x10000000 | (at & 3) << 29 | (at >> 2 & 0x7FFFF) << 5 | d, text, "alu", (), _made(d))
