"""Traces: what was executed, with the bytes that it had then, and what it stored."""

from __future__ import annotations

import functools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from farm.cell import Verdict
from farm.cli import load
from farm.engines.qemu_user import QEMU_USER
from farm.engines.unicorn import UNICORN
from farm.errors import FarmError, MissingToolError, UsageError
from farm.guest import arch_toml, build, disassemble, image, mechanisms
from farm.measure import instructions
from farm.measure.instructions import Encoded, Folded, Instruction, Protected, Repeated, fold
from farm.report import trace as listing
from farm.run import plan
from farm.scenario import wire

SCENARIO = "supersede_then_restore"  # default, fast, other, fast, default
VARIANTS = ["arm64", "arm64be", "mips32", "ppc64le", "riscv64", "s390x", "thumb", "x86_64"]


@functools.cache
def recorded(name, control=None, **options):
    made, planned = plan.one(name)
    return instructions.trace(made, planned.cell, control, **options)


def of_kind(made, kind):
    return [item for item in made.items if isinstance(item, kind)]


def code_stores(made):
    """Places in the items, and stores into code there."""
    return [(n, s) for n, i in enumerate(made.items) if isinstance(i, Instruction) for s in i.stores if s.into_code]


@pytest.fixture(scope="module", params=VARIANTS)
def stub(request):
    return recorded(f"{request.param}/stub/zig/unicorn/{SCENARIO}")


def test_every_instruction_of_the_engines_own_path_is_counted(stub):
    made, planned = plan.one(str(stub.cell))
    variant = made.variants[stub.cell.variant]
    built = build.image(image.Spec(variant, "stub"))
    program = wire.encode(made.scenarios[SCENARIO], big_endian=built.big_endian)
    path = list(UNICORN.path(built, variant, program, 30).path)
    whole = recorded(str(planned.cell), whole=True)
    addresses = [item.address for item in of_kind(whole, Instruction)]
    if stub.cell.variant == "thumb":  # the path has instructions of IT blocks that do nothing
        remaining = iter(path)
        assert all(address in remaining for address in addresses)
        assert 0.95 * len(path) < len(addresses) < len(path)
    else:
        assert addresses == path
    assert stub.recording.count == len(addresses)


def test_what_is_folded_adds_up(stub):
    assert sum(_executed(stub.items)) == stub.recording.count


def _executed(items):
    """Instructions of each item; of what is repeated, as often as it is."""
    counts = []  # of the items as they were before loops were folded
    for item in items:
        if isinstance(item, Repeated):
            counts += item.times * counts[len(counts) - item.items :]
        else:
            counts.append(item.instructions if isinstance(item, Folded) else int(isinstance(item, Instruction)))
    return counts


def test_what_the_stub_executes_is_what_was_stored_last(stub):
    jump = "whatever_0+0x4" if stub.cell.variant.startswith("arm64") else "whatever_0"  # behind the landing pad
    last = None
    executed = []
    checked = 0
    for item in stub.items:
        for store in _stores(item):
            if store.into_code and store.symbol in ("whatever_0", "whatever_0+0x1", "whatever_0+0x4"):  # not the slot
                last = store
        if isinstance(item, Instruction) and item.symbol == jump:
            executed.append(item.text)
            if last:
                offset = 2 * (last.address - item.address)
                assert item.bytes[offset : offset + len(last.after)] == last.after
                assert [item.text] == last.now
                checked += 1
    assert (len(executed), checked) == (5, 4)
    assert executed[0] == executed[4]
    assert executed[1] == executed[3] != executed[0]


def _stores(item):
    return item.stores if isinstance(item, Instruction) else []


def test_a_patch_is_said_in_words(stub):
    said = " ".join(line for _, store in code_stores(stub) for line in store.now)
    assert {name for name in ("fast_0", "other_0", "default_0") if name in said} == {"fast_0", "other_0", "default_0"}


def test_the_text_is_opened_and_closed_around_every_store(stub):
    opened = []
    state = None
    for item in stub.items:
        if isinstance(item, Protected):
            state = item.permissions
            opened.append(state)
        assert state == "read write execute" or not any(store.into_code for store in _stores(item))
    assert opened == ["read write execute", "read execute"] * 4


def test_every_step_is_told_apart(stub):
    steps = list(dict.fromkeys(item.step for item in stub.items))
    assert steps == [None, *range(9)]
    assert all(item.step in (1, 3, 5, 7) for item in of_kind(stub, Protected))


def test_what_became_of_the_cell_is_told_too(stub):
    assert stub.result.verdict is Verdict.PASS
    assert stub.result.cell == stub.cell


def test_the_source_is_named():
    made = recorded(f"arm64/stub/zig/unicorn/{SCENARIO}")
    sources = {item.source.partition(":")[0] for item in of_kind(made, Instruction)}
    assert {
        "images/mechanism/common/poke.c",
        "arch/arm64/patch.c",
        "arch/arm64/stub.S",
        "images/guest/calls.c",
    } <= sources


def test_a_pointer_is_stored_to_data_alone():
    made = recorded(f"arm64/pointer/zig/unicorn/{SCENARIO}")
    assert not code_stores(made)
    assert not of_kind(made, Protected)
    assert any(store.symbol == "pointers" for item in of_kind(made, Instruction) for store in item.stores)


def test_call_sites_are_redirected_in_sight():
    made = recorded(f"arm64/relocated/zig/unicorn/{SCENARIO}")
    redirected = [store for _, store in code_stores(made) if store.symbol == "used_0+0x8"]
    assert [store.now[0].rpartition(" ")[2] for store in redirected] == [
        "<fast_0>",
        "<other_0>",
        "<fast_0>",
        "<whatever_0>",
    ]


def test_the_encoders_word_is_the_one_that_is_stored():
    made = recorded(f"arm64/stub/zig/unicorn/{SCENARIO}")
    makes = {f"{item.word:08x}": item.text for item in of_kind(made, Encoded) if item.function == "arch_jump"}
    assert len(makes) == 3
    for _, store in code_stores(made):
        if store.symbol == "whatever_0+0x4":
            word = bytes.fromhex(store.after)[::-1].hex()
            assert [makes[word]] == store.now


@pytest.mark.parametrize(
    "variant", [v.name for v in arch_toml.load().values() if not mechanisms.load()["stub"].missing(v)]
)
def test_whether_a_stubs_word_is_an_instruction_is_read_off_the_stub(variant):
    known = arch_toml.load()[variant]
    try:
        built = build.image(image.Spec(known, "stub", next(iter(known.toolchain))))
    except MissingToolError as missing:
        pytest.skip(str(missing))
    parts_of_one = {"x86_64", "i386", "m68k", "s390x", "sh4"}  # operands, a mask, a literal
    assert disassemble.is_instruction(known, built) == (variant not in parts_of_one)


def test_a_planted_displacement_is_in_plain_sight():
    made = recorded(f"arm64/stub/zig/unicorn/{SCENARIO}", "off-by-one")
    assert made.result.failed
    assert any(line.endswith("<fast_0+0x8>") for _, store in code_stores(made) for line in store.now)
    assert any(item.symbol == "fast_0+0x8" for item in of_kind(made, Instruction))


def test_a_torn_store_is_four_stores():
    made = recorded(f"arm64/stub/zig/unicorn/{SCENARIO}", "torn-store")
    first = [store for n, store in code_stores(made) if made.items[n].step == 1]
    assert [(store.address & 3, len(store.after)) for store in first] == [(0, 2), (1, 2), (2, 2), (3, 2)]


def test_a_trace_goes_up_to_the_crash():
    made = recorded("arm64/stub/zig/unicorn/null_void_call", "null-called")
    assert made.result.verdict is Verdict.CRASH
    last = of_kind(made, Instruction)[-1]
    assert last.symbol.startswith("whatever_")
    assert last.text == "b 8"  # an instruction into what would be a function at 4


def test_a_cell_of_another_engine_is_traced_on_unicorn_and_says_so():
    made = recorded(f"arm64/stub/zig/qemu-user/{SCENARIO}")
    assert made.result.cell.engine == "unicorn"
    assert "qemu-user tells less than unicorn" in made.recording.note


def test_a_variant_without_unicorn_is_told_by_qemu():
    made, planned = plan.one(f"loongarch64/stub/zig/qemu-user/{SCENARIO}")
    hole = QEMU_USER.hole(made.variants["loongarch64"])
    if hole:
        pytest.skip(hole.reason)
    told = instructions.trace(made, planned.cell)
    assert "Unicorn has no loongarch guest" in told.recording.note
    assert told.result.verdict is Verdict.PASS
    stubs = [n for n, item in enumerate(told.items) if isinstance(item, Instruction) and item.symbol == "whatever_0"]
    assert len(stubs) == 5
    assert all(told.items[n].text == "? (patched code)" and not told.items[n].bytes for n in stubs)
    assert [told.items[n + 1].symbol for n in stubs] == ["default_0", "fast_0", "other_0", "fast_0", "default_0"]


def by_qemu(variant, mechanism="stub", toolchain="gcc"):
    """The trace of a variant that Unicorn does not tell."""
    made, planned = plan.one(f"{variant}/{mechanism}/{toolchain}/qemu-user/{SCENARIO}")
    if planned.verdict:
        pytest.skip(planned.reason)
    return instructions.trace(made, planned.cell)


@pytest.mark.parametrize("toolchain", ["zig", "gcc"])
@pytest.mark.parametrize("variant", ["alpha", "hppa", "loongarch64", "mips32", "mips32el", "mips64", "mips64el"])
def test_the_patch_code_is_disassembled_to_its_end(variant, toolchain):
    """By the revision that the compiler is told, where there are several."""
    known = arch_toml.load()[variant]
    if toolchain not in known.toolchain:
        pytest.skip(f"{toolchain} has no {variant}")
    try:
        built = build.image(image.Spec(known, "stub", toolchain))
    except MissingToolError as missing:
        pytest.skip(str(missing))
    starts = sorted(built.functions.values())
    for name in ("arch_jump", "arch_sync_code"):
        at = built.functions[name]
        end = min(start for start in [*starts, built.symbols["text_end"]] if start > at)
        said = disassemble.instructions(known, built.bytes_at(at, end - at), at)
        while "0x17" in said[-1] and ".byte" in said[-1]:
            said.pop()  # what LLD has between functions of mips, which is an instruction of revision 6 alone
        assert said
        assert not [line for line in said if ".byte" in line or len(line.split()) < 3]


def test_a_branch_that_links_names_its_target_too():
    calls = [item.text for item in of_kind(by_qemu("hppa"), Instruction) if item.symbol == "used_0+0x8"]
    assert calls == [calls[0]] * 5
    assert calls[0].endswith("rp <whatever_0>")


def test_what_lies_between_a_pointer_and_its_target_is_shown_by_its_name():
    told = by_qemu("hppa", "pointer")
    entered = [item.symbol for item in of_kind(told, Instruction) if item.symbol in ("$$dyncall", "default_0")]
    assert entered[:2] == ["$$dyncall", "default_0"]


def test_what_linux_maps_is_not_the_guests_stack():
    outside = [item for item in of_kind(by_qemu("hppa"), Instruction) if item.symbol == "outside"]
    assert {item.text for item in outside} == {"? (no code of the guest's)"}
    assert {item.address for item in outside} == {0x100}


def test_asm_without_lines_is_folded_as_the_tests_own():
    """GCC does not ask the assembler of sh for lines.  Where a call led is shown, so its first instruction may be."""
    told = by_qemu("sh4")
    shown = [item.symbol for item in of_kind(told, Instruction)]
    assert "whatever_0" in shown
    assert not [symbol for symbol in shown if symbol.startswith(("arch_syscall+", "abi_call+0x4", "target_entry"))]


def test_what_is_at_the_end_of_the_code_is_one_instruction_each():
    assert not [item for item in of_kind(by_qemu("loongarch64", toolchain="zig"), Instruction) if ";" in item.text]
    built = build.image(image.Spec(arch_toml.load()["arm64"], "stub"))
    segment = next(s for s in built.segments if s.flags & 1)
    last = instructions._linked(built, segment.address + segment.size - 4)
    assert len(last) == 16
    assert last[4:] == bytes(12)


def test_a_step_of_an_engine_that_does_not_tell_steps_is_a_sentence():
    made, planned = plan.one(f"loongarch64/stub/zig/qemu-user/{SCENARIO}")
    if planned.verdict:
        pytest.skip(planned.reason)
    with pytest.raises(FarmError, match=r"step 3 of .*: qemu-user .* does not tell steps"):
        instructions.trace(made, planned.cell, first=3)


def test_a_loop_of_patches_is_folded():
    made = recorded("arm64/stub/zig/unicorn/patch_storm")
    assert 30 * len(made.items) < made.recording.count
    assert sum(_executed(made.items)) == made.recording.count


def test_a_trace_may_begin_with_a_step_and_end_early():
    whole = recorded(f"arm64/stub/zig/unicorn/{SCENARIO}")
    part = recorded(f"arm64/stub/zig/unicorn/{SCENARIO}", first=3, limit=5)
    begin = next(n for n, item in enumerate(whole.items) if item.step == 3)
    assert part.items == whole.items[begin : begin + 5]
    assert part.more
    assert not whole.more
    exactly = len(recorded(f"arm64/stub/zig/unicorn/{SCENARIO}", whole=True, first=8).items)
    for limit, more in ((exactly - 1, True), (exactly, False)):
        assert recorded(f"arm64/stub/zig/unicorn/{SCENARIO}", whole=True, first=8, limit=limit).more is more


def test_a_step_that_is_not_there_is_a_sentence():
    with pytest.raises(UsageError, match="step 9: supersede_then_restore has steps 0 to 8"):
        recorded(f"arm64/stub/zig/unicorn/{SCENARIO}", first=9)


def test_a_cell_that_nothing_can_run_is_a_sentence():
    with pytest.raises(FarmError, match="alpha has no relocated"):
        recorded(f"alpha/relocated/gcc/qemu-user/{SCENARIO}")


_items = st.lists(st.integers(0, 2).map(lambda n: Folded(None, n + 1, [])), max_size=60)


@given(_items, st.integers(1, 12))
def test_folding_loses_nothing(items, times):
    items = items * times
    expanded = []
    for item in fold(items):
        if isinstance(item, Repeated):
            expanded += item.times * expanded[len(expanded) - item.items :]
        else:
            expanded.append(item)
    assert expanded == items


def test_folding_folds():
    body = [Folded(None, n, []) for n in range(1, 10)]
    assert fold(body * 7) == [*body, Repeated(None, 6, 9, 45)]
    assert fold(body[:3] * 2) == body[:3] * 2  # not worth it


# The command.


def invoke(*arguments):
    return CliRunner().invoke(load(), ["trace", *arguments])


def test_the_listing_names_the_steps_and_marks_stores_into_code():
    said = invoke(f"arm64/stub/zig/unicorn/{SCENARIO}")
    assert said.exit_code == 0
    assert "step 1: Lead whatever_0 to fast" in said.output
    assert "=> STORES INTO CODE, 4 bytes at 0x1030004 (whatever_0+0x4): " in said.output
    assert "was  b " in said.output
    assert "=> PROTECTION of " in said.output
    assert "instructions in run, call_at, abi_call" in said.output
    assert "PASS  arm64/stub/zig/unicorn/supersede_then_restore" in said.output
    assert "(stack)" not in said.output


def test_everything_is_really_everything():
    said = invoke(f"arm64/stub/zig/unicorn/{SCENARIO}", "--all")
    assert "(stack)" in said.output
    assert "..." not in said.output
    lines = [line for line in said.output.splitlines() if line.startswith("   0x")]
    assert f"{len(lines):,} instructions" in said.output.splitlines()[0]


def test_a_failing_cell_is_explained_and_fails():
    said = invoke(f"arm64/stub/zig/unicorn/{SCENARIO}", "--control", "no-patch")
    assert said.exit_code == 1
    assert ">>   3 " in said.output
    assert "STORES INTO CODE" not in said.output


def test_what_is_left_out_is_found_from_the_step_that_is_named():
    said = invoke(f"arm64/stub/zig/unicorn/{SCENARIO}", "--limit", "300")
    shown = [line for line in said.output.splitlines() if line.startswith("step ")]
    number = shown[-1].partition(":")[0].split()[1]
    assert f"there is more: --limit N, or --from {number} for what begins with this step" in said.output


def test_a_guest_that_died_is_not_said_to_have_events():
    said = invoke("arm64/stub/zig/unicorn/null_void_call", "--control", "null-called")
    assert "Events: the guest did not live to tell any" in said.output
    assert "(-v shows them)" not in said.output


def test_the_json_is_one_document():
    said = invoke(f"arm64/stub/zig/unicorn/{SCENARIO}", "--json", "--limit", "900")
    assert said.exit_code == 0, (said.output, said.exception)
    document = json.loads(said.stdout)  # what is said beside it, as of an image that is built anew, is no part of it
    assert document["result"]["verdict"] == "pass"
    assert document["more"]
    assert len(document["items"]) == 900
    stores = [s for item in document["items"] for s in item.get("stores", ()) if s["into_code"]]
    assert stores[0]["symbol"] == "whatever_0+0x4"
    kinds = {item["what"] for item in document["items"]}
    assert kinds == {"instruction", "folded", "repeated", "protection", "encoded"}


def test_styles_are_for_what_matters():
    assert listing.style("      => STORES INTO CODE, 4 bytes") == "bold red"
    assert listing.style("step 1: x") == "bold"
    assert listing.style("   0x1000 x") is None


# A cell by its name.


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("arm64/stub/zig/unicorn", "expected VARIANT/MECHANISM/TOOLCHAIN/ENGINE/SCENARIO"),
        ("arm64/stub/zig/unicorn/a/b", "expected VARIANT/MECHANISM/TOOLCHAIN/ENGINE/SCENARIO"),
        ("arm64//zig/unicorn/BS-03", "no mechanism is named"),
        ("arm46/stub/zig/unicorn/BS-03", "unknown architecture 'arm46': did you mean arm64"),
        ("arm64/stubs/zig/unicorn/BS-03", "unknown mechanism 'stubs': did you mean stub"),
        ("arm64/stub/zag/unicorn/BS-03", "unknown toolchain 'zag': did you mean zig"),
        ("arm64/stub/zig/unicron/BS-03", "unknown engine 'unicron': did you mean unicorn"),
        ("arm64/stub/zig/unicorn/supercede_then_restore", "unknown scenario .* did you mean supersede_then_restore"),
        ("arm64be/stub/gcc/unicorn/BS-03", "unknown toolchain of arm64be 'gcc': valid are zig"),
        ("arm64/*/zig/unicorn/BS-03", rf"names {len(mechanisms.load())} cells where one is wanted"),
        ("arm64/stub/zig/unicorn/BS\n<b>", r"unknown scenario 'BS\\n<b>'"),
    ],
)
def test_a_wrong_name_is_one_sentence_about_the_wrong_part(name, words):
    with pytest.raises(UsageError, match=words) as caught:
        plan.one(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", [f"arm64/stub/zig/unicorn/{SCENARIO}", "arm64/stub/zig/unicorn/BS-03", "arm64/st?b/zig/*corn/BS-03"]
)
def test_a_cell_is_found_by_name_id_and_glob(name):
    assert str(plan.one(name)[1].cell) == f"arm64/stub/zig/unicorn/{SCENARIO}"


def test_a_profile_is_kept_where_the_other_engine_has_it():
    made, planned = plan.one("arm/stub/zig/unicorn:no-clmul/BS-03")
    assert plan.on_engine(made, planned.cell, "qemu-user").cell.engine == "qemu-user:no-clmul"
    made, planned = plan.one("arm64/stub/zig/unicorn:no-clmul/BS-03")
    assert plan.on_engine(made, planned.cell, "qemu-user").cell.engine == "qemu-user"


def test_what_is_recorded_has_a_limit(arm64, guest):
    from farm.engines.unicorn.machine import Machine

    made, _ = plan.one(f"arm64/stub/zig/unicorn/{SCENARIO}")
    program = wire.encode(made.scenarios[SCENARIO], big_endian=False)
    recorders = []
    for limit in (1000, 1 << 20):
        machine = Machine(guest("stub"), arm64.engine["unicorn"])
        recorders.append(machine.record(limit))
        machine.run(program)
        recorders[-1].settle()
    few, all_ = recorders
    assert few.count == all_.count == len(all_.executed)
    assert list(few.executed) == list(all_.executed)[:1000]
    assert few.stores == [store for store in all_.stores if store[0] < 1000]
    assert few.protections == [change for change in all_.protections if change[0] < 1000]
    assert 0 < len(few.stores) < len(all_.stores)
