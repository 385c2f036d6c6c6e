"""The files beside the HTML report: each read by a parser that is not the farm's, whatever the names in it are."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import xml.etree.ElementTree as ET
from functools import partial

import helpers
import junitparser
import pytest
from helpers import RUN
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from msgspec.structs import replace
from rich.console import Console

from farm.cell import Cell, Hole, Verdict
from farm.errors import MissingToolError
from farm.guest import arch_toml, build, disassemble, mechanisms
from farm.report import badge, chrome, explain, junit, ktap, markdown, terminal
from farm.report.text import clipped, line, printable
from farm.run import plan
from farm.run.verdict import Code, Result, skipped
from farm.scenario import Defect, Scenario, call, model

EMPTY = plan.Plan((), {}, {})
OURS = "\N{CYRILLIC CAPITAL LETTER ZHE}"  # in every name and reason, so that the text of a report can be told from them

NASTY = [
    "</failure>",
    "]]>",
    "-->",
    "a|b",
    "\\|",
    "``````",
    "`",
    "\x00\x1b[31m\x7f",
    "<b>&lt;",
    "\n# x\n",
    "\r\n\r\n## x",
    "x # SKIP y",
    "ok 1 x",
    "1..3\nnot ok 2",
    "KTAP version 1",
    "# Subtest: x",
    "</details>\n\n# x",
    "<script>",
    "[x](http://example.org)",
    "![](x)",
    "@someone",
    "\n\n- x\n1. y",
    "\n---\n| a |\n|---|",
    "\u202e\u2028\x85\x0b",
    "'\"",
    "\ud800",
    "~~~\n***\n===",
    " ",
]
texts = st.builds("{}{}".format, st.text(max_size=20) | st.sampled_from(NASTY), st.just(OURS) | st.sampled_from(NASTY))
texts = texts.map(lambda text: text + OURS)
cells = st.builds(Cell, texts, texts, texts, texts, texts)
times = st.floats(1.7e9, 1.7e9 + 100)
several = st.lists(
    st.builds(
        Result,
        cell=cells,
        verdict=st.sampled_from(list(Verdict)),
        reason=texts,
        trace=st.sampled_from([None, "aa"]),
        expected=st.just("aa"),
        image=st.none(),
        instructions=st.none(),
        seconds=st.floats(0, 10),
        sensitive=st.booleans(),
        observed=st.sampled_from([None, []]),
        code=st.sampled_from([None, Code(0x1000, "00" * 64, None), Code(-1, "x", "y")]),
        reproduce=texts,
        began=st.just(0.0) | times,
        retried=st.none() | texts,
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda made: made.cell,
)


def suite_of(results, title):
    """A plan that knows every scenario of ``results``, with ``title``."""
    steps, detects = (call(0, 1),), frozenset({Defect.LOST_PATCH})
    names = {made.cell.scenario for made in results}
    return plan.Plan((), {name: Scenario("BS-99", name, title, steps, detects) for name in names}, {})


result = partial(helpers.result, scenario="s")


each_verdict = pytest.mark.parametrize("verdict", list(Verdict), ids=str)


# What comes from elsewhere.


@given(texts)
def test_a_line_is_one_line_that_can_be_seen_and_written(text):
    assert line(text).isprintable()
    assert line(text).split() == line(text).split(" ") or not line(text)
    assert all(part.isprintable() for part in printable(text).replace("\t", "").split("\n"))
    printable(text).encode()
    assert len(clipped(text, 10)) <= 10


def test_what_is_fit_to_be_seen_stays_as_it_is():
    assert printable("a\tb\nc ä ≈ 漢") == "a\tb\nc ä ≈ 漢"
    assert printable("\x1b[31mred\x9b \u202eltr") == "\ufffd[31mred\ufffd \ufffdltr"


# JUnit.


def parsed_junit(results, suite=EMPTY):
    (only,) = junitparser.JUnitXml.fromroot(ET.fromstring(junit.render(results, suite, RUN)))
    return only


@settings(max_examples=200)
@given(several, texts)
def test_no_name_and_no_reason_breaks_the_xml(results, title):
    only = parsed_junit(results, suite_of(results, title))
    assert only.tests == len(results)
    assert [case.name for case in only] == [line(made.cell.scenario) for made in results]
    failed = [any(isinstance(r, junitparser.Failure | junitparser.Error) for r in case.result) for case in only]
    assert failed == [made.failed for made in results]
    counted = {
        "skipped": sum(case.is_skipped for case in only),
        "failures": sum(isinstance(r, junitparser.Failure) for case in only for r in case.result),
        "errors": sum(isinstance(r, junitparser.Error) for case in only for r in case.result),
    }
    assert counted == {name: getattr(only, name) for name in counted}


@each_verdict
def test_junit_has_a_place_for_every_verdict(verdict):
    (case,) = parsed_junit([result(verdict, reason="because")])
    kinds = [type(entry).__name__ for entry in case.result]
    if verdict in (Verdict.PASS, Verdict.PASS_INSENSITIVE):
        assert kinds == []
        assert (case.system_out is not None) == (verdict is Verdict.PASS_INSENSITIVE)
    elif verdict in (Verdict.NOT_APPLICABLE, Verdict.NOT_RUN, Verdict.XFAIL):
        assert kinds == ["Skipped"]
        assert case.result[0].message == ("because" if verdict is Verdict.XFAIL else f"{verdict}: because")
    else:
        wanted = "Error" if verdict in (Verdict.BUILD_ERROR, Verdict.ENGINE_ERROR) else "Failure"
        assert kinds == [wanted]
        assert (case.result[0].type, case.result[0].message) == (str(verdict), "because")
        assert f"{str(verdict).upper()} arm64/stub" in case.result[0].text


#: What Jenkins' junit-10.xsd has, as far as the farm uses it: attributes, and children in any order.
SCHEMA = {
    "testsuites": (set(), {"testsuite"}),
    "testsuite": (
        {"name", "timestamp", "tests", "failures", "errors", "skipped", "time"},
        {"properties", "testcase"},
    ),
    "properties": (set(), {"property"}),
    "property": ({"name", "value"}, set()),
    "testcase": ({"classname", "name", "time"}, {"skipped", "error", "failure", "system-out"}),
    "skipped": ({"message"}, set()),
    "error": ({"type", "message"}, set()),
    "failure": ({"type", "message"}, set()),
    "system-out": (set(), set()),
}


def test_junit_is_as_jenkins_schema_has_it():
    made = [result(v, reason="because", retried="it died", scenario=str(v)) for v in Verdict]
    root = ET.fromstring(junit.render(made, EMPTY, RUN))
    for element in root.iter():
        attributes, children = SCHEMA[element.tag]
        assert set(element.keys()) == attributes
        assert {child.tag for child in element} <= children
    assert {element.tag for element in root.iter()} == set(SCHEMA)
    suite = root[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp"))
    assert re.fullmatch(r"\d+\.\d+", suite.get("time"))
    said = {entry.get("name"): entry.get("value") for entry in suite.iter("property")}
    assert said == {"farm": "0.1.0", "host": RUN.host, "plan": "0" * 64, "unicorn": "2.1.2"}


def test_thousands_of_failures_are_in_files_that_a_server_takes():
    made = [result(Verdict.CRASH, scenario=f"s{i}", reason="it died " * 1_000) for i in range(5_000)]
    made.append(result(Verdict.CRASH, mechanism="pointer", reason="another kind"))
    content = junit.render(made, EMPTY, RUN)
    assert len(content) < 20_000_000
    *_, unlike, last = ET.fromstring(content).iter("failure")
    assert last.text.startswith("CRASH arm64/pointer")
    assert unlike.text == f"reproduce: {made[-2].reproduce}"
    lines = ktap.render(made, EMPTY).splitlines()
    assert "    # CRASH arm64/pointer/zig/unicorn/s" in lines
    assert sum(said.startswith("    # CRASH") for said in lines) == 200


# KTAP: a strict reader of what Documentation/dev-tools/ktap.rst allows.


@dataclasses.dataclass
class Test:
    __test__ = False
    good: bool
    name: str
    directive: str
    data: str
    notes: list[str]
    tests: list[Test]


DESCRIPTION = r"(?: ([^\s#][^#]*?))?(?: # (?:(SKIP|XFAIL|TIMEOUT|ERROR)(?: |$))?([^#]*))?"


def read_tests(lines, indentation=""):
    """The tests that ``lines`` begin with, which are taken away."""
    assert lines.pop(0) == f"{indentation}KTAP version 1"
    count = re.fullmatch(rf"{indentation}1\.\.(\d+)", lines.pop(0))
    assert count
    tests = []
    for number in range(1, int(count[1]) + 1):
        inner = read_tests(lines, indentation + "  ") if lines[0] == f"{indentation}  KTAP version 1" else []
        notes = []
        while re.match(rf"{indentation}#(?: |$)", lines[0]):
            notes.append(lines.pop(0).removeprefix(f"{indentation}#").removeprefix(" "))
        assert not any(note.startswith("Subtest:") for note in notes)  # to some tools the head of nested tests
        found = re.fullmatch(rf"{indentation}(ok|not ok) {number}{DESCRIPTION}", lines.pop(0))
        assert found
        status, name, directive, data = found.groups(default="")
        assert directive not in ("SKIP", "XFAIL") or status == "ok"
        assert directive not in ("TIMEOUT", "ERROR") or status == "not ok"
        if inner:
            assert (status == "ok") == all(test.good for test in inner)
        tests.append(Test(status == "ok", name, directive, data, notes, inner))
    return tests


def read_ktap(results, suite=EMPTY):
    text = ktap.render(results, suite)
    assert all(part.isprintable() for part in text.replace("\t", " ").split("\n"))
    lines = text.removesuffix("\n").split("\n")
    tests = read_tests(lines)
    (totals,) = lines
    counts = dict(re.findall(r"(\w+):(\d+)", totals.removeprefix("# Totals: ")))
    assert sum(map(int, counts.values())) == len(results)
    return tests, counts


def plain(name):
    return line(name).replace("#", "\uff03")


@settings(max_examples=200)
@given(several, texts)
def test_no_name_and_no_reason_breaks_the_ktap(results, title):
    tests, _ = read_ktap(results, suite_of(results, title))
    read = [(a.name, b.name, c.name, c.good) for a in tests for b in a.tests for c in b.tests]
    wanted = [
        (
            plain(cell.variant),
            plain(f"{cell.mechanism}/{cell.toolchain}/{cell.engine}"),
            plain(cell.scenario),
            not failed,
        )
        for cell, failed in ((made.cell, made.failed) for made in results)
    ]
    assert sorted(read) == sorted(wanted)


@each_verdict
def test_ktap_has_a_line_for_every_verdict(verdict):
    ((variant,), counts) = read_ktap([result(verdict, reason="because")])
    (guest,) = variant.tests
    (case,) = guest.tests
    assert (variant.name, guest.name, case.name) == ("arm64", "stub/zig/unicorn", "s")
    wanted = {
        Verdict.PASS: ("pass", True, "", ""),
        Verdict.PASS_INSENSITIVE: ("pass", True, "", "this engine could not have shown the defect"),
        Verdict.NOT_APPLICABLE: ("skip", True, "SKIP", "not-applicable: because"),
        Verdict.NOT_RUN: ("skip", True, "SKIP", "not-run: because"),
        Verdict.XFAIL: ("xfail", True, "XFAIL", "xfail: because"),
        Verdict.XPASS: ("xpass", False, "", "xpass: because"),
        Verdict.TIMEOUT: ("fail", False, "TIMEOUT", "because"),
        Verdict.BUILD_ERROR: ("error", False, "ERROR", "build-error: because"),
        Verdict.ENGINE_ERROR: ("error", False, "ERROR", "engine-error: because"),
    }.get(verdict, ("fail", False, "", f"{verdict}: because"))
    assert ([name for name, count in counts.items() if count == "1"], case.good, case.directive, case.data) == (
        [wanted[0]],
        *wanted[1:],
    )
    assert (variant.directive, guest.directive) == (("SKIP",) * 2 if wanted[0] == "skip" else ("", ""))
    assert bool(case.notes) == (not case.good)


def test_a_ktap_parent_counts_what_failed_and_says_why_all_is_skipped():
    failing = [result(scenario="a"), result(Verdict.CRASH, scenario="b", reason="it died")]
    holes = [result(Verdict.NOT_RUN, scenario=name, variant="ppc32", reason="no qemu") for name in "ab"]
    (first, second), _ = read_ktap([*failing, *holes])
    assert (first.good, first.data, first.tests[0].data) == (False, "1 of 2 failed", "1 of 2 failed")
    assert (second.directive, second.data) == ("SKIP", "not-run: no qemu")
    assert first.tests[0].tests[1].notes[:3] == ["CRASH arm64/stub/zig/unicorn/b", "  b", "  it died"]


def test_cells_that_come_in_any_order_are_nested_all_the_same():
    names = [("arm64", "a"), ("ppc32", "a"), ("arm64", "b")]
    tests, _ = read_ktap([result(variant=variant, scenario=name) for variant, name in names])
    assert [(test.name, len(test.tests[0].tests)) for test in tests] == [("arm64", 2), ("ppc32", 1)]


# The Chrome trace.


def lanes(results, header=RUN):
    """Complete events by lane, checked: times are whole, none is negative, and what overlaps is nested."""
    document = json.loads(chrome.render(results, header))
    by_lane = {}
    for event in document["traceEvents"]:
        assert event["ph"] in ("X", "M")
        assert event["name"].isprintable()
        if event["ph"] == "X":
            assert isinstance(event["ts"], int)
            assert isinstance(event["dur"], int)
            assert event["ts"] >= 0
            assert event["dur"] >= 0
            by_lane.setdefault(event["tid"], []).append(event)
    named = {e["tid"] for e in document["traceEvents"] if e["name"] == "thread_name"}
    assert set(by_lane) <= named
    for events in by_lane.values():
        enclosing = []
        for event in events:
            end = event["ts"] + event["dur"]
            while enclosing and enclosing[-1] <= event["ts"] and not (event["dur"] == 0 and enclosing[-1] == end):
                enclosing.pop()
            assert not enclosing or end <= enclosing[-1]
            enclosing.append(end)
        assert [event["ts"] for event in events] == sorted(event["ts"] for event in events)
    return by_lane


@settings(max_examples=200)
@given(several)
def test_no_name_and_no_reason_breaks_the_trace(results):
    events = [event for lane in lanes(results).values() for event in lane if event.get("cat") != "batch"]
    ran = sorted(line(made.cell.scenario) for made in results if made.began)
    assert sorted(event["name"] for event in events) == ran


def batch(began, *seconds, **cell):
    """Cells one after the other, as one worker runs them."""
    made = []
    for number, each in enumerate(seconds):
        made.append(result(scenario=f"s{number}", began=round(began, 6), seconds=round(each, 6), **cell))
        began += each
    return made


def test_batches_of_two_workers_lie_in_two_lanes_and_cells_within_their_batch():
    first = batch(1.7e9, 0.1, 0.2, 0.3)
    second = batch(1.7e9 + 0.05, 0.5, variant="ppc32")
    third = batch(1.7e9 + 0.61, 0.1, 0.1, mechanism="pointer")
    found = lanes([*third, *second, *first])
    assert {tid: [event["name"] for event in events] for tid, events in found.items()} == {
        1: ["arm64/stub/zig/unicorn", "s0", "s1", "s2", "arm64/pointer/zig/unicorn", "s0", "s1"],
        2: ["ppc32/stub/zig/unicorn", "s0"],
    }
    whole = found[1][0]
    assert (whole["ts"], whole["dur"], whole["args"]) == (0, 600_000, {"cells": 3, "failed": 0})
    assert [event["ts"] for event in found[1][1:4]] == [0, 100_000, 300_000]
    assert lanes([*first, *second, *third]) == found


def test_two_workers_on_one_image_are_two_batches():
    found = lanes([*batch(1.7e9, 0.3, 0.3), *batch(1.7e9 + 0.1, 0.3, 0.3)])
    assert {tid: len(events) for tid, events in found.items()} == {1: 3, 2: 3}


def test_rounding_makes_neither_a_gap_nor_an_overlap():
    for drift in (-1e-6, 0, 1e-6):
        made = batch(1.7e9, *[0.000333] * 3)
        made[1] = replace(made[1], began=made[1].began + drift)
        (events,) = lanes(made).values()
        _, *inner = events
        assert [a["ts"] + a["dur"] for a in inner[:-1]] == [b["ts"] for b in inner[1:]]


def test_an_audit_between_two_cells_does_not_part_their_batch():
    made = [replace(r, began=r.began + i * 0.0004) for i, r in enumerate(batch(1.7e9, *[0.00005] * 50))]
    (events,) = lanes(made).values()
    assert [event["cat"] for event in events].count("batch") == 1
    assert events[0]["args"]["cells"] == 50


def test_planning_and_building_come_before_the_first_cell():
    header = replace(RUN, phases={"plan": 0.25, "build": 1.5, "run": 3.0})
    found = lanes(batch(1.7e9, 0.1), header)
    assert [(event["name"], event["ts"], event["dur"]) for event in found[0]] == [
        ("plan", 0, 250_000),
        ("build", 250_000, 1_500_000),
        ("run", 1_750_000, 3_000_000),
    ]
    assert found[1][0]["ts"] == 1_750_000


@each_verdict
def test_a_trace_says_what_became_of_every_cell(verdict):
    ((_, event),) = lanes([result(verdict, reason="because", began=1.7e9)]).values()
    assert event["cat"] == str(verdict)
    passed = verdict in (Verdict.PASS, Verdict.PASS_INSENSITIVE)
    assert event.get("args") == (None if passed else {"verdict": str(verdict), "reason": "because"})
    assert ("cname" in event) == result(verdict).failed


def test_a_trace_of_twenty_thousand_cells_is_small():
    made = [r for i in range(200) for r in batch(1.7e9 + i, *[0.001] * 100, variant=f"variant{i % 25}")]
    made = [replace(r, cell=replace(r.cell, scenario="accelerated_in_midstream_again")) for r in made]
    assert len(made) == 20_000
    assert len(chrome.render(made, RUN)) < 3_000_000


def test_cells_that_did_not_run_are_counted_only():
    hole = skipped(Cell("s", "arm64", "stub", "zig", "unicorn"), Hole(Verdict.NOT_RUN, "no qemu"))
    document = json.loads(chrome.render([hole, *batch(1.7e9, 0.1)], RUN))
    assert document["otherData"]["not in it"] == "1 cell that did not run"


# The badge.


def read_badge(results, suite=EMPTY):
    root = ET.fromstring(badge.render(results, suite))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    fills = [element.get("fill") for element in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert root.get("aria-label") == ": ".join(words)
    return words[1], fills[0], root.find("{http://www.w3.org/2000/svg}title").text, int(root.get("width"))


@settings(max_examples=50)
@given(several)
def test_no_name_and_no_reason_breaks_the_badge(results):
    text, *_ = read_badge(results)
    assert OURS not in text


def test_a_badge_says_what_failed_or_how_much_passed_where():
    arches = arch_toml.load()
    suite = plan.Plan((), {}, arches)
    passed = [result(variant=name) for name in ("arm64", "arm64be", "ppc32")] * 400
    green = read_badge(passed, suite)
    assert green[0] == "1,200 pass · 2 architectures"
    assert green[2] == "patchfarm: 1,200 pass"
    yellow = read_badge([*passed, result(Verdict.NOT_RUN, reason="no qemu")], suite)
    assert yellow[0] == "1,200 pass · 2 architectures · 1 not run"
    known = read_badge([*passed, result(Verdict.XFAIL, reason="#1")], suite)
    assert known[:2] == ("1,200 pass · 2 architectures · 1 known-bad", green[1])
    red = read_badge([*passed, result(Verdict.CRASH), result(Verdict.FLAKY)], suite)
    assert red[0] == "2 failing"
    grey = read_badge([result(Verdict.NOT_APPLICABLE, reason="cannot")], suite)
    assert grey[0] == "nothing ran"
    assert len({shown[1] for shown in (green, yellow, red, grey)}) == 4
    assert yellow[3] > green[3] > grey[3] > red[3]
    assert read_badge([result()], suite)[0] == "1 pass · 1 architecture"


@each_verdict
def test_a_badge_is_red_for_every_failure_and_for_nothing_else(verdict):
    text, colour, *_ = read_badge([result(verdict, reason="because"), result(scenario="other")])
    assert (text == "1 failing") == (colour == badge._RED) == result(verdict).failed


# The summary: read as GitHub reads it.

DETAILS = re.compile(r"<details(?: open)?>\n<summary>[^<>\n]*</summary>\n?|</details>\n?")


def read_summary(text):
    """The tokens of a summary, in which nothing but code and folded titles comes from elsewhere."""
    assert len(text.encode()) <= markdown.LIMIT
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    opened = columns = 0
    for token in tokens:
        if token.type == "html_block":
            assert DETAILS.fullmatch(token.content), token.content
            opened += 1 if token.content.startswith("<details") else -1
            assert 0 <= opened <= 1
        elif token.type == "inline":
            for child in token.children:
                assert child.type in ("text", "softbreak", "code_inline", "html_inline"), child
                assert child.type != "html_inline" or child.content == "<br>"
                assert child.type == "code_inline" or OURS not in child.content
        elif token.type == "tr_open":
            fields = 0
        elif token.type in ("td_open", "th_open"):
            fields += 1
        elif token.type == "tr_close":
            columns = columns or fields
            assert fields == columns
        elif token.type == "table_close":
            columns = 0
        else:
            assert token.type.rpartition("_")[0] in KNOWN or token.type == "fence", token.type
    assert not opened
    heads = [(token.tag, tokens[i + 1].content) for i, token in enumerate(tokens) if token.type == "heading_open"]
    assert heads[0][1].startswith("patchfarm: ")
    assert heads[1:] in ([], [("h2", "Not as expected")])
    return tokens


KNOWN = ("heading", "paragraph", "bullet_list", "list_item", "table", "thead", "tbody", "tr", "th", "td")


@settings(max_examples=300)
@given(several, texts, st.lists(texts, max_size=2))
def test_no_name_and_no_reason_breaks_the_markdown(results, title, complaints):
    tokens = read_summary(markdown.render(results, suite_of(results, title), RUN, complaints))
    rows = sum(token.type == "tr_open" for token in tokens)
    tables = sum(token.type == "table_open" for token in tokens)
    assert rows >= tables >= 1


@given(texts)
def test_a_code_span_is_one_code_span(text):
    (paragraph,) = (token for token in MarkdownIt().parse(f"- {markdown.code(text)}") if token.type == "inline")
    (only,) = paragraph.children
    assert only.type == "code_inline"
    assert only.content == clipped(text, 200).replace("|", "\u00a6")


@each_verdict
def test_a_summary_has_a_place_for_every_verdict(verdict):
    made = [result(verdict, reason="because"), result(scenario="other")]
    text = markdown.render(made, EMPTY, RUN)
    read_summary(text)
    wanted = f"2 {verdict}" if verdict is Verdict.PASS else f"1 {verdict}"
    assert wanted in text
    if verdict not in (Verdict.PASS, Verdict.PASS_INSENSITIVE):
        assert "because" in text
    assert text.startswith("# patchfarm: 1 of 2 cells is not as expected") == made[0].failed
    assert ("could not have shown what" in text) == (verdict is Verdict.PASS_INSENSITIVE)
    assert text.startswith("# patchfarm: nothing failed, but 1 of 2") == (verdict is Verdict.NOT_RUN)


def test_failures_come_before_the_grid_and_the_grid_before_the_holes():
    made = [
        result(Verdict.CRASH, reason="it died"),
        result(Verdict.NOT_APPLICABLE, scenario="b", reason="no such thing"),
    ]
    text = markdown.render(made, EMPTY, RUN, ["line 7 is no result"])
    order = ["not as expected", "line 7 is no result", "## Not as expected", "it died", "| variant", "no such thing"]
    assert sorted(order, key=text.index) == order


def many(count, verdict, reason, **names):
    return [result(verdict, reason=reason, scenario=f"s{i}" + names.get("scenario", "")) for i in range(count)]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (many(20_000, Verdict.CRASH, "it died"), "more"),
        (many(3_000, Verdict.BUILD_ERROR, "error: no\n" * 2_000), "junit.xml has all of it"),
        ([result(Verdict.CRASH, variant=f"v{i}", reason="x" * 3_000) for i in range(5_000)], "more rows do not fit"),
        ([result(variant=f"v{i}", mechanism=f"m{i % 200}") for i in range(2_000)], "do not fit"),
        (
            [result(mechanism=f"m{i}", engine=f"e{j}") for i in range(2) for j in range(2_000)],
            "This table does not fit",
        ),
        (many(5_000, Verdict.MISMATCH, "`" * 5_000, scenario="`" * 300), "more"),
        ([result(Verdict.NOT_APPLICABLE, scenario=str(i), reason=f"{i}" * 99) for i in range(900)], "- and "),
        ([result(scenario=str(i), retried="≈" * 5_000) for i in range(5_000)], "- and "),
    ],
    ids=["failures", "compilers", "rows", "mechanisms", "columns", "backticks", "holes", "retries"],
)
def test_a_summary_fits_whatever_there_is_to_say_and_says_what_was_cut(made, said):
    text = markdown.render(made, EMPTY, RUN, ["x" * 10_000] * 100)
    read_summary(text)
    assert said in text
    assert len(text) < 65_536


# What was run twice.


def test_a_cell_that_was_run_twice_says_so_everywhere():
    made = [result(retried="qemu died of SIGSEGV"), result(Verdict.MISMATCH, scenario="b", retried="it hung")]
    passed, failed = parsed_junit(made)
    assert "qemu died of SIGSEGV" in passed.system_out
    assert "it hung" in failed.system_out
    text = markdown.render(made, EMPTY, RUN)
    assert "Cells run twice, for the emulator failed (2)" in text
    assert "qemu died of SIGSEGV" in text
    out = io.StringIO()
    terminal.show(made, EMPTY, Console(file=out, width=200))
    assert (
        "pass arm64/stub/zig/unicorn/s: second attempt; in the first the emulator failed: qemu died" in out.getvalue()
    )
    ((variant,), _) = read_ktap(made)
    assert "qemu died of SIGSEGV" in variant.tests[0].tests[0].data
    ((_, event, *_),) = lanes([replace(made[0], began=1.7e9)]).values()
    assert event["args"] == {"first attempt": "qemu died of SIGSEGV"}


@settings(max_examples=50)
@given(several)
def test_no_name_and_no_reason_acts_on_a_terminal(results):
    out = io.StringIO()
    terminal.show(results, EMPTY, Console(file=out, width=200), verbose=True)
    assert all(part.isprintable() for part in out.getvalue().replace("\t", "").split("\n"))


# An explanation where the guest is not.


@pytest.fixture
def lost(guest):
    """``lost(mechanism)``: a mismatch of arm64, with the code of its guest."""

    def make(mechanism):
        built = guest(mechanism)
        start, size = built.patched
        before = built.bytes_at(start, size)
        code = Code(start, before.hex(), (b"\x1f\x20\x03\xd5" + before[4:]).hex())
        made = result(Verdict.MISMATCH, mechanism=mechanism, reason="differs", scenario="update_then_call")
        return replace(made, code=code, image=built.sha256)

    return make


@pytest.fixture
def suite():
    explain._image.cache_clear()
    yield plan.make(plan.Selection(arch=["arm64"], engine=["unicorn"]))
    explain._image.cache_clear()


def test_code_is_shown_with_names_where_its_guest_is(lost, suite):
    text = explain.explain(lost("stub"), suite)
    assert re.search(r"b 0x[0-9a-f]+ <default_0>", text)
    assert re.search(r"> 0x[0-9a-f]+: 1f2003d5 +nop", text)


def test_a_data_slot_is_shown_where_it_lies(lost, suite):
    lines = explain.explain(lost("stub"), suite).splitlines()
    start = lines.index("  whatever_0 as linked:") + 1
    addresses = [int(text.split(":")[0], 16) for text in lines[start : start + 7]]
    assert addresses == sorted(addresses)
    assert sum(text.endswith(" default_0") for text in lines[start : start + 7]) == 1


@pytest.mark.parametrize("mechanism", ["pointer", "stub", "relocated"])
def test_code_is_shown_without_names_where_its_guest_cannot_be_built(lost, suite, monkeypatch, mechanism):
    made = lost(mechanism)

    def missing(_):
        raise MissingToolError("aarch64-linux-gnu-gcc", "apt-get install gcc-aarch64-linux-gnu")

    monkeypatch.setattr(build, "image", missing)
    text = explain.explain(made, suite)
    assert "its guest cannot be built here: aarch64-linux-gnu-gcc is missing" in text
    assert "default_0" not in text
    assert "whatever_0 as linked:" in text
    assert "> 0x" in text
    if mechanism != "pointer":
        assert re.search(r"0x[0-9a-f]+: [0-9a-f]{8} +b 0x[0-9a-f]+$", text, re.MULTILINE)


def test_names_of_another_guest_than_the_one_that_ran_are_not_shown(lost, suite):
    text = explain.explain(replace(lost("stub"), image="f" * 64), suite)
    assert "the sources here make another guest" in text
    assert "default_0" not in text
    assert "whatever_0 as linked:" in text


@pytest.mark.parametrize("name", list(arch_toml.load()))
def test_every_variants_code_can_be_shown_without_its_guest(name):
    variant = arch_toml.load()[name]
    before = bytes(range(256))
    for mechanism in (*mechanisms.load().values(), None):  # None: another farm's
        blocks = disassemble.patched(variant, mechanism, 0x1000, before, bytes(256))
        assert not any(changed for changed, _ in blocks[0].lines)
        assert any(changed for changed, _ in blocks[1].lines)
        lines = disassemble.listing(blocks)
        assert lines[0] == "whatever_0 as linked:"
        assert lines[1].startswith("    0x1000: ")
        assert any(shown.startswith("  > 0x1000: ") for shown in lines)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"variant": "mine"}, "mine is none of the variants here; --arch-path names its folder"),
        ({"toolchain": "tcc"}, "arm64 has no stub built by tcc"),
        ({"mechanism": "magic"}, "arm64 has no magic built by zig"),
    ],
)
def test_results_of_a_farm_with_other_names_are_explained_as_far_as_can_be(lost, suite, changed, said):
    made = lost("stub")
    assert said in explain.explain(replace(made, cell=replace(made.cell, **changed)), suite)


def test_code_that_is_not_hexadecimal_is_said_to_be_so(lost, suite):
    assert "not hexadecimal" in explain.explain(replace(lost("stub"), code=Code(0, "code", None)), suite)


def test_a_refusal_and_an_abi_violation_are_put_in_words(lost, suite):
    scenario = suite.scenarios["update_then_call"]
    events = list(model.predict(scenario))
    refused = [events[0]._replace(value=3), *events[1:]]
    text = explain.explain(replace(lost("stub"), observed=refused), suite)
    assert f"event 0 of {len(events)} is the first that differs" in text
    assert "foreign: the bytes at the stub are not what this mechanism wrote there" in text
    number = next(i for i, event in enumerate(events) if event.kind == "return")
    events[number] = events[number]._replace(abi=1 << 3 | 1 << 22)
    text = explain.explain(replace(lost("stub"), observed=events), suite)
    assert "ABI violations 0x400008: callee-saved register 3, kept-flags" in text
