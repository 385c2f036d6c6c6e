"""The audit of cells: each scenario is run once an image, and every store to code that it makes is judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import msgspec

from farm.cell import PASSED, Cell, Verdict
from farm.engines import Note, Reply, Watch, Watches
from farm.errors import BuildError, ImageError, MissingToolError
from farm.guest import image
from farm.prove.audit import Entered, judge
from farm.prove.demands import Demands
from farm.prove.findings import Findings
from farm.prove.repeats import Repeats
from farm.prove.watching import Watching, watching
from farm.run.batch import Batch
from farm.run.bench import Bench
from farm.run.verdict import expected
from farm.scenario import Scenario


@dataclass(frozen=True)
class Audited:
    """A cell, its verdict, and what the audit found."""

    cell: Cell
    verdict: Verdict  #: ``rule-broken``, or that of its trace
    reason: str | None  #: of the verdict, or why it could not be audited
    findings: Findings = field(default_factory=Findings)

    @property
    def is_audited(self) -> bool:
        return self.verdict is Verdict.RULE_BROKEN or self.verdict in PASSED


@dataclass(frozen=True)
class Image:
    """What the audit of an image found."""

    spec: image.Spec
    cells: tuple[Audited, ...]
    undecoded: int = 0  #: bytes of its code that are no instructions to the disassembler
    unaudited: str = ""  #: why nothing of it could be audited


class Auditing:
    """The audit of programs on one bench, whose engine is one of :class:`~farm.engines.Watches`."""

    def __init__(self, bench: Bench, demands: Demands, watched: Watching, limit: int) -> None:
        self._bench, self._demands = bench, demands
        self._repeats = Repeats()
        self.watched = watched
        self._limit = limit

    @classmethod
    def of(cls, bench: Bench, *, limit: int = 0, strict: bool = False) -> Self:
        """The audit on ``bench`` of the first ``limit`` requests of each program, or of all.

        With ``strict``, what no manual promises is a breach although somebody relies on it.
        """
        assert isinstance(bench.engine, Watches)
        spec = bench.spec
        watched = watching(spec.variant, bench.image, bench.engine)
        return cls(bench, Demands(spec.variant, spec.made_by, bench.image, watched, strict=strict), watched, limit)

    def cells(self, scenarios: Sequence[Scenario]) -> Iterator[Audited]:
        """Each of ``scenarios``, run and audited."""
        programs = [self._bench.encode(scenario) for scenario in scenarios]
        for scenario, program, reply in zip(scenarios, programs, self._replies(programs), strict=True):
            result = self._bench.judged(scenario, reply)
            audited = Audited(result.cell, result.verdict, result.reason)
            if result.verdict in PASSED:
                findings = self._retold(scenario, program, self._judged(scenario, reply.notes))
                audited = replace(audited, findings=findings)
                if findings.breaches:
                    audited = replace(audited, verdict=Verdict.RULE_BROKEN, reason=findings.breaches[0].story)
            yield audited

    def findings(self, scenario: Scenario, program: bytes, notes: Sequence[Note] | None = None) -> Findings | None:
        """What the audit finds in ``program``, which is of ``scenario`` and of whose run these are the ``notes``.

        Without notes it is run; None if it does not do what it should then.
        """
        if notes is None:
            (reply,) = self._replies([program])
            if self._bench.judged(scenario, reply).verdict not in PASSED:
                return None
            notes = reply.notes
        return self._retold(scenario, program, self._judged(scenario, notes))

    def watch(self, *, pcs: bool = False) -> Watch:
        """What must be noted of a program; with ``pcs``, the instructions that store, too."""
        return msgspec.structs.replace(self.watched.watch, most=self._limit, pcs=pcs)

    def _retold(self, scenario: Scenario, program: bytes, findings: Findings) -> Findings:
        """``findings`` with the instructions that stored, if there is a breach: it is run once more for them."""
        if not findings.breaches:
            return findings
        (reply,) = self._replies([program], pcs=True)
        if self._bench.judged(scenario, reply).verdict not in PASSED:
            return findings
        again = self._judged(scenario, reply.notes)
        return again if again.breaches else findings

    def _judged(self, scenario: Scenario, notes: Sequence[Note]) -> Findings:
        bench = self._bench
        events, _, _ = expected(scenario, bench.features, big_endian=bench.image.big_endian)
        return judge(self._demands, notes, Entered.of(events), self._repeats)

    def _replies(self, programs: Sequence[bytes], *, pcs: bool = False) -> Iterator[Reply]:
        return self._bench.watched(programs, self.watch(pcs=pcs))


def audit(batch: Batch, *, strict: bool = False) -> Image:
    """Run ``batch`` and judge every store to code.

    With ``strict``, what no manual promises is a breach although somebody relies on it.
    """
    spec = batch.spec
    try:
        bench = batch.bench()
    except (BuildError, ImageError, MissingToolError) as error:
        return Image(spec, (), unaudited=str(error).splitlines()[0])
    if reason := bench.unwatchable:
        return Image(spec, (), unaudited=reason)
    auditing = Auditing.of(bench, strict=strict)
    return Image(spec, tuple(auditing.cells(batch.scenarios)), auditing.watched.undecoded)
