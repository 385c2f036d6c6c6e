"""The same guest linked at other addresses (RP-18, RP-19): it behaves as before, and only displacements change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from farm.cell import Cell, Verdict
from farm.engines.qemu_user import QEMU_USER
from farm.engines.unicorn import UNICORN
from farm.errors import MissingToolError
from farm.guest import arch_toml, build
from farm.guest.call_sites import survey
from farm.guest.image import Spec
from farm.guest.toolchain import TOOLCHAINS
from farm.run.batch import Batch, run_batch
from farm.suite import load

NAMES = ("supersede_then_restore", "far_target", "backward_and_forward", "late_call_site", "tail_call")

#: Where 32-bit addresses change their sign, and some others.
HIGH_32 = (0x2000000, 0x7FF00000, 0x80000000, 0xA0000000)
HIGH_64 = (0x2000000, 0x40000000, 0x7F000000)


def placed():
    for name, bases in (("ppc32", HIGH_32), ("arm64", HIGH_64), ("x86_64", HIGH_64)):
        variant = arch_toml.load()[name]
        far = variant.far_base - variant.text_base
        for base in bases:
            moved = replace(variant, text_base=base, far_base=(base + far) % (1 << variant.bits))
            yield pytest.param(moved, id=f"{name}-{base:#x}")


@pytest.mark.parametrize("variant", list(placed()))
@pytest.mark.parametrize("mechanism", ["pointer", "stub", "relocated"])
def test_a_guest_behaves_the_same_wherever_it_is_linked(variant, mechanism):
    cells = tuple(Cell(name, variant.name, mechanism, "zig", UNICORN.name) for name in NAMES)
    spec = Spec(variant, mechanism)
    results = run_batch(Batch(spec, UNICORN.name, cells, tuple(load()[name] for name in NAMES)), build.image(spec))
    assert {result.verdict for result in results} == {Verdict.PASS}, [result.reason for result in results]


def reaches_far(variant, toolchain, engine):
    """Verdict on what `pad` stores before an entry: code with the address of a slot in it."""
    spec = Spec(variant, "pad", toolchain)
    cell = Cell("far_target", variant.name, "pad", toolchain, engine)
    (result,) = run_batch(Batch(spec, engine, (cell,), (load()["far_target"],)), build.image(spec))
    return result.verdict, result.reason


@pytest.mark.parametrize("name", ["ppc32", "ppc64le"])
def test_an_address_in_two_halves_is_right_where_the_lower_one_counts_as_negative(name):
    there = replace(arch_toml.load()[name], page=4096)
    up = 0x8000 - build.image(Spec(there, "pad")).symbols["stub_start"] % 0x10000
    variant = replace(there, text_base=there.text_base + up, far_base=there.far_base + up)
    assert build.image(Spec(variant, "pad")).symbols["stub_start"] % 0x10000 == 0x8000
    assert reaches_far(variant, "zig", UNICORN.name) == (Verdict.PASS, None)


@pytest.mark.parametrize("base", [0x42000000, 0x82000000], ids=hex)
def test_an_address_that_hppa_has_in_five_pieces_is_right_up_to_its_highest_bits(base):
    variant = arch_toml.load()["hppa"]
    if hole := QEMU_USER.hole(variant):
        pytest.skip(hole.reason)
    try:
        TOOLCHAINS["gcc"].version(variant)
    except MissingToolError as error:
        pytest.skip(str(error))
    moved = replace(variant, text_base=base, far_base=base + variant.far_base - variant.text_base)
    assert reaches_far(moved, "gcc", QEMU_USER.name) == (Verdict.PASS, None)


def test_another_base_changes_displacements_only(arm64):
    """Stubs and call sites keep their opcodes; and as far as they lead to text that moved with them, all their bits."""
    there = replace(arm64, text_base=arm64.text_base + (1 << 26), far_base=arm64.far_base + (1 << 26))
    before, after = build.image(Spec(arm64, "relocated")), build.image(Spec(there, "relocated"))
    moved = there.text_base - arm64.text_base
    sites = survey(Path(before.path), arm64).sites
    assert [(s.address + moved, s.word) for s in sites] == [(s.address, s.word) for s in after.sites]
    start, size = before.patched
    first, second = (built.bytes_at(at, size) for built, at in ((before, start), (after, start + moved)))
    slots = {n * 32 + 16 + i for n in range(size // 32) for i in range(8)}
    assert {i for i in range(size) if first[i] != second[i]} <= slots
