"""The proofs of a selection: guest by guest, each a piece of work for a worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from farm.engines import Explores, engine_named
from farm.errors import BuildError, FarmError, ImageError, MissingToolError
from farm.guest import image
from farm.prove.calls import CHAINS, REQUESTS, Guest, requests_named
from farm.prove.coherence import coherence
from farm.prove.interleave import Seeds, interleave
from farm.prove.proof import Proof, What
from farm.prove.writers import PAIRS, together
from farm.run.bench import Bench
from farm.run.plan import Plan

ENGINE = "unicorn"  #: the only one that notes stores and follows calls


@dataclass(frozen=True)
class Work:
    """A guest, and what of it is to be proved."""

    spec: image.Spec
    what: What
    requests: tuple[str, ...]  #: names
    calls: tuple[str, ...] = ()  #: names; none: all
    mutants: bool = True
    seeds: Seeds | None = None  #: schedules are drawn, in place of all that there are
    strict: bool = False  #: what no manual promises is wrong although some system relies on it
    timeout: float = 20.0  #: seconds a call is followed
    options: str = ""  #: of the command line: out-of-tree folders that the guest needs

    def reproducer(self, proof: Proof) -> str:
        """The command that makes this one ``proof`` again."""
        spec = self.spec
        parts = [
            f"farm prove {self.what}",
            self.options,
            f"--arch {spec.variant.name} --mechanism {spec.mechanism} --toolchain {spec.toolchain}",
            f"--request {proof.request}",
            f"--call {proof.call}" if proof.call else "",
            "--strict" if self.strict else "",
            "--no-mutants" if self.what is What.COHERENCE else "",
            f"--seeds 1 --seed {proof.seed}" if proof.seed is not None else "",
        ]
        return " ".join(part for part in parts if part)


@dataclass(frozen=True)
class Proved:
    """The proofs of a guest."""

    spec: image.Spec
    proofs: tuple[Proof, ...]
    unproved: str = ""  #: why there are none


#: By what is proved: the names of the requests that there are.
NAMES = {What.INTERLEAVE: (*REQUESTS, *CHAINS, *PAIRS), What.COHERENCE: REQUESTS}


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


def opened(work: Work) -> Guest:
    """The guest that ``work`` is about.  Raises :class:`~farm.errors.FarmError` if nothing of it can be proved."""
    engine, variant = engine_named(ENGINE), work.spec.variant
    if not isinstance(engine, Explores) or not engine.explores(variant):
        raise FarmError(f"{ENGINE} calls no hook for an instruction of {variant.name}")
    return Guest(Bench.of(work.spec, ENGINE, work.timeout), strict=work.strict)


def prove(work: Work) -> Proved:
    """The proofs that ``work`` asks for; whatever goes wrong is in them."""
    try:
        made = _proofs(opened(work), work)
        told = (replace(proof, reproduce=work.reproducer(proof)) if proof.is_bad else proof for proof in made)
        return Proved(work.spec, tuple(told))
    except (BuildError, ImageError, MissingToolError, FarmError) as error:
        return Proved(work.spec, (), str(error).splitlines()[0])


def _proofs(guest: Guest, work: Work) -> Iterator[Proof]:
    made = requests_named([name for name in work.requests if name not in PAIRS])
    if work.what is What.COHERENCE:
        yield from coherence(guest, made, mutants=work.mutants)
        return
    yield from interleave(guest, made, calls=work.calls, seeds=work.seeds)
    if not work.calls and not work.seeds:
        yield from together(guest, [name for name in work.requests if name in PAIRS])
