"""Who notices a mutant: the build, a scenario, or a proof; and what is to be said of one that nobody notices."""

from __future__ import annotations

import contextlib
import itertools
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from farm.cell import FAILED, PASSED, Verdict
from farm.engines import CountsBlocks, Explores, Note, Noted, Watches
from farm.errors import BuildError, FarmError, ImageError
from farm.guest.image import Image, Spec
from farm.measure.coverage import excuses
from farm.prove.calls import Guest, requests_named
from farm.prove.cells import Audited, Auditing
from farm.prove.coherence import coherence
from farm.prove.interleave import interleave
from farm.prove.mutate.differ import Code, difference, places
from farm.prove.mutate.inquiry import Inquiry
from farm.prove.mutate.judged import Judged, Outcome
from farm.prove.mutate.operators import Mutation
from farm.prove.mutate.overlay import Workshop, clear, without_absent
from farm.prove.mutate.reach import Reach
from farm.prove.mutate.subject import Broken, Text, texts
from farm.prove.proof import Finding, Proof
from farm.prove.watching import Watching, watching
from farm.run.bench import Bench
from farm.run.plan import Plan
from farm.run.verdict import Result
from farm.scenario import Scenario

TIMEOUT = 1.0  # seconds a cell: a mutant that hangs is noticed by that
_PROVING = "unicorn"  # the engine that proves
_PROOF_TIMEOUT = 20.0  # seconds a call is followed
#: A check without an effect of its own: no call, no assignment.
_CHECK = re.compile(rb"(if \((?:\w(?!\()|[^\w=+;{\n]|[=!<>]=|\+(?!\+))+\))\s(?:[^{}]*;|\{[^{}]*\})$")
#: A statement, or a loop around it, that does nothing but maintenance.
_MAINTAINING = re.compile(rb"\s*(for \(.*\)\s*)?\w*(sync|flush|clear_cache)\w*\([^;]*\);\s*")
_EFFECT = "in every scenario it changes the same places in the same order, {}; the proofs are clean"
#: By operators after which C means the same: what the compiler made otherwise, if each scenario has the same effect.
_THE_SAME = {
    "duplicate-statement": _EFFECT.format("and does something once more"),
    "duplicate-instruction": _EFFECT.format("and does something once more"),
    "drop-volatile": _EFFECT.format("though the compiler was free to do otherwise"),
}
#: By the toolchain: flags by which its compiler has bounds checked, and traps where they are left.
_CHECKED = {
    "zig": ("-fsanitize=bounds,object-size,shift", "-fsanitize-trap=bounds,object-size,shift"),
    "gcc": ("-fsanitize=bounds,object-size,shift", "-fsanitize-undefined-trap-on-error"),
}
_BATCHES = (2, 6, 24)  # scenarios that are run together, before all the others


class Court:
    """Judges the mutants of one guest."""

    def __init__(self, plan: Plan, spec: Spec, folder: Path, *, learns: bool = True) -> None:
        """``folder`` is for what is built meanwhile.

        A court that ``learns`` begins with what has noticed most mutants, so who notices one depends on those before.

        Raises as :func:`farm.guest.build.image`.
        """
        self._learns = learns
        self.spec, self._folder = spec, folder
        self._lock = threading.RLock()  # while something is learnt of the guest as it is
        self.workshop = Workshop(spec, folder)
        self.texts: list[Text] = texts(spec, folder)
        wanted: dict[str, list[Scenario]] = {}
        for planned in plan.cells:
            if planned.verdict is None and plan.spec(planned.cell) == spec:
                wanted.setdefault(planned.cell.engine, []).append(plan.scenarios[planned.cell.scenario])
        order = sorted(wanted, key=lambda name: name != _PROVING)
        self._wanted = {name: wanted[name] for name in order}
        self._passing: dict[str, tuple[Scenario, ...]] = {}
        self._reached: dict[str, Reach | None] = {}
        self._checked: Workshop | None = None  # whose compiler checks bounds
        self._kills: Counter[str] = Counter()  #: by scenario: mutants that it was the first to notice
        self._inquiry = Inquiry(spec, folder)
        self._refuted_before: frozenset[tuple[str, str, str]] | None = None
        self._broken_before: frozenset[str] | None = None
        self._effects_before: list[list[tuple[object, ...]]] | None = None

    def close(self) -> None:
        """Remove what was built."""
        clear(self._folder)

    def _sound(self, engine: str) -> tuple[Scenario, ...]:
        """The scenarios that an engine runs as it should, with nothing broken."""
        with self._lock:
            if engine not in self._passing:
                bench, scenarios = self._bench(self.workshop.image, engine), self._wanted[engine]
                replies = bench.replies([bench.encode(scenario) for scenario in scenarios])
                pairs = zip(scenarios, replies, strict=True)
                sound = tuple(scenario for scenario, reply in pairs if bench.judged(scenario, reply).verdict in PASSED)
                self._passing[engine] = sound
            return self._passing[engine]

    def _reach(self, engine: str) -> Reach | None:
        """What the scenarios reach on an engine; None if it does not tell."""
        with self._lock:
            if engine not in self._reached:
                bench = Bench.of(self.spec, engine, _PROOF_TIMEOUT, built=self.workshop.image)
                tells = isinstance(bench.engine, CountsBlocks)
                reach = Reach(bench, self.texts, self._telling(engine)) if tells else None
                self._reached[engine] = reach if reach and reach.tells else None  # not every emulator has a log
            return self._reached[engine]

    def _telling(self, engine: str) -> tuple[Scenario, ...]:
        """The scenarios that an engine is asked about what they execute.

        An engine without a profile is not asked about those that another such has told of: it is the same code.
        """
        engines = list(self._wanted)
        others = engines[: engines.index(engine)] if ":" not in engine else []
        told = {s.name for other in others if ":" not in other and self._reach(other) for s in self._sound(other)}
        return tuple(scenario for scenario in self._sound(engine) if scenario.name not in told)

    def _bench(self, image: Image, engine: str) -> Bench:
        return Bench.of(self.spec, engine, TIMEOUT, built=image)

    def judge(self, broken: Broken) -> Judged:
        """What becomes of a mutant."""
        began = time.perf_counter()
        work = Path(tempfile.mkdtemp(dir=self.workshop.folder))
        try:
            judged = self._judged(broken, work)
        finally:
            clear(work)
        seconds = round(time.perf_counter() - began, 3)
        return msgspec.structs.replace(judged, seconds=seconds, digest=broken.digest)

    def _judged(self, broken: Broken, work: Path) -> Judged:
        mutant = broken.mutant
        try:
            objects = self.workshop.compiled(broken, work)
            if not objects:
                return Judged(mutant, Outcome.EQUIVALENT, why="the compiler makes the same code of it")
            image = self.workshop.link(objects, work)
        except BuildError as error:
            return Judged(mutant, Outcome.NOT_BUILT, why=_complaint(error))
        except ImageError as error:
            return Judged(mutant, Outcome.KILLED, by="image", why=str(error).splitlines()[0])
        if self.workshop.is_same(image):
            return Judged(mutant, Outcome.EQUIVALENT, why="linked, it is the same code and data")
        is_reached = self._is_reached(broken)  # else no scenario can notice
        for engine in self._wanted if is_reached else ():
            if killer := self._run(image, engine, self._order(broken, engine)):
                scenario, result = killer
                self._kills[scenario.name] += self._learns
                by = f"{scenario.id} {scenario.name}"
                return Judged(mutant, Outcome.KILLED, by, engine, f"{result.verdict}: {result.reason}")
        proofs = self._disproved(image) if is_reached else ()
        for by, engine, why in itertools.chain(self._inquiry.complaints(broken, work), proofs):
            return Judged(mutant, Outcome.KILLED, by, engine, why, proved=True)
        if not is_reached:
            return self._unreachable(broken, "no scenario executes the statement")
        if trapped := self._trapped(broken, work):
            scenario, result = trapped
            why = f"built with the compiler's checks of bounds, {scenario.id} {scenario.name}: {result.reason}"
            return Judged(mutant, Outcome.KILLED, "bounds", next(iter(self._wanted)), why, proved=True)
        return self._survived(broken, objects, image, work)

    # Scenarios.

    def _lines(self, broken: Broken) -> list[tuple[str, int]]:
        """Lines of the statement that is broken."""
        return [(broken.text.name, n) for n in range(broken.mutation.line, broken.mutation.last + 1)]

    def _order(self, broken: Broken, engine: str) -> list[Scenario]:
        """The scenarios of an engine: those that reach the broken line, by how many mutants they noticed; the others.

        Behind the first engine the others are only those that it did not run.
        """
        scenarios = self._sound(engine)
        first = next(iter(self._wanted))
        reach = self._reach(first)
        if reach is None:
            return list(scenarios)
        relevant, known = reach.relevant(self._lines(broken)), {scenario.name for scenario in self._sound(first)}
        kept = [s for s in scenarios if engine == first or s.name in relevant or s.name not in known]
        return sorted(kept, key=lambda s: (s.name not in relevant, -self._kills[s.name]))

    def _run(self, image: Image, engine: str, order: Sequence[Scenario]) -> tuple[Scenario, Result] | None:
        """The first scenario that notices, and what; None: none does."""
        bench = self._bench(image, engine)
        at = 0
        for size in (*_BATCHES, len(order)):
            part = order[at : at + size]
            at += len(part)
            noticed = None
            replies = bench.replies([bench.encode(scenario) for scenario in part])
            for scenario, reply in zip(part, replies, strict=False):
                if noticed is None:
                    result = bench.judged(scenario, reply)
                    if result.verdict is Verdict.ENGINE_ERROR:  # of the mutant, or of the emulator by itself
                        (again,) = bench.replies([bench.encode(scenario)], fresh=True)
                        result = bench.judged(scenario, again)
                    noticed = (scenario, result) if result.verdict in FAILED else None
                if noticed and noticed[1].verdict is Verdict.TIMEOUT:  # the others may take as long
                    replies.close()
                    break
            if noticed:
                return noticed
        return None

    # Proofs.

    def _disproved(self, image: Image) -> Iterator[tuple[str, str, str]]:
        """Proofs that go wrong, the engine, and how."""
        if _PROVING not in self._wanted:
            return
        known = self._refuted()
        for proof in self._proofs(image):
            if proof.finding is Finding.REFUTED and _key(proof) not in known:
                by = "interleave" if proof.call else "coherence"
                yield by, _PROVING, f"{proof.request}, {proof.reader}: {proof.why}"
        broken = self._rules_broken()
        for audited in self._audited(image):
            if audited.verdict is Verdict.RULE_BROKEN and audited.cell.scenario not in broken:
                yield "rules", _PROVING, audited.reason or ""

    def _proofs(self, image: Image) -> Iterator[Proof]:
        """The proofs of a guest; what cannot be followed ends them."""
        bench = Bench.of(self.spec, _PROVING, _PROOF_TIMEOUT, built=image)
        if isinstance(bench.engine, Explores) and bench.engine.explores(self.spec.variant):
            with contextlib.suppress(FarmError):
                guest = Guest(bench)
                yield from coherence(guest, requests_named(), mutants=False)
                yield from interleave(guest, requests_named())

    def _audited(self, image: Image) -> Iterator[Audited]:
        """The audit of every scenario."""
        bench = Bench.of(self.spec, _PROVING, _PROOF_TIMEOUT, built=image)
        if not bench.unwatchable:
            yield from Auditing.of(bench).cells(self._sound(_PROVING))

    def _refuted(self) -> frozenset[tuple[str, str, str]]:
        """Proofs that go wrong with nothing broken."""
        with self._lock:
            if self._refuted_before is None:
                proofs = self._proofs(self.workshop.image)
                self._refuted_before = frozenset(_key(proof) for proof in proofs if proof.finding is Finding.REFUTED)
            return self._refuted_before

    def _rules_broken(self) -> frozenset[str]:
        """Scenarios in which a rule is broken with nothing else broken."""
        with self._lock:
            if self._broken_before is None:
                audited = self._audited(self.workshop.image)
                broken = (each.cell.scenario for each in audited if each.verdict is Verdict.RULE_BROKEN)
                self._broken_before = frozenset(broken)
            return self._broken_before

    # Bounds.

    def _trapped(self, broken: Broken, work: Path) -> tuple[Scenario, Result] | None:
        """The first scenario in which patch code leaves an array, or shifts too far, and what was seen of that.

        What is broken is built with the compiler's own checks, and so is what is not: only if that passes is it told.
        """
        flags = _CHECKED.get(self.spec.toolchain)
        first = next(iter(self._wanted))
        if not flags:
            return None
        with self._lock:
            if self._checked is None:
                self._checked = Workshop(self.spec, Path(tempfile.mkdtemp(dir=self._folder)), flags)
        (place := work / "checked").mkdir()
        with contextlib.suppress(BuildError, ImageError):
            objects = self._checked.compiled(broken, place)
            image = self._checked.link(objects, place) if objects else None
            if image and (found := self._run(image, first, self._order(broken, first))):
                (place := work / "unbroken").mkdir()
                plain = self._checked.link({source: self._checked.plain(source) for source in objects}, place)
                return None if self._run(plain, first, [found[0]]) else found
        return None

    # Survivors.

    def _survived(self, broken: Broken, objects: dict[Path, bytes], image: Image, work: Path) -> Judged:
        """What is to be said of a mutant that nobody noticed."""
        if all(not self._executes(source, made, image) for source, made in objects.items()):
            return self._unreachable(broken, "no scenario executes an instruction that differs")
        if self._never_fails(broken, work):
            return self._unreachable(broken, "what is checked for is the case in no scenario")
        if unlinked := without_absent(self.workshop, broken):
            return Judged(broken.mutant, Outcome.EQUIVALENT, why=unlinked)
        if needless := self._needless(broken):
            return Judged(broken.mutant, Outcome.EQUIVALENT, why=needless)
        if (why := _THE_SAME.get(broken.mutant.operator)) and self._does_the_same(image):
            return Judged(broken.mutant, Outcome.EQUIVALENT, why=why)
        return Judged(broken.mutant, Outcome.HOLE)

    def _unreachable(self, broken: Broken, why: str) -> Judged:
        """The judgement on a mutant that nothing executes: ``why``, or the reason that the source itself gives."""
        excused = excuses(broken.text.path, self.spec.variant.name)
        reasons = (excused[number] for _, number in self._lines(broken) if number in excused)
        return Judged(broken.mutant, Outcome.UNREACHABLE, why=next(reasons, why))

    def _never_fails(self, broken: Broken, work: Path) -> bool:
        """A check is left out that does nothing by itself, and in no scenario what it looks for is the case.

        That is seen by a guest that has a trap in place of what depends on it.
        """
        mutation, content = broken.mutation, broken.text.content
        check = _CHECK.match(content[mutation.start : mutation.end])
        if mutation.operator != "skip-check" or not check or mutation.replacement != b";":
            return False
        trap = mutation._replace(replacement=check[1] + b" __builtin_trap();")
        (place := work / "trap").mkdir()
        with contextlib.suppress(BuildError, ImageError):
            objects = self.workshop.compiled(replace(broken, mutation=trap), place)
            image = self.workshop.link(objects, place)
            return not any(self._run(image, engine, self._telling(engine)) for engine in self._wanted)
        return False

    def _needless(self, broken: Broken) -> str:
        """The rule by which what is broken need not be done at all; empty if there is none.

        It is maintenance, where fetches are coherent; or a barrier, where others are held off until the request is
        over.  By then scenarios and proofs have run, and are clean.
        """
        variant = self.spec.variant
        coherence_ = variant.coherence
        lines = broken.text.content.split(b"\n")
        first, last = broken.mutation.line - 1, broken.mutation.last
        if self.spec.made_by.at(variant).patching == "quiesced" and b"store_barrier(" in b" ".join(lines[first:last]):
            return (
                "it is a barrier for other CPUs, and these are held off until the request is over (patching: quiesced)"
            )
        if coherence_.fetch != "coherent" or coherence_.maintenance:
            return ""
        about = (lines[first:last], lines[first : last + 1], lines[max(first - 1, 0) : last])
        if any(_MAINTAINING.fullmatch(b" ".join(each)) for each in about):
            return (
                f"it is maintenance, and fetches are coherent with stores here ({coherence_.manual}); proofs are clean"
            )
        return ""

    def _does_the_same(self, image: Image) -> bool:
        """Every scenario makes the same changes and does the same maintenance, some of it several times in a row."""
        if _PROVING not in self._wanted:
            return False
        with self._lock:
            if self._effects_before is None:
                self._effects_before = self._effects(self.workshop.image)
        return bool(self._effects_before) and self._effects(image) == self._effects_before

    def _effects(self, image: Image) -> list[list[tuple[object, ...]]]:
        """Of every scenario: what it changes in code, and the maintenance, in order; none if no engine tells."""
        bench = Bench.of(self.spec, _PROVING, _PROOF_TIMEOUT, built=image)
        if bench.unwatchable:
            return []
        assert isinstance(bench.engine, Watches)
        made = watching(bench.variant, image, bench.engine)
        replies = bench.watched([bench.encode(scenario) for scenario in self._sound(_PROVING)], made.watch)
        return [_told(reply.notes, made) for reply in replies]

    def _is_reached(self, broken: Broken) -> bool:
        """A scenario executes the statement that is broken; a macro, which has no code of its own, is reached."""
        name, content = broken.text.name, broken.text.content.split(b"\n")
        tells = False
        for engine in self._wanted:  # each is asked only if none before it reaches it
            if reach := self._reach(engine):
                tells, lines = True, set(self._lines(broken))
                if not reach.code & lines:  # nothing is left of it but what is inlined there: see what is around
                    lines = {(name, number) for number in _around(content, broken.mutation, name, reach.code)}
                if not lines or reach.reached & lines:
                    return True
        return not tells

    def _executes(self, source: Path, made: bytes, image: Image) -> bool:
        """Some scenario executes an instruction in which the object of ``source`` differs from its own."""
        variant = self.spec.variant
        if not variant.disassembler:
            return True
        before, after = Code.of(variant, self.workshop.plain(source)), Code.of(variant, made)
        differs = difference(before, after)
        if differs.data:
            return True
        gone, come = places(before, self.workshop.image, differs.before), places(after, image, differs.after)
        if gone is None or come is None:
            return True
        return self._meets(self.workshop.image, gone) or self._meets(image, come)

    def _meets(self, image: Image, wanted: Sequence[range]) -> bool:
        """Some scenario, on some engine, executes one of the ``wanted`` instructions."""
        if not wanted:
            return False
        first = min(each.start for each in wanted)  # a block that has it may begin where its function does
        start = max(
            (at for each in image.functions.values() if (at := each & ~image.function_bias) <= first), default=first
        )
        tells = False
        for engine in self._wanted:  # each is asked only if none before it meets one
            if not self._reach(engine):
                continue
            tells = True
            bench = Bench.of(self.spec, engine, _PROOF_TIMEOUT, built=image)
            assert isinstance(bench.engine, CountsBlocks)
            span = range(start, max(each.stop for each in wanted))
            programs = [bench.encode(scenario) for scenario in self._telling(engine)]
            _, blocks = bench.blocks(programs, [span]) if programs else ([], {})
            if any(block.start < each.stop and each.start < block.end for block in blocks for each in wanted):
                return True
        return not tells


def _told(notes: Sequence[Note], made: Watching) -> list[tuple[object, ...]]:
    """What ``notes`` say, but for stores of what is there already, and for maintenance that is done again at once.

    Where a store is to and its size tell it: what it stores may differ where a target has moved, and scenarios look
    where that leads.
    """
    told: list[tuple[object, ...]] = []
    steps = 0  # of the maintenance that are told last
    for note in notes:
        if note.kind == Noted.INSTRUCTION:
            told.append((note.kind, made.meanings[note.place].steps, note.value))
            steps += 1
            for size in range(1, steps // 2 + 1):
                if told[-size:] == told[-2 * size : -size]:
                    del told[-size:]
                    steps -= size
                    break
        elif note.kind != Noted.STORE or note.before != note.after:
            told.append((note.kind, *((note.place, len(note.after)) if note.kind == Noted.STORE else ())))
            steps = 0
    return told


def _around(content: Sequence[bytes], mutation: Mutation, name: str, code: frozenset[tuple[str, int]]) -> Iterator[int]:
    """Numbers of the lines with code that stand nearest above and below a mutation, in the same function."""
    for number in range(mutation.line - 1, 0, -1):
        line = content[number - 1]
        if line.startswith((b"}", b"#define")) or (line[:1].isalpha() and line.endswith(b"}")):
            break
        if (name, number) in code:
            yield number
            break
    for number in range(mutation.last + 1, len(content) + 1):
        if (name, number) in code:
            yield number
            break
        if not content[number - 1][:1].isspace() and not content[number - 1].startswith(b"#"):
            break


def _key(proof: Proof) -> tuple[str, str, str]:
    return proof.request, proof.call, proof.reader


def _complaint(error: BuildError) -> str:
    lines = str(error).splitlines()
    return next((line.rpartition("error: ")[2] for line in lines if "error: " in line), lines[0])
