"""A failing cell in words: what was done, what was expected, what was seen, and the patched code."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from farm.errors import FarmError, UsageError
from farm.guest import build, disassemble, image
from farm.guest.disassemble import Block
from farm.guest.mechanisms import Mechanism
from farm.guest.variant import Variant
from farm.report import second_attempt
from farm.report.text import indented, line, printable
from farm.run import verdict
from farm.run.plan import Plan
from farm.run.verdict import Result
from farm.scenario import REFUSALS, Call, Patch, Status, layout, prose, walk, wire

_CONTEXT = 3  # events shown before the first difference


def explain(result: Result, plan: Plan, control: str | None = None) -> str:
    """Several lines about ``result``, which failed, on a guest with the bug ``control`` planted if that is named."""
    scenario = plan.scenarios.get(result.cell.scenario)
    title = f"{scenario.id} {scenario.title}" if scenario else result.cell.scenario
    lines = [line(f"{str(result.verdict).upper()} {result.cell}"), f"  {line(title)}"]
    expected = expectation(result, plan)[0]
    seen = result.observed
    differs = scenario is not None and seen is not None and tuple(seen) != expected
    if result.reason and not (differs and result.reason == verdict.first_difference(expected, seen or ())):
        lines += indented(result.reason, "  ")  # the events say it otherwise
    if result.retried:
        lines += indented(second_attempt(result), "  ")
    if differs:
        lines += _events(expected, seen or ())
    if result.code:
        lines += [f"  {text}" for text in disassemble.listing(code(result, plan, control))]
    if result.reproduce:
        lines.append(f"  reproduce: {line(result.reproduce)}")
    return printable("\n".join(lines))


def expectation(result: Result, plan: Plan) -> tuple[tuple[wire.Event, ...], str]:
    """The events that the model says the cell leaves, and their digest; nothing of a scenario that is not there."""
    scenario = plan.scenarios.get(result.cell.scenario)
    if scenario is None:
        return (), ""
    events, _, digest = verdict.expected(scenario, _features(result, plan), big_endian=False)
    return events, digest


def first_differing(expected: Sequence[wire.Event], seen: Sequence[wire.Event]) -> int:
    """The number of the first event that differs; if none does, that of the first that either has not."""
    pairs = enumerate(zip(expected, seen, strict=False))
    return next((i for i, (want, have) in pairs if want != have), min(len(expected), len(seen)))


def outcome(result: Result, plan: Plan) -> str:
    """The values that a passed cell returned, in a few words: the last by function and target, outside of loops."""
    entered: dict[int, int] = {}  # by function
    values: dict[int, int] = {}  # by target
    for event in expectation(result, plan)[0]:
        if event.kind == "enter":
            entered[event.target >> 8] = event.target
        elif event.kind == "return" and event.target >> 8 in entered:
            values[entered[event.target >> 8]] = event.value
    return ", ".join(f"{prose.target_name(target)} {value:#x}" for target, value in sorted(values.items()))


def _features(result: Result, plan: Plan) -> frozenset[str]:
    variant = plan.variants.get(result.cell.variant)
    return variant.features(result.cell.engine) if variant else frozenset()


def _events(expected: Sequence[wire.Event], seen: Sequence[wire.Event]) -> list[str]:
    first = first_differing(expected, seen)
    want = expected[first] if first < len(expected) else None
    have = seen[first] if first < len(seen) else None
    lines = [f"  event {first} of {len(expected)} is the first that differs:"]
    lines += [f"      {event}" for event in seen[max(0, first - _CONTEXT) : first]]
    lines.append(f"    - {want or 'nothing more'}    (expected)")
    lines.append(f"    + {have or 'nothing: the trace ends'}    (seen)")
    return lines + [f"  {note}" for note in notes(have, want)]


def notes(have: wire.Event | None, want: wire.Event | None) -> list[str]:
    """The short codes in ``have`` put into words, those alone in which ``want`` differs."""
    lines: list[str] = []
    if have is None:
        return lines
    if have.kind in layout.ANSWERED and (want is None or have.value != want.value):
        meaning = REFUSALS.get(Status(have.value)) if have.value in set(Status) else None
        lines += [f"{prose.status_name(have.value)}: {meaning}"] if meaning else []
    if have.abi and (want is None or have.abi != want.abi):
        lines.append(f"ABI violations {have.abi:#x}: {', '.join(prose.violations(have))}")
    return lines


def code(result: Result, plan: Plan, control: str | None = None) -> list[Block]:
    """The patched code before and after; with names if the guest that ran is here, or can be made."""
    cell, recorded = result.cell, result.code
    assert recorded
    variant = plan.variants.get(cell.variant)
    if variant is None:
        why = f"{line(cell.variant)} is none of the variants here; --arch-path names its folder"
        return [Block(f"no disassembly: {why}")]
    try:
        before = bytes.fromhex(recorded.before)
        after = bytes.fromhex(recorded.after) if recorded.after is not None else None
    except ValueError:
        return [Block("no disassembly: what is recorded of the code is not hexadecimal")]
    described = plan.mechanisms.get(cell.mechanism)
    built = _image(variant, described, (cell.mechanism, cell.toolchain), control)
    why = ""
    if isinstance(built, FarmError):
        why = f"its guest cannot be built here: {line(str(built).partition(chr(10))[0])}"
    elif result.image not in (None, built.sha256):
        why = "the sources here make another guest than the one that ran"
    guest = None if why or isinstance(built, FarmError) else built
    focus = _focus(result, plan)
    blocks = disassemble.patched(variant, described, recorded.address, before, after, image=guest, focus=focus)
    return [Block(f"code without names, for {why}"), *blocks] if why else blocks


@functools.lru_cache(maxsize=256)
def _image(
    variant: Variant, mechanism: Mechanism | None, named: tuple[str, str], control: str | None
) -> image.Image | FarmError:
    """The guest of the mechanism and toolchain ``named``, or why there is none; a report asks once a failure."""
    if mechanism is None or named[1] not in variant.toolchain:
        return UsageError(f"{variant.name} has no {named[0]} built by {named[1]}")
    try:
        return build.image(image.Spec.of(variant, mechanism, named[1], control))
    except FarmError as error:
        return error


def _focus(result: Result, plan: Plan) -> int | None:
    """The function that the first differing event is about, or else the first that the scenario names."""
    scenario = plan.scenarios.get(result.cell.scenario)
    if scenario is None:
        return None
    pairs = zip(expectation(result, plan)[0], result.observed or (), strict=False)
    target = next((want.target for want, have in pairs if want != have), layout.NO_TARGET)
    if target != layout.NO_TARGET:
        return target >> 8
    return next((step.function for step in walk(scenario.steps) if isinstance(step, (Call, Patch))), None)
