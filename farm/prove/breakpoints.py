"""Instructions that change by a breakpoint (``[[atomicity.protocol]]``), as x86's do.

A breakpoint goes over the first byte; then come the other bytes; then the first one.  Between the phases every CPU
serialises, so that none has fetched some bytes before a phase and the rest behind it.
"""

from __future__ import annotations

from typing import NamedTuple

from farm.guest.rules import Atomicity, Protocol
from farm.prove.demands import LONGEST, Promised, Store


class _Placed(NamedTuple):
    """A breakpoint over the first byte of an instruction."""

    is_met: bool = False  # every CPU that comes there meets it
    is_settled: bool = True  # no CPU has fetched what the bytes behind it were


class Breakpoints:
    """Breakpoints of one request, and what the protocol promises of its stores."""

    def __init__(self, atomicity: Atomicity) -> None:
        self._protocol: Protocol | None = next((each for each in atomicity.protocol if each.breakpoint), None)
        self._byte = bytes.fromhex(self._protocol.breakpoint) if self._protocol else b""
        self._placed: dict[int, _Placed] = {}  # by address

    @property
    def any(self) -> bool:
        """The request has put one."""
        return bool(self._placed)

    def serialise(self) -> None:
        """Every CPU serialises."""
        self._placed = dict.fromkeys(self._placed, _Placed(is_met=True))

    def promised(self, store: Store) -> Promised | None:
        """What the protocol promises of the instruction that ``store`` changes, in turn; None: it is not by it."""
        if not self._protocol or not store.changed:
            return None
        first = store.changed.start
        source = self._protocol.relied_on or self._protocol.manual
        now = store.after[first - store.address :][: len(self._byte)]
        if len(store.changed) == 1 and now == self._byte and first not in self._placed:
            self._placed[first] = _Placed()
            return Promised(self._protocol.basis, source, range(first, first + 1))
        start = max((at for at in self._placed if at <= first), default=None)
        if start is None or store.changed.stop > start + LONGEST:
            return None
        placed = self._placed[start]
        if first == start:
            keeps = len(store.changed) == 1 and placed.is_met and placed.is_settled
        else:
            keeps = placed.is_met
            self._placed[start] = placed._replace(is_settled=False)
        return Promised(self._protocol.basis, source, range(start, store.changed.stop)) if keeps else None
