"""However a command ends, nothing of it goes on, and what it has measured is kept: over guests that hang."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from helpers import until
from kill import adopt_orphans, below, words

FARM = [sys.executable, "-P", "-m", "farm"]
SOON = 3.0  # seconds: it takes less than one, but where all tests run at once
PLENTY = "100"  # seconds: no timeout of the farm's own is to end anything

BOTH = ("--arch", "mine", "--mechanism", "stub", "--engine", "unicorn,qemu-user")
ONE = "mine/stub/zig/unicorn/supersede_then_restore"

TESTS = """
import pytest

@pytest.mark.patchable(arch="mine", mechanism="stub", engine=["unicorn", "qemu-user"], timeout=100)
def test_a(patchable):
    patchable.patch("fast")
    patchable.call(1)
"""

PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--farm-arch-path", "mine", "test_mine.py")

#: Each of the commands that start emulators or a debugger, so that it comes to a guest that hangs.
COMMANDS = {
    "run": (*FARM, "run", *BOTH, "--timeout", PLENTY, "--output", "out"),
    "pytest": PYTEST,
    "xdist": (*PYTEST, "-n", "2"),
    "fuzz": (*FARM, "fuzz", *BOTH, "--seed", "1", "--programs", "999", "--timeout", PLENTY),
    "calibrate": (*FARM, "calibrate", *BOTH, "--control", "no-patch"),
    "coverage": (*FARM, "coverage", *BOTH, "--timeout", PLENTY, "--output", "out"),
    "cost": (*FARM, "cost", "--arch", "mine", "--engine", "qemu-user"),
    "trace": (*FARM, "trace", ONE),
    "debug": (*FARM, "debug", ONE.replace("unicorn", "qemu-user"), "-x", "go_on.gdb"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, arm64):
    """A project with the architecture ``mine``: an arm64 in which a request to patch never ends."""
    made = tmp_path_factory.mktemp("hangs")
    mine = made / "mine"
    mine.mkdir()
    for source in arm64.folder.iterdir():
        mine.joinpath(source.name).write_bytes(source.read_bytes())
    toml, patch = mine / "arch.toml", mine / "patch.c"
    toml.write_text(toml.read_text().partition("[variant.arm64be]")[0].replace("variant.arm64", "variant.mine"))
    start = "code_word arch_jump(uintptr_t at, uintptr_t to)\n{\n"
    assert start in patch.read_text()
    patch.write_text(patch.read_text().replace(start, f"{start}    for (;;) {{\n    }}\n"))
    (made / "test_mine.py").write_text(TESTS)
    (made / "go_on.gdb").write_text("delete\ncontinue\n")
    return made


@pytest.fixture
def left():
    """``left()``: the processes below this one that the test has started, orphans too: they become this one's."""
    adopt_orphans()
    before = below(os.getpid())
    yield lambda: below(os.getpid()) - before
    for pid in below(os.getpid()) - before:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    adopt_orphans(yes=False)


@pytest.fixture
def hanging(launch, folder, left):
    """``hanging(command)``: the command, once its guests have used so much CPU time that they must hang."""
    del left  # so that it sees all of it

    def start(name, *more, emulators=1, **options):
        command = [*COMMANDS[name], *more]
        if command[:4] == FARM:
            command += ["--arch-path", "mine"]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        process = launch(command, cwd=folder, **options)
        until(lambda: len(busy(process.pid)) >= emulators or process.poll() is not None, 60)
        assert process.poll() is None, process.communicate()
        return process

    return start


def busy(pid):
    """The emulators below ``pid`` that are at it, and have been for a while."""
    return [each for each in below(pid) if re.search(r"unicorn\.server|qemu-", words(each)) and works(each)]


def works(pid):
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    ticks = int(fields[11]) + int(fields[12])
    enough = 0.6 if "unicorn" in words(pid) else 0.1  # seconds: to import it, and to start, takes less
    return ticks >= enough * os.sysconf("SC_CLK_TCK")


ALL = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL]


@pytest.mark.usefixtures("qemu")
@pytest.mark.parametrize("number", ALL, ids=lambda number: number.name)
def test_a_run_leaves_nothing_behind_and_keeps_its_results(hanging, left, tmp_path, number):
    process = hanging("run", "--output", str(tmp_path), "-j", "2", emulators=2)
    process.send_signal(number)
    until(lambda: not left(), SOON)
    output, errors = process.communicate(timeout=5)
    assert "Traceback" not in output + errors
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number
        said = r"^interrupted: [\d,]+ of [\d,]+ results are in .*; --resume runs the rest$"
        assert re.search(said, errors, re.MULTILINE)
    lines = (tmp_path / "results.jsonl").read_bytes().splitlines()
    assert "run" in msgspec.json.decode(lines[0])


@pytest.mark.usefixtures("qemu")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "run"])
def test_no_command_leaves_anything_behind(hanging, left, request, tmp_path, name, number):
    if name == "debug":
        request.getfixturevalue("gdb")
    process = hanging(name)
    process.send_signal(number)
    until(lambda: not left(), SOON)
    output, errors = process.communicate(timeout=5)
    assert "Traceback" not in output + errors
    by_itself = number == signal.SIGTERM and name != "xdist"
    assert process.returncode == (128 + number if by_itself else -number)


@pytest.mark.usefixtures("qemu")
def test_nohup_lets_a_run_go_on_and_sigterm_still_ends_it(hanging, left, tmp_path):
    process = hanging("run", "--output", str(tmp_path), ignored=(signal.SIGHUP,))
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    until(lambda: not left(), SOON)
    assert process.wait(5) == 128 + signal.SIGTERM


def test_what_a_closed_terminal_was_still_to_show_does_not_change_the_status(launch):
    script = "import sys; from farm.cli.app import flush_or_drop; sys.stdin.readline(); print('x', end='')"
    statuses = []
    for call in ("flush_or_drop()", "pass"):
        ours, theirs = pty.openpty()
        command = [sys.executable, "-c", f"{script}; {call}; sys.exit(5)"]
        buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        process = launch(command, stdin=subprocess.PIPE, stdout=theirs, stderr=theirs, env=buffered)
        os.close(theirs)
        os.close(ours)
        process.communicate(b"\n", timeout=20)
        statuses.append(process.returncode)
    assert statuses == [5, 120]


@pytest.mark.usefixtures("qemu")
def test_a_terminal_that_is_closed_ends_a_run(hanging, left, tmp_path):
    """Where it can say nothing any more: the terminal is gone."""
    ours, theirs = pty.openpty()
    process = hanging(
        "run", "--output", str(tmp_path), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    os.close(ours)
    process.send_signal(signal.SIGHUP)
    until(lambda: not left(), SOON)
    assert process.wait(5) == 128 + signal.SIGHUP


def test_handlers_are_as_they_were_after_a_command():
    from typer.testing import CliRunner

    from farm.cli import load

    before = [signal.getsignal(number) for number in ALL]
    assert CliRunner().invoke(load(), ["list", "controls"]).exit_code == 0
    assert [signal.getsignal(number) for number in ALL] == before


def test_the_reports_are_there_when_the_grid_is_shown_and_nobody_may_read_on(tmp_path, monkeypatch):
    from rich.console import Console
    from typer.testing import CliRunner

    from farm.cli import load

    class Reader(io.StringIO):
        def write(self, text):
            if "✓" in text:
                there.append((tmp_path / "report.html").exists())
            return super().write(text)

    there, command = [], load()
    monkeypatch.setattr(sys.modules["farm.cli.run"], "console_for", lambda: Console(file=Reader(), width=100))
    select = ["--arch", "arm64", "--mechanism", "stub", "--engine", "unicorn", "--output", str(tmp_path)]
    assert CliRunner().invoke(command, ["run", *select]).exit_code == 0
    assert there
    assert all(there)


@pytest.mark.usefixtures("qemu")
def test_kills_at_random_moments_lose_nothing():
    """The short form of ``tests/kill.py``."""
    command = [sys.executable, str(Path(__file__).with_name("kill.py")), "--moments", "4", "--arch", "arm64"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout)
    assert figures["faults"] == []
    assert figures["results recorded before a kill"] > 0
    assert figures["children killed"] == 4
