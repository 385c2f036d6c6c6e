"""Reports: made from results alone, and never broken by what a result says."""

from __future__ import annotations

import dataclasses
import io
import xml.etree.ElementTree as ET
from functools import partial

import helpers
import junitparser
import pytest
from msgspec.structs import replace
from rich.console import Console

from farm.cell import Verdict
from farm.report import agreement, by_kind, junit, reasons, terminal, totals, unwitnessed, witnesses
from farm.run import plan
from farm.run.journal import describe
from farm.run.verdict import Code
from farm.scenario import Defect, Target, wire
from farm.scenario.model import predict

result = partial(helpers.result, scenario="supersede_then_restore")


@pytest.fixture(scope="module")
def suite():
    return plan.make(plan.Selection(arch=["arm64"], engine=["unicorn"]))


def shown(results, suite, **options):
    out = io.StringIO()
    terminal.show(results, suite, Console(file=out, width=150), **options)
    return out.getvalue()


def test_an_insensitive_pass_is_counted_apart_from_a_pass(suite):
    text = shown([result(), result(Verdict.PASS_INSENSITIVE, scenario="patch_then_call_at_once")], suite)
    assert "1✓ 1≈" in text
    assert "1 pass, 1 pass-insensitive" in text


def test_a_scenario_that_no_engine_could_have_failed_names_the_proof_that_can(suite):
    weak = result(Verdict.PASS_INSENSITIVE, scenario="patch_then_call_at_once", sensitive=False)
    line = "patch_then_call_at_once: no engine that it ran on could have shown stale-fetch; "
    assert f"{line}farm prove coherence and farm prove rules can, under Unicorn" in shown([weak, result()], suite)
    elsewhere = replace(weak, cell=replace(weak.cell, engine="qemu-user:max"), sensitive=True)
    assert witnesses([weak, elsewhere]) == {"patch_then_call_at_once": ["qemu-user"]}
    assert "could have shown" not in shown([weak, elsewhere], suite)


def test_a_scenario_that_did_not_run_is_witnessed_by_nobody():
    assert witnesses([result(Verdict.NOT_RUN, reason="no qemu"), result(Verdict.BUILD_ERROR, expected=None)]) == {}


def test_of_a_defect_that_nothing_shows_that_is_said(suite):
    name = "supersede_then_restore"
    lost = dataclasses.replace(suite.scenarios[name], detects=frozenset({Defect.LOST_PATCH}))
    bare = plan.Plan(suite.cells, {name: lost}, suite.variants)
    line = f"{name}: no engine that it ran on could have shown lost-patch; no proof of the farm's can either"
    assert unwitnessed([result(scenario=name, sensitive=False)], bare) == [line]


def test_reasons_are_counted():
    holes = [result(Verdict.NOT_RUN, scenario=name, reason="no qemu") for name in "abc"]
    assert reasons(holes) == [("not-run: no qemu", 3)]


@pytest.mark.parametrize(
    ("traces", "wanted"),
    [
        (("aa", "aa"), (1, 1)),
        (("aa", "bb"), (1, 0)),
        (("aa", None), (1, 0)),
        ((None, None), (1, 0)),
        (("aa",), (0, 0)),
    ],
)
def test_agreement_needs_one_and_the_same_trace_in_every_cell(traces, wanted):
    verdicts = [Verdict.PASS if trace == "aa" else Verdict.MISMATCH for trace in traces]
    cells = [result(v, trace=t, variant=f"v{i}") for i, (v, t) in enumerate(zip(verdicts, traces, strict=True))]
    assert agreement(cells) == wanted


def test_the_first_failure_of_each_kind_comes_first():
    failures = [result(Verdict.MISMATCH, scenario=name) for name in "abc"]
    failures += [result(Verdict.CRASH, scenario="d"), result(Verdict.MISMATCH, mechanism="relocated", scenario="e")]
    assert [failure.cell.scenario for failure in by_kind(failures)] == ["a", "d", "e", "b", "c"]


def test_totals_name_every_verdict_that_occurs():
    assert totals([result(), result(Verdict.FLAKY)]) == "1 pass, 1 flaky"


def test_a_failure_is_explained_with_events_code_and_reproducer(suite):
    events = list(predict(suite.scenarios["supersede_then_restore"]))
    events[3] = events[3]._replace(target=wire.target_word(0, Target.OTHER))
    failing = result(Verdict.MISMATCH, reason="event 3", trace="bb")
    text = shown([replace(failing, observed=events, reproduce="farm run --arch arm64")], suite)
    assert "BS-03" in text
    assert "- step 2: enter whatever_0 -> fast" in text
    assert "+ step 2: enter whatever_0 -> other" in text
    assert "reproduce: farm run --arch arm64" in text


def test_only_the_first_failures_are_explained_unless_asked(suite):
    failures = [result(Verdict.CRASH, scenario=f"s{i}", reason="it died") for i in range(8)]
    assert shown(failures, suite).count("it died") == 5
    assert "3 more cells failed" in shown(failures, suite)
    assert shown(failures, suite, verbose=True).count("it died") == 8


def test_junit_tells_failures_errors_and_skips_apart(suite):
    results = [
        result(),
        result(Verdict.MISMATCH, scenario="a", reason="differs"),
        result(Verdict.ENGINE_ERROR, scenario="b", reason="died"),
        result(Verdict.NOT_APPLICABLE, scenario="c", reason="cannot"),
    ]
    (only,) = junitparser.JUnitXml.fromroot(ET.fromstring(junit.render(results, suite, describe(suite))))
    assert (only.tests, only.failures, only.errors, only.skipped) == (4, 1, 1, 1)
    assert [case.classname for case in only] == ["arm64.stub.zig.unicorn"] * 4


def test_code_that_was_lost_with_its_guest_is_said_to_be_unknown(suite, guest):
    image = guest("stub")
    start, size = image.patched
    made = result(Verdict.CRASH, reason="guest died")
    code = Code(start, image.bytes_at(start, size).hex(), None)
    text = shown([replace(made, code=code)], suite)
    assert "the guest did not live to say" in text


def test_a_scenario_without_a_negative_control_says_so(suite):
    name = "supersede_then_restore"
    torn = dataclasses.replace(suite.scenarios[name], detects=frozenset({Defect.TORN_STORE}))
    bare = plan.Plan(suite.cells, {name: torn}, suite.variants)
    assert "has no negative control under pointer" in shown([result(mechanism="pointer")], bare)
    assert "no negative control" not in shown([result()], suite)
