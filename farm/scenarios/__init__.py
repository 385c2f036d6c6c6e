"""The suite: one module a group, each with a tuple ``SCENARIOS``; what is not in it, and why, is in :mod:`.absent`."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from pathlib import Path

from farm.errors import ScenarioFileError
from farm.scenario import Scenario

MODULES = ("basic", "abi", "shapes", "timing", "placement", "coherence", "failure", "crypto")


@functools.cache
def load(extra: tuple[Path, ...] = ()) -> dict[str, Scenario]:
    """Every scenario by name: the suite, then those in ``extra`` (Python files, or folders of them).

    Raises :class:`~farm.errors.ScenarioFileError` if a file cannot be used or a name or id is taken.
    """
    found = [
        (module, scenario)
        for module in MODULES
        for scenario in importlib.import_module(f"farm.scenarios.{module}").SCENARIOS
    ]
    for path in extra:
        files = sorted(path.glob("*.py")) if path.is_dir() else [path]
        if not files:
            raise ScenarioFileError(f"{path}: no Python file there")
        found += [(str(file), scenario) for file in files for scenario in _from_file(file)]
    scenarios: dict[str, Scenario] = {}
    ids: dict[str, str] = {}
    for origin, scenario in found:
        if scenario.name in scenarios or scenario.id in ids:
            raise ScenarioFileError(f"{origin}: scenario {scenario.id} {scenario.name}: name or id is taken already")
        scenarios[scenario.name] = scenario
        ids[scenario.id] = scenario.name
    return scenarios


def _from_file(path: Path) -> tuple[Scenario, ...]:
    spec = importlib.util.spec_from_file_location(f"farm_scenarios_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ScenarioFileError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ScenarioFileError(f"{path}: {type(error).__name__}: {error}") from error
    scenarios = getattr(module, "SCENARIOS", None)
    if not isinstance(scenarios, tuple) or not all(isinstance(item, Scenario) for item in scenarios):
        raise ScenarioFileError(f"{path}: expected a tuple SCENARIOS of farm.scenario.Scenario")
    return scenarios
