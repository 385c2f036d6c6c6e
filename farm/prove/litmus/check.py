"""Which final states of a litmus test the rules permit.

Paths of the threads are combined; then each load and fetch gets the store it takes from, each location an order of its
stores, and each pair of a maintenance and a fetch or store of its line an order, by a depth-first search over an
incremental closure of what is ordered before what: a row of bits an event.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from farm.prove.litmus.execute import Astray, Event, Path, Threads
from farm.prove.litmus.model import Fault, Litmus, Location, Place, Register, Term
from farm.prove.litmus.rules import LOCAL, SEEN, bits, needed

State = tuple[int, ...]  #: a value a place that the test looks at


@dataclass
class Outcome:
    """Final states, and one order of events of a state that is asked for."""

    states: set[State] = field(default_factory=set)
    notes: tuple[str, ...] = ()
    witness: list[tuple[int, Event]] = field(default_factory=list)


class AstrayError(Exception):
    """A thread can come to where it cannot go on; :attr:`astray` says where and why."""

    def __init__(self, astray: Astray) -> None:
        super().__init__(astray.reason)
        self.astray = astray


class Order:
    """What is ordered before what: rows of bits, transitively closed."""

    def __init__(self, rows: list[int]) -> None:
        self.rows = rows

    def add(self, i: int, j: int) -> bool:
        """Put ``i`` before ``j``; False if ``j`` is before ``i``."""
        if self.rows[i] >> j & 1:
            return True
        if i == j or self.rows[j] >> i & 1:
            return False
        more = self.rows[j] | 1 << j
        for k, row in enumerate(self.rows):
            if k == i or row >> i & 1:
                self.rows[k] = row | more
        return True

    def copy(self) -> Order:
        return Order(self.rows.copy())


def holds(term: Term, places: list[Place], state: State) -> bool:
    """The condition holds in a state."""
    if term.what in ("is", "same"):
        assert term.place is not None
        wanted = state[places.index(term.other)] if term.other is not None else term.value
        return state[places.index(term.place)] == wanted
    inner = (holds(each, places, state) for each in term.terms)
    return not next(inner) if term.what == "not" else all(inner) if term.what == "and" else any(inner)


class Checker:
    """Judges a test for one kind of cache; ``without`` names clauses that are left out."""

    def __init__(self, test: Litmus, *, dic: bool, idc: bool, without: Collection[str] = ()) -> None:
        self.test, self.dic, self.idc, self.without = test, dic, idc or dic, frozenset(without)
        self._local: dict[Path, list[int]] = {}

    def outcomes(self, threads: Threads, wanted: Term | None = None) -> Outcome:
        """Every final state; with ``wanted``, the order of events of one in which that holds.

        Raises :class:`AstrayError` if the rules permit an execution that cannot go on.
        """
        made = Outcome(notes=tuple(sorted(threads.notes)))
        for paths in itertools.product(*threads.paths):
            self._combination(paths, made, wanted)
        return made

    def _rows(self, path: Path) -> list[int]:
        if path not in self._local:
            order = Order([0] * len(path.events))
            for name, clause in LOCAL.items():
                if name not in self.without:
                    for i, j in clause(path.events):
                        order.add(i, j)
            self._local[path] = order.rows
        return self._local[path]

    def _combination(self, paths: tuple[Path, ...], made: Outcome, wanted: Term | None) -> None:
        events: list[Event] = []
        owner: list[int] = []
        for path in paths:
            events.extend(path.events)
            owner.extend([path.thread] * len(path.events))
        stores: dict[int, list[int]] = {}
        for i, event in enumerate(events):
            if event.kind == "W":
                stores.setdefault(event.place, []).append(i)
        sources: list[list[int]] = []  # of each load and fetch; -1 is the initial state
        reads = [i for i, e in enumerate(events) if e.kind in ("R", "F")]
        for i in reads:
            event = events[i]
            found = [j for j in stores.get(event.place, ()) if events[j].value == event.value]
            if self.test.memory[event.place] == event.value:
                found.append(-1)
            if not found:
                return
            sources.append(found)
        rows: list[int] = []
        for path in paths:
            base = len(rows)
            rows.extend(row << base for row in self._rows(path))
        places = list(stores)
        astray = next((path.astray for path in paths if path.astray), None)
        for orders in itertools.product(*(itertools.permutations(stores[place]) for place in places)):
            last = {place: events[order[-1]].value for place, order in zip(places, orders, strict=True)}
            state = self._state(paths, last)
            asked = wanted is not None and not made.witness and holds(wanted, self.test.places, state)
            if state in made.states and not asked and not astray:
                continue
            rank = {i: number for order in orders for number, i in enumerate(order)}
            for chosen in itertools.product(*sources):
                order = self._search(events, owner, stores, rank, dict(zip(reads, chosen, strict=True)), rows)
                if order is not None and astray:
                    raise AstrayError(astray)
                if order is not None:
                    made.states.add(state)
                    if asked:
                        made.witness = self._linear(events, owner, order)
                    break

    def _state(self, paths: tuple[Path, ...], last: dict[int, int]) -> State:
        values = []
        for place in self.test.places:
            own = [] if isinstance(place, Location) else [p for p in paths if p.thread == place.thread]
            if isinstance(place, Register):
                values.append(own[0].registers.get(place.number, 0) if own else 0)
            elif isinstance(place, Fault):
                at = self.test.labels[place.thread, place.label] if place.label else None
                values.append(int(any(at in p.faults if at else p.faults for p in own)))
            else:
                address = self.test.data[place.name]
                values.append(last.get(address, self.test.memory[address]))
        return tuple(values)

    def _search(
        self, events: list[Event], owner: list[int], stores: dict[int, list[int]], rank: dict[int, int],
        source: dict[int, int], rows: list[int],
    ) -> Order | None:  # fmt: skip
        """An order of all events, or None if there is none."""
        order, without = Order(rows.copy()), self.without
        after: dict[int, list[int]] = {}  # the stores behind the one that a load or fetch takes from
        for i, j in source.items():
            newer = -1 if j < 0 else rank[j]
            after[i] = [k for k in stores.get(events[i].place, ()) if rank[k] > newer]
        edges: list[tuple[int, int]] = []
        for i, j in source.items():
            fetch = events[i].kind == "F"
            if fetch and j >= 0 and "fetch_reads" not in without:
                edges.append((j, i))
            if fetch and self.dic and "dic_store" not in without:
                edges.extend((i, k) for k in after[i])
            if fetch and self.dic and "dic_hazard" not in without:
                earlier = [e for e in range(i) if owner[e] == owner[i] and events[e].kind == "F"]
                edges.extend((e, k) for e in earlier for k in after[i])
            if fetch:
                continue
            if j >= 0 and owner[j] != owner[i] and "reads_external" not in without:
                edges.append((j, i))
            if "overwritten_external" not in without:
                edges.extend((i, k) for k in after[i] if owner[k] != owner[i])
            if "hazard" not in without:
                earlier = [e for e in range(i) if owner[e] == owner[i] and events[e].kind == "R"]
                same = [e for e in earlier if events[e].place == events[i].place]
                edges.extend((e, k) for e in same for k in after[i] if owner[k] != owner[i])
            if "internal" not in without:
                if j > i and owner[j] == owner[i]:
                    return None
                if any(k < i and owner[k] == owner[i] for k in after[i]):
                    return None
        for placed in stores.values():
            for i, j in itertools.permutations(placed, 2):
                if rank[i] < rank[j]:
                    if owner[i] != owner[j] and "overwritten_external" not in without:
                        edges.append((i, j))
                    if i > j and owner[i] == owner[j] and "internal" not in without:
                        return None
        if "through_memory" not in without:
            edges.extend(self._through_memory(events, owner, source))
        if not all(order.add(i, j) for i, j in edges):
            return None
        cleans = [i for i, e in enumerate(events) if e.kind == "dc"]
        pairs = [(i, k) for i in cleans for k in stores.get(events[i].place, ())]
        completed = {i: self._completed(events, owner, i) for i, e in enumerate(events) if e.kind == "ic"}
        fetches = [i for i in source if events[i].kind == "F"]
        pairs += [(i, f) for i, behind in completed.items() if behind is not None for f in fetches
                  if events[i].place in (0, events[f].place)]  # fmt: skip
        return self._pairs(events, owner, after, completed, cleans, pairs, order)

    def _through_memory(
        self, events: list[Event], owner: list[int], source: dict[int, int]
    ) -> Iterator[tuple[int, int]]:
        """Loads and the stores that depend on them by way of memory: the value was stored and loaded on the way."""
        own = {i: j for i, j in source.items() if 0 <= j < i and owner[i] == owner[j] and events[i].kind == "R"}
        carried: dict[int, int] = {}  # the loads, as bits, that a load has its value from
        for i in sorted(own):
            base, mask = owner.index(owner[i]), events[own[i]].data.all
            for k in bits(mask):
                mask |= carried.get(base + k, 0)
            carried[i] = mask
        for j, event in enumerate(events) if any(carried.values()) else ():
            if event.kind == "W":
                base = owner.index(owner[j])
                for i in bits(needed(events[base : j + 1], j - base)):
                    yield from ((base + k, j) for k in bits(carried.get(base + i, 0)))

    def _completed(self, events: list[Event], owner: list[int], ic: int) -> list[int] | None:
        """What is behind the DSB that completes an IC, fetches behind an ISB alone; None: nothing completes it."""
        own = [j for j in range(ic + 1, len(events)) if owner[j] == owner[ic]]
        barrier = next((j for j in own if events[j].kind == "dsb.full"), None)
        if barrier is None:
            return None
        isb = next((j for j in own if j > barrier and events[j].kind == "isb"), len(events))
        return [j for j in own if j > (isb if events[j].kind == "F" else barrier) and events[j].kind in SEEN]

    def _pairs(
        self, events: list[Event], owner: list[int], after: dict[int, list[int]],
        completed: dict[int, list[int] | None], cleans: list[int], pairs: list[tuple[int, int]], order: Order,
    ) -> Order | None:  # fmt: skip
        """Choose the order of each pair of a maintenance and a fetch or a store of its line."""
        for number, (m, other) in enumerate(pairs):
            rest = pairs[number + 1 :]
            ways = []
            if not order.rows[other] >> m & 1:
                ways.append((m, other))
            if not order.rows[m] >> other & 1:
                ways.append((other, m))
            if len(ways) == 1:
                if not self._put(events, owner, after, completed, cleans, ways[0], order):
                    return None
                continue
            for way in reversed(ways):
                copy = order.copy()
                if self._put(events, owner, after, completed, cleans, way, copy):
                    found = self._pairs(events, owner, after, completed, cleans, rest, copy)
                    if found:
                        return found
            return None
        return order

    def _put(
        self, events: list[Event], owner: list[int], after: dict[int, list[int]],
        completed: dict[int, list[int] | None], cleans: list[int], way: tuple[int, int], order: Order,
    ) -> bool:  # fmt: skip
        """Choose one order of a pair, with all that follows from it; False if that cannot be."""
        i, j = way
        if not order.add(i, j):
            return False
        if events[i].kind == "ic":  # the fetch is behind it and may still miss a store
            for store in after[j]:
                if not self.dic and self.idc and "ic_store" not in self.without and not order.add(i, store):
                    return False
                if not self.dic and not self.idc and "ic_clean" not in self.without:
                    for clean in cleans:  # pairs of DCs and stores come first, so their order is known
                        behind = events[clean].place == events[store].place and order.rows[store] >> clean & 1
                        if behind and not order.add(i, clean):
                            return False
        if events[j].kind == "ic" and "ic_hazard" not in self.without:
            earlier = [e for e in range(i) if owner[e] == owner[i] and events[e].kind == "F"]
            return all(order.add(e, later) for e in earlier for later in completed[j] or ())
        return True

    def _linear(self, events: list[Event], owner: list[int], order: Order) -> list[tuple[int, Event]]:
        """One sequence that the order permits; what nothing orders stands in program order.

        A full DSB stands behind what it waits for and before what waits for it, and so does an ISB.
        """
        order = order.copy()
        for at, event in enumerate(events):
            for i in range(len(events)) if event.kind in ("dsb.full", "isb") else ():
                if owner[i] == owner[at] and i < at and events[i].kind != "F" and event.kind == "dsb.full":
                    order.add(i, at)
                if owner[i] == owner[at] and i > at and (events[i].kind != "F" or event.kind == "isb"):
                    order.add(at, i)
        left, made = list(range(len(events))), []
        while left:
            preceded = 0
            for i in left:
                preceded |= order.rows[i]
            first = next(i for i in left if not preceded >> i & 1)
            left.remove(first)
            made.append((owner[first], events[first]))
        return made


def states_text(test: Litmus, state: State) -> str:
    """A state as herd shows it: places in order, each with its value."""

    def key(item: tuple[Place, int]) -> tuple[int, int, int, str]:
        place = item[0]
        if isinstance(place, Register):
            return 0, place.thread, place.number, ""
        return (2 if isinstance(place, Fault) else 1), 0, 0, str(place)

    def parts() -> Iterator[str]:
        for place, value in sorted(zip(test.places, state, strict=True), key=key):
            if place in test.final.shown:
                yield f"{'' if value else '~'}{place};" if isinstance(place, Fault) else f"{place}={test.text(value)};"

    return " ".join(parts())
