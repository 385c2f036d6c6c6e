"""A call that is followed through schedules that are drawn by seed, as an independent check of the full exploration.

A schedule is an order of all changes, in which they become visible; the reader's fetches and loads each go on in it by
as much as is drawn.  Nothing of the graph of moments is used, nor of what the exploration leaves out.  What an
instruction does under a view is executed once, and remembered.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, NamedTuple

from farm.engines.views import Explored, Outcome, Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm.engines.unicorn.explorer import Explorer
    from farm.engines.views import Drawing, Place

_MOST_STEPS = 5_000  # of a run
_LONGEST = 16  # bytes of an instruction
_STAYS = 0.6  # how likely it is that fetches, or loads, go on no further in the order of changes


class _Did(NamedTuple):
    """What came of an instruction under a view."""

    following: int  # number of a state; -1: an end
    end: Outcome | None
    seen: Seen


class Sampler:
    """Runs of one call, which starts at ``first``, through schedules."""

    def __init__(self, explorer: Explorer, places: Sequence[Place], drawing: Drawing, first: Any) -> None:
        self._explorer, self._places, self._drawing = explorer, places, drawing
        self._states: list[Any] = []  # of the explorer's
        self._numbers: dict[object, int] = {}  # of states
        self._loads: dict[tuple[int, tuple[bytes, ...]], tuple[int, ...]] = {}  # places that an instruction loads from
        self._did: dict[tuple[int, tuple[bytes, ...], tuple[bytes, ...]], _Did] = {}
        self._contents: dict[tuple[int, frozenset[int]], bytes] = {}
        self._touching = [
            frozenset(number for number, parts in enumerate(drawing.parts) if any(place == at for at, _, _ in parts))
            for place in range(len(places))
        ]
        self._points = 0
        self._first = self._number(first)

    def explored(self) -> Explored:
        """The ends that the runs come to, with the first seed of each; up to the first that fails."""
        drawing, draw = self._drawing, random.Random()  # noqa: S311 - no secret
        found: dict[tuple[bytes, str], tuple[Outcome, int, tuple[int, ...]]] = {}
        runs = 0
        for seed in range(drawing.seed, drawing.seed + drawing.count):
            draw.seed(seed)
            order = self._order(draw)
            end = self._run(draw, order)
            runs += 1
            if (key := (end.events, end.failure)) not in found:
                found[key] = end, seed, order
            if not self._explorer.is_sound:
                break
        outcomes = [outcome for outcome, _, _ in found.values()]
        seeds, orders = [s for _, s, _ in found.values()], [order for _, _, order in found.values()]
        touched = sorted({place for did in self._did.values() for place in did.seen.places})
        return Explored(outcomes, self._points, touched, self._explorer.is_sound, runs, seeds, orders)

    def _order(self, draw: random.Random) -> tuple[int, ...]:
        """All changes, none before one that it comes after."""
        after = self._drawing.after
        order: list[int] = []
        waiting = list(range(len(after)))
        while waiting:
            done = set(order)
            ready = [number for number in waiting if done.issuperset(after[number])]
            number = ready[int(draw.random() * len(ready))]
            order.append(number)
            waiting.remove(number)
        return tuple(order)

    def _run(self, draw: random.Random, order: tuple[int, ...]) -> Outcome:
        """The end of a run; moments are how many of the changes, in this ``order``, are seen."""
        sets = [frozenset(order[:count]) for count in range(len(order) + 1)]
        fetched = loaded = int(draw.random() * len(sets))  # when the reader comes
        at = self._first
        path: list[Seen] = []
        while len(path) < _MOST_STEPS:
            inside = self._inside(at)
            if inside:
                fetched = _later(draw, fetched, len(order))
            code = tuple([self._fetch(draw, place, sets, fetched) for place in inside])
            loaded = max(loaded, fetched)
            did = None
            if (at, code) not in self._loads:
                did = self._execute(at, inside, code, sets[loaded])
            read = self._loads[at, code]
            if read and not (did and did.end):
                loaded = _later(draw, loaded, len(order))
                did = None
            values = tuple([self._content(place, sets[loaded]) for place in read])
            did = did or self._did.get((at, code, values)) or self._execute(at, inside, code, sets[loaded])
            path.append(Seen(did.seen.pc, did.seen.code, fetched, loaded, did.seen.places))
            if did.end:
                return Outcome(did.end.events, did.end.failure, did.end.pc, path)
            at = did.following
        return Outcome(b"", f"it does not come to an end in {_MOST_STEPS:,} instructions", self._states[at].pc, path)

    # What is seen.

    def _inside(self, at: int) -> list[int]:
        """Numbers of the places that the next instruction may lie in."""
        pc = self._states[at].pc
        size = self._explorer.size(pc)
        end = pc + (size if size > 1 else _LONGEST)  # it may not be known yet
        return [n for n, p in enumerate(self._places) if p.address < end and pc < p.address + p.size]

    def _content(self, place: int, seen: frozenset[int]) -> bytes:
        own = seen & self._touching[place]
        content = self._contents.get((place, own))
        if content is None:
            held = bytearray(self._drawing.base[place])
            for number in sorted(own):
                for at, offset, part in self._drawing.parts[number]:
                    if at == place:
                        held[offset : offset + len(part)] = part
            self._contents[place, own] = content = bytes(held)
        return content

    def _fetch(self, draw: random.Random, place: int, sets: Sequence[frozenset[int]], newest: int) -> bytes:
        """What a fetch of ``place`` returns: what is seen there, or whatever was since its maintenance was over."""
        lagging = self._drawing.lagging[place]
        if lagging is None:
            return self._content(place, sets[newest])
        maintained: set[int] = set()
        for over, numbers in lagging:
            if over in sets[newest]:
                maintained.update(numbers)
        oldest = next(count for count in range(newest + 1) if sets[count].issuperset(maintained))
        return self._content(place, sets[oldest + int(draw.random() * (newest - oldest + 1))])

    # What is done.

    def _number(self, state: Any) -> int:
        number = self._numbers.setdefault(state.digest, len(self._states))
        if number == len(self._states):
            self._states.append(state)
        return number

    def _execute(self, at: int, inside: Sequence[int], code: tuple[bytes, ...], seen: frozenset[int]) -> _Did:
        """What comes of an instruction, and from now on is known to."""
        self._points += 1
        fetched = dict(zip(inside, code, strict=True))
        view = [fetched.get(place, self._content(place, seen)) for place in range(len(self._places))]
        following, read = self._explorer.step(self._states[at], 0, view, 0)
        loads = tuple(place for place in read if place not in fetched)
        self._loads[at, code] = loads
        if isinstance(following, Outcome):
            last, number, end = following.path[-1], -1, following
        else:
            assert following.came
            last, number, end = following.came[1], self._number(following._replace(came=None)), None
        did = _Did(number, end, Seen(last.pc, last.code, 0, 0, loads))
        self._did[at, code, tuple(view[place] for place in loads)] = did
        return did


def _later(draw: random.Random, moment: int, most: int) -> int:
    """A moment that may be this one, and is none before it."""
    return moment if draw.random() < _STAYS else moment + int(draw.random() * (most - moment + 1))
