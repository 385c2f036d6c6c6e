"""A cell whose emulator failed is run once more, and says so; nothing else is ever retried into a pass."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import threading

import helpers
import msgspec
import pytest

from farm.cell import Verdict
from farm.engines import Reply
from farm.guest import image
from farm.run.batch import Batch, run_batch
from farm.scenario import call, model, patch, query

DIED = Reply(failure="engine-error", detail="qemu died of SIGSEGV")
HUNG = Reply(failure="timeout", detail="no answer within 5 s")
SAID = "engine-error: qemu died of SIGSEGV"


@pytest.fixture
def batch(arm64, scenario, cell):
    """Three cells, all cross-checked if the engine can."""
    programs = [scenario(*steps, name=name) for name, steps in STEPS.items()]
    cells = [msgspec.structs.replace(cell, scenario=program.name) for program in programs]
    return Batch(image.Spec(arm64, "stub"), "fake", tuple(cells), tuple(programs), 5.0, cross_checked=1)


STEPS = {"one": (patch(0, "fast"), call(0, 5)), "two": (query(0),), "three": (call(1, 7),)}


@pytest.fixture
def good(batch, guest, trace_of):
    """The replies of a correct guest."""
    return [Reply(trace_of(guest("stub"), program)) for program in batch.scenarios]


@pytest.fixture
def wrong(batch, guest, trace_of):
    """What a guest says of the first cell that returns the wrong value."""
    events = list(model.predict(batch.scenarios[0]))
    return Reply(trace_of(guest("stub"), batch.scenarios[0], [*events[:-1], events[-1]._replace(value=1006)]))


@pytest.fixture
def judged(batch, fake_engine, monkeypatch):
    """``judged(answer, ..., retries=1)``: verdicts, what was said of first attempts, and what the engine was asked."""

    def judge(*answers, retries=1, slow=None):
        engine = fake_engine(*answers, slow=slow)
        monkeypatch.setattr("farm.engines.engines", lambda: {"fake": engine})
        results = run_batch(dataclasses.replace(batch, retries=retries))
        verdicts, said = zip(*((result.verdict, result.retried) for result in results), strict=True)
        return verdicts, said, engine.asked

    return judge


def test_an_emulator_that_dies_once_costs_nothing_but_is_not_forgotten(judged, good):
    one, two, three = good
    verdicts, said, asked = judged([one, DIED, three], [two])
    assert verdicts == (Verdict.PASS,) * 3
    assert said == (None, SAID, None)
    assert asked == [(3, False), (1, True)]


def test_an_emulator_that_dies_twice_is_an_engine_error_that_was_retried(judged, good):
    one, two, _ = good
    verdicts, said, asked = judged([one, two, DIED], [DIED])
    assert verdicts == (Verdict.PASS, Verdict.PASS, Verdict.ENGINE_ERROR)
    assert said == (None, None, SAID)
    assert asked == [(3, False), (1, True)]


def test_cells_are_retried_together_on_one_fresh_child(judged, good):
    one, two, three = good
    verdicts, said, asked = judged([DIED, two, DIED], [one, three])
    assert verdicts == (Verdict.PASS,) * 3
    assert said == (SAID, None, SAID)
    assert asked == [(3, False), (2, True)]


def test_without_retries_there_are_none(judged, good):
    one, two, _ = good
    verdicts, said, asked = judged([one, two, DIED], retries=0)
    assert verdicts[2] is Verdict.ENGINE_ERROR
    assert said == (None, None, None)
    assert asked == [(3, False)]


def test_more_retries_end_with_the_first_that_works_and_tell_of_the_first_attempt(judged, good):
    one, two, three = good
    other = Reply(failure="engine-error", detail="qemu died of SIGABRT")
    verdicts, said, asked = judged([one, two, DIED], [other], [three], retries=5)
    assert verdicts[2] is Verdict.PASS
    assert said[2] == SAID
    assert asked == [(3, False), (1, True), (1, True)]


def test_a_failure_at_the_second_attempt_is_confirmed_like_any_other(judged, good, wrong):
    one, two, three = good
    verdicts, said, asked = judged([DIED, two, three], [wrong], [wrong])
    assert (verdicts[0], said[0]) == (Verdict.MISMATCH, SAID)
    assert asked == [(3, False), (1, True), (1, True)]
    verdicts, said, _ = judged([DIED, two, three], [wrong], [one])
    assert (verdicts[0], said[0]) == (Verdict.FLAKY, SAID)


@pytest.mark.parametrize("retries", [0, 1, 9])
def test_no_failure_of_the_guest_is_retried_into_a_pass(judged, good, wrong, retries):
    one, two, three = good
    for failure in (wrong, HUNG, Reply(failure="crash", detail="guest died of SIGSEGV", pc=16)):
        verdicts, said, asked = judged([failure, two, three], [one], retries=retries)
        assert verdicts[0] is Verdict.FLAKY
        assert said == (None, None, None)
        assert asked == [(3, False), (1, True)]


def test_an_emulator_that_dies_when_a_failure_is_to_be_confirmed_makes_it_no_pass(judged, good, wrong):
    _, two, three = good
    verdicts, _, asked = judged([wrong, two, three], [DIED])
    assert verdicts[0] is Verdict.FLAKY
    assert asked == [(3, False), (1, True)]


def test_a_retried_pass_is_cross_checked_against_its_own_trace(judged, good, wrong):
    one, two, three = good
    verdicts, said, _ = judged([DIED, two, three], [one], slow=good)
    assert (verdicts, said[0]) == ((Verdict.PASS,) * 3, SAID)
    verdicts, said, _ = judged([DIED, two, three], [one], slow=[wrong, two, three])
    assert (verdicts[0], said[0]) == (Verdict.ENGINE_ERROR, SAID)


def test_what_an_engine_contradicts_itself_in_is_not_retried(judged, good, wrong):
    _, two, three = good
    verdicts, said, asked = judged(good, good, slow=[wrong, two, three])
    assert verdicts == (Verdict.ENGINE_ERROR, Verdict.PASS, Verdict.PASS)
    assert said == (None, None, None)
    assert asked == [(3, False)]


def test_what_a_retry_says_while_the_run_is_being_ended_is_not_believed(judged, good, monkeypatch):
    one, two, three = good
    answers = iter([False, False, False, True])
    monkeypatch.setattr("farm.run.bench.stopping", lambda: next(answers))
    verdicts, said, asked = judged([DIED, two, three], [one])
    assert (verdicts, said) == ((Verdict.ENGINE_ERROR, Verdict.PASS, Verdict.PASS), (None,) * 3)
    assert asked == [(3, False), (1, True)]


# Real emulators.


def test_a_killed_child_of_either_engine_costs_a_retry(engine, batch, monkeypatch):
    """The first child is held until the programs are under way, then killed."""
    start, begun, killers = engine._start, [], []

    def doomed(*arguments, fresh, **others):
        child = start(*arguments, fresh=True, **others)
        begun.append(fresh)
        if len(begun) == 1:
            program = helpers.until(child.process.program)
            os.kill(program, signal.SIGSTOP)
            killers.append(threading.Timer(0.3, os.kill, (program, signal.SIGKILL)))
            killers[0].start()
        return child

    monkeypatch.setattr(engine, "_start", doomed)
    results = run_batch(dataclasses.replace(batch, engine=engine.name))
    killers[0].join()
    assert [result.verdict for result in results] == [Verdict.PASS] * 3
    assert [bool(result.retried) for result in results] == [True, False, False]
    assert results[0].retried.startswith("engine-error: ")
    assert "died of SIGKILL" in results[0].retried
    assert begun[:3] == [False, False, True]  # the first, the one for the rest, and the fresh one


@pytest.fixture
def dying_qemu(tmp_path, qemu, monkeypatch):
    """``dying_qemu(times)``: a qemu-aarch64 on PATH that dies at once, so many times; then it is the real one.

    It counts by folders that it makes, which it could not in a box.
    """
    monkeypatch.setenv("PATCHFARM_CONFINEMENT", "off")

    def make(times):
        folder = tmp_path / f"dies-{times}"
        folder.mkdir()
        script = folder / "qemu-aarch64"
        deaths = " ".join(f"{folder}/{number}" for number in range(times))
        script.write_text(
            "#!/bin/sh\n"
            f'if [ "$1" != --version ]; then for death in {deaths}; do mkdir $death 2>&- && kill -KILL $$; done; fi\n'
            f'exec {shutil.which("qemu-aarch64")} "$@"\n'
        )
        script.chmod(0o755)
        return f"{folder}{os.pathsep}{os.environ['PATH']}"

    return make


def farm(path, folder, *options):
    select = ("--arch", "arm64", "--mechanism", "stub", "--engine", "qemu-user", "--scenario", "BS-0*")
    done = helpers.farm("run", *select, *options, "--output", folder, cwd=folder.parent, PATH=path)
    return done, helpers.lines_of(folder)[1]


def test_a_run_in_which_qemu_dies_once_is_green_and_one_result_says_so(dying_qemu, tmp_path):
    done, lines = farm(dying_qemu(1), tmp_path / "out")
    assert done.returncode == 0, done.stdout
    assert {line["verdict"] for line in lines} == {"pass"}
    assert [line["retried"] for line in lines if "retried" in line] == ["engine-error: qemu died of SIGKILL"]


def test_a_run_in_which_qemu_dies_once_is_red_without_retries(dying_qemu, tmp_path):
    done, lines = farm(dying_qemu(1), tmp_path / "out", "--retries", "0")
    assert done.returncode == 1
    assert sorted(line["verdict"] for line in lines if line["verdict"] != "pass") == ["engine-error"]
    assert not [line for line in lines if "retried" in line]


def test_a_run_in_which_qemu_always_dies_is_red(dying_qemu, tmp_path):
    done, lines = farm(dying_qemu(99), tmp_path / "out")
    assert done.returncode == 1
    assert {(line["verdict"], line["retried"]) for line in lines} == {
        ("engine-error", "engine-error: qemu died of SIGKILL")
    }
