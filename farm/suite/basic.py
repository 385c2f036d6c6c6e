"""Basic semantics: what set, restore, query, NULL and RET0 mean."""

from __future__ import annotations

import itertools
import random

from farm.scenario import (
    EVERYWHERE,
    FUNCTIONS,
    Defect,
    Kind,
    Scenario,
    Step,
    call,
    code,
    null,
    original,
    patch,
    query,
    restore,
    ret0,
)

_ALL = EVERYWHERE
_VOID = FUNCTIONS.index(Kind.VOID)
_MOVED = frozenset({Defect.WRONG_ORIGINAL, Defect.UNRELOCATED, Defect.WRONG_RESUMPTION})
_PATCH = frozenset({Defect.LOST_PATCH, Defect.WRONG_DISPLACEMENT})


def _transitions() -> tuple[Step, ...]:
    """All twenty ordered pairs of {default, fast, other, NULL, RET0}, each end called."""
    requests: tuple[Step, ...] = (restore(_VOID), patch(_VOID, "fast"), patch(_VOID, "other"), null(_VOID), ret0(_VOID))
    return tuple(
        step
        for first, second in itertools.permutations(requests, 2)
        for step in (first, call(_VOID, 1), second, call(_VOID, 2))
    )


def _shuffled() -> tuple[Step, ...]:
    """Every function patched once in pseudo-random order, and all of them checked after each."""
    order = random.Random(13)  # noqa: S311 - the same order everywhere is the point
    functions = order.sample(_ALL, len(_ALL))
    steps: list[Step] = []
    for function in functions:
        steps.append(patch(function, order.choice(("fast", "other", "far"))))
        steps += [call(other, other) for other in _ALL]
    return tuple(steps)


SCENARIOS = (
    Scenario(
        "BS-01",
        "default_before_patch",
        "The first call reaches the default, with nothing set up at run time",
        (*(call(function, 5) for function in _ALL), code()),
        frozenset({Defect.WRONG_INITIAL_TARGET}),
        bugs=("B04",),
    ),
    Scenario(
        "BS-02",
        "update_then_call",
        "After an update every function reaches its new target",
        tuple(step for f in _ALL for step in (patch(f, "fast"), call(f, 0x1_0000_0005))),
        _PATCH,
    ),
    Scenario(
        "BS-03",
        "supersede_then_restore",
        "Default, fast, other, fast, default, in this order",
        (
            call(0, 5),
            patch(0, "fast"),
            call(0, 5),
            patch(0, "other"),
            call(0, 5),
            patch(0, "fast"),
            call(0, 6),
            restore(0),
            call(0, 5),
        ),
        _PATCH | {Defect.LOST_RESTORE},
    ),
    Scenario(
        "BS-04",
        "restore_restores_bytes",
        "After a restore the patched bytes are those of the linked image",
        (
            code(),
            patch(0, "fast"),
            code(0),
            restore(0),
            code(0),
            patch(3, "far"),
            call(3, 1),
            code(3),
            restore(3),
            code(),
            call(3, 1),
        ),
        frozenset({Defect.LOST_RESTORE, Defect.INEXACT_RESTORE, Defect.LOST_PATCH}),
        bugs=("B132", "B133"),
    ),
    Scenario(
        "BS-05",
        "idempotent_update",
        "Setting the same target twice is setting it once",
        (patch(1, "other"), patch(1, "other"), call(1, 9), query(1), restore(1), restore(1), call(1, 9), code(1)),
        _PATCH | {Defect.LOST_RESTORE},
    ),
    Scenario(
        "BS-06",
        "set_to_current_default",
        "Setting the default on a function that was never patched changes nothing",
        (patch(2, "default"), code(), call(2, 3), call(3, 3), query(2)),
        frozenset({Defect.INEXACT_RESTORE, Defect.NEIGHBOUR_OVERWRITTEN}),
    ),
    Scenario(
        "BS-07",
        "null_void_call",
        "Under NULL a void call returns at once and enters nothing",
        (
            call(_VOID, 1),
            null(_VOID),
            call(_VOID, 2),
            call(_VOID, 3, "tail"),
            query(_VOID),
            restore(_VOID),
            call(_VOID, 4),
        ),
        frozenset({Defect.NULL_CALLED, Defect.LOST_PATCH, Defect.LOST_RESTORE}),
        bugs=("B55",),
    ),
    Scenario(
        "BS-08",
        "null_argument_side_effects",
        "Under NULL, and without, the argument of a call is evaluated exactly once",
        tuple(
            step
            for function, requests in (
                (_VOID, (null(_VOID), patch(_VOID, "fast"), null(_VOID), restore(_VOID))),
                (0, (ret0(0), patch(0, "far"), restore(0))),
            )
            for request in requests
            for step in (call(function, 4, "counted"), request, call(function, 5, "counted"))
        ),
        frozenset({Defect.LAZY_ARGUMENT}),
    ),
    Scenario(
        "BS-09",
        "ret0_returns_zero",
        "RET0 returns 0 in the full width of int, of a 64-bit value and with all argument registers in use",
        tuple(step for f in (0, 4, 5) for step in (ret0(f), call(f, 0xFFFF_FFFF_FFFF), call(f, 7, "tail"), query(f))),
        frozenset({Defect.RET0_VALUE, Defect.LOST_PATCH}),
        bugs=("B02", "B04"),
    ),
    Scenario(
        "BS-11",
        "all_transitions",
        "Every ordered pair of default, fast, other, NULL and RET0",
        _transitions(),
        _PATCH | {Defect.NULL_CALLED, Defect.LOST_RESTORE, Defect.STALE_CACHE},
    ),
    Scenario(
        "BS-12",
        "neighbours_independent",
        "Patching one function changes neither behaviour nor bytes of the ones beside it",
        (
            patch(2, "fast"),
            call(1, 4),
            call(2, 4),
            call(3, 4),
            code(1),
            code(3),
            patch(3, "far"),
            call(2, 4),
            call(3, 4),
            restore(2),
            code(2),
            call(3, 4),
        ),
        frozenset({Defect.NEIGHBOUR_OVERWRITTEN, Defect.LOST_PATCH}),
    ),
    Scenario(
        "BS-13",
        "all_functions_shuffled",
        "All functions patched in pseudo-random order, all checked after each",
        _shuffled(),
        _PATCH | {Defect.NEIGHBOUR_OVERWRITTEN},
        bugs=("B128",),
    ),
    Scenario(
        "BS-14",
        "query_current",
        "Query answers what calls reach, at every step",
        (
            query(0),
            patch(0, "fast"),
            query(0),
            call(0, 1),
            patch(0, "far"),
            query(0),
            call(0, 1),
            ret0(0),
            query(0),
            patch(0, "next"),
            query(0),
            restore(0),
            query(0),
        ),
        frozenset({Defect.WRONG_QUERY, Defect.LOST_PATCH}),
    ),
    Scenario(
        "BS-15",
        "self_test_table",
        "The table of Linux's own self-test: as linked, then b, then a, each called with the same number",
        (call(0, 2), patch(0, "other"), call(0, 2), patch(0, "default"), call(0, 2), query(0), code(0)),
        _PATCH,
    ),
    Scenario(
        "BS-16",
        "conditional_call",
        "A void call that may lead nowhere, in every shape, under NULL and led to a target",
        tuple(
            step
            for shape in ("used", "ignored", "tail", "looped", "pointer")
            for request in (null(_VOID), patch(_VOID, "fast"))
            for step in (request, call(_VOID, 3, shape, count=3 if shape == "looped" else 1))
        ),
        frozenset({Defect.NULL_CALLED, Defect.LOST_PATCH}),
    ),
    Scenario(
        "BS-17",
        "target_is_another_stub",
        "A function led to another patchable function follows when that one is patched",
        (
            patch(0, "next"),
            call(0, 5),
            patch(1, "fast"),
            call(0, 5),
            call(1, 5),
            restore(0),
            call(0, 5),
            restore(1),
            code(),
        ),
        _PATCH | {Defect.LOST_RESTORE},
    ),
    Scenario(
        "BS-18",
        "target_is_own_stub",
        "A function led to itself would never return, so the request is refused",
        (patch(0, "stub"), code(), call(0, 5)),
        frozenset({Defect.UNCHECKED_REQUEST}),
    ),
    Scenario(
        "BS-19",
        "original_of_patched",
        "The original is the default target, whatever the function leads to, before a patch and after a restore",
        (
            original(0, 5),
            *(
                step
                for target in ("fast", "other", "far", "next")
                for step in (patch(0, target), original(0, 5), call(0, 6))
            ),
            restore(0),
            original(0, 5),
            call(0, 6),
        ),
        frozenset({Defect.WRONG_ORIGINAL, Defect.LOST_PATCH, Defect.LOST_RESTORE}),
    ),
    Scenario(
        "BS-20",
        "original_under_null",
        "Under NULL and RET0 calls return at once, and the original runs",
        tuple(
            step
            for f, request in ((_VOID, null(_VOID)), (_VOID, ret0(_VOID)), (_VOID, restore(_VOID)), (0, ret0(0)))
            for step in (request, original(f, 2), call(f, 3))
        ),
        frozenset({Defect.WRONG_ORIGINAL, Defect.NULL_CALLED}),
    ),
    Scenario(
        "BS-21",
        "original_of_every_function",
        "Every function has an original of its own while all are patched",
        (
            *(patch(f, ("fast", "other", "far")[f % 3]) for f in _ALL),
            *(step for f in _ALL for step in (original(f, 0x1_0000_0005), call(f, 0x1_0000_0005))),
        ),
        _MOVED | {Defect.LOST_PATCH},
    ),
    Scenario(
        "BS-22",
        "original_of_every_prologue",
        "Every prologue does as an original what it did, for numbers that take its branch and numbers that do not",
        (
            *(
                step
                for f in _ALL
                for step in (
                    original(f, 0),
                    patch(f, "far"),
                    *(original(f, x) for x in (0, 5, 0x1_0000_0001)),
                    patch(f, "fast"),
                    original(f, 0x1_0000_0002),
                    call(f, 7),
                )
            ),
            *(step for f in _ALL for step in (original(f, 0), restore(f), original(f, 5), call(f, 0))),
            code(),
        ),
        _MOVED,
    ),
    Scenario(
        "BS-23",
        "target_is_any_stub",
        "Every function may be led to the patchable one behind it, the last to the first, and comes back",
        (
            *(step for f in range(len(FUNCTIONS)) for step in (patch(f, "next"), query(f), restore(f))),
            code(),
        ),
        frozenset({Defect.LOST_RESTORE}),
    ),
)
