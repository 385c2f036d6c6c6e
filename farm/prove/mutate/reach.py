"""Which lines of patch code each scenario executes, by the guest as it is."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from farm.engines import Block, CountsBlocks
from farm.guest import dwarf
from farm.prove.mutate.subject import Text
from farm.run.bench import Bench
from farm.scenario import Scenario

Line = tuple[str, int]  #: a text's name, and a line of it


class Reach:
    """The lines of some texts that scenarios reach on a bench, whose image has its debug information."""

    def __init__(self, bench: Bench, texts: Sequence[Text], scenarios: Sequence[Scenario]) -> None:
        assert isinstance(bench.engine, CountsBlocks)
        by_name: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for text in texts:
            by_name.setdefault(text.path.name, []).append((text.path.parts, text.name))

        def named(path: str) -> str | None:
            parts = PurePosixPath(path).parts
            fitting = [(_common(parts, own), name) for own, name in by_name.get(parts[-1] if parts else "", ())]
            length, name = max(fitting, default=(0, ""))
            return name if length > 1 else None

        table = dwarf.read(Path(bench.image.path), lambda path: named(path) is not None)
        rows = [(row.address, (name, row.line)) for row in table.rows if (name := named(row.path))]
        self._addresses = [address for address, _ in rows]
        self._lines: list[Line] = [line for _, line in rows]
        #: Lines with code.
        self.code: frozenset[Line] = frozenset(self._lines)
        replies, _ = bench.blocks([bench.encode(scenario) for scenario in scenarios], table.spans)
        #: By the name of a scenario: what it reaches.
        self.by_scenario = {
            scenario.name: self._reached(reply.blocks) for scenario, reply in zip(scenarios, replies, strict=True)
        }
        self.reached: frozenset[Line] = frozenset().union(*self.by_scenario.values())
        #: The engine can tell.
        self.tells = bool(self.reached) or not scenarios

    def _reached(self, blocks: Mapping[Block, int]) -> frozenset[Line]:
        found: set[Line] = set()
        for block in blocks:
            within = max(
                bisect.bisect_right(self._addresses, block.start) - 1, 0
            )  # the block may begin inside of a row
            first = bisect.bisect_left(self._addresses, self._addresses[within]) if self._addresses else 0
            found.update(self._lines[first : bisect.bisect_left(self._addresses, block.end)])
        return frozenset(found)

    def relevant(self, lines: Iterable[Line]) -> set[str]:
        """Names of the scenarios that reach any of ``lines``."""
        wanted = frozenset(lines)
        return {name for name, reached in self.by_scenario.items() if reached & wanted}


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many parts two paths share, from the end."""
    count = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        count += 1
    return count
