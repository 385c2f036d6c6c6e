"""Scenarios: the words they are written in, what makes one invalid, and what the suite promises of itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from farm import suite
from farm.engines import engines
from farm.errors import ScenarioFileError, UsageError
from farm.guest import arch_toml, mechanisms
from farm.guest.controls import CONTROLS, has_control
from farm.run.measured import blind_everywhere
from farm.scenario import (
    FUNCTIONS,
    Call,
    Kind,
    Loop,
    Patch,
    Shape,
    Target,
    call,
    loop,
    null,
    patch,
    piece,
    query,
    restore,
    ret0,
    substeps,
)
from farm.suite.absent import ABSENT

SOURCE = """
from farm.scenario import Defect, Scenario, call
SCENARIOS = (Scenario("{id}", "{name}", "", (call(0, 1),), frozenset({{Defect.LOST_PATCH}})),)
"""

TWICE = SOURCE.format(id="BS-90", name="twice") + SOURCE.format(id="BS-91", name="twice").replace("= (", "+= (")


def test_the_words_are_short_for_steps():
    assert call(0, 5, "tail") == Call(0, 5, Shape.TAIL)
    assert call(1, inside=(patch(1, "fast"),)) == Call(1, 0, Shape.USED, inside=(Patch(1, Target.FAST),))
    assert call(2, 1, Shape.LOOPED, count=3) == Call(2, 1, Shape.LOOPED, 3)
    assert patch(3, Target.FAR) == patch(3, "far") == Patch(3, Target.FAR)
    assert null(6) == Patch(6, Target.NULL)
    assert ret0(0) == Patch(0, Target.RET0)
    assert loop(2, query(0)) == Loop(2, (query(0),))


def test_only_calls_and_loops_have_steps_of_their_own():
    assert substeps(call(0, inside=(query(1),))) == (query(1),)
    assert substeps(loop(2, query(1), restore(0))) == (query(1), restore(0))
    assert substeps(patch(0, "fast")) == ()


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        (lambda: patch(0, "faster"), "unknown target 'faster': did you mean fast"),
        (lambda: patch(0, "qqq"), "unknown target 'qqq': valid are default, fast, other, far, null, ret0, stub"),
        (lambda: patch("fast", 0), "target 0 found; expected default, fast"),
        (lambda: call(0, 1, "qqq"), "unknown shape 'qqq': valid are used, ignored, tail"),
        (lambda: call(0, 1, None), "shape None found; expected used, ignored"),
        (lambda: piece(4097), "length of a piece: 4097 found; expected a whole number from 0 to 4096"),
        (lambda: piece(1.5), "length of a piece: 1.5 found"),
        (lambda: piece(1, -1), "start of a piece: -1 found"),
    ],
)
def test_a_word_that_does_not_exist_is_an_error_where_it_is_written(word, complaint):
    with pytest.raises(UsageError) as caught:
        word()
    assert str(caught.value).startswith(complaint)


def test_there_is_a_function_of_every_kind():
    assert len(FUNCTIONS) >= 8
    assert set(FUNCTIONS) == set(Kind)


def test_the_suite_has_fifteen_scenarios_or_more_from_each_group_of_the_first_frame():
    groups = [scenario.id.partition("-")[0] for scenario in suite.load().values()]
    assert len(groups) >= 15
    assert {"BS", "CS", "PT"} <= set(groups)


@pytest.mark.parametrize("scenario", suite.load().values(), ids=lambda scenario: scenario.id)
def test_a_scenario_of_the_suite_is_named_as_the_house_names_them(scenario):
    assert re.fullmatch(r"[A-Z]{2}-\d\d", scenario.id)
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", scenario.name)
    assert scenario.title
    assert not scenario.title.endswith(".")
    assert all(re.fullmatch(r"B\d+", bug) for bug in scenario.bugs)


@pytest.mark.parametrize("scenario", suite.load().values(), ids=lambda scenario: scenario.id)
def test_a_scenario_that_some_mechanisms_cannot_express_says_why(scenario):
    assert scenario.only is None  # it says what it needs, not who has it
    reasons = {name: mechanism.cannot_run(scenario) for name, mechanism in mechanisms.load().items()}
    assert reasons["relocated"] is None  # so that a control for each promise can be planted
    said = {sentence for mechanism in mechanisms.load().values() for sentence in mechanism.lacks.values()}
    assert {reason for reason in reasons.values() if reason} <= said


@pytest.mark.parametrize("scenario", suite.load().values(), ids=lambda scenario: scenario.id)
def test_whatever_a_scenario_detects_can_be_planted(scenario):
    able = [name for name in ("stub", "relocated") if not mechanisms.load()[name].cannot_run(scenario)]
    assert able
    for mechanism in able:
        assert has_control(scenario.detects, arch_toml.load().values(), mechanism)


@pytest.mark.parametrize("control", CONTROLS.values(), ids=lambda control: control.name)
def test_every_planted_bug_that_an_engine_can_notice_is_detected_for_each_of_its_mechanisms(control):
    if all(control.defect in blind_everywhere(engine) for engine in engines()):
        return
    for mechanism in control.mechanisms:
        assert any(
            control.defect in scenario.detects and not mechanisms.load()[mechanism].cannot_run(scenario)
            for scenario in suite.load().values()
        )


def test_a_missing_flush_cannot_be_planted_where_none_is_needed(arm64):
    flush = CONTROLS["no-flush"]
    assert flush.macro == "CONTROL_NO_FLUSH"
    assert flush.applies(arm64, "stub")
    assert not flush.applies(arm64, "pointer")
    for variant in arch_toml.load().values():
        assert flush.applies(variant, "stub") == (variant.coherence.maintenance != ())


# Scenarios by path.


def test_a_file_of_scenarios_joins_the_suite(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(SOURCE.format(id="BS-90", name="mine"), encoding="utf-8")
    scenarios = suite.load((file,))
    assert scenarios["mine"].id == "BS-90"
    assert set(scenarios) == {*suite.load(), "mine"}


def test_a_folder_of_scenarios_joins_the_suite(tmp_path):
    for number in (91, 92):
        text = SOURCE.format(id=f"BS-{number}", name=f"mine_{number}")
        (tmp_path / f"mine_{number}.py").write_text(text, encoding="utf-8")
    assert {"mine_91", "mine_92"} <= set(suite.load((tmp_path,)))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            SOURCE.format(id="BS-03", name="mine"),
            "scenario BS-03 mine: its id is taken already, by scenario BS-03 supersede_then_restore of farm.",
        ),
        (
            SOURCE.format(id="BS-90", name="tail_call"),
            "scenario BS-90 tail_call: its name is taken already, by scenario CS-03 tail_call",
        ),
        (
            SOURCE.format(id="QQ-90", name="mine"),
            "SCENARIOS[0]: scenario QQ-90 mine: id: the group must be one of BS, AB, CS",
        ),
        (TWICE, "scenario BS-91 twice: its name is taken already, by scenario BS-90 twice of "),
        ("SCENARIOS = [1]", "expected a tuple SCENARIOS of farm.scenario.Scenario"),
        ("SCENARIOS = (1,)", "SCENARIOS[0]: 1 found; expected a farm.scenario.Scenario"),
        ("", "expected a tuple SCENARIOS"),
        ("def", "SyntaxError"),
        ("import nonsense_that_is_nowhere", "line 1: ModuleNotFoundError"),
        ("from farm.scenario import patch\npatch(0, 'qqq')", "line 2: unknown target 'qqq': valid are default, fast"),
        ("import sys\nsys.exit(0)", "line 2: SystemExit: 0"),
        ("\nraise GeneratorExit", "line 2: GeneratorExit"),
        ("class Odd(BaseException):\n    def __str__(self): raise RuntimeError\nraise Odd", "line 3: Odd"),
        ("def __getattr__(name): raise SystemExit(0)", "line 1: SystemExit: 0"),
        ("def deeper(): deeper()\ndeeper()", "line 1: RecursionError"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(tmp_path, text, complaint):
    file = tmp_path / "mine.py"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioFileError, match=re.escape(complaint)) as caught:
        suite.load((file,))
    assert str(caught.value).startswith(f"{file}: ")


def test_ctrl_c_while_a_file_is_imported_is_not_held_against_it(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("raise KeyboardInterrupt", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        suite.load((file,))


def test_a_path_that_leads_nowhere_is_named(tmp_path):
    with pytest.raises(ScenarioFileError, match=r"nowhere\.py: not a Python file"):
        suite.load((tmp_path / "nowhere.py",))
    with pytest.raises(ScenarioFileError, match="no Python file there"):
        suite.load((tmp_path,))


#: How many behaviours the field's list has in each group.
LISTED = {"BS": 18, "AB": 20, "CS": 18, "PT": 15, "RP": 20, "FB": 16, "CR": 14}


def test_every_behaviour_of_the_list_has_a_scenario_or_a_reason():
    here = {scenario.id for scenario in suite.load().values()}
    absent = {behaviour.id for behaviour in ABSENT}
    assert not here & absent
    assert {f"{group}-{n:02}" for group, count in LISTED.items() for n in range(1, count + 1)} <= here | absent


@pytest.mark.parametrize("behaviour", ABSENT, ids=lambda behaviour: behaviour.id)
def test_what_proves_an_absent_behaviour_instead_is_there(behaviour):
    assert behaviour.reason
    for path in re.findall(r"(?:farm|tests)/\w+\.py", behaviour.elsewhere):
        assert (Path(__file__).parents[1] / path).is_file()
