"""Mechanisms that are wrong: no cell of a run shows it, and a proof does, with what happens step by step."""

from __future__ import annotations

import re

import pytest

from farm import paths, suite
from farm.cell import PASSED
from farm.guest import arch_toml, mechanisms
from farm.guest.image import Spec
from farm.prove.calls import Guest, requests_named
from farm.prove.cells import audit
from farm.prove.coherence import coherence
from farm.prove.interleave import interleave
from farm.prove.proof import TOGETHER, Finding
from farm.prove.timeline import Reader
from farm.prove.writers import PAIRS, together
from farm.run.batch import Batch, run_batch
from farm.run.bench import Bench

UNSAFE = paths.data("arch").parent / "examples" / "unsafe"
README = (UNSAFE / "README.md").read_text(encoding="utf-8")
VARIANTS = arch_toml.load()
MADE = {name: made for name, made in mechanisms.load((UNSAFE,)).items() if made.folder.parent == UNSAFE}

#: By mechanism: the proof, the request, whose view it is, what the story tells, line by line, and the variants.
REFUTED = {
    "two-words": (
        "interleave", "default-far", Reader.OTHER,
        [
            r"B executes `(adrp|lis|auipc) ",
            r"A stores \w{8} over \w{8} at 0x\w+ <whatever_0\+0x\w>: `(add|ori|jr) .*` becomes `",
            r"B executes `(add|ori|jr) .*` at ",
        ],
        ["arm64", "ppc64le", "riscv64"],
    ),
    "slot-last": (
        "interleave", "fast-far", Reader.OTHER,
        [
            r"A stores .*: `(b|b\.w|j|jmp) 0x\w+` becomes `(nop|nop\.w|jmp 0x\w+)`",
            r"B executes `(nop|nop\.w|jmp 0x\w+)` at ",
            r"B executes `.*`.*, which loads \w+ <default_0> from 0x\w+ <whatever_0\+0x\w+>",
            r"B ends as neither target does: .*enter whatever_0 -> default",
        ],
        ["arm64", "ppc64le", "thumb", "x86_64"],
    ),
    "halfwords": (
        "interleave", "fast-far", Reader.OTHER,
        [r"A stores \w{4} over \w{4} at .*: `.*` becomes `(?!nop)", r"B executes `(?!nop).*` at 0x\w+ <whatever_0>"],
        ["riscv64", "thumb"],
    ),
    "across-a-line": (
        "interleave", "default-far", Reader.OTHER,
        [
            r"A stores \w{8} to 0x\w+e <whatever_0\+0x1>, of which \w\w at 0x\w+ is seen",
            r"B executes `jmp 0x\w+` at 0x\w+d <whatever_0>",
        ],
        ["i386", "x86_64"],
    ),
    "live-scratch": (
        "interleave", "fast-far", Reader.OTHER,
        [
            r"B executes `.*`.*, which loads \w+ <default_0> from ",
            r"A stores \w+ <far_0> over \w+ <default_0> at ",
            r"A stores .*: `(b|j) 0x\w+` becomes `nop`",
            r"B executes `nop` at ",
            r"B ends as neither target does: .*enter whatever_0 -> default",
        ],
        ["arm64", "ppc64le", "riscv64"],
    ),
    "local-maintenance": (
        "interleave", "default-far", Reader.OTHER,
        [
            r"A makes code at 0x\w+ <farm_arena",
            r"A stores .*: `j 0x\w+` becomes `j 0x\w+`",
            r"B executes `.*` at 0x\w+ <farm_arena.*>, fetched stale: `(lw|nop).*` is there by now",
            r"B fails: ",
        ],
        ["mips32", "riscv64"],
    ),
    "wrong-line": (
        "coherence", "default-fast", Reader.SAME,
        [
            r"A stores .* at 0x\w+ <whatever_0",
            r"A executes `(dc|ic|dcbst|icbi|synci|mcr) .*` for 0x\w+, which is elsewhere",
            r"A is done with the request",
            r"A fetches `(b|j) .*` at 0x\w+ <whatever_0.*>, which was `(b|j) .*` already",
        ],
        ["arm", "arm64", "mips32", "ppc64le"],
    ),
    "flag-first": (
        "interleave", "default-far", Reader.OTHER,
        [
            r"A stores \w+ <far_0> over 0+ at ",
            r"A stores \w+ <far_0> over 0+ at ",
            r"B executes `.*`.*, which loads \w+ <far_0> from ",
            r"B executes `.*`.*, which loads before the load above 0+ from ",
            r"B fails: ",
        ],
        ["arm64", "ppc32", "ppc64le", "riscv64"],
    ),
    "in-turn": (
        "interleave", "default-fast-far", Reader.OTHER,
        [
            r"B executes `.*`.*, which loads \w+ <default_0> from ",
            r"A stores \w+ <fast_0> over \w+ <default_0> at ",
            r"A stores \w+ <far_0> over \w+ <default_0> at ",
            r"B executes `.*`.*, which loads \w+ <far_0> from ",
            r"B fails: ",
        ],
        ["arm64", "ppc32", "ppc64le", "riscv64", "x86_64"],
    ),
    "int3-skips": (
        "interleave", "fast-far", Reader.OTHER,
        [
            r"A stores cc over \w\w at 0x\w+ <whatever_0>: `jmp .*` becomes `int3`",
            r"B executes `int3` at 0x\w+ <whatever_0>",
            r"B ends as neither target does: step 1: return whatever_0",
        ],
        ["i386", "x86_64"],
    ),
    "without-lock": (
        "interleave", "fast-far+other", TOGETHER,
        [
            r"A changes what of the text can be written in text_open",
            r"B stores \w{8} over \w{8} at 0x\w+ <whatever_0.*> in mechanism_lead",
            r"B changes what of the text can be written in text_close",
            r"A fails: write to read-only memory at 0x\w+ <mechanism_lead",
        ],
        ["arm64", "mips32", "ppc64le", "riscv64", "thumb", "x86_64"],
    ),
}  # fmt: skip

EACH = pytest.mark.parametrize(("name", "variant"), [(name, each) for name, (*_, of) in REFUTED.items() for each in of])


def bench(name, variant):
    return Bench.of(Spec.of(VARIANTS[variant], MADE[name], "zig"), "unicorn", 20.0)


def test_every_folder_is_a_mechanism_that_is_refuted_and_told_of():
    folders = {path.parent.name for path in UNSAFE.glob("*/mechanism.toml")}
    assert folders == set(MADE) == set(REFUTED)
    assert {made.patching for made in MADE.values()} == {"concurrent"}
    for name, (proof, request, *_, variants) in REFUTED.items():
        assert f"| [`{name}`]({name}) |" in README
        command = rf"\$ farm prove {proof} --mechanism-path examples/unsafe --mechanism {name} --arch ([\w,]+) "
        (archs,) = re.findall(rf"{command}--request {re.escape(request)}[^#\n]*# red$", README, re.MULTILINE)
        assert set(archs.split(",")) <= set(variants)


@EACH
def test_a_proof_refutes_it_and_tells_what_happens(name, variant):
    prove, request, reader, story, _ = REFUTED[name]
    guest = Guest(bench(name, variant))
    if request in PAIRS:
        proofs = together(guest, [request])
    elif prove == "interleave":
        proofs = interleave(guest, requests_named([request]), calls=("used",))
    else:
        proofs = coherence(guest, requests_named([request]), mutants=False)
    (found,) = (proof for proof in proofs if proof.reader == reader)
    assert found.finding is Finding.REFUTED
    told = [f"{line.cpu} {line.text}" for line in found.story]
    rest = iter(told)
    for pattern in story:
        assert any(re.match(pattern, line) for line in rest), f"{pattern} is not next in {told}"


@pytest.mark.parametrize("variant", ["arm64", "x86_64"])
def test_a_call_that_has_stood_there_since_an_earlier_request_shows_what_no_single_request_does(variant):
    guest = Guest(bench("in-turn", variant))
    single = list(interleave(guest, requests_named(["default-fast", "fast-far", "far-fast"]), calls=("used",)))
    assert {(proof.finding, proof.why) for proof in single} == {(Finding.PROVED, "")}


def batch(name, variant, *names):
    """The cells of the scenarios of these names, or of all that the mechanism can run."""
    made = bench(name, variant)
    scenarios = [suite.load()[each] for each in names] or [s for s in suite.load().values() if made.can_run(s)]
    return Batch(made.spec, "unicorn", tuple(map(made.cell, scenarios)), tuple(scenarios), 20.0)


@pytest.mark.parametrize("name", REFUTED)
def test_no_cell_shows_it(name):
    results = run_batch(batch(name, REFUTED[name][-1][-1]))
    assert len(results) > 60
    assert {result.verdict for result in results} <= PASSED


@pytest.mark.parametrize(
    ("name", "variant"), [("live-scratch", "arm64"), ("local-maintenance", "mips32"), ("two-words", "riscv64")]
)
def test_every_store_is_by_the_rules_and_a_call_that_is_followed_goes_wrong_all_the_same(name, variant):
    made = audit(batch(name, variant, "supersede_then_restore", "far_target"))
    assert [breach.story for cell in made.cells for breach in cell.findings.breaches] == []
    assert {cell.verdict for cell in made.cells} <= PASSED
