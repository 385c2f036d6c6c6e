"""A failing cell in words: what was done, what was expected, what was seen, and the patched code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from farm import disassemble, image, verdict, wire
from farm.errors import FarmError
from farm.plan import Plan
from farm.scenario import Call, Patch, walk
from farm.verdict import Result

_CONTEXT = 3  # events shown before the first difference


def explain(result: Result, plan: Plan, control: str | None = None) -> str:
    """Several lines about ``result``, which failed, on a guest with the bug ``control`` planted if that is named."""
    scenario = plan.scenarios.get(result.cell.scenario)
    title = f"{scenario.id} {scenario.title}" if scenario else result.cell.scenario
    lines = [f"{str(result.verdict).upper()} {result.cell}", f"  {title}", f"  {result.reason}"]
    if scenario and result.observed is not None:
        lines += _events(expectation(result, plan)[0], result.observed)
    if result.code:
        lines += [f"  {line}" for line in _code(result, plan, control)]
    if result.reproduce:
        lines.append(f"  reproduce: {result.reproduce}")
    return "\n".join(lines)


def expectation(result: Result, plan: Plan) -> tuple[tuple[wire.Event, ...], str]:
    """The events that the model says the cell leaves, and their digest; nothing of a scenario that is not there."""
    scenario = plan.scenarios.get(result.cell.scenario)
    if scenario is None:
        return (), ""
    events, _, digest = verdict.expected(scenario, _features(result, plan), big_endian=False)
    return events, digest


def first_difference(expected: Sequence[wire.Event], seen: Sequence[wire.Event]) -> int:
    """The number of the first event that differs; if none does, that of the first that either has not."""
    pairs = enumerate(zip(expected, seen, strict=False))
    return next((i for i, (want, have) in pairs if want != have), min(len(expected), len(seen)))


@dataclass
class Block:
    """Some lines of patched code under a title."""

    title: str
    lines: list[tuple[bool, str]] = field(default_factory=list)  #: whether it is marked as changed, and the line


def code(result: Result, plan: Plan) -> list[Block]:
    """The patched code of ``result`` before and after, as :func:`explain` has it."""
    blocks: list[Block] = []
    for line in _code(result, plan, None):
        if blocks and line.startswith(("    ", "  > ")):
            blocks[-1].lines.append((line.startswith("  > "), line[4:]))
        else:
            blocks.append(Block(line.strip()))
    return blocks


def outcome(result: Result, plan: Plan) -> str:
    """What a cell that passed returned, in a few words: the last value by function and target, outside of loops."""
    entered: dict[int, int] = {}  # by function
    values: dict[int, int] = {}  # by target
    for event in expectation(result, plan)[0]:
        if event.kind == "enter":
            entered[event.target >> 8] = event.target
        elif event.kind == "return" and event.target >> 8 in entered:
            values[entered[event.target >> 8]] = event.value
    return ", ".join(f"{wire.target_name(target)} {value:#x}" for target, value in sorted(values.items()))


def _features(result: Result, plan: Plan) -> frozenset[str]:
    variant = plan.variants.get(result.cell.variant)
    return variant.features(result.cell.engine) if variant else frozenset()


def _events(expected: Sequence[wire.Event], seen: Sequence[wire.Event]) -> list[str]:
    first = first_difference(expected, seen)
    lines = ["  events, up to the first that differs:"]
    lines += [f"      {event}" for event in seen[max(0, first - _CONTEXT) : first]]
    lines.append(f"    - {expected[first] if first < len(expected) else 'nothing'}    (expected)")
    lines.append(f"    + {seen[first] if first < len(seen) else 'nothing'}    (seen)")
    return lines


def _code(result: Result, plan: Plan, control: str | None) -> list[str]:
    cell = result.cell
    variant = plan.variants.get(cell.variant)
    if variant is None or result.code is None:
        return []
    try:
        built = image.build(image.Spec(variant, cell.mechanism, cell.toolchain, control))
    except FarmError as error:
        return [f"no disassembly: {error}"]
    after = bytes.fromhex(result.code.after) if result.code.after is not None else None
    before = bytes.fromhex(result.code.before)
    return disassemble.patched(built, variant, before, after, focus=_focus(result, plan))


def _focus(result: Result, plan: Plan) -> int | None:
    """The function that the first differing event is about, or else the first that the scenario names."""
    scenario = plan.scenarios.get(result.cell.scenario)
    if scenario is None:
        return None
    pairs = zip(expectation(result, plan)[0], result.observed or (), strict=False)
    target = next((want.target for want, have in pairs if want != have), wire.NO_TARGET)
    if target != wire.NO_TARGET:
        return target >> 8
    return next((step.function for step in walk(scenario.steps) if isinstance(step, (Call, Patch))), None)
