"""Completes a linked guest: what only the finished link knows is filled into its tables, and the whole is checked.

The bytes that patching changes are copied from the linked code into the guest's own table (``farm_pristine``): the
reference for "byte for byte as the linker left it" does not come from the encoder under test.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

from farm.errors import ImageError
from farm.guest import layout
from farm.guest.call_sites import CallSite, redirected, survey
from farm.guest.elf import SYMBOLS, Segment, bytes_at
from farm.guest.mechanisms import Mechanism
from farm.guest.variant import Variant
from farm.scenario import REAL_TARGETS
from farm.scenario.layout import FNV_BASIS, SITE_IN_MODULE
from farm.scenario.wire import fnv


def patched(symbols: dict[str, int], region: str) -> tuple[int, int]:
    """Start and size in bytes of what patching changes: stubs, literals, or pointers."""
    start = symbols[f"{region}_start"]
    end = "patched_end" if region == "stub" else f"{region}_end"  # behind it is what a mechanism makes, if it does
    return start, symbols[end] - start


def fill(path: Path, name: str, variant: Variant, mechanism: Mechanism) -> tuple[CallSite, ...]:
    """Give the linked guest what only the finished link knows: pristine bytes, the module's text, the call sites.

    Raises :class:`~farm.errors.ImageError`, with ``name``, if a table is too small for it, or if the guest is not what
    it must be (:mod:`farm.guest.layout`).
    """
    guest = layout.read(path, name, variant, mechanism)
    content = bytearray(guest.content)

    def put(what: str, data: bytes, table: str, limit: str) -> None:
        address, room = guest.address(table), guest.symbols[table].size
        if len(data) > room:
            raise ImageError(f"{name}: {what} has {len(data)} bytes, and {table} has room for {room} ({limit})")
        home = next(s for s in guest.segments if s.address <= address < s.address + s.file_size)
        offset = home.offset + address - home.address
        content[offset : offset + len(data)] = data

    start, size = patched({symbol: guest.address(symbol) for symbol in SYMBOLS}, mechanism.patches)
    what = {"pointer": "section .data.pointers"}.get(mechanism.patches, f"section .{mechanism.patches}")
    put(what, guest.bytes_at(start, size), "farm_pristine", "ARCH_STUB_BYTES for each function")
    module = guest.region("module")
    put(
        "section .module",
        guest.bytes_at(module.start, len(module)),
        "farm_module",
        "MODULE_SIZE in farm/scenario/layout.py",
    )
    sites: tuple[CallSite, ...] = ()
    if mechanism.redirects:
        try:
            sites = survey(path, variant).sites
        except ImageError as error:
            raise ImageError(f"{name}: {error}") from None
        marked = ((s.address, s.word, s.function | (SITE_IN_MODULE if s.module else 0)) for s in sites)
        table = b"".join(guest.entry.pack(*fields) for fields in marked) + _behind(guest, sites)
        put(f"the table of {len(sites)} call sites", table, "farm_sites", "SITE_CAPACITY in farm/scenario/layout.py")
        count = len(sites).to_bytes(4, variant.byte_order)
        put("their number", count, "farm_site_count", "one word")
        opcodes = b"".join(guest.bytes_at(site.address - 1, 1) for site in sites)
        put("the bytes before them", opcodes, "farm_site_opcodes", "SITE_CAPACITY in farm/scenario/layout.py")
        words = b"".join(_words_by_target(site, guest.functions, variant) for site in sites)
        put("what they hold by target", words, "farm_site_words", "SITE_CAPACITY in farm/scenario/layout.py")
    layout.check(replace(guest, content=bytes(content)))
    path.write_bytes(content)
    path.chmod(0o755)
    return sites


def _behind(guest: layout.Linked, sites: tuple[CallSite, ...]) -> bytes:
    """What is behind the last call site of the table: one that leads elsewhere if somebody takes it for one.

    It is a call site of another function, said to be one of the first.
    """
    other = next((site for site in sites if site.function and not site.module), None)
    return guest.entry.pack(other.address, other.word, 0) if other else b""


def _words_by_target(site: CallSite, functions: dict[str, int], variant: Variant) -> bytes:
    """Words that ``site`` holds while its function leads to each target: as linked where a target is out of reach."""
    form = next(form for form in variant.call_site if form.instruction == site.instruction)
    words = [site.word]
    for target in REAL_TARGETS[1:]:
        to = functions[f"{target.name.lower()}_{site.function}"] & -variant.alignment
        words.append(redirected(form, site.address, site.word, to, variant.bits))
    return struct.pack(f"{'>' if variant.big_endian else '<'}{len(words)}I", *words)


def text_digest(content: bytes, segments: tuple[Segment, ...], symbols: dict[str, int], *, big_endian: bool) -> int:
    """The digest of text, stubs and state of the guest whose file is ``content``, as the guest itself computes it."""
    digest = FNV_BASIS
    for region in ("text", "module", "sites", "stub", "literal", "far", "state"):
        start, end = symbols[f"{region}_start"], symbols[f"{region}_end"]
        data = bytes_at(content, segments, start, end - start) if end > start else b""
        words = struct.unpack(f"{'>' if big_endian else '<'}{len(data) // 4}I", data)
        digest = fnv(words, digest)
    return digest
