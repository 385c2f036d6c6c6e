"""What :mod:`.displaced` is asked, and what it answers."""

from __future__ import annotations

import msgspec


class Moved(msgspec.Struct, frozen=True):
    """An instruction, or several that cannot stand alone, and what was written for it elsewhere."""

    origin: int  #: address
    code: bytes
    size: int  #: bytes of it that were moved
    annex: int  #: address
    written: bytes
    start: int  #: in what was written


class Work(msgspec.Struct, frozen=True):
    """All that is to be executed on an architecture (a name in :data:`.displaced.KINDS`)."""

    kind: str
    moved: tuple[Moved, ...]


class Done(msgspec.Struct, frozen=True):
    """What came of one :class:`Moved`."""

    differs: str = ""  #: what is not the same, in words
    executed: bool = False  #: in some state the original is executed without a fault
