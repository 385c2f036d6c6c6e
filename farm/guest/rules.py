"""Rules that an architecture has for stores to code: ``[coherence]`` and ``[atomicity]`` of ``arch.toml``.

*Atomicity* is of two kinds that a manual promises apart: what the loads of another CPU see of a store (``data``), and
what its fetches may see of an instruction that changes meanwhile (``fetch``).  *Coherence* is what makes stored bytes
the instructions that are fetched.  Every rule has its :data:`Basis` and its place in the manual, so that whoever knows
the architecture can check it (``farm list rules``).

Instructions are written as the disassembler writes them (:mod:`farm.guest.disassemble`), for people can read that.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

#: What a rule stands on: an architecture's ``manual``; a ``platform`` that promises more than the architecture;
#: ``practice``, which no manual promises and named systems rely on; or ``none``.
Basis = Literal["manual", "platform", "practice", "none"]

#: What a mechanism promises of other CPUs: they run meanwhile (``concurrent``), or they are held off until the request
#: is over and synchronise before they go on (``quiesced``).
Patching = Literal["concurrent", "quiesced"]

#: Stands in an instruction for the operand that says which address it is for.
ADDRESS = "{address}"

#: Stands between the instructions each of which does a step of the maintenance.
OR = " or "

#: Stands in a mnemonic for one of Arm's conditions (Arm ARM DDI 0406C, A8.3).
_CONDITION = "<cond>"
_CONDITIONS = "(?:eq|ne|hs|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)"


@dataclass(frozen=True, kw_only=True)
class DataRule:
    """``[[atomicity.data]]``: a store of so many bytes is one, for the loads of every CPU."""

    most: int | None = None  #: bytes of the store; None: an address's
    within: int | None = None  #: anywhere in an aligned block of so many bytes; None: at a multiple of its own size
    cpus: str = ""  #: whose rule it is, where makers differ; empty: everybody's
    basis: Basis = "manual"
    manual: str = ""

    def allows(self, address: int, size: int, word_size: int) -> bool:
        """A store of ``size`` bytes, a power of two, to ``address`` is one; addresses have ``word_size`` bytes."""
        block = self.within or size
        return size <= (self.most or word_size) and address // block == (address + size - 1) // block


@dataclass(frozen=True, kw_only=True)
class FetchRule:
    """``[[atomicity.fetch]]``: an instruction may become another one in one store while another CPU executes it.

    That CPU executes the old one or the new one.
    """

    #: mnemonics, as globs; the old and the new instruction are each one of these.  ``<cond>`` is a condition of Arm's
    instructions: tuple[str, ...]
    within: int  #: bytes; what changes lies in an aligned block of so many
    bits: str = ""  #: that alone may change, of the instruction's bytes in memory, in hex; empty: all
    cpus: str = ""  #: as of :class:`DataRule`
    since: str = ""  #: issue of the manual that has it first
    basis: Basis
    manual: str = ""
    relied_on: str = ""  #: of ``practice``: by which system

    def allows(self, address: int, before: bytes, after: bytes, mnemonics: tuple[str, str]) -> bool:
        """The instruction at ``address`` may go from bytes ``before`` to ``after``, of these ``mnemonics``."""
        changed = bytes(a ^ b for a, b in zip(before, after, strict=True))
        places = [address + i for i, byte in enumerate(changed) if byte]
        if self.bits:
            free = bytes.fromhex(self.bits)
            if len(free) != len(changed) or any(byte & ~bit for byte, bit in zip(changed, free, strict=True)):
                return False
        inside = not places or places[0] // self.within == places[-1] // self.within
        return inside and all(any(_glob(each).fullmatch(name) for each in self.instructions) for name in mnemonics)


@dataclass(frozen=True, kw_only=True)
class SlotRule:
    """``[atomicity.slot]``: how the stub loads its data slot, and where it says that the slot must be aligned."""

    load: str
    manual: str


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """``[[atomicity.protocol]]``: several stores with something between them, by which any instruction may change."""

    name: str
    steps: tuple[str, ...]
    breakpoint: str = ""  #: the instruction that is over the first byte meanwhile, in hex
    cpus: str = ""  #: as of :class:`DataRule`
    basis: Basis
    manual: str = ""
    relied_on: str = ""  #: as of :class:`FetchRule`


@dataclass(frozen=True, kw_only=True)
class Atomicity:
    """``[atomicity]``."""

    data: tuple[DataRule, ...] = ()
    fetch: tuple[FetchRule, ...] = ()
    protocol: tuple[Protocol, ...] = ()
    slot: SlotRule | None = None
    unpromised: str = ""  #: why there is no rule of fetches

    @property
    def manual(self) -> str:
        """Where the manuals promise that a store is one; empty: nowhere."""
        return "; ".join(dict.fromkeys(rule.manual for rule in self.data if rule.manual))

    @property
    def slot_manual(self) -> str:
        return self.slot.manual if self.slot else self.manual

    @property
    def within(self) -> int | None:
        """Bytes of the aligned block within which every maker's CPUs store anything whole; None: there is none."""
        blocks = [rule.within for rule in self.data]
        return min((block for block in blocks if block), default=None) if all(blocks) else None


@dataclass(frozen=True, kw_only=True)
class Step:
    """``[[coherence.maintenance]]``: one step of what makes stored bytes the instructions that are fetched."""

    #: a glob, with ``{address}`` where it has an operand for the address; or several, with ``or`` between
    instruction: str
    does: tuple[Literal["clean", "invalidate", "order", "synchronise"], ...]
    reach: Literal["local", "broadcast"]  #: for this CPU alone, or for all
    kernel: str = ""  #: how user mode asks for it, where it may not do it, or need not
    unaudited: str = ""  #: why no audit sees it
    manual: str

    @property
    def name(self) -> str:
        """The instruction that is written, where several would do."""
        return self.instruction.split(OR)[0]

    @property
    def has_address(self) -> bool:
        return ADDRESS in self.instruction

    def operand(self, text: str) -> str | None:
        """The address operand of the instruction ``text``, empty if it has none; None: it is no such instruction."""
        fits = _template(self.instruction).fullmatch(text)
        return (fits["address"] if self.has_address else "") if fits else None


@dataclass(frozen=True, kw_only=True)
class Block:
    """``[coherence.block]``: bytes that one step with an address is for; the largest and the least that CPUs have."""

    least: int
    most: int
    manual: str


@dataclass(frozen=True, kw_only=True)
class Barrier:
    """``[coherence.barrier]``: what orders the store to a data slot before the store to the word that leads there."""

    instructions: tuple[str, ...] = ()  #: globs, each of which does; empty: stores are seen in order anyway
    loads: tuple[str, ...] = ()  #: globs, each of which orders loads before all behind it; empty: those same ones
    manual: str

    def does(self, text: str) -> bool:
        """The instruction ``text`` is such a barrier."""
        return any(_template(each).fullmatch(text) for each in self.instructions)

    def orders_loads(self, text: str) -> bool:
        """The instruction ``text`` orders loads before it and what is behind it."""
        return any(_template(each).fullmatch(text) for each in self.loads or self.instructions)


@dataclass(frozen=True, kw_only=True)
class Executor:
    """``[coherence.executor]``: what another CPU does before it runs new code for certain."""

    does: str
    manual: str


@dataclass(frozen=True, kw_only=True)
class Coherence:
    """``[coherence]``."""

    fetch: Literal["coherent", "incoherent"]  #: with stores, by itself
    manual: str = ""
    maintenance: tuple[Step, ...] = ()  #: after a store, in this order
    block: Block | None = None
    barrier: Barrier | None = None
    executor: Executor | None = None


def rows(atomicity: Atomicity, coherence: Coherence) -> Iterator[tuple[str, str, str, str]]:
    """Every rule for people: what it is about, what it says, its basis, and its source.

    The source is where the manual has it, and who relies on it.  A rule without one has no basis either.
    """
    for data in atomicity.data:
        size = f"up to {data.most} bytes" if data.most else "a word or less"
        where = f"within {data.within} aligned bytes" if data.within else "at a multiple of its size"
        yield _about("data", data.cpus), f"a store of {size} {where} is one", data.basis, data.manual
    if atomicity.slot:
        yield "slot", f"{atomicity.slot.load} needs it aligned", "manual", atomicity.slot.manual
    for fetch in atomicity.fetch:
        names = ", ".join(fetch.instructions)
        names = "any instruction" if names == "*" else names
        bits = f" where bits {fetch.bits} alone differ" if fetch.bits else ""
        says = f"{names} may replace one another{bits}, within {fetch.within} aligned bytes"
        yield _about("fetch", fetch.cpus), says, fetch.basis, _source(fetch)
    for protocol in atomicity.protocol:
        about, says = _about("protocol", protocol.cpus), f"{protocol.name}: {'; '.join(protocol.steps)}"
        yield about, says, protocol.basis, _source(protocol)
    if atomicity.unpromised:
        yield "fetch", "no instruction may change while another CPU executes it", "none", atomicity.unpromised
    yield "coherence", f"fetches are {coherence.fetch}", "manual" if coherence.manual else "", coherence.manual
    for number, step in enumerate(coherence.maintenance, 1):
        notes = [f"by the kernel: {step.kernel}" if step.kernel else "", step.unaudited]
        says = "; ".join(filter(None, (f"{step.instruction} ({', '.join(step.does)}; {step.reach})", *notes)))
        yield f"step {number}", says, "manual", step.manual
    if block := coherence.block:
        yield "block", f"{block.least} to {block.most} bytes a step", "manual", block.manual
    if barrier := coherence.barrier:
        says = " or ".join(barrier.instructions) or "none: stores are seen in order"
        yield "barrier", f"between slot and word {says}", "manual", barrier.manual
        if barrier.loads:
            yield "barrier", f"between loads {' or '.join(barrier.loads)}", "manual", barrier.manual
    if executor := coherence.executor:
        yield "executor", executor.does, "manual", executor.manual


def _source(rule: FetchRule | Protocol) -> str:
    since = rule.since if isinstance(rule, FetchRule) else ""
    relied_on = f"relied on by {rule.relied_on}" if rule.relied_on else ""
    return "; ".join(filter(None, (rule.manual, since, relied_on)))


def _about(what: str, cpus: str) -> str:
    return f"{what} ({cpus})" if cpus else what


def contradictions(atomicity: Atomicity, coherence: Coherence) -> Iterator[tuple[str, str]]:
    """Each key of the two tables that contradicts another one or itself, and why."""
    for number, data in enumerate(atomicity.data):
        yield from _sourced(f"atomicity.data[{number}]", data)
        for name in ("most", "within"):
            if (size := getattr(data, name)) is not None and not _is_power(size):
                yield f"atomicity.data[{number}].{name}", f"{size} found; expected a power of two"
    for number, protocol in enumerate(atomicity.protocol):
        yield from _sourced(f"atomicity.protocol[{number}]", protocol)
    for number, fetch in enumerate(atomicity.fetch):
        yield from _sourced(f"atomicity.fetch[{number}]", fetch)
        yield from _fetch(f"atomicity.fetch[{number}]", fetch)
    if bool(atomicity.unpromised) == bool(atomicity.fetch):
        why = "found beside atomicity.fetch" if atomicity.fetch else "missing, and atomicity.fetch too"
        if atomicity.data or atomicity.fetch:
            yield "atomicity.unpromised", f"{why}; expected one of the two"
    if coherence.fetch == "incoherent" and not coherence.maintenance:
        yield (
            "coherence.maintenance",
            "missing; expected the steps that make a store fetched, for fetch is 'incoherent'",
        )
    for number, step in enumerate(coherence.maintenance):
        if step.instruction.count(ADDRESS) > 1:
            why = f"{step.instruction!r} found; expected {ADDRESS} in it once at most"
            yield f"coherence.maintenance[{number}].instruction", why
        if not step.does:
            yield f"coherence.maintenance[{number}].does", "[] found; expected at least one thing"
    block = coherence.block
    if block and not (_is_power(block.least) and _is_power(block.most) and block.least <= block.most):
        yield "coherence.block.least", f"{block.least} to {block.most} found; expected powers of two, the lesser first"
    if bool(coherence.block) != any(step.has_address for step in coherence.maintenance):
        why = "expected it if a step of the maintenance has an address, and only then"
        yield "coherence.block", f"{'found' if coherence.block else 'missing'}; {why}"


def _sourced(key: str, rule: DataRule | FetchRule | Protocol) -> Iterator[tuple[str, str]]:
    """A rule says where it comes from, as its basis wants it."""
    if rule.basis in ("manual", "platform") and not rule.manual:
        yield f"{key}.manual", f"missing; expected manual and section, for basis is {rule.basis!r}"
    relied_on = getattr(rule, "relied_on", "")
    if rule.basis == "practice" and not isinstance(rule, DataRule) and not relied_on:
        yield f"{key}.relied_on", "missing; expected the system that relies on it, for basis is 'practice'"
    if rule.basis != "practice" and relied_on:
        yield f"{key}.relied_on", f"{relied_on!r} found; expected none, for basis is {rule.basis!r}, not 'practice'"


def _fetch(key: str, rule: FetchRule) -> Iterator[tuple[str, str]]:
    if not rule.instructions:
        yield f"{key}.instructions", "[] found; expected at least one mnemonic"
    if not _is_power(rule.within):
        yield f"{key}.within", f"{rule.within} found; expected a power of two"
    if not re.fullmatch(r"(?:[0-9a-f]{2})*", rule.bits):
        yield f"{key}.bits", f"{rule.bits!r} found; expected the bytes of an instruction in hex, two digits each"


def _is_power(number: int) -> bool:
    return number > 0 and not number & (number - 1)


def _regular(glob: str) -> str:
    """The regular expression of a glob, to be a part of one."""
    return fnmatch.translate(glob).removesuffix("\\Z").removesuffix("\\z")


@functools.cache
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(_CONDITIONS.join(map(_regular, pattern.split(_CONDITION))))


@functools.cache
def _template(instruction: str) -> re.Pattern[str]:
    """The regular expression of a glob, or of several with ``or`` between, the address a group of it."""
    expressions = []
    for each in instruction.split(OR):
        before, hole, after = each.partition(ADDRESS)
        expressions.append(_regular(before) + ("(?P<address>.+)" if hole else "") + _regular(after))
    return re.compile("|".join(expressions))
