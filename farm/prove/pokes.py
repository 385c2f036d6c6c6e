"""A poke of an AArch64 guest as a litmus test, with the outcomes that the proofs expect of it.

One test is of one instruction that changes, with the data slots that the request stores to and the code made at run
time that the instruction leads to.  P0 stores and maintains as the guest did, in its order, and then says that the
request is over; what it does for other places is left out, but not its barriers.  The caller, P1 or P0 itself, fetches
the instruction, then that code if it is led there, then loads the slots.  What is observed is which version of each it
found: 0 is what was there before, 1 what was stored first, and so on.

An instruction is a branch, or a NOP if the guest's is one, for what a version leads to is known by its number.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from farm.engines import Note, Noted
from farm.engines.views import Place
from farm.errors import BuildError, FarmError, ImageError, MissingToolError
from farm.guest.image import Spec
from farm.prove.calls import Guest, Request, Watched, requests_named
from farm.prove.coherence import mutants_of
from farm.prove.demands import ANNEX, LONGEST, Demands, Store
from farm.prove.guests import Work, opened
from farm.prove.litmus.judge import Judged, judge
from farm.prove.proof import Reader
from farm.prove.timeline import Code, Timeline, TooManyError

MACHINE = 183  #: EM_AARCH64, the only one that litmus files are read for

State = tuple[int, ...]  #: whether the request is over, where another CPU calls; and a version a location

_WORD = 4  # bytes of an instruction
_ONE, _OVER, _FIRST = 9, 10, 11  # numbers of the registers of P0 for what says that all is over, and of the first other
_OVER_SEEN, _FOUND = 9, 0  # of the caller: whether all is over, and the version of the first location
_LAST = 28
_KEPT = ("b", "bl", "nop")  # instructions that a litmus file has as they are


@dataclass(frozen=True)
class Poke:
    """A poke that others meet, as a litmus test."""

    name: str
    reader: Reader
    mutant: str  #: empty: as the guest does it
    comment: str = ""
    program: str = ""  #: the file without its first line and its comment; empty if :attr:`apart` is not
    expected: frozenset[State] = frozenset()  #: what the proof says may be observed
    newest: State = ()  #: the last version of each location
    together: str = ""  #: locations that one cache line may hold; in the file each has its own
    apart: str = ""  #: why a litmus file cannot say it

    @property
    def text(self) -> str:
        """The litmus file."""
        return f"AArch64 {self.name}\n{self.comment}{self.program}"


@dataclass(frozen=True)
class Compared:
    """The outcomes of a poke by both."""

    poke: Poke
    observed: frozenset[State] = frozenset()
    error: str = ""  #: why there are none

    @property
    def agrees(self) -> bool:
        return not self.poke.apart and not self.error and self.observed == self.poke.expected

    @property
    def is_stale(self) -> bool:
        """What is not the newest may be observed when the request is over."""
        over = self.poke.reader is Reader.OTHER
        count = len(self.poke.newest)
        return any(state[-count:] != self.poke.newest for state in self.observed if not over or state[0])


def compare(pokes: Sequence[Poke]) -> list[Compared]:
    """Each poke with what ``farm litmus`` observes; of those that are equal, one is asked for."""
    programs = {poke.program: poke for poke in pokes if poke.program}
    files = {Path(f"{number}.litmus"): poke for number, poke in enumerate(programs.values())}
    judged = judge(list(files), read=lambda path: files[path].text)
    observed = {files[Path(each.path)].program: each for each in judged}
    return [_compared(poke, observed[poke.program]) if poke.program else Compared(poke) for poke in pokes]


def _compared(poke: Poke, judged: Judged) -> Compared:
    if judged.error or judged.notes:
        return Compared(poke, error=judged.error or "; ".join(judged.notes))
    return Compared(poke, states_of(poke, judged.states))


def states_of(poke: Poke, written: Sequence[str]) -> frozenset[State]:
    """The final states of a poke as its litmus test has them."""
    first = [_OVER_SEEN] if poke.reader is Reader.OTHER else []
    order = [*first, *range(_FOUND, _FOUND + len(poke.newest))]
    found = [dict(re.findall(r"\d+:X(\d+)=(\d+);", state)) for state in written]
    return frozenset(tuple(int(state[str(number)]) for number in order) for state in found)


@dataclass(frozen=True)
class Guests:
    """The pokes of a guest."""

    spec: Spec
    pokes: tuple[Compared, ...]
    left: str = ""  #: why there are none


def of_guest(work: Work) -> Guests:
    """The pokes that ``work`` asks for, compared; whatever goes wrong is in them."""
    if work.spec.variant.machine != MACHINE:
        return Guests(work.spec, (), "litmus files are read for AArch64 alone")
    try:
        guest = opened(work)
        made = guest.watch(requests_named(work.requests))
        found = [poke for request, watched in made for poke in pokes(guest, request, watched, mutants=work.mutants)]
        return Guests(work.spec, tuple(compare(found)))
    except (BuildError, ImageError, MissingToolError, FarmError) as error:
        return Guests(work.spec, (), str(error).splitlines()[0])


def pokes(guest: Guest, request: Request, watched: Watched, *, mutants: bool) -> Iterator[Poke]:
    """Each poke of a request, for each reader; then, with ``mutants``, those of each mutant."""
    yield from _pokes(guest, request, watched, watched.notes)
    for number, mutant in enumerate(mutants_of(guest.demands, watched) if mutants else (), 1):
        for poke in _pokes(guest, request, watched, mutant.notes, mutant.name):
            yield replace(poke, name=f"{poke.name}.mutant-{number}")


@dataclass
class _Location:
    """What a caller looks at, and how it comes to be."""

    place: Place
    versions: list[bytes]  #: what it holds, as stores make it
    is_code: bool
    stored: dict[int, int] = field(default_factory=dict)  #: version by place of the note that makes it

    def __contains__(self, address: int) -> bool:
        return self.place.address <= address < self.place.address + self.place.size


def _pokes(guest: Guest, request: Request, watched: Watched, notes: Sequence[Note], mutant: str = "") -> Iterator[Poke]:
    demands, spec = guest.demands, guest.bench.spec
    for head in _heads(demands, watched):
        for reader in Reader:
            on = "other" if reader is Reader.OTHER else "same"
            name = f"{str(spec).replace('/', '-')}.{request.name}.{head.address:#x}.{on}"
            try:
                yield _Writer(demands, watched, notes, head, reader, name, mutant).poke()
            except _ApartError as error:
                yield Poke(name, reader, mutant, apart=str(error))


class _ApartError(Exception):
    """A litmus file cannot say what the guest does."""


def _heads(demands: Demands, watched: Watched) -> list[Place]:
    """Where callers come first: each instruction that changes; if none does, the first data slot."""
    words: dict[int, None] = {}
    slots: dict[int, int] = {}
    for store in _changing(watched.notes):
        if demands.is_slot(store):
            slots.setdefault(store.address, store.size)
        elif demands.is_code(store.address) and not _is_fresh(demands, watched.before, store.address):
            words.update(dict.fromkeys(range(store.changed.start & -_WORD, store.changed.stop, _WORD)))
    if not words and slots:
        address, size = next(iter(slots.items()))
        return [Place(address, size)]
    return [Place(word, _WORD) for word in words]


def _is_fresh(demands: Demands, before: Code, address: int) -> bool:
    """Nobody can come yet to what is stored at ``address``."""
    return demands.is_fresh_place(address) and not before.has(address // ANNEX * ANNEX, ANNEX)


def _changing(notes: Sequence[Note]) -> Iterator[Store]:
    for note in notes:
        if note.kind == Noted.STORE and note.before != note.after:
            yield Store(note.place, note.before, note.after, note.value)


class _Writer:
    """Writes one poke as a litmus file."""

    def __init__(
        self, demands: Demands, watched: Watched, notes: Sequence[Note], head: Place, reader: Reader, name: str,
        mutant: str,
    ) -> None:  # fmt: skip
        self.demands, self.before, self.notes = demands, watched.before, notes
        self.as_made = list(_changing(watched.notes))  # by the guest as it is
        self.reader, self.name, self.mutant = reader, name, mutant
        self.timeline = Timeline(demands, watched.before, notes, reader)
        self.is_met = demands.concurrent and reader is Reader.OTHER  # a caller may come before all is over
        self.locations = self._locations(head)
        self.registers: dict[tuple[str, int], int] = {}  # of P0, by what they hold
        self.caller = 1 if reader is Reader.OTHER else 0

    # What is looked at.

    def _locations(self, head: Place) -> list[_Location]:
        demands = self.demands
        slots = {store.address: store.size for store in self.as_made if demands.is_slot(store)}
        places = [head] if head.address not in slots else []
        if places:
            new = self.timeline.content(head.address, LONGEST, self.timeline.everything)
            target = demands.destination(head.address, new)
            made = any(target <= store.address < target + _WORD for store in self.as_made)
            if made and _is_fresh(demands, self.before, target):
                places.append(Place(target, _WORD))
        found = [self._location(place, is_code=True) for place in places]
        found += [self._location(Place(address, size), is_code=False) for address, size in slots.items()]
        return [each for each in found if len(each.versions) > 1]

    def _location(self, place: Place, *, is_code: bool) -> _Location:
        """A location with its versions; code that nobody can come to yet is stored as one."""
        code = self.before.copy()
        location = _Location(place, [code.read(place.address, place.size)], is_code)
        touching = [
            i for i, note in enumerate(self.notes)
            if note.kind == Noted.STORE and note.before != note.after
            and note.place < place.address + place.size and place.address < note.place + len(note.after)
        ]  # fmt: skip
        fresh = _is_fresh(self.demands, self.before, place.address)
        for i, following in itertools.zip_longest(touching, touching[1:]):
            note = self.notes[i]
            store = Store(note.place, note.before, note.after, note.value)
            code.write(note.place, note.after)
            inside = place.address <= store.changed.start and store.changed.stop <= place.address + place.size
            if not fresh and store.size < place.size:
                raise _ApartError(f"a store of {store.size} bytes is a part of an instruction or an address")
            if not fresh and is_code and not inside:
                raise _ApartError("one store changes several instructions")
            if fresh and following and all(each.kind == Noted.STORE for each in self.notes[i:following]):
                continue
            content = code.read(place.address, place.size)
            if content not in location.versions:
                location.versions.append(content)
            location.stored[i] = location.versions.index(content)
        return location

    # What the proof says.

    def _expected(self) -> frozenset[State]:
        relevant = [
            number for number, place in enumerate(self.timeline.places)
            if any(place.address in each or each.place.address in range(place.address, place.address + place.size)
                   for each in self.locations)
        ]  # fmt: skip
        try:
            moments, sets = self.timeline.moments(relevant)
        except TooManyError:
            raise _ApartError("the changes can be seen in more orders than are explored") from None
        last = next(i for i, moment in enumerate(moments) if not moment.next)
        behind: list[frozenset[int]] = [frozenset()] * len(moments)
        for i in sorted(range(len(moments)), key=lambda i: -sets[i].bit_count()):
            behind[i] = frozenset({i}).union(*(behind[j] for j in moments[i].next))
        starts = [(last, (1,))] if self.reader is Reader.OTHER else [(last, ())]
        ways = set[tuple[int, State]](starts)
        if self.is_met:
            ways |= {(i, (0,)) for i in range(len(moments))}
        found: set[State] = set()
        for number, location in enumerate(self.locations):
            ways = {
                (j, (*state, location.versions.index(content)))
                for i, state in ways
                for j in behind[i]
                for content in self._contents(location, sets[j], sets)
            }
            if number == 0:
                early = {way for way in ways if not self._goes_on(way[1][-1])}
                found |= {(*state, *(0,) * (len(self.locations) - 1)) for _, state in early}
                ways -= early
        found |= {state for _, state in ways}
        if self.reader is Reader.OTHER and not self.is_met:
            found.add((0,) * (1 + len(self.locations)))  # who comes too early does not call
        return frozenset(found)

    def _contents(self, location: _Location, seen: int, sets: Sequence[int]) -> tuple[bytes, ...]:
        if location.is_code:
            return self.timeline.fetches(location.place, seen, sets)
        return (self.timeline.content(location.place.address, location.place.size, seen),)

    def _goes_on(self, version: int) -> bool:
        """Who finds this version of the first location goes on: it leads to the code that is made, if any is."""
        if len(self.locations) == 1 or not self.locations[1].is_code:
            return True
        head, made = self.locations[:2]
        code = head.versions[version] + bytes(LONGEST)
        return self.demands.destination(head.place.address, code) == made.place.address

    # The file.

    def poke(self) -> Poke:
        if not self.locations:
            raise _ApartError("nothing changes in the end that a caller looks at")
        if self.timeline.has_breakpoints:
            raise _ApartError("what a breakpoint makes new is not in a litmus file")
        self._refuse_unpromised()
        expected = self._expected()
        patching, calling = self._patching(), self._calling()
        columns = [patching, calling] if self.caller else [patching + calling]
        newest = tuple(location.stored[max(location.stored)] for location in self.locations)
        together = self._together()
        lines = ["{", *self._state(), "}", *_table(columns)]
        found = [f"{self.caller}:X{_FOUND + i}" for i in range(len(self.locations))]
        shown = [f"{self.caller}:X{_OVER_SEEN}", *found] if self.caller else found
        old = " \\/ ".join(
            f"{register}={version}"
            for register, location, new in zip(found, self.locations, newest, strict=True)
            for version in range(len(location.versions))
            if version != new
        )
        wrong = f"{self.caller}:X{_OVER_SEEN}=1 /\\ ({old})" if self.caller else old
        lines += [f"locations [{' '.join(f'{each};' for each in shown)}]", f"~exists ({wrong})"]
        comment, program = ("\n".join(each) + "\n" for each in (self._comments(together), lines))
        return Poke(self.name, self.reader, self.mutant, comment, program, expected, newest, together)

    def _refuse_unpromised(self) -> None:
        """A CPU may do anything where an instruction changes that the manual does not list."""
        for change in self.timeline.changes if self.is_met else ():
            is_looked_at = any(change.touches(each.place.address, each.place.size) for each in self.locations)
            if is_looked_at and change.promised and change.promised.basis == "none":
                raise _ApartError(f"a CPU may do anything that executes it meanwhile: {change.promised.source}")

    def _together(self) -> str:
        """The locations that a line may hold together, and from which size of a line on."""
        block = self.demands.variant.coherence.block
        told = []
        for a, b in itertools.combinations(self.locations, 2):
            first, second = sorted((a.place.address, b.place.address))
            size = 1 << (first ^ second).bit_length()
            if block and size <= block.most:
                told.append(f"{first:#x} and {second:#x} are on one line of {size} bytes or more")
        return "; ".join(told)

    def _comments(self, together: str) -> Iterator[str]:
        demands = self.demands
        yield f"(* {self.mutant or 'as the guest does it'}; called on {self.reader}.  0 is what was there before."
        for number, location in enumerate(self.locations):
            address, size = location.place.address, location.place.size
            register = f"{self.caller}:X{_FOUND + number}"
            if location.is_code:
                contents = [demands.instruction(address, code + bytes(LONGEST))[1] for code in location.versions]
            else:
                order = demands.variant.byte_order
                contents = [demands.name(int.from_bytes(code, order)) for code in location.versions]
            what = "instruction" if location.is_code else f"slot of {size} bytes"
            told = ", ".join(f"{version} is {text}" for version, text in enumerate(contents))
            yield f"   {register}: the {what} at {demands.name(address)}: {told}."
        if together:
            yield f"   Here each location has a line of its own, but {together}."
        yield "   What is done for other places is left out, and so are barriers that repeat those before them. *)"

    def _register(self, kind: str, number: int, version: int = 0) -> int:
        """The register of P0 for the address of a location (``at``), or for a version of it (``value``)."""
        key = (kind, number * 64 + version)
        made = self.registers.setdefault(key, _FIRST + len(self.registers))
        if made > _LAST:
            raise _ApartError("it stores more versions than there are registers")
        return made

    def _patching(self) -> list[tuple[str, str]]:
        demands = self.demands
        made: list[tuple[str, str]] = []
        for i, note in enumerate(self.notes):
            if note.kind == Noted.STORE:
                for number, location in enumerate(self.locations):
                    if i in location.stored:
                        value = self._register("value", number, location.stored[i])
                        wide = "X" if location.place.size > _WORD else "W"
                        made.append(("", f"STR {wide}{value},[X{self._register('at', number)}]"))
            elif note.kind == Noted.INSTRUCTION:
                text = demands.watched.meanings[note.place].text.upper()
                steps = [demands.steps[number] for number in demands.steps_for(note.place)]
                if not any(step.has_address for step in steps):
                    made.append(("", text))
                    _collapse(made)
                    continue
                for number, location in enumerate(self.locations):
                    block = location.place.address // demands.block
                    if location.is_code and any(demands.is_for(step, note.value, block) for step in steps):
                        operand = f"X{self._register('at', number)}"
                        made.append(("", f"{text.partition(',')[0]},{operand}"))
            elif note.kind == Noted.KERNEL:
                raise _ApartError("a kernel does the maintenance")
        if self.caller:
            made.append(("", f"STLR W{_ONE},[X{_OVER}]"))
        return made

    def _calling(self) -> list[tuple[str, str]]:
        made: list[tuple[str, str]] = []
        if self.caller:
            early, to = ("go", "CBNZ") if self.is_met else ("out", "CBZ")
            made += [("", f"LDAR W{_OVER_SEEN},[X8]"), ("", f"{to} W{_OVER_SEEN},{early}")]
            made.append(("go" if self.is_met else "", "ISB"))
        for number, location in enumerate(self.locations):
            found = _FOUND + number
            if not location.is_code:
                wide = "X" if location.place.size > _WORD else "W"
                made.append(("", f"LDR {wide}{found},[X{self._slot(number)}]"))
                continue
            made.append((f"w{number}", self._instruction(location, 0)))
            order = self._order(location)
            for version in order:
                made.append(("", f"MOV W{found},#{version}"))
                if number == 0 and not self._goes_on(version):
                    made.append(("", "B out"))
                elif version != order[-1]:
                    made.append(("", f"B n{number}"))
            made.append((f"n{number}", ""))
        if any(text.endswith("out") for _, text in made):
            made.append(("out", ""))
        return made

    def _slot(self, number: int) -> int:
        return _FIRST + number if self.caller else self._register("at", number)

    def _order(self, location: _Location) -> list[int]:
        """Versions as their targets follow: a NOP's is first."""
        return sorted(range(len(location.versions)), key=lambda v: self._mnemonic(location, v) != "nop")

    def _mnemonic(self, location: _Location, version: int) -> str:
        code = location.versions[version] + bytes(LONGEST)
        return self.demands.instruction(location.place.address, code)[1].split()[0]

    def _instruction(self, location: _Location, version: int) -> str:
        mnemonic = self._mnemonic(location, version)
        if mnemonic == "nop":
            return "NOP"
        distance = _WORD + 2 * _WORD * self._order(location).index(version)
        return f"{mnemonic.upper() if mnemonic in _KEPT else 'B'} .+{distance}"

    def _state(self) -> Iterator[str]:
        for number, location in enumerate(self.locations):
            if not location.is_code:
                yield f"int64_t s{number}=0;" if location.place.size > _WORD else f"int32_t s{number}=0;"
                if self.caller:
                    yield f"1:X{self._slot(number)}=s{number};"
        if self.caller:
            yield f"int32_t over=0; 0:X{_OVER}=over; 0:X{_ONE}=1; 1:X8=over; 1:X{_OVER_SEEN}=0;"
        for (kind, key), register in self.registers.items():
            number, version = divmod(key, 64)
            location = self.locations[number]
            if kind == "at":
                value = f"P{self.caller}:w{number}" if location.is_code else f"s{number}"
            else:
                value = f'instr:"{self._instruction(location, version)}"' if location.is_code else str(version)
            yield f"0:X{register}={value};"


def _collapse(made: list[tuple[str, str]]) -> None:
    """Drop barriers at the end that say again what those before them said."""
    for period in range(1, len(made) // 2 + 1):
        tail = made[-period:]
        if any("," in text or "[" in text for _, text in tail):
            return
        if tail == made[-2 * period : -period]:
            del made[-period:]
            return


def _table(columns: Sequence[Sequence[tuple[str, str]]]) -> Iterator[str]:
    """The rows of a program, a column a thread."""
    cells = [
        [f"P{number}", *(f"{label}: {text}".rstrip() if label else f"  {text}" for label, text in column)]
        for number, column in enumerate(columns)
    ]
    widths = [max(map(len, column)) for column in cells]
    for row in itertools.zip_longest(*cells, fillvalue=""):
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f" {' | '.join(padded)} ;"
