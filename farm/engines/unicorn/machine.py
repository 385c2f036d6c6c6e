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
* Code that the host writes stays stale until ``ctl_remove_cache``, and so does code that the guest writes at another
  address (:mod:`~farm.engines.unicorn.alias`); what it writes where it executes does not.
* A change of protection splits a mapping, and one ``ctl_remove_cache`` across the split leaves code behind it stale, so
  it is called for each page.
* Unicorn 2.1.2 dies, or jumps somewhere, when its buffer of translated code is full; so translations are dropped in
  time, between two runs.
* A conditional branch of a 32-bit x86 to the upper half of memory is told to hooks by its address extended by its sign.
* After an error a Uc may be unusable, so a faulted machine is thrown away by whoever runs it.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import struct
from collections import Counter
from typing import TYPE_CHECKING, Any

import unicorn
import unicorn.unicorn_const as uc_const

from farm.engines.unicorn.alias import SECOND, Alias
from farm.engines.unicorn.memory import PAGE, Memory, Place, differences
from farm.engines.unicorn.quirks import QUIRKS
from farm.engines.unicorn.recorder import Recorder, with_skipped
from farm.engines.unicorn.traps import answer_breakpoints
from farm.engines.unicorn.watcher import Watcher
from farm.guest.layout import REGIONS
from farm.guest.variant import REGISTER_MODULES, UnicornSettings
from farm.scenario.layout import DOORBELL_REGION, EVENT_WORDS, FEATURES, HEADER_WORDS, TEXT_FAULTS, TRACE_EVENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from farm.engines import Note, Watch
    from farm.guest.image import Image

_STACK_OFFSET = 0x180000  # from the start of the text
_STACK_SIZE = 0x10000
_DOORBELL_OFFSET = 0x1C0000  # all within 2 MiB: what a change of protection costs grows with the tables, one each
_TCG_BUFFER = 16 << 20  # the default of 1 GiB fills up over a long run
_CHANGES_A_BUFFER = 4096  # of code, after which all translations are dropped: some 2 MiB, the rest is for one long run

_EXECUTE, _WRITE, _READ = 1, 2, 4  # of an ELF segment; mprotect has them in the opposite order

_DOORBELL_SIZE = 4  # bytes of a store
_ANY_PERMISSION = 7
_LITERALS = list(REGIONS).index("TEXT_LITERALS")
_IN_SECOND = 8  # added to the permissions that are recorded of a second mapping

_CONTEXT_HEAD = 40  # bytes: size, mode, architecture, and pointers to what memory was like

_LONGEST = 24  # bytes of an instruction, and more

_RED_ZONE = 512  # bytes of a stack below its pointer that may hold something: the largest red zone has 288

_NOWHERE = (0, 0)  # the block before the first

#: By Unicorn's module of constants: the register that has the address to return to where a function begins; where
#: there is none, the stack's top has it.
_LINKS = {
    "arm64_const": "LR",
    "arm_const": "LR",
    "mips_const": "RA",
    "ppc_const": "LR",
    "riscv_const": "RA",
    "s390x_const": "R14",
}


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

    ``program`` and trace are bytes in the variant's byte order (:mod:`farm.scenario.wire`).  Of code in ``watched``,
    ranges of addresses, every block that is executed is counted (:meth:`blocks`).
    """

    def __init__(self, image: Image, settings: UnicornSettings, watched: Sequence[tuple[int, int]] = ()) -> None:
        self.image = image
        self.module = REGISTER_MODULES[settings.arch]  #: Unicorn's, of the architecture's constants
        data_only = "ARMBE8" in settings.mode  # with BIG_ENDIAN, instructions of arm would be big-endian too
        mode = uc_const.UC_MODE_BIG_ENDIAN if image.big_endian and not data_only else 0
        for name in settings.mode:
            mode |= getattr(uc_const, f"UC_MODE_{name}")
        self.uc = unicorn.Uc(getattr(uc_const, f"UC_ARCH_{settings.arch}"), mode)
        self.uc.ctl_set_tcg_buffer_size(_TCG_BUFFER)
        if settings.cpu:
            self.uc.ctl_set_cpu_model(_constant(self.module, settings.cpu_prefix + settings.cpu))
        self.page: int = max(PAGE, self.uc.ctl_get_page_size())  #: bytes; of sparc64 8192
        self._sp = self.register(settings.stack_pointer)
        self._pc = self.register(settings.program_counter)
        self.fault_address: int | None = None  #: of the access that was refused
        self.error: int | None = None  #: what was, as Unicorn numbers errors, if it does not tell that itself
        self._refused: str | None = None  # what the guest asked of the doorbell that it does not do
        self._protections: dict[int, int] = {}  # permissions of regions, the one that was set last at the end
        self._left_changed: set[int] = set()  # regions whose protection is not as the image was loaded
        self._changes = 0  # of code since translations were last dropped
        self._pages: dict[int, int] | None = None  # permissions
        self.swaps_devices = False  #: a device sees the bytes of a word the other way round than the guest
        self.until = image.symbols["farm_stop"]  #: the address at which Unicorn ends a run
        self.trap: int | None = None  #: the number of one that the guest must not take
        self._traps: list[Callable[[int], bool]] = []
        self.on_push: Callable[[int, int], None] | None = None  #: is told address and size of what the CPU pushes
        self._recorder: Recorder | None = None
        self._watcher: Watcher | None = None
        self._load()
        features = sum(FEATURES[name] for name in settings.features)
        self.uc.mem_write(image.symbols["farm_features"], struct.pack(self._order + "I", features))
        self._initial = [(memory.data, memory.data[:]) for memory in self._memory if memory.is_writable]
        for quirk in settings.quirks:
            QUIRKS[quirk](self)
        answer_breakpoints(self)
        self.uc.hook_add(uc_const.UC_HOOK_MEM_INVALID, self._on_invalid)
        top = image.symbols["text_start"] + _STACK_OFFSET + _STACK_SIZE
        self._top = top - 512
        self.uc.reg_write(self._sp, self._top)
        self._registers = self.uc.context_save()
        self.highest = (1 << 8 * image.word_size) - 1  #: address
        self.is_thumb = "THUMB" in settings.mode  #: bit 0 of an address says so where a run begins
        self._blocks: Counter[tuple[int, int, int]] = Counter()
        self._last = _NOWHERE
        for start, end in watched:
            self.uc.hook_add(uc_const.UC_HOOK_BLOCK, self._on_block, None, start, end - 1)

    def register(self, name: str) -> int:
        """Unicorn's number of a register of this architecture."""
        return _constant(self.module, f"UC_{self.module.removesuffix('_const').upper()}_REG_{name}")

    # Memory.

    def _load(self) -> None:
        content = self.image.read()
        symbols = self.image.symbols
        self._memory: list[Memory] = []
        for s in self.image.segments:
            start = s.address & -self.page
            size = self._whole(s.address + s.size) - start
            data = bytearray(size)
            data[s.address - start : s.address - start + s.file_size] = content[s.offset : s.offset + s.file_size]
            # Where the host supplies the TLB, Unicorn cannot divide a mapping that nobody may execute.
            end = self._whole(symbols["literal_end"] - start)
            apart = end if start == symbols["literal_start"] < symbols["literal_end"] else 0
            for at, piece in ((start, data[:apart]), (start + apart, data[apart:])):
                if piece:
                    self._lend(at, piece, s.flags)
        names = ("text", "module", "sites", "stub", "far", "literal")
        regions = [self._place(symbols[f"{name}_start"], symbols[f"{name}_end"]) for name in names]
        self._pristine = [(place, place.read()) for place in regions if place.size]  # what is not writable
        self._different: list[tuple[Place, bytes]] | None = None  # of it; None: it is not known
        self._patched = {symbols["module_start"], self.image.patched[0]}  # regions that a guest's own reset puts back
        self._program = self._place(symbols["farm_program"])
        self._trace = self._place(symbols["farm_trace"])
        base = symbols["text_start"]
        self._lend(base + _STACK_OFFSET, bytearray(_STACK_SIZE), _READ | _WRITE)
        self.stack = self._place(base + _STACK_OFFSET)
        self.doorbell = range(base + _DOORBELL_OFFSET, base + _DOORBELL_OFFSET + self.page)
        self.uc.mmio_map(self.doorbell.start, self.page, self._on_question, None, self._on_doorbell, None)
        spans = [(symbols[start], self._whole(symbols[end] - symbols[start])) for start, end in REGIONS.values()]
        self._opened = dict(enumerate(spans))
        self.alias = Alias.of(self.image, self.page)
        for start, end in self.alias.pieces(spans):
            self._map(self._place(start, end), start + self.alias.distance, 0)
        for number, (start, size) in enumerate(spans, SECOND):
            if self.alias.has(start, size):
                self._opened[number] = start + self.alias.distance, size
        # Text that is stored to in its second mapping, and what of it is translated, if it is.
        executable = self.image.alias and self.image.alias != "TEXT_LITERALS"
        self._twice = self._place(self.alias.first.start, self.alias.first.stop) if executable else None
        self._translated = self._twice.read() if self._twice else b""
        order = ">" if self.image.big_endian else "<"
        word = "Q" if self.image.word_size == 8 else "I"
        self.uc.mem_write(symbols["farm_doorbell"], struct.pack(order + word, self.doorbell.start))
        self._order = order
        self._head = struct.Struct(f"{order}{HEADER_WORDS}I")

    def _lend(self, start: int, content: bytearray, flags: int) -> None:
        """Memory of the guest's with these ELF segment flags, which is the host's own."""
        data = mmap.mmap(-1, len(content), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        data[:] = content
        self._memory.append(Memory(start, data, bool(flags & _WRITE)))
        self._map(Place(start, data, 0, len(data)), start, _protection(flags))

    def _map(self, place: Place, at: int, permissions: int) -> None:
        """Map the host's memory of ``place`` at ``at``."""
        self.uc.mem_map_ptr(
            at, place.size, permissions, ctypes.addressof(ctypes.c_char.from_buffer(place.data, place.first))
        )

    def read(self, address: int, size: int) -> bytes:
        """Bytes of the guest's memory, of which all must be there; faster than asking Unicorn."""
        address = self.alias.origin(address)
        for memory in self._memory:
            first = address - memory.start
            if 0 <= first < len(memory.data):
                return memory.data[first : first + size]
        return bytes(self.uc.mem_read(address, size))

    def _whole(self, size: int) -> int:
        """``size`` in whole pages."""
        return -(-size // self.page) * self.page

    def _place(self, start: int, end: int | None = None) -> Place:
        """Place of ``start`` to ``end`` in the host's memory; without an end, as far as its segment goes."""
        homes = (m for m in self._memory if m.start <= start <= m.start + len(m.data))
        home = max(homes, key=lambda memory: memory.start)  # an empty place may begin where one memory ends
        end = home.start + len(home.data) if end is None else end
        return Place(start, home.data, start - home.start, end - home.start)

    def _on_doorbell(self, uc: Any, offset: int, size: int, value: int, user_data: object) -> None:
        del user_data
        value &= (1 << 8 * size) - 1
        if self.swaps_devices:
            value = int.from_bytes(value.to_bytes(size, "little"), "big")
        region = value >> DOORBELL_REGION
        if offset or size != _DOORBELL_SIZE or region not in self._opened or value & 0xF & ~_ANY_PERMISSION:
            self._refused = f"a store of {value:#x} ({size} bytes) to the doorbell, which takes no such value"
            self.fault_address = self.doorbell.start + offset
            uc.emu_stop()
            return
        self._changes += 1
        start, length = self._opened[region]
        if self._recorder:
            second = _IN_SECOND if region >= SECOND else 0
            self._recorder.on_protection(self.alias.origin(start), length, value & _ANY_PERMISSION | second)
        if self._watcher:
            self._watcher.on_protection(self.alias.origin(start), length, value & _ANY_PERMISSION)
        permissions = _protection((value & 1) << 2 | value & 2 | value >> 2 & 1)
        self._protect(region, permissions)
        if region >= SECOND and not permissions & uc_const.UC_PROT_WRITE:
            self._refresh()
        (self._left_changed.discard if permissions == _closed(region) else self._left_changed.add)(region)

    def protections(self) -> dict[int, int]:
        """Permissions of the regions that a doorbell has opened or closed so far; the last one at the end."""
        return dict(self._protections)

    def protect(self, protections: Mapping[int, int]) -> None:
        """Have regions be as :meth:`protections` told of them."""
        if [*self._protections.items()] != [*protections.items()]:
            for region in self._protections.keys() - protections.keys():
                self._protect(region, _closed(region))
            for region, permissions in protections.items():  # they may overlap: the last one holds
                self._protect(region, permissions)
            self._protections = dict(protections)

    def _protect(self, region: int, permissions: int) -> None:
        start, length = self._opened[region]
        self._protections.pop(region, None)
        self._protections[region] = permissions
        if length:
            self.uc.mem_protect(start, length, permissions)
            if self._pages is not None:
                self._pages.update(dict.fromkeys(range(start, start + length, self.page), permissions))

    def _on_question(self, uc: Any, offset: int, size: int, user_data: object) -> int:
        """Faults in the text's protection (:data:`~farm.scenario.layout.TEXT_FAULTS`), as Unicorn has it."""
        del offset, user_data
        text = [range(place.address, place.address + place.size) for place, _ in self._pristine]
        literals = self.image.symbols["literal_start"]
        present = [
            (permissions, part.start)
            for first, last, permissions in uc.mem_regions()
            for part in text
            if first < part.stop and part.start <= last
        ]
        wrong = {
            "writable": any(p & uc_const.UC_PROT_WRITE for p, _ in present) or self._alias_is_writable(),
            "unreadable": not all(p & uc_const.UC_PROT_READ for p, _ in present),
            "not-executable": not all(p & uc_const.UC_PROT_EXEC for p, start in present if start != literals),
        }
        value = sum(TEXT_FAULTS[name] for name, is_wrong in wrong.items() if is_wrong)
        return int.from_bytes(value.to_bytes(size, "little"), "big") if self.swaps_devices else value

    def _alias_is_writable(self) -> bool:
        second = (page + self.alias.distance for page in self.alias.first[:: self.page])
        return any(self.permissions(page) & uc_const.UC_PROT_WRITE for page in second)

    def _refresh(self) -> None:
        """Drop translations of what has been stored to in the second mapping."""
        if self._twice:
            for first, end in differences(self._twice, self._translated):
                self.uc.ctl_remove_cache(self._twice.address + first, self._twice.address + end)
            self._translated = self._twice.read()

    def forget(self) -> None:
        """Drop all translations of what is mapped twice, which the host may have changed."""
        if self._twice:
            for page in range(self._twice.address & -self.page, self._twice.address + self._twice.size, self.page):
                self.uc.ctl_remove_cache(page, page + self.page)
            self._translated = self._twice.read()

    def _on_invalid(self, uc: Any, access: int, address: int, size: int, value: int, user_data: object) -> bool:
        del uc, access, size, value, user_data
        self.fault_address = address
        return False

    def on_trap(self, take: Callable[[int], bool]) -> None:
        """Have ``take`` told the number of each exception; it says whether the guest goes on, for it has done its work.

        An exception that nobody takes is a fault.
        """
        if not self._traps:
            self.uc.hook_add(uc_const.UC_HOOK_INTR, self._on_trap)
        self._traps.append(take)

    def _on_trap(self, uc: Any, number: int, user_data: object) -> None:
        del uc, user_data
        if not any(take(number) for take in self._traps):
            raise self.fault(uc_const.UC_ERR_EXCEPTION)

    def flushed(self, start: int, size: int) -> None:
        """The guest has had the kernel do the maintenance of these addresses."""
        if self._watcher:
            self._watcher.on_kernel(start, size)

    def permissions(self, address: int) -> int:
        """Permissions at ``address``, as Unicorn's ``UC_PROT_`` bits; 0 if nothing is there."""
        if self._pages is None:
            self._pages = {
                page: permissions
                for start, end, permissions in self.uc.mem_regions()
                for page in range(start, end, self.page)
            }
        return self._pages.get(address & -self.page, 0)

    # Running.

    def reset(self) -> None:
        """Back to the pristine image: all code is compared, and what differs is rewritten; all data is as loaded."""
        if self._left_changed:
            for region in self._opened:
                self._protect(region, _closed(region))
            self._left_changed.clear()
        for place, pristine in self._compared() if self._different is None else self._different:
            self._rewrite(place, pristine)
        self._different = None
        self._refresh()
        for data, initial in self._initial:
            data[:] = initial
        self.rewind()

    def left_changed(self) -> bool:
        """Tell whether text is changed that patching does not change, so that a guest's own reset would not undo it.

        The next :meth:`reset` need not compare again.
        """
        self._different = self._compared()
        return any(self._is_beyond_patching(place, pristine) for place, pristine in self._different)

    def _compared(self) -> list[tuple[Place, bytes]]:
        return [(place, pristine) for place, pristine in self._pristine if place.read() != pristine]

    def _is_beyond_patching(self, place: Place, pristine: bytes) -> bool:
        if place.address in self._patched:
            return False
        content = bytearray(place.read())
        for site in self.image.sites:
            at = site.address - place.address
            if 0 <= at < place.size:
                content[at - site.opcode : at + 4] = pristine[at - site.opcode : at + 4]
        return content != pristine

    def rewind(self) -> None:
        """Registers as at the start; memory stays as the last run left it."""
        self.uc.context_restore(self._registers)
        self.uc.reg_write(self._sp, self._top)  # which a context of sparc64 lacks, as it does the whole window

    def _rewrite(self, place: Place, pristine: bytes) -> None:
        for first, end in differences(place, pristine):
            place.data[place.first + first : place.first + end] = pristine[first:end]
            self.uc.ctl_remove_cache(place.address + first, place.address + end)

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
            self.uc.emu_start(self.image.symbols["farm_enter"], self.until)
        except unicorn.UcError as error:
            raise self.fault(error.errno if self.error is None else self.error, str(error)) from None
        if refused := self.refused:
            raise GuestFault(refused, self.pc, self.fault_address if self.trap is None else None)
        return self.trace()

    def trace(self) -> bytes:
        """The trace that the guest has written."""
        place = self._trace
        _, _, _, _, events, _, _, code = self._head.unpack_from(place.data, place.first)
        size = self._head.size + 4 * EVENT_WORDS * events + code
        return place.data[place.first : min(place.first + size, place.end)]

    @property
    def events_room(self) -> range:
        """Addresses where the guest writes events."""
        start = self._trace.address + self._head.size
        return range(start, start + 4 * EVENT_WORDS * TRACE_EVENTS)

    def events(self) -> bytes:
        """The events of the trace that the guest has written, and nothing else of it."""
        place = self._trace
        events = self._head.unpack_from(place.data, place.first)[4]
        first = place.first + self._head.size
        return place.data[first : min(first + 4 * EVENT_WORDS * events, place.end)]

    @property
    def refused(self) -> str:
        """What the guest did that ended its run although its CPU allows it; empty if there is nothing."""
        if self._refused is not None:
            return self._refused
        return f"trap {self.trap:#x}" if self.trap is not None else ""

    def poke(self, address: int, content: bytes) -> None:
        """Change memory as another CPU does: whatever its protection, and what was translated of it is dropped."""
        place = self._place(address, address + len(content))
        place.data[place.first : place.end] = content
        self.uc.ctl_remove_cache(address, address + len(content))

    @contextlib.contextmanager
    def put_back(self) -> Iterator[None]:
        """Have all memory be afterwards as it is now."""
        kept = [(Place(memory.start, memory.data, 0, len(memory.data)), memory.data[:]) for memory in self._memory]
        try:
            yield
        finally:
            for place, content in kept:
                self._rewrite(place, content)

    def path(self, program: bytes, limit: int) -> list[int]:
        """The address of every instruction that ``program`` executes, in order.

        Only on a machine that has run nothing yet: code that is translated already calls no hook.

        Raises :class:`GuestFault`, also if there are more than ``limit``.
        """
        executed: list[int] = []

        def on_instruction(uc: Any, address: int, size: int, user_data: object) -> None:
            del size, user_data
            executed.append(address & self.highest)
            if len(executed) > limit:
                self._refused = f"more than {limit:,} instructions, which is as many as are recorded,"
                uc.emu_stop()

        self.uc.hook_add(uc_const.UC_HOOK_CODE, on_instruction)
        self.run(program)
        return with_skipped(executed, self._halfword) if self.is_thumb else executed

    def _on_block(self, uc: Any, address: int, size: int, user_data: object) -> None:
        del uc, user_data
        start, end = self._last
        self._blocks[start, end, address] += 1
        self._last = address, address + size

    def blocks(self) -> Counter[tuple[int, int, int]]:
        """Number of executions of each watched block (:class:`~farm.engines.Block`) since this was last asked."""
        self._blocks[*self._last, 0] += 1
        counts, self._blocks, self._last = self._blocks, Counter(), _NOWHERE
        return Counter({block: count for block, count in counts.items() if block[:2] != _NOWHERE})

    def record(self, limit: int) -> Recorder:
        """Record what the next run executes and stores in its first ``limit`` instructions.

        Only on a machine that has run nothing yet, as :meth:`path`.  Instructions of an IT block whose condition fails
        are not in it: they do nothing.
        """
        self._recorder = Recorder(self, limit)
        return self._recorder

    def watch(self, watch: Watch, *, ends: bool = False) -> None:
        """Note from now on what ``watch`` wants (:meth:`notes`).  Only on a machine that has run nothing yet.

        With ``ends``, a run ends where the notes do, so that its trace is none.
        """
        self._watcher = Watcher(self, watch, ends=ends)

    def notes(self) -> list[Note]:
        """The notes since this was last asked; none if nothing is watched."""
        return self._watcher.take() if self._watcher else []

    def _halfword(self, address: int) -> int:
        return int.from_bytes(self.uc.mem_read(address, 2), "big" if self.image.big_endian else "little")

    def code(self) -> bytes:
        """The bytes that patching changes, as they are now."""
        start, size = self.image.patched
        return self._place(start, start + size).read()

    @property
    def pc(self) -> int:
        return int(self.uc.reg_read(self._pc))

    @pc.setter
    def pc(self, address: int) -> None:
        self.uc.reg_write(self._pc, address)

    @property
    def stack_pointer(self) -> int:
        return int(self.uc.reg_read(self._sp))

    def stack_in_use(self, *, red_zone: bool = True) -> bytes:
        """The upper end of :attr:`stack`, of which nothing further down holds anything; all of it if another is used.

        Without ``red_zone`` nothing below the stack pointer does.
        """
        stack, pointer = self.stack, self.stack_pointer
        if not stack.address <= pointer <= stack.address + stack.size:
            return stack.read()
        used = stack.first + pointer - stack.address - (_RED_ZONE if red_zone else 0)
        return stack.data[max(stack.first, used) : stack.end]

    def return_address(self) -> int:
        """Where the function returns to that is about to begin."""
        if link := _LINKS.get(self.module):
            return int(self.uc.reg_read(self.register(link))) & self.highest & (~1 if self.is_thumb else -1)
        word = self.read(self.stack_pointer, self.image.word_size)
        return int.from_bytes(word, "big" if self.image.big_endian else "little")

    def push(self, address: int, content: bytes) -> None:
        """Store what the CPU pushes as it takes a trap, with the stack pointer behind it; no hook is called for it."""
        if self.on_push:
            self.on_push(address, len(content))
        self.uc.mem_write(address, content)
        self.uc.reg_write(self._sp, address)

    def is_text(self, address: int) -> bool:
        """Tell whether the guest may store to ``address`` only while it has been opened."""
        home = max((m for m in self._memory if m.start <= address), key=lambda memory: memory.start, default=None)
        return home is not None and not home.is_writable

    def fault(self, error: int, otherwise: str = "") -> GuestFault:
        """The fault that a Unicorn error of this number is, here and now; ``otherwise`` names one without a name."""
        return GuestFault(_FAULTS.get(error, otherwise), self.pc, self.fault_address)

    @property
    def loses_flags(self) -> bool:
        """A stop from a hook loses the condition codes, which are worked out at the end of a block and not within."""
        return self.module == "m68k_const"

    @contextlib.contextmanager
    def ending(self, start: int, addresses: Iterable[int]) -> Iterator[None]:
        """While this is entered, a run that begins at ``start`` ends in front of the instructions at ``addresses``."""
        self.uc.ctl_remove_cache(start, start + _LONGEST)
        self.uc.ctl_exits_enabled(True)
        try:
            self.uc.ctl_set_exits([*addresses, self.until])
            yield
        finally:
            self.uc.ctl_exits_enabled(False)
            self.uc.ctl_remove_cache(start, start + _LONGEST)

    def at_stop(self) -> bool:
        """The guest ended by itself."""
        return self.pc == self.image.symbols["farm_stop"]

    def stop(self) -> None:
        """End the run; may be called from another thread."""
        self.uc.emu_stop()


def contents(registers: Any) -> bytes:
    """What is in ``registers``, a context of Unicorn's: equal if all registers are; it begins with pointers."""
    return bytes(registers)[_CONTEXT_HEAD:]


def _closed(region: int) -> int:
    """Permissions of a region that nobody has open."""
    return 0 if region >= SECOND else _protection(_READ if region == _LITERALS else _READ | _EXECUTE)


def _protection(flags: int) -> int:
    """ELF segment flags as Unicorn's."""
    protection = 0
    protection |= uc_const.UC_PROT_READ if flags & _READ else 0
    protection |= uc_const.UC_PROT_WRITE if flags & _WRITE else 0
    protection |= uc_const.UC_PROT_EXEC if flags & _EXECUTE else 0
    return protection


#: By Unicorn's number of an error: what the guest did.
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
