"""What commands write and print: whole, of one run, or not there; in any encoding, whoever reads it."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest
from helpers import RUN, farm
from msgspec.structs import replace
from rich.console import Console

from farm.cell import Cell, Hole, Verdict
from farm.cli.app import alone
from farm.errors import OutputError
from farm.report import calibration, table
from farm.run import plan
from farm.run.verdict import Result, skipped


def test_cost_is_written_as_it_is_printed_where_it_is_asked_for(tmp_path):
    done = farm("cost", "--arch", "arm64", "--engine", "unicorn", "--json", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cost.json"]
    assert json.loads((tmp_path / "out" / "cost.json").read_text()) == json.loads(done.stdout)


def test_a_calibration_is_written_as_a_table_of_the_report(tmp_path):
    select = (
        "--arch",
        "arm64",
        "--mechanism",
        "stub",
        "--engine",
        "unicorn",
        "--scenario",
        "BS-02,patch_then_call_at_once",
    )
    done = farm("calibrate", *select, "--control", "no-patch,no-flush", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["calibration.json"]
    (made,) = table.found(tmp_path)
    assert made.columns == ("control", "defect", "unicorn")
    assert [[(field.text, field.state) for field in row] for row in made.rows] == [
        [("no-patch", "none"), ("lost-patch", "none"), ("1/1", "good")],
        [("no-flush", "none"), ("stale-fetch", "none"), ("0/1 blind", "weak")],
    ]
    assert made.notes[-1] == "2 findings, 0 not as claimed"
    for field in (field for row in made.rows for field in row):
        assert field.text in done.stdout


@pytest.mark.parametrize("command", ["cost", "calibrate", "prove interleave", "prove coherence"])
def test_a_measurement_that_cannot_be_written_is_not_begun(tmp_path, command):
    (tmp_path / "file").write_text("")
    done = farm(*command.split(), "--arch", "arm64", "--output", tmp_path / "file" / "out")
    assert (done.returncode, done.stdout) == (3, "")
    assert "cannot be made" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_calibration_that_is_not_as_claimed_is_bad_and_named():
    made = table.Table(
        calibration.NAME, "t", "c", ("control",), ((table.Field("1/2", "bad"),),), ("x should have\x1b[31m noticed",)
    )
    out = io.StringIO()
    calibration.show(made, Console(file=out, width=100))
    assert "1/2" in out.getvalue()
    assert "x should have\ufffd[31m noticed" in out.getvalue()
    assert calibration.NAME in table.NAMES
    assert msgspec.json.decode(msgspec.json.encode(made), type=table.Table) == made


@pytest.fixture
def written(tmp_path):
    """A folder with results that came in another order than planned, one is missing, and their plan."""
    made = plan.make(plan.Selection(arch=["arm64"], mechanism=["stub"], engine=["unicorn"], scenario=["BS-0*"]))
    header = replace(RUN, plan=made.sha256)
    results = [skipped(planned.cell, Hole(Verdict.NOT_RUN, "no")) for planned in reversed(made.cells[1:])]
    lines = [msgspec.json.encode({"run": header}), *map(msgspec.json.encode, results), b""]
    (tmp_path / "results.jsonl").write_bytes(b"\n".join(lines))
    (tmp_path / "plan.json").write_bytes(made.json())
    return tmp_path


def test_a_report_of_a_run_that_was_ended_is_in_the_order_of_its_plan(written):
    done = farm("report", written)
    assert done.returncode == 3
    assert "1 planned cell has no result" in done.stderr
    names = [case.get("name") for case in ET.parse(written / "junit.xml").iter("testcase")]
    assert names == [each["cell"]["scenario"] for each in json.loads((written / "plan.json").read_text())["cells"]]


def test_a_report_that_cannot_be_written_leaves_none_and_the_results(written):
    before = (written / "results.jsonl").read_bytes()
    (written / "report.html").mkdir()  # the last to be written
    done = farm("report", written)
    assert done.returncode == 3
    assert "report.html: cannot be written: Is a directory; the results are kept, and `farm report" in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in written.iterdir()} == {"plan.json", "results.jsonl", "report.html"}
    assert (written / "results.jsonl").read_bytes() == before


def test_what_is_printed_is_spelled_in_any_encoding_and_tells_a_pass_from_a_hole(written):
    done = farm("report", written, PYTHONIOENCODING="ascii", LC_ALL="C")
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)
    assert re.search(r"^\| arm64 +\| \d+o +\|\n\| +\| 1! engine-error +\|$", done.stdout, re.MULTILINE)
    assert "+ pass   ~ pass" in done.stdout


@pytest.mark.parametrize(("stream", "status"), [("&-", 3), ("/dev/full", 3)])
def test_output_that_goes_nowhere_is_no_traceback(written, stream, status):
    command = f'"{sys.executable}" -m farm report "{written}" >{stream}'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False)
    assert ("the output cannot be written: No space left" in done.stderr) == (stream == "/dev/full")


def test_a_mistake_that_nobody_can_be_told_of_has_its_status():
    done = subprocess.run(["sh", "-c", f'"{sys.executable}" -m farm run --arch nosuch 2>/dev/full'], check=False)
    assert done.returncode == 2


def test_output_that_may_not_grow_is_said(tmp_path):
    limited = "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); runpy.run_module('farm')"
    with (tmp_path / "out").open("w") as out:
        command = [sys.executable, "-c", limited, "list", "engines"]
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "farm: the output cannot be written: File too large\n")


def test_a_run_that_cannot_say_anything_touches_no_earlier_results(written, tmp_path):
    shutil.copytree(written, tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    command = f'"{sys.executable}" -m farm run --arch arm64 --engine unicorn --output "{tmp_path}/out" >/dev/full'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "farm: the output cannot be written: No space left on device\n")
    assert {path: path.read_bytes() for path in before} == before


def test_a_run_that_nobody_reads_comes_to_its_end(tmp_path):
    select = "--arch arm64 --mechanism stub --engine unicorn --scenario BS-0* -v"
    command = f'("{sys.executable}" -m farm run {select} --output "{tmp_path}"; echo $? >&2) | head -n 1'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("$ ")
    assert (done.stdout.count("\n"), done.stderr) == (1, "0\n")
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize("command", ["list scenarios", "plan --arch arm64", "--help"])
def test_a_list_that_nobody_reads_on_ends_quietly_with_the_status_of_a_broken_pipe(command):
    process = subprocess.Popen(
        [sys.executable, "-m", "farm", *command.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 141


def test_colour_alone_makes_no_live_bar_in_a_log(tmp_path):
    select = ("--arch", "arm64", "--mechanism", "stub", "--engine", "unicorn", "--scenario", "BS-0*")
    done = farm("run", *select, "--output", tmp_path, FORCE_COLOR="1")
    assert done.returncode == 0
    assert "\x1b[" in done.stdout
    assert "\r" not in done.stdout
    assert "guests: 1 to have ready" in done.stdout


def test_a_second_run_into_the_same_folder_is_refused_and_nothing_of_the_first_is_touched(written):
    from farm.cli.app import alone

    before = {path: path.read_bytes() for path in written.iterdir()}
    with alone(written):
        done = farm("run", "--arch", "arm64", "--engine", "unicorn", "--output", written)
    assert (done.returncode, done.stdout) == (2, "")
    assert "another run writes there; --output names another one" in done.stderr
    assert {path: path.read_bytes() for path in before} == before


def test_a_folder_that_cannot_be_locked_is_named(tmp_path, monkeypatch):
    def refuses(*_, **__):
        raise NotImplementedError

    monkeypatch.setattr("filelock.FileLock.acquire", refuses)
    with (
        pytest.raises(OutputError, match="its file system knows no locks"),
        alone(tmp_path),
    ):
        pytest.fail("two runs could mix")


@pytest.mark.parametrize("when", ["building", "writing"])
def test_reports_of_an_earlier_run_do_not_outlive_its_results(written, when):
    """Interrupted on the way: what is there is of the results that are there, and is said."""
    farm("report", written)
    assert (written / "summary.md").exists()
    where = {"building": ("farm.guest.build", "images"), "writing": ("farm.report.html", "render")}[when]
    program = f"""
import {where[0]} as module
def interrupted(*_, **__): raise KeyboardInterrupt
module.{where[1]} = interrupted
from farm.cli import main
main()
"""
    select = ["--arch", "arm64", "--mechanism", "stub", "--engine", "unicorn", "--scenario", "BS-03"]
    command = [sys.executable, "-c", program, "run", *select, "--output", str(written)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (130, False)
    if when == "building":
        assert "interrupted: 0 of 1 results are in" in done.stderr
        assert "--resume runs the rest" in done.stderr
        assert not (written / "summary.md").exists()
    else:
        assert "interrupted: 1 of 1 results are in" in done.stderr
        assert "`farm report" in done.stderr
    assert not (written / "report.html").exists()


def test_a_report_made_again_says_which_lines_cannot_be_used(tmp_path):
    passed = Result(
        Cell("s", "arm64", "stub", "zig", "unicorn"), Verdict.PASS, None, "aa", "aa", None, None, 0.25, sensitive=True
    )
    lines = [msgspec.json.encode({"run": RUN}), msgspec.json.encode(passed), b"nonsense", b""]
    (tmp_path / "results.jsonl").write_bytes(b"\n".join(lines))
    done = farm("report", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "line 3 is no result" in (tmp_path / "summary.md").read_text()
    made = {path.name for path in Path(tmp_path).iterdir()}
    assert made >= {"summary.md", "junit.xml", "results.ktap", "trace.json", "badge.svg"}
