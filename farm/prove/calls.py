"""Calls that meet a patch: which requests are proved, with which calls, and one guest that is asked for both."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from farm.engines import Explores, Note, Noted, Watches
from farm.engines.together import Made, Together
from farm.engines.views import Drawing, Exploration, Explored, Loose, Moment
from farm.errors import FarmError
from farm.prove.demands import Demands
from farm.prove.timeline import Code, Timeline, requests
from farm.prove.watching import watching
from farm.run.bench import Bench
from farm.scenario import Scenario, call, null, original, patch, restore, ret0, wire
from farm.scenario.functions import Shape, Target
from farm.scenario.layout import EVENT_WORDS, HEADER_WORDS
from farm.scenario.model import predict
from farm.scenario.steps import Step
from farm.scenario.wire import Event

_ARGUMENT = 5  # of the call: x
_HANDLERS = ("farm_breakpoint", "mechanism_breakpoint")  # functions that answer a breakpoint (breakpoint.h)
_ALONE = 64  # bytes of the last function

#: Shapes of the call sites that are followed; None is a call of the original.
SHAPES = (Shape.USED, Shape.TAIL, Shape.BARE, Shape.CONDITIONAL, Shape.POINTER, None)

_REQUESTS: dict[str, tuple[tuple[Step, ...], Step]] = {
    "default-fast": ((), patch(0, Target.FAST)),
    "default-far": ((), patch(0, Target.FAR)),
    "fast-other": ((patch(0, Target.FAST),), patch(0, Target.OTHER)),
    "fast-far": ((patch(0, Target.FAST),), patch(0, Target.FAR)),
    "far-fast": ((patch(0, Target.FAR),), patch(0, Target.FAST)),
    "fast-default": ((patch(0, Target.FAST),), restore(0)),
    "far-default": ((patch(0, Target.FAR),), restore(0)),
    "default-null": ((), null(0)),
    "null-far": ((null(0),), patch(0, Target.FAR)),
    "fast-ret0": ((patch(0, Target.FAST),), ret0(0)),
    "ret0-fast": ((ret0(0),), patch(0, Target.FAST)),
}

_CHAINS: dict[str, tuple[tuple[Step, ...], tuple[Step, ...]]] = {
    "default-fast-far": ((), (patch(0, Target.FAST), patch(0, Target.FAR))),
    "default-far-fast": ((), (patch(0, Target.FAR), patch(0, Target.FAST))),
    "fast-far-default": ((patch(0, Target.FAST),), (patch(0, Target.FAR), restore(0))),
    "far-fast-far": ((patch(0, Target.FAR),), (patch(0, Target.FAST), patch(0, Target.FAR))),
}

#: Names of the requests, from what the function leads to before and what behind.
REQUESTS = tuple(_REQUESTS)

#: Names of requests one after the other that a call may meet all: where the function leads before, between and behind.
CHAINS = tuple(_CHAINS)

#: Names of the call sites.
CALLS = tuple("original" if shape is None else shape.name.lower() for shape in SHAPES)


class Request(NamedTuple):
    """A request, or several one after the other, and what the guest is asked for before it."""

    name: str
    before: tuple[Step, ...]
    made: tuple[Step, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        return *self.before, *self.made

    def after(self, count: int) -> tuple[Step, ...]:
        """What the guest has been asked for when so many of its requests are over."""
        return *self.before, *self.made[:count]


def requests_named(names: Sequence[str] = REQUESTS) -> list[Request]:
    """The requests of these names."""
    known = {name: (before, (step,)) for name, (before, step) in _REQUESTS.items()} | _CHAINS
    return [Request(name, *known[name]) for name in names]


def step_of(shape: Shape | None, function: int = 0) -> Step:
    """The call in a scenario."""
    return original(function, _ARGUMENT) if shape is None else call(function, _ARGUMENT, shape)


def name_of(shape: Shape | None) -> str:
    """The name of the call site's function, without the number of the function that it calls."""
    return "original" if shape is None else shape.name.lower()


def scenario(*steps: Step) -> Scenario:
    """A scenario of these steps."""
    return Scenario("CC-00", "call_meets_patch", "A call meets a patch", steps, frozenset())


@dataclass(frozen=True)
class Watched:
    """A request as it was made: what memory it found, and the notes of it."""

    before: Code
    notes: tuple[Note, ...]


class Guest:
    """A guest whose patches are watched and whose calls are followed."""

    def __init__(self, bench: Bench, *, strict: bool = False) -> None:
        """With ``strict``, what no manual promises is wrong although some system relies on it."""
        engine = bench.engine
        assert isinstance(engine, Watches)
        assert isinstance(engine, Explores)
        self.bench, self._engine = bench, engine
        self.watched = watching(bench.variant, bench.image, engine)
        self.demands = Demands(bench.variant, bench.spec.made_by, bench.image, self.watched, strict=strict)

        self._followed: dict[bytes, Explored] = {}  # by what was asked: many mutants and requests are met by the same
        self._changing: tuple[tuple[int, int], ...] = ()  # what the requests that have been watched store to

    def can(self, *steps: Step) -> bool:
        """Tell whether the guest can be asked for these steps."""
        return self.bench.can_run(scenario(*steps))

    def watch(self, wanted: Sequence[Request]) -> list[tuple[Request, Watched]]:
        """Each request that the guest can be asked for, made in one that has been asked for nothing else.

        Raises :class:`~farm.errors.FarmError` if one does not come to its end.
        """
        bench = self.bench
        able = [request for request in wanted if self.can(*request.steps)]
        programs = [bench.encode(scenario(*request.steps)) for request in able]
        made = []
        for request, reply in zip(
            able,
            self._engine.watch(bench.image, bench.variant, programs, bench.timeout, self.watched.watch),
            strict=True,
        ):
            if reply.failure:
                raise FarmError(f"{bench}: {request.name}: {reply.failure}: {reply.detail}")
            spans = requests(self.demands, reply.notes)[-len(request.made) :]
            first, end = spans[0][0], spans[-1][1]
            made.append((request, Watched(Code(self.demands, reply.notes[:first]), tuple(reply.notes[first:end]))))
        self._changing = _merged(note for _, watched in made for note in watched.notes if note.kind == Noted.STORE)
        return made

    @functools.cached_property
    def _window(self) -> tuple[tuple[int, int], ...]:
        """Code that a call comes through: call sites, the patchable function, and where stubs and new code are."""
        image = self.bench.image
        starts = sorted({address & ~image.function_bias for address in image.functions.values()})
        stubs = image.symbols["stub_start"], image.symbols["stub_end"]
        spans = [stubs] if stubs[0] < stubs[1] else []
        for name in (*(f"{each}_0" for each in CALLS), "whatever_0", *_HANDLERS):
            if name in image.functions:
                start = image.functions[name] & ~image.function_bias
                if not stubs[0] <= start < stubs[1]:
                    spans.append((start, min((each for each in starts if each > start), default=start + _ALONE)))
        return tuple(spans)

    @functools.cached_property
    def _loose(self) -> Loose:
        watched = self.watched
        places = zip(watched.watch.instructions, watched.meanings, strict=True)
        barriers = tuple(place.address for place, meaning in places if meaning.orders_loads or meaning.steps)
        return Loose(self.bench.variant.disassembler, barriers)

    def follow(
        self,
        request: Request,
        shape: Shape | None,
        timeline: Timeline,
        graphs: Sequence[Sequence[Moment]],
        *,
        drawing: Drawing | None = None,
        loose: bool = False,
        every: bool = False,
    ) -> list[Explored]:
        """What may become of a call that begins before the ``request``, which has been watched, in each of ``graphs``.

        With ``drawing`` it is what becomes of it in the schedules that are drawn; with ``loose`` its loads come in any
        order that the rules allow.

        Raises :class:`~farm.errors.FarmError` if the engine cannot follow it.
        """
        bench = self.bench
        image = bench.image
        start = image.functions[f"{name_of(shape)}_0"] & ~image.function_bias
        loose_ = self._loose if loose else None
        wanted = Exploration(start, self._window, self._changing, timeline.places, (), drawing, loose_, every)
        program = bench.encode(scenario(*request.before, step_of(shape)))

        def explore(graphs: Sequence[tuple[Moment, ...]]) -> list[Explored]:
            asked = msgspec.structs.replace(wanted, graphs=tuple(graphs))
            reply, explored = self._engine.explore(image, bench.variant, program, bench.timeout, asked)
            if reply.failure or not explored:
                raise FarmError(f"{bench}: {request.name}, {name_of(shape)}: {reply.failure}: {reply.detail}")
            return explored

        if drawing:
            return explore(())
        keys = [_digest(program, wanted, graph) for graph in graphs]
        new = {key: tuple(graph) for key, graph in zip(keys, graphs, strict=True) if key not in self._followed}
        if new:
            self._followed.update(zip(new, explore(list(new.values())), strict=False))  # up to a failure
        found: list[Explored] = []
        for key in keys:
            if key not in self._followed or (found and _has_failed(found[-1])):
                break
            found.append(self._followed[key])
        return found

    def make(self, steps: Sequence[Step], first: int) -> Made:
        """What may come of ``steps`` if two requests are made at once, those with the numbers ``first`` and the next.

        Raises :class:`~farm.errors.FarmError` if they do not come to an end one after the other.
        """
        bench = self.bench
        wanted = Together(self.watched.watch.begins, first)
        reply, made = self._engine.make(
            bench.image, bench.variant, bench.encode(scenario(*steps)), bench.timeout, wanted
        )
        if made is None:
            raise FarmError(f"{bench}: two requests at once: {reply.failure}: {reply.detail}")
        return made

    def expected(self, *steps: Step) -> list[Event]:
        """The events of a call that the last of ``steps`` is, as the model has them."""
        events = predict(scenario(*steps), self.bench.features)
        return [event for event in events if event.step == len(steps) - 1]

    def events(self, encoded: bytes) -> list[Event]:
        """The events of the last step in the events of a trace."""
        events = self.all_events(encoded)
        return [event for event in events if event.step == events[-1].step]

    def all_events(self, encoded: bytes) -> list[Event]:
        """The events of a trace."""
        count = len(encoded) // (4 * EVENT_WORDS)
        head = bytes(4 * HEADER_WORDS)
        return wire.decode_events(head + encoded, count, big_endian=self.bench.image.big_endian)


def _digest(program: bytes, wanted: Exploration, graph: Sequence[Moment]) -> bytes:
    """The same of what is asked for, if it is the same."""
    return hashlib.blake2b(msgspec.msgpack.encode((program, wanted, graph)), digest_size=16).digest()


def _has_failed(explored: Explored) -> bool:
    return any(outcome.failure for outcome in explored.outcomes)


def _merged(stores: Iterable[Note]) -> tuple[tuple[int, int], ...]:
    """Start and end of each piece of memory that ``stores`` are to."""
    spans: list[tuple[int, int]] = []
    for start, end in sorted({(note.place, note.place + len(note.after)) for note in stores}):
        if spans and start <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(spans[-1][1], end)
        else:
            spans.append((start, end))
    return tuple(spans)


def shapes(guest: Guest, request: Request) -> Iterator[Shape | None]:
    """The calls that can meet ``request`` on ``guest``."""
    for shape in SHAPES:
        if f"{name_of(shape)}_0" in guest.bench.image.functions and guest.can(*request.steps, step_of(shape)):
            yield shape
