"""A step machine for litmus tests on AArch64: the second opinion that ``farm litmus`` is held against.

It knows no ordering relation.  A machine has threads, one shared memory, and caches; whatever they may do next is a
step, and every sequence of steps is looked at.  It is written from the architecture's words (Arm ARM DDI 0487, B2.3
and B2.7.4) and from the operational rules of instruction fetch, not from :mod:`farm.prove.litmus.rules`.

*A thread* fetches in program order, past branches whose outcome it guesses, but not past an ISB, an exception or an
exception's return that is not finished.  What it has fetched executes when its operands are there, in any order: a load
takes its value from an older store of its own that is still buffered, or from memory; a store leaves the buffer for
memory; DC CVAU and IC IVAU are performed.  Barriers, and orders of one location, hold these four back (:meth:`_held`).
What was guessed wrong, or done too early for one location, is a machine's reason to start over; here that sequence of
steps is dropped, for another one does it in time.

*Memory* keeps for each location the stores that reached it, in order, the newest that is cleaned to the point of
unification, and the oldest that an instruction cache may still hold.  A thread's instruction cache may have been filled
at any time, line by line, so a fetch takes any store from that oldest to the newest.  DC CVAU cleans to the newest, IC
IVAU makes all CPUs forget what is older than the cleaned one; with IDC each store is cleaned at once, with DIC each is
forgotten at once.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

from farm.prove.litmus.assemble import decoded
from farm.prove.litmus.forms import Instruction
from farm.prove.litmus.model import ELR, Fault, Litmus, Location, Register

FLAGS = 33  # number of the flags among the registers; their value is whether they say equal
WHOLE = (1 << 64) - 1
MOST = 2_000_000  # states

DATA = ("load", "store")
#: What each barrier waits for, and what waits for it.
BARRIERS = {
    "dmb.full": ((*DATA, "dc"), (*DATA, "dc")),
    "dmb.ld": (("load",), DATA),
    "dmb.st": (("store",), ("store",)),
    "dsb.full": ((*DATA, "dc", "ic"), (*DATA, "dc", "ic")),
    "dsb.ld": (("load",), (*DATA, "dc", "ic")),
    "dsb.st": (("store",), (*DATA, "dc", "ic")),
}
STEPS = (*DATA, "dc", "ic")  # what is done in a step of its own

#: A value, or the number of the instruction in flight that makes it.
Operand = tuple[bool, int]


class InFlight(NamedTuple):
    """An instruction that is fetched and not yet retired."""

    pc: int
    instruction: Instruction
    kind: str
    operands: tuple[Operand, ...]
    flags: Operand = (True, 0)
    value: int | None = None  #: what it writes, once known
    place: int | None = None  #: of a load, a store, a DC or an IC, once known
    done: bool = False
    source: Operand = (True, 0)  #: of a load: a place in memory's order, or a store in flight
    guess: int | None = None  #: where a branch is taken to lead, which side a select is taken to choose


class Thread(NamedTuple):
    """What a thread has fetched, and what its retired instructions left."""

    number: int
    pc: int
    registers: tuple[tuple[int, Operand], ...]
    flight: tuple[InFlight, ...] = ()
    faults: frozenset[int] = frozenset()


class Cell(NamedTuple):
    """A location: how many stores reached it, the values from the oldest that a fetch may take, which is cleaned."""

    stores: int
    values: tuple[int, ...]
    cleaned: int = 0


class _WrongError(Exception):
    """A guess was wrong, or something was done too early."""


class Machine:
    """All final states that a litmus test can have on a machine with the given caches."""

    def __init__(self, test: Litmus, *, dic: bool, idc: bool) -> None:
        self.test, self.dic, self.idc = test, dic, idc or dic
        self.handlers = {c.thread: c.base for c in test.columns if c.handler}
        self.ends = {c.thread: c.end for c in test.threads}
        code = {value for value in (*test.registers.values(), *test.memory.values()) if value in test.instructions}
        links = {pc + 4 for pc, i in test.instructions.items() if i.writes == 30 and i.kind == "branch"}
        self.targets = sorted(code | links | set(test.labels.values()))
        self.places = sorted(test.memory)
        self.enabled = functools.cache(self._enabled)
        self.fetched = functools.cache(self._fetched)
        self.stepped = functools.cache(self._stepped)

    def states(self) -> set[tuple[int, ...]]:
        """A value for each place that the test looks at, in each final state."""
        threads: list[list[Thread]] = []
        for column in self.test.threads:
            registers = tuple(sorted((r, (True, v)) for (t, r), v in self.test.registers.items() if t == column.thread))
            threads.append(list(self._settled(Thread(column.thread, column.base, registers))))
        memory = tuple(Cell(0, (self.test.memory[place],)) for place in self.places)
        work = [((), memory)]
        for choices in threads:
            work = [((*chosen, choice), memory) for chosen, memory in work for choice in choices]
        seen, final = set(work), set()
        while work:
            threads_now, memory = work.pop()
            if not any(thread.flight or self._goes_on(thread) for thread in threads_now):
                final.add(self._final(threads_now, memory))
                continue
            for at, thread in enumerate(threads_now):
                for moved, changed in self._steps(thread, memory):
                    state = ((*threads_now[:at], moved, *threads_now[at + 1 :]), changed)
                    if state not in seen:
                        seen.add(state)
                        work.append(state)
            if len(seen) > MOST:
                raise RuntimeError(f"{self.test.name} has more than {MOST:,} states")
        return final

    def _goes_on(self, thread: Thread) -> bool:
        return thread.pc in self.test.instructions

    def _final(self, threads: tuple[Thread, ...], memory: tuple[Cell, ...]) -> tuple[int, ...]:
        values = []
        for place in self.test.places:
            if isinstance(place, Location):
                values.append(memory[self.places.index(self.test.data[place.name])].values[-1])
                continue
            own = next((t for t in threads if t.number == place.thread), None)
            if isinstance(place, Register):
                values.append(dict(own.registers).get(place.number, (True, 0))[1] if own else 0)
            elif isinstance(place, Fault):
                at = self.test.labels[place.thread, place.label] if place.label else None
                values.append(int(bool(own and (at in own.faults if at else own.faults))))
        return tuple(values)

    # Steps

    def _steps(self, thread: Thread, memory: tuple[Cell, ...]) -> Iterator[tuple[Thread, tuple[Cell, ...]]]:
        if thread.pc in self.test.memory and self._may_fetch(thread):
            for word in set(memory[self.places.index(thread.pc)].values):
                for moved in self.fetched(thread, word):
                    yield moved, memory
        for i in self.enabled(thread):
            one = thread.flight[i]
            if one.kind == "ic":
                affected = {one.place} if one.instruction.reads else set(self.places)
                changed = tuple(
                    cell if place not in affected else Cell(cell.stores, cell.values[cell.cleaned :])
                    for place, cell in zip(self.places, memory, strict=True)
                )
                for moved in self.stepped(thread, i, 0, 0):
                    yield moved, changed
                continue
            if one.place not in self.test.memory:
                if one.kind == "dc":
                    for moved in self.stepped(thread, i, 0, 0):
                        yield moved, memory
                continue
            at = self.places.index(one.place)
            cell = memory[at]
            if one.kind == "dc":
                changed_cell = cell._replace(cleaned=len(cell.values) - 1)
            elif one.kind == "store":
                assert one.value is not None
                changed_cell = self._store(one.place, cell, one.value)
            else:
                changed_cell = cell
            for moved in self.stepped(thread, i, cell.stores + (one.kind == "store"), cell.values[-1]):
                yield moved, (*memory[:at], changed_cell, *memory[at + 1 :])

    def _store(self, place: int, cell: Cell, value: int) -> Cell:
        if self.dic or place not in self.test.instructions:
            return Cell(cell.stores + 1, (value,))
        values = (*cell.values, value)
        return Cell(cell.stores + 1, values, len(values) - 1 if self.idc else cell.cleaned)

    def _stepped(self, thread: Thread, i: int, order: int, value: int) -> tuple[Thread, ...]:
        """The thread after its instruction ``i`` is done; ``order`` and ``value`` are what memory has there."""
        flight = list(thread.flight)
        one = flight[i]
        if one.kind == "load":
            older = self._forwards(thread.flight, i)
            source = (True, order) if older is None else (False, older)
            got = value if older is None else thread.flight[older].value
            assert got is not None
            for later in flight[i + 1 :]:
                if later.kind == "load" and later.done and later.place == one.place and _before(later.source, source):
                    return ()
            mask = (1 << 8 * one.instruction.size) - 1
            flight[i] = one._replace(done=True, source=source, value=got & mask)
        else:
            flight[i] = one._replace(done=True)
            if one.kind == "store":
                flight = [f._replace(source=(True, order)) if f.source == (False, i) else f for f in flight]
        return tuple(self._settled(thread._replace(flight=tuple(flight))))

    def _forwards(self, flight: tuple[InFlight, ...], i: int) -> int | None:
        """The buffered store that a load takes from: its own thread's last one to the place, if that is buffered."""
        for j in range(i - 1, -1, -1):
            if flight[j].kind == "store" and flight[j].place == flight[i].place:
                return None if flight[j].done else j
        return None

    # What may be done

    def _enabled(self, thread: Thread) -> tuple[int, ...]:
        flight = thread.flight
        return tuple(
            i
            for i, one in enumerate(flight)
            if one.kind in STEPS and not one.done and one.place is not None and not self._held(flight, i)
        )

    def _held(self, flight: tuple[InFlight, ...], i: int) -> bool:
        """Whether an instruction in flight has to wait for an older one."""
        one = flight[i]
        kind = one.kind
        speculative = kind == "load"
        if not speculative and not all(_sure(flight, operand) for operand in one.operands):
            return True
        if kind == "store" and one.value is None:
            return True
        for j, older in enumerate(flight[:i]):
            if older.kind in BARRIERS:
                before, after = BARRIERS[older.kind]
                if kind in after and any(f.kind in before and not f.done for f in flight[:j]):
                    return True
            elif older.kind == "branch":
                if not speculative and not _resolved(flight, j):
                    return True
            elif older.kind == "isb":
                if kind in DATA and not all(_certain(flight, k) for k in range(j)):
                    return True
            elif older.kind in DATA:
                if kind == "store" and not _addressed(flight, j):
                    return True
                if kind in DATA and not older.done:
                    if older.instruction.ordered.startswith("acquire") or one.instruction.ordered == "release":
                        return True
                    if older.instruction.ordered == "release" and one.instruction.ordered == "acquire":
                        return True
            if older.kind in (*DATA, "dc") and kind in (*DATA, "dc") and not older.done and older.place == one.place:
                if {older.kind, kind} == {"load"} or (older.kind == "store" and kind == "load"):
                    continue
                return True
        if kind == "load":
            older_store = self._forwards(flight, i)
            return older_store is not None and flight[older_store].value is None
        return False

    def _finished(self, flight: tuple[InFlight, ...], i: int) -> bool:
        """Whether an ISB, an exception or a return from one is: branches resolved, addresses there, DSBs complete."""
        for j, older in enumerate(flight[:i]):
            if older.kind == "branch" and older.guess is not None:
                return False
            if older.kind in DATA and older.place is None:
                return False
            if older.kind.startswith("dsb"):
                before, _ = BARRIERS[older.kind]
                if any(f.kind in before and not f.done for f in flight[:j]):
                    return False
        return flight[i].guess is None

    def _may_fetch(self, thread: Thread) -> bool:
        return all(one.done for one in thread.flight if one.kind == "isb") and self._goes_on(thread)

    # What a thread does without anybody seeing it

    def _fetched(self, thread: Thread, word: int) -> tuple[Thread, ...]:
        known = self.test.instructions[thread.pc]
        instruction = known if word == known.word else self.test.known.get(word) or decoded(word)
        if instruction is None:
            return ()
        return tuple(made for more in self._appended(thread, instruction) for made in self._settled(more))

    def _settled(self, thread: Thread) -> Iterator[Thread]:
        """The thread when it has computed, resolved and fetched all that needs no step; one for each guess."""
        work = [thread]
        while work:
            now = work.pop()
            try:
                now = self._retired(self._computed(now))
            except _WrongError:
                continue
            if self._may_fetch(now) and now.pc not in self.test.memory:
                work.extend(self._appended(now, self.test.instructions[now.pc]))
            else:
                yield now

    def _appended(self, thread: Thread, instruction: Instruction) -> Iterator[Thread]:
        """The thread with one instruction more in flight."""
        registers = dict(thread.registers)
        pc, kind = thread.pc, instruction.kind
        faults, following = thread.faults, pc + 4
        reads = [registers.get(r, (True, 0)) if r != 31 else (True, 0) for r in instruction.reads]
        value: int | None = None
        writes = instruction.writes
        guesses: list[int | None] = [None]
        if kind == "udf":
            faults = faults | {pc}
            kind, following, value, writes = "isb", self.handlers.get(thread.number, -1), pc, ELR
            if following == -1:
                kind, following, writes = "nop", self.ends[thread.number], None
        elif kind == "eret":
            kind, reads, guesses = "isb", [registers.get(ELR, (True, 0))], list(self.targets)
        elif kind == "to-elr":
            kind, writes, reads = "move", ELR, reads or [(True, 0)]
        elif kind == "from-elr":
            kind, reads = "move", [registers.get(ELR, (True, 0))]
        elif kind == "branch":
            value = pc + 4 if writes is not None else None
            guesses = list(self._leads(instruction, pc))
        elif kind == "select":
            guesses = [0, 1]
        one = InFlight(pc, instruction, kind, tuple(reads), registers.get(FLAGS, (True, 0)), value)
        if instruction.sets_flags:
            writes = FLAGS if writes is None else writes
        if writes is not None:
            registers[writes] = (False, len(thread.flight))
        for guess in guesses:
            target = guess if guess is not None and kind != "select" else following
            flight = (*thread.flight, one._replace(guess=guess))
            after = tuple(sorted(registers.items()))
            yield thread._replace(pc=target, registers=after, flight=flight, faults=faults)

    def _leads(self, instruction: Instruction, pc: int) -> Iterator[int]:
        """Where a branch may lead."""
        name = instruction.shown.split(" ")[0]
        if name in ("BR", "BLR", "RET"):
            yield from self.targets
            return
        yield pc + _distance(instruction)
        if name not in ("B", "BL"):
            yield pc + 4

    def _computed(self, thread: Thread) -> Thread:
        """All values, addresses and branches that can be known are.  Raises :class:`_WrongError`."""
        flight = list(thread.flight)
        for i in range(len(flight)):
            one = flight[i]
            values = [_value(flight, operand) for operand in one.operands]
            flags = _value(flight, one.flags)
            kind, name = one.kind, one.instruction.shown.split(" ")[0]
            if kind == "branch" and one.guess is not None:
                target = _target(one, name, values, flags)
                if target is not None:
                    if target != one.guess:
                        raise _WrongError
                    flight[i] = one._replace(guess=None)
            elif kind == "isb" and not one.done:
                if one.guess is not None and values[0] is not None:
                    if values[0] != one.guess:
                        raise _WrongError
                    flight[i] = one = one._replace(guess=None)
                if self._finished(tuple(flight), i):
                    flight[i] = one._replace(done=True)
            elif kind == "move" and one.value is None:
                flight[i] = one._replace(value=values[0])
            elif kind == "alu" and one.value is None and None not in values:
                flight[i] = one._replace(value=_arithmetic(one.instruction, one.pc, [v or 0 for v in values]))
            elif kind == "select":
                if one.guess is not None and flags is not None:
                    if _condition(one.instruction, flags) != (one.guess == 0):
                        raise _WrongError
                    flight[i] = one = one._replace(guess=None, done=True, source=(True, one.guess))
                if one.value is None:
                    side = one.guess if one.guess is not None else one.source[1]
                    flight[i] = one._replace(value=_selected(one.instruction, values, side))
            elif kind in STEPS:
                flight[i] = self._addressed_now(flight, i, values)
        return thread._replace(flight=tuple(flight))

    def _addressed_now(self, flight: list[InFlight], i: int, values: list[int | None]) -> InFlight:
        one = flight[i]
        instruction = one.instruction
        skip = int(one.kind == "store")
        if skip and one.value is None and values[0] is not None:
            one = one._replace(value=values[0] & (1 << 8 * instruction.size) - 1)
        if one.place is not None or None in values[skip:]:
            return one
        known = [value or 0 for value in values[skip:]]
        place = known[0] if known else 0
        for index in known[1:]:
            low = index & 0xFFFFFFFF
            extended = {"SXTW": low - (low >> 31 << 32), "UXTW": low}.get(instruction.extend, index)
            place += extended << instruction.shift
        place = (place + instruction.offset) & WHOLE
        for later in flight[i + 1 :]:
            if later.done and later.place == place and later.kind in STEPS:
                stale = later.kind == "load" and (later.source[0] or later.source[1] < i)
                if (one.kind == "store" and stale) or (
                    "dc" in (one.kind, later.kind) and {one.kind, later.kind} <= {*DATA, "dc"}
                ):
                    raise _WrongError
        return one._replace(place=place)

    def _retired(self, thread: Thread) -> Thread:
        """The oldest instructions leave if all is known and done of them."""
        count = 0
        for one in thread.flight:
            if one.kind in STEPS or one.kind == "isb":
                over = one.done
            elif one.kind in ("alu", "move"):
                over = one.value is not None
            elif one.kind == "select":
                over = one.value is not None and one.guess is None
            else:
                over = one.guess is None
            if not over:
                break
            count += 1
        if not count:
            return thread
        gone = thread.flight[:count]

        def moved(operand: Operand) -> Operand:
            known, number = operand
            if known:
                return operand
            return (False, number - count) if number >= count else (True, gone[number].value or 0)

        flight = tuple(
            one._replace(
                operands=tuple(map(moved, one.operands)),
                flags=moved(one.flags),
                source=(False, one.source[1] - count) if not one.source[0] else one.source,
            )
            for one in thread.flight[count:]
        )
        registers = tuple((r, moved(operand)) for r, operand in thread.registers)
        return thread._replace(flight=flight, registers=registers)


def _before(one: Operand, other: Operand) -> bool:
    """Whether the source of a load is older than that of another: buffered stores come after all of memory's."""
    return (not one[0], one[1]) < (not other[0], other[1])


def _value(flight: list[InFlight] | tuple[InFlight, ...], operand: Operand) -> int | None:
    return operand[1] if operand[0] else flight[operand[1]].value


def _sure(flight: tuple[InFlight, ...], operand: Operand) -> bool:
    """A value is known, and no select that it comes through is a guess."""
    if operand[0]:
        return True
    one = flight[operand[1]]
    if one.value is None:
        return False
    if one.kind == "load":  # of a buffered store, it is as sure as what was stored
        return one.done and (one.source[0] or _sure(flight, flight[one.source[1]].operands[0]))
    if one.kind == "branch":
        return True
    if one.kind == "select":
        side = one.guess if one.guess is not None else one.source[1]
        chosen = one.operands[side : side + 1]
        return one.guess is None and _sure(flight, one.flags) and all(_sure(flight, each) for each in chosen)
    return all(_sure(flight, each) for each in one.operands)


def _resolved(flight: tuple[InFlight, ...], i: int) -> bool:
    """A branch leads where it was taken to, and no guess of a select is in that."""
    one = flight[i]
    operands = (*one.operands, one.flags) if one.instruction.flags else one.operands
    return one.guess is None and all(_sure(flight, operand) for operand in operands)


def _addressed(flight: tuple[InFlight, ...], i: int) -> bool:
    """The address of a load or a store is known, and no guess of a select is in it."""
    one = flight[i]
    return one.place is not None and all(_sure(flight, each) for each in one.operands[one.kind == "store" :])


def _certain(flight: tuple[InFlight, ...], i: int) -> bool:
    if flight[i].kind == "branch":
        return _resolved(flight, i)
    return flight[i].kind not in DATA or _addressed(flight, i)


# What instructions compute (Arm ARM DDI 0487, C6.2)


def _distance(instruction: Instruction) -> int:
    word = instruction.word
    bits, low = (26, 0) if word >> 26 & 0x1F == 5 else (19, 5)
    field = word >> low & (1 << bits) - 1
    return (field - (field >> bits - 1 << bits)) * 4


def _condition(instruction: Instruction, equal: int) -> bool:
    """A condition holds; tests here ask for EQ and NE."""
    number = instruction.condition if instruction.kind == "select" else instruction.word & 15
    if number > 1:
        raise NotImplementedError(instruction.text)
    return bool(equal) != bool(number)


def _target(one: InFlight, name: str, values: list[int | None], flags: int | None) -> int | None:
    """Where a branch leads; None if that is not known yet."""
    there = one.pc + _distance(one.instruction)
    if name in ("BR", "BLR", "RET"):
        return values[0]
    if name in ("CBZ", "CBNZ"):
        value = values[0] if values else 0
        if value is None:
            return None
        zero = not value & (WHOLE if one.instruction.word >> 31 else 0xFFFFFFFF)
        return there if zero == (name == "CBZ") else one.pc + 4
    if name.startswith("B."):
        if flags is None:
            return None
        return there if _condition(one.instruction, flags) else one.pc + 4
    if name not in ("B", "BL"):
        raise NotImplementedError(one.instruction.text)
    return there


def _arithmetic(instruction: Instruction, pc: int, values: list[int]) -> int:
    name, _, rest = instruction.shown.partition(" ")
    words = rest.split(",")
    if name == "ADR":
        word = instruction.word
        field = (word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3
        return pc + field - (field >> 20 << 21)
    known = dict(zip(instruction.reads, values, strict=True))
    mask = WHOLE if words[0].startswith("X") else 0xFFFFFFFF

    def operand(word: str) -> int:
        return int(word[1:], 0) if word.startswith("#") else 0 if word.endswith("ZR") else known[int(word[1:])] & mask

    if name == "MOV" and len(words) == 2:
        return operand(words[1]) & mask
    if name == "CMP" and len(words) == 2:
        return int(operand(words[0]) == operand(words[1]) & mask)
    operations = {
        "ADD": lambda a, b: a + b, "SUB": lambda a, b: a - b,
        "AND": lambda a, b: a & b, "ORR": lambda a, b: a | b, "EOR": lambda a, b: a ^ b,
    }  # fmt: skip
    last = operand(words[2])
    if words[3:] == ["SXTW"]:
        last = known[int(words[2][1:])] & 0xFFFFFFFF
        last -= last >> 31 << 32
    if name not in operations or words[3:] not in ([], ["SXTW"]):
        raise NotImplementedError(instruction.text)
    return operations[name](operand(words[1]), last) & mask


def _selected(instruction: Instruction, values: list[int | None], side: int) -> int | None:
    name = instruction.shown.split(" ")[0]
    if name == "CSET":  # CSINC of the zero register, with the condition inverted
        return side
    if name != "CSEL":
        raise NotImplementedError(instruction.text)
    return values[side]
