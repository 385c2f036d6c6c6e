"""The history: every run once, nothing lost when things go wrong, and nothing overwritten that is not ours."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from functools import partial
from pathlib import Path

import helpers
import msgspec
import pytest
from helpers import RUN, farm, save
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.console import Console

from farm.cell import FAILED, SKIPPED, Verdict
from farm.errors import HistoryError, UsageError
from farm.measure import coverage
from farm.report import history as reports
from farm.results import history
from farm.results.diff import Change
from farm.results.history import LETTERS, History, Lines, record, view

SHORT = ("--arch", "arm64", "--engine", "unicorn", "--scenario", "BS-01")


result = partial(helpers.result, began=1000.0)


def header(day=1):
    return replace(RUN, started=f"2026-01-{day:02}T00:00:00+00:00")


def exported(path):
    with History(path) as file:
        return list(file.export())


def integrity(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute("PRAGMA integrity_check").fetchone()[0]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "history.sqlite"


@pytest.fixture
def remembered(path):
    """``remembered({"calls": "pass", ...}, ...)``: the view of runs with these verdicts, a day each."""

    def make(*runs, last=None, pattern=None):
        with History(path, create=True) as file:
            for day, verdicts in enumerate(runs, 1):
                file.add(*record(header(day), [result(Verdict(v), s) for s, v in verdicts.items()]))
            return view(file, last, pattern)

    return make


# What is kept.


def test_every_verdict_has_a_letter_of_its_own():
    assert set(LETTERS) == set(Verdict)
    assert len(set(LETTERS.values())) == len(Verdict)
    assert all(len(letter) == 1 for letter in LETTERS.values())


def test_of_a_run_totals_groups_failures_and_duration_are_kept():
    results = [
        result(),
        result(Verdict.CRASH, "b", "it died" + "!" * 500, seconds=0.5, began=1000.25),
        result(Verdict.NOT_RUN, "c", "no qemu"),
        result(variant="ppc32", began=1000.75),
    ]
    kept, cells = record(RUN, results)
    assert cells.cells == [r.cell for r in results]
    assert kept.totals == {"pass": 2, "not-run": 1, "crash": 1}
    assert kept.seconds == 1.0
    assert kept.groups == [
        history.Group("arm64", "stub", "zig", "unicorn", 2, 0.75),
        history.Group("ppc32", "stub", "zig", "unicorn", 1, 0.25),
    ]
    (failure,) = kept.failures
    assert (failure.cell.scenario, failure.verdict, failure.seconds) == ("b", Verdict.CRASH, 0.5)
    assert failure.reason == ("it died" + "!" * 500)[:200]


def test_the_same_run_is_there_once_and_another_one_beside_it(path):
    kept = record(RUN, [result()])
    with History(path, create=True) as file:
        assert file.add(*kept)
        assert not file.add(*kept)
        assert file.add(*record(RUN, [result(seconds=0.26)]))
        assert file.add(*record(header(2), [result()]))
        assert len(file.runs()) == 3
        assert len(file.runs(last=2)) == 2


def test_of_what_did_not_pass_the_reason_is_kept_of_known_bad_cells_too():
    every = [result(verdict, scenario=str(verdict), reason=f"why {verdict}") for verdict in Verdict]
    kept = {failure.verdict: failure.reason for failure in record(RUN, every)[0].failures}
    assert kept == {verdict: f"why {verdict}" for verdict in (*FAILED, Verdict.XFAIL)}


def test_coverage_is_added_to_a_run_that_is_there_without(path):
    bare, cells = record(RUN, [result()])
    with History(path, create=True) as file:
        file.add(bare, cells)
        assert not file.add(replace(bare, lines=Lines(3, 4)), cells)
        assert not file.add(bare, cells)
        assert not file.add(replace(bare, lines=Lines(1, 4)), cells)  # of a later folder, say: the first stays
        (only,) = file.runs()
    assert only.lines == Lines(3, 4)


def test_a_big_run_is_added_quickly_and_takes_little_room(path):
    results = [
        result(scenario=f"scenario_{i}", variant=f"v{v}", seconds=i / 7e4, began=1000 + i / 7)
        for v in range(156)
        for i in range(100)
    ]
    took = []
    with History(path, create=True) as file:
        for day in range(1, 22):
            before = time.perf_counter()
            file.add(*record(header(day), results))
            took.append(time.perf_counter() - before)
            if day == 1:
                with contextlib.closing(sqlite3.connect(path)) as other:
                    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                first = path.stat().st_size
    assert min(took) < 0.3
    assert (path.stat().st_size - first) / 20 < 10_000


def unit(path="arch/arm64/patch.c", excused=None, **lines):
    counts = {int(number[1:]): times for number, times in lines.items()}
    return coverage.Unit("arm64", "stub", "zig", "unicorn", (coverage.Source(path, counts, (), excused or {}),))


def test_lines_of_guest_code_are_counted_once_however_many_guests_reach_them(tmp_path):
    units = (
        unit(_1=3, _2=0, _3=0, _4=0, excused={4: "never happens"}),
        unit(_1=0, _2=7, _3=0),
        unit("arch/arm64/stub.S", _1=1),
    )
    (tmp_path / "coverage.json").write_bytes(msgspec.json.encode(coverage.Coverage(1, "0.1.0", units)))
    assert history.lines_of(tmp_path, [result()]) == Lines(3, 4)
    os.utime(tmp_path / "coverage.json", (10, 10))
    assert history.lines_of(tmp_path, [result(began=11.0)]) is None  # of an earlier run
    (tmp_path / "coverage.json").write_text("[]")
    with pytest.raises(UsageError, match=r"coverage\.json: not a coverage of the farm's"):
        history.lines_of(tmp_path, [result(began=1.0)])


# What the runs tell together.


def test_a_changed_verdict_is_told_with_its_run_and_its_reason(path):
    with History(path, create=True) as file:
        file.add(*record(header(1), [result(), result(scenario="b")]))
        file.add(*record(header(2), [result(Verdict.CRASH, reason="it died"), result(scenario="b")]))
        (turn,) = view(file).turns
    assert turn.started == "2026-01-02T00:00:00+00:00"
    (changed,) = turn.cells
    assert (changed.cell.scenario, changed.before, changed.after, changed.change, changed.reason) == (
        "calls",
        Verdict.PASS,
        Verdict.CRASH,
        Change.NEW_FAILURE,
        "it died",
    )


def test_runs_without_the_cell_or_in_which_it_was_skipped_change_nothing(remembered):
    found = remembered({"a": "pass"}, {"a": "not-run"}, {"b": "pass"}, {"a": "pass"}, {"a": "crash"})
    ((only,),) = ([(t.started[8:10], t.cells[0].before, t.cells[0].after)] for t in found.turns)
    assert only == ("05", Verdict.PASS, Verdict.CRASH)
    assert not found.suspects


def test_what_went_and_came_back_is_a_suspect_with_its_rate(remembered):
    flips = ["pass", "crash", "pass", "pass", "crash"]
    found = remembered(*({"flips": v, "broke": w} for v, w in zip(flips, ["pass"] * 3 + ["crash"] * 2, strict=True)))
    (suspect,) = found.suspects
    assert suspect.cell.scenario == "flips"
    assert [str(v) for v in suspect.verdicts] == ["pass", "crash", "pass", "crash"]
    assert (suspect.ran, suspect.rate) == (5, 0.75)


@settings(max_examples=50)
@given(st.lists(st.dictionaries(st.sampled_from("abcd"), st.sampled_from(list(Verdict)), min_size=1), min_size=1))
def test_the_view_is_what_the_runs_said(runs):
    with tempfile.TemporaryDirectory() as folder, History(Path(folder) / "h", create=True) as file:
        file._db.execute("PRAGMA synchronous = OFF")
        for number, verdicts in enumerate(runs):
            run = replace(RUN, started=f"{number:04}")
            file.add(*record(run, [result(v, s) for s, v in verdicts.items()]))
        found = view(file, pattern="*")
    said = {s: [verdicts.get(s) for verdicts in runs] for s in {s for v in runs for s in v}}
    assert {strip.cell.scenario: strip.verdicts for strip in found.cells} == said
    assert [summary.planned for summary in found.runs] == [len(verdicts) for verdicts in runs]
    changes, suspects = set(), set()
    for scenario, verdicts in said.items():
        ran = [(number, v) for number, v in enumerate(verdicts) if v is not None and v not in SKIPPED]
        pairs = [(n, a, b) for (_, a), (n, b) in itertools.pairwise(ran) if a is not b]
        changes |= {(f"{n:04}", scenario, a, b) for n, a, b in pairs}
        if any(first[1] is second[2] for first, second in itertools.pairwise(pairs)):
            suspects.add((scenario, round(len(pairs) / (len(ran) - 1), 4)))
    assert {(t.started, c.cell.scenario, c.before, c.after) for t in found.turns for c in t.cells} == changes
    assert {(s.cell.scenario, s.rate) for s in found.suspects} == suspects


def test_a_glob_restricts_everything_to_its_cells(remembered):
    runs = [{"abc": "pass", "xyz": "pass"}, {"xyz": "pass"}, {"abc": "crash", "xyz": "crash"}]
    found = remembered(*runs, pattern="arm64/stub/*/ab*")
    assert [(run.planned, run.passed) for run in found.runs] == [(1, 1), (1, 0)]
    assert [str(strip.cell) for strip in found.cells] == ["arm64/stub/zig/unicorn/abc"]
    assert [len(turn.cells) for turn in found.turns] == [1]
    with pytest.raises(UsageError, match=r"--cell nope: matches no cell of these 3 runs"):
        remembered(*runs, pattern="nope")


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_a_sparkline_is_as_high_as_its_values(values):
    bars = reports.sparkline(values, 30)
    assert len(bars) == len(values)
    for (a, x), (b, y) in itertools.product(zip(values, bars, strict=True), repeat=2):
        assert (a <= b) <= (x <= y)
    if min(values) < max(values):
        assert {bars[values.index(min(values))], bars[values.index(max(values))]} == {"▁", "█"}


def shown(found):
    out = io.StringIO()
    reports.show(found, Console(file=out, width=160))
    return out.getvalue()


@given(st.integers(1, 1000), st.integers(1, 100))
def test_a_sparkline_of_many_values_fits_and_has_the_shape_of_all(count, width):
    bars = reports.sparkline(list(range(count)), width)
    assert len(bars) == min(count, width)
    assert list(bars) == sorted(bars)
    assert count == 1 or width == 1 or (bars[0], bars[-1]) == ("▁", "█")


@pytest.mark.parametrize("width", [30, 40, 80, 120])
def test_the_trends_of_many_runs_fit_the_terminal(remembered, width):
    found = remembered(*({"calls": "pass" if day % 3 else "mismatch"} for day in range(28)))
    assert max(map(len, reports.trends(found, width))) <= width


def test_a_history_without_a_run_says_so(remembered):
    assert shown(remembered()).endswith(": 0 runs\n")


def test_the_trend_leaves_out_runs_that_are_about_something_else(remembered):
    whole = {"a": "pass", "b": "pass", "c": "pass", "d": "not-run"}
    found = remembered(whole, {"a": "pass"}, {**whole, "d": "pass"})
    assert reports.trends(found) == [
        "planned      ▄▄  4 -> 4",
        "ran          ▁█  3 -> 4",
        "passed       ▁█  3 -> 4",
        "seconds      ▄▄  0.2 -> 0.2",
        "(1 run of less than half the cells left out)",
    ]


def test_what_is_shown_is_grouped_and_says_why(path):
    bad = [result(Verdict.CRASH, "calls", "it died", variant=v) for v in ("arm64", "ppc32")]
    good = [result(variant=v) for v in ("arm64", "ppc32")]
    with History(path, create=True) as file:
        for day, results in enumerate((good, bad, good), 1):
            file.add(*record(header(day), results, Lines(9, 10)))
        text = shown(view(file))
    assert f"{path}: 3 runs\n" in text
    assert "2026-01-02T00:00:00+00:00: 2 cells have another verdict\n" in text
    assert "  calls: pass -> crash on arm64, ppc32 under stub/zig/unicorn (2 cells): it died\n" in text
    assert "  arm64/stub/zig/unicorn/calls and 1 more: pass -> crash -> pass (2 changes in 3 runs, 100%)\n" in text
    assert "guest lines  ▄▄▄  90.0% -> 90.0%\n" in text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_of_any_encoding_gets_the_plots(path, remembered, encoding):
    remembered({"calls": "pass", "naïve": "pass"}, {"calls": "pass", "naïve": "mismatch"})
    done = farm("history", "--cell", "*", "--file", path, PYTHONIOENCODING=encoding, LC_ALL="C", encoding=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    bars, plus = ("█▁", "✓✗") if encoding == "utf-8" else ("#_", "+X")
    assert f"passed       {bars}  2 -> 1\n" in done.stdout
    assert f"{plus}  arm64/stub/zig/unicorn/na{'?' if encoding == 'ascii' else 'ï'}ve\n" in done.stdout


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are Unicode")
def test_a_name_that_is_no_text_is_shown_all_the_same(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff")
    folder = save(tmp_path / os.fsdecode(b"out-\xfe"), RUN, [result()])
    assert farm("history", "add", folder, "--file", path).returncode == 0
    assert json.loads(farm("history", "--json", "--file", path).stdout)["path"] == str(tmp_path / "\ufffd")
    assert json.loads(farm("diff", folder, folder, "--format", "json").stdout)["before"]["path"].endswith("out-\ufffd")


def test_hostile_names_do_not_break_the_lines(path):
    with History(path, create=True) as file:
        for day, verdict in enumerate((Verdict.PASS, Verdict.CRASH, Verdict.PASS), 1):
            made = [result(verdict, "a\nb\x1b[31m[red]", "no\nway", variant="<v>\r")]
            file.add(*record(replace(header(day), started=f"{day}\n\x1b[1m"), made))
        text = shown(view(file, pattern="*"))
    assert "\x1b" not in text
    assert text.count("a b\ufffd[31m[red]") == 4  # a strip, two changes, a suspect
    assert all(line.strip() != "way" for line in text.splitlines())


# Export and import.


@st.composite
def several_runs(draw):
    runs = draw(
        st.lists(
            st.dictionaries(st.text(max_size=8), st.sampled_from(list(Verdict)), min_size=1, max_size=4),
            min_size=1,
            max_size=6,
        )
    )
    lines = draw(st.none() | st.just(Lines(1, 3)))
    return [
        record(replace(RUN, started=f"{n % 4}"), [result(v, s, "why", seconds=n / 7) for s, v in run.items()], lines)
        for n, run in enumerate(runs)
    ]


@settings(max_examples=20)
@given(several_runs(), st.randoms(use_true_random=False))
def test_an_export_brings_everything_back_in_any_order_and_twice_is_once(runs, random):
    with tempfile.TemporaryDirectory() as folder:
        one, two = Path(folder) / "one", Path(folder) / "two"
        with History(one, create=True) as file:
            for kept in runs:
                file.add(*kept)
            lines = list(file.export())
        with History(two, create=True) as file:
            assert file.load(lines, "lines") == (len(file.runs()), []) == (len({r.id for r, _ in runs}), [])
            assert list(file.export()) == lines
            assert file.load(lines, "lines") == (0, [])
            assert list(file.export()) == lines
        random.shuffle(runs)
        three = Path(folder) / "three"
        with History(three, create=True) as file:
            for kept in runs:
                file.add(*kept)
            assert list(file.export()) == lines


def test_lines_that_cannot_be_used_are_named_and_the_rest_is_imported(path, tmp_path):
    with History(path, create=True) as file:
        file.add(*record(header(1), [result()]))
        file.add(*record(header(2), [result(), result(scenario="b")]))
        head, cells, first, others, second = file.export()
    wrong_cells = cells.replace(b'"calls"', b'"lucky"')
    wrong_letter = first.replace(b'"verdicts":"p"', b'"verdicts":"?"')
    lines = [head, b"\xff\n", cells, wrong_cells, wrong_letter, second, first, second[:50], b'{"type":"new"}', others]
    assert wrong_letter != first
    with History(tmp_path / "new", create=True) as file:
        added, complaints = file.load(lines, "x.jsonl")
        assert [run.id for run in file.runs()] == [json.loads(first)["id"]]
    assert added == 1
    assert [complaint.partition(" is ")[0] for complaint in complaints] == [
        f"x.jsonl: line {number}" for number in (2, 4, 5, 6, 8, 9)
    ]
    assert "its hash is not that of its cells" in complaints[1]
    assert "its verdicts do not fit its cells" in complaints[2]
    assert "no line before it has its cells" in complaints[3]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "line 1 is no head of an exported history"),
        ("{" * 9, "line 1 is no head of an exported history"),
        ('{"x":' * 100_000, "line 1 is no head of an exported history"),
        ('{"run": {}}\n', "line 1 is no head of an exported history"),
        ('{"type":"history","schema":2}\n', "a history of version 2; this farm reads 1"),
    ],
)
def test_what_is_no_export_is_refused(path, content, sentence):
    done = farm("history", "import", "-", "--file", path, stdin=content)
    assert (done.returncode, done.stderr) == (2, f"farm: -: {sentence}\n")


def test_the_commands_export_import_and_prune(path, tmp_path):
    for day in (1, 2, 3):
        folder = save(tmp_path / str(day), header(day), [result()])
        assert farm("history", "add", folder, "--file", path).stdout == f"{path}: added\n"
    assert farm("history", "add", folder / "results.jsonl", "--file", path).stdout == f"{path}: has it already\n"
    assert farm("history", "export", tmp_path / "x.jsonl", "--file", path).returncode == 0
    piped = farm("history", "export", "-", "--file", path)
    assert piped.stdout == (tmp_path / "x.jsonl").read_text()
    other = tmp_path / "other"
    for added in (3, 0):
        done = farm("history", "import", "-", "--file", other, stdin=piped.stdout)
        assert done.stdout == f"{other}: {added} runs added\n"
    assert farm("history", "export", "-", "--file", other).stdout == piped.stdout
    assert farm("history", "prune", "--keep", 1, "--file", other).stdout == f"{other}: 2 runs removed\n"
    with History(other) as file:
        assert [run.run.started[:10] for run in file.runs()] == ["2026-01-03"]
        assert file.cells(file.runs()[0].cells) == [result().cell]
    assert farm("history", "prune", "--keep", 0, "--file", other).returncode == 0
    with contextlib.closing(sqlite3.connect(other)) as db:
        assert db.execute("SELECT count(*) FROM cells").fetchone() == (0,)


def test_an_export_does_not_replace_the_history(path, remembered):
    remembered({"calls": "pass"})
    before = path.read_bytes()
    done = farm("history", "export", path, "--file", path)
    assert (done.returncode, done.stderr) == (2, f"farm: {path}: is the history itself: name another file\n")
    assert path.read_bytes() == before


def test_history_alone_shows_and_json_is_the_documented_structure(path, tmp_path):
    farm("history", "add", save(tmp_path / "out", RUN, [result()]), "--file", path)
    assert ": 1 run\n" in farm("history", PATCHFARM_HISTORY=str(path)).stdout
    assert farm("history", "show", "--file", path).stdout == farm("history", "--file", path).stdout
    done = farm("history", "--file", path, "--cell", "*calls", "--json")
    found = msgspec.json.decode(done.stdout, type=history.View)
    assert [strip.verdicts for strip in found.cells] == [[Verdict.PASS]]
    assert farm("history", "--help").stdout.count("prune") == 1


# Fed by each run.


def test_a_run_adds_itself_unless_told_not_to(tmp_path, path):
    done = farm("run", *SHORT, "--output", tmp_path / "out", PATCHFARM_HISTORY=str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert farm("run", *SHORT, "--no-history", "--output", tmp_path / "b", PATCHFARM_HISTORY=str(path)).returncode == 0
    (line,) = (line for line in map(json.loads, exported(path)) if line["type"] == "run")
    results = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert line["run"] == results[0]["run"]
    assert len(line["verdicts"]) == len(results) - 1
    again = farm("history", "add", tmp_path / "out", "--file", path)
    assert again.stdout == f"{path}: has it already\n"


def test_a_resumed_run_that_has_nothing_left_to_do_is_not_added_again(tmp_path, path):
    for _ in range(2):
        assert farm("run", *SHORT, "--resume", "--output", tmp_path, PATCHFARM_HISTORY=str(path)).returncode == 0
    assert sum(b'"type":"run"' in line for line in exported(path)) == 1


@pytest.mark.parametrize("off", ["off", "", None])
def test_tests_and_those_who_want_none_leave_no_history(tmp_path, off):
    """``None`` is what this very test inherits."""
    chosen = {} if off is None else {"PATCHFARM_HISTORY": off}
    homes = {"HOME": str(tmp_path / "home"), "XDG_DATA_HOME": str(tmp_path / "data")}
    done = farm("run", *SHORT, "--output", tmp_path / "out", **homes, **chosen)
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(tmp_path.rglob("*.sqlite"))
    done = farm("history", **homes, **chosen)
    assert done.returncode == 2
    assert done.stderr == "farm: PATCHFARM_HISTORY turns the history off: name a file with --file\n"


def test_without_a_choice_it_is_in_the_users_data(monkeypatch, tmp_path):
    from farm import paths

    monkeypatch.delenv("PATCHFARM_HISTORY")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert paths.history() == tmp_path / "patchfarm" / "history.sqlite"


def test_a_history_that_cannot_be_written_changes_nothing_of_the_run(tmp_path):
    wanted = farm("run", *SHORT, "--output", tmp_path / "a")
    done = farm("run", *SHORT, "--output", tmp_path / "b", PATCHFARM_HISTORY="/proc/history.sqlite")
    said = [re.sub(r"^\d+/\d+ cells, .*\n", "", text, flags=re.MULTILINE) for text in (wanted.stdout, done.stdout)]
    assert (done.returncode, said[1].replace("/b", "/a")) == (wanted.returncode, said[0])
    assert done.stderr == (
        "farm: the run is not in the history: /proc/history.sqlite: cannot be used (unable to open database file): "
        "name another file with --file or PATCHFARM_HISTORY\n"
    )
    assert (tmp_path / "b" / "junit.xml").exists()


def test_foreign_coverage_is_named_and_the_run_added(tmp_path, path):
    folder = save(tmp_path / "out", RUN, [result()])
    (folder / "coverage.json").write_text("{}")
    done = farm("history", "add", folder, "--file", path)
    assert done.returncode == 0
    assert done.stderr.startswith(f"farm: {folder / 'coverage.json'}: not a coverage of the farm's: ")
    assert done.stdout == f"{path}: added\n"


# When things go wrong.


def every_command(path, folder):
    """The sentence of each command, which must be the same one."""
    commands = (["add", folder], ["show"], ["export", "-"], ["prune", "--keep", 1])
    done = [farm("history", *command, "--file", path) for command in commands]
    assert {one.returncode for one in done} == {3}
    assert {one.stdout for one in done} == {""}
    (sentence,) = {one.stderr for one in done}
    assert sentence.count("\n") == 1
    return sentence


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"this is no database, and long enough to be sure of it\n" * 40, "no usable history (file is not a database)"),
        ("CREATE TABLE t (x); PRAGMA user_version = 1", "a database of something else; it is left as it is"),
        (
            f"CREATE TABLE t (x); PRAGMA application_id = {0x70617463}; PRAGMA user_version = 9",
            "a history of version 9, this farm has version 1; it is left as it is: update patchfarm",
        ),
    ],
)
def test_a_file_that_is_no_history_of_this_version_is_left_as_it_is(path, tmp_path, content, sentence):
    folder = save(tmp_path / "out", RUN, [result()])
    path.parent.mkdir()
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.executescript(content)
    before = path.read_bytes()
    said = every_command(path, folder)
    assert said.startswith(f"farm: {path}: {sentence}")
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def damaged(path, how):
    with History(path, create=True) as file:
        for day in range(1, 20):
            file.add(*record(header(day), [result(scenario=f"s{i}") for i in range(200)]))
    whole = path.read_bytes()
    path.write_bytes(how(whole))


@pytest.mark.parametrize(
    "how",
    [
        lambda whole: whole[:5000],
        lambda whole: whole[:4096] + b"\xa5" * (len(whole) - 4096),
        lambda whole: whole[:100] + b"\0" * 3996 + whole[4096:],
    ],
    ids=["cut off", "overwritten", "no first page"],
)
def test_a_damaged_file_is_named_with_what_to_do_and_left_as_it_is(path, tmp_path, how):
    folder = save(tmp_path / "out", RUN, [result()])
    damaged(path, how)
    before = path.read_bytes()
    for command in (["add", folder], ["show"]):
        done = farm("history", *command, "--file", path)
        assert done.returncode == 3, done.stdout
        assert done.stderr.startswith(f"farm: {path}: no usable history (")
        assert done.stderr.endswith(": it is left as it is: move it away, and the next run begins one\n")
    assert path.read_bytes() == before


def test_a_row_that_cannot_be_read_is_named_too(path):
    with History(path, create=True) as file, contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        file.add(*record(RUN, [result()]))
        other.execute("UPDATE run SET record = x'00'")
        with pytest.raises(HistoryError, match="no usable history"):
            file.runs()
        other.execute("DELETE FROM cells")
        with pytest.raises(HistoryError, match="the cells of a run are not there"):
            file.cells("0")


def spoilt(value, random):
    """What a column may hold instead of ``value``: of another type, cut, flipped, or another whole content."""
    other = random.choice(["text", "type", "cut", "flip", "json"])
    if other == "text":
        return random.choice(["", "p" * 9, "\ufffd", "2026"])
    if other == "type":
        return random.choice([0, -1, 1.5, b"", b"\0", "\0"])
    if isinstance(value, str):
        place = random.randrange(len(value))
        return value[:place] + ("x" + value[place + 1 :] if other == "flip" else "")
    if other == "json":
        content = json.loads(zlib.decompress(value))
        key = random.choice(list(content))
        odd = [None, True, -1, "", "z" * 5, [], {}, [[]], 1 << 70, content.get("verdicts", "p")[:-1]]
        content[key] = random.choice(odd)
        return zlib.compress(json.dumps(content).encode())
    place = random.randrange(len(value))
    if other == "cut":
        return value[:place]
    return value[:place] + bytes([value[place] ^ 1 << random.randrange(8)]) + value[place + 1 :]


@given(st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_a_damaged_column_is_a_sentence_or_does_no_harm(random):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "history.sqlite"
        kept = [record(header(day), [result(verdict), result(scenario="b")]) for day, verdict in enumerate(Verdict, 1)][
            :3
        ]
        with History(file, create=True) as opened:
            for each in kept:
                opened.add(*each)
        table, column = random.choice(
            [("cells", "sha256"), ("cells", "list"), *(("run", name) for name in ("id", "started", "cells", "record"))]
        )
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as db:
            (rowid, value), *_ = db.execute(f"SELECT {'sha256' if table == 'cells' else 'id'}, {column} FROM {table}")
            key = "sha256" if table == "cells" else "id"
            with contextlib.suppress(sqlite3.IntegrityError):
                db.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (spoilt(value, random), rowid))

        def use(action):
            with contextlib.suppress(HistoryError), History(file) as opened:
                action(opened)

        use(lambda opened: reports.show(view(opened), Console(file=io.StringIO(), width=100)))
        use(lambda opened: view(opened, 1, "*"))
        use(lambda opened: list(opened.export()))
        use(lambda opened: opened.add(replace(kept[0][0], lines=Lines(1, 2)), kept[0][1]))
        use(lambda opened: opened.prune(1))


def test_more_runs_than_there_could_be_are_all_of_them(remembered, path):
    assert len(remembered({"calls": "pass"}, {"calls": "crash"}, last=10**30).runs) == 2
    with History(path) as opened:
        assert opened.prune(10**30) == 0


def test_what_is_not_there_is_not_made_by_looking(path):
    done = farm("history", "show", "--file", path)
    assert done.returncode == 3
    assert done.stderr == f"farm: {path}: there is no history yet: farm run, or farm history add, begins one\n"
    assert not path.parent.exists()
    path.parent.mkdir()
    path.touch()
    assert "holds no run" in farm("history", "show", "--file", path).stderr
    assert path.stat().st_size == 0


def test_a_path_that_cannot_even_be_looked_at_is_named(path, tmp_path):
    name = "x" * 300  # as a folder is that nobody may enter
    History(path, create=True).__exit__()
    for command, status in (
        (("diff", name, name), 2),
        (("history", "--file", name), 3),
        (("history", "add", name, "--file", path), 2),
        (("history", "add", save(tmp_path / "out", RUN, [result()]), "--file", name), 3),
        (("history", "export", name, "--file", path), 3),
        (("history", "import", name, "--file", path), 2),
    ):
        done = farm(*command)
        assert (done.returncode, done.stdout) == (status, ""), command
        assert re.fullmatch(rf"farm: .*{name}.*: .*\n", done.stderr), command


def test_an_empty_file_becomes_a_history(path):
    path.parent.mkdir()
    path.touch()
    with History(path, create=True) as file:
        assert file.add(*record(RUN, [result()]))


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(HistoryError, match="its folder cannot be made: "):
        History(tmp_path / "file" / "history", create=True)


def test_in_a_folder_that_cannot_be_written_a_history_can_be_read_and_anything_else_is_said(unmeasured):
    script = """
import os, sys
from pathlib import Path
from farm.results import diff, history
from farm.errors import HistoryError
if os.geteuid() == 0:  # who can write anywhere
    os.setgid(65534)
    os.setuid(65534)
folder = Path(sys.argv[1])
kept = history.record(*diff.load(folder)[:2])
with history.History(folder / "old") as file:
    print(len(file.runs()))
    try:
        file.prune(0)
    except HistoryError as error:
        print(error)
for name in ("old", "new"):
    try:
        with history.History(folder / name, create=True) as file:
            file.add(*kept)
    except HistoryError as error:
        print(error)
"""
    with tempfile.TemporaryDirectory() as name:
        folder = save(Path(name), RUN, [result()])
        with History(folder / "old", create=True) as file:
            file.add(*record(header(2), [result()]))
        folder.chmod(0o555)
        before = (folder / "old").read_bytes()
        done = subprocess.run(
            [sys.executable, "-c", script, name], capture_output=True, text=True, check=False, env=unmeasured
        )
        assert (folder / "old").read_bytes() == before
        assert sorted(path.name for path in folder.iterdir()) == ["old", "results.jsonl"]
        folder.chmod(0o755)
    assert done.stderr == ""
    readonly = (
        "cannot be used (attempt to write a readonly database): name another file with --file or PATCHFARM_HISTORY"
    )
    assert done.stdout.splitlines() == [
        "1",
        f"{name}/old: {readonly}",
        f"{name}/old: {readonly}",
        f"{name}/new: {readonly.replace('attempt to write a readonly database', 'unable to open database file')}",
    ]


def test_a_writer_waits_for_another_and_gives_up_with_a_sentence(path):
    kept = record(RUN, [result()])
    with History(path, create=True) as file:
        file.add(*record(header(2), [result()]))
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with (
        History(path, create=True, wait=0.2) as file,
        pytest.raises(HistoryError, match=r"another process has been writing to it for 0\.2 seconds: try again"),
    ):
        file.add(*kept)
    with History(path) as file:
        assert len(file.runs()) == 1  # readers need not wait
    release = threading.Timer(0.5, lambda: other.execute("COMMIT"))
    release.start()
    with History(path, create=True, wait=20) as file:
        assert file.add(*kept)
    release.join()
    other.close()


def test_runs_that_end_together_are_all_remembered(tmp_path):
    """Several processes begin one file at the same time, and each adds runs of its own."""
    writers, each = 6, 4
    program = """
import sys, time
from pathlib import Path
from farm.results import diff, history
path, begin = Path(sys.argv[1]), float(sys.argv[2])
kept = [history.record(*diff.load(Path(folder))[:2]) for folder in sys.argv[3:]]
time.sleep(max(0, begin - time.time()))
for one in kept:
    with history.History(path, create=True) as file:
        assert file.add(*one)
"""
    folders = [
        save(tmp_path / f"out{n}", header(n + 1), [result(scenario=f"s{i}") for i in range(n % 3 + 1)])
        for n in range(writers * each)
    ]
    for attempt in range(3):
        path = tmp_path / f"{attempt}.sqlite"
        begin = str(time.time() + 1.5)
        children = [
            subprocess.Popen([sys.executable, "-c", program, path, begin, *folders[n::writers]]) for n in range(writers)
        ]
        assert [child.wait(timeout=60) for child in children] == [0] * writers
        assert sum(b'"type":"run"' in line for line in exported(path)) == writers * each
        assert integrity(path) == "ok"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_writer_that_is_ended_on_the_way_leaves_all_or_nothing(path, tmp_path, launch, how):
    with History(path, create=True) as file:
        file.add(*record(header(1), [result()]))
    before = exported(path)
    feed = tmp_path / "feed"
    os.mkfifo(feed)
    with History(tmp_path / "other", create=True) as file:
        for day in range(2, 28):
            file.add(*record(header(day), [result(scenario=f"{day}_{i}") for i in range(50)]))
        lines = list(file.export())
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from farm.results.history import History\n"
        "with History(Path(sys.argv[1])) as file, open(sys.argv[2], 'rb', buffering=0) as lines:\n"
        "    file.load(lines, 'feed')\n"
    )
    child = launch([sys.executable, "-c", script, path, feed], stderr=subprocess.DEVNULL)
    with feed.open("wb", buffering=0) as pipe:
        for line in lines[:-1]:
            pipe.write(line + b"\n")
        with contextlib.closing(
            sqlite3.connect(path, timeout=0, isolation_level=None)
        ) as probe:  # it is in its transaction
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                try:
                    probe.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError:
                    break
                probe.execute("ROLLBACK")
        child.send_signal(how)
        assert child.wait(timeout=30) != 0
    assert exported(path) == before
    assert integrity(path) == "ok"
    with History(path, create=True) as file:
        assert file.load(lines, "lines")[0] == 26


def test_an_interrupted_add_keeps_nothing_of_it(path, monkeypatch):
    with History(path, create=True) as file:
        file.add(*record(header(1), [result()]))
        before = list(file.export())
        real = file._db

        class Interrupted:
            in_transaction = property(lambda _: real.in_transaction)

            def execute(self, statement, *parameters):
                if statement.startswith("INSERT INTO run"):
                    raise KeyboardInterrupt
                return real.execute(statement, *parameters)

        monkeypatch.setattr(file, "_db", Interrupted())
        with pytest.raises(KeyboardInterrupt):
            file.add(*record(header(2), [result(scenario="b")]))
        monkeypatch.undo()
        assert list(file.export()) == before
        assert real.execute("SELECT count(*) FROM cells").fetchone() == (1,)
        assert file.add(*record(header(2), [result(scenario="b")]))
