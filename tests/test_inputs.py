"""What a guest was made of: every file that the tools read is known again, and what they do not tell of is refused."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farm import paths
from farm.errors import BuildError, ImageError
from farm.guest import build, inputs, mechanisms
from farm.guest.arch_toml import load_folder
from farm.guest.image import Spec
from farm.guest.inputs import Files, Places, Record

TARGET = '#include "patchfarm.h"\n#include {name}\nTARGET(default, 0) {{ return FACTOR * x; }}\n'


def compilers():
    return [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                name == "gcc" and shutil.which("aarch64-linux-gnu-gcc") is None,
                reason="aarch64-linux-gnu-gcc is missing: apt-get install gcc-aarch64-linux-gnu",
            ),
        )
        for name in ("zig", "gcc")
    ]


@pytest.fixture(params=compilers())
def toolchain(request):
    return request.param


@pytest.fixture
def own(tmp_path, arm64, toolchain):
    """``own(name)``: the guest of a source of the user's that includes ``name``, written as in C."""
    folder = tmp_path / "mine"
    folder.mkdir()

    def spec(name='"factor.h"', text=TARGET):
        (folder / "targets.c").write_text(text.format(name=name), encoding="utf-8")
        return Spec(arm64, "pointer", toolchain, source=folder / "targets.c")

    return spec


# What they read.


@pytest.mark.parametrize("name", ["factor.inc", "deeper/factor.h", "../beside/factor.h", "a b#c$d.h"])
def test_a_changed_file_is_another_guest_whatever_its_name_and_wherever_it_is(own, name):
    spec = own(f'"{name}"')
    header = spec.source.parent / name
    header.parent.mkdir(exist_ok=True)
    header.write_text("#define FACTOR 3\n", encoding="utf-8")
    before = build.image(spec)
    assert build.kept(spec) == before
    header.write_text("#define FACTOR 4\n", encoding="utf-8")
    assert build.kept(spec) != before
    after = build.image(spec)
    assert after.sha256 != before.sha256
    header.write_text("#define FACTOR 3\n", encoding="utf-8")
    assert build.kept(spec) == before, "both are kept"


def test_a_file_that_an_architecture_includes_from_a_subfolder_is_part_of_the_guest(edited_arch):
    """A false green once: the guest of before was run in its place."""
    folder = edited_arch()
    (variant,) = load_folder(folder)
    (folder / "deeper").mkdir()
    patch = folder / "patch.c"
    (folder / "deeper" / "patch.inc").write_bytes(patch.read_bytes())
    patch.write_text('#include "deeper/patch.inc"\n', encoding="utf-8")
    build.image(Spec(variant, "stub"))
    (folder / "deeper" / "patch.inc").write_text("#error this architecture is closed today\n", encoding="utf-8")
    with pytest.raises(BuildError, match="closed today"):
        build.image(Spec(variant, "stub"))


def test_a_file_that_appears_earlier_on_the_include_path_is_seen(own, edited_arch):
    folder = edited_arch()
    (variant,) = load_folder(folder)
    (folder / "factor.h").write_text("#define FACTOR 3\n", encoding="utf-8")
    spec = replace(own(), variant=variant)
    before = build.image(spec)
    nearer = spec.source.with_name("factor.h")
    nearer.write_text("#define FACTOR 4\n", encoding="utf-8")
    assert build.image(spec).sha256 != before.sha256
    nearer.unlink()
    assert build.image(spec) == before


def test_a_file_that_a_source_only_asks_for_is_seen(own):
    asks = (
        '#include "patchfarm.h"\n#if __has_include({name})\n#define FACTOR 4\n#else\n#define FACTOR 3\n#endif\n'
        "TARGET(default, 0) {{ return FACTOR * x; }}\n"
    )
    spec = own('"nearby/question.h"', asks)
    before = build.image(spec)
    asked = spec.source.parent / "nearby"
    asked.mkdir()
    (asked / "question.h").touch()
    assert build.image(spec).sha256 != before.sha256


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A copy of the farm's guests, that can be changed."""
    folder = tmp_path / "farm"
    for name in ("arch", "images"):
        shutil.copytree(paths.data(name), folder / name)
    monkeypatch.setattr(paths, "data", lambda name: folder / name)
    mechanisms.load.cache_clear()
    yield folder
    mechanisms.load.cache_clear()


def test_a_linker_script_and_what_it_includes_are_part_of_the_guest(elsewhere, toolchain):
    variant, *_ = load_folder(elsewhere / "arch" / "arm64")
    script = elsewhere / "images" / "platform" / "link.ld"
    text = script.read_text(encoding="utf-8")
    part = elsewhere / "images" / "part.ld"
    part.write_text("    .far : { far_start = .; *(.far) . = ALIGN(16); far_end = .; } :far\n", encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(".far :")]
    place = next(number for number, line in enumerate(lines) if "FAR_BASE;" in line)
    script.write_text("\n".join([*lines[: place + 1], "INCLUDE part.ld", *lines[place + 1 :]]), encoding="utf-8")
    spec = Spec(variant, "pointer", toolchain)
    before = build.image(spec)
    part.write_text(part.read_text(encoding="utf-8").replace("ALIGN(16)", "ALIGN(64)"), encoding="utf-8")
    assert build.kept(spec) != before
    after = build.image(spec)
    assert after.sha256 != before.sha256
    script.write_text(text, encoding="utf-8")
    assert build.kept(spec) not in (before, after)


def test_a_changed_byte_of_any_file_that_was_read_is_another_guest(elsewhere, toolchain):
    """Comments count too: what is asked is whether it is built anew, not whether that makes a difference."""
    variant, *_ = load_folder(elsewhere / "arch" / "arm64")
    source = elsewhere / "mine" / "targets.c"
    source.parent.mkdir()
    source.write_text(TARGET.format(name='"factor.inc"'), encoding="utf-8")
    (source.parent / "factor.inc").write_text("#define FACTOR 3 /* three */\n", encoding="utf-8")
    spec = Spec(variant, "relocated", toolchain, source=source)
    built = build.image(spec)
    read = sorted(path for path in map(Path, read_by(spec)) if path.is_relative_to(elsewhere))
    names = {path.name for path in read}
    assert {"factor.inc", "targets.c", "link.ld", "patch.c", "sites.c", "arch.h", "patch.h", "pattern.S"} <= names
    assert len(read) > 25

    @given(st.sampled_from(read), st.integers(0, 1 << 20), st.integers(1, 255))
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def changes(path, place, flipped):
        content = path.read_bytes()
        other = bytearray(content)
        other[place % len(content)] ^= flipped
        path.write_bytes(other)
        assert build.kept(spec) is None, path
        path.write_bytes(content)
        assert build.kept(spec) == built

    changes()


def read_by(spec):
    """The paths of all that the last build of ``spec`` read."""
    record, *_ = inputs.records(build._made(build._request(spec, Files())))  # the last one is first
    places = build._places(spec)
    return [path for path in map(places.path, record.inputs) if Path(path).is_file()]


@pytest.mark.parametrize("option", ["-specs=", "-Wl,--version-script=", "-Wl,-T,"])
def test_a_file_that_an_option_names_is_part_of_the_guest(tmp_path, option):
    """No compiler tells of it."""
    told, read = tmp_path / "told.d", tmp_path / "source.c"
    (tmp_path / "mine").touch()
    read.touch()
    told.write_text(f"object: {read}\n", encoding="utf-8")
    names = inputs.compiled(
        told, ["gcc", f"{option}{tmp_path / 'mine'}", "-DTHERE=mine", str(read)], Path("/"), Places()
    )
    assert names == {str(tmp_path / "mine"), str(read)}


def test_only_what_lies_beside_the_compiler_is_known_by_its_size(own):
    """With gcc that was once everything below /usr: a header of the user's in /usr/local among it."""
    spec = own("<stdint.h>", '#include "patchfarm.h"\n#include {name}\nTARGET(default, 0) {{ return x; }}\n')
    build.image(spec)
    places = build._places(spec)
    root, ours = places.path(inputs.COMPILER), (str(paths.data("images").parent), str(spec.source.parent))
    assert [path for path in read_by(spec) if not path.startswith((root, *ours))] == []
    for path in ("/usr/include/stdint.h", "/usr/local/include/mine.h", "/usr/lib/mine.h"):
        assert not places.name(path).startswith(inputs.COMPILER)


# What they do not tell of.


def test_a_source_that_reads_what_no_compiler_tells_of_is_refused(own, tmp_path):
    (tmp_path / "bytes").write_bytes(b"bytes")
    spec = own(tmp_path / "bytes", '#include "patchfarm.h"\n__asm__(".incbin \\"{name}\\"");\n')
    with pytest.raises(ImageError) as caught:
        build.image(spec)
    assert str(caught.value) == (
        f"{spec.source}:2: .incbin reads a file that no compiler tells of, so that a change to it would not be seen; "
        "put its contents into the source"
    )


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (' .incbin "x"', ".incbin"),
        ('__asm__(".INCLUDE \\"x\\"");', ".INCLUDE"),
        ("\n#embed <x>", "#embed"),
        ("#if __has_embed(<x>)", "__has_embed"),
        (r'__asm__("blob:\n\t.incbin \"x\"");', ".incbin"),
        (r'__asm__("blob:\n.include \"x\"");', ".include"),
    ],
)
def test_it_is_refused_by_file_line_and_word(tmp_path, line, word):
    source = tmp_path / "source.c"
    source.write_text(line, encoding="utf-8")
    number = 2 if word == "#embed" else 1
    with pytest.raises(ImageError, match=rf"source\.c:{number}: {word} reads"):
        list(inputs._included(str(source)))


@pytest.mark.parametrize("line", [r'__asm__(".inc" "bin x");', r'__asm__("\56incbin x");', r'__asm__("\x2eincbin x");'])
def test_it_is_refused_however_it_is_written(tmp_path, line):
    source = tmp_path / "source.c"
    source.write_text(line, encoding="utf-8")
    with pytest.raises(ImageError, match=r"source\.c(:1)?: \.incbin reads"):
        list(inputs._included(str(source)))


@pytest.mark.parametrize(
    "line", ["#include WHICH", "#  include_next WHICH", "#if __has_include(WHICH)\n#endif", "#include \\\n<stdint.h>"]
)
def test_an_include_that_a_macro_names_is_refused(tmp_path, line):
    source = tmp_path / "source.c"
    source.write_text(line, encoding="utf-8")
    with pytest.raises(ImageError, match=r"source\.c:1: an include whose name is worked out by a macro"):
        list(inputs._included(str(source)))


@pytest.mark.parametrize(
    "text",
    [
        "/* What is included\n * #include ANYTHING */\nx.include = 1;",
        "#ifndef __has_include\n#define __has_include(x) 0\n#endif",
        "int includes; #define include",
    ],
)
def test_what_only_looks_like_it_is_not_refused(tmp_path, text):
    source = tmp_path / "source.c"
    source.write_text(text, encoding="utf-8")
    assert list(inputs._included(str(source))) == []


def test_the_environment_is_no_part_of_a_guest(own, tmp_path, monkeypatch):
    """A variable of the compiler's would add to the include path, and is in no key."""
    (tmp_path / "factor.h").write_text("#define FACTOR 3\n", encoding="utf-8")
    monkeypatch.setenv("CPATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"factor\.h"):
        build.image(own())


# Files that change while they are read.


@pytest.fixture
def edits(monkeypatch):
    """``edits(path, texts)``: as each command of a build ends, the next of ``texts`` is written."""

    def begin(path, texts):
        tool = build.run_tool

        def run(*command):
            tool(*command)
            if text := next(texts, None):
                path.write_text(text, encoding="utf-8")

        monkeypatch.setattr(build, "run_tool", run)

    return begin


def test_a_source_that_changes_as_it_is_built_is_built_as_it_is_in_the_end(own, edits):
    spec = own()
    header = spec.source.with_name("factor.h")
    header.write_text("#define FACTOR 4\n", encoding="utf-8")
    wanted = build.image(spec).sha256
    header.write_text("#define FACTOR 3\n", encoding="utf-8")
    edits(header, iter(["#define FACTOR 4\n"]))
    assert build.image(spec).sha256 == wanted


def test_a_source_that_never_holds_still_is_named(own, edits):
    spec = own()
    header = spec.source.with_name("factor.h")
    header.write_text("#define FACTOR 0\n", encoding="utf-8")
    edits(header, (f"#define FACTOR {number}\n" for number in range(1, 100)))
    with pytest.raises(ImageError, match=r"factor\.h changes while it is built"):
        build.image(spec)


# Names, states, records.


def test_a_file_has_the_same_name_wherever_the_farm_lies(tmp_path):
    here, there = (Places(farm=root, arch=root / "arch" / "x") for root in (tmp_path / "here", tmp_path / "there"))
    for name in ("arch/patch.c", "farm/images/link.ld", "/usr/include/x.h", "arch/../y.h"):
        assert here.name(here.path(name)) == name
        assert there.name(there.path(name)) == name
    assert here.name(str(tmp_path / "hereabouts" / "x")) == str(tmp_path / "hereabouts" / "x")
    assert here.without_paths(["cc", f"-I{tmp_path}/here"]) == there.without_paths(["cc", f"-I{tmp_path}/there"])


def test_two_changes_within_one_tick_of_the_clock_are_two(tmp_path):
    """The stamp may be the same; so it is believed of older files alone."""
    path, places, states = tmp_path / "x", Places(), set()
    for number in range(200):
        path.write_bytes(b"%03d" % number)
        states.add(Files().state(str(path), places))
    assert len(states) == 200


def test_a_file_that_is_old_is_read_once(tmp_path, monkeypatch):
    path, places = tmp_path / "x", Places()
    path.write_bytes(b"x")
    monkeypatch.setattr(Files, "_TICK", -time.time_ns())
    first = Files().state(str(path), places)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("it was read again"))
    assert Files().state(str(path), places) == first


def test_what_is_not_there_what_is_empty_and_what_is_no_file_differ(tmp_path):
    (tmp_path / "empty").touch()
    names = [str(tmp_path / name) for name in ("absent", "empty", "")]
    assert len({Files().state(name, Places()) for name in names}) == 3
    assert Files().state(str(tmp_path / "empty" / "below a file"), Places()) == b""


@given(st.lists(st.tuples(st.text(max_size=4), st.binary(max_size=4)), max_size=4))
def test_different_inputs_have_different_keys(made):
    """No two lists run into one another."""

    class Told(Files):
        def state(self, name, _):
            return dict(made).get(name, b"")

    names = [name for name, _ in made]
    keys = {inputs.key(b"", names[:n], Places(), Told()) for n in range(len(names) + 1)}
    assert len(keys) == len(names) + 1
    assert inputs.key(b"x", names, Places(), Told()) not in keys


def test_the_last_records_are_kept_the_newest_first(tmp_path):
    path = tmp_path / "made.json"
    assert inputs.records(path) == []
    for number in [*range(12), 10]:
        inputs.remember(path, [f"{number}"], "k", "x")
    assert [record.inputs[0] for record in inputs.records(path)] == ["10", "11", "9", "8", "7", "6", "5", "4"]
    for number in [*range(40), 38]:
        inputs.remember(path, ["9"], f"{number}", f"sha {number}")
    first = inputs.records(path)[0]
    assert (first.inputs, list(first.built.items())[:2]) == (("9",), [("38", "sha 38"), ("39", "sha 39")])
    assert len(first.built) == 32
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ImageError, match=r"made\.json is broken"):
        inputs.records(path)
    inputs.remember(path, ["a"], "k", "y")
    assert inputs.records(path) == [Record(("a",), {"k": "y"})]


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    path, order = tmp_path / "x", []
    path.write_bytes(b"before")
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: order.append(("sync", path.read_bytes())) or sync(handle))
    inputs.write(path, b"after", 0o755)
    assert order == [("sync", b"before")]
    assert path.read_bytes() == b"after"
    assert path.stat().st_mode & 0o777 == 0o755
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        inputs.write(path, b"never")
    assert [child.name for child in tmp_path.iterdir()] == ["x"]
    assert path.read_bytes() == b"after"
