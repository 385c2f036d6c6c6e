"""Mechanisms out of the tree, by ``--mechanism-path``."""

from __future__ import annotations

import os
import pickle
import re
import shlex
import shutil

import msgspec
import pytest

import farm as package
from farm.cell import Verdict
from farm.errors import BackendError, BuildError, UsageError
from farm.guest import build, mechanisms
from farm.run import batch, plan
from farm.run.plan import Selection
from tests.helpers import farm

ARM64 = ("--arch", "arm64", "--engine", "unicorn")


def selected(folder, scenario=("supersede_then_restore",), arch=("arm64",), **selectors):
    return plan.make(Selection(arch, ("mine",), ("unicorn",), (), scenario, mechanism_path=(folder,), **selectors))


def edit(folder, *replacements, file="mechanism.toml"):
    path = folder / file
    text = path.read_text(encoding="utf-8")
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


# Green and red.


def test_a_mechanism_of_ones_own_is_run_and_compared_with_ours(mine, tmp_path):
    select = ("--mechanism", "mine,pointer", "--scenario", "BS-0*", "--mechanism-path", mine.parent)
    done = farm("run", *ARM64, *select, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    cells = msgspec.json.decode(farm("plan", *ARM64, *select, "--json").stdout)["cells"]
    assert {planned["cell"]["mechanism"] for planned in cells} == {"pointer", "mine"}
    assert f"{len(cells)} cells: {len(cells)} pass" in done.stdout


def test_a_red_cell_is_reproduced_shown_and_run_again_with_its_path(mine, tmp_path):
    edit(mine, ("pointers[n].target = target;", "(void)target, (void)n;"), file="pointer.c")
    select = (*ARM64, "--mechanism", "mine", "--scenario", "BS-01,BS-03", "--mechanism-path", mine)
    saved = tmp_path / "plan.json"
    saved.write_text(farm("plan", *select, "--json").stdout, encoding="utf-8")
    out = ("--output", tmp_path / "out")
    done = farm("run", "--plan", saved, "--mechanism-path", mine, *out)
    assert done.returncode == 1, done.stdout + done.stderr
    (command,) = re.findall(r"reproduce: farm (.*)", done.stdout)
    assert f"--mechanism-path {shlex.quote(str(mine))}" in command
    assert farm(*shlex.split(command), "--output", tmp_path / "again").returncode == 1
    cell = "arm64/mine/zig/unicorn/BS-03"
    shown = farm("show", cell, tmp_path / "out", "--mechanism-path", mine)
    assert "whatever_0" in shown.stdout
    assert "Next" in shown.stdout
    assert farm("trace", cell, "--mechanism-path", mine).returncode == 1
    assert farm("run", *select, "--resume", *out).returncode == 1
    assert farm("report", tmp_path / "out", "--mechanism-path", mine).returncode == 1
    gone = farm("run", "--plan", saved, *out)
    assert gone.returncode == 2
    assert "unknown mechanism 'mine': valid are pointer, stub, relocated, " in gone.stderr
    assert gone.stderr.endswith("; mechanism-path adds others\n")


def test_a_guest_of_ones_own_is_booted(mine):
    with package.boot("arm64", mechanism="mine", mechanism_path=mine) as guest:
        guest.patch("fast")
        assert guest.call(5) == 11
        assert any("whatever_0" in line for line in guest.code())
    with pytest.raises(UsageError, match=r"^mechanism_path 5 found; expected a path$"):
        package.boot("arm64", mechanism_path=[5])


def test_it_is_listed_with_what_it_promises_and_where_it_comes_from(mine):
    edit(mine, ('what = "', 'variants = ["arm64", "x86"]\nwhat = "'), ('    "queries",\n', ""))
    rows = {row["name"]: row for row in msgspec.json.decode(_listed("mechanisms", mine))}
    ours = mechanisms.load()
    assert list(rows) == [*ours, "mine"]
    assert rows["mine"]["folder"] == str(mine)
    assert rows["mine"]["variants"] == ["arm64", "x86_64", "i386"]
    assert rows["mine"]["absent"] == rows["pointer"]["absent"] == {}
    assert rows["pad"]["absent"]["clang has no attribute patchable_function_entry there"] == [
        "arm by zig",
        "armeb",
        "thumb by zig",
    ]
    assert list(rows["static-call"]["on"]) == ["i386"]
    assert set(rows["pointer"]["promises"]) - set(rows["mine"]["promises"]) == {"queries"}
    (variant,) = (row for row in msgspec.json.decode(_listed("variants", mine)) if row["name"] == "ppc32")
    assert "mine" not in variant["mechanisms"]
    assert "pointer" in variant["mechanisms"]
    scenarios = {row["name"]: row for row in msgspec.json.decode(_listed("scenarios", mine))}
    assert scenarios["supersede_then_restore"]["mechanisms"] == [*ours, "mine"]
    assert scenarios["query_current"]["mechanisms"] == list(ours)


def _listed(what, mine):
    done = farm("list", what, "--json", "--mechanism-path", mine)
    assert done.returncode == 0, done.stderr
    return done.stdout


# What is promised.


def test_a_promise_that_is_not_made_is_the_reason_for_not_applicable(mine):
    edit(mine, ('    "queries",\n', ""))
    (queried,) = selected(mine, ("query_current",)).cells
    assert queried.verdict is Verdict.NOT_APPLICABLE
    assert queried.reason == "mine does not promise queries: it tells where a call leads"
    edit(mine, ('    "ret0",\n', ""), ("[patched]", 'ret0 = "mine has no return"\n\n[patched]'))
    mechanisms.load.cache_clear()
    (zero,) = selected(mine, ("ret0_returns_zero",)).cells
    assert zero.reason == "mine has no return"
    assert selected(mine).cells[0].verdict is None


def test_a_fact_that_is_not_so_is_a_reason_too(mine):
    text = (mine / "mechanism.toml").read_text(encoding="utf-8")
    (mine / "mechanism.toml").write_text(re.sub(r"\[lacks\].*?\n\n", "", text, flags=re.DOTALL), encoding="utf-8")
    (hole,) = selected(mine, ("patch_then_call_at_once",)).cells
    assert hole.reason == "with mine it is not so that a patch stores to code"


def test_where_a_mechanism_is_not_its_cells_say_why(mine):
    edit(mine, ('what = "', 'variants = ["arm*"]\nwhat = "'))
    cells = {planned.cell.variant: planned for planned in selected(mine, arch=("arm64", "ppc32")).cells}
    assert cells["arm64"].verdict is None
    assert cells["ppc32"].reason == "mine is not made for ppc32: its mechanism.toml names arm*"


# Images.


def test_a_worker_elsewhere_can_build_what_a_batch_carries(mine):
    (work,) = batch.batches(selected(mine))
    carried = pickle.loads(pickle.dumps(work))
    assert carried == work
    assert carried.spec.made_by.folder == mine
    assert [result.verdict for result in batch.run_batch(carried)] == [Verdict.PASS]


def test_what_is_not_its_own_is_not_compiled_again_and_its_place_does_not_matter(mine, own_cache, tmp_path):
    def objects():
        return set((own_cache / "objects").iterdir())

    def built(folder):
        made = selected(folder)
        return build.image(made.spec(made.cells[0].cell))

    before = objects()
    first = built(mine)
    own = len(mechanisms.read(mine).sources) + len(mechanisms.SHARED)
    assert 0 < len(objects() - before) <= own
    before = objects()
    assert built(shutil.copytree(mine, tmp_path / "elsewhere" / "mine")).key == first.key
    assert objects() == before
    edit(mine, ('what = "', 'what = "now '))
    mechanisms.load.cache_clear()
    changed = built(mine)
    assert changed.key != first.key
    assert changed.mechanism_identity != first.mechanism_identity


# What is wrong.


def test_two_mechanisms_of_one_name_are_refused_with_both_places(mine, tmp_path):
    ours = mine.rename(mine.with_name("pointer"))
    with pytest.raises(BackendError, match=r"/mechanisms/pointer/mechanism\.toml: pointer: already the name of /.*ima"):
        mechanisms.load((ours,))
    one = ours.rename(ours.with_name("mine"))
    two = shutil.copytree(one, tmp_path / "elsewhere" / "mine")
    with pytest.raises(BackendError, match=rf"^{two}/mechanism\.toml: mine: already the name of {one}; a mechanism is"):
        mechanisms.load((one, two))


def test_a_folder_without_a_manifest_is_said(tmp_path):
    with pytest.raises(BackendError, match=rf"^{tmp_path}: no mechanism\.toml there, nor in a folder below it$"):
        mechanisms.load((tmp_path,))


def test_a_file_that_is_not_text_is_said(mine):
    (mine / "mechanism.toml").write_bytes(b'what = "\xff"')
    done = farm("list", "mechanisms", "--mechanism-path", mine)
    assert done.returncode == 2
    assert f"{mine}/mechanism.toml: cannot be read: 'utf-8' codec can't decode byte 0xff" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_said(mine):
    (mine / "mechanism.toml").chmod(0)
    with pytest.raises(BackendError, match=r"mine/mechanism\.toml: cannot be read: \[Errno 13\] Permission denied"):
        mechanisms.load((mine,))


def test_a_variant_that_does_not_exist_is_said_with_those_that_do(mine):
    edit(mine, ('what = "', 'variants = ["arm64", "arm65"]\nwhat = "'))
    with pytest.raises(BackendError) as caught:
        selected(mine)
    assert str(caught.value).startswith(f"{mine}/mechanism.toml: variants: unknown architecture 'arm65': did you mean ")
    assert str(caught.value).endswith("; arch-path adds others")


@pytest.fixture
def theirs(mine):
    """The sentence about the variable that the mechanism ``mine`` needs, and that is not set."""
    edit(mine, ("[patched]", '[environment]\nTHEIRS = "the tree of theirs: git clone it"\n\n[patched]'))
    edit(mine, ('what = "', 'flags = ["-D${THEIRS}"]\nwhat = "'))
    return f"{mine}/mechanism.toml: environment.THEIRS: THEIRS is not set: the tree of theirs: git clone it"


@pytest.mark.parametrize(
    "command",
    [
        ["run", "--scenario", "BS-01"],
        ["calibrate", "--arch", "arm64", "--scenario", "BS-03"],
        ["cost", "--arch", "arm64"],
        ["trace", "arm64/mine/zig/unicorn/BS-01"],
    ],
    ids=lambda command: command[0],
)
def test_a_variable_that_is_not_set_ends_a_command_that_would_use_it(mine, theirs, command, tmp_path):
    done = farm(*command, "--mechanism-path", mine, cwd=tmp_path, THEIRS=None)
    assert (done.returncode, done.stderr) == (2, f"farm: {theirs}\n")
    assert not list(tmp_path.glob("farm-*"))


@pytest.mark.usefixtures("theirs")
@pytest.mark.parametrize(
    "command",
    [
        ["run", "--mechanism", "pointer", "--arch", "arm64", "--engine", "unicorn", "--scenario", "BS-01"],
        ["list", "instructions"],
    ],
    ids=lambda command: command[0],
)
def test_a_variable_that_is_not_set_does_not_matter_where_another_mechanism_is_selected(mine, command, tmp_path):
    done = farm(*command, "--mechanism-path", mine, cwd=tmp_path, THEIRS=None)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_variable_that_is_not_set_is_said_beside_what_needs_it(mine, theirs):
    done = farm("list", "mechanisms", "--mechanism-path", mine, THEIRS=None)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == theirs
    rows = msgspec.json.decode(farm("list", "mechanisms", "--json", "--mechanism-path", mine, THEIRS=None).stdout)
    assert {row["name"]: row["unready"] for row in rows if row["unready"]} == {"mine": theirs}


def test_a_list_of_known_bad_cells_may_be_about_a_mechanism_that_needs_a_variable(mine, theirs, tmp_path):
    (tmp_path / "quarantine.toml").write_text(
        '[[known-bad]]\ncells = "arm64/*/*/unicorn/BS-01"\nverdict = "flaky"\nissue = "https://example.org/1"\n'
        'owner = "ada"\nreview = 2099-01-01\n',
        encoding="utf-8",
    )
    select = ("--mechanism", "pointer", "--arch", "arm64", "--engine", "unicorn", "--scenario", "BS-01")
    done = farm("run", *select, "--mechanism-path", mine, cwd=tmp_path, THEIRS=None)
    assert done.returncode == 0, done.stderr
    assert theirs not in done.stdout + done.stderr


def test_code_that_does_not_compile_is_a_build_error_in_the_compilers_words_once(mine, tmp_path):
    (mine / "pointer.c").write_text("int broken(\n", encoding="utf-8")
    select = (*ARM64, "--mechanism", "mine", "--scenario", "BS-0*", "--mechanism-path", mine)
    done = farm("run", *select, "--output", tmp_path / "out")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{mine}/pointer.c does not compile for arm64: as above" in done.stdout
    assert done.stdout.count("error: expected parameter declarator") == 1


def test_warnings_are_errors_in_code_of_ours_alone(mine):
    edit(
        mine,
        ("FOR_EACH_INTEGER_FUNCTION(FUNCTION)", "FOR_EACH_INTEGER_FUNCTION(FUNCTION)\nstatic int unused;"),
        file="pointer.c",
    )
    made = selected(mine)
    with pytest.raises(BuildError, match="unused"):
        build.image(made.spec(made.cells[0].cell))
    edit(mine, ('what = "', 'warnings = "foreign"\nwhat = "'))
    mechanisms.load.cache_clear()
    made = selected(mine)
    assert build.image(made.spec(made.cells[0].cell)).mechanism == "mine"


@pytest.mark.parametrize("path", [(), None], ids=["absent", "there"])
def test_a_scenario_for_a_mechanism_that_is_not_here_is_said(mine, tmp_path, path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from farm.scenario import *\n"
        'SCENARIOS = (Scenario("BS-90", "only_mine", "T", (query(0),), frozenset({Defect.LOST_PATCH}), '
        'only=(frozenset({"mine"}), "ours only")),)\n',
        encoding="utf-8",
    )
    folders = (mine,) if path is None else path
    selection = Selection(("arm64",), scenario=("only_mine",), scenario_path=(file,), mechanism_path=folders)
    if path is None:
        reasons = {planned.cell.mechanism: planned.reason for planned in plan.make(selection).cells}
        assert reasons == {**dict.fromkeys(mechanisms.load(), "ours only"), "mine": None}
    else:
        with pytest.raises(UsageError, match=r"^scenario BS-90 only_mine: only: unknown mechanism 'mine': valid"):
            plan.make(selection)


def test_controls_are_planted_in_it_and_found(mine, tmp_path):
    select = (*ARM64, "--mechanism", "mine", "--scenario", "BS-03", "--mechanism-path", mine)
    done = farm("calibrate", *select, "--control", "no-patch,off-by-one")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 findings, 0 not as claimed" in done.stdout
    planted = farm("run", *select, "--output", tmp_path / "out")
    assert "no negative control" not in planted.stdout
    assert farm("report", tmp_path / "out").returncode == 0  # without the path: nothing is known of it
