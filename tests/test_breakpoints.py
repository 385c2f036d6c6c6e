"""Instructions that change by a breakpoint: what is promised of them, and who meets one."""

from __future__ import annotations

import shutil

import pytest

from farm import paths
from farm.cell import PASSED
from farm.guest import arch_toml, mechanisms
from farm.guest.image import Spec
from farm.prove.breakpoints import Breakpoints
from farm.prove.calls import Guest, requests_named, scenario
from farm.prove.cells import audit
from farm.prove.coherence import coherence
from farm.prove.demands import Store
from farm.prove.interleave import interleave
from farm.prove.proof import Finding
from farm.run.batch import Batch
from farm.run.bench import Bench
from farm.scenario import call, patch
from farm.scenario.functions import Shape, Target
from farm.suite import load as scenarios

VARIANTS = arch_toml.load()
EXAMPLE = paths.data("arch").parent / "examples" / "int3"
INT3 = mechanisms.read(EXAMPLE)
EVERY = "every_cpu_serialises"


def bench(variant, made=INT3, engine="unicorn"):
    return Bench.of(Spec.of(VARIANTS[variant], made, "zig"), engine, 20.0)


@pytest.mark.parametrize("variant", ["i386", "x86_64"])
def test_an_instruction_that_no_store_can_change_changes_by_a_breakpoint(variant):
    made = list(interleave(Guest(bench(variant)), requests_named(["default-fast", "fast-far"]), calls=("bare",)))
    assert {(proof.finding, proof.why) for proof in made} == {(Finding.PROVED, "")}
    assert {system for proof in made for system in proof.relied_on} == {
        "Linux, text_poke_bp in arch/x86/kernel/alternative.c"
    }


def test_what_no_manual_promises_is_nothing_to_who_is_strict():
    made = list(interleave(Guest(bench("x86_64"), strict=True), requests_named(["default-fast"]), calls=("used",)))
    assert [proof.finding for proof in made] == [Finding.REFUTED, Finding.PROVED]
    assert made[0].why.startswith("`jmp 0x")


def test_every_cpu_must_serialise_before_the_other_bytes_change_and_before_the_first_one_does():
    made = {proof.mutant: proof for proof in coherence(Guest(bench("x86_64")), requests_named(["far-fast"]))}
    left_out = [proof for mutant, proof in made.items() if mutant.startswith(f"without `{EVERY}`")]
    assert [proof.finding for proof in left_out] == [Finding.REFUTED, Finding.REFUTED, Finding.HARMLESS]
    assert "fetched stale" in " ".join(line.text for line in left_out[0].story)
    assert "coherent" not in left_out[-1].why


def test_what_the_protocol_promises_is_promised_in_turn():
    breakpoints = Breakpoints(VARIANTS["x86_64"].atomicity)
    first = Store(100, b"\xe9", b"\xcc", 0)
    tail = Store(101, bytes(4), b"\1\2\3\4", 0)
    last = Store(100, b"\xcc", b"\xff", 0)
    assert breakpoints.promised(tail) is None
    assert breakpoints.promised(last) is None
    assert breakpoints.promised(first).basis == "practice"
    assert breakpoints.promised(tail) is None
    breakpoints.serialise()
    assert breakpoints.promised(tail).instruction == range(100, 105)
    assert breakpoints.promised(last) is None
    breakpoints.serialise()
    assert breakpoints.promised(last)
    assert Breakpoints(VARIANTS["arm64"].atomicity).promised(first) is None


def test_its_stores_are_by_the_rules():
    made = bench("x86_64")
    wanted = tuple(scenarios()[name] for name in ("supersede_then_restore", "far_target"))
    found = audit(Batch(made.spec, "unicorn", tuple(map(made.cell, wanted)), wanted, 20.0))
    assert {cell.verdict for cell in found.cells} <= PASSED
    assert all(not cell.findings.breaches for cell in found.cells)


@pytest.fixture(scope="module")
def left_there(tmp_path_factory):
    """A mechanism that is done when the breakpoint is there."""
    folder = shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("int3") / "half-way")
    source = (folder / "int3.c").read_text(encoding="utf-8")
    first, behind = source.split("    every_cpu_serialises();\n", 1)
    _, end = behind.rsplit("    every_cpu_serialises();\n", 1)
    (folder / "int3.c").write_text(first + end, encoding="utf-8")
    return mechanisms.read(folder)


@pytest.mark.parametrize("engine", ["unicorn", "qemu-user"])
@pytest.mark.parametrize("variant", ["i386", "x86_64"])
def test_who_meets_a_breakpoint_goes_on_at_the_new_target_with_all_that_it_had(left_there, variant, engine):
    made = bench(variant, left_there, engine)
    shapes = (Shape.USED, Shape.BARE, Shape.TAIL)
    met = scenario(patch(0, Target.FAST), *(call(0, 5, shape) for shape in shapes), patch(1, Target.OTHER), call(1, 6))
    (reply,) = made.engine.run(made.image, made.variant, [made.encode(met)], 20.0)
    result = made.judged(met, reply)
    assert (result.verdict in PASSED, result.reason) == (True, result.reason)
