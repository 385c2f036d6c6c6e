"""Two requests that are made at once, each by a CPU of its own, in every order of what both of them look at.

A program makes the two one after the other.  An engine (:class:`~farm.engines.Explores`) takes hold of each where it
begins, with its registers and its stack, and lets the two run in turns instead: a *turn* is all that a CPU does up to
and with its next access to memory that the other one changes, or of which it changes what the other one looks at.  What
a CPU does between two such accesses nobody else can tell from having been done at once, so these are all orders that
there are, if each access is seen by both CPUs when it is made.  What the program does behind the two requests tells
what came of them.
"""

from __future__ import annotations

import msgspec


class Together(msgspec.Struct, frozen=True):
    """Two requests that are to be made at once."""

    begins: tuple[int, ...]  #: addresses of the functions with which a request begins
    first: int  #: how many requests the program makes before the two


class Touch(msgspec.Struct, frozen=True):
    """An access of a CPU's to memory that both look at."""

    address: int
    before: bytes
    after: bytes  #: of a load, what was there before
    stores: bool


class Turn(msgspec.Struct, frozen=True):
    """What a CPU did until it made its next access to memory that both look at, or was done with its request."""

    cpu: int  #: 0 or 1: whose request the program has first, or next
    pc: int  #: of the instruction that made the access, or that failed
    touches: tuple[Touch, ...]


class Ending(msgspec.Struct, frozen=True):
    """An end that two requests came to, and a way there with the fewest changes from one CPU to the other."""

    events: bytes  #: of the trace, with those of the two requests in the order of the program
    failure: str  #: what went wrong, be it behind the requests; empty: nothing
    path: tuple[Turn, ...]


class Made(msgspec.Struct, frozen=True):
    """What may come of two requests that are made at once."""

    endings: tuple[Ending, ...]
    points: int  #: turns that were taken
    complete: bool  #: False: a failure was found, behind which nothing is followed, or there are too many turns


#: Turns at which an exploration is given up.
MOST_TURNS = 50_000

#: What goes wrong where no CPU can end its request any more.
STUCK = "the two wait for one another for ever"
