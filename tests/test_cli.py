"""The command line as a user meets it: every test starts the real command."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import FARM, farm, goes_on, lines_of, until

from farm import paths
from farm.cli import SPELLED
from farm.report import history
from farm.report.grid import LEGEND, MARKS

#: For what is about the command line, not about the mechanisms: fewer guests make it quick.
ONE_VARIANT = ("--arch", "arm64", "--mechanism", "pointer,stub,relocated", "--engine", "unicorn")


def cell_id(line):
    cell = line["cell"]
    return tuple(cell[key] for key in ("variant", "mechanism", "toolchain", "engine", "scenario"))


@pytest.fixture(scope="module")
def every_guest(once):
    """One run of every guest on every engine, from a folder that is not the checkout."""

    def run(folder):
        done = farm("run", "--scenario", "BS-*", "--output", folder / "out", cwd=folder, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        return folder / "out", done

    return once("every-guest", run)


@pytest.fixture(scope="module")
def lines(every_guest):
    """What that run wrote: a dictionary for each cell."""
    return lines_of(every_guest[0])[1]


def test_a_every_guest_leaves_exactly_one_result_a_planned_cell_in_plan_order(every_guest, lines):
    folder, _ = every_guest
    planned = json.loads((folder / "plan.json").read_text())["cells"]
    assert [line["cell"] for line in lines] == [entry["cell"] for entry in planned]
    assert len({cell_id(line) for line in lines}) == len(lines)
    assert len({line["cell"]["scenario"] for line in lines}) >= 15


def test_a_every_guest_covers_the_variants_mechanisms_and_engines(lines):
    covered = {cell_id(line)[:4] for line in lines}
    for variant in ("x86_64", "arm64", "ppc32", "ppc64", "ppc64le"):
        for mechanism in ("pointer", "stub"):
            for engine in ("unicorn", "qemu-user"):
                assert (variant, mechanism, "zig", engine) in covered


def test_every_skipped_cell_has_a_reason_and_every_other_one_the_traces_digests(lines):
    for line in lines:
        if line["verdict"] in ("not-applicable", "not-run"):
            assert line["reason"]
        else:
            assert line["trace"] == line["expected"] is not None
            assert len(line["image"]) == 64


def test_the_grid_names_every_variant_and_what_the_marks_mean(every_guest):
    text = every_guest[1].stdout
    for word in ("x86_64", "arm64", "ppc32", "ppc64", "ppc64le", "pointer", "stub", "unicorn", "could not have shown"):
        assert word in text


def test_a_second_run_differs_in_times_alone(tmp_path):
    for name in ("first", "second"):
        assert farm("run", *ONE_VARIANT, "--output", tmp_path / name).returncode == 0

    def without_times(path):
        run, lines = lines_of(path)
        run.pop("started")
        run.pop("phases")
        return run, [{key: value for key, value in line.items() if key not in ("seconds", "began")} for line in lines]

    assert without_times(tmp_path / "first") == without_times(tmp_path / "second")


def test_reports_can_be_made_again_from_the_results(every_guest, tmp_path):
    folder, _ = every_guest
    shutil.copy(folder / "results.jsonl", tmp_path)
    assert farm("report", tmp_path).returncode == 0
    for name in ("summary.md", "junit.xml", "results.ktap", "trace.json", "badge.svg"):
        assert (tmp_path / name).read_text() == (folder / name).read_text()


def test_the_header_says_how_long_planning_building_and_running_took(every_guest):
    phases = lines_of(every_guest[0])[0]["phases"]
    assert list(phases) == ["plan", "build", "run"]
    assert all(0 < seconds < 900 for seconds in phases.values())


def test_two_shards_together_are_the_whole(tmp_path):
    whole = farm("run", *ONE_VARIANT, "--output", tmp_path / "whole")
    parts = [farm("run", *ONE_VARIANT, "--shard", f"{k}/2", "--output", tmp_path / str(k)) for k in (1, 2)]
    assert [done.returncode for done in (whole, *parts)] == [0, 0, 0]
    cells = sorted(cell_id(line) for k in (1, 2) for line in lines_of(tmp_path / str(k))[1])
    assert cells == sorted(cell_id(line) for line in lines_of(tmp_path / "whole")[1])


def test_a_saved_plan_runs_as_it_was_made(tmp_path):
    made = farm("plan", *ONE_VARIANT, "--scenario", "BS-0*", "--json")
    (tmp_path / "plan.json").write_text(made.stdout)
    done = farm("run", "--plan", tmp_path / "plan.json", "--output", tmp_path / "out")
    assert done.returncode == 0
    assert (tmp_path / "out" / "plan.json").read_text() == made.stdout.rstrip("\n")


def test_resume_runs_only_what_has_no_result(tmp_path):
    select = (*ONE_VARIANT, "--output", tmp_path)
    assert farm("run", *select).returncode == 0
    path = tmp_path / "results.jsonl"
    whole = path.read_text().splitlines(keepends=True)
    path.write_text("".join(whole[:20]) + whole[20][:30])
    assert farm("run", *select, "--resume").returncode == 0
    assert path.read_text().splitlines(keepends=True)[1:20] == whole[1:20]
    assert len(path.read_text().splitlines()) == len(whole)


def broken(tmp_path, old, new):
    """A copy of arch/arm64 as variant `broken`, with one line of its patch code changed."""
    folder = tmp_path / "arch" / "broken"
    shutil.copytree(paths.data("arch") / "arm64", folder)
    toml = folder / "arch.toml"
    toml.write_text(toml.read_text().replace("variant.arm64", "variant.broken"))
    source = folder / "patch.c"
    text = source.read_text()
    assert text.count(old) == 1
    source.write_text(text.replace(old, new))
    return folder


def test_a_one_line_change_that_breaks_the_displacement_is_red_and_explained(tmp_path):
    folder = broken(tmp_path, "((uint32_t)(to - at) >> 2)", "((uint32_t)(to - at + 8) >> 2)")
    select = ("--arch-path", folder, "--arch", "broken", "--mechanism", "pointer,stub")
    done = farm("run", *select, "--output", tmp_path / "out")
    assert done.returncode == 1
    assert "MISMATCH broken/stub/zig/" in done.stdout
    assert "(expected)" in done.stdout
    assert "(seen)" in done.stdout
    assert f"reproduce: farm run --arch-path {folder} --arch broken --mechanism stub" in done.stdout
    assert "whatever_0 as linked" in done.stdout
    assert "<default_0>" in done.stdout
    _, lines = lines_of(tmp_path / "out")
    verdicts = {}
    for line in lines:
        verdicts.setdefault(line["cell"]["mechanism"], set()).add(line["verdict"])
    assert "mismatch" in verdicts["stub"]
    assert verdicts["pointer"] == {"pass", "not-applicable"}
    failing = next(line for line in lines if line["verdict"] == "mismatch")
    assert failing["observed"]
    assert failing["code"]["before"]
    assert failing["reason"].startswith("event ")
    assert "<failure" in (tmp_path / "out" / "junit.xml").read_text()
    assert "are not as expected" in (tmp_path / "out" / "summary.md").read_text()


def test_a_resumed_run_believes_no_result_of_a_guest_that_has_changed_since(tmp_path):
    right = "((uint32_t)(to - at) >> 2)"
    folder = broken(tmp_path, right, right)
    select = ("--arch-path", folder, "--arch", "broken", "--engine", "unicorn", "--scenario", "BS-0*")
    command = ("run", *select, "--output", tmp_path / "out", "--resume")
    assert farm(*command).returncode == 0
    good = lines_of(tmp_path / "out")[1]
    source = folder / "patch.c"
    text = source.read_text()
    for change, status in (("((uint32_t)(to - at + 8) >> 2)", 1), ("not C", 1), (right, 0)):
        source.write_text(text.replace(right, change))
        done = farm(*command)
        assert done.returncode == status, done.stdout + done.stderr
    now = lines_of(tmp_path / "out")[1]
    assert [line["verdict"] for line in now] == [line["verdict"] for line in good]
    stubs = [(line, other) for line, other in zip(now, good, strict=True) if line["cell"]["mechanism"] == "stub"]
    assert all(line["image"] == other["image"] for line, other in stubs)


def test_a_run_of_which_no_cell_can_run_is_not_green(tmp_path):
    select = ("--arch", "loongarch64", "--engine", "unicorn", "--scenario", "BS-01", "--output", tmp_path)
    for command in (("run", *select), ("report", tmp_path)):
        done = farm(*command)
        assert done.returncode == 3
        assert done.stdout.endswith("no cell ran, so nothing was tested\n")
    assert (tmp_path / "summary.md").read_text().startswith("# patchfarm: no cell ran\n")
    assert farm("run", *select, "--shard", "1/1").returncode == 0  # another part may have run some


def test_a_source_that_does_not_compile_is_a_build_error_with_the_compilers_words(tmp_path):
    folder = broken(tmp_path, "#define NOP 0xd503201fu", "#define NOP 0xd503201fu\nnonsense")
    select = ("--arch", "broken", "--mechanism", "pointer,stub,relocated", "--engine", "unicorn", "--scenario", "BS-0*")
    done = farm("run", "--arch-path", folder, *select, "--output", tmp_path / "out")
    assert done.returncode == 1
    assert "patch.c does not compile for broken" in done.stdout
    assert "unknown type name 'nonsense'" in done.stdout
    assert {line["verdict"] for line in lines_of(tmp_path / "out")[1]} == {"build-error"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--arch", "arm46"), "unknown architecture 'arm46': did you mean arm64"),
        (
            ("run", "--mechanism", "stubs"),
            "unknown mechanism 'stubs': did you mean stub? valid are pointer, stub, relocated, ",
        ),
        (
            ("run", "--mechanism", "mine"),
            "unknown mechanism 'mine': valid are pointer, stub, relocated, ",
        ),
        (("run", "--arch", "nosuch"), "unknown architecture 'nosuch': valid are alpha, arm, armeb, thumb, arm64,"),
        (
            ("run", "--mechanism", "mine"),
            ", static-call; mechanism-path adds others",
        ),
        (
            ("run", "--arch", "nosuch"),
            ", x86; arch-path adds others",
        ),
        (("run", "--engine", "qemu"), "unknown engine 'qemu': did you mean qemu-user"),
        (
            ("run", "--scenario", "supersede"),
            "unknown scenario 'supersede': did you mean supersede_then_restore? valid",
        ),
        (("run", "--toolchain", "zag"), "unknown toolchain 'zag': did you mean zig"),
        (("run", "--shard", "5/4"), "shard 5/4: the number must be from 1 to 4"),
        (("run", "--shard", "x"), "expected k/n"),
        (("run", "--executor", "magic"), "expected local or dask=ADDRESS"),
        (("run", "--plan", "no-such-file"), "cannot be read"),
        (("run", "--arch-path", "no-such-folder"), "no arch.toml there"),
        (("run", "--mechanism-path", "no-such-folder"), "no mechanism.toml there, nor in a folder below it"),
        (("run", "--scenario-path", "no-such-file.py"), "not a Python file"),
        (("list", "variant"), "did you mean variants"),
        (("run", "--timeout", "inf"), "--timeout inf: expected seconds, from 0.1 to 86,400"),
        (("fuzz", "--timeout", "nan"), "--timeout nan: expected seconds, from 0.1 to 86,400"),
        (("debug", "arm64/stub/zig/unicorn/BS-03", "--timeout", "abc"), "--timeout abc: expected seconds"),
        (("report", "no-such-folder"), "cannot be read"),
        (("build", "--control", "no-flash"), "did you mean no-flush"),
        *(
            (("plan", f"--{option}", value), f"farm: no {what} is named by '{value}': leave the option out for all")
            for option, what in (("arch", "architecture"), ("mechanism", "mechanism"), ("engine", "engine"))
            for value in ("", ",", " ")
        ),
        (("run", "--toolchain", ""), "no toolchain is named by ''"),
        (("run", "--scenario", ""), "no scenario is named by ''"),
        (("run", "--tag", ","), "no tag is named by ','"),
        (("run", "--arch", "arm64", "--arch", ""), "no architecture is named by ''"),
        (("calibrate", "--control", ""), "no control is named by ''"),
        (("run", "--shard", "1/0"), "shard 1/0: there must be one shard at least"),
        (("run", "--plan", "p.json", "--arch", "x86"), "--plan and --arch: the saved plan says which cells there are"),
        (("run", "--plan", "p.json", "--tag", "storm"), "--plan and --tag: the saved plan says which"),
        (("run", "-x", "--max-failures", "3"), "-x and --max-failures: one of them at a time"),
        (("debug", "arm64/stub/zig/unicorn/BS-03", "--batch", "--print"), "--batch and --print: one of them at a time"),
        (("debug", "arm64/stub/zig/unicorn/BS-03", "--print", "-x", "f"), "--print and -x: one of them at a time"),
        (("cost", "--json", "--markdown"), "--json and --markdown: one of them at a time"),
        *(
            (("fuzz", "--seconds", value), f"--seconds {value}: expected seconds, from 0.1 to 10,000,000")
            for value in ("nan", "inf", "1e300", "0", "long")
        ),
    ],
)
def test_a_usage_mistake_is_one_sentence_and_status_2(arguments, words, tmp_path):
    done = farm(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", [("--retries", "9" * 20), ("-j", "9" * 20)])
def test_a_number_has_its_limits(tmp_path, option):
    done = farm("run", "--arch", "arm64", *option, "--output", tmp_path / "out")
    assert done.returncode == 2
    assert f"Invalid value for {option[0]!r}" in done.stderr.replace("'-j' / '--jobs'", "'-j'")
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_made_is_status_3(tmp_path):
    (tmp_path / "file").write_text("")
    done = farm("run", "--arch", "arm64", "--output", tmp_path / "file" / "out")
    assert done.returncode == 3
    assert "cannot be made" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_sentence_and_status_3(tmp_path):
    (tmp_path / "results.jsonl").symlink_to("/dev/full")
    done = farm("run", "--arch", "arm64", "--output", tmp_path)
    assert done.returncode == 3
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_qemu_the_farm_runs_on_unicorn_and_says_what_to_install(tmp_path):
    done = farm("run", "--arch", "arm64", "--output", tmp_path, PATH=str(tmp_path))
    assert done.returncode == 0
    assert "qemu-aarch64 is missing: apt-get install qemu-user" in done.stdout
    verdicts = {(line["cell"]["engine"], line["verdict"]) for line in lines_of(tmp_path)[1]}
    assert ("unicorn", "pass") in verdicts
    assert ("qemu-user", "not-run") in verdicts


def test_in_ci_a_missing_engine_is_a_failure(tmp_path):
    done = farm("run", "--arch", "arm64", "--output", tmp_path, PATH=str(tmp_path), CI="true")
    assert done.returncode == 1
    assert "CI=true" in done.stdout


def test_a_required_engine_that_is_missing_is_status_3(tmp_path):
    done = farm("run", "--arch", "arm64", "--require", "qemu-user", "--output", tmp_path / "out", PATH=str(tmp_path))
    assert done.returncode == 3
    assert "apt-get install qemu-user" in done.stderr
    assert not (tmp_path / "out").exists()


ENDLESS = """
from farm.scenario import Defect, Loop, Scenario, call
import farm.scenario.check, farm.scenario.model

SCENARIOS = (
    Scenario("BS-91", "endless", "Never ends", (Loop(2**31, (call(0, 1),)),), frozenset({Defect.LOST_PATCH})),
)
farm.scenario.check.MOST_EVENTS = 1 << 40  # let it through
real = farm.scenario.model.predict  # which would not end either
one = (farm.scenario.wire.Event("enter", 0, 0, 0, 0, 0, 0, 0),)
farm.scenario.model.predict = lambda scenario, features: one if scenario.name == "endless" else real(scenario, features)
"""


def test_a_guest_in_an_endless_loop_is_a_timeout_for_that_cell_only(tmp_path):
    (tmp_path / "endless.py").write_text(ENDLESS)
    select = ("--arch", "arm64", "--mechanism", "stub", "--scenario", "BS-0*,endless")
    path = tmp_path / "endless.py"
    done = farm("run", *select, "--scenario-path", path, "--timeout", "0.5", "--output", tmp_path / "out")
    assert done.returncode == 1, done.stderr
    verdicts = {}
    for line in lines_of(tmp_path / "out")[1]:
        verdicts.setdefault(line["cell"]["scenario"] == "endless", set()).add(line["verdict"])
    assert verdicts == {True: {"timeout"}, False: {"pass"}}


def descendants(pid):
    """Live processes below ``pid`` (Linux)."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if fields[0] != "Z":
                parents[int(entry.name)] = int(fields[1])
    found, level = [], {pid}
    while level := {child for child, parent in parents.items() if parent in level}:
        found += level
    return found


def test_ctrl_c_ends_the_children_within_a_second_and_keeps_the_results(tmp_path, launch):
    (tmp_path / "endless.py").write_text(ENDLESS)
    out = tmp_path / "out"
    select = ("--arch", "arm64", "--mechanism", "stub", "--scenario", "BS-0*,endless", "--scenario-path")
    arguments = [*FARM, "run", *select, str(tmp_path / "endless.py"), "--timeout", "60", "--output", str(out)]
    process = launch(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    children = until(lambda: len(found := descendants(process.pid)) >= 2 and found)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    _, errors = process.communicate(timeout=10)
    assert time.monotonic() - start < 3
    assert process.returncode == 130
    assert "--resume runs the rest" in errors
    assert "Traceback" not in errors
    assert not any(map(goes_on, children))
    kept = lines_of(out)[1]
    assert {line["verdict"] for line in kept} == {"pass"}
    assert len(kept) >= 8  # of batches that were never finished


@pytest.mark.parametrize("group", [(), ("history",), ("ci",)])
def test_help_says_of_every_command_what_it_does_in_a_line(group):
    said = farm(*group, "--help", COLUMNS="80").stdout.partition("Commands:\n")[2].splitlines()
    assert len(said) >= 2
    assert [line for line in said if not re.fullmatch(r"  [a-z]+ +[A-Z].+[^.]\.", line)] == []


def test_a_command_is_a_module_of_its_name():
    from typer.main import get_command

    from farm.cli import load

    def functions(command):
        yield from (inner for part in getattr(command, "commands", {}).values() for inner in functions(part))
        if not hasattr(command, "commands"):
            yield command.callback.__module__

    modules = {name: set(functions(command)) for name, command in get_command(load()).commands.items()}
    assert modules == {name: {f"farm.cli.{name}"} for name in modules}
    assert len(modules) >= 16


def test_a_command_makes_no_other():
    """To make all of them takes longer than many a command itself."""
    program = "import sys; from farm.cli import load; load('list'); print(*(m for m in sys.modules if 'cli.' in m))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "farm.cli.list" in said.split()
    assert "farm.cli.run" not in said.split()


def test_help_names_values_in_words():
    """Not as the types that they have in Python."""
    from typer.testing import CliRunner

    from farm.cli import load

    def helps(*command):
        text = CliRunner().invoke(load(), [*command, "--help"]).stdout
        yield text
        for name in re.findall(r"^  ([a-z]+)  ", text.partition("Commands:")[2], re.MULTILINE):
            yield from helps(*command, name)

    said = list(helps())
    assert len(said) >= 24
    for text in said:
        assert not re.search(r"<(int|float|str)\b", text.partition("Options:")[2]), text


@pytest.mark.parametrize(
    "what", ["variants", "mechanisms", "baselines", "engines", "toolchains", "scenarios", "controls"]
)
def test_lists_as_json_are_arrays_of_objects_with_a_name(what):
    rows = json.loads(farm("list", what, "--json").stdout)
    assert rows
    assert all(row["name"] for row in rows)


@pytest.mark.parametrize("what", ["variants", "instructions", "baselines", "engines", "scenarios", "controls"])
def test_lists_have_a_line_for_each_and_nothing_of_python_s(what):
    lines = farm("list", what).stdout.splitlines()
    rows = json.loads(farm("list", what, "--json").stdout)
    assert [line.split()[0] for line in lines] == [row["name"] for row in rows]
    assert not [line for line in lines if re.search(r"\bNone\b|[\[\]{}]", line)]


@pytest.mark.parametrize(
    "work", ["measure.coverage.measure_all", "prove.calibrate.calibrate", "measure.cost.measure_all"]
)
def test_a_command_that_fails_leaves_no_child_behind(work, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from farm.cli import load
    from farm.engines import engines
    from farm.errors import FarmError

    def fails(*_):
        raise FarmError("the disk is full")

    closed = []
    monkeypatch.setattr(f"farm.{work}", fails)
    for engine in engines().values():
        monkeypatch.setattr(engine, "close", lambda name=engine.name: closed.append(name))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(load(), [work.split(".")[1], "--arch", "arm64"])
    assert str(done.exception) == "the disk is full"
    assert closed == list(engines())


@pytest.mark.parametrize("what", ["mechanisms", "variants"])
def test_each_thing_of_a_list_begins_with_its_name_and_no_other_line_is_at_the_margin(what):
    names = [row["name"] for row in json.loads(farm("list", what, "--json").stdout)]
    lines = farm("list", what).stdout.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == names


def test_the_controls_of_scenarios_are_listed_and_of_nothing_else():
    text = farm("list", "scenarios", "--controls").stdout
    assert re.search(r"^late_call_site .*\blate-site-default\b", text, re.MULTILINE)
    refused = farm("list", "mechanisms", "--controls")
    assert refused.returncode == 2
    assert "farm list scenarios" in refused.stderr


def test_build_says_where_each_guest_is():
    done = farm("build", "--arch", "arm64,x86_64", "--mechanism", "pointer,stub")
    assert done.returncode == 0, done.stderr
    said = [line.split() for line in done.stdout.splitlines()]
    assert {name for name, *_ in said} == {f"{v}/{m}/zig" for v in ("arm64", "x86_64") for m in ("pointer", "stub")}
    for _, path, digest in said:
        assert hashlib.sha256(Path(path).read_bytes()).hexdigest().startswith(digest)


def test_build_builds_the_rest_when_a_guest_does_not_compile(tmp_path):
    shutil.copytree(paths.data("arch") / "arm64", tmp_path / "mine")
    toml = tmp_path / "mine" / "arch.toml"
    toml.write_text(toml.read_text().partition("[variant.arm64be]")[0].replace("variant.arm64", "variant.mine"))
    (tmp_path / "mine" / "patch.c").write_text("#error not today\n")
    done = farm("build", "--arch-path", tmp_path / "mine", "--arch", "mine,arm64", "--mechanism", "stub")
    assert done.returncode == 1
    assert "mine/stub/zig: " in done.stderr
    assert "not today" in done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["arm64/stub/zig"]


def test_build_knows_the_controls():
    done = farm("build", "--arch", "arm64", "--control", "off-by-two")
    assert done.returncode == 2
    assert "off-by-one" in done.stderr


def test_doctor_says_what_is_here_and_fails_if_something_required_is_not():
    done = farm("doctor")
    assert done.returncode == 0, done.stdout
    assert "unicorn" in done.stdout


def test_a_shuffled_saved_plan_gives_the_same_traces(tmp_path, lines):
    import random

    import msgspec

    from farm.run import plan

    mechanisms = ["pointer", "stub", "relocated"]
    made = plan.make(plan.Selection(arch=["arm64"], mechanism=mechanisms, scenario=["BS-*"]))
    cells = list(made.cells)
    random.Random(7).shuffle(cells)
    shuffled = plan.Plan(tuple(cells), made.scenarios, made.variants)
    (tmp_path / "plan.json").write_bytes(shuffled.json())
    done = farm("run", "--plan", tmp_path / "plan.json", "--output", tmp_path / "out")
    assert done.returncode == 0
    wanted = {cell_id(line): line["trace"] for line in lines}
    for line in lines_of(tmp_path / "out")[1]:
        assert line["trace"] == wanted[cell_id(line)]
    assert msgspec.json.decode((tmp_path / "plan.json").read_bytes())["cells"][0] != msgspec.to_builtins(made.cells[0])


def test_a_log_without_unicode_does_not_end_a_run(tmp_path):
    select = ("--arch", "arm64", "--engine", "unicorn", "--scenario", "BS-01")
    done = farm("run", *select, "--output", tmp_path, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "+ pass   ~ pass" in done.stdout
    assert done.stdout.isascii()


def test_every_sign_of_the_reports_has_one_of_its_own_in_ascii():
    signs = {sign for text in (*LEGEND, *MARKS.values(), history._BARS) for sign in text if not sign.isascii()}
    assert signs < set(SPELLED)
    marks = [mark[0] for mark in MARKS.values()]
    for kind in (set(marks), history._BARS):
        assert len({SPELLED.get(sign, sign) for sign in kind}) == len(kind)
