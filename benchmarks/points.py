"""What proofs cost: points a second, time a mechanism, and how both grow with the poke's length and with the CPUs.

Run it with ``python benchmarks/points.py``; it prints JSON.  A point is an instruction of a call under one view, a turn
of one of two writers, or a place that a fetch may be stale at, each of which is judged.  Seconds are processor time, of
this process and of the emulator's, which is a new one for each mechanism; what it takes to start one is measured and
taken off.  The images are built first.

The poke grows as requests are made one after the other, which a call may meet all.  Readers need no more CPUs than one,
for they share no memory that they write; writers do: two that patch at once are compared with one.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable, Iterable

from throughput import host

from farm.engines.unicorn import UNICORN
from farm.prove import guests
from farm.prove.calls import Guest, Request
from farm.prove.coherence import coherence
from farm.prove.interleave import interleave
from farm.prove.proof import Proof, What
from farm.run.bench import Bench
from farm.run.plan import Selection, make
from farm.scenario import patch
from farm.scenario.functions import Target

ARCHITECTURES = ("x86_64", "arm64", "ppc32")

AIM = 20_000  #: points a second on one core, over all mechanisms of an architecture

LENGTHS = (1, 2, 3, 4)  #: requests

PAIR = "fast-far+other"  #: two requests at once; the first of them alone is ``fast-far``


def spent() -> float:
    """Processor time of this process and of those that it has waited for."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def cost(prove: Callable[[], Iterable[Proof]], start: float) -> dict[str, float]:
    """Points of the proofs, and what they cost beside the ``start`` of an emulator."""
    began = spent()
    proofs = list(prove())
    UNICORN.close()  # its time counts when it has ended
    seconds = max(spent() - began - start, 0.001)
    points = sum(proof.points for proof in proofs)
    return {
        "proofs": len(proofs),
        "points": points,
        "seconds": round(seconds, 3),
        "per_second": round(points / seconds),
    }


def starting() -> float:
    """Seconds that an emulator takes to start."""
    began = spent()
    UNICORN.warm_up(1)
    UNICORN.close()
    return spent() - began


def mechanisms(architecture: str, start: float, patterns: list[str]) -> dict[str, dict[str, dict[str, float]]]:
    """By mechanism and by what is proved: what it costs."""
    ready, _ = guests.of(make(Selection(arch=[architecture], mechanism=patterns, engine=[UNICORN.name])))
    costs = {}
    for spec in ready:
        Bench.of(spec, UNICORN.name, 20.0)  # builds the image
        works = {what: guests.Work(spec, what, guests.NAMES[what]) for what in What}
        costs[spec.mechanism] = {
            what.value: cost(lambda work=work: guests.prove(work).proofs, start) for what, work in works.items()
        }
    return costs


def growth(architecture: str, start: float) -> dict[str, dict[str, dict[str, float]]]:
    """How a mechanism's costs grow with the poke and with the CPUs that make it."""
    ready, _ = guests.of(make(Selection(arch=[architecture], mechanism=["relocated"], engine=[UNICORN.name])))
    spec = ready[0]

    def following(count: int) -> Iterable[Proof]:
        steps = tuple(patch(0, (Target.FAST, Target.FAR)[number % 2]) for number in range(count))
        yield from interleave(Guest(Bench.of(spec, UNICORN.name, 20.0)), [Request(f"{count} requests", (), steps)])

    def mutants() -> Iterable[Proof]:
        guest = Guest(Bench.of(spec, UNICORN.name, 20.0))
        yield from coherence(guest, [Request("patch", (), (patch(0, Target.FAR),))])

    def writers(name: str) -> Iterable[Proof]:
        return guests.prove(guests.Work(spec, What.INTERLEAVE, (name,))).proofs

    return {
        "requests": {str(count): cost(lambda count=count: following(count), start) for count in LENGTHS},
        "mutants": {"1": cost(mutants, start)},
        "writers": {
            "1": cost(lambda: writers(PAIR.partition("+")[0]), start),
            "2": cost(lambda: writers(PAIR), start),
        },
    }


def total(costs: dict[str, dict[str, dict[str, float]]]) -> dict[str, object]:
    """All mechanisms of an architecture, beside the aim."""
    each = [cost for by_what in costs.values() for cost in by_what.values()]
    points, seconds = sum(cost["points"] for cost in each), sum(cost["seconds"] for cost in each)
    rate = points / seconds
    return {"points": points, "seconds": round(seconds, 3), "per_second": round(rate), "aim": AIM, "met": rate >= AIM}


def proofs(architectures: Iterable[str], patterns: list[str]) -> dict[str, object]:
    """The figures."""
    start = min(starting() for _ in range(3))
    measured = {name: mechanisms(name, start, patterns) for name in architectures}
    return {
        "start_seconds": round(start, 3),
        "mechanisms": measured,
        "architectures": {name: total(costs) for name, costs in measured.items()},
        "growth": {name: growth(name, start) for name in architectures},
    }


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="What proofs cost.")
    parser.add_argument("--arch", default=",".join(ARCHITECTURES), help="of which variants (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="does it still work: one mechanism of one variant")
    given = parser.parse_args()
    architectures, patterns = given.arch.split(","), ["stub"] if given.quick else []
    figures = proofs(architectures[:1] if given.quick else architectures, patterns)
    print(json.dumps({**host(), **figures}, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
