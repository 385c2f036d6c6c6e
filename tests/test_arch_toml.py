"""The architectures: every mistake in an arch.toml is reported with the file, the key and what is valid."""

from __future__ import annotations

import re

import pytest

from farm import paths
from farm.errors import BackendError
from farm.guest import arch_toml, mechanisms
from farm.guest.variant import GccSettings, QemuUserSettings, Unavailable, UnicornSettings

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
    assert mechanisms.load()["pointer"].missing(arm64) is None
    assert mechanisms.load()["stub"].missing(arm64) is None


@pytest.mark.parametrize("folder", ARCHITECTURES, ids=lambda folder: folder.name)
def test_every_architecture_has_the_same_file_names(folder):
    needed = {"arch.toml", "arch.h", "start_linux.S", "stub.S", "patch.c", "abi.S"}
    bare = {"bare.c", "bare_arch.h", "start_bare.S"}
    names = {re.sub(r"_(32|64)\.", ".", path.name) for path in folder.iterdir()}
    known = needed | bare | {"sites.c", "entry.S", "crc_t10dif.c", "breakpoint.S", "breakpoint_arch.h"}
    assert needed <= names <= known
    assert names & bare in (set(), bare)


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
    assert mechanisms.load()["pointer"].missing(variant) is None
    assert mechanisms.load()["stub"].missing(variant) == "arm64 has no stub: no patch.c"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        pytest.param("bits = 64", "bitz = 64", "common.bitz: unknown key; valid are machine, bits,", id="key"),
        pytest.param("bits = 64\n", "", "variant.arm64.bits: missing; expected one of 32, 64", id="missing"),
        pytest.param("bits = 64", "bits = 48", "common.bits: 48 found; expected one of 32, 64", id="value"),
        pytest.param(
            'byte_order = "little"',
            'byte_order = "middle"',
            "variant.arm64.byte_order: 'middle' found; expected one of 'little', 'big'",
            id="enum",
        ),
        pytest.param("machine = 183", 'machine = "arm"', "common.machine: 'arm' found; expected an integer", id="type"),
        pytest.param("machine = 183", "machine = 183.5", "common.machine: 183.5 found", id="fraction"),
        pytest.param("machine = 183", "machine = true", "common.machine: True found", id="bool"),
        pytest.param(
            'fetch = "incoherent"',
            'fetch = "hope"',
            "common.coherence.fetch: 'hope' found; expected one of 'coherent', 'incoherent'",
            id="coherence",
        ),
        pytest.param(
            'disassembler = ["aarch64", "little"]',
            'disassembler = "aarch64"',
            "common.disassembler: 'aarch64' found; expected a list, each a string",
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
            "common.engine.qemu-user.speed: unknown key; valid are binary, cpu, package",
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
            "common.far_base: 0x2000000 is within branch_range of text_base; expected an address more than "
            "0x8000000 bytes from 0x1000000",
            id="far too near",
        ),
        pytest.param("page = 65536", "page = 65535", "common.page: 65535 found; expected a power of two", id="page"),
        pytest.param(
            "alignment = 4",
            "alignment = 0",
            "common.alignment: 0 found; expected a power of two",
            id="alignment",
        ),
        pytest.param("[variant.arm64]", "[variant.arm64", "not valid TOML", id="TOML"),
        pytest.param("[variant.arm64]", "[variant.arm64]\nname = 'x'", "variant.arm64.name: unknown key", id="derived"),
        pytest.param("[common]\n", "page = 1\n[common]\n", "key 'page'; expected one or more tables", id="stray"),
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
        (
            "",
            "no variant; expected one or more tables [variant.NAME], [common] for what they share, and nothing else",
        ),
        ("[common]\npage = 4096", "no variant"),
        ("common = 3\n[variant.x]", "common: expected a table, found 3"),
        ("[common]\nengine = 3\n[variant.x]", "common.engine: 3 found; expected tables [common.engine.NAME]"),
        ("[common]\nunavailable = 3\n[variant.x]", "common.unavailable: 3 found; expected a table of ENGINE = "),
        ("[variant]", "no variant"),
        ("variant = 3", "no variant"),
        ("[variant]\narm64 = 3", "variant.arm64: expected a table, found 3"),
        ("[variant.x]\nengine = 3", "variant.x.engine: 3 found; expected tables [variant.x.engine.NAME]"),
        ("[variant.x.toolchain]\nzig = 3", "variant.x.toolchain.zig: 3 found; expected a table"),
        ('[variant.x.toolchain."zig:fast"]', "variant.x.toolchain.zig:fast: unknown name; valid are zig, gcc"),
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


# What the variants of an architecture share.

MINIMAL = """
[common]
machine = 92
bits = 32
byte_order = "big"
page = 8192
text_base = 0x1000000
far_base = 0x20000000
alignment = 4
coherence = { fetch = "coherent" }

[common.engine.qemu-user]
cpu = "any"
features = ["float"]

[common.toolchain.gcc]
prefix = "gcc-"
package = "gcc"

[variant.plain.engine.qemu-user]
binary = "qemu-plain"

[variant.other]
page = 4096

[variant.other.engine.qemu-user]
binary = "qemu-other"
features = []
"""


@pytest.fixture
def described(tmp_path):
    """``described((old, new), ...)``: a folder with MINIMAL as its arch.toml, text of it replaced."""

    def write(*replacements):
        text = MINIMAL
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "arch.toml").write_text(text, encoding="utf-8")
        return tmp_path

    return write


def test_a_variant_has_what_is_common_and_its_own_values_overrule_it(described):
    plain, other = arch_toml.load_folder(described())
    assert (plain.machine, plain.page) == (92, 8192)
    assert (other.machine, other.page) == (92, 4096)
    assert plain.engine["qemu-user"] == QemuUserSettings(binary="qemu-plain", cpu="any", features=("float",))
    assert other.engine["qemu-user"] == QemuUserSettings(binary="qemu-other", cpu="any")
    assert plain.toolchain == other.toolchain == {"gcc": GccSettings(prefix="gcc-", package="gcc")}


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        pytest.param("page = 8192", 'page = "big"', "common.page: 'big' found; expected an integer", id="common"),
        pytest.param("page = 4096", 'page = "big"', "variant.other.page: 'big' found; expected an integer", id="own"),
        pytest.param("page = 8192", "paper = 1\npage = 8192", "common.paper: unknown key; valid are mach", id="key"),
        pytest.param("machine = 92\n", "", "variant.plain.machine: missing; expected an integer", id="missing"),
        pytest.param(
            'cpu = "any"\n', "", "variant.plain.engine.qemu-user.cpu: missing; expected a string", id="missing in table"
        ),
        pytest.param(
            'cpu = "any"', "cpu = 3", "common.engine.qemu-user.cpu: 3 found; expected a string", id="in a common table"
        ),
        pytest.param(
            "features = []", "features = 3", "variant.other.engine.qemu-user.features: 3 found", id="in an own table"
        ),
        pytest.param(
            "common.toolchain.gcc", "common.toolchain.tcc", "common.toolchain.tcc: unknown name; valid are", id="tool"
        ),
        pytest.param("alignment = 4", "alignment = 3", "common.alignment: 3 found; expected a power of", id="align"),
        pytest.param(
            "page = 4096", "page = 4095", "variant.other.page: 4095 found; expected a power of two", id="own align"
        ),
        pytest.param(
            "[variant.other]\n",
            "[[common.call_site]]\ninstruction = 'b'\nrelocations = [1]\nopcode = { mask = 0, value = 0 }\n"
            "[variant.other]\n",
            "common.call_site[0].opcode.mask: 0x0 found; expected 1 to",
            id="in a list",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_where_it_was_written(described, old, new, complaint):
    folder = described((old, new))
    with pytest.raises(BackendError, match=re.escape(f"{folder / 'arch.toml'}: {complaint}")):
        arch_toml.load_folder(folder)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        pytest.param("[variant.plain.engine", "[variant.plain]\npage = 4096\n[variant.plain.engine", "page", id="key"),
        pytest.param('"qemu-plain"', '"qemu-plain"\nfeatures = []', "engine.qemu-user.features", id="in a table"),
    ],
)  # fmt: skip
def test_a_common_value_that_no_variant_has_is_refused(described, old, new, key):
    folder = described((old, new))
    with pytest.raises(BackendError, match=re.escape(f"common.{key}: no variant has it, for each says otherwise")):
        arch_toml.load_folder(folder)


def test_a_common_reason_that_every_variant_overrules_is_refused(described):
    folder = described(
        ("[variant.plain.engine", '[common.unavailable]\nunicorn = "old"\n\n[variant.plain.engine'),
        ("[variant.other]\n", '[variant.plain.unavailable]\nunicorn = "older"\n\n[variant.other]\n'),
        ("page = 4096", 'page = 4096\nunavailable.unicorn = "oldest"'),
    )
    with pytest.raises(BackendError, match=r"common\.unavailable\.unicorn: no variant has it"):
        arch_toml.load_folder(folder)


def test_a_common_table_of_an_engine_that_no_variant_can_use_is_refused(described):
    folder = described(
        ('[variant.plain.engine.qemu-user]\nbinary = "qemu-plain"', '[variant.plain.unavailable]\nqemu-user = "old"'),
        (
            '[variant.other.engine.qemu-user]\nbinary = "qemu-other"\nfeatures = []',
            '[variant.other.unavailable]\nqemu-user = "older"',
        ),
    )
    with pytest.raises(BackendError, match=r"common\.engine\.qemu-user\.cpu: no variant has it"):
        arch_toml.load_folder(folder)


# What an engine cannot run.


def test_a_variant_says_why_an_engine_cannot_run_it(described):
    written = ("[variant.other]\n", '[variant.other]\nunavailable.unicorn = "it is too old"\n')
    plain, other = arch_toml.load_folder(described(written))
    assert other.engine["unicorn"] == Unavailable(unavailable="it is too old")
    assert "unicorn" not in plain.engine


def test_an_own_reason_overrules_a_common_table_and_an_own_table_a_common_reason(described):
    plain, other = arch_toml.load_folder(
        described(
            (
                '[variant.plain.engine.qemu-user]\nbinary = "qemu-plain"',
                '[common.unavailable]\nunicorn = "none"\n[variant.plain.unavailable]\nqemu-user = "old"',
            ),
            (
                "features = []",
                '[variant.other.engine.unicorn]\narch = "ARM"\nmode = []\nstack_pointer = "SP"\nprogram_counter = "PC"',
            ),
        )
    )
    assert plain.engine == {"qemu-user": Unavailable(unavailable="old"), "unicorn": Unavailable(unavailable="none")}
    assert {name: type(settings) for name, settings in other.engine.items()} == {
        "qemu-user": QemuUserSettings,
        "unicorn": UnicornSettings,
    }


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ('kvm = "why"', "unavailable.kvm: unknown name; valid are qemu-user, unicorn, native"),
        ('unicorn = ""', "unavailable.unicorn: '' found; expected a string that is not empty"),
        ("unicorn = 3", "unavailable.unicorn: 3 found; expected a string"),
        ('qemu-user = "old"', "unavailable.qemu-user: found beside "),
    ],
)
@pytest.mark.parametrize("place", ["common", "variant.other"])
def test_a_mistake_in_a_reason_is_reported_where_it_was_written(described, place, written, complaint):
    folder = described(("[variant.plain.engine", f"[{place}.unavailable]\n{written}\n\n[variant.plain.engine"))
    with pytest.raises(BackendError, match=re.escape(f"{place}.{complaint}")):
        arch_toml.load_folder(folder)


def test_a_table_of_an_engine_holds_no_reason_and_the_error_says_where_it_goes(described):
    folder = described(('binary = "qemu-other"', 'unavailable = "old"'))
    expected = 'variant.other.engine.qemu-user.unavailable: unknown key; write it as unavailable."qemu-user"'
    with pytest.raises(BackendError, match=re.escape(expected)):
        arch_toml.load_folder(folder)


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
