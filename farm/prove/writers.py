"""Two writers: requests that two CPUs make at once, and what is left when both are over.

Both are run in turns, in every order of the accesses that the other one can tell (:mod:`farm.engines.together`).  Each
must be carried out or be refused as busy, and all that the program asks behind them must be answered as if they had
been made one after the other, in one of the two orders: where calls lead by each call site, what a query says, and
that another request finds all as it should be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from farm.engines.together import STUCK, Ending, Touch
from farm.guest.elf import objects
from farm.prove.calls import Guest, scenario, step_of
from farm.prove.demands import Demands
from farm.prove.proof import CALLING, PATCHING, TOGETHER, Cpu, Finding, Line, Proof
from farm.scenario import code, patch, query, restore
from farm.scenario.functions import Shape, Status, Target
from farm.scenario.model import predict
from farm.scenario.promises import Promise
from farm.scenario.steps import Patch, Restore, Step
from farm.scenario.wire import Event
from farm.text import counted

_CPUS: tuple[Cpu, Cpu] = (PATCHING, CALLING)

_SHAPES = (Shape.USED, Shape.TAIL, Shape.POINTER)


class Two(NamedTuple):
    """Two requests, and what the guest is asked for before them."""

    name: str
    before: tuple[Step, ...]
    first: Patch | Restore
    second: Patch | Restore


_TWO = (
    Two("fast-far+other", (patch(0, Target.FAST),), patch(0, Target.FAR), patch(0, Target.OTHER)),
    Two("far-fast+default", (patch(0, Target.FAR),), patch(0, Target.FAST), restore(0)),
    Two("default-far+next", (), patch(0, Target.FAR), patch(1, Target.FAR)),
)

#: Names of the pairs of requests: what the function leads to before, and what each of the two would make of it;
#: ``next`` is a request on the next function.
PAIRS = tuple(two.name for two in _TWO)


def together(guest: Guest, names: Sequence[str]) -> Iterator[Proof]:
    """Prove the pairs of requests of these names."""
    for two in _TWO:
        if two.name in names and guest.can(*two.before, two.first, two.second):
            yield _proved(guest, two)


def _proved(guest: Guest, two: Two) -> Proof:
    proof = Proof(str(guest.bench.spec), two.name, "", TOGETHER, Finding.PROVED)
    mechanism = guest.demands.mechanism
    if Promise.SEVERAL_WRITERS not in mechanism.promises:
        return _unexplored(proof, mechanism.lacking(Promise.SEVERAL_WRITERS))
    behind = tuple(_behind(guest, two))
    made = guest.make((*two.before, two.first, two.second, *behind), len(two.before))
    allowed = set(_allowed(guest, two, behind))
    proof = replace(proof, points=made.points, moments=len(made.endings))
    for ending in made.endings:
        if ending.failure or tuple(_asked(guest.all_events(ending.events), two)) not in allowed:
            why = ending.failure or "no order of the two requests leaves what they left"
            return replace(proof, finding=Finding.REFUTED, why=why, story=tuple(_story(guest, two, ending)))
    if not made.complete:
        return _unexplored(proof, f"there are more than {counted(made.points, 'turn')}")
    return proof


def _unexplored(proof: Proof, why: str) -> Proof:
    return replace(proof, finding=Finding.UNEXPLORED, why=why)


def _behind(guest: Guest, two: Two) -> Iterator[Step]:
    """What the program asks behind the two requests."""
    functions = dict.fromkeys((two.first.function, two.second.function))
    asked = [step for n in functions for step in (query(n), *(step_of(shape, n) for shape in _SHAPES))]
    asked += [step for n in functions for step in (restore(n), code(n), step_of(Shape.USED, n))]
    yield from (step for step in asked if guest.can(step))


def _allowed(guest: Guest, two: Two, behind: tuple[Step, ...]) -> Iterator[tuple[Event, ...]]:
    """The events from the two requests on, as each order leaves them; the second may be refused meanwhile."""
    features, first = guest.bench.features, len(two.before)

    def events(*made: Step) -> list[Event]:
        return [event for event in predict(scenario(*two.before, *made, *behind), features) if event.step >= first]

    own, other = events(two.first, two.second)[:2]
    for order in ((two.first, two.second), (two.second, two.first)):
        yield own, other, *events(*order)[2:]
    for only, statuses in ((two.first, (Status.OK, Status.BUSY)), (two.second, (Status.BUSY, Status.OK))):
        answers = [event._replace(value=status) for event, status in zip((own, other), statuses, strict=True)]
        yield *answers, *(event._replace(step=event.step + 1) for event in events(only)[1:])


def _asked(events: Sequence[Event], two: Two) -> Iterator[Event]:
    return (event for event in events if event.step >= len(two.before))


# As a story.


def _story(guest: Guest, two: Two, ending: Ending) -> Iterator[Line]:
    """What each CPU did to what both look at, turn by turn; what it did several times in a row is told once."""
    named = _Objects(guest.demands)
    told: Line | None = None
    for number, turn in enumerate(ending.path, 1):
        touches = turn.touches
        if ending.failure and ending.failure != STUCK and number == len(ending.path) and touches and touches[-1].stores:
            touches = touches[:-1]  # it was not to be
        for text in _touched(guest, named, turn.pc, touches):
            line = Line(_CPUS[turn.cpu], text)
            if line != told:
                yield line
            told = line
    if not ending.path:
        return
    last = ending.path[-1]
    if ending.failure:
        yield Line(_CPUS[last.cpu], f"fails: {ending.failure} at {guest.demands.name(last.pc)}")
    else:
        words = "; ".join(str(event) for event in _asked(guest.all_events(ending.events), two))
        yield Line(_CPUS[last.cpu], f"is done, too, and then: {words}")


def _touched(guest: Guest, named: _Objects, pc: int, touches: Sequence[Touch]) -> Iterator[str]:
    by = f" in {guest.demands.image.name_of(pc).partition('+')[0]}"
    for touch in touches:
        if not touch.before:
            yield f"changes what of the text can be written{by}"
        elif touch.stores:
            yield f"stores {touch.after.hex()} over {touch.before.hex()} at {named.name(touch.address)}{by}"
        elif not guest.demands.is_code(touch.address):
            yield f"loads {touch.before.hex()} from {named.name(touch.address)}{by}"


class _Objects:
    """Names of a guest's data."""

    def __init__(self, demands: Demands) -> None:
        self._demands = demands
        self._known = objects(Path(demands.image.path))

    def name(self, address: int) -> str:
        if self._demands.is_code(address):
            return self._demands.name(address)
        for start, size, name in self._known:
            if start <= address < start + size:
                offset = f"+{address - start:#x}" if address > start else ""
                return f"{address:#x} <{name}{offset}>"
        return f"{address:#x}"
