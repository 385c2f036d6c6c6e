"""Words: a scenario's steps, a line a step in the order of their numbers, and the events of a trace."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from farm.scenario import (
    FUNCTIONS,
    WORK,
    Address,
    Call,
    Code,
    FailPoke,
    Interrupted,
    Kind,
    Load,
    LockText,
    Loop,
    Output,
    Patch,
    Protection,
    Query,
    Restore,
    Scribble,
    Shape,
    Sites,
    Status,
    Step,
    Tamper,
    Target,
    Unload,
    substeps,
)
from farm.scenario.layout import ANSWERED, NO_SITES, NO_TARGET, TEXT_FAULTS, VIOLATIONS

if TYPE_CHECKING:
    from farm.scenario.wire import Event

_TARGETS = {
    Target.DEFAULT: "its default",
    Target.FAST: "fast",
    Target.OTHER: "other",
    Target.FAR: "far, which no near branch reaches",
    Target.NULL: "nowhere (NULL)",
    Target.RET0: "a return of 0 (RET0)",
    Target.STUB: "itself",
    Target.DATA: "data, which is no code",
    Target.MISALIGNED: "the middle of an instruction",
    Target.HALFWAY: "an address between two that functions may have",
    Target.END: "the first address behind the text",
    Target.FAR_END: "the first address behind the far text",
    Target.ZERO: "address 0",
    Target.NEXT: "the next patchable function",
    Target.BEST: "the best target for this CPU",
}

_SHAPES = {
    Shape.USED: "and use the value",
    Shape.IGNORED: "and ignore the value",
    Shape.TAIL: "as a tail call",
    Shape.LOOPED: "in a loop, {times}",
    Shape.POINTER: "through its address",
    Shape.BARE: "from asm, with hidden registers, flags and red zone in use",
    Shape.CALLBACK: "through an iterator that has its address, {times}",
    Shape.COUNTED: "and count how often the argument is evaluated",
    Shape.CONDITIONAL: "if the argument is odd",
    Shape.MODULE: "from the module",
    Shape.TWICE: "at two sites side by side, the second with one more",
    Shape.RECURSIVE: "through a target that calls it again, {levels} deep",
}


def lines(steps: Iterable[Step], level: int = 0) -> Iterator[tuple[int, str]]:
    """How deep each step is nested, and what it does; the n-th line is step n of a trace."""
    for step in steps:
        yield level, sentence(step)
        yield from lines(substeps(step), level + 1)


def sentence(step: Step) -> str:
    """``Lead whatever_0 to fast``; what is nested in the step follows as lines of its own."""
    match step:
        case Call():
            return _call(step)
        case Patch():
            off = f", {_many(step.offset, 'byte')} past its beginning" if step.offset else ""
            return f"Lead {_function(step.function)} to {_TARGETS[step.target]}{off}"
        case Restore():
            return f"Restore {_function(step.function)}"
        case Query():
            return f"Ask which target {_function(step.function)} reaches"
        case Code():
            whose = "every patchable function" if step.function is None else _function(step.function)
            return f"Compare the patched bytes of {whose} with those of the linked image"
        case Sites():
            return f"Look whether every call site of {_function(step.function)} leads to {_TARGETS[step.target]}"
        case Scribble():
            return f"Overwrite the patched instruction of {_function(step.function)} as another tool would"
        case Tamper():
            return f"Change {_function(step.function)} and its call sites bit by bit, with a request each time"
        case LockText():
            return "Let no text be opened for writing" if step.locked else "Let text be opened for writing again"
        case FailPoke():
            return f"Make store {step.number} to code from now fail, once" if step.number else "Let no store fail"
        case Interrupted():
            return (
                f"Lead {_function(step.function)} to {_TARGETS[step.target]}; in the middle of that, ask to lead "
                f"{_function(step.other)} to {_TARGETS[step.elsewhere]}"
            )
        case Protection():
            return "Ask the memory whether text can be read and executed, and none written"
        case Load():
            return "Load the module"
        case Unload():
            return "Unload the module"
        case Loop():
            return f"Repeat {_many(step.count, 'time')}:"
        case Address():
            return f"Compare the addresses of {_function(step.function)} that several translation units have"
        case Output():
            return "Take the digest of what chacha20 has written"


def _function(number: int) -> str:
    return f"whatever_{number}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _number(x: int) -> str:
    return str(x) if x < 1 << 16 else f"{x:#x}"


def _call(step: Call) -> str:
    kind = FUNCTIONS[step.function]
    operand = f"({_piece(kind, step.x)})" if kind in WORK else f"({_number(step.x)})"
    how = _SHAPES[step.shape].format(times=_many(step.count, "time"), levels=_many(step.count, "level"))
    parts = [f"Call {_function(step.function)}{operand} {how}"]
    if step.stride:
        parts.append(f"with {_number(step.stride)} more in each iteration")
    if step.inside:
        where = f"inside the target, {_many(step.at, 'level')} down" if step.at else "inside the target"
        parts.append(f"{where}:")
    return ", ".join(parts)


def _piece(kind: Kind, x: int) -> str:
    """``x`` of a CRC or CHACHA call (:func:`farm.scenario.piece`)."""
    name = "crc_t10dif" if kind is Kind.CRC else "chacha20"
    words = [f"{name} of {_many(x & 0xFFFF, 'byte')} from {x >> 16 & 0xFFFF}"]
    words += [text for bit, text in ((32, "going on"), (33, "in place"), (34, "at the counter's end")) if x >> bit & 1]
    return ", ".join(words)


# Events.

#: What the values from 0 on of an event mean.
_VALUES = {
    "code": ("pristine", "changed"),
    "lock": ("unlocked", "locked"),
    "address": ("the same everywhere", "not the same everywhere"),
    "load": ("done", "failed"),
}


def event(seen: Event) -> str:
    """``seen`` in words, which are those of no other event."""
    kind, step, target, arguments, _, stack, abi, depth = seen
    words = f"step {step}: {kind} {target_name(target)}"
    if kind == "enter":
        words += f", arguments {arguments:#010x}"
    elif kind in ("output", "loop"):
        words += f", {arguments} {'bytes' if kind == 'output' else 'events'}"
    elif arguments:
        words += f", arguments {arguments:#x}"
    if value := _value(seen):
        words += f", {value}"
    if stack:
        words += f", stack {stack:+d}"
    if abi:
        words += f", ABI violations {abi:#x}"
    if depth:
        words += f", depth {depth}"
    return words


def _value(event: Event) -> str:
    """What ``value`` means in an event of this kind; nothing for a 0 that means nothing."""
    if event.kind == "enter":
        return f"{event.value} bytes accelerated" if event.value else ""
    if event.kind in ANSWERED:
        return status_name(event.value)
    if event.kind in ("output", "loop"):
        return f"digest {event.value:#x}"
    if event.kind == "sites":
        return _left_behind(event.value)
    if event.kind == "tamper":
        return f"byte {event.value - 1} may be changed unnoticed" if event.value else "every change is refused"
    if event.kind == "protection":
        return "text " + (", ".join(_names(TEXT_FAULTS, event.value)) or "as it must be")
    if event.value < len(named := _VALUES.get(event.kind, ())):
        return named[event.value]
    return f"value {event.value:#x}" if event.value or event.kind == "return" else ""


@functools.lru_cache(maxsize=1024)
def target_name(word: int) -> str:
    """``whatever_0 -> fast`` for an event's target word."""
    if word == NO_TARGET:
        return "nothing"
    function, number = word >> 8, word & 0xFF
    if function >= len(FUNCTIONS):
        return f"unknown target {word:#x}"
    try:
        return f"whatever_{function} -> {Target(number).name.lower()}"
    except ValueError:
        return f"whatever_{function}" if number == 0xFF else f"whatever_{function} -> unknown {number:#x}"


@functools.lru_cache(maxsize=64)
def status_name(value: int) -> str:
    """``bad-target`` for what a request answered."""
    try:
        return Status(value).name.lower().replace("_", "-")
    except ValueError:
        return f"status {value}"


def _names(bits: dict[str, int], value: int) -> list[str]:
    """What the bits of ``value`` are called; of those that have no name, their number."""
    unnamed = value & ~sum(bits.values())
    return [name for name, bit in bits.items() if value & bit] + ([f"{unnamed:#x}"] if unnamed else [])


def _left_behind(sites: int) -> str:
    """``3 call sites left behind`` for the value of a ``sites`` event."""
    if sites == NO_SITES:
        return "no call site was found in the image"
    return f"{sites} call sites left behind" if sites else "every call site follows"


def violations(event: Event) -> list[str]:
    """What the bits of ``event.abi`` are about: ``callee-saved register 3``, ``red-zone``."""
    registers = ("callee-saved register", 18) if event.kind == "return" else ("argument", 16)
    hidden, names = VIOLATIONS["hidden"], {bit: name for name, bit in VIOLATIONS.items()}
    words = []
    for bit in (bit for bit in range(32) if event.abi >> bit & 1):
        if bit < registers[1]:
            words.append(f"{registers[0]} {bit}")
        elif hidden <= bit < VIOLATIONS["kept-floats"]:
            words.append(f"hidden register {bit - hidden}")
        else:
            words.append(names.get(bit, f"bit {bit}"))
    return words
