"""Images: built once, named by what goes into them, refused if they are not what they should be."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import capstone
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm import paths
from farm.errors import BuildError, ImageError, OutputError
from farm.guest import arch_toml, build, disassemble, dwarf, elf, image, toolchain
from farm.guest.arch_toml import load_folder
from farm.guest.controls import CONTROLS
from farm.guest.image import Spec
from farm.guest.toolchain import TOOLCHAINS
from farm.scenario import DERIVED, FUNCTIONS, WORK, Kind, layout

E_MACHINE, E_DATA, E_CLASS = 18, 5, 4  # offsets in an ELF header


@pytest.fixture
def broken(guest, tmp_path):
    """``broken(offset, bytes)``: a copy of the arm64 stub guest with bytes replaced."""

    def copy(offset, data):
        path = tmp_path / "guest.elf"
        content = bytearray(guest("stub").read())
        content[offset : offset + len(data)] = data
        path.write_bytes(content)
        return path

    return copy


def body(built, name):
    """The instructions of a function, up to the next one."""
    engine = capstone.Cs(capstone.CS_ARCH_AARCH64, capstone.CS_MODE_LITTLE_ENDIAN)
    start = built.functions[name]
    end = min((address for address in built.functions.values() if address > start), default=start + 32)
    end = min(end, built.symbols["sites_end"] if start < built.symbols["sites_end"] else start + 32)
    return list(engine.disasm(built.bytes_at(start, end - start), start))


# The cache.


def test_the_same_guest_is_never_built_twice(own_cache, arm64, monkeypatch):
    first = build.image(Spec(arm64, "stub"))
    monkeypatch.setattr(build.processes, "run", lambda *_, **__: pytest.fail("a compiler was run"))
    assert build.image(Spec(arm64, "stub")) == first
    assert Path(first.path).is_relative_to(own_cache)
    assert first.key in first.path


def test_a_changed_source_is_another_image(edited_arch):
    folder = edited_arch()
    (variant,) = load_folder(folder)
    pointer, stub = Spec(variant, "pointer"), Spec(variant, "stub")
    made = build.images([pointer, stub])
    assert [build.kept(spec) for spec in (pointer, stub)] == list(made.values())
    with (folder / "stub.S").open("a", encoding="utf-8") as file:
        file.write("/* changed */\n")
    assert build.kept(stub) != made[stub]
    assert build.kept(pointer) == made[pointer]  # which has no stub.S
    with (folder / "arch.h").open("a", encoding="utf-8") as file:
        file.write("/* changed */\n")
    assert build.kept(pointer) != made[pointer]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("far_base = 0x20000000", "far_base = 0x30000000"),
        ('target = "aarch64-linux-musl"', 'target = "aarch64-linux-gnu"'),
        ('flags = ["-mgeneral-regs-only"]', 'flags = ["-DX"]'),
        ('displacement = "23:5"', 'displacement = "23:6"'),  # what the host looks for in it
    ],
)
def test_changed_settings_are_another_image(edited_arch, old, new):
    (before,) = load_folder(edited_arch(name="before/same"))
    (after,) = load_folder(edited_arch((old, new), name="after/same"))
    built = build.image(Spec(before, "stub"))
    assert build.kept(Spec(before, "stub")) == built
    assert build.kept(Spec(after, "stub")) != built


def test_the_folder_of_an_architecture_is_in_the_image_by_its_name_alone(edited_arch, tmp_path):
    (first,) = load_folder(edited_arch(name="first"))
    (second,) = load_folder(edited_arch(name="second"))
    elsewhere = shutil.copytree(first.folder, tmp_path / "else where" / "first")
    (moved,) = load_folder(elsewhere)
    made, other, again = (build.image(Spec(variant, "stub")) for variant in (first, second, moved))
    assert made == again
    assert made.sha256 != other.sha256
    files = {path for _, path, _ in dwarf.places(Path(other.path))}
    assert {"arch/second/patch.c", "arch/second/stub.S", "images/mechanism/common/poke.c"} <= files
    assert not any("first" in path or path.startswith("/") for path in files)


def test_mechanism_control_and_wire_format_are_part_of_the_key(guest, arm64, monkeypatch):
    assert len({guest(*what).key for what in (("stub",), ("pointer",), ("stub", "no-patch"))}) == 3
    monkeypatch.setattr(layout, "wire_hash", lambda: 1)
    assert build.kept(Spec(arm64, "stub")) is None


def test_a_missing_source_is_named(edited_arch):
    folder = edited_arch()
    (variant,) = load_folder(folder)
    (folder / "start_linux.S").unlink()
    with pytest.raises(ImageError, match=r"arm64/stub/zig: source .*start_linux\.S is missing"):
        build.image(Spec(variant, "stub"))


def _corrupt(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        pytest.param(_corrupt, "has a wrong hash", id="corrupted"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-100]), "has a wrong hash", id="truncated"),
        pytest.param(lambda path: path.unlink(), "is gone", id="gone"),
        pytest.param(
            lambda path: (path.parent / "image.json").write_text("{}", encoding="utf-8"),
            "has a wrong hash",
            id="description",
        ),
    ],
)
def test_a_damaged_image_of_our_own_is_named_and_built_anew(own_cache, arm64, capfd, damage, complaint):
    good = build.image(Spec(arm64, "pointer"))
    damage(Path(good.path))
    assert build.image(Spec(arm64, "pointer")) == good
    said = capfd.readouterr().err
    assert str(Path(good.path).parent) in said
    assert complaint in said
    assert "building it anew" in said


def test_an_image_of_another_guest_in_its_place_is_found_out(own_cache, arm64, capfd):
    """A false green once: every cell of the one passed on the guest of the other."""
    pointer, stub = build.images([Spec(arm64, "pointer"), Spec(arm64, "stub")]).values()
    for files in (["image.json"], ["guest.elf"], ["image.json", "guest.elf"]):
        for name in files:
            shutil.copy(Path(pointer.path).with_name(name), Path(stub.path).with_name(name))
        assert build.image(Spec(arm64, "stub")) == stub
        said = capfd.readouterr().err
        assert said.count("building it anew") == 1
        assert str(Path(stub.path).parent) in said
        assert build.image(Spec(arm64, "stub")) == stub
        assert capfd.readouterr().err == ""


def test_a_description_with_a_damaged_field_is_built_anew(own_cache, arm64, capfd):
    good = build.image(Spec(arm64, "pointer"))
    path = Path(good.path).with_name("image.json")
    whole = path.read_bytes()
    for fields in (
        {"control": "no-patch"},
        {"mechanism": "stub"},
        {"variant": "x86_64"},
        {"toolchain": "gcc"},
        {"key": "0"},
        {"symbols": {}},
        {"word_size": "8"},
        {"text_digest": -1},
        {"segments": [{"address": 0, "offset": 1 << 40, "file_size": 1 << 40, "size": 1, "flags": 7}]},
        {"sites": None},
    ):
        path.write_bytes(msgspec.json.encode(msgspec.json.decode(whole) | fields))
        assert build.image(Spec(arm64, "pointer")) == good, fields
        assert capfd.readouterr().err.count("building it anew") == 1, fields
        assert path.read_bytes() == whole, fields


def test_an_image_whose_description_is_another_guests_by_its_record_too_is_found_out(own_cache, arm64, capfd):
    pointer, stub = build.images([Spec(arm64, "pointer"), Spec(arm64, "stub")]).values()
    for name in ("image.json", "guest.elf"):
        shutil.copy(Path(pointer.path).with_name(name), Path(stub.path).with_name(name))
    digest = hashlib.sha256(Path(stub.path).with_name("image.json").read_bytes()).hexdigest()
    for made in own_cache.glob("made/*.json"):
        made.write_text(re.sub(f'("{stub.key}":)"[0-9a-f]+"', rf'\1"{digest}"', made.read_text()), encoding="utf-8")
    assert build.image(Spec(arm64, "stub")) == stub
    assert "is another: arm64/pointer/zig; building it anew" in capfd.readouterr().err


@pytest.mark.parametrize("content", [b"", b'[{"inputs": 3}]'])
def test_an_object_or_a_list_that_is_damaged_is_made_anew(own_cache, arm64, capfd, content):
    """An object that a power failure had left empty did not compile for ever."""
    for folder in ("objects", "made"):
        shutil.rmtree(own_cache / folder)
    good = build.image(Spec(arm64, "pointer"))
    for what in ("objects/*.o", "made/*.json"):
        damaged = list(own_cache.glob(what))
        for path in damaged:
            path.write_bytes(content)
        shutil.rmtree(own_cache / "images")
        assert build.image(Spec(arm64, "pointer")) == good
        said = capfd.readouterr().err.splitlines()
        assert len(said) == len(set(said)) == len(damaged)
        assert all(line.endswith("; building it anew") for line in said)
        shutil.rmtree(own_cache / "images")
        assert build.image(Spec(arm64, "pointer")) == good
        assert capfd.readouterr().err == ""


def test_a_cache_can_be_moved(own_cache, arm64, monkeypatch, tmp_path):
    good = build.image(Spec(arm64, "pointer"))
    moved = own_cache.rename(tmp_path / "moved")
    monkeypatch.setenv("PATCHFARM_CACHE", str(moved))
    monkeypatch.setattr(build, "run_tool", lambda *_: pytest.fail("a compiler was run"))
    assert replace_path(build.image(Spec(arm64, "pointer"))) == replace_path(good)


def replace_path(built):
    return msgspec.structs.replace(built, path=str(Path(built.path).relative_to(Path(built.path).parents[2])))


_AT_ONCE = """
import sys
from farm.guest import arch_toml, build, image
built = build.images([image.Spec(arch_toml.load()["arm64"], mechanism) for mechanism in ("stub", "pointer")])
print([made.sha256 for made in built.values()])
"""


def test_farms_that_build_into_one_cache_at_once_build_each_image_once(own_cache, arm64):
    started = [
        subprocess.Popen([sys.executable, "-c", _AT_ONCE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    try:
        ended = [process.communicate(timeout=300) for process in started]
    finally:
        for process in started:
            process.kill()
    assert {err for _, err in ended} == {""}
    (shas,) = {out for out, _ in ended}
    built = [build.image(Spec(arm64, mechanism)) for mechanism in ("stub", "pointer")]
    assert shas.strip() == str([made.sha256 for made in built])
    assert len(list(own_cache.glob("images/*"))) == 2
    assert {path.suffix for path in own_cache.glob("made/*")} == {".json", ".lock"}


def test_what_a_farm_that_was_killed_left_behind_is_cleared_away(own_cache, arm64):
    build.image(Spec(arm64, "pointer"))
    (lock,) = own_cache.glob("made/*.lock")  # of an image
    left = lock.with_name(f"{lock.stem}-left")
    left.mkdir()
    shutil.rmtree(own_cache / "images")
    build.image(Spec(arm64, "pointer"))
    assert not left.exists()


# The host's part in the key.


def test_the_farms_code_that_fills_and_describes_guests_is_part_of_the_key(guest, arm64, monkeypatch, tmp_path):
    """With a survey that finds no call site the old image was used once, and stayed green."""
    good = guest("pointer")
    copies = {name: tmp_path / f"{name}.py" for name in build.HOST_MODULES}
    for name, copy in copies.items():
        shutil.copy(paths.module(name), copy)
    monkeypatch.setattr(paths, "module", copies.__getitem__)
    for name, copy in copies.items():
        with copy.open("a", encoding="utf-8") as file:
            file.write("# changed\n")
        build._host.cache_clear()
        assert build.kept(Spec(arm64, "pointer")) is None, name
    monkeypatch.undo()
    build._host.cache_clear()
    assert build.kept(Spec(arm64, "pointer")) == good


def test_every_module_that_makes_an_image_is_part_of_the_key():
    """But those that only check, say or start things, or whose part is in the commands and in what is asked for."""
    left, reached = ["guest.build"], set()
    while left:
        name = left.pop()
        if name not in reached:
            reached.add(name)
            source = paths.module(name).read_text(encoding="utf-8")
            for package, words in re.findall(r"^ *from farm\.?([\w.]*) import (\([^)]*\)|.*)$", source, re.MULTILINE):
                inside = [f"{package}.{word}".lstrip(".") for word in re.findall(r"\w+", words)]
                modules = [module for module in inside if paths.module(module).is_file()]
                left += modules or [package]
    without = {"cell", "confinement", "guest.controls", "errors", "paths", "processes", "system_calls", "text"}
    without |= {"scenario.fields", "scenario.prose", "scenario.steps"}
    without |= {"guest.tidy", "guest.arch_toml", "guest.contradictions"}  # what a variant is told is in the request
    assert reached - set(build.HOST_MODULES) == without


def test_another_compiler_of_the_same_version_is_another_compiler(tmp_path, monkeypatch):
    variant = arch_toml.load()["arm64"]
    for tool in ("gcc", "as", "ld"):
        path = tmp_path / f"aarch64-linux-gnu-{tool}"
        path.write_text("#!/bin/sh\n", encoding="utf-8")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    seen = set()
    for tool in ("gcc", "as", "ld", "none"):
        for cached in (toolchain._installed, toolchain._identity):
            cached.cache_clear()
        seen.add(TOOLCHAINS["gcc"].identity(variant))
        (tmp_path / f"aarch64-linux-gnu-{tool}").write_text(f"#!/bin/sh\n# {tool}\n", encoding="utf-8")
    assert len(seen) == 4
    monkeypatch.undo()
    for cached in (toolchain._installed, toolchain._identity):
        cached.cache_clear()


def test_a_control_in_a_header_of_a_subfolder_is_planted(own_cache, edited_arch):
    folder = edited_arch()
    (variant,) = load_folder(folder)
    (folder / "deeper").mkdir()
    header = folder / "arch.h"
    macro = CONTROLS["no-patch"].macro
    (folder / "deeper" / "arch.inc").write_text(f"#ifdef {macro}\n#define ABSENT 1\n#endif\n", encoding="utf-8")
    header.write_text(header.read_text(encoding="utf-8") + '#include "deeper/arch.inc"\n', encoding="utf-8")
    source = folder / "stub.S"
    text = source.read_text(encoding="utf-8")
    source.write_text(f"{text}\n#ifdef ABSENT\n#error it is planted\n#endif\n", encoding="utf-8")
    build.image(Spec(variant, "stub"))
    with pytest.raises(BuildError, match="it is planted"):
        build.image(Spec(variant, "stub", control="no-patch"))


# Faults of the machine's.


def test_a_folder_for_temporary_files_that_is_not_there_is_not_needed(own_cache, guest, arm64, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    for toolchain_ in [name for name in ("zig", "gcc") if shutil.which("aarch64-linux-gnu-gcc") or name == "zig"]:
        assert build.image(Spec(arm64, "pointer", toolchain_)).sha256


@pytest.mark.parametrize(
    "words", ["LLVM ERROR: IO failure on output stream: No space left on device", "error: NoSpaceLeft"]
)
def test_a_full_disk_is_not_the_guests_fault(own_cache, arm64, monkeypatch, words):
    monkeypatch.setattr(build.processes, "run", lambda *_, **__: (1, f"pattern.S: {words}"))
    with pytest.raises(OutputError, match=f"images cannot be kept in {own_cache}: No space left on device") as caught:
        build.image(Spec(arm64, "stub"))
    assert caught.value.exit_status == 3


# Where the cache is.


@pytest.fixture
def homeless(monkeypatch, tmp_path):
    """A user without a home, whose folder for temporary files is ``tmp_path``."""

    def nowhere(_):
        raise RuntimeError("could not determine the home directory")

    for name in ("PATCHFARM_CACHE", "PATCHFARM_HISTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("platformdirs.user_cache_dir", nowhere)
    monkeypatch.setattr("platformdirs.user_data_dir", nowhere)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    paths._usable.cache_clear()
    yield tmp_path / f"patchfarm-{os.getuid()}"
    paths._usable.cache_clear()


def test_without_a_home_the_cache_is_among_the_temporary_files_and_that_is_said_once(homeless, capfd):
    assert paths.cache() == paths.cache() == homeless
    assert homeless.stat().st_mode & 0o777 == 0o700
    assert capfd.readouterr().err == (
        f"no home folder: built images are kept in {homeless}; PATCHFARM_CACHE chooses another folder\n"
    )
    assert paths.history() is None


def test_a_home_that_cannot_be_made_is_none(homeless, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda _: str(tmp_path / "file" / "cache"))
    assert paths.cache() == homeless


def test_a_cache_that_others_can_write_is_not_trusted(homeless):
    homeless.mkdir()
    homeless.chmod(0o777)
    with pytest.raises(OutputError, match="others can write there; set PATCHFARM_CACHE"):
        paths.cache()
    homeless.rmdir()
    homeless.symlink_to("/tmp")
    with pytest.raises(OutputError, match="others can write there; set PATCHFARM_CACHE"):
        paths.cache()


def test_a_cache_that_cannot_be_written_is_an_error_that_names_its_variable(arm64, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("PATCHFARM_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="set PATCHFARM_CACHE to a folder that can be written") as caught:
        build.image(Spec(arm64, "stub"))
    assert str(tmp_path / "file") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 3


def test_a_cache_that_cannot_be_locked_is_an_error_that_names_its_variable(own_cache, arm64, monkeypatch):
    def refuses(*_, **__):
        raise NotImplementedError("no flock here")

    monkeypatch.setattr("filelock.FileLock.acquire", refuses)
    with pytest.raises(OutputError, match="no flock here; set PATCHFARM_CACHE to a folder that can be written"):
        build.image(Spec(arm64, "stub"))
    assert not list(own_cache.rglob("guest.elf"))


def test_a_source_that_does_not_compile_is_a_build_error_with_the_compilers_words(own_cache, edited_arch):
    folder = edited_arch()
    (variant,) = load_folder(folder)
    (folder / "patch.c").write_text("#error this architecture is closed today\n", encoding="utf-8")
    with pytest.raises(BuildError) as caught:
        build.image(Spec(variant, "stub"))
    error = caught.value
    assert str(error).startswith(f"{folder / 'patch.c'} does not compile for arm64\n  command: ")
    assert "this architecture is closed today" in error.output
    assert "this architecture is closed today" in str(error)
    assert error.command[-1] == str(folder / "patch.c")
    assert "cc" in error.command
    assert not list(own_cache.glob("images/*/guest.elf"))


def test_warnings_are_errors(own_cache, edited_arch):
    folder = edited_arch()
    (variant,) = load_folder(folder)
    with (folder / "patch.c").open("a", encoding="utf-8") as file:
        file.write("static int nobody_calls_this(void) { return 0; }\n")
    with pytest.raises(BuildError, match="nobody_calls_this"):
        build.image(Spec(variant, "stub"))


def test_a_guest_that_does_not_link_is_a_build_error(own_cache, edited_arch):
    folder = edited_arch()
    (variant,) = load_folder(folder)
    source = folder / "start_linux.S"
    text = source.read_text(encoding="utf-8")
    source.write_text(text.replace("linux_main", "nowhere_at_all"), encoding="utf-8")
    with pytest.raises(BuildError, match="does not link") as caught:
        build.image(Spec(variant, "pointer"))
    assert "nowhere_at_all" in caught.value.output
    assert "ld.lld" in caught.value.command


def test_one_guest_that_fails_does_not_keep_others_from_being_built(own_cache, edited_arch, arm64):
    folder = edited_arch(name="sick")
    (variant,) = load_folder(folder)
    (folder / "patch.c").write_text("#error\n", encoding="utf-8")
    good, bad = Spec(arm64, "pointer"), Spec(variant, "stub")
    built = build.images([good, bad])
    assert isinstance(built[good], image.Image)
    assert isinstance(built[bad], BuildError)


def test_the_bytes_do_not_depend_on_the_folder(guest, monkeypatch, own_cache, tmp_path, mechanism):
    elsewhere = tmp_path / "a longer path than the first" / "deeper"
    for name in ("arch", "images"):
        shutil.copytree(paths.data(name), elsewhere / name)
    monkeypatch.setattr(paths, "data", lambda name: elsewhere / name)
    compiler = elsewhere / "compiler"
    compiler.symlink_to(Path(TOOLCHAINS["zig"].place()))
    monkeypatch.setitem(vars(TOOLCHAINS["zig"]), "_binary", str(compiler / "zig"))
    monkeypatch.chdir(elsewhere)
    variant, *_ = load_folder(elsewhere / "arch" / "arm64")
    built = build.image(Spec(variant, mechanism))
    assert Path(built.path).is_relative_to(own_cache)
    assert built.sha256 == guest(mechanism).sha256
    assert str(elsewhere).encode() not in built.read()


_FIRST_AT_ONCE = """
import sys, threading
sys.setswitchinterval(1e-7)
from farm.guest import arch_toml, build, image
variant = arch_toml.load()["arm64"]
specs = [image.Spec(variant, mechanism) for mechanism in ("pointer", "stub", "relocated")] * 3
gate, built = threading.Barrier(len(specs)), []
threads = [threading.Thread(target=lambda s: (gate.wait(), built.append(build.image(s))), args=(s,)) for s in specs]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(built) == len(specs)
"""


def test_threads_that_are_the_first_to_load_an_image_do_not_crash(guest):
    for mechanism in ("pointer", "stub", "relocated"):
        guest(mechanism)
    for _ in range(12):  # without a decoder made before, one in four dies
        subprocess.run([sys.executable, "-c", _FIRST_AT_ONCE], check=True)


# Reading ELF.


@pytest.mark.parametrize(
    ("offset", "data", "complaint"),
    [
        (
            E_MACHINE,
            struct.pack("<H", 62),
            "is for another machine: EM_X86_64, 64 bits, little-endian; arm64 is machine 183",
        ),
        (E_MACHINE, struct.pack("<H", 0xFEED), "is for another machine"),
        (0, b"MZ", "is not a whole ELF file"),
    ],
)
def test_a_foreign_image_is_refused_by_name(broken, arm64, offset, data, complaint):
    path = broken(offset, data)
    with pytest.raises(ImageError, match=complaint) as caught:
        elf.inspect(path, arm64)
    assert str(path) in str(caught.value)


def test_an_image_of_the_wrong_byte_order_is_refused(tmp_path, arm64):
    path = tmp_path / "guest.elf"
    header = struct.pack(">16sHHIQQQIHHHHHH", b"\x7fELF\2\2\1", 2, 183, 1, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0)
    path.write_bytes(header)
    with pytest.raises(ImageError, match=r"EM_AARCH64, 64 bits, big-endian; arm64 is machine 183, 64 bits, little-"):
        elf.inspect(path, arm64)


def test_an_image_of_the_wrong_word_size_is_refused(tmp_path, arm64):
    path = tmp_path / "guest.elf"
    path.write_bytes(struct.pack("<16sHHIIIIIHHHHHH", b"\x7fELF\1\1\1", 2, 183, 1, 0, 0, 0, 0, 52, 0, 0, 0, 0, 0))
    with pytest.raises(ImageError, match=r"EM_AARCH64, 32 bits, little-endian; arm64 is"):
        elf.inspect(path, arm64)


def test_a_program_that_is_no_guest_is_refused(tmp_path, arm64):
    path = tmp_path / "guest.elf"
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 183, 1, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0)
    path.write_bytes(header)
    with pytest.raises(ImageError, match=r"guest\.elf is no guest: it has no symbol farm_enter"):
        elf.inspect(path, arm64)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_an_image_that_is_cut_off_anywhere_is_refused_by_name(guest, arm64, tmp_path_factory, data):
    content = guest("stub").read()
    path = tmp_path_factory.getbasetemp() / "cut.elf"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1) | st.integers(0, 200))])
    with pytest.raises(ImageError, match=re.escape(str(path))):
        elf.inspect(path, arm64)


# What is in it.


def test_an_image_says_what_it_is(guest, mechanism):
    built = guest(mechanism)
    assert (built.variant, built.mechanism, built.toolchain, built.control) == ("arm64", mechanism, "zig", None)
    assert (built.machine, built.big_endian, built.word_size) == (183, False, 8)
    assert Path(built.path).stat().st_mode & stat.S_IXUSR
    assert image.describe(Path(built.path), Spec(arch_toml.load()["arm64"], mechanism), built.key) == built


def test_the_guests_own_table_holds_what_the_linker_left(guest, mechanism):
    built = guest(mechanism)
    start, size = built.patched
    assert size == len(FUNCTIONS) * (8 if mechanism == "pointer" else 32)
    assert built.bytes_at(built.symbols["farm_pristine"], size) == built.bytes_at(start, size)


def test_no_text_is_writable(guest, mechanism):
    for segment in guest(mechanism).segments:
        assert segment.flags & 3 != 3


def test_addresses_have_names(guest):
    built = guest("stub")
    assert built.name_of(built.functions["fast_3"]) == "fast_3"
    assert built.name_of(built.functions["fast_3"] + 4) == "fast_3+0x4"
    assert built.name_of(0) == "0x0"
    assert built.name_of(1 << 40) == hex(1 << 40)


def test_a_function_with_a_descriptor_is_where_its_code_begins():
    if shutil.which("powerpc64-linux-gnu-gcc") is None:
        pytest.skip("powerpc64-linux-gnu-gcc is missing: apt-get install gcc-powerpc64-linux-gnu")
    built = build.image(Spec(arch_toml.load()["ppc64v1"], "stub", "gcc"))
    start = built.symbols["stub_start"]
    assert [built.functions[f"whatever_{f}"] for f in range(3)] == [start, start + 32, start + 64]


def test_a_branch_of_alpha_leads_as_far_back_as_it_does():
    variant = arch_toml.load()["alpha"]
    for displacement in (-(1 << 20), -0x226D, -1, 0, 1, (1 << 20) - 1):
        word = 0xC3E00000 | displacement & 0x1FFFFF
        (line,) = disassemble.instructions(variant, word.to_bytes(4, "little"), 0x100C000)
        assert line.split(maxsplit=2)[2] == f"br $31,{0x100C004 + 4 * displacement:#x}"
    (line,) = disassemble.instructions(variant, bytes.fromhex("0180fa6b"), 0x100C000)
    assert line.endswith("ret $31,($26),1")


def test_code_without_a_disassembler_is_shown_in_words(arm64):
    variant = replace(arm64, disassembler=())
    assert disassemble.instructions(variant, bytes.fromhex("1f2003d5 0102"), 0x10) == [
        "0x10: 0xd503201f",
        "0x14: 0x0201",
    ]


def test_a_pointer_to_a_thumb_function_has_its_name():
    built = build.image(Spec(arch_toml.load()["thumb"], "pointer"))
    default_0 = int.from_bytes(built.bytes_at(built.patched[0], 4), "little")
    assert default_0 == built.functions["default_0"] + 1
    assert built.name_of(default_0) == built.name_of(default_0 - 1) == "default_0"
    assert built.name_of(default_0 + 1) == "default_0+0x2"


def test_bytes_outside_the_image_are_refused(guest):
    with pytest.raises(ImageError, match="no 4 bytes at 0x10"):
        guest("stub").bytes_at(0x10, 4)


def test_relocations_are_kept(guest):
    assert b".rela.text" in guest("stub").read()


# What the mechanisms are.


@pytest.mark.parametrize("function", [f for f, kind in enumerate(FUNCTIONS) if kind is not Kind.VARIADIC])
def test_a_pointer_function_loads_its_target_exactly_once(guest, function):
    built = guest("pointer")
    code = body(built, f"whatever_{function}")
    text = "\n".join(f"{i.mnemonic} {i.op_str}" for i in code)
    base = next(i.op_str.partition(",")[0] for i in code if i.mnemonic == "adrp")
    loads = [i for i in code if i.mnemonic.startswith("ld") and f"[{base}" in i.op_str]  # others: struct, stack, x30
    assert len(loads) == 1, text
    start, size = built.patched
    page = next(int(i.op_str.split("#")[-1].split(", ")[-1], 0) for i in code if i.mnemonic == "adrp")
    assert page == start & -0x1000
    assert size <= 0x1000
    target = loads[0].op_str.partition(",")[0]
    assert [i.op_str for i in code if i.mnemonic in ("br", "blr")] == [target], text
    assert any(i.mnemonic in ("cbz", "cbnz") and i.op_str.startswith(f"{target},") for i in code), text


@pytest.mark.parametrize("function", range(len(FUNCTIONS)))
def test_a_stub_is_one_jump_to_the_default(guest, function):
    built = guest("stub")
    pad, jump, load, far = body(built, f"whatever_{function}")[:4]
    assert (pad.mnemonic, pad.op_str) == ("bti", "c")
    assert jump.mnemonic == "b"
    assert int(jump.op_str.lstrip("#"), 0) == built.functions[f"default_{function}"]
    assert load.mnemonic == "ldr"
    assert (far.mnemonic, far.op_str) == ("br", "x16")
    slot = built.functions[f"whatever_{function}"] + 16
    assert int.from_bytes(built.bytes_at(slot, 8), "little") == built.functions[f"default_{function}"]


def test_far_targets_are_out_of_a_branchs_reach(guest, arm64):
    built = guest("stub")
    for function in range(len(FUNCTIONS)):
        distance = built.functions[f"far_{function}"] - built.functions[f"whatever_{function}"]
        assert abs(distance) > arm64.branch_range


def test_every_shape_of_call_is_a_call_of_the_patchable_function(guest):
    built = guest("stub")
    for function, kind in ((f, kind) for f, kind in enumerate(FUNCTIONS) if kind not in WORK):
        for shape in ("used", "ignored", "looped", "tail" if kind not in DERIVED else "used"):
            call = "b" if shape == "tail" else "bl"
            calls = [int(i.op_str.lstrip("#"), 0) for i in body(built, f"{shape}_{function}") if i.mnemonic == call]
            assert calls == [built.functions[f"whatever_{function}"]]


def test_the_guest_is_a_program_that_ends_when_its_input_does(guest, qemu, arm64):
    command = qemu.command(guest("stub"), arm64)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=10)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
