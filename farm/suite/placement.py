"""Range and placement: where the target lies must not matter."""

from __future__ import annotations

from farm.scenario import (
    EVERYWHERE,
    FUNCTIONS,
    Defect,
    Fact,
    Load,
    Scenario,
    Scribble,
    Shape,
    Step,
    Unload,
    call,
    code,
    has_call_site,
    patch,
    restore,
    sites,
)


def _calls(function: int, shapes: tuple[str, ...]) -> tuple[Step, ...]:
    """A call in each of ``shapes`` that the function has."""
    return tuple(call(function, 5, shape) for shape in shapes if has_call_site(function, Shape[shape.upper()]))


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
        needs=frozenset({Fact.FAR}),
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
    Scenario(
        "RP-01",
        "displacement_base",
        "What a displacement is relative to: every function to every target near it, from every kind of call site",
        tuple(
            step
            for f in EVERYWHERE
            for target in ("fast", "other", "default")
            for step in (
                patch(f, target),
                *_calls(f, ("used", "tail", "bare")),
            )
        ),
        frozenset({Defect.WRONG_DISPLACEMENT}),
        bugs=("B30", "B72", "B105", "B139", "B158"),
    ),
    Scenario(
        "RP-09",
        "landing_pad_survives",
        "A patch changes the word behind the landing pad, and the pad stays",
        tuple(
            step
            for target in ("fast", "far", "other")
            for step in (patch(0, target), call(0, 5, "pointer"), restore(0), code(0), call(0, 6, "pointer"))
        ),
        frozenset({Defect.PAD_OVERWRITTEN}),
        needs=frozenset({Fact.POKES}),
        abi=frozenset({"landing-pads"}),
        bugs=("B35", "B37", "B40", "B103"),
    ),
    Scenario(
        "RP-10",
        "call_bypasses_the_stub",
        "A redirected call site does not come by the stub: foreign bytes there, a trap even, do not matter to it",
        tuple(
            step
            for f, target in enumerate(("fast", "other", "fast", "other"))
            for step in (patch(f, target), Scribble(f), call(f, 5, "bare"), call(f, 6, "bare"))
        ),
        frozenset({Defect.BYPASS}),
        needs=frozenset({Fact.REDIRECTS}),
        bugs=("B15",),
    ),
    Scenario(
        "RP-21",
        "every_call_site_follows",
        "Every call site that reaches the target leads straight to it, whoever made it; the others stay on the stub",
        (
            *(
                step
                for f in range(len(FUNCTIONS))
                for target in ("fast", "far", "other", "default")
                for step in (patch(f, target), sites(f, target))
            ),
            patch(0, "fast"),
            Load(),
            sites(0, "fast"),
            patch(0, "other"),
            sites(0, "other"),
            sites(1, "default"),
            Unload(),
            sites(0, "other"),
            Load(),  # anew, as its image has it
            sites(0, "other"),
            patch(0, "fast"),
            sites(0, "fast"),
            Unload(),
            restore(0),
            sites(0, "default"),
            code(),
        ),
        frozenset({Defect.SITE_LEFT_BEHIND}),
        needs=frozenset({Fact.REDIRECTS}),
        bugs=("B15", "B41", "B60", "B93"),
    ),
    Scenario(
        "RP-11",
        "out_of_range_falls_back",
        "Near, out of range and near again, from every kind of call site: those that do not reach go by the stub",
        tuple(
            step
            for f in (0, 1, 2, 3)
            for target in ("fast", "far", "other", "far", "default", "far")
            for step in (patch(f, target), *_calls(f, ("used", "tail", "bare", "twice")))
        )
        + tuple(restore(f) for f in (0, 1, 2, 3))
        + (code(),),
        frozenset({Defect.RANGE_TRUNCATION, Defect.LOST_PATCH, Defect.LOST_RESTORE}),
        needs=frozenset({Fact.FAR}),
        bugs=("B49", "B62", "B97", "B126"),
    ),
)
