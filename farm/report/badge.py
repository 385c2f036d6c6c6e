"""``badge.svg``: the outcome in a few words, for a README.

Green is for a run in which every cell ran as expected, or could not run anywhere.  A cell that an install would have
run makes it yellow, for the badge must not say more than the run did.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from farm.cell import FAILED, PASSED, Verdict
from farm.report import by_verdict, number_of, totals
from farm.run.verdict import Result

if TYPE_CHECKING:
    from jinja2 import Template

    from farm.run.plan import Plan

_MARGIN = 6  # pixels on either side of a text
_NAME = "patchfarm"
_RED, _YELLOW, _GREEN, _GREY = "#c0392b", "#8a6d00", "#2b7a3f", "#6b6b6b"  # white reads well on each

#: Widths of Verdana's characters in thousandths of the font size; others are as wide as a digit.
_WIDTHS = {
    **dict.fromkeys("il", 274),
    **dict.fromkeys(" fj", 352),
    **dict.fromkeys(",.·", 364),
    **dict.fromkeys("rt", 410),
    **dict.fromkeys("csz", 521),
    "m": 973,
    "w": 818,
}
_DIGIT = 636
_SIZE = 11  # pixels


class _Text(NamedTuple):
    text: str
    width: int  #: pixels, margins included


def _text(text: str) -> _Text:
    return _Text(text, round(_SIZE * sum(_WIDTHS.get(c, _DIGIT) for c in text) / 1000) + 2 * _MARGIN)


@functools.cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("farm.report"), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    return environment.get_template("badge.svg")


def _outcome(results: Sequence[Result], plan: Plan) -> tuple[str, str]:
    """Text and colour of the badge."""
    counts = by_verdict(results)
    failed = number_of(counts, FAILED)
    if failed:
        return f"{failed:,} failing", _RED
    missing = counts[Verdict.NOT_RUN]
    names = {result.cell.variant for result in results if result.verdict in PASSED}
    architectures = len({plan.variants[name].architecture if name in plan.variants else name for name in names})
    parts = [f"{counts[Verdict.PASS]:,} pass"]
    parts.append(f"{architectures} architecture{'s' * (architectures != 1)}")
    bad = counts[Verdict.XFAIL]
    if bad:
        parts.append(f"{bad:,} known-bad")
    if missing:
        parts.append(f"{missing:,} not run")
    if not names:
        return "nothing ran", _GREY
    return " · ".join(parts), _YELLOW if missing else _GREEN


def render(results: Sequence[Result], plan: Plan) -> str:
    """The badge, as SVG."""
    message, colour = _outcome(results, plan)
    return _template().render(
        name=_text(_NAME),
        message=_text(message),
        colour=colour,
        margin=_MARGIN,
        title=f"{_NAME}: {totals(results)}",
    )
