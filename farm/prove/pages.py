"""Code as it is at some moment of a program."""

from __future__ import annotations

from collections.abc import Callable, Mapping

#: Gives bytes of memory: address, size.
Memory = Callable[[int, int], bytes]

_PAGE = 0x1000  # bytes
_LINE = 16  # bytes; by so many it is remembered what was looked at


class Pages:
    """Code as a program has made it, and what of it was looked at."""

    def __init__(self, pristine: Memory) -> None:
        self._pristine = pristine
        self._pages: dict[int, bytearray] = {}
        self._looked_at: dict[int, bytes] = {}  # by line, as it was at first
        self._replaced: dict[int, bytes] = {}  # by line that was written to since then, as it was at first

    def read(self, address: int, size: int) -> bytes:
        """Memory as it is now."""
        for line in range(address // _LINE, (address + size - 1) // _LINE + 1):
            if line not in self._looked_at:
                self._looked_at[line] = self._replaced[line] if line in self._replaced else self._line(line)
        return self._read(address, size)

    def write(self, address: int, data: bytes) -> None:
        number, first = divmod(address, _PAGE)
        if first + len(data) > _PAGE:
            here = _PAGE - first
            self.write(address, data[:here])
            self.write(address + here, data[here:])
            return
        for line in range(address // _LINE, (address + len(data) - 1) // _LINE + 1):
            if line not in self._replaced:
                self._replaced[line] = self._line(line)
        self._page(number)[first : first + len(data)] = data

    def look(self) -> None:
        """Begin anew to remember what is looked at."""
        self._looked_at, self._replaced = {}, {}

    def looked_at(self) -> Mapping[int, bytes]:
        """The lines that were read since :meth:`look`, as they were then; ``has`` tells whether others are the same."""
        return self._looked_at

    def has(self, lines: Mapping[int, bytes]) -> bool:
        """Tell whether all of these ``lines`` are what they were."""
        return all(self._line(line) == content for line, content in lines.items())

    def _line(self, line: int) -> bytes:
        return self._read(line * _LINE, _LINE)

    def _read(self, address: int, size: int) -> bytes:
        number, first = divmod(address, _PAGE)
        if first + size > _PAGE:
            here = _PAGE - first
            return self._read(address, here) + self._read(address + here, size - here)
        return bytes(self._page(number)[first : first + size])

    def _page(self, number: int) -> bytearray:
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = bytearray(self._pristine(number * _PAGE, _PAGE))
        return page
