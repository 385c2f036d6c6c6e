"""Calibration of engines: which bugs of a store to code an engine can show at all, measured with probes.

A probe is a request to a guest made for it (``images/probe/probe.c``): it stores code in one mapping, with or without
some of the maintenance that the architecture wants, whole or in pieces, executes it, and tells whether that was the
old code or the new.  The guest is built and run as every other, on a child with a deadline, so an engine that dies of
a probe has answered, too.

What an engine shows in the mapping and in the way in which cells are run decides whether a pass of theirs is
``pass-insensitive`` (:mod:`farm.run.measured`).  The guests have one CPU, and so has the probe: whether another one
would see a store's half is what ``half-stored`` says, for whoever has one.
"""

from __future__ import annotations

import concurrent.futures
import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from farm import paths, processes
from farm.cell import EngineName
from farm.engines import Engine, Reply, engine_named
from farm.errors import BuildError, ImageError, MissingToolError
from farm.guest import build, mechanisms
from farm.guest.image import Image, Spec
from farm.guest.toolchain import TOOLCHAINS
from farm.run import measured
from farm.run.measured import MAPPINGS, PROBED, PROBES, Class, Measured, Probe, is_known
from farm.scenario import Scenario, Shape, call, wire
from farm.text import counted

if TYPE_CHECKING:
    from farm.guest.variant import Variant
    from farm.run.plan import Plan

TIMEOUT = 5.0  # seconds a probe

#: Mechanisms whose guests probes are part of: one with a second mapping, or if there is none one without.
_CARRIERS = ("inline-cache", "stub")


class _Asked(enum.IntEnum):
    """Probe of a request (``enum probe``)."""

    STEPS = 0
    WHOLE = 1
    TORN = 2
    HALF = 3
    NEXT = 4
    SYNCED = 5


#: Answers of a probe (``enum answer``), by number.
ANSWERS = ("old", "new", "neither", "unfit", "impossible")

_KINDS = {_Asked.TORN: "byte by byte", _Asked.HALF: "half", _Asked.NEXT: "ahead", _Asked.SYNCED: "ahead, maintained"}
_WHOLE, _BARE = "maintained", "nothing done"

_EVERY_STEP = 0xFFFF  # more bits than any maintenance has steps


def request(probe: int, mapping: int, left_out: int = 0) -> int:
    """The request for a probe: the argument of the call that it is."""
    return probe | mapping << 4 | left_out << 8


def measure(engine: Engine, variant: Variant, timeout: float = TIMEOUT) -> list[Measured]:
    """What ``engine`` notices of ``variant``: a row a mapping, whatever comes of it."""
    hole = engine.hole(variant)
    version = "none" if hole else engine.version(variant)

    def unusable(reason: str) -> list[Measured]:
        classes: dict[Probe, Class] = dict.fromkeys(PROBES, "unusable")
        return [
            Measured.of(engine.name, version, variant.name, mapping, classes, reason=reason) for mapping in MAPPINGS
        ]

    if hole:
        return unusable(hole.reason)
    spec = guest_of(variant)
    if spec is None:
        return unusable(f"no toolchain builds {' or '.join(_CARRIERS)} for {variant.name}")
    try:
        image = build.image(spec)
    except (BuildError, ImageError, MissingToolError) as error:
        return unusable(str(error).splitlines()[0])
    return probed(engine, variant, image, version, timeout)


def probed(engine: Engine, variant: Variant, image: Image, version: str, timeout: float) -> list[Measured]:
    """The rows of :func:`measure`, of a guest with probes that is built."""
    (answer,) = _ask(engine, variant, image, [request(_Asked.STEPS, 0)], timeout)
    steps = int(answer) & _EVERY_STEP if answer.isdecimal() else 0
    pieces = _pieces(variant, steps)
    rows = []
    for number, mapping in enumerate(MAPPINGS):
        asked = {_WHOLE: request(_Asked.WHOLE, number)}
        asked |= {f"without {name}": request(_Asked.WHOLE, number, mask) for name, mask in pieces.items()}
        if pieces:
            asked[_BARE] = request(_Asked.WHOLE, number, steps)
        asked |= {name: request(kind, number) for kind, name in _KINDS.items()}
        answers = _ask(engine, variant, image, list(asked.values()), timeout)
        seen = dict(zip(asked, map(_named, answers), strict=True))
        same_address = mapping in ("rwx", "toggled")  # else x86 and s390x, too, want the CPU to serialise
        found = classes(seen, needs_nothing=same_address and not variant.coherence.maintenance)
        rows.append(Measured.of(engine.name, version, variant.name, mapping, found, seen))
    return rows


def guest_of(variant: Variant) -> Spec | None:
    """The guest of ``variant`` with probes; None if none can be built."""
    known, source = mechanisms.load(), paths.data("images") / "probe" / "probe.c"
    for name in _CARRIERS:
        for toolchain in TOOLCHAINS:
            if toolchain in variant.toolchain and not known[name].missing(variant, toolchain):
                return Spec(variant, name, toolchain, source=source)
    return None


def _pieces(variant: Variant, steps: int) -> dict[str, int]:
    """The bits of each step of the maintenance that the guest has, by its name; equal ones are numbered."""
    maintenance = variant.coherence.maintenance
    if steps == 1 and not (len(maintenance) == 1 and not maintenance[0].kernel):
        return {(maintenance[0].kernel if maintenance else "") or "arch_sync_code": 1}
    pieces: dict[str, int] = {}
    for number, step in enumerate(maintenance):
        if steps >> number & 1:
            again = sum(other.instruction == step.instruction for other in maintenance[:number])
            pieces[f"{step.name} ({again + 1})" if again else step.name] = 1 << number
    return pieces


def _ask(engine: Engine, variant: Variant, image: Image, requests: Sequence[int], timeout: float) -> list[str]:
    """What each of ``requests`` was answered: a number, or how the guest failed."""
    programs = [
        wire.encode(Scenario("PR-00", "probe", "", (call(0, x, Shape.TAIL),), frozenset()), big_endian=image.big_endian)
        for x in requests
    ]
    decoder = image.decoder()

    def answer(reply: Reply) -> str:
        if reply.failure:
            return reply.failure
        trace = decoder.decode(reply.trace)
        returned = [event.value for event in trace.events if event.kind == "return"]
        return str(returned[-1]) if returned and not trace.complaint else "engine-error"

    return [answer(reply) for reply in engine.run(image, variant, programs, timeout)]


def _named(answer: str) -> str:
    return ANSWERS[int(answer)] if answer.isdecimal() and int(answer) < len(ANSWERS) else answer


def classes(seen: Mapping[str, str], *, needs_nothing: bool) -> dict[Probe, Class]:
    """The class of each probe by what was executed.

    ``needs_nothing``: a CPU of the architecture executes what it has stored from the next instruction on.
    """
    whole = seen[_WHOLE]
    left_out = [what for done, what in seen.items() if done == _BARE or done.startswith("without ")]
    torn, half = seen["byte by byte"], seen["half"]
    ahead, maintained = seen["ahead"], seen["ahead, maintained"]
    sound: Class | None = None if whole == "new" else "false-stale" if whole == "old" else "unusable"
    next_: Class
    if "old" in (maintained, ahead if needs_nothing else ""):
        next_ = "false-stale"
    elif maintained != "new" or "impossible" in (ahead, maintained):
        next_ = "unusable"
    else:
        next_ = "blind" if ahead == "new" else "sensitive"
    return {
        "stale-fetch": sound or ("blind" if all(what == "new" for what in left_out) else "sensitive"),
        "torn-store": sound or ("blind" if torn == "new" else "sensitive"),
        "half-stored": sound or ("blind" if half in ("old", "new") else "sensitive"),
        "next-instruction": next_,
    }


def unknown(plan: Plan) -> list[tuple[Engine, Variant]]:
    """Engines whose version nobody has measured, each with a variant, on which a verdict of ``plan`` depends."""
    about = {name for name, scenario in plan.scenarios.items() if scenario.detects <= PROBED.keys()}
    pairs = {
        (EngineName.of(planned.cell.engine).engine, planned.cell.variant): None
        for planned in plan.cells
        if planned.verdict is None and planned.cell.scenario in about
    }
    needed = [(engine_named(engine), plan.variants[variant]) for engine, variant in pairs]
    return [(engine, variant) for engine, variant in needed if not is_known(engine, variant)]


def measure_unknown(plan: Plan, workers: int, say: Callable[[str], None]) -> None:
    """Measure what :func:`unknown` names and keep it; ``say`` is told in a sentence before that begins."""
    pairs = unknown(plan)
    if pairs:
        names = ", ".join(dict.fromkeys(f"{engine.name} {engine.version(variant)}" for engine, variant in pairs))
        variants = counted(len({variant.name for _, variant in pairs}), "variant")
        say(f"nobody has calibrated {names}: what it can show of {variants} is measured first")
        with processes.workers(workers) as pool:
            rows = measure_all(pairs, pool)
        measured.keep(rows)
        for reason in dict.fromkeys(row.reason for row in rows if row.reason):
            say(f"it could not be measured, and counts as blind: {reason}")


def measure_all(
    pairs: Iterable[tuple[Engine, Variant]],
    executor: concurrent.futures.Executor,
    on_rows: Callable[[Sequence[Measured]], None] = lambda _rows: None,
    timeout: float = TIMEOUT,
) -> list[Measured]:
    """The rows of all ``pairs``, in their order; ``on_rows`` hears of those of each."""
    futures = [executor.submit(measure, engine, variant, timeout) for engine, variant in pairs]
    rows: list[Measured] = []
    for future in futures:
        of_pair = future.result()
        rows += of_pair
        on_rows(of_pair)
    return rows
