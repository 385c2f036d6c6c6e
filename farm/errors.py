"""What can go wrong through no fault of the farm's own code: one class a kind of mistake, one sentence a message.

``exit_status`` is what the command line ends with (2 usage, 3 the farm could not do its work).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import msgspec

#: What decoding raises of a file that is not what it should be, of one that is nested without end too.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class FarmError(Exception):
    """Base of every error that is shown to a user as one sentence."""

    exit_status = 3


class UsageError(FarmError):
    """The request itself is wrong."""

    exit_status = 2


class UnknownNameError(UsageError):
    """A selector names nothing."""

    def __init__(self, what: str, name: str, valid: Iterable[str]) -> None:
        names = list(valid)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"valid are {', '.join(names) or 'none'}"
        super().__init__(f"unknown {what} {name!r}: {hint}")


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
        super().__init__(f"{what}\n  command: {' '.join(command)}\n{output.rstrip()}")


class MissingToolError(FarmError):
    """Something that can be installed is not there."""

    def __init__(self, what: str, install: str) -> None:
        self.what = what
        self.install = install
        super().__init__(f"{what} is missing: {install}")


class OutputError(FarmError):
    """Results cannot be written where they should go."""


class HistoryError(FarmError):
    """The history of runs cannot be read or written."""
