"""Data for the script in ``report.html``: every cell as a few numbers, and what each number stands for, once.

Cells are columns of integers; each integer is a place in a table (of scenarios, of guests under an engine, of texts).
So a cell takes some 20 bytes, and everything about it can still be shown: its scenario's steps and expected trace
are in a table too.  What is a cell's own, the trace it left and its patched code, is there for those that are not as
expected, up to :data:`PAGES` of them and :data:`ROOM` bytes; ``results.jsonl`` has the others'.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from farm.cell import FAILED, PASSED, SKIPPED, Cell, Verdict
from farm.prove import proofs_of
from farm.report import Material, by_verdict, explain, number_of, witnesses
from farm.report.grid import MARKS
from farm.run.plan import Plan
from farm.run.verdict import Result, reproducer
from farm.scenario import Scenario, prose

PAGES = 300
ROOM = 600_000  # bytes
_LONGEST = 2000  # characters of a reason; a compiler may have more to say
_GOOD = PASSED | SKIPPED  #: verdicts of cells without a page of their own
_WHICH = re.compile(r"\b(?:event|step) \d+: ")

#: Look of each verdict; each look has a colour and a texture.
LOOKS = {
    **dict.fromkeys(FAILED, "fail"),
    Verdict.PASS: "pass",
    Verdict.PASS_INSENSITIVE: "weak",
    Verdict.NOT_APPLICABLE: "hole",
    Verdict.NOT_RUN: "missing",
    Verdict.XFAIL: "known",
    Verdict.FLAKY: "flaky",
    Verdict.ENGINE_ERROR: "error",
}


class Table(dict[Any, int]):
    """Numbers things in the order in which they come."""

    def __missing__(self, key: Any) -> int:
        self[key] = len(self)
        return self[key]

    def numbers(self, things: Iterable[Any]) -> list[int]:
        """The number of each of ``things``; quicker than one by one, as most of them are new."""
        return [self.setdefault(thing, len(self)) for thing in things]

    @classmethod
    def of(cls, things: Iterable[Any]) -> Table:
        """``things``, numbered."""
        return cls((thing, number) for number, thing in enumerate(things))


def mark(verdict: Verdict) -> str:
    """The mark of a verdict, one character."""
    return MARKS[verdict].partition(" ")[0]


def embedded(material: Material) -> bytes:
    """:func:`payload` as JSON, escaped so that it cannot close its ``<script>``."""
    text = msgspec.json.encode(payload(material))
    for character in "<>&\u2028\u2029":
        text = text.replace(character.encode(), f"\\u{ord(character):04x}".encode())
    return text


def payload(material: Material) -> dict[str, Any]:
    """The document; ``report.js`` is the one that reads it."""
    results, plan = material.results, material.plan
    texts, guests, digests = Table(), Table(), Table.of([None])
    present = {result.cell.scenario for result in results}
    scenarios = Table.of([*(name for name in plan.scenarios if name in present), *sorted(present - {*plan.scenarios})])
    verdicts = Table.of(Verdict)
    columns = {
        "scenario": [scenarios[result.cell.scenario] for result in results],
        "guest": [
            guests[cell.variant, cell.mechanism, cell.toolchain, cell.engine, result.image]
            for result in results
            for cell in (result.cell,)
        ],
        "verdict": [verdicts[result.verdict] for result in results],
        "reason": [texts[cut(result.reason or "")] for result in results],
        "trace": [digests[result.trace] for result in results],
        "expected": [digests[result.expected] for result in results],
        "micros": [round(result.seconds * 1e6) for result in results],
    }
    retried = {number: texts[cut(result.retried)] for number, result in enumerate(results) if result.retried}
    headlines = {texts[text]: texts[kind] for text in list(texts) if (kind := headline(text)) != text}
    options = plan.selection.path_options()
    document = {
        "cells": columns,
        "guests": list(guests),
        "digests": list(digests),
        "verdicts": [(str(verdict), mark(verdict), LOOKS[verdict]) for verdict in Verdict],
        "architectures": {name: variant.architecture for name, variant in plan.variants.items()},
        "scenarios": _scenarios(scenarios, results, plan, texts),
        "pages": _pages(results, plan, texts),
        "retried": retried,
        "headlines": headlines,
        "command": reproducer(_ANY_CELL, options),
        "commands": _other_commands(results, options),
        "versions": material.run.versions,
        "bad": len(results) - number_of(by_verdict(results), _GOOD),
    }
    return {**document, "texts": list(texts)}


def cut(text: str) -> str:
    """``text``, or as much of it as the report holds."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} [...] results.jsonl has the rest"


def headline(reason: str) -> str:
    """The part that reasons of one kind share: the first line without the number of its event or step."""
    return _WHICH.sub("", cut(reason).partition("\n")[0])


def _scenarios(names: Iterable[str], results: Sequence[Result], plan: Plan, texts: Table) -> list[dict[str, Any]]:
    """Facts of each scenario: its steps in words, and every trace that is expected of it, by digest."""
    kinds: dict[tuple[str, str | None], Result] = {}
    for result in results:
        kinds.setdefault((result.cell.scenario, result.expected), result)
    traces: dict[str, dict[str, list[int]]] = {}
    for (name, digest), result in kinds.items():
        if name in plan.scenarios:
            events, predicted = explain.expectation(result, plan)
            if digest in (None, predicted):
                traces.setdefault(name, {})[predicted] = texts.numbers(map(prose.event, events))
    able = witnesses(results)
    return [
        _described(plan.scenarios[name], traces.get(name, {}), able.get(name, []), texts)
        if name in plan.scenarios
        else {"name": name}
        for name in names
    ]


def _described(scenario: Scenario, traces: dict[str, list[int]], engines: list[str], texts: Table) -> dict[str, Any]:
    steps = list(prose.lines(scenario.steps))
    return {
        "name": scenario.name,
        "id": scenario.id,
        "title": scenario.title,
        "group": Scenario.GROUPS[scenario.id.partition("-")[0]],
        "tags": sorted(scenario.tags),
        "detects": sorted(map(str, scenario.detects)),
        "shown_by": [*engines, *proofs_of(scenario.detects)],
        "steps": list(zip((level for level, _ in steps), texts.numbers(text for _, text in steps), strict=True)),
        "traces": traces,
    }


# What is a cell's own.


def _wants_page(result: Result) -> bool:
    return result.verdict not in _GOOD


def _pages(results: Sequence[Result], plan: Plan, texts: Table) -> dict[int, dict[str, Any]]:
    """Trace and code by the cell's number: first one cell of each scenario and variant, then the others in order."""
    bad = [number for number, result in enumerate(results) if _wants_page(result)]
    first: dict[tuple[str, str], int] = {}
    for number in bad:
        first.setdefault((results[number].cell.scenario, results[number].cell.variant), number)
    chosen = dict.fromkeys([*first.values(), *bad])
    pages: dict[int, dict[str, Any]] = {}
    room = ROOM
    for number in list(chosen)[:PAGES]:
        texts_before = len(texts)
        page = _page(results[number], plan, texts)
        room -= len(msgspec.json.encode(page)) + sum(len(text) + 3 for text in list(texts)[texts_before:])
        if room < 0:
            break
        pages[number] = page
    return pages


def _page(result: Result, plan: Plan, texts: Table) -> dict[str, Any]:
    page: dict[str, Any] = {}
    if result.observed is not None:
        page["seen"] = [texts[str(event)] for event in result.observed]
        expected, _ = explain.expectation(result, plan)
        if expected and tuple(result.observed) != expected:
            first = page["differs"] = explain.first_differing(expected, result.observed)
            if first < len(result.observed):
                want = expected[first] if first < len(expected) else None
                page["notes"] = [texts[note] for note in explain.notes(result.observed[first], want)]
    if result.code:
        page["code"] = [
            (block.title, [(int(changed), texts[line]) for changed, line in block.lines])
            for block in explain.code(result, plan)
        ]
    return page


# The commands that run one cell again.

#: A cell with ``{field}`` placeholders, where ``report.js`` puts the values.
_ANY_CELL = Cell(**{name: f"{{{name}}}" for name in Cell.__struct_fields__})


def _other_commands(results: Sequence[Result], options: str) -> dict[int, str]:
    """The commands that need other ``options``, as those of another checkout's run do, by the cell's number."""
    differing = (
        (number, cut(result.reproduce))
        for number, result in enumerate(results)
        if result.reproduce and result.reproduce != reproducer(result.cell, options)
    )
    return dict(itertools.islice(differing, PAGES))
