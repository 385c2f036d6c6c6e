"""Contradictions in an arch.toml: each is refused with the file, the key and why."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.errors import BackendError
from farm.guest import arch_toml
from farm.guest.contradictions import contradictions
from farm.guest.variant import BitPattern, CallSiteForm, Opcode

CALL = 'opcode = { mask = 0x7c000000, value = 0x14000000 }\ndisplacement = "25:0"\nscale = 4'


def opcode(text):
    return CALL, CALL.replace("mask = 0x7c000000, value = 0x14000000", text)


def call(old, new):
    assert old in CALL
    return CALL, CALL.replace(old, new)


def added(text):
    return CALL, f"{CALL}\n{text}"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param(
            opcode("mask = 0x7c000000, value = 0x14000001"),
            "call_site[0].opcode.value: 0x14000001 has bits outside mask 0x7c000000, so it can match nothing",
            id="value outside mask",
        ),
        pytest.param(opcode("mask = 0, value = 0"), "call_site[0].opcode.mask: 0x0 found; expected 1 to", id="no mask"),
        pytest.param(opcode("mask = -1, value = 0"), "call_site[0].opcode.mask: -0x1 found", id="negative mask"),
        pytest.param(
            opcode("mask = 0x7c00, value = 0x1400, size = 1"),
            "call_site[0].opcode.mask: 0x7c00 found; expected 1 to 0xff, for it has 8 bits",
            id="mask wider than the opcode",
        ),
        pytest.param(opcode("mask = 0x7c000000, value = 0x14000000, at = 100"), "call_site[0].opcode.at: 100", id="at"),
        pytest.param(
            opcode("mask = 0x7c000000, value = 0x14000000, at = true"),
            "call_site[0].opcode.at: True found; expected an integer",
            id="boolean number",
        ),
        pytest.param(
            opcode("mask = 0x7c000000, value = 0x14000000, size = 3"),
            "call_site[0].opcode.size: 3 found; expected one of 1, 2, 4",
            id="size",
        ),
        pytest.param(
            opcode("mask = 0x7c000000, value = 0x14000000, of = 3"),
            "call_site[0].opcode.of: unknown key; valid are mask, value, at, size, unless",
            id="key of an opcode",
        ),
        pytest.param(opcode("mask = 0x7c000000"), "call_site[0].opcode.value: missing; expected", id="missing value"),
        pytest.param(
            opcode("mask = 0x7c000000, value = 0x14000000, unless = { mask = 0x80000000, value = 0xc0000000 }"),
            "call_site[0].opcode.unless.value: 0xc0000000 has bits outside mask 0x80000000",
            id="unless outside its mask",
        ),
        pytest.param(
            opcode("mask = 0x7c000000, value = 0x14000000, unless = { mask = 0x90000000, value = 0x80000000 }"),
            "call_site[0].opcode.unless: excludes nothing",
            id="unless of another opcode",
        ),
        pytest.param(
            opcode("mask = 0x7c000000, value = 0x14000000, unless = { mask = 0x10000000, value = 0x10000000 }"),
            "call_site[0].opcode.unless: excludes every instruction",
            id="unless of all",
        ),
        pytest.param(
            call("scale = 4", "scale = 0"), "call_site[0].scale: 0 found; expected a power of two", id="scale"
        ),
        pytest.param(call("scale = 4", "scale = -4"), "call_site[0].scale: -4 found", id="negative scale"),
        pytest.param(call("scale = 4", "scal = 4"), "call_site[0].scal: unknown key; valid are", id="key of a form"),
        pytest.param(call("25:0", "26:0"), "call_site[0].displacement: bit 26 is one of opcode.mask too", id="held"),
        pytest.param(call("25:0", "25:0 3"), "call_site[0].displacement: bit 3 is in it twice", id="bit twice"),
        pytest.param(
            call("25:0", "0:25"), "call_site[0].displacement: '0:25' found; expected bits 31 to 0", id="order"
        ),
        pytest.param(call("25:0", "32"), "call_site[0].displacement: '32' found; expected bits 31 to 0", id="bit 32"),
        pytest.param(call("25:0", "all"), "call_site[0].displacement: 'all' found; expected bits from", id="no bits"),
        pytest.param(call("25:0", "=3 2:0"), "call_site[0].displacement: '=3' found", id="sign without a sign"),
        pytest.param(call('displacement = "25:0"', ""), "call_site[0].displacement: missing", id="no displacement"),
        pytest.param(added("region = 3"), "call_site[0].region: 3 found; expected a power of two", id="region"),
        pytest.param(
            added("region = 0x100"), "call_site[0].region: 0x100 found; expected at least 0x10000000", id="small region"
        ),
        pytest.param(
            added("region = 0x10000000\nbase = 4"), "call_site[0].base: 4 found; expected none", id="region and base"
        ),
        pytest.param(
            call("scale = 4", "scale = 9223372036854775808"),
            "call_site[0].scale: 9223372036854775808 found; with 26 bits of displacement it leads beyond all addresses",
            id="large scale",
        ),
        *(
            pytest.param(
                added(f"base = {base}"),
                f"call_site[0].base: {base} found; expected where a program counter may be: 0 (the instruction) or 0 "
                "(the word), or from 4 (behind them) to 16",
                id=f"base {base}",
            )
            for base in (-1, 2, 0xFFFFFFFFFF)
        ),
        pytest.param(
            ('instruction = "bl, b"', 'instruction = "\\u0000"'),
            "call_site[0].instruction: '\\x00' found; expected text without control characters",
            id="text that cannot be shown",
        ),
        pytest.param(
            ('instruction = "bl, b"', 'instruction = " "'), "call_site[0].instruction: ' ' found", id="blank name"
        ),
        pytest.param(
            ('stub_jump = "b | nop, behind bti c"', 'stub_jump = "b\\nnop"'),
            "stub_jump: 'b\\nnop' found",
            id="two lines",
        ),
        pytest.param(
            ('flags = ["-mbranch-protection=bti"]', 'flags = ["\\u0000"]'),
            "toolchain.zig.flags: '\\x00' found",
            id="flag",
        ),
        pytest.param(added("word = 99"), "call_site[0].word: 99 found", id="word"),
        pytest.param(added('store = "never"'), "call_site[0].reason: missing; expected why", id="never without why"),
        pytest.param(added('reason = "far"'), "call_site[0].reason: 'far' found; expected none", id="why of nothing"),
        pytest.param(
            ("relocations = [282, 283]", "relocations = [282, 282]"),
            "call_site[0].relocations: 282 is in it twice",
            id="relocation twice",
        ),
        pytest.param(
            ("relocations = [282, 283]", "relocations = []"), "call_site[0].relocations: []", id="no relocation"
        ),
        pytest.param(("relocations = [280]", "relocations = [-1]"), "call_site[1].relocations: -1", id="relocation"),
        pytest.param(
            (
                "[280]      # R_AARCH64_CONDBR19\nopcode = { mask = 0xff000010, value = 0x54000000 }\n",
                "[283]\nopcode = { mask = 0xfe000000, value = 0x94000000 }\n",
            ),
            "call_site[1].opcode: matches instructions that call_site[0] (bl, b) matches too, with relocation type 283",
            id="ambiguous",
        ),
        pytest.param(('instruction = "bl, b"', 'instruction = ""'), "call_site[0].instruction: '' found", id="no name"),
        pytest.param(
            ("text_base = 0x1000000", "text_base = 0x1000"),
            "text_base: 0x1000 found; expected a multiple of the page, 0x10000",
            id="text between pages",
        ),
        pytest.param(
            ("far_base = 0x20000000", "far_base = 0x20000800"), "far_base: 0x20000800", id="far between pages"
        ),
        pytest.param(("text_base = 0x1000000", "text_base = 0"), "text_base: 0x0 found", id="text at 0"),
        pytest.param(("far_base = 0x20000000", "far_base = -536870912"), "far_base: -0x20000000", id="negative base"),
        pytest.param(
            ("far_base = 0x20000000", "far_base = 0x10000000000000000"), "far_base: ", id="more bits than an address"
        ),
        pytest.param(("branch_range = 0x8000000", "branch_range = 0"), "branch_range: 0 found", id="no range"),
        pytest.param(
            ("branch_range = 0x8000000", "branch_range = 4"),
            "branch_range: 4 found; expected bytes, 65536 (a page) at least",
            id="less than a page",
        ),
        pytest.param(("branch_range = 0x8000000\n", ""), None, id="fine: everything is in reach"),
        pytest.param(("alignment = 4", "alignment = 131072"), "alignment: 131072 found; expected no more", id="align"),
        pytest.param(("alignment = 4", "alignment = 4\nfunction_bias = 4"), "function_bias: 4 found", id="bias"),
        pytest.param(("machine = 183", "machine = 0"), "machine: 0 found; expected 1 to 65535", id="machine"),
        pytest.param(('abi = ["int128",', 'abi = ["int128", "int128",'), "abi: 'int128' is in it twice", id="abi"),
        pytest.param(
            ('["aarch64", "little"]', '["aarch64"]'), "disassembler: 'aarch64' alone found", id="disassembler"
        ),
        pytest.param(
            ('quirks = ["arm64-fp"]', 'quirks = ["x86-sse"]'),
            "engine.unicorn.quirks: 'x86-sse' found, which is about X86; arch is 'ARM64'",
            id="a quirk of another architecture",
        ),
        pytest.param(
            ('quirks = ["arm64-fp"]', 'quirks = ["arm64-fp", "arm64-fp"]'),
            "engine.unicorn.quirks: 'arm64-fp' is in it twice",
            id="quirk twice",
        ),
        pytest.param(
            ('emulation = "aarch64linux"', 'emulation = "aarch64linux"\nlink_flags = ["@mine"]'),
            "toolchain.zig.link_flags: '@mine' found; a file of flags",
            id="a response file",
        ),
        pytest.param(('hosts = ["aarch64"]', "hosts = []"), "engine.native.hosts: [] found; expected", id="no host"),
        pytest.param(
            ('exits = "a80b80d2', 'exits = "mov'), "engine.native.exits: 'mov 000080d2 010000d4' found", id="no code"
        ),
        pytest.param(
            ("memory = 0x40000000", "memory = 0x40000001"), "engine.qemu-system.memory: 0x40000001 found", id="a memory"
        ),
        pytest.param(
            ("start = 0x40100000", "start = 0x3ff00000"),
            "engine.qemu-system.start: 0x3ff00000 found; expected a multiple of 0x1000 from 0x40000000 on",
            id="a supervisor outside",
        ),
        pytest.param(
            ('console = ["-serial", "chardev:console"]', 'console = ["-serial", "stdio"]'),
            "engine.qemu-system.console: ['-serial', 'stdio'] found; expected options that",
            id="no console",
        ),
        pytest.param(('quirks = ["arm64-fp"]', 'since = "new"'), "engine.unicorn.since: 'new' found", id="since"),
        pytest.param(
            ('engine."unicorn:no-clmul"', 'engine."unicorn:"'), "engine.unicorn:: expected a pr", id="no profile"
        ),
        pytest.param(
            ('cpu = "cortex-a57"', 'cpu = ""'), "engine.qemu-user.cpu: '' found; expected a string", id="empty"
        ),
        pytest.param(
            ('cpu = "cortex-a57"', 'cpu = "cortex-a57"\nsilent = "yes"'),
            "engine.qemu-user.silent: 'yes' found; expected true or false",
            id="a boolean key",
        ),
    ],
)
def test_a_contradiction_names_the_file_the_key_and_why(edited_arch, change, complaint):
    folder = edited_arch(change)
    if complaint is None:
        arch_toml.load_folder(folder)
        return
    written = rf"{re.escape(str(folder / 'arch.toml'))}: (common|variant\.arm64)\.{re.escape(complaint)}"
    with pytest.raises(BackendError, match=written) as caught:
        arch_toml.load_folder(folder)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("name", ["", "a/b", "a,b", "a*", "[a]", "a b", "\\u001b[31m"])
def test_a_variant_has_a_name_that_can_be_part_of_a_cell_s(edited_arch, name):
    folder = edited_arch(("variant.arm64", f'variant."{name}"'))
    with pytest.raises(BackendError, match="expected a name of letters, digits"):
        arch_toml.load_folder(folder)


def test_what_the_farm_itself_has_contradicts_nothing():
    assert [found for variant in arch_toml.load().values() for found in contradictions(variant)] == []


@given(
    mask=st.integers(0, 255),
    value=st.integers(0, 255),
    unless=st.none() | st.builds(BitPattern, mask=st.integers(0, 255), value=st.integers(0, 255)),
)
def test_an_opcode_is_refused_exactly_if_it_or_its_exception_is_pointless(arm64, mask, value, unless):
    matched = {byte for byte in range(256) if byte & mask == value}
    excluded = {byte for byte in range(256) if unless and byte & unless.mask == unless.value}
    pointless = (
        not mask or not matched or (unless and (not unless.mask or not 0 < len(matched & excluded) < len(matched)))
    )
    code = Opcode(mask=mask, value=value, size=1, at=-1, unless=unless)
    form = CallSiteForm(instruction="x", relocations=(1,), opcode=code, displacement="31:0")
    variant = dataclasses.replace(arm64, call_site=(form,))
    assert bool(list(contradictions(variant))) == bool(pointless)
