"""The child process of the ``unicorn`` engine: ``python -m farm.engines.unicorn_child``.

Reads frames from standard input: one that opens an image (:class:`farm.engines.unicorn.Open`), then programs.  A
watchdog thread ends a run that takes too long; that costs nothing measurable, unlike Unicorn's own limits.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
import time
from pathlib import Path

import msgspec
from unicorn import UcError

from farm.engines.unicorn import CRASH, ERROR, OPEN, TIMEOUT, TRACE, Failure, Open
from farm.image import Image
from farm.machine import GuestFault, Machine
from farm.wire import KEEP

_TICK = 0.05  # seconds


class Server:
    """Runs programs on the image that is open."""

    def __init__(self) -> None:
        self.request: Open | None = None
        self.machine: Machine | None = None
        self.started = 0.0  # when the current run began; 0 when none
        self.timed_out = False
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            time.sleep(_TICK)
            started, machine = self.started, self.machine
            if started and machine and self.request and time.monotonic() - started > self.request.timeout:
                self.timed_out = True
                machine.stop()

    def open(self, request: Open) -> tuple[int, bytes]:
        """Load the image of ``request``."""
        self.request = request
        self.image = msgspec.json.decode(Path(request.image).read_bytes(), type=Image)
        self.machine = Machine(self.image, request.settings)
        return TRACE, b""

    def run(self, program: bytes, *, keep: bool) -> tuple[int, bytes]:
        """Status and payload for ``program``, run on the pristine image or with ``keep`` on what the last one left."""
        assert self.request
        if self.machine is None:
            self.machine = Machine(self.image, self.request.settings)
        machine = self.machine
        if keep:
            machine.rewind()
        else:
            machine.reset()
        self.timed_out = False
        self.started = time.monotonic()
        try:
            trace = machine.run(program)
        except GuestFault as fault:
            self.started = 0.0
            self.machine = None  # may be unusable after an error
            where = f" at {fault.address:#x}" if fault.address is not None else ""
            return CRASH, msgspec.json.encode(Failure(fault.what + where, fault.pc, machine.code()))
        self.started = 0.0
        if self.timed_out:
            self.machine = None
            detail = f"still running after {self.request.timeout:g} s"
            return TIMEOUT, msgspec.json.encode(Failure(detail, machine.pc, machine.code()))
        return TRACE, trace

    def answer(self, head: int, frame: bytes) -> tuple[int, bytes]:
        """Status and payload for one frame."""
        try:
            if head & OPEN:
                return self.open(msgspec.json.decode(frame, type=Open))
            return self.run(frame, keep=bool(head & KEEP))
        except (UcError, OSError, AttributeError, msgspec.MsgspecError) as error:
            return ERROR, msgspec.json.encode(Failure(f"{type(error).__name__}: {error}"))


def main() -> None:
    """Answer frames until standard input ends."""
    server = Server()
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while head := stdin.read(4):
        (length,) = struct.unpack("<I", head)
        status, payload = server.answer(length, stdin.read(length & ~(OPEN | KEEP)))
        stdout.write(struct.pack("<2I", len(payload) + 4, status) + payload)
        stdout.flush()
    os._exit(0)  # no time for destructors of emulators


if __name__ == "__main__":
    main()
