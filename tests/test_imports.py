"""Which way imports run, read off the source: a module knows nothing of what is built on it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import farm

ROOT = Path(farm.__file__).parent
LAYERS = (
    {"errors", "paths", "text", "documents", "interrupts", "processes"},
    {"scenario"},
    {"suite", "guest"},
    {"engines"},
    {"run"},
    {"prove", "measure"},
    {"results"},
    {"report"},
    {"cli"},
)
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}


def imports(path):
    """What a module imports of the farm: where, and which names; what only annotations need is left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in skipped and node.module.partition(".")[0] == "farm":
            for name in node.names:
                yield f"{node.module}.{name.name}".split(".")[1:]


MODULES = {path.relative_to(ROOT): list(imports(path)) for path in sorted(ROOT.rglob("*.py"))}


def name_of(path):
    return path.parts[0].removesuffix(".py")


def test_the_layers_are_modules_that_exist():
    assert {name_of(path) for path in MODULES} >= LAYER.keys()
    assert sum(map(len, MODULES.values())) > 300


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_run_one_way(path):
    own = LAYER.get(name_of(path), LAYER["report"] - 1)  # what has no layer of its own is below the reports
    if str(path) == "__main__.py":
        own = LAYER["cli"]
    assert [used for used in MODULES[path] if LAYER.get(used[0], 0) > own] == []


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_private_name_stays_in_its_module(path):
    assert [used for used in MODULES[path] for part in used if part.startswith("_") and part != "__version__"] == []


def test_a_report_imports_no_engine():
    used = {".".join(used) for path in MODULES if name_of(path) == "report" for used in MODULES[path]}
    assert not {name for name in used if name.startswith("engines")}


def test_a_suite_of_scenarios_knows_scenarios_alone():
    suites = [used for path, used in MODULES.items() if name_of(path) == "suite" and path.name != "__init__.py"]
    assert {name[0] for used in suites for name in used} <= {"scenario", "suite"}
