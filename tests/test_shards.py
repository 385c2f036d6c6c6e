"""Shards: every cell in one, none much longer than another, and few cells move when others come and go."""

from __future__ import annotations

import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from farm.cell import Cell, Planned, Verdict
from farm.errors import UsageError
from farm.run import shards
from farm.run.plan import Selection, make


@pytest.fixture(scope="module")
def default():
    return make(Selection()).cells


@st.composite
def plans(draw):
    """Cells of a made-up farm, some of which cannot run, and what some of them took before."""
    size = draw(st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 2), st.integers(1, 25)))
    chance = random.Random(draw(st.integers(0, 1 << 16)))
    cells, known = [], {}
    holes, heard, scale = (
        draw(st.sampled_from([0, 0.3, 1])),
        draw(st.sampled_from([0, 0.5, 1])),
        chance.choice([0.01, 2]),
    )
    for variant in range(size[0]):
        for mechanism in range(size[1]):
            for engine in range(size[2]):
                for scenario in range(size[3]):
                    cell = Cell(f"s{scenario}", f"v{variant}", f"m{mechanism}", "zig", f"e{engine}")
                    cells.append(Planned(cell, Verdict.NOT_RUN, "why") if chance.random() < holes else Planned(cell))
                    if chance.random() < heard:
                        known[cell] = chance.expovariate(1 / scale)
    return cells, known


def image(planned):
    return planned.cell.variant, planned.cell.mechanism, planned.cell.toolchain


@given(plans(), st.integers(1, 40))
def test_every_cell_is_in_one_shard_and_no_shard_is_without_work(plan, count):
    cells, known = plan
    division = shards.divide(cells, count, known)
    assert len(division.numbers) == len(cells)
    assert set(division.numbers) == set(range(1, division.count + 1))
    assert division.count <= count
    working = {number for planned, number in zip(cells, division.numbers, strict=True) if planned.verdict is None}
    if any(planned.verdict is None for planned in cells):
        assert working == set(range(1, division.count + 1))
    else:
        assert division.count == 1


@given(plans(), st.integers(1, 40))
def test_a_load_is_what_the_cells_of_the_shard_take_and_the_images_that_it_builds(plan, count):
    cells, known = plan
    division = shards.divide(cells, count, known)
    seconds = shards.estimates(cells, known)
    for number, load in enumerate(division.loads, 1):
        mine = [i for i, shard in enumerate(division.numbers) if shard == number]
        built = {image(cells[i]) for i in mine if cells[i].verdict is None}
        assert load == pytest.approx(sum(seconds[i] for i in mine) + shards.BUILD * len(built))


@given(plans(), st.integers(1, 40), st.integers(0, 1 << 16))
def test_the_order_of_the_cells_decides_nothing(plan, count, seed):
    cells, known = plan
    mixed = random.Random(seed).sample(cells, len(cells))
    one, other = shards.divide(cells, count, known), shards.divide(mixed, count, dict(reversed(known.items())))
    assert dict(zip(map(str, cells), one.numbers, strict=True)) == dict(
        zip(map(str, mixed), other.numbers, strict=True)
    )
    assert one.loads == other.loads


@given(plans(), st.integers(1, 40))
def test_no_shard_is_much_longer_than_the_mean_and_what_stays_together(plan, count):
    cells, known = plan
    division = shards.divide(cells, count, known)
    chunks = shards._chunks(cells, shards.estimates(cells, known))
    mean = sum(division.loads) / division.count
    largest = max(chunk.seconds for chunk in chunks) + shards.BUILD
    assert max(division.loads) <= 1.25 * (mean + largest)


@pytest.mark.parametrize("count", [2, 3, 4, 8, 16])
def test_the_default_plan_is_divided_well(default, count):
    division = shards.divide(default, count)
    assert max(division.loads) <= 1.25 * sum(division.loads) / count
    placed = {(image(p), number) for p, number in zip(default, division.numbers, strict=True) if p.verdict is None}
    assert len(placed) <= len({built for built, _ in placed}) + count  # images are kept whole


@settings(max_examples=40)
@given(
    st.sampled_from([2, 3, 4, 8, 16]),
    st.sampled_from([("scenario", 3, 0.15), ("variant", 1, 0.25), ("variant", 3, 0.4)]),
    st.randoms(use_true_random=False),
)
def test_few_cells_move_when_others_go(default, count, what, chance):
    field, several, share = what
    names = sorted({getattr(planned.cell, field) for planned in default})
    gone = set(chance.sample(names, several))
    rest = [planned for planned in default if getattr(planned.cell, field) not in gone]
    before = {p.cell: n for p, n in zip(default, shards.divide(default, count).numbers, strict=True)}
    after = shards.divide(rest, count).numbers
    moved = sum(before[planned.cell] != number for planned, number in zip(rest, after, strict=True))
    assert moved <= share * len(rest)


def test_a_scenario_more_usually_moves_nothing(default):
    some = [planned for planned in default if planned.cell.variant in ("arm64", "ppc32", "x86_64")]
    before = {p.cell: n for p, n in zip(some, shards.divide(some, 4).numbers, strict=True)}
    still = 0
    names = sorted({planned.cell.scenario for planned in some})
    for name in names:
        rest = [planned for planned in some if planned.cell.scenario != name]
        still += all(before[p.cell] == n for p, n in zip(rest, shards.divide(rest, 4).numbers, strict=True))
    assert still >= 0.9 * len(names)


def test_a_cell_that_is_not_known_is_guessed_from_its_scenario_then_from_its_engine():
    def cell(scenario, variant, engine):
        return Cell(scenario, variant, "stub", "zig", engine)

    known = {cell("a", "x", "u"): 1.0, cell("a", "y", "u"): 5.0, cell("a", "z", "u"): 2.0, cell("b", "x", "u"): 9.0}
    asked = [cell("a", "x", "u"), cell("a", "w", "u"), cell("c", "w", "u"), cell("a", "w", "q")]
    plan = [*map(Planned, asked), Planned(cell("a", "x", "u"), Verdict.NOT_RUN, "why")]
    assert shards.estimates(plan, known) == [1.0, 2.0, 3.5, 0.001, 0.0]


def test_minutes_choose_the_fewest_shards_that_are_quick_enough(default):
    division = shards.fit(default, 20, 1)
    assert max(division.loads) <= 20
    assert max(shards.divide(default, division.count - 1).loads) > 20
    assert shards.fit(default, 20, 4).count < division.count


@given(plans(), st.floats(0.01, 100), st.integers(1, 4))
def test_the_minutes_that_are_said_to_fit_do(plan, seconds, workers):
    cells, known = plan
    try:
        division = shards.fit(cells, seconds, workers, known)
    except UsageError as error:
        smallest = float(str(error).rpartition(" ")[2])
        assume(smallest)
        division = shards.fit(cells, 60 * smallest, workers, known)
        seconds = 60 * smallest
    assert max(division.loads) / workers <= seconds


def test_more_jobs_than_a_forge_allows_are_refused(default):
    known = {planned.cell: 60.0 for planned in default}
    with pytest.raises(UsageError, match=r"no division into 256 shards or fewer .* the smallest that fits is --max-m"):
        shards.fit(default, 60, 1, known)
