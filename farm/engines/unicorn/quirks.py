"""Ways round limits of Unicorn, by their names in ``arch.toml``.

A quirk is a function of the machine, called once when a guest is opened: after its memory is there, before it runs.
The names are :data:`~farm.guest.variant.UnicornQuirk`'s; a function is called as its quirk is, with ``_`` for ``-``.
"""

from __future__ import annotations

import struct
import typing
from typing import TYPE_CHECKING, Any, NamedTuple

import unicorn.unicorn_const as uc_const

from farm.guest.variant import UnicornQuirk

if TYPE_CHECKING:
    from collections.abc import Callable

    from farm.engines.unicorn.machine import Machine

#: By the kind of an access: the permission it needs, and its faults on memory that is not there or does not give it.
_ACCESS = {
    uc_const.UC_MEM_READ: (uc_const.UC_PROT_READ, uc_const.UC_ERR_READ_UNMAPPED, uc_const.UC_ERR_READ_PROT),
    uc_const.UC_MEM_WRITE: (uc_const.UC_PROT_WRITE, uc_const.UC_ERR_WRITE_UNMAPPED, uc_const.UC_ERR_WRITE_PROT),
    uc_const.UC_MEM_FETCH: (uc_const.UC_PROT_EXEC, uc_const.UC_ERR_FETCH_UNMAPPED, uc_const.UC_ERR_FETCH_PROT),
}

_RISCV_ILLEGAL = 2  # exception code (Privileged ISA, "mcause")

#: By the bits that tell CLMUL, CLMULR and CLMULH: where the half of the product that they give begins, by word size.
_CLMUL_MASK = 0xFE00707F
_CLMUL_SHIFT = {0x0A001033: {4: 0, 8: 0}, 0x0A002033: {4: 31, 8: 63}, 0x0A003033: {4: 32, 8: 64}}

_EINVAL = 22  # of Linux, everywhere


class _CacheCall(NamedTuple):
    """A system call by which a process asks Linux for cache maintenance, and how Unicorn tells of it."""

    trap: int  # number of the exception
    numbers: dict[int, int]  # of the call, by word size
    number: str  # registers
    start: str
    extent: str  # of the end, or of the size
    result: str
    has_end: bool = False
    skipped: int = 0  # bytes, from where the program counter is to behind the instruction
    cleared: tuple[str, ...] = ()  # registers besides the result that say that all went well
    wanted: tuple[tuple[str, int], ...] = ()  # what other arguments must be, else not all of it is done


#: By Unicorn's module of constants.
_CACHE_CALLS = {
    "arm_const": _CacheCall(2, {4: 0xF0002}, "R7", "R0", "R1", "R0", has_end=True, wanted=(("R2", 0),)),
    "riscv_const": _CacheCall(8, {4: 259, 8: 259}, "A7", "A0", "A1", "A0", has_end=True),
    "mips_const": _CacheCall(17, {4: 4147, 8: 5197}, "V0", "A0", "A1", "V0", skipped=4, cleared=("A3",)),
    # Both caches: to invalidate the instructions' alone does not push what was stored.
    "m68k_const": _CacheCall(32, {4: 123}, "D0", "D1", "D4", "D0", skipped=2, wanted=(("D3", 3),)),
}


def virtual_tlb(machine: Machine) -> None:
    """An identity mapping supplied by the host.

    The default MMU model of 64-bit ppc refuses to fetch, and that of s390x to fetch from a page that cannot be
    written: it asks for a fetch (access type 2) as for a store (not 0).

    Unicorn reports a refusal as a CPU exception and calls no other hook, so what was refused is noted here.
    """

    def fill(uc: Any, address: int, access: int, entry: Any, user_data: object) -> bool:
        del uc, user_data
        entry.paddr = address & -machine.page
        entry.perms = machine.permissions(address)
        needed, unmapped, forbidden = _ACCESS[access]
        if entry.perms & needed:
            return True
        machine.fault_address = address
        machine.error = forbidden if entry.perms else unmapped
        return False

    machine.uc.ctl_set_tlb_mode(uc_const.UC_TLB_VIRTUAL)
    machine.uc.hook_add(uc_const.UC_HOOK_TLB_FILL, fill)


def little_endian_devices(machine: Machine) -> None:
    """Unicorn's arm and arm64 call a device with what a little-endian CPU would have stored."""
    machine.swaps_devices = True


def x86_sse(machine: Machine) -> None:
    """CR4.OSFXSR and OSXMMEXCPT (Intel SDM volume 3A, 2.5): Unicorn 2.1.4 clears them on its older CPU models."""
    _set_bits(machine, "CR4", 1 << 9 | 1 << 10)


def arm_fp(machine: Machine) -> None:
    """CPACR.cp10, cp11 and FPEXC.EN: floating-point registers exist."""
    machine.uc.reg_write(machine.register("C1_C0_2"), 0xF << 20)
    machine.uc.reg_write(machine.register("FPEXC"), 1 << 30)


def arm64_fp(machine: Machine) -> None:
    """CPACR_EL1.FPEN: the compiler may copy through vector registers."""
    machine.uc.reg_write(machine.register("CPACR_EL1"), 3 << 20)


def ppc_msr_fp(machine: Machine) -> None:
    """MSR[FP]: floating-point registers exist."""
    _set_bits(machine, "MSR", 1 << 13)


def ppc_msr_64(machine: Machine) -> None:
    """MSR[SF]: 64-bit addresses; MSR[VEC, VSX, FP]: the compiler may copy through vector registers."""
    _set_bits(machine, "MSR", 1 << 63 | 1 << 25 | 1 << 23 | 1 << 13)


def ppc_msr_little_endian(machine: Machine) -> None:
    """MSR[LE]: Unicorn refuses a little-endian mode for ppc, but its CPU has the bit.  Devices stay big-endian."""
    _set_bits(machine, "MSR", 1)
    machine.swaps_devices = True


def riscv_fp(machine: Machine) -> None:
    """mstatus.FS: floating-point registers exist (Privileged ISA, "Extension Context Status")."""
    _set_bits(machine, "MSTATUS", 3 << 13)


def riscv_zbc(machine: Machine) -> None:
    """CLMUL, CLMULR and CLMULH (extension Zbc) are illegal to Unicorn: done here; pc is already behind them."""
    x0 = machine.register("X0")
    size = machine.image.word_size

    uc = machine.uc

    def take(number: int) -> bool:
        if number != _RISCV_ILLEGAL:
            return False
        word = int.from_bytes(uc.mem_read(machine.pc - 4, 4), "little")
        shift = _CLMUL_SHIFT.get(word & _CLMUL_MASK)
        if shift is None:
            return False
        a, b = (uc.reg_read(x0 + (word >> field & 31)) for field in (15, 20))
        if rd := word >> 7 & 31:
            uc.reg_write(x0 + rd, _carry_less(a, b) >> shift[size] & (1 << 8 * size) - 1)
        return True

    machine.on_trap(take)


def _carry_less(a: int, b: int) -> int:
    product = 0
    while b:
        bit = b & -b
        product ^= a * bit
        b ^= bit
    return product


def mips_fr(machine: Machine) -> None:
    """Status.FR: 32 floating-point registers of 64 bits, as n64 has them."""
    _set_bits(machine, "CP0_STATUS", 1 << 26)


def s390x_64(machine: Machine) -> None:
    """PSW bits 31 and 32 (Principles of Operation, "Program-Status-Word Format"): 64-bit addresses, not 24-bit."""
    machine.uc.reg_write(machine.register("PSWM"), 1 << 32 | 1 << 31)


def s390x_fp(machine: Machine) -> None:
    """CR0 bit 45 (Principles of Operation, "Control Registers"): all sixteen floating-point registers."""
    _set_control_0(machine, 1 << 63 - 45)


def s390x_vector(machine: Machine) -> None:
    """CR0 bit 46: vector registers exist."""
    _set_control_0(machine, 1 << 63 - 46)


def _set_control_0(machine: Machine, bits: int) -> None:
    """Unicorn 2.1.2 has no names for control registers, so the CPU stores and loads it: STCTG and LCTLG.

    Both address page 0 without any register.  It is there for the moment only.
    """
    uc, code, value = machine.uc, 0x200, 0x100
    uc.mem_map(0, machine.page)
    for opcode, wanted in ((0x25, 0), (0x2F, bits)):
        old = int.from_bytes(uc.mem_read(value, 8), "big")
        uc.mem_write(value, (old | wanted).to_bytes(8, "big"))
        uc.mem_write(code, struct.pack(">BBHBB", 0xEB, 0, value, 0, opcode))
        uc.ctl_remove_cache(code, code + 6)
        uc.emu_start(code, code + 6)
    uc.mem_unmap(0, machine.page)


def sparc_stop_trap(machine: Machine) -> None:
    """The guest ends with a trap at ``farm_stop``: for sparc, Unicorn does not end a run at an address.

    Every other trap is a fault, since there is no operating system to take it.
    """
    stop = machine.until
    machine.until = 0

    def on_trap(uc: Any, number: int, user_data: object) -> None:
        del user_data
        if machine.pc in (stop, stop + 4):  # as the version has it
            machine.pc = stop
        else:
            machine.trap = number
        uc.emu_stop()

    machine.uc.hook_add(uc_const.UC_HOOK_INTR, on_trap)


def cache_call(machine: Machine) -> None:
    """Linux's call for cache maintenance, which no kernel is there to answer: it is done, for there is no cache."""
    call, uc = _CACHE_CALLS[machine.module], machine.uc
    word_size = machine.image.word_size
    number, start, extent, result = map(machine.register, (call.number, call.start, call.extent, call.result))
    wanted = [(machine.register(name), value) for name, value in call.wanted]
    cleared = [machine.register(name) for name in call.cleared]
    mask = (1 << 8 * word_size) - 1

    def take(trap: int) -> bool:
        if trap != call.trap or uc.reg_read(number) & mask != call.numbers[word_size]:
            return False
        first, last = (uc.reg_read(register) & mask for register in (start, extent))
        size = (last - first if call.has_end else last) & mask
        is_done = all(uc.reg_read(register) & mask == value for register, value in wanted)
        if is_done:
            machine.flushed(first, size)
        uc.reg_write(result, 0 if is_done else -_EINVAL & mask)
        for register in cleared:
            uc.reg_write(register, 0)
        if call.skipped:
            machine.pc += call.skipped
        return True

    machine.on_trap(take)


def m68k_supervisor(machine: Machine) -> None:
    """SR.S (MC68040 User's Manual, section 2): only the supervisor may execute CPUSH."""
    _set_bits(machine, "SR", 1 << 13)


def _set_bits(machine: Machine, name: str, bits: int) -> None:
    register = machine.register(name)
    machine.uc.reg_write(register, machine.uc.reg_read(register) | bits)


#: The function of every name that ``arch.toml`` may have.
QUIRKS: dict[UnicornQuirk, Callable[[Machine], None]] = {
    name: globals()[name.replace("-", "_")] for name in typing.get_args(UnicornQuirk)
}
