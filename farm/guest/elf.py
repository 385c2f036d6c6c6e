"""Reads guests: what a linked ELF says of itself, and whether it is a guest at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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

_MILLICODE = "STT_LOPROC"  # STT_PARISC_MILLI


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


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The ELF file in ``path``.  Raises :class:`~farm.errors.ImageError` if it is none."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    with path.open("rb") as stream:
        try:
            yield ELFFile(stream)
        except (ELFError, OverflowError, ValueError, UnicodeDecodeError) as error:
            raise ImageError(f"image {path} is not a whole ELF file ({error or 'truncated'})") from None


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
        table = elf.get_section_by_name(".symtab")
        values = {s.name: s["st_value"] for s in table.iter_symbols()} if table else {}
        code = [range(s.address, s.address + s.size) for s in segments if s.flags & _EXECUTE]
        functions = {
            s.name: s["st_value"] & ~variant.function_bias
            for s in (table.iter_symbols() if table else ())
            if s.name
            and (
                s["st_info"]["type"] == "STT_FUNC"
                or (s["st_info"]["type"] == "STT_OBJECT" and any(s["st_value"] in span for span in code))
            )
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
        table = elf.get_section_by_name(".symtab")
        symbols = {
            s.name: Symbol(s["st_value"], s["st_size"])
            for s in (table.iter_symbols() if table else ())
            if s["st_info"]["bind"] != "STB_LOCAL" and s["st_shndx"] != "SHN_UNDEF"
        }
    return sections, symbols


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
        table = elf.get_section_by_name(".symtab")
        symbols = [
            (s["st_info"]["type"], s.name, s["st_value"])
            for s in (table.iter_symbols() if table else ())
            if s["st_info"]["type"] in ("STT_NOTYPE", "STT_OBJECT", _MILLICODE)
            and isinstance(s["st_shndx"], int)
            and s.name
            and (not s.name.startswith((".", "$")) or s["st_info"]["type"] == _MILLICODE)
        ]
    return {name: address for _, name, address in sorted(symbols)}


def local_entries(path: Path) -> dict[str, int]:
    """Offset in bytes of each function's local entry point, for callers with the same TOC, where it has one.

    ELFv2 alone has such functions (64-bit ELF V2 ABI for Power, 3.4.1 "Symbol Values").
    """
    with opened(path) as elf:
        table = elf.get_section_by_name(".symtab")
        return {
            s.name: (1 << s["st_other"]["local"]) >> 2 << 2
            for s in (table.iter_symbols() if table and elf["e_machine"] == "EM_PPC64" else ())
            if s["st_info"]["type"] == "STT_FUNC" and s["st_other"]["local"] > 1
        }
