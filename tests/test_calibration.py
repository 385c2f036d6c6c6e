"""Every claim to detect a defect has been seen red, on every variant, mechanism and engine."""

from __future__ import annotations

import concurrent.futures
import io

import pytest
from rich.console import Console

from farm import backend, calibrate, plan
from farm.controls import CONTROLS
from farm.engines import engines
from farm.report import calibration

VARIANTS = list(backend.load())


def measure(variant, names=tuple(CONTROLS), **selection):
    made = plan.make(plan.Selection(arch=[variant], **selection))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return made, calibrate.calibrate(made, names, pool, lambda _: None)


@pytest.fixture(scope="module", params=VARIANTS)
def findings(request, qemu):
    return measure(request.param)


def test_every_planted_bug_is_noticed_wherever_the_engine_is_not_blind(findings):
    wrong = [
        f"{finding.control.name}: {finding.cell} {finding.result.verdict} {finding.result.reason}"
        for finding in findings[1]
        if not finding.as_claimed
    ]
    assert not wrong


def test_every_scenario_that_runs_has_been_seen_red_unless_its_engine_is_blind(findings):
    made, found = findings
    red = {finding.cell for finding in found if finding.noticed}
    for planned in made.cells:
        scenario, engine = made.scenarios[planned.cell.scenario], planned.cell.engine.partition(":")[0]
        if planned.verdict is None and not scenario.detects <= engines()[engine].blind_to:
            assert planned.cell in red, f"{planned.cell} has never been seen red"


@pytest.mark.parametrize("mechanism", ["pointer", "stub"])
@pytest.mark.parametrize("control", ["no-patch", "off-by-one"])
def test_a_patch_that_does_nothing_and_one_that_misses_are_red_everywhere(findings, mechanism, control):
    """The two controls without which a farm for patchable calls would prove nothing."""
    cells = [f for f in findings[1] if f.control.name == control and f.cell.mechanism == mechanism]
    assert len({finding.cell.engine for finding in cells}) >= 2
    assert len(cells) >= 20
    assert all(finding.noticed for finding in cells)


def test_a_missing_flush_goes_unnoticed_and_the_engines_say_so():
    _, found = measure("arm64", ("no-flush",), mechanism=["stub"], engine=["unicorn"])
    assert [(finding.noticed, finding.blind, finding.as_claimed) for finding in found] == [(False, True, True)]


def test_a_control_that_changes_nothing_does_not_apply():
    x86 = backend.load()["x86_64"]
    assert not CONTROLS["no-flush"].applies(x86, "stub")
    assert not CONTROLS["no-range-check"].applies(x86, "pointer")


def test_a_control_that_a_variant_cannot_have_says_why():
    known = backend.load()
    assert CONTROLS["torn-store"].impossible(known["s390x"]) == "the stub's word is one byte, which no store tears"
    assert CONTROLS["torn-store"].impossible(known["arm64"]) is None
    for name in ("no-range-check", "sloppy-restore"):
        assert "there is no data slot" in CONTROLS[name].impossible(known["m68k"])
        assert CONTROLS[name].impossible(known["s390x"]) is None
    assert "little-endian" in CONTROLS["native-order"].impossible(known["x86_64"])


def test_a_control_that_a_variant_cannot_have_is_listed_and_not_counted():
    made, found = measure("m68k", ("no-range-check", "no-patch"), mechanism=["stub"], scenario=["far_target"])
    assert {finding.control.name for finding in found} == {"no-patch"}
    console = Console(file=io.StringIO(), width=200)
    calibration.show(found, made, ("no-range-check", "no-patch"), console)
    reason = "the stub's jump reaches every address, so there is no data slot"
    assert f"no-range-check is not applicable to m68k: {reason}\n" in console.file.getvalue()


def test_a_cell_that_fails_without_the_bug_too_proves_nothing(tmp_path, edited_arch):
    """Its red may have any reason: here the stub of the guest is broken to begin with."""
    folder = edited_arch(("variant.arm64", "variant.mine"), name="mine")
    source = folder / "patch.c"
    source.write_text(source.read_text().replace("return B |", "return 4 + B |"))
    made = plan.make(
        plan.Selection(arch=["mine"], mechanism=["stub"], engine=["unicorn"], scenario=["BS-02"], arch_path=(folder,))
    )
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = calibrate.calibrate(made, ("no-patch",), pool, lambda _: None)
    assert [(finding.noticed, finding.sound, finding.as_claimed) for finding in found] == [(True, False, False)]
