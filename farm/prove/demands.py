"""What the rules of an architecture demand of a store to the code of one image."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from farm.engines import Note
from farm.guest.disassemble import texts
from farm.guest.image import Image
from farm.guest.mechanisms import Mechanism
from farm.guest.rules import Basis, FetchRule, Step
from farm.guest.variant import Variant
from farm.prove.pages import Memory
from farm.prove.sites import Sites
from farm.prove.watching import Watching, declared

LONGEST = 16  #: bytes of an instruction

ANNEX = 16  #: bytes; what a mechanism makes at run time is a multiple of it (arena.c, annex.S)

_AHEAD = 4  # instructions of a stub, before one that loads the slot or leads elsewhere

_LAST_ADDRESS = re.compile(r"(?:0x|\$)([0-9a-f]{4,})\b(?!.*\b[0-9a-f]{4,})")

_JUMP = re.compile(r"(b|j|jmp|jg|ba|call|br)\b")  # to a place in the stub itself, for instance

_NEVER = re.compile(r"j?g?nop|brcl 0")  # a branch that is never taken

_WORST: tuple[Basis, ...] = ("manual", "platform", "practice", "none")


@dataclass(frozen=True)
class Store:
    """A store in a request."""

    address: int
    before: bytes
    after: bytes
    pc: int

    @property
    def size(self) -> int:
        return len(self.after)

    @property
    def end(self) -> int:
        return self.address + self.size

    @functools.cached_property
    def changed(self) -> range:
        """The addresses from the first to the last byte that differs."""
        places = [i for i, (old, new) in enumerate(zip(self.before, self.after, strict=True)) if old != new]
        return range(self.address + places[0], self.address + places[-1] + 1) if places else range(0)


class Promised(NamedTuple):
    """What is promised of an instruction that changes while other CPUs may execute it."""

    basis: Basis
    source: str  #: the manual's place, or who relies on it
    instruction: range  #: its addresses


class Demands:
    """What the rules demand of stores to the code of one image."""

    def __init__(
        self, variant: Variant, mechanism: Mechanism, image: Image, watched: Watching, *, strict: bool = False
    ) -> None:
        self.variant, self.image, self.watched = variant, image, watched
        self.mechanism = mechanism.at(variant)
        self.concurrent = self.mechanism.patching == "concurrent"
        self.strict = strict
        self.declared = declared(image, mechanism)
        self._annex = range(image.symbols["patched_end"], image.symbols["stub_end"])
        self.stubs = range(image.symbols["stub_start"], image.symbols["stub_end"])
        self._segments = [range(s.address, s.address + s.size) for s in image.segments]
        self._content = image.read()
        self.sites = Sites(variant, image)
        self.stub_size = image.stubs.size or 1  #: bytes
        self._slots: dict[tuple[int, bytes, bytes], bool] = {}  # by address, what was there and what is stored
        self._pristine: dict[tuple[int, int], bytes] = {}  # by address and size: the same are asked for again and again
        self._promised: dict[tuple[int, bytes, bytes], Promised] = {}
        self._known: dict[tuple[int, bytes], tuple[int, str]] = {}  # the same patches are made again and again
        steps = variant.coherence.maintenance
        self._twice = image.mapped_twice
        self._distance = image.symbols["alias_start"] - self._twice.start
        self.steps = [step for step in steps if not step.unaudited]  #: of the maintenance, that an audit sees
        self.unseen = [step.unaudited for step in steps if step.unaudited]  #: why no audit sees the other ones
        self._meant = [self._places(meaning.steps) for meaning in watched.meanings]
        self.block = variant.coherence.block.least if variant.coherence.block else variant.alignment
        within = min((rule.within for rule in variant.atomicity.fetch), default=0)
        self.unit = max(self.block, within)  #: bytes of aligned code that no fetch finds partly stale
        barrier = variant.coherence.barrier
        self.barriers = barrier.instructions if barrier else ()  #: between a slot and the word that leads there
        self.barrier_manual = barrier.manual if barrier else ""

    def _places(self, numbers: Sequence[int]) -> frozenset[int]:
        """Places among the audited steps of steps that are equal to one of these numbers."""
        steps = self.variant.coherence.maintenance
        texts_ = {steps[number].instruction for number in numbers}
        return frozenset(place for place, step in enumerate(self.steps) if step.instruction in texts_)

    def name(self, address: int) -> str:
        """The address, and the function that it is in."""
        name = self.image.name_of(address)
        return f"{address:#x}" if name.startswith("0x") else f"{address:#x} <{name}>"

    def pristine(self, address: int, size: int) -> bytes:
        """Bytes of the image as linked; zeros where it has none."""
        if known := self._pristine.get((address, size)):
            return known
        held = bytearray(size)
        for s in self.image.segments:
            first, end = max(address, s.address), min(address + size, s.address + s.file_size)
            if first < end:
                at = s.offset - s.address
                held[first - address : end - address] = self._content[at + first : at + end]
        self._pristine[address, size] = content = bytes(held)
        return content

    def is_code(self, address: int) -> bool:
        for span in self.watched.code:  # noqa: SIM110 - asked very often, and a generator costs more
            if address in span:
                return True
        return False

    def is_declared(self, store: Store) -> bool:
        return any(span.start <= store.address and store.end <= span.stop for span in self.declared)

    def stub_of(self, store: Store) -> int | None:
        """The function whose stub is not as linked after ``store`` to it; None: the store is to something else."""
        if store.address not in self.stubs or store.address in self._annex:
            return None
        if self.pristine(store.address, store.size) == store.after:
            return None
        return (store.address - self.stubs.start) // self.stub_size

    def is_fresh_place(self, address: int) -> bool:
        return address in self._annex

    def is_slot(self, store: Store) -> bool:
        """The store is of an address to a data slot."""
        if store.size != self.variant.word_size or (self.variant.branch_range is None and not self._is_beside(store)):
            return False
        values = [int.from_bytes(word, self.variant.byte_order) for word in (store.before, store.after)]
        return store.address % store.size == 0 and any(v in span for v in values for span in self._segments)

    def is_slot_store(self, note: Note) -> bool:
        """Tell whether the store that ``note`` is of is to a slot (:meth:`is_slot`)."""
        key = note.place, note.before, note.after
        if key not in self._slots:
            self._slots[key] = self.is_slot(Store(*key, note.value))
        return self._slots[key]

    def _is_beside(self, store: Store) -> bool:
        """The store is to a stub of the mechanism's own, behind its jump (the farm's have no slot there)."""
        if not self.mechanism.bytes or self.mechanism.functions != "stub" or store.address not in self.stubs:
            return False
        start = max((address for address in self.image.functions.values() if address <= store.address), default=0)
        return store.address >= start + self.instruction(start, self.pristine(start, LONGEST))[0]

    def leads_to_slot(self, address: int, memory: Memory) -> bool:
        """Who comes to ``address`` loads a data slot, for no branch leads elsewhere before.

        What lies outside of what is patched and made has no slot.
        """
        for _ in range(_AHEAD):
            if address not in self.stubs:
                return False
            size, text = self.instruction(address, memory(address, LONGEST))
            last = _LAST_ADDRESS.search(text)
            if last and not _NEVER.match(text) and int(last[1], 16) not in self.stubs:
                return False
            if last and _JUMP.match(text):
                address = int(last[1], 16)
            else:
                address += size
        return True

    def destination(self, address: int, code: bytes) -> int:
        """Where the branch ``code`` at ``address`` leads; ``address`` if it is none, or is never taken."""
        _, text = self.instruction(address, code)
        last = _LAST_ADDRESS.search(text)
        return int(last[1], 16) if last and not _NEVER.match(text) else address

    def instruction(self, address: int, code: bytes) -> tuple[int, str]:
        """Size and text of the first instruction of ``code``, which is at ``address``."""
        known = self._known.get((address, code))
        if known is None:
            _, size, text = next(texts(self.variant, code, address))
            self._known[address, code] = known = (size, text)
        return known

    def is_whole(self, store: Store) -> str | None:
        """None if a store is one for every maker's CPUs, else the manual that does not say so."""
        rules = self.variant.atomicity.data
        for cpus in dict.fromkeys(rule.cpus for rule in rules):
            own = [rule for rule in rules if rule.cpus == cpus]
            if not any(rule.allows(store.address, store.size, self.variant.word_size) for rule in own):
                return "; ".join(rule.manual for rule in own)
        return None

    def is_for(self, step: Step, operand: int, block: int) -> bool:
        """The step, executed with this operand, is for the block of this number.

        Clean is what lies in memory, by whatever mapping it is named.
        """
        if not step.has_address:
            return True
        if "clean" in step.does and operand - self._distance in self._twice:
            operand -= self._distance
        return operand // self.block == block

    def is_asked(self, asked: range, block: int) -> bool:
        """A kernel that is asked about these addresses does the maintenance of the block of this number."""
        return block * self.block < asked.stop and asked.start < (block + 1) * self.block

    def steps_for(self, instruction: int) -> frozenset[int]:
        """Places among :attr:`steps` that the watched instruction may have."""
        return self._meant[instruction]

    def promised(self, store: Store, memory: Memory) -> Promised:
        """What is promised of the instruction that ``store`` changes."""
        key = (store.address, store.before, memory(store.address - LONGEST, 3 * LONGEST))
        if key not in self._promised:
            self._promised[key] = self._promised_of(store, memory)
        return self._promised[key]

    def _promised_of(self, store: Store, memory: Memory) -> Promised:
        rules = self.variant.atomicity.fetch
        first = (store.changed or range(store.address, store.end)).start & -self.variant.alignment
        nothing = Promised("none", self.variant.atomicity.unpromised, range(first, 0))
        if not rules:
            return nothing
        worst = Promised("manual", "", nothing.instruction)
        for cpus in dict.fromkeys(rule.cpus for rule in rules):
            bases = [
                (_WORST.index(rule.basis), rule, at)
                for rule in rules
                if rule.cpus == cpus and (at := self._fits(rule, store, memory)) is not None
            ]
            if not bases:
                manuals = [rule.manual for rule in rules if rule.cpus == cpus and rule.manual]
                return nothing._replace(source="; ".join(dict.fromkeys(manuals)))
            number, rule, instruction = min(bases, key=lambda each: each[0])
            if number >= _WORST.index(worst.basis):
                worst = Promised(rule.basis, rule.relied_on or rule.manual, instruction)
        return worst

    def _fits(self, rule: FetchRule, store: Store, memory: Memory) -> range | None:
        """Addresses of the instruction that ``rule`` lets the store change; None if there is none."""
        if rule.bits:
            free = bytes.fromhex(rule.bits)
            start = store.changed.start - next(i for i, bits in enumerate(free) if bits)
            starts = [start - i for i in range(free.count(0xFF) or 1)]  # the first bytes of an operand may be equal
        else:
            starts = [store.changed.start & -max(rule.within, self.variant.alignment)]
        for start in starts:
            before, after = around(store, start, memory)
            (size, old), (new_size, new) = (self.instruction(start, code) for code in (before, after))
            covered = start <= store.changed.start and store.changed.stop <= start + size
            if size != new_size or not covered or old.startswith(".") or new.startswith("."):
                continue
            names = (old.split()[0], new.split()[0])
            if rule.allows(start, before[:size], after[:size], names):
                return range(start, start + size)
        return None


def around(store: Store, start: int, memory: Memory) -> tuple[bytes, bytes]:
    """Bytes from ``start`` on, enough for an instruction, before ``store`` and behind it."""
    after = memory(start, LONGEST)
    before = bytearray(after)
    for i, byte in enumerate(store.before):
        if 0 <= store.address + i - start < LONGEST:
            before[store.address + i - start] = byte
    return bytes(before), after
