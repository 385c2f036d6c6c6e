"""Every preemption of a patch: what is proved, what is refuted and how that is told."""

from __future__ import annotations

import json
import shlex

import msgspec
import pytest
from typer.main import get_command

from farm.cli import load
from farm.engines.unicorn import UNICORN
from farm.engines.unicorn.explorer import Explorer
from farm.engines.unicorn.machine import Machine
from farm.guest import arch_toml, mechanisms
from farm.guest.image import Spec
from farm.prove.calls import Guest, requests_named, shapes
from farm.prove.guests import Proved, Work, prove
from farm.prove.interleave import Seeds, interleave, met
from farm.prove.proof import Finding, Line, Proof, Reader, What
from farm.prove.timeline import Timeline
from farm.report import proof as report
from farm.run.bench import Bench
from farm.scenario.functions import Shape
from tests.helpers import farm

VARIANTS = arch_toml.load()


def guest_of(variant, mechanism, control=None, **changed):
    """A guest; ``changed`` is what its mechanism says differently."""
    variant = VARIANTS[variant]
    made = mechanisms.load()[mechanism]
    toolchain = next(name for name in variant.toolchain if not made.missing(variant))
    guest = Guest(Bench.of(Spec(variant, mechanism, toolchain, control), "unicorn", 20.0))
    for name, value in changed.items():
        setattr(guest.demands, name, value)
    return guest


def proofs(guest, *names, calls=("used",), every=False):
    return list(interleave(guest, requests_named(names), calls=calls, every=every))


@pytest.mark.parametrize(
    ("variant", "mechanism"),
    [
        ("arm64", "stub"), ("arm64", "inline-cache"), ("ppc64le", "literal"), ("riscv64", "relocated"),
        ("thumb", "stub"), ("x86_64", "relocated"), ("s390x", "stub"), ("m68k", "stub"), ("mips32", "stub"),
        ("m68k", "pointer"),
    ],
)  # fmt: skip
def test_a_call_that_meets_a_sound_patch_comes_to_the_old_target_or_the_new_one(variant, mechanism):
    made = proofs(guest_of(variant, mechanism), "default-fast", "fast-far", "far-default", calls=())
    assert {(proof.finding, proof.why) for proof in made} == {(Finding.PROVED, "")}
    assert {proof.call for proof in made} >= {"used", "tail", "pointer"}
    assert {proof.reader for proof in made} == {"another CPU", "the CPU that patches"}
    assert all(proof.points > 4 for proof in made)
    assert all(proof.moments > 1 for proof in made if proof.call != "original")


@pytest.mark.parametrize("variant", ["x86_64", "arm64", "thumb", "riscv64", "ppc64le"])
def test_an_instruction_that_is_stored_byte_by_byte_is_met_half_way(variant):
    made = proofs(guest_of(variant, "stub", "torn-store"), "fast-far")
    other = next(proof for proof in made if proof.reader == Reader.OTHER.value)
    assert other.finding is Finding.REFUTED
    cpus = [line.cpu for line in other.story]
    assert cpus[0] == "A"
    assert cpus[-1] == "B"
    assert any("<whatever_0" in line.text and line.text.startswith("stores ") for line in other.story)
    assert any(line.text.startswith("executes `") for line in other.story if line.cpu == "B")


@pytest.mark.parametrize(("variant", "mechanism"), [("arm64", "stub"), ("ppc64le", "stub"), ("x86_64", "relocated")])
def test_a_call_comes_to_the_old_target_or_the_new_one_if_the_patching_cpu_stops_for_ever(variant, mechanism):
    guest = guest_of(variant, mechanism)
    ((request, watched),) = guest.watch(requests_named(["fast-far"]))
    timeline = Timeline(guest.demands, watched.before, watched.notes, Reader.OTHER)
    moments, _ = timeline.moments(range(len(timeline.places)))
    stopped = [[msgspec.structs.replace(moment, next=())] for moment in moments]
    ends = [{o.events for o in made.outcomes} for made in guest.follow(request, Shape.USED, timeline, stopped)]
    assert len(ends) == len(moments) > 2
    assert len(ends[0]) == len(ends[-1]) == 1
    assert all(each <= ends[0] | ends[-1] for each in ends)


@pytest.mark.parametrize("variant", ["arm64", "x86_64"])
def test_a_call_that_meets_two_requests_comes_to_what_was_there_before_between_or_behind(variant):
    guest = guest_of(variant, "inline-cache")
    ((request, watched),) = guest.watch(requests_named(["default-fast-far"]))
    timeline = Timeline(guest.demands, watched.before, watched.notes, Reader.OTHER)
    (between,) = timeline.between
    assert 0 < between < timeline.everything
    moments, _ = timeline.moments(range(len(timeline.places)))
    (found,) = guest.follow(request, Shape.USED, timeline, [moments])
    assert len(found.outcomes) == 3
    (proof, _) = proofs(guest, "default-fast-far")
    assert proof.finding is Finding.PROVED


def test_a_story_names_the_store_the_instruction_and_the_end():
    (proof, _) = proofs(guest_of("x86_64", "stub", "torn-store"), "fast-far")
    *_, stored, executed, ended = proof.story
    assert stored.text.startswith("stores ")
    assert "becomes `jmp 0x" in stored.text
    assert executed.text.startswith("executes `jmp 0x")
    assert executed.text.endswith("<whatever_0>")
    assert ended.text.startswith("fails: ")


def test_new_code_is_met_stale_where_maintenance_is_for_one_cpu():
    made = proofs(guest_of("mips32", "inline-cache", concurrent=True), "default-fast")
    other = next(proof for proof in made if proof.reader == Reader.OTHER.value)
    assert other.finding is Finding.REFUTED
    assert any("fetched stale: `j 0x" in line.text for line in other.story)


def test_who_stands_between_two_instructions_of_what_changes_is_found():
    made = proofs(guest_of("arm64", "pad", concurrent=True), "default-far", "far-default")
    other = next(proof for proof in made if proof.reader == Reader.OTHER.value)
    assert other.finding is Finding.REFUTED


def test_an_instruction_that_no_rule_lets_change_is_no_proof_though_nothing_goes_wrong():
    other, same = proofs(guest_of("arm64", "detour", concurrent=True), "default-fast")
    assert other.finding is Finding.REFUTED
    assert other.why.startswith("`ldr x16, 0x")
    assert "` becomes `b 0x" in other.why
    assert other.why.endswith(" while another CPU may execute it, and no rule allows that")
    assert other.source.startswith("Arm ARM DDI 0487, ")
    assert same.finding is Finding.PROVED


def test_practice_is_named_and_is_nothing_to_who_is_strict():
    guest = guest_of("x86_64", "stub")
    (system,) = proofs(guest, "fast-other")[0].relied_on
    assert system.startswith("HHVM, smashable-instr-x64.h: ")
    guest.demands.strict = True
    assert proofs(guest, "fast-other")[0].finding is Finding.REFUTED


def test_a_story_in_the_terminal_ends_with_the_command_that_shows_it_again():
    spec = guest_of("x86_64", "stub", "torn-store").bench.spec
    work = Work(spec, What.INTERLEAVE, ("fast-far",), ("used",), strict=True, options="--mechanism-path 'a b'")
    made = prove(work)
    assert [proof.is_bad for proof in made.proofs] == [True, True]
    told = list(report.lines([made]))
    ends = [number for number, line in enumerate(told) if line.startswith("  $ ")]
    assert [told[number] for number in ends] == [f"  $ {proof.reproduce}" for proof in made.proofs]
    assert [told[number - 1].partition(" fails: ")[0] for number in ends] == ["  CPU B", "  an interrupt"]
    words = shlex.split(told[ends[0]])[4:]
    given = get_command(load()).commands["prove"].commands["interleave"].make_context("", words).params
    assert {name: [*values] for name, values in given.items() if isinstance(values, list | tuple) and values} == {
        "arch": ["x86_64"],
        "mechanism": ["stub"],
        "toolchain": [spec.toolchain],
        "request": ["fast-far"],
        "call": ["used"],
        "mechanism_path": ["a b"],
    }
    assert given["strict"]


def test_names_of_a_guest_s_own_cannot_act_on_a_terminal():
    spec = guest_of("x86_64", "stub", "torn-store").bench.spec
    story = (Line("A", "\x1b[2J"),)
    harm = Proof(str(spec), "fast-other", "used", Reader.OTHER.value, Finding.REFUTED, "x", story=story)
    assert "\x1b" not in "".join(report.lines([Proved(spec, (harm,))]))


def test_nothing_is_said_of_cpus_that_are_held_off():
    (proof,) = proofs(guest_of("arm64", "detour"), "default-fast")
    assert proof.finding is Finding.UNEXPLORED
    assert proof.why.endswith("(patching is quiesced)")


@pytest.mark.parametrize(("variant", "mechanism"), [("x86_64", "relocated"), ("mips32", "stub")])
def test_what_is_known_of_other_calls_changes_nothing_of_what_is_found(variant, mechanism):
    def found(guest, name):
        ((request, watched),) = guest.watch(requests_named([name]))
        timeline = Timeline(guest.demands, watched.before, watched.notes, Reader.OTHER)
        moments, _ = timeline.moments(range(len(timeline.places)))
        return guest.follow(request, Shape.USED, timeline, [moments]), met(guest, request, Shape.USED, timeline)

    guest = guest_of(variant, mechanism)
    known = [found(guest, name) for name in ("far-fast", "fast-far", "fast-default")]
    UNICORN.close()
    assert found(guest_of(variant, mechanism), "fast-default") == known[-1]


class Forgetful(Explorer):
    """An explorer that executes every instruction."""

    def step(self, *given):
        self._call.done.clear()
        return super().step(*given)


def test_an_instruction_is_executed_again_only_where_it_meets_something_else(monkeypatch):
    guest = guest_of("arm64", "stub")
    ((request, watched),) = guest.watch(requests_named(["fast-far"]))
    timeline = Timeline(guest.demands, watched.before, watched.notes, Reader.OTHER)
    moments, _ = timeline.moments(range(len(timeline.places)))
    asked, executed = [], []
    monkeypatch.setattr(UNICORN, "explore", lambda *given: asked.append(given[2:5:2]) or ("", []))
    with pytest.raises(AttributeError):
        guest.follow(request, Shape.USED, timeline, [moments])
    ((program, wanted),) = asked
    apart = msgspec.structs.replace(wanted, graphs=tuple((msgspec.structs.replace(m, next=()),) for m in moments))
    execute = Explorer._execute
    monkeypatch.setattr(Explorer, "_execute", lambda self, *given: executed.append(1) or execute(self, *given))

    def explorer(kind):
        return kind(Machine(guest.bench.image, guest.bench.variant.engine["unicorn"]), wanted)

    knowing = explorer(Explorer)
    (whole,) = knowing.run(program, wanted)
    once = len(executed)
    assert 0 < once <= whole.points
    assert knowing.run(program, wanted) == [whole]
    assert len(executed) == once
    ends = knowing.run(program, apart)
    assert len(executed) - once < sum(each.points for each in ends)
    assert explorer(Forgetful).run(program, wanted) == [whole]
    assert explorer(Forgetful).run(program, apart) == ends


@pytest.mark.parametrize(
    ("variant", "mechanism", "control"),
    [
        ("arm64", "stub", None),
        ("arm64", "stub", "torn-store"),
        ("x86_64", "stub", "torn-store"),
        ("s390x", "literal", "torn-literal"),
    ],
)
@pytest.mark.parametrize("reader", Reader)
def test_the_earliest_moments_lead_to_all_ends_that_every_moment_leads_to(variant, mechanism, control, reader):
    guest = guest_of(variant, mechanism, control)
    for request, watched in guest.watch(requests_named(["fast-far", "far-default"])):
        timeline = Timeline(guest.demands, watched.before, watched.notes, reader)
        moments, _ = timeline.moments(range(len(timeline.places)))
        for shape in (Shape.USED, Shape.BARE):
            reduced, full = (
                guest.follow(request, shape, timeline, [moments], every=every)[0] for every in (False, True)
            )
            assert full.points >= reduced.points
            if reduced.complete:
                assert {o.events for o in reduced.outcomes} == {o.events for o in full.outcomes}
            else:
                assert any(o.failure for o in full.outcomes)


def test_stores_without_a_barrier_are_seen_in_any_order_and_with_one_in_theirs():
    guest = guest_of("arm64", "stub")
    ((_, watched),) = guest.watch(requests_named(["fast-far"]))
    ordered = Timeline(guest.demands, watched.before, watched.notes, Reader.OTHER)
    loose = Timeline(guest.demands, watched.before, [n for n in watched.notes if n.kind == 0], Reader.OTHER)
    assert len(ordered.moments(range(len(ordered.places)))[0]) == 4  # nothing, slot, word, maintenance
    assert len(loose.moments(range(len(loose.places)))[0]) == 4  # nothing, either, both
    assert {m.next for m in loose.moments(range(len(loose.places)))[0]} == {(1, 2), (3,), ()}


def test_each_call_is_of_a_site_that_there_is():
    guest = guest_of("arm64", "stub")
    (request,) = requests_named(["default-fast"])
    assert list(shapes(guest, request))[:2] == [Shape.USED, Shape.TAIL]


# Schedules that are drawn.


@pytest.mark.parametrize(("variant", "mechanism"), [("arm64", "inline-cache"), ("ppc64le", "stub"), ("x86_64", "stub")])
@pytest.mark.parametrize("reader", Reader)
def test_a_schedule_that_is_drawn_comes_to_an_end_that_the_full_exploration_has(variant, mechanism, reader):
    guest = guest_of(variant, mechanism)
    for request, watched in guest.watch(requests_named(["far-default", "default-fast-far"])):
        timeline = Timeline(guest.demands, watched.before, watched.notes, reader)
        moments, _ = timeline.moments(range(len(timeline.places)))
        (full,) = guest.follow(request, Shape.BARE, timeline, [moments], every=True)
        (drawn,) = guest.follow(request, Shape.BARE, timeline, [], drawing=timeline.drawing(0, 500))
        assert (drawn.runs, drawn.complete) == (500, True)
        assert {o.events for o in drawn.outcomes} == {o.events for o in full.outcomes}
        assert [len(order) for order in drawn.orders] == [len(timeline.changes)] * len(drawn.outcomes)
        assert drawn.points <= full.points


def test_a_seed_that_goes_wrong_is_told_with_the_command_that_draws_it_again():
    spec = guest_of("arm64", "stub", "torn-store").bench.spec
    (found, _) = prove(Work(spec, What.INTERLEAVE, ("fast-far",), ("used",), seeds=Seeds(0, 1000))).proofs
    assert found.finding is Finding.REFUTED
    assert found.reproduce.endswith(f" --call used --seeds 1 --seed {found.seed}")
    (again, _) = prove(Work(spec, What.INTERLEAVE, ("fast-far",), ("used",), seeds=Seeds(found.seed, 1))).proofs
    assert (again.runs, again.story) == (1, found.story)


def test_what_is_drawn_is_no_proof():
    done = farm(
        "prove", "interleave", "--arch", "arm64", "--mechanism", "stub", "--request", "fast-far", "--call", "used",
        "--seeds", "20", "--seed", "7", "-j", "1",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith("arm64/stub/zig  2 sampled; 40 runs; ")


# The command.


def test_the_command_proves_and_says_how_much():
    done = farm("prove", "interleave", "--arch", "arm64", "--mechanism", "stub", "--request", "fast-far", "-j", "1")
    assert (done.returncode, done.stderr) == (0, "")
    first, *_, last = done.stdout.splitlines()
    assert first.startswith("arm64/stub/zig  12 proved; ")
    assert last.startswith("1 guest: 12 proved; ")


def test_the_proofs_are_json_and_are_written_as_they_are_printed(tmp_path):
    done = farm(
        "prove", "interleave", "--arch", "arm64,sparc64,sh4", "--mechanism", "stub", "--request", "fast-far",
        "--call", "used", "--json", "-j", "1", "--output", tmp_path / "out",
    )  # fmt: skip
    document = json.loads(done.stdout)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["interleave.json"]
    assert json.loads((tmp_path / "out" / "interleave.json").read_text()) == document
    assert report.read(tmp_path / "out", What.INTERLEAVE).guests[0].name == "arm64/stub/zig"
    assert done.returncode == 0
    assert {guest["variant"]: bool(guest["unproved"]) for guest in document["guests"]} == {
        "arm64": False,
        "sparc64": True,
        "sh4": True,
    }
    assert [proof["finding"] for proof in document["proofs"]] == ["proved", "proved"]


@pytest.mark.parametrize(("option", "name"), [("--request", "far-away"), ("--call", "sideways")])
def test_an_unknown_name_is_told_with_the_valid_ones(option, name):
    done = farm("prove", "interleave", option, name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"farm: unknown {option.removeprefix('--')} '{name}': ")


def test_nothing_to_prove_is_an_error():
    done = farm("prove", "interleave", "--arch", "sh4", "--mechanism", "stub")
    assert done.returncode == 3
    assert "nothing was proved: " in done.stderr
