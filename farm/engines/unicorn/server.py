"""The child process of the ``unicorn`` engine: ``python -m farm.engines.unicorn.server``.

Reads frames (:mod:`farm.engines.unicorn.messages`) from standard input: one that opens an image, then programs.  A
watchdog thread ends a run that takes too long; that costs nothing measurable, unlike Unicorn's own limits.

What was opened stays open, since a guest costs 7 ms to open and 4 MB to keep: whoever goes through all variants in
turn, as a test with a parameter does, finds each of them warm.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

import farm.engines.unicorn.library  # noqa: F401 - before anything else imports Unicorn
from farm.engines import Noted
from farm.engines.unicorn.explorer import Explorer
from farm.engines.unicorn.machine import GuestFault, Machine
from farm.engines.unicorn.messages import (
    BLOCKS,
    CRASH,
    ERROR,
    EXPLORE_OF,
    EXPLORED,
    KEPT,
    MADE,
    MAKE_OF,
    NOTES,
    OPEN,
    PATH,
    PATH_OF,
    RECORDED,
    STEPS,
    STEPS_OF,
    TIMEOUT,
    TRACE,
    Explore,
    Failure,
    Make,
    Open,
    Recorded,
    Watching,
    encode_blocks,
    encode_path,
)
from farm.engines.unicorn.together import Pair
from farm.guest.image import described
from farm.scenario.layout import KEEP
from farm.scenario.wire import attested

_TICK = 0.05  # seconds
_FLAGS = OPEN | KEEP | PATH_OF | STEPS_OF | EXPLORE_OF | MAKE_OF  # in a frame's length
_NO_DIGEST = bytes(4)
_LENGTH, _HEAD = struct.Struct("<I"), struct.Struct("<2I")  #: of a frame; length and status of a reply


class Opened:
    """An image and the machine that runs it."""

    def __init__(self, request: Open) -> None:
        self.image = described(Path(os.fsdecode(request.image)))
        self.settings = request.settings
        self.timeout = request.timeout
        self.watched = request.watched
        self.watch = request.watch
        order: Literal["big", "little"] = "big" if self.image.big_endian else "little"
        self.digest = self.image.text_digest.to_bytes(4, order)  #: of text and state as they are linked
        self.machine: Machine | None = None
        self.unwatched: Machine | None = None  #: for what goes on behind what is watched
        self.explorer: Explorer | None = None  #: on that machine
        self.boot()

    def boot(self) -> Machine:
        """A new machine in place of one that cannot be used any more."""
        self.machine, self.explorer = Machine(self.image, self.settings, self.watched), None
        if self.watch:
            self.machine.watch(self.watch, ends=True)
        return self.machine

    def boot_unwatched(self) -> Machine:
        """A new machine on which it is counted what begins, and nothing else noted."""
        assert self.watch
        self.unwatched = Machine(self.image, self.settings)
        self.unwatched.watch(msgspec.structs.replace(self.watch, stores=(), instructions=(), entries=()))
        return self.unwatched


class Server:
    """Runs programs on the image that was opened last."""

    def __init__(self) -> None:
        self.kept: dict[bytes, Opened] = {}  # by request, the last used at the end
        self.current: Opened | None = None
        self.exploring: Opened | None = None  # on which a call was followed last: of another one no more is remembered
        self.running: tuple[Machine, float] | None = None  # and when it is to be stopped, as of time.monotonic()
        self.timed_out = False
        self.lock = threading.Lock()  #: whoever is stopped is still running, and is not the next one
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            time.sleep(_TICK)
            with self.lock:
                if self.running and time.monotonic() > self.running[1]:
                    self.timed_out = True
                    self.running[0].stop()

    def open(self, request: bytes) -> tuple[int, bytes]:
        """Load the image of ``request`` (:class:`~farm.engines.unicorn.messages.Open`), unless it is still there."""
        opened = self.kept.pop(request, None) or Opened(Open.decode(request))
        self.kept[request] = self.current = opened
        if len(self.kept) > KEPT:
            del self.kept[next(iter(self.kept))]
        return TRACE, b""

    def run(self, program: bytes, *, keep: bool) -> tuple[int, bytes]:
        """Status and payload for ``program``, run on the pristine image or with ``keep`` on what the last one left."""
        current = self.current
        assert current
        machine = current.machine if current.machine and not current.explorer else current.boot()
        if keep:
            machine.rewind()
        else:
            machine.reset()
        status, payload = self._traced(current, machine, program, keep=keep)
        notes = machine.notes()
        if status == TRACE and current.watch:
            if notes and notes[-1].kind == Noted.CUT:  # it was ended there
                machine = current.unwatched or current.boot_unwatched()
                machine.reset()
                status, payload = self._traced(current, machine, program, keep=False)
                notes[-1:] = machine.notes()[-1:]
                if status != TRACE:
                    current.unwatched = None
                    return status, payload
            return NOTES, Watching(payload, notes).encode()
        if status != TRACE or not current.watched:
            return status, payload
        return BLOCKS, encode_blocks(machine.blocks(), payload)

    def path(self, program: bytes) -> tuple[int, bytes]:
        """Status and payload for ``program``, whose path is wanted, on a machine of its own: its code calls a hook."""
        current = self.current
        assert current
        machine = current.boot()
        answer = self._guarded(current, machine, PATH, lambda path: encode_path(machine.path(path, RECORDED)), program)
        current.machine = None
        return answer

    def steps(self, program: bytes) -> tuple[int, bytes]:
        """Status and payload as of :meth:`path`, with all that ``program`` did; if it failed, up to there."""
        current = self.current
        assert current
        machine = current.boot()
        recorder = machine.record(RECORDED)
        status, payload = self._traced(current, machine, program, keep=False)
        current.machine = None
        return STEPS, Recorded(status, payload, recorder.steps()).encode()

    def explore(self, request: bytes) -> tuple[int, bytes]:
        """Status and payload for the call of ``request``, on a machine that does nothing else."""
        current = self.current
        assert current
        wanted = Explore.decode(request)
        if self.exploring and self.exploring is not current and self.exploring.explorer:
            self.exploring.explorer.forget()
        self.exploring = current
        if current.machine is None or current.explorer is None or not current.explorer.fits(wanted.exploration):
            current.explorer = Explorer(current.boot(), wanted.exploration)
        machine, explorer = current.machine, current.explorer
        assert machine

        def explore(program: bytes) -> bytes:
            return msgspec.msgpack.encode(explorer.run(program, wanted.exploration))

        answer = self._guarded(current, machine, EXPLORED, explore, wanted.program)
        if not explorer.is_sound:
            current.machine = None
        return answer

    def make(self, request: bytes) -> tuple[int, bytes]:
        """Status and payload for the two requests of ``request``, on a machine of their own."""
        current = self.current
        assert current
        wanted = Make.decode(request)
        machine = current.boot()
        pair = Pair(machine, wanted.together)

        def make(program: bytes) -> bytes:
            return msgspec.msgpack.encode(pair.run(program))

        answer = self._guarded(current, machine, MADE, make, wanted.program)
        current.machine = None
        return answer

    def _traced(self, current: Opened, machine: Machine, program: bytes, *, keep: bool) -> tuple[int, bytes]:
        """Status and payload for ``program``; with a digest, as from a guest that resets itself, unless it goes on."""
        status, payload = self._guarded(current, machine, TRACE, machine.run, program)
        if status == TRACE and not keep:
            payload = attested(payload, _NO_DIGEST if machine.left_changed() else current.digest)
        return status, payload

    def _guarded(
        self, current: Opened, machine: Machine, status: int, run: Callable[[bytes], bytes], program: bytes
    ) -> tuple[int, bytes]:
        """``status`` and what ``run`` makes of ``program``, or how it failed."""
        self.timed_out = False
        self.running = machine, time.monotonic() + current.timeout
        try:
            try:
                payload = run(program)
            finally:
                with self.lock:  # not while it is being stopped
                    self.running = None
        except GuestFault as fault:
            current.machine = None  # may be unusable after an error
            where = f" at {fault.address:#x}" if fault.address is not None else ""
            return CRASH, Failure(fault.what + where, fault.pc, machine.code()).encode()
        if self.timed_out:
            current.machine = None
            detail = f"still running after {current.timeout:g} s"
            return TIMEOUT, Failure(detail, machine.pc, machine.code()).encode()
        return status, payload

    def answer(self, head: int, frame: bytes) -> tuple[int, bytes]:
        """Status and payload for one frame."""
        try:
            if not head & _FLAGS:  # as almost always
                return self.run(frame, keep=False)
            if head & OPEN:
                return self.open(frame)
            if head & PATH_OF:
                return self.path(frame)
            if head & STEPS_OF:
                return self.steps(frame)
            if head & EXPLORE_OF:
                return self.explore(frame)
            if head & MAKE_OF:
                return self.make(frame)
            return self.run(frame, keep=True)
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent is owed an answer, and the guest a new machine
            if self.current:
                self.current.machine = self.current.unwatched = None
            return ERROR, Failure(f"{type(error).__name__}: {error}").encode()


def main() -> None:
    """Answer frames until standard input ends."""
    server = Server()
    stdin, stdout = sys.stdin.buffer, sys.stdout.fileno()
    while head := stdin.read(4):
        (length,) = _LENGTH.unpack(head)
        status, payload = server.answer(length, stdin.read(length & ~_FLAGS))
        frame = _HEAD.pack(len(payload) + 4, status) + payload
        while frame:  # at once but for the largest
            frame = frame[os.write(stdout, frame) :]
    os._exit(0)  # no time for destructors of emulators


if __name__ == "__main__":
    main()
