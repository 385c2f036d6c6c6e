"""What must be watched of a guest so that its stores to code can be audited, read off the linked image.

All executable code is decoded, function by function, so that data between functions does not put the decoder out of
step.  Every instruction that is a step of the architecture's maintenance, or a barrier between a data slot and the word
that leads there, is noted when it is executed, with the address that it is for.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from farm.engines import Watch, Watched, Watches
from farm.guest.disassemble import texts
from farm.guest.elf import local_entries
from farm.guest.image import Image
from farm.guest.mechanisms import Mechanism
from farm.guest.rules import OR, Coherence
from farm.guest.variant import Variant
from farm.scenario import FUNCTIONS, REAL_TARGETS
from farm.scenario.wire import target_word

#: Functions of the farm's layer with which a request begins (layer.h); a mechanism is also told of late call sites.
BEGINS = ("patch_set", "patch_restore", "patch_null", "patch_ret0", "mechanism_sites_loaded")

#: The function of the layer's that a request reaches when it is over.
ENDS = ("patched_text_after",)

#: The function by which every CPU serialises (breakpoint.h).
SERIALISES = ("every_cpu_serialises",)

#: The loader of modules, which is no part of any request and stores to code itself.
OUTSIDE = ("module_load", "module_unload")

#: Regions that a guest's own code never writes to but to patch it; those of data that a patch changes come first.
_DATA, _CODE = ("pointer", "literal"), ("text", "module", "sites", "stub", "far")

#: By capstone's architecture: how the registers of an operand are written, where not as Unicorn names them.
_REGISTERS = {"ppc": r"r(\d+)", "mips": r"\$(\w+)", "sparc": r"%(\w+)"}

_EXECUTE = 1  # of an ELF segment


@dataclass(frozen=True)
class Meaning:
    """Meaning of an instruction that is watched: steps of the maintenance, by number; and whether it is a barrier.

    The first of a function is watched for what the whole function does.
    """

    text: str
    steps: tuple[int, ...]
    is_barrier: bool  #: between a data slot and the word that leads there
    orders_loads: bool = False
    serialises: bool = False  #: every CPU


@dataclass(frozen=True)
class Watching:
    """A :class:`~farm.engines.Watch` of a guest, and what its notes mean."""

    watch: Watch
    meanings: tuple[Meaning, ...]  #: of its instructions
    code: tuple[range, ...]  #: executable memory
    outside: tuple[int, ...]  #: functions among its ends that no request enters
    loader: int  #: the one of these that loads the module; 0: there is none
    entries: dict[int, int]  #: of targets, by address: the word by which a trace names one
    undecoded: int  #: bytes of functions that are no instructions to the disassembler


#: Of the images that were asked for last, by hash, rules and registers: several batches are of one image.
_known: dict[tuple[str, str, frozenset[str]], Watching] = {}
_MOST_KNOWN = 16


def watching(variant: Variant, image: Image, engine: Watches) -> Watching:
    """What to watch of ``image`` on ``engine``."""
    names = engine.registers(variant)
    key = image.sha256, repr(variant.coherence), names
    watched = _known.get(key) or _read(variant, image, names)
    _known[key] = watched
    for oldest in list(_known)[:-_MOST_KNOWN]:
        _known.pop(oldest, None)
    return watched


def _read(variant: Variant, image: Image, names: frozenset[str]) -> Watching:
    instructions: list[Watched] = []
    meanings: list[Meaning] = []
    undecoded = 0
    coherence = variant.coherence
    needed = bool(coherence.maintenance) or bool(coherence.barrier and coherence.barrier.instructions)
    known: dict[str, tuple[Meaning, str] | None] = {}  # by text: the same instruction comes many times
    for address, size, text in _code(variant, image, _mnemonics(coherence)) if needed else ():
        if text.startswith("."):
            undecoded += size
            continue
        if text not in known:
            known[text] = _meaning(coherence, text)
        if meant := known[text]:
            meaning, operand = meant
            instructions.append(_watched(variant, address, operand, names))
            meanings.append(meaning)
    for address in _entries(variant, image, SERIALISES):
        instructions.append(Watched(address, (), 0))
        meanings.append(Meaning(SERIALISES[0], (), is_barrier=False, serialises=True))
    begins, ends, outside = (tuple(_entries(variant, image, wanted)) for wanted in (BEGINS, ENDS, OUTSIDE))
    code = tuple(_regions(image, _CODE))
    stores = tuple((span.start, span.stop) for span in (*_regions(image, _DATA), *code))
    entries, loader = _targets(variant, image), next(_entries(variant, image, OUTSIDE[:1]), 0)
    watch = Watch(stores, tuple(instructions), begins, (*ends, *outside), tuple(entries))
    return Watching(watch, tuple(meanings), code, outside, loader, entries, undecoded)


def _mnemonics(coherence: Coherence) -> Callable[[str], bool]:
    """Tells of a mnemonic whether it may mean anything, or is none; there are few, and they come often."""
    barriers = (*coherence.barrier.instructions, *coherence.barrier.loads) if coherence.barrier else ()
    steps = [each for step in coherence.maintenance for each in step.instruction.split(OR)]
    globs = [".*", *(each.partition(" ")[0] for each in (*steps, *barriers))]
    return functools.cache(lambda mnemonic: any(fnmatch.fnmatchcase(mnemonic, glob) for glob in globs))


def _meaning(coherence: Coherence, text: str) -> tuple[Meaning, str] | None:
    """What the instruction ``text`` means and its address operand; None: nothing."""
    operands = {number: step.operand(text) for number, step in enumerate(coherence.maintenance)}
    fitting = {number: operand for number, operand in operands.items() if operand is not None}
    is_barrier = bool(coherence.barrier and coherence.barrier.does(text))
    orders_loads = bool(coherence.barrier and coherence.barrier.orders_loads(text))
    if not fitting and not is_barrier and not orders_loads:
        return None
    return Meaning(text, tuple(fitting), is_barrier, orders_loads), next(filter(None, fitting.values()), "")


def declared(image: Image, mechanism: Mechanism) -> tuple[range, ...]:
    """Memory that the mechanism says a patch may change."""
    symbols = image.symbols
    spans = {
        None: ("pointer_start", "pointer_end"),
        "TEXT_STUBS": ("stub_start", "stub_end"),
        "TEXT_ALL": ("module_start", "stub_end"),
        "TEXT_LITERALS": ("literal_start", "literal_end"),
    }
    start, end = spans[mechanism.region]
    return (range(symbols[start], symbols[end]),)


def _entries(variant: Variant, image: Image, names: Sequence[str]) -> Iterator[int]:
    """Where the functions of these ``names``, if they are there, are entered by whoever calls them."""
    local = _local_entries(image.path, image.sha256) if "toc" in variant.abi else {}
    for name in names:
        if name in image.functions:
            yield (image.functions[name] & ~variant.function_bias) + local.get(name, 0)


@functools.lru_cache(maxsize=_MOST_KNOWN)
def _local_entries(path: str, sha256: str) -> dict[str, int]:
    del sha256
    return local_entries(Path(path))


def _targets(variant: Variant, image: Image) -> dict[int, int]:
    """By where a target is entered, however it is called: the word by which a trace names it."""
    names = {
        f"{target.name.lower()}_{function}": target_word(function, target)
        for function in range(len(FUNCTIONS))
        for target in REAL_TARGETS
    }
    return dict(zip(_entries(variant, image, list(names)), names.values(), strict=True))


def _regions(image: Image, names: Sequence[str]) -> Iterator[range]:
    for name in names:
        span = range(image.symbols[f"{name}_start"], image.symbols[f"{name}_end"])
        if span:
            yield span


def _code(variant: Variant, image: Image, wanted: Callable[[str], bool]) -> Iterator[tuple[int, int, str]]:
    """Address, size and text of every instruction of every function of ``image`` whose mnemonic is ``wanted``."""
    content = image.read()
    starts = sorted({address & ~variant.function_bias for address in image.functions.values()})
    for segment in image.segments:
        if not segment.flags & _EXECUTE:
            continue
        end = segment.address + segment.file_size
        inside = [segment.address, *(start for start in starts if segment.address < start < end), end]
        for start, stop in pairwise(inside):
            at = segment.offset + start - segment.address
            yield from texts(variant, content[at : at + stop - start].rstrip(b"\0"), start, wanted)


def _watched(variant: Variant, address: int, operand: str, names: frozenset[str]) -> Watched:
    """The instruction at ``address``; its operand is a sum of registers and numbers: ``x0``, ``0, r3``, ``0($a0)``."""
    pattern = re.compile(_REGISTERS.get(variant.disassembler[0], r"([a-z]\w*)"))
    registers, constant = [], 0
    for token in re.findall(r"[$%]?-?\w+", operand):
        if re.fullmatch(r"-?(0x[0-9a-f]+|\d+)", token):
            constant += int(token, 0)
        elif (name := pattern.fullmatch(token)) and name[1].upper() in names:
            registers.append(name[1].upper())
    return Watched(address, tuple(registers), constant)
