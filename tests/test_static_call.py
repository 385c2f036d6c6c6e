"""Static calls: what a trampoline and the call sites hold, and in which stores they get there."""

from __future__ import annotations

import functools

import pytest
from capstone import CS_ARCH_PPC, CS_ARCH_X86, CS_MODE_32, CS_MODE_64, CS_MODE_BIG_ENDIAN, Cs
from unicorn import unicorn_const as uc_const

from farm.engines.unicorn.machine import Machine
from farm.guest import arch_toml, build
from farm.guest.image import Spec
from farm.scenario import FUNCTIONS, Defect, Kind, Scenario, null, patch, ret0, wire

VOID, INT, LONG = (FUNCTIONS.index(kind) for kind in (Kind.VOID, Kind.INT, Kind.LONG))
VARIANTS = ["x86_64", "i386", "ppc32"]


@functools.cache
def guest(name):
    variant = arch_toml.load()[name]
    return build.image(Spec(variant, "static-call", next(iter(variant.toolchain))))


def after(name, *steps):
    """Machine that ran ``steps``, and address and size of each store to its call sites and trampolines."""
    variant, seen = arch_toml.load()[name], []
    machine = Machine(guest(name), variant.engine["unicorn"])
    symbols = guest(name).symbols
    machine.uc.hook_add(
        uc_const.UC_HOOK_MEM_WRITE,
        lambda _uc, _access, address, size, _value, _data: seen.append((address, size)),
        None,
        symbols["module_start"],
        symbols["stub_end"] - 1,
    )
    asked = Scenario("BS-99", "stores", "stores", steps, frozenset({Defect.LOST_PATCH}))
    machine.reset()
    machine.run(wire.encode(asked, big_endian=variant.big_endian))
    return machine, seen


def code(name, machine, address):
    """The instruction at ``address``, as capstone has it; an address of the guest by its name."""
    mode = {
        "x86_64": (CS_ARCH_X86, CS_MODE_64),
        "i386": (CS_ARCH_X86, CS_MODE_32),
        "ppc32": (CS_ARCH_PPC, CS_MODE_32 | CS_MODE_BIG_ENDIAN),
    }
    found = next(Cs(*mode[name]).disasm(bytes(machine.uc.mem_read(address, 8)), address))
    text = f"{found.mnemonic} {found.op_str}".strip()
    for function, at in guest(name).functions.items():
        if text.endswith(f" {at:#x}"):
            text = text.replace(f"{at:#x}", function)
    return text


def sites(name, function):
    """The instructions of the call sites of ``function`` outside the module."""
    before = 0 if name == "ppc32" else 1
    return [site.address - before for site in guest(name).sites if site.function == function and not site.module]


def split(name, places):
    """Of ``places``, those whose five bytes lie in one aligned quadword, and the others."""
    whole = [at for at in places if name == "ppc32" or at % 8 <= 3]
    return whole, [at for at in places if at not in whole]


@pytest.mark.parametrize(
    ("name", "request_", "function", "calls", "jumps"),
    [
        ("x86_64", null, VOID, "nop dword ptr [rax + rax]", "ret"),
        ("x86_64", ret0, INT, "xor eax, eax", "jmp return_zero"),
        ("x86_64", ret0, LONG, "xor eax, eax", "jmp return_zero"),
        ("ppc32", null, VOID, "nop", "blr"),
        ("ppc32", ret0, INT, "li r3, 0", "b return_zero"),
        ("ppc32", ret0, LONG, "bl return_zero", "b return_zero"),
        ("i386", null, VOID, "call return_void", "jmp return_void"),
        ("i386", ret0, INT, "call return_zero", "jmp return_zero"),
    ],
)
def test_call_sites_do_in_place_what_their_target_would(name, request_, function, calls, jumps):
    pristine, _ = after(name)
    machine, _ = after(name, request_(function))
    here, elsewhere = split(name, sites(name, function))
    assert here
    for at in here:
        was, now = code(name, pristine, at), code(name, machine, at)
        conditional = was.split()[0] not in ("call", "bl", "jmp", "b")
        if not conditional:
            assert now == (calls if was.startswith(("call", "bl")) else jumps), f"{was} at {at:#x}"
    for at in elsewhere:
        assert code(name, machine, at).split()[0] == code(name, pristine, at).split()[0], "led by its operand alone"


def test_a_jump_under_a_condition_keeps_it():
    machine, _ = after("x86_64", ret0(INT))
    conditional = guest("x86_64").functions[f"conditional_{INT}"]
    places = [at - 1 for at in sites("x86_64", INT) if conditional <= at < conditional + 32]
    assert [code("x86_64", machine, at) for at in places] == ["jne return_zero"]


@pytest.mark.parametrize("name", ["x86_64", "i386"])
def test_between_two_stores_a_trampoline_is_a_return(name):
    opcode = guest(name).functions[f"whatever_{VOID}"]
    trampoline = range(opcode, opcode + 5)

    def stores(*steps):
        return [(at - opcode, size) for at, size in after(name, *steps)[1] if at in trampoline]

    assert stores(null(VOID)) == [(0, 1), (1, 4)], "the return, then what stands behind it"
    assert stores(null(VOID), patch(VOID, "fast"))[2:] == [(1, 4), (0, 1)], "where to jump, then the jump"
    assert stores(patch(VOID, "fast"), patch(VOID, "other")) == [(1, 4), (1, 4)], "from jump to jump in one store"


def test_the_data_of_a_ppc_trampoline_is_there_before_the_instruction_that_leads_to_it():
    at = guest("ppc32").functions[f"whatever_{INT}"]
    assert after("ppc32", patch(INT, "far"))[1] == [(at + 28, 4), (at, 4)]


@pytest.mark.parametrize("name", VARIANTS)
def test_each_call_site_takes_one_store(name):
    _, seen = after(name, null(VOID))
    opcode = guest(name).functions[f"whatever_{VOID}"]
    stores = [(at, size) for at, size in seen if at not in range(opcode, opcode + 32)]
    assert len(stores) == len(sites(name, VOID))
    assert all(at % size == 0 or (size == 4 and at % 8 <= 4) for at, size in stores)


@pytest.mark.parametrize(("name", "nothing", "zero"), [("x86_64", "ret", "jmp return_zero"), ("ppc32", "blr", "b 0x")])
def test_out_of_line_a_trampoline_is_a_return_or_leads_to_one(name, nothing, zero):
    at = guest(name).functions[f"whatever_{VOID}"]
    assert code(name, after(name, null(VOID))[0], at) == nothing
    assert code(name, after(name, ret0(VOID))[0], at).startswith(zero)
