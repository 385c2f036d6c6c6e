"""The command line, ``farm``: a module a command.

Exit status: 0 all as expected, 1 some cell is not, 2 usage, 3 the farm itself could not do its work, 130, 143 and 129
ended by Ctrl-C, SIGTERM and SIGHUP, 141 nobody reads what it writes.
Everything that takes time to import is imported where it is used, so that help and lists come at once.
"""

from __future__ import annotations

import atexit
import codecs
import contextlib
import errno
import gc
import importlib
import io
import os
import sys
from pathlib import Path
from typing import NoReturn

import typer

from farm.cli.app import COMMANDS, app, flush_or_drop
from farm.errors import FarmError, OutputError, exhausted
from farm.text import printable

#: The signs of the reports and the plots where there is but ASCII.
SPELLED = {**dict(zip("✓≈–○✗▁▂▃▄▅▆▇█", "+~-oX_.:-=+*#", strict=True)), "…": "..."}

#: Sizes of a terminal that something can be shown on; any other is an unknown one, and what then is taken.
_USABLE = {"COLUMNS": (range(40, 1001), "80"), "LINES": (range(10, 1001), "25")}


def load(named: str = "") -> typer.Typer:
    """The app with the command that is ``named``; with all of them if it is none, since to make them all takes time."""
    for name in (named,) if named in COMMANDS else COMMANDS:
        importlib.import_module(f"farm.cli.{name}")  # which adds it to the app
    return app


def _fail(error: FarmError) -> NoReturn:
    with contextlib.suppress(OSError):  # what nobody can be told of has its status all the same
        typer.echo(f"farm: {printable(str(error))}", err=True)
        if os.environ.get("GITHUB_ACTIONS") == "true":
            from farm.report.github import annotation

            typer.echo(annotation("farm", str(error)), err=True)  # stdout may be kept for a plan
    flush_or_drop()
    raise SystemExit(error.exit_status)


def _spelled(error: UnicodeError) -> tuple[str, int]:
    """A spelling of the characters that the output's encoding lacks, and the position to go on from."""
    assert isinstance(error, UnicodeEncodeError)
    return "".join(SPELLED.get(c, "?") for c in error.object[error.start : error.end]), error.end


def _terminal_size() -> tuple[int | None, int | None]:
    """Columns and lines of the terminal itself, if there is one."""
    try:
        return os.get_terminal_size(sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):  # closed, or nothing of the system's
        return None, None


def _prepare_output() -> None:
    """Let output go nowhere if its stream is closed, and be spelled otherwise where its encoding is narrow."""
    own = dict(zip(_USABLE, _terminal_size(), strict=True))
    for name, (usable, otherwise) in _USABLE.items():
        size = os.environ.get(name, "")
        if not (size.isdecimal() and len(size) <= 4 and int(size) in usable):
            os.environ.pop(name, None)
            if own[name] is not None and own[name] not in usable:
                os.environ[name] = otherwise
    codecs.register_error("farm", _spelled)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for as long as we live
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="farm")


def main() -> None:
    """Entry point of the ``farm`` command."""
    _prepare_output()
    gc.set_threshold(1_000_000)  # there are many results and no cycles: looking for some took a tenth of a run
    atexit.register(gc.freeze)  # nor are some looked for at the end, when everything goes
    try:
        load(*sys.argv[1:2])()
    except FarmError as error:
        _fail(error)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (OSError, MemoryError, RuntimeError, ImportError) as error:
        _fail(_last_resort(error))


def _last_resort(error: Exception) -> FarmError:
    """``error`` of the system in words, wherever it came from.  Raises it again if it is the farm's own mistake."""
    if no_more := exhausted(error):
        return no_more
    if not isinstance(error, OSError):
        raise error
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still to be flushed would fail again
        return OutputError(f"{error.filename or 'the output'} cannot be written: {error.strerror}")
    return FarmError(f"{error.filename or 'the system'}: {error.strerror or error}")
