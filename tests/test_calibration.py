"""Every claim to detect a defect has been seen red.

Each bug under each mechanism on one of two variants; on the others, under each mechanism, one of those without which a
farm for patchable calls would prove nothing.  ``farm calibrate`` (``tox -e calibrate``) does everything everywhere.
"""

from __future__ import annotations

import concurrent.futures
import io
import re
import subprocess
import sys

import pytest
from rich.console import Console

from farm.engines import Reply
from farm.guest import arch_toml, mechanisms
from farm.guest.controls import CONTROLS
from farm.prove import calibrate
from farm.report import calibration
from farm.run import plan
from farm.run.batch import run_batch
from farm.run.measured import blind_everywhere

WHOLE = ("arm64", "x86_64")
MISSES = ("no-patch", "off-by-one", "falls-short")
OTHERS = [name for name in arch_toml.load() if name not in WHOLE]


def measure(variant, names, **selection):
    made = plan.make(plan.Selection(arch=[variant], **selection))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return made, calibrate.calibrate(made, names, pool, lambda _findings, _total: None)


def having(variant):
    """The mechanisms of a variant: names."""
    return [name for name, known in mechanisms.load().items() if not known.missing(arch_toml.load()[variant])]


def dealt(mechanism):
    """The bugs that are planted under a mechanism: names, by the variant of WHOLE on which; turn and turn about.

    What asks for a CPU is planted on both, since each has other CPUs.
    """
    hands = {variant: [] for variant in WHOLE if mechanism in having(variant)}
    for turn, (name, control) in enumerate(CONTROLS.items(), start=list(mechanisms.load()).index(mechanism)):
        able = [variant for variant in hands if not control.impossible(arch_toml.load()[variant], mechanism)]
        for variant in able if control.cpu or not able else [able[turn % len(able)]]:
            hands[variant].append(name)
    return hands


def emulator(cell):
    """The engine of a cell, whichever its CPU."""
    return cell.engine.partition(":")[0]


def as_claimed(found):
    """Those that are not, in words."""
    return [
        f"{finding.control.name}: {finding.cell} {finding.result.verdict} {finding.result.reason}"
        for finding in found
        if not finding.as_claimed
    ]


@pytest.mark.parametrize("mechanism", mechanisms.load())
def test_every_planted_bug_is_noticed_and_every_scenario_has_been_seen_red_unless_its_engine_is_blind(mechanism, qemu):
    to_be_seen, red = set(), set()
    for variant, names in dealt(mechanism).items():
        made, found = measure(variant, names, mechanism=[mechanism])
        assert not as_claimed(found)
        red |= {(finding.cell.scenario, emulator(finding.cell)) for finding in found if finding.noticed}
        for planned in made.cells:
            scenario, engine = made.scenarios[planned.cell.scenario], emulator(planned.cell)
            # Which variants a host runs differs, so who is dealt a variant may have none on that engine.
            if engine != "native" and planned.verdict is None and not scenario.detects <= blind_everywhere(engine):
                to_be_seen.add((planned.cell.scenario, engine))
    assert to_be_seen - red == set()


@pytest.mark.parametrize("variant", OTHERS)
def test_a_patch_that_does_nothing_or_misses_is_red_everywhere(variant, qemu):
    turn, there = OTHERS.index(variant), having(variant)
    assert len(there) >= len(MISSES)
    for number, mechanism in enumerate(there, start=turn):
        names = [MISSES[number % len(MISSES)], *(["clobber-saved"] if mechanism == there[turn % len(there)] else ())]
        made, found = measure(variant, names, mechanism=[mechanism], scenario=["BS-0*", "CS-0*", "FB-13", "AB-01"])
        assert not as_claimed(found)
        for name in names:
            seen = [finding.cell.engine for finding in found if finding.control.name == name and finding.noticed]
            assert set(seen) == {planned.cell.engine for planned in made.cells if planned.verdict is None}


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


def test_an_emulator_that_dies_once_is_asked_again(monkeypatch, fake_engine):
    made = plan.make(plan.Selection(["arm64"], ["stub"], ["unicorn"], ("zig",), ["BS-03"]))
    ((_, batch),) = calibrate.work(made, ["no-patch"])
    engine = fake_engine([Reply(failure="engine-error", detail="it died")], [Reply(failure="crash", detail="bad")])
    monkeypatch.setattr("farm.engines.engines", lambda: {"unicorn": engine})
    (result,) = run_batch(batch)
    assert result.verdict in calibrate.NOTICED
    assert engine.asked == [(1, False), (1, True)]


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


UNTIL_THE_FIRST = """
from farm.cli import load
from farm.prove import calibrate

original = calibrate.calibrate

def until_the_first(plan, names, pool, on_findings):
    def end(findings, total):
        on_findings(findings, total)
        raise KeyboardInterrupt

    return original(plan, names, pool, end)

calibrate.calibrate = until_the_first
load()()
"""


def test_what_was_found_before_an_interrupt_is_shown_and_written(tmp_path):
    """In a process of its own: an interrupt ends all children of one."""
    select = ["--arch", "arm64", "--mechanism", "stub", "--engine", "unicorn", "--control", "no-patch,off-by-one"]
    command = [sys.executable, "-c", UNTIL_THE_FIRST, "calibrate", *select, "--output", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 130, done.stderr
    tally = re.search(r"^interrupted: ([\d,]+) of ([\d,]+) findings, 0 not as claimed$", done.stderr, re.MULTILINE)
    kept, total = (int(number.replace(",", "")) for number in tally.groups())
    assert 0 < kept < total
    assert f"{kept} findings, 0 not as claimed" in done.stdout
    assert f"{kept} findings, 0 not as claimed" in (tmp_path / "calibration.json").read_text()
