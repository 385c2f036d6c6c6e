"""What patch code answers when it is asked (encoders, decoders, helpers), for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from farm.prove.asking import Asked
from farm.text import counted

SCHEMA = 1
_TOLD = 5  # wrong answers of a variant that are shown


def document(asked: Sequence[Asked], farm: str, what: str) -> dict[str, Any]:
    """What was asked, as ``farm prove encoders --json`` prints it; ``what`` is the command's name."""
    return {"schema": SCHEMA, "farm": farm, "what": what, "asked": list(asked)}


def lines(asked: Sequence[Asked], right: str) -> Iterator[str]:
    """A line a variant, which says ``right`` if nothing is wrong, its first wrong answers, and the sum."""
    width = max(len(f"{each.variant}/{each.toolchain}") for each in asked)
    for each in asked:
        name = f"{each.variant}/{each.toolchain}"
        said = f"{len(each.wrong):,} wrong" if each.wrong else right
        yield f"{name:<{width}}  {f'not asked: {each.unproved}' if each.unproved else said}"
    for each in asked:
        for complaint in each.wrong[:_TOLD]:
            yield f"wrong {each.variant}/{each.toolchain}: {complaint}"
        if len(each.wrong) > _TOLD:
            yield f"wrong {each.variant}/{each.toolchain}: {len(each.wrong) - _TOLD:,} more"
    wrong, unproved = sum(bool(each.wrong) for each in asked), sum(bool(each.unproved) for each in asked)
    yield ""
    yield f"{counted(len(asked) - unproved, 'variant')} asked, {wrong:,} wrong, {unproved:,} not asked"
