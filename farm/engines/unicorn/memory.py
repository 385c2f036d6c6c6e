"""The guest's memory as the host has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator

PAGE = 0x1000  #: bytes of one at least


class Memory(NamedTuple):
    """A segment: memory of the host's that the guest has too."""

    start: int
    data: mmap.mmap
    is_writable: bool


class Place(NamedTuple):
    """A part of a segment."""

    address: int
    data: mmap.mmap
    first: int  #: in ``data``
    end: int

    @property
    def size(self) -> int:
        return self.end - self.first

    def read(self) -> bytes:
        return self.data[self.first : self.end]


def differences(place: Place, before: bytes) -> Iterator[tuple[int, int]]:
    """On every page that is not as ``before``, places of the first byte that differs and behind the last one."""
    for start in range(-(place.address % PAGE), place.size, PAGE):
        page = slice(max(start, 0), min(start + PAGE, place.size))
        now, was = place.data[place.first + page.start : place.first + page.stop], before[page]
        if now != was:
            changed = int.from_bytes(now, "little") ^ int.from_bytes(was, "little")
            first, end = ((changed & -changed).bit_length() - 1) // 8, (changed.bit_length() + 7) // 8
            yield page.start + first, page.start + end
