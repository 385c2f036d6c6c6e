"""Call sites: where a guest calls or jumps to a patchable function directly.

The linker keeps its relocations (``--emit-relocs``), and those that name a patchable function lead to its call sites.
They are only a lead, since the same relocation type may stand for taking an address: a site is accepted once its
opcode is one that ``arch.toml`` lists (:class:`~farm.guest.variant.CallSiteForm`) and its displacement, decoded
from the linked bytes, leads to the stub.

A linear scan over all code (:func:`branches`) looks for branches to a stub and asks no relocation.  It is made of the
finished image (:mod:`farm.guest.layout`), so one that is not in the guest's own table stops the build, be it that no
relocation led there or that the table lost it: it would never be redirected and nobody would know.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from farm.errors import ImageError
from farm.guest.elf import listed, opened, relocations
from farm.guest.variant import CallSiteForm, Variant
from farm.scenario import FUNCTIONS

_QUADWORD = 8  # bytes, x86

#: Sections whose code is looked through for call sites; besides the stubs there is no other code.
CODE = (".text", ".sites", ".module", ".far")


class CallSite(msgspec.Struct, frozen=True):
    """One branch to a patchable function that one store can redirect."""

    address: int  #: of the 32-bit word that holds the displacement
    word: int  #: its value as linked
    function: int
    instruction: str  #: the form's name in ``arch.toml``
    module: bool  #: it exists only while the module is loaded
    opcode: int = 0  #: bytes of an opcode that lies just before the word: a mechanism may replace them with it


class LeftAlone(msgspec.Struct, frozen=True):
    """A reference to a patchable function that stays on the stub."""

    address: int
    function: int
    what: str
    reason: str


@dataclass(frozen=True)
class Survey:
    """Call sites that a guest's relocations lead to, and those that are left alone."""

    sites: tuple[CallSite, ...]
    left_alone: tuple[LeftAlone, ...]


@functools.cache
def _fields(form: CallSiteForm) -> tuple[tuple[tuple[int, int, bool], ...], int]:
    """The displacement's parts, the most significant first, and the number of their bits.

    Of each part: its lowest bit, its size, and whether it is compared with the sign.
    """
    ends = (part.partition(":") for part in form.displacement.split())
    parts = tuple(
        (int(low or high.lstrip("=")), int(high) - int(low) + 1 if low else 1, high.startswith("="))
        for high, _, low in ends
    )
    return parts, sum(size for _, size, _ in parts)


def width(form: CallSiteForm) -> int:
    """Bits of the displacement."""
    return _fields(form)[1]


def displacement(form: CallSiteForm, word: int) -> int:
    """The field of ``word``, sign-extended; absolute if the form has a region."""
    parts, bits = _fields(form)
    value = 0
    low, size, _ = parts[0]
    positive = 1 ^ word >> low + size - 1 & 1
    for low, size, compared in parts:
        value = value << size | word >> low & (1 << size) - 1 ^ (positive if compared else 0)
    return value if form.region else value - (value >> bits - 1 << bits)


def leads_to(form: CallSiteForm, address: int, word: int, bits: int) -> int:
    """Destination of the branch whose displacement lies in ``word`` at ``address``; addresses have ``bits`` bits."""
    if form.region:
        return (address + 4 & -form.region) | displacement(form, word) * form.scale
    return address + form.base + displacement(form, word) * form.scale & (1 << bits) - 1


def redirected(form: CallSiteForm, address: int, word: int, to: int, bits: int) -> int:
    """``word`` at ``address`` with the displacement that leads to ``to``; unchanged if it does not reach."""
    value = to // form.scale if form.region else (to - address - form.base) // form.scale
    parts, size_of_all = _fields(form)
    positive = 1 ^ value >> size_of_all - 1 & 1
    changed = word
    for low, size, compared in reversed(parts):
        mask = (1 << size) - 1
        changed = changed & ~(mask << low) | (value & mask ^ (positive if compared else 0)) << low
        value >>= size
    return changed if leads_to(form, address, changed, bits) == to else word


def survey(path: Path, variant: Variant) -> Survey:
    """The call sites of the guest in ``path``.

    Raises :class:`~farm.errors.ImageError` if a branch to a patchable function has a relocation that lies.
    """
    with opened(path) as elf:
        table = listed(elf)
        symbols = {s.name: s.value for s in table}
        sections = {name: elf.get_section_by_name(name) for name in CODE}
        code = {name: _Code(s["sh_addr"], s.data(), variant) for name, s in sections.items() if s}
        stubs = _stubs(symbols, elf, variant)
        sites: dict[int, CallSite] = {}
        left: dict[int, LeftAlone] = {}
        kept = ((section, row) for section, rows in relocations(elf) if section in code for row in rows)
        for section, (address, type_, row) in kept:
            symbol = table[row].name
            function = _function_named(symbol)
            form = code[section].form(type_, address, stubs)
            if form is None and function is not None:
                code[section].refuse_wrong_form(type_, address, symbol)
            if form is None or form.store == "never":
                if function is not None:
                    what = form.instruction if form else f"relocation type {type_}"
                    reason = form.reason if form else "no branch: the address is taken"
                    left[address] = LeftAlone(address, function, what, reason)
                continue
            place = address + form.word
            word = code[section].word(place)
            reached = stubs[leads_to(form, place, word, variant.bits)]
            if function is not None and function != reached:
                raise ImageError(
                    f"{form.instruction} at {place:#x} leads to whatever_{reached}, its relocation to {symbol}"
                )
            refusal = _not_one_store(form, place)
            if refusal:
                left[place] = LeftAlone(place, reached, form.instruction, refusal)
            else:
                sites[place] = CallSite(
                    place, word, reached, form.instruction, section == ".module", _opcode_bytes(form)
                )
    ordered = tuple(sites[place] for place in sorted(sites))
    return Survey(ordered, tuple(left.values()))


def branches(
    variant: Variant, start: int, data: bytes, stubs: Mapping[int, int]
) -> Iterator[tuple[int, CallSiteForm, int]]:
    """Every word of the code in ``data``, which begins at ``start``, that reads as a branch to a stub.

    Its address, its form and its function, by ``stubs`` the number of a function by where its stub begins.
    """
    code = _Code(start, data, variant)
    forms = [form for form in variant.call_site if form.store != "never"]
    order = {"little": "<", "big": ">"}[variant.byte_order]
    for phase in range(0, 4, variant.alignment):
        words = (len(data) - phase) // 4
        for i, word in enumerate(struct.unpack_from(f"{order}{words}I", data, phase)):
            place = start + phase + 4 * i
            for form in forms:
                if form.opcode.at == 0 and form.opcode.size == 4 and word & form.opcode.mask != form.opcode.value:
                    continue
                function = stubs.get(leads_to(form, place, word, variant.bits))
                if function is not None and code.is_form(form, place):
                    yield place, form, function


def _not_one_store(form: CallSiteForm, address: int) -> str | None:
    """Why the word at ``address`` cannot be replaced in one atomic store; None if it can."""
    if form.store == "aligned" and address % 4:
        return "its word is not aligned"
    if form.store == "quadword" and address % _QUADWORD > _QUADWORD - 4:
        return "its word crosses an aligned quadword"
    return None


def _opcode_bytes(form: CallSiteForm) -> int:
    return 1 if (form.opcode.at, form.opcode.size) == (-1, 1) else 0


def _function_named(symbol: str) -> int | None:
    name, _, number = symbol.lstrip(".").partition("_")
    return int(number) if name == "whatever" and number.isdigit() and int(number) < len(FUNCTIONS) else None


class _Code:
    """A section of code, and the forms that may be found in it."""

    def __init__(self, start: int, data: bytes, variant: Variant) -> None:
        self.start, self.data, self.variant = start, data, variant

    def read(self, address: int, size: int) -> int:
        offset = address - self.start
        if offset < 0 or offset + size > len(self.data):
            return -1
        return int.from_bytes(self.data[offset : offset + size], self.variant.byte_order)

    def word(self, address: int) -> int:
        return self.read(address, 4)

    def is_form(self, form: CallSiteForm, place: int) -> bool:
        opcode = form.opcode
        seen = self.read(place + opcode.at, opcode.size)
        other = opcode.unless is not None and seen & opcode.unless.mask == opcode.unless.value
        return seen >= 0 and self.word(place) >= 0 and seen & opcode.mask == opcode.value and not other

    def form(self, type_: int, address: int, stubs: dict[int, int]) -> CallSiteForm | None:
        """The form that a relocation of ``type_`` at ``address`` stands for, if it is a branch to a stub."""
        for form in self.variant.call_site:
            place = address + form.word
            if type_ not in form.relocations or not self.is_form(form, place):
                continue
            if form.store == "never" or leads_to(form, place, self.word(place), self.variant.bits) in stubs:
                return form
        return None

    def refuse_wrong_form(self, type_: int, address: int, symbol: str) -> None:
        """Raise :class:`~farm.errors.ImageError` if a form's opcode is there, and its displacement leads elsewhere."""
        for number, form in enumerate(self.variant.call_site):
            place = address + form.word
            if form.store == "never" or type_ not in form.relocations or not self.is_form(form, place):
                continue
            to = leads_to(form, place, self.word(place), self.variant.bits)
            raise ImageError(
                f"{form.instruction} at {place:#x} leads to {to:#x}, its relocation to {symbol}: "
                f"variant.{self.variant.name}.call_site[{number}] of {self.variant.folder / 'arch.toml'} has another "
                "displacement, scale or base than the instruction"
            )


def _stubs(symbols: dict[str, int], elf: Any, variant: Variant) -> dict[int, int]:
    """Function numbers by the addresses of their stubs' first instructions."""
    stub, data = elf.get_section_by_name(".stub"), elf.get_section_by_name(".rodata")
    stubs = {}
    for number in range(len(FUNCTIONS)):
        address = symbols[f"whatever_{number}"] & -variant.alignment
        if not stub["sh_addr"] <= address < stub["sh_addr"] + stub["sh_size"]:  # of a descriptor: its first word
            offset = address - data["sh_addr"]
            address = int.from_bytes(data.data()[offset : offset + variant.word_size], variant.byte_order)
        stubs[address] = number
    return stubs
