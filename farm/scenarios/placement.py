"""Range and placement: where the target lies must not matter."""

from __future__ import annotations

from farm.scenario import EVERYWHERE, Defect, Scenario, call, code, patch, restore

SCENARIOS = (
    Scenario(
        "RP-04",
        "far_target",
        "A target that no near branch reaches is reached all the same, and left again",
        tuple(
            step
            for f in EVERYWHERE
            for step in (patch(f, "far"), call(f, 6), patch(f, "fast"), call(f, 6), patch(f, "far"), call(f, 7, "tail"))
        )
        + tuple(restore(f) for f in EVERYWHERE)
        + (code(),),
        frozenset({Defect.RANGE_TRUNCATION, Defect.LOST_PATCH, Defect.LOST_RESTORE}),
        bugs=("B50", "B102", "B120", "B152"),
    ),
)
