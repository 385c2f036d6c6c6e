"""Executes instructions where they stood and where they were moved to: ``python -m farm.prove.displaced``.

Unicorn executes both from the same states, one instruction at a time, until the program counter is outside.  They do
the same if registers, flags, memory and the program counter are the same then.  Memory is there wherever it is looked
for, and holds what its address says.

Reads one :class:`~farm.prove.moved.Work` from standard input and writes a list of :class:`~farm.prove.moved.Done`, in
msgpack.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

import farm.engines.unicorn.library  # noqa: F401 - before anything else imports Unicorn

# isort: split
import unicorn
from unicorn import arm64_const, arm_const, riscv_const, unicorn_const, x86_const

from farm.prove.moved import Done, Moved, Work

_PAGE = 0x1000
_STUCK = -1  # in place of an error's number: it was not executed, or leads to itself
_STEPS = 48  # of what was moved, at most
_MAPPED = 3000  # pages, beyond which a new machine is made


class _Kind(NamedTuple):
    """How Unicorn executes an architecture."""

    arch: int
    mode: int
    bits: int
    pc: int
    sp: int
    registers: tuple[int, ...]  #: besides them; numbers from 0
    vectors: tuple[int, ...]
    flags: int | None
    flags_kept: int  #: bits that are compared
    states: tuple[int, ...]  #: of the flags
    bias: int = 0  #: of addresses in code
    dead_below: bool = False  #: memory below the stack pointer is nobody's
    prepare: Callable[[Any], None] = lambda _: None


def _named(module: Any, prefix: str, names: Iterator[str] | tuple[str, ...]) -> tuple[int, ...]:
    return tuple(getattr(module, f"{prefix}{name}") for name in names)


def _with_vectors(uc: Any) -> None:
    uc.reg_write(arm64_const.UC_ARM64_REG_CPACR_EL1, 3 << 20)


def _system(uc: Any) -> None:
    uc.reg_write(arm_const.UC_ARM_REG_CPSR, 0x10)


_NZCV = (0, 8, 4, 2, 1, 9, 6)  # conditions, each true and false in some
_ARM64 = _Kind(
    unicorn_const.UC_ARCH_ARM64,
    unicorn_const.UC_MODE_ARM,
    64,
    arm64_const.UC_ARM64_REG_PC,
    arm64_const.UC_ARM64_REG_SP,
    _named(arm64_const, "UC_ARM64_REG_X", (str(n) for n in range(31))),
    _named(arm64_const, "UC_ARM64_REG_Q", (str(n) for n in range(32))),
    arm64_const.UC_ARM64_REG_NZCV,
    0xF << 28,
    tuple(flags << 28 for flags in _NZCV),
    prepare=_with_vectors,
)
_ARM = _Kind(
    unicorn_const.UC_ARCH_ARM,
    unicorn_const.UC_MODE_ARM,
    32,
    arm_const.UC_ARM_REG_PC,
    arm_const.UC_ARM_REG_SP,
    _named(arm_const, "UC_ARM_REG_", (*(f"R{n}" for n in range(13)), "LR")),
    (),
    arm_const.UC_ARM_REG_CPSR,
    0xF << 28 | 0x20,
    tuple(flags << 28 | 0x10 for flags in _NZCV),
    dead_below=True,
    prepare=_system,
)
_X86_64 = _Kind(
    unicorn_const.UC_ARCH_X86,
    unicorn_const.UC_MODE_64,
    64,
    x86_const.UC_X86_REG_RIP,
    x86_const.UC_X86_REG_RSP,
    _named(
        x86_const,
        "UC_X86_REG_R",
        ("AX", "CX", "DX", "BX", "BP", "SI", "DI", "8", "9", "10", "11", "12", "13", "14", "15"),
    ),
    (),
    x86_const.UC_X86_REG_EFLAGS,
    0xCD5,
    (0x2, 0x3, 0x6, 0x42, 0x82, 0x802, 0x882, 0x47),
)
_RISCV = _Kind(
    unicorn_const.UC_ARCH_RISCV,
    unicorn_const.UC_MODE_RISCV64,
    64,
    riscv_const.UC_RISCV_REG_PC,
    riscv_const.UC_RISCV_REG_X2,
    _named(riscv_const, "UC_RISCV_REG_X", (str(n) for n in range(1, 32) if n != 2)),
    (),
    None,
    0,
    (0,) * 5,
)

#: By the name of what is executed.
KINDS: Mapping[str, _Kind] = {
    "arm64": _ARM64,
    "arm": _ARM,
    "thumb": _ARM._replace(
        mode=unicorn_const.UC_MODE_THUMB, bias=1, states=tuple(flags << 28 | 0x30 for flags in _NZCV)
    ),
    "x86_64": _X86_64,
    "i386": _X86_64._replace(
        mode=unicorn_const.UC_MODE_32,
        bits=32,
        pc=x86_const.UC_X86_REG_EIP,
        sp=x86_const.UC_X86_REG_ESP,
        registers=_named(x86_const, "UC_X86_REG_E", ("AX", "CX", "DX", "BX", "BP", "SI", "DI")),
    ),
    "riscv64": _RISCV,
    "riscv32": _RISCV._replace(mode=unicorn_const.UC_MODE_RISCV32, bits=32),
}


class _End(NamedTuple):
    """What a run leaves."""

    fault: int  #: as Unicorn numbers errors; 0: none
    pc: int
    registers: tuple[int, ...]
    flags: int
    vectors: tuple[int, ...]
    memory: dict[int, int]  #: bytes that have changed


class _Machine:
    """Executes pieces of code, each from a state that is given."""

    def __init__(self, kind: _Kind) -> None:
        self.kind = kind
        self.pages: set[int] = set()  #: addresses of those that are there
        self._uc = unicorn.Uc(kind.arch, kind.mode)
        self._before: dict[int, int] = {}
        kind.prepare(self._uc)
        self._uc.hook_add(unicorn_const.UC_HOOK_MEM_INVALID, self._on_invalid)
        self._uc.hook_add(unicorn_const.UC_HOOK_MEM_WRITE, self._on_store)

    def _map(self, address: int) -> bool:
        """Have memory at ``address``; False: there can be none."""
        page = address & -_PAGE
        if page in self.pages:
            return True
        try:
            self._uc.mem_map(page, _PAGE)
        except unicorn.UcError:
            return False
        self.pages.add(page)
        self._uc.mem_write(page, random.Random(page).randbytes(_PAGE))  # noqa: S311 - nothing is secret
        return True

    def _on_invalid(self, uc: Any, access: int, address: int, size: int, value: int, data: object) -> bool:
        del uc, access, value, data
        made = self._map(address)
        if (address + size - 1) & -_PAGE != address & -_PAGE:
            self._map(address + size - 1)
        return made

    def _on_store(self, uc: Any, access: int, address: int, size: int, value: int, data: object) -> None:
        del uc, access, value, data
        for at in range(address, address + size):
            if at not in self._before:
                try:
                    (self._before[at],) = self._uc.mem_read(at, 1)
                except unicorn.UcError:
                    self._map(at)
                    (self._before[at],) = self._uc.mem_read(at, 1)

    def put(self, address: int, code: bytes) -> None:
        """Make ``code`` what is at ``address``."""
        for page in range(address & -_PAGE, address + len(code), _PAGE):
            self._map(page)
        self._uc.mem_write(address, code)
        self._uc.ctl_remove_cache(address, address + len(code))

    def run(self, state: tuple[tuple[int, ...], int, int], start: int, inside: range) -> _End:
        """The end of what begins at ``start``, when the program counter is not ``inside`` any more."""
        kind, uc = self.kind, self._uc
        registers, sp, flags = state
        for number, value in zip(kind.registers, registers, strict=True):
            uc.reg_write(number, value)
        for number, vector in enumerate(kind.vectors):
            uc.reg_write(vector, number)
        uc.reg_write(kind.sp, sp)
        if kind.flags is not None:
            uc.reg_write(kind.flags, flags)
        pc, fault = start, 0
        for _ in range(_STEPS):
            try:
                uc.emu_start(pc | kind.bias, (1 << kind.bits) - 1, count=1)
            except unicorn.UcError as error:
                fault = error.errno
                break
            last, pc = pc, uc.reg_read(kind.pc) & ~kind.bias
            if pc == last:
                fault = _STUCK
                break
            if pc not in inside:
                break
        made = _End(
            fault,
            pc,
            (uc.reg_read(kind.sp), *map(uc.reg_read, kind.registers)),
            uc.reg_read(kind.flags) & kind.flags_kept if kind.flags is not None else 0,
            tuple(map(uc.reg_read, kind.vectors)),
            {},
        )
        floor = made.registers[0] if kind.dead_below and sp - made.registers[0] < _PAGE else 0
        for at, old in self._before.items():
            (now,) = uc.mem_read(at, 1)
            if now != old and not (floor and floor - 64 <= at < floor):
                made.memory[at] = now
            if now != old:
                uc.mem_write(at, bytes([old]))
        self._before.clear()
        return made


def _states(kind: _Kind) -> list[tuple[tuple[int, ...], int, int]]:
    """Registers, stack pointer and flags of each state: zeros, ones, and addresses."""
    made = []
    for number, flags in enumerate(kind.states):
        drawn = random.Random(number)  # noqa: S311 - nothing is secret
        values = [drawn.randrange(0x3000_0000, 0x3000_8000) & -16 for _ in kind.registers]
        if number < 2:
            values = [number] * len(values)
        elif number == 3:
            values = [value | 1 << kind.bits - 1 if n % 2 else value + 2 for n, value in enumerate(values)]
        made.append((tuple(values), 0x3001_0000 + 64 * number, flags))
    return made


def judge(work: Work) -> list[Done]:
    """What came of each of the ``work``."""
    kind = KINDS[work.kind]
    states, machine, done = _states(kind), _Machine(kind), []
    for moved in work.moved:
        if len(machine.pages) > _MAPPED:
            machine = _Machine(kind)
        done.append(_judged(machine, states, moved))
    return done


def _judged(machine: _Machine, states: list[tuple[tuple[int, ...], int, int]], moved: Moved) -> Done:
    machine.put(moved.origin, moved.code)
    machine.put(moved.annex, moved.written)
    behind = moved.origin + moved.size
    here, there = range(moved.origin, behind), range(moved.annex, moved.annex + len(moved.written))
    executed = False
    for state in states:
        before = machine.run(state, moved.origin, here)
        if before.fault:
            continue
        executed = True
        after = machine.run(state, moved.annex + moved.start, there)
        if what := _difference(machine, state, before, after, behind, there):
            return Done(what, executed)
    return Done("", executed)


def _difference(
    machine: _Machine,
    state: tuple[tuple[int, ...], int, int],
    before: _End,
    after: _End,
    behind: int,
    there: range,
) -> str:
    """What two ends have not in common, in words; empty: nothing.

    An address to return to may be in the annex, if what stands there goes on behind the original.
    """
    kind = machine.kind
    if after.fault:
        why = "is not executed" if after.fault == _STUCK else f"faults ({unicorn.UcError(after.fault)})"
        return f"it {why} at {after.pc:#x}"
    if after.pc != before.pc:
        return f"it goes on at {after.pc:#x} and not at {before.pc:#x}"

    def returns(address: int, expected: int) -> bool:
        if expected != behind | kind.bias or address & ~kind.bias not in there:
            return False
        back = machine.run(state, address & ~kind.bias, there)
        return not back.fault and back.pc == behind

    for number, (old, new) in enumerate(zip(before.registers, after.registers, strict=True)):
        if old != new and not returns(new, old):
            name = "the stack pointer" if number == 0 else f"register {number - 1}"
            return f"{name} is {new:#x} and not {old:#x}"
    if before.flags != after.flags:
        return f"flags are {after.flags:#x} and not {before.flags:#x}"
    if before.vectors != after.vectors:
        return "a vector register is another"
    if before.memory != after.memory:
        top, size = before.registers[0], kind.bits // 8
        pair = [_word(end.memory, top, size, machine) for end in (before, after)]
        rest = [{at: v for at, v in end.memory.items() if not top <= at < top + size} for end in (before, after)]
        if rest[0] != rest[1] or not returns(pair[1], pair[0]):
            return "memory is another"
    return ""


def _word(memory: Mapping[int, int], at: int, size: int, machine: _Machine) -> int:
    del machine
    page = random.Random(at & -_PAGE).randbytes(_PAGE)  # noqa: S311 - nothing is secret
    return int.from_bytes(bytes(memory.get(at + n, page[(at + n) % _PAGE]) for n in range(size)), "little")


def main() -> None:
    """Answer one piece of work."""
    work = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Work)
    sys.stdout.buffer.write(msgspec.msgpack.encode(judge(work)))


if __name__ == "__main__":
    main()
