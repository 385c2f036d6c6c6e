"""The only module that opens a Unicorn guest.

Unicorn is a CPU without an operating system, so the machine supplies what Linux would: memory from the image's
segments, a stack, and a *doorbell*, a word of device memory where the guest stores the protection it wants for its
stubs (``mprotect`` in the process world).  Protection is changed from the doorbell's callback because doing so from a
memory hook crashes Unicorn.

Decisions that cost something to learn:

* The guest ends by jumping to ``farm_stop``; falling through into the stop address costs 170-300 us a run on ppc with
  Unicorn 2.1.2.
* A run is bounded by a watchdog thread that calls :meth:`Machine.stop` (see the engine); ``count=`` is ignored once an
  uncounted run has translated the code, and ``timeout=`` starts a thread each time.
* Code that the host writes stays stale until ``ctl_remove_cache``; code that the guest writes does not.
* After an error a Uc may be unusable, so a faulted machine is thrown away by whoever runs it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import unicorn
import unicorn.unicorn_const as uc_const

from farm.backend import REGISTER_MODULES, UnicornSettings
from farm.wire import DOORBELL_REGION, EVENT_WORDS, FEATURES, HEADER_WORDS

if TYPE_CHECKING:
    from farm.image import Image

_PAGE = 0x1000
_LINE = 32  # bytes compared and rewritten at a time
_STACK_OFFSET = 0x180000  # from the start of the text
_STACK_SIZE = 0x10000
_DOORBELL_OFFSET = 0x1C0000  # all within 2 MiB: what a change of protection costs grows with the tables, one each
_TCG_BUFFER = 16 << 20  # the default of 1 GiB fills up over a long run

_EXECUTE, _WRITE, _READ = 1, 2, 4


class GuestFault(Exception):  # noqa: N818 - the guest's, not ours
    """The guest did something that its CPU or its memory refuses."""

    def __init__(self, what: str, pc: int, address: int | None) -> None:
        self.what = what
        self.pc = pc
        self.address = address
        super().__init__(what)


def _constant(module: str, name: str) -> int:
    import importlib

    value: int = getattr(importlib.import_module(f"unicorn.{module}"), name)
    return value


class Machine:
    """One guest in Unicorn: :meth:`reset`, then :meth:`run` a program for its trace.

    ``program`` and trace are bytes in the variant's byte order (:mod:`farm.wire`).
    """

    def __init__(self, image: Image, settings: UnicornSettings) -> None:
        self.image = image
        self._module = REGISTER_MODULES[settings.arch]
        data_only = "ARMBE8" in settings.mode  # with BIG_ENDIAN, instructions of arm would be big-endian too
        mode = uc_const.UC_MODE_BIG_ENDIAN if image.big_endian and not data_only else 0
        for name in settings.mode:
            mode |= getattr(uc_const, f"UC_MODE_{name}")
        self.uc = unicorn.Uc(getattr(uc_const, f"UC_ARCH_{settings.arch}"), mode)
        self.uc.ctl_set_tcg_buffer_size(_TCG_BUFFER)
        if settings.cpu:
            self.uc.ctl_set_cpu_model(_constant(self._module, f"UC_CPU_{settings.arch}_{settings.cpu}"))
        self._sp = self._register(settings.stack_pointer)
        self._pc = self._register(settings.program_counter)
        self._fault_address: int | None = None
        self._fault: int | None = None  # the kind of a refusal that Unicorn does not tell
        self._pages: dict[int, int] | None = None  # permissions
        self._swapped = False
        self._load()
        features = sum(FEATURES[name] for name in settings.features)
        self.uc.mem_write(image.symbols["farm_features"], struct.pack(self._order + "I", features))
        for quirk in settings.quirks:
            getattr(self, "_quirk_" + quirk.replace("-", "_"))()
        self.uc.hook_add(uc_const.UC_HOOK_MEM_INVALID, self._on_invalid)
        top = image.symbols["text_start"] + _STACK_OFFSET + _STACK_SIZE
        self.uc.reg_write(self._sp, top - 512)
        self._registers = self.uc.context_save()

    def _register(self, name: str) -> int:
        return _constant(self._module, f"UC_{self._module.removesuffix('_const').upper()}_REG_{name}")

    # Memory.

    def _load(self) -> None:
        content = self.image.read()
        self._pristine: list[tuple[int, bytes]] = []  # executable regions
        symbols = self.image.symbols
        for s in self.image.segments:
            start = s.address & -_PAGE
            end = -(-(s.address + s.size) // _PAGE) * _PAGE
            self.uc.mem_map(start, end - start, _protection(s.flags))
            data = content[s.offset : s.offset + s.file_size]
            self.uc.mem_write(s.address, data)
            if s.flags & _EXECUTE:
                self._pristine.append((s.address, data))
        state, state_end = symbols["state_start"], symbols["state_end"]
        self._state = (state, self.image.bytes_at(state, state_end - state))
        base = symbols["text_start"]
        self.uc.mem_map(base + _STACK_OFFSET, _STACK_SIZE, uc_const.UC_PROT_READ | uc_const.UC_PROT_WRITE)
        self.uc.mmio_map(base + _DOORBELL_OFFSET, _PAGE, None, None, self._on_doorbell, None)
        self._opened = [
            (symbols[start], -(-(symbols[end] - symbols[start]) // _PAGE) * _PAGE)
            for start, end in (("stub_start", "stub_end"), ("module_start", "module_end"), ("module_start", "stub_end"))
        ]
        order = ">" if self.image.big_endian else "<"
        word = "Q" if self.image.word_size == 8 else "I"
        self.uc.mem_write(symbols["farm_doorbell"], struct.pack(order + word, base + _DOORBELL_OFFSET))
        self._order = order
        self._head = struct.Struct(f"{order}{HEADER_WORDS}I")

    def _on_doorbell(self, uc: Any, offset: int, size: int, value: int, user_data: object) -> None:
        del offset, user_data
        if self._swapped:
            value = int.from_bytes(value.to_bytes(size, "little"), "big")
        start, length = self._opened[value >> DOORBELL_REGION]
        if length:
            permissions = _protection(4 | (value & 2) | (value >> 2 & 1))
            uc.mem_protect(start, length, permissions)
            if self._pages is not None:
                self._pages.update(dict.fromkeys(range(start, start + length, _PAGE), permissions))

    def _on_invalid(self, uc: Any, access: int, address: int, size: int, value: int, user_data: object) -> bool:
        del uc, access, size, value, user_data
        self._fault_address = address
        return False

    # Ways round limits of Unicorn, by their names in arch.toml.

    def _quirk_virtual_tlb(self) -> None:
        """An identity mapping supplied by the host: the default MMU model of 64-bit ppc refuses to fetch.

        Unicorn reports a refusal as a CPU exception and calls no other hook, so what was refused is noted here.
        """

        def fill(uc: Any, address: int, access: int, entry: Any, user_data: object) -> bool:
            del uc, user_data
            entry.paddr = address & -_PAGE
            entry.perms = self._permissions(address)
            needed, unmapped, forbidden = _ACCESS[access]
            if entry.perms & needed:
                return True
            self._fault_address = address
            self._fault = forbidden if entry.perms else unmapped
            return False

        self.uc.ctl_set_tlb_mode(uc_const.UC_TLB_VIRTUAL)
        self.uc.hook_add(uc_const.UC_HOOK_TLB_FILL, fill)

    def _permissions(self, address: int) -> int:
        if self._pages is None:
            self._pages = {
                page: permissions
                for start, end, permissions in self.uc.mem_regions()
                for page in range(start, end, _PAGE)
            }
        return self._pages.get(address & -_PAGE, 0)

    def _quirk_x86_sse(self) -> None:
        """CR4.OSFXSR and OSXMMEXCPT (Intel SDM volume 3A, 2.5): Unicorn 2.1.4 clears them on its older CPU models."""
        register = self._register("CR4")
        self.uc.reg_write(register, self.uc.reg_read(register) | 1 << 9 | 1 << 10)

    def _quirk_arm_fp(self) -> None:
        """CPACR.cp10, cp11 and FPEXC.EN: floating-point registers exist."""
        self.uc.reg_write(self._register("C1_C0_2"), 0xF << 20)
        self.uc.reg_write(self._register("FPEXC"), 1 << 30)

    def _quirk_arm64_fp(self) -> None:
        """CPACR_EL1.FPEN: the compiler may copy through vector registers."""
        self.uc.reg_write(self._register("CPACR_EL1"), 3 << 20)

    def _quirk_little_endian_devices(self) -> None:
        """Unicorn's arm and arm64 call a device with what a little-endian CPU would have stored."""
        self._swapped = True

    def _quirk_ppc_msr_fp(self) -> None:
        """MSR[FP]: floating-point registers exist."""
        self._set_msr(1 << 13)

    def _quirk_ppc_msr_64(self) -> None:
        """MSR[SF]: 64-bit addresses; MSR[VEC, VSX, FP]: the compiler may copy through vector registers."""
        self._set_msr(1 << 63 | 1 << 25 | 1 << 23 | 1 << 13)

    def _quirk_ppc_msr_little_endian(self) -> None:
        """MSR[LE]: Unicorn refuses a little-endian mode for ppc, but its CPU has the bit.  Devices stay big-endian."""
        self._set_msr(1)
        self._swapped = True

    def _set_msr(self, bits: int) -> None:
        register = self._register("MSR")
        self.uc.reg_write(register, self.uc.reg_read(register) | bits)

    # Running.

    def reset(self) -> None:
        """Back to the pristine image: code is compared, and what lies between the lines that differ is rewritten."""
        for start, pristine in self._pristine:
            now = self.uc.mem_read(start, len(pristine))
            if now != pristine:
                self._rewrite(start, now, pristine)
        self.uc.mem_write(*self._state)
        self.rewind()

    def rewind(self) -> None:
        """Registers as at the start; memory stays as the last run left it."""
        self.uc.context_restore(self._registers)

    def _rewrite(self, start: int, now: bytearray, pristine: bytes) -> None:
        lines = range(0, len(pristine), _LINE)
        dirty = [i for i in lines if now[i : i + _LINE] != pristine[i : i + _LINE]]
        first, end = dirty[0], min(dirty[-1] + _LINE, len(pristine))
        self.uc.mem_write(start + first, pristine[first:end])
        self.uc.ctl_remove_cache(start + first, start + end)

    def run(self, program: bytes) -> bytes:
        """The trace of ``program``.

        Raises :class:`GuestFault`; after that the machine must not be used again.
        """
        symbols = self.image.symbols
        self.uc.mem_write(symbols["farm_program"], program)
        try:
            self.uc.emu_start(symbols["farm_enter"], symbols["farm_stop"])
        except unicorn.UcError as error:
            raise GuestFault(_fault_name(error, self._fault), self.pc, self._fault_address) from None
        head = self.uc.mem_read(symbols["farm_trace"], self._head.size)
        _, _, _, _, events, _, _, code = self._head.unpack(head)
        size = self._head.size + 4 * EVENT_WORDS * events + code
        return bytes(self.uc.mem_read(symbols["farm_trace"], size))

    def code(self) -> bytes:
        """What patching has changed, as it is now."""
        return bytes(self.uc.mem_read(*self.image.patched))

    @property
    def pc(self) -> int:
        return int(self.uc.reg_read(self._pc))

    def at_stop(self) -> bool:
        """The guest ended by itself."""
        return self.pc == self.image.symbols["farm_stop"]

    def stop(self) -> None:
        """End the run; may be called from another thread."""
        self.uc.emu_stop()


def _protection(flags: int) -> int:
    """ELF segment flags as Unicorn's."""
    protection = 0
    protection |= uc_const.UC_PROT_READ if flags & _READ else 0
    protection |= uc_const.UC_PROT_WRITE if flags & _WRITE else 0
    protection |= uc_const.UC_PROT_EXEC if flags & _EXECUTE else 0
    return protection


#: By the kind of an access: the permission it needs, and its faults on memory that is not there or does not give it.
_ACCESS = {
    uc_const.UC_MEM_READ: (uc_const.UC_PROT_READ, uc_const.UC_ERR_READ_UNMAPPED, uc_const.UC_ERR_READ_PROT),
    uc_const.UC_MEM_WRITE: (uc_const.UC_PROT_WRITE, uc_const.UC_ERR_WRITE_UNMAPPED, uc_const.UC_ERR_WRITE_PROT),
    uc_const.UC_MEM_FETCH: (uc_const.UC_PROT_EXEC, uc_const.UC_ERR_FETCH_UNMAPPED, uc_const.UC_ERR_FETCH_PROT),
}

_FAULTS = {
    uc_const.UC_ERR_READ_UNMAPPED: "read of unmapped memory",
    uc_const.UC_ERR_WRITE_UNMAPPED: "write to unmapped memory",
    uc_const.UC_ERR_FETCH_UNMAPPED: "jump to unmapped memory",
    uc_const.UC_ERR_READ_PROT: "read of protected memory",
    uc_const.UC_ERR_WRITE_PROT: "write to read-only memory",
    uc_const.UC_ERR_FETCH_PROT: "jump to memory that is not executable",
    uc_const.UC_ERR_INSN_INVALID: "invalid instruction",
    uc_const.UC_ERR_EXCEPTION: "unhandled CPU exception",
}


def _fault_name(error: Any, known: int | None) -> str:
    return _FAULTS.get(error.errno if known is None else known, str(error))
