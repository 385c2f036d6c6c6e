"""Every claim to detect a defect has been seen red.

All of them on some variants; on the others those without which a farm for patchable calls would prove nothing.
``farm calibrate`` does everything everywhere, which takes minutes.
"""

from __future__ import annotations

import concurrent.futures
import io
import re

import pytest
from rich.console import Console
from typer.testing import CliRunner

from farm.cli import app
from farm.engines import engines
from farm.guest import arch_toml
from farm.guest.controls import CONTROLS
from farm.prove import calibrate
from farm.report import calibration
from farm.run import plan

WHOLE = ("arm64", "x86_64")
FEW = ("no-patch", "off-by-one", "falls-short", "clobber-saved")
OTHERS = [name for name in arch_toml.load() if name not in WHOLE]


def measure(variant, names=tuple(CONTROLS), **selection):
    made = plan.make(plan.Selection(arch=[variant], **selection))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return made, calibrate.calibrate(made, names, pool, lambda _findings, _total: None)


@pytest.fixture(scope="module", params=WHOLE)
def findings(request, qemu):
    return measure(request.param)


def as_claimed(found):
    """Those that are not, in words."""
    return [
        f"{finding.control.name}: {finding.cell} {finding.result.verdict} {finding.result.reason}"
        for finding in found
        if not finding.as_claimed
    ]


def test_every_planted_bug_is_noticed_wherever_the_engine_is_not_blind(findings):
    assert not as_claimed(findings[1])


def test_every_scenario_that_runs_has_been_seen_red_unless_its_engine_is_blind(findings):
    made, found = findings
    red = {finding.cell for finding in found if finding.noticed}
    for planned in made.cells:
        scenario, engine = made.scenarios[planned.cell.scenario], planned.cell.engine.partition(":")[0]
        if planned.verdict is None and not scenario.detects <= engines()[engine].blind_to:
            assert planned.cell in red, f"{planned.cell} has never been seen red"


@pytest.mark.parametrize("variant", OTHERS)
def test_a_patch_that_does_nothing_and_one_that_misses_are_red_everywhere(variant, qemu):
    made, found = measure(variant, FEW, scenario=["BS-*", "CS-*", "FB-13", "AB-01"])
    assert not as_claimed(found)
    ran = {(p.cell.mechanism, p.cell.engine) for p in made.cells if p.verdict is None}
    for control in FEW[:3]:
        cells = [finding.cell for finding in found if finding.control.name == control]
        assert {(cell.mechanism, cell.engine) for cell in cells} == ran
        assert len(cells) >= 20


def test_a_missing_flush_goes_unnoticed_and_the_engines_say_so():
    _, found = measure("arm64", ("no-flush",), mechanism=["stub"], engine=["unicorn"])
    assert [(finding.noticed, finding.blind, finding.as_claimed) for finding in found] == [(False, True, True)]


def test_a_control_that_changes_nothing_does_not_apply():
    x86 = arch_toml.load()["x86_64"]
    assert not CONTROLS["no-flush"].applies(x86, "stub")
    assert not CONTROLS["no-range-check"].applies(x86, "pointer")


def test_a_control_that_a_variant_cannot_have_says_why():
    known = arch_toml.load()
    why = CONTROLS["torn-store"].impossible(known["s390x"], "stub")
    assert why == "the stub's word is one byte, which no store tears"
    assert CONTROLS["torn-store"].impossible(known["arm64"]) is None
    assert "there is no data slot" in CONTROLS["no-range-check"].impossible(known["m68k"])
    assert CONTROLS["no-range-check"].impossible(known["s390x"]) is None
    assert "bit 0 is all that there is to look at" in CONTROLS["bit-zero-only"].impossible(known["thumb"])
    assert CONTROLS["bit-zero-only"].impossible(known["x86_64"]) is None
    assert "little-endian" in CONTROLS["native-order"].impossible(known["x86_64"])
    for name in ("lost-link", "lost-condition"):
        assert CONTROLS[name].impossible(known["arm64"]) is None
        assert CONTROLS[name].impossible(known["alpha"]) == "alpha has no sites.c"
        for opcode_beside_the_word in ("x86_64", "s390x", "m68k"):
            assert "opcode lies beside the word" in CONTROLS[name].impossible(known[opcode_beside_the_word])
    assert CONTROLS["lost-condition"].impossible(known["ppc64"]) == "sites.c has nothing to plant it in"


def test_a_control_that_a_variant_cannot_have_is_listed_and_not_counted():
    made, found = measure("m68k", ("no-range-check", "no-patch"), mechanism=["stub"], scenario=["far_target"])
    assert {finding.control.name for finding in found} == {"no-patch"}
    console = Console(file=io.StringIO(), width=200)
    calibration.show(calibration.table(found, made, ("no-range-check", "no-patch")), console)
    reason = "the stub's jump reaches every address, so there is no data slot"
    assert f"no-range-check is not applicable to m68k: {reason}\n" in console.file.getvalue()


def test_a_control_that_a_mechanism_cannot_have_is_listed_with_what_the_mechanism_says_of_it():
    controls = ("no-flush", "not-executable", "stale-site", "left-writable", "torn-literal")
    made = plan.make(plan.Selection(["arm64"], ["literal"], ["unicorn"], (), ["BS-01"]))
    reason = "literal patches data alone: no instruction changes, so none is stale"
    console = Console(file=io.StringIO(), width=200)
    calibration.show(calibration.table([], made, controls), console)
    assert console.file.getvalue().endswith(
        f"no-flush, not-executable: not applicable to literal: {reason}\n"
        "stale-site: not applicable to literal: its sources have nothing to plant it in\n"
        "0 findings, 0 not as claimed\n"
    )


def test_a_cell_that_fails_without_the_bug_too_proves_nothing(tmp_path, edited_arch):
    """Its red may have any reason: here the stub of the guest is broken to begin with."""
    folder = edited_arch(("variant.arm64", "variant.mine"), name="mine")
    source = folder / "patch.c"
    text = source.read_text()
    assert text.count("ARCH_INSTRUCTION(B |") == 1
    source.write_text(text.replace("ARCH_INSTRUCTION(B |", "ARCH_INSTRUCTION(4 + B |"))
    made = plan.make(
        plan.Selection(arch=["mine"], mechanism=["stub"], engine=["unicorn"], scenario=["BS-02"], arch_path=(folder,))
    )
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = calibrate.calibrate(made, ("no-patch",), pool, lambda _findings, _total: None)
    assert [(finding.noticed, finding.sound, finding.as_claimed) for finding in found] == [(True, False, False)]


def test_what_was_found_before_an_interrupt_is_shown_and_written(tmp_path, monkeypatch):
    original = calibrate.calibrate

    def until_the_first(made, names, pool, on_findings):
        def end(findings, total):
            on_findings(findings, total)
            raise KeyboardInterrupt

        return original(made, names, pool, end)

    monkeypatch.setattr(calibrate, "calibrate", until_the_first)
    select = ["--arch", "arm64", "--mechanism", "stub", "--engine", "unicorn", "--control", "no-patch,off-by-one"]
    done = CliRunner().invoke(app, ["calibrate", *select, "--output", str(tmp_path)])
    assert done.exit_code == 130
    tally = re.search(r"^interrupted: ([\d,]+) of ([\d,]+) findings, 0 not as claimed$", done.stderr, re.MULTILINE)
    kept, total = (int(number.replace(",", "")) for number in tally.groups())
    assert 0 < kept < total
    assert f"{kept} findings, 0 not as claimed" in done.stdout
    assert f"{kept} findings, 0 not as claimed" in (tmp_path / "calibration.json").read_text()
