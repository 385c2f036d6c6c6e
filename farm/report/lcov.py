"""Coverage in the format of lcov's tracefiles (geninfo(1), "Tracefile format"), which genhtml and most forges read.

A variant is a test name (``TN``), and has a record for each of its files.  Paths are from the root of the project, so
that ``genhtml`` is to be run there.
"""

from __future__ import annotations

from farm.coverage import Coverage, Source, by_variant


def render(coverage: Coverage) -> str:
    """``lcov.info``."""
    return "".join(_record(variant, source) for variant, sources in by_variant(coverage).items() for source in sources)


def _record(variant: str, source: Source) -> str:
    ways = source.branches
    ran = {(way.line, way.number // 2) for way in ways if way.taken}  # else no way says that it was even asked for
    lines = [
        f"TN:{variant}",
        f"SF:{source.path}",
        *(
            f"BRDA:{way.line},{branch},{way.number % 2},{way.taken if (way.line, branch) in ran else '-'}"
            for way in ways
            for branch in (way.number // 2,)
        ),
        f"BRF:{len(ways)}",
        f"BRH:{sum(way.taken > 0 for way in ways)}",
        *(f"DA:{line},{count}" for line, count in source.lines.items()),
        f"LF:{len(source.lines)}",
        f"LH:{sum(count > 0 for count in source.lines.values())}",
        "end_of_record",
    ]
    return "\n".join(lines) + "\n"
