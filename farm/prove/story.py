"""A counterexample as a story: what the patching CPU and the calling one do, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from farm.engines.views import Outcome, Seen
from farm.guest.disassemble import pointers
from farm.prove.demands import LONGEST, Demands, Store, around
from farm.prove.pages import Memory
from farm.prove.proof import CALLING, PATCHING, Line

if TYPE_CHECKING:
    from farm.prove.calls import Guest
    from farm.prove.timeline import Change, Timeline


def story(guest: Guest, timeline: Timeline, sets: Sequence[int], outcome: Outcome) -> tuple[Line, ...]:
    """How the call came to ``outcome``; ``sets`` are the changes of each moment, as bits."""
    return tuple(_Story(guest, timeline, sets).lines(outcome))


def instructions(demands: Demands, store: Store, memory: Memory, start: int) -> tuple[str, str]:
    """The instruction at ``start`` before ``store`` and behind it; ``memory`` is as the store leaves it."""
    before, after = around(store, start, memory)
    return demands.instruction(start, before)[1], demands.instruction(start, after)[1]


class _Story:
    """What has been told of a counterexample, and what is still to be."""

    def __init__(self, guest: Guest, timeline: Timeline, sets: Sequence[int]) -> None:
        self._guest, self._timeline, self._sets = guest, timeline, sets
        self._demands = guest.demands
        self._seen = 0  # changes that have been told
        self._had = 0  # changes that a load has had

    def lines(self, outcome: Outcome) -> Iterator[Line]:
        for number, step in enumerate(outcome.path, 1):
            if not step.code:
                continue  # how the call fails is said behind
            size, text = self._demands.instruction(step.pc, step.code)
            fetched = any(p.address < step.pc + size and step.pc < p.address + p.size for p in self._timeline.places)
            failed_here = outcome.failure and number == len(outcome.path)
            if not fetched and not step.places and not failed_here:
                continue
            yield from self._changes(self._sets[step.fetched])
            if step.places:
                yield from self._changes(self._sets[step.loaded])
            at = self._demands.name(step.pc)
            yield Line(CALLING, f"executes `{text}` at {at}{self._stale(step, size)}{self._loaded(step)}")
        failed = f"fails: {outcome.failure} at {self._demands.name(outcome.pc)}" if outcome.failure else ""
        yield Line(CALLING, failed or self._end(outcome))

    def _changes(self, seen: int) -> Iterator[Line]:
        """What the patching CPU has done when the changes in ``seen`` are made, and has not been told."""
        new, self._seen = seen & ~self._seen, self._seen | seen
        for number, change in enumerate(self._timeline.changes):
            if new >> number & 1 and change.store:
                yield Line(PATCHING, self._stored(change, seen))

    def _stored(self, change: Change, seen: int) -> str:
        timeline, demands, store = self._timeline, self._demands, change.store
        assert store
        at, part = change.parts[0]
        if len(change.parts) > 1:
            size = sum(len(piece) for _, piece in change.parts)
            return f"makes code at {demands.name(at)}: {size} bytes differ from what was there"
        if len(part) < store.size:
            return (
                f"stores {store.after.hex()} to {demands.name(store.address)}, of which {part.hex()} at {at:#x} is seen"
            )
        after, before = (self._value(each) for each in (store.after, store.before))
        stores = f"stores {after} over {before} at {demands.name(at)}"
        if not demands.is_code(at) or demands.is_slot(store):
            return stores

        def now(address: int, size: int) -> bytes:
            return timeline.content(address, size, seen)

        promised = change.promised or demands.promised(store, now)
        old, new = instructions(demands, store, now, promised.instruction.start)
        return f"{stores}: `{old}` becomes `{new}`"

    def _stale(self, step: Seen, size: int) -> str:
        newest = self._timeline.content(step.pc, LONGEST, self._sets[step.fetched])
        if step.code[:size] == newest[:size]:
            return ""
        return f", fetched stale: `{self._demands.instruction(step.pc, newest)[1]}` is there by now"

    def _loaded(self, step: Seen) -> str:
        spans: list[range] = []  # places that were loaded from, those that adjoin as one
        for place in (self._timeline.places[number] for number in step.places):
            start = spans.pop().start if spans and spans[-1].stop == place.address else place.address
            spans.append(range(start, place.address + place.size))
        loads = []
        for span in spans:
            value = self._timeline.content(span.start, len(span), self._sets[step.loaded])
            loads.append(f"{self._value(value)} from {self._demands.name(span.start)}")
        if not loads:
            return ""
        had, self._had = self._had, self._had | self._sets[step.loaded]
        early = " before the load above" if had & ~self._sets[step.loaded] else ""
        return f", which loads{early} {', '.join(loads)}"

    def _value(self, data: bytes) -> str:
        """``data`` in hex, and the function that it is the address of, if it is one's."""
        demands = self._demands
        words = pointers(demands.variant, data, 0, demands.image) if len(data) == demands.variant.word_size else []
        names = [f" <{word.name}>" for word in words if not word.name.startswith("0x")]
        return "".join([data.hex(), *names])

    def _end(self, outcome: Outcome) -> str:
        words = "; ".join(str(event) for event in self._guest.events(outcome.events))
        return f"ends as neither target does: {words or 'nothing is recorded'}"
