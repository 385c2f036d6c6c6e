"""Call shapes: the same patch seen by every way of calling."""

from __future__ import annotations

from farm.scenario import EVERYWHERE, FUNCTIONS, Defect, Kind, Scenario, Step, address, call, loop, patch, restore

_PATCH = frozenset({Defect.LOST_PATCH, Defect.WRONG_DISPLACEMENT})
_VOID = FUNCTIONS.index(Kind.VOID)
_MANY = FUNCTIONS.index(Kind.MANY)


def _each(shape: str) -> tuple[Step, ...]:
    """Every function called in ``shape`` before, under and after a patch."""
    return tuple(
        step
        for f in EVERYWHERE
        for step in (
            call(f, 3, shape),
            patch(f, "other"),
            call(f, 0x2_0000_0003, shape),
            restore(f),
            call(f, 4, shape),
        )
    )


SCENARIOS = (
    Scenario("CS-01", "result_used", "A plain call whose result is used", _each("used"), _PATCH | {Defect.LOST_LINK}),
    Scenario(
        "CS-02",
        "result_ignored_in_loop",
        "A plain call whose result is ignored, and one in a loop whose results are added up",
        (
            *_each("ignored"),
            loop(100, call(1, 7, "ignored")),
            patch(1, "fast"),
            call(1, 7, "looped", count=100),
            loop(100, call(1, 7, "ignored")),
        ),
        _PATCH,
    ),
    Scenario(
        "CS-03",
        "tail_call",
        "A tail call: the target returns to the caller's caller, before and after the patch",
        _each("tail"),
        _PATCH | {Defect.LOST_LINK, Defect.TAIL_AS_CALL},
        bugs=("B05", "B144"),
    ),
    Scenario(
        "CS-04",
        "tail_call_with_stack_arguments",
        "A tail call that hands on arguments on the stack, to the caller's caller and back",
        tuple(
            step
            for target in ("default", "fast", "far")
            for step in (
                patch(_MANY, target),
                call(_MANY, 0x0123_4567_89AB_CDEF, "tail"),
                call(_MANY, 2, "looped", count=3),
            )
        ),
        frozenset({Defect.LOST_PATCH, Defect.STACK_ARGUMENT}),
    ),
    Scenario(
        "CS-06",
        "address_taken_call",
        "A call through the function's address, taken before the patch, follows the patch",
        _each("pointer"),
        _PATCH,
        bugs=("B33",),
    ),
    Scenario(
        "CS-07",
        "address_equal_everywhere",
        "A function's address is one and the same wherever it was taken, and patches do not change it",
        tuple(
            step
            for f in range(len(FUNCTIONS))
            for step in (address(f), patch(f, "fast"), address(f), restore(f), address(f))
        ),
        frozenset({Defect.WRONG_ADDRESS}),
    ),
    Scenario(
        "CS-10",
        "recursion_patched_half_way",
        "Recursion 50 deep through the patchable function, patched at depth 25",
        (
            call(2, 100, "recursive", count=50, at=25, inside=(patch(2, "fast"),)),
            call(2, 1),
            restore(2),
            call(4, 1 << 40, "recursive", count=10, at=5, inside=(patch(4, "far"),)),
        ),
        _PATCH,
    ),
    Scenario(
        "CS-11",
        "nested_functions",
        "The target of one function calls another, which is patched meanwhile",
        (
            call(0, 1, inside=(call(1, 2), patch(1, "other"), call(1, 2, inside=(call(_VOID, 3), patch(0, "fast"))))),
            call(0, 1),
            call(1, 2),
        ),
        _PATCH,
    ),
    Scenario(
        "CS-15",
        "asm_call_site",
        "A call from asm, where no compiler knows what it may clobber",
        tuple(
            step
            for f in (0, 1, 2, 3)
            for step in (call(f, 3, "bare"), patch(f, "other"), call(f, 3, "bare"), patch(f, "far"), call(f, 4, "bare"))
        ),
        _PATCH,
        bugs=("B43",),
    ),
    Scenario(
        "CS-18",
        "callback",
        "The function handed to an iterator, patched before, between and during the iteration",
        (
            call(1, 10, "callback", count=4),
            patch(1, "fast"),
            call(1, 10, "callback", count=4),
            call(1, 20, "callback", count=4, inside=(patch(1, "far"),)),
            call(1, 30, "callback", count=2),
        ),
        _PATCH,
    ),
    Scenario(
        "CS-05",
        "conditional_branch",
        "A call under a condition, which may be one conditional branch: taken and not taken, led here and there",
        tuple(
            step
            for f in (0, 1, 2, 3)
            for target in ("default", "fast", "other", "far")
            for step in (patch(f, target), call(f, 3, "conditional"), call(f, 4, "conditional"))
        ),
        _PATCH | {Defect.LOST_CONDITION},
        bugs=("B10", "B32", "B100", "B104"),
    ),
    Scenario(
        "CS-08",
        "static_pointer_table",
        "A call through a table of pointers that the linker filled in: every function, before and under a patch",
        tuple(
            step
            for f in EVERYWHERE
            for step in (address(f), call(f, 1, "pointer"), patch(f, "fast"), address(f), call(f, 2, "pointer"))
        ),
        _PATCH | {Defect.WRONG_ADDRESS},
    ),
    Scenario(
        "CS-13",
        "two_sites_side_by_side",
        "Two call sites of one function side by side follow a patch together, and one between them too",
        tuple(
            step
            for f in (0, 1, 2, 3)
            for step in (
                call(f, 1, "twice"),
                patch(f, "fast"),
                call(f, 2, "twice"),
                patch(f, "far"),
                call(f, 3, "twice", inside=(patch(f, "other"),)),
                restore(f),
                call(f, 4, "twice"),
            )
        ),
        _PATCH | {Defect.LOST_RESTORE},
        bugs=("B15",),
    ),
)
