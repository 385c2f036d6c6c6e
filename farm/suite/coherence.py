"""Cache and coherence: what is fetched must be what was stored.

No emulator here keeps an instruction cache, so what these scenarios detect an engine may be unable to show; they pass
as insensitive and the grid says so, unless the audit of stores to code has looked (:mod:`farm.prove.auditor`).
"""

from __future__ import annotations

from farm.scenario import Defect, Fact, Scenario, call, patch, restore

SCENARIOS = (
    Scenario(
        "CC-14",
        "patch_then_call_at_once",
        "One thread patches and calls with no barrier between but what the architecture demands",
        (
            call(0, 1),
            patch(0, "fast"),
            call(0, 1),
            patch(0, "other"),
            call(0, 1),
            restore(0),
            call(0, 1),
        ),
        frozenset({Defect.STALE_FETCH}),
        needs=frozenset({Fact.POKES}),
        bugs=("B48", "B85", "B129"),
    ),
)
