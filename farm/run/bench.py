"""A bench: an image on an engine, which runs programs and answers with results."""

from __future__ import annotations

import functools
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import msgspec

from farm.cell import UNSURE, Cell, Verdict
from farm.engines import CountsBlocks, CrossChecks, Engine, Locates, Reply, TellsPath, TellsSteps, Watches, engine_named
from farm.guest import build
from farm.guest.image import Image, Spec
from farm.processes import Stopping, stopping
from farm.run import measured, plan
from farm.run.verdict import Judge, Result
from farm.scenario import Scenario, wire

if TYPE_CHECKING:
    from collections import Counter

    from farm.engines import Block, Steps, Watch
    from farm.engines.child import Session
    from farm.guest.variant import Variant


@dataclass(frozen=True, eq=False)
class Bench:
    """An image on an engine.

    Four of its methods need an engine that can do more than run programs, which is for the caller to ask of it:
    :meth:`path` (:class:`~farm.engines.TellsPath`), :meth:`steps` (:class:`~farm.engines.TellsSteps`), :meth:`watched`
    (:class:`~farm.engines.Watches`) and :meth:`blocks` (:class:`~farm.engines.CountsBlocks`).
    """

    spec: Spec
    image: Image
    engine_name: str  #: as in a cell, with its profile
    engine: Engine
    timeout: float  #: seconds a program
    options: str = ""  #: of the command line, that a reproducer needs
    kept: bool = False  #: programs are sent with :data:`~farm.scenario.layout.KEEP`, so the guest does not reset

    @classmethod
    def of(
        cls,
        spec: Spec,
        engine: str,
        timeout: float,
        options: str = "",
        built: Image | None = None,
        *,
        kept: bool = False,
    ) -> Self:
        """The bench of ``spec`` on ``engine``, named as in a cell.  The image is built, unless it is at hand.

        Raises what :func:`farm.guest.build.image` does.
        """
        return cls(spec, built or build.image(spec), engine, engine_named(engine), timeout, options, kept)

    def __str__(self) -> str:
        return f"{self.spec}/{self.engine_name}"

    @functools.cached_property
    def variant(self) -> Variant:
        """The variant as the engine's profile runs it."""
        return self.spec.variant.profiled(self.engine_name)

    @functools.cached_property
    def features(self) -> frozenset[str]:
        """Features of the CPU model."""
        return self.spec.variant.features(self.engine_name)

    @functools.cached_property
    def judge(self) -> Judge:
        """The judge of what comes back."""
        blind_to = measured.blind_to(self.engine, self.variant, alias=self.spec.made_by.alias)
        return Judge(self.image, self.features, self.options, blind_to=blind_to, kept=self.kept)

    def cell(self, scenario: Scenario) -> Cell:
        """The cell that ``scenario`` is here."""
        spec = self.spec
        return Cell(scenario.name, spec.variant.name, spec.mechanism, spec.toolchain, self.engine_name)

    def can_run(self, scenario: Scenario) -> bool:
        """Tell whether ``scenario`` has a cell here."""
        return plan.cannot_run(scenario, self.spec.variant, self.spec.made_by, self.engine_name) is None

    @property
    def unwatchable(self) -> str:
        """Why no store can be audited here; empty if any can."""
        if not isinstance(self.engine, Watches):
            return f"{self.engine.name} notes no stores"
        if not self.engine.watches(self.variant):
            return f"{self.engine.name} calls no hook for an instruction of {self.variant.name}"
        return ""

    def encode(self, scenario: Scenario) -> bytes:
        """The program of ``scenario``."""
        return wire.encode(scenario, big_endian=self.image.big_endian)

    def judged(self, scenario: Scenario, reply: Reply) -> Result:
        """The result that ``reply`` is, whatever ran ``scenario``."""
        return self.judge.judge(self.cell(scenario), scenario, reply, 0.0)

    # Running.

    def replies(self, programs: Sequence[bytes], *, fresh: bool = False) -> Generator[Reply, None, None]:
        """Yield one reply a program, each from the pristine image; with ``fresh`` from a child that has run nothing.

        Raises :class:`~farm.processes.Stopping` as soon as the run is ended.
        """
        return _believed(self.engine.run(self.image, self.variant, programs, self.timeout, fresh=fresh))

    def cross_checks(self, programs: Sequence[bytes]) -> Generator[Reply, None, None]:
        """Yield one reply a program in the engine's slow mode; none at all if it has no such mode.

        Raises :class:`~farm.processes.Stopping` as soon as the run is ended.
        """
        engine = self.engine
        if not programs or not isinstance(engine, CrossChecks):
            return _believed(())
        return _believed(engine.cross_check(self.image, self.variant, programs, self.timeout))

    def result(self, scenario: Scenario, reply: Reply | None = None) -> Result:
        """The result of ``scenario``, of which this is the ``reply`` if it has run; a failure is tried once more.

        Raises :class:`~farm.processes.Stopping`.
        """
        if reply is None:
            (reply,) = self.replies([self.encode(scenario)])
        first = self.judged(scenario, reply)
        return self.confirmed(scenario, first) if first.verdict in UNSURE else first

    def confirmed(self, scenario: Scenario, first: Result) -> Result:
        """The result of ``scenario`` run again on fresh state: the same failure is believed, anything else is flaky.

        Raises :class:`~farm.processes.Stopping`.
        """
        program = self.encode(scenario)
        (reply,) = self.replies([program], fresh=True)
        if reply.failure == "crash" and reply.pc is None:
            reply = Reply(failure=reply.failure, detail=reply.detail, pc=self.locate(program))
        second = self.judge.judge(first.cell, scenario, reply, first.seconds, first.began)
        if (second.verdict, second.trace) == (first.verdict, first.trace):
            return msgspec.structs.replace(second, retried=first.retried)
        outcomes = f"first {first.verdict} ({first.reason}), then {second.verdict} ({second.reason or 'as expected'})"
        return msgspec.structs.replace(first, verdict=Verdict.FLAKY, reason=outcomes)

    def locate(self, program: bytes) -> int | None:
        """The address at which ``program`` crashes, where replies do not say it; None if it is not found."""
        engine = self.engine
        return engine.locate(self.image, self.variant, program, self.timeout) if isinstance(engine, Locates) else None

    def session(self, *, fresh: bool = False) -> Session:
        """A child for one guest alone (:meth:`farm.engines.Engine.session`)."""
        return self.engine.session(self.image, self.variant, self.timeout, fresh=fresh)

    # What only some engines can do.

    def path(self, program: bytes) -> Reply:
        """A reply with nothing but the path of ``program``."""
        assert isinstance(self.engine, TellsPath)
        return self.engine.path(self.image, self.variant, program, self.timeout)

    def steps(self, program: bytes) -> tuple[Reply, Steps | None]:
        """The reply to ``program``, and all that it did; None if the emulator itself failed."""
        assert isinstance(self.engine, TellsSteps)
        return self.engine.steps(self.image, self.variant, program, self.timeout)

    def watched(self, programs: Sequence[bytes], watch: Watch) -> Generator[Reply, None, None]:
        """Yield one reply a program with the notes that ``watch`` wants.

        Raises :class:`~farm.processes.Stopping` as soon as the run is ended.
        """
        assert isinstance(self.engine, Watches)
        return _believed(self.engine.watch(self.image, self.variant, programs, self.timeout, watch))

    def blocks(self, programs: Sequence[bytes], watched: Sequence[range]) -> tuple[list[Reply], Counter[Block]]:
        """The replies to ``programs``, and how often each block in the ``watched`` addresses was executed."""
        assert isinstance(self.engine, CountsBlocks)
        return self.engine.blocks(self.image, self.variant, programs, self.timeout, watched)


def _believed(replies: Iterable[Reply]) -> Generator[Reply, None, None]:
    """The replies up to when the run is ended: what a child that was killed leaves behind tells nothing."""
    for reply in replies:
        if stopping():
            raise Stopping
        yield reply
