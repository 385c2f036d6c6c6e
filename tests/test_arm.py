"""arm and thumb: where a branch leads, against a disassembler."""

from __future__ import annotations

import capstone
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.guest import arch_toml
from farm.guest.call_sites import leads_to

PLACE = 0x1000000
MODES = {
    "arm": capstone.CS_MODE_ARM | capstone.CS_MODE_LITTLE_ENDIAN,
    "armeb": capstone.CS_MODE_ARM | capstone.CS_MODE_LITTLE_ENDIAN,  # instructions are
    "thumb": capstone.CS_MODE_THUMB | capstone.CS_MODE_LITTLE_ENDIAN,
}
words = st.integers(0, 2**32 - 1)


def form_of(variant, word):
    for form in variant.call_site:
        opcode = form.opcode
        other = opcode.unless is not None and word & opcode.unless.mask == opcode.unless.value
        if word & opcode.mask == opcode.value and not other:
            return form
    return None


def branch(name, word):
    """Mnemonic and target of ``word``, as the disassembler has it; no mnemonic if it is no direct branch."""
    engine = capstone.Cs(capstone.CS_ARCH_ARM, MODES[name])
    engine.detail = True
    code = word.to_bytes(4, arch_toml.load()[name].byte_order)
    for instruction in engine.disasm(code, PLACE, count=1):
        if instruction.mnemonic.startswith("b") and instruction.operands[0].type == capstone.arm.ARM_OP_IMM:
            return instruction.mnemonic, instruction.operands[0].imm % 2**32
    return "", 0


@pytest.mark.parametrize("name", sorted(MODES))
@given(word=words, form=st.integers(0, 2))
def test_what_a_form_decodes_is_a_branch_to_where_it_says(name, word, form):
    variant = arch_toml.load()[name]
    forms = [form for form in variant.call_site if form.store != "never"]
    opcode = forms[form % len(forms)].opcode
    word = word & ~opcode.mask | opcode.value
    found = form_of(variant, word)
    mnemonic, target = branch(name, word)
    if found is None:
        assert not mnemonic
    elif found.store == "never":
        assert mnemonic == "blx"
    else:
        assert mnemonic not in ("", "blx")
        assert target == leads_to(found, PLACE, word, variant.bits)


@pytest.mark.parametrize(
    ("name", "word", "instruction"),
    [
        ("arm", 0xEB000000, "bl, b"),
        ("arm", 0x1A000000, "bl, b"),  # bne
        ("arm", 0x0B000000, "bl, b"),  # bleq
        ("arm", 0xFA000000, "blx"),
        ("arm", 0xFB000000, "blx"),
        ("armeb", 0x000000EB, "bl, b"),
        ("armeb", 0x000000FB, "blx"),
        ("thumb", 0xF800F000, "bl, b.w"),
        ("thumb", 0xB800F000, "bl, b.w"),
        ("thumb", 0x8000F000, "b<cond>.w"),
        ("thumb", 0x8000F3AF, None),  # nop.w
        ("thumb", 0xE800F000, "blx"),
    ],
)
def test_bl_and_blx_are_not_confused(name, word, instruction):
    form = form_of(arch_toml.load()[name], word)
    assert (form.instruction if form else None) == instruction
