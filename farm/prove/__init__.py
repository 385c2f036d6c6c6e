"""Proof of what no emulator shows by itself."""

from __future__ import annotations

from farm.scenario import Defect

#: The commands that can show a defect which an engine may be blind to; all of them run guests under Unicorn.
PROOFS = {
    Defect.STALE_FETCH: ("farm prove coherence", "farm prove rules"),
    Defect.TORN_STORE: ("farm prove interleave", "farm prove rules"),
}


def proofs_of(defects: frozenset[Defect]) -> list[str]:
    """Commands that can show one of ``defects``."""
    return sorted({proof for defect in defects for proof in PROOFS.get(defect, ())})
