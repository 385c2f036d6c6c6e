"""``report.html``: one file that needs nothing else, from a disk, a mail or a CI artifact.

What is looked at first (the outcome, the grid, why cells did not run) and what other commands measured is plain HTML
that jinja2 escapes, so it can be read where scripts are not allowed.  The list of cells, which may have tens of
thousands, and a cell's page are made by ``report.js`` from the data in :mod:`farm.report.payload`, by ``textContent``
alone.  The file names the hash of that script as the only one that may run, and allows no request.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import itertools
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from farm import documents
from farm.cell import FAILED, PASSED, SKIPPED, EngineName, Verdict
from farm.errors import FarmError
from farm.measure import cost as costs
from farm.measure import coverage as coverages
from farm.prove.proof import What
from farm.report import (
    Material,
    by_verdict,
    comparable,
    compiled,
    mutants,
    mutants_page,
    number_of,
    payload,
    proof,
    proof_page,
    table,
    uncontrolled,
    unwitnessed,
)
from farm.report.grid import ALL, Grid, folded
from farm.report.payload import LOOKS, mark
from farm.run.verdict import Result
from farm.text import counted

_TEMPLATES = Path(__file__).parent / "templates"
_CLUSTERS = 6  # kinds of failure on the first screen
_DIFFERING = 100  # cells that are named where a scenario's traces differ
_NAMED = 6  # variants that are named where a kind of failure is
_WIDEST = 12  # columns that a screen has room for


class Found(msgspec.Struct, frozen=True):
    """Measurements that other commands have left beside the results."""

    costs: list[costs.Cost] = []
    coverage: coverages.Coverage | None = None
    tables: list[table.Table] = []
    proofs: list[proof.Document] = []
    mutants: mutants.Document | None = None
    complaints: list[str] = []


def found(folder: Path) -> Found:
    """``cost.json``, ``coverage.json``, tables, proofs and mutants in an output folder; what cannot be used is said."""
    complaints: list[str] = []

    def use(read: Any, otherwise: Any) -> Any:
        try:
            return read()
        except FarmError as error:
            complaints.append(f"{error}; it is left out")
            return otherwise

    return Found(
        use(lambda: documents.read(folder / "cost.json", list[costs.Cost], "costs") or [], []),
        use(lambda: coverages.read(folder / "coverage.json"), None),
        use(lambda: table.found(folder), []),
        [made for what in What if (made := use(functools.partial(proof.read, folder, what), None))],
        use(lambda: mutants.read(folder), None),
        complaints,
    )


def render(material: Material) -> bytes:
    """The report."""
    script = (_TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    filters = {"links": lambda parts: link(**parts), "thousands": lambda number: f"{number:,}"}
    text = compiled.template(_TEMPLATES / "report.html.j2", filters, trim_blocks=True).render(
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'",
        style=(_TEMPLATES / "report.css").read_text(encoding="utf-8"),
        script=script,
        data=payload.embedded(material).decode(),
        run=material.run,
        complaints=material.complaints,
        verdicts=_verdicts(material.results),
        clusters=_reasons(material.results, FAILED),
        shown_clusters=_CLUSTERS,
        retried={"count": sum(result.retried is not None for result in material.results), "href": link(retried="yes")},
        holes=_reasons(material.results, SKIPPED),
        notes=uncontrolled(material.results, material.plan),
        unwitnessed=unwitnessed(material.results, material.plan),
        grids=_grids(material),
        agreement=_agreement(material),
        cost=_cost(material.costs),
        coverage=_covered(material.coverage),
        tables=material.tables,
        proofs=[proof_page.page(made) for made in material.proofs],
        mutants=mutants_page.page(material.mutants),
        **_outcome(material.results),
    )
    return text.encode("utf-8", "replace")


def link(**parts: str | None) -> str:
    """The part of the address, from the ``#``, that shows what ``parts`` name; ``report.js`` reads it."""
    return "#" + "&".join(f"{name}={quote(value, safe='')}" for name, value in parts.items() if value is not None)


# The first screen.


def _outcome(results: Sequence[Result]) -> dict[str, Any]:
    """The outcome of the run in one sentence, and how it looks."""
    counts = by_verdict(results)
    bad, missing = number_of(counts, FAILED), counts[Verdict.NOT_RUN]
    ran = len(results) - number_of(counts, SKIPPED)
    if bad:
        sentence = f"{bad:,} of {counted(len(results), 'cell')} {'is' if bad == 1 else 'are'} not as expected"
    elif ran:
        sentence = f"All {ran:,} cells that ran are as expected" if ran > 1 else "The one cell that ran is as expected"
    else:
        sentence = "No cell ran"
    if missing:
        sentence += f"; {missing:,} could not run here"
    return {"outcome": sentence, "look": "fail" if bad else "pass" if ran else "missing", "total": len(results)}


def _verdicts(results: Sequence[Result]) -> list[dict[str, Any]]:
    counts = by_verdict(results)
    order = sorted(Verdict, key=lambda v: (v not in FAILED, v in SKIPPED, list(Verdict).index(v)))
    return [
        {"name": str(v), "mark": mark(v), "look": LOOKS[v], "count": counts[v], "href": link(verdict=str(v))}
        for v in order
        if counts[v]
    ]


def _reasons(results: Iterable[Result], verdicts: frozenset[Verdict]) -> list[dict[str, Any]]:
    """Reasons of the cells with ``verdicts``, grouped by :func:`~farm.report.payload.headline`, the commonest first."""
    counts: Counter[tuple[Verdict, str]] = Counter()
    whole: dict[tuple[Verdict, str], str] = {}
    where: dict[tuple[Verdict, str], tuple[dict[str, None], dict[str, None]]] = {}
    for result in results:
        if result.verdict in verdicts:
            kind = result.verdict, payload.headline(result.reason or "")
            counts[kind] += 1
            whole.setdefault(kind, result.reason or "")
            variants, mechanisms = where.setdefault(kind, ({}, {}))
            variants[result.cell.variant] = mechanisms[result.cell.mechanism] = None
    return [
        {
            "verdict": str(verdict),
            "mark": mark(verdict),
            "look": LOOKS[verdict],
            "reason": reason,
            "error": next((line for line in whole[verdict, reason].split("\n")[1:] if "error: " in line), ""),
            "count": count,
            "variants": _some(where[verdict, reason][0]),
            "mechanisms": ", ".join(where[verdict, reason][1]),
            "href": link(verdict=str(verdict), reason=reason),
        }
        for (verdict, reason), count in counts.most_common()
    ]


def _some(names: Collection[str]) -> str:
    """The names, or their number if they are many variants."""
    return ", ".join(names) if len(names) <= _NAMED else f"{len(names)} variants"


def look(counts: Mapping[Verdict, int]) -> str:
    """The look of cells together: that of the worst failure, else that of the best that ran."""
    bad = [verdict for verdict in Verdict if counts[verdict] and verdict not in PASSED | SKIPPED]
    if bad:
        return LOOKS[bad[-1]]
    best = (Verdict.PASS, Verdict.PASS_INSENSITIVE, Verdict.NOT_RUN, Verdict.NOT_APPLICABLE)
    return next((LOOKS[verdict] for verdict in best if counts[verdict]), "none")


def _grids(material: Material) -> list[dict[str, Any]]:
    """The grid; if it has many columns, first the one in which engines are added up."""
    whole = Grid.of(material.results)
    wide = whole.can_be_added_up and len(whole.without_holes().columns) > _WIDEST
    return [_grid(material, each) for each in ([whole.added_up(), whole] if wide else [whole])]


def _grid(material: Material, cell_grid: Grid) -> dict[str, Any]:
    """Variants down, mechanism and engine across, those to be folded away last of their mechanism.

    A square leads to its cells.
    """
    holes = cell_grid.holes()
    columns = [c for m in cell_grid.mechanisms for c in sorted(cell_grid.of_mechanism(m), key=holes.__contains__)]
    heads: list[dict[str, Any]] = []
    engines: list[dict[str, Any]] = []
    for column in columns:
        mechanism, engine = column
        name, profile = EngineName.of(engine or "")
        hidden = column in holes
        begins = not heads or (heads[-1]["name"], heads[-1]["folded"]) != (mechanism, hidden)
        if begins:
            heads.append({"name": mechanism, "width": 0, "folded": hidden})
        heads[-1]["width"] += 1
        engines.append({"name": name, "profile": profile, "begins": begins, "folded": hidden})
    rows: list[dict[str, Any]] = []
    for row in cell_grid.rows:
        variant, toolchain = cell_grid.built[row]
        row_variant = material.plan.variants.get(variant)
        architecture = row_variant.architecture if row_variant else None
        squares: list[dict[str, Any] | None] = []
        for mechanism, engine in columns:
            square = cell_grid.squares.get((row, (mechanism, engine)))
            if square is None:
                squares.append(None)
                continue
            parts: Counter[tuple[str, str]] = Counter()
            for verdict in Verdict:
                parts[LOOKS[verdict], mark(verdict)] += square.counts[verdict]
            where = link(variant=variant, toolchain=toolchain, mechanism=mechanism, engine=engine)
            squares.append(
                {"look": look(square.counts), "parts": [(*kind, n) for kind, n in parts.items() if n], "href": where}
            )
        rows.append(
            {
                "name": variant,
                "toolchain": toolchain,
                "href": link(variant=variant, toolchain=toolchain),
                "architecture": architecture,
                "begins": not rows or rows[-1]["architecture"] != architecture or architecture is None,
                "squares": squares,
            }
        )
    why = folded(holes, material.results) if holes else ""
    return {
        "heads": heads,
        "engines": engines,
        "added_up": all(engine is ALL for _, engine in columns),
        "rows": rows,
        "folded": why,
    }


# Agreement.


def _agreement(material: Material) -> list[dict[str, Any]]:
    """A row for each scenario, and each kind of CPU that it asks about: how many traces over how many cells."""
    scenarios = material.plan.scenarios
    order = {name: number for number, name in enumerate(scenarios)}
    rows = []
    for (name, expected), ran in comparable(material.results).items():
        traces = {result.trace for result in ran}
        usual = expected if expected in traces else Counter(result.trace for result in ran).most_common(1)[0][0]
        others = [result for result in ran if result.trace != usual] if len(traces) > 1 else []
        rows.append(
            {
                "id": scenarios[name].id if name in scenarios else "",
                "name": name,
                "order": order.get(name, len(order)),
                "expected": expected,
                "cells": len(ran),
                "traces": len(traces),
                "differ": len(others),
                "others": [
                    {"cell": str(r.cell), "trace": r.trace, "verdict": str(r.verdict), "href": link(cell=str(r.cell))}
                    for r in others[:_DIFFERING]
                ],
            }
        )
    return sorted(rows, key=lambda row: (row["differ"] == 0, row["order"]))


# What other commands measured.


def _cost(measured: Sequence[costs.Cost]) -> dict[str, Any] | None:
    """A row a guest; a bar a way to call."""
    if not measured:
        return None
    ways = costs.measured_ways(measured)
    most = max((count for cost in measured for count in cost.instructions.values() if count), default=1)
    rows = [
        {
            "variant": cost.variant,
            "toolchain": cost.toolchain,
            "counts": [(cost.instructions.get(way), cost.over_direct(way)) for way in ways],
            "note": cost.note,
        }
        for cost in measured
        if cost.instructions
    ]
    bars = []
    longest = 1
    for way in ways:
        over = [more for cost in measured if (more := cost.over_direct(way)) is not None]
        if over:
            longest = max(longest, *over)
            bars.append(
                {
                    "name": way,
                    "baseline": way in costs.BASELINES,
                    "median": statistics.median(over),
                    "least": min(over),
                    "most": max(over),
                    "guests": len(over),
                }
            )
    return {
        "ways": [(way, way in costs.BASELINES) for way in ways],
        "most": most,
        "rows": rows,
        "bars": bars,
        "longest": longest,
        "holes": [(cost.name, cost.reason) for cost in measured if cost.reason],
    }


def _covered(measured: coverages.Coverage | None) -> dict[str, Any] | None:
    """A row a file; its lines and branches are counted in each variant."""
    if measured is None:
        return None
    lines: dict[str, Counter[bool]] = {}
    ways: dict[str, Counter[bool]] = {}
    variants: Counter[str] = Counter()
    for sources in coverages.by_variant(measured).values():
        for source in sources:
            lines.setdefault(source.path, Counter()).update(count > 0 for count in source.lines.values())
            ways.setdefault(source.path, Counter()).update(branch.taken > 0 for branch in source.branches)
            variants[source.path] += 1
    unreached: dict[str, dict[tuple[str | None, tuple[str, ...]], list[int]]] = {path: {} for path in lines}
    for line in coverages.unreached(measured):
        unreached[line.path].setdefault((line.excuse, line.variants), []).append(line.line)
    one_way: dict[str, dict[tuple[str, ...], list[int]]] = {path: {} for path in lines}
    for line in coverages.one_way(measured):
        one_way[line.path].setdefault(line.variants, []).append(line.line)
    rows = [
        {
            "path": path,
            "variants": variants[path],
            "lines": (lines[path][True], lines[path].total()),
            "branches": (ways[path][True], ways[path].total()),
            "unreached": [
                {"lines": _span(numbers), "why": why, "where": ", ".join(where)}
                for (why, where), numbers in unreached[path].items()
            ],
            "one_way": [
                {"lines": _span(numbers), "where": ", ".join(where)} for where, numbers in one_way[path].items()
            ],
        }
        for path in sorted(lines)
    ]
    holes = [(f"{u.variant}/{u.mechanism}/{u.toolchain}", u.reason) for u in measured.units if u.reason]
    return {"rows": rows, "holes": holes, "complaints": coverages.complaints(measured)}


def _span(lines: Sequence[int]) -> str:
    """``3, 7-9`` for 3, 7, 8 and 9."""
    parts = []
    for _, group in itertools.groupby(enumerate(lines), key=lambda pair: pair[1] - pair[0]):
        run = [line for _, line in group]
        parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return ", ".join(parts)
