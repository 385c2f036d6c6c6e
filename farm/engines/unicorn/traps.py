"""Breakpoints of a guest that answers them: delivered as if by a call to its ``farm_breakpoint``.

A kernel makes a signal of a breakpoint; here is none.  What the guest does then is its own code, in both cases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from farm.engines.unicorn.machine import Machine

_HANDLER = "farm_breakpoint"  # of the guest: breakpoint.S of its architecture


class _Breakpoint(NamedTuple):
    """How a CPU tells of one, and what may be in use below its stack pointer."""

    trap: int  # number of the exception; the program counter is behind the instruction
    red_zone: dict[int, int]  # bytes, by word size


#: By Unicorn's module of constants.
_BREAKPOINTS = {"x86_const": _Breakpoint(3, {4: 0, 8: 128})}


def answer_breakpoints(machine: Machine) -> None:
    """Have the guest of ``machine`` answer its breakpoints, if it does."""
    handler = machine.image.functions.get(_HANDLER)
    kind = _BREAKPOINTS.get(machine.module)
    if handler is None or kind is None:
        return
    size = machine.image.word_size
    order: Literal["big", "little"] = "big" if machine.image.big_endian else "little"

    def take(number: int) -> bool:
        if number != kind.trap:
            return False
        at = machine.stack_pointer - kind.red_zone[size] - size
        machine.push(at, machine.pc.to_bytes(size, order))
        machine.pc = handler
        return True

    machine.on_trap(take)
