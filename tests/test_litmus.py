"""``farm litmus``: verdicts as published, every clause of weight needed, and what is not read refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import farm

from farm.prove.litmus import judge as judges
from farm.prove.litmus.child import Question, judge
from farm.prove.litmus.rules import CLAUSES

FILES = sorted((Path(__file__).parent / "litmus").glob("*.litmus"))
CACHES = {"dic0-idc0": (False, False), "dic0-idc1": (False, True), "dic1-idc1": (True, True)}
KINDS = {name: judges.read_kinds(Path(__file__).parent / "litmus" / f"{name}.kinds") for name in CACHES}
#: A test and a kind of cache whose verdict changes without the clause.
NEEDED = {
    "fetch_first": ("fetch-then-store", "dic0-idc0"),
    "dsb_full": ("called", "dic0-idc0"),
    "dsb_full_ic": ("chain", "dic0-idc0"),
    "dsb_ld": ("mp-dsb-ld-reader-maintains", "dic0-idc0"),
    "dsb_st": ("sb-dsb-st", "dic0-idc0"),
    "isb_after_dsb": ("called", "dic0-idc0"),
    "isb_after_control": ("jit", "dic0-idc0"),
    "isb_after_address": ("mp-address-isb", "dic1-idc1"),
    "isb_fetched": ("ff-fetched-isb", "dic0-idc1"),
    "dmb_full": ("lb", "dic0-idc0"),
    "dmb_full_dc": ("mp-clean-dmb-ctrl-ic", "dic0-idc0"),
    "dmb_ld": ("fetched-then-loaded", "dic0-idc0"),
    "dmb_st": ("fault-other-thread", "dic0-idc0"),
    "acquire_release": ("sb-release-acquire", "dic0-idc0"),
    "dependency": ("lb-selected", "dic0-idc0"),
    "through_memory": ("s-selected-stored", "dic0-idc0"),
    "same_location": ("data-load-then-store", "dic0-idc0"),
    "hazard": ("data-same-place", "dic0-idc0"),
    "dependency_maintenance": ("mp-clean-dmb-ctrl-ic", "dic0-idc0"),
    "same_line": ("called", "dic0-idc0"),
    "fetch_reads": ("fault-other-thread", "dic0-idc0"),
    "reads_external": ("chain", "dic0-idc0"),
    "overwritten_external": ("fault-other-thread", "dic0-idc0"),
    "internal": ("fault", "dic0-idc0"),
    "ic_clean": ("called", "dic0-idc0"),
    "ic_store": ("called", "dic0-idc1"),
    "dic_store": ("called", "dic1-idc1"),
    "ic_hazard": ("ff-same-place", "dic0-idc0"),
    "dic_hazard": ("ff-nothing", "dic1-idc1"),
}
GOOD = """AArch64 good
{ 0:X0=NOP; 0:X1=P0:m; }
P0 ;
STR W0,[X1] ;
DSB ISH ;
ISB ;
m: B l ;
MOV W9,#1 ;
l: ;
exists (0:X9=0)
"""


def judged(paths, caches, **options):
    dic, idc = CACHES[caches]
    return list(judges.judge(paths, dic=dic, idc=idc, kinds=KINDS[caches], **options))


@pytest.mark.parametrize("caches", CACHES)
def test_every_verdict_is_the_expected_one(caches):
    assert len(FILES) >= 40
    found = judged(FILES, caches)
    assert [(one.name, one.error, one.verdict) for one in found if not one.agrees] == []
    assert {one.name for one in found} == KINDS[caches].keys()


def test_every_file_says_where_its_verdict_comes_from():
    assert [path.name for path in FILES if "\n(* Verdict: " not in path.read_text()] == []


def test_without_a_clause_a_verdict_changes():
    assert sorted(NEEDED) == sorted(CLAUSES)
    wrong = []
    for clause, (name, caches) in NEEDED.items():
        path = FILES[0].with_name(f"{name}.litmus")
        dic, idc = CACHES[caches]
        told = judge(Question(str(path), path.read_text(), dic, idc, without=(clause,)))
        if told.verdict == KINDS[caches][name]:
            wrong.append(clause)
    assert wrong == []


def test_a_kind_of_cache_is_the_file_s_own_unless_it_is_given(tmp_path):
    path = tmp_path / "t.litmus"
    path.write_text(GOOD.replace("good\n", "good\nCacheType=DIC\n"))
    assert [one.verdict for one in judges.judge([path])] == ["Forbidden"]
    assert [one.verdict for one in judges.judge([path], dic=False, idc=False)] == ["Allowed"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("AArch64 good", "PPC good", ":1: a litmus file for AArch64 begins with"),
        ("DSB ISH", "LDXR W0,[X1]", ":5: `LDXR W0,[X1]` is no instruction that is read"),
        ("0:X0=NOP", "0:X0=elsewhere:l", ":2: `elsewhere:l` is no value that is read"),
        ("P0:m;", "P0:n;", ":2: P0 has no label n"),
        ("MOV W9,#1 ;", "MOV W9,#1 | NOP ;", ":8: 2 columns, where the head has 1"),
        ("l: ;", "m: ;", ":9: label m of P0 is there twice"),
        ("0:X9=0)", "0:X9=0", ":10: a parenthesis of the condition does not end"),
        ("0:X9=0)", "0:X9=", ":10: the condition ends early"),
        ("0:X9=0)", "7:X9=0)", "is no register of a thread that is there"),
        ("exists", "exists (* never closed", "a comment does not end"),
    ],
)
def test_what_is_not_read_is_refused_with_file_line_and_reason(old, new, said):
    assert old in GOOD
    one = judge(Question("t.litmus", GOOD.replace(old, new)))
    assert one.refused
    assert said in one.error
    assert one.error.startswith("t.litmus:")


def test_a_turn_of_a_loop_too_many_is_left_out_and_said():
    spin = "AArch64 spin\n{ 0:X1=x; 1:X1=x; }\nP0 | P1 ;\nm: LDR W0,[X1] | MOV W0,#1 ;\nCBZ W0,m | STR W0,[X1] ;\n"
    one = judge(Question("t.litmus", f"{spin}forall 0:X0=1"))
    assert (one.verdict, one.states) == ("Required", ["0:X0=1;"])
    assert one.notes == ["P0 comes to `LDR W0,[X1]` more than 4 times: such an execution is left out"]


def test_what_never_ends_has_no_verdict():
    one = judge(Question("t.litmus", "AArch64 loop\n{ }\nP0 ;\nm: B m ;\nforall (0:X9=0)\n"))
    assert one.refused
    assert one.error.startswith("t.litmus: no execution ends: P0 comes to `B m` more than 4 times")


def test_an_unsound_verdict_and_an_incomplete_one_are_told_apart(tmp_path):
    good, bad = tmp_path / "good.litmus", tmp_path / "bad.litmus"
    good.write_text(GOOD)
    bad.write_text("nothing")
    kinds = tmp_path / "kinds"
    kinds.write_text("good Forbidden # wrong\n")
    done = farm("litmus", good, "--kinds", kinds)
    assert done.returncode == 1
    assert "good: Allowed, 2 states: unsound, expected Forbidden" in done.stdout
    kinds.write_text("good Allowed\n")
    done = farm("litmus", good, "--kinds", kinds, "--dic", "1")
    assert (done.returncode, "incomplete, expected Allowed" in done.stdout) == (1, True)
    done = farm("litmus", bad, good, "--kinds", kinds, "--json")
    assert done.returncode == 2
    assert [(one["name"], one["verdict"], one["agrees"]) for one in json.loads(done.stdout)] == [
        ("", "", None),
        ("good", "Allowed", True),
    ]


def test_a_witness_is_a_trace(tmp_path):
    path = tmp_path / "t.litmus"
    path.write_text(GOOD)
    done = farm("litmus", path, "--witness", "--outcomes")
    assert "    0:X9=0;\n    0:X9=1;\n" in done.stdout
    steps = [line.split("  ")[-1].removeprefix("P0: ") for line in done.stdout.splitlines() if "P0: " in line]
    assert steps == [
        '`STR W0,[X1]` stores NOP at label:"P0:m"',
        "`DSB ISH`",
        "`ISB`",
        'fetches `B l` at label:"P0:m"',
    ]


def test_a_branch_leads_into_another_thread_s_column(tmp_path):
    path = tmp_path / "t.litmus"
    path.write_text(
        "AArch64 over\n{ }\nP0 | P1 ;\nBL f | B out ;\n | f: MOV W9,#3 ;\n | RET ;\n | out: ;\nforall (0:X9=3)\n"
    )
    (one,) = judges.judge([path])
    assert (one.verdict, one.states) == ("Required", ["0:X9=3;"])
