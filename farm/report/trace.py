"""A cell's trace for a terminal or a log: a line an instruction, what it stores beneath it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from farm.measure.instructions import Encoded, Folded, Instruction, Item, Protected, Store, Trace
from farm.scenario import Scenario, prose
from farm.text import counted

_FUNCTIONS = 6  # named of a folded stretch
_INDENT = " " * 6


def render(trace: Trace, scenario: Scenario, *, whole: bool = False) -> Iterator[str]:
    """The lines of ``trace``; with ``whole``, stores to the stack too."""
    recording = trace.recording
    yield f"{trace.cell}, as {recording.engine} executes it: {counted(recording.count, 'instruction')}"
    if recording.note:
        yield recording.note
    if len(recording.executed) < recording.count:
        yield f"only the first {len(recording.executed):,} are recorded"
    if not whole:
        yield "what belongs to the test (interpreter, probes, targets' bodies) and loops are folded: --all shows them"
    step_lines = [f"{'  ' * level}{text}" for level, text in prose.lines(scenario.steps)]
    step = source = None
    for item in trace.items:
        if item.step != step:
            step = item.step
            has_words = step is not None and step < len(step_lines)
            yield ""
            yield f"step {step}: {step_lines[step].strip()}" if step is not None and has_words else f"step {step}"
        if isinstance(item, Instruction):
            yield _instruction(item, item.source if item.source != source else "")
            source = item.source
            yield from _stores(item, whole=whole)
        else:
            yield f"{_INDENT}{_other(item)}"
    if trace.more:
        yield ""
        yield f"there is more: --limit N{'' if step is None else f', or --from {step} for what begins with this step'}"


def style(line: str) -> str | None:
    """The terminal style of a line of :func:`render`; None for plain."""
    if line.startswith("step "):
        return "bold"
    if "=> STORES INTO CODE" in line:
        return "bold red"
    return "yellow" if "=> PROTECTION" in line or " makes 0x" in line else None


def _instruction(item: Instruction, source: str) -> str:
    line = f"  {item.address:#10x}  {item.symbol:<26} {item.bytes or '?':<16} {item.text}"
    return f"{line:<96}  {_brief(source)}".rstrip()


def _brief(source: str) -> str:
    return PurePosixPath(source).name


def _stores(item: Instruction, *, whole: bool) -> Iterator[str]:
    for store in item.stores:
        if store.into_code:
            yield from _code_store(store)
        elif whole or store.symbol != "stack":
            yield (
                f"{_INDENT}=> stores {_size(store)} at {store.address:#x} ({store.symbol}): "
                f"{store.before} -> {store.after}"
            )


def _code_store(store: Store) -> Iterator[str]:
    yield (
        f"{_INDENT}=> STORES INTO CODE, {_size(store)} at {store.address:#x} ({store.symbol}): "
        f"{store.before} -> {store.after}"
    )
    yield from (f"{_INDENT}     was  {line}" for line in store.was)
    yield from (f"{_INDENT}     now  {line}" for line in store.now)


def _size(store: Store) -> str:
    return counted(len(store.after) // 2, "byte")


def _other(item: Item) -> str:
    if isinstance(item, Protected):
        return f"=> PROTECTION of {item.size:,} bytes of text at {item.address:#x}: {item.permissions}"
    if isinstance(item, Encoded):
        return f"=> {item.function} makes {item.word:#010x}" + (f", {item.text}" if item.text else "")
    if isinstance(item, Folded):
        functions = ", ".join(item.functions[:_FUNCTIONS]) + (", ..." if len(item.functions) > _FUNCTIONS else "")
        stores = f", which store {item.code_stores} times into code" if item.code_stores else ""
        return f"... {counted(item.instructions, 'instruction')} in {functions}{stores}"
    assert not isinstance(item, Instruction)
    return f"... {item.times} x the same {counted(item.instructions, 'instruction')}"
