"""The recording of one run: every instruction, every store, and the code that was made."""

from __future__ import annotations

import array
from typing import TYPE_CHECKING, Any, NamedTuple

import unicorn
import unicorn.unicorn_const as uc_const

from farm.engines import Steps
from farm.guest.variant import ENCODERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from farm.engines.unicorn.machine import Machine

#: Length of the longest instruction, in bytes; Unicorn reports a meaningless size for an invalid one.
_LONGEST = 16

#: By module of constants: where a function finds its first argument (None: on the stack), and leaves its result.
_REGISTERS: dict[str, tuple[str | None, str]] = {
    "arm_const": ("R0", "R0"),
    "arm64_const": ("X0", "X0"),
    "m68k_const": (None, "D0"),
    "mips_const": ("A0", "V0"),
    "ppc_const": ("3", "3"),
    "riscv_const": ("A0", "A0"),
    "s390x_const": ("R2", "R2"),
    "sparc_const": ("O0", "O0"),
    "x86_const": (None, "EAX"),
}

_SIZELESS = "m68k_const"  # where Unicorn tells 2 for every instruction


class _Encoders(NamedTuple):
    """The functions that make the words of code, and how they are called."""

    starts: set[int]
    functions: dict[int, range]  #: every function of the guest, by where it begins
    argument: int | None  #: the register of the first argument; None: it is on the stack
    result: int


def _encoders(machine: Machine) -> _Encoders:
    argument, result = _REGISTERS[machine.module]
    functions = machine.image.functions
    return _Encoders(
        {functions[name] for name in ENCODERS if name in functions},
        _spans(functions.values()),
        machine.register(argument) if argument else None,
        machine.register(result),
    )


def _spans(starts: Iterable[int]) -> dict[int, range]:
    """Addresses of each function's code: up to the next one's."""
    ordered = sorted(set(starts))
    return {start: range(start, end) for start, end in zip(ordered, [*ordered[1:], 1 << 64], strict=True)}


class Recorder:
    """Record of the next run's first ``limit`` instructions (:meth:`Machine.record`).

    The bytes that a store changed are read from memory before it and, by the time of the next instruction, after it:
    the value that a hook is told comes in an order that differs between CPUs.
    """

    def __init__(self, machine: Machine, limit: int) -> None:
        self.count = 0  #: of instructions executed, those beyond the limit too
        #: each instruction met, by address and bytes then, and its number; of a sizeless one 16 bytes
        self.code: dict[tuple[int, bytes], int] = {}
        self.executed = array.array("I")  #: their numbers, in order
        #: place in ``executed``, address, bytes before, bytes after
        self.stores: list[tuple[int, int, bytes, bytes]] = []
        #: place in ``executed``, address, size, as :attr:`~farm.engines.Steps.protections` has them
        self.protections: list[tuple[int, int, int, int]] = []
        #: place in ``executed`` of the last instruction, where the encoder begins, its first argument, what it returned
        self.encoded: list[tuple[int, int, int, int]] = []
        self._uc = machine.uc
        self._limit = limit
        self._page = machine.page
        self._doorbell = machine.doorbell
        self._origin = machine.alias.origin
        self._highest = machine.highest
        self._sized = machine.module != _SIZELESS
        self._pending: list[tuple[int, bytes]] = []
        self._encoders = _encoders(machine)
        self._encoding: list[range] = []  # the encoder that runs, and what it has called
        self._at = 0
        self._uc.hook_add(uc_const.UC_HOOK_CODE, self.on_instruction)
        self._uc.hook_add(uc_const.UC_HOOK_MEM_WRITE, self.on_store)

    def on_instruction(self, uc: Any, address: int, size: int, user_data: object) -> None:
        del uc, user_data
        address &= self._highest
        self.settle()
        if self._encoding or address in self._encoders.starts:
            self._follow(address)
        self.count += 1
        if self.count <= self._limit:
            size = min(size, _LONGEST) if self._sized else _LONGEST
            key = address, self._read(address, size)
            self.executed.append(self.code.setdefault(key, len(self.code)))

    def _read(self, address: int, size: int) -> bytes:
        """The bytes at ``address``, as far as the guest's memory goes, which ends where a page does."""
        try:
            return bytes(self._uc.mem_read(address, size))
        except unicorn.UcError:
            return bytes(self._uc.mem_read(address, min(size, -address % self._page)))

    def _follow(self, address: int) -> None:
        """Note what an encoder returns, at the first instruction behind it."""
        if any(address in span for span in self._encoding):
            return
        encoders = self._encoders
        if address in encoders.functions:  # called, or reached by a tail call
            if not self._encoding and encoders.argument:
                self._at = self._uc.reg_read(encoders.argument)
            self._encoding.append(encoders.functions[address])
            return
        if self.count <= self._limit:
            value = self._uc.reg_read(encoders.result) & 0xFFFFFFFF
            self.encoded.append((len(self.executed) - 1, self._encoding[0].start, self._at, value))
        self._encoding.clear()

    def on_store(self, uc: Any, access: int, address: int, size: int, value: int, user_data: object) -> None:
        del access, value, user_data
        address = self._origin(address)
        if self.count <= self._limit and address not in self._doorbell:
            try:
                self._pending.append((address, bytes(uc.mem_read(address, size))))
            except unicorn.UcError:
                return  # unmapped: the guest is about to die of it

    def on_protection(self, start: int, size: int, permissions: int) -> None:
        if self.count <= self._limit:
            self.protections.append((len(self.executed) - 1, start, size, permissions))

    def steps(self) -> Steps:
        """Everything, once the run has ended."""
        self.settle()
        executed = self.executed.tobytes()
        return Steps(self.count, list(self.code), executed, self.stores, self.protections, self.encoded)

    def settle(self) -> None:
        """Note what the last instruction's stores have left."""
        for address, before in self._pending:
            after = bytes(self._uc.mem_read(address, len(before)))
            self.stores.append((len(self.executed) - 1, address, before, after))
        self._pending.clear()


def with_skipped(path: list[int], halfword: Callable[[int], int]) -> list[int]:
    """``path`` of Thumb code, with what no hook is called for: instructions of an IT block whose condition fails.

    They are executed as any other conditional instruction is, and do nothing (Arm ARM DDI 0406, A7.3.2 "IT blocks").
    """
    whole: list[int] = []
    block: list[int] = []
    for address in path:
        if address in block:
            continue
        block = []
        first = halfword(address)
        if first >> 8 == 0xBF and first & 0xF:  # IT: the lowest bit that is set says how many follow
            following = address + 2
            for _ in range(4 - ((first & -first).bit_length() - 1)):
                block.append(following)
                following += 4 if halfword(following) >> 11 in (0b11101, 0b11110, 0b11111) else 2
        whole += [address, *block]
    return whole
