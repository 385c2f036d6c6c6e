"""Loads that a CPU takes out of its program's order: what that shows, and what keeps them in order."""

from __future__ import annotations

import shutil

import pytest

from farm import paths
from farm.guest import arch_toml, mechanisms
from farm.guest.disassemble import registers
from farm.guest.image import Spec
from farm.prove.calls import Guest, requests_named
from farm.prove.interleave import interleave
from farm.prove.proof import Finding, Reader
from farm.run.bench import Bench

VARIANTS = arch_toml.load()
EXAMPLE = paths.data("arch").parent / "examples" / "unsafe" / "flag-first"


def proofs(made, variant):
    guest = Guest(Bench.of(Spec.of(VARIANTS[variant], made, "zig"), "unicorn", 20.0))
    return list(interleave(guest, requests_named(["default-far"]), calls=("used",)))


def with_second_load(tmp_path, *lines):
    """The mechanism whose stub of arm64 has these instructions in place of its second load."""
    folder = shutil.copytree(EXAMPLE, tmp_path / "mine")
    stub = folder / "arm64" / "stub.S"
    old = "    ldr     x17, 3f\n"
    text = stub.read_text(encoding="utf-8")
    assert old in text
    stub.write_text(text.replace(old, "".join(f"    {line}\n" for line in lines)), encoding="utf-8")
    described = folder / "mechanism.toml"
    words = 64 if len(lines) > 3 else 32
    described.write_text(
        described.read_text().replace("bytes = 64", "bytes = 128").replace("WORDS=32", f"WORDS={words}")
    )
    text = (
        stub.read_text(encoding="utf-8").replace(".balign 64", ".balign 128").replace(".balign 32", f".balign {words}")
    )
    stub.write_text(text, encoding="utf-8")
    return mechanisms.read(folder)


@pytest.mark.parametrize("variant", ["arm64", "riscv64", "ppc64le"])
def test_two_loads_of_which_neither_depends_on_the_other_may_come_the_other_way_round(variant):
    other, same = proofs(mechanisms.read(EXAMPLE), variant)
    assert (other.finding, other.reader) == (Finding.REFUTED, Reader.OTHER.value)
    assert "which loads before the load above 0000000000000000 from" in " ".join(line.text for line in other.story)
    assert same.finding is Finding.PROVED


def test_on_x86_they_do_not():
    assert {proof.finding for proof in proofs(mechanisms.read(EXAMPLE), "x86_64")} == {Finding.PROVED}


@pytest.mark.parametrize(
    ("lines", "finding"),
    [
        (("dmb ish", "ldr x17, 3f"), Finding.PROVED),
        (("eor x17, x16, x16", "adr x9, 3f", "add x9, x9, x17", "ldr x17, [x9]"), Finding.PROVED),
        (("mov x17, xzr", "adr x9, 3f", "add x9, x9, x17", "ldr x17, [x9]"), Finding.REFUTED),
    ],
)
def test_a_barrier_or_an_address_that_is_made_of_the_first_value_keeps_them_in_order(tmp_path, lines, finding):
    assert proofs(with_second_load(tmp_path, *lines), "arm64")[0].finding is finding


@pytest.mark.parametrize(
    ("variant", "code", "read", "written"),
    [
        ("arm64", "300240f9", {"x17"}, {"x16"}),
        ("riscv64", "03b34303", {"t2"}, {"t1"}),
        ("ppc64le", "08008ce9", {"r12"}, {"r12"}),
        ("ppc64le", "a603897d", {"r12"}, set()),
        ("mips32", "8f390010", {"t9"}, {"t9"}),
    ],
)
def test_the_registers_of_an_instruction_are_told(variant, code, read, written):
    told = registers(VARIANTS[variant].disassembler, bytes.fromhex(code), 0x1000)
    assert (told.read, told.written) == (read, written)
    assert registers(VARIANTS[variant].disassembler, b"", 0) is None
