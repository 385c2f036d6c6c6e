"""Runs random programs on every selected guest until one does not do as the model says.

Programs go to the engines' children many at a time, as the cells of a run do, and a crash or a hang costs one of them.
What comes back is compared as bytes with what the model predicted, once a program, byte order and kind of CPU.
Failures are looked at in the order of the programs' numbers, so that a seed always leads to the same one.
"""

from __future__ import annotations

import concurrent.futures
import functools
import itertools
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace

from farm.cell import Hole, Verdict
from farm.engines import Reply, warm_up
from farm.errors import FarmError, UnknownNameError
from farm.guest import build, image
from farm.guest.controls import CONTROLS
from farm.live import ANY_SCENARIO
from farm.measure.fuzz import generate
from farm.measure.fuzz.generate import Program
from farm.measure.fuzz.shrink import Shrinker, Steps
from farm.processes import workers
from farm.run import plan
from farm.run.bench import Bench
from farm.run.plan import Plan, Selection
from farm.run.verdict import Result
from farm.scenario import Scenario, model, wire

#: Seconds a program; a thousand times what the slowest takes.
TIMEOUT = 1.0
_CHUNK = 64  # programs
_AHEAD = 4  # chunks that are made before the first of them is done


@dataclass(frozen=True)
class Ground:
    """The benches that run programs, the plan that they come from, and the cells selected that cannot run."""

    benches: tuple[Bench, ...]
    plan: Plan
    holes: Counter[Hole]


def select(selection: Selection) -> Selection:
    """``selection`` with one cell a guest; on Unicorn, since that is fast, unless it names engines."""
    return replace(selection, engine=selection.engine or ("unicorn",), scenario=ANY_SCENARIO)


def survey(selection: Selection, control: str | None = None, jobs: int = 1, timeout: float = TIMEOUT) -> Ground:
    """The guests of ``selection`` (:func:`select`), built; ``timeout`` is in seconds a program.

    Raises :class:`~farm.errors.FarmError` if there is none, or one cannot be built.
    """
    if control is not None and control not in CONTROLS:
        raise UnknownNameError("control", control, CONTROLS)
    selected = plan.make(selection)
    options = selection.path_options()
    holes: Counter[Hole] = Counter()
    guests: list[tuple[image.Spec, str]] = []
    for planned in selected.cells:
        cell, variant = planned.cell, selected.variants[planned.cell.variant]
        mechanism = selected.mechanisms[cell.mechanism]
        if planned.hole:
            holes[planned.hole] += 1
        elif control is None or CONTROLS[control].applies(variant, mechanism, variant.features(cell.engine)):
            guests.append((selected.spec(cell, control), cell.engine))
    if not guests:
        runs_none = holes.total() == len(selected.cells)
        why = next(iter(holes)).reason if runs_none else f"{control} changes none of the selected guests"
        raise FarmError(f"nothing to run: {why}")
    warm_up([engine for _, engine in guests], min(jobs, len(guests)))
    images = build.images(list(dict.fromkeys(spec for spec, _ in guests)), jobs)
    benches = []
    for spec, engine in guests:
        built = images[spec]
        if isinstance(built, Exception):
            raise built
        benches.append(Bench.of(spec, engine, timeout, options, built))
    return Ground(tuple(benches), selected, holes)


@dataclass
class Tally:
    """Progress of a hunt: programs and runs so far, and their time."""

    programs: int = 0
    idle: int = 0  #: programs that no selected guest could run
    runs: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        rate = f", {self.runs / self.seconds:,.0f} runs/s" if self.seconds else ""
        idle = f" ({self.idle:,} of them need what no selected guest has)" if self.idle else ""
        return f"{self.programs:,} programs{idle}, {self.runs:,} runs{rate}"


@dataclass
class Finding:
    """A program that a guest does not run as the model says."""

    number: int
    original: Scenario
    bench: Bench  #: the first that failed it
    result: Result  #: what it did
    scenario: Scenario = field(init=False)  #: the same, shrunk
    failing: list[Result] = field(default_factory=list)  #: of all that fail the scenario

    def __post_init__(self) -> None:
        self.scenario = self.original


class _Chunk:
    """Some programs in a row, with their bytes."""

    def __init__(self, first: int, programs: Sequence[Program]) -> None:
        self.first = first
        self.programs = programs
        self.jobs: list[_Job] = []
        self._encoded: dict[tuple[int, bool], bytes] = {}
        self._expected: dict[tuple[int, bool, frozenset[str]], tuple[tuple[wire.Event, ...], bytes]] = {}

    def wait(self, seconds: float) -> bool:
        """Returns whether all jobs were done within ``seconds``."""
        return not concurrent.futures.wait([job.future for job in self.jobs], timeout=max(0.0, seconds)).not_done

    def cancel(self) -> None:
        """Give up the jobs that have not begun."""
        for job in self.jobs:
            job.future.cancel()

    def encoded(self, i: int, *, big_endian: bool) -> bytes:
        """Program ``i``."""
        if (i, big_endian) not in self._encoded:
            self._encoded[i, big_endian] = (
                wire.swapped(self.encoded(i, big_endian=False))
                if big_endian
                else wire.encode.__wrapped__(self.programs[i].scenario, big_endian=False)  # once: nothing to keep
            )
        return self._encoded[i, big_endian]

    def expected(self, i: int, features: frozenset[str], *, big_endian: bool) -> tuple[tuple[wire.Event, ...], bytes]:
        """The events that program ``i`` makes on a CPU with ``features``, and their bytes."""
        scenario, events = self.programs[i]
        features = features if scenario.depends_on_cpu else frozenset()
        key = (i, big_endian, features)
        if key not in self._expected:
            if features:
                events = model.predict.__wrapped__(scenario, features)
            if big_endian:
                events, body = self.expected(i, features, big_endian=False)
                self._expected[key] = events, wire.swapped(body)
            else:
                self._expected[key] = events, wire.encode_events(events, big_endian=False)
        return self._expected[key]


def _first_failure(bench: Bench, chunk: _Chunk, chosen: Sequence[int]) -> tuple[int, Reply] | None:
    """The first of the ``chosen`` programs that ``bench`` does not run as expected, and what it does."""
    big_endian, features = bench.image.big_endian, bench.features
    encoded = [chunk.encoded(i, big_endian=big_endian) for i in chosen]
    for i, reply in zip(chosen, bench.replies(encoded), strict=True):
        if bench.judge.compare(reply, *chunk.expected(i, features, big_endian=big_endian))[0] is not None:
            return i, reply
    return None


@dataclass(frozen=True)
class _Job:
    bench: Bench
    programs: int
    work: Callable[[], tuple[int, Reply] | None]
    future: concurrent.futures.Future[tuple[int, Reply] | None] = field(default_factory=concurrent.futures.Future)


class _Lanes:
    """Gives the threads of ``pool`` the jobs of the guests that they have run before, as long as there are any.

    What a guest costs to open and to translate is more than a chunk of programs on it: a thread that has nothing left
    to do takes a guest over for good, and so every one of them comes to its fair share.
    """

    def __init__(self, pool: concurrent.futures.Executor) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._waiting: list[_Job] = []
        self._owners: dict[Bench, int] = {}  # threads

    def submit(self, jobs: Sequence[_Job]) -> None:
        with self._lock:
            self._waiting += jobs
        for _ in jobs:
            self._pool.submit(self._run_one)

    def _take(self) -> _Job:
        """The first job of a guest of this thread or of nobody's; else the first."""
        me = threading.get_ident()
        with self._lock:
            candidates = (i for i, job in enumerate(self._waiting) if self._owners.get(job.bench, me) == me)
            job = self._waiting.pop(next(candidates, 0))
            self._owners[job.bench] = me
        return job

    def _run_one(self) -> None:
        job = self._take()
        if not job.future.set_running_or_notify_cancel():
            return
        try:
            job.future.set_result(job.work())
        except BaseException as error:  # noqa: BLE001 - whoever waits for the result shall have it
            job.future.set_exception(error)


class Hunt:
    """Programs of one seed on some benches."""

    def __init__(self, benches: Sequence[Bench], seed: int, jobs: int = 1) -> None:
        self.tally = Tally()
        self.suspect: int | None = None  #: number of a program that has failed once, until it is a finding
        self._benches = benches
        self._seed = seed
        self._jobs = jobs
        self._able: dict[Hashable, tuple[Bench, ...]] = {}

    def able(self, scenario: Scenario) -> tuple[Bench, ...]:
        """The benches that have what ``scenario`` needs."""
        needs = generate.needs_of(scenario.steps), scenario.all_needs
        if needs not in self._able:
            self._able[needs] = tuple(bench for bench in self._benches if bench.can_run(scenario))
        return self._able[needs]

    def run(
        self, first: int, limit: int | None, seconds: float | None, on_progress: Callable[[Tally], None]
    ) -> Finding | None:
        """The first finding from program ``first`` on, in so many programs or seconds; None if there is none.

        The first programs are run however short the time is.
        """
        began = time.monotonic()
        end = None if seconds is None else began + seconds
        numbers = itertools.count(first) if limit is None else iter(range(first, first + limit))
        waiting: deque[_Chunk] = deque()
        begins = True
        with workers(self._jobs) as pool:
            lanes = _Lanes(pool)
            try:
                while True:
                    while len(waiting) < _AHEAD and (begins or end is None or time.monotonic() < end):
                        taken = list(itertools.islice(numbers, _CHUNK))
                        if not taken:
                            break
                        chunk = _Chunk(taken[0], [generate.program(self._seed, number) for number in taken])
                        self._submit(chunk, lanes)
                        waiting.append(chunk)
                        begins = False
                    if not waiting:
                        return None
                    if end is not None and self.tally.programs and not waiting[0].wait(end - time.monotonic()):
                        for chunk in waiting:
                            chunk.cancel()
                    failure = self._done(waiting.popleft())
                    self.tally.seconds = time.monotonic() - began
                    on_progress(self.tally)
                    if failure:
                        return failure
            finally:
                self.tally.seconds = time.monotonic() - began
                for chunk in waiting:
                    chunk.cancel()

    def _submit(self, chunk: _Chunk, lanes: _Lanes) -> None:
        chosen: dict[Bench, list[int]] = {}
        for i, program in enumerate(chunk.programs):
            able = self.able(program.scenario)
            self.tally.idle += not able
            for bench in able:
                chosen.setdefault(bench, []).append(i)
        chunk.jobs = [
            _Job(bench, len(some), functools.partial(_first_failure, bench, chunk, some))
            for bench, some in chosen.items()
        ]
        lanes.submit(chunk.jobs)

    def _done(self, chunk: _Chunk) -> Finding | None:
        """The failure of the lowest number in ``chunk``, tried once more; what was cancelled does not count."""
        suspects = []
        jobs = [job for job in chunk.jobs if not job.future.cancelled()]
        for job in jobs:
            failed = job.future.result()
            self.tally.runs += job.programs
            if failed:
                suspects.append((*failed, job.bench))
        self.tally.programs += len(chunk.programs) if len(jobs) == len(chunk.jobs) else 0
        if not suspects:
            return None
        i, reply, bench = min(suspects, key=lambda suspect: suspect[0])
        scenario, self.suspect = chunk.programs[i].scenario, chunk.first + i
        return Finding(self.suspect, scenario, bench, bench.result(scenario, reply))

    def shrink(self, finding: Finding) -> None:
        """Make the scenario of ``finding`` small, and see who fails it.

        One that fails only now and then is left as it is.  Ctrl-C ends it with what it has come to.
        """
        wanted, bench = finding.result.verdict, finding.bench
        names = itertools.count()

        def fails(steps: Steps) -> bool:
            smaller = generate.as_scenario(f"{finding.original.name}_{next(names)}", "", steps)
            if not bench.can_run(smaller):
                return False
            try:
                events = model.predict.__wrapped__(smaller, bench.features)
            except model.ScenarioError:
                return False
            big_endian = bench.image.big_endian
            program = wire.encode.__wrapped__(smaller, big_endian=big_endian)
            (reply,) = bench.replies([program])
            return bench.judge.compare(reply, events, wire.encode_events(events, big_endian=big_endian))[0] is wanted

        steps = finding.original.steps
        if wanted is not Verdict.FLAKY:
            shrinker = Shrinker(steps, fails)
            try:
                steps = shrinker.run()
            except KeyboardInterrupt:
                steps = shrinker.smallest
        title = f"{finding.original.title}: {wanted} on {bench}"
        finding.scenario = generate.as_scenario(finding.original.name, title, steps)
        finding.failing = [
            result for other in self.able(finding.scenario) if (result := other.result(finding.scenario)).failed
        ]
