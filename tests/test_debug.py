"""One cell under gdb: what is printed, what is done without a terminal and with one, and that nothing stays behind."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from helpers import farm
from typer.testing import CliRunner

from farm.cli import app
from farm.engines.qemu_user import QEMU_USER
from farm.errors import FarmError, MissingToolError, UsageError
from farm.guest import build, image
from farm.guest.controls import CONTROLS
from farm.measure import debug
from farm.run import plan

SCENARIO = "supersede_then_restore"
ENDLESS = "target_is_own_stub"  # where the stub leads to itself if nothing is checked
ARM64 = f"arm64/stub/zig/qemu-user/{SCENARIO}"


@pytest.fixture(autouse=True)
def _no_emulator_stays_behind():
    yield
    assert not emulators()


def emulators():
    """The running emulators that are gdb servers of a cell of this test's cache."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                inside = (entry / "cwd").readlink()
            except OSError:
                continue
            if b"/qemu-" in words[0] and b"-g" in words and inside.parent.name == "debug" and mine(entry):
                found.append(entry.name)
    return found


def mine(entry):
    """A child of this process, or of nobody any more."""
    parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
    return parent in (str(os.getpid()), "1")


def prepared(name=ARM64, control=None):
    made, planned = plan.one(name)
    return debug.prepare(made, planned.cell, control)


def invoke(*arguments):
    return CliRunner().invoke(app, ["debug", *arguments])


batch = partial(farm, "debug", timeout=120)  # gdb writes to the real standard output


# What is printed.


def test_the_commands_are_printed(gdb):
    said = invoke(f"arm64/stub/zig/unicorn/{SCENARIO}", "--print")
    folder = prepared().folder
    version = QEMU_USER.version(prepared().bench.variant)
    assert said.exit_code == 0
    assert said.output.splitlines() == [
        f"{ARM64}, qemu-user {version}",
        "unicorn has no debugger: qemu-user runs it here",
        "in one terminal:",
        f"    cd {folder}",
        "    qemu-aarch64 -cpu cortex-a57 -g 1234 guest.elf < frame.bin > trace.bin",
        "in another:",
        f"    cd {folder}",
        f"    {gdb} -q -x debug.gdb -ex 'target remote localhost:1234'",
        "then `continue`, and at each stop: backtrace, list, info registers, stepi, patched",
    ]


def test_without_a_terminal_they_are_printed_too(gdb):
    del gdb
    assert "in one terminal:" in invoke(ARM64).output


def test_the_printed_commands_work(gdb, tmp_path):
    ready = prepared()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    lines = [line.strip().replace("1234", port) for line in debug.commands(ready, gdb) if line.startswith("    ")]
    enter, emulator, _, debugger = lines
    trace = tmp_path / "trace.bin"
    with subprocess.Popen(["sh", "-c", f"{enter} && exec {emulator.replace('trace.bin', str(trace))}"]) as process:
        try:
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:  # gdb itself tries again when nobody listens yet
                said = subprocess.run(
                    ["sh", "-c", f"{enter} && {debugger} -batch -ex continue -ex delete -ex continue"],
                    capture_output=True,
                    text=True,
                    check=False,
                    stdin=subprocess.DEVNULL,
                )
                if "exited normally" in said.stdout:
                    break
            assert process.wait(10) == 0
        finally:
            process.kill()
    assert "whatever_0: the patchable function is entered" in said.stdout
    assert len(trace.read_bytes()) == 8 + 4 * (8 + 8 * 14) + 576


def test_the_profile_of_the_cell_is_the_cpu_that_is_run(qemu):
    del qemu
    assert prepared("arm/stub/zig/unicorn:no-clmul/BS-03").emulator("1")[:3] == ["qemu-arm", "-cpu", "cortex-a9"]
    assert prepared("arm/stub/zig/unicorn/BS-03").emulator("1")[:3] == ["qemu-arm", "-cpu", "max"]


def test_a_missing_debugger_is_named_and_the_commands_are_printed(monkeypatch, qemu):
    del qemu
    monkeypatch.setattr(debug, "find_gdb", lambda _chosen=None: None)
    said = invoke(ARM64)
    assert "gdb-multiarch is missing: apt-get install gdb-multiarch" in said.output
    assert "-ex 'target remote localhost:1234'" in said.output
    with pytest.raises(MissingToolError, match="apt-get install gdb-multiarch"):
        CliRunner().invoke(app, ["debug", ARM64, "--batch"], catch_exceptions=False)


def test_no_debugger_is_found_where_there_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert debug.find_gdb() is None


def test_a_missing_emulator_is_named_and_the_commands_are_printed(monkeypatch, tmp_path):
    ready = prepared()
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = prepared()
    assert missing.folder == ready.folder
    said = debug.commands(missing, None)
    assert said[:2] == [
        "qemu-aarch64 is missing: apt-get install qemu-user",
        "gdb-multiarch is missing: apt-get install gdb-multiarch",
    ]
    with pytest.raises(MissingToolError, match="qemu-aarch64 is missing: apt-get install qemu-user"):
        debug.run(missing, "/usr/bin/gdb", batch=True)


def test_what_is_no_debugger_is_a_sentence(qemu):
    del qemu
    with pytest.raises(UsageError, match="--gdb /no/such: no such program"):
        debug.find_gdb("/no/such")
    with pytest.raises(FarmError, match="/bin/true is no gdb"):
        debug.run(prepared(), "/bin/true", batch=True)


def test_an_architecture_that_the_debugger_does_not_know_is_a_sentence(gdb, tmp_path):
    ready = prepared()
    ignorant = tmp_path / "gdb"
    ignorant.write_text('#!/bin/sh\necho "\\`guest.elf\', file type elf64-little."\n', encoding="utf-8")
    ignorant.chmod(0o755)
    why = f"{ignorant} does not know the architecture of arm64 (--gdb names another)"
    assert debug.refusal(str(ignorant), ready) == why
    assert debug.commands(ready, str(ignorant))[0] == why
    assert debug.refusal(gdb, ready) is None


def test_a_cell_that_no_emulator_runs_is_a_sentence():
    with pytest.raises(FarmError, match="alpha has no relocated"):
        prepared("alpha/relocated/gcc/qemu-user/BS-03")


# Without a terminal.


@pytest.mark.parametrize("variant", ["arm64", "mips32", "ppc64le", "riscv64", "s390x", "thumb", "x86_64"])
def test_every_stop_shows_the_stub_before_and_after_the_poke(gdb, variant):
    del gdb
    name = f"{variant}/stub/zig/qemu-user/{SCENARIO}"
    hole = QEMU_USER.hole(plan.one(name)[0].variants[variant])
    if hole:
        pytest.skip(hole.reason)
    done = batch(name, "--batch")
    assert done.returncode == 0
    stops = re.findall(r"^(\w+): (?:a |ask|the )", done.stdout, re.MULTILINE)
    patched = ["patch_set", "arch_sync_code", "whatever_0"]
    assert [stop for stop in stops if stop not in ("patch_restore", "arch_sync_code")] == [
        *("whatever_0", "default_0"),
        *("patch_set", "whatever_0", "fast_0"),
        *("patch_set", "whatever_0", "other_0"),
        *("patch_set", "whatever_0", "fast_0"),
        *("whatever_0", "default_0"),
    ]
    assert set(patched) <= set(stops)
    assert f"PASS  {name}" in done.stdout
    assert "Events, 14, all as expected" in done.stdout
    parts = re.split(r"\n(?=\w+: (?:a |ask|the ))", done.stdout)
    before = next(part for part in parts if part.startswith("patch_set"))
    after = parts[parts.index(before) + 1]
    assert after.startswith("arch_sync_code")
    assert _words(before) != _words(after)
    assert variant == "riscv64" or " used_0 (x=" in done.stdout  # where gdb cannot unwind asm


def _words(part):
    """What was in memory."""
    return re.findall(r"^0x[0-9a-f]+ <.*>:\t(0x.*)$", part, re.MULTILINE)[-1]


def test_what_the_encoder_makes_is_what_is_then_in_memory(gdb):
    del gdb
    done = batch(ARM64, "--batch")
    made = re.findall(r"^arch_jump makes (0x\w+)$", done.stdout, re.MULTILINE)
    assert made[1] in done.stdout.partition("arch_sync_code: ")[2].partition("\n\n")[0]
    assert made[1] != made[0]
    assert "Value returned is" in done.stdout


def test_a_planted_displacement_is_in_plain_sight(gdb, monkeypatch):
    del gdb
    monkeypatch.setenv("LONG", "x" * 3000)  # on the guest's stack, it would be where the broken jump leads
    command = (f"arm64/stub/zig/unicorn/{SCENARIO}", "--control", "off-by-one", "--batch")
    done = batch(*command)
    assert re.search(r"b\t0x\w+ <fast_0\+8>", done.stdout)
    assert "MISMATCH" in done.stdout
    assert done.returncode == 1
    assert ">>   3 step 2: enter whatever_0 -> fast" in done.stdout


def test_a_pointer_is_shown_by_what_it_leads_to(gdb):
    del gdb
    done = batch(f"x86_64/pointer/zig/qemu-user/{SCENARIO}", "--batch")
    assert "<fast_0>" in done.stdout
    assert "PASS" in done.stdout


def test_a_crash_is_shown_where_it_happens(gdb):
    del gdb
    done = batch("arm64/stub/zig/qemu-user/null_void_call", "--control", "null-called", "--batch")
    assert "received signal SIGSEGV" in done.stdout
    assert "the guest does not go on by itself:" in done.stdout
    assert "Error in sourced command file" not in done.stdout  # there is no code to show where it is now
    assert "the guest left no trace" in done.stdout
    assert done.returncode == 1


def test_a_loop_is_not_shown_to_its_end(gdb):
    del gdb
    done = batch("arm64/stub/zig/qemu-user/patch_storm", "--batch")
    assert "200 stops: the rest runs through" in done.stdout
    assert "PASS" in done.stdout


def test_a_script_of_the_users_own_is_run_instead(gdb, tmp_path):
    del gdb
    mine_ = tmp_path / "mine.gdb"
    mine_.write_text("continue\ninfo symbol $pc\nlist patch_set\npatched\n", encoding="utf-8")
    done = batch(ARM64, "-x", str(mine_))
    assert "whatever_0 in section .stub" in done.stdout
    assert "uint32_t patch_set(uint32_t n" in done.stdout  # the source is found
    assert done.stdout.count("whatever_0: the patchable function is entered") == 1
    assert "the guest left no trace" in done.stdout
    assert done.returncode == 0  # it ended before the guest did


def test_a_script_that_is_not_there_is_a_sentence():
    with pytest.raises(UsageError, match="-x /no/such: no such file"):
        CliRunner().invoke(app, ["debug", ARM64, "-x", "/no/such"], catch_exceptions=False)


def test_a_guest_that_does_not_end_is_ended(gdb, tmp_path):
    waits = tmp_path / "waits.gdb"
    waits.write_text("shell sleep 60\n", encoding="utf-8")
    started = time.monotonic()
    with pytest.raises(FarmError, match=r"gdb was still running after 0\.5 s"):
        debug.run(prepared(), gdb, extra=waits, timeout=0.5)
    assert time.monotonic() - started < 20


def test_an_endless_guest_does_not_outlive_its_debugger(gdb):
    del gdb
    name = f"arm64/stub/zig/qemu-user/{ENDLESS}"
    done = batch(name, "--control", "unchecked", "--batch", "--timeout", "6")
    assert done.returncode == 3
    assert "gdb was still running after 6 s: the guest does not end" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_nothing_stays_behind_when_it_is_ended(gdb, tmp_path, launch, number):
    del gdb
    waits = tmp_path / "waits.gdb"
    waits.write_text("echo waiting\\n\nshell sleep 60\n", encoding="utf-8")
    command = [sys.executable, "-P", "-m", "farm", "debug", ARM64, "-x", str(waits)]
    process = launch(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    while b"waiting" not in process.stdout.readline():
        assert process.poll() is None
    threads = Path(f"/proc/{process.pid}/task").iterdir()
    children = [int(word) for thread in threads for word in (thread / "children").read_text().split()]
    assert len(children) == 2  # the emulator and gdb
    process.send_signal(number)
    assert process.wait(20) == 128 + number
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{each}").exists() for each in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


# With a terminal.


def test_a_terminal_is_gdbs(gdb):
    del gdb
    ours, theirs = pty.openpty()
    command = [sys.executable, "-P", "-m", "farm", "debug", ARM64]
    environment = {**os.environ, "TERM": "dumb", "HOME": "/nonexistent"}
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    ) as process:
        os.close(theirs)
        said = _converse(ours, [b"continue\n", b"next\n", b"patched\n", b"delete\n", b"continue\n", b"quit\n"])
        assert process.wait(20) == 0
    assert "whatever_0: the patchable function is entered" in said
    assert "exited normally" in said
    assert f"PASS  {ARM64}" in said


def _converse(terminal, lines):
    """Type each of ``lines`` at a prompt; all that was said."""
    said = b""
    waiting = list(lines)
    seen = 0
    while True:
        try:
            data = os.read(terminal, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        said += data
        if waiting and said.count(b"(gdb) ") > seen:
            seen = said.count(b"(gdb) ")
            os.write(terminal, waiting.pop(0))
    os.close(terminal)
    return said.decode(errors="replace").replace("\r", "")


# What gdb is told.


def test_the_script_names_no_path_that_could_be_taken_for_a_command(arm64, tmp_path, guest):
    folder = tmp_path / 'a "b" c\\d' / "mine"
    shutil.copytree(arm64.folder, folder)
    from dataclasses import replace

    variant = replace(arm64, folder=folder)
    scenario = plan.one(ARM64)[0].scenarios[SCENARIO]
    told = debug.script(guest("stub"), variant, scenario)
    line = next(line for line in told.splitlines() if line.startswith("directory "))
    assert line.endswith('/a \\"b\\" c\\\\d/mine"')


def test_breakpoints_are_where_calls_come_by(guest):
    """ELFv2 functions are entered behind the load of their TOC."""
    made, planned = plan.one(f"ppc64le/stub/zig/qemu-user/{SCENARIO}")
    built = build.image(image.Spec(made.variants["ppc64le"], "stub"))
    told = debug.script(built, made.variants["ppc64le"], made.scenarios[planned.cell.scenario])
    assert f"break *{built.functions['patch_set'] + 8:#x}" in told
    told = debug.script(guest("stub"), made.variants["arm64"], made.scenarios[planned.cell.scenario])
    assert f"break *{guest('stub').functions['patch_set']:#x}" in told


@pytest.mark.parametrize("name", ["no-patch", "off-by-one"])
def test_a_planted_bug_has_files_of_its_own(name):
    assert prepared(control=name).folder != prepared().folder
    assert name in CONTROLS
