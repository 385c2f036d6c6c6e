"""Default bodies: what each prologue leaves alone, what is in its head, and that moving it carelessly is noticed."""

from __future__ import annotations

import functools
import json
import re
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
import unicorn
from helpers import farm
from unicorn import arm64_const, arm_const, riscv_const, x86_const

from farm.cell import Verdict
from farm.errors import MissingToolError
from farm.guest import arch_toml, bodies, build, disassemble, elf, mechanisms
from farm.guest.image import Spec
from farm.run.bench import Bench
from farm.run.plan import Selection
from farm.scenario import EVERYWHERE, FUNCTIONS, Kind, Shape, call, code, has_call_site, restore

VARIANTS = arch_toml.load()
HEADER = (mechanisms.common() / "entry.h").read_text(encoding="utf-8")
BYTES, HEAD, PROLOGUES = (
    int(re.search(rf"#define ENTRY_{name} (\d+)", HEADER)[1]) for name in ("BYTES", "HEAD", "PROLOGUES")
)
STACK, MOVED = 0x7000_0000, 0x4000_0000  # where nothing of a guest is
ABOVE, BELOW = 64, 128  # bytes of the stack that are looked at


class Cpu(NamedTuple):
    """A CPU of Unicorn, and what the functions may do to it."""

    arch: int
    mode: int
    constants: object
    registers: str
    stack: str
    flags: tuple[str, int, int]  #: the register, and its value with the carry clear and set
    may: frozenset[str]  #: registers that every function may write
    jump: int  #: bytes that the longest jump takes the place of
    free: frozenset[int] = frozenset({5})  #: prologues that may be moved as they are
    later: dict[int, frozenset[str]] = {}  # noqa: RUF012 - what further ones may, by prologue, none of BARE's functions


CPUS = {
    "x86_64": Cpu(
        unicorn.UC_ARCH_X86,
        unicorn.UC_MODE_64,
        x86_const,
        "RAX RBX RCX RDX RSI RDI RBP R8 R9 R10 R11 R12 R13 R14 R15",
        "RSP",
        ("EFLAGS", 0x2, 0x3),
        frozenset({"R11"}),
        5,
        frozenset({5, 7}),
        {4: frozenset({"RCX"}), 8: frozenset({"EFLAGS"})},
    ),
    "i386": Cpu(
        unicorn.UC_ARCH_X86,
        unicorn.UC_MODE_32,
        x86_const,
        "EAX EBX ECX EDX ESI EDI EBP",
        "ESP",
        ("EFLAGS", 0x2, 0x3),
        frozenset({"EAX"}),
        5,
        frozenset({1, 5, 7}),
        {4: frozenset({"ECX"})},
    ),
    "arm64": Cpu(
        unicorn.UC_ARCH_ARM64,
        unicorn.UC_MODE_ARM,
        arm64_const,
        " ".join(f"X{n}" for n in range(31)),
        "SP",
        ("NZCV", 0, 0x20000000),
        frozenset({"X16", "X17"}),
        16,
    ),
    **{
        name: Cpu(
            unicorn.UC_ARCH_ARM,
            mode,
            arm_const,
            " ".join([*(f"R{n}" for n in range(13)), "LR"]),
            "SP",
            ("APSR_NZCV", 0, 0x20000000),
            frozenset(),
            8,
            frozenset({5}),
            {4: frozenset({"R12"}), 7: frozenset({"R12"})},
        )
        for name, mode in (("arm", unicorn.UC_MODE_ARM), ("thumb", unicorn.UC_MODE_THUMB))
    },
    "riscv64": Cpu(
        unicorn.UC_ARCH_RISCV,
        unicorn.UC_MODE_RISCV64,
        riscv_const,
        " ".join(f"X{n}" for n in range(1, 32) if n != 2),
        "X2",
        ("X10", 0, 0x77),  # there are no flags: a0, which a prologue branches on
        frozenset({"X5", "X6"}),
        8,
    ),
}


class Linked(NamedTuple):
    """The default bodies of a variant, linked."""

    segments: list[tuple[int, bytes]]
    functions: dict[str, int]

    def bytes_at(self, address, size):
        start, data = next((s, d) for s, d in self.segments if s <= address < s + len(d))
        return data[address - start : address - start + size]


@functools.cache
def linked(name):
    with tempfile.TemporaryDirectory() as work:
        path = build.bodies(Spec(VARIANTS[name], "stub"), Path(work))
        segments, _, functions = elf.read(path, VARIANTS[name])
        content = path.read_bytes()
    filled = [(s.address, elf.bytes_at(content, (s,), s.address, s.size)) for s in segments if s.flags & 1]
    return Linked(filled, functions)


class Machine:
    """A CPU with the bodies in its memory, and something in every register and around the stack pointer."""

    def __init__(self, name, *, carry):
        self.name, self.cpu, self.linked = name, CPUS[name], linked(name)
        self.uc = unicorn.Uc(self.cpu.arch, self.cpu.mode)
        pages = set()
        for start, data in (*self.linked.segments, (STACK, bytes(0x2000)), (MOVED, bytes(0x2000))):
            for page in range(start & -0x1000, start + len(data), 0x1000):
                if page not in pages:
                    pages.add(page)
                    self.uc.mem_map(page, 0x1000)
            self.uc.mem_write(start, data)
        self.uc.mem_write(STACK, bytes(range(1, 256)) * 32)
        for number, register in enumerate(self.cpu.registers.split()):
            self.uc.reg_write(self.constant(register), 0x1234_5600 + number)
        register, *values = self.cpu.flags
        self.uc.reg_write(self.constant(register), values[carry])
        self.uc.reg_write(self.constant(self.cpu.stack), STACK + 0x1000)

    def constant(self, register):
        prefix = self.cpu.constants.__name__.rpartition(".")[2].partition("_")[0].upper()
        return getattr(self.cpu.constants, f"UC_{prefix}_REG_{register}")

    @property
    def pc(self):
        names = {"x86_64": "RIP", "i386": "EIP"}
        return self.uc.reg_read(self.constant(names.get(self.name, "PC")))

    def run(self, start, end):
        """Run from ``start`` to ``end``; whether it got there."""
        try:
            self.uc.emu_start(start | (self.name == "thumb"), end, count=64)
        except unicorn.UcError:
            return False
        return self.pc == end

    def state(self, function):
        """All that ``function`` has to leave as it is."""
        prologue = function % PROLOGUES
        may = self.cpu.may | self.cpu.later.get(prologue, frozenset())
        registers = {*self.cpu.registers.split(), self.cpu.stack, self.cpu.flags[0]} - may
        below = BELOW if FUNCTIONS[function] is Kind.INT else 0  # only a BARE call site has anything there
        stack = bytes(self.uc.mem_read(STACK + 0x1000 - below, below + ABOVE))
        return stack, {register: self.uc.reg_read(self.constant(register)) for register in sorted(registers)}


@pytest.mark.parametrize("function", range(len(FUNCTIONS)))
@pytest.mark.parametrize("name", CPUS)
def test_a_body_reaches_its_default_with_everything_as_the_caller_left_it(name, function):
    for carry in (False, True):
        machine = Machine(name, carry=carry)
        functions = machine.linked.functions
        before = machine.state(function)
        assert machine.run(functions[f"whatever_{function}"], functions[f"default_{function}"])
        assert machine.state(function) == before


def instructions(name, function):
    """The instructions in the head of ``function``."""
    start = linked(name).functions[f"whatever_{function}"]
    return list(disassemble.decoded(VARIANTS[name], linked(name).bytes_at(start, HEAD), start))


@pytest.mark.parametrize("prologue", range(PROLOGUES))
@pytest.mark.parametrize("name", CPUS)
def test_a_prologue_that_is_moved_as_it_is_goes_astray_unless_it_may_be(name, prologue):
    cpu, start = CPUS[name], linked(name).functions[f"whatever_{prologue}"]
    size = 0
    for instruction in instructions(name, prologue):
        if size >= cpu.jump:
            break
        size += len(instruction.data)
    arrived = []
    for carry in (False, True):
        machine = Machine(name, carry=carry)
        machine.uc.mem_write(MOVED, machine.linked.bytes_at(start, size))
        machine.uc.mem_write(start, bytes(cpu.jump))  # where the jump would be
        default = machine.linked.functions[f"default_{prologue}"]
        arrived.append(machine.run(MOVED, MOVED + size) and machine.run(start + size, default))
    assert all(arrived) == (prologue in cpu.free), arrived


@pytest.mark.parametrize("name", CPUS)
def test_nothing_in_a_body_leads_into_its_head_and_heads_are_in_slots_of_one_size(name):
    starts = [linked(name).functions[f"whatever_{function}"] for function in range(len(FUNCTIONS))]
    assert starts == [starts[0] + BYTES * function for function in range(len(FUNCTIONS))]
    for start in starts:
        slot = linked(name).bytes_at(start, BYTES)
        for instruction in disassemble.decoded(VARIANTS[name], slot, start):
            for word in re.findall(r"0x([0-9a-f]+)", instruction.text):
                assert not start <= int(word, 16) < start + HEAD, instruction


def test_bodies_are_listed_by_variant_and_function():
    rows = {row["name"]: row["code"] for row in json.loads(farm("list", "bodies", "--json").stdout)}
    having = [v for v in VARIANTS.values() if bodies.exist(v)]
    assert {v.architecture for v in having} == {"arm", "arm64", "riscv", "x86"}
    assert list(rows) == [f"{v.name}/whatever_{number}" for v in having for number in range(len(FUNCTIONS))]
    assert re.fullmatch(r"bti c; ldr x16, \S+ <whatever_0\+0x20>; br x16; \S+ default_0", rows["arm64/whatever_0"])
    assert re.fullmatch(r"mov r11, qword ptr \[rip \+ 0x19\]; jmp r11; \S+ default_9", rows["x86_64/whatever_9"])
    assert rows["thumb/whatever_8"].startswith("it hs; ldrhs.w pc, [pc, #0x1c]; b.w ")


def test_what_cannot_assemble_bodies_is_said_in_their_place(monkeypatch):
    from farm.cli import listing

    def missing(variant, toolchain):
        raise MissingToolError(f"{toolchain} for {variant.name}", "pip install it")

    monkeypatch.setattr(bodies, "of", missing)
    rows = listing.rows("bodies", Selection())
    assert [row["name"] for row in rows] == [v.name for v in VARIANTS.values() if bodies.exist(v)]
    assert all("pip install it" in row["reason"] for row in rows)


IDLE = {
    "mechanism.toml": f"""
what = "functions whose entry could be overwritten, and is not"
sources = ["idle.c"]
architecture = ["entry.S", "patch.c"]
functions = "entry"
bytes = {BYTES}
promises = ["transparent", "restores-bytes"]
""",
    "idle.c": """
#include "mechanism.h"

uint32_t mechanism_set(uint32_t n, uintptr_t target) { return (void)n, (void)target, PATCH_UNSUPPORTED; }
uint32_t mechanism_restore(uint32_t n) { return (void)n, PATCH_OK; }
uint32_t mechanism_null(uint32_t n) { return (void)n, PATCH_UNSUPPORTED; }
uint32_t mechanism_ret0(uint32_t n) { return (void)n, PATCH_UNSUPPORTED; }
uintptr_t mechanism_query(uint32_t n) { return ARCH_CODE(target_addresses[n][TARGET_DEFAULT]); }
""",
}


@pytest.mark.parametrize("name", ["i386", "arm64"])
def test_a_mechanism_that_leaves_them_alone_has_them_as_its_functions(name, tmp_path, scenario):
    (tmp_path / "idle").mkdir()
    for file, text in IDLE.items():
        (tmp_path / "idle" / file).write_text(text, encoding="utf-8")
    spec = Spec(VARIANTS[name], "idle", foreign=mechanisms.read(tmp_path / "idle"))
    bench = Bench.of(spec, "unicorn", 5.0)
    start, size = bench.image.patched
    assert size == BYTES * len(FUNCTIONS)
    assert bench.image.functions["whatever_1"] == start + BYTES
    shapes = {shape: 2 if shape in (Shape.LOOPED, Shape.CALLBACK, Shape.RECURSIVE) else 1 for shape in Shape}
    steps = [
        call(function, 0x1_0000_0005, shape, count=count)
        for function in EVERYWHERE
        for shape, count in shapes.items()
        if has_call_site(function, shape) and shape is not Shape.MODULE
    ]
    result = bench.result(scenario(*steps, restore(0), code()))
    assert result.verdict is Verdict.PASS, result.reason
