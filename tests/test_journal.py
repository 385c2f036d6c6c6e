"""The file of results: it grows as cells end, survives whatever ends the run, and says which verdicts are not sure."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from helpers import farm, until
from hypothesis import given
from hypothesis import strategies as st

from farm.cell import Hole, Verdict
from farm.engines import Reply
from farm.engines.unicorn import UNICORN
from farm.errors import ImageError, UsageError
from farm.guest import arch_toml, build, image
from farm.run.batch import Batch, Waiting, batches, run_batch
from farm.run.execute import execute
from farm.run.journal import Journal, NoHeaderError, Run, describe, make_way, read
from farm.run.plan import Selection, make
from farm.run.verdict import skipped
from farm.scenario import call, model, patch, query

DIED = Reply(failure="engine-error", detail="qemu died of SIGSEGV")


@pytest.fixture(scope="module")
def plan():
    """A batch: Unicorn on arm64."""
    return make(Selection(arch=["arm64"], mechanism=["stub"], engine=["unicorn"], scenario=["BS-0*"]))


@pytest.fixture(scope="module")
def results(plan):
    """Of the whole plan, all sure."""
    return [result for batch in batches(plan) for result in run_batch(batch)]


def doubtful(result, verdict=Verdict.TIMEOUT):
    return msgspec.structs.replace(result, verdict=verdict, reason="so", provisional=True)


def lines_of(path):
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[1:-1]]


# Who runs what.


def test_thread_goes_on_with_its_guest_and_another_takes_one_of_its_own(plan, monkeypatch):
    (batch,) = batches(plan)
    guests = [dataclasses.replace(batch.spec, control=name) for name in ("a", "b", "c")]
    work = [dataclasses.replace(batch, spec=spec, retries=n) for spec in guests for n in range(3)]
    waiting = Waiting(work)

    def of(thread):
        monkeypatch.setattr("farm.run.batch.threading.get_ident", lambda: thread)
        taken = waiting.next()
        return f"{taken.spec.control}{taken.retries}"

    assert [of(1), of(2), of(2), of(1), of(2)] == ["a0", "b0", "b1", "a1", "b2"]
    assert [of(2), of(2), of(1)] == ["c0", "c1", "a2"], "the next that nobody has"
    assert of(1) == "c2", "what is left of another's"


# Growing.


class Held:
    """Unicorn, which does not answer a program after the first ``count`` until it is let go."""

    name = UNICORN.name
    version = UNICORN.version

    def __init__(self, count):
        self.count = count
        self.asked = threading.Event()  # for what is not answered
        self.let_go = threading.Event()

    def run(self, *arguments, **options):
        for number, reply in enumerate(UNICORN.run(*arguments, **options)):
            if number == self.count:
                self.asked.set()
                assert self.let_go.wait(60)
            yield reply


def test_what_has_ended_is_in_the_file_while_the_next_cell_of_the_batch_hangs(plan, tmp_path, monkeypatch):
    engine = Held(3)
    monkeypatch.setattr("farm.engines.engines", lambda: {"unicorn": engine})
    journal = Journal(tmp_path / "results.jsonl", Run(2, "1", plan.sha256, "", {}, ""))
    heard = []
    with ThreadPoolExecutor(1) as pool, ThreadPoolExecutor(1) as beside:
        execution = beside.submit(execute, plan, journal, pool, heard.extend)
        try:
            assert engine.asked.wait(60)
            until(lambda: len(lines_of(journal.path)) == 3, seconds=2)
            until(lambda: len(heard) == 3, seconds=2)
            assert not execution.done()
        finally:
            engine.let_go.set()
    execution.result()
    journal.close()
    assert len(lines_of(journal.path)) == len(plan.cells)
    assert len({result.cell for result in heard}) == len(heard) == len(plan.cells)


@pytest.fixture
def telling(monkeypatch):
    """``telling(*stages)``: every batch tells of its cells once a stage, which makes a result of a cell."""

    def tell(*stages):
        def run_batch(batch, built, sink, enough):
            told = [[stage(cell) for cell in batch.cells] for stage in stages]
            for result in (result for stage in told for result in stage):
                sink(result)
            return told[-1]

        monkeypatch.setattr("farm.run.execute.run_batch", run_batch)

    return tell


def unsure(cell):
    return doubtful(skipped(cell, Hole(Verdict.NOT_RUN, "so")))


def sure(cell):
    return skipped(cell, Hole(Verdict.NOT_RUN, "so"))


def test_progress_hears_of_each_cell_once_and_the_file_ends_with_a_line_of_each(plan, tmp_path, telling):
    telling(unsure, unsure, sure)
    journal = Journal(tmp_path / "results.jsonl", describe(plan))
    heard = []
    with ThreadPoolExecutor(2) as pool:
        execute(plan, journal, pool, heard.extend)
    assert len(lines_of(journal.path)) == 3 * len(plan.cells)
    journal.finish(plan)
    assert sorted(result.cell for result in heard) == sorted(planned.cell for planned in plan.cells)
    assert [line.get("provisional") for line in lines_of(journal.path)] == [None] * len(plan.cells)


@pytest.fixture
def unharmed(monkeypatch):
    """An interrupt that ends the children of no other test."""
    monkeypatch.setattr("farm.run.execute.kill_all", lambda: None)


def test_an_interrupt_keeps_what_was_heard_before_it_and_while_the_workers_end(plan, tmp_path, telling, unharmed):
    telling(unsure, sure)
    ended = threading.Event()

    def interrupted(results):
        if results:
            ended.wait(0.2)
            raise KeyboardInterrupt

    journal = Journal(tmp_path / "results.jsonl", describe(plan))
    with ThreadPoolExecutor(1) as pool, pytest.raises(KeyboardInterrupt):
        execute(plan, journal, pool, interrupted)
    journal.close()
    assert {result.cell for result in read(journal.path).results} == {planned.cell for planned in plan.cells}


@pytest.mark.parametrize("when", ["before", "behind"])
def test_an_interrupt_right_beside_the_writing_loses_nothing(plan, tmp_path, telling, unharmed, monkeypatch, when):
    """What was written but not yet forgotten is written twice, which a reader does not notice."""
    telling(sure)
    add, interrupts = Journal.add, [KeyboardInterrupt]

    def interrupted(self, results):
        if when == "behind":
            add(self, results)
        if results and interrupts:
            raise interrupts.pop()
        add(self, results)

    monkeypatch.setattr(Journal, "add", interrupted)
    journal = Journal(tmp_path / "results.jsonl", describe(plan))
    with ThreadPoolExecutor(1) as pool, pytest.raises(KeyboardInterrupt):
        execute(plan, journal, pool, lambda _: None)
    journal.close()
    kept = read(journal.path)
    assert sorted(result.cell for result in kept.results) == sorted(planned.cell for planned in plan.cells)
    assert kept.complaints == []


# What is not sure.


@pytest.fixture
def batch(arm64, scenario, cell):
    """Three cells, all cross-checked if the engine can."""
    steps = {"one": (patch(0, "fast"), call(0, 5)), "two": (query(0),), "three": (call(1, 7),)}
    programs = [scenario(*each, name=name) for name, each in steps.items()]
    cells = [msgspec.structs.replace(cell, scenario=program.name) for program in programs]
    return Batch(image.Spec(arm64, "stub"), "fake", tuple(cells), tuple(programs), cross_checked=1)


@pytest.fixture
def good(batch, guest, trace_of):
    return [Reply(trace_of(guest("stub"), program)) for program in batch.scenarios]


@pytest.fixture
def wrong(batch, guest, trace_of):
    """What a guest says of the first cell that returns the wrong value."""
    events = list(model.predict(batch.scenarios[0]))
    return Reply(trace_of(guest("stub"), batch.scenarios[0], [*events[:-1], events[-1]._replace(value=1006)]))


@pytest.fixture
def told(batch, fake_engine, monkeypatch):
    """``told(answer, ...)``: what the sink is told, as scenario, verdict and whether that is sure; and the results."""

    def tell(*answers, slow=None, **options):
        monkeypatch.setattr("farm.engines.engines", lambda: {"fake": fake_engine(*answers, slow=slow)})
        heard = []
        returned = run_batch(dataclasses.replace(batch, **options), None, heard.append)
        return [(r.cell.scenario, str(r.verdict), not r.provisional) for r in heard], returned

    return tell


ONE, TWO, THREE = (("one", "pass", True), ("two", "pass", True), ("three", "pass", True))


def test_a_pass_is_sure_at_once(told, good):
    assert told(good)[0] == [ONE, TWO, THREE]


@pytest.mark.parametrize("failure", ["crash", "timeout"])
def test_a_failure_is_not_sure_until_it_is_confirmed(told, good, failure):
    _, two, three = good
    failed = Reply(failure=failure, detail="so", pc=16)
    heard, returned = told([failed, two, three], [failed])
    assert heard == [("one", failure, False), TWO, THREE, ("one", failure, True)]
    assert not any(result.provisional for result in returned)
    heard, _ = told([failed, two, three], confirm=False)
    assert heard == [("one", failure, True), TWO, THREE]


def test_a_failure_that_is_gone_is_flaky_and_sure(told, good, wrong):
    one, two, three = good
    heard, returned = told([wrong, two, three], [one])
    assert heard == [("one", "mismatch", False), TWO, THREE, ("one", "flaky", True)]
    assert not any(result.provisional for result in returned)


def test_an_emulator_that_died_is_sure_after_the_last_retry(told, good, wrong):
    one, two, three = good
    failed = ("one", "engine-error")
    assert told([DIED, two, three], [one])[0] == [(*failed, False), TWO, THREE, ONE]
    twice, returned = told([DIED, two, three], [DIED], [DIED], retries=2)
    assert twice == [(*failed, False), TWO, THREE, (*failed, False), (*failed, True)]
    assert not any(result.provisional for result in returned)
    assert told([DIED, two, three], retries=0)[0] == [(*failed, True), TWO, THREE]
    confirmed, _ = told([DIED, two, three], [wrong], [wrong])
    assert confirmed[3:] == [("one", "mismatch", False), ("one", "mismatch", True)]


def test_a_pass_that_is_to_be_cross_checked_is_sure_after_that(told, good, wrong):
    _, two, three = good
    unsure = [(name, verdict, False) for name, verdict, _ in (ONE, TWO, THREE)]
    heard, returned = told(good, slow=good)
    assert heard == [*unsure, ONE, TWO, THREE]
    assert not any(result.provisional for result in returned)
    heard, _ = told(good, slow=[wrong, two, three])
    assert heard[3:] == [("one", "engine-error", True), TWO, THREE]
    failed, _ = told([wrong, two, three], [wrong], slow=[two, three])  # what failed is not cross-checked
    assert failed[3:] == [("one", "mismatch", True), TWO, THREE]


@pytest.mark.parametrize("answered", [3, 4])
def test_what_a_killed_child_answers_a_second_look_with_is_not_believed(told, good, wrong, monkeypatch, answered):
    """Ended while a failure is confirmed, and while a pass is cross-checked: neither is sure."""
    _, two, three = good
    answers = iter([False] * answered)
    monkeypatch.setattr("farm.run.bench.stopping", lambda: next(answers, True))
    heard, returned = told([wrong, two, three], [wrong], slow=[DIED, DIED])
    first = [("one", "mismatch", False), ("two", "pass", False), ("three", "pass", False)]
    assert heard == first + [("one", "mismatch", True)] * (answered - 3)
    assert [result.provisional for result in returned] == [answered == 3, True, True]


def test_a_cell_without_a_guest_is_told_at_once(told, monkeypatch):
    def fail(_):
        raise ImageError("it is broken")

    monkeypatch.setattr(build, "image", fail)
    assert told([])[0] == [(name, "build-error", True) for name in ("one", "two", "three")]


# Reading.

HEAD = Run(2, "1", "p" * 64, "host", {"unicorn": "2"}, "2026-01-01T00:00:00+00:00")


def written(path, results, head=HEAD):
    content = [msgspec.json.encode({"run": head}), *map(msgspec.json.encode, results)]
    path.write_bytes(b"\n".join(content) + b"\n")
    return path


def test_of_two_lines_of_a_cell_the_last_counts(results, tmp_path):
    one, two, *_ = results
    flaky = msgspec.structs.replace(one, verdict=Verdict.FLAKY)
    path = tmp_path / "results.jsonl"
    assert read(written(path, [doubtful(one), two, one])) == (HEAD, [one, two], [], [])
    assert read(written(path, [one, two, flaky])) == (HEAD, [flaky, two], [], [])
    assert read(written(path, [one, two, doubtful(one)])) == (HEAD, [two], [], [doubtful(one)])


def recorded(plan):
    """Results as a run leaves them: some cells more than once, unsure ones before sure ones or alone."""
    cells = st.sampled_from([planned.cell for planned in plan.cells[:5]])
    reasons = st.sampled_from(["so", "é\n", '"}\n{"'])
    certain = st.builds(skipped, cells, st.builds(Hole, st.just(Verdict.NOT_RUN), reasons))
    return st.lists(certain | certain.map(doubtful), max_size=8)


@given(st.data())
def test_a_file_that_is_cut_off_at_any_byte_says_what_its_whole_lines_say(plan, tmp_path_factory, data):
    results = data.draw(recorded(plan))
    path = written(tmp_path_factory.getbasetemp() / "cut.jsonl", results)
    content = path.read_bytes()
    left = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:left])
    whole = content[:left].count(b"\n") + (content[left : left + 1] == b"\n")
    if whole == 0:
        with pytest.raises(NoHeaderError, match="line 1 was cut off: its run died before the first result"):
            read(path)
        assert make_way(path)
        assert not path.exists()
        return
    last = {result.cell: result for result in results[: whole - 1]}
    run_of, sure, complaints, unfinished = read(path)
    assert run_of == HEAD
    assert sure == [result for result in last.values() if not result.provisional]
    assert unfinished == [result for result in last.values() if result.provisional]
    cut = content[:left].rpartition(b"\n")[2] if content[left : left + 1] != b"\n" else b""
    assert len(complaints) == bool(cut)
    assert all("was cut off; it is left out" in complaint for complaint in complaints)
    journal = Journal(path, HEAD, resume=True)
    journal.close()
    assert list(journal.results.values()) == sure
    assert read(path) == (HEAD, sure, [], unfinished)


def test_a_journal_of_schema_1_is_resumed_in_this_schema(results, tmp_path):
    path = written(tmp_path / "results.jsonl", results[:2], msgspec.structs.replace(HEAD, schema=1))
    journal = Journal(path, HEAD, resume=True)
    journal.close()
    assert read(path) == (HEAD, results[:2], [], [])


# Resuming.


def resumed(plan, path, monkeypatch):
    """The cells that a resumed run runs."""
    begun = []

    def spy(batch, *others):
        begun.extend(batch.cells)
        return run_batch(batch, *others)

    monkeypatch.setattr("farm.run.execute.run_batch", spy)
    journal = Journal(path, describe(plan), resume=True)
    with ThreadPoolExecutor(2) as pool:
        execute(plan, journal, pool, lambda _: None)
    journal.finish(plan)
    return begun


def test_a_result_that_is_not_sure_is_run_again_and_those_that_are_stay(plan, results, tmp_path, monkeypatch):
    first, second, *others = results
    left = [first, doubtful(second), doubtful(first), *others]
    path = written(tmp_path / "results.jsonl", left, describe(plan))
    assert resumed(plan, path, monkeypatch) == [first.cell, second.cell]
    after = {result.cell: result for result in read(path).results}
    assert [after[result.cell] for result in others] == others
    assert after[first.cell].verdict is Verdict.PASS
    assert len(lines_of(path)) == len(plan.cells)


def test_a_resumed_run_that_is_killed_at_once_has_lost_nothing(plan, results, tmp_path):
    left = [*results[:2], doubtful(results[2])]
    path = written(tmp_path / "results.jsonl", left, describe(plan))
    Journal(path, describe(plan), resume=True).close()
    assert read(path).results == results[:2]
    assert read(path).unfinished == [doubtful(results[2])]


@pytest.mark.parametrize("content", [b"", b"{", b'{"run":{"schema":2,"farm":"0', b"\0" * 4096, b"what\nelse\n", b"\n"])
def test_a_file_without_header_and_results_makes_way(tmp_path, content):
    path = tmp_path / "results.jsonl"
    path.write_bytes(content)
    assert make_way(path) == f"{path}: holds no header and no result; the run begins anew"
    assert list(tmp_path.iterdir()) == []


def test_results_without_a_header_are_set_aside_each_under_a_name_of_its_own(results, tmp_path):
    path = tmp_path / "results.jsonl"
    for number in (1, 2):
        lines = written(path, results[:number]).read_bytes().split(b"\n")
        for spoilt in ([lines[0][:20], *lines[1:]], lines[1:]):
            path.write_bytes(b"\n".join(spoilt))
            said = make_way(path)
            aside = tmp_path / f"results.jsonl.{len(list(tmp_path.iterdir()))}"
            assert said == f"{path}: holds {number} results but no header; it is {aside} now, and the run begins anew"
            assert aside.read_bytes() == b"\n".join(spoilt)
            assert not path.exists()


def test_a_file_with_a_header_makes_no_way(results, tmp_path):
    path = written(tmp_path / "results.jsonl", results)
    before = path.read_bytes()
    assert make_way(path) is None
    assert path.read_bytes() == before
    path.write_bytes(b'{"run":{"schema":9}}\n')
    with pytest.raises(UsageError, match="results of schema 9; this farm reads 1 and 2"):
        make_way(path)
    assert path.exists()


# A run that is killed.


def children_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


NAMES = ("default_before_patch", "update_then_call", "supersede_then_restore")
SELECT = ("--arch", "stuck", "--mechanism", "stub", "--engine", "unicorn", "--scenario", ",".join(NAMES))


@pytest.fixture(scope="module")
def left_by_kill(arm64, tmp_path_factory):
    """What SIGKILL leaves of a run whose first cell passed, whose second did not end, and whose third does not."""
    folder = tmp_path_factory.mktemp("killed")
    shutil.copytree(arm64.folder, folder / "stuck")
    for name, old, new in (
        ("arch.toml", "variant.arm64", "variant.stuck"),
        ("patch.c", "uintptr_t word)\n{\n", "uintptr_t word)\n{\n    for (volatile int stuck = 1; stuck;) {}\n"),
    ):
        text = (folder / "stuck" / name).read_text(encoding="utf-8")
        assert old in text
        (folder / "stuck" / name).write_text(text.replace(old, new), encoding="utf-8")
    build.image(image.Spec(arch_toml.load((folder / "stuck",))["stuck"], "stub"))
    command = [sys.executable, "-m", "farm", "run", *SELECT, "--arch-path", "stuck", "--timeout", "3"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        path = folder / "farm-out" / "results.jsonl"
        try:
            until(lambda: path.exists() and len(lines_of(path)) == 2)
        finally:
            process.send_signal(signal.SIGSTOP)
            children = children_of(process.pid)
            process.kill()
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
    return folder


@pytest.fixture
def killed(left_by_kill, tmp_path):
    """A copy of it."""
    shutil.copytree(left_by_kill, tmp_path / "copy")
    return tmp_path / "copy"


def cell_of(name):
    return f"stuck/stub/zig/unicorn/{name}"


def told_by(path):
    return [(line["cell"]["scenario"], line["verdict"], line.get("provisional", False)) for line in lines_of(path)]


def test_a_killed_run_leaves_what_passed_and_what_was_not_yet_sure(killed):
    path = killed / "farm-out" / "results.jsonl"
    assert told_by(path) == [(NAMES[0], "pass", False), (NAMES[1], "timeout", True)]


def test_a_killed_run_is_resumed_where_it_was(killed):
    path = killed / "farm-out" / "results.jsonl"
    began = lines_of(path)[0]["began"]
    done = farm("run", *SELECT, "--arch-path", "stuck", "--timeout", "0.5", "--resume", cwd=killed)
    assert done.returncode == 1, done.stderr
    assert told_by(path) == [(NAMES[0], "pass", False), *((name, "timeout", False) for name in NAMES[1:])]
    assert lines_of(path)[0]["began"] == began


def test_a_report_of_a_killed_run_is_red_and_says_what_is_unfinished(killed):
    done = farm("report", "--arch-path", "stuck", cwd=killed)
    assert done.returncode == 3
    said = f"1 cell is unfinished, first {cell_of(NAMES[1])} (so far timeout); --resume runs what is left"
    assert said in done.stderr
    assert f"1 planned cell has no result, first {cell_of(NAMES[2])}" in done.stderr
    summary = (killed / "farm-out" / "summary.md").read_text(encoding="utf-8")
    assert "unfinished: its run was cut short before the verdict was sure; so far timeout" in summary
    junit = (killed / "farm-out" / "junit.xml").read_text(encoding="utf-8")
    assert 'errors="2"' in junit


def test_the_merge_of_a_killed_run_names_what_is_unfinished_and_keeps_it_so(killed):
    done = farm("ci", "merge", "farm-out", "--arch-path", "stuck", "--output", "whole", cwd=killed)
    assert done.returncode == 3, done.stderr
    assert f"farm: the run left unfinished: 1 cell: {cell_of(NAMES[1])}" in done.stderr
    assert f"farm: the run has no result of: 1 cell: {cell_of(NAMES[2])}" in done.stderr
    assert told_by(killed / "whole" / "results.jsonl") == told_by(killed / "farm-out" / "results.jsonl")


def test_a_cell_that_is_not_sure_is_shown_as_that(killed):
    done = farm("show", cell_of(NAMES[1]), "--arch-path", "stuck", cwd=killed)
    assert done.returncode == 3, done.stderr
    assert "  unfinished: its run was cut short before that was sure; farm run --resume runs it" in done.stdout


def test_neither_a_comparison_nor_the_history_takes_what_is_not_sure_for_a_result(killed):
    said = f"{Path('farm-out/results.jsonl')}: 1 cell is unfinished, first {cell_of(NAMES[1])} (so far timeout)"
    done = farm("diff", "farm-out", "farm-out", "--format", "json", cwd=killed)
    assert said in done.stderr
    assert json.loads(done.stdout)["before"]["verdicts"] == {"pass": 1}
    done = farm("history", "add", "farm-out", "--file", "history", cwd=killed)
    assert said in done.stderr
    assert '"timeout"' not in farm("history", "--json", "--file", "history", cwd=killed).stdout


def test_resuming_what_has_no_header_begins_anew_and_says_so(killed):
    path = killed / "farm-out" / "results.jsonl"
    whole = path.read_bytes()
    command = ("run", *SELECT[:-1], NAMES[0], "--arch-path", "stuck", "--resume")
    path.write_bytes(whole[:30])
    done = farm(*command, cwd=killed)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "farm-out/results.jsonl: holds no header and no result; the run begins anew\n"
    assert told_by(path) == [(NAMES[0], "pass", False)]
    path.write_bytes(whole.partition(b"\n")[2])
    done = farm(*command, cwd=killed)
    assert done.returncode == 0, done.stderr
    assert "holds 2 results but no header; it is farm-out/results.jsonl.1 now, and the run begins anew" in done.stderr
    assert (killed / "farm-out" / "results.jsonl.1").read_bytes() == whole.partition(b"\n")[2]
    assert told_by(path) == [(NAMES[0], "pass", False)]
