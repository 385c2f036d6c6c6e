"""The watch over a guest's code: stores to it, and what makes it fetched (:class:`~farm.engines.Watch`).

Unlike the recorder (:mod:`farm.engines.unicorn.recorder`) it looks at a few addresses alone, so a guest runs nearly as
fast as without it; and it stays with its machine, which runs program after program.  A store through a second mapping
is noted as one to the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import unicorn.unicorn_const as uc_const

from farm.engines import Note, Noted

if TYPE_CHECKING:
    from collections.abc import Callable

    from farm.engines import Watch
    from farm.engines.unicorn.machine import Machine

_ALL = (1 << 64) - 1


class Watcher:
    """Notes of what a machine does, as ``watch`` wants them; with ``ends``, its run ends where they do.

    Only on a machine that has run nothing yet: code that is translated already calls no hook.
    """

    def __init__(self, machine: Machine, watch: Watch, *, ends: bool = False) -> None:
        self._machine = machine
        self._notes: list[Note] = []
        self._most, self._pcs = watch.most, watch.pcs
        self._ends = ends
        self._is_cut = False  # what comes is not wanted any more
        self._begun = 0  # things that do not lie within one another
        self._depth: list[int] = []  # stack pointers of those that are under way
        self._pending: tuple[int, bytes, int] | None = None  # the last store, whose bytes are not in memory yet
        self._highest = machine.highest
        self._operands = [
            (tuple(machine.register(name) for name in watched.registers), watched.constant)
            for watched in watch.instructions
        ]
        add = machine.uc.hook_add
        alias = machine.alias
        for start, end in watch.stores:
            add(uc_const.UC_HOOK_MEM_WRITE, self._on_store, None, start, end - 1)
            first, last = max(start, alias.first.start), min(end, alias.first.stop) - 1
            if first <= last:
                add(uc_const.UC_HOOK_MEM_WRITE, self._on_store, None, first + alias.distance, last + alias.distance)
        for number, watched in enumerate(watch.instructions):
            self._on_code(watched.address, self._on_instruction, number)
        for kind, addresses in ((Noted.BEGIN, watch.begins), (Noted.END, watch.ends), (Noted.ENTRY, watch.entries)):
            for address in addresses:
                self._on_code(address, self._on_function, kind)

    def _on_code(self, address: int, told: Callable[..., None], data: object) -> None:
        """Have ``told`` be called at ``address``; it may be in the upper half of memory (``machine.py``)."""
        highest = self._highest
        for at in dict.fromkeys((address, address | ~highest & _ALL if address > highest >> 1 else address)):
            self._machine.uc.hook_add(uc_const.UC_HOOK_CODE, told, data, at, at)

    def take(self) -> list[Note]:
        """The notes of the program that has run."""
        self._settle()
        if self._is_cut:
            self._notes.append(Note(Noted.CUT, 0, self._begun - self._most))
        notes, self._notes = self._notes, []
        self._begun, self._depth, self._is_cut = 0, [], False
        return notes

    def on_protection(self, start: int, size: int, permissions: int) -> None:
        self._note(Note(Noted.PROTECTION, start, size, bytes([permissions])))

    def on_kernel(self, start: int, size: int) -> None:
        self._note(Note(Noted.KERNEL, self._machine.alias.origin(start), size))

    def _note(self, note: Note) -> None:
        if not self._is_cut:
            self._settle()
            self._notes.append(note)

    def _on_store(self, uc: Any, access: int, address: int, size: int, value: int, user_data: object) -> None:
        del uc, access, value, user_data
        if self._is_cut:
            return
        if self._pending:
            self._settle()
        machine = self._machine
        self._pending = (address, machine.read(address, size), machine.pc if self._pcs else 0)

    def _settle(self) -> None:
        """Note the last store: the value that a hook is told comes in an order that differs between CPUs."""
        if self._pending:
            address, before, pc = self._pending
            self._pending = None
            after = self._machine.read(address, len(before))
            self._notes.append(Note(Noted.STORE, self._machine.alias.origin(address), pc, before, after))

    def _on_instruction(self, uc: Any, address: int, size: int, number: int) -> None:
        del address, size
        if self._is_cut:
            return
        if self._pending:
            self._settle()
        registers, operand = self._operands[number]
        for register in registers:
            operand += uc.reg_read(register)
        self._notes.append(Note(Noted.INSTRUCTION, number, operand & self._highest))

    def _on_function(self, uc: Any, address: int, size: int, kind: Noted) -> None:
        del uc, size
        stack = self._machine.stack_pointer if kind is Noted.BEGIN else 0
        if self._most and kind is not Noted.ENTRY:
            self._count(kind, stack)
        self._note(Note(kind, address & self._highest, stack))

    def _count(self, kind: Noted, stack: int) -> None:
        """One more begins, within the one that is under way or not; or that is over."""
        if kind is Noted.END:
            self._depth = self._depth[:-1]
            return
        while self._depth and self._depth[-1] <= stack:
            self._depth.pop()  # it is over, and nothing said so
        self._begun += not self._depth
        self._is_cut = self._begun > self._most
        self._depth.append(stack)
        if self._is_cut and self._ends:
            self._machine.stop()
