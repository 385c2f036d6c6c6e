"""Kills the farm, and then the children of its engines, at random moments, and looks at what that has cost.

Run it with ``python tests/kill.py``; it prints JSON and takes about half an hour.  Nothing may be lost:

* ``farm run`` is killed (SIGKILL), most often while cells run, and resumed: what was recorded is there as it was, each
  cell once, and but for times all is as in a run that nobody disturbs;
* ``farm fuzz`` is killed and begun again: its finding is there as a whole or not at all, and then the same;
* children are killed under a run: all is as in an undisturbed run, and a kill costs a retry of one cell at most.

Of what was killed nothing may be left a second later.  Exit status 1 if anything of this is not so.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import msgspec

from farm.cell import Cell
from farm.errors import UsageError
from farm.run.journal import read
from farm.run.verdict import Result

FARM = (sys.executable, "-P", "-m", "farm")
RUN = ("run", "-j", "2", "--no-history", "--mechanism", "stub,pointer", "--engine", "unicorn,qemu-user")
FUZZ = ("fuzz", "-j", "2", "--arch", "arm64", "--mechanism", "stub", "--seed", "1", "--programs", "200")
CONTROL = ("--control", "no-restore")
RETRIES = 20  # a cell may be hit more than once
SOON = 1.0  # second
_PR_SET_CHILD_SUBREAPER = 36


def below(pid: int) -> set[int]:
    """The live processes that ``pid``, or one below it, has started; one below a dead one too, until it is adopted."""
    parents, dead = {}, set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            parents[int(entry.name)] = int(parent)
            if state == "Z":
                dead.add(int(entry.name))
    found: set[int] = set()
    level = {pid}
    while level := {child for child, parent in parents.items() if parent in level}:
        found |= level
    return found - dead


def words(pid: int) -> str:
    """The command of a process; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def adopt_orphans(*, yes: bool = True) -> None:
    """Let what a dead child has started become this process's own, where :func:`below` finds it."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0)


def timeless(result: Result) -> Result:
    """What of a result is the same whenever it is made."""
    return msgspec.structs.replace(result, seconds=0.0, began=0.0, retried=None)


class Killer:
    """Kills, and counts what came of it."""

    def __init__(self, folder: Path, arch: str, seed: int) -> None:
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self.slowest = 0.0  # seconds until nothing was left
        self._random = random.Random(seed)
        self._folder = folder
        self._run = (*RUN, "--arch", arch)

    def _begin(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*FARM, *command], cwd=self._folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=False
        )

    def _end(self, process: subprocess.Popen[bytes], what: str) -> str:
        """What ``process`` said; it is a fault if its status is not 0, or 1 of a hunt."""
        said = process.communicate()[0].decode()
        if process.returncode != (1 if "fuzz" in what else 0):
            self.faults.append(f"{what}: status {process.returncode}: {said[-500:]}")
        return said

    def _kill(self, process: subprocess.Popen[bytes], what: str) -> bool:
        """Kill ``process``, if it still runs, and wait for what it has started."""
        alive = process.poll() is None
        process.kill()
        before = time.monotonic()
        process.communicate()
        while left := below(os.getpid()):
            if time.monotonic() > before + SOON:
                self.faults.append(f"{what}: left behind: {', '.join(map(words, left))}")
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.01)
        self.slowest = max(self.slowest, time.monotonic() - before)
        return alive

    def _clean(self, name: str) -> Path:
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        return folder

    def _whole(self, folder: Path, what: str) -> dict[Cell, Result]:
        """The results of a run that came to its end, one line a cell."""
        path = folder / "results.jsonl"
        recorded = read(path)
        results = {result.cell: result for result in recorded.results}
        lines = len(path.read_bytes().splitlines())
        if recorded.complaints or lines != len(results) + 1:
            self.faults.append(f"{what}: {lines} lines for {len(results)} cells {recorded.complaints}")
        return results

    def undisturbed(self) -> dict[Cell, Result]:
        """The results of a run that nobody kills, with everything built."""
        for _ in range(2):
            folder = self._clean("undisturbed")
            self._end(self._begin(*self._run, "--output", str(folder)), "undisturbed run")
        return self._whole(folder, "undisturbed run")

    def runs(self, moments: int, reference: dict[Cell, Result]) -> None:
        """Kill so many runs, each once so many results are there, and resume them."""
        wanted = {cell: timeless(result) for cell, result in reference.items()}
        for moment in range(moments):
            what, folder = f"run {moment}", self._clean("run")
            path = folder / "results.jsonl"
            enough = self._random.uniform(-0.1, 1.0) * len(reference)
            process = self._begin(*self._run, "--output", str(folder))
            while process.poll() is None and enough > 0:
                if path.exists() and path.read_bytes().count(b"\n") > enough:
                    break
                time.sleep(0.005)
            time.sleep(self._random.uniform(0.0, 0.05 if enough > 0 else 0.5))
            self.counts["runs killed"] += self._kill(process, what)
            before: dict[Cell, Result] = {}
            with contextlib.suppress(UsageError):  # it has not begun
                before = {result.cell: result for result in read(path).results}
            self.counts["killed before the first result"] += not before
            self.counts["killed while cells ran"] += 0 < len(before) < len(reference)
            self.counts["results recorded before a kill"] += len(before)
            self._end(self._begin(*self._run, "--resume", "--output", str(folder)), f"{what}, resumed")
            after = self._whole(folder, what)
            lost = [cell for cell, result in before.items() if after.get(cell) != result]
            if lost:
                self.faults.append(f"{what}: {len(lost)} recorded results are lost or changed, as of {lost[0]}")
            self._compare(after, wanted, what)

    def _compare(self, results: dict[Cell, Result], wanted: dict[Cell, Result], what: str) -> None:
        differ = [cell for cell in wanted if cell not in results or timeless(results[cell]) != wanted[cell]]
        if differ or len(results) != len(wanted):
            example = f", {differ[0]}: {results[differ[0]]}" if differ and differ[0] in results else ""
            self.faults.append(f"{what}: {len(differ)} results differ from an undisturbed run{example}")

    def hunts(self, moments: int) -> None:
        """Kill so many hunts at moments spread over the time that one takes, and begin them again."""
        folder = self._clean("fuzz")
        command = (*FUZZ, *CONTROL, "--output", str(folder))
        self._end(self._begin(*command), "undisturbed fuzz")
        folder = self._clean("fuzz")
        began = time.monotonic()
        wanted = _hunted(self._end(self._begin(*command), "undisturbed fuzz"), folder)
        duration = time.monotonic() - began
        for moment in range(moments):
            what = f"fuzz {moment}"
            self._clean("fuzz")
            process = self._begin(*command)
            time.sleep(self._random.uniform(0.0, duration))
            self.counts["hunts killed"] += self._kill(process, what)
            if _files(folder) not in ({}, wanted[1]):
                self.faults.append(f"{what}: it has left a part of a finding")
            if _hunted(self._end(self._begin(*command), what), folder) != wanted:
                self.faults.append(f"{what}: begun again, it finds something else")

    def children(self, moments: int, reference: dict[Cell, Result]) -> None:
        """Kill so many emulators under runs."""
        wanted = {cell: timeless(result) for cell, result in reference.items()}
        killed = 0
        while killed < moments:
            folder, hit = self._clean("children"), 0
            what = f"run with killed children, from kill {killed} on"
            process = self._begin(*self._run, "--retries", str(RETRIES), "--output", str(folder))
            while process.poll() is None and killed + hit < moments:
                time.sleep(self._random.uniform(0.1, 0.8))
                emulators = [pid for pid in below(process.pid) if re.search(r"unicorn\.server|/qemu-", words(pid))]
                if emulators:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(self._random.choice(emulators), signal.SIGKILL)
                        hit += 1
            self._end(process, what)
            killed += hit
            self.counts["children killed"] += hit
            self.counts["runs with killed children"] += 1
            results = self._whole(folder, what)
            retried = sum(result.retried is not None for result in results.values())
            self.counts["cells retried"] += retried
            if retried > hit:
                self.faults.append(f"{what}: {hit} kills cost a retry of {retried} cells")
            self._compare(results, wanted, what)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.py")}


def _hunted(said: str, folder: Path) -> tuple[str, dict[str, bytes]]:
    """What a hunt has said of its finding, without how fast it was, and the files that it has left."""
    return re.sub(r"\d[\d,]* runs(, [\d,]+ runs/s)?", "", said), _files(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--moments", type=int, default=200, metavar="N", help="kills of the farm, and of children")
    parser.add_argument("--arch", default="arm64,x86_64", metavar="NAMES")
    parser.add_argument("--seed", type=int, default=20181005)
    options = parser.parse_args()
    adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="patchfarm-kill-") as folder:
        killer = Killer(Path(folder), options.arch, options.seed)
        reference = killer.undisturbed()
        hunts = options.moments // 4
        killer.runs(options.moments - hunts, reference)
        killer.hunts(hunts)
        killer.children(options.moments, reference)
    figures = {"cells": len(reference), **killer.counts, "slowest end": round(killer.slowest, 2)}
    print(json.dumps({**figures, "faults": killer.faults}, indent=1))  # noqa: T201 - it is what one runs it for
    return 1 if killer.faults else 0


if __name__ == "__main__":
    sys.exit(main())
