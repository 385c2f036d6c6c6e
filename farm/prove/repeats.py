"""Requests that do the same, of which one is judged.

Programs make the same patches again and again, in loops and in one scenario as in another.  What a request is found to
do wrong depends on its notes, and on so much of what was there before as its judge has looked at: which is kept with
what was found.  So it is worked out once an image.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Self

from farm.engines import Note, Noted

if TYPE_CHECKING:
    from farm.prove.findings import Findings
    from farm.prove.pages import Pages

_MOST = 4096  # requests that are kept


class Request(NamedTuple):
    """The notes of a request, from its beginning until it is over or there are no more."""

    notes: tuple[Note, ...]
    is_over: bool
    is_nested: bool  #: others began before it was over

    @classmethod
    def of(cls, notes: Sequence[Note], first: int, outside: Collection[int]) -> Self:
        """The request that begins with the note of number ``first``; the end of a function ``outside`` ends all."""
        depth: list[int] = []  # stack pointers
        begun, end = 0, len(notes)
        for place in range(first, len(notes)):
            kind, address, value, _, _ = notes[place]
            if kind == Noted.BEGIN:
                while depth and depth[-1] <= value:
                    depth.pop()  # it is over, and nothing said so
                depth.append(value)
                begun += 1
            elif kind == Noted.END:
                depth.pop()
                if address in outside:
                    depth.clear()
                if not depth:
                    end = place + 1
                    break
        return cls(tuple(notes[first:end]), not depth, begun > 1)

    @property
    def done(self) -> Hashable:
        """The same for all that do the same: how deep the stack is matters where others began within it alone."""
        first, *_ = self.notes
        return self.notes if self.is_nested else (first.place, self.notes[1:])


class Judged(NamedTuple):
    """What was found in a request and what is different after it; and what that depends on."""

    findings: Findings
    executed: tuple[int, ...]  #: addresses of targets
    written: tuple[tuple[int, bytes], ...]
    leads: Mapping[int, int | None]  #: by function: where its stub leads, if that is known
    made: frozenset[int]  #: pieces of the annex
    open: frozenset[int]  #: pages that can be written
    module: bool  #: it is loaded
    looked_at: Mapping[int, bytes]  #: code before it, by line (:mod:`farm.prove.pages`)
    asked: Mapping[int, bool]  #: by piece of the annex: no request before has made it


class Repeats:
    """The requests that were judged of one image by one set of demands."""

    def __init__(self) -> None:
        self._judged: dict[Hashable, list[Judged]] = {}
        self._count = 0

    def find(self, request: Request, state: Hashable, code: Pages, made: Collection[int]) -> Judged | None:
        """What was found in a request that did the same in the same ``state``; None: there was none.

        ``code`` and the pieces of the annex that are ``made`` are as they are before it.
        """
        for judged in self._judged.get((state, request.done), ()):
            if code.has(judged.looked_at) and all((piece not in made) is new for piece, new in judged.asked.items()):
                return judged
        return None

    def keep(self, request: Request, state: Hashable, judged: Judged) -> None:
        """Keep what was found in a request that is over."""
        if self._count >= _MOST:
            self._judged.clear()
            self._count = 0
        self._judged.setdefault((state, request.done), []).append(judged)
        self._count += 1
