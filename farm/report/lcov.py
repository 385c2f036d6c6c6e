"""Coverage in the format of lcov's tracefiles (geninfo(1), "Tracefile format"), which genhtml and most forges read.

A variant is a test name (``TN``), and has a record for each of its files.  A reader adds the records of a file up, so
the branches of each variant, which its compiler made, have numbers of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from farm import paths
from farm.measure.coverage import Branch, Coverage, Source, by_variant


def render(coverage: Coverage, folder: Path) -> str:
    """``lcov.info``; the path of a file that is in ``folder`` is from there."""
    root = paths.data("images").parent
    before = Counter[tuple[str, int]]()  # branches of a line, in the variants before
    records = []
    for variant, sources in by_variant(coverage).items():
        for source in sources:
            path = root / source.path
            path = path.relative_to(folder) if path.is_relative_to(folder) else path
            numbers = [before[source.path, way.line] + way.number // 2 for way in source.branches]
            records.append(_record(variant, path, source, numbers))
            before.update((source.path, way.line) for way in source.branches if way.number % 2)
    return "".join(records)


def _record(variant: str, path: Path, source: Source, numbers: Sequence[int]) -> str:
    """``numbers`` are those of the branches, a number a way."""
    ways = list(zip(source.branches, numbers, strict=True))
    evaluated = {(way.line, number) for way, number in ways if way.taken and source.lines[way.line]}
    lines = {line for line, _ in evaluated}

    def taken(way: Branch, number: int) -> int | str:
        """``-`` for a branch never evaluated; of a line that was reached lcov 2 wants a number of at least one."""
        came = (way.line, number) in evaluated or (source.lines[way.line] and way.line not in lines)
        return way.taken if came else "-"

    text = [
        f"TN:{variant}",
        f"SF:{path}",
        *(f"BRDA:{way.line},{number},{way.number % 2},{taken(way, number)}" for way, number in ways),
        f"BRF:{len(ways)}",
        f"BRH:{sum(taken(way, number) not in (0, '-') for way, number in ways)}",
        *(f"DA:{line},{count}" for line, count in source.lines.items()),
        f"LF:{len(source.lines)}",
        f"LH:{sum(count > 0 for count in source.lines.values())}",
        "end_of_record",
    ]
    return "\n".join(text) + "\n"
