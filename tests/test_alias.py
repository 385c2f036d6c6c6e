"""A second mapping of what is patched, which the platform makes and stores go to (``alias = true``)."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import msgspec
import pytest
import unicorn

from farm.engines import engines
from farm.engines.unicorn.machine import Machine
from farm.guest import arch_toml, build, mechanisms
from farm.guest.image import Spec
from farm.scenario import Load, LockText, Protection, Status, Unload, call, patch, restore, wire
from farm.scenario.model import predict

READ, WRITE, EXECUTE = unicorn.UC_PROT_READ, unicorn.UC_PROT_WRITE, unicorn.UC_PROT_EXEC

#: By mechanism: what the first mapping permits, always.
FIRST = {"literal": READ, "inline-cache": READ | EXECUTE}


@pytest.fixture
def program(scenario):
    return lambda *steps: wire.encode(scenario(*steps), big_endian=False)


@pytest.fixture
def machine(guest, arm64):
    """``machine("literal", "control")``: as it begins."""

    def made(mechanism, control=None):
        machine = Machine(guest(mechanism, control), arm64.engine["unicorn"])
        machine.reset()
        return machine

    return made


@pytest.fixture(params=["unicorn", "qemu-user"])
def engine(request):
    """``engine(image, variant, program, ...)``: the traces."""
    chosen = engines()[request.param]

    def run(image, variant, *programs):
        if hole := chosen.hole(variant):
            pytest.skip(hole.reason)
        replies = list(chosen.run(image, variant, programs, 20))
        assert [(reply.failure, reply.detail) for reply in replies if reply.failure] == []
        return [reply.trace for reply in replies]

    return run


def events(trace):
    header = wire.decode_header(trace, big_endian=False)
    return list(wire.decode_events(trace, header.events, big_endian=False))


def values(trace, kind):
    return [event.value for event in events(trace) if event.kind == kind]


@pytest.mark.parametrize("mechanism", FIRST)
def test_what_executes_is_never_writable_and_what_is_stored_to_only_meanwhile(machine, program, mechanism):
    guest, seen = machine(mechanism), []
    first, second = guest.alias.first, guest.image.symbols["alias_start"]

    def on_store(uc, access, address, size, value, user_data):
        seen.append((address >= second, guest.permissions(first.start), guest.permissions(second)))

    for start in (first.start, second):
        guest.uc.hook_add(unicorn.UC_HOOK_MEM_WRITE, on_store, begin=start, end=start + len(first) - 1)
    guest.run(program(patch(0, "fast"), patch(0, "far"), restore(0)))
    assert len(seen) > 2
    assert set(seen) == {(True, FIRST[mechanism], READ | WRITE)}
    assert (guest.permissions(first.start), guest.permissions(second)) == (FIRST[mechanism], 0)


@pytest.mark.parametrize("mechanism", FIRST)
def test_a_reset_closes_it_and_undoes_what_was_stored_there(machine, program, mechanism):
    guest, asked = machine(mechanism, "left-writable"), program(call(0, 5), Protection())
    second, fresh = guest.image.symbols["alias_start"], guest.run(asked)
    assert values(guest.run(program(patch(0, "fast"), call(0, 5), Protection())), "protection") == [1]
    assert guest.permissions(second) == READ | WRITE
    guest.reset()
    assert guest.permissions(second) == 0
    assert guest.run(asked) == fresh


@pytest.mark.parametrize("mechanism", FIRST)
def test_that_it_was_writable_where_it_executes_is_seen_though_it_is_closed(guest, arm64, program, engine, mechanism):
    asked = program(patch(0, "fast"), Protection()), program(Protection())
    traces = engine(guest(mechanism, "in-place"), arm64, *asked)
    assert [values(trace, "protection") for trace in traces] == [[1], [0]]


def test_locked_text_is_opened_in_neither(machine, program):
    guest = machine("inline-cache")
    trace = guest.run(program(LockText(), patch(0, "fast"), Protection(), call(0, 5)))
    assert (values(trace, "patch"), values(trace, "protection")) == ([Status.READ_ONLY], [0])


def test_all_that_is_opened_can_be_mapped_twice_a_module_that_comes_and_goes_too(tmp_path, scenario, engine):
    """Call sites are patched after they have been executed; ppc64le has a TLB that the farm supplies to Unicorn."""
    folder = shutil.copytree(mechanisms.load()["relocated"].folder, tmp_path / "twice")
    toml = folder / "mechanism.toml"
    toml.write_text(f"alias = true\n{toml.read_text(encoding='utf-8')}", encoding="utf-8")
    variant = arch_toml.load()["ppc64le"]
    image = build.image(Spec.of(variant, mechanisms.read(folder), "zig"))
    assert image.mapped_twice == range(image.symbols["module_start"], image.symbols["stub_end"])
    each = [(call(n, 5), patch(n, target), call(n, 5)) for n, target in ((0, "fast"), (0, "far"), (3, "other"))]
    steps = [step for steps in each for step in steps]
    asked = scenario(*steps, Load(), call(0, 6, "module"), restore(0), call(0, 6, "module"), Unload(), Protection())
    (trace,) = engine(image, variant, wire.encode(asked, big_endian=False))
    assert events(trace) == list(predict(asked))


def test_a_process_whose_memory_cannot_be_mapped_twice_is_not_blamed(guest, arm64, program, tmp_path):
    chosen, image = engines()["qemu-user"], guest("literal")
    if hole := chosen.hole(arm64):
        pytest.skip(hole.reason)
    code = Path(image.path).read_bytes()
    right, wrong = (struct.pack("<I", 0x52800000 | number << 5) for number in (279, 9999))  # mov w0, #number
    assert code.count(right) == 1
    path = tmp_path / "guest.elf"
    path.write_bytes(code.replace(right, wrong))
    path.chmod(0o755)
    (reply,) = chosen.run(msgspec.structs.replace(image, path=str(path)), arm64, [program(call(0, 5))], 20)
    assert reply.failure == "engine-error"
    assert "memory cannot be mapped twice: no memfd_create, or no mmap of it" in reply.detail


def test_what_is_recorded_of_it_is_told_by_where_it_executes(machine, program):
    guest = machine("inline-cache")
    first, second = guest.alias.first, guest.image.symbols["alias_start"]
    recorder = guest.record(1_000_000)
    guest.run(program(patch(0, "fast")))
    steps = recorder.steps()
    assert [(address, permissions) for _, address, _, permissions in steps.protections] == [
        (first.start, 8 | 3),  # readable and writable, in the second mapping
        (first.start, 8),
    ]
    address, before = next((address, before) for _, address, before, _ in steps.stores if address in first)
    assert guest.image.bytes_at(address, len(before)) == before
    assert not [address for _, address, _, _ in steps.stores if second <= address < second + len(first)]
