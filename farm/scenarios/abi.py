"""ABI preservation: nothing between a call site and its target may touch what the ABI promises."""

from __future__ import annotations

from farm.scenario import FUNCTIONS, Defect, Kind, Scenario, call, patch, restore

_WIDE = FUNCTIONS.index(Kind.WIDE)
_LONG = FUNCTIONS.index(Kind.LONG)

SCENARIOS = (
    Scenario(
        "AB-01",
        "callee_saved_intact",
        "Every callee-saved register holds its sentinel after the call, whichever target ran",
        (
            call(0, 1, "tail"),
            patch(0, "fast"),
            call(0, 1, "tail"),
            patch(0, "far"),
            call(0, 1, "tail"),
            restore(0),
            call(0, 1, "tail"),
        ),
        frozenset({Defect.CLOBBERED_REGISTER}),
    ),
    Scenario(
        "AB-02",
        "arguments_intact_at_entry",
        "Every argument register reaches the target with the caller's value",
        (
            call(_WIDE, 0x0123_4567_89AB_CDEF, "tail"),
            patch(_WIDE, "fast"),
            call(_WIDE, 0xFEDC_BA98_7654_3210, "tail"),
            patch(_WIDE, "far"),
            call(_WIDE, 3, "tail"),
            patch(_LONG, "far"),
            call(_LONG, 0x8000_0000_0000_0001, "tail"),
        ),
        frozenset({Defect.CLOBBERED_ARGUMENT}),
        bugs=("B69", "B109", "B123", "B145", "B146"),
    ),
)
