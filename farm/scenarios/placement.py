"""Range and placement: where the target lies must not matter."""

from __future__ import annotations

from farm.scenario import EVERYWHERE, Defect, Scenario, call, code, patch, restore

SCENARIOS = (
    Scenario(
        "RP-02",
        "backward_and_forward",
        "Targets before the stub, behind it and right behind it: a chain of functions, and its end led elsewhere",
        (
            patch(0, "next"),
            patch(1, "next"),
            patch(2, "next"),
            call(0, 5),
            *(
                step
                for target in ("fast", "far", "other")
                for step in (patch(3, target), call(0, 5), call(1, 5), call(2, 5))
            ),
            restore(1),
            call(0, 5),
            *(restore(f) for f in (0, 2, 3)),
            code(),
        ),
        frozenset({Defect.WRONG_DISPLACEMENT, Defect.LOST_PATCH, Defect.LOST_RESTORE}),
        bugs=("B31", "B94", "B97", "B110", "B111"),
    ),
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
    Scenario(
        "RP-07",
        "neighbours_untouched",
        "A patch, near or far, changes no byte of the function before and of the one behind",
        (
            *(
                step
                for f in EVERYWHERE[1:-1]
                for step in (
                    patch(f, "fast"),
                    code(f - 1),
                    code(f + 1),
                    patch(f, "far"),
                    code(f - 1),
                    code(f + 1),
                    restore(f),
                )
            ),
            code(),
        ),
        frozenset({Defect.NEIGHBOUR_OVERWRITTEN}),
        bugs=("B34",),
    ),
)
