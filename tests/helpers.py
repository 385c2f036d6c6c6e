"""What many test modules begin with: the command line as a process, results made up, and files of results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import forking
import msgspec

from farm.cell import FAILED, SKIPPED, Cell, Hole, Verdict
from farm.run.execute import execute
from farm.run.journal import FILE, Journal, Run, describe
from farm.run.verdict import Result, reproducer, skipped

FARM = (sys.executable, "-m", "farm")
RUN = Run(1, "0.1.0", "0" * 64, "Linux x86_64, 2 CPUs", {"unicorn": "2.1.2"}, "2026-01-01T00:00:00+00:00")


def farm(*arguments, options=(), cwd=None, stdin=None, encoding="utf-8", timeout=300, started=False, **environment):
    """The command ``farm`` with ``arguments``, once it has ended; ``options`` are Python's.

    Outside of CI and 160 columns wide, unless ``environment`` says otherwise; None takes a variable away.  With
    ``started`` by a Python of its own, which most calls do without (:mod:`forking`).
    """
    usual = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("GITHUB_")}
    given = {**usual, "COLUMNS": "160", **environment}
    env = {name: os.fspath(value) for name, value in given.items() if value is not None}
    words = list(map(str, arguments))
    how = {"env": env, "cwd": cwd, "encoding": encoding, "errors": "replace", "timeout": timeout}
    if started or options or stdin is not None or not forking.fits(env):
        command = [FARM[0], *options, *FARM[1:], *words]
        done = subprocess.run(command, capture_output=True, check=False, input=stdin, **how)
    else:
        done = forking.run(words, **how)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def goes_on(pid):
    """The process has not ended; whether anybody has reaped it is not asked: of what was in a box, init does."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition, seconds=20.0):
    """What ``condition()`` answers as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"it did not happen within {seconds} s"
        time.sleep(0.01)
    return answer


# Results that no guest has left.


def cell(scenario="calls", *, variant="arm64", mechanism="stub", toolchain="zig", engine="unicorn"):
    return Cell(scenario, variant, mechanism, toolchain, engine)


def result(verdict=Verdict.PASS, scenario="calls", reason=None, **fields):
    """A result as a run leaves it; ``fields`` are those of the cell and of the result that are to be others.

    A cell that was skipped has but a reason; one that failed, the command that runs it again.
    """
    names = {name: fields.pop(name) for name in Cell.__struct_fields__ if name in fields}
    where = cell(scenario, **names)
    again = reproducer(where, "") if verdict in FAILED else None
    ran = Result(where, verdict, reason, "aa", "aa", "0" * 64, None, 0.25, sensitive=True, reproduce=again)
    usual = skipped(where, Hole(verdict, reason)) if verdict in SKIPPED else ran
    return msgspec.structs.replace(usual, **fields)


# Files of results.


def save(folder, run, results):
    """``folder`` as the output of a run."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [msgspec.json.encode({"run": run}), *map(msgspec.json.encode, results)]
    (folder / FILE).write_bytes(b"".join(line + b"\n" for line in lines))
    return folder


def lines_of(folder):
    """The header of the results in ``folder``, and the others of its lines: dictionaries."""
    header, *results = map(json.loads, (folder / FILE).read_text(encoding="utf-8").splitlines())
    return header["run"], results


def run_it(plan, path, *, quarantine=None, resume=False, executor=None, on_results=None):
    """Execute ``plan`` with ``path`` as its journal; what its reader hears, unless that is ``on_results``."""
    journal = Journal(path, describe(plan, quarantine), resume=resume)
    heard = []
    try:
        with executor or ThreadPoolExecutor(2) as pool:
            execute(plan, journal, pool, on_results or heard.extend, quarantine=quarantine)
        journal.finish(plan)
    finally:
        journal.close()
    return heard
