"""The two targets of mine.c behind one patchable call: the same answers on every architecture, patched or not."""

import pytest

from farm.live import PatchRefused
from farm.scenario import call, patch

pytestmark = pytest.mark.patchable(arch="arm64, powerpc, x86", mechanism="stub, pointer", source="mine.c")

NUMBERS = [0, 1, 2, 0x80000000, 0x12345678, 0xFFFFFFFF]


@pytest.mark.parametrize("target", ["default", "fast"])
def test_both_count_the_bits(patchable, target):
    patchable.patch(target)
    assert patchable.query() == target
    for number in NUMBERS:
        assert patchable.call(number) == number.bit_count()
        assert patchable.entered == target


def test_one_supersedes_the_other_while_it_runs(patchable):
    patchable.run(call(0, 0xFF, "tail", inside=(patch(0, "fast"),)))  # the default runs to its end
    assert patchable.trace[-1].value == 8
    assert patchable.call(0xFF) == 8
    assert patchable.entered == "fast"
    patchable.restore()
    patchable.call(0xFF)
    assert patchable.entered == "default"


def test_what_is_no_code_is_refused(patchable):
    with pytest.raises(PatchRefused, match="whatever_0 -> data: bad-target"):
        patchable.patch("data")
    patchable.call(1)
    assert patchable.entered == "default"
