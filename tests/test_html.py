"""The HTML report: everything is in it, in little room, and no name leads out of its place."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import shlex
import subprocess
import sys
import time
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import helpers
import msgspec
import pytest
from helpers import RUN
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from farm import scenario
from farm.cell import Cell, Verdict
from farm.measure import cost, coverage
from farm.report import Material, html, payload
from farm.report.table import Field, Table
from farm.run import plan, verdict
from farm.run.plan import Plan
from farm.run.verdict import Code, Result
from farm.scenario import Target, layout, model, prose, walk, wire
from farm.scenario.steps import OPS

NAME = "supersede_then_restore"


@pytest.fixture(scope="module")
def suite():
    return plan.make(plan.Selection(arch=["arm64"], engine=["unicorn"]))


cell = partial(helpers.cell, scenario=NAME)
result = partial(helpers.result, scenario=NAME, seconds=0.000025)


def mismatch(suite, *, scenario=NAME, code=None, **others):
    """A cell that left another event than the model says, where it first entered a target."""
    events, digest = list(model.predict(suite.scenarios[scenario])), "0123456789abcdef"
    at = next(i for i, event in enumerate(events) if event.kind == "enter")
    expected = verdict.digest(events)
    reason = verdict.first_difference(events, [*events[:at], events[at]._replace(abi=1 << 18)])
    events[at] = events[at]._replace(abi=1 << 18)
    made = result(Verdict.MISMATCH, scenario=scenario, reason=reason, trace=digest, expected=expected, **others)
    return replace(made, observed=events, code=code)


def data_of(document):
    found = re.search(rb'<script type="application/json" id="data">(.*?)</script>', document, re.DOTALL)
    return json.loads(found[1])


def text_of(document):
    """What can be read of the page before its script runs."""

    class Text(HTMLParser):
        def __init__(self):
            super().__init__()
            self.found, self.inside = [], []

        def handle_starttag(self, tag, _):
            if tag in ("script", "style"):
                self.inside.append(tag)

        def handle_endtag(self, tag):
            if tag in ("script", "style"):
                self.inside.pop()

        def handle_data(self, data):
            if not self.inside:
                self.found.append(data)

    parser = Text()
    parser.feed(document.decode())
    return " ".join(" ".join(parser.found).split())


def rendered(results, plan_, **others):
    return html.render(Material(RUN, results, plan_, **others))


# Words.


@pytest.mark.parametrize("kind", OPS)
def test_there_are_words_for_every_kind_of_step(kind, suite):
    there = {type(step) for made in suite.scenarios.values() for step in walk(made.steps)}
    assert kind in there, "no scenario of the suite has this step"


def test_every_scenario_of_the_suite_can_be_said_a_line_a_step(suite):
    for made in suite.scenarios.values():
        lines = list(prose.lines(made.steps))
        assert len(lines) == sum(map(model.size, made.steps))
        assert all(text and text[0].isupper() and "None" not in text for _, text in lines), lines
        assert all(deep - before <= 1 for (before, _), (deep, _) in zip([(0, ""), *lines], lines, strict=False))


def test_steps_are_nested_and_numbered_as_events_name_them():
    steps = (
        scenario.loop(100, scenario.patch(0, "far"), scenario.call(0, 70000, "tail")),
        scenario.call(1, 2, "recursive", count=3, at=1, inside=(scenario.restore(1),)),
        scenario.call(8, scenario.piece(64, 3, more=True)),
        scenario.patch(2, Target.MISALIGNED, 1),
    )
    assert list(prose.lines(steps)) == [
        (0, "Repeat 100 times:"),
        (1, "Lead whatever_0 to far, which no near branch reaches"),
        (1, "Call whatever_0(0x11170) as a tail call"),
        (0, "Call whatever_1(2) through a target that calls it again, 3 levels deep, inside the target, 1 level down:"),
        (1, "Restore whatever_1"),
        (0, "Call whatever_8(crc_t10dif of 64 bytes from 3, going on) and use the value"),
        (0, "Lead whatever_2 to the middle of an instruction, 1 byte past its beginning"),
    ]


# What is embedded.


def test_every_cell_can_be_told_from_the_columns(suite):
    results = [
        result(),
        result(Verdict.PASS_INSENSITIVE, engine="qemu-user"),
        result(Verdict.NOT_APPLICABLE, scenario="doubles", reason="no doubles"),
        replace(mismatch(suite, variant="arm64be"), retried="the emulator died"),
    ]
    made = data_of(rendered(results, suite))
    cells, seen = made["cells"], []
    for i in range(len(results)):
        *guest, image = made["guests"][cells["guest"][i]]
        seen.append(
            (
                Cell(made["scenarios"][cells["scenario"][i]]["name"], *guest),
                made["verdicts"][cells["verdict"][i]][0],
                made["texts"][cells["reason"][i]],
                made["digests"][cells["trace"][i]],
                made["digests"][cells["expected"][i]],
                image,
                cells["micros"][i] / 1e6,
            )
        )
    assert seen == [(r.cell, str(r.verdict), r.reason or "", r.trace, r.expected, r.image, r.seconds) for r in results]
    assert {i: made["texts"][text] for i, text in made["retried"].items()} == {"3": "the emulator died"}


def test_a_scenario_carries_its_steps_and_the_trace_that_the_model_predicts(suite):
    events = model.predict(suite.scenarios[NAME])
    made = data_of(rendered([result(expected=verdict.digest(events))], suite))
    (only,) = made["scenarios"]
    assert (only["id"], only["group"]) == ("BS-03", "basic semantics")
    assert [made["texts"][text] for _, text in only["steps"]][:2] == [
        "Call whatever_0(5) and use the value",
        "Lead whatever_0 to fast",
    ]
    assert [made["texts"][text] for text in only["traces"][verdict.digest(events)]] == list(map(str, events))


def test_a_trace_that_this_farm_does_not_predict_is_not_shown_as_expected(suite):
    made = data_of(rendered([result(expected="another")], suite))
    assert made["scenarios"][0]["traces"] == {}


def test_each_kind_of_cpu_has_its_expected_trace():
    both = plan.make(plan.Selection(arch=["riscv64"], mechanism=["stub"], scenario=["crc_dispatch"]))
    results = []
    for planned in both.cells:
        features = both.variants["riscv64"].features(planned.cell.engine)
        digest = verdict.digest(model.predict(both.scenarios["crc_dispatch"], features))
        results.append(Result(planned.cell, Verdict.PASS, None, digest, digest, None, None, 0.0, sensitive=True))
    wanted = {made.expected for made in results}
    assert len(wanted) == 2
    assert set(data_of(rendered(results, both))["scenarios"][0]["traces"]) == wanted


def test_a_failing_cell_carries_what_it_left_and_its_code_before_and_after(suite, guest):
    image = guest("stub")
    start, size = image.patched
    before = image.bytes_at(start, size)
    after = before[:7] + b"\x15" + before[8:]  # of the jump, behind the landing pad
    failing = replace(mismatch(suite, code=Code(start, before.hex(), after.hex())), image=image.sha256)
    made = data_of(rendered([result(), failing], suite))
    assert list(made["pages"]) == ["1"]
    page = made["pages"]["1"]
    first = next(i for i, event in enumerate(failing.observed) if event.abi)
    assert page["differs"] == first
    assert "ABI violations 0x40000" in made["texts"][page["seen"][first]]
    violated = ", ".join(prose.violations(failing.observed[first]))
    assert [made["texts"][note] for note in page["notes"]] == [f"ABI violations 0x40000: {violated}"]
    (linked, old), (now, new) = page["code"]
    assert (linked, now) == ("whatever_0 as linked:", "whatever_0 after the cell:")
    changed = [made["texts"][line] for marked, line in new if marked]
    assert changed == [made["texts"][new[1][1]]]
    assert "<default_0>" in made["texts"][old[1][1]]


def test_nothing_is_marked_where_the_trace_that_was_seen_is_no_other(suite):
    events = list(model.predict(suite.scenarios[NAME]))
    dropped = replace(result(Verdict.MISMATCH, reason="3 events were dropped"), observed=events)
    unknown = replace(result(Verdict.MISMATCH, scenario="gone", reason="?"), observed=events[:1])
    shorter = replace(dropped, cell=cell(engine="qemu-user"), observed=events[:-1])
    pages = data_of(rendered([dropped, unknown, shorter], suite))["pages"]
    assert [page.get("differs") for page in pages.values()] == [None, None, len(events) - 1]


def test_the_first_failure_of_each_scenario_and_variant_has_a_page_before_others_have(suite):
    names = list(suite.scenarios)[:2]
    many = [mismatch(suite, scenario=NAME, engine=f"e{i}") for i in range(payload.PAGES + 50)]
    late = [mismatch(suite, scenario=name, variant=variant) for name in names for variant in ("a", "b")]
    made = data_of(rendered([*many, *late], suite))
    numbers = set(map(int, made["pages"]))
    assert len(numbers) == payload.PAGES
    assert {len(many) + i for i in range(len(late))} <= numbers
    assert set(range(payload.PAGES - len(late))) <= numbers
    assert made["bad"] == len(many) + len(late)


def test_every_cell_can_be_run_again_by_a_command_of_its_own(suite):
    selection = plan.Selection(arch_path=(Path("/tmp/a b"),))
    options = "--arch-path '/tmp/a b'"
    failing = replace(result(Verdict.CRASH, reason="died"), reproduce=verdict.reproducer(cell(), options))
    other = replace(result(Verdict.CRASH, reason="died", engine="qemu-user"), reproduce="make it so")
    given = dataclasses.replace(suite, selection=selection)
    made = data_of(rendered([result(scenario="doubles"), failing, other], given))
    template = made["command"]
    for name in ("variant", "mechanism", "toolchain", "engine", "scenario"):
        template = template.replace(f"{{{name}}}", getattr(cell(scenario="doubles"), name))
    assert shlex.split(template)[2:4] == ["--arch-path", "/tmp/a b"]
    assert template == verdict.reproducer(cell(scenario="doubles"), options)
    assert made["commands"] == {"2": "make it so"}


def test_what_another_checkout_s_run_needs_stays_with_its_cells(suite):
    there = verdict.reproducer(cell(), "--arch-path elsewhere")
    made = data_of(rendered([result(), replace(result(Verdict.CRASH, reason="died"), reproduce=there)], suite))
    assert "--arch-path" not in made["command"]
    assert made["commands"] == {"1": there}


def synthetic(suite, count, make=result, **others):
    """Cells as a large run has them."""
    variants = [f"variant{i}" for i in range(count // (len(suite.scenarios) * 8) + 1)]
    made = []
    for variant in variants:
        for mechanism in ("pointer", "stub", "relocated", "other"):
            for engine in ("unicorn", "qemu-user"):
                for name in suite.scenarios:
                    where = {"scenario": name, "variant": variant, "mechanism": mechanism, "engine": engine}
                    made.append(make(**where, **others))
    return made[:count]


def test_20000_cells_take_less_than_two_megabytes_and_a_second(suite):
    results = [
        replace(made, trace=digest, expected=digest, seconds=0.000017 + i % 997 / 1e6, image=f"{i // 95:064x}")
        for i, made in enumerate(synthetic(suite, 20_000))
        for digest in [verdict.expected(suite.scenarios[made.cell.scenario], frozenset(), big_endian=False)[2]]
    ]
    rendered(results[:10], suite)
    before = time.process_time()
    document = rendered(results, suite)
    assert len(results) == 20_000
    assert time.process_time() - before < 4  # some 0.4 on a quiet machine
    assert len(document) < 2_000_000


def test_20000_cells_that_all_failed_take_less_than_two_megabytes_and_a_half(suite):
    long = [wire.Event("enter", i, i, i, i, 0, 0, 0) for i in range(layout.TRACE_EVENTS)]
    results = [
        replace(made, observed=[event._replace(value=i) for event in long] if i < 40 else long)
        for i, made in enumerate(synthetic(suite, 20_000, result, verdict=Verdict.MISMATCH, reason="x" * 3000))
    ]
    document = rendered(results, suite)
    pages = data_of(document)["pages"]
    assert pages
    assert len(document) < 2_500_000


# What can be read without a script.


def test_the_first_screen_says_how_it_went_with_what(suite):
    fine = text_of(rendered([result(), result(Verdict.NOT_APPLICABLE, scenario="doubles", reason="none")], suite))
    assert "The one cell that ran is as expected" in fine
    assert "unicorn 2.1.2" in fine
    bad = text_of(rendered([result(), result(Verdict.CRASH, reason="died", engine="qemu-user")], suite))
    assert "1 of 2 cells is not as expected" in bad
    assert "✗ crash died" in bad
    missing = text_of(rendered([result(Verdict.NOT_RUN, reason="no qemu"), result()], suite))
    assert "The one cell that ran is as expected; 1 could not run here" in missing
    assert "No cell ran; 1 could not run here" in text_of(rendered([result(Verdict.NOT_RUN, reason="no qemu")], suite))


def squares(document):
    found = re.findall(r'<a class="square (\w+)" href="([^"]+)">(.*?)</a>', document.decode())
    return [(look, href.replace("&amp;", "&"), re.sub(r"<[^>]*>", "", inside)) for look, href, inside in found]


def test_the_grid_counts_and_tells_an_insensitive_pass_from_a_pass(suite):
    results = [
        result(),
        result(Verdict.PASS_INSENSITIVE, scenario="doubles"),
        result(Verdict.PASS_INSENSITIVE, engine="qemu-user:no-clmul"),
        result(Verdict.FLAKY, variant="arm64be", reason="?"),
        result(Verdict.PASS, variant="arm64be", scenario="doubles"),
        result(Verdict.NOT_RUN, variant="arm64be", engine="qemu-user:no-clmul", reason="none"),
    ]
    assert squares(rendered(results, suite)) == [
        ("pass", "#variant=arm64&mechanism=stub&engine=unicorn", "1✓ 1≈"),
        ("weak", "#variant=arm64&mechanism=stub&engine=qemu-user%3Ano-clmul", "1≈"),
        ("flaky", "#variant=arm64be&mechanism=stub&engine=unicorn", "1✓ 1?"),
        ("missing", "#variant=arm64be&mechanism=stub&engine=qemu-user%3Ano-clmul", "1○"),
    ]


def test_columns_in_which_no_cell_ran_are_folded_away_last_of_their_mechanism(suite):
    engines = ("unicorn", "qemu-user:bti", "qemu-user")
    made = [
        result(Verdict.NOT_APPLICABLE if "bti" in engine else Verdict.PASS, reason="no BTI", mechanism=m, engine=engine)
        for m in ("pointer", "stub")
        for engine in engines
    ]
    document = rendered(made, suite).decode()
    assert "<summary>2 columns in which no cell ran (pointer, stub on qemu-user:bti): not-applicable: no" in document
    heads = re.findall(r'<th colspan="(\d)" scope="colgroup" class="([^"]+)"><a[^>]*>(\w+)', document)
    assert heads == [
        ("2", "begins", "pointer"),
        ("1", "begins folded", "pointer"),
        ("2", "begins", "stub"),
        ("1", "begins folded", "stub"),
    ]
    assert document.count('<td class="begins folded">') == 2
    assert "By engine" not in document


def test_a_grid_of_many_columns_comes_after_one_with_engines_added_up(suite):
    made = [result(mechanism=f"m{m}", engine=e) for m in range(7) for e in ("unicorn", "qemu-user")]
    made[3] = replace(made[3], verdict=Verdict.CRASH)
    document = rendered(made, suite)
    overview, by_engine = squares(document)[:7], squares(document)[7:]
    assert overview[0] == ("pass", "#variant=arm64&mechanism=m0", "2✓")
    assert overview[1] == ("fail", "#variant=arm64&mechanism=m1", "1✓ 1✗")
    assert by_engine[3] == ("fail", "#variant=arm64&mechanism=m1&engine=qemu-user", "1✗")
    assert len(by_engine) == 14
    assert "By engine" in text_of(document)


def test_a_square_of_a_variant_with_two_toolchains_leads_to_one_of_them(suite):
    found = squares(rendered([result(), result(toolchain="gcc")], suite))
    assert [href for _, href, _ in found] == [
        f"#variant=arm64&toolchain={name}&mechanism=stub&engine=unicorn" for name in ("zig", "gcc")
    ]


@pytest.mark.parametrize("made", list(Verdict))
def test_every_verdict_has_a_look_and_a_mark(made, suite):
    document = rendered([result(made, reason="because")], suite)
    assert squares(document)[0][0] == payload.LOOKS[made]
    assert f".square.{payload.LOOKS[made]}" in document.decode()


def test_holes_are_listed_with_their_reasons_the_commonest_first(suite):
    results = [result(Verdict.NOT_APPLICABLE, scenario="a", reason="rare")]
    results += [result(Verdict.NOT_RUN, scenario=name, reason="qemu-x is missing") for name in "bcd"]
    text = text_of(rendered(results, suite))
    assert "3 ○ not-run qemu-x is missing 1 – not-applicable rare" in text


def test_failures_are_told_by_the_first_line_of_their_reason(suite):
    said = "stub.c does not compile\n  command: zig cc -c {}\nstub.c:1:1: error: expected ';'\n"
    results = [result(Verdict.BUILD_ERROR, scenario=name, reason=said.format(name)) for name in "abc"]
    document = rendered([*results, result(Verdict.CRASH, reason="died")], suite)
    text = text_of(document)
    assert (
        "3 ✗ build-error stub.c does not compile stub.c:1:1: error: expected ';' arm64 stub 1 ✗ crash died arm64 stub"
    ) in text
    assert b'#verdict=build-error&amp;reason=stub.c%20does%20not%20compile"' in document


def test_failures_that_differ_only_in_event_and_step_are_of_one_kind_with_where_they_are(suite):
    said = "event {0}: expected [step {0}: patch whatever_0 -> fast, ok], seen [step {0}: patch whatever_0 -> fast, no]"
    results = [
        result(
            Verdict.MISMATCH, scenario=name, variant=f"v{number % 2}", mechanism=mechanism, reason=said.format(number)
        )
        for number, name in enumerate("abcd")
        for mechanism in ("stub", "relocated")
    ]
    results += [result(Verdict.TIMEOUT, variant=f"v{number}", reason="no answer") for number in range(7)]
    text = text_of(rendered(results, suite))
    kind = "expected [patch whatever_0 -> fast, ok], seen [patch whatever_0 -> fast, no]"
    assert f"8 ✗ mismatch {kind} v0, v1 stub, relocated 7 ✗ timeout no answer 7 variants stub" in text
    assert "more kind" not in text
    others = [result(Verdict.CRASH, scenario=name, reason=name) for name in "abcdefg"]
    assert "and 1 more kind of failure" in text_of(rendered(others, suite))


def test_cells_that_ran_twice_are_counted_on_the_first_screen(suite):
    document = rendered([result(), replace(result(engine="qemu-user"), retried="qemu died")], suite)
    assert "started again for 1 cell ; the verdict is that of the second attempt" in text_of(document)
    assert b'href="#retried=yes"' in document
    assert "started again" not in text_of(rendered([result()], suite))


def test_cells_that_never_ran_agree_with_none(suite):
    lost = [result(Verdict.ENGINE_ERROR, reason="no result", trace=None, expected=None, engine=f"e{i}") for i in "ab"]
    assert "No cell left a trace." in text_of(rendered(lost, suite))
    assert "3 1 ✓ one" not in text_of(rendered([*lost, result()], suite))
    assert "1 1 one cell: nothing to compare" in text_of(rendered([*lost, result()], suite))


def test_agreement_is_one_trace_or_a_list_of_who_differs(suite):
    results = [result(variant=name, expected="aa") for name in ("a", "b", "c")]
    assert "BS-03 supersede_then_restore 3 1 ✓ one and the same aa" in text_of(rendered(results, suite))
    results[1] = result(Verdict.MISMATCH, variant="b", trace="bb")
    results += [result(Verdict.CRASH, variant="d", trace=None), result(variant="e", trace="cc", expected="cc")]
    text = text_of(rendered(results, suite))
    assert "4 3 ✗ 2 of 4" in text
    assert f"b/stub/zig/unicorn/{NAME} mismatch, trace bb d/stub/zig/unicorn/{NAME} crash, no trace" in text
    assert "1 1 one cell: nothing to compare cc" in text


def test_costs_are_a_table_and_bars(suite):
    counts = {"direct": 7, "dispatch": 9, "branch": 10, "retpoline": None, "pointer": 11, "stub": 8, "relocated": 7}
    costs = [
        cost.Cost("arm64", "zig", "0.17.1", "unicorn", counts, "the call site stays"),
        cost.Cost("arm64", "gcc", "12", "unicorn", {**counts, "pointer": 20}),
        cost.Cost("alpha", "gcc", reason="nothing tells paths"),
    ]
    document = rendered([result()], suite, costs=costs)
    text = text_of(document)
    assert "arm64 zig 7 9 +2 10 +3 11 +4 8 +1 7 the call site stays" in text
    assert "alpha/gcc: nothing tells paths" in text
    assert "pointer +8.5 , from 4 to 13, 2 guests" in text
    assert document.count(b"<rect ") == 6


def test_coverage_is_a_row_a_file_with_what_was_not_reached_and_why(suite):
    def unit(variant, lines, branches):
        source = coverage.Source("arch/arm64/patch.c", lines, branches, {7: "never refused", 8: "never refused"})
        return coverage.Unit(variant, "stub", "zig", "unicorn", (source,))

    made = coverage.Coverage(
        coverage.SCHEMA,
        "0.1.0",
        (
            unit("arm64", {5: 1, 6: 0, 7: 0, 8: 0, 9: 0}, (coverage.Branch(5, 0, 2), coverage.Branch(5, 1, 0))),
            unit("arm64be", {5: 1, 6: 3, 7: 0, 8: 0, 9: 0}, (coverage.Branch(5, 0, 1),)),
            coverage.Unit("alpha", "stub", "gcc", None, reason="no alpha guest"),
        ),
    )
    text = text_of(rendered([result()], suite, coverage=made))
    assert (
        "arch/arm64/patch.c 2 30.0 % 3/10 66.7 % 2/3 6 on arm64 ✗ no reason given "
        "7-8 on arm64, arm64be never refused 9 on arm64, arm64be ✗ no reason given"
    ) in text
    assert "✗ arch/arm64/patch.c:6: not reached on arm64; a scenario should" in text
    assert "alpha/stub/gcc: no alpha guest" in text


def test_tables_are_shown_with_marks(suite):
    row = (Field("no-patch"), Field("9/9", "good"), Field("0/2", "weak"), Field("1/2", "bad"))
    table = Table("calibration", "Calibration", "who noticed", ("control", "a", "b", "c"), (row,), ("a note",))
    text = text_of(rendered([result()], suite, tables=[table]))
    assert "Calibration who noticed control a b c no-patch ✓ 9/9 ≈ 0/2 ✗ 1/2 a note" in text


def test_what_is_not_there_says_which_command_makes_it(suite):
    text = text_of(rendered([result()], suite))
    for name in ("cost", "coverage", "calibrate"):
        assert f"farm {name} --output DIR measures this" in text


def test_every_scenario_says_which_engine_or_proof_could_have_shown_its_defect(suite):
    weak = result(Verdict.PASS_INSENSITIVE, scenario="patch_then_call_at_once", sensitive=False)
    document = rendered([result(), weak], suite)
    shown_by = {each["name"]: each["shown_by"] for each in data_of(document)["scenarios"]}
    assert shown_by == {NAME: ["unicorn"], "patch_then_call_at_once": ["farm prove coherence", "farm prove rules"]}
    assert "patch_then_call_at_once: no engine that it ran on could have shown stale-fetch" in text_of(document)


def test_complaints_are_at_the_top(suite):
    text = text_of(rendered([result()], suite, complaints=["line 3 was cut off"]))
    assert text.index("line 3 was cut off") < text.index("cells that ran")


def test_a_scenario_without_a_negative_control_says_so(suite):
    torn = dataclasses.replace(suite.scenarios[NAME], detects=frozenset({scenario.Defect.TORN_STORE}))
    bare = Plan(suite.cells, {NAME: torn}, suite.variants)
    assert f"{NAME} has no negative control under pointer" in text_of(rendered([result(mechanism="pointer")], bare))


def test_results_of_a_suite_that_is_not_here_are_reported(suite):
    made = data_of(rendered([result(Verdict.CRASH, scenario="gone", reason="died"), result()], suite))
    assert [found["name"] for found in made["scenarios"]] == [NAME, "gone"]
    assert made["pages"] == {"0": {}}


# One file, and nothing in it that a result brought.


def test_it_needs_nothing_else_and_only_its_own_script_may_run(suite):
    text = rendered([result()], suite).decode()
    static = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert set(re.findall(r"""\b(?:src|href)=(["']?.)""", static)) == {'"#'}
    assert not re.search(r"@import|url\(", text)
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in text.replace("&#39;", "'")


class Shape(HTMLParser):
    """The elements and the names of their attributes, in order."""

    def __init__(self, document):
        super().__init__()
        self.found = []
        self.feed(document.decode())

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, tuple(name for name, _ in attrs)))

    def handle_endtag(self, tag):
        self.found.append(tag)

    def handle_comment(self, _):
        self.found.append("comment")


HOSTILE = [
    "</script><script>x()</script>",
    "<!--<script>",
    "]]>",
    "\u2028\u2029",
    "\"'`",
    "a\nb\r",
    "&lt;&amp;",
    "\x00\x1b",
]
hostile = st.text(max_size=30) | st.sampled_from(HOSTILE)


@settings(max_examples=60)
@given(texts=st.tuples(*[hostile] * 7))
def test_no_name_and_no_reason_changes_the_page(texts):
    def document(name, title, variant, reason, retried, complaint, version):
        bare = scenario.Scenario("BS-99", name, title, (scenario.call(0),), frozenset({scenario.Defect.LOST_PATCH}))
        engine = variant.replace(":", ".")  # what is behind a colon has a line of its own
        failing = result(Verdict.CRASH, reason=reason, scenario=name, variant=variant, engine=engine, toolchain=variant)
        failing = replace(failing, retried=retried or "x", reproduce=reason or "x")
        known = RUN.__class__(**{**msgspec.structs.asdict(RUN), "versions": {"unicorn": version.replace(" and ", "")}})
        table = Table("proof", title, reason, (name,), ((Field(name, "bad"),),), (variant,))
        costs = [cost.Cost(variant, name, instructions={"direct": 7, "stub": 8}, note=reason or "x")]
        source = coverage.Source(name or "x", {1: 0}, (), {1: reason or "x"})
        covered = coverage.Coverage(1, "", (coverage.Unit(variant, name, name, None, (source,), reason or "x"),))
        made = Plan((), {name: bare}, {})
        return html.render(Material(known, [failing], made, [complaint], costs, covered, [table]))

    made = document(*texts)
    plain = document("name", "title", "variant", "reason", "retried", "complaint", "version")
    assert Shape(made).found == Shape(plain).found
    found = data_of(made)
    assert found["scenarios"][0]["name"] == texts[0]
    assert found["scenarios"][0]["title"] == texts[1]
    assert found["guests"][0][0] == texts[2]
    assert found["texts"][found["cells"]["reason"][0]] == texts[3]
    block = re.search(rb'id="data">(.*?)</script>', made, re.DOTALL)[1]
    assert not re.search(rb"[<>&]|\xe2\x80[\xa8\xa9]", block)


# What is beside the results.


def test_what_other_commands_left_is_found(tmp_path):
    assert html.found(tmp_path) == html.Found()
    (tmp_path / "cost.json").write_bytes(msgspec.json.encode([cost.Cost("arm64", "zig")]))
    (tmp_path / "coverage.json").write_bytes(msgspec.json.encode(coverage.Coverage(coverage.SCHEMA, "0", ())))
    (tmp_path / "proof.json").write_bytes(msgspec.json.encode(Table("proof", "", "", (), ())))
    found = html.found(tmp_path)
    assert (len(found.costs), found.coverage.farm, len(found.tables), found.complaints) == (1, "0", 1, [])


def test_what_cannot_be_used_is_left_out_and_said(tmp_path):
    (tmp_path / "cost.json").write_text("{")
    (tmp_path / "coverage.json").write_text('{"schema": 99, "farm": "", "units": []}')
    (tmp_path / "calibration.json").write_bytes(b"\xff")
    found = html.found(tmp_path)
    assert (found.costs, found.coverage, found.tables) == ([], None, [])
    assert [Path(line.partition(":")[0]).name for line in found.complaints] == [
        "cost.json",
        "coverage.json",
        "calibration.json",
    ]
    assert "coverage of schema 99; this farm reads 1; it is left out" in found.complaints[1]


def test_a_run_and_a_report_of_it_both_write_the_page(tmp_path):
    def farm(*words_):
        done = subprocess.run([sys.executable, "-m", "farm", *words_], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    folder = tmp_path / "out"
    options = ["--arch", "arm64", "--engine", "unicorn", "--mechanism", "stub", "--scenario", NAME]
    farm("run", *options, "--output", str(folder))
    made = (folder / "report.html").read_bytes()
    assert "The one cell that ran is as expected" in text_of(made)
    (folder / "report.html").unlink()
    with (folder / "results.jsonl").open("a") as file:
        file.write('{"cell":')
    farm("report", str(folder))
    again = (folder / "report.html").read_bytes()
    assert "results.jsonl: line 3 was cut off" in text_of(again)
    assert data_of(again) == data_of(made)
