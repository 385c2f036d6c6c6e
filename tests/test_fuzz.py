"""Random programs: the same ones everywhere, of every kind, and what one of them finds comes out small."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
import signal
import struct
import subprocess
import time
from functools import partial

import helpers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from farm import scenario as words
from farm import suite
from farm.cell import Verdict
from farm.engines import Reply
from farm.engines.unicorn import UNICORN
from farm.errors import FarmError, UnknownNameError
from farm.guest import arch_toml, mechanisms
from farm.measure.fuzz import generate, hunt, source
from farm.measure.fuzz.shrink import Shrinker
from farm.run import plan
from farm.run.plan import Selection
from farm.scenario import (
    FUNCTIONS,
    Call,
    Fact,
    FailPoke,
    Interrupted,
    Kind,
    LockText,
    Loop,
    Original,
    Patch,
    Promise,
    Restore,
    Scenario,
    Scribble,
    Shape,
    Status,
    Tamper,
    Target,
    call,
    layout,
    loop,
    model,
    null,
    patch,
    query,
    restore,
    substeps,
    walk,
    wire,
)
from farm.scenario.steps import OPS

PLANTED = "wrong-restore-inside"
VARIANTS = arch_toml.load()

seeds, numbers = st.integers(0, 2**32), st.integers(0, 10**6)


farm = partial(helpers.farm, "fuzz")


@functools.cache
def programs(count, seed=1):
    return [generate.program(seed, number) for number in range(count)]


def all_steps(count=600):
    return [step for program in programs(count) for step in walk(program.scenario.steps)]


# The programs.


def test_a_seed_makes_the_same_programs_with_every_python_on_every_machine():
    """Anything that changes what is drawn changes this: say so in the changelog, for old seeds lead elsewhere then."""
    digest = hashlib.sha256()
    for program in programs(100, seed=20181005):
        drawn = wire.program_words(program.scenario.steps)
        digest.update(struct.pack(f"<{len(drawn)}I", *drawn))
    assert digest.hexdigest()[:16] == "9815f885bb9263c7"


def test_a_program_depends_on_nothing_but_its_seed_and_number():
    alone = generate.program(7, 40)
    assert programs(50, seed=7)[40] == alone
    assert alone != generate.program(8, 40)
    assert len({program.scenario.steps for program in programs(50)}) == 50


def test_every_kind_of_step_is_drawn():
    steps = all_steps()
    calls = [step for step in steps if isinstance(step, Call)]
    patches = [step for step in steps if isinstance(step, Patch)]
    assert {type(step) for step in steps} == set(OPS)
    assert {step.shape for step in calls} == set(Shape)
    assert {FUNCTIONS[step.function] for step in calls} == set(Kind)
    assert {step.target for step in patches} == set(Target)
    assert {step.function for step in patches} == set(range(len(FUNCTIONS)))
    for inner in OPS:  # from inside a target, and in a loop
        assert any(isinstance(step, inner) for outer in calls for step in outer.inside), inner
        assert any(isinstance(step, inner) for outer in steps if isinstance(outer, Loop) for step in outer.steps), inner
    answers = {
        event.value for program in programs(600) for event in program.events if event.kind in ("patch", "interrupt")
    }
    assert answers == set(Status) - {Status.UNSUPPORTED}
    assert any(step.offset for step in patches)
    assert any(step.at for step in calls)
    assert any(step.stride for step in calls)
    assert any(step.locked for step in steps if isinstance(step, LockText))
    assert any(not step.locked for step in steps if isinstance(step, LockText))
    assert {need for p in programs(600) for need in generate.needs_of(p.scenario.steps)} == set(generate.NEEDS)


def test_stubs_lead_to_stubs_and_targets_patch_themselves_while_they_run():
    def chained(program):
        steps = enumerate(walk(program.scenario.steps))
        calls = {s: step.function for s, step in steps if isinstance(step, Call | Original)}
        return any(e.kind == "enter" and e.target >> 8 != calls[e.step] for e in program.events)

    assert any(map(chained, programs(600)))
    assert any(
        isinstance(inner, Patch) and inner.function == step.function
        for step in all_steps()
        for inner in substeps(step)
        if isinstance(step, Call)
    )


@given(seeds, numbers)
@settings(max_examples=60, deadline=None)
def test_a_program_is_one_that_the_model_accepts_and_a_guest_can_hold(seed, number):
    made = generate.program(seed, number)
    assert made.events == model.predict(made.scenario)
    for big_endian in (False, True):
        assert len(wire.encode(made.scenario, big_endian=big_endian)) <= 4 * layout.PROGRAM_WORDS
    assert 0 < len(made.events) <= layout.TRACE_EVENTS
    assert model.predict(made.scenario, frozenset({"clmul", "float"}))


@given(seeds, numbers)
@example(365, 5077)  # the original of a function of an __int128, which nothing calls
@settings(max_examples=60, deadline=None)
def test_a_program_runs_only_where_all_of_its_steps_have_a_meaning(seed, number):
    made = generate.program(seed, number).scenario
    steps = list(walk(made.steps))
    text = any(
        isinstance(s, Scribble | Tamper | LockText | FailPoke | Interrupted) or (isinstance(s, Patch) and s.offset)
        for s in steps
    )
    kinds = {FUNCTIONS[step.function] for step in steps if isinstance(step, Call)}
    reached = kinds | {FUNCTIONS[step.function] for step in steps if isinstance(step, Original)}
    arm64 = VARIANTS["arm64"]
    can = {m: plan.cannot_run(made, arm64, known, "unicorn") is None for m, known in mechanisms.load().items()}
    assert can["stub"]
    assert can["relocated"]
    assert can["pointer"] == (not text and Kind.VARIADIC not in kinds)
    ppc32 = plan.cannot_run(made, VARIANTS["ppc32"], mechanisms.load()["stub"], "unicorn")
    fast_crc = any(
        isinstance(s, Patch | Interrupted) and s.target is Target.FAST and FUNCTIONS[s.function] is Kind.CRC
        for s in steps
    )
    assert (ppc32 is not None) == (Kind.INT128 in reached or fast_crc)


# As source.


@given(seeds, numbers)
@settings(max_examples=60, deadline=None)
def test_a_program_comes_back_from_its_source(seed, number):
    made = generate.program(seed, number).scenario
    text = source.module(made, ["A note"])
    space = {}
    exec(compile(text, "pasted.py", "exec"), space)
    assert space["SCENARIOS"] == (made,)
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (call(0, 5), "call(0, 5)"),
        (call(0), "call(0)"),
        (call(0, 0, "tail"), 'call(0, shape="tail")'),
        (call(1, 5, "looped", count=3), 'call(1, 5, "looped", count=3)'),
        (call(0, 1 << 32, inside=(patch(0, "fast"),)), 'call(0, 0x100000000, inside=(patch(0, "fast"),))'),
        (patch(0, "next"), 'patch(0, "next")'),
        (null(6), "null(6)"),
        (words.ret0(0), "ret0(0)"),
        (words.best(8), "best(8)"),
        (Patch(0, Target.FAST, 1), 'patch(0, "fast", 1)'),
        (Patch(0, Target.NULL, 1), 'patch(0, "null", 1)'),
        (words.code(), "code()"),
        (words.code(2), "code(2)"),
        (Scribble(3), "Scribble(3)"),
        (words.sites(0, "fast"), 'sites(0, "fast")'),
        (Tamper(3), "Tamper(3)"),
        (words.original(0), "original(0)"),
        (words.original(4, 5), "original(4, 5)"),
        (words.original(4, 5, inside=(restore(4),)), "original(4, 5, inside=(restore(4),))"),
        (LockText(), "LockText()"),
        (LockText(locked=False), "LockText(locked=False)"),
        (loop(2, query(0), restore(1)), "loop(2, query(0), restore(1))"),
        (words.output(), "output()"),
    ],
)
def test_a_step_is_written_in_the_words_of_the_suite(step, text):
    assert source.expression(step) == text
    assert eval(text, vars(words)) == step


def test_what_a_pasted_scenario_needs_is_written_down():
    made = generate.as_scenario("fuzz_1_2", "T", (call(17, 1), call(FUNCTIONS.index(Kind.VARIADIC), 1), LockText()))
    assert made.id == "FZ-1-2"
    assert (made.abi, made.requires, made.needs) == ({"int128"}, {"float"}, {"reports-failed-poke"})
    text = source.module(made)
    assert 'requires=frozenset({"float"}),' in text
    assert 'abi=frozenset({"int128"}),' in text
    assert 'needs=frozenset({"reports-failed-poke"}),' in text
    assert made.all_needs == (Promise.REPORTS_FAILED_POKE, Fact.VARIADIC)


def test_an_original_needs_what_its_function_does_but_nobody_who_forwards_its_arguments():
    needs = {f: set(generate.needs(words.original(f, 1))) - {"original"} for f in (0, 14, 16, 17)}
    assert needs == {0: set(), 14: {"float"}, 16: {"float"}, 17: {"int128"}}
    assert generate.as_scenario("fuzz_1_2", "T", (words.original(0),)).all_needs == (words.Promise.ORIGINAL,)


# Shrinking.


def restored_inside(steps):
    """As a guest with :data:`PLANTED` fails, nearly."""
    return any(isinstance(step, Call) and any(isinstance(s, Restore) for s in step.inside) for step in walk(steps))


def test_a_program_is_shrunk_to_what_matters_and_to_the_simplest_of_that():
    large = next(p.scenario.steps for p in programs(500) if restored_inside(p.scenario.steps))
    assert len(list(walk(large))) > 8
    assert Shrinker(large, restored_inside).run() == (call(0, inside=(restore(0),)),)


def test_values_that_matter_are_kept():
    def fails(steps):
        return any(isinstance(s, Call) and s.x == 0x1234 and s.shape is Shape.LOOPED and s.count == 3 for s in steps)

    steps = (query(1), loop(2, call(3, 1), call(5, 0x1234, "looped", count=3)), restore(2))
    assert Shrinker(steps, fails).run() == (call(0, 0x1234, "looped", count=3),)


def test_two_functions_stay_two():
    def fails(steps):
        return len({step.function for step in steps if isinstance(step, Patch)}) == 2

    assert Shrinker((patch(9, "far"), query(1), patch(4, "far")), fails).run() == (
        patch(1, "default"),
        patch(0, "default"),
    )


def test_shrinking_ends_in_time_with_what_it_has():
    large = generate.program(1, 3).scenario.steps

    def slow(steps):
        time.sleep(0.2)
        return bool(steps)

    before = time.monotonic()
    shrunk = Shrinker(large, slow, seconds=0.5).run()
    assert time.monotonic() - before < 5
    assert shrunk


def test_shrinking_that_is_interrupted_has_come_to_something():
    large = next(p.scenario.steps for p in programs(500) if restored_inside(p.scenario.steps))
    asked = []

    def fails(steps):
        asked.append(steps)
        if len(asked) > 20:
            raise KeyboardInterrupt
        return restored_inside(steps)

    shrinker = Shrinker(large, fails)
    with pytest.raises(KeyboardInterrupt):
        shrinker.run()
    assert restored_inside(shrinker.smallest)
    assert len(list(walk(shrinker.smallest))) < len(list(walk(large)))


# Hunting.


@pytest.fixture(scope="module")
def ground():
    return hunt.survey(hunt.select(Selection(arch=("arm64",), mechanism=("pointer", "stub", "relocated"))), jobs=2)


@pytest.fixture(scope="module")
def planted():
    return hunt.survey(
        hunt.select(Selection(arch=("arm64", "ppc32"), mechanism=("pointer", "stub", "relocated"))), PLANTED, jobs=2
    )


def hunted(benches, *, programs=64, seed=1, jobs=2):
    hunter = hunt.Hunt(benches, seed, jobs)
    return hunter, hunter.run(0, programs, None, lambda _: None)


def test_guests_without_a_bug_do_as_the_model_says(ground):
    hunter, finding = hunted(ground.benches, programs=200)
    assert finding is None
    able = [hunter.able(program.scenario) for program in programs(200)]
    assert hunter.tally.programs == 200
    assert hunter.tally.runs == sum(map(len, able))
    assert {len(guests) for guests in able} == {2, 3}  # what stores to code alone, or pointer too


def test_a_planted_bug_is_found_and_shrunk_to_four_steps_or_fewer(planted, tmp_path):
    hunter, finding = hunted(planted.benches)
    assert finding is not None
    hunter.shrink(finding)
    steps = list(walk(finding.scenario.steps))
    assert len(steps) <= 4
    assert any(isinstance(step, Call) and any(isinstance(s, Restore) for s in step.inside) for step in steps)
    cells = {(result.cell.variant, result.cell.mechanism) for result in finding.failing}
    assert cells == {(v, m) for v in ("arm64", "ppc32") for m in ("pointer", "stub", "relocated")}
    assert {result.verdict for result in finding.failing} == {Verdict.MISMATCH}
    (tmp_path / "found.py").write_text(source.module(finding.scenario))
    assert suite.load((tmp_path / "found.py",))[finding.scenario.name] == finding.scenario


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_seed_leads_to_the_same_finding_however_many_work_on_it(planted, jobs):
    def fails(number):
        scenario = generate.program(1, number).scenario
        return any(bench.can_run(scenario) and bench.result(scenario).failed for bench in planted.benches)

    _, finding = hunted(planted.benches, jobs=jobs)
    assert finding.number == next(filter(fails, range(64)))


class Deferred:
    """A pool whose threads are played by the test: each call of what was submitted runs one job."""

    def __init__(self):
        self.submitted = []

    def submit(self, work):
        self.submitted.append(work)


def test_a_thread_goes_on_with_its_guests_and_takes_over_when_it_has_none(monkeypatch):
    ran = []

    def jobs(chunk):
        return [hunt._Job(guest, 1, functools.partial(ran.append, f"{guest}{chunk}")) for guest in "abc"]

    pool = Deferred()
    lanes = hunt._Lanes(pool)
    lanes.submit(jobs(1))
    lanes.submit(jobs(2))
    for thread in (1, 2, 1, 1, 2, 2):
        monkeypatch.setattr(hunt.threading, "get_ident", lambda thread=thread: thread)
        pool.submitted.pop(0)()
    assert ran == ["a1", "b1", "c1", "a2", "b2", "c2"]
    assert lanes._owners == {"a": 1, "b": 2, "c": 2}
    assert not pool.submitted


def test_a_job_that_was_given_up_is_not_run_and_one_that_fails_says_so():
    ran = []

    def broken():
        raise FarmError("no")

    works = (lambda: ran.append(1), broken, lambda: ran.append(3))
    jobs = [hunt._Job(number, 1, work) for number, work in enumerate(works)]
    pool = Deferred()
    hunt._Lanes(pool).submit(jobs)
    assert jobs[0].future.cancel()
    for work in pool.submitted:
        work()
    assert ran == [3]
    assert jobs[0].future.cancelled()
    assert isinstance(jobs[1].future.exception(), FarmError)


class Scripted:
    """Unicorn, but for what ``answers`` says of a program: a reply in place of its own, the last one for ever."""

    name, version = "unicorn", UNICORN.version

    def __init__(self, answers):
        self.answers = answers

    def run(self, built, variant, programs, timeout, *, fresh=False):
        for program, reply in zip(programs, UNICORN.run(built, variant, programs, timeout, fresh=fresh), strict=True):
            mine = self.answers.get(program, [])
            yield (mine.pop(0) if len(mine) > 1 else mine[0] if mine else None) or reply


def scripted(ground, **by_number):
    """The benches of ``ground`` with an engine that answers programs of seed 1 (``p5=[...]``) as it is told."""
    benches = []
    for bench in ground.benches:
        encoded = {
            bench.encode(generate.program(1, int(name[1:])).scenario): list(replies)
            for name, replies in by_number.items()
        }
        benches.append(dataclasses.replace(bench, engine=Scripted(encoded)))
    return benches


CRASH = Reply(failure="crash", detail="read of unmapped memory", pc=0x1000)
HANG = Reply(failure="timeout", detail="still running after 1 s")
DIED = Reply(failure="engine-error", detail="unicorn died of SIGSEGV")


@pytest.mark.parametrize(
    ("replies", "verdict"),
    [
        ([CRASH], Verdict.CRASH),
        ([HANG], Verdict.TIMEOUT),
        ([DIED], Verdict.ENGINE_ERROR),
        ([CRASH, None], Verdict.FLAKY),
        ([CRASH, HANG], Verdict.FLAKY),
        ([Reply(b"")], Verdict.MISMATCH),
    ],
    ids=["crash", "timeout", "engine-error", "once", "changing", "mismatch"],
)
def test_whatever_goes_wrong_is_a_finding(ground, replies, verdict):
    hunter, finding = hunted(scripted(ground, p9=replies))
    assert finding.number == 9
    assert finding.result.verdict is verdict
    assert hunter.suspect == 9


def test_of_two_failures_the_one_with_the_lower_number_is_found(ground):
    _, finding = hunted(scripted(ground, p40=[CRASH], p9=[HANG], p30=[CRASH]))
    assert (finding.number, finding.result.verdict) == (9, Verdict.TIMEOUT)


def test_what_fails_now_and_then_is_not_shrunk(ground):
    hunter, finding = hunted(scripted(ground, p9=[CRASH, None]))
    hunter.shrink(finding)
    assert finding.scenario.steps == finding.original.steps
    assert finding.failing == []


def test_ctrl_c_while_it_shrinks_still_gives_the_finding(planted, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Shrinker, "run", interrupted)
    hunter, finding = hunted(planted.benches)
    hunter.shrink(finding)
    assert finding.scenario.steps == finding.original.steps
    assert finding.bench.cell(finding.scenario) in {result.cell for result in finding.failing}


def test_a_guest_that_never_answers_costs_one_program():
    """``unchecked`` lets a function lead to itself: a call of it never ends."""
    ground = hunt.survey(hunt.select(Selection(arch=("arm64",), mechanism=("stub",))), "unchecked", timeout=0.3)
    endless = generate.as_scenario("fuzz_1_1", "", (patch(0, "stub"), call(0)))
    (bench,) = ground.benches
    assert bench.result(endless).verdict is Verdict.TIMEOUT
    assert bench.result(generate.as_scenario("fuzz_1_2", "", (call(0),))).verdict is Verdict.PASS


def test_a_hunt_ends_when_its_time_is_up(ground):
    hunter = hunt.Hunt(ground.benches, 1, 2)
    before = time.monotonic()
    assert hunter.run(0, None, 0.5, lambda _: None) is None
    assert 0.5 <= time.monotonic() - before < 60
    assert hunter.tally.programs >= 32


def test_the_first_programs_are_run_however_short_the_time(ground):
    hunter = hunt.Hunt(ground.benches, 1, 2)
    assert hunter.run(0, None, 0.000001, lambda _: None) is None
    assert hunter.tally.runs >= 32


def test_a_hunt_begins_where_it_is_told(planted):
    hunter = hunt.Hunt(planted.benches, 1, 2)
    _, finding = hunted(planted.benches)
    assert hunter.run(finding.number, 1, None, lambda _: None).number == finding.number
    assert hunter.tally.programs == 1


def test_a_control_that_changes_nothing_here_or_that_nobody_knows_is_refused():
    with pytest.raises(FarmError, match="nothing to run: no-flush changes none of the selected guests"):
        hunt.survey(hunt.select(Selection(arch=("x86_64",))), "no-flush")
    with pytest.raises(UnknownNameError, match="did you mean no-flush"):
        hunt.survey(hunt.select(Selection()), "no-flash")


def test_unicorn_is_the_default_and_other_engines_are_for_the_asking(qemu):
    assert hunt.select(Selection()).engine == ("unicorn",)
    ground = hunt.survey(hunt.select(Selection(arch=("arm64",), engine=("qemu-user",))))
    assert {guest.engine_name for guest in ground.benches} == {"qemu-user"}
    hunter, finding = hunted(ground.benches)
    assert finding is None
    assert hunter.tally.runs > 64


# The command.


def test_a_clean_end_is_status_0_and_leaves_no_file(tmp_path):
    done = farm("--arch", "arm64", "--programs", "64", "--seed", "1", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"^seed 1: 64 programs, \d+ runs, [\d,]+ runs/s, all as the model says$", done.stdout, re.MULTILINE
    )
    assert not (tmp_path / "out").exists()


def test_a_finding_is_status_1_and_a_scenario_to_paste(tmp_path, guest):
    select = (
        "--arch",
        "arm64",
        "--mechanism",
        "pointer,stub",
        "--seed",
        "1",
        "--control",
        PLANTED,
        "--output",
        tmp_path,
    )
    done = farm(*select)
    assert done.returncode == 1, done.stderr
    (file,) = tmp_path.glob("fuzz_1_*.py")
    assert file.read_text() in done.stdout
    assert "MISMATCH arm64/pointer/zig/unicorn/fuzz_1_" in done.stdout
    assert "arm64/stub/zig/unicorn/fuzz_1_" in done.stdout
    (again,) = re.findall(r"^# Again: farm fuzz (.*)$", file.read_text(), re.MULTILINE)
    assert f"--seed 1 --first {file.stem.rpartition('_')[2]} --programs 1" in again
    assert farm(*again.split(), "-q", "--output", tmp_path / "again").returncode == 1
    assert (tmp_path / "again" / file.name).read_text() == file.read_text()

    scenario = suite.load((file,))[file.stem]
    assert [str(defect) for defect in scenario.detects] == [PLANTED]
    assert isinstance(scenario, Scenario)
    for mechanism in ("pointer", "stub"):  # red with the bug, green without
        for control, red in ((PLANTED, True), (None, False)):
            built = guest(mechanism, control)
            program = wire.encode(scenario, big_endian=False)
            (reply,) = UNICORN.run(built, VARIANTS["arm64"], [program], 1.0)
            header = wire.decode_header(reply.trace, big_endian=False)
            seen = wire.decode_events(reply.trace, header.events, big_endian=False)
            assert (seen != list(model.predict(scenario))) == red


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (("--arch", "arm46"), 2, "unknown architecture 'arm46': did you mean arm64"),
        (("--engine", "unicorm"), 2, "unknown engine 'unicorm': did you mean unicorn"),
        (("--control", "no-flash"), 2, "did you mean no-flush"),
        (("--seconds", "0"), 2, "--seconds"),
        (("--programs", "0"), 2, "--programs"),
        (("--arch-path", "no-such-folder"), 2, "no arch.toml there"),
        (("--arch", "x86_64", "--control", "no-flush"), 3, "changes none of the selected guests"),
        (("--arch", "sh4", "--engine", "unicorn"), 3, "nothing to run: Unicorn has no sh guest"),
    ],
)
def test_a_request_that_cannot_be_met_is_one_sentence(arguments, status, complaint, tmp_path):
    done = farm(*arguments, "--output", tmp_path / "out")
    assert done.returncode == status
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_programs_that_no_selected_guest_can_run_are_no_success():
    needy = next(n for n, p in enumerate(programs(200)) if "text" in generate.needs_of(p.scenario.steps))
    done = farm("--arch", "arm64", "--mechanism", "pointer", "--seed", "1", "--first", needy, "--programs", "1")
    assert done.returncode == 3
    assert "nothing was run: seed 1: 1 programs (1 of them need what no selected guest has)" in done.stderr


def test_ctrl_c_ends_it_soon_and_says_how_far_it_came(launch):
    arguments = [
        *helpers.FARM,
        "fuzz",
        "--arch",
        "arm64",
        "--mechanism",
        "pointer,stub,relocated",
        "--seconds",
        "120",
        "--seed",
        "5",
    ]
    process = launch(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "seed 5, 3 guests\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    before = time.monotonic()
    _, errors = process.communicate(timeout=20)
    assert time.monotonic() - before < 5
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert re.fullmatch(r"interrupted: seed 5: .* all as the model says", errors.strip())


def test_quiet_says_how_it_ended_and_no_more():
    done = farm("--arch", "arm64", "--programs", "32", "--seed", "1", "-q")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
