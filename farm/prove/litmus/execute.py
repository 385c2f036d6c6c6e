"""Executes each thread of a litmus test alone, with every value that its loads and fetches may have.

Unicorn executes every instruction that computes, one at a time, in a page of its own; an effect depends on nothing but
the word, its address and what it reads, so each is asked for once.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import farm.engines.unicorn.library  # noqa: F401 - before anything else imports Unicorn

# isort: split
from unicorn import UC_ARCH_ARM64, UC_MODE_ARM, Uc, UcError
from unicorn.arm64_const import (
    UC_ARM64_REG_NZCV,
    UC_ARM64_REG_PC,
    UC_ARM64_REG_X0,
    UC_ARM64_REG_X29,
    UC_ARM64_REG_X30,
    UC_CPU_ARM64_MAX,
)

from farm.prove.litmus.assemble import decoded
from farm.prove.litmus.forms import Instruction
from farm.prove.litmus.model import ELR, Litmus

VISITS = 4  #: of one instruction by one thread, at most
MOST = 20_000  #: paths of one thread

_FLAGS = 33  # number of NZCV among the registers
_WHOLE = (1 << 64) - 1
_APART = 0x5FFFF000  # where loads and stores are executed: they may be of the very place where they stand


class Unbounded(Exception):  # noqa: N818 - what a test is, not a mistake
    """A thread has too many paths to look at."""


class Astray(NamedTuple):
    """Why a thread cannot go on: the line of its instruction, and the reason."""

    line: int
    reason: str


class Taint(NamedTuple):
    """Loads, as bits, that a value comes from: directly, and by the condition of a select."""

    direct: int = 0
    picked: int = 0

    def __or__(self, other: Any) -> Taint:
        return Taint(self.direct | other.direct, self.picked | other.picked)

    @property
    def all(self) -> int:
        return self.direct | self.picked


class Event(NamedTuple):
    """What an instruction does that others can see, or that orders it.

    ``kind`` is ``F`` (a fetch of a modifiable instruction), ``R``, ``W``, ``dc``, ``ic``, ``isb`` (or an exception),
    or a barrier's.  The place of an ``ic`` for everything is 0.
    """

    kind: str
    place: int
    value: int
    text: str
    address: Taint = Taint()
    data: Taint = Taint()
    control: Taint = Taint()
    ordered: str = ""  #: as :attr:`~farm.prove.litmus.forms.Instruction.ordered`
    number: int = 0  #: of the instruction in its thread
    exception: bool = False


@dataclass(frozen=True)
class Path:
    """One way through a thread."""

    thread: int
    events: tuple[Event, ...]
    registers: dict[int, int] = field(hash=False)
    faults: frozenset[int]
    astray: Astray | None = None  #: it ends there
    cut: bool = False  #: it goes on, and is not followed


@functools.cache
def _engine() -> Any:
    engine = Uc(UC_ARCH_ARM64, UC_MODE_ARM)
    engine.ctl_set_cpu_model(UC_CPU_ARM64_MAX)  # the default one has no LDAPR
    engine.mem_map(0x40000000, 0x20000000)
    return engine


def _number(register: int) -> int:
    return int(UC_ARM64_REG_X0 + register if register < 29 else (UC_ARM64_REG_X29, UC_ARM64_REG_X30)[register - 29])


@functools.cache
def _effect(
    instruction: Instruction, pc: int, values: tuple[int, ...], flags: int, place: int, loaded: int
) -> tuple[int, int, int, int]:
    """What Unicorn says that an instruction does: register written, flags, next address, word stored."""
    engine = _engine()
    if instruction.kind in ("load", "store"):
        pc = _APART
    engine.mem_write(pc, instruction.word.to_bytes(4, "little"))
    engine.ctl_remove_cache(pc, pc + 4)
    for register, value in zip(instruction.reads, values, strict=True):
        if register != 31:
            engine.reg_write(_number(register), value)
    engine.reg_write(UC_ARM64_REG_NZCV, flags)
    if instruction.kind in ("load", "store"):
        engine.mem_write(place, loaded.to_bytes(8, "little")[: instruction.size])
    try:
        engine.emu_start(pc, _WHOLE, count=1)
    except UcError:
        if instruction.kind != "branch":  # it went where there is no memory
            raise
    made = engine.reg_read(_number(instruction.writes)) if instruction.writes is not None else 0
    stored = int.from_bytes(engine.mem_read(place, instruction.size), "little") if instruction.kind == "store" else 0
    return made, engine.reg_read(UC_ARM64_REG_NZCV), engine.reg_read(UC_ARM64_REG_PC), stored


def holds(condition: int, flags: int) -> bool:
    """Whether a condition holds of NZCV in bits 31 to 28 (Arm ARM DDI 0487, ConditionHolds)."""
    n, z, c, v = (bool(flags >> bit & 1) for bit in (31, 30, 29, 28))
    made = (z, c, n, v, c and not z, n == v, n == v and not z)[condition >> 1]
    return made != bool(condition & 1)


class Threads:
    """All paths of all threads of a test."""

    def __init__(self, test: Litmus) -> None:
        self.test = test
        self.values: dict[int, set[int]] = {place: {value} for place, value in test.memory.items()}
        self.notes: set[str] = set()
        self.handlers = {c.thread: c.base for c in test.columns if c.handler}
        self.ends = {c.end for c in test.columns}
        self.paths = self._fixpoint()

    def _fixpoint(self) -> list[list[Path]]:
        """Paths, when no value can be stored that is not among those that are read.

        Every value comes from a chain of stores, none of which feeds itself.
        """
        while True:
            self.notes.clear()
            paths = [list(self._walk(c.thread, c.base)) for c in self.test.threads]
            before = {place: set(values) for place, values in self.values.items()}
            for each in paths:
                for path in each:
                    for event in path.events:
                        if event.kind == "W":
                            self.values[event.place].add(event.value)
            rounds = sum(max((sum(e.kind == "W" for e in p.events) for p in each), default=0) for each in paths)
            self._rounds = getattr(self, "_rounds", 0) + 1
            if before == self.values or self._rounds > rounds:
                return [[path for path in each if not path.cut] for each in paths]

    def _walk(self, thread: int, pc: int) -> Iterator[Path]:
        registers = {r: v for (t, r), v in self.test.registers.items() if t == thread}
        work: list[tuple[Any, ...]] = [(pc, registers, {}, Taint(), (), {}, frozenset(), 0)]
        ended = 0
        while work:
            pc, registers, taints, control, events, visits, faults, count = work.pop()
            if pc in self.ends and pc not in self.test.instructions:
                ended += 1
                if ended > MOST:
                    raise Unbounded(f"P{thread} has more than {MOST:,} paths")
                yield Path(thread, events, registers, faults)
                continue
            instruction = self.test.instructions[pc]
            if visits.get(pc, 0) >= VISITS:
                self.notes.add(
                    f"P{thread} comes to `{instruction.text}` more than {VISITS} times: such an execution is left out"
                )
                yield Path(thread, events, registers, faults, cut=True)
                continue
            visits = {**visits, pc: visits.get(pc, 0) + 1}
            words = sorted(self.values[pc]) if pc in self.values else [instruction.word]
            for word in words:
                chosen = instruction if word == instruction.word else self.test.known.get(word) or decoded(word)
                seen = events
                if pc in self.values:
                    text = chosen.text if chosen else f"{word:#x}"
                    seen = (*events, Event("F", pc, word, text, number=count, control=control))
                if chosen is None:
                    reason = f"P{thread} fetches {word:#x}, which is no instruction that is read"
                    yield Path(thread, seen, registers, faults, Astray(self.test.line(pc), reason))
                    continue
                for made in self._step(thread, chosen, pc, registers, taints, control, seen, visits, faults, count):
                    if isinstance(made, Path):
                        yield made
                    else:
                        work.append(made)

    def _step(
        self, thread: int, instruction: Instruction, pc: int, registers: dict[int, int], taints: dict[int, Taint],
        control: Taint, events: tuple[Event, ...], visits: dict[int, int], faults: frozenset[int], count: int,
    ) -> Iterator[tuple[Any, ...] | Path]:  # fmt: skip
        """What follows an instruction: where the thread goes on, or how it ends if it cannot."""
        kind, text = instruction.kind, instruction.text

        def event(kind: str, place: int = 0, value: int = 0, **more: Any) -> Event:
            return Event(kind, place, value, text, control=control, number=count, **more)

        def astray(reason: str) -> Path:
            return Path(thread, events, registers, faults, Astray(self.test.line(pc), f"P{thread}: `{text}` {reason}"))

        def after(target: int, control: Taint, *more: Event) -> tuple[Any, ...] | Path:
            if target not in self.test.instructions and target not in self.ends:
                return astray(f"leads to {self.test.text(target)}, where no instruction is")
            return target, registers, taints, control, (*events, *more), visits, faults, count + 1

        values = tuple(0 if r == 31 else registers.get(r, 0) for r in instruction.reads)
        known = [Taint() if r == 31 else taints.get(r, Taint()) for r in instruction.reads]
        flags, flags_taint = registers.get(_FLAGS, 0), taints.get(_FLAGS, Taint())
        if kind == "nop":
            yield after(pc + 4, control)
        elif kind == "isb" or kind.startswith(("dmb", "dsb")):
            yield after(pc + 4, control, event(kind))
        elif kind in ("dc", "ic"):
            place = values[0] if values else 0
            yield after(pc + 4, control, event(kind, place, address=known[0] if known else Taint()))
        elif kind == "udf":
            faults = faults | {pc}
            if thread in self.handlers:
                registers = {**registers, ELR: pc}
                taints = {**taints, ELR: Taint()}
                yield after(self.handlers[thread], control, event("isb", exception=True))
            else:
                yield after(next(c.end for c in self.test.threads if c.thread == thread), control)
        elif kind == "eret":
            yield after(registers.get(ELR, 0), control | taints.get(ELR, Taint()), event("isb", exception=True))
        elif kind in ("to-elr", "from-elr"):
            source = (instruction.reads[0] if instruction.reads else 31) if kind == "to-elr" else ELR
            target = ELR if kind == "to-elr" else instruction.writes
            if target is not None:
                registers = {**registers, target: registers.get(source, 0) if source != 31 else 0}
                taints = {**taints, target: taints.get(source, Taint()) if source != 31 else Taint()}
            yield after(pc + 4, control)
        elif kind in ("load", "store"):
            skip = kind == "store"
            place = (sum(self._operands(instruction, values[skip:])) + instruction.offset) & _WHOLE
            address = functools.reduce(Taint.__or__, known[skip:])
            if place not in self.values:
                yield astray(f"is at {self.test.text(place)}, which is no location")
                return
            if kind == "store":
                *_, stored = _effect(instruction, pc, values, flags, place, 0)
                yield after(
                    pc + 4, control,
                    event("W", place, stored, address=address, data=known[0], ordered=instruction.ordered),
                )  # fmt: skip
                return
            for value in sorted(self.values[place]):
                made, *_ = _effect(instruction, pc, values, flags, place, value)
                bit = Taint(1 << len(events))
                read = event("R", place, value, address=address, ordered=instruction.ordered)
                kept = (registers, taints)
                if instruction.writes is not None:
                    registers, taints = {**registers, instruction.writes: made}, {**taints, instruction.writes: bit}
                yield after(pc + 4, control, read)
                registers, taints = kept
        else:
            made, new_flags, target, _ = _effect(instruction, pc, values, flags, 0, 0)
            taint = functools.reduce(Taint.__or__, known, Taint())
            if kind == "select":
                picked = known[0 if holds(instruction.condition, flags) else 1]
                taint = Taint(picked.direct, picked.picked | flags_taint.all)
            elif kind == "branch":
                conditional = taint | (flags_taint if instruction.flags else Taint())
                if instruction.reads or instruction.flags:
                    control = control | conditional
                taint = Taint()
            if instruction.writes is not None:
                registers, taints = {**registers, instruction.writes: made}, {**taints, instruction.writes: taint}
            if instruction.sets_flags:
                registers, taints = {**registers, _FLAGS: new_flags}, {**taints, _FLAGS: taint}
            yield after(target, control)

    def _operands(self, instruction: Instruction, values: tuple[int, ...]) -> Iterator[int]:
        yield values[0]
        for index in values[1:]:
            low = index & 0xFFFFFFFF
            signed = low - (1 << 32) if instruction.extend == "SXTW" and low >> 31 else low
            yield (index if instruction.extend in ("LSL", "SXTX") else signed) << instruction.shift
