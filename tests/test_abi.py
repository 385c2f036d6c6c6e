"""What the ABI scenarios notice: each turned red by clobbering the register or slot that it is about."""

from __future__ import annotations

import pytest

from farm import backend, plan, scenarios
from farm.calibrate import NOTICED, uncontrolled, work
from farm.controls import CONTROLS, for_defect
from farm.run import run_batch
from farm.scenario import FUNCTIONS, Defect, Kind
from farm.wire import VIOLATIONS

VARIANTS = ("arm64", "ppc32", "ppc64le", "x86_64")
ABI = [name for name, scenario in scenarios.load().items() if scenario.id.startswith("AB-")]


def _findings(name, variant):
    """Control, mechanism and result of every bug that the scenario claims to notice."""
    made = plan.make(plan.Selection(arch=[variant], engine=["unicorn"], scenario=[name]))
    names = [control.name for defect in scenarios.load()[name].detects for control in for_defect(defect)]
    for control, batch in work(made, names):
        for result in run_batch(batch):
            yield control, result


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ABI)
def test_clobbering_what_an_abi_scenario_is_about_turns_it_red(name, variant):
    if scenarios.load()[name].abi - set(backend.load()[variant].abi):
        pytest.skip(f"the ABI of {variant} has no {', '.join(scenarios.load()[name].abi)}")
    findings = list(_findings(name, variant))
    for control, result in findings:
        assert result.verdict in NOTICED, f"{result.cell}: {control.register} was clobbered and nothing noticed"
    expected = {
        control.name
        for defect in scenarios.load()[name].detects
        for control in for_defect(defect)
        if control.applies(backend.load()[variant], "stub")
    }
    assert {control.name for control, _ in findings} >= expected


@pytest.mark.parametrize("name", ABI)
def test_every_abi_scenario_has_a_control_that_names_its_register(name):
    scenario = scenarios.load()[name]
    assert not uncontrolled(scenario, "stub")
    assert all(control.register for defect in scenario.detects for control in for_defect(defect))


@pytest.mark.parametrize("name", ABI)
def test_every_abi_scenario_applies_to_some_variant(name):
    made = plan.make(plan.Selection(engine=["unicorn"], mechanism=["stub"], scenario=[name]))
    assert any(planned.verdict is None for planned in made.cells)


def test_a_scenario_is_not_applicable_where_the_abi_lacks_what_it_is_about():
    made = plan.make(
        plan.Selection(arch=["arm64"], engine=["unicorn"], mechanism=["stub"], scenario=["AB-06", "AB-08"])
    )
    reasons = [(planned.verdict, planned.reason) for planned in made.cells]
    assert reasons == [
        ("not-applicable", "the ABI of arm64 has no red-zone"),
        ("not-applicable", "the ABI of arm64 has no toc"),
    ]


def test_a_control_of_what_an_abi_lacks_does_not_apply():
    assert not CONTROLS["clobber-toc"].applies(backend.load()["x86_64"], "stub")
    assert CONTROLS["clobber-toc"].applies(backend.load()["ppc64"], "stub")


def test_a_float_scenario_is_not_applicable_while_vector_registers_are_trapped():
    made = plan.make(
        plan.Selection(arch=["arm64"], engine=["unicorn:no-clmul"], mechanism=["stub"], scenario=["doubles"])
    )
    assert [planned.reason for planned in made.cells] == ["arm64 on unicorn:no-clmul has no float"]


def test_with_vector_registers_trapped_everything_else_still_runs():
    made = plan.make(plan.Selection(arch=["arm64"], engine=["unicorn:no-clmul"], scenario=["AB-*", "crc_dispatch"]))
    from farm.run import batches

    results = [result for batch in batches(made, {}, 10.0) for result in run_batch(batch)]
    assert len(results) > 10
    assert {str(result.verdict) for result in results} == {"pass"}


def test_violations_do_not_share_bits():
    assert len(set(VIOLATIONS.values())) == len(VIOLATIONS)
    assert max(VIOLATIONS.values()) == 31


def test_all_kinds_have_a_function():
    assert set(FUNCTIONS) == set(Kind)


def test_every_defect_of_the_abi_is_planted_by_a_control():
    claimed = {defect for name in ABI for defect in scenarios.load()[name].detects}
    assert all(for_defect(defect) for defect in claimed)
    assert Defect.RED_ZONE in claimed
