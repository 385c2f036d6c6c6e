"""A call that is followed through all that it may see of a change (:mod:`farm.engines.views`).

The reader is executed one instruction at a time where it may meet what changes, and at once elsewhere.  Before each
step the bytes that it sees are put where the CPU finds them, so one CPU and one memory are enough: what the other CPU
did is in the moments.  Registers are kept as Unicorn's contexts, memory as the lines that differ from where the reader
began, so going back costs microseconds.  States that are equal are followed once.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import unicorn
import unicorn.unicorn_const as uc_const

from farm.engines.unicorn.loose import LooseWalk
from farm.engines.unicorn.machine import GuestFault, contents
from farm.engines.unicorn.sampler import Sampler
from farm.engines.views import MOST_POINTS, Explored, Outcome, Seen, before

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from farm.engines.unicorn.machine import Machine
    from farm.engines.views import Exploration, Moment, Place

_LINE = 64  # bytes of memory that are kept at once
_LAST = (1 << 64) - 1  # address
_UNUSED = 1  # an address that no guest stores to
_WIDEST = 32  # bytes of a load
_LONGEST = 16  # bytes of an instruction; some emulated CPUs report a meaningless size
_WITH_SLOT = 8  # bytes of an instruction that loads, or of a branch with one behind it
_SIZELESS, _SIZE = "m68k_const", 6  # where Unicorn tells 2 for every instruction, and what a stub's has


class _State(NamedTuple):
    """A reader between two instructions."""

    registers: Any  # a context of Unicorn's
    lines: dict[int, bytes]  # by number, those that differ from where the reader began; none of its stack
    stack: bytes  # as far as it is in use
    pc: int
    fetched: int  # moment of its last fetch
    loaded: int  # and load
    came: tuple[_State, Seen] | None
    digest: int  # the same of readers that do the same from here on


class _Done(NamedTuple):
    """What came of an instruction: a reader behind it, or the end."""

    following: _State | None
    events: bytes
    failure: str
    pc: int
    code: bytes
    read: tuple[int, ...]  # places that it loaded from


class _Call:
    """A call of one program, and what is known of its instructions; all of it is the same each time it is followed."""

    def __init__(self) -> None:
        self.first: _State | None = None  # where the reader begins
        self.unused = b""  # the stack there
        self.base: dict[int, bytes] = {}  # by number: lines there, of those that have been stored to
        # What comes of an instruction follows from the reader, and from what is in the places that it meets.  By the
        # reader, by the places that it meets then, and by what is in them.
        self.done: dict[int, dict[tuple[int, ...], dict[tuple[bytes, ...], _Done]]] = {}


class Explorer:
    """Follows calls on ``machine``, which must have run nothing yet.

    It can go on to another call, unless one has failed.
    """

    def __init__(self, machine: Machine, wanted: Exploration) -> None:
        self._machine = machine
        self._hooked = wanted.window, wanted.changing
        self._sizeless = machine.module == _SIZELESS
        self._thumb = int(machine.is_thumb)
        self._start = wanted.start
        self._places: Sequence[Place] = ()
        self._starting = True  # the reader has not come to where it begins
        self._at = -1  # where the step's instruction is; -1: execution has gone on from there
        self._passed = False  # it has begun
        self._stopped = False  # the step has ended, at the next instruction
        self._sizes: dict[int, int] = {}  # of instructions, by address: the largest seen
        self._read: set[int] = set()  # places that the step loads from
        self._written: set[int] = set()  # lines that it stores to
        self._stack = machine.stack
        self._calls: dict[tuple[bytes, int, tuple[Place, ...]], _Call] = {}
        self._call = _Call()
        self._program = b""  # it is to be run before an instruction is executed; empty: it has been
        self._noting: list[int] = []  # hooks of stores
        self._beyond: set[int] = set()  # places that are loaded from behind the step's first instruction
        self._always: list[int] = []  # places of code that may be executed there
        self._now: dict[int, bytes] = {}  # lines that are not so now
        self._view: list[bytes | None] = []  # what each place has now
        self.is_sound = True  #: it can go on to another call
        add = machine.uc.hook_add
        for start, end in wanted.window:
            add(uc_const.UC_HOOK_CODE, self._on_code, None, start, end - 1)
        for start, end in wanted.changing:
            # A hook goes by where a load begins, not by where it ends.
            add(uc_const.UC_HOOK_MEM_READ, self._on_read, None, start - _WIDEST + 1, end - 1)
        # Code is translated with calls of hooks only if there is one.
        add(uc_const.UC_HOOK_MEM_WRITE, self._on_write, None, _UNUSED, _UNUSED)

    def fits(self, wanted: Exploration) -> bool:
        """Tell whether it can follow the call of ``wanted``, too."""
        return self.is_sound and self._hooked == (wanted.window, wanted.changing)

    def run(self, program: bytes, wanted: Exploration) -> list[Explored]:
        """All ends that the call in ``program`` may come to, in each graph up to the first that has a failure.

        Raises :class:`~farm.engines.unicorn.machine.GuestFault` if the reader does not come to where it begins.
        """
        self._places, self._start, self._program = wanted.places, wanted.start, program
        self._call = call = self._calls.setdefault((program, wanted.start, wanted.places), _Call())
        found = []
        try:
            first = call.first or self._begin()
            if wanted.drawing:
                found.append(Sampler(self, wanted.places, wanted.drawing, first).explored())
            for moments in wanted.graphs:
                if wanted.loose:
                    found.append(LooseWalk(self, wanted.places, moments, wanted.loose).explored(first))
                    continue
                found.append(_Walk(self, wanted.places, moments, every=wanted.every).explored(first))
                if not self.is_sound:
                    break
        finally:
            self._note_no_stores()
        return found

    def forget(self) -> None:
        """Forget what comes of the instructions of the calls that it has followed."""
        self._calls.clear()

    def _begin(self) -> _State:
        """Run the program up to where the reader begins."""
        machine, call, program = self._machine, self._call, self._program
        self._starting, self._stopped, self._program = True, False, b""
        self._now = {}
        self._view = [None] * len(self._places)
        self.is_sound = False
        machine.reset()
        machine.run(program)
        if not self._stopped:
            raise GuestFault("the program does not come to the call that is to be followed", machine.pc, None)
        self._starting, self.is_sound = False, True
        list(self._event_lines())  # those that there are before the reader begins
        call.unused = self._stack.read()
        inside = [any(start <= place.address < end for start, end in self._hooked[0]) for place in self._places]
        executable = [machine.permissions(place.address) & uc_const.UC_PROT_EXEC for place in self._places]
        self._always = [n for n in range(len(self._places)) if executable[n] and not inside[n]]
        self._note_stores()
        call.first = self._state({}, self._start, 0, 0, None)
        return call.first

    def _state(
        self, lines: dict[int, bytes], pc: int, fetched: int, loaded: int, came: tuple[_State, Seen] | None
    ) -> _State:
        """The reader as it is now."""
        registers, stack = self._machine.uc.context_save(), self._machine.stack_in_use()
        digest = hash((contents(registers), frozenset(lines.items()), stack, pc))
        return _State(registers, lines, stack, pc, fetched, loaded, came, digest)

    def _note_stores(self) -> None:
        """Have stores noted: not those on the way to where the reader begins, which are many times as many.

        Nor those of events, which each run writes anew and counts, and those to the stack, of which all that is in use
        is kept.
        """
        uc, events, stack = self._machine.uc, self._machine.events_room, self._stack
        apart = sorted([(events.start, events.stop), (stack.address, stack.address + stack.size)])
        spans = (0, apart[0][0] - 1), (apart[0][1], apart[1][0] - 1), (apart[1][1], _LAST)
        self._noting = [uc.hook_add(uc_const.UC_HOOK_MEM_WRITE, self._on_write, None, *span) for span in spans]
        self._machine.on_push = self._on_push

    def _note_no_stores(self) -> None:
        self._machine.on_push = None
        for hook in self._noting:
            self._machine.uc.hook_del(hook)
        self._noting = []

    def size(self, pc: int) -> int:
        """Bytes of the instruction at ``pc``, as far as is known: 1 until it has been executed."""
        return self._sizes.get(pc, _SIZE if self._sizeless else 1)

    def step(
        self, state: _State, fetched: int, content: Sequence[bytes], loaded: int
    ) -> tuple[_State | Outcome, list[int]]:
        """What comes of one instruction if the places have ``content``; and the places that it loads from."""
        known = self._call.done.setdefault(state.digest, {})
        for places, by_content in known.items():
            if done := by_content.get(tuple([content[place] for place in places])):
                break
        else:
            done = self._execute(state, content)
            if not done.failure:
                near = [n for n, p in enumerate(self._places) if _meet(p, state.pc, _LONGEST)]
                places = tuple({*near, *done.read, *self._beyond, *self._always})
                known.setdefault(places, {})[tuple([content[place] for place in places])] = done
        came = (state, Seen(state.pc, done.code, fetched, loaded, done.read))
        if not done.following:
            return Outcome(done.events, done.failure, done.pc, _path(came)), list(done.read)
        registers, lines, stack, pc, *_, digest = done.following
        return _State(registers, lines, stack, pc, fetched, state.loaded, came, digest), list(done.read)

    def _execute(self, state: _State, content: Sequence[bytes]) -> _Done:
        """What comes of the instruction that ``state`` is at."""
        machine, uc = self._machine, self._machine.uc
        if self._program:
            self._begin()
        self._restore(state)
        for number, data in enumerate(content):
            if self._view[number] != data:
                self._view[number] = data
                machine.poke(self._places[number].address, data)
        self._read.clear()
        self._beyond.clear()
        self._written.clear()
        self._passed, self._at, self._stopped = False, state.pc, False
        code = self._code(state.pc)
        failure = ""
        try:
            self._run(state.pc)
        except unicorn.UcError as error:
            failure = machine.fault(error.errno if machine.error is None else machine.error, str(error)).what
        except GuestFault as fault:  # of a quirk
            failure = fault.what
        lines = state.lines
        if self._written:
            self._written.update(self._event_lines())
            lines = dict(lines)
            for line in self._written:
                lines[line] = bytes(uc.mem_read(line * _LINE, _LINE))
            self._now = lines
        read = tuple(sorted(self._read))
        failure = failure or machine.refused
        self.is_sound = not failure
        if not self._stopped or failure:
            if not failure and not machine.at_stop():
                failure, self.is_sound = "it does not come to an end", False
            return _Done(None, b"" if failure else machine.events(), failure, machine.pc, code, read)
        return _Done(self._state(lines, machine.pc, 0, 0, None), b"", "", machine.pc, code, read)

    def _run(self, pc: int) -> None:
        """Execute the instruction at ``pc``, and what comes behind it up to one that is executed by itself."""
        machine = self._machine
        if not machine.loses_flags:
            machine.uc.emu_start(pc | self._thumb, machine.until)
            return
        behind = range(pc + 2, pc + _LONGEST, 2)  # wherever the next one begins
        with machine.ending(pc, behind):
            machine.uc.emu_start(pc, machine.until)
        self._stopped = self._stopped or machine.pc in behind

    def _code(self, pc: int) -> bytes:
        """The bytes at ``pc``: of the longest instruction, or as far as memory goes; none where nothing is."""
        for size in (_LONGEST, 8, 4, 2):
            with contextlib.suppress(unicorn.UcError):
                return bytes(self._machine.uc.mem_read(pc, size))
        return b""

    def _event_lines(self) -> Iterator[int]:
        """Lines of the events that there are so far: where they are written calls no hook."""
        first, count = self._machine.events_room.start, len(self._machine.events())
        for line in range(first // _LINE, (first + count - 1) // _LINE + 1) if count else ():
            if line not in self._call.base:
                self._call.base[line] = bytes(self._machine.uc.mem_read(line * _LINE, _LINE))
            yield line

    def _restore(self, state: _State) -> None:
        uc = self._machine.uc
        if self._now is not state.lines:
            for line in self._now.keys() - state.lines.keys():
                self._put(line, self._call.base[line])
            for line, content in state.lines.items():
                if self._now.get(line) != content:
                    self._put(line, content)
            self._now = state.lines
        stack = self._stack
        stack.data[stack.first : stack.end] = self._call.unused[: stack.size - len(state.stack)] + state.stack
        uc.context_restore(state.registers)

    def _put(self, line: int, content: bytes) -> None:
        self._machine.uc.mem_write(line * _LINE, content)
        for number, place in enumerate(self._places):
            if place.address < (line + 1) * _LINE and line * _LINE < place.address + place.size:
                self._view[number] = None

    def _on_code(self, uc: Any, address: int, size: int, user_data: object) -> None:
        del user_data
        if self._starting:
            if address == self._start:
                self._stopped = True
                uc.emu_stop()
        elif self._passed:
            self._stopped = True  # behind the delay slot, if this is one
            uc.emu_stop()
        else:
            self._passed = True
            if not self._sizeless:
                self._sizes[address] = max(self._sizes.get(address, 1), min(size, _LONGEST))

    def _on_read(self, uc: Any, access: int, address: int, size: int, value: int, user_data: object) -> None:
        del uc, access, value, user_data
        if self._starting:
            return
        read = [n for n, place in enumerate(self._places) if _meet(place, address, size)]
        if not read:
            return
        if self._at >= 0 and self._at <= self._machine.pc < self._at + _WITH_SLOT:
            self._read.update(read)
        else:
            self._at = -1
            self._beyond.update(read)

    def _on_push(self, address: int, size: int) -> None:
        if not self._stack.address <= address < self._stack.address + self._stack.size:
            self._on_write(self._machine.uc, uc_const.UC_MEM_WRITE, address, size, 0, None)

    def _on_write(self, uc: Any, access: int, address: int, size: int, value: int, user_data: object) -> None:
        del access, value, user_data
        for line in range(address // _LINE, (address + size - 1) // _LINE + 1):
            if line not in self._call.base:
                try:
                    self._call.base[line] = bytes(uc.mem_read(line * _LINE, _LINE))
                except unicorn.UcError:
                    continue  # nothing is there: the store will fail
            self._written.add(line)


class _Walk:
    """A walk through one graph of moments."""

    def __init__(self, explorer: Explorer, places: Sequence[Place], moments: Sequence[Moment], *, every: bool) -> None:
        self._explorer, self._places, self._moments, self._every = explorer, places, moments, every
        self._before = before(moments)
        self._points = 0
        self._touched: set[int] = set()

    def explored(self, first: _State) -> Explored:
        """All ends of the call that begins at ``first``."""
        waiting, known = deque([first]), {_key(first)}
        ends: dict[tuple[bytes, str], Outcome] = {}
        while waiting and self._explorer.is_sound and self._points < MOST_POINTS:
            for state in self._steps(waiting.popleft()):
                if isinstance(state, Outcome):
                    ends.setdefault((state.events, state.failure), state)
                elif (key := _key(state)) not in known:
                    known.add(key)
                    waiting.append(state)
        return Explored(list(ends.values()), self._points, sorted(self._touched), not waiting)

    def _steps(self, state: _State) -> Iterator[_State | Outcome]:
        """What may come of the instruction that ``state`` is at."""
        size, following, points = 0, [], self._points
        # How long it is, is known for certain when it has been executed.
        while self._explorer.is_sound and size != (size := self._explorer.size(state.pc)):
            self._points = points  # what was executed without knowing it does not count
            end = state.pc + size
            inside = [n for n, p in enumerate(self._places) if p.address < end and state.pc < p.address + p.size]
            following = [
                each
                for moment, code in self._fetches(state, inside)
                for each in self._loads(state, moment, dict(zip(inside, code, strict=True)))
                if self._explorer.is_sound or isinstance(each, Outcome)
            ]
        yield from following

    def _fetches(self, state: _State, inside: list[int]) -> Iterator[tuple[int, tuple[bytes, ...]]]:
        """Each content that the places ``inside`` the next instruction may be fetched with, and the earliest moment."""
        if not inside:
            yield state.fetched, ()
            return
        self._touched.update(inside)
        offered: dict[tuple[bytes, ...], list[int]] = {}
        for moment in self._from(state.fetched):
            if not self._is_before(moment, state.loaded) and not self._is_before(state.loaded, moment):
                continue
            for code in itertools.product(*(self._moments[moment].fetches[place] for place in inside)):
                earlier = offered.setdefault(code, [])
                if self._explorer.is_sound and (self._every or not self._any_before(earlier, moment)):
                    earlier.append(moment)
                    yield moment, code

    def _loads(self, state: _State, moment: int, code: dict[int, bytes]) -> Iterator[_State | Outcome]:
        """What may come of an instruction that was fetched at ``moment`` as ``code``, whatever it loads."""
        first = state.loaded if self._is_before(moment, state.loaded) else moment
        following, read = self._step(state, moment, code, first)
        places = [place for place in read if place not in code]
        self._touched.update(places)
        if not places:
            yield following
            return
        offered: dict[tuple[bytes, ...], list[int]] = {}
        for later in self._from(first):
            content = tuple(self._moments[later].loads[place] for place in places)
            earlier = offered.setdefault(content, [])
            if not self._explorer.is_sound and later != first:
                return
            if not self._every and self._any_before(earlier, later):
                continue
            earlier.append(later)
            if later != first:
                following, _ = self._step(state, moment, code, later)
            yield following._replace(loaded=later) if isinstance(following, _State) else following

    def _step(
        self, state: _State, fetched: int, code: dict[int, bytes], loaded: int
    ) -> tuple[_State | Outcome, list[int]]:
        self._points += 1
        loads = self._moments[loaded].loads
        content = [code.get(number, each) for number, each in enumerate(loads)] if code else loads
        return self._explorer.step(state, fetched, content, loaded)

    def _from(self, first: int) -> Iterator[int]:
        """The moments from ``first`` on, none before one that it comes after."""
        return (moment for moment in range(first, len(self._moments)) if self._is_before(first, moment))

    def _any_before(self, earlier: Sequence[int], later: int) -> bool:
        return any(self._is_before(each, later) for each in earlier)

    def _is_before(self, earlier: int, later: int) -> bool:
        """One moment comes before another, or is the same."""
        return bool(self._before[later] >> earlier & 1)


def _meet(place: Place, address: int, size: int) -> bool:
    return address < place.address + place.size and place.address < address + size


def _key(state: _State) -> tuple[int, ...]:
    return state.digest, state.fetched, state.loaded


def _path(came: tuple[_State, Seen] | None) -> list[Seen]:
    """All that the reader saw on its way."""
    path: list[Seen] = []
    while came:
        state, seen = came
        path.append(seen)
        came = state.came
    return path[::-1]
