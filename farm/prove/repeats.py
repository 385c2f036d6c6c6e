"""Requests that do the same from the same state, of which one is judged.

Programs make the same patches again and again, in loops and in one scenario as in another.  What a request is found to
do wrong depends on its notes and on the state before it alone (:class:`State`), so it is worked out once an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from farm.engines import Note
    from farm.prove.audit import Findings

_MOST = 4096  # requests that are kept


class State(NamedTuple):
    """The state between two requests, as far as what comes then depends on it."""

    code: tuple[tuple[int, int], ...]  #: (:meth:`farm.prove.pages.Pages.fingerprint`)
    made: frozenset[int]  #: pieces of the annex that were made
    open: frozenset[int]  #: pages that can be written
    module: bool  #: it is loaded
    leads: tuple[tuple[int, int], ...]  #: by function: where its stub leads


class Judged(NamedTuple):
    """A request, and what was found in it."""

    notes: tuple[Note, ...]
    findings: Findings
    executed: tuple[int, ...]  #: addresses of targets
    written: tuple[tuple[int, bytes], ...]
    after: State | None  #: None: the notes ended before the request did
    is_nested: bool  #: others began before it was over

    def begins_as(self, note: Note) -> bool:
        """A request that begins with ``note`` is the same if the rest is: how deep the stack is matters to others."""
        first = self.notes[0]
        return note == first or (not self.is_nested and note.place == first.place)


class Repeats:
    """The requests that were judged of one image."""

    def __init__(self) -> None:
        self._judged: dict[State, list[Judged]] = {}
        self._count = 0

    def find(self, state: State, notes: Sequence[Note], place: int) -> Judged | None:
        """The request that was judged in this ``state`` and of which all notes come next; None: there is none."""
        for judged in self._judged.get(state, ()):
            rest = judged.notes[1:]
            if tuple(notes[place + 1 : place + 1 + len(rest)]) == rest and judged.begins_as(notes[place]):
                return judged
        return None

    def keep(self, state: State, judged: Judged) -> None:
        """Keep what was found, if the request is over."""
        if judged.after is None:
            return
        if self._count >= _MOST:
            self._judged.clear()
            self._count = 0
        self._judged.setdefault(state, []).append(judged)
        self._count += 1
