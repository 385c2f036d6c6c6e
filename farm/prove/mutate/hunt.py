"""The mutants of a selection: which there are, what is known of them already, and the rest, judged by workers."""

from __future__ import annotations

import concurrent.futures
import contextlib
import fnmatch
import functools
import hashlib
import importlib.metadata
import random
import re
import subprocess
import tempfile
import threading
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from farm import paths
from farm.engines import engine_named
from farm.errors import FarmError, UsageError
from farm.guest import build
from farm.guest.image import Spec
from farm.processes import Stopping, stopping
from farm.prove.guests import of as guests_of
from farm.prove.mutate.judge import Court
from farm.prove.mutate.judged import Judged
from farm.prove.mutate.subject import Broken, mutants, texts
from farm.run.plan import Plan
from farm.scenario import layout, wire

#: The farm's code that decides what becomes of a mutant, besides what is in an image.
_PACKAGES = ("engines", "engines/unicorn", "prove", "prove/mutate", "run", "scenario", "suite", "guest", "measure")

_CHUNK = 8  # mutants that a worker judges before it looks for others
_HUNK = re.compile(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@")


@dataclass(frozen=True)
class Wanted:
    """The mutants that a user wants."""

    operators: Container[str]
    at: str = ""  #: FILE:LINE, or a glob of such; empty: anywhere
    sample: int | None = None  #: so many of them
    seed: int = 0
    since: str = ""  #: a commit; only of lines that have changed since

    def has(self, broken: Broken, changed: dict[Path, set[int]] | None) -> bool:
        """Tell whether ``broken`` is wanted; ``changed`` are the lines that have changed, None: it does not matter."""
        mutant, mutation = broken.mutant, broken.mutation
        if mutant.operator not in self.operators:
            return False
        if self.at and not any(
            fnmatch.fnmatchcase(f"/{mutant.file}:{mutant.line}", f"*/{self.at}{end}") for end in ("", ":*")
        ):
            return False
        lines = range(mutation.line, mutation.last + 1)
        return changed is None or not changed.get(broken.text.path, set()).isdisjoint(lines)


@dataclass(frozen=True)
class Hunted:
    """The mutants of a guest that are to be judged."""

    spec: Spec
    mutants: tuple[Broken, ...] = field(repr=False)
    unbroken: str = ""  #: why there are none


def find(plan: Plan, wanted: Wanted, pool: concurrent.futures.Executor) -> list[Hunted]:
    """The wanted mutants of every guest of ``plan``.

    Raises :class:`~farm.errors.UsageError` if there is no such commit.
    """
    ready, left = guests_of(plan)
    roots = {paths.data("images").parent, *(spec.made_by.folder for spec in ready if spec.foreign)}
    changed = _changed(wanted.since, roots) if wanted.since else None

    def of_guest(spec: Spec) -> Hunted:
        try:
            with tempfile.TemporaryDirectory() as name:
                work = Path(name)
                (work / "wire.h").write_text(layout.header(), encoding="utf-8")
                found = mutants(spec, texts(spec, work))
                return Hunted(spec, tuple(broken for broken in found if wanted.has(broken, changed)))
        except FarmError as error:
            return Hunted(spec, (), str(error).splitlines()[0])

    hunted = [*pool.map(of_guest, ready), *(Hunted(proved.spec, (), proved.unproved) for proved in left)]
    every = [(number, broken) for number, guest in enumerate(hunted) for broken in guest.mutants]
    if wanted.sample is None or wanted.sample >= len(every):
        return hunted
    chosen = random.Random(wanted.seed).sample(range(len(every)), wanted.sample)  # noqa: S311 - nothing is secret
    kept: dict[int, list[Broken]] = {}
    for place in sorted(chosen):
        kept.setdefault(every[place][0], []).append(every[place][1])
    return [Hunted(guest.spec, tuple(kept.get(n, ())), guest.unbroken) for n, guest in enumerate(hunted)]


def _changed(commit: str, roots: set[Path]) -> dict[Path, set[int]]:
    """Lines of files below ``roots`` that are not as they were in ``commit``."""
    found: dict[Path, set[int]] = {}
    for root in roots:
        top = Path(_git(root, "rev-parse", "--show-toplevel").strip())
        lines: set[int] = set()
        for line in _git(root, "diff", "-U0", "--no-ext-diff", "--no-prefix", commit, "--", str(root)).splitlines():
            if line.startswith("+++ "):
                lines = found.setdefault(top / line[4:], set())
            elif hunk := _HUNK.match(line):
                first = int(hunk[1])
                lines.update(range(first, first + int(hunk[2] or 1)))
    return found


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        raise UsageError(f"--since: git cannot be started: {error.strerror}") from None
    if done.returncode:
        raise UsageError(f"--since: git says of {folder}: {done.stderr.strip() or 'nothing'}")
    return done.stdout


# What is known already.


class Memory:
    """What became of mutants of one guest, kept beside its image: it goes with it, and is of one state of the farm."""

    def __init__(self, plan: Plan, spec: Spec) -> None:
        """Raises as :func:`farm.guest.build.image`."""
        image = build.image(spec)
        self._path = Path(image.path).with_name(f"mutants-{_asked(plan, spec)}.jsonl")
        self._lock = threading.Lock()
        self._known: dict[str, Judged] = {}
        with contextlib.suppress(OSError):
            for line in self._path.read_bytes().splitlines():
                with contextlib.suppress(msgspec.DecodeError):  # half of a line, for the farm was killed
                    judged = _JUDGED.decode(line)
                    self._known[judged.digest] = judged

    def recall(self, broken: Broken) -> Judged | None:
        """What became of a mutant with this text; None: it is not known."""
        known = self._known.get(broken.digest)
        return msgspec.structs.replace(known, mutant=broken.mutant) if known else None

    def keep(self, judged: Judged) -> None:
        """Remember a mutant; where nothing can be written it is judged again the next time."""
        with self._lock, contextlib.suppress(OSError), self._path.open("ab") as file:
            file.write(msgspec.json.encode(judged) + b"\n")


_JUDGED = msgspec.json.Decoder(Judged)


def _asked(plan: Plan, spec: Spec) -> str:
    """The digest of all that decides what becomes of a mutant of ``spec``, besides its image: 16 characters."""
    digest = hashlib.sha256(_code())
    for planned in plan.cells:
        cell = planned.cell
        if planned.verdict is None and plan.spec(cell) == spec:
            scenario = plan.scenarios[cell.scenario]
            digest.update(f"{cell.engine} {_version(cell.engine, spec)} ".encode())
            digest.update(_program(scenario.name, wire.encode(scenario, big_endian=False)))
    return digest.hexdigest()[:16]


def _program(name: str, program: bytes) -> bytes:
    return hashlib.sha256(name.encode() + program).digest()


def _version(engine: str, spec: Spec) -> str:
    return engine_named(engine).version(spec.variant.profiled(engine))


@functools.cache
def _code() -> bytes:
    root = paths.module("paths").parent
    digest = hashlib.sha256(importlib.metadata.version("capstone").encode())
    for package in _PACKAGES:
        for path in sorted((root / package).glob("*.py")):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.digest()


# Judging.


class _Courts:
    """The courts that are open: each is made by the worker that needs it first, and closed behind its last mutant."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan, self._folder = plan, folder
        self._locks: dict[Spec, threading.Lock] = {}
        self._open: dict[Spec, Court | FarmError] = {}
        self._lock = threading.Lock()

    def of(self, spec: Spec) -> Court:
        with self._lock:
            lock = self._locks.setdefault(spec, threading.Lock())
        with lock:
            if spec not in self._open:
                folder = Path(tempfile.mkdtemp(dir=self._folder))
                try:
                    court: Court | FarmError = Court(self._plan, spec, folder)
                except FarmError as error:
                    court = error
                self._open[spec] = court
            made = self._open[spec]
        if isinstance(made, FarmError):
            raise made
        return made

    def close(self, spec: Spec) -> None:
        court = self._open.pop(spec, None)
        if isinstance(court, Court):
            court.close()


def hunt(
    plan: Plan,
    hunted: Sequence[Hunted],
    pool: concurrent.futures.Executor,
    on_judged: Callable[[Judged, bool], None],
) -> None:
    """Judge every mutant; ``on_judged`` hears of each as it ends, and whether it was known before.

    Raises :class:`~farm.errors.FarmError` if a guest cannot be built as it is.
    """
    lock = threading.Lock()

    def tell(judged: Judged, *, known: bool) -> None:
        with lock:
            on_judged(judged, known)

    with tempfile.TemporaryDirectory(prefix="farm-mutants-", ignore_cleanup_errors=True) as name:
        courts = _Courts(plan, Path(name))
        futures = []
        for guest in hunted:
            if not guest.mutants:
                continue
            memory = Memory(plan, guest.spec)
            left = []
            for broken in guest.mutants:
                if known := memory.recall(broken):
                    tell(known, known=True)
                else:
                    left.append(broken)
            chunks = [left[at : at + _CHUNK] for at in range(0, len(left), _CHUNK)]
            waiting = _Count(len(chunks))
            for chunk in chunks:

                def judge_all(
                    spec: Spec = guest.spec,
                    chunk: Sequence[Broken] = chunk,
                    memory: Memory = memory,
                    waiting: _Count = waiting,
                ) -> None:
                    try:
                        for broken in chunk:
                            judged = courts.of(spec).judge(broken)
                            if stopping():
                                return
                            memory.keep(judged)
                            tell(judged, known=False)
                    except Stopping:
                        return
                    finally:
                        if waiting.is_last():
                            courts.close(spec)

                futures.append(pool.submit(judge_all))
        for future in concurrent.futures.as_completed(futures):
            future.result()


class _Count:
    """A number of things that are to end."""

    def __init__(self, number: int) -> None:
        self._left, self._lock = number, threading.Lock()

    def is_last(self) -> bool:
        """One has ended; tell whether none is left."""
        with self._lock:
            self._left -= 1
            return self._left == 0
