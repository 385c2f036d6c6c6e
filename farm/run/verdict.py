"""Verdicts: a trace against the model.

The model is the only judge.  Before the events are looked at, the header must prove that the right guest wrote the
trace, and that it lost nothing.  Whatever is wrong with a trace is the guest's: it wrote it.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from farm.cell import FAILED, Cell, Hole, Verdict
from farm.scenario import model, wire
from farm.scenario.wire import Event

if TYPE_CHECKING:
    from farm.engines import Reply
    from farm.guest.image import Image
    from farm.scenario import Defect, Scenario


#: Why the events are as expected and the cell still fails.
LEFT_BEHIND = (
    "the guest left bytes changed that its own reset does not put back: after it, text or state is not as linked"
)


class Code(msgspec.Struct, frozen=True):
    """Bytes that patching changes, in hexadecimal: as linked, and after the cell (None if the guest could not say)."""

    address: int
    before: str
    after: str | None


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of ``results.jsonl``."""

    cell: Cell
    verdict: Verdict
    reason: str | None
    trace: str | None  #: digest of the events seen; the same on every architecture
    expected: str | None
    image: str | None  #: sha256
    instructions: int | None
    seconds: float
    sensitive: bool
    observed: list[Event] | None = None
    code: Code | None = None
    reproduce: str | None = None
    began: float = 0.0  #: seconds since the epoch
    retried: str | None = None  #: what the first attempt said, if the emulator failed there
    excused: Verdict | None = None  #: what an xfail would be, were it not listed as known-bad
    audited: bool = False  #: whatever it stored to code was judged by the architecture's rules, all of it
    provisional: bool = False  #: it is still owed a retry, a confirmation or a cross-check

    @property
    def failed(self) -> bool:
        return self.verdict in FAILED


def digest(events: Sequence[Event]) -> str:
    """Digest of a trace, independent of byte order: 16 hexadecimal characters."""
    return hashlib.sha256(wire.encode_events(events, big_endian=False)).hexdigest()[:16]


def is_sensitive(scenario: Scenario, blind_to: frozenset[Defect]) -> bool:
    """An engine with this blindness can show at least one of the defects that the scenario detects."""
    return not scenario.detects <= blind_to


def reproducer(cell: Cell, options: str) -> str:
    """The command that runs this one cell; ``options`` are the paths that it needs."""
    return " ".join(part for part in ("farm run", options, cell.selectors(), "-v") if part)


def skipped(cell: Cell, hole: Hole) -> Result:
    """The result of a cell that was not run."""
    return Result(cell, hole.verdict, hole.reason, None, None, None, None, 0.0, sensitive=False)


def lost(cell: Cell) -> Result:
    """Result that a report shows of a planned cell without one: whoever should have run it died."""
    reason = "planned, but no result of it is there"
    return Result(cell, Verdict.ENGINE_ERROR, reason, None, None, None, None, 0.0, sensitive=False)


def unfinished(result: Result) -> Result:
    """Result that a report shows of a cell whose run was cut short when ``result`` was provisional."""
    so_far = f"{result.verdict}: {result.reason}" if result.reason else str(result.verdict)
    reason = f"unfinished: its run was cut short before the verdict was sure; so far {so_far}"
    return msgspec.structs.replace(result, verdict=Verdict.ENGINE_ERROR, reason=reason)


@functools.lru_cache(maxsize=8192)
def expected(scenario: Scenario, features: frozenset[str], *, big_endian: bool) -> tuple[tuple[Event, ...], bytes, str]:
    """Events, their bytes in the guest's order, and their digest."""
    events, body, wanted = _predicted(scenario, features if scenario.depends_on_cpu else frozenset())
    return events, wire.swapped(body) if big_endian else body, wanted


@functools.lru_cache(maxsize=4096)
def _predicted(scenario: Scenario, features: frozenset[str]) -> tuple[tuple[Event, ...], bytes, str]:
    events = model.predict(scenario, features)
    body = wire.encode_events(events, big_endian=False)
    return events, body, hashlib.sha256(body).hexdigest()[:16]


class Judge:
    """Judges the traces of one image: what is the same for all of its cells is worked out once."""

    def __init__(
        self,
        image: Image,
        features: frozenset[str] = frozenset(),
        options: str = "",
        *,
        blind_to: frozenset[Defect] = frozenset(),
        kept: bool = False,
    ) -> None:
        """``blind_to``: what the engine cannot show (:mod:`farm.run.measured`).

        ``kept``: the programs were sent with :data:`~farm.scenario.layout.KEEP`, so the guest did not reset.
        """
        self._image = image
        self._decoder = image.decoder()
        self._text_digest = None if kept else image.text_digest
        self._options = options
        self._features = features
        self._blind_to = blind_to

    def judge(self, cell: Cell, scenario: Scenario, reply: Reply, seconds: float, began: float = 0.0) -> Result:
        """The result for one reply, of a program that took ``seconds`` from ``began`` (since the epoch)."""
        events, body, wanted = expected(scenario, self._features, big_endian=self._image.big_endian)
        sensitive = is_sensitive(scenario, self._blind_to)
        image = self._image
        verdict, reason, trace = self.compare(reply, events, body)
        seconds, began = round(seconds, 6), round(began, 6)
        if verdict is None:
            verdict = Verdict.PASS if sensitive else Verdict.PASS_INSENSITIVE
            return Result(
                cell, verdict, None, wanted, wanted, image.sha256, None, seconds, sensitive=sensitive, began=began
            )
        seen = trace.events if trace else None
        return Result(
            cell,
            verdict,
            reason,
            digest(seen) if seen is not None else None,
            wanted,
            image.sha256,
            None,
            seconds,
            sensitive=sensitive,
            observed=seen,
            code=self._code(reply, trace),
            reproduce=reproducer(cell, self._options),
            began=began,
        )

    def compare(
        self, reply: Reply, events: tuple[Event, ...], body: bytes
    ) -> tuple[Verdict | None, str, wire.Trace | None]:
        """None if the reply is as expected, else what it is, why, and what can be read of the trace."""
        if reply.failure:
            where = f" in {self._image.name_of(reply.pc)} (pc {reply.pc:#x})" if reply.pc is not None else ""
            return Verdict(reply.failure), reply.detail + where, None
        if self._decoder.agrees(reply.trace, body, self._text_digest):
            return None, "", None
        trace = self._decoder.decode(reply.trace)
        if trace.complaint:
            return Verdict.MISMATCH, trace.complaint, trace if trace.header else None
        if trace.header and trace.header.dropped:
            return Verdict.MISMATCH, f"{trace.header.dropped:,} events were dropped: the trace is full", trace
        if tuple(trace.events) != events:
            return Verdict.MISMATCH, first_difference(events, trace.events), trace
        return Verdict.MISMATCH, LEFT_BEHIND, trace

    def _code(self, reply: Reply, trace: wire.Trace | None) -> Code:
        start, size = self._image.patched
        after = (trace.code or None) if trace else reply.code
        return Code(start, self._image.bytes_at(start, size).hex(), after.hex() if after is not None else None)


def first_difference(expected: Sequence[Event], seen: Sequence[Event]) -> str:
    """First difference of ``seen`` from ``expected``, in words."""
    for number, (want, have) in enumerate(zip(expected, seen, strict=False)):
        if want != have:
            return f"event {number}: expected [{want}], seen [{have}]"
    if len(seen) < len(expected):
        return f"event {len(seen)}: expected [{expected[len(seen)]}], seen nothing: the trace ends"
    return f"event {len(expected)}: expected nothing, seen [{seen[len(expected)]}]"
