"""The audit of stores to code, for people and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from farm.cell import PASSED, EngineName, Verdict
from farm.prove.findings import Breach, total
from farm.run.verdict import Result
from farm.text import counted

if TYPE_CHECKING:
    from farm.prove.cells import Audited, Image

SCHEMA = 1

_SHOWN = 3  # breaches of a cell, each of another kind


def broken(images: Sequence[Image]) -> list[Audited]:
    """The cells that break a rule."""
    return [cell for made in images for cell in made.cells if cell.verdict is Verdict.RULE_BROKEN]


def failed(images: Sequence[Image]) -> list[Audited]:
    """The cells whose trace is not as the model says, so that nothing is said of their stores."""
    return [cell for made in images for cell in made.cells if not cell.is_audited]


def lines(images: Sequence[Image]) -> Iterator[str]:
    """The audit for people: an image a line, then each breach as a story, then the sum."""
    width = max(len(str(made.spec)) for made in images)
    for made in images:
        yield f"{made.spec!s:<{width}}  {_summary(made)}"
    for cell in broken(images):
        yield ""
        yield f"rule-broken {cell.cell}"
        yield from (f"  {story}" for story in stories(cell))
    for cell in failed(images):
        yield ""
        yield f"not audited {cell.cell}: {cell.verdict}: {cell.reason}"
    yield ""
    yield _sum(images)


def judged(results: Sequence[Result], engines: Collection[str]) -> str:
    """Of how many cells that passed on these ``engines`` all stores to code were judged, and of how many not.

    Empty if none passed there.
    """
    passed = [r for r in results if r.verdict in PASSED and EngineName.of(r.cell.engine).engine in engines]
    audited = sum(result.audited for result in passed)
    if not passed:
        return ""
    left = len(passed) - audited
    rest = f", not all of {left:,} (`farm prove rules` says why)" if left else ""
    return f"stores to code: all judged of {counted(audited, 'cell')} that passed on {', '.join(sorted(engines))}{rest}"


def stories(cell: Audited) -> Iterator[str]:
    """The first breach of each rule, and how many there are."""
    kinds: dict[str, list[Breach]] = {}
    for breach in cell.findings.breaches:
        kinds.setdefault(breach.rule, []).append(breach)
    for breaches in list(kinds.values())[:_SHOWN]:
        more = f" (and {len(breaches) - 1:,} more)" if len(breaches) > 1 else ""
        yield f"{breaches[0].story}{more}"


def _summary(made: Image) -> str:
    if made.unaudited:
        return f"not audited: {made.unaudited}"
    found = total(cell.findings for cell in made.cells)
    stores = [f"{number:,} to {what}" for what, number in sorted(found.stores.items())]
    parts = [
        f"{counted(len(made.cells), 'scenario')}, {counted(found.requests, 'request')}",
        f"stores {', '.join(stores) or 'none'}",
        f"{counted(len(found.breaches), 'breach', 'breaches')}" if found.breaches else "no breach",
    ]
    parts += [f"{number:,} not audited, {why}" for why, number in sorted(found.unaudited.items())]
    parts += [f"{number:,} that no manual promises: {who}" for who, number in sorted(found.relied_on.items())]
    return "; ".join(parts)


def _sum(images: Sequence[Image]) -> str:
    cells = [cell for made in images for cell in made.cells]
    found = total(cell.findings for cell in cells)
    left = Counter(made.unaudited for made in images if made.unaudited)
    audited = counted(sum(cell.is_audited for cell in cells), "cell")
    stores, breached = counted(sum(found.stores.values()), "store"), counted(len(broken(images)), "cell")
    parts = [
        f"{audited} audited, {counted(found.requests, 'request')}, {stores}: {breached} rule-broken",
        *([f"{counted(len(failed(images)), 'cell')} not audited, for they failed"] if failed(images) else ()),
        *(f"{counted(number, 'image')} not audited: {reason}" for reason, number in left.items()),
    ]
    return "\n".join(parts)


def document(images: Sequence[Image], version: str) -> dict[str, Any]:
    """The audit as JSON has it."""
    return {
        "schema": SCHEMA,
        "farm": version,
        "images": [
            {
                "variant": made.spec.variant.name,
                "mechanism": made.spec.mechanism,
                "toolchain": made.spec.toolchain,
                "patching": made.spec.made_by.at(made.spec.variant).patching,
                "unaudited": made.unaudited or None,
                "undecoded": made.undecoded,
            }
            for made in images
        ],
        "cells": [_cell(cell) for made in images for cell in made.cells],
    }


def _cell(cell: Audited) -> dict[str, Any]:
    found = cell.findings
    return {
        "cell": cell.cell,
        "verdict": cell.verdict,
        "reason": cell.reason,
        "audited": cell.is_audited,
        "requests": found.requests,
        "stores": found.stores,
        "relied_on": found.relied_on,
        "unaudited": found.unaudited,
        "breaches": found.breaches,
    }
