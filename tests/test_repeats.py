"""Requests that repeat are judged once, and what is found is the same as if each had been judged."""

from __future__ import annotations

import random

import pytest

from farm import suite
from farm.engines import Noted
from farm.engines.unicorn import UNICORN
from farm.guest import arch_toml, mechanisms
from farm.guest.image import Spec
from farm.prove.audit import Entered, judge
from farm.prove.demands import Demands
from farm.prove.repeats import Repeats
from farm.prove.watching import watching
from farm.run.bench import Bench
from farm.scenario import Scenario, call, loop, patch, restore
from farm.scenario.model import predict

ARM64 = arch_toml.load()["arm64"]
LONG = Scenario(
    "T-5",
    "long",
    "The same, again and again",
    (loop(3, patch(0, "fast"), call(0, 1), patch(0, "far"), patch(1, "fast"), restore(0)), call(0, 1), restore(1)),
    frozenset(),
)


@pytest.fixture(scope="module", params=["relocated", "inline-cache"])
def made(request):
    """How to make the demands of a mechanism anew, and the notes of two scenarios."""
    mechanism = mechanisms.load()[request.param]
    bench = Bench.of(Spec.of(ARM64, mechanism, "zig"), "unicorn", 20.0)
    watched = watching(ARM64, bench.image, UNICORN)
    scenarios = (LONG, suite.load()["removed_call_site"])
    replies = list(UNICORN.watch(bench.image, ARM64, [bench.encode(each) for each in scenarios], 20.0, watched.watch))
    entered = [Entered.of(predict(each)) for each in scenarios]
    return lambda: Demands(ARM64, mechanism, bench.image, watched), list(
        zip([reply.notes for reply in replies], entered, strict=True)
    )


def test_what_repeats_is_not_judged_again(made, monkeypatch):
    demands, ((notes, entered), _) = made[0](), made[1]
    kept = []
    monkeypatch.setattr(Repeats, "keep", lambda self, *judged: kept.append(judged) or _keep(self, *judged))
    repeats = Repeats()
    found = judge(demands, notes, entered, repeats)
    assert (found.breaches, found.requests) == ([], 13)
    assert len(kept) < 13
    once = len(kept)
    assert judge(demands, notes, entered, repeats) == found
    assert len(kept) == once  # by another program of the same image either


_keep = Repeats.keep


def test_the_findings_are_those_of_judging_each_whatever_is_wrong(made, monkeypatch):
    new, programs = made
    rng = random.Random(7)
    repeating, repeats, broken = new(), Repeats(), 0
    for notes, entered in programs:
        for _ in range(60):
            changed = list(notes)
            for _ in range(rng.randint(0, 2)):
                place = rng.randrange(len(changed))
                note = changed[place]
                if rng.random() < 0.5:
                    del changed[place]
                elif note.kind in (Noted.STORE, Noted.INSTRUCTION):
                    changed[place] = note._replace(value=note.value + 64)
            with monkeypatch.context() as patched:
                patched.setattr(Repeats, "find", lambda *_: None)
                each = judge(new(), changed, entered)
            assert judge(repeating, changed, entered, repeats) == each
            broken += bool(each.breaches)
    assert broken > 20
