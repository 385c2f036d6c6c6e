"""Completes a linked guest: what only the finished link knows is filled into its tables.

The bytes that patching changes are copied from the linked code into the guest's own table (``farm_pristine``): the
reference for "byte for byte as the linker left it" does not come from the encoder under test.
"""

from __future__ import annotations

import struct
from pathlib import Path

from farm import wire
from farm.backend import Variant
from farm.call_sites import CallSite, survey
from farm.elf import Segment, bytes_at, inspect
from farm.errors import ImageError


def patched(symbols: dict[str, int], mechanism: str) -> tuple[int, int]:
    """Start and size in bytes of what patching changes: stubs, or pointers."""
    region = "pointer" if mechanism == "pointer" else "stub"
    start = symbols[f"{region}_start"]
    return start, symbols[f"{region}_end"] - start


def fill(path: Path, name: str, variant: Variant, mechanism: str) -> tuple[CallSite, ...]:
    """Give the linked guest what only the finished link knows: pristine bytes, the module's text, the call sites."""
    segments, symbols, _ = inspect(path, variant)
    content = bytearray(path.read_bytes())
    linked = bytes(content)

    def put(address: int, data: bytes) -> None:
        home = next(s for s in segments if s.address <= address < s.address + s.file_size)
        offset = home.offset + address - home.address
        content[offset : offset + len(data)] = data

    put(symbols["farm_pristine"], bytes_at(linked, segments, *patched(symbols, mechanism)))
    module = symbols["module_end"] - symbols["module_start"]
    if module > wire.MODULE_SIZE:
        raise ImageError(f"{name}: the module's text has {module} bytes; MODULE_SIZE in farm/wire.py allows fewer")
    put(symbols["farm_module"], bytes_at(linked, segments, symbols["module_start"], module))
    sites: tuple[CallSite, ...] = ()
    if mechanism == "relocated":
        found = survey(path, variant)
        sites = found.sites
        if len(sites) > wire.SITE_CAPACITY:
            raise ImageError(f"{name}: {len(sites)} call sites; SITE_CAPACITY in farm/wire.py allows fewer")
        order, word = ">" if variant.big_endian else "<", "Q" if variant.word_size == 8 else "I"
        entry = struct.Struct(f"{order}{word}II")
        marked = ((s.address, s.word, s.function | (wire.SITE_IN_MODULE if s.module else 0)) for s in sites)
        put(found.table, b"".join(entry.pack(*fields) for fields in marked))
        put(found.counter, struct.pack(order + "I", len(sites)))
    path.write_bytes(content)
    path.chmod(0o755)
    return sites


def text_digest(content: bytes, segments: tuple[Segment, ...], symbols: dict[str, int], *, big_endian: bool) -> int:
    """The digest of text, stubs and state of the guest whose file is ``content``, as the guest itself computes it."""
    digest = wire.FNV_BASIS
    for region in ("text", "sites", "stub", "state"):
        start, end = symbols[f"{region}_start"], symbols[f"{region}_end"]
        data = bytes_at(content, segments, start, end - start) if end > start else b""
        words = struct.unpack(f"{'>' if big_endian else '<'}{len(data) // 4}I", data)
        digest = wire.fnv(words, digest)
    return digest
