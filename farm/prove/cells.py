"""The audit of cells: each scenario is run once an image, and every store to code that it makes is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from farm.cell import PASSED, Cell, Verdict
from farm.engines import Watches
from farm.errors import BuildError, ImageError, MissingToolError
from farm.guest import image
from farm.prove.audit import Entered, Findings, judge
from farm.prove.demands import Demands
from farm.prove.watching import watching
from farm.run.batch import Batch
from farm.run.bench import Bench
from farm.run.verdict import expected


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


def audit(batch: Batch, *, strict: bool = False) -> Image:
    """Run ``batch`` and judge every store to code.

    With ``strict``, what no manual promises is a breach although somebody relies on it.
    """
    spec = batch.spec
    try:
        bench = batch.bench()
    except (BuildError, ImageError, MissingToolError) as error:
        return Image(spec, (), unaudited=str(error).splitlines()[0])
    if reason := unwatchable(bench):
        return Image(spec, (), unaudited=reason)
    engine = bench.engine
    assert isinstance(engine, Watches)
    watched = watching(spec.variant, bench.image, engine)
    demands = Demands(spec.variant, spec.made_by, bench.image, watched, strict=strict)
    programs = [bench.encode(scenario) for scenario in batch.scenarios]
    replies = engine.watch(bench.image, bench.variant, programs, batch.timeout, watched.watch)
    cells = []
    for scenario, reply in zip(batch.scenarios, replies, strict=True):
        result = bench.judged(scenario, reply)
        audited = Audited(result.cell, result.verdict, result.reason)
        if result.verdict in PASSED:
            events, _, _ = expected(scenario, bench.features, big_endian=bench.image.big_endian)
            findings = judge(demands, reply.notes, Entered.of(events))
            audited = replace(audited, findings=findings)
            if findings.breaches:
                audited = replace(audited, verdict=Verdict.RULE_BROKEN, reason=findings.breaches[0].story)
        cells.append(audited)
    return Image(spec, tuple(cells), watched.undecoded)


def unwatchable(bench: Bench) -> str:
    """Why nothing of the image on ``bench`` can be audited; empty if it can."""
    engine, variant = bench.engine, bench.spec.variant
    if not isinstance(engine, Watches):
        return f"{engine.name} notes no stores"
    if not engine.watches(variant):
        return f"{engine.name} calls no hook for an instruction of {variant.name}"
    return ""


def total(cells: Sequence[Audited]) -> Findings:
    """What the audit found in all of ``cells``."""
    findings = Findings()
    for each in cells:
        findings.add(each.findings)
    return findings
