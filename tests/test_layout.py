"""What an image must satisfy: every rule refuses what breaks it, and every guest of the farm satisfies all."""

from __future__ import annotations

import functools
import re
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from elftools.elf.relocation import RelocationSection

from farm.cell import Cell, Verdict
from farm.engines.unicorn import UNICORN
from farm.errors import ImageError, MissingToolError
from farm.guest import arch_toml, build, call_sites, elf, layout, link, mechanisms
from farm.guest.arch_toml import load_folder
from farm.guest.elf import Segment, Symbol
from farm.guest.image import Spec
from farm.guest.toolchain import TOOLCHAINS
from farm.run.batch import Batch, run_batch
from farm.scenario import FUNCTIONS
from farm.scenario.layout import SITE_IN_MODULE
from farm.suite import load

#: Of each compiler but the first of a guest, the guest with most of what a compiler decides; no guest of the others
#: is linked that breaks a rule, and ``tox -e farm-gcc`` links them all.
GUESTS = [
    pytest.param(variant, mechanism, toolchain, id=f"{variant.name}-{mechanism}-{toolchain}")
    for variant in arch_toml.load().values()
    for mechanism in mechanisms.load()
    for nth, toolchain in enumerate(
        t for t in variant.toolchain if not mechanisms.load()[mechanism].missing(variant, t)
    )
    if nth == 0 or mechanism == "relocated"
]


def path_of(variant, mechanism, toolchain=None):
    """The finished guest."""
    known = mechanisms.load()[mechanism]
    toolchain = toolchain or next(name for name in variant.toolchain if not known.missing(variant, name))
    try:
        TOOLCHAINS[toolchain].version(variant)
    except MissingToolError as error:
        pytest.skip(str(error))
    return Path(build.image(Spec(variant, mechanism, toolchain)).path)


@functools.cache
def built(variant, mechanism, toolchain=None):
    """The finished guest, as the rules see it."""
    return layout.read(path_of(variant, mechanism, toolchain), "IMAGE", variant, mechanisms.load()[mechanism])


@pytest.mark.parametrize(("variant", "mechanism", "toolchain"), GUESTS)
def test_every_guest_satisfies_every_rule(variant, mechanism, toolchain):
    guest = built(variant, mechanism, toolchain)
    assert [complaint for rule in layout.RULES for complaint in rule(guest)] == []


@pytest.mark.parametrize("variant", arch_toml.load().values(), ids=lambda variant: variant.name)
def test_every_variant_names_the_manual_that_promises_whole_stores(variant):
    assert re.search(r'"[A-Z].*"', variant.atomicity.manual), "a manual, and the title of its section"


# Planted: each changes one thing of a sound guest.


def moved(guest, **addresses):
    """``guest`` with symbols elsewhere; a value is what is added."""
    there = {name: Symbol(guest.address(name) + added, guest.symbols[name].size) for name, added in addresses.items()}
    functions = {name: guest.functions[name] + added for name, added in addresses.items() if name in guest.functions}
    return replace(guest, symbols={**guest.symbols, **there}, functions={**guest.functions, **functions})


def stored(guest, address, data):
    home = next(s for s in guest.segments if s.address <= address < s.address + s.file_size)
    offset = home.offset + address - home.address
    return replace(guest, content=guest.content[:offset] + data + guest.content[offset + len(data) :])


def compiled(guest, **changed):
    """``guest`` with another ``arch.h``."""
    order = ">" if guest.variant.big_endian else "<"
    return stored(guest, guest.address("farm_layout"), struct.pack(f"{order}5i", *guest.stubs._replace(**changed)))


def site(guest, number, **changed):
    """``guest`` with another entry in its table of call sites; a value is what is added."""
    was = guest.sites[number]
    entry = was._replace(**{name: getattr(was, name) + added for name, added in changed.items()})
    return stored(guest, guest.address("farm_sites") + number * guest.entry.size, guest.entry.pack(*entry))


def one_site_less(guest):
    """``guest`` whose table of call sites ends one earlier."""
    return stored(guest, guest.address("farm_site_count"), struct.pack("<I", len(guest.sites) - 1))


def segment(guest, number, **changed):
    segments = list(guest.segments)
    segments[number] = msgspec.structs.replace(segments[number], **changed)
    return replace(guest, segments=tuple(segments))


def another_segment(guest, address):
    return replace(guest, segments=(*guest.segments, Segment(address, 0, 16, 16, 4)))


def section(guest, which, **changed):
    others = (msgspec.structs.replace(s, **changed) if s.name == which else s for s in guest.sections)
    return replace(guest, sections=tuple(others))


def another_section(guest, name, beside):
    (first,) = (s for s in guest.sections if s.name == beside)
    return replace(guest, sections=(*guest.sections, msgspec.structs.replace(first, name=name)))


def without(guest, name):
    return replace(guest, functions={n: address for n, address in guest.functions.items() if n != name})


def just_reached(guest):
    """A far target is as near as the stub's jump reaches."""
    return moved(guest, far_7=guest.stub(7) - guest.variant.branch_range - guest.functions["far_7"])


PLANTED = [
    ("arm64", "stub", lambda g: without(g, "far_3"), r"it has no function far_3, which every guest has"),
    ("arm64", "stub", lambda g: another_section(g, ".plt", ".far"), r"section \.plt at 0x20000000 holds code, and no"),
    ("arm64", "stub", lambda g: section(g, ".stub", size=0), r"section \.stub is empty or not there"),
    ("arm64", "stub", lambda g: segment(g, 1, flags=7), r"the segment at 0x1010000 is writable and executable at once"),
    ("arm64", "stub", lambda g: segment(g, 0, flags=4), r"text_start at 0x1000000 is in no executable segment"),
    ("arm64", "stub", lambda g: segment(g, 3, flags=4), r"state_start at 0x\w+ is in no writable segment"),
    ("arm64", "stub", lambda g: moved(g, sites_start=4096), r"sites_start at 0x1021000 is not the beginning of a page"),
    (
        "arm64",
        "stub",
        lambda g: segment(g, 2, size=0x10001),
        r"segments at 0x1040000 and 0x1050000 share a page: .*65536",
    ),
    ("arm64", "stub", lambda g: moved(g, far_start=16), r"far_start is at 0x20000010, and far_base in arch\.toml is"),
    ("arm64", "stub", lambda g: moved(g, state_end=2), r"state_start at 0x\w+ has \d+ bytes: .* multiples of 4"),
    ("arm64", "stub", lambda g: moved(g, farm_pristine=2), r"farm_pristine at 0x\w+ is copied as 32-bit words, and is"),
    ("arm64", "stub", lambda g: section(g, ".edge", size=4095), r"section \.edge ends at 0x13fffff: not at the end of"),
    ("arm64", "stub", lambda g: another_segment(g, 0x1400000), r"section \.edge ends at 0x1400000: .* nothing behind"),
    ("arm64", "pointer", lambda g: moved(g, other_5=2), r"other_5 at 0x\w+ is not a multiple of 4 \(ARCH_FUNCTION_"),
    ("thumb", "pointer", lambda g: moved(g, other_5=-1), r"other_5 at 0x\w+ is not a multiple of 2 \(ARCH_FUNCTION_"),
    ("arm64", "stub", just_reached, r"far_7 at -?0x\w+ is -0x8000000 bytes from its stub, which reaches 0x8000000"),
    ("i386", "stub", lambda g: compiled(g, size=24), r"stub_start at .* not a multiple of ARCH_STUB_BYTES \(24\)"),
    ("arm64", "stub", lambda g: compiled(g, size=16), r"section \.stub has 576 bytes, and 18 stubs .* \(16\) have 288"),
    (
        "arm64",
        "stub",
        lambda g: moved(g, whatever_3=32),
        r"whatever_3: its first instruction at 0x\w+ is not in the st",
    ),
    (
        "arm64",
        "inline-cache",
        lambda g: stored(g, g.address("stub_end") - 1, b"x"),
        r"patched_end at 0x\w+0 is not .* zeros alone behind it",
    ),
    (
        "arm64",
        "inline-cache",
        lambda g: replace(g, variant=replace(g.variant, branch_range=4096)),
        r"stub_end at 0x\w+ is not within 0x1000 bytes of whatever_0 at 0x\w+ \(branch_range",
    ),
    ("arm64", "stub", lambda g: compiled(g, slot=32), r"whatever_0: its data slot .* is not in the stub's own bytes"),
    ("arm64", "stub", lambda g: compiled(g, word=32), r"whatever_0: its word .* is not in the stub's own bytes"),
    (
        "x86_64",
        "stub",
        lambda g: compiled(g, word=2),
        r"whatever_0: the word .* 0x\w+5 is not .* \(Intel SDM .*; AMD64",
    ),
    (
        "riscv64",
        "relocated",
        lambda g: compiled(g, word=2),
        r"whatever_0: the word of its stub .* \(RISC-V Unprivileged",
    ),
    ("arm", "stub", lambda g: compiled(g, word_size=8), r"ARCH_CODE_WORD has 8 bytes, and one store of arm 4"),
    ("s390x", "stub", lambda g: compiled(g, slot=12), r'its 8 bytes \(z/Arch.*"Load Relative Long": .* exception'),
    (
        "s390x",
        "pad",
        lambda g: compiled(g, slot=-6),
        r'whatever_0: the data slot .* multiple of its 8 bytes \(z/Arch.*"Load Relative Long": .* exception',
    ),
    ("arm64", "pad", lambda g: compiled(g, slot=-4), r"the data slot .* multiple of its 8 bytes \(Arm ARM DDI 0487"),
    ("arm64", "pad", lambda g: compiled(g, slot=-24), r"whatever_0: its data slot .* is not in the stub's own bytes"),
    (
        "thumb",
        "pad",
        lambda g: compiled(g, word=2),
        r"whatever_0: the word .* may be seen in parts \(Arm ARM DDI 0406C",
    ),
    (
        "x86_64",
        "detour",
        lambda g: moved(g, whatever_3=2),
        r"whatever_3: its entry at 0x\w+2 is not at 0x\w+0, where its 64 bytes .* \(Intel SDM",
    ),
    ("arm64", "stub", lambda g: compiled(g, slot=12), r"the data slot .* multiple of its 8 bytes \(Arm ARM DDI 0487"),
    ("arm64", "pointer", lambda g: moved(g, pointer_end=8), r"pointer_start at 0x\w+ has 152 bytes, not 18 pointers"),
    ("arm64", "pointer", lambda g: moved(g, pointer_start=4, pointer_end=4), r"is not a multiple of 8 bytes.*Arm ARM"),
    ("arm64", "literal", lambda g: moved(g, literal_end=8), r"literal_start at 0x\w+ has 152 bytes, not 18 literals"),
    (
        "s390x",
        "literal",
        lambda g: moved(g, literal_start=4, literal_end=4),
        r"literal_start at .* beginning of a page",
    ),
    (
        "arm64",
        "literal",
        lambda g: another_segment(g, g.address("alias_start") + 128),
        r"the second mapping of 144 bytes at 0x11d0000 is also the segment at 0x11d0080 \(images/platform/link\.ld",
    ),
    ("arm64", "literal", lambda g: segment(g, 2, flags=5), r"section \.literal at 0x\w+ holds code, and nobody"),
    ("arm64", "literal", lambda g: segment(g, 2, flags=6), r"literal_start at 0x\w+ is in a writable segment"),
    ("arm64", "relocated", lambda g: site(g, 9, function=64), r"call site of whatever_\d+ at 0x\w+: there is no such"),
    ("arm64", "relocated", lambda g: site(g, 9, address=-4096), r"whatever_\d+ at 0x\w+ is not behind the one at 0x"),
    ("arm64", "relocated", lambda g: site(g, 105, address=0x10000), r"is not between sites_start and sites_end, which"),
    (
        "arm64",
        "relocated",
        lambda g: site(g, 0, function=-SITE_IN_MODULE),
        r"not between sites_start and sites_end",
    ),
    ("arm64", "relocated", one_site_less, r"b\.cond at 0x\w+ in \.\w+ leads to whatever_\d+, and is not in"),
    ("arm64", "relocated", lambda g: site(g, 9, linked=1), r"at 0x\w+: the table has 0x\w+, and the linker left"),
]


@pytest.mark.parametrize(("name", "mechanism", "plant", "complaint"), PLANTED)
def test_what_breaks_a_rule_is_refused_with_image_symbol_and_address(name, mechanism, plant, complaint):
    guest = built(arch_toml.load()[name], mechanism)
    layout.check(guest)
    with pytest.raises(ImageError, match=f"^IMAGE: .*{complaint}") as caught:
        layout.check(plant(guest))
    assert "\n" not in str(caught.value)


def test_every_rule_refuses_something():
    refusing = set()
    for name, mechanism, plant, _ in PLANTED:
        guest = plant(built(arch_toml.load()[name], mechanism))
        refusing.add(next(rule for rule in layout.RULES if next(rule(guest), None)))
    assert refusing == set(layout.RULES)


# Call sites: the table is checked by other code than that which decides.


@pytest.fixture
def copied(tmp_path):
    """``copied(variant)``: its guest of the ``relocated`` mechanism, to be filled in anew."""

    def copy(variant):
        path = tmp_path / "guest.elf"
        path.write_bytes(built(variant, "relocated").content)
        return path

    return copy


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("riscv64", r"at 0x\w+[26ae] is not a multiple of 4, so .* \(RISC-V Unprivileged ISA"),
        ("riscv32", r"at 0x\w+[26ae] is not a multiple of 4, so .* \(RISC-V Unprivileged ISA"),
        ("thumb", r"at 0x\w+[26ae] is not a multiple of 4, so .* \(Arm ARM DDI 0406C"),
        ("s390x", r"at 0x\w+[26ae] is not a multiple of 4, so .* \(z/Architecture Principles"),
        ("x86_64", r"at 0x\w+[567def] is not a multiple of 4, nor within 8 aligned bytes, so .* \(Intel .*; AMD64"),
        ("i386", r"at 0x\w+[567def] is not a multiple of 4, nor within 8 aligned bytes, so .* \(Intel .*; AMD64"),
    ],
)
def test_a_site_that_was_let_in_although_a_store_to_it_tears_is_refused(copied, monkeypatch, name, complaint):
    variant = arch_toml.load()[name]
    path = copied(variant)
    monkeypatch.setattr(call_sites, "_not_one_store", lambda *_: None)
    with pytest.raises(ImageError, match=rf"^IMAGE: the call site of whatever_\d+ {complaint}"):
        link.fill(path, "IMAGE", variant, mechanisms.load()["relocated"])


@pytest.mark.parametrize(
    "variant",
    [v for v in arch_toml.load().values() if not mechanisms.load()["relocated"].missing(v)],
    ids=lambda variant: variant.name,
)
def test_a_survey_that_loses_a_call_site_is_found_out(copied, monkeypatch, variant):
    """The scan of the finished image counts by itself."""
    path = copied(variant)
    there = call_sites.survey(path, variant)
    for lost in (there.sites[0], there.sites[-1]):
        kept = replace(there, sites=tuple(site for site in there.sites if site != lost))
        monkeypatch.setattr(link, "survey", lambda *_, kept=kept: kept)
        form = re.escape(lost.instruction)
        complaint = (
            rf"^IMAGE: {form} at {lost.address:#x} in \.\w+ leads to whatever_{lost.function}, and is not in the"
        )
        with pytest.raises(ImageError, match=complaint):
            link.fill(path, "IMAGE", variant, mechanisms.load()["relocated"])


def test_a_quadword_is_what_every_x86_stores_whole():
    variant = arch_toml.load()["x86_64"]
    (form, *_) = variant.call_site
    for address in range(64):
        tears = address % 8 in (5, 6, 7)
        assert layout.may_tear(variant, address) == tears
        assert (call_sites._not_one_store(form, address) is not None) == tears


# Capacities.


def test_stubs_that_are_larger_than_arch_h_says_are_a_build_error(edited_arch):
    folder = edited_arch()
    stub = folder / "stub.S"
    text = stub.read_text(encoding="utf-8")
    stub.write_text(text.replace(".balign ARCH_STUB_BYTES", ".balign 2 * ARCH_STUB_BYTES"), encoding="utf-8")
    (variant,) = load_folder(folder)
    cell = Cell("supersede_then_restore", "arm64", "stub", "zig", UNICORN.name)
    batch = Batch(Spec(variant, "stub"), UNICORN.name, (cell,), (load()["supersede_then_restore"],))
    (result,) = run_batch(batch)
    assert result.verdict is Verdict.BUILD_ERROR
    assert result.reason == (
        f"arm64/stub/zig: section .stub has {64 * len(FUNCTIONS)} bytes, and farm_pristine has room for "
        f"{32 * len(FUNCTIONS)} (ARCH_STUB_BYTES for each function)"
    )


@pytest.mark.parametrize(
    ("table", "room", "complaint"),
    [
        ("farm_pristine", 100, r"section \.stub has 576 bytes, and farm_pristine has room for 100 \(ARCH_STUB_BYTES"),
        ("farm_module", 16, r"section \.module has \d+ bytes, and farm_module has room for 16 \(MODULE_SIZE in"),
        ("farm_sites", 160, r"table of 106 call sites has 1712 bytes, and farm_sites has room for 160 \(SITE_CAPACITY"),
    ],
)
def test_no_copy_overruns_its_table(arm64, copied, monkeypatch, table, room, complaint):
    path = copied(arm64)
    before, read = path.read_bytes(), layout.read

    def smaller(*arguments):
        guest = read(*arguments)
        return replace(guest, symbols={**guest.symbols, table: Symbol(guest.address(table), room)})

    monkeypatch.setattr(layout, "read", smaller)
    with pytest.raises(ImageError, match=f"^IMAGE: .*{complaint}"):
        link.fill(path, "IMAGE", arm64, mechanisms.load()["relocated"])
    assert path.read_bytes() == before


# The same in an architecture's own files.


@pytest.mark.parametrize(
    ("name", "edits", "complaint"),
    [
        pytest.param(
            "s390x",
            [("stub.S", "    .balign 8\n1:", "1:"), ("arch.h", "ARCH_STUB_SLOT 16", "ARCH_STUB_SLOT 14")],
            "the data slot of its stub at .* specification exception",
            id="slot",
        ),
        pytest.param(
            "x86_64",
            [
                ("stub.S", ".fill   3, 1, 0xcc", ".fill   2, 1, 0xcc"),
                ("arch.h", "ARCH_STUB_SLOT 21", "ARCH_STUB_SLOT 22"),
            ],
            r"the word of its stub at 0x\w+3 is not .* \(Intel SDM volume 3A",
            id="word",
        ),
    ],
)
def test_an_architecture_that_misplaces_what_is_stored_is_refused_when_built(tmp_path, name, edits, complaint):
    there = arch_toml.load()[name]
    folder = shutil.copytree(there.folder, tmp_path / there.architecture)
    for file, old, new in edits:
        text = (folder / file).read_text(encoding="utf-8")
        assert old in text
        (folder / file).write_text(text.replace(old, new), encoding="utf-8")
    variant = next(v for v in load_folder(folder) if v.name == name)
    with pytest.raises(ImageError, match=f"^{name}/stub/zig: whatever_0: {complaint}"):
        build.image(Spec(variant, "stub"))


@pytest.mark.parametrize("name", ["arm64", "thumb", "ppc32", "mips64el", "i386", "hppa", "s390x"])
def test_symbols_and_relocations_are_read_as_by_pyelftools(name):
    """Of each width and order, with and without addends, and of the one that has three types in a relocation."""
    variant = arch_toml.load()[name]
    path = path_of(variant, "stub" if mechanisms.load()["relocated"].missing(variant) else "relocated")
    types = {"STT_NOTYPE": 0, "STT_OBJECT": 1, "STT_FUNC": 2, "STT_SECTION": 3, "STT_FILE": 4, "STT_LOPROC": 13}
    sections = {"SHN_UNDEF": 0, "SHN_ABS": 0xFFF1}
    with elf.opened(path) as file:
        for seen, symbol in zip(elf.listed(file), file.get_section_by_name(".symtab").iter_symbols(), strict=True):
            kind, shared = types[symbol["st_info"]["type"]], symbol["st_info"]["bind"] != "STB_LOCAL"
            assert seen[:5] == (symbol.name, symbol["st_value"], symbol["st_size"], kind, shared)
            section = symbol["st_shndx"]
            assert (seen.other >> 5, seen.section) == (symbol["st_other"]["local"], sections.get(section, section))
        kept = [section for section in file.iter_sections() if isinstance(section, RelocationSection)]
        assert kept
        for (of, rows), section in zip(elf.relocations(file), kept, strict=True):
            assert of == file.get_section(section["sh_info"]).name
            wanted = [(r["r_offset"], r["r_info_type"], r["r_info_sym"]) for r in section.iter_relocations()]
            assert [tuple(row) for row in rows] == wanted
