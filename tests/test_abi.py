"""What the ABI scenarios notice: each turned red by clobbering the register or slot that it is about."""

from __future__ import annotations

import pytest

from farm import suite
from farm.cell import Verdict
from farm.guest import arch_toml
from farm.guest.controls import CONTROLS
from farm.prove.calibrate import NOTICED, work
from farm.run import plan
from farm.run.batch import batches, run_batch
from farm.scenario.layout import VIOLATIONS

VARIANTS = ("arm64", "m68k", "mips32", "ppc32", "ppc64le", "s390x", "x86_64")
ABI = [name for name, scenario in suite.load().items() if scenario.id.startswith("AB-")]


def claimed(name):
    """The controls that the scenario claims to notice."""
    return [control for control in CONTROLS.values() if control.defect in suite.load()[name].detects]


#: Controls that need no probe of registers to be noticed, or are beside the patched function, where none is planted.
UNPROBED = (
    *("truncated-return", "no-stub-pad", "no-entry-register", "original-is-patched"),
    *("original-loses-argument", "original-loses-saved", "original-loses-float"),
)

#: Where a scenario runs that needs a CPU which Unicorn has not.
ENGINES = {"landing_pads": "qemu-user:bti"}


def cells(*scenario, arch=(), mechanism=(), engine=("unicorn",)):
    return plan.make(plan.Selection(arch=arch, mechanism=mechanism, engine=engine, scenario=scenario))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ABI)
def test_clobbering_what_an_abi_scenario_is_about_turns_it_red(name, variant):
    """Each control under one mechanism a variant, turn and turn about."""
    engine = ENGINES.get(name, "unicorn")
    made = cells(name, arch=[variant], mechanism=["pointer", "stub", "relocated"], engine=[engine])
    where = {planned.cell.mechanism for planned in made.cells if planned.verdict is None}
    if not where:
        missing = (planned.reason for planned in made.cells if planned.verdict is Verdict.NOT_RUN)
        pytest.skip(next(missing, made.cells[0].reason))
    arch, planted, under = arch_toml.load()[variant], set(), {}
    for turn, control in enumerate(claimed(name), start=VARIANTS.index(variant)):
        if able := [each for each in sorted(where) if control.applies(arch, each, arch.features(engine))]:
            under[control.name] = able[turn % len(able)]
    for control, batch in work(made, list(under)):
        if batch.spec.mechanism == under[control.name]:
            for result in run_batch(batch):
                assert result.verdict in NOTICED, f"{result.cell}: {control.name} was planted and nothing noticed"
                planted.add(control.name)
    assert planted == set(under)


@pytest.mark.parametrize("name", ABI)
def test_every_abi_scenario_has_a_control_that_names_its_register(name):
    assert any("stub" in control.mechanisms for control in claimed(name))
    assert all(control.probe or control.name in UNPROBED for control in claimed(name))


@pytest.mark.parametrize("name", ABI)
def test_every_abi_scenario_applies_to_some_variant(name):
    made = cells(name, mechanism=["stub"], engine=[ENGINES.get(name, "unicorn")])
    assert any(planned.verdict in (None, Verdict.NOT_RUN) for planned in made.cells)


def test_a_scenario_is_not_applicable_where_the_abi_lacks_what_it_is_about():
    made = cells("AB-06", "AB-08", arch=["arm64"], mechanism=["stub"])
    assert [(planned.verdict, planned.reason) for planned in made.cells] == [
        (Verdict.NOT_APPLICABLE, "the ABI of arm64 has no red-zone"),
        (Verdict.NOT_APPLICABLE, "the ABI of arm64 has no toc"),
    ]


def test_a_scenario_is_not_applicable_where_there_is_no_register_that_it_is_about():
    made = cells("flags_intact", arch=["riscv64"], mechanism=["stub"])
    why = "riscv64 has nothing that clobber-flags or clobber-kept-flags could be about"
    assert [planned.reason for planned in made.cells] == [why]


def test_a_control_of_what_an_abi_lacks_does_not_apply():
    assert not CONTROLS["clobber-toc"].applies(arch_toml.load()["x86_64"], "stub")
    assert CONTROLS["clobber-toc"].applies(arch_toml.load()["ppc64"], "stub")


def test_doubles_are_not_applicable_while_vector_registers_are_trapped():
    made = cells("doubles", arch=["arm64"], mechanism=["stub"], engine=["unicorn:no-clmul"])
    assert [planned.reason for planned in made.cells] == ["arm64 on unicorn:no-clmul has no float"]


def test_everything_else_runs_while_vector_registers_are_trapped():
    made = cells("AB-*", "BS-*", "CS-*", "crc_dispatch", arch=["arm64"], engine=["unicorn:no-clmul"])
    results = [result for batch in batches(made, {}, 10.0) for result in run_batch(batch)]
    assert len(results) > 20
    assert {str(result.verdict) for result in results} == {"pass"}


def test_violations_do_not_share_bits():
    assert len(set(VIOLATIONS.values())) == len(VIOLATIONS)
    assert set(VIOLATIONS.values()) <= set(range(16, 32))
