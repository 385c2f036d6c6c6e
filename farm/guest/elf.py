"""Reads guests: what a linked ELF says of itself, and whether it is a guest at all."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from farm.errors import ImageError
from farm.guest.variant import Variant

#: Symbols that the engines and the reports use.
SYMBOLS = [
    "farm_enter",
    "farm_stop",
    "farm_program",
    "farm_trace",
    "farm_doorbell",
    "farm_features",
    "farm_layout",
    "farm_pristine",
    "text_start",
    "text_end",
    "stub_start",
    "stub_end",
    "patched_end",
    "literal_start",
    "literal_end",
    "sites_start",
    "sites_end",
    "module_start",
    "module_end",
    "farm_module",
    "pointer_start",
    "pointer_end",
    "state_start",
    "state_end",
    "far_start",
    "far_end",
    "alias_start",
]

#: Symbols around the function descriptors of an ABI that has them: there a function's symbol names its descriptor,
#: whose first word is the address of the code.
_DESCRIPTORS = ("descriptors_start", "descriptors_end")

_LOADED = 2  # SHF_ALLOC
_EXECUTE = 1  # of a segment's flags

_NO_TYPE, _OBJECT, _FUNCTION, _MILLICODE = 0, 1, 2, 13  # STT_NOTYPE and so on; the last is STT_PARISC_MILLI
_UNDEFINED, _RESERVED = 0, 0xFFF1  # of a symbol's section: SHN_UNDEF, and SHN_ABS with those behind it


class Segment(msgspec.Struct, frozen=True):
    """A piece of memory that the loader fills."""

    address: int
    offset: int  #: in the file
    file_size: int
    size: int
    flags: int  #: ELF: 1 execute, 2 write, 4 read


class Section(msgspec.Struct, frozen=True):
    """A part of the guest's memory as the linker made it."""

    name: str
    address: int
    size: int


class Symbol(msgspec.Struct, frozen=True):
    """A name that all of the guest's objects share."""

    address: int
    size: int  #: bytes; 0 for a label


class Listed(NamedTuple):
    """A row of the symbol table."""

    name: str
    value: int
    size: int
    type: int  #: STT_FUNC and its like
    shared: bool  #: by all objects, not local to one
    other: int
    section: int


class Relocation(NamedTuple):
    """A place that the linker filled in."""

    address: int
    type: int
    symbol: int  #: row of the symbol table


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The ELF file in ``path``.  Raises :class:`~farm.errors.ImageError` if it is none."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    with path.open("rb") as stream:
        try:
            yield ELFFile(stream)
        except (ELFError, OverflowError, ValueError, UnicodeDecodeError, struct.error) as error:
            raise ImageError(f"image {path} is not a whole ELF file ({error or 'truncated'})") from None


def listed(elf: Any) -> list[Listed]:
    """The symbol table of an :func:`opened` file, all at once: by itself pyelftools takes most of a build's time."""
    table = elf.get_section_by_name(".symtab")
    if table is None:
        return []
    names: bytes = elf.get_section(table["sh_link"]).data()

    def name(start: int) -> str:
        return names[start : names.index(0, start)].decode("utf-8", "replace")

    order, content = "<" if elf.little_endian else ">", table.data()
    if elf.elfclass == 64:
        rows = struct.iter_unpack(f"{order}IBBHQQ", content)
        return [Listed(name(n), v, size, info & 15, info > 15, other, s) for n, info, other, s, v, size in rows]
    rows = struct.iter_unpack(f"{order}IIIBBH", content)
    return [Listed(name(n), v, size, info & 15, info > 15, other, s) for n, v, size, info, other, s in rows]


def relocations(elf: Any) -> Iterator[tuple[str, list[Relocation]]]:
    """Names of the sections of an :func:`opened` file that the linker filled in, and where."""
    order = "<" if elf.little_endian else ">"
    for section in elf.iter_sections():
        if section["sh_type"] not in ("SHT_REL", "SHT_RELA"):
            continue
        addend = {"SHT_REL": "", "SHT_RELA": "q" if elf.elfclass == 64 else "i"}[section["sh_type"]]
        if elf.elfclass == 32:
            rows = struct.iter_unpack(f"{order}II{addend}", section.data())
            found = [Relocation(at, info & 0xFF, info >> 8) for at, info, *_ in rows]
        elif elf["e_machine"] == "EM_MIPS":  # three types, and the symbol first (64-bit ELF Object File, 2.9)
            rows = struct.iter_unpack(f"{order}QI4B{addend}", section.data())
            found = [Relocation(at, type_, symbol) for at, symbol, _, _, _, type_, *_ in rows]
        else:
            rows = struct.iter_unpack(f"{order}QQ{addend}", section.data())
            found = [Relocation(at, info & 0xFFFFFFFF, info >> 32) for at, info, *_ in rows]
        yield elf.get_section(section["sh_info"]).name, found


def inspect(path: Path, variant: Variant) -> tuple[tuple[Segment, ...], dict[str, int], dict[str, int]]:
    """Segments, symbols and functions (where their code begins) of the guest in ``path``.

    Raises :class:`~farm.errors.ImageError` if it is truncated, foreign, of the wrong byte order, or no guest.
    """
    segments, values, functions = read(path, variant)
    missing = [name for name in SYMBOLS if name not in values]
    if missing:
        raise ImageError(f"image {path} is no guest: it has no symbol {missing[0]}")
    return segments, {name: values[name] for name in SYMBOLS}, functions


def read(path: Path, variant: Variant) -> tuple[tuple[Segment, ...], dict[str, int], dict[str, int]]:
    """Segments, all symbols and functions of the ELF file in ``path``.

    A function is where its first instruction is (:attr:`~farm.guest.variant.Variant.function_bias`).  An object among
    code counts as one: the memory in which a mechanism makes code while the guest runs.

    Raises :class:`~farm.errors.ImageError` if it is truncated, foreign, or of the wrong byte order.
    """
    with opened(path) as elf:
        actual = (elf["e_machine"], elf.elfclass, "little" if elf.little_endian else "big")
        number = elf.header["e_machine"]
        if isinstance(number, str):
            from elftools.elf.enums import ENUM_E_MACHINE

            number = ENUM_E_MACHINE.get(number, -1)
        wanted = (variant.machine, variant.bits, variant.byte_order)
        if (number, *actual[1:]) != wanted:
            raise ImageError(
                f"image {path} is for another machine: {actual[0]}, {actual[1]} bits, {actual[2]}-endian; "
                f"{variant.name} is machine {wanted[0]}, {wanted[1]} bits, {wanted[2]}-endian"
            )
        segments = tuple(
            Segment(s["p_vaddr"], s["p_offset"], s["p_filesz"], s["p_memsz"], s["p_flags"])
            for s in elf.iter_segments()
            if s["p_type"] == "PT_LOAD" and s["p_memsz"]
        )
        size = path.stat().st_size
        if any(s.offset + s.file_size > size for s in segments):
            raise ImageError(f"image {path} is truncated: {size} bytes")
        table = listed(elf)
        values = {s.name: s.value for s in table}
        code = [range(s.address, s.address + s.size) for s in segments if s.flags & _EXECUTE]
        functions = {
            s.name: s.value & ~variant.function_bias
            for s in table
            if s.name and (s.type == _FUNCTION or (s.type == _OBJECT and any(s.value in span for span in code)))
        }
    start, end = (values.get(name, 0) for name in _DESCRIPTORS)
    descriptors = bytes_at(path.read_bytes(), segments, start, end - start) if end > start else b""
    for name, address in functions.items():
        if start <= address < end:
            word = descriptors[address - start : address - start + variant.bits // 8]
            functions[name] = int.from_bytes(word, variant.byte_order)
    return segments, values, functions


def parts(path: Path) -> tuple[tuple[Section, ...], dict[str, Symbol]]:
    """The sections that are loaded, and the global symbols by name, of the guest in ``path``."""
    with opened(path) as elf:
        sections = tuple(
            Section(s.name, s["sh_addr"], s["sh_size"]) for s in elf.iter_sections() if s["sh_flags"] & _LOADED
        )
        symbols = {s.name: Symbol(s.value, s.size) for s in listed(elf) if s.shared and s.section != _UNDEFINED}
    return sections, symbols


def objects(path: Path) -> list[tuple[int, int, str]]:
    """Address, size in bytes and name of each object of the guest in ``path``, those local to a source too."""
    with opened(path) as elf:
        return sorted((row.value, row.size, row.name) for row in listed(elf) if row.type == _OBJECT and row.size)


def bytes_at(content: bytes, segments: tuple[Segment, ...], address: int, size: int) -> bytes:
    """``size`` bytes at ``address`` of a guest whose file is ``content``; zeros where the file has none."""
    for s in segments:
        if s.address <= address and address + size <= s.address + s.size:
            start = s.offset + address - s.address
            filled = content[start : min(start + size, s.offset + s.file_size)]
            return filled + bytes(size - len(filled))
    raise ImageError(f"no {size} bytes at {address:#x}")


def labels(path: Path) -> dict[str, int]:
    """The address of every name in the guest of ``path`` that is no function's: variables, labels in asm, millicode.

    Millicode is what hppa's ABI calls the likes of ``$$dyncall``, by which C calls through a pointer.  Of names at one
    address a variable's comes last.
    """
    with opened(path) as elf:
        symbols = [
            ((_MILLICODE, _NO_TYPE, _OBJECT).index(s.type), s.name, s.value)
            for s in listed(elf)
            if s.type in (_NO_TYPE, _OBJECT, _MILLICODE)
            and _UNDEFINED < s.section < _RESERVED
            and s.name
            and (not s.name.startswith((".", "$")) or s.type == _MILLICODE)
        ]
    return {name: address for _, name, address in sorted(symbols)}


def local_entries(path: Path) -> dict[str, int]:
    """Offset in bytes of each function's local entry point, for callers with the same TOC, where it has one.

    ELFv2 alone has such functions (64-bit ELF V2 ABI for Power, 3.4.1 "Symbol Values").
    """
    with opened(path) as elf:
        return {
            s.name: (1 << (s.other >> 5)) >> 2 << 2
            for s in (listed(elf) if elf["e_machine"] == "EM_PPC64" else ())
            if s.type == _FUNCTION and s.other >> 5 > 1
        }
