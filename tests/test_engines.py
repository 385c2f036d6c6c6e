"""The engines: one reply a program whatever happens, and never the guest blamed for the emulator or the reverse."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import typing
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from farm import live, processes, suite
from farm.cell import Verdict
from farm.cli.run import _load_emulator
from farm.engines import (
    CountsBlocks,
    CrossChecks,
    Locates,
    TellsPath,
    TellsSteps,
    WarmsUp,
    engines,
    qemu_user,
    timeout_of,
    unicorn,
    warm_up,
)
from farm.engines.child import Child, ChildDied
from farm.engines.unicorn import UNICORN, messages, quirks, server
from farm.errors import BackendError, UsageError
from farm.guest import arch_toml, build, image, mechanisms
from farm.guest.controls import CONTROLS
from farm.guest.variant import QemuUserSettings, Unavailable, UnicornQuirk, UnicornSettings
from farm.run.plan import Selection
from farm.scenario import Loop, Scribble, call, layout, model, null, patch, query, wire

PLENTY, LITTLE = 10.0, 0.4  # seconds


@pytest.mark.parametrize(
    "value", ["abc", "", "nan", "inf", "-inf", "1e9", "0", -1, 0.09, 86_401, 10**400, True, None, [5]]
)
def test_a_timeout_that_no_run_could_use_is_refused(value):
    with pytest.raises(UsageError, match=r"^x .*: expected seconds, from 0\.1 to 86,400$"):
        timeout_of(value, "x")


@pytest.mark.parametrize(("value", "seconds"), [("5", 5.0), (0.1, 0.1), (86_400, 86_400.0), (" 2e1 ", 20.0)])
def test_any_other_timeout_is_seconds(value, seconds):
    assert timeout_of(value, "x") == seconds


def encoded(*programs):
    return [wire.encode(program, big_endian=False) for program in programs]


@pytest.fixture
def good(scenario):
    return encoded(scenario(patch(0, "fast"), call(0, 5)))[0]


@pytest.fixture
def endless(scenario):
    """A program that ends long after everyone has gone home."""
    return encoded(scenario(Loop(2**31, (query(0),))))[0]


@pytest.fixture
def right(good, guest, scenario):
    """``right(reply)``: the reply is what the model says of ``good``."""
    expected = list(model.predict(scenario(patch(0, "fast"), call(0, 5))))
    return lambda reply: reply.failure is None and wire.decode_events(reply.trace, 3, big_endian=False) == expected


def applicable(mechanism):
    return [s for s in suite.load().values() if not mechanisms.load()[mechanism].cannot_run(s)]


# Answers.


def test_a_shuffled_batch_gives_the_same_traces(engine, guest, arm64, mechanism):
    suite = applicable(mechanism)
    shuffled = suite * 2
    random.Random(5).shuffle(shuffled)
    built = guest(mechanism)
    straight = dict(zip(suite, engine.run(built, arm64, encoded(*suite), PLENTY), strict=True))
    for program, reply in zip(shuffled, engine.run(built, arm64, encoded(*shuffled), PLENTY), strict=True):
        assert reply == straight[program], program.name


def test_both_engines_give_the_same_traces_but_for_the_digest_of_text(qemu, guest, arm64, mechanism):
    built, programs = guest(mechanism), encoded(*applicable(mechanism))
    digest = slice(4 * 6, 4 * 7)
    for one, other in zip(
        UNICORN.run(built, arm64, programs, PLENTY), qemu.run(built, arm64, programs, PLENTY), strict=True
    ):
        assert wire.decode_header(other.trace, big_endian=False).text_digest == built.text_digest
        traces = [bytearray(one.trace), bytearray(other.trace)]
        for trace in traces:
            trace[digest] = bytes(4)
        assert traces[0] == traces[1]


def test_no_programs_give_no_replies(engine, guest, arm64):
    assert list(engine.run(guest(), arm64, [], PLENTY)) == []


# Guests that go wrong.


def test_an_endless_guest_is_a_timeout_for_that_program_only(engine, guest, arm64, good, endless, right):
    before = time.monotonic()
    first, hung, last = engine.run(guest(), arm64, [good, endless, good], LITTLE)
    assert time.monotonic() - before < LITTLE + 5
    assert right(first)
    assert right(last)
    assert hung.failure == "timeout"
    assert f"{LITTLE:g} s" in hung.detail


def test_unicorn_says_where_an_endless_guest_was_and_what_its_code_looks_like(guest, arm64, endless):
    built = guest()
    (hung,) = UNICORN.run(built, arm64, [endless], LITTLE)
    assert hung.pc is not None
    assert built.symbols["text_start"] <= hung.pc < built.symbols["text_end"]
    assert hung.code == built.bytes_at(*built.patched)


@pytest.mark.parametrize(
    ("control", "steps"),
    [
        ("null-called", (null(6), call(6, 1))),
        ("unchecked", (patch(0, "data"), call(0, 1))),
        ("unchecked", (patch(0, "zero"), call(0, 1))),
        (None, (Scribble(2), call(2, 1))),
    ],
)
def test_a_guest_that_crashes_is_a_crash_for_that_program_only(
    engine, guest, arm64, scenario, good, right, control, steps
):
    built = guest("stub", control)
    first, crashed, last = engine.run(built, arm64, [good, *encoded(scenario(*steps)), good], PLENTY)
    assert right(first)
    assert right(last)
    assert crashed.failure == "crash"
    assert crashed.detail
    if engine is UNICORN:
        assert crashed.pc is not None
        assert crashed.code != built.bytes_at(*built.patched)


def test_the_signal_of_a_crash_under_qemu_is_named(qemu, guest, arm64, scenario):
    programs = encoded(scenario(null(6), call(6, 1)), scenario(Scribble(2), call(2, 1)))
    crashed, _ = qemu.run(guest("stub", "null-called"), arm64, programs, PLENTY)
    assert crashed.detail == "guest died of SIGSEGV"
    _, trapped = qemu.run(guest("stub"), arm64, [encoded(scenario(query(0)))[0], programs[1]], PLENTY)
    assert trapped.detail == "guest died of SIGTRAP"


def test_qemu_can_be_asked_where_a_crash_was(qemu, guest, arm64, scenario):
    built = guest("stub")
    (program,) = encoded(scenario(Scribble(2), call(2, 1)))
    place = qemu.locate(built, arm64, program, PLENTY)
    assert built.name_of(place).startswith("whatever_2")


def test_a_program_larger_than_the_guest_takes_ends_the_guest_and_nothing_else(qemu, guest, arm64, good, right):
    refused, after = qemu.run(guest(), arm64, [bytes(4 * layout.PROGRAM_WORDS + 4), good], PLENTY)
    assert (refused.failure, refused.detail) == ("crash", "the guest lost the connection")
    assert right(after)


# Emulators that go wrong.


def _killed(engine, built, arm64, programs, number):
    """The replies when the child is killed with signal ``number`` after the first one."""
    before = set(processes._children.live)
    replies = engine.run(built, arm64, programs, PLENTY, fresh=True)
    first = next(replies)
    (running,) = set(processes._children.live) - before
    os.kill(running.pid, number)
    return [first, *replies]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT, signal.SIGTERM])
def test_a_killed_child_is_an_engine_error_for_one_program_and_the_rest_are_answered(
    engine, guest, arm64, good, endless, right, number
):
    first, killed, *rest = _killed(engine, guest(), arm64, [good, endless, good, good], number)
    assert right(first)
    assert killed.failure == "engine-error"
    assert f"died of {number.name}" in killed.detail
    assert len(rest) == 2
    assert all(right(reply) for reply in rest)


def test_a_child_that_was_killed_by_number_is_never_blamed_on_the_guest():
    for status in (-signal.SIGKILL, -signal.SIGSEGV, -signal.SIGABRT, 1, 127):
        assert qemu_user._explain(ChildDied(status, "whatever it said"), 1).failure == "engine-error"
    told = ChildDied(-signal.SIGSEGV, "qemu: uncaught target signal 11 (Segmentation fault) - core dumped")
    assert qemu_user._explain(told, 1).failure == "crash"
    assert qemu_user._explain(ChildDied(None, ""), 1).failure == "timeout"


def test_where_qemu_says_nothing_of_a_guest_that_dies_silence_is_the_guest_s_death():
    def failure(status, said, *, silent):
        return qemu_user._explain(ChildDied(status, said), 1, silent=silent).failure

    assert failure(-signal.SIGSEGV, "", silent=True) == "crash"
    assert failure(-signal.SIGSEGV, "", silent=False) == "engine-error"
    assert failure(-signal.SIGSEGV, "whatever it said", silent=True) == "engine-error"
    assert failure(-signal.SIGKILL, "", silent=True) == "engine-error"


def test_what_qemu_says_of_an_exception_of_the_guest_is_the_guest_s_death():
    def reply(status, said):
        return qemu_user._explain(ChildDied(status, said), 1)

    dumped = reply(-signal.SIGILL, "qemu: EXCP_ILL exception 0x8\nFailing executable: guest.elf\nIA_F 00000007")
    assert (dumped.failure, dumped.detail) == ("crash", "guest died of SIGILL")
    trapped = reply(1, "Unhandled trap: 0x7\npc: 01008ae8")
    assert (trapped.failure, trapped.detail) == ("crash", "guest died of trap 0x7")


def test_a_hanging_unicorn_is_an_engine_error(guest, arm64, good, endless, right, monkeypatch):
    monkeypatch.setattr("farm.engines.unicorn._GRACE", 1.0)
    start = UNICORN._start

    def unhurried(*arguments, **options):  # a busy machine takes seconds to load the emulator, which is not asked here
        monkeypatch.setattr("farm.engines.unicorn._GRACE", 60.0)
        return start(*arguments, **options)

    monkeypatch.setattr(UNICORN, "_start", unhurried)
    before = set(processes._children.live)
    replies = UNICORN.run(guest(), arm64, [good, endless, good], 2.0, fresh=True)
    assert right(next(replies))
    (running,) = set(processes._children.live) - before
    os.kill(running.pid, signal.SIGSTOP)
    hung, last = replies
    assert (hung.failure, hung.detail) == ("engine-error", "unicorn hung: even its watchdog did not answer")
    assert right(last)


@pytest.mark.parametrize("what", ["image.json", "guest.elf"])
def test_an_image_that_cannot_be_opened_is_an_engine_error_for_every_program(
    guest, arm64, good, tmp_path, with_fields, what
):
    folder = shutil.copytree(Path(guest().path).parent, tmp_path / "image")
    built = with_fields(guest(), path=str(folder / "guest.elf"), sha256="elsewhere")
    (folder / "image.json").write_bytes(msgspec.json.encode(built))
    (folder / what).unlink()
    replies = list(UNICORN.run(built, arm64, [good] * 3, PLENTY))
    assert [reply.failure for reply in replies] == ["engine-error"] * 3
    assert "cannot open" in replies[0].detail
    assert "FileNotFoundError" in replies[0].detail


def test_an_image_that_goes_away_in_mid_run_leaves_one_reply_a_program(
    guest, arm64, good, endless, tmp_path, with_fields
):
    folder = shutil.copytree(Path(guest().path).parent, tmp_path / "image")
    built = with_fields(guest(), path=str(folder / "guest.elf"), sha256="going")
    (folder / "image.json").write_bytes(msgspec.json.encode(built))
    before = set(processes._children.live)
    replies = UNICORN.run(built, arm64, [good, endless, good], PLENTY, fresh=True)
    first = next(replies)
    (running,) = set(processes._children.live) - before
    shutil.rmtree(folder)
    running.end()
    assert [reply.failure for reply in (first, *replies)] == [None, "engine-error", "engine-error"]


def test_a_unicorn_that_is_killed_as_it_opens_an_image_costs_one_program(guest, arm64, good, right, monkeypatch):
    begun = []

    def start(command):
        begun.append(Child(command))
        if len(begun) == 1:
            os.kill(begun[0].process.pid, signal.SIGKILL)
        return begun[-1]

    monkeypatch.setattr(unicorn, "Child", start)
    killed, *rest = UNICORN.run(guest(), arm64, [good] * 4, PLENTY, fresh=True)
    assert (killed.failure, killed.detail) == ("engine-error", "unicorn died of SIGKILL")
    assert [right(reply) for reply in rest] == [True] * 3


def test_a_session_is_opened_though_the_first_unicorn_is_killed_meanwhile(guest, arm64, good, right, monkeypatch):
    begun = []

    def start(command):
        begun.append(Child(command))
        if len(begun) == 1:
            os.kill(begun[0].process.pid, signal.SIGKILL)
        return begun[-1]

    monkeypatch.setattr(unicorn, "Child", start)
    session = UNICORN.session(guest(), arm64, PLENTY, fresh=True)
    try:
        assert right(session.run(good, keep=False))
    finally:
        session.release()


def test_a_busy_machine_may_take_longer_to_open_an_image_than_a_program_may_take(
    guest, arm64, good, right, monkeypatch
):
    monkeypatch.setattr(unicorn, "_GRACE", 0.5)
    monkeypatch.setattr(unicorn, "_COMMAND", ["sh", "-c", 'sleep 1; exec "$0" "$@"', *unicorn._COMMAND])
    (reply,) = UNICORN.run(guest(), arm64, [good], 0.4, fresh=True)
    assert right(reply)


def test_a_unicorn_that_cannot_be_opened_says_why_each_time(guest, arm64, good, monkeypatch):
    monkeypatch.setattr(unicorn, "_COMMAND", ["sleep", "9"])
    monkeypatch.setattr(unicorn, "_OPENING", 0.05)
    replies = list(UNICORN.run(guest(), arm64, [good] * 20, PLENTY, fresh=True))
    assert all(reply.detail.endswith("unicorn hung: even its watchdog did not answer") for reply in replies)
    assert "cannot open" in replies[-1].detail


def test_who_runs_too_long_is_stopped_before_anything_else_runs():
    answered = threading.Event()

    class Endless:
        pc = 0
        code = staticmethod(lambda: None)

        def __init__(self):
            self.stopped, self.is_late = threading.Event(), None

        def run(self, _program):
            assert self.stopped.wait(10)
            return b""

        def stop(self):
            self.stopped.set()
            self.is_late = answered.wait(0.3)

    machine, served = Endless(), server.Server()
    current = SimpleNamespace(machine=machine, timeout=0.0, digest=b"")
    served.current = current
    status, _ = served._guarded(current, machine, messages.TRACE, machine.run, b"")
    answered.set()
    assert status == messages.TIMEOUT
    assert machine.is_late is False


@pytest.mark.parametrize("wrong", [{"stack_pointer": "SQ"}, {"mode": ("NONSENSE",)}, {"arch": "ARM65"}, {"cpu": "Z80"}])
def test_settings_that_unicorn_does_not_know_are_an_engine_error(guest, arm64, good, wrong):
    settings = dataclasses.replace(arm64.engine["unicorn"], **wrong)
    variant = dataclasses.replace(arm64, engine={"unicorn": settings})
    replies = list(UNICORN.run(guest(), variant, [good, good], PLENTY, fresh=True))
    assert [reply.failure for reply in replies] == ["engine-error"] * 2
    assert "cannot open" in replies[0].detail


# Children between runs.


def _children(engine):
    return [idle.process.pid for _, idle in engine.pool._idle]


def test_the_next_batch_on_an_image_finds_a_warm_child_and_a_fresh_one_does_not(engine, guest, arm64, good, right):
    engine.pool.drain()
    assert all(right(reply) for reply in engine.run(guest(), arm64, [good], PLENTY))
    warm = _children(engine)
    assert all(right(reply) for reply in engine.run(guest(), arm64, [good], PLENTY))
    assert _children(engine) == warm
    assert len(warm) == 1
    assert all(right(reply) for reply in engine.run(guest(), arm64, [good], PLENTY, fresh=True))
    assert len(_children(engine)) == 2


def test_one_unicorn_serves_many_images(guest, arm64, good, right):
    UNICORN.pool.drain()
    for kind in ("stub", "pointer", "stub"):
        assert all(right(reply) for reply in UNICORN.run(guest(kind), arm64, [good], PLENTY))
    assert len(_children(UNICORN)) == 1


def test_what_a_unicorn_has_open_is_known_to_its_parent(guest, arm64, good, right, monkeypatch):
    """Of two idle ones the one that has the guest open is taken; beyond a limit the one used first is forgotten."""
    monkeypatch.setattr("farm.engines.unicorn.KEPT", 2)
    first, second, third = guest("stub"), guest("pointer"), guest("stub", "no-patch")
    UNICORN.close()
    for built in (first, second, first, third):
        assert [right(reply) for reply in UNICORN.run(built, arm64, [good], 5.0)]
    ((_, child),) = UNICORN.pool._idle
    assert [kept.partition(" ")[0] for kept in child.kept] == [first.sha256, third.sha256]
    assert [right(reply) for reply in UNICORN.run(second, arm64, [good], 5.0, fresh=True)]
    assert len(UNICORN.pool._idle) == 2
    assert [right(reply) for reply in UNICORN.run(first, arm64, [good], 5.0)]
    assert UNICORN.pool._idle[-1][1] is child


def test_a_child_that_died_while_it_was_idle_costs_nothing(engine, guest, arm64, good, right):
    engine.pool.drain()
    assert all(right(reply) for reply in engine.run(guest(), arm64, [good], PLENTY))
    for _, idle in engine.pool._idle:
        os.kill(idle.process.pid, signal.SIGKILL)
        assert idle.process.wait(5)
    try:
        assert all(right(reply) for reply in engine.run(guest(), arm64, [good, good], PLENTY))
    finally:
        engine.pool.drain()


def test_a_child_that_died_with_another_image_open_costs_nothing(guest, arm64, good, right):
    UNICORN.pool.drain()
    assert all(right(reply) for reply in UNICORN.run(guest("stub"), arm64, [good], PLENTY))
    ((_, idle),) = UNICORN.pool._idle
    os.kill(idle.process.pid, signal.SIGKILL)
    assert idle.process.wait(5)
    try:
        assert all(right(reply) for reply in UNICORN.run(guest("pointer"), arm64, [good, good], PLENTY))
    finally:
        idle.close()


# What surrounds a child.


def test_no_variable_reaches_the_emulator_or_the_stack_of_its_guest(qemu, guest, arm64, good, right, monkeypatch):
    monkeypatch.setenv("QEMU_CPU", "no-such-cpu")
    monkeypatch.setenv("QEMU_LOG", "nochain,exec")
    monkeypatch.setenv("QEMU_SINGLESTEP", "1")
    (reply,) = qemu.run(guest(), arm64, [good], PLENTY, fresh=True)
    assert right(reply)
    ((_, idle),) = qemu.pool._idle[-1:]
    environment = Path(f"/proc/{idle.process.pid}/environ").read_bytes()
    assert environment == b""
    assert idle.stderr() == ""


FORKS = """
#include "patchfarm.h"

static long forked(void)
{
    register long x8 __asm__("x8") = 220;
    register long x0 __asm__("x0") = 17;
    register long x1 __asm__("x1") = 0;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1) : "memory");
    return x0;
}

TARGET(fast, 0)
{
    if (forked() == 0) {
        for (;;) {
        }
    }
    return x;
}
"""


def _parents():
    """The live processes of this machine: who started each, by number."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                found[int(entry.name)] = int(parent)
    return found


@pytest.mark.parametrize("pooled", [False, True])
def test_what_a_guest_has_forked_ends_with_it(qemu, arm64, tmp_path, pooled):
    (tmp_path / "forks.c").write_text(FORKS)
    spec = image.Spec(arm64, "stub", source=tmp_path / "forks.c")
    with live.Guest(spec, "qemu-user", pooled=pooled) as running:
        running.patch("fast")
        assert running.call(5) == 5
        child = running._session.child.process.pid
        (forked,) = (pid for pid, parent in _parents().items() if parent == child)
    qemu.pool.drain()
    deadline = time.monotonic() + 2
    while forked in _parents():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_crash_leaves_no_core_file(engine, guest, arm64, scenario, monkeypatch, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    monkeypatch.chdir(tmp_path)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        (reply,) = engine.run(guest(), arm64, encoded(scenario(Scribble(2), call(2, 1))), PLENTY, fresh=True)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    assert reply.failure == "crash"
    assert list(tmp_path.iterdir()) == []


def test_qemu_is_told_its_cpu(qemu, guest, arm64):
    assert qemu.command(guest(), arm64) == ["qemu-aarch64", "-cpu", "cortex-a57", guest().path]
    assert qemu.command(guest(), arm64, "-x")[3] == "-x"


def test_versions_are_those_of_the_emulators(qemu, arm64):
    assert UNICORN.version(arm64).startswith("2.1")
    assert int(qemu.version(arm64).split(".")[0]) >= 5


def test_one_instruction_at_a_time_gives_the_same_traces(qemu, guest, arm64, mechanism):
    suite = applicable(mechanism)[::4]
    built = guest(mechanism)
    slow = list(qemu.cross_check(built, arm64, encoded(*suite), PLENTY))
    assert slow == list(qemu.run(built, arm64, encoded(*suite), PLENTY))
    assert any("-singlestep" in key or "-one-insn-per-tb" in key for key, _ in qemu.pool._idle)


ABILITIES = [CountsBlocks, CrossChecks, Locates, TellsPath, TellsSteps, WarmsUp]


@pytest.mark.parametrize(
    ("engine", "able"),
    [
        (UNICORN, {CountsBlocks, TellsPath, TellsSteps, WarmsUp}),  # every reply says where it crashed
        (qemu_user.QEMU_USER, {CountsBlocks, CrossChecks, Locates, TellsPath}),
    ],
    ids=["unicorn", "qemu-user"],
)
def test_an_engine_has_what_it_can_do_and_no_more(engine, able):
    assert {ability for ability in ABILITIES if isinstance(engine, ability)} == able


def test_an_engine_that_can_only_run_programs_has_no_other_ability(fake_engine):
    assert not any(isinstance(fake_engine([]), ability) for ability in ABILITIES)


def test_only_engines_that_take_a_while_to_start_are_warmed_up(monkeypatch, fake_engine):
    class Warm:
        asked = ()

        def warm_up(self, count):
            self.asked += (count,)

    warm = Warm()
    monkeypatch.setattr("farm.engines.engines", lambda: {"fake": fake_engine([]), "warm": warm})
    warm_up(["fake", "warm:hot", "warm", "fake:other"], 3)
    assert warm.asked == (3,)


@pytest.mark.parametrize(
    ("arch", "engine", "asked"),
    [
        (["arm64"], [], [1]),
        (["arm64,arm"], [], [2]),
        (["arm64", "arm"], [], [2]),
        (["arm*"], ["uni*"], [2]),
        ([], [], [2]),
        (["arm64"], ["qemu-user"], []),
    ],
)
def test_a_run_of_one_variant_starts_one_child_before_it_is_planned(monkeypatch, arch, engine, asked):
    counts = []
    monkeypatch.setattr(UNICORN, "warm_up", counts.append)
    _load_emulator(Selection(arch=arch, engine=engine), 2)
    assert counts == asked


def test_a_child_of_unicorn_loads_it_without_the_package_that_takes_longest():
    program = "import farm.engines.unicorn.server, sys; print('unicorn' in sys.modules, 'pkg_resources' in sys.modules)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("True False\n", "")


# Quirks.


def test_every_quirk_is_a_function_and_every_function_a_quirk():
    assert set(quirks.QUIRKS) == set(typing.get_args(UnicornQuirk))
    functions = {
        name.replace("_", "-")
        for name, value in vars(quirks).items()
        if inspect.isfunction(value) and value.__module__ == quirks.__name__ and not name.startswith("_")
    }
    assert functions == set(quirks.QUIRKS)


def test_every_quirk_is_one_that_some_variant_needs():
    used = {quirk for variant in arch_toml.load().values() for quirk in _quirks(variant)}
    assert used == set(quirks.QUIRKS)


def _quirks(variant):
    return (quirk for settings in variant.engine.values() for quirk in getattr(settings, "quirks", ()))


# Holes.


def test_what_can_run_has_no_hole(engine, arm64):
    assert engine.hole(arm64) is None


@pytest.mark.parametrize("name", ["unicorn", "qemu-user"])
def test_an_engine_that_a_variant_does_not_know_is_not_applicable(arm64, name):
    engine = engines()[name]
    hole = engine.hole(dataclasses.replace(arm64, engine={}))
    assert (hole.verdict, hole.reason) == (Verdict.NOT_APPLICABLE, f"arch/arm64/arch.toml has no engine.{name}")
    hole = engine.hole(dataclasses.replace(arm64, engine={name: Unavailable(unavailable="it is too old")}))
    assert (hole.verdict, hole.reason, hole.missing) == (Verdict.NOT_APPLICABLE, "it is too old", None)


def test_a_missing_emulator_is_not_run_with_the_command_that_installs_it(arm64, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    engine = engines()["qemu-user"]
    hole = engine.hole(arm64)
    assert (hole.verdict, hole.reason) == (Verdict.NOT_RUN, "qemu-aarch64 is missing: apt-get install qemu-user")
    assert hole.missing == ("qemu-aarch64", "apt-get install qemu-user")
    settings = QemuUserSettings(binary="qemu-z80", cpu="z80", package="qemu-z80-extra")
    hole = engine.hole(dataclasses.replace(arm64, engine={"qemu-user": settings}))
    assert hole.reason == "qemu-z80 is missing: apt-get install qemu-z80-extra"
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert UNICORN.hole(arm64).reason == "unicorn is missing: pip install unicorn"


def test_a_variant_that_needs_a_newer_unicorn_says_so(arm64, monkeypatch):
    settings = dataclasses.replace(arm64.engine["unicorn"], since="2.1.4")
    variant = dataclasses.replace(arm64, engine={"unicorn": settings})
    for version, reason in (
        ("2.1.2", "arm64 needs unicorn >= 2.1.4, which pwntools does not allow; here is 2.1.2"),
        ("2.0.1.post1", "arm64 needs unicorn >= 2.1.4, which pwntools does not allow; here is 2.0.1.post1"),
        ("2.1.4", None),
        ("2.10.0", None),
    ):
        monkeypatch.setattr(type(UNICORN), "version", lambda _self, _variant, version=version: version)
        hole = UNICORN.hole(variant)
        assert (hole and (hole.verdict, hole.reason)) == (reason and (Verdict.NOT_APPLICABLE, reason))


@pytest.mark.parametrize(
    ("arch", "mode", "prefix"),
    [
        ("ARM64", ("ARM",), "UC_CPU_ARM64_"),
        ("X86", ("64",), "UC_CPU_X86_"),
        ("PPC", ("PPC64", "BIG_ENDIAN"), "UC_CPU_PPC64_"),
        ("MIPS", ("MIPS32",), "UC_CPU_MIPS32_"),
    ],
)
def test_cpu_models_are_named_by_architecture_or_by_word_size(arch, mode, prefix):
    assert UnicornSettings(arch=arch, mode=mode, stack_pointer="", program_counter="").cpu_prefix == prefix


def test_engines_are_known_by_their_names():
    assert {name: engine.name for name, engine in engines().items()} == {
        name: name for name in ("unicorn", "qemu-user", "native", "qemu-system")
    }


# Negative controls: a guest whose patches do nothing, or miss by one instruction, is seen on every variant that the
# default toolchain builds; the one under one mechanism, the other under the other, turn and turn about.

VARIANTS = [
    name
    for name, v in arch_toml.load().items()
    if isinstance(v.engine.get("unicorn"), UnicornSettings) and "zig" in v.toolchain
]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_planted_bug_is_seen_on_every_variant(name, mechanism):
    variant = arch_toml.load()[name]
    control = ("no-patch", "off-by-one")[(VARIANTS.index(name) + (mechanism == "stub")) % 2]
    built = build.image(image.Spec(variant, mechanism, control=control))
    suite = [s for s in applicable(mechanism) if CONTROLS[control].defect in s.detects]
    programs = [wire.encode(program, big_endian=built.big_endian) for program in suite]
    assert suite
    for program, reply in zip(suite, UNICORN.run(built, variant, programs, PLENTY), strict=True):
        expected = list(model.predict(program))
        seen = wire.decode_events(reply.trace, len(expected), big_endian=built.big_endian)
        assert reply.failure == "crash" or seen != expected, program.name


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('arch = "ARM64"', 'arch = "ARM65"', r"engine\.unicorn\.arch: 'ARM65' found; expected one of ARM64, ARM"),
        ('mode = ["ARM"]', 'mode = ["ARN"]', r"engine\.unicorn\.mode: 'ARN' found; expected one of ARM"),
        ('stack_pointer = "SP"', 'stack_pointer = "XP"', r"engine\.unicorn\.stack_pointer: 'XP' found; expected one"),
        ('program_counter = "PC"', 'program_counter = "pc"', r"unicorn\.program_counter: 'pc' found; expected one of"),
    ],
)
def test_a_name_that_unicorn_does_not_have_is_named_with_its_file_and_key(edited_arch, old, new, complaint):
    (variant,) = arch_toml.load_folder(edited_arch((old, new), ('quirks = ["arm64-fp"]\n', "")))
    with pytest.raises(BackendError, match=complaint) as caught:
        UNICORN.hole(variant)
    assert str(caught.value).startswith(f"{variant.folder / 'arch.toml'}: common.engine.unicorn.")
