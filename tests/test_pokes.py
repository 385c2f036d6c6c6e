"""Pokes of arm64 as litmus tests: what the proof expects and what ``farm litmus`` finds are the same outcomes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from farm.engines import Noted
from farm.prove.calls import Guest, Watched, requests_named
from farm.prove.litmus import child, facts
from farm.prove.pokes import compare, pokes, states_of
from farm.prove.proof import Reader
from farm.run.bench import Bench
from tests.helpers import farm
from tests.test_interleave import VARIANTS, guest_of


def compared(mechanism, request, *, mutants=False, without=()):
    """The pokes of a request by both; ``without`` instructions, by their beginnings."""
    guest = guest_of("arm64", mechanism)
    ((made, watched),) = guest.watch(requests_named([request]))
    meanings = guest.watched.meanings
    notes = tuple(
        note
        for note in watched.notes
        if note.kind != Noted.INSTRUCTION or not meanings[note.place].text.startswith(tuple(without))
    )
    return compare(list(pokes(guest, made, Watched(watched.before, notes), mutants=mutants)))


@pytest.mark.parametrize(
    ("mechanism", "request_"),
    [("pointer", "fast-far"), ("stub", "fast-far"), ("detour", "default-far"), ("inline-cache", "default-far"),
     ("pad", "default-far"), ("relocated", "default-fast")],
)  # fmt: skip
def test_both_judges_find_the_same_outcomes_and_none_that_is_stale(mechanism, request_):
    found = compared(mechanism, request_)
    assert {each.poke.reader for each in found} == set(Reader)
    assert all(each.agrees for each in found), [(each.poke.name, each.poke.apart, each.error) for each in found]
    assert not any(each.is_stale for each in found)
    assert all(max(each.observed)[-1] == each.poke.newest[-1] for each in found)


def test_both_judges_see_the_stale_outcome_of_each_mutant():
    found = [each for each in compared("stub", "default-fast", mutants=True) if each.poke.mutant]
    assert all(each.agrees for each in found)
    stale = {each.poke.mutant for each in found if each.is_stale}
    assert stale == {each.poke.mutant for each in found}
    others = {each.poke.mutant for each in found if each.is_stale and each.poke.reader is Reader.OTHER}
    assert stale - others == {"without `isb` (6 of 6)", "`dsb ish` (5 of 6) behind `isb`"}


def test_both_judges_see_the_new_word_with_the_old_slot_if_no_barrier_is_between():
    as_is, torn = compared("stub", "fast-far"), compared("stub", "fast-far", without=["dmb"])
    early = (0, 1, 0)  # not over, the new word, the old slot
    assert early not in as_is[0].observed
    assert early in torn[0].observed
    assert torn[0].agrees


def test_locations_of_one_line_are_told_apart():
    other, _ = compared("stub", "fast-far")
    assert "on one line of 32 bytes or more" in other.poke.together
    assert other.poke.together in other.poke.text


def with_step(instruction, other):
    """The rules of arm64, but that ``other`` does what an ``instruction`` of the maintenance does."""
    rules = VARIANTS["arm64"].coherence
    steps = [
        replace(step, instruction=other) if step.instruction.startswith(instruction) else step
        for step in rules.maintenance
    ]
    return replace(rules, maintenance=tuple(steps))


def with_barriers(*instructions):
    """The rules of arm64, but that these instructions alone order stores."""
    rules = VARIANTS["arm64"].coherence
    return replace(rules, barrier=replace(rules.barrier, instructions=instructions))


@pytest.mark.parametrize(
    ("rules", "more"),
    [
        (with_step("dc cvau", "dc cvac, {address}"), [{(1, 0, 1)}, {(0, 1)}]),
        (with_step("dsb ish", "dsb sy"), [{(1, 0, 1)}, {(0, 1)}]),
        (with_step("ic ivau", "ic iallu"), [{(1, 0, 1)}, {(0, 1)}]),
        (with_step("isb", "eret"), [None, {(0, 1)}]),  # the ISB of P1 does nothing then, which no proof has
        (with_barriers("dsb ish"), [{(0, 1, 0)}, set()]),
    ],
    ids=["dc", "dsb", "ic", "isb", "dmb"],
)
def test_what_arch_toml_says_of_an_instruction_is_what_both_judges_go_by(rules, more, monkeypatch):
    name = ["fast-far"]
    guest = guest_of("arm64", "stub")
    ((request, watched),) = guest.watch(requests_named(name))
    as_is = list(pokes(guest, request, watched, mutants=False))

    spec = guest.bench.spec
    changed = Guest(Bench.of(replace(spec, variant=replace(spec.variant, coherence=rules)), "unicorn", 20.0))
    ((request, watched),) = changed.watch(requests_named(name))
    monkeypatch.setattr(facts, "coherence", lambda: rules)
    for poke, other, states in zip(as_is, pokes(changed, request, watched, mutants=False), more, strict=True):
        if states is None:
            continue
        assert other.expected == poke.expected | states
        judged = child.judge(child.Question("poke.litmus", poke.text))
        assert states_of(poke, judged.states) == other.expected


def test_what_a_litmus_file_cannot_say_is_said():
    torn = [each for each in compared("stub", "fast-far", mutants=True) if "in two halves" in each.poke.mutant]
    assert torn
    assert all(each.poke.apart and not each.agrees and not each.poke.program for each in torn)


def test_the_command_writes_files_that_farm_litmus_reads(tmp_path):
    arguments = ["--arch", "arm64", "--mechanism", "stub", "--request", "default-fast", "--as-litmus", "--no-mutants"]
    done = farm("prove", "coherence", *arguments, "--output", str(tmp_path), "-j", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "arm64/stub/zig  2 pokes: 2 agree"
    files = sorted(map(str, tmp_path.glob("*.litmus")))
    assert len(files) == 2
    judged = json.loads(farm("litmus", *files, "--json").stdout)
    assert [(each["verdict"], len(each["states"])) for each in judged] == [("Forbidden", 3), ("Forbidden", 1)]


def test_another_architecture_is_refused_with_the_reason():
    done = farm("prove", "coherence", "--arch", "riscv64", "--mechanism", "stub", "--as-litmus", "-j", "1")
    assert done.returncode == 3
    assert "litmus files are read for AArch64 alone" in done.stderr
