"""Errors through no fault of the farm's own code: one class a kind of mistake, one sentence a message.

``exit_status`` is the status that the command line ends with (2 usage, 3 the farm could not do its work).
"""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from farm.text import command_line, printable

#: Exceptions of decoding a file that is not what it should be, or is nested without end.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class FarmError(Exception):
    """Base of every error that is shown to a user as one sentence."""

    exit_status = 3

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class UsageError(FarmError):
    """The request itself is wrong."""

    exit_status = 2


class UnknownNameError(UsageError):
    """A selector names nothing."""

    def __init__(self, what: str, name: str, valid: Iterable[str], more: str = "") -> None:
        names = list(valid)
        near = _near(name, names)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        listed = "what `farm list scenarios` shows" if what == "scenario" else ", ".join(names) or "none"
        super().__init__(f"unknown {what} {name!r}: {hint}valid are {listed}{more}")


_ALIKE = 0.65  # as difflib measures it: one letter of three is another


def _near(name: str, names: list[str]) -> list[str]:
    """Names that may have been meant: spelled alike, or beginning with ``name``, whatever the case."""
    spelled = {each.lower(): each for each in reversed(names)}
    alike = difflib.get_close_matches(name.lower(), list(spelled), n=3, cutoff=_ALIKE)
    begun = [each for each in spelled if len(name) > 1 and each.startswith(name.lower())]
    return [spelled[each] for each in dict.fromkeys([*alike, *reversed(begun)])][:3]


class NothingSelectedError(UsageError):
    """Selectors that are right each by itself have no cell in common."""


class BackendError(UsageError):
    """An ``arch.toml`` is broken."""


class ScenarioFileError(UsageError):
    """A scenario module given by path cannot be used."""


class QuarantineError(UsageError):
    """A list of known-bad cells cannot be used."""


class ImageError(FarmError):
    """A guest image is not what it should be."""


class BuildError(FarmError):
    """A guest does not compile or link; carries the command and the compiler's words."""

    def __init__(self, what: str, command: list[str], output: str) -> None:
        self.command = command
        self.output = output
        super().__init__(f"{what}\n  command: {command_line(command)}\n{output.rstrip()}")


class Missing(NamedTuple):
    """Something that is not there, and the command that installs it."""

    what: str
    install: str

    def __str__(self) -> str:
        return f"{self.what} is missing: {self.install}"


class MissingToolError(FarmError):
    """Something that can be installed is not there."""

    def __init__(self, what: str, install: str) -> None:
        self.missing = Missing(what, install)
        super().__init__(str(self.missing))


class ExhaustedError(FarmError):
    """The machine, or a limit on this process, has no more of something."""


_EXHAUSTED = {
    errno.EMFILE: ("open files", "n"),
    errno.ENFILE: ("open files", "n"),
    errno.ENOMEM: ("memory", "v"),
    errno.EAGAIN: ("processes", "u"),
}
_NO_MEMORY = re.compile("failed to map segment|cannot allocate memory", re.IGNORECASE)  # the dynamic linker's words


def exhausted(error: BaseException) -> ExhaustedError | None:
    """``error`` in words if it says that the machine, or a limit on this process, has no more of something."""
    what = _EXHAUSTED.get(error.errno or 0) if isinstance(error, OSError) else None
    if isinstance(error, MemoryError) or (isinstance(error, OSError | ImportError) and _NO_MEMORY.search(str(error))):
        what = _EXHAUSTED[errno.ENOMEM]
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        what = "threads", "u, -v"
    if what is None:
        return None
    return ExhaustedError(
        f"no more {what[0]} to be had: fewer workers (-j) need less, or raise the limit (ulimit -{what[1]})"
    )


class OutputError(FarmError):
    """Results cannot be written where they should go."""


class HistoryError(FarmError):
    """The history of runs cannot be read or written."""
