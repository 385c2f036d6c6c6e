"""The second mapping of what a guest patches, of a guest that stores to it there (``images/platform/alias.c``).

To Unicorn the two are memories of their own, which happen to be the same of the host's.  A store to one drops no
translation of the other; nor does it where the host supplies the TLB and both addresses are those of one memory (2.1.2,
measured with the 14 guests that start so).  So those of what has changed are dropped when the second one is closed.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

from farm.guest.layout import REGIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from farm.guest.image import Image

#: Added to the number of a region: it is meant in its second mapping.
SECOND = len(REGIONS)


class Alias(NamedTuple):
    """Where the two mappings lie."""

    first: range  #: addresses, whole pages, where it was linked; none of a guest without a second mapping
    distance: int  #: from there to the second one

    @classmethod
    def of(cls, image: Image, page: int) -> Alias:
        first = image.mapped_twice
        first = range(first.start, first.start + -(-len(first) // page) * page)
        return cls(first, image.symbols["alias_start"] - first.start)

    def origin(self, address: int) -> int:
        """Where the guest executes what it stores at ``address``; that itself if it is not in the second mapping."""
        return address - self.distance if address - self.distance in self.first else address

    def has(self, start: int, size: int) -> bool:
        """All of the region at ``start``, of ``size`` bytes, is mapped twice."""
        return size > 0 and start in self.first and start + size - 1 in self.first

    def pieces(self, regions: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Start and end, at the first mapping, of what is to be mapped by itself.

        Unicorn divides no mapping that nobody may execute where the host supplies the TLB, so a change of protection
        must not have to: each of ``regions``, starts and sizes, begins and ends where some piece does.
        """
        inside = [(start, size) for start, size in regions if self.has(start, size)]
        return list(itertools.pairwise(sorted({at for start, size in inside for at in (start, start + size)})))
