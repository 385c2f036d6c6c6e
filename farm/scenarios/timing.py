"""Patch timing and re-entrancy: before the first call, from inside a target, and very often.

Not here, for want of what it takes: PT-02 (constructors), PT-05 and PT-12 (interrupts, a debugger), PT-06 and PT-09
(code that runs inside the mechanism), PT-08 (transactions), PT-13 to PT-15 (processes and modules that come and go).
"""

from __future__ import annotations

from farm.scenario import Defect, LockText, Scenario, Scribble, call, code, loop, patch, query, restore

_PATCH = frozenset({Defect.LOST_PATCH, Defect.WRONG_DISPLACEMENT})
_STUB = (frozenset({"stub"}), "pointer patches no instruction")

SCENARIOS = (
    Scenario(
        "PT-01",
        "patch_before_first_call",
        "A function that is patched before it was ever called",
        (patch(0, "fast"), call(0, 5), patch(1, "far"), call(1, 5)),
        _PATCH,
    ),
    Scenario(
        "PT-03",
        "self_patch_from_target",
        "A target replaces itself while it runs, returns normally, and the next call reaches its successor",
        (
            patch(0, "fast"),
            call(0, 5, inside=(patch(0, "other"), query(0))),
            call(0, 5),
            call(0, 5, inside=(restore(0),)),
            call(0, 5),
            code(0),
        ),
        _PATCH | {Defect.LOST_RESTORE, Defect.WRONG_RESTORE_INSIDE},
    ),
    Scenario(
        "PT-04",
        "patched_by_grandchild",
        "Two levels below a running target the function is patched; the old target completes and returns right",
        (
            patch(0, "fast"),
            call(0, 8, inside=(call(1, 2, inside=(patch(0, "far"), call(0, 3))), call(0, 4))),
            call(0, 8),
        ),
        _PATCH,
    ),
    Scenario(
        "PT-07",
        "foreign_bytes_refused",
        "A stub that another tool has overwritten is left alone, bytes untouched",
        (patch(0, "fast"), Scribble(0), patch(0, "other"), restore(0), code(0), call(1, 5)),
        frozenset({Defect.UNCHECKED_REQUEST}),
        only=_STUB,
        bugs=("B118",),
    ),
    Scenario(
        "PT-10",
        "replace_while_running",
        "A target is replaced many times while it runs and still completes with its own result",
        (
            call(
                3,
                77,
                inside=(
                    patch(3, "fast"),
                    call(3, 1),
                    patch(3, "other"),
                    call(3, 1),
                    patch(3, "far"),
                    call(3, 1, "tail"),
                    restore(3),
                    call(3, 1),
                ),
            ),
            call(3, 77),
        ),
        _PATCH | {Defect.LOST_RESTORE, Defect.WRONG_RESTORE_INSIDE},
        bugs=("B18",),
    ),
    Scenario(
        "PT-11",
        "patch_storm",
        "Alternations without end, each followed by a call",
        (
            loop(40, patch(0, "fast"), call(0, 1), patch(0, "far"), call(0, 2), patch(0, "other"), call(0, 3, "tail")),
            restore(0),
            code(),
        ),
        _PATCH | {Defect.LOST_RESTORE},
        tags=frozenset({"storm"}),
    ),
    Scenario(
        "PT-16",
        "targets_patch_each_other",
        "While a target runs under its own patch, it patches every other function, and itself again",
        (
            patch(0, "fast"),
            call(
                0,
                5,
                inside=(
                    patch(1, "other"),
                    call(1, 1, inside=(patch(2, "far"), call(2, 1, inside=(patch(0, "far"), patch(1, "fast"))))),
                    call(0, 2),
                ),
            ),
            call(0, 5),
            call(1, 5),
            call(2, 5),
        ),
        _PATCH,
    ),
    Scenario(
        "PT-17",
        "text_locked_half_way",
        "Many functions patched, in no order, and the text locked half-way: each has the old target or the new one",
        (
            *(patch(f, "fast") for f in (7, 2, 9, 0)),
            LockText(),
            *(patch(f, "other") for f in (5, 2, 0)),
            *(query(f) for f in (7, 2, 9, 0, 5)),
            call(2, 1),
            LockText(locked=False),
            *(restore(f) for f in (0, 9, 7, 2)),
            code(),
        ),
        frozenset({Defect.LOST_PATCH, Defect.LOST_RESTORE, Defect.IGNORED_ERROR}),
        only=(_STUB[0], "pointer writes data, which stays writable"),
        bugs=("B23", "B128"),
    ),
)
