"""Forks of a server stand in for starts of the farm: what runs in one finds all as it would in the other."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import forking
import pytest
from helpers import farm, until

#: Scenarios of somebody whose file writes down all that they find.
PROBE = """
import faulthandler, gc, io, json, locale, os, resource, signal, sys, threading, warnings
from farm.scenario import Defect, Scenario, query

SCENARIOS = (Scenario("BS-90", "mine", "", (query(0),), {Defect.LOST_PATCH}),)

def about(stream):
    words = [stream.name, stream.mode, stream.encoding, stream.errors, str(stream.newlines), stream.fileno()]
    return [*words, stream.line_buffering, stream.isatty(), stream.seekable()]

found = {
    "words": sys.argv,
    "path": sys.path,
    "flags": str(sys.flags),
    "main": [sys.modules["__main__"].__name__, sys.modules["__main__"].__file__],
    "commands": sorted(name for name in sys.modules if name.startswith("farm.cli.")),
    "environment": dict(os.environ),
    "folder": os.getcwd(),
    "streams": [about(stream) for stream in (sys.__stdin__, sys.__stdout__, sys.__stderr__)],
    "locale": [locale.getlocale(), locale.getpreferredencoding(), sys.getfilesystemencoding()],
    "signals": [str(signal.getsignal(number)).partition(" at ")[0] for number in sorted(signal.valid_signals())],
    "blocked": str(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "group": [os.getpgid(0), os.getsid(0)],
    "mask": [os.umask(0o77), os.umask(0o77)],
    "limits": [resource.getrlimit(getattr(resource, name)) for name in sorted(dir(resource)) if "RLIMIT_" in name],
    "threads": [thread.name for thread in threading.enumerate()],
    "files": sorted(os.listdir("/proc/self/fd")),
    "collector": [gc.isenabled(), gc.get_threshold()],
    "warnings": [str(each[:3]) for each in warnings.filters],
    "fault handler": faulthandler.is_enabled(),
}
with open(os.environ["FOUND"], "w") as file:
    json.dump(found, file)
"""


@pytest.fixture
def found(tmp_path):
    """``found(**how)``: what a command finds, and that itself."""
    (tmp_path / "probe.py").write_text(PROBE)

    def find(**how):
        path = tmp_path / "found.json"
        words = ("list", "scenarios", "--scenario-path", "probe.py")
        done = farm(*words, cwd=tmp_path, FOUND=str(path), **how)
        return json.loads(path.read_text()), (done.returncode, done.stdout, done.stderr)

    return find


@pytest.fixture
def forked(monkeypatch):
    """The words of each call that went to the server."""
    calls, run = [], forking.run
    monkeypatch.setattr(forking, "run", lambda words, **how: (calls.append(words), run(words, **how))[1])
    return calls


@pytest.mark.parametrize("more", [{}, {"COLUMNS": None, "MINE": "\udcff ä", "CI": "true", "PATH": "/usr/bin"}])
def test_a_command_finds_what_it_would_if_it_had_been_started(found, forked, more):
    fork, said = found(**more)
    assert len(forked) == 1
    start, expected = found(started=True, **more)
    assert len(forked) == 1
    assert fork == start
    assert said == expected


@pytest.mark.parametrize(
    "words", [["--version"], ["run", "--help"], ["--help"], ["list", "mechanisms"], ["run", "--arch", "nosuch"], []]
)
def test_a_command_says_and_ends_as_if_it_had_been_started(words, forked):
    fork, start = farm(*words), farm(*words, started=True)
    assert forked == [words]
    assert (fork.returncode, fork.stdout, fork.stderr) == (start.returncode, start.stdout, start.stderr)


@pytest.mark.parametrize(
    "how",
    [
        {"PYTHONWARNINGS": "error"},
        {"LC_ALL": "POSIX"},
        {"TYPER_USE_RICH": "0"},
        {"COVERAGE_PROCESS_START": ""},
        {"options": ["-OO"]},
        {"stdin": ""},
    ],
)
def test_what_python_reads_before_a_command_begins_asks_for_a_start(how, forked):
    assert farm("list", "engines", **how).returncode == 0
    assert not forked


def test_two_calls_share_nothing(found):
    (first, _), (second, _) = found(MINE="1"), found()
    assert (first["environment"]["MINE"], "MINE" in second["environment"]) == ("1", False)


def test_a_command_that_takes_too_long_is_ended(tmp_path):
    file, began = tmp_path / "slow.py", tmp_path / "began"
    file.write_text(f"import os, time\nopen({str(began)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)\n")
    with pytest.raises(subprocess.TimeoutExpired):
        farm("list", "scenarios", "--scenario-path", file, timeout=1)
    until(lambda: not Path(f"/proc/{began.read_text()}").exists())


def test_what_ends_by_a_signal_says_by_which(tmp_path):
    file = tmp_path / "ends.py"
    file.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    assert farm("list", "scenarios", "--scenario-path", file).returncode == -9
