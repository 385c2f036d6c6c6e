"""What a mechanism may promise, and facts about it that scenarios depend on.

A mechanism's ``mechanism.toml`` makes the promises.  A scenario that needs one which is not made is not applicable to
it; one that is made is judged.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Promise(StrEnum):
    """Something that a mechanism may or may not do, as its author says."""

    REFUSES_FOREIGN = "refuses-foreign"
    REFUSES_REENTRY = "refuses-reentry"
    SEVERAL_WRITERS = "several-writers"
    REPORTS_FAILED_POKE = "reports-failed-poke"
    ROLLS_BACK = "rolls-back"
    RESTORES_BYTES = "restores-bytes"
    RET0 = "ret0"
    NULL = "null"
    CHECKS_TARGETS = "checks-targets"
    TRANSPARENT = "transparent"
    CLOSES_TEXT = "closes-text"
    ORIGINAL = "original"
    QUERIES = "queries"


class Fact(StrEnum):
    """Something that follows from how a mechanism is made."""

    POKES = "pokes"
    REDIRECTS = "redirects"
    VARIADIC = "variadic"
    FAR = "far"


#: What a scenario may need of a mechanism.
Need = Promise | Fact

#: Everything that a scenario may need of a mechanism, and what it means.
NEEDS: dict[Need, str] = {
    Promise.REFUSES_FOREIGN: "a request is refused where somebody else has changed the code",
    Promise.REFUSES_REENTRY: "a request in the middle of another one is refused",
    Promise.SEVERAL_WRITERS: "requests that several CPUs make at once are carried out one by one, or refused",
    Promise.REPORTS_FAILED_POKE: "a request whose store to code fails is answered with an error",
    Promise.ROLLS_BACK: "of a request that fails half-way, nothing remains",
    Promise.RESTORES_BYTES: "a restored function has the bytes that the linker left",
    Promise.RET0: "a function can be led to return 0 at once",
    Promise.NULL: "a void function can be led to return at once",
    Promise.CHECKS_TARGETS: "what is no function of the right kind is refused as a target",
    Promise.TRANSPARENT: "between call site and target nothing changes but what the ABI leaves to linkage",
    Promise.CLOSES_TEXT: "text can be written only while a request is carried out",
    Promise.ORIGINAL: "the default target can be called while the function is patched",
    Promise.QUERIES: "it tells where a call leads",
    Fact.POKES: "a patch stores to code",
    Fact.REDIRECTS: "a patch leads call sites straight to the target",
    Fact.VARIADIC: "the arguments of a variadic function reach the target",
    Fact.FAR: "a function can be led further than a branch reaches",
}


def ordered(names: Iterable[str]) -> list[Need]:
    """The needs that ``names`` are, each once, in the order of :data:`NEEDS`."""
    wanted = set(names)
    return [need for need in NEEDS if need in wanted]
