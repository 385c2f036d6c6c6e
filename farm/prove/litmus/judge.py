"""Judges litmus files in a child with a deadline, and holds the verdicts against those that are expected."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from farm.engines.unicorn import box_of_python
from farm.errors import UsageError
from farm.paths import data
from farm.processes import Process

Kind = Literal["Allowed", "Forbidden", "Required"]
KINDS: dict[str, Kind] = {
    "Allowed": "Allowed",
    "Allow": "Allowed",
    "Forbidden": "Forbidden",
    "Forbid": "Forbidden",
    "Required": "Required",
    "Require": "Required",
}  #: by what a file of kinds writes

TIMEOUT = 20.0  #: seconds a file


class Judged(msgspec.Struct, kw_only=True):
    """What came of a file; ``error`` says why there is no verdict."""

    path: str
    name: str = ""
    observed: bool = False
    states: list[str] = []
    verdict: str = ""
    expected: str | None = None
    agrees: bool | None = None  #: None: nothing is expected
    mistake: str = ""  #: ``unsound`` or ``incomplete``, where it does not agree
    witness: list[str] = []
    notes: list[str] = []
    error: str = ""
    refused: bool = False  #: the file cannot be read


def read_kinds(path: Path) -> dict[str, str]:
    """The expected verdict of each test.

    A line has the test's name and Allowed, Forbidden or Required (or Allow, Forbid, Require), or the name alone if
    nothing is expected; ``#`` begins a comment.  Raises :class:`~farm.errors.UsageError` for a line that is none, and
    for a test with two verdicts.
    """
    kinds: dict[str, str] = {}
    for number, line in enumerate(text_of(path).splitlines(), 1):
        name, *kind = line.partition("#")[0].split() or [""]
        if len(kind) > 1 or (kind and kind[0] not in KINDS):
            valid = ", ".join(dict.fromkeys(KINDS.values()))
            raise UsageError(f"{path}:{number}: not a test and its kind; valid kinds are {valid}")
        if kind and kinds.setdefault(name, KINDS[kind[0]]) != KINDS[kind[0]]:
            raise UsageError(f"{path}:{number}: {name} has another kind above")
    return kinds


def text_of(path: Path) -> str:
    """What is in a file.  Raises :class:`~farm.errors.UsageError` if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{path} cannot be read: {reason}") from None


class _Child:
    """The child, started when it is asked first and anew after it died."""

    def __init__(self) -> None:
        self.process: Process | None = None

    def ask(self, question: bytes, seconds: float) -> bytes | None:
        """The answer, a line; None if none came in time, empty if the child died."""
        if self.process is None:
            command = [sys.executable, "-m", "farm.prove.litmus.child"]
            self.process = Process(
                command,
                box=box_of_python(str(data("arch"))),  # whose rules it reads
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        assert self.process.stdin
        assert self.process.stdout
        deadline, answer = time.monotonic() + seconds, b""
        try:
            self.process.stdin.write(question + b"\n")
            self.process.stdin.flush()
        except OSError:
            return self.close()
        while not answer.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                self.close()
                return None
            more = os.read(self.process.stdout.fileno(), 1 << 16)
            if not more:
                return self.close()
            answer += more
        return answer

    def close(self) -> bytes:
        """End the child."""
        if self.process is not None:
            self.process.close()
            self.process = None
        return b""


def judge(
    paths: Sequence[Path],
    *,
    dic: bool | None = None,
    idc: bool | None = None,
    kinds: Mapping[str, str] | None = None,
    witness: bool = False,
    without: Sequence[str] = (),
    timeout: float = TIMEOUT,
    read: Callable[[Path], str] = text_of,
) -> Iterator[Judged]:
    """The verdict of each file, for the caches that it names unless ``dic`` and ``idc`` say otherwise.

    ``without`` names clauses of the rules that are left out (:data:`farm.prove.litmus.rules.CLAUSES`);
    ``read`` gives the text of a file.
    """
    child = _Child()
    try:
        for path in paths:
            try:
                text = read(path)
            except UsageError as error:
                yield Judged(path=str(path), error=str(error), refused=True)
                continue
            question = {
                "path": str(path), "text": text, "dic": dic, "idc": idc, "witness": witness, "without": without
            }  # fmt: skip
            answer = child.ask(msgspec.json.encode(question), timeout)
            if answer:
                yield _expected(msgspec.json.decode(answer, type=Judged), kinds or {})
            elif answer is None:
                yield Judged(path=str(path), error=f"{path}: no verdict within {timeout:g} s")
            else:
                yield Judged(path=str(path), error=f"{path}: the child that judges it died")
    finally:
        child.close()


def _expected(judged: Judged, kinds: Mapping[str, str]) -> Judged:
    """The verdict held against the expected one."""
    if judged.error or judged.name not in kinds:
        return judged
    judged.expected = kinds[judged.name]
    judged.agrees = judged.expected == judged.verdict
    if not judged.agrees:
        judged.mistake = "incomplete" if judged.verdict == "Forbidden" or judged.expected == "Allowed" else "unsound"
    return judged
