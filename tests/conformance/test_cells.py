"""One item a cell of the default plan, its id the cell's; a cell with a hole is skipped with the reason.

What ``--farm-quarantine`` lists is an xfail, and fails if it passes.  An engine's failure is not retried here: pytest
has no word for a pass at the second attempt.
"""

from __future__ import annotations

import contextlib

import pytest

from farm.cell import PASSED, Verdict
from farm.errors import FarmError
from farm.guest import build
from farm.pytest_plugin import fail_if_hole, is_left_out, parameter, paths_of, settled
from farm.report.explain import explain
from farm.run import plan
from farm.run.batch import Batch, run_batch

_PLAN = pytest.StashKey()


def pytest_generate_tests(metafunc):
    if "planned" in metafunc.fixturenames:
        config = metafunc.config
        config.stash[_PLAN] = made = plan.possible(plan.Selection(**paths_of(config)))
        cells = [p for p in made.cells if not is_left_out(p.cell, config)]
        metafunc.parametrize("planned", [parameter(planned, planned, str(planned.cell)) for planned in cells])


@pytest.fixture(scope="session")
def images():
    """What this process has built, by what it was built from; what does not build is the business of its cells."""
    return {}


def test_cell(planned, pytestconfig, images):
    fail_if_hole(planned)
    made, cell = pytestconfig.stash[_PLAN], planned.cell
    if why := made.mechanisms[cell.mechanism].unready:
        pytest.fail(why, pytrace=False)
    spec = made.spec(cell)
    if spec not in images:
        with contextlib.suppress(FarmError):
            images[spec] = build.image(spec)
    batch = Batch(spec, cell.engine, (cell,), (made.scenarios[cell.scenario],), retries=0)
    (result,) = run_batch(batch, images.get(spec))
    result = settled(result, pytestconfig)
    if result.verdict is Verdict.XFAIL:
        pytest.xfail(result.reason)
    if result.verdict not in PASSED:
        pytest.fail(explain(result, made), pytrace=False)
