"""From a request to what others may see of it: the moments of an exploration (:mod:`farm.engines.views`).

A request makes *changes* in the order of its program: stores, and maintenance that is over for some block of code.
Which of them is seen before which follows from the architecture's rules (:mod:`farm.guest.rules`).  Decisions:

* A store is seen whole if the rules of data say so, and by a fetch if those of fetches do; else in as many parts as it
  has bytes, or as instructions are aligned to, in any order.
* Stores are seen in their order where the architecture has no barrier for that.  Elsewhere two of them are ordered by a
  barrier between them, or if they are to the same bytes.  The CPU that makes them sees all in their order.
* Where fetches are not coherent, one returns anything from what was there when the maintenance of its block was last
  over, up to the newest store that is seen: a line may be filled again at any moment.  The unit is the least block that
  the architecture allows: with larger ones nothing is stale that could not be so anyway, and maintenance does more.
* Where fetches are coherent, an instruction that changes by a breakpoint (:mod:`farm.prove.breakpoints`) is fetched as
  if they were not, byte by byte, and what makes it new is that every CPU serialises.
* What nobody can come to yet, in memory for code that is made at run time, is stored as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from farm.engines import Note, Noted
from farm.engines.views import Drawing, Moment, Place
from farm.prove.breakpoints import Breakpoints
from farm.prove.demands import ANNEX, Demands, Promised, Store
from farm.prove.proof import Reader

#: Moments of an exploration at most.
MOST_MOMENTS = 4096


#: In place of a number of a block: what is over is so for all code.
EVERYWHERE = -2


class TooManyError(Exception):
    """The changes can be seen in more orders than are explored."""


@dataclass
class Change:
    """A change that is seen at once: parts of stores, or that the maintenance of a block is over."""

    parts: list[tuple[int, bytes]] = field(default_factory=list)  #: addresses and bytes
    store: Store | None = None
    promised: Promised | None = None  #: of the instruction that another CPU may be executing meanwhile
    over: int = -1  #: number of a block, or :data:`EVERYWHERE`; -1: it is no maintenance
    lags: bool = False  #: though fetches are coherent, one may be from before it until every CPU serialises
    after: int = 0  #: the changes that are seen before it, as bits

    def touches(self, address: int, size: int) -> bool:
        for at, part in self.parts:  # noqa: SIM110 - asked very often, and a generator costs more
            if at < address + size and address < at + len(part):
                return True
        return False


class _Met(NamedTuple):
    """What meets a place; changes as bits."""

    own: int  # the changes to it
    is_fetched: bool  # a fetch may be of what was there before them
    over: tuple[tuple[int, int], ...]  # each that ends maintenance, and the changes to it that this is for

    def maintained(self, seen: int) -> int:
        """The changes of which the maintenance is over when those in ``seen`` are made."""
        maintained = 0
        for end, meant in self.over:
            if seen & end:
                maintained |= meant
        return maintained


def requests(demands: Demands, notes: Sequence[Note]) -> list[tuple[int, int]]:
    """The outermost requests among ``notes``: places of the first note of each and behind its last."""
    found: list[tuple[int, int]] = []
    depth: list[int] = []
    for place, note in enumerate(notes):
        if note.kind == Noted.BEGIN:
            while depth and depth[-1] <= note.value:
                depth.pop()
            if not depth:
                found.append((place + 1, len(notes)))
            depth.append(note.value)
        elif note.kind == Noted.END and depth:
            if note.place in demands.watched.outside:
                depth.clear()
            else:
                depth.pop()
            if not depth:
                found[-1] = (found[-1][0], place)
    return found


class Code:
    """Memory as a program has made it so far."""

    def __init__(self, demands: Demands, notes: Sequence[Note] = ()) -> None:
        self._demands = demands
        self._stored: dict[int, int] = {}  # bytes by address
        self._known: dict[tuple[int, int], bytes] = {}  # by address and size: the same are asked for again and again
        for note in notes:
            if note.kind == Noted.STORE:
                self.write(note.place, note.after)

    def copy(self) -> Code:
        """Memory that is as this one now."""
        code = Code(self._demands)
        code._stored.update(self._stored)
        return code

    def has(self, address: int, size: int) -> bool:
        """Tell whether any of it has been stored to."""
        return not self._stored.keys().isdisjoint(range(address, address + size))

    def write(self, address: int, data: bytes) -> None:
        self._stored.update(enumerate(data, address))
        self._known.clear()

    def read(self, address: int, size: int) -> bytes:
        if known := self._known.get((address, size)):
            return known
        held = bytearray(self._demands.pristine(address, size))
        for i in range(size):
            held[i] = self._stored.get(address + i, held[i])
        self._known[address, size] = content = bytes(held)
        return content


class Timeline:
    """What a request changes, as a reader may see it."""

    def __init__(self, demands: Demands, before: Code, notes: Sequence[Note], reader: Reader) -> None:
        """Of the ``notes`` of one request, or of several, which find memory as it is ``before``."""
        self.demands = demands
        self.before = before
        self.reader = reader
        self.is_coherent = demands.variant.coherence.fetch == "coherent"
        self._in_order = reader is Reader.SAME or not demands.barriers
        self.changes: list[Change] = []
        self.between: list[int] = []  #: the changes when each request but the last one is over, as bits
        self._making: set[int] = set()  # pieces of memory in which a request makes code
        self._made: set[int] = set()  # and those in which one that is over has
        self._breakpoints = Breakpoints(demands.variant.atomicity)
        stores = (note for note in notes if note.kind == Noted.STORE)
        self._slots = [range(n.place, n.place + len(n.after)) for n in stores if demands.is_slot_store(n)]
        self._read(notes)
        self.places = tuple(_places(self.changes, 0 if self.is_coherent else demands.unit))
        self._contents: dict[tuple[Place, int], bytes] = {}  # by place, and changes to it as bits
        self._known: dict[Place, _Met] = {}
        self._close()

    @property
    def key(self) -> object:
        """The same of two timelines, of the same memory before, that a reader cannot tell apart."""
        stores = [id(change.store) for change in self.changes]
        changes = tuple(
            (tuple(c.parts), c.store, stores.index(id(c.store)), c.promised, c.over, c.lags, c.after)
            for c in self.changes
        )
        return self.reader, self.has_breakpoints, tuple(self._slots), tuple(self.between), changes

    # From notes to changes.

    def _needed(self) -> list[int]:
        """Numbers of the steps of maintenance behind which a fetch of the reader's is new; none: it is never."""
        steps = self.demands.steps
        if self.reader is Reader.SAME:
            return list(range(len(steps)))
        needed = [number for number, step in enumerate(steps) if step.does != ("synchronise",)]
        local = any(steps[number].reach == "local" and "invalidate" in steps[number].does for number in needed)
        return [] if local else needed

    @property
    def is_made_new(self) -> bool:
        """The maintenance of the CPU that patches makes what it stores new for the reader."""
        return self.is_coherent or bool(self._needed())

    @property
    def has_breakpoints(self) -> bool:
        """Instructions change by breakpoints."""
        return self._breakpoints.any

    def _read(self, notes: Sequence[Note]) -> None:
        demands, needed = self.demands, self._needed()
        code = self.before.copy()
        pending: dict[int, int] = {}  # by number of block: how many of the needed steps are done
        behind = 0  # changes that a barrier puts before all that follow
        for note in notes:
            if note.kind == Noted.STORE:
                code.write(note.place, note.after)
                if note.before == note.after:
                    continue
                store = _store(note)
                if self._is_code(store):
                    first, last = store.changed.start // demands.block, (store.changed.stop - 1) // demands.block
                    pending.update(dict.fromkeys(range(first, last + 1), 0))
                self._on_store(store, code, behind)
            elif note.kind == Noted.BEGIN:
                self.between.append(self._all())
                self._made |= self._making
            elif note.kind == Noted.INSTRUCTION and demands.watched.meanings[note.place].serialises:
                self._breakpoints.serialise()
                self._add(Change(over=EVERYWHERE, after=self._all()))
                behind = self._all()
            elif note.kind == Noted.INSTRUCTION:
                does = demands.steps_for(note.place)
                orders = demands.watched.meanings[note.place].is_barrier
                orders = orders or any("order" in demands.steps[number].does for number in does)
                for block, done in list(pending.items()) if does else ():
                    if done == len(needed) or needed[done] not in does:
                        continue
                    if not demands.is_for(demands.steps[needed[done]], note.value, block):
                        continue
                    pending[block] = done + 1
                    if done + 1 == len(needed):
                        del pending[block]
                        self._add(Change(over=block, after=behind | self._all() if orders else behind))
                if orders:
                    behind = self._all()
            elif note.kind == Noted.KERNEL:
                asked = range(note.place, note.place + note.value)
                for block, done in list(pending.items()):
                    if demands.is_asked(asked, block) and all(demands.steps[n].kernel for n in needed[done:]):
                        del pending[block]
                        self._add(Change(over=block, after=behind))

    def _is_code(self, store: Store) -> bool:
        """What is stored is fetched, and not by itself as it is."""
        demands = self.demands
        return not self.is_coherent and demands.is_code(store.address) and not demands.is_slot(store)

    def _is_fresh(self, store: Store) -> bool:
        """Nobody can come yet to what is stored: no earlier request has made it."""
        piece = store.address // ANNEX * ANNEX
        if not self.demands.is_fresh_place(store.address) or piece in self._made or self.before.has(piece, ANNEX):
            return False
        self._making.add(piece)
        return True

    def _all(self) -> int:
        return (1 << len(self.changes)) - 1

    def _on_store(self, store: Store, code: Code, behind: int) -> None:
        demands, fresh = self.demands, self._is_fresh(store)
        last = self.changes[-1] if self.changes else None
        if fresh and last and last.store and self._is_fresh(last.store):
            last.parts.append((store.address, store.after))
            return
        earlier = self._all() if self._in_order else behind
        size, promised, lags = store.size, None, False
        is_live = not fresh and demands.is_code(store.address) and not demands.is_slot(store)
        by_breakpoint = self._breakpoints.promised(store) if is_live else None
        if self.reader is Reader.OTHER and not fresh:
            if is_live:
                promised = demands.promised(store, code.read)
                if promised.basis == "none":
                    promised = by_breakpoint or promised
                lags = self.is_coherent and self._breakpoints.any
            if demands.is_whole(store) is not None:
                size = 1
            elif lags or (promised and promised.basis == "none"):
                size = min(demands.variant.alignment, size)
        for first in range(0, store.size, size):
            part = store.address + first, store.after[first : first + size]
            self._add(Change([part], store, promised, lags=lags, after=earlier))

    def _add(self, change: Change) -> None:
        for number in _numbers(self._all() & ~change.after):
            other = self.changes[number]
            together = change.store is not None and other.store is change.store
            if not together and any(other.touches(at, len(part)) for at, part in change.parts):
                change.after |= 1 << number
            if change.over >= 0 and other.touches(change.over * self.demands.block, self.demands.block):
                change.after |= 1 << number
            if change.over >= 0 and change.over == other.over:
                change.after |= 1 << number
        self.changes.append(change)

    def _close(self) -> None:
        """Whoever comes after a change comes after all that it comes after."""
        for change in self.changes:
            for number in _numbers(change.after):
                change.after |= self.changes[number].after

    # From changes to moments.

    def stale(self) -> Iterator[tuple[Place, int]]:
        """Each place that may be fetched as it was although all is over; and the changes that it has then, as bits."""
        for place in self.places:
            met = self._met(place)
            if met.is_fetched:
                maintained = met.maintained(self.everything)
                if self._content(place, maintained) != self._content(place, self.everything):
                    yield place, maintained

    def contents(self, seen: int) -> tuple[bytes, ...]:
        """What is in each place when the changes in ``seen``, as bits, are made."""
        return tuple([self._content(place, seen) for place in self.places])

    def _content(self, place: Place, seen: int) -> bytes:
        """What is in ``place`` when the changes in ``seen``, as bits, are made."""
        key = place, seen & self._met(place).own
        if key not in self._contents:
            self._contents[key] = self.content(place.address, place.size, key[1])
        return self._contents[key]

    def content(self, address: int, size: int, seen: int) -> bytes:
        """Memory at ``address`` when the changes in ``seen``, as bits, are made."""
        held = bytearray(self.before.read(address, size))
        for number in _numbers(seen):
            for at, part in self.changes[number].parts:
                for i, byte in enumerate(part, at - address):
                    if 0 <= i < size:
                        held[i] = byte
        return bytes(held)

    @property
    def everything(self) -> int:
        """All changes, as bits."""
        return self._all()

    def moments(self, relevant: Sequence[int]) -> tuple[list[Moment], list[int]]:
        """The moments that differ in the places of these numbers, and which changes each has, as bits.

        Raises :class:`TooManyError`.
        """
        wanted = [number for number, change in enumerate(self.changes) if self._matters(change, relevant)]
        mask = sum(1 << number for number in wanted)
        sets, number_of = [0], {0: 0}
        next_: list[list[int]] = []
        for seen in sets:  # grows meanwhile
            followers = []
            for number in wanted:
                if seen >> number & 1 or self.changes[number].after & mask & ~seen:
                    continue
                follower = seen | 1 << number
                if follower not in number_of:
                    number_of[follower] = len(sets)
                    sets.append(follower)
                    if len(sets) > MOST_MOMENTS:
                        raise TooManyError
                followers.append(number_of[follower])
            next_.append(followers)
        relevant_ = set(relevant)
        return [
            Moment(tuple(followers), loads := self.contents(seen), tuple(self._fetches(seen, sets, loads, relevant_)))
            for seen, followers in zip(sets, next_, strict=True)
        ], sets

    def drawing(self, seed: int, count: int) -> Drawing:
        """Schedules of ``count`` seeds from ``seed`` on."""
        places, numbers = self.places, range(len(self.changes))
        parts = [
            tuple(
                (at, max(address - place.address, 0), part[max(place.address - address, 0) :][: place.size])
                for address, part in change.parts
                for at, place in enumerate(places)
                if address < place.address + place.size and place.address < address + len(part)
            )
            for change in self.changes
        ]
        overs = [number for number in numbers if self.changes[number].over != -1]
        lagging = [
            tuple((over, _numbers(met.maintained(1 << over))) for over in overs) if met.is_fetched else None
            for met in map(self._met, places)
        ]
        after = tuple(_numbers(change.after) for change in self.changes)
        return Drawing(seed, count, self.contents(0), after, tuple(parts), tuple(lagging))

    def _matters(self, change: Change, relevant: Sequence[int]) -> bool:
        places = [self.places[number] for number in relevant]
        if change.over == EVERYWHERE:
            return self._breakpoints.any
        if change.over >= 0:
            start = change.over * self.demands.block
            return any(p.address < start + self.demands.block and start < p.address + p.size for p in places)
        return any(change.touches(place.address, place.size) for place in places)

    def _fetches(
        self, seen: int, sets: Sequence[int], loads: Sequence[bytes], relevant: set[int]
    ) -> Iterator[tuple[bytes, ...]]:
        """By place: what a fetch may return when the changes in ``seen`` are made."""
        for number, (place, newest) in enumerate(zip(self.places, loads, strict=True)):
            yield self.fetches(place, seen, sets) if number in relevant else (newest,)

    def fetches(self, place: Place, seen: int, sets: Sequence[int]) -> tuple[bytes, ...]:
        """What a fetch of ``place`` may return when the changes in ``seen`` are made; ``sets`` has every moment's."""
        newest, met = self._content(place, seen), self._met(place)
        if not met.is_fetched:
            return (newest,)
        oldest = met.maintained(seen)
        stale = {earlier & met.own for earlier in sets if earlier & ~seen == 0 and oldest & ~earlier == 0}
        return tuple(dict.fromkeys([newest, *(self._content(place, each) for each in sorted(stale))]))

    def is_data(self, number: int) -> bool:
        """The place of this number is none of code."""
        address = self.places[number].address
        return not self.demands.is_code(address) or any(address in slot for slot in self._slots)

    def _met(self, place: Place) -> _Met:
        if place not in self._known:
            self._known[place] = self._meeting(place)
        return self._known[place]

    def _meeting(self, place: Place) -> _Met:
        start, stop, block = place.address, place.address + place.size, self.demands.block
        own = self._touching(start, place.size)
        over = []
        for end, change in enumerate(self.changes):
            if change.over == EVERYWHERE:
                over.append((1 << end, (1 << end) - 1 & own))
            elif change.over >= 0:  # of a change that is made as one, other blocks are maintained by themselves
                first, last = max(start, change.over * block), min(stop, (change.over + 1) * block)
                if first < last:
                    over.append((1 << end, (1 << end) - 1 & self._touching(first, last - first)))
        changes = [self.changes[number] for number in _numbers(own)]
        is_fetched = any(change.store and (change.lags or self._is_code(change.store)) for change in changes)
        # Of a slot, it may have come with the code around it, as a copy's does.
        is_fetched = is_fetched and not any(start in slot for slot in self._slots)
        return _Met(own, is_fetched, tuple(over))

    def _touching(self, address: int, size: int) -> int:
        """The changes to these addresses, as bits."""
        return sum(1 << number for number, change in enumerate(self.changes) if change.touches(address, size))


def _numbers(bits: int) -> tuple[int, ...]:
    return tuple([number for number in range(bits.bit_length()) if bits >> number & 1])


def _store(note: Note) -> Store:
    return Store(note.place, note.before, note.after, note.value)


def _places(changes: Sequence[Change], block: int) -> Iterator[Place]:
    """What is changed, in pieces that no store crosses the edge of, or that ``block`` bytes are."""
    stores = sorted((at, at + len(part)) for change in changes for at, part in change.parts)
    spans: list[list[int]] = []
    for start, end in stores:
        if spans and start < spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], end)
        else:
            spans.append([start, end])
    for first, end in spans:
        edges = range((first // block + 1) * block, end, block) if block else ()
        for start, stop in pairwise([first, *edges, end]):
            yield Place(start, stop - start)
