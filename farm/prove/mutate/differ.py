"""In which instructions two objects differ, and whether any of them is ever executed.

Objects are compared, and not the linked guests: there nothing has moved but what the mutation itself has moved.
"""

from __future__ import annotations

import bisect
import difflib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from farm.guest.disassemble import texts
from farm.guest.image import Image
from farm.guest.variant import Variant

_ADDRESS = re.compile(r"(?<![\w.])(?:#?0x|\$)([0-9a-f]+)\b")
_BRANCH = re.compile(r"[bj]|call|cbn?z|tbn?z|c[lg]+[ir]*j")
_UNWINDING = (".ARM.", ".eh_frame")  # sections that say where functions are
_EXECUTABLE, _LOADED = 4, 2  # SHF_EXECINSTR, SHF_ALLOC
_FUNCTION, _LABEL = "STT_FUNC", "STT_NOTYPE"


class _Instruction(NamedTuple):
    offset: int  #: in its section
    size: int
    text: str  #: without addresses of its own function
    leads: int | None  #: offset in its section, if it names an address in its own function
    data: bytes
    relocations: tuple[tuple[int, int, str, int], ...]  #: from its beginning: place, type, symbol, addend


@dataclass(frozen=True)
class Code:
    """The code of an object by functions, and all else that is loaded."""

    functions: dict[str, tuple[str, int, tuple[_Instruction, ...]]]  #: section and offset of each
    anchors: dict[str, tuple[str, int]]  #: a shared symbol in each section with code, and its offset there
    data: tuple[tuple[str, bytes, tuple[tuple[int, int, str, int], ...]], ...]

    @classmethod
    def of(cls, variant: Variant, content: bytes) -> Code:
        """The code of the object whose file is ``content``."""
        from elftools.elf.elffile import ELFFile

        elf = ELFFile(io.BytesIO(content))
        symbols = elf.get_section_by_name(".symtab")
        fixes: dict[int, list[tuple[int, int, str, int]]] = {}
        for section in elf.iter_sections():
            if section["sh_type"] in ("SHT_REL", "SHT_RELA"):
                for each in section.iter_relocations():
                    fix = each["r_offset"], each["r_info_type"], _symbol(elf, symbols, each["r_info_sym"])
                    fixes.setdefault(section["sh_info"], []).append((*fix, each.entry.get("r_addend", 0)))
        functions: dict[str, tuple[str, int, tuple[_Instruction, ...]]] = {}
        anchors: dict[str, tuple[str, int]] = {}
        data = []
        for number, section in enumerate(elf.iter_sections()):
            if not section["sh_flags"] & _LOADED or section.name.startswith(_UNWINDING):
                continue
            inside = sorted(fixes.get(number, ()))
            if not section["sh_flags"] & _EXECUTABLE:
                held = b"" if section["sh_type"] == "SHT_NOBITS" else section.data()
                data.append((f"{section.name} {section['sh_size']}", held, tuple(inside)))
                continue
            named = [
                (s["st_value"] & ~variant.function_bias, s.name, s["st_info"]["bind"] != "STB_LOCAL")
                for s in symbols.iter_symbols()
                if s["st_shndx"] == number
                and s["st_info"]["type"] in (_FUNCTION, _LABEL)
                and not s.name.startswith((".L", "$"))
            ]
            named = [each for each in named if each[1]]
            starts = sorted({0, *(start for start, _, _ in named)})
            content_ = section.data()
            for start, name, shared in named:
                end = starts[bisect.bisect_right(starts, start)] if start < starts[-1] else len(content_)
                made = tuple(_instructions(variant, content_[start:end], start, inside))
                functions[name] = section.name, start, made
                if shared:
                    anchors[name] = section.name, start
        return cls(functions, anchors, tuple(data))


def _symbol(elf: Any, symbols: Any, number: int) -> str:
    symbol = symbols.get_symbol(number)
    if symbol["st_info"]["type"] == "STT_SECTION":
        return str(elf.get_section(symbol["st_shndx"]).name)
    return str(symbol.name)


def _instructions(
    variant: Variant, code: bytes, start: int, fixes: Sequence[tuple[int, int, str, int]]
) -> Iterator[_Instruction]:
    end = start + len(code)
    for at, size, text in texts(variant, code, start):
        own = tuple((f[0] - at, f[1], f[2], f[3]) for f in fixes if at <= f[0] < at + size)
        leads = None
        for match in _ADDRESS.finditer(text) if own or _BRANCH.match(text) else ():
            if own or start <= int(match[1], 16) < end:
                leads = None if own else int(match[1], 16)
                text = f"{text[: match.start()]}here{text[match.end() :]}"  # noqa: PLW2901 - the same, without it
                break
        yield _Instruction(at, size, text, leads, code[at - start : at - start + size], own)


class Difference(NamedTuple):
    """Offsets of instructions, by section, that one of two objects has and the other has not."""

    before: list[tuple[str, int, int]]  #: section, offset and size of an instruction
    after: list[tuple[str, int, int]]
    data: bool  #: something differs that is no code


def difference(before: Code, after: Code) -> Difference:
    """In which instructions two objects differ."""
    found = Difference([], [], before.data != after.data)
    for name in dict.fromkeys((*before.functions, *after.functions)):
        old, new = before.functions.get(name), after.functions.get(name)
        gone, come = _differing(old[2] if old else (), new[2] if new else ())
        found.before.extend((old[0], i.offset, i.size) for i in gone if old)
        found.after.extend((new[0], i.offset, i.size) for i in come if new)
    return found


def _differing(
    old: Sequence[_Instruction], new: Sequence[_Instruction]
) -> tuple[list[_Instruction], list[_Instruction]]:
    before, after = [(i.text, i.relocations) for i in old], [(i.text, i.relocations) for i in new]
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    same = {a + n: b + n for a, b, size in matcher.get_matching_blocks() for n in range(size)}
    where = {i.offset: number for number, i in enumerate(old)}, {i.offset: number for number, i in enumerate(new)}
    for a, b in list(same.items()):  # they lead to the same place, too
        one, other = old[a].leads, new[b].leads
        if one is not None and other is not None and same.get(where[0].get(one, -1)) != where[1].get(other, -2):
            same.pop(a)
    kept = set(same.values())
    return [i for n, i in enumerate(old) if n not in same], [i for n, i in enumerate(new) if n not in kept]


def places(code: Code, image: Image, of: Iterable[tuple[str, int, int]]) -> list[range] | None:
    """Where instructions of an object are in the guest that was linked of it; None if that cannot be told."""
    bases = {}
    for name, (section, offset) in code.anchors.items():
        if name in image.functions:
            bases[section] = (image.functions[name] & ~image.function_bias) - offset
    found = []
    for section, offset, size in of:
        if section not in bases:
            return None
        found.append(range(bases[section] + offset, bases[section] + offset + size))
    return found
