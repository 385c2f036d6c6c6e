"""Everything recorded of a cell: for each verdict, for names from elsewhere, and where there is nothing to show."""

from __future__ import annotations

import json
import re
import shutil

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from farm import suite
from farm.cell import Cell, Planned, Verdict
from farm.cli import load
from farm.guest import arch_toml, build, image, mechanisms
from farm.report import show as reports
from farm.run import plan
from farm.run.journal import Run
from farm.run.verdict import Code, Result, digest
from farm.scenario import REFUSALS, Status, model

NAME = "arm64/stub/zig/unicorn/supersede_then_restore"
CELL = Cell("supersede_then_restore", "arm64", "stub", "zig", "unicorn")
KNOWN = plan.Plan((), suite.load(()), arch_toml.load(()))
EVENTS = list(model.predict(KNOWN.scenarios[CELL.scenario]))
RUN = Run(1, "0.1.0", "plan", "a host", {"unicorn": "2.1.2", "zig": "0.17.1"}, "2026-01-02T03:04:05+00:00")


@pytest.fixture(scope="module")
def made(arm64):
    """``made(verdict, ...)``: the result of a cell on the real image."""
    built = build.image(image.Spec(arm64, "stub"))
    start, size = built.patched
    linked = built.bytes_at(start, size)
    jump = 0x14000000 | built.functions["fast_0"] + 4 - start >> 2 & 0x03FFFFFF
    wrong = jump.to_bytes(4, "little") + linked[4:]

    def make(verdict, cell=CELL, **fields):
        trace = {"trace": digest(EVENTS)} if verdict in (Verdict.PASS, Verdict.PASS_INSENSITIVE) else {"trace": None}
        if verdict is Verdict.MISMATCH:
            seen = [*EVENTS[:3], EVENTS[3]._replace(target=2), *EVENTS[4:]]
            code = Code(start, linked.hex(), wrong.hex())
            trace = {"trace": digest(seen), "observed": seen, "code": code, "reproduce": "farm run --arch arm64 -v"}
        if verdict in (Verdict.CRASH, Verdict.TIMEOUT):
            trace |= {"code": Code(start, linked.hex(), None)}
        known = {"reason": "why", "expected": digest(EVENTS), "image": built.sha256, "instructions": None}
        common = {"seconds": 0.0025, "sensitive": True, "began": 1.75e9}
        return Result(cell=cell, verdict=verdict, **(known | common | trace | fields))

    return make


def shown(result, width=120, **options):
    return list(reports.show(result, KNOWN, RUN, width, **options))


def test_a_pass_shows_its_events_once(made):
    lines = shown(made(Verdict.PASS, reason=None))
    assert lines[:2] == [f"PASS  {NAME}", "BS-03  Default, fast, other, fast, default, in this order"]
    assert f"Events, 14, all as expected (trace {digest(EVENTS)})" in lines
    assert sum("enter whatever_0 -> fast" in line for line in lines) == 2
    assert not any(">>" in line for line in lines)
    assert "    1  Lead whatever_0 to fast" in lines
    assert "  engine     unicorn 2.1.2" in lines
    assert "  toolchain  zig 0.17.1" in lines
    assert "  took       2.500 ms" in lines
    assert "  began      2025-06-15 15:06:40.000+00:00" in lines


def test_what_comes_next_can_be_typed(made):
    lines = shown(made(Verdict.PASS, reason=None))
    options = "--arch arm64 --mechanism stub --toolchain zig --engine unicorn --scenario supersede_then_restore"
    assert lines[-4:] == ["Next", f"  farm run {options} -v", f"  farm trace {NAME}", f"  farm debug {NAME}"]


def test_the_image_is_found_or_it_is_said_why_not(made):
    here = shown(made(Verdict.PASS))
    there = next(line for line in here if "sha256" in line)
    assert here[here.index(there) + 1].strip().endswith("guest.elf")
    lines = shown(made(Verdict.PASS, image="0" * 64))
    assert "             not in the cache: the sources have changed since" in lines


def test_a_mismatch_shows_both_sides_and_marks_the_first_difference(made):
    lines = shown(made(Verdict.MISMATCH))
    marked = [line for line in lines if line.startswith(">>")]
    assert len(marked) == 1
    assert marked[0].startswith(">>   3 step 2: enter whatever_0 -> fast, ")
    assert " step 2: enter whatever_0 -> other, " in marked[0]
    assert sum(line.rstrip().endswith(" =") for line in lines) == 13
    text = "\n".join(lines)
    assert re.search(r"b 0x\w+ <default_0>", text)
    assert re.search(r"> 0x1030000: \w{6}17             b 0x\w+ <fast_0\+0x4>", text)
    assert "  farm run --arch arm64 -v" in lines


def test_what_is_short_in_an_event_is_said_in_words(made):
    seen = [*EVENTS[:2], EVENTS[2]._replace(value=Status.FOREIGN), EVENTS[3]._replace(abi=2), *EVENTS[4:]]
    assert f"       foreign: {REFUSALS[Status.FOREIGN]}" in shown(made(Verdict.MISMATCH, observed=seen))
    seen = [*EVENTS[:3], EVENTS[3]._replace(abi=2), *EVENTS[4:]]
    assert any("ABI violations 0x2: " in line for line in shown(made(Verdict.MISMATCH, observed=seen)))


def test_a_narrow_terminal_wraps_and_a_long_trace_is_cut(made):
    narrow = shown(made(Verdict.MISMATCH), width=70)
    events = narrow[narrow.index("Events: 14 expected, 14 seen") : narrow.index("Code")]
    assert max(map(len, events)) <= 70
    assert len(events) > 2 + len(EVENTS)
    seen = [*EVENTS, *(EVENTS[-1] for _ in range(50))]
    long = made(Verdict.MISMATCH, observed=seen)
    assert "       ... 2 events, all as expected (-v shows them)" in shown(long)
    assert not any("... " in line for line in shown(long, whole=True))


def test_a_trace_that_ends_early_says_so(made):
    lines = shown(made(Verdict.MISMATCH, observed=EVENTS[:5]))
    assert any(line.startswith(">>   5") and line.endswith("nothing: the trace ends") for line in lines)


@pytest.mark.parametrize("verdict", [Verdict.CRASH, Verdict.TIMEOUT])
def test_a_guest_that_died_left_no_events(made, verdict):
    lines = shown(made(verdict))
    assert f"Events: none were recorded; 14 expected (trace {digest(EVENTS)})" in lines
    assert any("not known, the guest did not live to say" in line for line in lines)


@pytest.mark.parametrize("verdict", [Verdict.NOT_APPLICABLE, Verdict.NOT_RUN])
def test_a_cell_that_was_not_run_says_why_and_nothing_that_was_not_measured(made, verdict):
    result = made(verdict, reason="qemu is missing: apt-get install qemu", image=None, trace=None, expected=None)
    lines = shown(result)
    assert lines[0] == f"{str(verdict).upper()}  {NAME}"
    assert "  qemu is missing: apt-get install qemu" in lines
    assert "Steps" in lines
    assert not {"Events", "Run", "Next"} & {line.partition(":")[0] for line in lines}


def test_a_build_error_shows_all_that_the_compiler_said(made):
    words = "does not compile\n  command: zig cc\npatch.c:3: error: no"
    lines = shown(made(Verdict.BUILD_ERROR, reason=words, image=None, reproduce="farm run x", expected=None))
    assert lines[2:5] == ["  does not compile", "    command: zig cc", "  patch.c:3: error: no"]
    assert lines[-1] == "  farm run x"


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_can_be_shown(made, verdict):
    assert shown(made(verdict))[0] == f"{str(verdict).upper()}  {NAME}"


def test_a_second_attempt_is_told(made):
    assert "  run twice; the first time: qemu died" in shown(made(Verdict.PASS, retried="qemu died"))


def test_an_insensitive_pass_says_what_it_could_not_show(made):
    lines = shown(made(Verdict.PASS_INSENSITIVE, sensitive=False))
    assert any("; this engine is blind to all of that" in line for line in lines)


def test_what_is_not_known_here_is_said(made):
    foreign = Cell("theirs", "mine", "stub", "zig", "unicorn")
    lines = shown(made(Verdict.MISMATCH, cell=foreign))
    assert "  no scenario theirs is known here: give --scenario-path for steps and events" in lines
    assert "  no disassembly: mine is none of the variants here; --arch-path names its folder" in lines


@given(st.text(min_size=1, max_size=20), st.text(max_size=40))
def test_names_from_elsewhere_stay_on_their_line(name, reason):
    cell = Cell(name, name, name, name, name)
    result = Result(cell, Verdict.ENGINE_ERROR, reason, None, None, "0", None, 0.0, sensitive=False, reproduce=name)
    for line in reports.show(result, KNOWN, RUN, 100):
        assert line.replace("\t", " ").isprintable()


# The command.


@pytest.fixture
def folder(tmp_path, made):
    """An output folder with a pass, a mismatch and a cell that was not run."""

    def fill(*results, cells=None):
        lines = [msgspec.json.encode({"run": RUN}), *map(msgspec.json.encode, results)]
        (tmp_path / "results.jsonl").write_bytes(b"\n".join(lines) + b"\n")
        if cells is not None:
            planned = tuple(map(Planned, cells))
            (tmp_path / "plan.json").write_bytes(plan.Plan(planned, KNOWN.scenarios, KNOWN.variants).json())
        return str(tmp_path)

    return fill


def invoke(*arguments):
    return CliRunner().invoke(load(), ["show", *arguments])


def failure(*arguments):
    """What the user reads when a command cannot do its work."""
    return str(invoke(*arguments).exception)


def test_a_cell_is_shown_by_name_id_or_glob(folder, made):
    out = folder(made(Verdict.PASS), made(Verdict.PASS, cell=msgspec.structs.replace(CELL, mechanism="pointer")))
    for name in (NAME, NAME.replace("supersede_then_restore", "BS-03"), "*/stub/*/*/*"):
        said = invoke(name, out)
        assert said.exit_code == 0
        assert said.output.startswith(f"PASS  {NAME}\n")
        assert said.output.count("Steps") == 1
    assert invoke("*/*/*/*/BS-*", out).output.count("Steps") == 2


def test_a_failing_cell_is_exit_status_1(folder, made):
    assert invoke(NAME, folder(made(Verdict.MISMATCH))).exit_code == 1


def test_the_recorded_line_comes_back_as_it_is(folder, made):
    result = made(Verdict.MISMATCH)
    said = invoke(NAME, folder(result), "--json")
    assert msgspec.json.decode(said.output, type=Result) == result
    assert json.loads(said.output)["cell"]["variant"] == "arm64"


def test_a_line_that_was_cut_off_is_named_and_the_rest_is_used(folder, made, tmp_path):
    out = folder(made(Verdict.PASS))
    file = tmp_path / "results.jsonl"
    file.write_bytes(file.read_bytes() + b'{"cell": {"scen')
    said = invoke(NAME, out)
    assert said.exit_code == 0
    assert "line 3 was cut off" in said.stderr


def test_a_planned_cell_without_a_result_says_so(folder, made):
    other = msgspec.structs.replace(CELL, scenario="query_answers")
    other = other if "query_answers" in KNOWN.scenarios else msgspec.structs.replace(CELL, mechanism="pointer")
    out = folder(made(Verdict.PASS), cells=[CELL, other])
    assert failure(str(other), out) == (
        f"{other}: planned, but without a result: its run was cut short; farm run --resume runs it"
    )


def test_a_cell_that_this_run_did_not_have_says_so(folder, made):
    out = folder(made(Verdict.PASS), cells=[CELL])
    assert failure("x86_64/stub/zig/unicorn/BS-03", out).startswith("x86_64/stub/zig/unicorn/BS-03: the run in ")
    said = failure("alpha/relocated/gcc/qemu-user/BS-03", out)
    assert said.endswith("it would not run: not-applicable: alpha has no relocated: no sites.c")


def test_a_cell_that_was_not_run_says_so_beside_a_plan_of_what_is_not_known_here(folder, made):
    mine = msgspec.structs.replace(CELL, variant="mine")
    out = folder(msgspec.structs.replace(made(Verdict.PASS), cell=mine), cells=[mine])
    assert failure(NAME, out) == f"{NAME}: the run in {out} did not have it"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("arm64/stub", "expected VARIANT/MECHANISM/TOOLCHAIN/ENGINE/SCENARIO"),
        ("arm65/stub/zig/unicorn/BS-03", "unknown architecture 'arm65': did you mean arm64"),
        ("arm64/stub/zig/unicorn/<b>", "unknown scenario '<b>'"),
    ],
)
def test_a_wrong_name_says_which_part(folder, made, name, words):
    assert words in failure(name, folder(made(Verdict.PASS)))


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("mechanism", f"unknown mechanism 'mine': valid are {', '.join(mechanisms.load())}"),
        ("toolchain", "unknown toolchain of arm64 'mine': valid are zig, gcc"),
        ("variant", "its architecture is not known here (--arch-path)"),
    ],
)
def test_a_result_of_what_is_not_known_here_is_shown_all_the_same(folder, made, part, words):
    result = made(Verdict.PASS)
    other = msgspec.structs.replace(result, cell=msgspec.structs.replace(result.cell, **{part: "mine"}))
    said = invoke(str(other.cell), folder(other))
    assert said.exit_code == 0
    assert f"not looked for: {words}\n" in said.output


def test_a_folder_without_results_is_a_sentence(tmp_path):
    assert failure(NAME, str(tmp_path)) == f"{tmp_path / 'results.jsonl'}: cannot be read: No such file or directory"


def test_a_broken_encoder_is_seen_by_whoever_looks(arm64, tmp_path, monkeypatch):
    """The README's own example: what a reviewer would see of it."""
    mine = tmp_path / "their work" / "mine"
    shutil.copytree(arm64.folder, mine)
    toml, patch = mine / "arch.toml", mine / "patch.c"
    toml.write_text(toml.read_text(encoding="utf-8").replace("variant.arm64", "variant.mine"), encoding="utf-8")
    source = patch.read_text(encoding="utf-8")
    assert "(to - at) >> 2" in source
    patch.write_text(source.replace("(to - at) >> 2", "(to - at + 8) >> 2"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    name, options = "mine/stub/zig/unicorn/supersede_then_restore", ["--arch-path", str(mine)]
    CliRunner().invoke(
        load(), ["run", *options, "--arch", "mine", "--mechanism", "stub", "--engine", "unicorn", "--scenario", "BS-03"]
    )
    said = invoke(name, *options)
    assert said.exit_code == 1
    assert ">>   2 step 1: patch whatever_0 -> fast, ok" in said.output
    assert f"  farm trace {name} --arch-path 'their work/mine'\n" in said.output
    traced = CliRunner().invoke(load(), ["trace", name, *options])
    assert traced.exit_code == 1
    assert re.search(r"=> arch_jump makes 0x17\w{6}, b 0x\w+ <default_0\+0x8>", traced.output)
