"""What a CPU may see of memory that another CPU changes meanwhile, and what becomes of a call that sees it.

What is changed lies in *places*.  A *moment* is how far the changes have come: what a load then returns of each place,
and each of the contents that a fetch then may.  Moments follow one another as a graph, for some changes have no order.
A reader's fetches come one after the other in the order of its program, its loads likewise unless they are
:class:`Loose`, and no load comes before the fetch of its own instruction; otherwise fetches run ahead of loads as far
as they like.

An engine follows a call through all of that (:class:`~farm.engines.Explores`); it knows of no rule of an architecture.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Place(msgspec.Struct, frozen=True):
    """Memory that is changed, and seen as one."""

    address: int
    size: int


class Moment(msgspec.Struct, frozen=True):
    """How far the changes have come.  ``loads`` and ``fetches`` have an element a place."""

    next: tuple[int, ...]  #: moments that may follow at once
    loads: tuple[bytes, ...]
    fetches: tuple[tuple[bytes, ...], ...]  #: the newest first


class Drawing(msgspec.Struct, frozen=True):
    """Schedules that are to be drawn by seed, and the changes of which each is an order."""

    seed: int  #: of the first; the next one has the next
    count: int
    base: tuple[bytes, ...]  #: by place: what is there before all changes
    after: tuple[tuple[int, ...], ...]  #: by change: the changes that are seen before it
    parts: tuple[tuple[tuple[int, int, bytes], ...], ...]  #: by change: places, offsets in them, and bytes
    #: By place: None if a fetch is of what is seen; else it may be of what was there since maintenance was over, which
    #: are changes, each with those that are new behind it.
    lagging: tuple[tuple[tuple[int, tuple[int, ...]], ...] | None, ...]


class Loose(msgspec.Struct, frozen=True):
    """How a reader's loads may come out of its program's order."""

    disassembler: tuple[str, ...]  #: what decodes its instructions
    barriers: tuple[int, ...]  #: addresses of instructions that keep loads in order


class Exploration(msgspec.Struct, frozen=True):
    """A call to be followed, from ``start`` on, through each of ``graphs``."""

    start: int  #: address of a function; its first entry is where the reader stands when the changes begin
    window: tuple[tuple[int, int], ...]  #: code that is executed one instruction at a time, from start to end
    changing: tuple[tuple[int, int], ...]  #: memory that changes, in this request or in another one
    places: tuple[Place, ...]  #: all that does in this one
    graphs: tuple[tuple[Moment, ...], ...]  #: moments, of which the first is where the reader begins
    drawing: Drawing | None = None  #: in place of the graphs
    loose: Loose | None = None  #: loads are not in order
    every: bool = False  #: take each moment of a fetch, not only the earliest that offers the bytes: for comparison


class Seen(msgspec.Struct, frozen=True):
    """An instruction that the reader executed, and what it saw."""

    pc: int
    code: bytes  #: as many as the longest instruction has, or fewer where memory ends; none: nothing is there
    fetched: int  #: moment of its fetch
    loaded: int  #: moment of its load
    places: tuple[int, ...]  #: numbers of the places that it loaded from


class Outcome(msgspec.Struct, frozen=True):
    """The end that a call came to: the events of its trace, or how it failed; and the shortest way there."""

    events: bytes
    failure: str  #: empty: it came to an end
    pc: int  #: of the instruction that failed
    path: list[Seen]


class Explored(msgspec.Struct, frozen=True):
    """All ends that a call may come to in one graph."""

    outcomes: list[Outcome]
    points: int  #: instructions that were executed, each under one view
    touched: list[int]  #: places that were fetched from or loaded from
    complete: bool  #: False: an end was reached after which nothing can be followed on, or there are too many points
    runs: int = 0  #: that were drawn
    seeds: list[int] = []  #: of each outcome, if runs were: the first that came to it
    orders: list[tuple[int, ...]] = []  #: likewise the order of its changes; its moments are how many of them are seen


#: Points at which an exploration is given up.
MOST_POINTS = 200_000


def before(moments: Sequence[Moment]) -> list[int]:
    """For each of ``moments``, as bits, those that it comes after, and itself; they have lower numbers."""
    sets = [1 << number for number in range(len(moments))]
    for number, moment in enumerate(moments):
        for follower in moment.next:
            sets[follower] |= sets[number]
    return sets
