"""The suite: one module a group, each with a tuple ``SCENARIOS``; what is not in it, and why, is in :mod:`.absent`."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from farm.errors import FarmError, ScenarioFileError, UsageError
from farm.scenario import Scenario, check
from farm.text import one_line

MODULES = ("basic", "abi", "shapes", "timing", "placement", "coherence", "failure", "crypto")


@functools.cache
def load(extra: tuple[Path, ...] = ()) -> dict[str, Scenario]:
    """Every scenario by name: the suite, then those in ``extra`` (Python files, or folders of them).

    Raises :class:`~farm.errors.ScenarioFileError` if a file cannot be used or a name or id is taken.
    """
    candidates = [
        (f"farm.suite.{module}", scenario)
        for module in MODULES
        for scenario in importlib.import_module(f"farm.suite.{module}").SCENARIOS
    ]
    for _, scenario in candidates:
        check.scenario(scenario)
    for path in extra:
        candidates += [(str(file), scenario) for file in _files(path) for scenario in _from_file(file)]
    scenarios: dict[str, Scenario] = {}
    taken: dict[tuple[str, str], str] = {}
    for origin, scenario in candidates:
        for what, value in (("name", scenario.name), ("id", scenario.id)):
            if by := taken.get((what, value)):
                raise ScenarioFileError(f"{origin}: {check.label(scenario)}: its {what} is taken already, by {by}")
            taken[what, value] = f"{check.label(scenario)} of {origin}"
        scenarios[scenario.name] = scenario
    return scenarios


def _files(path: Path) -> list[Path]:
    try:
        files = sorted(path.glob("*.py")) if path.is_dir() else [path]
    except OSError as error:
        raise ScenarioFileError(f"{path}: cannot be read: {error.strerror}") from None
    if not files:
        raise ScenarioFileError(f"{path}: no Python file there")
    return files


def _from_file(path: Path) -> tuple[Scenario, ...]:
    with _contained():
        scenarios = _imported(path)
        if type(scenarios) is not tuple:
            raise ScenarioFileError(f"{path}: expected a tuple SCENARIOS of farm.scenario.Scenario")
        for number, scenario in enumerate(scenarios):
            try:
                check.scenario(scenario)
                check.by_model(scenario)
            except UsageError as error:
                raise ScenarioFileError(f"{path}: SCENARIOS[{number}]: {error}") from None
    return scenarios


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    """Keep a user's code, while it runs, from ending this process by ``os._exit`` or taking its output away."""
    leave, process, streams = os._exit, os.getpid(), (sys.stdout, sys.stderr)

    def refuse(status: int) -> NoReturn:
        if os.getpid() != process:  # what the code has forked may end
            leave(status)
        raise SystemExit(status)

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = leave
        sys.stdout, sys.stderr = (
            os.fdopen(number, "w", encoding=stream.encoding, errors=stream.errors, closefd=False)
            if stream and stream.closed
            else stream
            for number, stream in enumerate(streams, 1)
        )


def _imported(path: Path) -> object:
    """Value that the file in ``path`` calls ``SCENARIOS``; None if it has none.

    An import that does not come to its end is an error, whatever ends it, but for Ctrl-C.
    """
    spec = importlib.util.spec_from_file_location(f"farm_scenarios_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ScenarioFileError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return getattr(module, "SCENARIOS", None)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - sys.exit() among them
        lines = [
            line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == spec.origin
        ]
        where = f"line {lines[-1]}: " if lines else ""
        raise ScenarioFileError(f"{path}: {where}{_said(error)}") from None


def _said(error: BaseException) -> str:
    if isinstance(error, FarmError):
        return str(error)
    try:
        words = f": {one_line(str(error))}"
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - it is the user's class
        words = ""
    return f"{type(error).__name__}{words}"
