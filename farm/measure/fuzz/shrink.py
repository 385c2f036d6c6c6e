"""A failing program made as small as it gets, by hypothesis.

Hypothesis cannot be handed a failure that it has not found itself.  So what it draws are changes to the failing
program, each of which is most often none: it meets the failure again at once, and what it takes for the simplest choice
is the largest change.  First it looks for steps that are not needed, then for simpler ones, until neither helps.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import os
import random
import time
from collections.abc import Callable
from typing import Any

from farm import paths
from farm.scenario import Step, substeps, walk

_SECONDS = 30.0
_EXAMPLES = 300  # tries to meet the failure again
_MOSTLY = 31  # how much likelier no change is than each change

Steps = tuple[Step, ...]
_Draw = Callable[[Any], Any]


@functools.cache
def _choices(count: int) -> Any:
    from hypothesis import strategies as st

    return st.integers(0, count - 1)


class _Changes:
    """Changes to a program.  What is chosen does not change what else is drawn, so that each choice stands alone."""

    def __init__(self, draw: _Draw, steps: Steps, *, simplify: bool) -> None:
        self._draw = draw
        self._simplify = simplify
        used = sorted(
            {function for step in walk(steps) if isinstance(function := getattr(step, "function", None), int)}
        )
        self._functions = {f: self._one_of((0, 1), f) if simplify else f for f in used}

    def _one_of(self, simpler: tuple[Any, ...], original: Any) -> Any:
        """One of ``simpler``, as far as they are simpler than ``original``, or most often that itself."""
        options = (*simpler, original)
        last = options.index(original)
        return options[min(self._draw(_choices(_MOSTLY + last)), last)] if last else original

    def steps(self, steps: Steps) -> Steps:
        """``steps`` with some left out, some replaced by what is inside them, and some simplified."""
        result: list[Step] = []
        for step in steps:
            fate = "keep"
            if not self._simplify:
                fate = self._one_of(("drop", "unwrap") if substeps(step) else ("drop",), "keep")
            changed = {part.name: self._part(part, getattr(step, part.name)) for part in dataclasses.fields(step)}
            if fate == "keep":
                result.append(dataclasses.replace(step, **changed))
            elif fate == "unwrap":
                result += next(value for value in changed.values() if isinstance(value, tuple))
        return tuple(result)

    def _part(self, part: dataclasses.Field[Any], value: Any) -> Any:
        if isinstance(value, tuple):
            return self.steps(value)
        if not self._simplify or isinstance(value, bool):
            return value
        if part.name == "function":
            return self._functions.get(value)
        default = () if part.default is dataclasses.MISSING else (part.default,)
        if isinstance(value, enum.Enum):
            return self._one_of((*default, *tuple(type(value))[:2]), value)
        return self._one_of((*default, 0, 1), value) if isinstance(value, int) else value


class Shrinker:
    """Shrinks one program; ``smallest`` is what it has come to, whenever it is asked."""

    def __init__(self, steps: Steps, fails: Callable[[Steps], bool], seconds: float = _SECONDS) -> None:
        self.smallest = steps
        self._fails = fails
        self._known = {steps: True, (): False}
        self._end = time.monotonic() + seconds

    def run(self) -> Steps:
        """The smallest program found that still fails."""
        os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(paths.cache() / "hypothesis"))
        before = None
        while before != self.smallest and time.monotonic() < self._end:
            before = self.smallest
            self._round(simplify=False)
            self._round(simplify=True)
        return self.smallest

    def _round(self, *, simplify: bool) -> None:
        import hypothesis
        from hypothesis import strategies as st

        steps = self.smallest

        @st.composite
        def changed(draw: _Draw) -> Steps:
            return _Changes(draw, steps, simplify=simplify).steps(steps)

        phases = (hypothesis.Phase.generate, hypothesis.Phase.shrink)
        settings = hypothesis.settings(
            database=None, deadline=None, max_examples=_EXAMPLES, phases=phases, verbosity=hypothesis.Verbosity.quiet
        )
        try:
            self.smallest = hypothesis.find(
                changed(),
                self._still_fails,
                settings=settings,
                random=random.Random(0),  # noqa: S311 - the same way every time
            )
        except hypothesis.errors.NoSuchExample:  # it was not met again
            return

    def _still_fails(self, steps: Steps) -> bool:
        """Runs each program once: one that fails now and then would confuse hypothesis."""
        if steps not in self._known:
            self._known[steps] = time.monotonic() < self._end and self._fails(steps)
            if self._known[steps] and _length(steps) <= _length(self.smallest):
                self.smallest = steps  # in case that this is interrupted
        return self._known[steps]


def _length(steps: Steps) -> int:
    return sum(1 for _ in walk(steps))
