"""The Unicorn guest itself, in this process: runs, resets, faults and protection."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import unicorn

from farm import suite
from farm.engines.unicorn.machine import GuestFault, Machine
from farm.guest import arch_toml, build, image, mechanisms
from farm.guest.variant import UnicornSettings
from farm.scenario import (
    LockText,
    Loop,
    Protection,
    Scribble,
    call,
    code,
    layout,
    null,
    patch,
    prose,
    query,
    restore,
    sites,
    wire,
)
from farm.scenario.model import predict


@pytest.fixture
def machine(guest, arm64, mechanism):
    return Machine(guest(mechanism), arm64.engine["unicorn"])


@pytest.fixture
def stub(guest, arm64):
    """``stub("control")``: a machine with the stub guest."""
    return lambda control=None: Machine(guest("stub", control), arm64.engine["unicorn"])


@pytest.fixture
def program(scenario):
    return lambda *steps: wire.encode(scenario(*steps), big_endian=False)


def events(trace):
    header = wire.decode_header(trace, big_endian=False)
    assert len(trace) == 4 * layout.HEADER_WORDS + 4 * layout.EVENT_WORDS * header.events + header.code_bytes
    return wire.decode_events(trace, header.events, big_endian=False)


def test_a_mechanism_that_redirects_no_call_site_leaves_none_behind(machine, scenario):
    made = scenario(sites(0, "default"), patch(0, "fast"), sites(0, "fast"))
    assert events(machine.run(wire.encode(made, big_endian=False))) == list(predict(made))


def test_every_scenario_does_what_the_model_says(machine):
    for scenario in suite.load().values():
        if mechanisms.load()[machine.image.mechanism].cannot_run(scenario):
            continue
        machine.reset()
        seen = events(machine.run(wire.encode(scenario, big_endian=False)))
        assert seen == list(predict(scenario, frozenset({"clmul", "float"}))), scenario.name
        assert machine.at_stop()


def test_a_trace_proves_who_wrote_it(machine, program):
    machine.reset()
    header = wire.decode_header(machine.run(program(query(0))), big_endian=False)
    built = machine.image
    identity = wire.identity(big_endian=False, word_size=8, mechanism=built.mechanism_identity)
    assert header == (layout.TRACE_MAGIC, layout.wire_hash(), 183, identity, 1, 0, header.text_digest, built.patched[1])


def test_a_trace_ends_with_the_patched_bytes(machine, program):
    machine.reset()
    trace = machine.run(program(patch(0, "fast")))
    size = machine.image.patched[1]
    assert trace[-size:] == machine.code() != machine.image.bytes_at(*machine.image.patched)


def test_a_program_of_another_layout_is_not_run(machine, program):
    words = bytearray(program(query(0)))
    words[4] ^= 1  # the wire hash
    machine.reset()
    assert events(machine.run(bytes(words))) == []


def test_a_full_trace_counts_what_it_drops(machine, program):
    machine.reset()
    trace = machine.run(program(call(0, 1, "looped", count=layout.TRACE_EVENTS + 4)))
    header = wire.decode_header(trace, big_endian=False)
    assert (header.events, header.dropped) == (layout.TRACE_EVENTS, 5)


# Reset.


def test_without_a_reset_a_patch_stays_and_with_one_it_is_gone(machine, program):
    machine.reset()
    machine.run(program(patch(0, "fast")))
    assert prose.target_name(events(machine.run(program(call(0, 1))))[0].target) == "whatever_0 -> fast"
    machine.reset()
    assert machine.code() == machine.image.bytes_at(*machine.image.patched)
    assert prose.target_name(events(machine.run(program(call(0, 1), code())))[0].target) == "whatever_0 -> default"


def test_a_reset_undoes_foreign_bytes_and_a_lock(stub, program):
    machine = stub()
    machine.reset()
    machine.run(program(LockText(), LockText(locked=False), Scribble(0), LockText()))
    machine.reset()
    trace = events(machine.run(program(patch(0, "fast"), call(0, 5))))
    assert [event.value for event in trace] == [0, 0, 12]


def test_a_reset_forgets_code_behind_a_page_whose_protection_changed():
    """A module's text comes and goes: the call sites behind it once stayed as the last cell had left them."""
    x86 = arch_toml.load()["x86_64"]
    machine = Machine(build.image(image.Spec(x86, "relocated")), x86.engine["unicorn"])
    for name in ("removed_call_site", "far_target"):
        scenario = suite.load()[name]
        machine.reset()
        assert events(machine.run(wire.encode(scenario, big_endian=False))) == list(predict(scenario)), name


def test_an_address_in_the_upper_half_of_32_bits_is_itself_wherever_it_is_told():
    """A conditional branch there once led, so hooks were told, to an address of 64 bits."""
    i386 = arch_toml.load()["i386"]
    machine = Machine(build.image(image.Spec(i386, "relocated")), i386.engine["unicorn"])
    program = wire.encode(suite.load()["conditional_branch"], big_endian=False)
    recorder = machine.record(1 << 20)
    path = machine.path(program, 1 << 20)
    far = machine.image.functions["far_0"]
    assert far > 1 << 31
    assert far in path
    assert far in {address for address, _ in recorder.code}
    assert max(path) < 1 << 32


def test_a_reset_rewrites_only_what_differs(stub, program, monkeypatch):
    machine = stub()
    machine.reset()
    machine.run(program(patch(0, "fast"), patch(3, "far"), restore(0)))
    forgotten = []
    monkeypatch.setattr(machine, "uc", _Recorder(machine.uc, forgotten))
    machine.reset()
    stub_3 = machine.image.functions["whatever_3"]
    ((start, end),) = forgotten
    assert stub_3 <= start < end <= stub_3 + 32


class _Recorder:
    def __init__(self, uc, forgotten):
        self._uc, self._forgotten = uc, forgotten

    def ctl_remove_cache(self, start, end):
        self._forgotten.append((start, end))
        self._uc.ctl_remove_cache(start, end)

    def __getattr__(self, name):
        return getattr(self._uc, name)


@pytest.mark.parametrize("region", ["text", "module", "sites", "stub", "far", "state"])
def test_a_reset_undoes_whatever_was_written(guest, arm64, program, region):
    """The first and the last byte of every region, and one in the middle, whoever wrote them."""
    machine = Machine(guest("relocated"), arm64.engine["unicorn"])
    symbols = machine.image.symbols
    start, end = symbols[f"{region}_start"], symbols[f"{region}_end"]
    if start == end:
        pytest.skip(f"this guest has no {region}")
    machine.reset()
    first = machine.run(program(patch(0, "far"), call(0, 1), call(0, 1, "bare"), call(6, 1), code()))
    linked = machine.image.bytes_at(start, end - start)
    for offset in (0, (end - start) // 2, end - start - 1):
        machine.uc.mem_write(start + offset, bytes([linked[offset] ^ 0x41]))
    machine.uc.ctl_remove_cache(start, end)
    machine.reset()
    assert machine.uc.mem_read(start, end - start) == linked
    assert machine.run(program(patch(0, "far"), call(0, 1), call(0, 1, "bare"), call(6, 1), code())) == first


def test_a_reset_after_a_reset_changes_nothing(machine, program):
    machine.reset()
    first = machine.run(program(patch(0, "far"), call(0, 1), call(6, 1)))
    for _ in range(3):
        machine.reset()
        machine.reset()
        assert machine.run(program(patch(0, "far"), call(0, 1), call(6, 1))) == first


# Protection.


def test_stubs_are_writable_only_while_they_are_patched(stub, program):
    machine = stub()
    start = machine.image.symbols["stub_start"]
    seen = []

    def on_write(uc, access, address, size, value, user_data):
        seen.append(machine.permissions(start))

    machine.reset()
    end = machine.image.symbols["stub_end"]
    machine.uc.hook_add(unicorn.UC_HOOK_MEM_WRITE, on_write, begin=start, end=end)
    machine.run(program(patch(0, "fast"), patch(0, "far")))
    assert seen
    assert set(seen) == {unicorn.UC_PROT_ALL}
    assert machine.permissions(start) == unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC


def test_text_is_not_writable_by_the_guest(stub):
    machine = stub()
    for name in ("text_start", "stub_start", "far_start"):
        assert machine.permissions(machine.image.symbols[name]) == unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC
    assert not machine.permissions(machine.image.symbols["farm_trace"]) & unicorn.UC_PROT_EXEC
    assert machine.permissions(0x10) == 0


def test_text_that_may_only_be_executed_cannot_be_read(stub, program):
    machine = stub("execute-only")
    machine.reset()
    trace = events(machine.run(program(patch(0, "fast"), Protection(), call(0, 5))))
    assert [str(event) for event in trace if event.kind == "protection"] == [
        "step 1: protection nothing, text unreadable"
    ]
    assert trace[-1].value == 12, "it is executed all the same"
    with pytest.raises(GuestFault, match="read of protected memory") as caught:
        machine.run(program(patch(0, "other")))
    assert caught.value.address == machine.image.symbols["stub_start"]


@pytest.mark.parametrize(
    ("name", "permissions", "value"),
    [
        ("text", unicorn.UC_PROT_ALL, 1),
        ("module", unicorn.UC_PROT_READ, 4),
        ("sites", unicorn.UC_PROT_EXEC, 2),
        ("stub", unicorn.UC_PROT_ALL, 1),
        ("far", unicorn.UC_PROT_ALL, 1),
    ],
)
def test_what_is_wrong_with_the_protection_is_what_unicorn_has(stub, program, name, permissions, value):
    """Whatever the guest believes: here nobody told it."""
    machine = stub()
    machine.reset()
    machine.uc.mem_protect(machine.image.symbols[f"{name}_start"], 0x1000, permissions)
    assert [event.value for event in events(machine.run(program(Protection())))] == [value]


# Faults.


def test_a_jump_to_nowhere_is_a_fault_with_its_address(stub, program):
    machine = stub("null-called")
    machine.reset()
    with pytest.raises(GuestFault) as caught:
        machine.run(program(null(6), call(6, 1)))
    assert caught.value.what == "jump to unmapped memory"
    assert caught.value.address == caught.value.pc == 8  # CALLED_FOR_NULL of planted.h: nowhere, and not 0
    assert not machine.at_stop()


def test_a_target_in_data_is_a_fault_where_nobody_checks(stub, program):
    machine = stub("unchecked")
    machine.reset()
    with pytest.raises(GuestFault) as caught:
        machine.run(program(patch(0, "data"), call(0, 1)))
    assert "executable" in caught.value.what or "exception" in caught.value.what
    assert caught.value.pc == machine.image.symbols["farm_program"]


def test_a_breakpoint_in_a_stub_is_a_fault_at_that_stub(stub, program):
    machine = stub()
    machine.reset()
    with pytest.raises(GuestFault) as caught:
        machine.run(program(Scribble(2), call(2, 1)))
    assert machine.image.name_of(caught.value.pc).startswith("whatever_2")


def test_an_endless_run_can_be_stopped_from_another_thread(stub, program):
    machine = stub()
    machine.reset()
    timer = threading.Timer(0.1, machine.stop)
    timer.start()
    machine.run(program(Loop(2**31, (query(0),))))
    timer.join()
    assert not machine.at_stop()


def test_an_unknown_register_is_refused_when_the_guest_is_opened(guest, arm64):
    settings = arm64.engine["unicorn"]
    wrong = UnicornSettings(arch=settings.arch, mode=settings.mode, stack_pointer="SQ", program_counter="PC")
    with pytest.raises(AttributeError):
        Machine(guest("stub"), wrong)


_SOAK = """
import sys
from farm.engines.unicorn import machine
from farm.guest import arch_toml, build, image
from farm.scenario import wire
from farm.suite import load

machine._TCG_BUFFER = 2 << 20
machine._CHANGES_A_BUFFER = int(sys.argv[1])
variant = arch_toml.load()["arm64"]
guest = machine.Machine(build.image(image.Spec(variant, "stub")), variant.engine["unicorn"])
program = wire.encode(load()["far_target"], big_endian=False)
for _ in range(200):
    guest.reset()
    guest.run(program)
"""


def test_translations_are_dropped_before_their_buffer_is_full():
    """A full one kills Unicorn 2.1.2, or sends the guest somewhere: 200 runs fill 2 MiB more than once."""
    done = subprocess.run([sys.executable, "-c", _SOAK, "2048"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
