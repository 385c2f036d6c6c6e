"""Reports: everything is derived from results, so a report can be made again from ``results.jsonl``."""

from __future__ import annotations

import functools
import operator
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.cell import SKIPPED, EngineName, Verdict
from farm.guest.controls import has_control
from farm.prove import proofs_of
from farm.run.verdict import Result
from farm.text import counted

if TYPE_CHECKING:
    from farm.measure.cost import Cost
    from farm.measure.coverage import Coverage
    from farm.report.mutants import Document as Mutants
    from farm.report.proof import Document
    from farm.report.table import Table
    from farm.run.journal import Run
    from farm.run.plan import Plan
    from farm.scenario import Defect

_ORDER = list(Verdict)


@dataclass(frozen=True)
class Material:
    """All that a report can be made of."""

    run: Run
    results: Sequence[Result]
    plan: Plan
    complaints: Sequence[str] = ()  #: a sentence for each thing that could not be used
    costs: Sequence[Cost] = ()
    coverage: Coverage | None = None
    tables: Sequence[Table] = ()
    proofs: Sequence[Document] = ()
    mutants: Mutants | None = None


def by_verdict(results: Iterable[Result]) -> Counter[Verdict]:
    """Number of ``results`` with each verdict."""
    return Counter(map(operator.attrgetter("verdict"), results))


def number_of(counts: Counter[Verdict], verdicts: Iterable[Verdict]) -> int:
    """Number of those in ``counts`` (:func:`by_verdict`) with one of ``verdicts``."""
    return sum(counts[verdict] for verdict in verdicts)


def totals(results: Iterable[Result]) -> str:
    """Counts by verdict: ``10,652 pass, 86 pass-insensitive, 4,862 not-applicable``."""
    counts = by_verdict(results)
    return ", ".join(f"{counts[verdict]:,} {verdict}" for verdict in _ORDER if counts[verdict])


def by_kind(failures: Iterable[Result]) -> list[Result]:
    """``failures``, the first of each kind (variant, mechanism, toolchain and verdict) before all others."""
    first: dict[tuple[str, str, str, Verdict], Result] = {}
    others = []
    for result in failures:
        cell = result.cell
        if first.setdefault((cell.variant, cell.mechanism, cell.toolchain, result.verdict), result) is not result:
            others.append(result)
    return [*first.values(), *others]


def reasons(results: Iterable[Result]) -> list[tuple[str, int]]:
    """The reasons why cells did not run, each with its number of cells."""
    counts: Counter[str] = Counter()
    for result in results:
        if result.verdict in (Verdict.NOT_APPLICABLE, Verdict.NOT_RUN):
            counts[f"{result.verdict}: {result.reason}"] += 1
    return counts.most_common()


def second_attempt(result: Result) -> str:
    """The note on a cell that was run twice because the emulator failed; empty if it was run once."""
    return f"second attempt; in the first the emulator failed: {result.retried}" if result.retried else ""


def agreement(results: Sequence[Result]) -> tuple[int, int]:
    """The number of scenarios that ran in more than one cell, and how many of them left one trace everywhere.

    A scenario that asks what the CPU has may leave another trace on each kind of CPU.
    """
    agree: dict[str, bool] = {}
    for (name, _), ran in comparable(results).items():
        if len(ran) > 1:
            traces = {result.trace for result in ran}
            agree[name] = agree.get(name, True) and len(traces) == 1 and None not in traces
    return len(agree), sum(agree.values())


def agreed(results: Sequence[Result]) -> str:
    """:func:`agreement` as a sentence without its full stop; empty if nothing can be compared."""
    compared, agree = agreement(results)
    leave = "leaves" if compared == 1 else "leave"
    everywhere = "one and the same trace in every cell that ran"
    whose = "it" if compared == 1 else "them"
    return f"{agree} of {counted(compared, 'scenario')} {leave} {everywhere} {whose}" if compared else ""


def comparable(results: Iterable[Result]) -> dict[tuple[str, str | None], list[Result]]:
    """Results that should have one and the same trace, by scenario and the digest of what is expected.

    A cell that never ran, as its guest does not compile or its result is missing, agrees with none and is left out.
    """
    by_expectation: defaultdict[tuple[str, str | None], list[Result]] = defaultdict(list)
    for result in results:
        expected = result.expected
        if result.verdict not in SKIPPED and (expected is not None or result.trace is not None):
            by_expectation[result.cell.scenario, expected].append(result)
    return by_expectation


def witnesses(results: Iterable[Result]) -> dict[str, list[str]]:
    """By scenario, the engines that could have shown its defect, of those on which it ran."""
    ran = {(r.cell.scenario, r.cell.engine, r.sensitive) for r in results if r.expected is not None}
    engines: dict[str, set[str]] = {scenario: set() for scenario, _, _ in ran}
    for scenario, engine, sensitive in ran:
        if sensitive:
            engines[scenario].add(EngineName.of(engine).engine)
    return {scenario: sorted(able) for scenario, able in engines.items()}


def unwitnessed(results: Iterable[Result], plan: Plan) -> list[str]:
    """A line for each scenario that ran on no engine that could have shown its defect: which proof can."""
    lines = []
    for name, engines in sorted(witnesses(results).items()):
        if not engines and name in plan.scenarios:
            detects = plan.scenarios[name].detects
            proofs = " and ".join(proofs_of(detects))
            shown = f"{proofs} can, under Unicorn" if proofs else "no proof of the farm's can either"
            defects = " or ".join(sorted(map(str, detects)))
            lines.append(f"{name}: no engine that it ran on could have shown {defects}; {shown}")
    return lines


def uncontrolled(results: Iterable[Result], plan: Plan) -> list[str]:
    """A line for each scenario that ran with no negative control: none has ever shown that it can fail."""
    ran = {(r.cell.scenario, r.cell.mechanism) for r in results if r.verdict not in SKIPPED}

    @functools.cache  # many scenarios are about the same
    def is_controlled(defects: frozenset[Defect], mechanism: str) -> bool:
        return has_control(defects, plan.variants.values(), plan.mechanisms[mechanism])

    return [
        f"{name} has no negative control under {mechanism}: nothing shows that it can fail"
        for name, mechanism in sorted(ran)
        if name in plan.scenarios
        and mechanism in plan.mechanisms
        and not is_controlled(plan.scenarios[name].detects, mechanism)
    ]
