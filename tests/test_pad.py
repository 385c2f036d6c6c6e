"""The NOPs that a compiler leaves at an entry: what a patch makes of them, in which stores."""

from __future__ import annotations

import functools

import pytest
from unicorn import unicorn_const as uc_const

from farm.engines.unicorn.machine import Machine
from farm.guest import arch_toml, build, mechanisms
from farm.guest.image import Spec
from farm.guest.variant import UnicornSettings
from farm.scenario import Defect, Scenario, patch, restore, wire

VARIANTS = [
    variant
    for variant in arch_toml.load().values()
    if isinstance(variant.engine.get("unicorn"), UnicornSettings) and not mechanisms.load()["pad"].missing(variant)
]


@functools.cache
def guest(variant):
    toolchain = next(name for name in variant.toolchain if not mechanisms.load()["pad"].missing(variant, name))
    return build.image(Spec(variant, "pad", toolchain))


def after(variant, *steps):
    """Machine that ran ``steps``, and address, from the entry of function 0, and size of each store to text."""
    machine, seen, entry = (
        Machine(guest(variant), variant.engine["unicorn"]),
        [],
        guest(variant).functions["whatever_0"],
    )
    machine.uc.hook_add(
        uc_const.UC_HOOK_MEM_WRITE,
        lambda _uc, _access, address, size, _value, _data: seen.append((address - entry, size)),
        None,
        guest(variant).symbols["stub_start"],
        guest(variant).symbols["stub_end"] - 1,
    )
    asked = Scenario("BS-99", "stores", "stores", steps, frozenset({Defect.LOST_PATCH}))
    machine.reset()
    machine.run(wire.encode(asked, big_endian=variant.big_endian))
    return machine, seen


each_variant = pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)


@each_variant
@pytest.mark.parametrize("target", ["fast", "far"])
def test_the_entry_is_written_last_and_put_back_first_each_in_one_store(variant, target):
    _, led = after(variant, patch(0, target))
    _, both = after(variant, patch(0, target), restore(0))
    jump = (guest(variant).stubs.word, guest(variant).stubs.word_size)
    assert led[-1] == jump, "the jump, once all is there that it leads to"
    assert led.count(jump) == 1
    assert all((at, size) == jump or at < 0 or at == jump[0] + size for at, size in led), "the rest nobody executes"
    assert both[len(led) :] == led[::-1]


@each_variant
def test_a_jump_that_does_not_reach_goes_by_an_address_before_the_entry(variant):
    near, far = (after(variant, patch(0, target))[1] for target in ("fast", "far"))
    if variant.branch_range is None:
        assert near == far
    else:
        address = (guest(variant).stubs.slot, variant.word_size)
        assert address[0] < 0
        assert far[0] == address, "first the address, whole"
        assert (address in near) == (variant.name == "s390x"), "whose jump at the entry leads there alone"


@each_variant
def test_one_target_follows_another_in_one_store(variant):
    _, first = after(variant, patch(0, "fast"))
    _, both = after(variant, patch(0, "fast"), patch(0, "other"))
    assert len(both) == len(first) + 1
