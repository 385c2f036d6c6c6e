"""``trace.json``: where the time of a run went, in Chrome's trace event format, for Perfetto or chrome://tracing.

Results say when each cell began and how long it took.  Cells of one image on one engine that follow each other closely
are a batch, which one worker ran; which worker is not recorded, so batches are packed into as few lanes as hold them
without overlap.  What lies between cells is their audit, and between batches the farm's own work: judging, a cell run
once more, the check of an engine against its slow mode.  Before the first cell are planning and building, as long as
they took.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from farm.cell import PASSED
from farm.report.text import clipped, line
from farm.run.verdict import Result
from farm.text import counted

if TYPE_CHECKING:
    from farm.run.journal import Run

_MICROSECONDS = 1_000_000
_ROUNDING = 2  # microseconds by which the end of a cell and the beginning of the next may differ
_CLOSE = 100_000  # microseconds between two cells of a batch: an audit takes hundreds of them, seldom ten thousand
_REASON = 300  # characters
_PROCESS = 1
_FARM_LANE = 0
_RED = "terrible"  # chrome://tracing's name for it; Perfetto chooses its own colours


class _Event(msgspec.Struct):
    """A complete event (``X``), or one that names a lane (``M``); times are in microseconds."""

    name: str
    ph: str
    pid: int
    tid: int
    ts: int | msgspec.UnsetType = msgspec.UNSET
    dur: int | msgspec.UnsetType = msgspec.UNSET
    cat: str | msgspec.UnsetType = msgspec.UNSET
    cname: str | msgspec.UnsetType = msgspec.UNSET
    args: dict[str, str | int] | msgspec.UnsetType = msgspec.UNSET


class _Trace(msgspec.Struct):
    traceEvents: list[_Event]  # noqa: N815 - the format's name
    displayTimeUnit: str  # noqa: N815 - the same
    otherData: dict[str, str]  # noqa: N815 - the same


class _Timed(NamedTuple):
    """A cell and when it ran, in microseconds from the first."""

    start: int
    end: int
    result: Result


def render(results: Sequence[Result], run: Run) -> bytes:
    """The trace of ``results``; those that did not run are not in it."""
    ran = sorted((result for result in results if result.began), key=lambda result: result.began)
    before = [(name, round(run.phases[name] * _MICROSECONDS)) for name in ("plan", "build") if name in run.phases]
    origin = sum(duration for _, duration in before)
    events = [_named("process_name", _FARM_LANE, "patchfarm"), _named("thread_name", _FARM_LANE, "farm")]
    at = 0
    for name, duration in before:
        events.append(_Event(name, "X", _PROCESS, _FARM_LANE, at, duration))
        at += duration
    if "run" in run.phases:
        events.append(_Event("run", "X", _PROCESS, _FARM_LANE, at, round(run.phases["run"] * _MICROSECONDS)))
    epoch = ran[0].began if ran else 0.0
    lanes: list[int] = []  # when each is free again
    for batch in _batches(ran, epoch, origin):
        lane = next((i for i, free in enumerate(lanes) if free <= batch[0].start), len(lanes))
        if lane == len(lanes):
            lanes.append(0)
            events.append(_named("thread_name", lane + 1, f"worker {lane + 1}"))
        lanes[lane] = batch[-1].end
        events += _events(batch, lane + 1)
    about = {
        "farm": line(run.farm),
        "host": line(run.host),
        "started": line(run.started),
        "plan": line(run.plan),
        "not in it": f"{counted(len(results) - len(ran), 'cell')} that did not run",
    }
    return msgspec.json.encode(_Trace(events, "ms", about))


def _named(what: str, lane: int, name: str) -> _Event:
    return _Event(what, "M", _PROCESS, lane, args={"name": name})


def _batches(ran: Sequence[Result], epoch: float, origin: int) -> list[list[_Timed]]:
    """The cells of ``ran``, which are in the order of time, by batch; batches by when they began."""
    open_: dict[tuple[str, ...], list[list[_Timed]]] = {}  # of a group, those that may go on
    batches: list[list[_Timed]] = []
    for result in ran:
        start = origin + round((result.began - epoch) * _MICROSECONDS)
        cell = result.cell
        group = cell.variant, cell.mechanism, cell.toolchain, cell.engine
        going_on = [batch for batch in open_.get(group, ()) if start - batch[-1].end <= _CLOSE]
        ahead = [batch for batch in going_on if batch[-1].end <= start + _ROUNDING]
        if ahead:
            batch = max(ahead, key=_end)
            last = batch[-1]
            if last.end != start and start - last.end <= _ROUNDING:
                batch[-1] = last._replace(end=max(last.start, start))
            start = max(start, last.start)
        else:
            batch = []
            batches.append(batch)
            going_on.append(batch)
            open_[group] = going_on
        batch.append(_Timed(start, start + max(0, round(result.seconds * _MICROSECONDS)), result))
    return batches


def _end(batch: Sequence[_Timed]) -> int:
    return batch[-1].end


def _events(batch: Sequence[_Timed], lane: int) -> list[_Event]:
    """The batch, then its cells."""
    first, last = batch[0], batch[-1]
    cell, failed = first.result.cell, sum(timed.result.failed for timed in batch)
    name = line(f"{cell.variant}/{cell.mechanism}/{cell.toolchain}/{cell.engine}")
    parent = _Event(name, "X", _PROCESS, lane, first.start, last.end - first.start, "batch")
    parent.args = {"cells": len(batch), "failed": failed}
    if failed:
        parent.cname = _RED
    return [parent, *(_cell(timed, lane) for timed in batch)]


def _cell(timed: _Timed, lane: int) -> _Event:
    start, end, result = timed
    event = _Event(line(result.cell.scenario), "X", _PROCESS, lane, start, end - start, str(result.verdict))
    args: dict[str, str | int] = {}
    if result.verdict not in PASSED:
        args = {"verdict": str(result.verdict), "reason": clipped(result.reason or "", _REASON)}
    if result.retried:
        args["first attempt"] = clipped(result.retried, _REASON)
    if args:
        event.args = args
    if result.failed:
        event.cname = _RED
    return event
