"""Contradictions: what an ``arch.toml`` may not say although each key alone is well-formed.

Left in, each would be found late or never: a form of call site that matches nothing leaves call sites unseen, a base
that is no multiple of the page moves when the guest is linked.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from farm.cell import EngineName
from farm.guest import rules
from farm.guest.variant import NativeSettings, QemuSystemSettings

if TYPE_CHECKING:
    from farm.guest.variant import BitPattern, CallSiteForm, EngineSettings, Opcode, ToolchainSettings, Variant

_WORD = 32  # bits of the word that holds a displacement
_MIB = 1 << 20
_SUPERVISORS_PAGE = 4096
_REACH = 16  # bytes between relocation, word and opcode of one instruction

#: A name is a part of a cell's name (``VARIANT/MECHANISM/...``) and of comma lists, and no glob.
_NAME = re.compile(r"[A-Za-z0-9_.+-]+")
_PART = re.compile(r"=?(\d{1,2})|(\d{1,2}):(\d{1,2})")

#: Unicorn's architecture that a quirk is about, by how the quirk's name begins; any, if it begins otherwise.
_QUIRKS_OF = {"x86": "X86", "arm": "ARM", "arm64": "ARM64", "ppc": "PPC", "riscv": "RISCV", "mips": "MIPS"} | {
    "s390x": "S390X",
    "sparc": "SPARC",
    "m68k": "M68K",
}


def contradictions(variant: Variant) -> Iterator[tuple[str, str]]:
    """Each key of ``[variant.NAME]`` that contradicts another key or itself (``""``: the name), and why."""
    v = variant
    if not _NAME.fullmatch(v.name):
        yield "", "expected a name of letters, digits and _ . + - alone, since it is part of the names of cells"
    if not 0 < v.machine < 1 << 16:
        yield "machine", f"{v.machine} found; expected 1 to 65535, as an ELF header holds it"
    yield from _layout(v)
    yield from _repeated("abi", v.abi)
    yield from _repeated("disassembler", v.disassembler[1:])  # the modes: one may have the architecture's name
    if len(v.disassembler) == 1:
        yield "disassembler", f"{v.disassembler[0]!r} alone found; expected capstone's architecture and its modes"
    for name, tool in v.toolchain.items():
        yield from _toolchain(f"toolchain.{name}", tool)
    for name, settings in v.engine.items():
        yield from _engine(f"engine.{name}", name, settings)
    for number, form in enumerate(v.call_site):
        for key, why in _form(form, v):
            yield f"call_site[{number}].{key}", why
    yield from rules.contradictions(v.atomicity, v.coherence)
    # Only those that are sound can be compared.
    if not any(why for form in v.call_site for why in _form(form, v)):
        yield from _ambiguous(v)


def _toolchain(key: str, settings: ToolchainSettings) -> Iterator[tuple[str, str]]:
    for list_ in ("flags", "retpoline_flags", "integer_flags", "link_flags"):
        for flag in getattr(settings, list_):
            if any(part.startswith("@") for part in flag.split(",")):
                why = f"{flag!r} found; a file of flags is one that no compiler tells of: write the flags here"
                yield f"{key}.{list_}", why


def _layout(v: Variant) -> Iterator[tuple[str, str]]:
    for key in ("page", "alignment"):
        size = getattr(v, key)
        if not _is_power(size):
            yield key, f"{size} found; expected a power of two"
            return
    for key in ("text_base", "far_base"):
        address = getattr(v, key)
        if not 0 < address < 1 << v.bits:
            yield key, f"{address:#x} found; expected an address of {v.bits} bits that is not 0"
        elif address % v.page:
            yield key, f"{address:#x} found; expected a multiple of the page, {v.page:#x}"
    if v.alignment > v.page:
        yield "alignment", f"{v.alignment} found; expected no more than the page, {v.page}"
    if v.branch_range is not None and v.branch_range < v.page:
        why = f"{v.branch_range} found; expected bytes, {v.page} (a page) at least, for stubs must reach their targets"
        yield "branch_range", f"{why}; leave it out if all is in reach"
    elif abs(v.far_base - v.text_base) <= (v.branch_range or 0):
        why = (
            f"{v.far_base:#x} is within branch_range of text_base; expected an address "
            f"more than {v.branch_range or 0:#x} bytes from {v.text_base:#x}"
        )
        yield "far_base", why
    if not 0 <= v.function_bias < v.alignment:
        why = (
            f"{v.function_bias} found; expected 0 to {v.alignment - 1}: bits that no address of an instruction has, "
            f"for they are {v.alignment}-aligned"
        )
        yield "function_bias", why


def _engine(key: str, name: str, settings: EngineSettings) -> Iterator[tuple[str, str]]:
    if ":" in name and not _NAME.fullmatch(EngineName.of(name).profile):
        yield key, "expected a profile's name of letters, digits and _ . + - behind the colon"
    for list_ in ("features", "quirks", "mode", "hosts", "flags"):
        yield from _repeated(f"{key}.{list_}", getattr(settings, list_, ()))
    for quirk in getattr(settings, "quirks", ()):
        about = _QUIRKS_OF.get(quirk.partition("-")[0])
        arch = getattr(settings, "arch", None)
        if about not in (None, arch):
            yield f"{key}.quirks", f"{quirk!r} found, which is about {about}; arch is {arch!r}"
    if isinstance(settings, NativeSettings):
        yield from _native(key, settings)
    if isinstance(settings, QemuSystemSettings):
        yield from _machine(key, settings)
    since = getattr(settings, "since", None)
    if since is not None and not re.fullmatch(r"\d+(\.\d+)*", since):
        yield f"{key}.since", f"{since!r} found; expected a version, for example '2.1.0'"


def _machine(key: str, settings: QemuSystemSettings) -> Iterator[tuple[str, str]]:
    for name in ("memory", "least"):
        size = getattr(settings, name)
        if size < 0 or size % _MIB:
            yield f"{key}.{name}", f"{size:#x} found; expected a multiple of {_MIB:#x}"
    if settings.start < settings.memory or settings.start % _SUPERVISORS_PAGE:
        why = f"expected a multiple of {_SUPERVISORS_PAGE:#x} from {settings.memory:#x} on, where the memory begins"
        yield f"{key}.start", f"{settings.start:#x} found; {why}"
    if not any(re.search(r"\bchardev[:=]console\b", option) for option in settings.console):
        why = "expected options that make the chardev named console the machine's"
        yield f"{key}.console", f"{list(settings.console)} found; {why}"


def _native(key: str, settings: NativeSettings) -> Iterator[tuple[str, str]]:
    if not settings.hosts:
        yield f"{key}.hosts", "[] found; expected the hosts that run it, as `uname -m` names them"
    try:
        code = bytes.fromhex(settings.exits)
    except ValueError:
        code = b""
    if not code:
        why = f"{settings.exits!r} found; expected code in hexadecimal that ends its process with status 0"
        yield f"{key}.exits", why


def _form(form: CallSiteForm, variant: Variant) -> Iterator[tuple[str, str]]:
    if not form.relocations:
        yield "relocations", "[] found; expected at least one ELF type, which leads to such a site"
    yield from _repeated("relocations", form.relocations)
    for type_ in form.relocations:
        if not 0 <= type_ < 1 << 32:
            yield "relocations", f"{type_} found; expected types from 0 to {(1 << 32) - 1}"
    if abs(form.word) > _REACH:
        yield "word", f"{form.word} found; expected the word within {_REACH} bytes of where the relocation points to"
    yield from _opcode(form.opcode)
    if form.store == "never":
        if not form.reason:
            yield "reason", "missing; expected why a site of this form is left alone, for store is 'never'"
        return
    if form.reason:
        yield "reason", f"{form.reason!r} found; expected none, for store is {form.store!r}, not 'never'"
    if not _is_power(form.scale):
        yield "scale", f"{form.scale} found; expected a power of two, of bytes"
        return
    yield from _displacement(form, variant)


def _opcode(opcode: Opcode) -> Iterator[tuple[str, str]]:
    bits = 8 * opcode.size
    if abs(opcode.at) > _REACH:
        yield "opcode.at", f"{opcode.at} found; expected the opcode within {_REACH} bytes of the word"
    yield from _pattern("opcode", opcode, bits)
    unless = opcode.unless
    if unless is None:
        return
    yield from _pattern("opcode.unless", unless, bits)
    if (unless.value ^ opcode.value) & unless.mask & opcode.mask:
        why = (
            f"excludes nothing: no instruction of opcode.value {opcode.value:#x} has the bits of value "
            f"{unless.value:#x}"
        )
        yield "opcode.unless", why
    elif not unless.mask & ~opcode.mask:
        yield "opcode.unless", "excludes every instruction of the opcode: its mask has no bit beyond opcode.mask"


def _pattern(key: str, pattern: Opcode | BitPattern, bits: int) -> Iterator[tuple[str, str]]:
    if not 0 < pattern.mask < 1 << bits:
        yield f"{key}.mask", f"{pattern.mask:#x} found; expected 1 to {(1 << bits) - 1:#x}, for it has {bits} bits"
    elif pattern.value & ~pattern.mask:
        why = (
            f"{pattern.value:#x} has bits outside mask {pattern.mask:#x}, so it can match nothing; expected none of "
            f"{pattern.value & ~pattern.mask:#x}"
        )
        yield f"{key}.value", why


def _displacement(form: CallSiteForm, variant: Variant) -> Iterator[tuple[str, str]]:
    bits: list[int] = []
    for number, part in enumerate(form.displacement.split()):
        bounds = _PART.fullmatch(part)
        if not bounds or (number == 0 and part.startswith("=")):
            yield (
                "displacement",
                f"{part!r} found; expected bits from the most significant one, for example '31 19:12 20 30:21'",
            )
            return
        high, low = int(bounds[1] or bounds[2]), int(bounds[1] or bounds[3])
        if not _WORD > high >= low:
            yield "displacement", f"{part!r} found; expected bits {_WORD - 1} to 0, the higher one first"
            return
        bits += range(low, high + 1)
    if not bits:
        yield "displacement", "missing; expected the bits that hold it, for store is not 'never'"
        return
    twice = next((bit for bit in bits if bits.count(bit) > 1), None)
    if twice is not None:
        yield "displacement", f"bit {twice} is in it twice; expected every bit once"
        return
    fixed = _placed(form.opcode.mask, form, variant) >> _placed_at(form, variant)
    shared = next((bit for bit in bits if fixed >> bit & 1), None)
    if shared is not None:
        yield "displacement", f"bit {shared} is one of opcode.mask too, which holds it fast; expected it in one of them"
    if form.scale << len(bits) > 1 << variant.bits:
        yield "scale", f"{form.scale} found; with {len(bits)} bits of displacement it leads beyond all addresses"
    if form.region is None:
        begin, end = min(0, form.opcode.at), max(4, form.opcode.at + form.opcode.size)
        if form.base not in (begin, 0) and not end <= form.base <= _REACH:
            why = (
                f"{form.base} found; expected where a program counter may be: {begin} (the instruction) or 0 (the "
                f"word), or from {end} (behind them) to {_REACH}"
            )
            yield "base", why
        return
    if not _is_power(form.region):
        yield "region", f"{form.region} found; expected a power of two, of bytes"
    elif form.scale << len(bits) > form.region:
        yield (
            "region",
            f"{form.region:#x} found; expected at least {form.scale << len(bits):#x}, what the field reaches",
        )
    if form.base:
        yield "base", f"{form.base} found; expected none, for with region the field is no distance"


def _ambiguous(v: Variant) -> Iterator[tuple[str, str]]:
    """Two forms that the same code and relocation may be: only the first would ever be chosen."""
    for (first, one), (second, other) in itertools.combinations(enumerate(v.call_site), 2):
        types = sorted({*one.relocations} & {*other.relocations})
        masks, values = ([_placed(getattr(f.opcode, key), f, v) for f in (one, other)] for key in ("mask", "value"))
        if not types or (values[0] ^ values[1]) & masks[0] & masks[1]:
            continue
        mask, value = masks[0] | masks[1], values[0] | values[1]
        exceptions = [(f, f.opcode.unless) for f in (one, other) if f.opcode.unless]
        if any(
            _placed(unless.mask, f, v) & ~mask == 0
            and value & _placed(unless.mask, f, v) == _placed(unless.value, f, v)
            for f, unless in exceptions
        ):
            continue
        why = (
            f"matches instructions that call_site[{first}] ({one.instruction}) matches too, with relocation type "
            f"{types[0]}; expected opcodes of which only one matches"
        )
        yield f"call_site[{second}].opcode", why


def _placed(number: int, form: CallSiteForm, variant: Variant) -> int:
    """Bits of the opcode, as bits of the code around where the relocation points to."""
    offset = form.word + form.opcode.at
    return number << 8 * (4 * _REACH + (4 - offset - form.opcode.size if variant.big_endian else offset))


def _placed_at(form: CallSiteForm, variant: Variant) -> int:
    """Number that bit 0 of the word has among the bits of the code around it (:func:`_placed`)."""
    return 8 * (4 * _REACH + (-form.word if variant.big_endian else form.word))


def _repeated(key: str, names: Sequence[object]) -> Iterator[tuple[str, str]]:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        yield key, f"{twice!r} is in it twice; expected each once"


def _is_power(number: int) -> bool:
    return number > 0 and not number & (number - 1)
