"""One item a cell of the default plan, its id the cell's; a cell with a hole is skipped with the reason.

Cells of a guest that are not applicable for the same reason are one item together: there are some 20,000 of them.
What ``--farm-quarantine`` lists is an xfail, and fails if it passes.  An engine's failure is not retried here: pytest
has no word for a pass at the second attempt.
"""

from __future__ import annotations

import contextlib

import pytest

from farm.cell import PASSED, Verdict
from farm.errors import FarmError
from farm.guest import build
from farm.pytest_plugin import fail_if_hole, is_left_out, narrowed, parameter, paths_of, settled
from farm.report.explain import explain
from farm.run import plan
from farm.run.batch import Batch, run_batch

_PLAN = pytest.StashKey()


def pytest_generate_tests(metafunc):
    if "planned" in metafunc.fixturenames:
        config = metafunc.config
        config.stash[_PLAN] = made = plan.possible(plan.Selection(**paths_of(config), **narrowed(config)))
        cells = (p for p in made.cells if not is_left_out(p.cell, config))
        items = [parameter(first, first, f"{first.cell}{others}") for first, others in together(cells)]
        metafunc.parametrize("planned", items)


def together(cells):
    """Each of ``cells`` that is an item, and what its id says of others in it."""
    groups = {}
    for planned in cells:
        cell, no_use = planned.cell, planned.verdict is Verdict.NOT_APPLICABLE
        guest = (cell.variant, cell.mechanism, cell.toolchain, cell.engine)
        groups.setdefault((guest, planned.reason if no_use else cell), []).append(planned)
    return [(first, f" and {len(others)} more" if others else "") for first, *others in groups.values()]


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
