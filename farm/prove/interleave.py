"""Every preemption of a patch: calls that other CPUs make meanwhile, and what the rules allow them to see.

The patch runs once, watched (:mod:`farm.prove.watching`); what others may see of it when is worked out from the rules
(:mod:`farm.prove.timeline`); and a call is followed through all of that, one instruction at a time
(:class:`~farm.engines.Explores`).  Nothing that a caller does changes what the patching CPU does, and callers share no
memory that they write, so one of them stands for any number.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from farm.engines.views import Explored, Moment, Outcome, Place
from farm.prove.calls import Guest, Request, name_of, shapes, step_of
from farm.prove.proof import CALLING, PATCHING, Finding, Line, Proof, Reader
from farm.prove.story import instructions, story
from farm.prove.timeline import Timeline, TooManyError
from farm.scenario.functions import Shape
from farm.text import counted

_QUIESCED = "the mechanism holds others off meanwhile, interrupts too (patching is quiesced)"


class Seeds(NamedTuple):
    """Schedules that are drawn in place of all that there are."""

    first: int
    runs: int


def interleave(
    guest: Guest,
    made: Sequence[Request],
    *,
    calls: Sequence[str] = (),
    every: bool = False,
    seeds: Seeds | None = None,
) -> Iterator[Proof]:
    """Prove each request, met by each call on another CPU and, as an interrupt is, on the one that patches.

    ``calls`` are names of call sites; none: all.  ``every`` looks at each moment, also where an earlier one offers the
    same.  With ``seeds`` nothing is proved: so many schedules are drawn of each call.
    """
    for request, watched in guest.watch(made):
        if not guest.demands.concurrent:
            yield _proof(guest, request, Finding.UNEXPLORED, why=_QUIESCED)
            continue
        for reader in Reader:
            timeline = Timeline(guest.demands, watched.before, watched.notes, reader)
            for shape in shapes(guest, request):
                if not calls or name_of(shape) in calls:
                    if seeds:
                        yield sampled(guest, request, shape, timeline, seeds)
                    else:
                        yield met(guest, request, shape, timeline, every=every)


def met(guest: Guest, request: Request, shape: Shape | None, timeline: Timeline, *, every: bool = False) -> Proof:
    """The proof of a call that meets ``request``, of which ``timeline`` is what the reader may see."""
    proof = _proof(guest, request, Finding.PROVED, name_of(shape), timeline.reader.value)
    ends = _quiet(guest, request, shape, timeline)
    if wrong := _not_as_the_model(guest, request, shape, ends):
        return replace(proof, finding=Finding.UNEXPLORED, why=wrong)
    allowed = {outcome.events for end in ends for outcome in end.outcomes}
    relevant = sorted({place for end in ends for place in end.touched})
    points = sum(end.points for end in ends)
    while True:
        try:
            moments, sets = timeline.moments(relevant)
        except TooManyError:
            why = f"{counted(len(timeline.changes), 'change')} can be seen in too many orders"
            return replace(proof, finding=Finding.UNEXPLORED, why=why)
        (found,) = guest.follow(request, shape, timeline, [moments], every=every)
        points += found.points
        if set(found.touched) <= set(relevant):
            break
        relevant = sorted({*relevant, *found.touched})
    bad = next((outcome for outcome in found.outcomes if outcome.events not in allowed), None)
    if not bad and _is_loose(timeline, found):
        (found,) = guest.follow(request, shape, timeline, [moments], loose=True)
        points += found.points
        bad = next((outcome for outcome in found.outcomes if outcome.events not in allowed), None)
    proof = replace(proof, points=points, moments=len(moments))
    if bad and (unseen := _unseen(guest, timeline)):
        return replace(proof, finding=Finding.UNEXPLORED, why=unseen)
    if bad:
        return replace(proof, finding=Finding.REFUTED, why=_end(bad), story=story(guest, timeline, sets, bad))
    if not found.complete:
        return replace(proof, finding=Finding.UNEXPLORED, why=f"there are more than {found.points:,} points")
    return _promised(guest, timeline, [timeline.places[number] for number in found.touched], proof)


def sampled(guest: Guest, request: Request, shape: Shape | None, timeline: Timeline, seeds: Seeds) -> Proof:
    """What comes of a call that meets ``request`` in schedules that are drawn."""
    proof = _proof(guest, request, Finding.SAMPLED, name_of(shape), timeline.reader.value)
    ends = _quiet(guest, request, shape, timeline)
    if wrong := _not_as_the_model(guest, request, shape, ends):
        return replace(proof, finding=Finding.UNEXPLORED, why=wrong)
    allowed = {outcome.events for end in ends for outcome in end.outcomes}
    (found,) = guest.follow(request, shape, timeline, [], drawing=timeline.drawing(*seeds))
    proof = replace(proof, points=found.points, runs=found.runs)
    for bad, seed, order in zip(found.outcomes, found.seeds, found.orders, strict=True):
        if bad.failure or bad.events not in allowed:
            if unseen := _unseen(guest, timeline):
                return replace(proof, finding=Finding.UNEXPLORED, why=unseen)
            sets = [sum(1 << number for number in order[:count]) for count in range(len(order) + 1)]
            told = story(guest, timeline, sets, bad)
            return replace(proof, finding=Finding.REFUTED, why=_end(bad), story=told, seed=seed)
    return proof


def _is_loose(timeline: Timeline, found: Explored) -> bool:
    """Loads may come in another order than the program's, and there are two of data that change."""
    is_ordered = timeline.reader is Reader.SAME or not timeline.demands.barriers
    return not is_ordered and sum(map(timeline.is_data, found.touched)) > 1


def _quiet(guest: Guest, request: Request, shape: Shape | None, timeline: Timeline) -> list[Explored]:
    """What becomes of the call where nothing changes meanwhile: before, between and behind."""
    quiet = [_alone(timeline, seen) for seen in (0, *timeline.between, timeline.everything)]
    return guest.follow(request, shape, timeline, quiet)


def _unseen(guest: Guest, timeline: Timeline) -> str:
    """Why nothing can be said against the guest: nobody sees all that it does; empty if all is seen."""
    if timeline.is_coherent or not guest.demands.unseen:
        return ""
    return f"a step of the maintenance is not seen: {'; '.join(guest.demands.unseen)}"


def _promised(guest: Guest, timeline: Timeline, met_: Sequence[Place], proof: Proof) -> Proof:
    """The ``proof``, unless it stands on what nobody promises: that an instruction may change while it is executed."""
    demands = guest.demands
    relied_on = []
    for change in timeline.changes:
        promised, store = change.promised, change.store
        if not promised or not store or not any(change.touches(place.address, place.size) for place in met_):
            continue
        if promised.basis == "none" or (demands.strict and promised.basis == "practice"):
            behind = max(number for number, other in enumerate(timeline.changes, 1) if other.store is store)
            memory = functools.partial(timeline.content, seen=(1 << behind) - 1)
            old, new = instructions(demands, store, memory, promised.instruction.start)
            why = f"`{old}` becomes `{new}` while another CPU may execute it, and no rule allows that"
            relied = f"; only {promised.source} relies on it" if promised.basis == "practice" else ""
            source = "" if relied else promised.source
            told = Line(
                PATCHING, f"stores {store.after.hex()} over {store.before.hex()} at {demands.name(store.address)}"
            )
            meanwhile = Line(
                CALLING, f"may be executing `{old}` at {demands.name(promised.instruction.start)} meanwhile"
            )
            return replace(proof, finding=Finding.REFUTED, why=why + relied, source=source, story=(told, meanwhile))
        if promised.basis == "practice":
            relied_on.append(promised.source)
    return replace(proof, relied_on=tuple(dict.fromkeys(relied_on)))


def _proof(
    guest: Guest, request: Request, finding: Finding, call: str = "", reader: str = "", *, why: str = ""
) -> Proof:
    return Proof(str(guest.bench.spec), request.name, call, reader, finding, why)


def _alone(timeline: Timeline, seen: int) -> list[Moment]:
    """A graph of one moment: memory as it is when the changes in ``seen`` are made."""
    loads = timeline.contents(seen)
    return [Moment((), loads, tuple((each,) for each in loads))]


def _not_as_the_model(guest: Guest, request: Request, shape: Shape | None, ends: Sequence[Explored]) -> str:
    """Why the call alone, before the request or behind it, does not do what the model says; empty if it does."""
    for number, end in enumerate(ends):
        when = "behind" if number else "before"
        steps = [*request.after(number), step_of(shape)]
        (outcome,) = end.outcomes
        if shape is None and number and not outcome.failure:
            continue  # whoever took the original's address before the request is led on by the function itself
        expected = [event._replace(step=0) for event in guest.expected(*steps)]
        events = [event._replace(step=0) for event in guest.events(outcome.events)]
        if outcome.failure or events != expected:
            return f"a call {when} the request does not do what the model says: {_end(outcome)}"
    return "" if len(ends) > len(request.made) else "the engine cannot follow the call"


def _end(outcome: Outcome) -> str:
    return outcome.failure or "the call comes to an end that neither the old target nor the new one has"
