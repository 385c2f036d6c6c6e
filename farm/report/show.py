"""Everything recorded of one cell, in words."""

from __future__ import annotations

import fnmatch
import shlex
import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from farm.cell import SKIPPED, Cell, EngineName
from farm.errors import FarmError, UnknownNameError
from farm.guest import build, disassemble
from farm.prove import proofs_of
from farm.report.explain import code, expectation, first_differing, notes
from farm.report.text import line, printable
from farm.run import verdict
from farm.run.plan import PARTS, Plan, parts
from farm.run.verdict import Result
from farm.scenario import prose

if TYPE_CHECKING:
    from farm.run.journal import Run
    from farm.scenario import Scenario
    from farm.scenario.wire import Event

_CONTEXT = 12  # events that are shown before and behind the first difference
_SAME = "="
_HINT = " (-v shows them)"


def find(results: Sequence[Result], name: str, plan: Plan) -> list[Result]:
    """The results of the cells that ``name`` names, which may have globs, and the scenario's id in place of its name.

    Raises :class:`~farm.errors.UsageError` if it is no name of a cell.
    """
    patterns = parts(name)

    def named(cell: Cell) -> bool:
        values = [getattr(cell, part) for part in PARTS]
        scenario = plan.scenarios.get(cell.scenario)
        by_id = scenario is not None and fnmatch.fnmatchcase(scenario.id, patterns[-1])
        matches = [fnmatch.fnmatchcase(value, pattern) for value, pattern in zip(values, patterns, strict=True)]
        return all(matches[:-1]) and (matches[-1] or by_id)

    return [result for result in results if named(result.cell)]


def show(result: Result, plan: Plan, run: Run | None, width: int, *, whole: bool = False) -> Iterator[str]:
    """The lines about ``result``, of ``run`` if that is known, in ``width`` columns; the ``whole`` of long traces."""
    scenario = plan.scenarios.get(result.cell.scenario)
    yield f"{str(result.verdict).upper()}  {line(str(result.cell))}"
    if result.provisional:
        yield "  unfinished: its run was cut short before that was sure; farm run --resume runs it"
    if scenario:
        yield f"{scenario.id}  {line(scenario.title)}"
    if result.reason:
        yield from textwrap.indent(printable(result.reason), "  ").split("\n")
    if result.retried:
        yield f"  run twice; the first time: {line(result.retried)}"
    if scenario:
        yield ""
        yield "Steps"
        yield from (f"  {n:3}  {'  ' * level}{said}" for n, (level, said) in enumerate(prose.lines(scenario.steps)))
        yield f"  detects {', '.join(sorted(map(str, scenario.detects)))}{_blindness(result, scenario)}"
    else:
        yield f"  no scenario {line(result.cell.scenario)} is known here: give --scenario-path for steps and events"
    if result.verdict not in SKIPPED:
        yield ""
        yield from _events(result, plan, width, whole=whole)
        if result.code:
            yield ""
            yield from _code(result, plan)
        yield ""
        yield from _circumstances(result, plan, run)
    yield from _next(result, plan)


def _blindness(result: Result, scenario: Scenario) -> str:
    """What is said of an engine that could not have shown what the scenario detects; empty if it could."""
    if result.sensitive or result.verdict in SKIPPED:
        return ""
    proofs = " and ".join(proofs_of(scenario.detects))
    return f"; this engine is blind to all of that{f', which {proofs} can show, under Unicorn' if proofs else ''}"


def outcome(result: Result, plan: Plan, width: int, control: str | None) -> Iterator[str]:
    """Lines on a cell that was just run, with the bug ``control`` planted if that is named."""
    yield f"{str(result.verdict).upper()}  {line(str(result.cell))}" + (f" with {control}" if control else "")
    if result.reason:
        yield f"  {line(result.reason)}"
    if result.observed is None and result.trace is None:
        yield "Events: the guest did not live to tell any"
    else:
        yield from _events(result, plan, width, whole=False, hint="")
    if result.code:
        yield from _code(result, plan, control)


# Events.


def _events(result: Result, plan: Plan, width: int, *, whole: bool, hint: str = _HINT) -> Iterator[str]:
    expected = expectation(result, plan)[0]
    if result.observed is None and result.trace == result.expected and result.trace is not None:
        yield f"Events, {len(expected)}, all as expected (trace {result.trace})"
        yield from _pairs(expected, expected, width, whole=whole, hint=hint)
    elif result.observed is None:
        yield f"Events: none were recorded; {len(expected)} expected (trace {result.expected})"
        yield from _pairs(expected, None, width, whole=whole, hint=hint)
    else:
        yield f"Events: {len(expected)} expected, {len(result.observed)} seen"
        yield from _pairs(expected, result.observed, width, whole=whole, hint=hint)
        first = first_differing(expected, result.observed)
        want, have = (events[first] if first < len(events) else None for events in (expected, result.observed))
        yield from (f"       {note}" for note in notes(have, want))


def _pairs(
    expected: Sequence[Event], seen: Sequence[Event] | None, width: int, *, whole: bool, hint: str
) -> Iterator[str]:
    """Both traces, a line an event; the first that differs is marked; ``hint`` says how to see those left out."""
    rows = max(len(expected), len(seen or ()))
    want = [str(event) for event in expected] + ["nothing"] * (rows - len(expected))
    have = [_SAME] * rows
    if seen is None:
        have = [""] * rows
    elif seen is not expected:
        observed = [str(event) for event in seen] + ["nothing: the trace ends"] * (rows - len(seen))
        pairs = zip(expected, seen, strict=False)
        same = [a == b for a, b in pairs] + [False] * (rows - min(len(expected), len(seen)))
        have = [_SAME if equal else text for equal, text in zip(same, observed, strict=True)]
    first = next((n for n, text in enumerate(have) if text not in ("", _SAME)), None)
    half = max((width - 8) // 2, 30)
    if have != [""] * rows and have != [_SAME] * rows:
        yield f"       {'expected':<{half}} seen"
    start, end = (0, rows) if whole else _window(first, rows)
    if start:
        yield f"       ... {start} events, all as expected{hint}"
    for n in range(start, end):
        mark = ">>" if n == first else "  "
        left = textwrap.wrap(want[n], half - 1) or [""]
        right = textwrap.wrap(have[n], half - 1) or [""]
        for i in range(max(len(left), len(right))):
            number = f"{mark}{n:4} " if i == 0 else " " * 7
            columns = (side[i] if i < len(side) else "" for side in (left, right))
            yield number + "{:<{}} {}".format(next(columns), half, next(columns)).rstrip()
    if end < rows:
        yield f"       ... {rows - end} more events{hint}"


def _window(first: int | None, rows: int) -> tuple[int, int]:
    if first is None:
        return 0, min(rows, 2 * _CONTEXT)
    return max(0, first - _CONTEXT), min(rows, first + _CONTEXT + 1)


# Code.


def _code(result: Result, plan: Plan, control: str | None = None) -> Iterator[str]:
    yield "Code"
    yield from (f"  {text}" for text in disassemble.listing(code(result, plan, control)))


# The rest.


def _circumstances(result: Result, plan: Plan, run: Run | None) -> Iterator[str]:
    cell = result.cell
    engine = EngineName.of(cell.engine).engine
    yield "Run"
    if run:
        for name, what in ((engine, "engine"), (cell.toolchain, "toolchain")):
            yield f"  {what:<10} {line(name)} {line(run.versions.get(name, 'of unknown version'))}"
        yield f"  {'farm':<10} {line(run.farm)}, started {line(run.started)}, {line(run.host)}"
        yield f"  {'confined':<10} {line(run.confinement or 'not told')}"
    if result.began:
        began = datetime.fromtimestamp(result.began, UTC).isoformat(sep=" ", timespec="milliseconds")
        yield f"  {'began':<10} {began}"
    yield f"  {'took':<10} {1000 * result.seconds:.3f} ms"
    if result.instructions is not None:
        yield f"  {'executed':<10} {result.instructions:,} instructions"
    if result.image:
        yield f"  {'image':<10} sha256 {line(result.image)}"
        yield f"  {'':<10} {_where(result, plan)}"


def _where(result: Result, plan: Plan) -> str:
    """Path of the image of ``result``, or the reason why it is not there or not the same any more."""
    cell = result.cell
    variant = plan.variants.get(cell.variant)
    if variant is None:
        return "not looked for: its architecture is not known here (--arch-path)"
    for what, name, known in (
        ("mechanism", cell.mechanism, plan.mechanisms),
        (f"toolchain of {variant.name}", cell.toolchain, variant.toolchain),
    ):
        if name not in known:
            return f"not looked for: {line(str(UnknownNameError(what, name, known)))}"
    try:
        built = build.image(plan.spec(cell))
    except FarmError as error:
        return f"cannot be built now: {line(str(error))}"
    return built.path if built.sha256 == result.image else "not in the cache: the sources have changed since"


def _next(result: Result, plan: Plan) -> Iterator[str]:
    """Commands that go on from here."""
    if result.verdict in SKIPPED or result.image is None:
        commands = [result.reproduce] if result.reproduce else []
    else:
        options = plan.selection.path_options()
        name = shlex.quote(str(result.cell))
        again = result.reproduce or verdict.reproducer(result.cell, options)
        commands = [again, *(" ".join(filter(None, ("farm", verb, name, options))) for verb in ("trace", "debug"))]
    if commands:
        yield ""
        yield "Next"
        yield from (f"  {line(command)}" for command in commands)
