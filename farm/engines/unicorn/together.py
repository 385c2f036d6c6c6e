"""Two requests that are made at once (:mod:`farm.engines.together`), on one machine.

A CPU is a set of registers and a stack: the two stacks are at the same addresses, and whose turn it is has its own
there.  Everything else they share.  States that are equal are followed once, so a CPU that waits for the other one in
a loop comes back to where it was, and is not followed round and round.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, NamedTuple

import unicorn
import unicorn.unicorn_const as uc_const

from farm.engines.together import MOST_TURNS, STUCK, Ending, Made, Touch, Turn
from farm.engines.unicorn.machine import GuestFault, contents

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from farm.engines.together import Together
    from farm.engines.unicorn.machine import Machine

_ALL = (1 << 64) - 1
_LINE = 64  # bytes of memory that are kept at once
_GRAIN = 4  # bytes that are looked at or changed as one
_LOCK, _XCHG, _XCHG_MASK, _REX = 0xF0, 0x86, 0xFE, 4  # of x86; REX has 4 bits
_PREFIXES = bytes.fromhex("26 2e 36 3e 64 65 66 67 f2 f3")
_LONGEST = 15  # bytes of an instruction of x86
_ROUND = 32  # states of two that wait for one another, at most
_PASSES = 6  # over all orders at most, each with the accesses that the one before found


_Key = tuple[object, ...]  # of a state, equal if the states are
_Memory = tuple[tuple[int, ...], tuple[int, ...]]  # lines and grains
_Content = tuple[bytes, ...]  # of these


class _Cpu(NamedTuple):
    """One of the two, between two instructions."""

    registers: Any  # a context of Unicorn's
    stack: bytes
    pc: int
    done: bool  # with its request
    digest: int  # of registers and stack
    pending: Touch | None = None  # a store that is still to be made, by the instruction that has loaded


class _State(NamedTuple):
    """Both, and what they share."""

    cpus: tuple[_Cpu, _Cpu]
    lines: dict[int, bytes]  # by number: memory that is not as it was when the first request began
    protections: dict[int, int]  # of regions
    came: tuple[_State, Turn] | None

    @property
    def key(self) -> _Key:
        cpus = [(cpu.digest, cpu.pc, cpu.done, cpu.pending) for cpu in self.cpus]
        return *cpus, hash(frozenset(self.lines.items())), *self.protections.items()

    @property
    def is_over(self) -> bool:
        """Both are done."""
        return self.cpus[0].done and self.cpus[1].done

    def path(self) -> tuple[Turn, ...]:
        """All turns that led here."""
        turns: list[Turn] = []
        came = self.came
        while came:
            state, turn = came
            turns.append(turn)
            came = state.came
        return tuple(turns[::-1])


class _Taken(NamedTuple):
    """What came of a turn."""

    cpu: _Cpu
    stored: tuple[tuple[int, bytes], ...]  # grains
    protections: dict[int, int]
    turn: Turn
    passed: tuple[frozenset[int], frozenset[int]]  # grains that it looked at, and changed, without an end to the turn


class Pair:
    """Two requests on ``machine``, which must have run nothing yet and cannot be used for anything else."""

    def __init__(self, machine: Machine, wanted: Together) -> None:
        self._machine = machine
        self._begins, self._first = frozenset(wanted.begins), wanted.first
        self._stack = machine.stack
        self._counting = 0  # requests that begin until execution stops
        self._stops: Collection[int] = ()  # addresses at which it does
        self._cuts = False  # it does behind an access that both look at, too
        self._fresh = self._hit = self._stopped = False
        self._ends: set[int] = set()  # where a turn ended, of a CPU of which a stop elsewhere loses the flags
        self._lost = 0  # where it ended and lost them
        self._whose = 0
        self._at = 0  # the last instruction
        self._touched: list[tuple[int, bytes, bool]] = []
        self._written: set[int] = set()  # lines
        self._base: dict[int, bytes] = {}  # lines as they were when the first request began
        self._now: dict[int, bytes] = {}  # lines that are not so
        self._looked: tuple[set[int], set[int]] = (set(), set())  # by CPU: grains that it has loaded or stored
        self._changed: tuple[set[int], set[int]] = (set(), set())  # and stored
        self._grown = False  # one of these sets has
        self._met: set[int] = set()  # grains that a turn accesses
        self._stored: set[int] = set()  # those that it stores to
        self._passed: tuple[set[int], set[int]] = (set(), set())  # those that it looks at and changes, and does not end
        self._executed: set[int] = set()  # addresses of its instructions
        # What a CPU does in a turn follows from what it is and from what is in the memory it meets.  By what it is,
        # by the lines that it fetches from and the grains that it accesses then, and by what is in these.
        self._taken: dict[_Key, dict[_Memory, dict[_Content, _Taken]]] = {}
        self._is_x86 = machine.module == "x86_const"
        self._hooks: list[int] = []
        self._hook()

    def run(self, program: bytes) -> Made:
        """What may come of the two requests of ``program``.

        Raises :class:`~farm.engines.unicorn.machine.GuestFault` if one after the other they do not come to an end.
        """
        start, returns = self._begun(program)
        for _ in range(_PASSES):
            self._grown = False
            made = self._explored(start, returns)
            if not self._grown or not made.complete:
                break
        return made

    def _begun(self, program: bytes) -> tuple[_State, tuple[int, int]]:
        """Both where they begin, and where they return to; what each does when it is alone is known by then."""
        machine = self._machine
        machine.reset()
        self._counting = self._first + 1
        machine.run(program)
        self._counting = 0
        first, protections = self._held(machine.pc, done=False), machine.protections()
        returns = machine.return_address()
        between, failure = self._go(_State((first, first), {}, protections, None), 0, self._begins)
        if failure or not self._stopped:
            raise GuestFault(failure or "the program does not make two requests", machine.pc, None)
        second = between.cpus[0]
        behind = machine.return_address()
        _, failure = self._go(_State((first, second), {}, protections, None), 1, (behind,))
        if failure or not self._stopped:
            raise GuestFault(failure or "a request does not come to an end", machine.pc, None)
        both = first, second._replace(done=False)
        return _State(both, {}, protections, None), (returns, behind)

    def _explored(self, start: _State, returns: tuple[int, int]) -> Made:
        """All ends, in every order of the accesses that both are known to look at."""
        waiting, known = deque([(start.key, start)]), {start.key: start}
        came_from: dict[_Key, list[_Key]] = defaultdict(list)
        turns = 0
        self._cuts = True
        while waiting and turns < MOST_TURNS:
            before, state = waiting.popleft()
            last = state.came[1].cpu if state.came else 0
            for whose in (each for each in (last, 1 - last) if not state.cpus[each].done):
                turns += 1
                following, failure = self._turn(state, whose, returns[whose : whose + 1])
                if failure:
                    return Made((Ending(self._machine.events(), failure, following.path()),), turns, complete=False)
                key = following.key
                came_from[key].append(before)
                if key not in known:
                    known[key] = following
                    # What takes fewer changes from one CPU to the other comes first.
                    (waiting.appendleft if whose == last else waiting.append)((key, following))
        self._cuts = False
        over = [key for key, state in known.items() if state.is_over]
        if not waiting and (stuck := known.keys() - _back(over, came_from)):
            caught = _caught([key for key in known if key in stuck], came_from)
            return Made((Ending(b"", STUCK, known[caught].path()),), turns, complete=False)
        endings: dict[tuple[bytes, str], Ending] = {}
        with self._unwatched():
            for key in over:
                ending = self._ended(known[key])
                endings.setdefault((ending.events, ending.failure), ending)
                if ending.failure:
                    return Made((ending,), turns, complete=False)
        return Made(tuple(endings.values()), turns, complete=not waiting)

    def _ended(self, state: _State) -> Ending:
        """What the program does behind the two requests: the first CPU up to the second request, which is over."""
        self._restore(state, state.cpus[0])
        self._machine.forget()
        with self._machine.put_back():
            between, failure = self._go(state, 0, self._begins)
            if not failure:
                _, failure = self._go(between._replace(cpus=(between.cpus[0], state.cpus[1])), 1, ())
            return Ending(self._machine.events(), failure, state.path())

    def _hook(self) -> None:
        add = self._machine.uc.hook_add
        accesses, stack = uc_const.UC_HOOK_MEM_READ | uc_const.UC_HOOK_MEM_WRITE, self._stack
        apart = (0, stack.address - 1), (stack.address + stack.size, _ALL)  # nobody looks at the other one's stack
        self._hooks = [add(uc_const.UC_HOOK_CODE, self._on_code)]
        self._hooks += [add(accesses, self._on_access, None, *span) for span in apart]

    @contextlib.contextmanager
    def _unwatched(self) -> Iterator[None]:
        """Have no hook be called but where a request begins: most of a program is behind the two."""
        uc = self._machine.uc
        for hook in self._hooks:
            uc.hook_del(hook)
        hooks = [uc.hook_add(uc_const.UC_HOOK_CODE, self._on_begin, None, at, at) for at in self._begins]
        uc.ctl_flush_tb()
        yield
        for hook in hooks:
            uc.hook_del(hook)
        self._hook()
        uc.ctl_flush_tb()

    # One turn.

    def _turn(self, state: _State, whose: int, stops: Collection[int]) -> tuple[_State, str]:
        """What comes of a turn, as :meth:`_go` has it, which takes it if it is none that has been taken before."""
        cpu = state.cpus[whose]
        if cpu.pending:
            return _stored(state, whose, cpu.pending), ""
        key = whose, cpu.digest, cpu.pc, *state.protections.items()
        for memory, by_content in self._taken.get(key, {}).items():
            if taken := by_content.get(self._content(state.lines, memory)):
                return self._behind(state, whose, taken), ""
        known = self._known_of(whose)
        following, failure = self._go(state, whose, stops)
        if self._known_of(whose) != known:
            self._drop(1 - whose)
        if not failure:
            assert following.came
            fetched = {place // _LINE for at in self._executed for place in (at, at + _LONGEST - 1)}
            memory = tuple(fetched), tuple(self._met)
            stored = tuple((grain, self._grain(following.lines, grain)) for grain in self._stored)
            passed = frozenset(self._passed[0]), frozenset(self._passed[1])
            taken = _Taken(following.cpus[whose], stored, following.protections, following.came[1], passed)
            self._taken.setdefault(key, {}).setdefault(memory, {})[self._content(state.lines, memory)] = taken
        return following, failure

    def _known_of(self, whose: int) -> tuple[int, int]:
        return len(self._looked[whose]), len(self._changed[whose])

    def _drop(self, whose: int) -> None:
        """Forget turns that would end earlier, now that more is known of what the other CPU looks at and changes."""
        looked, changed = self._looked[1 - whose], self._changed[1 - whose]
        for key, by_memory in self._taken.items():
            for by_content in by_memory.values() if key[0] == whose else ():
                for content, taken in list(by_content.items()):
                    if not (changed.isdisjoint(taken.passed[0]) and looked.isdisjoint(taken.passed[1])):
                        del by_content[content]

    def _behind(self, state: _State, whose: int, taken: _Taken) -> _State:
        """``state`` behind a turn that has been ``taken`` already."""
        lines = dict(state.lines)
        for grain, content in taken.stored:
            line, offset = divmod(grain * _GRAIN, _LINE)
            held = lines.get(line) or self._base[line]
            lines[line] = held[:offset] + content + held[offset + _GRAIN :]
        cpus = (taken.cpu, state.cpus[1]) if whose == 0 else (state.cpus[0], taken.cpu)
        return _State(cpus, lines, taken.protections, (state, taken.turn))

    def _content(self, lines: dict[int, bytes], memory: _Memory) -> _Content:
        fetched, met = memory
        held = [lines.get(line) or self._base.get(line, b"") for line in fetched]
        return tuple(held + [self._grain(lines, grain) for grain in met])

    def _grain(self, lines: dict[int, bytes], grain: int) -> bytes:
        """What is in a grain; nothing if it is as it was when the first request began, and nobody has stored to it."""
        line, offset = divmod(grain * _GRAIN, _LINE)
        held = lines.get(line) or self._base.get(line, b"")
        return held[offset : offset + _GRAIN]

    def _go(self, state: _State, whose: int, stops: Collection[int]) -> tuple[_State, str]:
        """What comes of a turn, which ends at one of ``stops``, or as a program does; and what goes wrong."""
        machine, cpu = self._machine, state.cpus[whose]
        self._restore(state, cpu)
        self._whose, self._stops, self._fresh, self._hit, self._stopped = whose, stops, True, False, False
        self._touched, self._at = [], cpu.pc
        for each in (self._written, self._met, self._stored, self._executed, *self._passed):
            each.clear()
        failure = ""
        try:
            self._run(cpu.pc)
        except unicorn.UcError as error:
            failure = machine.fault(error.errno if machine.error is None else machine.error, str(error)).what
        except GuestFault as fault:  # of a quirk
            failure = fault.what
        failure = failure or machine.refused
        if not failure and not self._stopped and not machine.at_stop():
            failure = "it does not come to an end"
        lines = {**state.lines, **{line: machine.read(line * _LINE, _LINE) for line in self._written}}
        self._now = lines
        if self._lost:
            self._ends.add(self._lost)
            machine.uc.ctl_flush_tb()
            return self._go(state, whose, stops)
        touches = tuple(
            Touch(address, before, machine.read(address, len(before)) if stores and before else before, stores)
            for address, before, stores in self._touched
        )
        cpus = [*state.cpus]
        cpus[whose] = self._held(machine.pc, done=machine.pc in stops)
        made = _State((cpus[0], cpus[1]), lines, machine.protections(), (state, Turn(whose, self._at, touches)))
        return (self._divided(made, whose) if self._is_x86 and self._hit else made), failure

    def _divided(self, made: _State, whose: int) -> _State:
        """``made``, with its last store still to be made if that is of an instruction that loads before, unlocked."""
        assert made.came
        before, turn = made.came
        if [touch.stores for touch in turn.touches[-2:]] != [False, True]:
            return made
        load, store = turn.touches[-2:]
        if load.address != store.address or _is_locked(self._machine.read(turn.pc, _LONGEST)):
            return made
        cpus = [*made.cpus]
        cpus[whose] = cpus[whose]._replace(pending=store, done=False)
        lines = _with(made.lines, store.address, store.before)
        return _State((cpus[0], cpus[1]), lines, made.protections, (before, Turn(whose, turn.pc, turn.touches[:-1])))

    def _run(self, pc: int) -> None:
        """Execute a turn from ``pc`` on."""
        machine, self._lost = self._machine, 0
        if not machine.loses_flags:
            machine.uc.emu_start(pc | int(machine.is_thumb), machine.until)
            return
        while not (self._stopped or machine.at_stop()):
            with machine.ending(pc, self._ends - {pc}):
                machine.uc.emu_start(pc, machine.until)
            self._stopped = self._stopped or self._hit
            pc, self._fresh = machine.pc, True

    def _held(self, pc: int, *, done: bool) -> _Cpu:
        content = self._machine.stack_in_use(red_zone=not done)
        registers = self._machine.uc.context_save()
        return _Cpu(registers, content, pc, done, hash((contents(registers), content)))

    def _restore(self, state: _State, cpu: _Cpu) -> None:
        machine, stack = self._machine, self._stack
        for line in self._now.keys() - state.lines.keys():
            machine.poke(line * _LINE, self._base[line])
        for line, content in state.lines.items():
            if self._now.get(line) != content:
                machine.poke(line * _LINE, content)
        self._now = state.lines
        machine.protect(state.protections)
        stack.data[stack.first : stack.end] = cpu.stack.rjust(stack.size, b"\0")  # nothing that the other left
        machine.uc.context_restore(cpu.registers)

    def _on_code(self, uc: Any, address: int, size: int, user_data: object) -> None:
        del size, user_data
        if self._counting:
            if address in self._begins:
                self._counting -= 1
                if not self._counting:
                    self._counting = -1
            if self._counting < 0:
                uc.emu_stop()
        elif self._fresh:
            self._fresh = False
            self._executed.add(address)
        elif self._hit or address in self._stops:
            if self._machine.loses_flags and self._hit and not self._stopped and address not in self._ends:
                self._lost = address
            self._hit = self._stopped = True  # also behind a delay slot, if this is one
            uc.emu_stop()
        else:
            self._at = address
            self._executed.add(address)

    def _on_begin(self, uc: Any, address: int, size: int, user_data: object) -> None:
        del size, user_data
        if address in self._stops:
            self._hit = self._stopped = True
            uc.emu_stop()

    def _on_access(self, uc: Any, access: int, address: int, size: int, value: int, user_data: object) -> None:
        del uc, value, user_data
        machine, whose = self._machine, self._whose
        if self._counting:
            return
        address = machine.alias.origin(address)
        stores = access == uc_const.UC_MEM_WRITE
        is_device = address in machine.doorbell
        grains = [*range(address // _GRAIN, (address + size - 1) // _GRAIN + 1)]
        if not is_device:
            self._met.update(grains)
        if stores and not is_device:
            self._stored.update(grains)
            for line in range(address // _LINE, (address + size - 1) // _LINE + 1):
                if line not in self._base:
                    self._base[line] = machine.read(line * _LINE, _LINE)
                self._written.add(line)
        # A store to text is one that the doorbell allows or not.
        looked = [*grains, machine.doorbell.start // _GRAIN] if stores and machine.is_text(address) else grains
        self._note(self._looked[whose], looked)
        if stores:
            self._note(self._changed[whose], grains)
        other_changes, other_looks = self._changed[1 - whose], self._looked[1 - whose]
        if self._cuts and (not other_changes.isdisjoint(looked) or (stores and not other_looks.isdisjoint(grains))):
            self._hit = True
            self._touched.append((address, b"" if is_device else machine.read(address, size), stores))
        else:
            self._passed[0].update(looked)
            self._passed[1].update(grains if stores else ())

    def _note(self, known: set[int], grains: Sequence[int]) -> None:
        if not known.issuperset(grains):
            known.update(grains)
            self._grown = True


def _stored(state: _State, whose: int, store: Touch) -> _State:
    """What comes of a store that was pending."""
    cpus = [*state.cpus]
    cpus[whose] = cpus[whose]._replace(pending=None)
    turn = Turn(whose, cpus[whose].pc, (store,))
    return _State((cpus[0], cpus[1]), _with(state.lines, store.address, store.after), state.protections, (state, turn))


def _with(lines: dict[int, bytes], address: int, content: bytes) -> dict[int, bytes]:
    """``lines`` with ``content`` at ``address``, of which they have all that is not as it was."""
    changed = dict(lines)
    for at, byte in enumerate(content, address):
        line, offset = divmod(at, _LINE)
        changed[line] = changed[line][:offset] + bytes([byte]) + changed[line][offset + 1 :]
    return changed


def _is_locked(code: bytes) -> bool:
    """An x86 instruction with a LOCK prefix, or XCHG, has no store between its two accesses (Intel SDM 3A, "LOCK")."""
    for byte in code:
        if byte == _LOCK or byte & _XCHG_MASK == _XCHG:
            return True
        if byte not in _PREFIXES and byte >> 4 != _REX:
            return False
    return False


def _back(ends: Iterable[_Key], came_from: dict[_Key, list[_Key]]) -> set[_Key]:
    """All that leads to one of ``ends``, which are among it."""
    found = set(ends)
    waiting = [*found]
    while waiting:
        for before in came_from[waiting.pop()]:
            if before not in found:
                found.add(before)
                waiting.append(before)
    return found


def _caught(stuck: Sequence[_Key], came_from: dict[_Key, list[_Key]]) -> _Key:
    """The first of the ``stuck`` from which nothing new comes any more, round and round."""
    behind: dict[_Key, set[_Key]] = defaultdict(set)
    for key, all_before in came_from.items():
        for before in all_before:
            behind[before].add(key)

    def reached(start: _Key) -> set[_Key]:
        found, waiting = {start}, [start]
        while waiting and len(found) < _ROUND:
            waiting += (new := behind[waiting.pop()] - found)
            found |= new
        return found

    rounds = (key for key in stuck if len(reached(key)) < _ROUND and all(key in reached(each) for each in reached(key)))
    return next(rounds, stuck[0])
