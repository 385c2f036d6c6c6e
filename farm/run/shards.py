"""Divides a plan among machines: balanced by what cells are known to take, and stable.

A machine that runs a cell must build its image, which takes longer than all cells of the image together.  So the cells
of an image stay on one machine as long as it has room.  Each image prefers the machines in an order of its own, by the
hash of its name (rendezvous hashing with bounded loads), and fills them in that order up to a limit that grows in
steps: a cell, a scenario or a variant that comes or goes moves few of the others.  Longest-first packing would balance
better by some percent and deal everything anew each time.

Nothing here depends on the order of the cells, on time or on chance: every machine finds the same division.
"""

from __future__ import annotations

import hashlib
import math
import statistics
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.errors import UsageError

if TYPE_CHECKING:
    from farm.cell import Cell, Planned

LIMIT = 256  #: jobs that a forge allows from one matrix
BUILD = 1.0  #: seconds that one worker needs to build an image
_CELL = 0.001  # seconds of a cell of which nothing is known
_CHUNKS = 16  # parts of an image's cells, of which each stays whole
_STEP = 1.1  # between one limit of a shard's load and the next
_SLACK = 1.1  # the least room that the limit leaves above the mean

Image = tuple[str, str, str]  # variant, mechanism, toolchain


@dataclass(frozen=True)
class Division:
    """Division of a plan's cells into shards."""

    numbers: tuple[int, ...]  #: from 1, a cell each
    loads: tuple[float, ...]  #: seconds of one worker, a shard each, building included

    @property
    def count(self) -> int:
        return len(self.loads)


@dataclass(frozen=True)
class _Chunk:
    """Some cells of one image, which stay together."""

    image: Image
    seconds: float  # building not included; the same in whatever order the cells are
    runs: bool  # at least one cell does
    cells: Sequence[int]  # places in the plan


def divide(cells: Sequence[Planned], count: int, known: Mapping[Cell, float] | None = None) -> Division:
    """``cells`` in ``count`` shards, or in as many as there are chunks to run if these are fewer.

    ``known`` are seconds that cells took before.  No shard is empty.
    """
    chunks = _chunks(cells, estimates(cells, known or {}))
    return _divide(chunks, count, len(cells))


def fit(cells: Sequence[Planned], seconds: float, workers: int, known: Mapping[Cell, float] | None = None) -> Division:
    """``cells`` in the fewest shards of which none should take more than ``seconds`` on ``workers`` workers.

    Raises :class:`~farm.errors.UsageError` if that takes more shards than a forge allows, or cannot be at all.
    """
    chunks = _chunks(cells, estimates(cells, known or {}))
    best = None
    total = sum(chunk.seconds for chunk in chunks) + BUILD * len({chunk.image for chunk in chunks if chunk.runs})
    for count in range(min(LIMIT, max(1, int(total / workers / seconds))), LIMIT + 1):
        division = _divide(chunks, count, len(cells))
        longest = max(division.loads) / workers
        if longest <= seconds:
            return division
        best = min(best or longest, longest)
        if division.count < count:  # no finer
            break
    assert best is not None
    raise UsageError(
        f"--max-minutes {seconds / 60:g}: no division into {LIMIT} shards or fewer is that quick; "
        f"the smallest that fits is --max-minutes {math.ceil(best / 0.6) / 100:g}"
    )


def estimates(cells: Sequence[Planned], known: Mapping[Cell, float]) -> list[float]:
    """Seconds a cell: what it took before, else what its scenario takes on that engine, else any cell there."""
    by_scenario: dict[tuple[str, str], list[float]] = defaultdict(list)
    by_engine: dict[str, list[float]] = defaultdict(list)
    for cell, seconds in known.items():
        by_scenario[cell.scenario, cell.engine].append(seconds)
        by_engine[cell.engine].append(seconds)
    scenarios = {key: statistics.median(seconds) for key, seconds in by_scenario.items()}
    engines = {key: statistics.median(seconds) for key, seconds in by_engine.items()}
    estimated = []
    for planned in cells:
        cell = planned.cell
        guess = scenarios.get((cell.scenario, cell.engine), engines.get(cell.engine, _CELL))
        estimated.append(0.0 if planned.verdict else known.get(cell, guess))
    return estimated


def _chunks(cells: Sequence[Planned], seconds: Sequence[float]) -> list[_Chunk]:
    """Chunks of ``cells`` in the order in which they are placed: image by image."""
    places: dict[tuple[str, Image, int], list[int]] = defaultdict(list)
    keys: dict[Image, str] = {}
    for place, planned in enumerate(cells):
        cell = planned.cell
        image = (cell.variant, cell.mechanism, cell.toolchain)
        key = keys.get(image) or keys.setdefault(image, _hash(image))
        places[key, image, zlib.crc32(str(cell).encode()) % _CHUNKS].append(place)
    return [
        _Chunk(image, math.fsum(seconds[i] for i in numbers), any(cells[i].verdict is None for i in numbers), numbers)
        for (_, image, _), numbers in sorted(places.items())
    ]


def _hash(*words: object) -> str:
    return hashlib.blake2b(repr(words).encode(), digest_size=8).hexdigest()


def _divide(chunks: Sequence[_Chunk], count: int, cells: int) -> Division:
    count = min(count, max(1, sum(chunk.runs for chunk in chunks)))
    images = list(dict.fromkeys(chunk.image for chunk in chunks))
    orders = {image: sorted(range(count), key=lambda shard: _hash(image, shard)) for image in images}
    building = {chunk.image for chunk in chunks if chunk.runs}
    mean = (sum(chunk.seconds for chunk in chunks) + BUILD * len(building)) / count
    step = math.ceil(math.log(_SLACK * mean, _STEP)) if mean else 0
    while (placed := _place(chunks, orders, count, _STEP**step)) is None:
        step += 1
    if building:
        _fill(placed)
    numbers = [0] * cells
    for number, shard in enumerate(placed, 1):
        for chunk in shard:
            for place in chunk.cells:
                numbers[place] = number
    return Division(tuple(numbers), tuple(_load(shard) for shard in placed))


def _place(
    chunks: Sequence[_Chunk], orders: Mapping[Image, Sequence[int]], count: int, limit: float
) -> list[list[_Chunk]] | None:
    """The chunks of each shard; None if ``limit`` seconds a shard are too few."""
    placed: list[list[_Chunk]] = [[] for _ in range(count)]
    loads = [0.0] * count
    tried: dict[Image, Iterator[int]] = {}
    current: dict[Image, tuple[int, bool]] = {}  # the shard that an image is filling, and whether it is built there
    for chunk in chunks:
        order = tried.setdefault(chunk.image, iter(orders[chunk.image]))
        if chunk.image in current:
            shard, built = current[chunk.image]
        else:
            shard, built = next(order), False
        # What is alone may be as long as it likes: no other shard would be better.
        while loads[shard] and loads[shard] + _cost(chunk, built=built) > limit:
            following = next(order, None)
            if following is None:
                return None
            shard, built = following, False
        loads[shard] += _cost(chunk, built=built)
        placed[shard].append(chunk)
        current[chunk.image] = shard, built or chunk.runs
    return placed


def _cost(chunk: _Chunk, *, built: bool) -> float:
    return chunk.seconds + (BUILD if chunk.runs and not built else 0.0)


def _load(shard: Sequence[_Chunk]) -> float:
    return sum(chunk.seconds for chunk in shard) + BUILD * len({chunk.image for chunk in shard if chunk.runs})


def _fill(placed: list[list[_Chunk]]) -> None:
    """Give each shard that has nothing to run half of what the fullest runs."""
    for shard in placed:
        if not any(chunk.runs for chunk in shard):
            fullest = max((s for s in placed if sum(chunk.runs for chunk in s) > 1), key=_load)
            half = sum(chunk.runs for chunk in fullest) // 2
            given = [chunk for chunk in fullest if chunk.runs][-half:]
            fullest[:] = [chunk for chunk in fullest if chunk not in given]
            shard.extend(given)
