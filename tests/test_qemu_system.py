"""The engine whose guests are on a bare machine: what a machine may do wrong, by scripts that stand in for QEMU."""

import dataclasses
import os
import shutil
import struct
import time
from pathlib import Path

import pytest

from farm.cell import Verdict
from farm.engines import engine_named, qemu_system
from farm.engines.qemu_system import QemuSystem
from farm.errors import ImageError
from farm.guest import arch_toml, supervisor
from farm.guest.variant import QemuSystemSettings
from farm.run import plan as plans
from farm.run.batch import batches, run_batch
from farm.run.plan import Selection
from farm.scenario import Loop, Scribble, call, null, patch, query, wire

SECONDS = 10.0
BINARY = "qemu-system-aarch64"
HERE = [
    variant
    for variant in arch_toml.load().values()
    if isinstance(variant.engine.get("qemu-system"), QemuSystemSettings) and not QemuSystem().hole(variant)
]

#: What a script may do: an arm64 machine that is up, words of one, and a program's answer of no events.
UP = r"printf '\004\000\000\000\120\125\000\000'"
ASKED = (
    'case "$*" in *--version*) echo "QEMU emulator version 9.1.2"; exit;; *help*) echo "virt cortex-a57"; exit;; esac'
)


@pytest.fixture
def engine():
    own = QemuSystem()
    yield own
    own.close()


@pytest.fixture
def machine(engine, guest, arm64, monkeypatch, tmp_path):
    """``machine(line, ...)``: the reply of a QEMU that is a shell script of these lines to a program."""

    def replies(*lines, programs=1, timeout=SECONDS):
        script = tmp_path / BINARY
        script.write_text("\n".join(["#!/bin/sh", ASKED, *lines]))
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        answers = list(engine.run(guest(), arm64, [b"program"] * programs, timeout))
        assert len(answers) == programs
        return answers

    return replies


def told(reply):
    return f"{reply.failure}: {reply.detail}"


def test_a_machine_that_says_something_else_before_it_is_up_is_no_fault_of_a_guest(machine):
    (reply,) = machine("echo SeaBIOS has something to say")
    assert told(reply).startswith("engine-error: the machine did not come up: it wrote a frame of 1,113,679,187 bytes")
    (reply,) = machine(r"printf '\010\000\000\000\252\252\252\252here'")
    assert told(reply).startswith("engine-error: the machine did not come up: its first words were b'\\xaa")


def test_a_machine_that_never_comes_up_is_waited_for_once(machine, monkeypatch):
    monkeypatch.setattr(qemu_system, "_UP_SECONDS", 0.3)
    began = time.monotonic()
    replies = machine("exec /bin/sleep 60", programs=40)
    assert {told(reply) for reply in replies} == {"engine-error: the machine did not come up: it was silent for 0.3 s"}
    assert time.monotonic() - began < 8  # not 40 times


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("exit 0", "qemu ended, as if the machine was switched off"),
        (
            "echo qemu-system-aarch64: no such bus >&2; exit 1",
            "qemu ended with status 1: qemu-system-aarch64: no such bus",
        ),
        ("kill -SEGV $$", "qemu died of SIGSEGV"),
    ],
)
def test_a_qemu_that_ends_at_once_is_told_in_its_own_words(machine, line, why):
    (reply,) = machine(line)
    assert told(reply) == f"engine-error: the machine did not come up: {why}"


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        (["exit 0"], "engine-error: qemu ended, as if the machine was switched off"),
        ([r"printf '\100\000\000\000\000\000\000\000half'", "exit 0"], "engine-error: qemu ended, as if the machine"),
        (["kill -KILL $$"], "engine-error: qemu died of SIGKILL"),
        (["echo panic on the console"], "crash: the guest broke the protocol: it wrote a frame of"),
        (["while :; do echo for ever and ever; done"], "crash: the guest broke the protocol: it wrote a frame of"),
        (["while :; do echo for ever and ever and ever and ever >&2; done"], "engine-error: qemu died of SIGXFSZ"),
        (["exec /bin/sleep 60"], "timeout: no answer within 0.4 s"),
        ([r"printf '\010\000\000\000\116\105\000\000oops'"], "crash: the guest broke the protocol: its last frame"),
    ],
)
def test_a_machine_that_was_up_and_gives_no_whole_answer_passes_nothing(machine, lines, what):
    timeout = 0.4 if what.startswith("timeout") else SECONDS
    replies = machine(UP, *lines, programs=2, timeout=timeout)
    assert [told(reply).startswith(what) for reply in replies] == [True, True], [told(reply) for reply in replies]


def ended(cause, pc=0, address=0):
    words = struct.pack("<7I", 24, supervisor.ENDED, cause, pc >> 32, pc & 0xFFFFFFFF, address >> 32, address)
    return "printf '" + "".join(f"\\{byte:03o}" for byte in words) + "'"


@pytest.mark.parametrize(
    ("last", "what", "pc"),
    [
        (ended(11, 0x1_0100_0000), "crash: guest died of SIGSEGV", 0x1_0100_0000),
        (ended(0), "crash: the guest ended before it had answered", None),
        (ended(0, address=3), "crash: the guest lost the connection", None),
        (ended(0, address=133), "crash: the guest ended with status 133", None),
        (ended(0x104, 0x40, 8), "engine-error: the supervisor failed: cause 0x104 at 0x40, address 0x8", None),
    ],
)
def test_the_last_frame_says_whose_end_it_was(machine, last, what, pc):
    (reply,) = machine(UP, last)
    assert (told(reply), reply.pc) == (what, pc)
    assert reply.spoils


def test_a_session_with_a_machine_that_does_not_come_up_is_refused_in_a_sentence(machine, engine, guest, arm64):
    machine("exit 0")
    with pytest.raises(ImageError, match=r"guest\.elf: the machine did not come up: qemu ended, as if"):
        engine.session(guest(), arm64, SECONDS)


def test_a_supervisor_that_does_not_compile_is_the_engine_s_fault(engine, guest, arm64):
    settings = arm64.toolchain["zig"]
    broken = dataclasses.replace(settings, supervisor_flags=("-DPAGES=1x",))
    variant = dataclasses.replace(arm64, toolchain={**arm64.toolchain, "zig": broken})
    first, second = engine.run(guest(), variant, [b"one", b"two"], SECONDS)
    assert first == second
    assert told(first).startswith("engine-error: ")
    assert "bare.c does not compile for arm64" in first.detail


def test_a_qemu_that_is_missing_is_not_run_with_the_command_that_installs_it(engine, arm64, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    hole = engine.hole(arm64)
    assert hole.verdict is Verdict.NOT_RUN
    assert hole.reason == f"{BINARY} is missing: apt-get install qemu-system-arm"


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ("ast2600-evb", f"{BINARY} 9.1.2 has no machine virt"),
        ("virt ast2600-evb", f"{BINARY} 9.1.2 has no CPU cortex-a57"),
        ("virt cortex-a57", None),
    ],
)
def test_what_this_qemu_does_not_have_is_not_run_with_its_name(engine, arm64, monkeypatch, tmp_path, known, reason):
    script = tmp_path / BINARY
    script.write_text(f"#!/bin/sh\n{ASKED.replace('virt cortex-a57', known)}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    qemu_system._unknown.cache_clear()
    qemu_system.qemu_version.cache_clear()
    hole = engine.hole(arm64)
    qemu_system._unknown.cache_clear()
    qemu_system.qemu_version.cache_clear()
    assert (hole and (hole.verdict, hole.reason)) == (reason and (Verdict.NOT_RUN, reason))


def test_its_cells_are_in_a_plan_only_if_it_is_named():
    def engines(*named):
        plan = plans.possible(Selection(arch=("arm64",), mechanism=("stub",), engine=named))
        return {planned.cell.engine.partition(":")[0] for planned in plan.cells}

    assert "qemu-system" not in engines()
    assert engines("qemu-system") == {"qemu-system"}


def test_a_machine_has_no_network_no_window_and_no_disk(engine, guest, arm64):
    words = " ".join(engine.command(guest(), arm64))
    for option in ("-nic none", "-display none", "-monitor none", "-nodefaults", "-no-user-config"):
        assert option in words


def test_every_variant_has_a_machine_or_a_reason_why_not():
    for variant in arch_toml.load().values():
        assert "qemu-system" in variant.engine, variant.name


# Real machines.

arm_is_here = pytest.mark.skipif(
    shutil.which(BINARY) is None, reason=f"{BINARY} is missing: apt-get install qemu-system-arm"
)


def encoded(*programs):
    return [wire.encode(program, big_endian=False) for program in programs]


@arm_is_here
def test_a_program_leaves_the_trace_that_it_leaves_as_a_process(engine, qemu, guest, arm64, scenario):
    programs = encoded(scenario(patch(0, "fast"), call(0, 5)), scenario(query(1)), scenario(null(3), query(3)))
    one = [reply.trace for reply in engine.run(guest(), arm64, programs, SECONDS)]
    assert one == [reply.trace for reply in qemu.run(guest(), arm64, programs, SECONDS)]
    assert all(one)


@arm_is_here
def test_a_guest_that_crashes_or_goes_on_for_ever_costs_its_own_program_alone(engine, guest, arm64, scenario):
    good = scenario(patch(0, "fast"), call(0, 5))
    programs = encoded(good, scenario(Scribble(2), call(2, 1)), good, scenario(Loop(2**31, (query(0),))), good)
    replies = list(engine.run(guest(), arm64, programs, 1.0))
    assert [reply.failure for reply in replies] == [None, "crash", None, "timeout", None]
    assert replies[1].detail == "guest died of SIGTRAP"
    assert guest().name_of(replies[1].pc).startswith("whatever_2")
    assert replies[0].trace == replies[2].trace == replies[4].trace


@arm_is_here
def test_a_page_that_is_not_writable_is_so_by_the_machine_s_own_tables(engine, guest, arm64, scenario):
    (reply,) = engine.run(guest("stub", "null-called"), arm64, encoded(scenario(null(6), call(6, 1))), SECONDS)
    assert reply.detail == "guest died of SIGSEGV"


@arm_is_here
def test_an_idle_machine_uses_no_cpu_time_and_goes_on(engine, guest, arm64, scenario):
    programs = encoded(scenario(query(0)))
    (first,) = engine.run(guest(), arm64, programs, SECONDS)
    ((_, idle),) = engine.pool._idle
    before = time.monotonic()
    while Path(f"/proc/{idle.process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < before + SECONDS
        time.sleep(0.01)
    (second,) = engine.run(guest(), arm64, programs, SECONDS)
    assert first.trace == second.trace
    assert engine.pool._idle[0][1] is idle


@arm_is_here
def test_a_session_keeps_what_the_last_program_left(engine, guest, arm64, scenario):
    session = engine.session(guest(), arm64, SECONDS)
    try:
        kept = [
            session.run(program, keep=keep) for program in encoded(scenario(patch(0, "fast"))) for keep in (False, True)
        ]
        assert [reply.failure for reply in kept] == [None, None]
        asked, anew = (session.run(encoded(scenario(query(0)))[0], keep=keep) for keep in (True, False))
        assert asked.trace != anew.trace
    finally:
        session.close()


@pytest.mark.parametrize("variant", HERE, ids=lambda variant: variant.name)
def test_every_machine_that_is_here_passes_a_few_cells(variant):
    toolchain = next(iter(variant.toolchain))
    selection = Selection(
        arch=(variant.name,), mechanism=("stub",), engine=("qemu-system",), toolchain=(toolchain,), scenario=("BS-0*",)
    )
    plan = plans.possible(selection)
    verdicts = [result.verdict for batch in batches(plan) for result in run_batch(batch)]
    engine_named("qemu-system").close()
    assert Verdict.PASS in verdicts
    assert set(verdicts) <= {Verdict.PASS, Verdict.PASS_INSENSITIVE}


def test_its_own_name_is_that_of_the_engine():
    assert engine_named("qemu-system:bti").name == "qemu-system"
