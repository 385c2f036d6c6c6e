"""The architectures: every mistake in an arch.toml is reported with the file, the key and what is valid."""

from __future__ import annotations

import re

import pytest

from farm import paths
from farm.errors import BackendError
from farm.guest import arch_toml
from farm.guest.variant import QemuUserSettings, Unavailable, UnicornSettings

ARCHITECTURES = sorted(path.parent for path in paths.data("arch").glob("*/arch.toml"))


def test_arm64_is_what_its_toml_says(arm64):
    assert (arm64.machine, arm64.bits, arm64.byte_order, arm64.word_size, arm64.big_endian) == (
        183, 64, "little", 8, False,
    )  # fmt: skip
    assert arm64.architecture == "arm64"
    assert arm64.folder == paths.data("arch") / "arm64"
    assert arm64.engine["qemu-user"] == QemuUserSettings(
        binary="qemu-aarch64", cpu="cortex-a57", features=("clmul", "float")
    )
    assert isinstance(arm64.engine["unicorn"], UnicornSettings)
    assert arm64.supports("pointer") is None
    assert arm64.supports("stub") is None


@pytest.mark.parametrize("folder", ARCHITECTURES, ids=lambda folder: folder.name)
def test_every_architecture_has_the_same_file_names(folder):
    needed = {"arch.toml", "arch.h", "start_linux.S", "stub.S", "patch.c", "abi.S"}
    names = {re.sub(r"_(32|64)\.", ".", path.name) for path in folder.iterdir()}
    assert needed <= names <= needed | {"sites.c", "crc_t10dif.c"}


@pytest.mark.parametrize("folder", ARCHITECTURES, ids=lambda folder: folder.name)
def test_every_architecture_loads(folder):
    for variant in arch_toml.load_folder(folder):
        assert variant.architecture == folder.name
        assert set(variant.toolchain) <= {"zig", "gcc"}


def test_a_source_for_one_width_takes_the_place_of_the_one_for_all():
    wide, narrow = (arch_toml.load()[name] for name in ("x86_64", "i386"))
    assert (wide.source("abi.S").name, narrow.source("abi.S").name) == ("abi.S", "abi_32.S")
    assert wide.source("stub.S") == narrow.source("stub.S")


def test_a_variant_without_a_file_of_the_stub_has_no_stub(edited_arch):
    folder = edited_arch()
    (folder / "patch.c").unlink()
    (variant,) = arch_toml.load_folder(folder)
    assert variant.supports("pointer") is None
    assert variant.supports("stub") == "arm64 has no stub: no patch.c"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        pytest.param("bits = 64", "bitz = 64", "variant.arm64.bitz: unknown key; valid are machine, bits,", id="key"),
        pytest.param("bits = 64\n", "", "variant.arm64.bits: missing; expected one of 32, 64", id="missing"),
        pytest.param("bits = 64", "bits = 48", "variant.arm64.bits: 48 found; expected one of 32, 64", id="value"),
        pytest.param(
            'byte_order = "little"',
            'byte_order = "middle"',
            "variant.arm64.byte_order: 'middle' found; expected one of 'little', 'big'",
            id="enum",
        ),
        pytest.param(
            "machine = 183", 'machine = "arm"', "variant.arm64.machine: 'arm' found; expected an integer", id="type"
        ),
        pytest.param("machine = 183", "machine = 183.5", "variant.arm64.machine: 183.5 found", id="fraction"),
        pytest.param("machine = 183", "machine = true", "variant.arm64.machine: True found", id="bool"),
        pytest.param(
            'coherence = "clean-invalidate-sync"',
            'coherence = "hope"',
            "variant.arm64.coherence: 'hope' found; expected one of 'coherent', 'clean-invalidate-sync'",
            id="coherence",
        ),
        pytest.param(
            'disassembler = ["aarch64", "little"]',
            'disassembler = "aarch64"',
            "variant.arm64.disassembler: 'aarch64' found; expected a list, each a string",
            id="list",
        ),
        pytest.param(
            'quirks = ["arm64-fp"]',
            'quirks = ["warp"]',
            "variant.arm64.engine.unicorn.quirks: ['warp'] found; expected a list, each one of 'virtual-tlb'",
            id="quirk",
        ),
        pytest.param(
            'cpu = "cortex-a57"\nfeatures = ["clmul", "float"]\n',
            "",
            "variant.arm64.engine.qemu-user.cpu: missing; expected a string",
            id="missing in an engine",
        ),
        pytest.param(
            'cpu = "cortex-a57"',
            'cpu = "cortex-a57"\nspeed = 3',
            "variant.arm64.engine.qemu-user.speed: unknown key; valid are binary, cpu, package",
            id="key in an engine",
        ),
        pytest.param(
            "engine.qemu-user", "engine.kvm", "variant.arm64.engine.kvm: unknown name; valid are", id="engine"
        ),
        pytest.param(
            "toolchain.zig", "toolchain.tcc", "variant.arm64.toolchain.tcc: unknown name; valid are zig", id="toolchain"
        ),
        pytest.param(
            'target = "aarch64-linux-musl"',
            "target = 1",
            "variant.arm64.toolchain.zig.target: 1 found; expected a string",
            id="type in a toolchain",
        ),
        pytest.param(
            "far_base = 0x20000000",
            "far_base = 0x2000000",
            "variant.arm64.far_base: 0x2000000 is within branch_range of text_base; expected an address more than "
            "0x8000000 bytes from 0x1000000",
            id="far too near",
        ),
        pytest.param(
            "page = 65536", "page = 65535", "variant.arm64.page: 65535 found; expected a power of two", id="page"
        ),
        pytest.param(
            "alignment = 4",
            "alignment = 0",
            "variant.arm64.alignment: 0 found; expected a power of two",
            id="alignment",
        ),
        pytest.param("[variant.arm64]", "[variant.arm64", "not valid TOML", id="TOML"),
        pytest.param("[variant.arm64]", "[variant.arm64]\nname = 'x'", "variant.arm64.name: unknown key", id="derived"),
        pytest.param(
            "[variant.arm64]", "page = 1\n[variant.arm64]", "key 'page'; expected one or more tables", id="stray"
        ),
    ],
)
def test_a_mistake_names_the_file_the_key_and_what_is_valid(edited_arch, old, new, complaint):
    folder = edited_arch((old, new))
    with pytest.raises(BackendError, match=re.escape(complaint)) as caught:
        arch_toml.load_folder(folder)
    assert str(caught.value).startswith(f"{folder / 'arch.toml'}: ")
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no variant; expected one or more tables [variant.NAME] and nothing else"),
        ("[variant]", "no variant"),
        ("variant = 3", "no variant"),
        ("[variant]\narm64 = 3", "variant.arm64: expected a table, found 3"),
        ("[variant.x]\nengine = 3", "variant.x.engine: expected tables [variant.x.engine.NAME]"),
        ("[variant.x.toolchain]\nzig = 3", "variant.x.toolchain: expected tables [variant.x.toolchain.NAME]"),
        ("[variant.x]", "variant.x.machine: missing; expected an integer"),
    ],
)
def test_a_toml_of_another_shape_is_refused(tmp_path, text, complaint):
    (tmp_path / "arch.toml").write_text(text, encoding="utf-8")
    with pytest.raises(BackendError, match=re.escape(f"{tmp_path / 'arch.toml'}: {complaint}")):
        arch_toml.load_folder(tmp_path)


def test_a_toml_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "arch.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BackendError, match=r"arch\.toml: cannot be read"):
        arch_toml.load_folder(tmp_path)


def test_a_folder_without_a_toml_is_no_architecture(tmp_path):
    with pytest.raises(BackendError, match=r"arch\.toml: no such file; an architecture is a folder with an arch\.toml"):
        arch_toml.load_folder(tmp_path)


def test_an_engine_that_cannot_run_a_variant_says_why_and_nothing_else(edited_arch):
    table = (
        '[variant.arm64.engine.qemu-user]\nbinary = "qemu-aarch64"\ncpu = "cortex-a57"\nfeatures = ["clmul", "float"]\n'
    )
    replaced = '[variant.arm64.engine.qemu-user]\nunavailable = "qemu has no such CPU"\n'
    (variant,) = arch_toml.load_folder(edited_arch((table, replaced), name="one"))
    assert variant.engine["qemu-user"] == Unavailable(unavailable="qemu has no such CPU")
    broken = edited_arch((table, replaced + 'cpu = "x"\n'), name="two")
    with pytest.raises(BackendError, match=r"qemu-user\.cpu: unknown key; valid are unavailable"):
        arch_toml.load_folder(broken)


# Out-of-tree folders.


def test_an_extra_folder_is_one_architecture(edited_arch):
    folder = edited_arch(("variant.arm64", "variant.mine"))
    variants = arch_toml.load((folder,))
    assert set(variants) == {*arch_toml.load(), "mine"}
    assert variants["mine"].folder == folder


def test_an_extra_folder_may_hold_several_architectures(edited_arch, tmp_path):
    edited_arch(("variant.arm64", "variant.mine"), name="one")
    edited_arch(("variant.arm64", "variant.yours"), name="two")
    assert {"mine", "yours"} <= set(arch_toml.load((tmp_path,)))


def test_an_extra_folder_without_an_architecture_is_refused(tmp_path):
    with pytest.raises(BackendError, match=re.escape(f"{tmp_path}: no arch.toml there, nor in a folder below it")):
        arch_toml.load((tmp_path,))


def test_a_variant_that_is_defined_twice_is_refused_with_both_places(edited_arch):
    folder = edited_arch()
    first = paths.data("arch") / "arm64" / "arch.toml"
    with pytest.raises(BackendError, match=re.escape(f"variant.arm64: already defined in {first}")) as caught:
        arch_toml.load((folder,))
    assert str(folder / "arch.toml") in str(caught.value)
