"""The pytest plugin, in test runs of its own: what is collected, skipped, deselected and reported."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "own_targets"

ONE = 'pytest.mark.patchable(arch="arm64", mechanism="stub", engine="unicorn")'


@pytest.fixture
def project(pytester):
    """``project(source, *options)``: run a test module, as the user of another project would."""

    def run(source, *options, **files):
        pytester.makepyfile(f"import pytest\n{source}")
        for name, text in files.items():
            pytester.path.joinpath(f"{name}.c").write_text(text)
        return pytester.runpytest("-ra", *options)

    return run


# What becomes an item.


def collected(result):
    return [line.partition("[")[2].rstrip("]") for line in result.outlines if "::test_" in line]


@pytest.mark.parametrize(
    ("marker", "ids"),
    [
        ('arch="arm64", mechanism="stub", engine="unicorn"', ["arm64/stub/zig/unicorn"]),
        (
            'arch=["arm64", "ppc*"], mechanism="stub, pointer", engine="unicorn", toolchain="zig"',
            [
                f"{arch}/{mechanism}/zig/unicorn"
                for arch in ("arm64", "ppc32", "ppc64", "ppc64le")
                for mechanism in ("pointer", "stub")
            ],
        ),
        ('arch="riscv64", mechanism="stub"', ["riscv64/stub/zig/unicorn", "riscv64/stub/zig/qemu-user"]),
        ('arch="arm64", mechanism="stub", engine="unicorn:*"', ["arm64/stub/zig/unicorn:no-clmul"]),
    ],
)
def test_a_marker_names_what_is_booted(project, marker, ids):
    result = project(f"@pytest.mark.patchable({marker})\ndef test_a(patchable): pass", "--collect-only", "-q")
    assert collected(result) == ids


def test_without_a_marker_everything_is_booted(project):
    result = project("def test_a(patchable): pass", "--collect-only", "-q")
    found = collected(result)
    assert {"arm64/pointer/zig/qemu-user", "ppc64le/stub/zig/unicorn", "x86_64/stub/zig/qemu-user"} <= set(found)
    assert not [name for name in found if ":" in name]


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        (
            'arch="arm65"',
            ["*of test_a: unknown architecture 'arm65': did you mean arm64*valid are *ppc64le*"],
        ),
        (
            'mechanism="stab"',
            ["*unknown mechanism 'stab': *valid are pointer, stub, relocated, *; mechanism-path adds*"],
        ),
        ('engine="unicron"', ["*unknown engine 'unicron': *valid are unicorn, qemu-user, *:no-clmul*"]),
        (
            'archs="arm64"',
            ["*'archs' is not expected; valid are, by name: arch, mechanism, engine, toolchain, *, mechanism_path"],
        ),
        ('"arm64"', ["*'arm64' is not expected; valid are, by name: arch, *"]),
        ("toolchain='zig', arch='m68k'", ["*of test_a: nothing is selected: toolchain zig: m68k has gcc only"]),
        *(
            (f"mechanism={value}", [f"*of test_a: mechanism {value} found; expected a name, a glob, *"])
            for value in ("''", "','", "b'stub'", "None")
        ),
        ("arch=64", ["*of test_a: arch 64 found; expected a name, a glob, a comma list, or a list of them"]),
        ('source="nowhere.c"', ["*source *nowhere.c: no such file"]),
        ("source=5", ["*of test_a: source 5: expected the path of a C file, from the test's folder"]),
        *(
            (f"timeout={value}", [f"*of test_a: timeout {said}: expected seconds, from 0.1 to 86,400"])
            for value, said in (
                ('"abc"', "abc"),
                ('float("nan")', "nan"),
                ('float("inf")', "inf"),
                ("0", "0"),
                ("-1", "-1"),
                ("True", "True"),
                ("None", "None"),
                ("10**400", "1000*"),
            )
        ),
    ],
)
def test_a_wrong_marker_fails_at_collection_with_what_is_valid(project, marker, words):
    result = project(f"@pytest.mark.patchable({marker})\ndef test_a(patchable): pass\ndef test_b(): pass")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*ERROR collecting*", *words])
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")
    result.stdout.no_fnmatch_line("*Traceback*")
    result.assert_outcomes(errors=1)


def test_a_guest_that_is_asked_for_too_late_is_one_sentence(project):
    result = project("def test_a(request):\n    request.getfixturevalue('patchable')")
    result.stdout.fnmatch_lines(["*patchable: one guest or several*name it as an argument of the test*usefixtures*"])
    result.stdout.no_fnmatch_line("*AttributeError*")
    result.assert_outcomes(failed=1)


def test_options_restrict_what_markers_ask_for(project):
    source = f"""
@pytest.mark.patchable(arch="arm64,ppc32", mechanism="stub")
def test_a(patchable): pass

@{ONE}
def test_b(patchable): pass

def test_c(): pass
"""
    result = project(source, "--collect-only", "-q", "--farm-arch=powerpc", "--farm-engine", "uni*")
    assert collected(result) == ["ppc32/stub/zig/unicorn", ""]
    assert "2/6 tests collected (4 deselected)" in result.stdout.str()
    result = project(
        source, "--collect-only", "-q", "--farm-arch=arm64", "--farm-arch=ppc32", "--farm-mechanism=pointer"
    )
    assert collected(result) == [""]


def test_an_option_for_one_thing_leaves_profiles_alone(project):
    source = (
        '@pytest.mark.patchable(arch="arm64", mechanism="stub", engine="unicorn:no-clmul")\ndef test_a(patchable): pass'
    )
    result = project(source, "--collect-only", "-q", "--farm-arch=arm64")
    assert collected(result) == ["arm64/stub/zig/unicorn:no-clmul"]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--farm-arch=arm65", "ERROR: --farm-arch: unknown architecture 'arm65': did you mean arm64*"),
        (
            "--farm-mechanism=x",
            "ERROR: --farm-mechanism: unknown mechanism 'x': valid are pointer, stub, relocated, *; *",
        ),
        ("--farm-arch=", "ERROR: --farm-arch: no architecture is named by '': *"),
        ("--farm-engine=gem5", "ERROR: --farm-engine: unknown engine 'gem5'*"),
    ],
)
def test_an_option_that_names_nothing_is_a_usage_error(project, option, words):
    result = project("def test_a(patchable): pass", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([words])


def test_an_architecture_of_ones_own(project, edited_arch):
    folder = edited_arch(("variant.arm64", "variant.mine"), name="mine")
    source = '@pytest.mark.patchable(arch="mine", mechanism="stub", engine="unicorn")\n'
    source += "def test_a(patchable):\n    assert patchable.call(1) == 1001\n"
    result = project(source, "-v", f"--farm-arch-path={folder}", "--farm-arch=mine")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_a?mine/stub/zig/unicorn? PASSED*"])


def test_a_mechanism_of_ones_own(project, mine):
    source = '@pytest.mark.patchable(arch="arm64", mechanism="mine", engine="unicorn"{})\n'
    source += "def test_a(patchable):\n    patchable.patch('fast')\n    assert patchable.call(1) == 3\n"
    for given, options in ((f", mechanism_path={str(mine)!r}", []), ("", [f"--farm-mechanism-path={mine}"])):
        result = project(source.format(given), "-v", *options)
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines(["*test_a?arm64/mine/zig/unicorn? PASSED*"])


def test_a_variable_that_is_not_set_is_the_error_of_the_tests_that_need_it(project, mine, monkeypatch):
    monkeypatch.delenv("THEIRS", raising=False)
    toml = mine / "mechanism.toml"
    text = toml.read_text(encoding="utf-8").replace("[patched]", '[environment]\nTHEIRS = "git clone it"\n\n[patched]')
    toml.write_text(f'flags = ["-D${{THEIRS}}"]\n{text}', encoding="utf-8")
    source = '@pytest.mark.patchable(arch="arm64", mechanism="mine,pointer", engine="unicorn")\n'
    source += "def test_a(patchable): pass\n"
    result = project(source, f"--farm-mechanism-path={mine}", "--farm-arch=arm64")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([f"{toml}: environment.THEIRS: THEIRS is not set: git clone it"])
    result.stdout.no_fnmatch_line("*pytest_plugin.py:*")
    result = project(source, f"--farm-mechanism-path={mine}", "--farm-mechanism=pointer")
    result.assert_outcomes(passed=1, deselected=1)


# What cannot run.

QEMU = '@pytest.mark.patchable(arch="arm64", mechanism="stub", engine="qemu-user")\ndef test_a(patchable): pass'


@pytest.fixture
def without_qemu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


def test_a_missing_engine_is_a_skip_with_its_reason(project, without_qemu, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    result = project(QEMU)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED *: qemu-aarch64 is missing: apt-get install qemu-user"])


def test_a_missing_engine_is_a_failure_in_ci(project, without_qemu, monkeypatch):
    monkeypatch.setenv("CI", "true")
    result = project(QEMU)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["not-run: qemu-aarch64 is missing: apt-get install qemu-user"])
    result.stdout.no_fnmatch_line("*pytest_plugin.py:*")


@pytest.mark.parametrize("ci", ["true", ""])
def test_what_nothing_could_run_is_a_skip_everywhere(project, monkeypatch, ci):
    monkeypatch.setenv("CI", ci)
    marker = '@pytest.mark.patchable(arch="ppc64le", mechanism="pointer,stub,relocated", engine="unicorn:no-clmul")'
    result = project(f"{marker}\ndef test_a(patchable): pass")
    result.assert_outcomes(skipped=3)


# What a failure shows.


def test_a_failure_shows_trace_and_code(project):
    result = project(f"""
@{ONE}
def test_a(patchable):
    patchable.call(7)
    patchable.patch("fast")
    assert patchable.call(7) == 0
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *assert 15 == 0",
            "E *where 15 = call(7)",
            "*<guest arm64/stub/zig/unicorn>*",
            "* patchfarm trace *",
            "arm64/stub/zig/unicorn",
            "call(function=0, x=7, shape=tail)",
            "    step 0: enter whatever_0 -> default, *",
            "    step 0: return whatever_0, value 0x3ef",
            "patch(function=0, target=fast)",
            "    step 1: patch whatever_0 -> fast, ok",
            "call(function=0, x=7, shape=tail)",
            "    step 2: enter whatever_0 -> fast, *",
            "    step 2: return whatever_0, value 0xf",
            "* patchfarm code *",
            "whatever_0 as linked:",
            "    0x*: * b * <default_0>",
            "whatever_0 now:",
            "  > 0x*: * b * <fast_0>",
        ]
    )


def test_a_long_trace_is_cut_and_nested_steps_are_shown(project):
    result = project(f"""
from farm.scenario import call, patch

@{ONE}
def test_a(patchable):
    for x in range(200):
        patchable.call(x)
    patchable.run(call(0, 5, inside=(patch(0, "fast"),)))
    assert False
""")
    result.stdout.fnmatch_lines(
        [
            "(* earlier lines)",
            "call(function=0, x=199, shape=tail)",
            "call(function=0, x=5, inside=(patch(function=0, target=fast)))",
            "    step 201: patch whatever_0 -> fast, ok, depth 1",
        ]
    )
    result.stdout.no_fnmatch_line("call(function=0, x=19, shape=tail)")


def test_a_passing_test_shows_nothing_and_a_failing_one_without_a_guest_neither(project):
    result = project(f"@{ONE}\ndef test_a(patchable): patchable.call(1)\ndef test_b(): assert False", "-rA")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.no_fnmatch_line("*patchfarm trace*")


def test_a_dead_guest_says_how_it_died_and_costs_one_item(project):
    result = project(f"""
import os, signal

pytestmark = {ONE}

@pytest.mark.parametrize("number", range(9))
def test_a(patchable, number):
    assert patchable.call(1) == 1001
    if number == 4:
        os.kill(patchable._session.child.process.program(), signal.SIGKILL)
    assert patchable.call(1) == 1001
""")
    result.assert_outcomes(passed=8, failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *GuestDied: the guest arm64/stub/zig/unicorn died in step 1: engine-error: unicorn died of SIGKILL*",
            "* patchfarm trace *",
        ]
    )


def test_a_source_that_does_not_compile_is_the_error_of_its_test(project):
    source = '@pytest.mark.patchable(arch="arm64", mechanism="stub", engine="unicorn", source="mine.c")\n'
    source += f"def test_a(patchable): pass\n\n@{ONE}\ndef test_b(patchable): pass\n"
    result = project(source, mine='#include "patchfarm.h"\nTARGET(fast, 0) { return 3 * y; }\n')
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*mine.c does not compile for arm64",
            "  command: *zig cc -target aarch64-linux-musl *",
            "*mine.c:2:30: error: use of undeclared identifier 'y'",
        ]
    )
    result.stdout.no_fnmatch_line("*pytest_plugin.py:*")


# Warm guests.


def test_items_share_one_child_and_never_see_each_other(project):
    result = project(f"""
pytestmark = {ONE}
children = set()

@pytest.mark.parametrize("number", range(20))
def test_a(patchable, number):
    assert patchable.query() == "default"
    patchable.patch("fast")
    children.add(patchable._session.child.process.pid)

def test_b(patchable):
    assert len(children) == 1
""")
    result.assert_outcomes(passed=21)


def test_one_child_keeps_the_guests_of_all_variants(project):
    result = project("""
@pytest.mark.patchable(engine="unicorn", mechanism="stub")
@pytest.mark.parametrize("again", range(2))
def test_a(patchable, again):
    patchable.patch("fast")
    assert patchable.call(1, shape="tail") == 3
""")
    assert result.parseoutcomes().keys() == {"passed", "skipped"}  # where Unicorn has no such guest


def test_two_guests_in_one_test_are_two_children(project):
    result = project(f"""
import farm

@{ONE}
def test_a(patchable):
    with farm.boot("arm64") as other:
        other.patch("fast")
        assert patchable.query() == "default"
        assert other.query() == "fast"
""")
    result.assert_outcomes(passed=1)


# The worked example, in a process of its own, as its users run it.


def test_the_example_is_green_and_red_with_an_explanation_when_its_c_is_broken(pytester):
    shutil.copytree(EXAMPLE, pytester.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["-v", "--farm-arch=arm64", "--farm-engine=unicorn", "--farm-mechanism=stub"]
    result = pytester.runpytest_subprocess(*options)
    deselected = result.parseoutcomes()["deselected"]
    result.assert_outcomes(passed=4, deselected=deselected)
    result.stdout.fnmatch_lines(["test_mine.py::test_both_count_the_bits?arm64/stub/zig/unicorn-fast? PASSED*"])

    source = pytester.path / "mine.c"
    text = source.read_text()
    assert text.count("(x & 0x33333333u)") == 1
    source.write_text(text.replace("(x & 0x33333333u)", "(x & 0x33333332u)"))
    result = pytester.runpytest_subprocess(*options)
    result.assert_outcomes(passed=3, failed=1, deselected=deselected)
    result.stdout.fnmatch_lines(
        [
            "*test_both_count_the_bits?*/stub/zig/unicorn-fast? *",
            "E *assert 0 == 1",
            "* patchfarm trace *",
            "call(function=0, x=1, shape=tail)",
            "    step *: enter whatever_0 -> fast, *",
            "    step *: return whatever_0, value 0x0",
            "* patchfarm code *",
            "whatever_0 as linked:",
            "* <default_0>",
            "whatever_0 now:",
            "  > * <fast_0>",
        ]
    )


# The conformance suite: one item a cell.

CELLS = Path(__file__).resolve().parent / "conformance" / "test_cells.py"


@pytest.fixture
def cells(pytester):
    """``cells(*options, more="")``: the conformance tests of a few cells, in a run of their own."""

    def run(*options, more=""):
        pytester.path.joinpath("test_cells.py").write_text(CELLS.read_text() + more)
        return pytester.runpytest_subprocess("-ra", *options)

    return run


FEW = ["--farm-arch=arm64", "--farm-mechanism=stub", "--farm-engine=unicorn"]


def test_the_id_of_an_item_is_that_of_its_cell(cells):
    result = cells("-v", *FEW, "-k", "supersede_then_restore")
    assert result.parseoutcomes()["passed"] == 1
    result.stdout.fnmatch_lines(["test_cells.py::test_cell?arm64/stub/zig/unicorn/supersede_then_restore? PASSED*"])


KILLER = """

import os, signal
from farm.engines.unicorn import UNICORN

@pytest.fixture(autouse=True)
def _killer(request):
    if "supersede_then_restore" in request.node.name:
        for _, child in UNICORN.pool._idle:
            os.kill(child.process.program(), signal.SIGKILL)
"""


def test_killing_a_workers_engine_costs_one_item(cells):
    result = cells("-n", "2", *FEW, more=KILLER)
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] > 30
    assert outcomes.get("failed", 0) <= 1
    assert "errors" not in outcomes
    if "failed" in outcomes:
        result.stdout.fnmatch_lines(
            [
                "ENGINE-ERROR arm64/stub/zig/unicorn/supersede_then_restore",
                "  unicorn died of SIGKILL*",
                "  reproduce: farm run --arch arm64 *--scenario supersede_then_restore -v",
            ]
        )


def test_a_failing_cell_shows_the_explanation(cells, edited_arch):
    folder = edited_arch(("variant.arm64", "variant.mine"), name="mine")
    encoder = folder / "patch.c"
    text = encoder.read_text()
    assert text.count("(to - at) >> 2") == 1
    encoder.write_text(text.replace("(to - at) >> 2", "(to - at + 8) >> 2"))
    options = [f"--farm-arch-path={folder}", "--farm-arch=mine", "--farm-mechanism=stub", "--farm-engine=unicorn"]
    result = cells(*options, "-k", "supersede_then_restore")
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(
        [
            "MISMATCH mine/stub/zig/unicorn/supersede_then_restore",
            "  BS-03 *",
            "    - step *(expected)",
            "    + step *(seen)",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_cell_whose_engine_is_missing_is_skipped_or_in_ci_failed(cells, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    options = ["--farm-arch=arm64", "--farm-mechanism=stub", "--farm-engine=qemu-user", "-k", "supersede_then_restore"]
    monkeypatch.setenv("CI", "")
    result = cells(*options)
    assert result.parseoutcomes()["skipped"] == 1
    result.stdout.fnmatch_lines(["SKIPPED *: qemu-aarch64 is missing: apt-get install qemu-user"])
    monkeypatch.setenv("CI", "true")
    result = cells(*options)
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(["*not-run: qemu-aarch64 is missing: apt-get install qemu-user"])


def test_the_plugin_loads_nothing_of_the_farm_before_it_is_needed(pytester):
    pytester.makepyfile(
        "import sys\n"
        "def test_a():\n"
        "    assert [name for name in sys.modules if name.startswith('farm.')] == ['farm.pytest_plugin']\n"
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
