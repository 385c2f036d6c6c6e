"""Code as it is at some moment of a program."""

from __future__ import annotations

from collections.abc import Callable

#: Gives bytes of memory: address, size.
Memory = Callable[[int, int], bytes]

_PAGE = 0x1000  # bytes


class Pages:
    """Code as a program has made it: of what it has stored to, pages of its own."""

    def __init__(self, pristine: Memory) -> None:
        self._pristine = pristine
        self._pages: dict[int, bytearray] = {}
        self._prints: dict[int, int] = {}  # by page, of those that have not changed since

    def read(self, address: int, size: int) -> bytes:
        number, first = divmod(address, _PAGE)
        if first + size > _PAGE:
            here = _PAGE - first
            return self.read(address, here) + self.read(address + here, size - here)
        page = self._pages.get(number)
        return self._pristine(address, size) if page is None else bytes(page[first : first + size])

    def write(self, address: int, data: bytes) -> None:
        number, first = divmod(address, _PAGE)
        if first + len(data) > _PAGE:
            here = _PAGE - first
            self.write(address, data[:here])
            self.write(address + here, data[here:])
            return
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = bytearray(self._pristine(number * _PAGE, _PAGE))
        page[first : first + len(data)] = data
        self._prints.pop(number, None)

    def fingerprint(self) -> tuple[tuple[int, int], ...]:
        """The same if all is the same; of this process alone."""
        for number, page in self._pages.items():
            if number not in self._prints:
                self._prints[number] = hash(bytes(page))
        return tuple(sorted(self._prints.items()))
