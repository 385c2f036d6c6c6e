"""Stale instruction fetch: whether the maintenance of a patch makes every CPU fetch what was stored.

The patch runs once, watched (:mod:`farm.prove.watching`).  A line of an instruction cache may hold what was there
before, or be filled again, at any moment before its invalidation is over, so what a fetch may return when the request
is over is whatever the memory had since the last maintenance of that address (:mod:`farm.prove.timeline`).

The proof proves itself with *mutants*: each instruction of the maintenance is left out, swapped with what comes next,
or aimed at another address, and each store is stored in two halves.  Each must be refuted, or be harmless by a rule.
Nothing that a guest does depends on its maintenance, so the notes are what is changed, and not the guest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from farm.engines import Note, Noted
from farm.prove.calls import Guest, Request, Watched, shapes
from farm.prove.demands import LONGEST, Demands, Store
from farm.prove.interleave import met
from farm.prove.proof import CALLING, PATCHING, Cpu, Finding, Line, Mutation, Proof, Reader
from farm.prove.timeline import Timeline


@dataclass(frozen=True)
class Mutant:
    """Notes of a request that does something else than it did."""

    name: str
    mutation: Mutation
    notes: tuple[Note, ...]


def coherence(guest: Guest, made: Sequence[Request], *, mutants: bool = True) -> Iterator[Proof]:
    """Prove each request as it is made, then each mutant of it."""
    for request, watched in guest.watch(made):
        for reader in Reader:
            timeline = Timeline(guest.demands, watched.before, watched.notes, reader)
            yield _fetched(guest, request, timeline, watched.notes)
        meetings = _Meetings(guest, request)
        for mutant in mutants_of(guest.demands, watched) if mutants else ():
            judged = _judged(guest, request, watched, mutant, meetings)
            yield msgspec.structs.replace(judged, mutant=mutant.name, mutation=mutant.mutation)


def _fetched(guest: Guest, request: Request, timeline: Timeline, notes: Sequence[Note]) -> Proof:
    """Whether a fetch of what is stored, of which ``timeline`` is, may be stale when the request is over."""
    demands, reader = guest.demands, timeline.reader
    coherence_ = demands.variant.coherence
    finding, why, source = Finding.PROVED, "", ""
    told: tuple[Line, ...] = ()
    if timeline.has_breakpoints:
        pass  # what a call meets is another proof's
    elif coherence_.fetch == "coherent":
        why, source = "fetches are coherent with stores", coherence_.manual
    elif demands.unseen:
        finding, why = Finding.UNEXPLORED, f"a step of the maintenance is not seen: {'; '.join(demands.unseen)}"
    elif not timeline.is_made_new:
        executor = coherence_.executor
        assert executor
        why, source = f"not the CPU that patches makes it new, but the other one: {executor.does}", executor.manual
    elif (stale := next(timeline.stale(), None)) is not None:
        finding = Finding.REFUTED
        place, maintained = stale
        at = place.address & -demands.variant.alignment
        texts = [
            demands.instruction(at, timeline.content(at, LONGEST, seen))[1]
            for seen in (maintained, timeline.everything)
        ]
        why = f"`{texts[0]}` may still be fetched at {demands.name(at)}, where `{texts[1]}` is stored"
        told = tuple(_story(demands, notes, reader, at, texts))
    places, moments = len(timeline.places), 1 + len(timeline.changes)
    return Proof(
        str(guest.bench.spec), request.name, "", reader.value, finding, why, source, points=places, moments=moments,
        story=told,
    )  # fmt: skip


def _story(
    demands: Demands, notes: Sequence[Note], reader: Reader, address: int, texts: Sequence[str]
) -> Iterator[Line]:
    """What was stored to the block at ``address``, what was done for it or elsewhere alone, and what is fetched."""
    block = address // demands.block
    made = [note for note in notes if note.kind == Noted.INSTRUCTION]
    served = {note.place for note in made if _is_for(demands, note, block)}
    steps_served = {number for place in served for number in demands.steps_for(place)}
    for note in notes:
        last = note.place + len(note.after) - 1
        if note.kind == Noted.STORE and note.place // demands.block <= block <= last // demands.block:
            text = f"stores {note.after.hex()} over {note.before.hex()} at {demands.name(note.place)}"
            yield Line(PATCHING, text)
        elif note.kind == Noted.INSTRUCTION:
            is_for = _is_for(demands, note, block)
            if is_for or not steps_served.issuperset(demands.steps_for(note.place)):
                elsewhere = "" if is_for else ", which is elsewhere"
                text = f"executes `{demands.watched.meanings[note.place].text}`{_operand(demands, note)}{elsewhere}"
                yield Line(PATCHING, text)
    yield Line(PATCHING, "is done with the request")
    cpu: Cpu = PATCHING if reader is Reader.SAME else CALLING
    yield Line(cpu, f"fetches `{texts[0]}` at {demands.name(address)}, which was `{texts[1]}` already")


def _is_for(demands: Demands, note: Note, block: int) -> bool:
    return any(demands.is_for(demands.steps[number], note.value, block) for number in demands.steps_for(note.place))


def _operand(demands: Demands, note: Note) -> str:
    steps = [demands.steps[number] for number in demands.steps_for(note.place)]
    return f" for {note.value:#x}" if any(step.has_address for step in steps) else ""


# Mutants.


def mutants_of(demands: Demands, watched: Watched) -> Iterator[Mutant]:
    """Every mutant of a request: an instruction left out, swapped or aimed elsewhere, a store torn."""
    notes = watched.notes
    stores = [i for i, note in enumerate(notes) if note.kind == Noted.STORE and note.before != note.after]
    places = sorted({*stores, *_meant(demands, notes, stores)})
    for number, i in enumerate(places):
        note, name = notes[i], f"{_named(demands, notes[i])} ({number + 1} of {len(places)})"
        if note.kind == Noted.INSTRUCTION:
            yield Mutant(f"without {name}", Mutation.LEFT_OUT, notes[:i] + notes[i + 1 :])
            if any(demands.steps[step].has_address for step in demands.steps_for(note.place)):
                block = demands.variant.coherence.block
                wrong = note._replace(value=note.value + (block.most if block else demands.block))
                aimed = (*notes[:i], wrong, *notes[i + 1 :])
                yield Mutant(f"{name} aimed at {wrong.value:#x}", Mutation.MISAIMED, aimed)
        else:
            yield from _torn(note, name, notes, i)
        if number + 1 < len(places):
            j = places[number + 1]
            swapped = (*notes[:i], notes[j], *notes[i + 1 : j], note, *notes[j + 1 :])
            if note != notes[j]:
                yield Mutant(f"{name} behind {_named(demands, notes[j])}", Mutation.SWAPPED, swapped)


def _meant(demands: Demands, notes: Sequence[Note], stores: Sequence[int]) -> Iterator[int]:
    """Places of the instructions among ``notes`` that are about ``stores``; others order what a lock is for."""
    pending: dict[int, int] = {}  # by number of block: steps of the maintenance that are done
    for i, note in enumerate(notes):
        if i in stores:
            if not demands.steps or demands.is_slot(Store(note.place, note.before, note.after, note.value)):
                continue
            last = note.place + len(note.after) - 1
            pending.update(dict.fromkeys(range(note.place // demands.block, last // demands.block + 1), 0))
        elif note.kind == Noted.INSTRUCTION and stores and i > stores[0]:
            if pending or i < stores[-1] or demands.watched.meanings[note.place].serialises:
                yield i
            for block, done in list(pending.items()):
                if done in demands.steps_for(note.place) and demands.is_for(demands.steps[done], note.value, block):
                    pending[block] = done + 1
                    if done + 1 == len(demands.steps):
                        del pending[block]


def _torn(note: Note, name: str, notes: tuple[Note, ...], i: int) -> Iterator[Mutant]:
    half = len(note.after) // 2
    parts = [(first, slice(first, first + half)) for first in (0, half)]
    halves = [
        note._replace(place=note.place + first, before=note.before[part], after=note.after[part])
        for first, part in parts
    ]
    if half and all(each.before != each.after for each in halves):
        yield Mutant(f"{name} in two halves", Mutation.TORN, (*notes[:i], *halves, *notes[i + 1 :]))


def _named(demands: Demands, note: Note) -> str:
    if note.kind == Noted.STORE:
        return f"the store to {demands.name(note.place)}"
    return f"`{demands.watched.meanings[note.place].text}`"


class _Meetings:
    """What comes of the calls that meet mutants of a request: those that nobody can tell apart are followed once."""

    def __init__(self, guest: Guest, request: Request) -> None:
        self._guest, self._request = guest, request
        self._shapes = list(shapes(guest, request))
        self._known: dict[object, list[Proof]] = {}  # by a timeline's key

    def with_(self, timeline: Timeline) -> list[Proof]:
        """The proofs of the calls, up to the first that is refuted."""
        key = timeline.key
        if key not in self._known:
            self._known[key] = proofs = []
            for shape in self._shapes:
                proofs.append(met(self._guest, self._request, shape, timeline))
                if proofs[-1].finding is Finding.REFUTED:
                    break
        return self._known[key]


def _judged(guest: Guest, request: Request, watched: Watched, mutant: Mutant, meetings: _Meetings) -> Proof:
    """The proof of a mutant: how it is refuted, or why it does no harm."""
    timelines = [Timeline(guest.demands, watched.before, mutant.notes, reader) for reader in Reader]
    proofs = [_fetched(guest, request, timeline, mutant.notes) for timeline in timelines]
    if guest.demands.concurrent and all(proof.finding is not Finding.REFUTED for proof in proofs):
        proofs += next(meetings.with_(timeline) for timeline in timelines if timeline.reader is Reader.OTHER)
    for finding in (Finding.REFUTED, Finding.UNEXPLORED):
        if found := next((proof for proof in proofs if proof.finding is finding), None):
            return found
    points, moments = sum(proof.points for proof in proofs), max(proof.moments for proof in proofs)
    variant = guest.demands.variant
    manuals = (variant.coherence.manual, variant.atomicity.manual, guest.demands.barrier_manual)
    why = next((proof.why for proof in proofs if proof.why), "")
    if not why:
        why = "all is made new in time, and whatever a call sees meanwhile leads to the old target or the new one"
    source = proofs[0].source or "; ".join(dict.fromkeys(filter(None, manuals)))
    return msgspec.structs.replace(
        proofs[0], reader="", finding=Finding.HARMLESS, why=why, source=source, points=points, moments=moments
    )
