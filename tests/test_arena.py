"""Code that is made while the guest runs, and the memory that it is made in (arena.c, the inline-cache mechanism)."""

from __future__ import annotations

import pytest
from unicorn import arm64_const as arm64_register

from farm.engines.unicorn.machine import Machine
from farm.scenario import Scribble, Status, call, patch, query, restore, wire


@pytest.fixture
def machine(guest, arm64):
    return Machine(guest("inline-cache"), arm64.engine["unicorn"])


@pytest.fixture
def program(scenario):
    return lambda *steps: wire.encode(scenario(*steps), big_endian=False)


def arena(machine):
    start, end = machine.image.symbols["patched_end"], machine.image.symbols["stub_end"]
    return bytes(machine.uc.mem_read(start, end - start))


def answers(machine, program):
    trace = machine.run(program)
    header = wire.decode_header(trace, big_endian=False)
    assert header.events > 0
    return [event.value for event in wire.decode_events(trace, header.events, big_endian=False)]


def test_code_is_made_where_nothing_was_and_is_what_a_call_executes(machine, program):
    assert not any(arena(machine))
    executed = machine.path(program(patch(0, "fast"), call(0, 5)), 1_000_000)
    start, end = machine.image.symbols["patched_end"], machine.image.symbols["stub_end"]
    assert any(start <= address < end for address in executed)
    made = arena(machine)
    stub = machine.image.stubs.size
    assert any(made[:stub])
    assert not any(made[stub:]), "of the one function that was patched"


@pytest.mark.parametrize("mechanism", ["inline-cache", "detour"])
def test_code_that_is_made_is_named_after_the_memory_that_it_lies_in(guest, mechanism):
    built = guest(mechanism)
    start = built.symbols["patched_end"]
    assert built.name_of(start) == "farm_arena"
    assert built.name_of(start + 0x44) == "farm_arena+0x44"
    assert built.name_of(start - 4).startswith("whatever_17+")


def test_a_reset_leaves_nothing_of_it(machine, program):
    machine.reset()
    machine.run(program(*(patch(function, "far") for function in (0, 3, 5))))
    assert any(arena(machine))
    machine.reset()
    assert not any(arena(machine))
    again = machine.run(program(patch(5, "other"), call(5, 5), query(5)))
    machine.reset()
    assert machine.run(program(patch(5, "other"), call(5, 5), query(5))) == again


@pytest.mark.parametrize("before", [(), (restore(0),)], ids=["linked", "unlinked"])
def test_code_that_somebody_else_has_changed_is_refused(machine, program, before):
    machine.reset()
    machine.run(program(patch(0, "fast"), *before))
    start = machine.image.symbols["patched_end"]
    stubs = machine.image.stubs
    slot = range(stubs.slot, stubs.slot + 8)
    for at in range(stubs.size):
        (was,) = machine.uc.mem_read(start + at, 1)
        machine.uc.mem_write(start + at, bytes([was ^ 0x10]))
        machine.rewind()
        status = Status.OK if at in slot else Status.FOREIGN
        assert answers(machine, program(patch(0, "fast")))[0] == status, f"byte {at}"
        machine.uc.mem_write(start + at, bytes([was]))


def test_the_word_that_is_patched_next_is_the_one_that_another_tool_overwrites(machine, program):
    machine.reset()
    statuses = answers(machine, program(patch(0, "fast"), Scribble(0), patch(0, "other"), restore(0)))
    assert statuses == [Status.OK, Status.OK, Status.FOREIGN, Status.FOREIGN]
    assert machine.code() != machine.image.bytes_at(*machine.image.patched)
    assert arena(machine)[machine.image.stubs.word :][:4] != bytes(4)


def test_executable_memory_is_near_aligned_and_not_given_twice(machine):
    symbols = machine.image.symbols

    def take(size, near):
        machine.rewind()
        for register, value in (("X0", size), ("X1", near), ("X30", machine.until)):
            machine.uc.reg_write(machine.register(register), value)
        machine.uc.emu_start(machine.image.functions["farm_exec_alloc"], machine.until)
        return machine.uc.reg_read(arm64_register.UC_ARM64_REG_X0)

    machine.reset()
    first, all_of_it = symbols["patched_end"], symbols["stub_end"] - symbols["patched_end"]
    assert first % 16 == 0
    assert take(20, symbols["text_start"]) == first
    assert take(16, symbols["stub_start"]) == first + 32
    assert take(16, symbols["far_start"]) == 0, "there is none that a near branch from there reaches"
    assert take(0, 0) == 0
    assert take(all_of_it - 47, 0) == 0
    assert take(all_of_it - 48, 0) == first + 48
    assert take(1, 0) == 0, "there is no more"
    machine.reset()
    assert take(all_of_it, first) == first
