"""Plans: what the selectors choose, and why some cells will not run."""

from __future__ import annotations

import dataclasses
import itertools
import os
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm import suite
from farm.cell import SKIPPED, Cell, Planned, Verdict
from farm.engines import engines
from farm.errors import MissingToolError, UnknownNameError, UsageError
from farm.guest import arch_toml, mechanisms
from farm.guest.toolchain import TOOLCHAINS
from farm.run import plan
from farm.run.plan import Selection, choose, make


def cells(**selectors):
    return [planned.cell for planned in make(Selection(**selectors)).cells]


@pytest.fixture(scope="module")
def whole():
    return make(Selection())


# Choosing.

NAMES = ["arm64", "ppc32", "ppc64", "ppc64le", "x86_64"]
ALIASES = {"arm64": {"arm64", "x86_64"}, "powerpc": {"ppc32", "ppc64", "ppc64le"}, "x86": {"x86_64"}}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], NAMES),
        (["arm64"], ["arm64"]),
        (["ppc64,arm64"], ["arm64", "ppc64"]),
        (["ppc64", " arm64 "], ["arm64", "ppc64"]),
        (["ppc*"], ["ppc32", "ppc64", "ppc64le"]),
        (["*64"], ["arm64", "ppc64", "x86_64"]),
        (["ppc[36]*,x86"], ["ppc32", "ppc64", "ppc64le", "x86_64"]),
        (["powerpc"], ["ppc32", "ppc64", "ppc64le"]),
        (["power*,arm64"], ["arm64", "ppc32", "ppc64", "ppc64le"]),
        (["*"], NAMES),
    ],
)
def test_names_globs_comma_lists_and_aliases_choose_in_the_given_order(patterns, expected):
    assert choose(patterns, NAMES, "architecture", ALIASES) == expected


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("arm46", "did you mean arm64? valid are arm64, ppc32, ppc64, ppc64le, x86_64, powerpc, x86"),
        ("pcc64", "did you mean ppc64"),
        ("power", "did you mean powerpc?"),
        ("zzz", "unknown architecture 'zzz': valid are arm64, ppc32, ppc64, ppc64le, x86_64, powerpc, x86"),
        ("nosuch", "unknown architecture 'nosuch': valid are arm64"),
        ("p", "unknown architecture 'p': valid are arm64"),
        ("ARM64", "unknown architecture 'ARM64': did you mean arm64?"),
        ("arm64,nothing*", "unknown architecture 'nothing*': valid are arm64"),
    ],
)
def test_a_name_that_selects_nothing_is_answered_with_near_ones(pattern, hint):
    with pytest.raises(UnknownNameError) as caught:
        choose([pattern], NAMES, "architecture", ALIASES)
    assert hint in str(caught.value)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("selector", ["arch", "mechanism", "engine", "toolchain", "scenario", "tag"])
def test_every_selector_refuses_a_name_that_nothing_has(selector):
    with pytest.raises(UnknownNameError, match="'nonsense'"):
        make(Selection(**{selector: ["nonsense"]}))


def test_a_scenario_is_selected_by_id_by_name_and_by_glob_of_either():
    chosen = {"arch": ["arm64"], "mechanism": ["stub"], "engine": ["unicorn"]}
    (by_id,) = cells(scenario=["BS-03"], **chosen)
    assert cells(scenario=["supersede_then_restore"], **chosen) == [by_id]
    assert str(by_id) == "arm64/stub/zig/unicorn/supersede_then_restore"
    basic = [name for name, scenario in suite.load().items() if scenario.id.startswith("BS-")]
    assert [cell.scenario for cell in cells(scenario=["BS-*"], **chosen)] == basic


def test_a_misspelt_scenario_id_is_answered_with_a_near_one():
    with pytest.raises(UnknownNameError, match=r"unknown scenario 'BS-33': did you mean .*BS-"):
        make(Selection(scenario=["BS-33"]))


def test_a_tag_selects_its_scenarios():
    tagged = {name for name, scenario in suite.load().items() if "storm" in scenario.tags}
    assert tagged
    assert {cell.scenario for cell in cells(tag=["storm"])} == tagged
    assert {cell.scenario for cell in cells(tag=["st*,"])} == tagged


def test_a_variant_with_the_name_of_its_architecture_is_that_variant():
    assert {cell.variant for cell in cells(arch=["arm64", "thumb"])} == {"arm64", "thumb"}


def test_an_architecture_stands_for_its_variants():
    variants = arch_toml.load().values()
    for architecture in {variant.architecture for variant in variants} - {variant.name for variant in variants}:
        expected = {variant.name for variant in variants if variant.architecture == architecture}
        assert {cell.variant for cell in cells(arch=[architecture])} == expected


def test_a_toolchain_that_no_selected_variant_has_is_answered_with_those_that_they_have():
    with pytest.raises(UsageError, match=r"^nothing is selected: toolchain zig: m68k has gcc only, sh4 has gcc only$"):
        make(Selection(arch=["m68k,sh4"], toolchain=["zig"]))


def test_selectors_with_no_cell_in_common_are_an_error():
    with pytest.raises(UsageError, match="nothing is selected: the selectors have no cell in common"):
        make(Selection(scenario=["BS-01"], tag=["storm"]))


def test_the_selectors_of_a_cell_select_it_alone(whole):
    for planned in whole.cells[::37]:
        words = planned.cell.selectors().split()
        options = {name.removeprefix("--"): [value] for name, value in zip(words[::2], words[1::2], strict=True)}
        assert cells(**options) == [planned.cell]


# Every combination is there.


def able(variant, mechanism):
    """Toolchains that build ``mechanism`` for ``variant``; if none does, all of the variant's."""
    known = mechanisms.load()[mechanism]
    return [name for name in variant.toolchain if not known.missing(variant, name)] or list(variant.toolchain)


def test_every_combination_is_there_once_and_profiles_for_what_depends_on_the_cpu(whole):
    scenarios = suite.load().values()
    profiles = {name for variant in arch_toml.load().values() for name in variant.engine if ":" in name}
    own = {"qemu-user:bti", "qemu-user:no-clmul", "unicorn:no-clmul"}
    assert profiles == own | {"qemu-system:bti", "qemu-system:no-clmul"}
    expected = {
        Cell(scenario.name, variant.name, mechanism, toolchain, engine)
        for variant, mechanism in itertools.product(arch_toml.load().values(), mechanisms.load())
        for toolchain in able(variant, mechanism)[:1]
        for engine in (*engines(), *profiles)
        if plan.is_default(engine, variant)
        for scenario in scenarios
        if engine not in profiles or (scenario.depends_on_cpu and engine in variant.engine)
    }
    assert [planned.cell for planned in whole.cells] == list(dict.fromkeys(planned.cell for planned in whole.cells))
    assert {planned.cell for planned in whole.cells} == expected


def test_a_cell_has_a_verdict_if_and_only_if_it_has_a_reason(whole):
    for planned in whole.cells:
        assert (planned.verdict is None) == (planned.reason is None)
        assert planned.verdict in (None, *SKIPPED)


def test_a_scenario_that_a_mechanism_cannot_express_is_not_applicable(whole):
    holes = [p for p in whole.cells if p.cell.scenario == "text_read_only" and p.cell.mechanism == "pointer"]
    assert holes
    assert {(p.verdict, p.reason) for p in holes} == {
        (Verdict.NOT_APPLICABLE, "pointer writes data, which stays writable")
    }


def test_a_missing_qemu_is_not_run_with_the_command_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    (planned,) = make(Selection(arch=["arm64"], mechanism=["stub"], engine=["qemu-user"], scenario=["BS-01"])).cells
    assert planned.verdict is Verdict.NOT_RUN
    assert planned.reason == "qemu-aarch64 is missing: apt-get install qemu-user"


def test_a_missing_compiler_is_not_run_with_the_command_that_installs_it(monkeypatch):
    def version(_variant):
        raise MissingToolError("the zig compiler", "pip install ziglang")

    monkeypatch.setattr(TOOLCHAINS["zig"], "version", version)
    (planned,) = make(Selection(arch=["arm64"], mechanism=["stub"], engine=["unicorn"], scenario=["BS-01"])).cells
    assert (planned.verdict, planned.reason) == (Verdict.NOT_RUN, "the zig compiler is missing: pip install ziglang")


def test_an_architecture_without_a_stub_has_its_reason_in_the_plan(edited_arch):
    folder = edited_arch(("variant.arm64", "variant.mine"), name="mine")
    (folder / "stub.S").unlink()
    made = make(Selection(arch=["mine"], mechanism=["stub"], engine=["unicorn"], arch_path=(folder,)))
    assert {(p.verdict, p.reason) for p in made.cells if p.cell.scenario == "tail_call"} == {
        (Verdict.NOT_APPLICABLE, "mine has no stub: no stub.S")
    }


def test_an_engine_that_an_architecture_does_not_know_has_its_reason_in_the_plan(edited_arch):
    unicorn = '[common.engine.unicorn]\narch = "ARM64"\nmode = ["ARM"]\nstack_pointer = "SP"\nprogram_counter = "PC"\n'
    folder = edited_arch(
        ("variant.arm64", "variant.mine"),
        (unicorn + 'features = ["clmul", "float"]\n', ""),
        ('[variant.mine.engine.unicorn]\nquirks = ["arm64-fp"]\n', ""),
        name="mine",
    )
    made = make(Selection(arch=["mine"], scenario=["BS-01"], mechanism=["pointer"], arch_path=(folder,)))
    reasons = {p.cell.engine: (p.verdict, p.reason) for p in made.cells}
    assert reasons["unicorn"] == (Verdict.NOT_APPLICABLE, "arch/mine/arch.toml has no engine.unicorn")


# Saved plans.


def test_a_plan_survives_a_round_trip(whole, tmp_path):
    path = tmp_path / "plan.json"
    path.write_bytes(whole.json())
    again = plan.read(path, Selection())
    assert again.cells == whole.cells
    assert again.sha256 == whole.sha256


def _hash(seed):
    program = "from farm.run import plan; print(plan.make(plan.Selection(arch=['arm64'])).sha256)"
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    return done.stdout


def test_the_hash_of_a_plan_is_the_same_in_every_process():
    assert _hash("1") == _hash("2") == _hash("3")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("supersede_then_restore", "tail_call", "made for another suite, or edited"),
        ("supersede_then_restore", "tail_cal", "unknown scenario 'tail_cal': did you mean tail_call"),
        ('"unicorn"', '"unicron"', "unknown engine 'unicron': did you mean unicorn"),
        ('"variant": "arm64"', '"variant": "arm46"', "unknown architecture 'arm46': did you mean arm64"),
        ('"mechanism": "stub"', '"mechanism": "stab"', "unknown mechanism 'stab': did you mean stub"),
        ('"toolchain": "zig"', '"toolchain": "zag"', "unknown toolchain 'zag': did you mean zig"),
        ('"schema": 1', '"schema": 2', "a plan of schema 2; this farm reads 1"),
        ('"verdict": null', '"verdict": "not-run"', "made for another suite, or edited"),
        (
            '"verdict": null',
            '"verdict": "pass"',
            "edited: arm64/.* has the verdict 'pass'; a plan knows not-applicable, not-run",
        ),
        ("{", "", "not a plan"),
        ('"cells"', '"sells"', "not a plan"),
    ],
)
def test_a_plan_that_was_tampered_with_is_refused(tmp_path, old, new, complaint):
    made = make(Selection(arch=["arm64"], mechanism=["stub"], engine=["unicorn"], scenario=["BS-03"]))
    text = made.json().decode()
    assert old in text
    path = tmp_path / "plan.json"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UsageError, match=complaint):
        plan.read(path, Selection())


def _edited(made, tmp_path, cells):
    """A plan of ``cells`` with the hash that they have."""
    path = tmp_path / "plan.json"
    path.write_bytes(dataclasses.replace(made, cells=tuple(cells)).json())
    return path


def test_a_plan_that_was_edited_and_hashed_again_is_refused_for_what_it_says(tmp_path):
    made = make(Selection(arch=["arm64be"], mechanism=["stub"], engine=["unicorn"], scenario=["BS-0*"]))
    first = made.cells[0]

    def other(**parts):
        return Planned(msgspec.structs.replace(first.cell, **parts))

    for cells, complaint in (
        ([*made.cells, first], rf"edited: {first.cell} is in it twice$"),
        (
            [Planned(first.cell, "mismatch", "so there")],
            r"has the verdict 'mismatch'; a plan knows not-applicable, not-run",
        ),
        ([other(toolchain="gcc")], r"arm64be/stub/gcc/.* is no cell of this farm: arm64be has zig only$"),
        ([other(engine="unicorn:none")], r"is no cell of this farm: arm64be has no engine unicorn:none$"),
        ([other(engine="qemu-user:no-clmul")], r"is no cell of this farm: every arm64 CPU model of QEMU has PMULL$"),
        (
            [other(variant="alpha", toolchain="gcc", mechanism="relocated", engine="qemu-user")],
            r"alpha has no relocated: no sites\.c$",
        ),
    ):
        with pytest.raises(UsageError, match=complaint):
            plan.read(_edited(made, tmp_path, cells), Selection())


def test_paths_below_the_current_folder_are_named_as_in_any_checkout(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    here, elsewhere = Path.cwd() / "my arch", Path.cwd().parent / "mine.py"
    selection = Selection(arch_path=(here,), scenario_path=(elsewhere,), mechanism_path=(here, elsewhere.parent))
    assert shlex.split(selection.path_options()) == [
        *("--arch-path", "my arch", "--scenario-path", str(elsewhere)),
        *("--mechanism-path", "my arch", "--mechanism-path", str(elsewhere.parent)),
    ]


@pytest.mark.parametrize("content", [b'{"cells":"\xff"}', b'{"x":' + b"[" * 100_000], ids=["bytes", "deep"])
def test_whatever_is_no_plan_is_said_to_be_none(tmp_path, content):
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="not a plan"):
        plan.read(path, Selection())


def test_a_plan_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"plan\.json: cannot be read: No such file or directory"):
        plan.read(tmp_path / "plan.json", Selection())


def test_a_plan_of_a_scenario_that_changed_since_is_refused(tmp_path, monkeypatch):
    made = make(Selection(arch=["arm64"], mechanism=["stub"], engine=["unicorn"], scenario=["BS-03"]))
    path = tmp_path / "plan.json"
    path.write_bytes(made.json())
    scenarios = dict(suite.load())
    old = scenarios["supersede_then_restore"]
    scenarios["supersede_then_restore"] = type(old)(old.id, old.name, old.title, old.steps[:-1], old.detects)
    monkeypatch.setattr(plan.suite, "load", lambda _=(): scenarios)
    with pytest.raises(UsageError, match="made for another suite"):
        plan.read(path, Selection())


# Shards.


@given(st.integers(1, 9))
def test_shards_partition_the_plan(whole, count):
    shards = [whole.shard(number, count).cells for number in range(1, count + 1)]
    together = [planned for shard in shards for planned in shard]
    assert len(together) == len(whole.cells)
    assert set(together) == set(whole.cells)
    order = {planned.cell: place for place, planned in enumerate(whole.cells)}
    assert all([order[p.cell] for p in shard] == sorted(order[p.cell] for p in shard) for shard in shards)


def test_a_shard_knows_its_name_and_the_plan_that_it_is_a_part_of(whole):
    shard = whole.shard(2, 3)
    assert shard.part.name == "2/3"
    assert shard.whole.cells == whole.cells
    assert shard.whole.sha256 == whole.sha256 != shard.sha256
    assert whole.whole is whole


def test_a_saved_division_is_kept_and_no_other_count_is_accepted(whole, tmp_path):
    divided = whole.divided(3)
    (tmp_path / "plan.json").write_bytes(divided.json())
    again = plan.read(tmp_path / "plan.json", Selection())
    assert again.shards == divided.shards
    assert again.shard(2, 3).cells == whole.shard(2, 3).cells
    with pytest.raises(UsageError, match="4 shards: the plan is divided into 3"):
        again.shard(2, 4)


@pytest.mark.parametrize("edit", [lambda n: n[:-1], lambda n: (9, *n[1:]), lambda n: (0, *n[1:])])
def test_a_division_that_cannot_be_that_of_its_cells_is_refused(whole, tmp_path, edit):
    divided = whole.divided(3)
    edited = dataclasses.replace(divided, shards=edit(divided.shards))
    (tmp_path / "plan.json").write_bytes(edited.json())
    with pytest.raises(UsageError, match="edited: its shards are not those of its cells"):
        plan.read(tmp_path / "plan.json", Selection())


def test_more_shards_than_there_is_work_for_are_refused():
    with pytest.raises(UsageError, match="5 shards: the plan has work for 1 at most"):
        make(Selection(arch=["arm64"], mechanism=["stub"], engine=["unicorn"], scenario=["BS-03"])).shard(1, 5)


@pytest.mark.parametrize(("number", "count"), [(0, 3), (4, 3), (-1, 3)])
def test_a_shard_out_of_range_is_refused(whole, number, count):
    with pytest.raises(UsageError, match=f"shard {number}/{count}: the number must be from 1 to {count}"):
        whole.shard(number, count)


def test_the_json_of_a_plan_is_for_people_too(whole):
    document = msgspec.json.decode(whole.json())
    assert document["sha256"] == whole.sha256
    assert set(document["cells"][0]) == {"cell", "verdict", "reason"}
    assert b"\n" in whole.json()
