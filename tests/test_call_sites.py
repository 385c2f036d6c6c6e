"""Call sites: what kept relocations lead to, what is left alone, and what stops a build."""

from __future__ import annotations

import dataclasses
import re
import shutil
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm import suite
from farm.engines.unicorn.machine import Machine
from farm.errors import ImageError, MissingToolError
from farm.guest import arch_toml, build, call_sites, disassemble, layout, mechanisms
from farm.guest.elf import bytes_at
from farm.guest.image import Spec
from farm.guest.toolchain import TOOLCHAINS
from farm.guest.variant import CallSiteForm, Opcode, UnicornSettings
from farm.scenario import FUNCTIONS, Defect, FailPoke, Kind, Patch, Scenario, Target, wire
from farm.scenario.layout import SITE_IN_MODULE

BUILT = [
    pytest.param(variant, toolchain, id=f"{variant.name}-{toolchain}")
    for variant in arch_toml.load().values()
    if not mechanisms.load()["relocated"].missing(variant)
    for toolchain in variant.toolchain
]
IN_UNICORN = [
    variant
    for variant in arch_toml.load().values()
    if not mechanisms.load()["relocated"].missing(variant)
    and isinstance(variant.engine.get("unicorn"), UnicornSettings)
    and not variant.engine["unicorn"].since
]


def built_by(variant, toolchain):
    try:
        TOOLCHAINS[toolchain].version(variant)
    except MissingToolError as error:
        pytest.skip(str(error))
    return build.image(Spec(variant, "relocated", toolchain))


@pytest.mark.parametrize(("variant", "toolchain"), BUILT)
def test_every_function_has_call_sites_and_every_asm_call_site_is_one(variant, toolchain):
    built = built_by(variant, toolchain)
    functions = {site.function for site in built.sites}
    assert functions >= {number for number, kind in enumerate(FUNCTIONS) if kind is Kind.INT}
    asm = ["bare"]
    if "#define ARCH_CONDITIONAL_CALL_SITES" in (variant.folder / "arch.h").read_text(encoding="utf-8"):
        asm.append("conditional")
    in_asm = {f"{name}_{number}" for name in asm for number, kind in enumerate(FUNCTIONS) if kind is Kind.INT}
    assert in_asm <= {built.name_of(site.address).partition("+")[0] for site in built.sites}
    assert {site.function for site in built.sites if site.module} & {0, 1}, "or nothing is seen of a site that is gone"


@pytest.mark.parametrize(("variant", "toolchain"), BUILT)
def test_the_guest_has_the_table_that_the_host_found(variant, toolchain):
    built = built_by(variant, toolchain)
    found = call_sites.survey(Path(built.path), variant)
    assert found.sites == built.sites
    order = ">" if variant.big_endian else "<"
    table = layout.read(Path(built.path), str(built.path), variant, mechanisms.load()["relocated"]).sites
    assert table == [(s.address, s.word, s.function | SITE_IN_MODULE * s.module) for s in built.sites]
    for site in built.sites:
        assert built.bytes_at(site.address, 4) == struct.pack(order + "I", site.word)


@pytest.mark.parametrize(("variant", "toolchain"), BUILT)
def test_what_is_left_alone_has_a_reason(variant, toolchain):
    built = built_by(variant, toolchain)
    found = call_sites.survey(Path(built.path), variant)
    assert all(left.reason for left in found.left_alone)
    assert not {site.address for site in found.sites} & {left.address for left in found.left_alone}


def code_after(machine, variant, *steps):
    """The bytes of all stubs and call sites after ``steps``."""
    made = Scenario("BS-99", "sites", "sites", steps, frozenset({Defect.LOST_PATCH}))
    machine.reset()
    trace = machine.image.decoder().decode(machine.run(wire.encode(made, big_endian=variant.big_endian)))
    assert not trace.complaint
    return trace.code


def words_after(machine, variant, *steps):
    """The call sites' words after ``steps``, in the order of the image's sites."""
    code = code_after(machine, variant, *steps)
    order = ">" if variant.big_endian else "<"
    count = len(machine.image.sites)
    return struct.unpack(f"{order}{count}I", code[len(code) - 4 * count :])


@pytest.mark.parametrize("variant", IN_UNICORN, ids=lambda variant: variant.name)
def test_every_call_site_is_redirected_straight_to_the_target_and_back(variant):
    """The host decodes what the guest's encoder wrote."""
    built = built_by(variant, next(iter(variant.toolchain)))
    machine = Machine(built, variant.engine["unicorn"])
    forms = {form.instruction: form for form in variant.call_site}
    patches = [Patch(number, Target.FAST) for number in range(len(FUNCTIONS))]
    words = words_after(machine, variant, *patches)
    for site, word in zip(built.sites, words, strict=True):
        if site.module:
            assert word == site.word, "the module is not loaded"
            continue
        form = forms[site.instruction]
        target = built.functions[f"fast_{site.function}"] & -variant.alignment
        reached = call_sites.leads_to(form, site.address, word, variant.bits)
        if reached != target:
            stub = built.functions[f"whatever_{site.function}"] & -variant.alignment
            reach = form.scale << call_sites.width(form) - 1
            assert (word, abs(target - site.address) >= reach) == (site.word, True), f"{site} still leads to {stub:#x}"
        assert word & form.opcode.mask == site.word & form.opcode.mask or form.opcode.at
    restored = words_after(machine, variant, *patches, *(Patch(p.function, Target.DEFAULT) for p in patches))
    assert restored == tuple(site.word for site in built.sites)


@pytest.mark.parametrize("variant", IN_UNICORN, ids=lambda variant: variant.name)
def test_a_request_that_fails_half_way_leaves_every_byte_as_it_was(variant):
    """The data slot too, to which only a CPU that stands inside the stub could still come (CC-03)."""
    machine = Machine(built_by(variant, next(iter(variant.toolchain))), variant.engine["unicorn"])
    before = code_after(machine, variant, Patch(0, Target.FAST))
    for target in (Target.FAR, Target.OTHER, Target.DEFAULT):
        request = Patch(0, target)
        assert code_after(machine, variant, Patch(0, Target.FAST), request) != before
        for poke in (1, 2, 3):
            after = code_after(machine, variant, Patch(0, Target.FAST), FailPoke(poke), request)
            assert after == before, f"the poke number {poke} of a patch to {target} failed"


# What stops a build.


@pytest.fixture
def linked(arm64, tmp_path):
    """A copy of a linked guest that can be damaged: reads and writes at addresses."""
    built = build.image(Spec(arm64, "relocated"))
    path = tmp_path / "guest.elf"
    shutil.copy(built.path, path)

    class Linked:
        image = built

        @staticmethod
        def word(address):
            return struct.unpack("<I", bytes_at(path.read_bytes(), built.segments, address, 4))[0]

        @staticmethod
        def store(address, value):
            home = next(s for s in built.segments if s.address <= address < s.address + s.file_size)
            content = bytearray(path.read_bytes())
            offset = home.offset + address - home.address
            content[offset : offset + 4] = struct.pack("<I", value)
            path.write_bytes(content)

        @staticmethod
        def survey():
            return call_sites.survey(path, arm64)

        @staticmethod
        def check():
            layout.check(layout.read(path, "IMAGE", arm64, mechanisms.load()["relocated"]))

    return Linked


def test_an_undamaged_guest_is_accepted(linked):
    assert linked.survey().sites == linked.image.sites


def branch(address, to):
    return 0x94000000 | ((to - address) >> 2 & 0x03FFFFFF)


def test_a_branch_to_a_stub_without_a_relocation_is_found(linked):
    place = linked.image.functions["farm_run"]
    linked.store(place, branch(place, linked.image.functions["whatever_3"]))
    assert linked.survey().sites == linked.image.sites, "no relocation leads to it"
    with pytest.raises(ImageError, match=r"^IMAGE: bl, b at .* in \.text leads to whatever_3, and is not in the table"):
        linked.check()


def test_a_relocation_that_names_another_function_is_found(linked):
    site = next(site for site in linked.image.sites if site.function == 0)
    linked.store(site.address, branch(site.address, linked.image.functions["whatever_1"]))
    with pytest.raises(ImageError, match="leads to whatever_1, its relocation to whatever_0"):
        linked.survey()


def test_what_a_linker_made_of_a_call_is_left_alone_if_it_is_no_branch(linked):
    site = linked.image.sites[0]
    linked.store(site.address, 0xD503201F)  # nop
    found = linked.survey()
    assert site.address not in {other.address for other in found.sites}
    (left,) = [left for left in found.left_alone if left.address == site.address]
    assert (left.function, left.reason) == (site.function, "no branch: the address is taken")


def test_a_call_that_was_led_past_the_stub_is_found(linked):
    site = linked.image.sites[0]
    linked.store(site.address, branch(site.address, linked.image.functions[f"whatever_{site.function}"] + 4))
    with pytest.raises(ImageError, match=f"leads to 0x[0-9a-f]+, its relocation to whatever_{site.function}: variant"):
        linked.survey()


@pytest.mark.parametrize("field", [{"scale": 8}, {"base": 4}, {"displacement": "24:0 25"}])
def test_a_form_that_is_not_that_of_its_instruction_stops_the_build(linked, arm64, field):
    first, *others = arm64.call_site
    variant = dataclasses.replace(arm64, call_site=(dataclasses.replace(first, **field), *others))
    file = re.escape(str(arm64.folder / "arch.toml"))
    with pytest.raises(ImageError, match=rf"^bl, b at .*: variant\.arm64\.call_site\[0\] of {file} has another"):
        call_sites.survey(Path(linked.image.path), variant)


# Displacements.

FORMS = [
    pytest.param(variant, form, id=f"{variant.name}-{form.instruction}")
    for variant in arch_toml.load().values()
    for form in variant.call_site
    if form.store != "never"
]


def scattered(form, value):
    """``value`` in the bits that ``form`` names, and how many they are; what the host reads, the other way round."""
    bits = []  # and whether the bit is compared with the sign; the most significant first
    for part in form.displacement.split():
        high, _, low = part.lstrip("=").partition(":")
        bits += [(bit, part.startswith("=")) for bit in range(int(high), int(low or high) - 1, -1)]
    word = 0
    for weight, (bit, compared) in enumerate(reversed(bits)):
        one = bool(value >> weight & 1)
        word |= (one == (value < 0) if compared else one) << bit
    return word, len(bits)


@pytest.mark.parametrize(("variant", "form"), FORMS)
def test_a_displacement_is_signed_in_every_opcode_up_to_both_extremes(variant, form):
    """The disassembler is asked where the same bytes lead."""
    address, before = 0x40001000, min(form.opcode.at, 0)
    for value in (-1 << call_sites.width(form) - 1, -1, 1, (1 << call_sites.width(form) - 1) - 1):
        word, bits = scattered(form, value)
        assert bits == call_sites.width(form)
        code = bytearray(-before) + word.to_bytes(4, variant.byte_order)
        opcode = slice(form.opcode.at - before, form.opcode.at - before + form.opcode.size)
        made = int.from_bytes(code[opcode], variant.byte_order) | form.opcode.value
        code[opcode] = made.to_bytes(form.opcode.size, variant.byte_order)
        (line,) = disassemble.instructions(variant, bytes(code), address + before)
        target = int(re.findall(r"-?(?:0x|\$)[0-9a-f]+", line)[-1].replace("$", "0x"), 16)
        word = int.from_bytes(code[-4:], variant.byte_order)
        assert (call_sites.leads_to(form, address, word, variant.bits) - target) % (1 << 32) == 0, line
        if not form.region:
            reached = (address + form.base + value * form.scale) % (1 << variant.bits)
            assert call_sites.leads_to(form, address, word, variant.bits) == reached


FORM = CallSiteForm(instruction="b", relocations=(1,), opcode=Opcode(mask=0, value=0), displacement="25:0", scale=4)


@pytest.mark.parametrize(
    ("fields", "word", "value"),
    [
        ("25:0", 0x03FFFFFF, -1),
        ("25:0", 0x02000000, -(1 << 25)),
        ("25:0", 0x01FFFFFF, (1 << 25) - 1),
        ("31:0", 0xFFFFFFFC, -4),
        ("31 19:12 20 30:21", 0x0000006F | 1 << 21, 1),
        ("31 19:12 20 30:21", 0x80000000, -(1 << 19)),
        ("31 19:12 20 30:21", 1 << 20, 1 << 10),
    ],
)
def test_a_displacement_is_read_from_the_most_significant_bit_on(fields, word, value):
    form = CallSiteForm(instruction="b", relocations=(), opcode=FORM.opcode, displacement=fields)
    assert call_sites.displacement(form, word) == value


def test_a_region_makes_the_field_absolute():
    form = CallSiteForm(
        instruction="j", relocations=(), opcode=FORM.opcode, displacement="25:0", scale=4, region=1 << 28
    )
    assert call_sites.leads_to(form, 0x1FFFFFFC, 0x08000010, 32) == 0x20000040


def test_addresses_wrap_at_the_width_of_the_architecture():
    form = CallSiteForm(instruction="call", relocations=(), opcode=FORM.opcode, displacement="31:0", base=4)
    assert call_sites.leads_to(form, 0xFFFFFFF0, 0x20, 32) == 0x14


_words = st.integers(0, 2**32 - 1)
REDIRECTED = [
    pytest.param(variant, form, id=f"{variant.name} {form.instruction}")
    for variant in arch_toml.load().values()
    for form in variant.call_site
    if form.store != "never"
]


@pytest.mark.parametrize(("variant", "form"), REDIRECTED)
@settings(max_examples=25)
@given(word=_words, other=_words)
def test_a_word_is_redirected_to_whatever_it_reaches_and_keeps_all_but_the_displacement(variant, form, word, other):
    at = 0x4000_0000
    before, to = (call_sites.leads_to(form, at, each, variant.bits) for each in (word, other))
    made = call_sites.redirected(form, at, word, to, variant.bits)
    assert call_sites.leads_to(form, at, made, variant.bits) == to
    assert call_sites.redirected(form, at, made, before, variant.bits) == word


@pytest.mark.parametrize(
    ("distance", "reached"),
    [(-(1 << 27), True), (-(1 << 27) - 4, False), ((1 << 27) - 4, True), (1 << 27, False), (2, False), (0, True)],
)
def test_a_word_that_does_not_reach_stays_as_it_is(distance, reached):
    word, at = 0x94000123, 0x1000_0000
    made = call_sites.redirected(FORM, at, word, at + distance, 64)
    assert made == ((word & ~0x03FFFFFF | distance // 4 & 0x03FFFFFF) if reached else word)


@pytest.mark.parametrize("store", ["aligned", "quadword"])
def test_a_word_that_one_store_cannot_replace_is_left_on_the_stub(store):
    form = CallSiteForm(instruction="call", relocations=(), opcode=FORM.opcode, displacement="31:0", store=store)
    assert (call_sites._not_one_store(form, 0x103D) is None) is False
    assert call_sites._not_one_store(form, 0x103C) is None


def test_every_suite_scenario_runs_with_call_sites_too():
    """No scenario was left behind when the mechanism came."""
    for scenario in suite.load().values():
        assert mechanisms.load()["relocated"].cannot_run(scenario) is None, scenario.name
