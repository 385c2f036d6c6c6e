"""A call whose loads a CPU takes out of its program's order, with dependencies of addresses kept.

A load may return what an earlier moment has than a load before it, unless its address was made of what that one
returned, both are of the same place, or a barrier stands between.  No load comes before the fetch of its own
instruction.  All moments that one reader sees lie one behind the other, for there is one order of the changes.

Which registers an address is made of, the decoder says.  What was stored and is loaded again, and what it does not
know, counts as made of all that was loaded so far: fewer orders are tried then, and none that the rules forbid.
"""

from __future__ import annotations

import itertools
import re
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from farm.engines.views import MOST_POINTS, Explored, Outcome, before
from farm.guest.disassemble import Registers, registers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from farm.engines.unicorn.explorer import Explorer
    from farm.engines.views import Loose, Moment, Place

_LONGEST = 16  # bytes of an instruction

_ACQUIRES = re.compile(r"lda|ldax|ldapr|.*\.aq")  # a load behind which all others come


class _Reader(NamedTuple):
    """A reader between two instructions.  Moments are numbers, and all of them lie on one way."""

    state: Any  # of the explorer
    fetched: int
    chain: tuple[int, ...] = (0,)  # moments that it has seen, from the first to the last
    floor: int = 0  # no load comes before it
    made_of: tuple[tuple[str, int], ...] = ()  # by register: the last moment that its value was made of
    spilled: int = 0  # likewise what was stored
    last: tuple[tuple[int, int], ...] = ()  # by place: the moment of the last load

    @property
    def key(self) -> tuple[object, ...]:
        return self.state.digest, *self[1:]


class LooseWalk:
    """A walk through one graph of ``moments``."""

    def __init__(self, explorer: Explorer, places: Sequence[Place], moments: Sequence[Moment], loose: Loose) -> None:
        self._explorer, self._places, self._moments, self._loose = explorer, places, moments, loose
        self._before = before(moments)
        self._points = 0
        self._touched: set[int] = set()
        self._known: dict[tuple[int, bytes], Registers | None] = {}

    def explored(self, first: Any) -> Explored:
        """All ends of the call that begins at ``first``."""
        begun = _Reader(first, 0)
        waiting, known = deque([begun]), {begun.key}
        ends: dict[tuple[bytes, str], Outcome] = {}
        while waiting and self._explorer.is_sound and self._points < MOST_POINTS:
            for following in self._steps(waiting.popleft()):
                if isinstance(following, Outcome):
                    ends.setdefault((following.events, following.failure), following)
                elif (key := following.key) not in known:
                    known.add(key)
                    waiting.append(following)
        return Explored(list(ends.values()), self._points, sorted(self._touched), not waiting)

    def _steps(self, reader: _Reader) -> Iterator[_Reader | Outcome]:
        """What may come of the next instruction."""
        size, following, points = 0, [], self._points
        pc = reader.state.pc
        while self._explorer.is_sound and size != (size := self._explorer.size(pc)):
            self._points = points  # what was executed without knowing it does not count
            inside = [n for n, p in enumerate(self._places) if p.address < pc + size and pc < p.address + p.size]
            self._touched.update(inside)
            following = [
                each
                for moment, code in self._fetches(reader, inside)
                if self._explorer.is_sound
                for each in self._loads(reader, moment, dict(zip(inside, code, strict=True)))
            ]
        yield from following

    def _fetches(self, reader: _Reader, inside: Sequence[int]) -> Iterator[tuple[int, tuple[bytes, ...]]]:
        if not inside:
            yield reader.fetched, ()
            return
        offered: dict[tuple[bytes, ...], list[int]] = {}
        for moment in self._behind(reader, [reader.fetched]):
            for code in itertools.product(*(self._moments[moment].fetches[place] for place in inside)):
                earlier = offered.setdefault(code, [])
                if not any(self._is_before(each, moment) for each in earlier):
                    earlier.append(moment)
                    yield moment, code

    def _loads(self, reader: _Reader, fetched: int, code: dict[int, bytes]) -> Iterator[_Reader | Outcome]:
        following, read = self._step(reader, fetched, code, fetched)
        uses = self._uses(following)
        places = [place for place in read if place not in code]
        self._touched.update(places)
        if not places:
            yield following if isinstance(following, Outcome) else self._gone_on(reader, following, fetched, uses)
            return
        made_of, last = dict(reader.made_of), dict(reader.last)
        address = (
            [made_of.get(name, 0) for name in uses.read]
            if uses
            else [*made_of.values(), reader.spilled, *last.values()]
        )
        lower = [fetched, reader.floor, *address, *(last.get(place, 0) for place in places)]
        offered: dict[tuple[bytes, ...], list[int]] = {}
        for moment in self._behind(reader._replace(chain=_with(reader.chain, fetched)), lower):
            content = tuple(self._moments[moment].loads[place] for place in places)
            earlier = offered.setdefault(content, [])
            if any(self._is_before(each, moment) for each in earlier):
                continue
            earlier.append(moment)
            if moment != fetched:
                if not self._explorer.is_sound:
                    return
                following, _ = self._step(reader, fetched, code, moment)
            if isinstance(following, Outcome):
                yield following
            else:
                yield self._gone_on(reader, following, fetched, uses, moment, places)

    def _gone_on(
        self, reader: _Reader, state: Any, fetched: int, uses: Registers | None, loaded: int = 0,
        places: Sequence[int] = (),
    ) -> _Reader:  # fmt: skip
        """The reader behind an instruction that ``uses`` registers and has loaded from ``places``."""
        made_of, last = dict(reader.made_of), dict(reader.last)
        last.update(dict.fromkeys(places, loaded))
        latest = max([loaded, reader.spilled, *made_of.values()], key=self._rank)
        chain = _with(_with(reader.chain, fetched), loaded) if places else _with(reader.chain, fetched)
        floor, spilled = reader.floor, reader.spilled
        pc = reader.state.pc
        if uses is None:
            floor = max(floor, latest, key=self._rank)  # whatever it does
        else:
            value = max([loaded, *(made_of.get(name, 0) for name in uses.read)], key=self._rank)
            if uses.may_store:
                spilled = max(spilled, value, key=self._rank)
            if uses.may_load and not places:
                value = max(value, spilled, key=self._rank)
            made_of.update(dict.fromkeys(uses.written, value))
            if pc in self._loose.barriers or _ACQUIRES.match(uses.mnemonic):
                floor = max([floor, *chain] if pc in self._loose.barriers else [floor, loaded], key=self._rank)
        known = tuple(sorted((name, moment) for name, moment in made_of.items() if moment))
        return _Reader(state, fetched, chain, floor, known, spilled, tuple(sorted(last.items())))

    def _uses(self, following: Any) -> Registers | None:
        seen = following.path[-1] if isinstance(following, Outcome) else following.came[1]
        if (seen.pc, seen.code) not in self._known:
            self._known[seen.pc, seen.code] = registers(self._loose.disassembler, seen.code[:_LONGEST], seen.pc)
        return self._known[seen.pc, seen.code]

    def _step(self, reader: _Reader, fetched: int, code: dict[int, bytes], loaded: int) -> tuple[Any, list[int]]:
        self._points += 1
        loads = self._moments[loaded].loads
        content = [code.get(number, each) for number, each in enumerate(loads)]
        return self._explorer.step(reader.state, fetched, content, loaded)

    def _behind(self, reader: _Reader, lower: Sequence[int]) -> Iterator[int]:
        """The moments that come after all of ``lower``, or are one of them, on one way with all that was seen."""
        for moment in range(max(lower), len(self._moments)):
            if all(self._is_before(each, moment) for each in lower) and all(
                self._is_before(each, moment) or self._is_before(moment, each) for each in reader.chain
            ):
                yield moment

    def _rank(self, moment: int) -> int:
        """Of moments on one way, a later one has more."""
        return self._before[moment].bit_count()

    def _is_before(self, earlier: int, later: int) -> bool:
        """One moment comes before another, or is the same."""
        return bool(self._before[later] >> earlier & 1)


def _with(chain: tuple[int, ...], moment: int) -> tuple[int, ...]:
    return chain if moment in chain else tuple(sorted((*chain, moment)))
