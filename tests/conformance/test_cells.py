"""One item a cell of the default plan, its id the cell's; a cell with a hole is skipped with the reason."""

from __future__ import annotations

import pytest

from farm import image, plan, pytest_plugin, run
from farm.report.explain import explain


def pytest_generate_tests(metafunc):
    if "planned" in metafunc.fixturenames:
        made = metafunc.config.stash.setdefault(_PLAN, None) or _make(metafunc.config)
        chosen = [p for p in made.cells if not pytest_plugin.is_left_out(p.cell, metafunc.config)]
        metafunc.parametrize("planned", [pytest_plugin.parameter(p, p, name=str(p.cell)) for p in chosen])


_PLAN = pytest.StashKey()


def _make(config):
    made = config.stash[_PLAN] = plan.make(plan.Selection(arch_path=pytest_plugin.arch_path(config)))
    return made


def test_cell(planned, pytestconfig):
    pytest_plugin.fail_if_hole(planned)
    made, cell = pytestconfig.stash[_PLAN], planned.cell
    spec = image.Spec(made.variants[cell.variant], cell.mechanism, cell.toolchain)
    (result,) = run.run_batch(run.Batch(spec, cell.engine, (cell,), (made.scenarios[cell.scenario],)))
    if result.failed:
        pytest.fail(explain(result, made), pytrace=False)
