"""Mechanisms, as their ``mechanism.toml`` describes them."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import pytest

from farm import paths, suite
from farm.cell import Verdict
from farm.errors import BackendError
from farm.guest import arch_toml, build, image, mechanisms
from farm.run import plan
from farm.run.plan import Selection
from farm.scenario.promises import NEEDS, Promise

KEYS = (
    "what, sources, architecture, include, flags, warnings, variants, functions, bytes, patches, writes, alias, "
    "redirects, far, patching, promises, absent, lacks, patched, environment, on"
)
ON_KEYS = "what, sources, include, flags, far, patching, lacks, patched"
PROMISES = ", ".join(f"'{promise}'" for promise in Promise)

#: A line that takes the place of the key's own, or is added, and what is said of it.
WRONG = {
    "what = 1": "what: 1 found; expected a string",
    'what = " "': "what: ' ' found; expected a string that is not empty",
    'patches = "heap"': "patches: 'heap' found; expected one of 'stub', 'pointer', 'literal'",
    "source = []": f"source: unknown key; valid are {KEYS}",
    'sources = ["poke.c", "stud.c"]': "sources: 'stud.c' is neither in FOLDER nor in COMMON",
    'sources = "poke.c"': "sources: 'poke.c' found; expected a list, each a string",
    'sources = ["../stub"]': "sources: '../stub' is neither in FOLDER nor in COMMON",
    'include = ["shims"]': "include: 'shims' is no folder in FOLDER",
    'on = { arm = { patched = { instruction = "b" } } }': "on.arm.patched.store: missing; expected a string",
    'on = { arm = { patched = "b" } }': "on.arm.patched: 'b' found; expected a table of instruction, store, reach",
    'promises = ["ret1"]': f"promises[0]: 'ret1' found; expected one of {PROMISES}",
    "bytes = 16.5": "bytes: 16.5 found; expected an integer",
    "bytes = 0": "bytes: 0 found; expected a number of bytes greater than 0",
    'writes = "code"': "writes: 'code' found; expected one of 'stubs', 'all', 'literals', 'data'",
    'alias = true\nwrites = "data"': "alias: true found, but a patch writes data; expected only with writes = "
    "stubs, all or literals",
    'lacks = {ret0 = "no"}': "lacks.ret0: also in promises; expected in one of the two",
    'lacks = {pokes = "no"}': "lacks.pokes: also in what the other keys say; expected in one of the two",
    'lacks = {grace = "no"}': f"lacks.grace: unknown key; valid are {', '.join(NEEDS)}",
    'lacks = {original = ""}': "lacks.original: '' found; expected a string that is not empty",
    "patched = {}": "patched.instruction: missing; expected a string",
    'lacks = {far = "no"}': "lacks.far: also in what the other keys say; expected in one of the two",
    "on = 1": f"on: 1 found; expected tables, each a table of {ON_KEYS}",
    "on = {arm64 = 1}": f"on.arm64: 1 found; expected a table of {ON_KEYS}",
    "on = {arm64 = {source = []}}": f"on.arm64.source: unknown key; valid are {ON_KEYS}",
    'on = {arm64 = {sources = ["x.c"]}}': "on.arm64.sources: 'x.c' is neither in FOLDER nor in COMMON",
    'on = {arm64 = {include = ["x"]}}': "on.arm64.include: 'x' is no folder in FOLDER",
    'on = {arm64 = {flags = ["${X}"]}}': "on.arm64.flags: ${X} is none of [environment]: none",
    'on = {arm64 = {lacks = {rolls-back = "no"}}}': "on.arm64.lacks.rolls-back: not promised elsewhere; valid are "
    "refuses-foreign, refuses-reentry, several-writers, reports-failed-poke, restores-bytes, ret0, null, "
    "checks-targets, transparent, closes-text, original, queries",
    'on = {arm64 = {far = false, lacks = {pokes = "no"}}}': "on.arm64.lacks.pokes: not promised elsewhere; valid are "
    "refuses-foreign, refuses-reentry, several-writers, reports-failed-poke, restores-bytes, ret0, null, "
    "checks-targets, transparent, closes-text, original, queries, far",
    'flags = ["-I${KERNEL}"]': "flags: ${KERNEL} is none of [environment]: none",
    "what": "not valid TOML: Expected '=' after a key in a key/value pair (at line 1, column 5)",
}


@pytest.fixture
def copied(tmp_path):
    """The file of a copy of ``stub``, in a folder beside a copy of what is shared."""
    known = mechanisms.load()["stub"]
    shutil.copytree(known.folder.parent, tmp_path / "mechanism")
    return tmp_path / "mechanism" / "stub" / "mechanism.toml"


def test_every_mechanism_has_a_folder_that_describes_it():
    known = mechanisms.load()
    assert list(known)[:3] == ["pointer", "stub", "relocated"]
    folder = next(iter(known.values())).folder.parent
    assert set(known) == {path.name for path in folder.iterdir()} - {"common"}
    assert [name for name, mechanism in known.items() if not mechanism.pokes] == ["pointer", "literal"]
    assert [name for name, mechanism in known.items() if mechanism.redirects] == ["relocated", "static-call"]


def test_every_source_in_the_folders_is_used_and_every_one_that_is_named_is_there():
    known = mechanisms.load().values()
    named = {path for mechanism in known for v in arch_toml.load().values() for path in mechanism.files(v)}
    assert [path for path in named if not path.is_file()] == []
    folder = next(iter(known)).folder.parent
    others = {"libc.c", "breakpoint.c"}  # for foreign code (test_layer.py), and for examples (test_breakpoints.py)
    assert set(folder.rglob("*.c")) - named == {mechanisms.common() / name for name in others}


@pytest.mark.parametrize(("line", "complaint"), WRONG.items())
def test_what_is_wrong_in_a_file_is_said_with_its_name(copied, line, complaint):
    text = copied.read_text(encoding="utf-8")
    key = line.partition(" ")[0]
    text = re.sub(rf"^(\[{key}\]|{key} = )([^\n]*|\[\n[^\]]*\])\n(?=\n|#|\w|$)", "", text, flags=re.MULTILINE)
    if key == "lacks":
        text = re.sub(r"^(rolls-back|redirects) = .*\n", "", text, flags=re.MULTILINE)
    if key == "on":
        text = re.sub(r"^\[on\.\w+\]\n(?:.+\n)*", "", text, flags=re.MULTILINE)
    copied.write_text(f"{line}\n{text}", "utf-8")
    with pytest.raises(BackendError) as caught:
        mechanisms.read(copied.parent)
    places = {"FOLDER": str(copied.parent), "COMMON": str(mechanisms.common())}
    assert str(caught.value) == f"{copied}: {re.sub('FOLDER|COMMON', lambda found: places[found[0]], complaint)}"


def test_a_file_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(BackendError, match=r"mechanism\.toml: no such file; a mechanism is a folder with a mechan"):
        mechanisms.read(tmp_path)


def test_a_mechanism_whose_folder_is_gone_is_said(copied, monkeypatch):
    copied.unlink()
    monkeypatch.setattr(mechanisms.paths, "data", lambda _: copied.parents[2])
    mechanisms.load.cache_clear()
    try:
        with pytest.raises(BackendError, match=r"stub/mechanism\.toml: no such file; a mechanism is a folder with"):
            mechanisms.load()
    finally:
        mechanisms.load.cache_clear()


def test_a_source_of_the_folder_itself_comes_before_a_shared_one(copied, arm64):
    made = mechanisms.read(copied.parent)
    assert mechanisms.common() / "poke.c" in made.files(arm64)
    (copied.parent / "poke.c").touch()
    assert copied.parent / "poke.c" in mechanisms.read(copied.parent).files(arm64)


def test_an_architecture_without_a_file_cannot_have_the_mechanism(arm64, edited_arch):
    folder = edited_arch()
    (folder / "sites.c").unlink()
    (variant,) = arch_toml.load_folder(folder)
    assert mechanisms.load()["relocated"].missing(arm64) is None
    assert mechanisms.load()["relocated"].missing(variant) == "arm64 has no relocated: no sites.c"
    assert mechanisms.load()["stub"].missing(variant) is None


def test_an_architecture_whose_memory_cannot_be_mapped_twice_has_no_such_mechanism(arm64, edited_arch):
    folder = edited_arch()
    header = folder / "arch.h"
    header.write_text(header.read_text(encoding="utf-8").replace("ARCH_SYS_MEMFD_CREATE", "ARCH_SYS_X"), "utf-8")
    (variant,) = arch_toml.load_folder(folder)
    why = "arm64 has no literal: no ARCH_SYS_MEMFD_CREATE in arch.h, and memory is to be mapped twice"
    assert mechanisms.load()["literal"].missing(variant) == why
    assert mechanisms.load()["literal"].missing(arm64) is None
    assert mechanisms.load()["stub"].missing(variant) is None


def test_what_an_architecture_need_not_have_is_left_out(arm64, edited_arch):
    folder = edited_arch()
    (folder / "patch.c").unlink()
    (variant,) = arch_toml.load_folder(folder)
    assert mechanisms.load()["pointer"].missing(variant) is None
    assert folder / "patch.c" not in build.sources(image.Spec(variant, "pointer"))
    assert arm64.folder / "patch.c" in build.sources(image.Spec(arm64, "pointer"))


def test_what_a_file_says_reaches_its_own_sources_and_the_shared_ones_alone(arm64):
    stub, relocated = mechanisms.load()["stub"], mechanisms.load()["relocated"]
    layer, patch = mechanisms.common() / "layer.c", arm64.folder / "patch.c"
    told = {f"-DMECHANISM_IDENTITY={stub.identity:#06x}", "-DPROMISES_CLOSES_TEXT=1"}
    assert told < set(stub.flags_for(layer, arm64))
    own = stub.flags_for(stub.folder / "stub.c", arm64)
    assert own == [*(f"-D{name}={value}" for name, value in stub.defines().items()), f"-I{stub.folder}"]
    assert {*told, "-DMECHANISM_TEXT=TEXT_STUBS"} < set(own)
    relocated_own = set(relocated.flags_for(relocated.folder / "relocated.c", arm64))
    assert relocated_own - set(own) > {"-DPROMISES_ROLLS_BACK=1"}
    others = set(build.sources(image.Spec(arm64, "stub"))) - set(stub.files(arm64))
    assert len(others) > 10
    assert [flags for path in (*others, patch) if (flags := stub.flags_for(path, arm64))] == []


def test_what_several_mechanisms_share_is_told_only_what_it_asks_so_that_one_object_serves_them_all(arm64):
    known, common = mechanisms.load(), mechanisms.common()

    def told(source, *by):
        return {tuple(known[mechanism].flags_for(source, arm64)) for mechanism in by}

    text = ("-DPATCHES_STUB=1", "-DMECHANISM_TEXT=TEXT_STUBS")
    assert told(common / "text.c", "stub", "inline-cache") == {text, (*text, "-DMECHANISM_ALIAS=TEXT_STUBS")}
    assert len(told(common / "text.c", "stub", "literal")) == 2
    assert told(common / "target.c", "stub", "relocated") == {("-DPATCHES_STUB=1",)}
    platform = paths.data("images") / "platform"
    assert told(platform / "linux.c", "stub", "literal") == {(), ("-DMECHANISM_ALIAS=TEXT_LITERALS",)}
    guest = paths.data("images") / "guest"
    assert told(guest / "interp.c", "stub", "detour", "pad") == {
        (),
        *((f"-DMECHANISM_BYTES={known[name].bytes}",) for name in ("detour", "pad")),
    }
    assert told(guest / "calls.c", "stub", "detour", "pad") == {()}


def test_a_changed_file_is_another_identity(copied):
    before = mechanisms.read(copied.parent)
    copied.write_text(copied.read_text(encoding="utf-8") + "\n# Another line.\n", encoding="utf-8")
    assert mechanisms.read(copied.parent).digest != before.digest
    assert len({mechanism.identity for mechanism in mechanisms.load().values()}) == len(mechanisms.load())


def test_code_that_is_not_ours_gets_no_warnings_of_ours(copied, arm64):
    text = 'warnings = "foreign"\nflags = ["-DTHEIRS"]\ninclude = ["shims"]\n'
    (copied.parent / "shims").mkdir()
    copied.write_text(text + copied.read_text(encoding="utf-8"), encoding="utf-8")
    made = mechanisms.read(copied.parent)
    last = made.flags_for(copied.parent / "stub.c", arm64)[-4:]
    assert last == [f"-I{copied.parent / 'shims'}", "-w", "-Wno-error", "-DTHEIRS"]
    assert "-w" not in made.flags_for(mechanisms.common() / "poke.c", arm64)


def test_a_variable_of_the_environment_stands_in_sources_and_flags(copied, tmp_path, monkeypatch, arm64):
    text = copied.read_text(encoding="utf-8").replace('"poke.c"', '"poke.c", "${THEIRS}/their own.c"')
    copied.write_text(
        f'flags = ["-D${{THEIRS}}"]\n{text}\n[environment]\nTHEIRS = "their tree: git clone it"\n', "utf-8"
    )
    monkeypatch.delenv("THEIRS", raising=False)
    made = mechanisms.read(copied.parent)
    with pytest.raises(BackendError, match=r"toml: environment\.THEIRS: THEIRS is not set: their tree: git clone it$"):
        made.check_ready()
    assert made.missing(arm64) is None  # as far as anybody can tell
    with pytest.raises(BackendError, match="THEIRS is not set"):
        build.image(image.Spec(arm64, "stub", foreign=made))
    monkeypatch.setenv("THEIRS", str(tmp_path / "gone"))
    why = re.escape(
        f"environment.THEIRS: THEIRS is '{tmp_path / 'gone'}', and nothing is there: their tree: git clone it"
    )
    with pytest.raises(BackendError, match=f"toml: {why}$"):
        mechanisms.read(copied.parent).check_ready()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THEIRS", ".")
    made = mechanisms.read(copied.parent)
    assert made.missing(arm64) == f"arm64 has no stub: no {tmp_path}/their own.c"
    (tmp_path / "their own.c").touch()
    assert made.missing(arm64) is None
    assert made.source(made.sources[1]) == tmp_path / "their own.c"
    assert made.flags == ("-D.",)


def test_what_differs_on_a_variant_is_added_to_what_holds_everywhere(copied, arm64):
    text = copied.read_text(encoding="utf-8").replace('"poke.c", ', "")
    for name in ("a.c", "b.c"):
        (copied.parent / name).touch()
    (copied.parent / "shims").mkdir()
    copied.write_text(
        f"""{text}
[on."arm*"]
sources = ["a.c"]
include = ["shims"]
flags = ["-DA"]
lacks = {{ queries = "nobody is told" }}

[on.arm64]
sources = ["b.c"]
far = false
lacks = {{ far = "it branches" }}
""",
        "utf-8",
    )
    made, x86, be = mechanisms.read(copied.parent), arch_toml.load()["x86_64"], arch_toml.load()["arm64be"]
    assert [path.name for path in made.files(arm64) if path.name in {"a.c", "b.c"}] == ["a.c", "b.c"]
    assert [path.name for path in made.files(x86) if path.name in {"a.c", "b.c"}] == []
    flags = made.flags_for(copied.parent / "a.c", arm64)
    assert flags[-2:] == [f"-I{copied.parent / 'shims'}", "-DA"]
    assert "-DPROMISES_QUERIES=1" not in flags
    assert "-DPROMISES_QUERIES=1" in made.flags_for(copied.parent / "stub.c", x86)
    scenarios = suite.load()
    assert made.at(arm64).cannot_run(scenarios["query_current"]) == "nobody is told"
    assert made.at(arm64).cannot_run(scenarios["far_target"]) == "it branches"
    assert made.at(x86).cannot_run(scenarios["query_current"]) is None
    assert made.at(be).cannot_run(scenarios["far_target"]) is None  # a variant's name is its own
    assert made.at(be).cannot_run(scenarios["query_current"]) == "nobody is told"
    assert made.far_base(x86) == x86.far_base
    assert made.far_base(arm64) - arm64.text_base < arm64.branch_range
    assert made.at(arm64).at(arm64) == made.at(arm64)


def test_the_architecture_named_folder_of_a_mechanism_comes_before_the_architectures_own(copied, arm64):
    own = copied.parent / "arm64"
    own.mkdir()
    (own / "patch_64.c").touch()
    files = mechanisms.read(copied.parent).files(arm64)
    assert own / "patch_64.c" in files
    assert arm64.folder / "stub.S" in files
    assert arm64.folder / "patch.c" not in files


def test_a_mechanism_says_which_variants_have_it(copied, arm64):
    copied.write_text('variants = ["x86", "arm6*"]\n' + copied.read_text(encoding="utf-8"), encoding="utf-8")
    made = mechanisms.read(copied.parent)
    assert made.missing(arm64) is None
    assert made.missing(arch_toml.load()["ppc32"]) == "stub is not made for ppc32: its mechanism.toml names x86, arm6*"


def test_a_mechanism_says_why_variants_lack_it_or_toolchains_cannot_build_it(copied, arm64):
    text, variants = copied.read_text(encoding="utf-8"), arch_toml.load()
    copied.write_text(text + '[absent]\nsh = "no NOPs"\n"arm64/zig" = "no attribute"\n"armeb/zig" = "none"\n', "utf-8")
    made = mechanisms.read(copied.parent)
    assert made.missing(variants["sh4"]) == made.missing(variants["sh4"], "gcc") == "no NOPs"
    assert made.missing(variants["armeb"]) == "none", "which no other toolchain builds"
    assert (made.missing(arm64), made.missing(arm64, "gcc")) == (None, None)
    assert made.missing(arm64, "zig") == "no attribute"


def test_a_toolchain_that_cannot_build_a_mechanism_is_not_chosen_and_its_cells_say_why():
    chosen = Selection(arch=("thumb",), mechanism=("pad",), scenario=("BS-01",), engine=("unicorn",))
    assert {p.cell.toolchain: p.verdict for p in plan.make(chosen).cells} == {"gcc": None}
    (hole,) = plan.make(replace(chosen, toolchain=("zig",))).cells
    assert (hole.verdict, hole.reason) == (
        Verdict.NOT_APPLICABLE,
        "clang has no attribute patchable_function_entry there",
    )


@pytest.mark.parametrize(
    ("pattern", "complaint"), [("arm65", "unknown architecture"), ("arm64/rust", "unknown toolchain")]
)
def test_what_lacks_a_mechanism_must_be_there(copied, pattern, complaint):
    text = copied.read_text(encoding="utf-8")
    (theirs := copied.parent.with_name("theirs")).mkdir()
    (theirs / "mechanism.toml").write_text(f'{text}[absent]\n"{pattern}" = "why"\n', encoding="utf-8")
    with pytest.raises(BackendError, match=rf"theirs/mechanism\.toml: absent\.{pattern}: {complaint}"):
        plan.make(Selection(arch=("arm64",), mechanism_path=(theirs,)))


def test_what_a_patch_changes_is_said_of_the_variants_that_a_pattern_fits():
    detour, known = mechanisms.load()["detour"], arch_toml.load()
    assert detour.at(known["armeb"]).patched == detour.on["arm*"].patched
    assert detour.at(known["arm64be"]).patched == detour.on["arm64*"].patched
    assert detour.at(known["thumb"]).patched == detour.on["thumb"].patched
    assert mechanisms.load()["pointer"].at(known["thumb"]).patched is mechanisms.load()["pointer"].patched
    assert mechanisms.load()["stub"].at(known["thumb"]).patched is None


def test_far_text_lies_near_for_a_mechanism_that_reaches_no_further(copied, arm64):
    copied.write_text("far = false\n" + copied.read_text(encoding="utf-8"), encoding="utf-8")
    made = mechanisms.read(copied.parent)
    near, far = (build.image(image.Spec.of(arm64, mechanism, "zig")) for mechanism in (made, mechanisms.load()["stub"]))
    assert far.symbols["far_start"] == arm64.far_base
    assert near.symbols["far_start"] == near.symbols["text_start"] + mechanisms.NEAR_FAR
