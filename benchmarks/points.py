"""What proofs cost: points a second, time a mechanism, and how both grow with the poke's length and with the CPUs.

Run it with ``python benchmarks/points.py``; it prints JSON.  A point is an instruction of a call under one view, a turn
of one of two writers, or a place at which a fetch may be stale; each of them is judged, and what is known of an equal
one is not executed again.  Seconds are processor time, of this process and of the emulator's, which is a new one for
each proof of a guest; what it takes to start one is measured and taken off.  Images are built, and all is imported.

The poke grows as requests are made one after the other, all of which a call may meet.  Readers need no more CPUs than
one, for they share no memory that they write; writers do: two that patch at once are compared with one.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable, Iterable

from throughput import host

from farm.engines.unicorn import UNICORN
from farm.guest.image import Spec
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

ONE, TWO = "fast-far", "fast-far+other"  #: a request, and another one at once with it

TIMEOUT = 20.0  #: seconds a call is followed

Figures = dict[str, object]


def spent() -> float:
    """Processor time of this process and of those that it has waited for."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


class Costs:
    """What proofs of guests cost, by name."""

    def __init__(self, spec: Spec) -> None:
        """With ``spec`` it is measured what it takes to start an emulator."""
        self.points: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        self.proofs: dict[str, int] = {}
        self.start = min(self._starting(spec) for _ in range(3))

    def _starting(self, spec: Spec) -> float:
        bench, began = Bench.of(spec, UNICORN.name, TIMEOUT), spent()
        UNICORN.session(bench.image, bench.variant, TIMEOUT).release()
        UNICORN.close()
        return spent() - began

    def measure(self, name: str, prove: Callable[[], Iterable[Proof]]) -> None:
        """Note what the proofs cost beside the start of an emulator."""
        began = spent()
        proofs = list(prove())
        UNICORN.close()  # its time counts when it has ended
        self.seconds[name] = max(spent() - began - self.start, 0.001)
        self.points[name], self.proofs[name] = sum(proof.points for proof in proofs), len(proofs)

    def figures(self) -> dict[str, Figures]:
        """All that was measured."""
        return {
            name: {
                "cells": self.proofs[name],
                "points": self.points[name],
                "seconds": [round(seconds, 3)],
                "points_per_second": round(self.points[name] / seconds),
            }
            for name, seconds in self.seconds.items()
        }

    def rate(self, start: str) -> Figures:
        """Points a second of all whose names begin so, beside the aim."""
        names = [name for name in self.points if name.startswith(start)]
        rate = sum(self.points[name] for name in names) / sum(self.seconds[name] for name in names)
        return {"what": f"points a second, {start}", "ratio": round(rate), "aim": AIM, "met": rate >= AIM}

    def growth(self, above: str, below: str) -> Figures:
        """How many times as much one costs as another."""
        return {
            "what": f"{above} / {below}",
            "ratio": round(self.seconds[above] / self.seconds[below], 2),
            "points": [self.points[above], self.points[below]],
        }


def grown(costs: Costs, spec: Spec) -> dict[str, Figures]:
    """Measure how the costs of a mechanism grow."""
    home = f"growth/{spec.variant.name}/{spec.mechanism}"

    def request(count: int) -> Request:
        steps = tuple(patch(0, (Target.FAR, Target.FAST)[number % 2]) for number in range(count))
        return Request(f"{count} requests", (patch(0, Target.FAST),), steps)

    def guest() -> Guest:
        return Guest(Bench.of(spec, UNICORN.name, TIMEOUT))

    for count in LENGTHS:
        costs.measure(f"{home}/interleave/{count}", lambda count=count: interleave(guest(), [request(count)]))
        costs.measure(f"{home}/coherence/{count}", lambda count=count: coherence(guest(), [request(count)]))
    for name, wanted in (("one", ONE), ("two", TWO)):
        work = guests.Work(spec, What.INTERLEAVE, (wanted,))
        costs.measure(f"{home}/writers/{name}", lambda work=work: guests.prove(work).proofs)
    ratios = {
        f"{home}/{what}/{count}": costs.growth(f"{home}/{what}/{count}", f"{home}/{what}/1")
        for what in ("interleave", "coherence")
        for count in LENGTHS[1:]
    }
    return ratios | {f"{home}/writers": costs.growth(f"{home}/writers/two", f"{home}/writers/one")}


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="What proofs cost.")
    parser.add_argument("--arch", default=",".join(ARCHITECTURES), help="of which variants (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="does it still work: one mechanism of one variant")
    given = parser.parse_args()
    patterns = ["stub"] if given.quick else []
    architectures = ["arm64"] if given.quick else given.arch.split(",")
    ready, _ = guests.of(make(Selection(arch=architectures, mechanism=patterns, engine=[UNICORN.name])))
    guests.prove(guests.Work(ready[0], What.COHERENCE, (ONE,)))  # imports, and whatever else is done once
    UNICORN.close()
    costs, ratios = Costs(ready[0]), {}
    for spec in ready:
        Bench.of(spec, UNICORN.name, TIMEOUT)  # builds the image
        for what in What:
            work = guests.Work(spec, what, guests.NAMES[what])
            costs.measure(f"{spec.variant.name}/{spec.mechanism}/{what}", lambda work=work: guests.prove(work).proofs)
    names = list(dict.fromkeys(spec.variant.name for spec in ready))
    ratios = {name: costs.rate(f"{name}/") for name in names}
    for name in names:
        ratios |= grown(costs, next(s for s in ready if (s.variant.name, s.mechanism) == (name, "stub")))
    figures = {"start_seconds": round(costs.start, 3), "measured": costs.figures(), "ratios": ratios}
    print(json.dumps({**host(), **figures}, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
