"""What a patch stores into code, in the order and in the pieces that another CPU would see (CC-01, CC-05, CC-15)."""

from __future__ import annotations

import pytest
from unicorn import unicorn_const as uc_const

from farm.engines import Note, Noted, Watch
from farm.engines.unicorn.machine import Machine
from farm.guest import arch_toml, build, mechanisms
from farm.guest.image import Spec
from farm.guest.variant import UnicornSettings
from farm.scenario import Defect, Patch, Restore, Scenario, Target, call, wire

VARIANTS = [
    variant
    for variant in arch_toml.load().values()
    if isinstance(variant.engine.get("unicorn"), UnicornSettings) and not variant.engine["unicorn"].since
]
CASES = [
    pytest.param(variant, mechanism, id=f"{variant.name}-{mechanism}")
    for variant in VARIANTS
    for mechanism in ("stub", "relocated")
    if not mechanisms.load()[mechanism].missing(variant)
]


def stores(variant, guest, *steps):
    """Address and size of each store between the first call site and the last literal.

    What is mapped twice is stored to in its second mapping alone; the address is the first one.
    """
    machine, seen = Machine(guest, variant.engine["unicorn"]), []
    second = guest.symbols["alias_start"]
    spans = [(guest.symbols["sites_start"], guest.symbols["literal_end"])]
    spans += [(second, second + len(guest.mapped_twice))] if guest.mapped_twice else []
    for start, end in spans:
        machine.uc.hook_add(
            uc_const.UC_HOOK_MEM_WRITE,
            lambda _uc, _access, address, size, _value, _data: seen.append((address, size)),
            None,
            start,
            end - 1,
        )
    asked = Scenario("BS-99", "stores", "stores", steps, frozenset({Defect.LOST_PATCH}))
    machine.reset()
    machine.run(wire.encode(asked, big_endian=variant.big_endian))
    assert not [store for store in seen if store[0] in guest.mapped_twice]
    return [(machine.alias.origin(address), size) for address, size in seen]


@pytest.mark.parametrize(("variant", "mechanism"), CASES)
def test_each_store_is_whole_and_what_it_leads_to_is_there_before_it(variant, mechanism):
    guest = build.image(Spec(variant, mechanism, next(iter(variant.toolchain))))
    layout, stub = guest.stubs, guest.functions["whatever_0"] & -variant.alignment
    slot, word = (stub + layout.slot, variant.word_size), (stub + layout.word, layout.word_size)
    sites = [(site.address, 4) for site in guest.sites if site.function == 0 and not site.module]
    through_slot = [slot, word] if layout.slot else [word]
    far = stores(variant, guest, Patch(0, Target.FAR))
    assert far[: len(through_slot)] == through_slot, "the slot, and only then the word that leads to it"
    rest = far[len(through_slot) :]
    assert rest == [site for site in sites if site in rest], "sites that reach the target, once each, after the stub"
    fast = stores(variant, guest, Patch(0, Target.FAST))
    assert fast == [*(through_slot if fast[0] == slot else [word]), *sites]
    both = stores(variant, guest, Patch(0, Target.FAST), Patch(0, Target.FAR))
    assert both[: len(fast)] == fast
    assert both[len(fast) :] == [*through_slot, *sites], "sites go back to the stub once it leads there"


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_literal_is_stored_whole_and_nothing_else_is_stored(variant):
    guest = build.image(Spec(variant, "literal", next(iter(variant.toolchain))))
    literal = guest.symbols["literal_start"] + 3 * variant.word_size, variant.word_size
    assert stores(variant, guest, Patch(3, Target.FAR), Patch(3, Target.FAST), Restore(3)) == [literal] * 3


@pytest.mark.parametrize("name", ["arm64", "ppc32"])
def test_a_literal_that_is_stored_in_halves_is_seen(name):
    variant = arch_toml.load()[name]
    guest = build.image(Spec(variant, "literal", control="torn-literal"))
    at, half = guest.symbols["literal_start"], variant.word_size // 2
    assert stores(variant, guest, Patch(0, Target.FAR)) == [(at, half), (at + half, half)]


@pytest.mark.parametrize(
    "variant",
    [v for v in VARIANTS if not mechanisms.load()["inline-cache"].missing(v)],
    ids=lambda variant: variant.name,
)
def test_code_that_is_made_is_complete_before_the_store_that_leads_to_it(variant):
    guest = build.image(Spec(variant, "inline-cache", next(iter(variant.toolchain))))
    layout, site = guest.stubs, guest.functions["whatever_0"] & -variant.alignment
    slot, word = (site + layout.slot, variant.word_size), (site + layout.word, layout.word_size)
    made = range(guest.symbols["patched_end"], guest.symbols["stub_end"])
    first = stores(variant, guest, Patch(0, Target.FAST))
    code = [store for store in first if store[0] in made]
    assert {address for address, _ in code} >= set(range(made.start, made.start + layout.size)), "all of it"
    assert first[: len(code)] == code, "before anything leads to it"
    assert first[len(code) :] in ([word], [slot, word])
    again = stores(variant, guest, Patch(0, Target.FAST), Patch(0, Target.OTHER))[len(first) :]
    assert all(address in made for address, _ in again), "the site stays as it is"
    assert [size for _, size in again] in ([layout.word_size], [variant.word_size, layout.word_size])
    gone = stores(variant, guest, Patch(0, Target.FAST), Restore(0))[len(first) :]
    assert gone == ([word, slot] if layout.slot else [word]), "nothing leads to it any more"


@pytest.mark.parametrize("mechanism", ["stub", "literal", "inline-cache"])
@pytest.mark.parametrize("name", ["mips32", "mips32el"])
def test_who_is_entered_through_a_slot_on_mips_finds_its_own_address_in_25(name, mechanism):
    """As functions built with abicalls expect; those of the guests are not, so none of them would notice."""
    variant = arch_toml.load()[name]
    guest = build.image(Spec(variant, mechanism, next(iter(variant.toolchain))))
    machine, seen, far = Machine(guest, variant.engine["unicorn"]), [], guest.functions["far_0"]
    machine.uc.hook_add(
        uc_const.UC_HOOK_CODE,
        lambda uc, *_: seen.append(uc.reg_read(machine.register("T9")) % (1 << variant.bits)),
        None,
        far,
        far,
    )
    steps = (Patch(0, Target.FAR), call(0, 5))
    asked = Scenario("BS-99", "entered", "entered", steps, frozenset({Defect.LOST_PATCH}))
    machine.reset()
    machine.run(wire.encode(asked, big_endian=variant.big_endian))
    assert seen == [far]


@pytest.mark.parametrize("name", ["arm", "armeb", "thumb", "m68k"])
def test_a_process_asks_its_kernel_to_maintain_the_word_that_was_stored(name):
    """No cell sees it: an engine that notes maintenance has no kernel, and QEMU, which stands for one, ignores it."""
    variant = arch_toml.load()[name]
    guest = build.image(Spec(variant, "stub", next(iter(variant.toolchain))))
    machine, word = Machine(guest, variant.engine["unicorn"]), guest.symbols["stub_start"]
    machine.watch(Watch((), (), (), ()))
    machine.uc.mem_write(guest.symbols["farm_doorbell"], bytes(variant.word_size))  # so it has a kernel
    if name == "m68k":
        stack = machine.stack_pointer - 64
        machine.uc.reg_write(machine.register("A7"), stack)
        machine.uc.mem_write(stack, machine.until.to_bytes(4, "big") + word.to_bytes(4, "big"))
    else:
        machine.uc.reg_write(machine.register("R0"), word)
        machine.uc.reg_write(machine.register("LR"), machine.until | variant.function_bias)
    machine.uc.emu_start(guest.functions["arch_sync_code"] | variant.function_bias, machine.until, count=1000)
    assert machine.notes() == [Note(Noted.KERNEL, word, 4)]
