"""The rules of an architecture: each has a source, decides what it should, and can be listed."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from farm.cli import load
from farm.errors import BackendError
from farm.guest import arch_toml, mechanisms
from farm.guest.disassemble import decoded

VARIANTS = arch_toml.load()


def may_replace(name, old, new, address=0x1000):
    """Bases of the rules of variant ``name`` by which the bytes ``new`` may replace ``old`` while others execute."""
    variant = VARIANTS[name]
    before, after = bytes.fromhex(old), bytes.fromhex(new)
    mnemonics = [next(decoded(variant, code, address)).text.split()[0] for code in (before, after)]
    rules = variant.atomicity.fetch
    return [rule.basis for rule in rules if rule.allows(address, before, after, tuple(mnemonics))]


@pytest.mark.parametrize(
    ("variant", "old", "new", "bases"),
    [
        pytest.param("arm64", "01000014", "1f2003d5", ["manual", "manual"], id="arm64: b, nop"),
        pytest.param("arm64", "20000054", "41000054", ["manual"], id="arm64: b.eq, b.ne, in the later list alone"),
        pytest.param("arm64", "01000014", "c0035fd6", [], id="arm64: b, ret"),
        pytest.param("arm64", "01000014", "00000058", [], id="arm64: b, ldr"),
        pytest.param("arm", "010000ea", "00f020e3", ["manual"], id="arm: b, nop"),
        pytest.param("arm", "0100000a", "020000eb", ["manual"], id="arm: beq, bl"),
        pytest.param("arm", "010000ea", "0110c1e3", [], id="arm: b, bic, which b<cond> does not mean"),
        pytest.param("thumb", "01e0", "00bf", ["manual"], id="thumb: the short b and nop"),
        pytest.param("thumb", "00f001b8", "aff30080", ["practice"], id="thumb: the long ones"),
        pytest.param("thumb", "00f001f8", "01f001f8", ["manual", "practice"], id="thumb: bl, its first halfword"),
        pytest.param("thumb", "00f001f8", "00f002f8", ["practice"], id="thumb: bl, its second halfword"),
        pytest.param("ppc32", "48000004", "60000000", ["manual", "practice"], id="ppc: b, nop"),
        pytest.param("ppc32", "48000004", "4e800020", ["practice"], id="ppc: b, blr"),
        pytest.param("ppc32", "41820008", "41820010", [], id="ppc: a conditional branch"),
        pytest.param("ppc64le", "08008241", "10008241", [], id="ppc64le: a conditional branch"),
        pytest.param("riscv64", "6f000001", "13000000", ["platform"], id="riscv: j, nop"),
        pytest.param("s390x", "c0f400000100", "c00400000100", ["manual"], id="s390x: the mask"),
        pytest.param("s390x", "c0e500000100", "c0e500000200", ["practice"], id="s390x: the displacement"),
        pytest.param("s390x", "c0f400000100", "c00400000200", [], id="s390x: both"),
        pytest.param("mips32", "08000100", "00000000", ["practice"], id="mips: j, nop"),
        pytest.param("sparc64", "40000100", "40000200", ["practice"], id="sparc: call"),
        pytest.param("loongarch64", "00040050", "00004003", ["practice"], id="loongarch: b, nop"),
        pytest.param("m68k", "4ef900001000", "4ef900002000", ["practice"], id="m68k: the operand of jmp"),
        pytest.param("m68k", "4ef900001000", "4eb900001000", [], id="m68k: jmp, jsr"),
        pytest.param("alpha", "010000c3", "1f04ff47", [], id="alpha: nothing"),
        pytest.param("hppa", "e8000002", "08000240", [], id="parisc: nothing"),
    ],
)  # fmt: skip
def test_an_instruction_may_replace_another_one_if_the_architecture_says_so(variant, old, new, bases):
    shift = {"s390x": 2, "m68k": 2}.get(variant, 0)  # the word behind the opcode is aligned
    assert may_replace(variant, old, new, 0x1000 + shift) == bases


@pytest.mark.parametrize("offset", range(64))
def test_an_operand_of_x86_changes_within_a_quadword_of_amd_and_a_line_of_intel(offset):
    address = 0x1000 + offset
    allowed = may_replace("x86_64", "e9ffffffff", "e900000000", address)
    first, last = address + 1, address + 4
    assert len(allowed) == (first // 8 == last // 8) + (first // 64 == last // 64)
    assert may_replace("x86_64", "e9ffffffff", "e8ffffffff", address) == []


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=lambda variant: variant.name)
def test_a_word_of_data_is_stored_whole_where_it_is_aligned_and_nowhere_across_its_block(variant):
    size, rules = variant.word_size, variant.atomicity.data
    assert rules
    assert all(rule.allows(0x1000, size, size) for rule in rules)
    assert not all(rule.allows(0x1040 - size // 2, size, size) for rule in rules)
    assert not all(rule.allows(0x1000, 16, size) for rule in rules)


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=lambda variant: variant.name)
def test_a_rule_of_practice_names_a_system_and_every_other_one_a_manual(variant):
    for rule in variant.atomicity.fetch:
        assert rule.relied_on if rule.basis == "practice" else re.search(r'"[A-Z].*"', rule.manual)
    assert bool(variant.atomicity.fetch) != bool(variant.atomicity.unpromised)


def test_an_operand_of_a_step_is_its_address():
    steps = [step for step in VARIANTS["arm64"].coherence.maintenance if step.has_address]
    assert [step.operand("dc cvau, x3") for step in steps] == ["x3", None]
    assert [step.operand("ic ivau, x3") for step in steps] == [None, "x3"]
    barrier = VARIANTS["arm64"].coherence.maintenance[1]
    assert (barrier.operand("dsb ish"), barrier.operand("dsb sy"), barrier.operand("dsb ishst")) == ("", "", None)
    (icbi,) = (s for s in VARIANTS["ppc64le"].coherence.maintenance if s.instruction.startswith("icbi"))
    assert icbi.operand("icbi 0, r3") == "0, r3"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        pytest.param(
            'basis = "manual"',
            'basis = "hope"',
            "atomicity.fetch[0].basis: 'hope' found; expected one of 'manual'",
            id="basis",
        ),
        pytest.param(
            'basis = "manual"',
            'basis = "practice"',
            "atomicity.fetch[0].relied_on: missing; expected the system",
            id="practice",
        ),
        pytest.param(
            'basis = "manual"',
            'basis = "manual"\nrelied_on = "me"',
            "atomicity.fetch[0].relied_on: 'me' found; expected none",
            id="relied on",
        ),
        pytest.param(
            'basis = "manual"\nmanual = \'Arm ARM DDI 0487, "Concurrent modification and execution of instructions"\'',
            'basis = "manual"',
            "atomicity.fetch[0].manual: missing; expected manual and section",
            id="no manual",
        ),
        pytest.param(
            "within = 4", "within = 3", "atomicity.fetch[0].within: 3 found; expected a power of two", id="within"
        ),
        pytest.param(
            "within = 4",
            'within = 4\nbits = "xyz"',
            "atomicity.fetch[0].bits: 'xyz' found; expected the bytes",
            id="bits",
        ),
        pytest.param(
            "within = 4",
            "within = 4\nwith = 4",
            "atomicity.fetch[0].with: unknown key; valid are instructions, within",
            id="key",
        ),
        pytest.param(
            'instruction = "dsb ish or dsb osh or dsb sy"',
            'instruction = "{address} {address}"',
            "coherence.maintenance[1].instruction: '{address} {address}' found",
            id="two addresses",
        ),
        pytest.param('does = ["clean"]', "does = []", "coherence.maintenance[0].does: [] found", id="does nothing"),
        pytest.param(
            'reach = "local"',
            'reach = "far"',
            "coherence.maintenance[4].reach: 'far' found; expected one of 'local'",
            id="reach",
        ),
        pytest.param(
            "least = 4", "least = 4096", "coherence.block.least: 4096 to 2048 found; expected powers of two", id="block"
        ),
        pytest.param(", {address}", ", x0", "coherence.block: found; expected it if a step", id="block of nothing"),
        pytest.param(
            "[[common.coherence.maintenance]]",
            "[[common.coherence.barrier.x]]",
            "coherence.barrier.x: unknown key",
            id="table",
        ),
        pytest.param(
            "[common.coherence.block]",
            '[common.atomicity]\nunpromised = "x"\n\n[common.coherence.block]',
            "atomicity.unpromised: found beside atomicity.fetch",
            id="both",
        ),
    ],
)
def test_a_mistake_in_a_rule_names_the_file_the_key_and_what_is_valid(edited_arch, old, new, complaint):
    folder = edited_arch((old, new))
    with pytest.raises(BackendError, match=re.escape(complaint)) as caught:
        arch_toml.load_folder(folder)
    assert str(caught.value).startswith(f"{folder / 'arch.toml'}: common.")


def test_maintenance_that_is_needed_is_given(edited_arch):
    folder = edited_arch()
    text = (folder / "arch.toml").read_text(encoding="utf-8")
    steps = re.compile(r"\[\[common\.coherence\.maintenance\]\]\n(.+\n)+|\[common\.coherence\.block\]\n(.+\n)+")
    (folder / "arch.toml").write_text(steps.sub("", text), encoding="utf-8")
    with pytest.raises(BackendError, match=re.escape("coherence.maintenance: missing; expected the steps")):
        arch_toml.load_folder(folder)


# What a mechanism promises.


def test_a_mechanism_promises_the_less_where_it_says_nothing(mine):
    toml = mine / "mechanism.toml"
    text = toml.read_text(encoding="utf-8")
    assert mechanisms.read(mine).patching == "concurrent"
    toml.write_text(text.replace('patching = "concurrent"\n', ""), encoding="utf-8")
    assert mechanisms.read(mine).patching == "quiesced"
    toml.write_text(text.replace('"concurrent"', '"lucky"'), encoding="utf-8")
    with pytest.raises(BackendError, match="patching: 'lucky' found; expected one of 'concurrent', 'quiesced'"):
        mechanisms.read(mine)


def test_nobody_promises_to_patch_concurrently_where_nothing_is_promised_of_fetches():
    for mechanism in mechanisms.load().values():
        for variant in VARIANTS.values():
            if mechanism.pokes and not mechanism.missing(variant) and variant.atomicity.unpromised:
                made = mechanism.at(variant)
                data = (made.name, variant.name) == ("stub", "sh4")  # a literal
                assert made.patching == "quiesced" or data, (made.name, variant.name)


# Listings.


def listed(*arguments):
    done = CliRunner().invoke(load(), ["list", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_every_rule_is_listed_with_its_source():
    rows = json.loads(listed("rules", "--json"))
    assert {row["name"] for row in rows} == set(VARIANTS)
    assert all(set(row) == {"name", "rule", "says", "basis", "source"} for row in rows)
    mask = next(row for row in rows if row["name"] == "s390x" and row["rule"] == "fetch")
    assert (mask["basis"], mask["says"]) == (
        "manual", "brcl*, jg* may replace one another where bits 00f000000000 alone differ, within 1 aligned bytes",
    )  # fmt: skip


def test_variants_with_the_same_rules_are_one_paragraph_for_people():
    text = listed("rules")
    assert "\nmips32, mips32el, mips64, mips64el\n" in text
    assert (
        "  step 3     ic ivau, {address} (invalidate; broadcast)\n             manual: Arm ARM DDI 0487, B2.4.4" in text
    )


def test_the_list_of_mechanisms_says_what_they_promise_of_other_cpus():
    rows = {row["name"]: row for row in json.loads(listed("mechanisms", "--json"))}
    assert (rows["detour"]["patching"], rows["detour"]["patching_on"]) == ("quiesced", {})
    assert (rows["stub"]["patching"], rows["stub"]["patching_on"]) == (
        "concurrent", {"alpha": "quiesced", "hppa": "quiesced"},
    )  # fmt: skip
    assert "patching is concurrent, on alpha quiesced, hppa quiesced" in listed("mechanisms")


def test_a_barrier_orders_what_its_name_says():
    barrier = VARIANTS["arm64"].coherence.barrier
    named = {text: (barrier.does(text), barrier.orders_loads(text)) for text in ("dmb ish", "dmb ishst", "dsb ishld")}
    assert named == {"dmb ish": (True, True), "dmb ishst": (True, False), "dsb ishld": (False, True)}
    assert not barrier.does("dsb nsh")  # no other CPU need see it
    other = VARIANTS["ppc64le"].coherence.barrier
    assert all(other.does(text) == other.orders_loads(text) for text in ("sync", "lwsync", "isync"))
