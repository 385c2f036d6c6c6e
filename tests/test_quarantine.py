"""Known-bad cells: what a list may say, which verdicts it changes, and that it hides nothing else."""

from __future__ import annotations

import json
import os
import shutil
import xml.etree.ElementTree as ET
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from helpers import farm, lines_of, run_it
from hypothesis import given
from hypothesis import strategies as st

from farm import paths
from farm.cell import FAILED, PASSED, SKIPPED, UNSURE, Cell, Verdict
from farm.engines import qemu_user
from farm.engines.unicorn import UNICORN
from farm.errors import QuarantineError, UsageError
from farm.report import agreement
from farm.report.quarantine import head, verified
from farm.run import quarantine
from farm.run.journal import read
from farm.run.plan import Selection, make
from farm.run.quarantine import Entry, Listed, Quarantine
from farm.run.verdict import Result

TODAY = date(2030, 6, 15)

GOOD = {
    "cells": "arm64/stub/zig/unicorn/supersede_then_restore",
    "issue": "https://example.org/17",
    "owner": "ada",
    "review": date(2031, 3, 1),
}
ON_QEMU = {**GOOD, "cells": "arm64/stub/zig/qemu-user/BS-03"}


def toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + "}"
    return value.isoformat() if isinstance(value, date) else json.dumps(value)


def tables(*entries):
    return "\n".join(
        "[[known-bad]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in entry.items()) for entry in entries
    )


@pytest.fixture
def listing(tmp_path):
    """``listing(text)`` or ``listing({...}, ...)``: the list that a file of that text, or of such entries, is."""

    def load(*content, today=TODAY, selection=None):
        path = tmp_path / "quarantine.toml"
        path.write_text(content[0] if isinstance(content[0], str) else tables(*content), encoding="utf-8")
        return quarantine.load(path, selection or Selection(), today)

    return load


def named(known):
    return sorted(map(str, known.cells))


# What an entry lists.


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ("arm64/stub/zig/unicorn/supersede_then_restore", ["arm64/stub/zig/unicorn/supersede_then_restore"]),
        ("arm64/stub/zig/unicorn/BS-03", ["arm64/stub/zig/unicorn/supersede_then_restore"]),
        ("arm64/stub/zig/unicorn/supersede*", ["arm64/stub/zig/unicorn/supersede_then_restore"]),
        (
            ["arm64,riscv64/stub/z*/unicorn/BS-03", "arm64/pointer/zig/unicorn/BS-03"],
            [
                "arm64/pointer/zig/unicorn/supersede_then_restore",
                "arm64/stub/zig/unicorn/supersede_then_restore",
                "riscv64/stub/zig/unicorn/supersede_then_restore",
            ],
        ),
        ("arm64/stub/zig/unicorn:no-clmul/BS-03", ["arm64/stub/zig/unicorn:no-clmul/supersede_then_restore"]),
    ],
)
def test_cells_are_named_as_they_are_written_and_each_part_as_in_a_selector(listing, cells, expected):
    assert named(listing({**GOOD, "cells": cells})) == expected


def test_a_list_is_about_cells_that_no_default_run_has(listing):
    cells = make(Selection(arch=["arm64"])).cells
    known = listing({**GOOD, "cells": "arm64/*/zig/*:*/BS-03"})
    assert known.cells
    assert not known.cells.keys() & {planned.cell for planned in cells}


def test_cells_that_cannot_run_are_not_in_effect_and_the_entry_says_why(listing, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    known = listing({**ON_QEMU, "when": {"version": "<8.1"}})
    assert known.cells == {}
    assert known.entries[0].idle.verdict is Verdict.NOT_RUN
    assert "apt-get install qemu-user" in known.entries[0].idle.reason


def test_of_cells_that_cannot_run_those_that_an_install_would_run_decide(listing, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    known = listing({**GOOD, "cells": "arm64/*/zig/qemu-user/flags_intact"})
    three = ["pointer", "stub", "relocated"]
    cells = make(Selection(arch=["arm64"], mechanism=three, engine=["qemu-user"], scenario=["flags_intact"])).cells
    assert [planned.verdict for planned in cells] == [Verdict.NOT_APPLICABLE, Verdict.NOT_RUN, Verdict.NOT_RUN]
    assert known.entries[0].idle.verdict is Verdict.NOT_RUN


def test_a_list_of_nothing_is_a_list(listing):
    assert listing("# nothing yet\n") == Quarantine(listing("").path)
    assert listing("").sha256 is None


def test_own_architectures_and_scenarios_can_be_listed(listing, edited_arch):
    folder = edited_arch(("variant.arm64", "variant.mine"), name="mine")
    entry = {**GOOD, "cells": "mine/stub/zig/unicorn/BS-03"}
    known = listing(entry, selection=Selection(arch_path=(folder,)))
    assert named(known) == ["mine/stub/zig/unicorn/supersede_then_restore"]
    with pytest.raises(QuarantineError, match="unknown architecture 'mine'"):
        listing(entry)


def test_what_a_run_selects_does_not_change_what_a_list_means(listing):
    narrow = Selection(arch=["ppc32"], engine=["qemu-user"], scenario=["BS-01"], tag=["no-such-tag"])
    assert named(listing(GOOD, selection=narrow)) == named(listing(GOOD))


# Conditions.


@pytest.mark.parametrize(
    ("version", "condition", "applies"),
    [
        ((7, 2, 22), "<8.1", True),
        ((8, 0, 5), "<8.1", True),
        ((8, 1), "<8.1", False),
        ((8, 1, 1), "<8.1", False),
        ((10, 0), "<8.1", False),
        ((10, 0), ">=8.1", True),
        ((8, 1, 0), "==8.1", True),
        ((7, 2), ">=7,<8", True),
        ((8, 2), ">=7,<8", False),
    ],
)
def test_a_condition_on_the_version_works_both_ways(listing, qemu, monkeypatch, version, condition, applies):
    monkeypatch.setattr(qemu_user, "qemu_version", lambda _: version)
    known = listing({**ON_QEMU, "when": {"version": condition}})
    assert bool(known.cells) is applies
    (listed,) = known.entries
    here = ".".join(map(str, version))
    assert (listed.idle is None) is applies
    if not applies:
        assert listed.idle.reason.startswith("it is about qemu-user ")
        assert listed.idle.reason.endswith(f"and here is {here}")


def test_a_release_candidate_is_a_version_too(listing, monkeypatch):
    monkeypatch.setattr(UNICORN, "version", lambda _: "2.1.3rc1")
    assert listing({**GOOD, "when": {"version": ">2.1.2"}}).cells
    assert not listing({**GOOD, "when": {"version": ">=2.1.3"}}).cells


def test_a_condition_on_the_engine_leaves_the_others_out(listing, qemu):
    known = listing({**GOOD, "cells": "arm64/stub/zig/*/BS-03", "when": {"engine": "qemu-user"}})
    assert {cell.engine for cell in known.cells} <= {"qemu-user", "qemu-user:bti", "qemu-user:no-clmul"}
    assert "qemu-user" in {cell.engine for cell in known.cells}
    with_profiles = listing({**GOOD, "cells": "arm64/stub/zig/*/BS-03", "when": {"engine": "unicorn"}})
    assert {cell.engine for cell in with_profiles.cells} == {"unicorn", "unicorn:no-clmul"}
    one = listing({**GOOD, "cells": "arm64/stub/zig/*/BS-03", "when": {"engine": "unicorn:no-clmul"}})
    assert {cell.engine for cell in one.cells} == {"unicorn:no-clmul"}


def test_entries_for_different_versions_may_list_the_same_cells(listing, qemu, monkeypatch):
    monkeypatch.setattr(qemu_user, "qemu_version", lambda _: (7, 2))
    old = {**ON_QEMU, "when": {"version": "<8.1"}, "issue": "old"}
    new = {**ON_QEMU, "when": {"version": ">=8.1"}, "issue": "new"}
    assert [listed.entry.issue for listed in listing(new, old).cells.values()] == ["old"]
    monkeypatch.setattr(qemu_user, "qemu_version", lambda _: (8, 1))
    assert [listed.entry.issue for listed in listing(new, old).cells.values()] == ["new"]


# What is refused.


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("known-bad = [", "not a list of [[known-bad]] tables: "),
        ("known_bad = []", "unknown field `known_bad`"),
        ("[known-bad]\nowner = 'ada'", "not a list of [[known-bad]] tables: known-bad: Expected `array`, got `object`"),
        ("known-bad = [3]", "entry 1: Expected `object`, got `int`"),
        (
            {key: GOOD[key] for key in GOOD if key != "owner"},
            "entry 1: Object missing required field `owner`; its keys",
        ),
        ({key: GOOD[key] for key in GOOD if key != "issue"}, "missing required field `issue`"),
        ({key: GOOD[key] for key in GOOD if key != "review"}, "missing required field `review`"),
        ({**GOOD, "owner": ""}, "entry 1: owner: Expected `str` of length >= 1"),
        ({**GOOD, "issue": " "}, "entry 1: issue: Expected `str` matching regex"),
        (
            {**GOOD, "ownr": "x"},
            "unknown field `ownr`; its keys are cells, issue, owner, review, when, verdict, reason",
        ),
        ({**GOOD, "when": {"engin": "x"}}, "when: Object contains unknown field `engin`; its keys are engine, version"),
        ({**GOOD, "review": "soon"}, "entry 1: review: Invalid RFC3339 encoded date"),
        ({**GOOD, "review": 2031}, "entry 1: review: Expected `date`, got `int`"),
        ({**GOOD, "cells": []}, "entry 1: cells: Expected `array` of length >= 1"),
        ({**GOOD, "cells": 3}, "entry 1: cells: Expected"),
        ({**GOOD, "cells": "arm64/*"}, "'arm64/*' found; expected VARIANT/MECHANISM/TOOLCHAIN/ENGINE/SCENARIO"),
        ({**GOOD, "cells": "arm64//zig/unicorn/BS-03"}, "each a name or a glob"),
        ({**GOOD, "cells": "arm64/ , /zig/unicorn/BS-03"}, "each a name or a glob"),
        (
            {**GOOD, "cells": "arm64/stub/zig/unicorn/supercede_then_restore"},
            "matches no cell: unknown scenario 'supercede_then_restore': did you mean supersede_then_restore",
        ),
        ({**GOOD, "cells": "arm46/stub/zig/unicorn/*"}, "unknown architecture 'arm46': did you mean arm64"),
        ({**GOOD, "cells": "*/*/*/*/no_such_*"}, "matches no cell: unknown scenario 'no_such_*'"),
        ({**GOOD, "cells": [GOOD["cells"], "*/stub/zag/*/*"]}, "unknown toolchain 'zag': did you mean zig"),
        ({**GOOD, "cells": "loongarch64/*/*/unicorn:no-clmul/no-*"}, "unknown scenario"),
        ({**GOOD, "when": {"engine": "qemu"}}, "when.engine: unknown engine 'qemu': did you mean qemu-user"),
        ({**GOOD, "when": {"engine": "qemu-user"}}, "when.engine: none of its cells is of qemu-user"),
        ({**ON_QEMU, "when": {"version": "8.1 or so"}}, "when.version: '8.1 or so' found; expected for example '<8.1'"),
        ({**ON_QEMU, "when": {"version": ""}}, "when.version: Expected `str` of length >= 1"),
        (
            {**GOOD, "cells": "arm64/stub/zig/*/BS-03", "when": {"version": "<8.1"}},
            "when.version: its cells are of native, qemu-system, qemu-user, unicorn; say which with when.engine",
        ),
        ({**GOOD, "verdict": "mismtch"}, "verdict: unknown verdict 'mismtch': did you mean mismatch"),
        ({**GOOD, "verdict": ["crash", "pass"]}, "verdict: unknown verdict 'pass'"),
        ({**GOOD, "verdict": "xpass"}, "verdict: unknown verdict 'xpass'"),
        ({**GOOD, "verdict": "not-run"}, "verdict: unknown verdict 'not-run'"),
    ],
)
def test_a_mistake_is_one_sentence_with_file_and_entry(listing, content, complaint):
    with pytest.raises(QuarantineError) as caught:
        listing(content)
    text = str(caught.value)
    assert complaint in text
    assert "quarantine.toml: " in text
    assert caught.value.exit_status == 2
    if isinstance(content, dict):
        assert "quarantine.toml: entry 1: " in text
        assert "\n" not in text


@pytest.mark.parametrize("bad", [{**GOOD, "owner": ""}, {**GOOD, "cells": "*/*/*/*/no_such"}])
def test_the_entry_that_is_wrong_is_counted_from_one(listing, bad):
    others = [{**GOOD, "cells": f"arm64/stub/zig/unicorn/BS-0{number}"} for number in (1, 2)]
    with pytest.raises(QuarantineError, match=r"quarantine\.toml: entry 3: "):
        listing(*others, bad)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "No such file or directory"), (b"\xff\xfe", "utf-8"), (b"a=" + b"[" * 9999, "depth")],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, complaint):
    path = tmp_path / "list.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(QuarantineError, match=rf"list\.toml: .*{complaint}"):
        quarantine.load(path, Selection(), TODAY)


def test_an_entry_past_its_review_date_is_an_error_that_names_whom_to_ask(listing):
    day = GOOD["review"]
    assert listing(GOOD, today=day).cells
    with pytest.raises(QuarantineError) as caught:
        listing({**GOOD, "cells": "arm64/stub/zig/unicorn/BS-04"}, GOOD, today=day + timedelta(1))
    assert "entry 1: its review was due by 2031-03-01: ada looks at https://example.org/17" in str(caught.value)


def test_today_is_that_of_utc(listing):
    today = datetime.now(UTC).date()
    assert listing({**GOOD, "review": today + timedelta(2)}, today=None).cells
    with pytest.raises(QuarantineError, match="its review was due by"):
        listing({**GOOD, "review": today - timedelta(1)}, today=None)


def test_two_entries_in_effect_for_one_cell_are_an_error(listing):
    with pytest.raises(QuarantineError, match=r"entries 1 and 2 both list arm64/stub/zig/unicorn/supersede_then_rest"):
        listing(GOOD, {**GOOD, "cells": "*/stub/zig/unicorn/BS-03"})


def test_without_a_file_there_is_no_list_and_one_in_this_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert quarantine.find(None, Selection()) == Quarantine()
    review = datetime.now(UTC).date() + timedelta(9)
    Path("quarantine.toml").write_text(tables({**GOOD, "review": review}), encoding="utf-8")
    assert quarantine.find(None, Selection()).cells
    Path("other.toml").write_text("", encoding="utf-8")
    assert quarantine.find(Path("other.toml"), Selection()).cells == {}


# What becomes of verdicts.

CELL = Cell("made_up", "arm64", "stub", "zig", "unicorn")
OTHER = Cell("another", "arm64", "stub", "zig", "unicorn")
ENTRY = msgspec.convert(GOOD, Entry)


def listed(*expected, cells=(CELL,)):
    return Quarantine(entries=(Listed(1, ENTRY, frozenset(expected or UNSURE), frozenset(cells)),))


def result_of(verdict, cell=CELL, **others):
    reason = None if verdict in PASSED else "so"
    return Result(cell, verdict, reason, None, "1", None, None, 0.5, sensitive=True, **others)


@pytest.mark.parametrize("verdict", sorted(UNSURE, key=str))
def test_a_listed_cell_that_fails_is_an_xfail_with_issue_owner_date_and_all_that_was_seen(verdict):
    before = result_of(verdict, reproduce="farm run", retried="engine-error: it died")
    after = listed().settle(before)
    assert after.verdict is Verdict.XFAIL
    assert not after.failed
    assert after.reason == f"known-bad (https://example.org/17, ada, review by 2031-03-01): {verdict}: so"
    assert after.excused is verdict
    assert msgspec.structs.replace(after, verdict=before.verdict, reason=before.reason, excused=None) == before


@pytest.mark.parametrize("verdict", sorted(PASSED, key=str))
def test_a_listed_cell_that_passes_fails_and_says_what_to_take_out(verdict):
    after = listed().settle(result_of(verdict))
    assert after.verdict is Verdict.XPASS
    assert after.failed
    assert "https://example.org/17, ada" in after.reason
    assert after.reason.endswith("take it out of quarantine.toml")


@pytest.mark.parametrize("verdict", [Verdict.FLAKY, Verdict.BUILD_ERROR, Verdict.ENGINE_ERROR])
def test_what_does_not_show_the_known_failure_is_excused_only_by_name(verdict):
    assert listed().settle(result_of(verdict)).verdict is verdict
    assert listed(verdict).settle(result_of(verdict)).verdict is Verdict.XFAIL


def test_another_failure_than_the_listed_one_stays_and_says_what_was_known():
    after = listed(Verdict.MISMATCH).settle(result_of(Verdict.CRASH))
    assert after.verdict is Verdict.CRASH
    assert after.failed
    assert after.reason == ("so; as mismatch alone it is known-bad (https://example.org/17, ada, review by 2031-03-01)")


def test_who_expects_a_flaky_cell_expects_it_to_pass_now_and_then():
    known = listed(Verdict.FLAKY)
    assert known.settle(result_of(Verdict.PASS)) == result_of(Verdict.PASS)
    assert known.settle(result_of(Verdict.MISMATCH)).verdict is Verdict.MISMATCH


def test_a_pass_at_the_second_attempt_is_what_who_expects_the_emulator_to_fail_has_expected():
    retried = result_of(Verdict.PASS, retried="engine-error: it died")
    assert listed(Verdict.ENGINE_ERROR).settle(retried) == retried
    assert listed(Verdict.ENGINE_ERROR).settle(result_of(Verdict.PASS)).verdict is Verdict.XPASS
    assert listed().settle(retried).verdict is Verdict.XPASS


def test_the_verdicts_of_an_entry_are_one_or_several_and_by_default_what_the_guest_did(listing):
    assert listing(GOOD).entries[0].expected == UNSURE
    assert listing({**GOOD, "verdict": "flaky"}).entries[0].expected == {Verdict.FLAKY}
    several = listing({**GOOD, "verdict": ["flaky", "engine-error"]}).entries[0].expected
    assert several == {Verdict.FLAKY, Verdict.ENGINE_ERROR}


RAW = sorted(frozenset(Verdict) - {Verdict.XFAIL, Verdict.XPASS}, key=str)  # what a run can say before any list applies


@given(
    verdict=st.sampled_from(RAW),
    expected=st.frozensets(st.sampled_from(sorted(FAILED - {Verdict.XPASS}, key=str)), min_size=1),
    cell=st.sampled_from([CELL, OTHER]),
    cells=st.frozensets(st.sampled_from([CELL, OTHER])),
    retried=st.sampled_from([None, "engine-error: it died"]),
)
def test_no_list_makes_a_failure_pass_or_touches_what_it_does_not_list(verdict, expected, cell, cells, retried):
    before = result_of(verdict, cell, retried=retried)
    after = listed(*expected, cells=cells).settle(before)
    if cell not in cells or verdict in SKIPPED:
        assert after == before
    elif verdict in PASSED:
        assert after == before or after.verdict is Verdict.XPASS
    else:
        assert after.verdict is (Verdict.XFAIL if verdict in expected else verdict)
        assert before.reason in after.reason
    assert after.excused is (verdict if after.verdict is Verdict.XFAIL else None)
    assert msgspec.structs.replace(after, verdict=before.verdict, reason=before.reason, excused=None) == before


# In a run.


@pytest.fixture(scope="module")
def plan():
    return make(Selection(arch=["arm64"], engine=["unicorn"], mechanism=["stub"], scenario=["BS-0*,FB-07"]))


@pytest.fixture
def broken(monkeypatch):
    """Every cell that runs is a mismatch."""

    def run_batch(batch, built, sink, enough):
        results = [result_of(Verdict.MISMATCH, cell) for cell in batch.cells]
        for result in results:
            sink(result)
        return results

    monkeypatch.setattr("farm.run.execute.run_batch", run_batch)


def half_of(plan):
    cells = [planned.cell for planned in plan.cells if planned.verdict is None]
    return frozenset(cells[::2]), frozenset(cells[1::2])


def test_every_result_is_settled_before_anyone_hears_of_it(plan, broken, tmp_path):
    bad, others = half_of(plan)
    heard = run_it(plan, tmp_path / "results.jsonl", quarantine=listed(cells=bad))
    for results in (heard, read(tmp_path / "results.jsonl").results):
        assert {result.cell for result in results if result.verdict is Verdict.XFAIL} == bad
        assert {result.cell for result in results if result.failed} == others


def test_what_has_ended_when_a_run_is_interrupted_is_settled(plan, broken, tmp_path, monkeypatch):
    def interrupted(results):
        if results:
            raise KeyboardInterrupt

    monkeypatch.setattr("farm.run.execute.kill_all", lambda: None)  # it would end the children of every test
    bad, others = half_of(plan)
    with pytest.raises(KeyboardInterrupt):
        run_it(plan, tmp_path / "results.jsonl", quarantine=listed(cells=bad), on_results=interrupted)
    results = read(tmp_path / "results.jsonl").results
    assert {result.cell for result in results if result.verdict is Verdict.XFAIL} == bad
    assert {result.cell for result in results if result.failed} == others


def test_a_resumed_run_is_settled_too_but_not_by_another_list(plan, broken, tmp_path):
    path, (bad, others) = tmp_path / "results.jsonl", half_of(plan)
    run_it(plan, path, quarantine=listed(cells=bad))
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    run_it(plan, path, quarantine=listed(cells=bad), resume=True)
    results = read(path).results
    assert {result.cell for result in results if result.verdict is Verdict.XFAIL} == bad
    assert {result.cell for result in results if result.failed} == others
    for another in (None, Quarantine(entries=(Listed(1, msgspec.structs.replace(ENTRY, owner="bob"), UNSURE, bad),))):
        with pytest.raises(UsageError, match="another list of known-bad cells applied"):
            run_it(plan, path, quarantine=another, resume=True)


def test_a_known_failure_disagrees_with_the_others_whether_it_left_a_trace_or_not():
    passed = msgspec.structs.replace(result_of(Verdict.PASS), trace="1")
    for trace in (None, "2"):
        known = msgspec.structs.replace(result_of(Verdict.XFAIL, OTHER), trace=trace)
        known = msgspec.structs.replace(known, cell=msgspec.structs.replace(CELL, variant="arm64be"))
        assert agreement([passed, known]) == (1, 0)


def test_a_scenario_that_asks_what_the_cpu_has_is_one_scenario_in_agreement():
    def result(variant, expected, trace):
        cell = msgspec.structs.replace(CELL, variant=variant)
        return msgspec.structs.replace(result_of(Verdict.PASS), cell=cell, expected=expected, trace=trace)

    with_it, without = [result("arm64", "a", "a"), result("arm", "a", "a")], result("sh4", "b", "b")
    assert agreement([*with_it, without, result("m68k", "b", "b")]) == (1, 1)
    assert agreement([*with_it, without, result("m68k", "b", "c")]) == (1, 0)
    assert agreement([result("arm64", "a", "c"), with_it[1], without, result("m68k", "b", "b")]) == (1, 0)


# Verification.


@pytest.mark.parametrize(
    ("verdicts", "state"),
    [
        ([Verdict.XFAIL, Verdict.XFAIL], "still needed: 2 xfail"),
        ([Verdict.XPASS, Verdict.XPASS], "can go: 2 xpass"),
        ([Verdict.XPASS, Verdict.XFAIL], "lists too much: 1 xfail, 1 xpass"),
        ([Verdict.XFAIL, Verdict.CRASH], "fails otherwise than listed: 1 xfail, 1 crash"),
        ([Verdict.PASS, Verdict.XFAIL], "still needed: 1 pass, 1 xfail"),
        ([Verdict.PASS, Verdict.PASS], "undecided, for it has not failed this time: 2 pass"),
        ([Verdict.NOT_RUN, Verdict.NOT_RUN], "could not be run: 2 not-run"),
        ([], "matches nothing that is selected: it lists 2 other cells"),
    ],
)
def test_a_verification_says_of_each_entry_whether_it_is_needed(verdicts, state):
    known = listed(cells=(CELL, OTHER))
    results = [result_of(verdict, cell) for verdict, cell in zip(verdicts, (CELL, OTHER), strict=False)]
    assert verified(known, results) == [f"quarantine.toml: entry 1 (https://example.org/17, ada): {state}"]


def test_a_run_says_how_much_is_listed(plan, listing):
    known = listing(GOOD, ON_QEMU)
    assert head(known, plan) == f"{known.path}: 2 entries, 1 cell of this plan"


# The command line.


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A folder with a copy of arch/arm64 as variant `mine`, four bytes off, and what the farm finds there."""
    folder = tmp_path_factory.mktemp("mine")
    shutil.copytree(paths.data("arch") / "arm64", folder / "mine")
    toml_file = folder / "mine" / "arch.toml"
    toml_file.write_text(toml_file.read_text().replace("variant.arm64", "variant.mine"))
    plant(folder, "(to - at) >> 2", "(to - at + 8) >> 2")
    done = farm(*RUN, cwd=folder)
    assert done.returncode == 1, done.stderr
    return folder, [line for line in lines_in(folder) if line["verdict"] not in ("pass", "not-applicable")]


RUN = (
    "run",
    "--arch-path",
    "mine",
    "--arch",
    "mine",
    "--engine",
    "unicorn",
    "--mechanism",
    "stub",
    "--scenario",
    "BS-*",
)
REVIEW = datetime.now(UTC).date() + timedelta(30)


def plant(folder, old, new):
    source = folder / "mine" / "patch.c"
    text = source.read_text()
    assert text.count(old) == 1
    source.write_text(text.replace(old, new))


def lines_in(folder):
    return lines_of(folder / "farm-out")[1]


def write_list(folder, *entries, name="quarantine.toml"):
    common = {"issue": "https://example.org/17", "owner": "ada", "review": REVIEW}
    (folder / name).write_text(tables(*({**common, **entry} for entry in entries)), encoding="utf-8")


def written(cell):
    return "/".join(cell[key] for key in ("variant", "mechanism", "toolchain", "engine", "scenario"))


def test_known_failures_are_green_and_red_when_they_are_gone(mine):
    folder, failing = mine
    cells = [written(line["cell"]) for line in failing]
    assert len(cells) > 10
    write_list(folder, {"cells": cells, "verdict": "mismatch"})
    done = farm(*RUN, cwd=folder)
    assert done.returncode == 0, done.stdout
    assert f"quarantine.toml: 1 entry, {len(cells)} cells of this plan" in done.stdout
    assert f"{len(cells)} xfail" in done.stdout
    known = [line for line in lines_in(folder) if line["verdict"] == "xfail"]
    assert [written(line["cell"]) for line in known] == cells
    for line, before in zip(known, failing, strict=True):
        assert line["reason"].endswith(f"review by {REVIEW}): mismatch: {before['reason']}")
        assert (line["observed"], line["code"], line["reproduce"]) == (
            before["observed"],
            before["code"],
            before["reproduce"],
        )
    skipped = ET.parse(folder / "farm-out" / "junit.xml").findall(".//skipped")
    assert len([each for each in skipped if "known-bad (https://example.org/17, ada" in each.get("message")]) == len(
        cells
    )
    assert farm("report", "--arch-path", "mine", cwd=folder).returncode == 0

    done = farm(*RUN, "--quarantine-verify", cwd=folder)
    assert done.returncode == 0, done.stdout
    assert f"entry 1 (https://example.org/17, ada): still needed: {len(cells)} xfail" in done.stdout
    assert [written(line["cell"]) for line in lines_in(folder)] == cells

    plant(folder, "(to - at + 8) >> 2", "(to - at) >> 2")
    try:
        done = farm(*RUN, cwd=folder)
        assert done.returncode == 1
        assert [written(line["cell"]) for line in lines_in(folder) if line["verdict"] == "xpass"] == cells
        assert "take it out of quarantine.toml" in done.stdout
        done = farm(*RUN, "--quarantine-verify", cwd=folder)
        assert done.returncode == 1
        assert f"entry 1 (https://example.org/17, ada): can go: {len(cells)} xpass" in done.stdout
    finally:
        plant(folder, "(to - at) >> 2", "(to - at + 8) >> 2")


def test_a_failure_that_is_not_listed_is_red_beside_those_that_are(mine):
    folder, failing = mine
    cells = [written(line["cell"]) for line in failing]
    write_list(folder, {"cells": cells[1:]})
    done = farm(*RUN, cwd=folder)
    assert done.returncode == 1
    assert [written(line["cell"]) for line in lines_in(folder) if line["verdict"] == "mismatch"] == cells[:1]


def test_a_list_can_be_named_and_then_the_one_that_is_there_is_not_read(mine):
    folder, failing = mine
    (folder / "quarantine.toml").write_text("not = [")
    write_list(folder, {"cells": written(failing[0]["cell"])}, name="other.toml")
    one = ("--scenario", failing[0]["cell"]["scenario"])
    done = farm("run", *RUN[1:9], *one, "--quarantine", "other.toml", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "other.toml: 1 entry, 1 cell of this plan" in done.stdout
    assert farm("run", *RUN[1:9], *one, "--quarantine", os.devnull, cwd=folder).returncode == 1
    assert farm("run", *RUN[1:9], *one, cwd=folder).returncode == 2


def test_an_entry_past_its_date_is_one_sentence_and_status_2(tmp_path):
    write_list(tmp_path, {"cells": GOOD["cells"], "review": date(2020, 1, 1)})
    done = farm("run", "--arch", "arm64", cwd=tmp_path)
    assert done.returncode == 2
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith(
        "farm: quarantine.toml: entry 1: its review was due by 2020-01-01: ada looks at https://"
    )
    assert not (tmp_path / "farm-out").exists()


def test_a_verification_without_a_list_is_a_usage_mistake_and_of_an_empty_one_there_is_nothing_to_do(tmp_path):
    done = farm("run", "--quarantine-verify", cwd=tmp_path)
    assert done.returncode == 2
    assert "there is no quarantine.toml here; name the list with --quarantine" in done.stderr
    (tmp_path / "quarantine.toml").write_text("")
    done = farm("run", "--quarantine-verify", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.strip() == "quarantine.toml: 0 entries, 0 cells of this plan"


def test_a_verification_runs_what_no_default_run_has_and_names_what_matches_nothing(tmp_path):
    write_list(
        tmp_path,
        {"cells": "arm64/stub/zig/unicorn:no-clmul/BS-03"},
        {"cells": "arm64/stub/zig/unicorn/BS-03", "when": {"version": ">99"}},
    )
    done = farm("run", "--arch", "arm64", "--quarantine-verify", cwd=tmp_path)
    assert done.returncode == 1
    assert [written(line["cell"]) for line in lines_in(tmp_path)] == [
        "arm64/stub/zig/unicorn:no-clmul/supersede_then_restore"
    ]
    assert "entry 1 (https://example.org/17, ada): can go: 1 xpass" in done.stdout
    assert "entry 2 (https://example.org/17, ada): matches nothing here: not-applicable: it is about" in done.stdout
    done = farm("run", "--arch", "ppc32", "--quarantine-verify", cwd=tmp_path)
    assert done.returncode == 0
    assert "matches nothing that is selected: it lists 1 other cell\n" in done.stdout


def test_in_ci_a_verification_that_lacks_an_engine_fails(tmp_path):
    write_list(tmp_path, {"cells": "arm64/stub/zig/qemu-user/BS-03"})
    options = ("run", "--quarantine-verify")
    assert farm(*options, cwd=tmp_path, PATH=str(tmp_path)).returncode == 0
    done = farm(*options, cwd=tmp_path, PATH=str(tmp_path), CI="true")
    assert done.returncode == 1
    assert "matches nothing here: not-run: qemu-aarch64 is missing: apt-get install qemu-user" in done.stdout


# pytest.

CELLS = Path(__file__).resolve().parent / "conformance" / "test_cells.py"


@pytest.fixture
def conformance(pytester, mine):
    """``conformance(*options)``: the conformance tests of `mine`, in a run of their own."""
    pytester.path.joinpath("test_cells.py").write_text(CELLS.read_text())
    only = ["--farm-arch=mine", "--farm-mechanism=stub", "--farm-engine=unicorn", "-k", "supersede_then_restore"]

    def go(*options):
        return pytester.runpytest_subprocess("-ra", f"--farm-arch-path={mine[0] / 'mine'}", *only, *options)

    return go


def test_pytest_calls_a_known_failure_xfailed(conformance, pytester):
    assert conformance().parseoutcomes()["failed"] == 1
    write_list(pytester.path, {"cells": "mine/stub/zig/unicorn/BS-03"}, name="bad.toml")
    result = conformance("--farm-quarantine=bad.toml")
    assert result.parseoutcomes()["xfailed"] == 1
    assert "failed" not in result.parseoutcomes()
    result.stdout.fnmatch_lines(
        ["XFAIL *supersede_then_restore* - known-bad (https://example.org/17, ada, *mismatch: *"]
    )


def test_pytest_calls_a_known_failure_that_passes_failed(conformance, pytester, mine):
    write_list(pytester.path, {"cells": "mine/stub/zig/unicorn/BS-03"}, name="bad.toml")
    plant(mine[0], "(to - at + 8) >> 2", "(to - at) >> 2")
    try:
        result = conformance("--farm-quarantine=bad.toml")
    finally:
        plant(mine[0], "(to - at) >> 2", "(to - at + 8) >> 2")
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(["XPASS mine/stub/zig/unicorn/supersede_then_restore", "*take it out of bad.toml"])


def test_pytest_fails_another_failure_than_the_listed_one(conformance, pytester):
    write_list(pytester.path, {"cells": "mine/stub/zig/unicorn/BS-03", "verdict": "crash"}, name="bad.toml")
    result = conformance("--farm-quarantine=bad.toml")
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(["MISMATCH mine/stub/zig/unicorn/supersede_then_restore"])


def test_pytest_refuses_a_list_that_is_wrong(conformance, pytester):
    write_list(pytester.path, {"cells": "mine/stub/zig/unicorn/BS-03", "owner": ""}, name="bad.toml")
    result = conformance("--farm-quarantine=bad.toml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --farm-quarantine: bad.toml: entry 1: owner: Expected `str` of length >= 1"])
