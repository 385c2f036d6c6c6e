"""Stale instruction fetch: what maintenance makes new, and each mutant of it."""

from __future__ import annotations

import json

import pytest

from farm.prove.calls import requests_named
from farm.prove.coherence import coherence, mutants_of
from farm.prove.guests import Work
from farm.prove.proof import Finding, Mutation, Reader, What
from farm.prove.timeline import Timeline
from tests.helpers import farm
from tests.test_interleave import guest_of

INCOHERENT = ["arm64", "arm", "thumb", "ppc64le", "ppc32", "riscv64", "mips32"]


def proofs(guest, *names, mutants=True):
    made = list(coherence(guest, requests_named(names), mutants=mutants))
    return [p for p in made if not p.mutant], [p for p in made if p.mutant]


@pytest.mark.parametrize("variant", [*INCOHERENT, "x86_64", "s390x"])
def test_each_step_of_the_maintenance_is_needed_and_all_of_it_is_enough(variant):
    as_is, mutants = proofs(guest_of(variant, "stub"), "fast-far")
    assert {proof.finding for proof in as_is} == {Finding.PROVED}
    assert len(as_is) == len(Reader)
    assert {proof.finding for proof in mutants} <= {Finding.REFUTED, Finding.HARMLESS}
    for mutant in mutants:
        assert mutant.why
        assert mutant.mutation
        if mutant.finding is Finding.REFUTED:
            assert mutant.story, mutant.name
        else:
            assert mutant.source, f"{mutant.name} is harmless by which rule?"
    if variant in INCOHERENT:
        left_out = [mutant for mutant in mutants if mutant.mutation is Mutation.LEFT_OUT]
        assert left_out
        assert {mutant.finding for mutant in left_out} == {Finding.REFUTED}


@pytest.mark.parametrize("variant", INCOHERENT)
def test_without_maintenance_the_old_instruction_may_still_be_fetched(variant):
    guest = guest_of(variant, "stub", "no-flush")
    as_is, _ = proofs(guest, "fast-far", mutants=False)
    refuted = [proof for proof in as_is if proof.finding is Finding.REFUTED]
    assert refuted
    spec = guest.bench.spec
    for proof in refuted:
        assert Work(spec, What.COHERENCE, ("fast-far",)).reproducer(proof) == (
            f"farm prove coherence --arch {variant} --mechanism stub --toolchain {spec.toolchain} "
            "--request fast-far --no-mutants"
        )
        assert "may still be fetched at 0x" in proof.why
        assert [line.text.split()[0] for line in proof.story if "`sync`" not in line.text] == [
            "stores",
            "is",
            "fetches",
        ]


@pytest.mark.parametrize("variant", ["x86_64", "s390x"])
def test_where_fetches_are_coherent_the_rule_says_so(variant):
    as_is, _ = proofs(guest_of(variant, "stub", "no-flush"), "fast-far", mutants=False)
    assert {(proof.finding, proof.why) for proof in as_is} == {(Finding.PROVED, "fetches are coherent with stores")}
    assert all(proof.source for proof in as_is)


def test_maintenance_of_another_line_is_none():
    _, mutants = proofs(guest_of("arm64", "stub"), "default-fast")
    aimed = [mutant for mutant in mutants if " aimed at 0x" in mutant.mutant]
    assert {mutant.mutant.split("`")[1] for mutant in aimed} == {"dc cvau, x0", "ic ivau, x0"}
    assert {mutant.finding for mutant in aimed} == {Finding.REFUTED}


def test_what_a_jump_leads_to_is_stored_and_ordered_before_the_jump():
    _, mutants = proofs(guest_of("arm64", "stub"), "fast-far")
    by_name = {mutant.mutant: mutant for mutant in mutants}
    for name in ("without `dmb ishst` (2 of 8)", "`dmb ishst` (2 of 8) behind the store to 0x"):
        (found,) = [mutant for mutant_name, mutant in by_name.items() if mutant_name.startswith(name)]
        assert found.finding is Finding.REFUTED
        assert found.call == "used"
        assert any(line.text.startswith("executes `nop` at ") for line in found.story)


def test_a_data_slot_in_a_line_of_code_needs_no_maintenance():
    as_is, mutants = proofs(guest_of("arm64", "literal"), "fast-far", "far-default")
    assert {proof.finding for proof in as_is} == {Finding.PROVED}
    assert not any(mutant.finding is Finding.UNEXPLORED for mutant in mutants)


def test_a_data_slot_that_was_made_with_the_code_around_it_needs_no_maintenance_either():
    as_is, _ = proofs(guest_of("thumb", "inline-cache"), "default-far", mutants=False)
    assert {proof.finding for proof in as_is} == {Finding.PROVED}


def test_nothing_is_said_where_a_step_of_the_maintenance_is_not_seen():
    as_is, _ = proofs(guest_of("m68k", "stub", unseen=["for a reason"]), "default-fast", mutants=False)
    assert {proof.finding for proof in as_is} == {Finding.UNEXPLORED}
    assert as_is[0].why == "a step of the maintenance is not seen: for a reason"


def test_a_jump_gone_astray_from_a_delay_slot_is_an_end_and_no_fault_of_the_engine():
    _, mutants = proofs(guest_of("mips32", "literal"), "fast-far")
    (torn,) = [mutant for mutant in mutants if mutant.mutant.endswith(" in two halves")]
    assert torn.finding is Finding.REFUTED
    assert "jump to unmapped memory" in torn.story[-1].text


def test_a_mutant_does_the_same_but_for_one_thing():
    guest = guest_of("arm64", "stub")
    ((_, watched),) = guest.watch(requests_named(["fast-far"]))
    for mutant in mutants_of(guest.demands, watched):
        if mutant.name.startswith("without "):
            assert len(mutant.notes) == len(watched.notes) - 1
        elif mutant.name.endswith(" in two halves"):
            assert len(mutant.notes) == len(watched.notes) + 1
        else:
            assert len(mutant.notes) == len(watched.notes)
        assert mutant.notes != watched.notes


# The command.


def test_the_command_counts_mutants_and_shows_them_on_request(tmp_path):
    arguments = ("prove", "coherence", "--arch", "arm64", "--mechanism", "stub", "--request", "default-fast", "-j", "1")
    done = farm(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith("arm64/stub/zig  2 proved; 12 mutants: 12 refuted; ")
    verbose = farm(*arguments, "-v")
    assert "refuted arm64/stub/zig, default-fast, without `ic ivau, x0` (4 of 6), " in verbose.stdout
    assert "  CPU B fetches `b 0x" in verbose.stdout
    found = json.loads(farm(*arguments, "--no-mutants", "--json", "--output", tmp_path).stdout)
    assert json.loads((tmp_path / "coherence.json").read_text()) == found
    assert [proof["mutant"] for proof in found["proofs"]] == ["", ""]


def test_of_code_that_is_made_as_one_each_line_is_maintained_by_itself():
    guest = guest_of("arm64", "inline-cache")
    ((_, watched),) = guest.watch(requests_named(["default-far"]))
    cleans = [each for each in mutants_of(guest.demands, watched) if each.name.startswith("without `dc cvau")]
    timelines = [Timeline(guest.demands, watched.before, each.notes, Reader.OTHER) for each in cleans]
    stale = {place for timeline in timelines for place, _ in timeline.stale()}
    places = timelines[0].places
    assert stale == {place for number, place in enumerate(places) if not timelines[0].is_data(number)}
    assert len(stale) > 2  # words that are made, and the jump
