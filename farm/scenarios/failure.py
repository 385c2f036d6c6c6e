"""Failure and bad input: a request that cannot be met changes nothing and says why."""

from __future__ import annotations

from farm.scenario import FUNCTIONS, Defect, Kind, LockText, Patch, Scenario, Target, call, code, null, patch, query, restore

_LONG = FUNCTIONS.index(Kind.LONG)

SCENARIOS = (
    Scenario(
        "FB-01",
        "text_read_only",
        "Text that cannot be made writable: an error, the old behaviour, the old bytes",
        (
            patch(0, "fast"),
            LockText(),
            patch(0, "other"),
            call(0, 5),
            restore(0),
            query(0),
            patch(1, "far"),
            code(1),
            LockText(locked=False),
            patch(0, "other"),
            call(0, 5),
        ),
        frozenset({Defect.IGNORED_ERROR, Defect.LOST_PATCH}),
        only=(frozenset({"stub"}), "pointer writes data, which stays writable"),
        bugs=("B20", "B45"),
    ),
    Scenario(
        "FB-07",
        "misaligned_address_refused",
        "An address in the middle of an instruction is refused and nothing is written",
        (Patch(0, Target.FAST, offset=1), Patch(0, Target.FAST, offset=2), code(), call(0, 5), call(1, 5)),
        frozenset({Defect.UNCHECKED_REQUEST}),
        only=(frozenset({"stub"}), "pointer patches no instruction"),
        bugs=("B91",),
    ),
    Scenario(
        "FB-13",
        "bad_targets_refused",
        "Targets that are data, 0, the middle of an instruction, or NULL for a value are refused",
        (
            patch(0, "data"),
            patch(0, "zero"),
            patch(0, "misaligned"),
            null(0),
            null(_LONG),
            code(),
            query(0),
            call(0, 5),
        ),
        frozenset({Defect.UNCHECKED_REQUEST}),
    ),
)
