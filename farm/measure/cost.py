"""Cost of a patched call: instructions executed per call, baselines beside mechanisms.

Every way to call is a loop around one call, the same loop in each.  The mechanisms' are measured in the guests that the
farm tests, after a patch; the baselines' (``images/cost``) in one more guest.  The engine tells the address of every
instruction that is executed, and what counts is what lies between two entries of the target, less the target itself:
back from it, through the loop and the call, and whatever is on the way (a stub, the C function of ``pointer``, a thunk
of the compiler's or the linker's).  So the number is exact and the same in every run.  It is no time.

Chosen: the path from Unicorn, or from QEMU's log where Unicorn has no such guest or cannot step it; a test holds both
to the same numbers.  Rejected: the difference of two whole runs, which has what the targets do in it, and that depends
on data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from farm.engines import TellsPath, engine_named
from farm.errors import FarmError
from farm.guest import build, image
from farm.guest.call_sites import survey
from farm.guest.elf import bytes_at
from farm.guest.image import Image
from farm.guest.mechanisms import Mechanism
from farm.guest.toolchain import TOOLCHAINS
from farm.guest.variant import Variant
from farm.processes import workers
from farm.run.bench import Bench
from farm.run.plan import Plan
from farm.scenario import Defect, Scenario, Step, call, patch

#: Calls of each loop: what lies between the first two and what lies between the last two must be the same.
CALLS = 3
TIMEOUT = 10.0  # seconds a loop

_LOOP = "looped_0"  # the mechanisms' own
_EXECUTE = 1  # of a segment's flags

#: The ways that are only measured, in the order of ``images/cost/calls.c``.
BASELINES = {
    "direct": "the call site calls the target itself",
    "dispatch": "ops->call(x), with ops and the structure it points to in writable data, as the crypto API dispatches",
    "branch": "a flag and direct calls, as Zinc chose",
    "retpoline": "dispatch, compiled with retpolines, where the compiler has them",
}


class CostError(FarmError):
    """The guest did not execute the loop that was to be measured."""


@dataclass(frozen=True)
class Way:
    """One way to call."""

    name: str
    mechanism: Mechanism  #: of the guest
    baseline: int | None  #: its number, or None: the mechanism's own call site
    target: str

    @property
    def steps(self) -> tuple[Step, ...]:
        if self.baseline is not None:
            return (call(1, self.baseline, count=CALLS),)
        return patch(0, self.target), call(0, 0, "looped", count=CALLS)

    @property
    def callers(self) -> tuple[str, ...]:
        """The functions that the target may return to."""
        return (_LOOP, "whatever_0") if self.baseline is None else (f"cost_{self.name}",)

    def exists(self, variant: Variant, toolchain: str) -> bool:
        if self.name == "retpoline":
            return build.has_retpoline(variant, toolchain)
        if self.target == "far" and variant.branch_range is None:
            return False
        return self.mechanism.missing(variant, toolchain) is None

    def spec(self, variant: Variant, toolchain: str) -> image.Spec:
        return replace(image.Spec.of(variant, self.mechanism, toolchain), baselines=self.baseline is not None)


def ways(known: Mapping[str, Mechanism]) -> list[Way]:
    """The baselines, then every mechanism; one that stores to code also with a target out of a near jump's reach."""
    poking = [mechanism for mechanism in known.values() if mechanism.pokes]
    return [
        *(Way(name, known["pointer"], number, "fast") for number, name in enumerate(BASELINES)),
        *(Way(mechanism.name, mechanism, None, "fast") for mechanism in known.values()),
        *(Way(f"{mechanism.name} far", mechanism, None, "far") for mechanism in poking),
    ]


class Cost(msgspec.Struct, frozen=True):
    """Cost of calls on one variant, built by one toolchain."""

    variant: str
    toolchain: str
    compiler: str = ""  #: its version: the loops are its work
    engine: str = ""  #: that told the paths
    instructions: dict[str, int | None] = {}  #: per call, by way; None: there is no such way
    note: str = ""  #: why ``relocated`` costs what ``stub`` does
    reason: str = ""  #: why there is nothing else
    failed: bool = False  #: ``reason`` is no hole but a failure

    @property
    def name(self) -> str:
        return f"{self.variant}/{self.toolchain}"

    def over_direct(self, way: str) -> int | None:
        """Instructions that ``way`` executes beyond those of a direct call."""
        count, direct = self.instructions.get(way), self.instructions.get("direct")
        return None if count is None or direct is None else count - direct


def measured_ways(costs: Iterable[Cost]) -> list[str]:
    """Names of the ways to call that any of ``costs`` has a number for, in the order of :func:`ways`."""
    costs = list(costs)
    every = dict.fromkeys(way for cost in costs for way in cost.instructions)
    return [way for way in every if any(cost.instructions.get(way) is not None for cost in costs)]


def per_call(path: Iterable[int], built: Image, variant: Variant, way: Way) -> int:
    """The instructions per call in ``path``.  Raises :class:`CostError`."""
    code = _code(built, variant)
    target, callers = code[f"{way.target}_0"], [code[name] for name in way.callers if name in code]
    inside, between, counts = False, 0, []
    for address in path:
        if address in target and not inside:
            counts.append(between)
            inside, between = True, 0
        elif inside and any(address in caller for caller in callers):
            inside = False
        between += not inside
    if len(counts) != CALLS or len(set(counts[1:])) != 1:
        raise CostError(f"{way.name}: {CALLS} calls of {way.target}_0 expected; instructions before each: {counts}")
    return counts[-1]


def _code(built: Image, variant: Variant) -> dict[str, range]:
    """The addresses of each function's code, which ends where the next function's begins."""
    content = built.read()
    starts = {name: _start(address, content, built, variant) for name, address in built.functions.items()}
    following = dict(zip(ordered := sorted(set(starts.values())), ordered[1:], strict=False))
    return {name: range(start, following.get(start, start + variant.page)) for name, start in starts.items()}


def _start(address: int, content: bytes, built: Image, variant: Variant) -> int:
    """The first instruction of the function whose symbol says ``address``, which may be that of its descriptor."""
    home = next((s for s in built.segments if s.address <= address < s.address + s.size), None)
    if home and not home.flags & _EXECUTE:
        word = bytes_at(content, built.segments, address, variant.word_size)
        return int.from_bytes(word, variant.byte_order)
    return address


def measure(variant: Variant, toolchain: str, engine: str, known: Mapping[str, Mechanism]) -> Cost:
    """The cost of every way to call on ``variant``, by the mechanisms in ``known``.

    Raises :class:`~farm.errors.FarmError` if a guest cannot be built or does not do what it should.
    """
    counts = {
        way.name: _measure(variant, toolchain, engine, way) if way.exists(variant, toolchain) else None
        for way in ways(known)
    }
    note = ""
    if counts["relocated"] is not None:
        note = _left_on_stub(build.image(image.Spec(variant, "relocated", toolchain)), variant)
    return Cost(variant.name, toolchain, TOOLCHAINS[toolchain].version(variant), engine, counts, note)


def _left_on_stub(built: Image, variant: Variant) -> str:
    """The reason why the call site of the loop cannot be redirected; empty if it can."""
    loop = _code(built, variant)[_LOOP]
    if any(site.address in loop for site in built.sites):
        return ""
    left = next((left for left in survey(Path(built.path), variant).left_alone if left.address in loop), None)
    why = f"{left.what}: {left.reason}" if left else "no direct call"
    return f"the call site in the loop stays on the stub ({why})"


def _measure(variant: Variant, toolchain: str, engine: str, way: Way) -> int:
    bench = Bench.of(way.spec(variant, toolchain), engine, TIMEOUT)
    scenario = Scenario("BS-00", "cost", "", way.steps, frozenset(Defect))
    reply = bench.path(bench.encode(scenario))
    if reply.failure:
        raise CostError(f"{way.name}: {reply.failure} under {engine}: {reply.detail}")
    return per_call(reply.path, bench.image, variant, way)


def _tells_path(variant: Variant, name: str) -> bool:
    engine = engine_named(name)
    return isinstance(engine, TellsPath) and engine.tells_path(variant.profiled(name))


def measure_all(plan: Plan, jobs: int) -> list[Cost]:
    """The costs of every variant and toolchain of ``plan``, each by the first of its engines that can tell.

    Raises :class:`~farm.errors.BackendError` if a mechanism needs a variable that is not set.
    """
    for mechanism in plan.mechanisms.values():
        mechanism.check_ready()
    chosen: dict[tuple[str, str], str] = {}
    holes: dict[tuple[str, str], list[str]] = {}
    for planned in plan.cells:
        pair, engine = (planned.cell.variant, planned.cell.toolchain), planned.cell.engine
        holes.setdefault(pair, [])
        if planned.hole:
            holes[pair].append(planned.hole.reason)
        elif _tells_path(plan.variants[pair[0]], engine):
            chosen.setdefault(pair, engine)
        else:
            holes[pair].append(f"{engine} cannot tell what {pair[0]} executes")

    def one(pair: tuple[str, str]) -> Cost:
        if pair not in chosen:
            return Cost(*pair, reason="; ".join(dict.fromkeys(holes[pair])))
        try:
            return measure(plan.variants[pair[0]], pair[1], chosen[pair], plan.mechanisms)
        except FarmError as error:
            return Cost(*pair, reason=str(error), failed=True)

    able = ((plan.variants[name], toolchain, way) for name, toolchain in chosen for way in ways(plan.mechanisms))
    specs = dict.fromkeys(way.spec(variant, tool) for variant, tool, way in able if way.exists(variant, tool))
    build.images(list(specs), jobs)
    with workers(jobs) as pool:
        return list(pool.map(one, holes))
