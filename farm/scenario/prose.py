"""Words: a scenario's steps, a line a step in the order of their numbers, and the events of a trace."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from farm.scenario.functions import FUNCTIONS, Status, Target
from farm.scenario.layout import ANSWERED, NO_SITES, NO_TARGET, TEXT_FAULTS, VIOLATIONS
from farm.scenario.steps import Step, substeps

if TYPE_CHECKING:
    from farm.scenario.wire import Event


def lines(steps: Iterable[Step], level: int = 0) -> Iterator[tuple[int, str]]:
    """Level of nesting and sentence of each step; the n-th line is step n of a trace."""
    for step in steps:
        yield level, step.sentence()
        if inside := substeps(step):
            yield from lines(inside, level + 1)


# Events.

#: Meanings of an event's values, from 0 on.
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
    """Meaning of ``value`` in an event of this kind; empty for a 0 that means nothing."""
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
    """Names of the bits of ``value``, then in one hexadecimal number the bits without a name."""
    unnamed = value & ~sum(bits.values())
    return [name for name, bit in bits.items() if value & bit] + ([f"{unnamed:#x}"] if unnamed else [])


def _left_behind(sites: int) -> str:
    """``3 call sites left behind`` for the value of a ``sites`` event."""
    if sites == NO_SITES:
        return "no call site was found in the image"
    return f"{sites} call sites left behind" if sites else "every call site follows"


def violations(event: Event) -> list[str]:
    """Subjects of the bits of ``event.abi``: ``callee-saved register 3``, ``red-zone``."""
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
