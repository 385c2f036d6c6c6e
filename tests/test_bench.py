"""A bench: an image on an engine, which runs programs and answers with results."""

from __future__ import annotations

import dataclasses

import pytest

from farm.cell import Cell, Verdict
from farm.engines import Reply, engine_named
from farm.guest import arch_toml, build, image
from farm.processes import Stopping
from farm.run.bench import Bench
from farm.scenario import call, model, null, patch, wire


@pytest.fixture
def bench(arm64, guest):
    """``bench(engine)``: the stub guest on an engine, by its name or as it is."""

    def make(engine="unicorn", control=None):
        spec = image.Spec(arm64, "stub", control=control)
        if isinstance(engine, str):
            return Bench.of(spec, engine, 5.0, "--arch-path here", guest("stub", control))
        return Bench(spec, guest("stub", control), "fake", engine, 5.0)

    return make


@pytest.fixture
def program(scenario):
    return scenario(patch(0, "fast"), call(0, 5))


@pytest.fixture
def good(guest, program, trace_of):
    return Reply(trace_of(guest("stub"), program))


@pytest.fixture
def lost(guest, program, trace_of):
    """What a guest says that has lost the patch."""
    events = list(model.predict(program))
    return Reply(trace_of(guest("stub"), program, [*events[:-1], events[-1]._replace(value=1006)]))


def test_a_scenario_that_does_as_the_model_says_passes(engine, bench, program):
    made = bench(engine.name)
    result = made.result(program)
    assert (result.cell, result.verdict) == (Cell("made_up", "arm64", "stub", "zig", engine.name), Verdict.PASS)
    assert result.image == made.image.sha256


def test_the_image_is_built_unless_it_is_at_hand(arm64, guest, with_fields):
    spec = image.Spec(arm64, "stub")
    assert Bench.of(spec, "unicorn", 5.0).image == guest("stub")
    other = with_fields(guest("stub"), sha256="other")
    assert Bench.of(spec, "unicorn", 5.0, built=other).image is other


def test_a_profile_is_another_cpu_and_the_same_engine(arm64, guest, scenario):
    plain, profiled = (
        Bench.of(image.Spec(arm64, "stub"), name, 5.0, built=guest("stub")) for name in ("unicorn", "unicorn:no-clmul")
    )
    assert str(profiled) == f"{profiled.spec}/unicorn:no-clmul"
    assert profiled.engine is plain.engine is engine_named("unicorn")
    assert profiled.features < plain.features
    assert profiled.variant.engine["unicorn"] == arm64.engine["unicorn:no-clmul"]
    needing = scenario(call(0, 1), requires=frozenset({"clmul"}))
    assert plain.can_run(needing)
    assert not profiled.can_run(needing)


def test_what_failed_is_tried_once_more_on_a_fresh_child(bench, fake_engine, program, good, lost):
    answers = fake_engine([lost], [lost])
    assert bench(answers).result(program).verdict is Verdict.MISMATCH
    assert answers.asked == [(1, False), (1, True)]
    answers = fake_engine([lost], [good])
    result = bench(answers).result(program)
    assert result.verdict is Verdict.FLAKY
    assert result.reason.endswith(", then pass (as expected)")


def test_what_has_run_is_not_run_again_unless_it_failed(bench, fake_engine, program, good, lost):
    answers = fake_engine([lost])
    assert bench(answers).result(program, good).verdict is Verdict.PASS
    assert answers.asked == []
    assert bench(answers).result(program, lost).verdict is Verdict.MISMATCH
    assert answers.asked == [(1, True)]


def test_a_failure_of_the_emulator_is_not_confirmed(bench, fake_engine, program):
    answers = fake_engine([Reply(failure="engine-error", detail="it died")])
    assert bench(answers).result(program).verdict is Verdict.ENGINE_ERROR
    assert answers.asked == [(1, False)]


def test_a_crash_is_found_where_the_engine_can_look_for_it(qemu, bench, scenario):
    made = bench(qemu.name, "null-called")
    jump = scenario(null(6), call(6, 1))
    place = made.image.name_of(made.locate(made.encode(jump)))
    assert place
    result = made.result(jump)
    assert (result.verdict, f" in {place} (pc " in result.reason) == (Verdict.CRASH, True)


def test_where_an_engine_cannot_look_a_crash_has_no_place(bench, fake_engine, program):
    crash = Reply(failure="crash", detail="it fell")
    made = bench(fake_engine([crash]))
    assert made.locate(b"") is None
    assert (made.result(program).verdict, made.result(program).reason) == (Verdict.CRASH, "it fell")


def test_only_an_engine_with_a_slow_mode_cross_checks(bench, fake_engine, good):
    assert list(bench(fake_engine([good])).cross_checks([b"program"])) == []
    assert list(bench(fake_engine([good], slow=[good])).cross_checks([b"program"])) == [good]
    assert list(bench(fake_engine([good], slow=[good])).cross_checks([])) == []


def test_what_comes_while_the_run_is_ended_is_not_believed(bench, fake_engine, good, monkeypatch):
    ended = iter((False, True))
    monkeypatch.setattr("farm.run.bench.stopping", lambda: next(ended))
    replies = bench(fake_engine([good, good])).replies([b"one", b"two"])
    assert next(replies) is good
    with pytest.raises(Stopping):
        next(replies)


def test_paths_steps_and_blocks_are_of_the_same_run(bench, scenario):
    made = bench()
    program = made.encode(scenario(null(6), call(6, 1)))
    path = made.path(program).path
    reply, steps = made.steps(program)
    assert reply == next(made.replies([program]))
    assert [steps.code[place][0] for place in memoryview(steps.executed).cast("I")] == list(path)
    text = range(made.image.symbols["text_start"], made.image.symbols["text_end"])
    (counted,), blocks = made.blocks([program], [text])
    assert counted.trace == reply.trace
    assert {block.start for block in blocks} <= set(path)


def test_a_reproducer_has_the_options_of_the_command_line(bench, program, lost):
    result = bench().judged(program, lost)
    assert result.reproduce.startswith("farm run --arch-path here --arch arm64 ")


def test_programs_are_in_the_guest_s_byte_order(guest, scenario, bench):
    big = arch_toml.load()["arm64be"]
    made = dataclasses.replace(bench(), image=build.image(image.Spec(big, "stub")))
    program = scenario(call(0, 1))
    assert made.encode(program) == wire.encode(program, big_endian=True) != bench().encode(program)
