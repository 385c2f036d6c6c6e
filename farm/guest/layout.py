"""Rules that a linked guest must satisfy, checked on the finished image before it may run: :data:`RULES`.

Emulators forgive what machines do not: a misaligned slot is loaded, a torn store is never seen.  So every rule looks at
the image itself, for every variant: at what the linker left, what the host filled in, and what the guest was compiled
with (``farm_layout``, target.c).  None asks the code that decided, so a mistake there is found here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

from farm.errors import ImageError
from farm.guest import elf
from farm.guest.call_sites import CODE, branches
from farm.guest.elf import Section, Segment, Symbol, bytes_at
from farm.guest.mechanisms import Mechanism
from farm.guest.variant import Variant
from farm.scenario import FUNCTIONS, REAL_TARGETS, Target
from farm.scenario.layout import SITE_IN_MODULE

#: Symbols around each region that is opened for a patch, as C has it (``text_region``), in the order of its numbers.
REGIONS = {
    "TEXT_STUBS": ("stub_start", "stub_end"),
    "TEXT_MODULE": ("module_start", "module_end"),
    "TEXT_ALL": ("module_start", "stub_end"),
    "TEXT_LITERALS": ("literal_start", "literal_end"),
}

_EXECUTE, _WRITE = 1, 2
_SITE_BYTES = 4
_DIGESTED = ("text", "sites", "stub", "literal", "state")


class Stubs(NamedTuple):
    """Layout of stubs that the guest was compiled with, in bytes; all but the first are 0 where there are no stubs.

    Of a mechanism whose functions have a size of their own (``bytes``), the farm knows word and slot as little.
    """

    function_alignment: int
    size: int  #: of one
    word: int  #: from the stub's first instruction
    word_size: int
    slot: int  #: likewise, before it if it is negative; 0: it has none


class Entry(NamedTuple):
    """A call site as the guest's table has it."""

    address: int
    linked: int
    function: int


@dataclass(frozen=True)
class Linked:
    """A guest as it is about to be run."""

    name: str  #: of the image, for messages
    variant: Variant
    mechanism: Mechanism
    content: bytes
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]
    symbols: dict[str, Symbol]
    functions: dict[str, int]  #: where their code begins

    @property
    def pokes(self) -> bool:
        return self.mechanism.pokes

    @property
    def redirects(self) -> bool:
        return self.mechanism.redirects

    def address(self, name: str) -> int:
        """Address of the symbol ``name``.  Raises :class:`~farm.errors.ImageError` if the guest has no such symbol."""
        if name not in self.symbols:
            raise ImageError(f"{self.name}: it has no symbol {name}")
        return self.symbols[name].address

    def region(self, name: str) -> range:
        """The addresses between ``NAME_start`` and ``NAME_end``."""
        return range(self.address(f"{name}_start"), self.address(f"{name}_end"))

    def bytes_at(self, address: int, size: int) -> bytes:
        return bytes_at(self.content, self.segments, address, size)

    def words(self, name: str, count: int, kind: Literal["I", "i"] = "I") -> tuple[int, ...]:
        """``count`` words of 32 bits at symbol ``name``: without a sign or, of ``kind`` ``i``, with one."""
        return struct.unpack(f"{self._order}{count}{kind}", self.bytes_at(self.address(name), 4 * count))

    @property
    def stubs(self) -> Stubs:
        return Stubs(*self.words("farm_layout", len(Stubs._fields), "i"))

    @property
    def entry(self) -> struct.Struct:
        """Packing of an entry of the table of call sites."""
        return struct.Struct(f"{self._order}{'Q' if self.variant.word_size == 8 else 'I'}II")

    @property
    def sites(self) -> list[Entry]:
        """The guest's own table of call sites."""
        (count,) = self.words("farm_site_count", 1)
        table = self.bytes_at(self.address("farm_sites"), count * self.entry.size)
        return [Entry(*fields) for fields in self.entry.iter_unpack(table)]

    def stub(self, number: int) -> int:
        """Address of the first instruction of stub ``number``."""
        return self.functions[f"whatever_{number}"]

    @property
    def _order(self) -> str:
        return ">" if self.variant.big_endian else "<"


def read(path: Path, name: str, variant: Variant, mechanism: Mechanism) -> Linked:
    """The guest in ``path``, called ``name`` in messages.

    Raises :class:`~farm.errors.ImageError` if it is none.
    """
    segments, _, functions = elf.inspect(path, variant)
    sections, symbols = elf.parts(path)
    return Linked(name, variant, mechanism, path.read_bytes(), segments, sections, symbols, functions)


def check(guest: Linked) -> None:
    """Raise :class:`~farm.errors.ImageError`, with image, symbol, address and rule, if ``guest`` breaks a rule."""
    for rule in RULES:
        for complaint in rule(guest):
            raise ImageError(f"{guest.name}: {complaint}")


def _functions(guest: Linked) -> Iterator[str]:
    """Every patchable function and every target of it is there."""
    for number in range(len(FUNCTIONS)):
        for name in (f"whatever_{number}", *(f"{target.name.lower()}_{number}" for target in REAL_TARGETS)):
            if name not in guest.functions or name not in guest.symbols:
                yield f"it has no function {name}, which every guest has (images/guest/guest.h)"


def _code(guest: Linked) -> Iterator[str]:
    """Code is where the farm looks for call sites, and stubs are where they are patched."""
    wanted = {*CODE, ".stub"}
    executable = [segment for segment in guest.segments if segment.flags & _EXECUTE]
    for section in guest.sections:
        inside = any(s.address <= section.address < s.address + s.size for s in executable)
        if inside and section.size and section.name not in wanted:
            yield (
                f"section {section.name} at {section.address:#x} holds code, and nobody looks for call sites there "
                f"(images/platform/link.ld has {', '.join(sorted(wanted))})"
            )
    filled = {section.name for section in guest.sections if section.size}
    for name in (*CODE, *((".stub",) if guest.pokes else ())):
        if name not in filled:
            yield f"section {name} is empty or not there (images/platform/link.ld)"


def _protection(guest: Linked) -> Iterator[str]:
    """Text is executable and read-only but between text_open and text_close (mechanism.h); data is never executable."""
    for segment in guest.segments:
        if segment.flags & _EXECUTE and segment.flags & _WRITE:
            yield f"the segment at {segment.address:#x} is writable and executable at once (mechanism.h, text_open)"
    flags = (("text", _EXECUTE), ("module", _EXECUTE), ("sites", _EXECUTE), ("stub", _EXECUTE), ("far", _EXECUTE))
    for name, needed in (*flags, ("state", _WRITE)):
        region = guest.region(name)
        if region and not any(
            s.flags & needed and s.address <= region[0] and region[-1] < s.address + s.size for s in guest.segments
        ):
            what = "executable" if needed == _EXECUTE else "writable"
            yield f"{name}_start at {region[0]:#x} is in no {what} segment (images/platform/link.ld, PHDRS)"


def _pages(guest: Linked) -> Iterator[str]:
    """A region that changes its protection has its pages for itself."""
    page = guest.variant.page
    why = f"protection changes by pages, here of {page} bytes (mprotect(2))"
    for name in ("module", "sites", "stub", "literal"):
        start = guest.address(f"{name}_start")
        if start % page:
            yield f"{name}_start at {start:#x} is not the beginning of a page: {why}"
    by_address = sorted(guest.segments, key=lambda segment: segment.address)
    for first, second in pairwise(by_address):
        if (first.address + first.size - 1) // page >= second.address // page:
            yield f"the segments at {first.address:#x} and {second.address:#x} share a page: {why}"


def _alias(guest: Linked) -> Iterator[str]:
    """What a mechanism stores to through a second mapping has room for one, where nothing else is."""
    if not guest.mechanism.alias:
        return
    start, end = (guest.address(name) for name in REGIONS[guest.mechanism.region or ""])
    second = guest.address("alias_start")
    for segment in guest.segments:
        if segment.address < second + end - start and second < segment.address + segment.size:
            yield (
                f"the second mapping of {end - start} bytes at {second:#x} is also the segment at {segment.address:#x} "
                "(images/platform/link.ld, alias_start)"
            )


def _places(guest: Linked) -> Iterator[str]:
    """Near and far text are where arch.toml wants them; far text is near for a mechanism that reaches no further."""
    variant = guest.variant
    for name, wanted in (("text", variant.text_base), ("far", guest.mechanism.far_base(variant))):
        start = guest.address(f"{name}_start")
        if start != wanted:
            yield f"{name}_start is at {start:#x}, and {name}_base in arch.toml is {wanted:#x}"


def _words(guest: Linked) -> Iterator[str]:
    """Regions digested or copied as 32-bit words (images/platform/linux.c, images/guest/module.c) are made of them."""
    for name in (*_DIGESTED, "module"):
        region = guest.region(name)
        if region.start % 4 or len(region) % 4:
            yield (
                f"{name}_start at {region.start:#x} has {len(region)} bytes: it is digested or copied as 32-bit words, "
                "so both are multiples of 4"
            )
    for name in ("farm_pristine", "farm_module"):
        if guest.address(name) % 4:
            yield f"{name} at {guest.address(name):#x} is copied as 32-bit words, and is not aligned as one"


def _edge(guest: Linked) -> Iterator[str]:
    """Behind the pattern there is nothing, so that who reads past its end dies."""
    page = guest.variant.page
    for section in guest.sections:
        if section.name == ".edge":
            end = section.address + section.size
            behind = [s for s in guest.segments if s.address < end + page and end < s.address + s.size]
            if end % page or behind:
                yield f"section .edge ends at {end:#x}: not at the end of a page of {page} bytes with nothing behind it"


def _targets(guest: Linked) -> Iterator[str]:
    """Targets begin where functions may: a patch to any other address is refused as misaligned."""
    alignment = guest.stubs.function_alignment
    for number in range(len(FUNCTIONS)):
        for target in REAL_TARGETS:
            name = f"{target.name.lower()}_{number}"
            if (guest.address(name) - guest.variant.function_bias) % alignment:
                yield f"{name} at {guest.address(name):#x} is not a multiple of {alignment} (ARCH_FUNCTION_ALIGNMENT)"


def _far(guest: Linked) -> Iterator[str]:
    """No stub's jump reaches a far target: else the way through the data slot is never taken."""
    reach, bits = guest.variant.branch_range, guest.variant.bits
    tried = reach and guest.pokes and guest.mechanism.at(guest.variant).far
    for number in range(len(FUNCTIONS) if tried else 0):
        name = f"{Target.FAR.name.lower()}_{number}"
        distance = (guest.functions[name] - guest.stub(number) + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)
        if reach and abs(distance) <= reach:
            yield (
                f"{name} at {guest.functions[name]:#x} is {distance:#x} bytes from its stub, which reaches {reach:#x} "
                "(branch_range in arch.toml)"
            )


def _stubs(guest: Linked) -> Iterator[str]:
    """Every stub has a block of its own, of one size, and all it consists of lies in it (poke.c)."""
    region, stubs = range(guest.address("stub_start"), guest.address("patched_end")), guest.stubs
    if not guest.pokes:
        return
    if not stubs.size or stubs.size & stubs.size - 1 or region.start % stubs.size:
        yield f"stub_start at {region.start:#x} is not a multiple of ARCH_STUB_BYTES ({stubs.size}), a power of two"
        return
    if len(region) != (-(-stubs.size * len(FUNCTIONS) // 16)) * 16:
        yield (
            f"section .stub has {len(region)} bytes, and {len(FUNCTIONS)} stubs of ARCH_STUB_BYTES ({stubs.size}) have "
            f"{stubs.size * len(FUNCTIONS)}"
        )
    for number in range(len(FUNCTIONS)):
        block = range(region.start + number * stubs.size, region.start + (number + 1) * stubs.size)
        places = [("its first instruction", guest.stub(number), guest.variant.alignment)]
        if stubs.word_size:
            places.append(("its word (ARCH_STUB_WORD)", guest.stub(number) + stubs.word, stubs.word_size))
        if stubs.slot:
            places.append(("its data slot (ARCH_STUB_SLOT)", guest.stub(number) + stubs.slot, guest.variant.word_size))
        for what, at, size in places:
            if at not in block or at + size - 1 not in block:
                yield f"whatever_{number}: {what} at {at:#x} is not in the stub's own bytes from {block.start:#x} on"


def _entries(guest: Linked) -> Iterator[str]:
    """An entry that is overwritten begins its function's bytes, so what is stored there is aligned as these are."""
    stubs, start = guest.stubs, guest.address("stub_start")
    for number in range(len(FUNCTIONS) if guest.mechanism.functions == "entry" else 0):
        at, wanted = guest.stub(number), start + number * stubs.size
        if at != wanted:
            yield (
                f"whatever_{number}: its entry at {at:#x} is not at {wanted:#x}, where its {stubs.size} bytes begin: a "
                f"store to it may be seen in parts{_manual(guest.variant.store_manual)}"
            )


def _annex(guest: Linked) -> Iterator[str]:
    """What code is made in at run time, if anything, is empty, and as near to every stub as its jump reaches."""
    annex = range(guest.address("patched_end"), guest.address("stub_end"))
    if not annex:
        return
    if annex.start % 16 or any(guest.bytes_at(annex.start, len(annex))):
        yield f"patched_end at {annex.start:#x} is not a multiple of 16 with zeros alone behind it (link.ld)"
    reach = guest.variant.branch_range
    for number in range(len(FUNCTIONS) if reach else 0):
        if reach and annex[-1] - guest.stub(number) >= reach:
            yield (
                f"stub_end at {annex.stop:#x} is not within {reach:#x} bytes of whatever_{number} at "
                f"{guest.stub(number):#x} (branch_range in arch.toml)"
            )


def _stub_words(guest: Linked) -> Iterator[str]:
    """The word of a stub is replaced in one store."""
    stubs, variant = guest.stubs, guest.variant
    if not guest.pokes or not stubs.word_size:
        return
    if stubs.word_size > variant.word_size:
        yield f"ARCH_CODE_WORD has {stubs.word_size} bytes, and one store of {variant.name} {variant.word_size}"
    for number in range(len(FUNCTIONS)):
        at = guest.stub(number) + stubs.word
        if at % stubs.word_size:
            yield (
                f"whatever_{number}: the word of its stub at {at:#x} is not a multiple of its {stubs.word_size} bytes, "
                f"so a store may be seen in parts{_manual(variant.store_manual)}"
            )


def _slots(guest: Linked) -> Iterator[str]:
    """The data slot of a stub is loaded, and replaced, as one."""
    stubs, variant = guest.stubs, guest.variant
    for number in range(len(FUNCTIONS) if stubs.slot and guest.pokes else 0):
        at = guest.stub(number) + stubs.slot
        if at % variant.word_size:
            yield (
                f"whatever_{number}: the data slot of its stub at {at:#x} is not a multiple of its {variant.word_size} "
                f"bytes{_manual(variant.slot_manual or variant.store_manual)}"
            )


def _pointers(guest: Linked) -> Iterator[str]:
    """A pointer, or a literal, is loaded, and replaced, as one."""
    name, variant = guest.mechanism.patches, guest.variant
    if guest.pokes:
        return
    region, size = guest.region(name), variant.word_size * len(FUNCTIONS)
    manual = variant.slot_manual if name == "literal" else ""
    if len(region) != size:
        yield f"{name}_start at {region.start:#x} has {len(region)} bytes, not {len(FUNCTIONS)} {name}s"
    if region.start % variant.word_size:
        yield (
            f"{name}_start at {region.start:#x} is not a multiple of {variant.word_size} bytes, so a store to a "
            f"{name} may be seen in parts{_manual(manual or variant.store_manual)}"
        )


def _literals(guest: Linked) -> Iterator[str]:
    """Literals are read-only but between text_open and text_close (mechanism.h); `_code` sees them executable."""
    region = guest.region("literal")
    for segment in guest.segments if region else ():
        inside = segment.address < region.stop and region.start < segment.address + segment.size
        if inside and segment.flags & _WRITE:
            yield f"literal_start at {region.start:#x} is in a writable segment (images/platform/link.ld, PHDRS)"


def _sites(guest: Linked) -> Iterator[str]:
    """A call site in the table is one that one store replaces, in text that is opened for it, and is as linked."""
    if not guest.redirects:
        return
    module, text = guest.region("module"), guest.region("sites")
    last = -_SITE_BYTES
    for site in guest.sites:
        function = site.function & ~SITE_IN_MODULE
        name = f"the call site of whatever_{function} at {site.address:#x}"
        if function >= len(FUNCTIONS):
            yield f"{name}: there is no such function"
        if site.address < last + _SITE_BYTES:
            yield f"{name} is not behind the one at {last:#x} (farm_sites is sorted, and no two share a byte)"
        last = site.address
        if site.address not in (module if site.function & SITE_IN_MODULE else text):
            where = "module" if site.function & SITE_IN_MODULE else "sites"
            yield f"{name} is not between {where}_start and {where}_end, which are opened to patch it (mechanism.h)"
        elif int.from_bytes(guest.bytes_at(site.address, _SITE_BYTES), guest.variant.byte_order) != site.linked:
            yield f"{name}: the table has {site.linked:#010x}, and the linker left something else there"
        if may_tear(guest.variant, site.address):
            block = guest.variant.store_within
            within = f", nor within {block} aligned bytes" if block else ""
            yield (
                f"{name} is not a multiple of {_SITE_BYTES}{within}, so a store may be seen "
                f"in parts{_manual(guest.variant.store_manual)}"
            )


def _branches(guest: Linked) -> Iterator[str]:
    """Every branch to a stub is in the table of call sites, but what one store cannot replace."""
    if not guest.redirects:
        return
    table = {(site.address, site.function & ~SITE_IN_MODULE) for site in guest.sites}
    stubs = {guest.stub(number): number for number in range(len(FUNCTIONS))}
    for section in (section for section in guest.sections if section.name in CODE):
        code = guest.bytes_at(section.address, section.size)
        for place, form, number in branches(guest.variant, section.address, code, stubs):
            if (place, number) not in table and not may_tear(guest.variant, place):
                yield (
                    f"{form.instruction} at {place:#x} in {section.name} leads to whatever_{number}, and is not in the "
                    "table of call sites: no relocation says so, or farm/guest/call_sites.py lost it"
                )


def may_tear(variant: Variant, address: int) -> bool:
    """A store of 32 bits to ``address`` may be seen in parts."""
    block = variant.store_within
    inside = block is not None and address // block == (address + _SITE_BYTES - 1) // block
    return bool(address % _SITE_BYTES) and not inside


def _manual(reference: str) -> str:
    return f" ({reference})" if reference else ""


#: Rules that must hold: each a generator of sentences about what breaks it.
RULES: tuple[Callable[[Linked], Iterator[str]], ...] = (
    _functions,
    _code,
    _protection,
    _pages,
    _alias,
    _places,
    _words,
    _edge,
    _targets,
    _far,
    _stubs,
    _entries,
    _annex,
    _stub_words,
    _slots,
    _pointers,
    _literals,
    _sites,
    _branches,
)
