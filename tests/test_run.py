"""Running a plan: one result a planned cell, in the journal before anything else can go wrong."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import multiprocessing
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from helpers import run_it

from farm import paths
from farm.cell import Hole, Verdict
from farm.engines import Reply
from farm.engines.unicorn import UNICORN
from farm.errors import BuildError, FarmError, ImageError, MissingToolError, OutputError, UsageError
from farm.guest import build, image
from farm.guest.arch_toml import load_folder
from farm.run.batch import Batch, batches, run_batch
from farm.run.execute import execute
from farm.run.journal import Journal, Run, describe, read
from farm.run.plan import Plan, Selection, make
from farm.run.verdict import Result, skipped
from farm.scenario import call, model, null, patch, query


@pytest.fixture(scope="module")
def plan():
    """Unicorn on arm64: some scenarios, one of them not applicable to pointer."""
    return make(Selection(arch=["arm64"], engine=["unicorn"], scenario=["BS-0*,FB-07"]))


def timeless(results):
    return [msgspec.structs.replace(result, seconds=0.0, began=0.0) for result in results]


# Results.


def test_every_planned_cell_has_exactly_one_line_in_plan_order(plan, tmp_path):
    path = tmp_path / "results.jsonl"
    heard = run_it(plan, path)
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    assert msgspec.json.decode(head)["run"]["plan"] == plan.sha256
    cells = [msgspec.convert(msgspec.json.decode(line)["cell"], type(plan.cells[0].cell)) for line in lines]
    assert cells == [planned.cell for planned in plan.cells]
    assert sorted(result.cell for result in heard) == sorted(cells)
    verdicts = {result.verdict for result in heard}
    assert verdicts == {Verdict.PASS, Verdict.NOT_APPLICABLE}
    assert not path.with_suffix(".jsonl.partial").exists()


def test_a_second_run_differs_in_times_alone(plan, tmp_path):
    paths = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for path in paths:
        run_it(plan, path)
    (first, one, *_), (second, two, *_) = (read(path) for path in paths)
    assert timeless(one) == timeless(two)
    first, second = (msgspec.structs.replace(head, started="", phases={}) for head in (first, second))
    assert first == second


def test_the_phases_of_a_resumed_run_add_up_in_the_header(plan, tmp_path):
    path = tmp_path / "results.jsonl"
    for _ in range(2):
        journal = Journal(path, describe(plan), resume=True)
        journal.run.took("plan", time.perf_counter() - 1)
        with ThreadPoolExecutor(2) as pool:
            execute(plan, journal, pool, lambda _: None)
        journal.finish(plan)
    assert 2 <= read(path).run.phases["plan"] < 3


def test_the_journal_says_who_ran_the_plan(plan):
    run_of = describe(plan)
    assert {"python", "unicorn", "zig"} == set(run_of.versions)
    assert run_of.schema == 2
    assert run_of.plan == plan.sha256


def test_processes_give_the_same_results_as_threads(plan, tmp_path):
    small = Plan(plan.cells[:3] + plan.cells[-3:], plan.scenarios, plan.variants)
    run_it(small, tmp_path / "threads.jsonl")
    context = multiprocessing.get_context("spawn")
    processes = concurrent.futures.ProcessPoolExecutor(1, mp_context=context)
    run_it(small, tmp_path / "processes.jsonl", executor=processes)
    threads, others = (read(tmp_path / f"{name}.jsonl")[1] for name in ("threads", "processes"))
    assert timeless(threads) == timeless(others)


def test_cells_that_cannot_run_are_in_the_journal_with_their_reason(plan, tmp_path):
    run_it(plan, tmp_path / "results.jsonl")
    _, results, *_ = read(tmp_path / "results.jsonl")
    holes = [(r.cell, str(r.verdict), r.reason) for r in results if r.verdict is not Verdict.PASS]
    assert holes == [(p.cell, str(p.verdict), p.reason) for p in plan.cells if p.verdict]
    assert holes


def test_batches_are_of_one_image_on_one_engine_and_leave_out_what_is_done(plan):
    runnable = [planned.cell for planned in plan.cells if planned.verdict is None]
    work = batches(plan, skip=runnable[:2], size=3)
    assert [cell for batch in work for cell in batch.cells] == runnable[2:]
    for batch in work:
        assert 1 <= len(batch.cells) <= 3
        assert {(cell.variant, cell.mechanism, cell.toolchain) for cell in batch.cells} == {
            (batch.spec.variant.name, batch.spec.mechanism, batch.spec.toolchain)
        }
        assert [scenario.name for scenario in batch.scenarios] == [cell.scenario for cell in batch.cells]


def test_of_a_batch_that_is_ended_what_has_passed_is_kept(plan, monkeypatch):
    answers = iter([False, False, False, True])
    monkeypatch.setattr("farm.run.bench.stopping", lambda: next(answers))
    batch = next(batch for batch in batches(plan) if len(batch.cells) > 3)
    results = run_batch(batch)
    assert [result.cell for result in results] == list(batch.cells[:3])
    assert {result.verdict for result in results} == {Verdict.PASS}


# The journal.


@pytest.fixture
def complete(plan, tmp_path):
    path = tmp_path / "results.jsonl"
    run_it(plan, path)
    return path


def _spied(monkeypatch):
    begun = []

    def spy(batch, *others):
        begun.extend(batch.cells)
        return run_batch(batch, *others)

    monkeypatch.setattr("farm.run.execute.run_batch", spy)
    return begun


def test_a_resumed_run_runs_what_has_no_result_and_nothing_else(plan, complete, monkeypatch):
    whole = complete.read_bytes()
    lines = whole.splitlines(keepends=True)
    complete.write_bytes(b"".join(lines[:4]))
    begun = _spied(monkeypatch)
    heard = run_it(plan, complete, resume=True)
    cells = [planned.cell for planned in plan.cells]
    assert begun == [p.cell for p in plan.cells[3:] if p.verdict is None]
    assert sorted(result.cell for result in heard) == sorted(cells)
    assert complete.read_bytes().splitlines()[:4] == whole.splitlines()[:4]  # the first run's head and results
    assert [result.cell for result in read(complete)[1]] == cells


def test_a_complete_run_that_is_resumed_runs_nothing_and_stays_as_it_is(plan, complete, monkeypatch):
    whole = complete.read_bytes()
    begun = _spied(monkeypatch)
    run_it(plan, complete, resume=True)
    assert begun == []
    assert complete.read_bytes() == whole


def test_to_resume_what_was_never_begun_is_to_begin(plan, tmp_path):
    run_it(plan, tmp_path / "results.jsonl", resume=True)
    assert len(read(tmp_path / "results.jsonl")[1]) == len(plan.cells)


def test_without_resume_an_earlier_journal_is_overwritten(plan, complete, monkeypatch):
    begun = _spied(monkeypatch)
    run_it(plan, complete)
    assert len(begun) == len([p for p in plan.cells if p.verdict is None])


def test_results_of_another_engine_or_compiler_are_not_resumed(plan, complete):
    before = complete.read_bytes()
    for tool in ("unicorn", "zig", "farm"):
        other = describe(plan)
        if tool == "farm":
            other.farm = "99"
        else:
            other.versions[tool] = "99"
        with pytest.raises(UsageError, match=rf"{tool} .* made them, and here is 99; without"):
            Journal(complete, other, resume=True)
    assert complete.read_bytes() == before
    other = describe(plan)
    other.versions["python"] = "99"
    Journal(complete, other, resume=True).close()


def test_the_results_of_another_plan_are_not_resumed(plan, complete):
    other = Plan(plan.cells[:2], plan.scenarios, plan.variants)
    before = complete.read_bytes()
    with pytest.raises(UsageError, match="holds the results of another plan"):
        Journal(complete, describe(other), resume=True)
    assert complete.read_bytes() == before


def test_a_last_line_that_was_cut_off_anywhere_is_left_out(complete):
    whole = complete.read_bytes()
    _, results, *_ = read(complete)
    last = whole[:-1].rindex(b"\n") + 1
    for end in range(last, len(whole) - 1):
        complete.write_bytes(whole[:end])
        assert read(complete)[1] == results[:-1]
    complete.write_bytes(whole[:-1])  # all but the newline
    assert read(complete)[1] == results


def test_a_broken_line_in_the_middle_is_named(complete):
    lines = complete.read_bytes().splitlines(keepends=True)
    complete.write_bytes(b"".join([*lines[:3], b'{"cell": 3}\n', *lines[4:]]))
    _, results, complaints, _ = read(complete)
    assert len(results) == len(lines) - 2
    assert [line.split(": ", 1)[1] for line in complaints] == [
        "line 4 is no result (Expected `object`, got `int` - at `$.cell`); it is left out"
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"\0" * 100,
        b"[" * 100_000,
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"cell":{"scenario":"\xff"}}',
        b'{"cell":{"scenario":"\\ud800"}}',
        b'{"cell":{},"seconds":NaN}',
        b'{"cell":{},"seconds":1e999}',
        b"null",
        b'\xef\xbb\xbf{"cell":{}}',
    ],
    ids=["nul", "deep", "deep in a field", "bytes", "surrogate", "nan", "huge", "null", "bom"],
)
def test_whatever_stands_in_a_line_the_others_are_used(complete, line):
    lines = complete.read_bytes().splitlines(keepends=True)
    complete.write_bytes(b"".join([*lines[:3], line, b"\n", *lines[3:]]))
    _, results, (complaint,), _ = read(complete)
    assert len(results) == len(lines) - 1
    assert "line 4 is no result" in complaint


def test_a_journal_that_an_editor_saved_is_read_as_it_was(complete):
    whole = read(complete)
    saved = b"\xef\xbb\xbf" + complete.read_bytes().replace(b"\n", b"\r\n") + b"\r\n  \r\n"
    complete.write_bytes(saved)
    assert read(complete) == whole


def test_results_of_a_later_farm_that_says_more_are_read(complete):
    whole = read(complete)
    complete.write_bytes(complete.read_bytes().replace(b"}\n", b',"new":[{"x":1}]}\n'))
    assert read(complete) == whole


def test_every_field_is_documented_and_no_other():
    text = paths.data("images").parent.joinpath("docs", "results.md").read_text(encoding="utf-8")
    of_run, of_cell = (
        re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.+?) \|", part, re.MULTILINE)))
        for part in text.split("| of a cell")
    )
    assert sorted(of_run) == sorted(Run.__struct_fields__)
    assert sorted(of_cell) == sorted(Result.__struct_fields__)


def test_in_a_file_of_schema_1_a_second_result_of_a_cell_is_named_and_the_first_counts(complete):
    head, *lines = complete.read_bytes().splitlines(keepends=True)
    lines = [head.replace(b'"schema":2', b'"schema":1'), *lines]
    complete.write_bytes(b"".join([*lines, lines[1].replace(b'"pass"', b'"flaky"')]))
    _, results, complaints, _ = read(complete)
    assert len(results) == len(lines) - 1
    assert results[0].verdict is Verdict.PASS
    assert len(complaints) == 1
    assert f"line {len(lines) + 1} is a second result of {results[0].cell}" in complaints[0]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "line 1 was cut off: its run died before the first result"),
        (b'{"run":{"sch', "line 1 was cut off"),
        (b"hello\n", "line 1 is no run header"),
        (b"\xff\xfe", "line 1 is no run header"),
        (b'{"run":{"schema":1,"farm":"\xff"}}\n', "line 1 is no run header"),
        (b'{"run":' + b"[" * 100_000 + b"\n", "line 1 is no run header; is it a results.jsonl"),
        (b'{"run":{"schema":9,"what":"we do not know"}}\n', "results of schema 9; this farm reads 1 and 2"),
        (b'{"cell": {}}\n', "line 1 is no run header"),
        (
            b'{"run":{"schema":9,"farm":"1","plan":"","host":"","versions":{},"started":""}}\n',
            "results of schema 9; this farm reads 1 and 2",
        ),
    ],
)
def test_a_file_that_is_no_journal_is_refused(tmp_path, plan, content, complaint):
    path = tmp_path / "results.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=complaint):
        read(path)
    with pytest.raises(UsageError, match=complaint):
        Journal(path, describe(plan), resume=True)
    assert path.read_bytes() == content


def test_a_journal_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"results\.jsonl: cannot be read: No such file or directory"):
        read(tmp_path / "results.jsonl")


def test_a_folder_that_cannot_be_written_is_one_sentence(plan, tmp_path):
    with pytest.raises(OutputError, match="cannot be written: No such file or directory") as caught:
        Journal(tmp_path / "nowhere" / "results.jsonl", describe(plan))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 3


needs_a_full_disk = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")


@pytest.fixture
def unbegun(monkeypatch):
    """Closes what a journal leaves open that could not be begun, so that nothing else suffers from it."""
    made = []
    begin = Journal.__init__
    monkeypatch.setattr(
        Journal, "__init__", lambda self, *rest, **more: made.append(self) or begin(self, *rest, **more)
    )
    yield made
    for journal in made:
        journal.close()


@needs_a_full_disk
def test_a_full_disk_is_one_sentence(plan, unbegun):
    with pytest.raises(OutputError, match="/dev/full: cannot be written: No space left on device"):
        Journal(Path("/dev/full"), describe(plan))


@needs_a_full_disk
def test_a_journal_that_cannot_be_begun_leaves_no_file_open(plan, unbegun):
    with pytest.raises(OutputError):
        Journal(Path("/dev/full"), describe(plan))
    assert unbegun[0]._file.closed


def test_a_resume_that_finds_the_disk_full_keeps_the_earlier_results(plan, complete, monkeypatch, unbegun):
    before = read(complete)[1]

    def fail(self, line):
        raise OutputError(str(len(line)))

    monkeypatch.setattr(Journal, "_write", fail)
    with pytest.raises(OutputError):
        Journal(complete, describe(plan), resume=True)
    assert read(complete)[1] == before


@needs_a_full_disk
def test_a_disk_that_fills_up_is_one_sentence_and_earlier_results_stay(plan, tmp_path):
    path = tmp_path / "results.jsonl"
    journal = Journal(path, describe(plan))
    journal.add([skipped(plan.cells[0].cell, Hole(Verdict.NOT_RUN, "first"))])
    journal._file.close()
    journal._file = Path("/dev/full").open("wb")  # noqa: SIM115 - the journal closes it
    with pytest.raises(OutputError, match=r"results\.jsonl: cannot be written: No space left on device"):
        journal.add([skipped(plan.cells[1].cell, Hole(Verdict.NOT_RUN, "second"))])
    journal.close()
    assert [result.reason for result in read(path)[1]] == ["first"]


def test_results_are_on_disk_as_they_come(plan, tmp_path):
    path = tmp_path / "results.jsonl"
    journal = Journal(path, describe(plan))
    for number, planned in enumerate(plan.cells[:3], 1):
        journal.add([skipped(planned.cell, Hole(Verdict.NOT_RUN, "so"))])
        assert len(read(path)[1]) == number
    journal.add([])
    assert len(read(path)[1]) == 3
    journal.close()


def test_a_planned_cell_without_a_result_is_an_error_that_names_it(plan, tmp_path):
    journal = Journal(tmp_path / "results.jsonl", describe(plan))
    journal.add([skipped(planned.cell, Hole(Verdict.NOT_RUN, "so")) for planned in plan.cells[1:]])
    with pytest.raises(FarmError, match=f"1 planned cell has no result: {plan.cells[0].cell}"):
        journal.finish(plan)


def test_a_result_of_a_cell_that_was_not_planned_is_an_error(plan, tmp_path):
    journal = Journal(tmp_path / "results.jsonl", describe(plan))
    journal.add([skipped(planned.cell, Hole(Verdict.NOT_RUN, "so")) for planned in plan.cells])
    with pytest.raises(FarmError, match="more results than planned cells"):
        journal.finish(Plan(plan.cells[1:], plan.scenarios, plan.variants))


# Second looks.


@pytest.fixture
def batch(arm64, scenario, cell):
    """Two cells: one that is in doubt, and one beside it; both are cross-checked if the engine can."""
    other = msgspec.structs.replace(cell, scenario="another")
    programs = (scenario(patch(0, "fast"), call(0, 5)), scenario(query(0), name="another"))
    return Batch(image.Spec(arm64, "stub"), "fake", (cell, other), programs, 5.0, cross_checked=1)


@pytest.fixture
def replies(batch, guest, trace_of):
    """Good and bad replies to the batch: ``good, beside, lost``."""
    built = guest("stub")
    good, beside = (Reply(trace_of(built, program)) for program in batch.scenarios)
    events = list(model.predict(batch.scenarios[0]))
    lost = Reply(trace_of(built, batch.scenarios[0], [*events[:-1], events[-1]._replace(value=1006)]))
    return good, beside, lost


@pytest.fixture
def judged(batch, fake_engine, monkeypatch):
    def judge(*answers, **options):
        engine = fake_engine(*answers, **options)
        monkeypatch.setattr("farm.engines.engines", lambda: {"fake": engine})
        return run_batch(batch), engine

    return judge


def test_a_mismatch_that_is_gone_the_second_time_is_flaky_and_never_a_pass(judged, replies):
    good, beside, lost = replies
    (doubtful, sound), engine = judged([lost, beside], [good])
    assert doubtful.verdict is Verdict.FLAKY
    assert not doubtful.provisional
    assert doubtful.failed
    assert doubtful.reason.startswith("first mismatch (event 2: expected [step 1: return whatever_0, value 0xc]")
    assert doubtful.reason.endswith("then pass (as expected)")
    assert doubtful.observed is not None
    assert sound.verdict is Verdict.PASS
    assert engine.asked == [(2, False), (1, True)]


def test_a_mismatch_that_is_there_the_second_time_is_believed(judged, replies):
    _, beside, lost = replies
    (doubtful, _), engine = judged([lost, beside], [lost])
    assert doubtful.verdict is Verdict.MISMATCH
    assert engine.asked == [(2, False), (1, True)]


def test_another_mismatch_the_second_time_is_flaky(judged, replies, batch, guest, trace_of):
    _, beside, lost = replies
    events = list(model.predict(batch.scenarios[0]))
    (doubtful, _), _ = judged([lost, beside], [Reply(trace_of(guest("stub"), batch.scenarios[0], events[:-1]))])
    assert doubtful.verdict is Verdict.FLAKY


@pytest.mark.parametrize("failure", ["crash", "timeout"])
def test_a_crash_and_a_timeout_are_tried_again(judged, replies, failure):
    good, beside, _ = replies
    failed = Reply(failure=failure, detail="so", pc=16)
    (believed, _), engine = judged([failed, beside], [failed])
    assert believed.verdict is Verdict(failure)
    assert engine.asked == [(2, False), (1, True)]
    (doubtful, _), _ = judged([failed, beside], [good])
    assert doubtful.verdict is Verdict.FLAKY


def test_what_passed_is_not_tried_again(judged, replies):
    good, beside, _ = replies
    results, engine = judged([good, beside])
    assert {result.verdict for result in results} == {Verdict.PASS}
    assert engine.asked == [(2, False)]


def test_a_batch_that_asks_for_no_second_try_gets_none(batch, replies, fake_engine, monkeypatch):
    _, beside, lost = replies
    engine = fake_engine([lost, beside])
    monkeypatch.setattr("farm.engines.engines", lambda: {"fake": engine})
    results = run_batch(dataclasses.replace(batch, confirm=False))
    assert [result.verdict for result in results] == [Verdict.MISMATCH, Verdict.PASS]
    assert engine.asked == [(2, False)]


def test_another_result_in_the_slow_mode_is_an_engine_error(judged, replies):
    good, beside, lost = replies
    (odd, sound), _ = judged([good, beside], slow=[lost, beside])
    assert odd.verdict is Verdict.ENGINE_ERROR
    assert odd.reason == "one instruction at a time gives another result: the traces differ"
    assert sound.verdict is Verdict.PASS


def test_a_failure_in_the_slow_mode_is_an_engine_error(judged, replies):
    good, beside, _ = replies
    (odd, _), _ = judged([good, beside], slow=[Reply(failure="crash", detail="it fell"), beside])
    assert odd.reason == "one instruction at a time gives another result: it fell"


def test_only_what_passed_is_cross_checked(judged, replies):
    _, beside, lost = replies
    results, _ = judged([lost, beside], [lost], slow=[beside])
    assert [result.verdict for result in results] == [Verdict.MISMATCH, Verdict.PASS]


def test_the_same_result_in_the_slow_mode_changes_nothing(judged, replies):
    good, beside, _ = replies
    assert [result.verdict for result in judged([good, beside], slow=[good, beside])[0]] == [Verdict.PASS] * 2


# What cannot be built.


def test_a_guest_that_does_not_compile_is_a_build_error_of_every_cell(batch, edited_arch, own_cache):
    folder = edited_arch()
    (variant,) = load_folder(folder)
    (folder / "patch.c").write_text("#error no\n", encoding="utf-8")
    results = run_batch(dataclasses.replace(batch, spec=image.Spec(variant, "stub")))
    assert [result.verdict for result in results] == [Verdict.BUILD_ERROR] * 2
    assert "patch.c does not compile for arm64" in results[0].reason
    assert "#error no" in results[0].reason
    assert results[1].reproduce.endswith("--scenario another -v")


@pytest.mark.parametrize(
    ("error", "verdict", "reason"),
    [
        (MissingToolError("the zig compiler", "pip install ziglang"), "not-run", "is missing: pip install ziglang"),
        (ImageError("image x is broken"), "build-error", "image x is broken"),
        (BuildError("x does not link", ["ld"], "words"), "build-error", "words"),
    ],
)
def test_whatever_keeps_an_image_from_being_there_is_a_verdict(batch, monkeypatch, error, verdict, reason):
    def fail(spec):
        raise error

    monkeypatch.setattr(build, "image", fail)
    results = run_batch(batch)
    assert [str(result.verdict) for result in results] == [verdict] * 2
    assert all(reason in result.reason for result in results)


# All the way through.


@pytest.mark.parametrize("name", ["unicorn", "qemu-user"])
def test_a_crash_names_the_signal_and_the_place(name, arm64, scenario, cell, request):
    if name == "qemu-user":
        request.getfixturevalue("qemu")
    spec = image.Spec(arm64, "stub", control="null-called")
    (result,) = run_batch(Batch(spec, name, (cell,), (scenario(null(6), call(6, 1)),)))
    assert result.verdict is Verdict.CRASH
    assert "(pc 0x" in result.reason
    assert "SIGSEGV" in result.reason if name == "qemu-user" else "jump to unmapped memory at 0x8" in result.reason


def test_a_planted_bug_is_a_mismatch_with_its_first_event(arm64, scenario, cell):
    spec = image.Spec(arm64, "stub", control="no-patch")
    (result,) = run_batch(Batch(spec, UNICORN.name, (cell,), (scenario(patch(0, "fast"), call(0, 5)),)))
    assert result.verdict is Verdict.MISMATCH
    assert "expected [step 1: enter whatever_0 -> fast" in result.reason
    assert "seen [step 1: enter whatever_0 -> default" in result.reason
    assert result.code.before == result.code.after
