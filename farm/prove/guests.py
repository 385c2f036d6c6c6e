"""The proofs of a selection: guest by guest, each a piece of work for a worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from farm.engines import Explores, engine_named
from farm.errors import BuildError, FarmError, ImageError, MissingToolError
from farm.guest import image
from farm.prove.calls import Guest, requests_named
from farm.prove.coherence import coherence
from farm.prove.interleave import interleave
from farm.prove.proof import Proof
from farm.run.bench import Bench
from farm.run.plan import Plan

ENGINE = "unicorn"  #: the only one that notes stores and follows calls


class What(Enum):
    """What is proved."""

    INTERLEAVE = "interleave"
    COHERENCE = "coherence"


@dataclass(frozen=True)
class Work:
    """A guest, and what of it is to be proved."""

    spec: image.Spec
    what: What
    requests: tuple[str, ...]  #: names
    calls: tuple[str, ...] = ()  #: names; none: all
    mutants: bool = True
    strict: bool = False  #: what no manual promises is wrong although some system relies on it
    timeout: float = 20.0  #: seconds a call is followed


@dataclass(frozen=True)
class Proved:
    """The proofs of a guest."""

    spec: image.Spec
    proofs: tuple[Proof, ...]
    unproved: str = ""  #: why there are none


def of(plan: Plan) -> tuple[list[image.Spec], list[Proved]]:
    """The guests of ``plan`` that can run, and those that cannot, with the reason."""
    reasons: dict[image.Spec, str] = {}
    for planned in plan.cells:
        spec = plan.spec(planned.cell)
        if planned.verdict is None:
            reasons[spec] = ""
        else:
            reasons.setdefault(spec, planned.reason or str(planned.verdict))
    return [s for s, why in reasons.items() if not why], [Proved(s, (), why) for s, why in reasons.items() if why]


def prove(work: Work) -> Proved:
    """The proofs that ``work`` asks for; whatever goes wrong is in them."""
    engine, variant = engine_named(ENGINE), work.spec.variant
    if not isinstance(engine, Explores) or not engine.explores(variant):
        return Proved(work.spec, (), f"{ENGINE} calls no hook for an instruction of {variant.name}")
    try:
        guest = Guest(Bench.of(work.spec, ENGINE, work.timeout), strict=work.strict)
        return Proved(work.spec, tuple(_proofs(guest, work)))
    except (BuildError, ImageError, MissingToolError, FarmError) as error:
        return Proved(work.spec, (), str(error).splitlines()[0])


def _proofs(guest: Guest, work: Work) -> Iterator[Proof]:
    made = requests_named(work.requests)
    if work.what is What.INTERLEAVE:
        return interleave(guest, made, calls=work.calls)
    return coherence(guest, made, mutants=work.mutants)
