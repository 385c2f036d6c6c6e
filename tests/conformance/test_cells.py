"""One item a cell of the default plan, its id the cell's; a cell with a hole is skipped with the reason."""

from __future__ import annotations

import contextlib

import pytest

from farm import image, plan, run
from farm.errors import FarmError
from farm.pytest_plugin import arch_path, fail_if_hole, is_left_out, parameter
from farm.report.explain import explain
from farm.verdict import PASSED

_PLAN = pytest.StashKey()


def pytest_generate_tests(metafunc):
    if "planned" in metafunc.fixturenames:
        config = metafunc.config
        config.stash[_PLAN] = made = plan.make(plan.Selection(arch_path=arch_path(config)))
        cells = [p for p in made.cells if not is_left_out(p.cell, config)]
        metafunc.parametrize("planned", [parameter(planned, planned, str(planned.cell)) for planned in cells])


@pytest.fixture(scope="session")
def images():
    """What this process has built, by what it was built from; what does not build is the business of its cells."""
    return {}


def test_cell(planned, pytestconfig, images):
    fail_if_hole(planned)
    made, cell = pytestconfig.stash[_PLAN], planned.cell
    spec = image.Spec(made.variants[cell.variant], cell.mechanism, cell.toolchain)
    if spec not in images:
        with contextlib.suppress(FarmError):
            images[spec] = image.build(spec)
    batch = run.Batch(spec, cell.engine, (cell,), (made.scenarios[cell.scenario],))
    (result,) = run.run_batch(batch, images.get(spec))
    if result.verdict not in PASSED:
        pytest.fail(explain(result, made), pytrace=False)
