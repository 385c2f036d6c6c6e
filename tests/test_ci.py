"""``farm ci``: no cell is lost between the plan and the merge, and what does not belong together stays apart."""

from __future__ import annotations

import json
import re
import shutil
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from helpers import farm, lines_of
from hypothesis import given
from hypothesis import strategies as st

from farm import suite
from farm.cell import Cell, Verdict
from farm.cli.ci import summarised
from farm.report import github
from farm.results import forge
from farm.results.merge import Merged
from farm.run import plan
from farm.run.journal import SCHEMA, Recorded, Run
from farm.run.verdict import Result

SELECT = (
    "--arch",
    "arm64,x86_64",
    "--mechanism",
    "pointer,stub,relocated",
    "--engine",
    "unicorn",
    "--scenario",
    "BS-*",
)

#: How many cells that selects: two variants, three mechanisms, and each scenario of the group.
CELLS = 2 * 3 * sum(known.id.startswith("BS-") for known in suite.load().values())


def timeless(folder):
    head, results = lines_of(folder)
    del head["started"]
    head.pop("phases", None)  # merged results have none
    return head, [{k: v for k, v in result.items() if k not in ("seconds", "began")} for result in results]


def edit(folder, change):
    """Apply ``change(header, results)`` to a results.jsonl."""
    head, results = lines_of(folder)
    change(head, results)
    text = "".join(json.dumps(line) + "\n" for line in ({"run": head}, *results))
    (folder / "results.jsonl").write_text(text)


def fail(result):
    result.update(verdict="mismatch", reason="event 3: expected [a], seen [b: 100%]", reproduce="farm run --arch x -v")


def test_what_was_skipped_tells_no_duration(tmp_path):
    """It would take none where it runs."""
    ran, skipped = Cell("a", "arm64", "stub", "zig", "unicorn"), Cell("b", "arm64", "stub", "zig", "unicorn")
    run = Run(SCHEMA, "0.1.0", "0" * 64, "", {}, "2026-01-01T00:00:00+00:00")
    results = [
        Result(cell, verdict, None, None, None, None, None, seconds, sensitive=True)
        for cell, verdict, seconds in ((ran, Verdict.PASS, 0.5), (skipped, Verdict.NOT_RUN, 0.0))
    ]
    path = tmp_path / "results.jsonl"
    path.write_bytes(b"\n".join(map(msgspec.json.encode, [{"run": run}, *results])) + b"\n")
    assert forge.known_seconds([path]) == ({ran: 0.5}, [])


@pytest.fixture(scope="session")
def made(once):
    """A plan in four shards, each run by a process of its own into a folder of its own, and the same in one run."""
    return once("ci", make)


def make(folder):
    planned = farm("ci", "plan", "--shards", 4, *SELECT, "--format", "github", "--output", folder / "farm-plan.json")
    assert planned.returncode == 0, planned.stderr
    jobs = json.loads(planned.stdout)["include"]
    assert [job["shard"] for job in jobs] == ["1/4", "2/4", "3/4", "4/4"]
    for job in jobs:
        out = folder / "shards" / f"patchfarm-shard-{job['name']}"
        done = farm("run", "--plan", folder / "farm-plan.json", "--shard", job["shard"], "--output", out)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(lines_of(out)[1]) == job["cells"]
    done = farm("run", *SELECT, "--output", folder / "whole")
    assert done.returncode == 0
    return folder


@pytest.fixture
def shards(made, tmp_path):
    """A copy of what the four shards left."""
    shutil.copytree(made / "shards", tmp_path / "shards")
    return tmp_path / "shards"


def shard(shards, number):
    return shards / f"patchfarm-shard-{number}-of-4"


def merge(shards, *options, **environment):
    out = shards.parent / "out"
    return farm("ci", "merge", shards, "--output", out, *options, **environment), out


# The whole.


def test_the_merge_of_all_shards_equals_one_run_apart_from_times(made, shards):
    done, out = merge(shards)
    assert done.returncode == 0, done.stdout + done.stderr
    assert timeless(out) == timeless(made / "whole")
    assert (out / "plan.json").read_bytes() == (made / "whole" / "plan.json").read_bytes()
    assert (out / "summary.md").read_text() == (made / "whole" / "summary.md").read_text()
    times = re.compile(rb'time(stamp)?="[^"]+"')
    assert times.sub(b"", (out / "junit.xml").read_bytes()) == times.sub(b"", (made / "whole/junit.xml").read_bytes())
    files = {path.name for path in (made / "whole").iterdir()} - {".lock"}
    assert {path.name for path in out.iterdir()} == files


def test_a_shard_says_which_it_is_and_of_which_plan(made):
    whole = json.loads((made / "farm-plan.json").read_text())
    for number in range(1, 5):
        folder = shard(made / "shards", number)
        head, results = lines_of(folder)
        assert (head["shard"], head["whole"]) == (f"{number}/4", whole["sha256"])
        assert (folder / "plan.json").read_bytes() == (made / "farm-plan.json").read_bytes()
        mine = [p["cell"] for p, n in zip(whole["cells"], whole["shards"], strict=True) if n == number]
        assert [result["cell"] for result in results] == mine


def test_one_run_of_the_whole_merges_to_itself(made, tmp_path):
    assert farm("ci", "merge", made / "whole", "--output", tmp_path).returncode == 0
    assert timeless(tmp_path) == timeless(made / "whole")


def test_a_shard_without_a_plan_file_runs_the_same_cells_on_every_machine(made, tmp_path):
    for number in (1, 2):
        done = farm("run", *SELECT, "--shard", f"{number}/2", "--output", tmp_path / str(number))
        assert done.returncode == 0
    assert farm("ci", "merge", tmp_path, "--output", tmp_path / "out").returncode == 0
    assert timeless(tmp_path / "out") == timeless(made / "whole")


def test_a_shard_that_was_ended_is_resumed(made, tmp_path):
    folder = shard(made / "shards", 2)
    shutil.copytree(folder, tmp_path / "out")
    head, *rest = (tmp_path / "out" / "results.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "out" / "results.jsonl").write_text("".join([head, *rest[:3]]))
    command = ("run", "--plan", made / "farm-plan.json", "--resume", "--output", tmp_path / "out", "--shard")
    assert farm(*command, "2/4").returncode == 0
    assert timeless(tmp_path / "out") == timeless(folder)
    refused = farm(*command, "3/4")
    assert refused.returncode == 2
    assert "holds the results of another plan" in refused.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda head: head["versions"].update(unicorn="9.9"), r"unicorn 9\.9 made them, and here is [\d.]+"),
        (lambda head: head.update(farm="0.0.9"), r"farm 0\.0\.9 made them, and here is [\d.]+"),
    ],
)
def test_what_others_began_is_resumed_with_the_same_tools_alone(made, tmp_path, change, said):
    shutil.copytree(shard(made / "shards", 2), tmp_path / "out")
    edit(tmp_path / "out", lambda head, results: (change(head), results.pop()))
    before = (tmp_path / "out" / "results.jsonl").read_bytes()
    done = farm("run", "--plan", made / "farm-plan.json", "--resume", "--output", tmp_path / "out", "--shard", "2/4")
    assert done.returncode == 2
    assert re.search(rf"{said}; without --resume it is overwritten", done.stderr)
    assert (tmp_path / "out" / "results.jsonl").read_bytes() == before


def test_the_tools_of_a_merge_of_several_may_resume_it(made, tmp_path):
    shutil.copytree(shard(made / "shards", 2), tmp_path / "out")
    edit(
        tmp_path / "out",
        lambda head, results: (
            head["versions"].update(python="3", unicorn=f"{head['versions']['unicorn']} and 9.9"),
            results.pop(),
        ),
    )
    done = farm("run", "--plan", made / "farm-plan.json", "--resume", "--output", tmp_path / "out", "--shard", "2/4")
    assert done.returncode == 0, done.stderr


# What is missing, and what is there twice.


def test_a_lost_shard_fails_the_merge_and_is_named_and_the_rest_is_reported(shards):
    lost = lines_of(shard(shards, 3))[1]
    shutil.rmtree(shard(shards, 3))
    done, out = merge(shards)
    assert done.returncode == 3
    first = str(Cell(**lost[0]["cell"]))
    assert f"farm: shard 3/4 is missing: {len(lost)} cells" in done.stderr
    assert first in done.stderr
    assert len(lines_of(out)[1]) == CELLS - len(lost)
    summary = (out / "summary.md").read_text()
    assert summary.startswith("# patchfarm: the results are not whole\n\n# patchfarm: ")
    assert f"`shard 3/4 is missing: {len(lost)} cells" in summary
    assert f"shard 3/4 is missing: {len(lost)} cells" in (out / "report.html").read_text()
    assert f"{len(lost)} failing" in (out / "badge.svg").read_text()
    assert farm("report", out).returncode == 3
    whole = ET.parse(out / "junit.xml").getroot()[0]
    assert (whole.get("tests"), whole.get("errors")) == (str(CELLS), str(len(lost)))
    absent = [case for case in whole if case.find("error") is not None]
    assert [case.get("name") for case in absent] == [line["cell"]["scenario"] for line in lost]


def test_what_a_lost_shard_should_have_run_can_be_run_into_the_merged_results(made, shards):
    shutil.rmtree(shard(shards, 1))
    _, out = merge(shards)
    assert farm("run", "--plan", out / "plan.json", "--resume", "--output", out).returncode == 0
    assert timeless(out) == timeless(made / "whole")


def test_at_most_twenty_missing_cells_are_listed(shards):
    lost = [lines_of(shard(shards, number))[1] for number in (2, 3, 4)]
    for number in (2, 3, 4):
        shutil.rmtree(shard(shards, number))
    done, _ = merge(shards)
    assert done.returncode == 3
    for number, cells in zip((2, 3, 4), lost, strict=True):
        assert f"shard {number}/4 is missing: {len(cells)} cells" in done.stderr
    named = sum(str(Cell(**line["cell"])) in done.stderr for line in (*lost[0], *lost[1], *lost[2]))
    assert 20 <= named <= 22


def test_a_results_file_that_was_cut_off_is_used_as_far_as_it_goes_and_its_cell_is_missing(shards):
    path = shard(shards, 2) / "results.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    last = str(Cell(**json.loads(path.read_text().splitlines()[-2])["cell"]))
    done, out = merge(shards)
    assert done.returncode == 3
    assert "was cut off; it is left out" in done.stderr
    assert "farm: shard 2/4 has no result of: 1 cell: " in done.stderr
    assert last not in done.stderr
    assert len(lines_of(out)[1]) == CELLS - 1


def test_a_shard_that_is_there_twice_fails_the_merge(shards):
    shutil.copytree(shard(shards, 2), shards / "again")
    done, out = merge(shards)
    count = len(lines_of(shard(shards, 2))[1])
    assert done.returncode == 3
    assert "farm: twice there, in " in done.stderr
    assert re.search(
        rf"again/results.jsonl \(shard 2/4\) .*: {count} cells, first .*; with the same results", done.stderr
    )
    assert len(lines_of(out)[1]) == CELLS


def test_of_a_doubled_cell_the_worse_result_is_kept_and_the_difference_is_said(shards):
    shutil.copytree(shard(shards, 2), shards / "zz")
    edit(shards / "zz", lambda _, results: fail(results[1]))
    cell = Cell(**lines_of(shard(shards, 2))[1][1]["cell"])
    done, out = merge(shards)
    assert done.returncode == 3
    assert f"1 with other results, first {cell}: pass and mismatch" in done.stderr
    (failed,) = [line for line in lines_of(out)[1] if line["verdict"] == "mismatch"]
    assert Cell(**failed["cell"]) == cell


def test_a_cell_that_is_there_twice_in_one_file_of_schema_1_fails_the_merge(shards):
    def again(head, results):
        head["schema"] = 1
        results.append(json.loads(json.dumps(results[0])))
        fail(results[-1])

    edit(shard(shards, 1), again)
    done, out = merge(shards)
    assert done.returncode == 3
    assert re.search(r"farm: \S+results\.jsonl: line \d+ is a second result of ", done.stderr)
    assert (out / "summary.md").read_text().startswith("# patchfarm: the results are not whole\n")


@pytest.mark.parametrize("left", [0, 1, 30])
def test_a_shard_that_died_in_its_first_line_is_missing_and_the_others_are_reported(shards, left):
    path = shard(shards, 2) / "results.jsonl"
    count = len(lines_of(shard(shards, 2))[1])
    path.write_bytes(path.read_bytes()[:left])
    done, out = merge(shards)
    assert done.returncode == 3
    assert f"farm: {path}: was cut off in its first line" in done.stderr
    assert f"farm: shard 2/4 is missing: {count} cells" in done.stderr
    assert len(lines_of(out)[1]) == CELLS - count


def test_a_plan_that_was_cut_off_is_taken_from_another_shard(made, shards):
    path = shard(shards, 1) / "plan.json"
    path.write_bytes(path.read_bytes()[:1000])
    done, out = merge(shards)
    assert done.returncode == 0, done.stderr
    assert timeless(out) == timeless(made / "whole")
    for path in shards.rglob("plan.json"):
        path.write_bytes(b"{")
    done, _ = merge(shards)
    assert done.returncode == 2
    assert "plan.json: not a plan of the farm's: " in done.stderr


def test_the_same_file_named_twice_is_one(shards):
    done, _ = merge(shards, shard(shards, 1), shard(shards, 1) / "results.jsonl")
    assert done.returncode == 0, done.stderr


def test_a_result_of_a_cell_that_nobody_planned_fails_the_merge(shards):
    edit(shard(shards, 1), lambda _, results: results[0]["cell"].update(scenario="surprise"))
    done, _ = merge(shards)
    assert done.returncode == 3
    assert re.search(r"results\.jsonl: 1 cell: \S+/surprise that the plan does not have", done.stderr)
    assert "shard 1/4 has no result of: 1 cell" in done.stderr


# What does not belong together.


def test_a_shard_of_another_plan_is_refused_and_the_difference_said(shards, tmp_path):
    other = farm("run", *SELECT[:-2], "--scenario", "BS-01", "--shard", "1/2", "--output", shards / "zz")
    assert other.returncode == 0
    done, out = merge(shards)
    assert done.returncode == 3
    assert f"do not belong together: they are of different plans, of {CELLS} and 6 cells; " in done.stderr
    assert "zz/results.jsonl (shard 1/2)" in done.stderr
    assert not (out / "results.jsonl").exists()


def test_a_machine_that_planned_a_cell_otherwise_is_named(shards):
    def without(head, results):
        head["whole"] = "0" * 64

    edit(shard(shards, 4), without)
    path = shard(shards, 4) / "plan.json"
    document = json.loads(path.read_text())
    document["cells"][5].update(verdict="not-run", reason="unicorn is missing: pip install unicorn")
    path.write_text(json.dumps(document))
    done, _ = merge(shards)
    assert done.returncode == 3
    cell = Cell(**document["cells"][5]["cell"])
    said = f"planned otherwise: 1 cell: {cell}: to run and not-run (unicorn is missing: pip install unicorn)"
    assert said in done.stderr


def test_a_shard_of_another_farm_is_refused(shards):
    edit(shard(shards, 2), lambda head, _: head.update(farm="0.0.9"))
    done, _ = merge(shards)
    assert done.returncode == 3
    assert re.search(r"do not belong together: farm \S+ and farm 0\.0\.9", done.stderr)


def test_a_shard_of_another_schema_is_refused(shards):
    edit(shard(shards, 2), lambda head, _: head.update(schema=77))
    done, _ = merge(shards)
    assert done.returncode == 2
    assert "results of schema 77; this farm reads 1" in done.stderr


def test_another_engine_is_refused_unless_that_is_asked_for(shards):
    edit(shard(shards, 2), lambda head, _: head["versions"].update(unicorn="9.9"))
    done, out = merge(shards)
    assert done.returncode == 3
    assert re.search(r"unicorn is [\d.]+ and 9\.9; --allow-mixed merges them all the same", done.stderr)
    done, out = merge(shards, "--allow-mixed")
    assert done.returncode == 0
    assert lines_of(out)[0]["versions"]["unicorn"].endswith(" and 9.9")


def test_another_python_or_host_is_no_matter(shards):
    edit(shard(shards, 2), lambda head, _: (head["versions"].update(python="3.99"), head.update(host="elsewhere")))
    done, out = merge(shards)
    assert done.returncode == 0
    assert lines_of(out)[0]["host"].endswith(" and elsewhere")


def test_without_a_plan_nobody_knows_what_is_missing(shards):
    for path in shards.rglob("plan.json"):
        path.unlink()
    done, _ = merge(shards)
    assert done.returncode == 3
    assert "nothing says which cells there must be" in done.stderr


@pytest.mark.parametrize("what", ["nothing", "empty"])
def test_a_folder_without_results_is_refused(tmp_path, what):
    (tmp_path / "empty").mkdir()
    done = farm("ci", "merge", tmp_path / what)
    assert done.returncode == 2
    assert f"{tmp_path / what}: no results.jsonl there" in done.stderr


def test_a_merge_never_overwrites_what_it_merges(shards):
    before = (shard(shards, 1) / "results.jsonl").read_bytes()
    done = farm("ci", "merge", shards, "--output", shard(shards, 1))
    assert done.returncode == 2
    assert "is one of those to merge; name another folder" in done.stderr
    assert (shard(shards, 1) / "results.jsonl").read_bytes() == before


# Words where people look.


def test_a_failing_cell_fails_the_merge_and_is_annotated(shards, tmp_path):
    edit(shard(shards, 2), lambda _, results: fail(results[0]))
    cell = Cell(**lines_of(shard(shards, 2))[1][0]["cell"])
    summary = tmp_path / "step.md"
    summary.write_text("before\n")
    done, out = merge(shards, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 1
    (said,) = [line for line in done.stdout.splitlines() if line.startswith("::")]
    text = "event 3: expected [a], seen [b: 100%25]%0Afarm run --arch x -v"
    assert said == f"::error title=mismatch {cell}::{text}"
    assert summary.read_text() == "before\n" + (out / "summary.md").read_text()
    quiet, _ = merge(shards)
    assert "::error" not in quiet.stdout


def test_what_is_missing_is_annotated_too(shards):
    shutil.rmtree(shard(shards, 3))
    done, _ = merge(shards, GITHUB_ACTIONS="true")
    assert "::error title=the results are not whole::shard 3/4 is missing" in done.stdout


def test_a_cell_that_is_not_run_fails_in_ci(shards):
    edit(shard(shards, 2), lambda _, results: results[0].update(verdict="not-run", reason="unicorn is missing"))
    assert merge(shards)[0].returncode == 0
    done, _ = merge(shards, CI="true")
    assert done.returncode == 1
    assert "CI=true" in done.stdout


def annotated(merged):
    return github.render(merged.results, merged.problems)


def failures(texts):
    cells = [Cell(text, "v", "m", "t", "e") for text in texts]
    results = [
        Result(cell, Verdict.CRASH, cell.scenario, None, None, None, None, 0.0, sensitive=True, reproduce=cell.scenario)
        for cell in cells
    ]
    run = Run(1, "0", "0", "", {}, "")
    return Merged(plan.Plan((), {}, {}), run, results, [])


@given(st.text() | st.text("%25:,0AD\r\n3C"))
def test_no_text_breaks_out_of_an_annotation(text):
    (line,) = annotated(failures([text]))
    title, _, message = line.removeprefix("::error title=").partition("::")
    assert not set(line) & set("\r\n")
    assert not set(title) & set(":,")

    def read(value):
        return (
            value.replace("%3A", ":").replace("%2C", ",").replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")
        )

    assert read(title) == f"crash v/m/t/e/{text}"
    assert read(message) == "\n".join(filter(None, (text, text)))


def test_at_most_ten_annotations_and_what_is_not_whole_comes_first():
    many = failures(map(str, range(30)))
    assert len(annotated(many)) == 10
    titles = [line.partition("::")[2].partition("::")[0] for line in annotated(replace(many, problems=["a"] * 3))]
    assert titles[:3] == [titles[0]] * 3 == ["error title=the results are not whole"] * 3
    assert len(annotated(replace(many, problems=["a"] * 12))) == len(titles) == 10


def test_each_kind_of_failure_is_annotated_before_a_second_of_its_kind():
    many = failures(map(str, range(30)))
    other = msgspec.structs.replace(many.results[0], cell=Cell("last", "another", "m", "t", "e"))
    lines = annotated(replace(many, results=[*many.results, other]))
    assert "another/m/t/e/last" in lines[1]


def test_a_long_annotation_is_cut_before_github_cuts_off_its_command():
    (line,) = annotated(replace(failures(["x"]), results=[long_failure(10_000)]))
    message = line.partition("::")[2].partition("::")[2].replace("%0A", "\n")
    assert len(message) <= 4096
    assert message.endswith("…\nfarm run --arch v")
    (line,) = annotated(replace(failures(["x"]), results=[long_failure(100)]))
    assert line.endswith(f"{'r' * 100}%0Afarm run --arch v")


def long_failure(size):
    (result,) = failures(["x"]).results
    return msgspec.structs.replace(result, reason="r" * size, reproduce="farm run --arch v")


def test_what_stops_the_farm_is_annotated_on_github(tmp_path):
    command = ("ci", "merge", tmp_path)
    assert farm(*command).stderr == f"farm: {tmp_path}: no results.jsonl there\n"
    done = farm(*command, GITHUB_ACTIONS="true")
    assert done.stdout == ""  # of `farm ci plan` it is the matrix
    assert f"::error title=farm::{tmp_path}: no results.jsonl there" in done.stderr.split("\n")


# The comparison.


def test_the_summary_says_what_changed_since_the_baseline(made, shards, tmp_path):
    edit(shard(shards, 2), lambda _, results: fail(results[0]))
    done, out = merge(shards, "--baseline", made / "whole")
    assert done.returncode == 1
    assert "1 new failure" in (out / "summary.md").read_text()


def test_the_summary_fits_a_comment_with_its_comparison():
    after = failures(f"{number:04}{'_' * 90}" for number in range(3000))
    passed = [msgspec.structs.replace(r, verdict=Verdict.PASS, reason=None) for r in after.results]
    apart = [msgspec.structs.replace(r, reason=f"{i} {'r' * 300}") for i, r in enumerate(after.results)]
    for size in (100, 60_000):
        after = replace(after, results=apart, problems=["a"])
        made = summarised("x" * size, after, Recorded(after.run, passed, []))
        assert "regression: 3000 new failures" in made
        assert size < len(made.encode()) <= 65_536


def test_a_baseline_of_an_older_farm_is_left_out_and_that_is_said(made, shards, tmp_path):
    shutil.copytree(made / "whole", tmp_path / "old")
    edit(tmp_path / "old", lambda head, _: head.update(schema=0))
    done, _ = merge(shards, "--baseline", tmp_path / "old")
    assert done.returncode == 0
    assert "nothing is compared: " in done.stderr
    assert "results of schema 0; this farm reads 1" in done.stderr


def test_a_baseline_that_is_not_there_is_refused_and_so_are_several(shards, tmp_path):
    done, _ = merge(shards, "--baseline", tmp_path / "none")
    assert (done.returncode, "no results.jsonl there" in done.stderr) == (2, True)
    done, _ = merge(shards, "--baseline", shards)
    assert (done.returncode, "holds 4 runs; name one of them" in done.stderr) == (2, True)
    (tmp_path / "mine.py").write_text("SCENARIOS = ()\n")
    done, _ = merge(shards, "--baseline", tmp_path / "mine.py")
    assert (done.returncode, "mine.py: line 1 is no run header" in done.stderr) == (2, True)


# Planning.


def test_the_plan_is_balanced_by_what_an_earlier_run_took(made, tmp_path):
    shutil.copytree(made / "whole", tmp_path / "earlier")

    def slow(_, results):
        for result in results:
            result["seconds"] = 60.0 if result["cell"]["variant"] == "arm64" else 0.0

    edit(tmp_path / "earlier", slow)
    command = ("ci", "plan", *SELECT, "--output", tmp_path / "plan.json", "-j", 1)
    done = farm(*command, "--shards", 2, "--durations", tmp_path / "earlier")
    loads = [entry["seconds"] for entry in json.loads(done.stdout)["shards"]]
    assert sum(loads) == pytest.approx(CELLS / 2 * 60, rel=0.01)
    assert max(loads) < 0.7 * sum(loads)
    done = farm(*command, "--max-minutes", 10, "--durations", tmp_path / "earlier")
    loads = [entry["seconds"] for entry in json.loads(done.stdout)["shards"]]
    assert len(loads) > 5
    assert max(loads) <= 600
    (tmp_path / "earlier" / "results.jsonl").write_text("{}\n")
    unreadable = farm(*command, "--shards", 2, "--durations", tmp_path / "earlier")
    assert unreadable.returncode == 0
    assert "is it a results.jsonl?" in unreadable.stderr
    other = farm(*command, "--shards", 2, "--durations", made / "farm-plan.json")
    assert (other.returncode, other.stdout) == (2, "")
    assert "farm-plan.json: line 1 is no run header; is it a results.jsonl?" in other.stderr


@pytest.mark.parametrize("seconds", [-5.0, 1e300, 1.7e308])
def test_durations_that_cannot_be_are_not_believed(made, tmp_path, seconds):
    shutil.copytree(made / "whole", tmp_path / "earlier")
    edit(tmp_path / "earlier", lambda _, results: [result.update(seconds=seconds) for result in results])
    assert forge.known_seconds([tmp_path / "earlier"]) == ({}, [])


def test_the_matrix_is_one_line_and_words_go_elsewhere(tmp_path):
    done = farm("ci", "plan", *SELECT, "--shards", 3, "--format", "github", cwd=tmp_path)
    (line,) = done.stdout.splitlines()
    assert [set(job) for job in json.loads(line)["include"]] == [{"shard", "name", "cells", "seconds"}] * 3
    assert f"{CELLS} cells in 3 shards" in done.stderr
    assert (tmp_path / "farm-plan.json").exists()


def test_fewer_shards_than_asked_for_are_said(tmp_path):
    select = ("--arch", "arm64", "--mechanism", "stub", "--engine", "unicorn", "--scenario", "BS-03")
    done = farm("ci", "plan", *select, "--shards", 9, cwd=tmp_path)
    assert done.returncode == 0
    assert [job["shard"] for job in json.loads(done.stdout)["shards"]] == ["1/1"]
    assert "--shards 9: there is work for 1, so that is how many there are" in done.stderr


def test_a_plan_of_which_nothing_can_run_is_refused(tmp_path):
    done = farm("ci", "plan", "--arch", "loongarch", "--engine", "unicorn", cwd=tmp_path)
    assert done.returncode == 3
    assert re.search(r"none of the \d+ cells can run here, most are not-applicable: Unicorn has no loong", done.stderr)
    assert done.stdout == ""
    assert not (tmp_path / "farm-plan.json").exists()


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (("--shards", "257"), 2, "a forge runs at most 256 jobs of one matrix"),
        (("--shards", "2", "--max-minutes", "1"), 2, "one of them decides how many jobs there are"),
        (("--shards", "2", "--durations", "nowhere"), 2, "nowhere: no results.jsonl there"),
        (("--arch", "nowhere"), 2, "unknown architecture 'nowhere'"),
        *(
            (("--max-minutes", value), 2, f"farm: --max-minutes {value}: expected minutes, from 0.01 to 1,000,000\n")
            for value in ("nan", "inf", "-1", "1e300", "soon")
        ),
        (("--max-minutes", "0.01", "-j", "1"), 2, "the smallest that fits is --max-minutes 0.0"),
        (("--output", "/proc/nowhere/plan.json"), 3, "cannot be made"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_in_one_sentence(tmp_path, options, status, said):
    done = farm("ci", "plan", *options, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_list_of_known_bad_cells_that_every_shard_would_refuse_stops_the_plan(tmp_path):
    entry = '[[known-bad]]\ncells = "arm64/stub/zig/unicorn/BS-03"\nissue = "17"\nowner = "ada"\nreview = 2020-01-01\n'
    (tmp_path / "known.toml").write_text(entry)
    done = farm("ci", "plan", "--arch", "arm64", "--quarantine", "known.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "known.toml: entry 1: its review was due by 2020-01-01" in done.stderr
    assert not (tmp_path / "farm-plan.json").exists()


def test_shards_held_against_different_lists_of_known_bad_cells_are_refused(shards):
    edit(shard(shards, 2), lambda head, _: head.update(quarantine="f" * 64))
    done, _ = merge(shards)
    assert done.returncode == 3
    assert "they were held against different lists of known-bad cells" in done.stderr


def test_a_shard_of_another_count_than_the_plan_is_refused(made, tmp_path):
    done = farm("run", "--plan", made / "farm-plan.json", "--shard", "1/3", "--output", tmp_path)
    assert done.returncode == 2
    assert "3 shards: the plan is divided into 4" in done.stderr


def test_an_engine_that_only_the_planning_machine_has_is_named(tmp_path):
    select = ("--arch", "arm64", "--mechanism", "stub", "--engine", "qemu-user", "--scenario", "BS-03")
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("qemu-aarch64 is missing: apt-get install qemu-user")
    assert farm("ci", "plan", *select, cwd=tmp_path).returncode == 0
    done = farm(
        "run", "--plan", "farm-plan.json", "--shard", "1/1", cwd=tmp_path, PATH=str(Path(sys.executable).parent)
    )
    assert done.returncode == 3
    assert "farm: qemu-aarch64 is missing: apt-get install qemu-user" in done.stderr
