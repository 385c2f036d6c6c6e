"""The `detour` mechanism: instructions that it moves do what they did, as Unicorn and capstone have it."""

from __future__ import annotations

import functools
import random
import struct

import capstone
import pytest
import unicorn

from farm.engines.unicorn.machine import Machine
from farm.guest import arch_toml, build, disassemble, mechanisms
from farm.guest.image import Spec
from farm.scenario import FUNCTIONS, Defect, FailPoke, Scenario, Status, Target, code, patch, query, restore, wire

DETOUR = mechanisms.load()["detour"]
VARIANTS = {name: variant for name, variant in arch_toml.load().items() if not DETOUR.missing(variant)}
ANNEX_BYTES, MOVED, LITERALS = 128, 32, 96  # images/mechanism/detour/annex.h

_X86 = ("AX", "BX", "CX", "DX", "SI", "DI", "BP", "SP")

#: Registers that a prologue may touch, by architecture, and how to say of each flag register that all are set or none.
REGISTERS = {
    "x86_64": ([*(f"R{name}" for name in _X86), *(f"R{n}" for n in range(8, 16))], "EFLAGS", (0x202, 0xAD7)),
    "i386": ([f"E{name}" for name in _X86], "EFLAGS", (0x202, 0xAD7)),
    "arm64": ([*(f"X{n}" for n in range(31)), "SP"], "NZCV", (0, 0xF000_0000)),
    "arm": ([*(f"R{n}" for n in range(13)), "SP", "LR"], "APSR_NZCV", (0, 0xF000_0000)),
    "riscv": ([f"X{n}" for n in range(1, 32)], None, (None,)),
}


@functools.cache
def guest(name):
    variant = VARIANTS[name]
    return build.image(Spec(variant, "detour", next(iter(variant.toolchain))))


@functools.cache
def annexes(name):
    """Where annexes lie, in the order of first patches."""
    return guest(name).symbols["patched_end"]


def machine_of(name, *steps):
    """A machine on which ``steps`` have been run."""
    variant = VARIANTS[name]
    machine = Machine(guest(name), variant.engine["unicorn"])
    machine.reset()
    if steps:
        asked = Scenario("BS-99", "moved", "moved", steps, frozenset({Defect.LOST_PATCH}))
        machine.run(wire.encode(asked, big_endian=variant.big_endian))
    return machine


def outcome(machine, registers, begin, until, seed, flags):
    """What registers and the stack hold when ``until`` is reached from ``begin``; registers as ``seed`` has them."""
    chance = random.Random(seed)
    names, flag_register, _ = registers
    machine.rewind()
    top = machine._top - 512
    for name in names:
        value = 0 if seed % 2 else chance.getrandbits(31)  # branches on zero are taken, and not
        machine.uc.reg_write(machine.register(name), top if name in ("SP", "ESP", "RSP", "X2") else value)
    machine.uc.mem_write(top - 256, chance.randbytes(512))
    if flag_register:
        machine.uc.reg_write(machine.register(flag_register), flags)
    machine.uc.emu_start(begin, until, count=200)
    assert machine.pc & ~1 == until, f"{begin:#x} does not lead to {until:#x} but to {machine.pc:#x}"
    left = [machine.uc.reg_read(machine.register(name)) for name in names]
    kept = machine.uc.reg_read(machine.register(flag_register)) & flags if flag_register else 0
    return left, kept, bytes(machine.uc.mem_read(top, 256))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_moved_prologue_does_what_it_did(name):
    variant, image = VARIANTS[name], guest(name)
    whole, moved = machine_of(name), machine_of(name, *(patch(n, "fast") for n in range(len(FUNCTIONS))))
    registers = REGISTERS.get(name) or REGISTERS[variant.architecture]
    for n in range(len(FUNCTIONS)):
        until = image.functions[f"default_{n}"]
        for seed in range(4):
            for flags in registers[2]:
                was = outcome(
                    whole, registers, image.functions[f"whatever_{n}"] | image.function_bias, until, seed, flags
                )
                begin = annexes(name) + n * ANNEX_BYTES + MOVED | image.function_bias
                assert outcome(moved, registers, begin, until, seed, flags) == was, f"whatever_{n}, {seed}, {flags}"


#: Of the guest's own text, what fills it.
REFUSED = {"unimp", "c.unimp"}


class Mover:
    """Asks the guest's own ``move_instruction`` what it makes of an instruction at the beginning of ``whatever_0``."""

    ROOM = 4096

    def __init__(self, name):
        self.variant, self.image, self.machine = VARIANTS[name], guest(name), machine_of(name)
        self.uc, self.word = self.machine.uc, self.variant.word_size
        self.order = ">" if self.variant.big_endian else "<"
        self.function = self.image.functions["move_instruction"] & ~self.image.function_bias
        self.at = annexes(name)
        self.source = self.image.functions["whatever_0"]
        self.scratch = self.image.symbols["farm_trace"]
        size = "Q" if self.word == 8 else "I"
        self.head = struct.Struct(f"{self.order}{size}{size}III?")

    def register(self, name):
        return self.machine.register(name)

    def move(self, code):
        """Size of what was moved (0: refused), whether it ends, what was written, and the literals behind it."""
        self.uc.mem_write(self.source, code)
        self.machine.rewind()
        self.uc.mem_write(
            self.scratch, self.head.pack(self.at, self.source, 0, MOVED, LITERALS, False) + bytes(ANNEX_BYTES)
        )
        answer = self.scratch + self.ROOM
        self.call(self.scratch, self.source, answer)
        packed = self.returned(answer)
        size, ends = struct.unpack(f"{self.order}I?", packed[:5])
        state = bytes(self.uc.mem_read(self.scratch, self.head.size + ANNEX_BYTES))
        _, _, _, written, literals, failed = self.head.unpack_from(state)
        content = state[self.head.size :]
        return (0 if failed else size), ends, content[MOVED:written], content[LITERALS:literals]

    def call(self, annex, source, answer):
        stop, architecture = self.image.symbols["farm_stop"], self.variant.architecture
        sp = self.machine._top - 512
        if architecture == "x86":
            arguments = [("RDI", annex), ("RSI", source)] if self.word == 8 else []
            stack = [stop] if self.word == 8 else [stop, answer, annex, source]
            sp -= 64 + (8 if self.word == 8 else 12)
            self.uc.mem_write(sp, struct.pack(f"<{len(stack)}{'Q' if self.word == 8 else 'I'}", *stack))
        elif architecture == "arm":
            arguments = [("R0", answer), ("R1", annex), ("R2", source), ("LR", stop | self.image.function_bias)]
        elif architecture == "arm64":
            arguments = [("X0", annex), ("X1", source), ("X30", stop)]
        else:
            arguments = [("X10", annex), ("X11", source), ("X1", stop)]
        stack_pointer = self.variant.engine["unicorn"].stack_pointer
        for register, value in [*arguments, (stack_pointer, sp)]:
            self.uc.reg_write(self.register(register), value)
        self.uc.emu_start(self.function | self.image.function_bias, stop, count=20_000)
        assert self.machine.pc & ~1 == stop

    def returned(self, answer):
        """The eight bytes of a struct."""
        architecture = self.variant.architecture
        if architecture == "arm" or self.variant.name == "i386":
            return bytes(self.uc.mem_read(answer, 8))
        names = {"x86": ["RAX"], "arm64": ["X0"]}.get(architecture, ["X10"] if self.word == 8 else ["X10", "X11"])
        size = "Q" if self.word == 8 else "I"
        return struct.pack(f"{self.order}{len(names)}{size}", *(self.uc.reg_read(self.register(n)) for n in names))


def disassembler(name):
    """A new one each time: of Thumb it remembers an IT."""
    architecture, *modes = VARIANTS[name].disassembler
    mode = sum(getattr(capstone, f"CS_MODE_{disassemble._MODES.get(m, m).upper()}") for m in modes)
    engine = capstone.Cs(getattr(capstone, f"CS_ARCH_{architecture.upper()}"), mode)
    engine.detail = True
    return engine


def decoded(name, code, address):
    return next(disassembler(name).disasm(code, address, 1), None)


def text_of(instruction):
    return f"{instruction.mnemonic} {instruction.op_str}".strip()


def is_relative(name, code, address, *, is_own):
    """The instruction is written otherwise at another address, or reads the pc.

    By chance most that have the pc where they read are UNPREDICTABLE on arm, and nobody's: of those, loads from there.
    """
    here, there = decoded(name, code, address), decoded(name, code, address + 0x12340000)
    if (
        here.mnemonic.split(".")[0] in ("auipc", "adrp", "adr")
        or text_of(here) != text_of(there)
        or "[rip" in here.op_str
    ):
        return True
    if not is_own:
        return "[pc" in here.op_str
    reads = {here.reg_name(register) for register in here.regs_access()[0]}
    return VARIANTS[name].architecture == "arm" and bool(reads & {"pc", "r15"})


def samples(name, count):
    """Instructions of the guest's own text, and bytes by chance: each whether it is the guest's, and 16 bytes."""
    image, variant, chance = guest(name), VARIANTS[name], random.Random(name)
    start, end = image.symbols["text_start"], image.symbols["text_end"]
    text = image.bytes_at(start, end - start)
    own = [i.address - start for i in disassemble.decoded(variant, text, start) if not i.text.startswith(".")]
    for at in chance.sample(own[:-8], min(count, len(own) - 8)):
        yield True, text[at : at + 16]
    chance = random.Random(name)  # whatever the guest's text is
    for _ in range(count):
        yield False, chance.randbytes(16)


def arrive(machine, registers, begin, end, seed, bias):
    """Registers and where execution that begins at ``begin`` is when it has left the bytes up to ``end``."""
    chance = random.Random(seed)
    machine.rewind()
    machine.uc.ctl_remove_cache(begin, end + 16)
    top, pc = machine._top - 512, begin
    for name in registers[0]:
        value = top if name in ("SP", "ESP", "RSP", "X2") else chance.choice((0, 1, chance.getrandbits(31)))
        machine.uc.reg_write(machine.register(name), value)
    if registers[1]:
        machine.uc.reg_write(machine.register(registers[1]), chance.choice(registers[2]))
    for _ in range(20):
        if not begin <= pc < end:
            break
        try:
            machine.uc.emu_start(pc | bias, 0, count=1)
        except unicorn.UcError as error:
            if error.errno != unicorn.unicorn_const.UC_ERR_FETCH_UNMAPPED:  # where it leads there need be nothing
                return None
        pc = machine.pc & ~bias
    return pc, [machine.uc.reg_read(machine.register(name)) for name in registers[0]]


@pytest.mark.parametrize("name", VARIANTS)
def test_what_says_where_it_lies_is_written_anew_and_all_else_is_copied(name):
    mover, variant, followed = Mover(name), VARIANTS[name], 0
    registers, moved_at = REGISTERS.get(name) or REGISTERS[variant.architecture], mover.at + MOVED
    for seed, (is_own, sample) in enumerate(samples(name, 200)):
        instruction = decoded(name, sample, mover.source)
        if instruction is None:
            continue
        size, _, written, literals = mover.move(sample)
        text, whole = text_of(instruction), bytes(instruction.bytes)
        if instruction.mnemonic.startswith("it"):
            continue
        relative = is_relative(name, sample, mover.source, is_own=is_own)
        assert size in (0, len(whole)), text
        assert size or relative or not is_own or text in REFUSED, text
        if not size or (written == whole and not relative):
            continue
        assert relative or (VARIANTS[name].architecture == "arm" and not is_own), text
        assert written != whole, text
        mover.uc.mem_write(moved_at, written)
        mover.uc.mem_write(mover.at + LITERALS, literals)
        bias = mover.image.function_bias
        was = arrive(mover.machine, registers, mover.source, mover.source + size, seed, bias)
        now = arrive(mover.machine, registers, moved_at, moved_at + len(written), seed, bias)
        if was is None:  # there is nothing where it loads from
            continue
        followed += 1
        if now and now[0] == moved_at + len(written):
            now = (mover.source + size, now[1])
        assert now == was, (text, whole.hex(), written.hex())
    assert followed > 20


#: Blocks of Thumb: what they are made of, and the bytes.
BLOCKS = {
    "itte eq; moveq r0, #1; ldreq r1, [pc, #4]; addne r2, #1": "06bf 0120 0149 0132",
    "ite cs; bcs.w 0x20 on; movcc r3, #7": "2cbf 00f010b8 0723",
    "itttt mi; addmi r0, r1; ldrmi.w r2, [pc, #8]; addmi r3, #1; adrmi r4, 8 on": "41bf 4018 dff80820 0133 02a4",
    "itt ne; popne.w {r0, r1}; subne r2, #3": "1cbf bde80300 033a",
}


@pytest.mark.parametrize("code", BLOCKS.values(), ids=BLOCKS)
def test_a_moved_it_block_does_what_it_did_whatever_its_condition(code):
    code, mover, ends = bytes.fromhex(code), Mover("thumb"), set()
    uc, top = mover.uc, mover.machine._top - 512
    size, _, written, literals = mover.move(code)
    assert size == len(code)
    uc.mem_write(mover.source + size, b"\x00\xbf" * 8)
    uc.mem_write(mover.at + MOVED, written)
    uc.mem_write(mover.at + LITERALS, literals)

    def left(begin, size, flags):
        uc.ctl_remove_cache(begin, begin + 64)
        for number in range(13):
            uc.reg_write(mover.register(f"R{number}"), 0x1001 * number)
        uc.mem_write(top, bytes(range(64)))
        uc.reg_write(mover.register("SP"), top)
        uc.reg_write(mover.register("APSR_NZCV"), flags << 28)
        elsewhere = mover.source + 0x28  # where the branch leads
        hook = uc.hook_add(unicorn.unicorn_const.UC_HOOK_CODE, lambda *_: uc.emu_stop(), None, elsewhere, elsewhere + 1)
        uc.emu_start(begin | 1, begin + size, count=30)
        uc.hook_del(hook)
        names = ("APSR_NZCV", "SP", *(f"R{number}" for number in range(13)))
        end = "behind" if mover.machine.pc & ~1 == begin + size else mover.machine.pc & ~1
        return end, [uc.reg_read(mover.register(name)) for name in names]

    for flags in range(16):
        was = left(mover.source, size, flags)
        assert left(mover.at + MOVED, len(written), flags) == was
        ends.add((was[0], *was[1][1:]))
    assert len(ends) == 2, "its condition is met, or it is not"


#: Sizes of the stores to an entry that lead it elsewhere, in order: what is not one lets whoever comes meanwhile wait.
STORES = {
    "x86_64": {0: [8], 5: [2, 8, 8]},
    "i386": {0: [2, 4, 4], 5: [2, 4, 4]},
    "arm64": {0: [8], 5: [8]},
    "arm64be": {0: [8], 5: [8]},
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("target", ["fast", "far"])
def test_an_entry_changes_in_one_store_or_waits_until_the_last(name, target):
    variant, start = VARIANTS[name], guest(name).symbols["stub_start"]
    for function, sizes in STORES.get(name, {0: [4], 5: [4]}).items():
        machine, seen = machine_of(name, patch(function, "other"), restore(function)), []
        entry = start + function * 64
        machine.uc.hook_add(
            unicorn.unicorn_const.UC_HOOK_MEM_WRITE,
            lambda _uc, _access, _address, size, _value, seen: seen.append(size),
            seen,
            entry,
            entry + 63,
        )
        asked = Scenario("BS-99", "stores", "stores", (patch(function, target),), frozenset({Defect.LOST_PATCH}))
        machine.run(wire.encode(asked, big_endian=variant.big_endian))
        assert seen == sizes, f"whatever_{function}"


@pytest.mark.parametrize("name", ["x86_64", "i386"])
def test_of_a_patch_that_fails_after_some_of_its_stores_nothing_remains(name):
    machine, decoder, answers = machine_of(name), guest(name).decoder(), []
    for number in range(1, 5):
        steps = (patch(5, "other"), restore(5), FailPoke(number), patch(5, "fast"), code(5), query(5))
        asked = Scenario("BS-99", "fails", "fails", steps, frozenset({Defect.HALF_DONE}))
        machine.reset()
        events = decoder.decode(machine.run(wire.encode(asked, big_endian=False))).events
        target = Target(events[-1].target & 0xFF)
        answers.append((Status(events[-3].value), bool(events[-2].value), target))
    refused = (Status.READ_ONLY, False, Target.DEFAULT)
    assert answers == [refused, refused, refused, (Status.OK, True, Target.FAST)]
