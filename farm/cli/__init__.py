"""The command line, ``farm``: a function a command.

Exit status: 0 all as expected, 1 some cell is not, 2 usage, 3 the farm itself could not do its work, 130 interrupted.
Everything that takes time to import is imported where it is used, so that help and lists come at once.
"""

from __future__ import annotations

import gc
import os
from typing import NoReturn

import typer

from farm.cli import ci, compare, coverage, guests, look, measure, report, run  # noqa: F401 - each adds its commands
from farm.cli.app import app, write_in_any_encoding
from farm.errors import FarmError


def _fail(error: FarmError) -> NoReturn:
    typer.echo(f"farm: {error}", err=True)
    raise SystemExit(error.exit_status)


def main() -> None:
    """Entry point of the ``farm`` command."""
    gc.set_threshold(100_000)  # there are many results and no cycles: looking for some took a tenth of a run
    write_in_any_encoding()
    try:
        app()
    except FarmError as error:
        _fail(error)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise SystemExit(1) from None
