"""Assembles the A64 instructions that litmus tests are made of: a table of mnemonics and forms (:mod:`.forms`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from farm.prove.litmus import forms
from farm.prove.litmus.facts import kind_of
from farm.prove.litmus.forms import FormError, Instruction

#: Forms without a label: mnemonic, numbers of operands, and what makes the instruction.
_FORMS: dict[str, tuple[tuple[int, ...], Callable[..., Instruction]]] = {
    "MOV": ((2,), forms.mov),
    "SXTW": ((2,), forms.sxtw),
    "NOP": ((0,), lambda text: Instruction(0xD503201F, text, "nop")),
    "ERET": ((0,), lambda text: Instruction(0xD69F03E0, text, "eret")),
    "UDF": ((1,), lambda text, value: Instruction(forms.integer(value, 0, 65535), text, "udf")),
}
_NAMED: dict[str, tuple[tuple[int, ...], Callable[..., Instruction]]] = {
    **dict.fromkeys(forms.WIDE, ((2, 3), forms.move_wide)),
    **dict.fromkeys(forms.THREE, ((3, 4), forms.three)),
    **dict.fromkeys(("CMP", "CMN", "TST"), ((2, 3), forms.without_target)),
    **dict.fromkeys(("NEG", "NEGS", "MVN"), ((2, 3), forms.of_zero)),
    **dict.fromkeys(forms.SHIFTS, ((3,), forms.shifted)),
    **dict.fromkeys(forms.SELECTS, ((4,), forms.select)),
    **dict.fromkeys(("CSET", "CSETM"), ((2,), forms.select_alias)),
    **dict.fromkeys(("CINC", "CINV", "CNEG"), ((3,), forms.select_alias)),
    **dict.fromkeys(("LDR", "STR", *forms.ORDERED, *forms.NEAR), ((2,), forms.access)),
    **dict.fromkeys(("DSB", "DMB"), ((1,), forms.barrier)),
    **dict.fromkeys(("DC",), ((2,), forms.maintenance)),
    **dict.fromkeys(("IC",), ((1, 2), forms.maintenance)),
    **dict.fromkeys(("BR", "BLR"), ((1,), forms.indirect)),
    **dict.fromkeys(("RET",), ((0, 1), forms.indirect)),
    **dict.fromkeys(("MSR", "MRS"), ((2,), forms.elr)),
}
_BRANCHES = {"B": 1, "BL": 1, "CBZ": 2, "CBNZ": 2, "TBZ": 3, "TBNZ": 3}
_ISB = 0xD5033FDF

#: Mnemonics that are read; ``B.EQ`` and its like are, too.
MNEMONICS = (*_FORMS, *_NAMED, *_BRANCHES, "ADR", "ISB")


def assemble(text: str, pc: int = 0, labels: Mapping[str, int] | None = None) -> Instruction:
    """The instruction ``text`` at address ``pc``.  Raises :class:`FormError` with the reason if it is not read."""
    name, _, rest = text.strip().partition(" ")
    name = name.upper()
    words = [" ".join(word.split()) for word in re.split(r",(?![^\[]*\])", rest)] if rest.strip() else []
    made = _assembled(text, name, words, pc, labels or {})
    shown = [word.upper().replace(" ", "") if word.startswith("[") else word.upper() for word in words]
    if name == "ADR" or name in _BRANCHES or name.startswith("B."):
        shown[-1] = f".{forms.distance(words[-1], pc, labels or {}, 26):+d}"
    return replace(made, shown=f"{name} {','.join(shown)}".strip())


def _assembled(text: str, name: str, words: list[str], pc: int, labels: Mapping[str, int]) -> Instruction:
    if name in ("DC", "IC") and words:
        words = [*words[0].split(None, 1), *words[1:]]
    if name == "ISB" and (not words or [word.upper() for word in words] == ["SY"]):
        return Instruction(_ISB, text, kind_of("isb"))
    wanted: tuple[int, ...]
    if name in _BRANCHES or name.startswith("B."):
        wanted = (_BRANCHES.get(name, 1),)
        if len(words) in wanted:
            return forms.branch(text, name, words, pc, labels)
    elif name == "ADR":
        wanted = (2,)
        if len(words) == 2:
            return forms.adr(text, words[0], words[1], pc, labels)
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
        return assemble(f"UDF #{word}")
    if word >> 26 in (0x05, 0x25):
        distance = ((word & 0x3FFFFFF ^ 0x2000000) - 0x2000000) * 4
        return assemble(f"{'BL' if word >> 31 else 'B'} .{distance:+d}")
    for text in ("NOP", "ISB"):
        if assemble(text).word == word:
            return assemble(text)
    return None
