"""The same guest linked at other addresses (RP-18, RP-19): it behaves as before, and only displacements change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from farm.cell import Cell, Verdict
from farm.engines.unicorn import UNICORN
from farm.guest import arch_toml, build
from farm.guest.call_sites import survey
from farm.guest.image import Spec
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
