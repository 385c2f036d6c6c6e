"""What calls cost: exact, the same by either method, and nothing hides.

``tests/golden/cost.json`` is what ``farm cost --toolchain '*' --json`` printed, where every toolchain is installed.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import re
import shutil
from pathlib import Path

import msgspec
import pytest
from helpers import farm
from rich.console import Console

from farm.engines import Reply, TellsPath, engines
from farm.engines.unicorn import UNICORN
from farm.engines.unicorn.recorder import with_skipped
from farm.errors import MissingToolError
from farm.guest import arch_toml, build, mechanisms
from farm.guest.toolchain import TOOLCHAINS
from farm.guest.variant import UnicornSettings
from farm.measure import cost
from farm.measure.cost import BASELINES, CALLS, Cost, CostError
from farm.report import cost as report
from farm.run import plan
from farm.scenario import Defect, Loop, Scenario, call, null, patch, query, wire

VARIANTS = arch_toml.load()
PAIRS = [(name, toolchain) for name, variant in VARIANTS.items() for toolchain in variant.toolchain]
GOLDEN = {
    (row["variant"], row["toolchain"]): row
    for row in json.loads((Path(__file__).parent / "golden" / "cost.json").read_text())
}
each_pair = pytest.mark.parametrize(("variant", "toolchain"), PAIRS, ids=lambda value: value)


def able(variant, toolchain):
    """The engines that can tell paths of ``variant`` here; a skip if there is none, or no compiler."""
    try:
        TOOLCHAINS[toolchain].version(VARIANTS[variant])
    except MissingToolError as error:
        pytest.skip(str(error))
    holes = {engine.name: engine.hole(VARIANTS[variant]) for engine in engines().values()}
    able_to = [name for name, engine in engines().items() if isinstance(engine, TellsPath)]
    found = [name for name in able_to if not holes[name] and engines()[name].tells_path(VARIANTS[variant])]
    return found or pytest.skip("; ".join(hole.reason for hole in holes.values() if hole))


@functools.cache
def measured(variant, toolchain, engine):
    return cost.measure(VARIANTS[variant], toolchain, engine, mechanisms.load())


def way(name):
    return next(way for way in cost.ways(mechanisms.load()) if way.name == name)


def path_of(built, variant, steps, engine=UNICORN):
    scenario = Scenario("BS-00", "cost", "", steps, frozenset(Defect))
    return engine.path(built, variant, wire.encode(scenario, big_endian=variant.big_endian), 10)


# The numbers.


@each_pair
def test_every_method_gives_the_recorded_numbers(variant, toolchain):
    methods = {engine: measured(variant, toolchain, engine) for engine in able(variant, toolchain)}
    first, *others = methods.values()
    for other in others:
        assert (other.instructions, other.note) == (first.instructions, first.note)
    recorded = GOLDEN.get((variant, toolchain))
    if recorded is None or recorded["compiler"] != first.compiler:
        by = "nothing" if recorded is None else recorded["compiler"]
        pytest.skip(f"recorded by {by}, here is {first.compiler}: farm cost --toolchain '*' --json")
    assert (first.instructions, first.note) == (recorded["instructions"], recorded["note"])


@each_pair
def test_a_redirected_call_site_costs_what_a_direct_call_does(variant, toolchain):
    found = measured(variant, toolchain, able(variant, toolchain)[0])
    if found.instructions["relocated"] is None:
        pytest.skip(f"{variant} has no relocated")
    if found.note:
        assert found.instructions["relocated"] == found.instructions["stub"]
    else:
        assert found.over_direct("relocated") == 0
    assert found.instructions["relocated far"] == found.instructions["stub far"]


@each_pair
def test_a_stub_costs_its_own_instructions_and_nothing_else(variant, toolchain):
    engine = able(variant, toolchain)[0]
    found = measured(variant, toolchain, engine)
    if found.instructions["stub"] is None:
        pytest.skip(f"{variant} has no stub")
    for name in ("stub", "stub far"):
        if found.instructions[name] is None:
            continue
        built = build.image(way(name).spec(VARIANTS[variant], toolchain))
        stub = cost._code(built, VARIANTS[variant])["whatever_0"]
        path = path_of(built, VARIANTS[variant], way(name).steps, engines()[engine]).path
        executed = [address for address in path if address in stub]
        assert found.over_direct(name) == len(set(executed)) == len(executed) / CALLS
        assert 0 < found.over_direct(name) <= 8


def test_what_arm64_costs_is_what_its_manual_says():
    """bti, b; bti, nop, ldr, br; bti, adrp, ldr, br of a literal; bti, adrp, ldr, cbz, br of C; two loads."""
    found = measured("arm64", "zig", "unicorn")
    wanted = {"direct": 0, "dispatch": 2, "pointer": 5, "stub": 2, "relocated": 0, "literal": 4}
    wanted |= {"stub far": 4, "relocated far": 4}
    assert {name: found.over_direct(name) for name in wanted} == wanted


def test_only_x86_has_retpolines_and_they_are_dearer_than_what_they_protect():
    rows = [row["instructions"] for row in GOLDEN.values()]
    assert {row["variant"] for row in GOLDEN.values() if row["instructions"].get("retpoline")} <= {"x86_64", "i386"}
    assert all(row["retpoline"] > row["dispatch"] for row in rows if row.get("retpoline"))
    assert GOLDEN["x86_64", "zig"]["instructions"]["retpoline"]
    assert GOLDEN["x86_64", "gcc"]["instructions"]["retpoline"]


SLOW_STUB = (  # a nop before the jump, which is now the third word
    ("stub.S", "#ifdef CONTROL_INITIAL_FAST", "    nop\n#ifdef CONTROL_INITIAL_FAST"),
    ("arch.h", "#define ARCH_STUB_WORD 4", "#define ARCH_STUB_WORD 8"),
    ("arch.h", "#define ARCH_STUB_SLOT 16", "#define ARCH_STUB_SLOT 24"),
)


def test_an_instruction_too_many_in_a_stub_that_works_shows(own_cache, edited_arch, arm64):
    folder = edited_arch(("variant.arm64", "variant.slow"), name="slow")
    for name, old, new in SLOW_STUB:
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new), encoding="utf-8")
    made = plan.make(plan.Selection(["slow"], ["pointer"], ["unicorn"], (), ["BS-01"], arch_path=(folder,)))
    (found,) = cost.measure_all(made, 2)
    assert not found.reason
    assert {name: found.over_direct(name) for name in ("stub", "stub far", "relocated")} == {
        "stub": 3,
        "stub far": 5,
        "relocated": 0,
    }


# The baselines.


def test_baselines_are_no_mechanisms_and_in_no_plan():
    used = {planned.cell.mechanism for planned in plan.make(plan.Selection(arch=["x86"])).cells}
    assert not used & set(BASELINES)


def test_only_the_guest_that_is_measured_has_baselines(arm64, guest):
    spec = way("direct").spec(arm64, "zig")
    assert str(spec) == "arm64/pointer/zig with baselines"
    built = build.image(spec)
    assert built.key != guest("pointer").key
    named = {name for name in built.functions if name.startswith("cost_")}
    assert named == {"cost_direct", "cost_dispatch", "cost_branch"}
    assert not [name for name in guest("pointer").functions if name.startswith("cost_")]


def test_the_retpoline_flags_are_part_of_the_images_key(tmp_path):
    shutil.copytree(VARIANTS["x86_64"].folder, tmp_path / "x86")
    toml = tmp_path / "x86" / "arch.toml"
    toml.write_text(toml.read_text().replace('["-mretpoline"]', '["-mretpoline", "-DX"]'))
    other = next(v for v in arch_toml.load_folder(tmp_path / "x86") if v.name == "x86_64")
    spec = way("retpoline").spec(VARIANTS["x86_64"], "zig")
    assert build.image(dataclasses.replace(spec, variant=other)).key != build.image(spec).key


# What is counted.


@pytest.fixture
def loop(guest, arm64):
    """Addresses in the loop, the stub and the target of the arm64 stub guest."""
    functions = guest("stub").functions
    return [functions[name] for name in ("looped_0", "whatever_0", "fast_0")]


def test_the_target_and_what_it_calls_do_not_count(guest, arm64, loop):
    site, stub, target = loop
    called = guest("stub").functions["other_3"]
    path = [site, stub, target, target + 4, called, *([site, site + 4, stub, target, called, target] * 2)]
    assert cost.per_call(path, guest("stub"), arm64, way("stub")) == 3


@pytest.mark.parametrize("calls", [0, CALLS - 1, CALLS + 1])
def test_another_number_of_calls_is_an_error(guest, arm64, loop, calls):
    with pytest.raises(CostError, match=f"stub: {CALLS} calls of fast_0 expected"):
        cost.per_call(loop * calls, guest("stub"), arm64, way("stub"))


def test_calls_that_differ_are_an_error(guest, arm64, loop):
    with pytest.raises(CostError, match=r"instructions before each: \[2, 2, 3\]"):
        cost.per_call([*loop, *loop, loop[0], *loop], guest("stub"), arm64, way("stub"))


IT_BLOCK = {  # cmp; itt eq; moveq (four bytes); bxeq lr; bx r1
    0x100: 0x2900,
    0x102: 0xBF04,
    0x104: 0xF04F,
    0x108: 0x4770,
    0x10A: 0x4708,
}


@pytest.mark.parametrize("taken", [[0x104, 0x108, 0x200], [0x10A]])
def test_an_instruction_of_thumb_whose_condition_fails_is_executed_too(taken):
    ends = [address for address in taken if address not in (0x104, 0x108)]
    path = with_skipped([0x100, 0x102, *taken] * 2, {**IT_BLOCK, 0x200: 0x4770}.get)
    assert path == [0x100, 0x102, 0x104, 0x108, *ends] * 2


# The engines.


def test_a_path_leaves_the_engines_guest_as_it_was(engine, guest, arm64, scenario):
    program = wire.encode(scenario(patch(0, "fast"), call(0, 5)), big_endian=False)
    (before,) = engine.run(guest(), arm64, [program], 10)
    first, second = (engine.path(guest(), arm64, program, 10) for _ in range(2))
    assert list(first.path) == list(second.path)
    assert guest().functions["fast_0"] in first.path
    assert list(engine.run(guest(), arm64, [program], 10)) == [before]


def test_a_guest_that_dies_on_its_path_is_a_failure(engine, guest, arm64):
    reply = path_of(guest("stub", "null-called"), arm64, (null(6), call(6, 1)), engine)
    assert reply.failure == "crash"
    assert not reply.path


def test_an_endless_path_is_a_timeout(engine, guest, arm64, scenario):
    endless = wire.encode(scenario(Loop(2**31, (query(0),))), big_endian=False)
    assert engine.path(guest(), arm64, endless, 0.3).failure == "timeout"


def test_unicorn_is_not_asked_where_a_code_hook_breaks_the_guest(arm64):
    settings = UnicornSettings(arch="SPARC", mode=("SPARC32",), stack_pointer="SP", program_counter="PC")
    assert not UNICORN.tells_path(dataclasses.replace(arm64, engine={"unicorn": settings}))
    assert UNICORN.tells_path(arm64)


def test_a_failure_under_an_engine_names_the_way(arm64, monkeypatch):
    monkeypatch.setattr(UNICORN, "path", lambda *_: Reply(failure="crash", detail="because"))
    with pytest.raises(CostError, match="direct: crash under unicorn: because"):
        cost.measure(arm64, "zig", "unicorn", mechanisms.load())


def test_what_no_engine_can_tell_is_listed_with_the_reason(monkeypatch):
    monkeypatch.setattr(UNICORN, "tells_path", lambda _: False)
    made = plan.make(plan.Selection(["arm64"], ["pointer"], ["unicorn"], (), ["BS-01"]))
    assert cost.measure_all(made, 1) == [Cost("arm64", "zig", reason="unicorn cannot tell what arm64 executes")]


def test_an_engine_that_tells_no_path_is_left_out(monkeypatch, fake_engine):
    made = plan.make(plan.Selection(["arm64"], ["pointer"], ["unicorn"], (), ["BS-01"]))
    monkeypatch.setattr("farm.engines.engines", lambda: {"unicorn": fake_engine([])})
    assert cost.measure_all(made, 1) == [Cost("arm64", "zig", reason="unicorn cannot tell what arm64 executes")]


# The table.

SAMPLE = [
    Cost("one", "zig", "1", "unicorn", {"direct": 7, "dispatch": 9, "retpoline": None, "stub": 8}),
    Cost("two", "gcc", "2", "qemu-user", {"direct": 10, "dispatch": 12, "stub": None}, note="it stays"),
    Cost("three", "zig", reason="nothing runs it"),
]


def test_a_plain_table_has_what_there_is_and_says_what_there_is_not():
    assert report.plain(SAMPLE).splitlines() == [
        "call      one/zig  two/gcc",
        "direct          7       10",
        "dispatch     9 +2    12 +2",
        "stub         8 +1        –",
        report.CAPTION,
        "two/gcc: it stays",
        "three/zig: nothing runs it",
    ]
    assert report.plain(SAMPLE[2:]) == "three/zig: nothing runs it"


def test_a_markdown_table():
    assert report.markdown(SAMPLE).splitlines()[:4] == [
        "| call | `one/zig` | `two/gcc` |",
        "| --- | ---: | ---: |",
        "| `direct` | 7 | 10 |",
        "| `dispatch` | 9 +2 | 12 +2 |",
    ]


def test_with_as_many_guests_as_ways_a_guest_is_a_row():
    assert report.plain([*SAMPLE, *SAMPLE]).splitlines()[:3] == [
        "variant  toolchain  direct  dispatch  stub",
        "one      zig             7      9 +2  8 +1",
        "two      gcc            10     12 +2     –",
    ]


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("guests", [5, len(GOLDEN)])
@pytest.mark.parametrize("width", [80, 100])
def test_a_table_that_is_wider_than_the_terminal_is_folded(terminal, guests, width):
    costs = [Cost(**row) for row in list(GOLDEN.values())[:guests]]
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)
    report.show(costs, console)
    table = console.file.getvalue().partition(report.CAPTION)[0]
    assert max(map(len, table.splitlines())) <= width
    assert "…" not in table
    told = sum(count is not None for each in costs for count in each.instructions.values())
    ways = cost.measured_ways(costs)
    assert len(re.findall(r"(?<!\S)\d+(?: [+-]\d+)?(?!\S)", table)) == told
    assert [way for way in ways if not re.search(rf"(?<!\S){way}(?!\S)", table)] == []


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_shows_the_same(terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    report.show(SAMPLE, console)
    shown = console.file.getvalue()
    for text in ("12 +2", "two/gcc: it stays", "three/zig: nothing runs it"):
        assert text in shown


def test_no_name_and_no_reason_breaks_the_markdown_table():
    costs = [Cost("a|b\n# c", "<i>", "1", "unicorn", {"direct": 7}), Cost("d", "e", reason="x\n\n# y\n```\n@z")]
    table = report.markdown(costs).splitlines()
    assert table[2] == "| `a¦b # c` | `<i>` | 7 |"
    assert report.markdown([msgspec.structs.replace(costs[0], instructions={"direct": 7, "stub": 8})]).startswith(
        "| call | `a¦b # c/<i>` |"
    )
    assert table[-1] == "- ````d/e: x # y ``` @z````"


# The command.


def test_the_command_needs_no_qemu(tmp_path):
    done = farm("cost", "--arch", "arm64,x86_64", "--json", PATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["variant"], row["engine"]) for row in rows] == [("arm64", "unicorn"), ("x86_64", "unicorn")]
    assert list(rows[0]["instructions"]) == [way.name for way in cost.ways(mechanisms.load())]


def test_a_missing_emulator_is_named_with_what_installs_it(tmp_path):
    done = farm("cost", "--arch", "arm64", "--engine", "qemu-user", PATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (3, "arm64/zig: qemu-aarch64 is missing: apt-get install qemu-user\n")
    assert done.stderr.startswith("farm: nothing was measured: ")


def test_a_guest_that_does_not_compile_is_status_1(tmp_path, edited_arch):
    folder = edited_arch(("variant.arm64", "variant.sick"), name="sick")
    (folder / "patch.c").write_text("#error closed today\n", encoding="utf-8")
    done = farm("cost", "--arch-path", folder, "--arch", "sick", "--markdown")
    assert done.returncode == 1
    assert "closed today" in done.stdout


def test_the_readmes_table_is_the_recorded_one():
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    arch, shown = re.search(
        r"^farm cost --arch (\S+)\n```\n\n```text\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE
    ).groups()
    made = plan.make(plan.Selection([arch], ["pointer"], ["unicorn"], (), ["BS-01"]))
    rows = [GOLDEN[planned.cell.variant, planned.cell.toolchain] for planned in made.cells]
    assert shown == report.plain([Cost(**row) for row in rows])
