"""The audit of stores to code: what breaks a rule is told with its story, and the farm's mechanisms break none."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re

import pytest
from typer.testing import CliRunner

from farm import suite
from farm.cell import PASSED, Verdict
from farm.cli import load
from farm.engines import Note, Noted, Watch
from farm.engines.unicorn import UNICORN
from farm.engines.unicorn.machine import GuestFault, Machine
from farm.errors import FarmError
from farm.guest import arch_toml, build, mechanisms
from farm.guest.image import Spec
from farm.prove.audit import Entered, judge
from farm.prove.cells import audit
from farm.prove.demands import Demands
from farm.prove.watching import watching
from farm.run.batch import Batch
from farm.run.bench import Bench
from farm.scenario import Scenario, Target, call, loop, patch, restore
from farm.scenario.model import predict
from farm.scenario.wire import target_word

VARIANTS = arch_toml.load()
AUDITED = ("arm64", "x86_64", "ppc64le", "riscv64", "arm", "s390x", "m68k")

THERE_AND_BACK = Scenario("T-1", "there", "Near, far and back", (
    patch(0, "fast"), call(0, 1), patch(0, "far"), call(0, 1), patch(0, "other"), call(0, 1), restore(0), call(0, 1),
), frozenset())  # fmt: skip


def audited(variant, mechanism, *scenarios, toolchain="zig", control=None):
    """The audit of ``scenarios`` on the guest of a mechanism."""
    spec = Spec.of(VARIANTS[variant], mechanism, toolchain, control)
    bench = Bench.of(spec, "unicorn", 20.0)
    cells = tuple(map(bench.cell, scenarios))
    return audit(Batch(spec, "unicorn", cells, scenarios, 20.0))


#: Where a function has never led before, what is made for it is far from its target.
FAR_FIRST = Scenario("T-2", "far_first", "Far before near", (patch(0, "far"), call(0, 1)), frozenset())

HALF_WAY = suite.load()["poke_fails_half_way"]  #: and what was done is undone


@pytest.mark.parametrize("variant", AUDITED)
def test_the_mechanisms_of_the_farm_obey_the_rules(variant):
    toolchain = next(iter(VARIANTS[variant].toolchain))
    for mechanism in mechanisms.load().values():
        if mechanism.missing(VARIANTS[variant]) or mechanism.why_absent(VARIANTS[variant], toolchain):
            continue
        undone = () if mechanism.at(VARIANTS[variant]).cannot_run(HALF_WAY) else (HALF_WAY,)
        for cell in audited(variant, mechanism, THERE_AND_BACK, FAR_FIRST, *undone, toolchain=toolchain).cells:
            assert [breach.story for breach in cell.findings.breaches] == []
            assert not cell.findings.unaudited
            assert cell.verdict in PASSED
            assert cell.findings.requests
            assert sum(cell.findings.stores.values()) >= cell.findings.requests


# What a mechanism may do wrong.  Each patchable function of one mechanism is patched in another way.

PLANTED = """
#include "jump.h"
#include "redirect.h"

static uintptr_t stub_of(uint32_t n) { return ARCH_CODE(function_addresses[n]); }

static void store(uintptr_t at, code_word word) { *(volatile code_word *)at = word; }

static void store_halves(uintptr_t at, code_word word)
{
    const uint16_t *half = (const uint16_t *)&word;
    ((volatile uint16_t *)at)[0] = half[0];
    ((volatile uint16_t *)at)[1] = half[1];
}

bool mechanism_is_intact(uint32_t n) { return n < FUNCTION_COUNT; }

uint32_t mechanism_lead(uint32_t n, uintptr_t target)
{
    uintptr_t stub = stub_of(n), at = jump_word_at(stub);
    code_word word = jump_word(stub, arch_entry(target));
    bool through = jump_is_through_slot(stub, word);
    if (through && n != 5)
        *jump_slot(stub) = target;
    if (through && n != 4)
        arch_store_barrier();
    (n == 1 ? store_halves : store)(at, word);
    if (n != 2)
        arch_sync_code(n == 3 ? at + 64 : at);
    if (through && n == 5)
        *jump_slot(stub) = target;
    if (n == 6 && text_open(TEXT_ALL)) {
        extern uint8_t sites_start[];
        *(volatile uint32_t *)sites_start = *(volatile uint32_t *)sites_start;
        text_close(TEXT_ALL);
    }
    if (n == 7)
        text_open(TEXT_ALL);
    return PATCH_OK;
}

uintptr_t mechanism_query(uint32_t n)
{
    code_word word = *(const volatile code_word *)jump_word_at(stub_of(n));
    return jump_is_through_slot(stub_of(n), word) ? ARCH_CODE(*jump_slot(stub_of(n)))
                                                  : arch_jump_target(stub_of(n), word);
}
"""

BREACHES = {
    0: None,
    1: ("whole", r"<store_halves.*> stores \w{4} -> \w{4} at .* one instruction is stored in parts: .* 2 bytes"),
    2: ("maintenance", r"the request is over, and of the maintenance step 1, `.*`, has not been executed for 0x"),
    3: ("maintenance", r"the request is over, and of the maintenance step 1, `.*`, has not been executed for 0x"),
    4: ("order", r"it leads to the slot at 0x\w+ <whatever_4\+0x\w+>, .* nothing between the two orders them"),
    5: ("order", r"the slot is stored to behind the word at 0x\w+ <whatever_5.*> that leads to it"),
    6: ("declared", r"the mechanism says that it changes nothing but 0x"),
    7: ("closed", r"text can be written after the request, and could not before"),
}  # fmt: skip


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "careless"
    folder.mkdir()
    (folder / "careless.c").write_text(PLANTED)
    (folder / "mechanism.toml").write_text(
        'what = "one function is patched well, and each other one is not"\n'
        'sources = ["careless.c", "original.c", "redirect.c"]\narchitecture = ["stub.S", "patch.c"]\n'
        'patching = "concurrent"\npromises = ["queries", "null", "ret0", "restores-bytes"]\n'
    )
    return mechanisms.read(folder)


@pytest.fixture(scope="module", params=["arm64", "ppc64le", "arm"])
def careless(request, planted):
    """By the number of the function: its cell of the audit on a variant, patched to near and to far."""
    scenarios = [
        Scenario(f"T-{n}", f"planted_{n}", "Plant", (patch(n, "fast"), patch(n, "far")), frozenset())
        for n in BREACHES
    ]  # fmt: skip
    made = audited(request.param, planted, *scenarios)
    return dict(zip(BREACHES, made.cells, strict=True))


@pytest.mark.parametrize("number", BREACHES)
def test_a_breach_is_told_with_the_store_the_instruction_and_the_rule(careless, number):
    cell = careless[number]
    breaches = cell.findings.breaches
    if BREACHES[number] is None:
        assert (cell.verdict in PASSED, breaches) == (True, [])
        return
    rule, story = BREACHES[number]
    assert cell.verdict is Verdict.RULE_BROKEN
    assert {breach.rule for breach in breaches} == {rule}
    assert re.search(story, breaches[0].story), breaches[0].story
    assert cell.reason == breaches[0].story
    assert breaches[0].source


def test_what_is_quiesced_may_be_stored_in_parts_but_not_without_maintenance(planted):
    calm = mechanisms.replace(planted, patching="quiesced")
    halves, unflushed = (Scenario(f"T-{n}", f"planted_{n}", "Plant", (patch(n, "fast"),), frozenset()) for n in (1, 2))
    made = audited("arm64", calm, halves, unflushed)
    assert [cell.verdict for cell in made.cells] == [Verdict.PASS_INSENSITIVE, Verdict.RULE_BROKEN]


# Call sites, and who was entered.


@pytest.mark.parametrize(
    ("control", "behind"), [("every-other-site", r"\d+"), ("sites-stay", r"\d+"), ("bare-sites-only", r"\d+")]
)
def test_a_call_site_that_is_left_behind_is_told(control, behind):
    (cell,) = audited("arm64", mechanisms.load()["relocated"], THERE_AND_BACK, control=control).cells
    assert cell.verdict is Verdict.RULE_BROKEN
    assert {breach.rule for breach in cell.findings.breaches} == {"sites"}
    said = rf"of the (\d+) call sites of whatever_0, ({behind}) do not lead to 0x\w+ <fast_0>: 0x"
    total, left = map(int, re.search(said, cell.reason).groups())
    assert (left == total) == (control == "sites-stay")


def test_the_trace_must_name_the_target_that_was_executed(sound):
    demands, notes = sound
    entered = Entered.of(predict(THERE_AND_BACK))
    assert entered.is_all
    assert judge(demands, notes, entered).breaches == []
    places = [i for i, note in enumerate(notes) if note.kind == Noted.ENTRY]
    assert len(places) == len(entered.words) == 4
    other = notes[places[1]]._replace(place=notes[places[2]].place)
    (breach,) = judge(demands, [*notes[: places[1]], other, *notes[places[1] + 1 :]], entered).breaches
    assert breach.rule == "entered"
    said = "target number 2 that the trace says was entered is whatever_0 -> far, and whatever_0 -> other was executed"
    assert breach.story.endswith(said)
    (breach,) = judge(demands, [note for i, note in enumerate(notes) if i != places[3]], entered).breaches
    assert "target number 4" in breach.story
    assert "none was executed" in breach.story
    (breach,) = judge(demands, notes, dataclasses.replace(entered, words=entered.words[:3])).breaches
    assert "was entered is none, and whatever_0 -> default was executed" in breach.story


def test_of_a_loop_the_trace_has_a_digest_and_the_others_must_have_been_executed(sound):
    demands, notes = sound
    some = Entered(Entered.of(predict(THERE_AND_BACK)).words[:2], is_all=False)
    assert judge(demands, notes, some).breaches == []
    (breach,) = judge(demands, notes, Entered((*some.words, target_word(5, Target.FAST)), is_all=False)).breaches
    assert "target number 3 that the trace says was entered is whatever_5 -> fast, and it was not" in breach.story
    scenario = Scenario("T-3", "looped", "In a loop", (loop(2, call(0, 1)), call(0, 1)), frozenset())
    assert not Entered.of(predict(scenario)).is_all


# The maintenance, step by step: notes of a sound mechanism, with one thing changed.


@pytest.fixture(scope="module", params=["arm64", "ppc64le", "arm", "riscv64", "m68k"])
def sound(request):
    """A variant's demands, and the notes of a scenario of ``stub`` that satisfy them."""
    variant, mechanism = VARIANTS[request.param], mechanisms.load()["stub"]
    bench = Bench.of(Spec.of(variant, mechanism, next(iter(variant.toolchain))), "unicorn", 20.0)
    watched = watching(variant, bench.image, UNICORN)
    (reply,) = UNICORN.watch(bench.image, variant, [bench.encode(THERE_AND_BACK)], 20.0, watched.watch)
    demands = Demands(variant, mechanism, bench.image, watched)
    assert judge(demands, reply.notes).breaches == []
    return demands, list(reply.notes)


def maintained(demands, notes):
    """Places in ``notes`` of each step of the first maintenance, in order."""
    first = next(i for i, note in enumerate(notes) if note.kind == Noted.STORE)
    places = []
    for step in range(len(demands.steps)):
        behind = range(places[-1] + 1 if places else first, len(notes))
        places.append(
            next(i for i in behind if notes[i].kind == Noted.INSTRUCTION and step in demands.steps_for(notes[i].place))
        )
    return places


def test_each_step_of_the_maintenance_that_is_left_out_is_missed(sound):
    demands, notes = sound
    for number, place in enumerate(maintained(demands, notes)):
        (breach, *_) = judge(demands, notes[:place] + notes[place + 1 :]).breaches
        assert breach.rule == "maintenance"
        assert "has not been executed" in breach.why
        assert breach.source in {step.manual for step in demands.steps[: number + 1]}


def test_a_step_for_another_address_is_none(sound):
    demands, notes = sound
    for place, step in zip(maintained(demands, notes), demands.steps, strict=True):
        if step.has_address:
            aimed = notes[place]._replace(value=notes[place].value + demands.block)
            (breach, *_) = judge(demands, [*notes[:place], aimed, *notes[place + 1 :]]).breaches
            assert f"`{step.instruction}`" in breach.why


def test_steps_in_another_order_are_none(sound):
    demands, notes = sound
    places = maintained(demands, notes)
    for one, other in itertools.pairwise(places):
        swapped = list(notes)
        swapped[one], swapped[other] = notes[other], notes[one]
        found = judge(demands, swapped).breaches
        assert found if notes[one].place != notes[other].place else not found


def test_the_least_block_counts_not_the_line_of_some_cpu(sound):
    demands, notes = sound
    first = next(i for i, note in enumerate(notes) if note.kind == Noted.STORE and demands.is_code(note.place))
    wide = notes[first]._replace(
        before=notes[first].before + bytes(demands.block), after=notes[first].after + b"\1" * demands.block
    )
    found = judge(demands, [*notes[:first], wide, *notes[first + 1 :]]).breaches
    assert bool(found)


def asked_of_the_kernel(notes, address, size):
    """``notes`` with a call of the kernel in place of each instruction of the maintenance."""
    for note in notes:
        if note.kind == Noted.INSTRUCTION:
            continue
        if note.kind == Noted.END:
            yield Note(Noted.KERNEL, address, size)
        yield note


def test_the_kernel_may_be_asked_for_the_maintenance_where_it_does_it(sound):
    demands, notes = sound
    stored = [note.place for note in notes if note.kind == Noted.STORE and demands.is_code(note.place)]
    first, size = min(stored), max(stored) + 4 - min(stored)
    found = judge(demands, list(asked_of_the_kernel(notes, first, size))).breaches
    by_kernel = all(step.kernel for step in demands.steps)
    assert by_kernel == (demands.variant.name in ("arm", "riscv64", "m68k"))
    assert any(breach.rule == "maintenance" for breach in found) != by_kernel
    for address, length in ((first + size, size), (first - size, size), (first, 0)):  # aimed elsewhere, or at nothing
        rules_ = [breach.rule for breach in judge(demands, list(asked_of_the_kernel(notes, address, length))).breaches]
        assert "maintenance" in rules_


#: By variant: instructions that ask Linux for maintenance of 8 bytes, and one that stands behind.
CALLED = {
    "arm": ("000000ef 0000a0e1", {"R7": 0xF0002, "R0": 0x100, "R1": 0x108, "R2": 0}),
    "armeb": ("000000ef 0000a0e1", {"R7": 0xF0002, "R0": 0x100, "R1": 0x108, "R2": 0}),
    "thumb": ("00df c046", {"R7": 0xF0002, "R0": 0x100, "R1": 0x108, "R2": 0}),
    "riscv32": ("73000000 13000000", {"A7": 259, "A0": 0x100, "A1": 0x108, "A2": 0}),
    "riscv64": ("73000000 13000000", {"A7": 259, "A0": 0x100, "A1": 0x108, "A2": 1}),
    "mips32": ("0000000c 00000000 00000000", {"V0": 4147, "A0": 0x100, "A1": 8, "A2": 3}),
    "mips32el": ("0c000000 00000000 00000000", {"V0": 4147, "A0": 0x100, "A1": 8, "A2": 1}),
    "m68k": ("4e40 4e71", {"D0": 123, "D1": 0x100, "D2": 1, "D3": 3, "D4": 8}),
}


def ran_alone(variant, code, registers):
    """What is noted of ``code``, run alone with these registers."""
    built = build.image(Spec(variant, "stub", next(iter(variant.toolchain))))
    machine = Machine(built, variant.engine["unicorn"])
    machine.watch(Watch((), (), (), ()))
    start, content = built.symbols["text_start"], bytes.fromhex(code)
    machine.uc.mem_write(start, content)
    for name, value in registers.items():
        machine.uc.reg_write(machine.register(name), value)
    end = start + len(content) - (4 if variant.architecture == "mips" else 0)
    machine.uc.emu_start(start | variant.function_bias, end)
    return machine.notes()


@pytest.mark.parametrize("name", CALLED)
def test_a_call_of_the_kernel_is_answered_and_noted_with_its_addresses(name):
    variant, (code, registers) = VARIANTS[name], CALLED[name]
    assert ran_alone(variant, code, registers) == [Note(Noted.KERNEL, 0x100, 8)]


@pytest.mark.parametrize("name", ["arm", "m68k"])
def test_a_call_for_less_than_all_of_the_maintenance_is_none(name):
    code, registers = CALLED[name]
    other = {"R2": 1} if name == "arm" else {"D3": 2}
    assert ran_alone(VARIANTS[name], code, registers | other) == []


@pytest.mark.parametrize("name", CALLED)
def test_any_other_call_of_the_kernel_is_a_fault(name):
    code, registers = CALLED[name]
    with pytest.raises(GuestFault, match="unhandled CPU exception"):
        ran_alone(VARIANTS[name], code, registers | {next(iter(registers)): 1})


def test_text_that_is_open_at_the_end_is_told(sound):
    demands, notes = sound
    opened = Note(Noted.PROTECTION, demands.declared[0].start, 0x1000, b"\7")
    (breach,) = judge(demands, [*notes, opened]).breaches
    assert (breach.rule, breach.pc) == ("closed", 0)
    assert "although every request is over" in breach.story


def test_stores_that_no_request_makes_are_not_the_mechanisms(sound):
    demands, notes = sound
    alone = [note for note in notes if note.kind not in (Noted.BEGIN, Noted.END)]
    found = judge(demands, alone)
    assert (found.breaches, found.requests, sum(found.stores.values())) == ([], 0, 0)
    assert found.unaudited == {"made outside of requests": sum(note.kind == Noted.STORE for note in notes)}


# The command.


def invoked(*arguments):
    return CliRunner().invoke(load(), ["prove", "rules", *arguments])


def test_the_command_says_what_was_audited_and_ends_with_0():
    done = invoked("--arch", "arm64", "--mechanism", "stub,pointer", "--scenario", "supersede_then_restore")
    assert done.exit_code == 0, done.output
    assert re.search(
        r"^arm64/stub/zig +1 scenario, \d+ requests; stores .* to code.*; no breach.*$", done.output, re.MULTILINE
    )
    assert re.search(r"^2 cells audited, .*: 0 cells rule-broken$", done.output, re.MULTILINE)


def test_what_only_practice_allows_is_labelled_and_strictly_a_breach():
    selected = ("--arch", "x86_64", "--mechanism", "stub", "--scenario", "supersede_then_restore")
    done = invoked(*selected)
    assert done.exit_code == 0, done.output
    assert re.search(r"\d+ that no manual promises: HHVM", done.output)
    strict = invoked(*selected, "--strict")
    assert strict.exit_code == 1
    assert "rule-broken x86_64/stub/zig/unicorn/supersede_then_restore" in strict.output
    assert "becomes `jmp 0x" in strict.output


def test_a_foreign_mechanism_that_breaks_a_rule_is_in_the_json(planted):
    done = invoked(
        "--arch", "arm64", "--mechanism", "careless", "--mechanism-path", str(planted.folder),
        "--scenario", "all_functions_shuffled", "--json",
    )  # fmt: skip
    assert done.exit_code == 1, done.output
    made = json.loads(done.output)
    (image,) = made["images"]
    assert (image["mechanism"], image["patching"], image["unaudited"]) == ("careless", "concurrent", None)
    cells = {cell["cell"]["scenario"]: cell for cell in made["cells"]}
    shuffled = cells["all_functions_shuffled"]
    assert (shuffled["verdict"], shuffled["audited"]) == ("rule-broken", True)
    assert {breach["rule"] for breach in shuffled["breaches"]} >= {"whole", "maintenance", "declared", "closed"}
    assert set(shuffled["breaches"][0]) == {
        "rule", "why", "source", "address", "before", "after", "pc", "where", "by",
    }  # fmt: skip


def test_stores_whose_maintenance_nobody_sees_are_counted(sound):
    demands, notes = sound
    variant = demands.variant
    first, *others = variant.coherence.maintenance
    steps = (dataclasses.replace(first, unaudited="nobody looks"), *others)
    blind = dataclasses.replace(variant, coherence=dataclasses.replace(variant.coherence, maintenance=steps))
    found = judge(Demands(blind, mechanisms.load()["stub"], demands.image, demands.watched), notes)
    assert found.breaches == []
    assert found.unaudited == {"without a step of the maintenance: nobody looks": found.stores["code"]}


def test_what_cannot_be_audited_is_said():
    done = invoked("--arch", "sparc64", "--mechanism", "stub", "--scenario", "supersede_then_restore")
    assert "not audited: unicorn calls no hook for an instruction of sparc64" in done.output
    assert isinstance(done.exception, FarmError)
    assert done.exception.exit_status == 3
    assert str(done.exception) == "nothing was audited: unicorn calls no hook for an instruction of sparc64"
