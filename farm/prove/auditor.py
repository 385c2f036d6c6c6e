"""The audit that ``farm run`` does besides: the first requests of each cell, once an image and scenario.

Where some cell of a batch has not been audited yet all run under the watch, and those that pass are judged by what it
noted.  A breach makes a cell ``rule-broken``; it is then run again for the instructions that store, which to read for
each store makes some architectures slow.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from farm.cell import Verdict
from farm.engines import Note, Watch, Watches
from farm.prove import memory
from farm.run.bench import Bench
from farm.run.verdict import Result, reproducer
from farm.scenario import Defect, Scenario

if TYPE_CHECKING:
    from farm.prove.cells import Auditing

#: Requests of a cell that are audited by default.
FIRST = 16


@dataclass(frozen=True)
class Auditor:
    """Auditor of the cells of a run.  Picklable, so that a worker elsewhere can audit as well."""

    limit: int = FIRST  #: requests of a cell; 0: all
    options: str = ""  #: of the command line, that a reproducer needs

    def open(self, bench: Bench) -> Audit | None:
        """The audit of cells on ``bench``; None if nothing there can be audited."""
        return None if bench.unwatchable else Audit(self, bench)


class Audit:
    """The audit of the cells on one bench."""

    def __init__(self, auditor: Auditor, bench: Bench) -> None:
        assert isinstance(bench.engine, Watches)
        self._auditor, self._bench = auditor, bench
        key = memory.key(bench.image, bench.variant, bench.engine.name, auditor.limit)
        self._memory = memory.Memory(bench.image, bench.engine_name, auditor.limit, key)
        self._passed = self._memory.recall()
        self._learnt: dict[str, bool] = {}
        self._shows = _shown(bench)

    @functools.cached_property
    def _auditing(self) -> Auditing:
        from farm.prove.cells import Auditing  # what has passed already needs nothing of it

        return Auditing.of(self._bench, limit=self._auditor.limit)

    def watch(self, programs: Iterable[bytes]) -> Watch | None:
        """What must be noted as these ``programs`` run; None: nothing, for all have been audited before."""
        is_known = all(memory.program_digest(program) in self._passed for program in programs)
        return None if is_known else self._auditing.watch()

    def of(self, scenario: Scenario, program: bytes, passed: Result, notes: Sequence[Note] | None) -> Result:
        """The result of a cell that has ``passed``, audited now or before; without ``notes`` of how, it is run again.

        Raises :class:`~farm.processes.Stopping`.
        """
        digest = memory.program_digest(program)
        is_whole = self._passed.get(digest)
        if is_whole is None:
            findings = self._auditing.findings(scenario, program, notes)
            if findings is None:  # it does not do what it did before, which is told where that is looked for
                return passed
            if findings.breaches:
                return self._broken(passed, findings.breaches[0].story)
            is_whole = self._learnt[digest] = not findings.unaudited
        return self._audited(scenario, passed) if is_whole else passed

    def close(self) -> None:
        """Remember what has passed."""
        if self._learnt:
            self._memory.remember(self._learnt)

    def _audited(self, scenario: Scenario, passed: Result) -> Result:
        """The result of a cell of which all was judged."""
        sensitive = passed.sensitive or bool(scenario.detects & self._shows)
        verdict = Verdict.PASS if sensitive else passed.verdict
        return msgspec.structs.replace(passed, verdict=verdict, sensitive=sensitive, audited=True)

    def _broken(self, result: Result, story: str) -> Result:
        return msgspec.structs.replace(
            result,
            verdict=Verdict.RULE_BROKEN,
            reason=story,
            sensitive=True,
            audited=True,
            reproduce=reproducer(result.cell, self._auditor.options),
        )


def _shown(bench: Bench) -> frozenset[Defect]:
    """Defects that no trace shows on ``bench`` and an audit does."""
    variant, mechanism = bench.spec.variant, bench.spec.made_by.at(bench.spec.variant)
    shows = set()
    steps = variant.coherence.maintenance
    if mechanism.pokes and steps and not any(step.unaudited for step in steps):
        shows.add(Defect.STALE_FETCH)
    if mechanism.patching == "concurrent":
        shows.add(Defect.TORN_STORE)
    return frozenset(shows)
