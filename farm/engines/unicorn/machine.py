"""The only module that opens a Unicorn guest.

Unicorn is a CPU without an operating system, so the machine supplies what Linux would: memory from the image's
segments, a stack, and a *doorbell*, a word of device memory where the guest stores the protection it wants for its
stubs (``mprotect`` in the process world) and from which it loads what is wrong with the one they have.  Protection is
changed from the doorbell's callback because doing so from a memory hook crashes Unicorn.

Decisions that cost something to learn:

* The guest ends by jumping to ``farm_stop``; falling through into the stop address costs 170-300 us a run on ppc with
  Unicorn 2.1.2.
* A run is bounded by a watchdog thread that calls :meth:`Machine.stop` (see the engine); ``count=`` is ignored once an
  uncounted run has translated the code, and ``timeout=`` starts a thread each time.
* The guest's memory is the host's own, lent to Unicorn, so that a reset compares and restores it directly.  A
  ``mem_write`` to a page that the guest may not write rebuilds all of Unicorn's tables twice: most of a reset.
* Code that the host writes stays stale until ``ctl_remove_cache``; code that the guest writes does not.
* A change of protection splits a mapping, and one ``ctl_remove_cache`` across the split leaves code behind it stale, so
  it is called for each page.
* Unicorn 2.1.2 dies, or jumps somewhere, when its buffer of translated code is full; so translations are dropped in
  time, between two runs.
* After an error a Uc may be unusable, so a faulted machine is thrown away by whoever runs it.
"""

from __future__ import annotations

import array
import ctypes
import mmap
import struct
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import unicorn
import unicorn.unicorn_const as uc_const

from farm.guest.variant import ENCODERS, REGISTER_MODULES, UnicornSettings
from farm.scenario.layout import DOORBELL_REGION, EVENT_WORDS, FEATURES, HEADER_WORDS, TEXT_FAULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from farm.guest.image import Image

_PAGE = 0x1000  # at least
_STACK_OFFSET = 0x180000  # from the start of the text
_STACK_SIZE = 0x10000
_DOORBELL_OFFSET = 0x1C0000  # all within 2 MiB: what a change of protection costs grows with the tables, one each
_TCG_BUFFER = 16 << 20  # the default of 1 GiB fills up over a long run
_CHANGES_A_BUFFER = 4096  # of code, after which all translations are dropped: some 2 MiB, the rest is for one long run

_EXECUTE, _WRITE, _READ = 1, 2, 4  # of an ELF segment; mprotect has them in the opposite order

_DOORBELL_SIZE = 4  # bytes of a store
_ANY_PERMISSION = 7
_ALL_TEXT = 2  # the region that is all of what is patched
_READ_EXECUTE = uc_const.UC_PROT_READ | uc_const.UC_PROT_EXEC

_NOWHERE = (0, 0)  # the block before the first
#: Bytes of an instruction at most; of one that is none, Unicorn tells a size that is none.
LONGEST = 16

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


class GuestFault(Exception):  # noqa: N818 - the guest's, not ours
    """The guest did something that its CPU or its memory refuses."""

    def __init__(self, what: str, pc: int, address: int | None) -> None:
        self.what = what
        self.pc = pc
        self.address = address
        super().__init__(what)


class _Memory(NamedTuple):
    """A segment: memory of the host's that the guest has too."""

    start: int
    data: mmap.mmap
    is_writable: bool


class _Place(NamedTuple):
    """A part of a segment."""

    address: int
    data: mmap.mmap
    first: int  #: in ``data``
    end: int

    @property
    def size(self) -> int:
        return self.end - self.first

    def read(self) -> bytes:
        return self.data[self.first : self.end]


def _constant(module: str, name: str) -> int:
    import importlib

    value: int = getattr(importlib.import_module(f"unicorn.{module}"), name)
    return value


class Machine:
    """One guest in Unicorn: :meth:`reset`, then :meth:`run` a program for its trace.

    ``program`` and trace are bytes in the variant's byte order (:mod:`farm.scenario.wire`).  Of code in ``watched``,
    ranges of addresses, every block that is executed is counted (:meth:`blocks`).
    """

    def __init__(self, image: Image, settings: UnicornSettings, watched: Sequence[tuple[int, int]] = ()) -> None:
        self.image = image
        self._module = REGISTER_MODULES[settings.arch]
        data_only = "ARMBE8" in settings.mode  # with BIG_ENDIAN, instructions of arm would be big-endian too
        mode = uc_const.UC_MODE_BIG_ENDIAN if image.big_endian and not data_only else 0
        for name in settings.mode:
            mode |= getattr(uc_const, f"UC_MODE_{name}")
        self.uc = unicorn.Uc(getattr(uc_const, f"UC_ARCH_{settings.arch}"), mode)
        self.uc.ctl_set_tcg_buffer_size(_TCG_BUFFER)
        if settings.cpu:
            self.uc.ctl_set_cpu_model(_constant(self._module, settings.cpu_prefix + settings.cpu))
        self._page = max(_PAGE, self.uc.ctl_get_page_size())  # of sparc64 8192
        self._sp = self._register(settings.stack_pointer)
        self._pc = self._register(settings.program_counter)
        self._fault_address: int | None = None
        self._fault: int | None = None  # the kind of a refusal that Unicorn does not tell
        self._refused: str | None = None  # what the guest asked of the doorbell that it does not do
        self._left_changed: set[int] = set()  # regions whose protection is not as the image was loaded
        self._changes = 0  # of code since translations were last dropped
        self._pages: dict[int, int] | None = None  # permissions
        self._swapped = False
        self._until = image.symbols["farm_stop"]
        self._trap: int | None = None  # the number of one that the guest must not take
        self._recorder: Recorder | None = None
        self._load()
        features = sum(FEATURES[name] for name in settings.features)
        self.uc.mem_write(image.symbols["farm_features"], struct.pack(self._order + "I", features))
        self._initial = [(memory.data, memory.data[:]) for memory in self._memory if memory.is_writable]
        for quirk in settings.quirks:
            getattr(self, "_quirk_" + quirk.replace("-", "_"))()
        self.uc.hook_add(uc_const.UC_HOOK_MEM_INVALID, self._on_invalid)
        top = image.symbols["text_start"] + _STACK_OFFSET + _STACK_SIZE
        self._top = top - 512
        self.uc.reg_write(self._sp, self._top)
        self._registers = self.uc.context_save()
        self._is_thumb = "THUMB" in settings.mode
        self._blocks: Counter[tuple[int, int, int]] = Counter()
        self._last = _NOWHERE
        for start, end in watched:
            self.uc.hook_add(uc_const.UC_HOOK_BLOCK, self._on_block, None, start, end - 1)

    def _register(self, name: str) -> int:
        return _constant(self._module, f"UC_{self._module.removesuffix('_const').upper()}_REG_{name}")

    # Memory.

    def _load(self) -> None:
        content = self.image.read()
        symbols = self.image.symbols
        self._memory: list[_Memory] = []
        for s in self.image.segments:
            start = s.address & -self._page
            size = -(-(s.address + s.size) // self._page) * self._page - start
            data = bytearray(size)
            data[s.address - start : s.address - start + s.file_size] = content[s.offset : s.offset + s.file_size]
            self._lend(start, data, s.flags)
        names = ("text", "module", "sites", "stub", "far")
        regions = [self._place(symbols[f"{name}_start"], symbols[f"{name}_end"]) for name in names]
        self._pristine = [(place, place.read()) for place in regions if place.size]  # what is executable
        self._different: list[tuple[_Place, bytes]] | None = None  # of it; None: it is not known
        self._patched = {symbols["module_start"], symbols["stub_start"]}  # regions that a guest's own reset puts back
        self._program = self._place(symbols["farm_program"])
        self._trace = self._place(symbols["farm_trace"])
        base = symbols["text_start"]
        self._lend(base + _STACK_OFFSET, bytearray(_STACK_SIZE), _READ | _WRITE)
        self._doorbell = range(base + _DOORBELL_OFFSET, base + _DOORBELL_OFFSET + self._page)
        self.uc.mmio_map(self._doorbell.start, self._page, self._on_question, None, self._on_doorbell, None)
        self._opened = [
            (symbols[start], -(-(symbols[end] - symbols[start]) // self._page) * self._page)
            for start, end in (("stub_start", "stub_end"), ("module_start", "module_end"), ("module_start", "stub_end"))
        ]
        order = ">" if self.image.big_endian else "<"
        word = "Q" if self.image.word_size == 8 else "I"
        self.uc.mem_write(symbols["farm_doorbell"], struct.pack(order + word, self._doorbell.start))
        self._order = order
        self._head = struct.Struct(f"{order}{HEADER_WORDS}I")

    def _lend(self, start: int, content: bytearray, flags: int) -> None:
        """Memory of the guest's with these ELF segment flags, which is the host's own."""
        data = mmap.mmap(-1, len(content), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        data[:] = content
        self._memory.append(_Memory(start, data, bool(flags & _WRITE)))
        pointer = ctypes.addressof(ctypes.c_char.from_buffer(data))
        self.uc.mem_map_ptr(start, len(content), _protection(flags), pointer)

    def _place(self, start: int, end: int | None = None) -> _Place:
        """Where in the host's memory ``start`` to ``end`` lies; without an end, as far as its segment goes."""
        home = next(m for m in self._memory if m.start <= start <= m.start + len(m.data))
        end = home.start + len(home.data) if end is None else end
        return _Place(start, home.data, start - home.start, end - home.start)

    def _on_doorbell(self, uc: Any, offset: int, size: int, value: int, user_data: object) -> None:
        del user_data
        value &= (1 << 8 * size) - 1
        if self._swapped:
            value = int.from_bytes(value.to_bytes(size, "little"), "big")
        region = value >> DOORBELL_REGION
        if offset or size != _DOORBELL_SIZE or region >= len(self._opened) or value & 0xF & ~_ANY_PERMISSION:
            self._refused = f"a store of {value:#x} ({size} bytes) to the doorbell, which takes no such value"
            self._fault_address = self._doorbell.start + offset
            uc.emu_stop()
            return
        self._changes += 1
        start, length = self._opened[region]
        if self._recorder:
            self._recorder.on_protection(start, length, value & _ANY_PERMISSION)
        permissions = _protection((value & 1) << 2 | value & 2 | value >> 2 & 1)
        self._protect(region, permissions)
        (self._left_changed.discard if permissions == _READ_EXECUTE else self._left_changed.add)(region)

    def _protect(self, region: int, permissions: int) -> None:
        start, length = self._opened[region]
        if length:
            self.uc.mem_protect(start, length, permissions)
            if self._pages is not None:
                self._pages.update(dict.fromkeys(range(start, start + length, self._page), permissions))

    def _on_question(self, uc: Any, offset: int, size: int, user_data: object) -> int:
        """What is wrong with the text's protection (:data:`~farm.scenario.layout.TEXT_FAULTS`), as Unicorn has it."""
        del offset, user_data
        text = [range(place.address, place.address + place.size) for place, _ in self._pristine]
        present = [
            permissions
            for first, last, permissions in uc.mem_regions()
            if any(first < part.stop and part.start <= last for part in text)
        ]
        wrong = {
            "writable": any(p & uc_const.UC_PROT_WRITE for p in present),
            "unreadable": not all(p & uc_const.UC_PROT_READ for p in present),
            "not-executable": not all(p & uc_const.UC_PROT_EXEC for p in present),
        }
        value = sum(TEXT_FAULTS[name] for name, is_wrong in wrong.items() if is_wrong)
        return int.from_bytes(value.to_bytes(size, "little"), "big") if self._swapped else value

    def _on_invalid(self, uc: Any, access: int, address: int, size: int, value: int, user_data: object) -> bool:
        del uc, access, size, value, user_data
        self._fault_address = address
        return False

    # Ways round limits of Unicorn, by their names in arch.toml.

    def _quirk_virtual_tlb(self) -> None:
        """An identity mapping supplied by the host.

        The default MMU model of 64-bit ppc refuses to fetch, and that of s390x to fetch from a page that cannot be
        written: it asks for a fetch (access type 2) as for a store (not 0).

        Unicorn reports a refusal as a CPU exception and calls no other hook, so what was refused is noted here.
        """

        def fill(uc: Any, address: int, access: int, entry: Any, user_data: object) -> bool:
            del uc, user_data
            entry.paddr = address & -self._page
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
                for page in range(start, end, self._page)
            }
        return self._pages.get(address & -self._page, 0)

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

    def _quirk_sparc_stop_trap(self) -> None:
        """The guest ends with a trap at ``farm_stop``: for sparc, Unicorn does not end a run at an address.

        Every other trap is a fault, since there is no operating system to take it.
        """
        stop = self._until
        self._until = 0

        def on_trap(uc: Any, number: int, user_data: object) -> None:
            del user_data
            if self.pc in (stop, stop + 4):  # as the version has it
                uc.reg_write(self._pc, stop)
            else:
                self._trap = number
            uc.emu_stop()

        self.uc.hook_add(uc_const.UC_HOOK_INTR, on_trap)

    def _set_msr(self, bits: int) -> None:
        register = self._register("MSR")
        self.uc.reg_write(register, self.uc.reg_read(register) | bits)

    def _quirk_riscv_fp(self) -> None:
        """mstatus.FS: floating-point registers exist (Privileged ISA, "Extension Context Status")."""
        register = self._register("MSTATUS")
        self.uc.reg_write(register, self.uc.reg_read(register) | 3 << 13)

    def _quirk_riscv_zbc(self) -> None:
        """CLMUL, CLMULR and CLMULH (extension Zbc) are illegal to Unicorn: done here; pc is already behind them."""
        x0 = self._register("X0")
        size = self.image.word_size

        def trapped(uc: Any, number: int, user_data: object) -> None:
            del user_data
            word = int.from_bytes(uc.mem_read(self.pc - 4, 4), "little")
            shift = _CLMUL_SHIFT.get(word & _CLMUL_MASK)
            if number != _RISCV_ILLEGAL or shift is None:
                raise GuestFault(_FAULTS[uc_const.UC_ERR_EXCEPTION], self.pc, None)
            a, b = (uc.reg_read(x0 + (word >> field & 31)) for field in (15, 20))
            if rd := word >> 7 & 31:
                uc.reg_write(x0 + rd, _carry_less(a, b) >> shift[size] & (1 << 8 * size) - 1)

        self.uc.hook_add(uc_const.UC_HOOK_INTR, trapped)

    def _quirk_mips_fr(self) -> None:
        """Status.FR: 32 floating-point registers of 64 bits, as n64 has them."""
        register = self._register("CP0_STATUS")
        self.uc.reg_write(register, self.uc.reg_read(register) | 1 << 26)

    def _quirk_s390x_64(self) -> None:
        """PSW bits 31 and 32 (Principles of Operation, "Program-Status-Word Format"): 64-bit addresses, not 24-bit."""
        self.uc.reg_write(self._register("PSWM"), 1 << 32 | 1 << 31)

    def _quirk_s390x_fp(self) -> None:
        """CR0 bit 45 (Principles of Operation, "Control Registers"): all sixteen floating-point registers."""
        self._set_control_0(1 << 63 - 45)

    def _quirk_s390x_vector(self) -> None:
        """CR0 bit 46: vector registers exist."""
        self._set_control_0(1 << 63 - 46)

    def _set_control_0(self, bits: int) -> None:
        """Unicorn 2.1.2 has no names for control registers, so the CPU stores and loads it: STCTG and LCTLG.

        Both address page 0 without any register.  It is there for the moment only.
        """
        code, value = 0x200, 0x100
        self.uc.mem_map(0, _PAGE)
        for opcode, wanted in ((0x25, 0), (0x2F, bits)):
            old = int.from_bytes(self.uc.mem_read(value, 8), "big")
            self.uc.mem_write(value, (old | wanted).to_bytes(8, "big"))
            self.uc.mem_write(code, struct.pack(">BBHBB", 0xEB, 0, value, 0, opcode))
            self.uc.ctl_remove_cache(code, code + 6)
            self.uc.emu_start(code, code + 6)
        self.uc.mem_unmap(0, _PAGE)

    # Running.

    def reset(self) -> None:
        """Back to the pristine image: all code is compared, and what differs is rewritten; all data is as loaded."""
        if self._left_changed:
            self._protect(_ALL_TEXT, _READ_EXECUTE)
            self._left_changed.clear()
        for place, pristine in self._compared() if self._different is None else self._different:
            self._rewrite(place, pristine)
        self._different = None
        for data, initial in self._initial:
            data[:] = initial
        self.rewind()

    def left_changed(self) -> bool:
        """Whether text is changed that patching does not change, so that a guest's own reset would not put it back.

        The next :meth:`reset` need not compare again.
        """
        self._different = self._compared()
        return any(self._is_beyond_patching(place, pristine) for place, pristine in self._different)

    def _compared(self) -> list[tuple[_Place, bytes]]:
        return [(place, pristine) for place, pristine in self._pristine if place.read() != pristine]

    def _is_beyond_patching(self, place: _Place, pristine: bytes) -> bool:
        if place.address in self._patched:
            return False
        content = bytearray(place.read())
        for site in self.image.sites:
            at = site.address - place.address
            if 0 <= at < place.size:
                content[at : at + 4] = pristine[at : at + 4]
        return content != pristine

    def rewind(self) -> None:
        """Registers as at the start; memory stays as the last run left it."""
        self.uc.context_restore(self._registers)
        self.uc.reg_write(self._sp, self._top)  # which a context of sparc64 lacks, as it does the whole window

    def _rewrite(self, place: _Place, pristine: bytes) -> None:
        """What lies between the first and the last byte that differ, of every page."""
        for start in range(-(place.address % _PAGE), place.size, _PAGE):
            page = slice(max(start, 0), min(start + _PAGE, place.size))
            now, was = place.data[place.first + page.start : place.first + page.stop], pristine[page]
            if now != was:
                changed = int.from_bytes(now, "little") ^ int.from_bytes(was, "little")
                first, end = ((changed & -changed).bit_length() - 1) // 8, (changed.bit_length() + 7) // 8
                at = page.start + first
                place.data[place.first + at : place.first + page.start + end] = was[first:end]
                self.uc.ctl_remove_cache(place.address + at, place.address + page.start + end)

    def run(self, program: bytes) -> bytes:
        """The trace of ``program``.

        Raises :class:`GuestFault`; after that the machine must not be used again.
        """
        self._different = None
        if self._changes > _CHANGES_A_BUFFER:
            self.uc.ctl_flush_tb()
            self._changes = 0
        place = self._program
        place.data[place.first : place.first + len(program)] = program
        try:
            self.uc.emu_start(self.image.symbols["farm_enter"], self._until)
        except unicorn.UcError as error:
            raise GuestFault(_fault_name(error, self._fault), self.pc, self._fault_address) from None
        if self._refused is not None:
            raise GuestFault(self._refused, self.pc, self._fault_address)
        if self._trap is not None:
            raise GuestFault(f"trap {self._trap:#x}", self.pc, None)
        place = self._trace
        _, _, _, _, events, _, _, code = self._head.unpack_from(place.data, place.first)
        size = self._head.size + 4 * EVENT_WORDS * events + code
        return place.data[place.first : min(place.first + size, place.end)]

    def path(self, program: bytes, limit: int) -> list[int]:
        """The address of every instruction that ``program`` executes, in order.

        Only on a machine that has run nothing yet: code that is translated already calls no hook.

        Raises :class:`GuestFault`, also if there are more than ``limit``.
        """
        executed: list[int] = []

        def on_instruction(uc: Any, address: int, size: int, user_data: object) -> None:
            del size, user_data
            executed.append(address)
            if len(executed) > limit:
                self._refused = f"more than {limit:,} instructions, which is as many as are recorded,"
                uc.emu_stop()

        self.uc.hook_add(uc_const.UC_HOOK_CODE, on_instruction)
        self.run(program)
        return with_skipped(executed, self._halfword) if self._is_thumb else executed

    def _on_block(self, uc: Any, address: int, size: int, user_data: object) -> None:
        del uc, user_data
        start, end = self._last
        self._blocks[start, end, address] += 1
        self._last = address, address + size

    def blocks(self) -> Counter[tuple[int, int, int]]:
        """How often each watched block (:class:`~farm.engines.Block`) was executed since this was last asked."""
        self._blocks[*self._last, 0] += 1
        counts, self._blocks, self._last = self._blocks, Counter(), _NOWHERE
        return Counter({block: count for block, count in counts.items() if block[:2] != _NOWHERE})

    def record(self, limit: int) -> Recorder:
        """What the next run executes and stores, of its first ``limit`` instructions.

        Only on a machine that has run nothing yet, as :meth:`path`.  Instructions of an IT block whose condition fails
        are not in it: they do nothing.
        """
        argument, result = _REGISTERS[self._module]
        functions = self.image.functions
        encoders = _Encoders(
            {functions[name] for name in ENCODERS if name in functions},
            _spans(functions.values()),
            self._register(argument) if argument else None,
            self._register(result),
        )
        self._recorder = recorder = Recorder(self.uc, limit, self._doorbell, encoders, sized=self._module != _SIZELESS)
        self.uc.hook_add(uc_const.UC_HOOK_CODE, recorder.on_instruction)
        self.uc.hook_add(uc_const.UC_HOOK_MEM_WRITE, recorder.on_store)
        return recorder

    def _halfword(self, address: int) -> int:
        return int.from_bytes(self.uc.mem_read(address, 2), "big" if self.image.big_endian else "little")

    def code(self) -> bytes:
        """What patching has changed, as it is now."""
        start, size = self.image.patched
        return self._place(start, start + size).read()

    @property
    def pc(self) -> int:
        return int(self.uc.reg_read(self._pc))

    def at_stop(self) -> bool:
        """The guest ended by itself."""
        return self.pc == self.image.symbols["farm_stop"]

    def stop(self) -> None:
        """End the run; may be called from another thread."""
        self.uc.emu_stop()


class _Encoders(NamedTuple):
    """The functions that make the words of code, and how they are called."""

    starts: set[int]
    functions: dict[int, range]  #: every function of the guest, by where it begins
    argument: int | None  #: the register of the first argument; None: it is on the stack
    result: int


def _spans(starts: Iterable[int]) -> dict[int, range]:
    """Where each function's code lies: up to the next one's."""
    ordered = sorted(set(starts))
    return {start: range(start, end) for start, end in zip(ordered, [*ordered[1:], 1 << 64], strict=True)}


class Recorder:
    """What one run did (:meth:`Machine.record`).

    What a store changed is read from memory before it and, by the time of the next instruction, after it: the value
    that a hook is told comes in an order that differs between CPUs.
    """

    def __init__(self, uc: Any, limit: int, doorbell: range, encoders: _Encoders, *, sized: bool) -> None:
        self.count = 0  #: of instructions executed, those beyond the limit too
        #: each instruction met, by address and bytes then, and its number; of a sizeless one LONGEST bytes
        self.code: dict[tuple[int, bytes], int] = {}
        self.executed = array.array("I")  #: their numbers, in order
        #: place in ``executed``, address, bytes before, bytes after
        self.stores: list[tuple[int, int, bytes, bytes]] = []
        #: place in ``executed``, address, size, permissions as the guest asks for them: 1 read, 2 write, 4 execute
        self.protections: list[tuple[int, int, int, int]] = []
        self._uc = uc
        self._limit = limit
        self._doorbell = doorbell
        self._sized = sized
        self._pending: list[tuple[int, bytes]] = []
        #: place in ``executed`` of the last instruction, where the encoder begins, its first argument, what it returned
        self.encoded: list[tuple[int, int, int, int]] = []
        self._encoders = encoders
        self._encoding: list[range] = []  # the encoder that runs, and what it has called
        self._at = 0

    def on_instruction(self, uc: Any, address: int, size: int, user_data: object) -> None:
        del uc, user_data
        self.settle()
        if self._encoding or address in self._encoders.starts:
            self._follow(address)
        self.count += 1
        if self.count <= self._limit:
            size = min(size, LONGEST) if self._sized else LONGEST
            key = address, self._read(address, size)
            self.executed.append(self.code.setdefault(key, len(self.code)))

    def _read(self, address: int, size: int) -> bytes:
        """What is there, as far as the guest's memory goes; pages begin at multiples of less than a page."""
        try:
            return bytes(self._uc.mem_read(address, size))
        except unicorn.UcError:
            return bytes(self._uc.mem_read(address, min(size, -address % _PAGE)))

    def _follow(self, address: int) -> None:
        """Note what an encoder returns, at the first instruction behind it."""
        if any(address in span for span in self._encoding):
            return
        known = self._encoders
        if address in known.functions:  # called, or reached by a tail call
            if not self._encoding and known.argument:
                self._at = self._uc.reg_read(known.argument)
            self._encoding.append(known.functions[address])
            return
        if self.count <= self._limit:
            value = self._uc.reg_read(known.result) & 0xFFFFFFFF
            self.encoded.append((len(self.executed) - 1, self._encoding[0].start, self._at, value))
        self._encoding.clear()

    def on_store(self, uc: Any, access: int, address: int, size: int, value: int, user_data: object) -> None:
        del access, value, user_data
        if self.count <= self._limit and address not in self._doorbell:
            try:
                self._pending.append((address, bytes(uc.mem_read(address, size))))
            except unicorn.UcError:
                return  # unmapped: the guest is about to die of it

    def on_protection(self, start: int, size: int, permissions: int) -> None:
        if self.count <= self._limit:
            self.protections.append((len(self.executed) - 1, start, size, permissions))

    def settle(self) -> None:
        """Note what the last instruction's stores have left; to be called once more at the end."""
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

_RISCV_ILLEGAL = 2  # exception code (Privileged ISA, "mcause")

#: By the bits that tell CLMUL, CLMULR and CLMULH: where the half of the product that they give begins, by word size.
_CLMUL_MASK = 0xFE00707F
_CLMUL_SHIFT = {0x0A001033: {4: 0, 8: 0}, 0x0A002033: {4: 31, 8: 63}, 0x0A003033: {4: 32, 8: 64}}


def _carry_less(a: int, b: int) -> int:
    product = 0
    while b:
        bit = b & -b
        product ^= a * bit
        b ^= bit
    return product


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
