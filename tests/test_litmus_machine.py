"""The rules of ``farm litmus`` and a step machine that knows none of them permit the same final states."""

from __future__ import annotations

from pathlib import Path

import pytest
from litmus_programs import CACHES, differences, different

from farm.prove.litmus.parse import parse

FILES = sorted((Path(__file__).parent / "litmus").glob("*.litmus"))
#: The published model orders no fetch behind another one of its thread where the machine, which fetches in order, does.
WEAKER = {("ff-three-words", "dic0-idc1")}


def test_both_agree_on_programs_made_by_chance():
    assert list(different(range(60))) == []


def test_both_agree_on_the_tests_of_our_own():
    found = set()
    for path in FILES:
        test = parse(path.read_text(), path.name)
        for caches in CACHES:
            permitted, reached = differences(test, caches)
            assert not reached, (path.name, caches)
            if permitted:
                found.add((path.stem, caches))
    assert found == WEAKER


@pytest.mark.parametrize(
    ("clause", "name", "caches"),
    [
        ("fetch_first", "fetch-then-store", "dic0-idc0"),
        ("dmb_full", "lb", "dic0-idc0"),
        ("isb_fetched", "ff-fetched-isb", "dic0-idc1"),
        ("acquire_release", "sb-release-acquire", "dic0-idc0"),
        ("ic_hazard", "ff-fetch-behind-isb", "dic0-idc0"),
    ],
)
def test_without_a_clause_the_rules_permit_what_the_machine_does_not_reach(clause, name, caches):
    path = FILES[0].with_name(f"{name}.litmus")
    permitted, _ = differences(parse(path.read_text(), path.name), caches, (clause,))
    assert permitted
