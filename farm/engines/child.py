"""The parent's end of an engine's child process.

A child reads programs from its standard input and answers each with one frame.  Both directions are length-prefixed::

    in:  u32 length, program           out: u32 length of what follows, u32 status, payload

Chosen: plain pipes, several programs in flight, one deadline a reply.  In flight are never more bytes than a pipe
holds, so a write never blocks and no second thread is needed.  Rejected: process pools, which lose the work of other
cells when a worker is killed.  The first unanswered program is the guilty one; the rest go to a new child.

What comes back may be anything, since a guest writes it or has been in the way: a frame of a size that cannot be ends
the child before more of it is read, and so does what is written to standard error without end.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import select
import signal
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from farm.engines import Reply
from farm.processes import Process
from farm.scenario.layout import KEEP
from farm.text import printable

_IN_FLIGHT = 32 * 1024  # bytes; half of a pipe's capacity
#: Seconds for each program in flight, less than it takes: to be woken for every answer costs parent and child more
#: than the answer itself.
_NAP = 0.00002
_WORTH_A_NAP = 16  # programs in flight
_LARGEST = 1 << 28  # bytes of a frame; the largest is a recording of all that a program did
_WRITTEN = 4 << 20  # bytes of a file that a child may write at most: of its standard error, or of its log
_CPU_SECONDS = 60  # after which a child is replaced; the kernel ends it, and what it forked, some time later
_LOOKS = 60  # at its CPU time, while it uses that much
_STILLBORN = 10  # children in a row that have died as they opened an image: the next would too
_STDERR_KEPT = 4000  # bytes; QEMU may dump registers and memory map behind the line that says whose death it was


class ChildDied(Exception):  # noqa: N818 - an event, not a mistake
    """The child ended, or was ended because it missed the deadline or broke the protocol."""

    def __init__(self, status: int | None, stderr: str, breach: str = "") -> None:
        self.status = status  #: as of :class:`subprocess.Popen`; None: the deadline passed
        self.stderr = stderr
        self.breach = breach  #: what it did, in words, that no child should: it was ended for that
        super().__init__(stderr)

    @property
    def signal(self) -> str:
        """The name of the signal that it died of; empty if it did not."""
        if self.status is None or self.status >= 0:
            return ""
        try:
            return signal.Signals(-self.status).name
        except ValueError:  # a real-time signal
            return f"signal {-self.status}"


class Child:
    """One running emulator.

    ``largest`` is the size in bytes of its largest frame, ``written`` that of the largest file that it may write,
    ``kept_open`` are files of this process that it has open too.
    """

    def __init__(
        self,
        command: list[str],
        *,
        big_endian: bool = False,
        largest: int = _LARGEST,
        written: int = _WRITTEN,
        kept_open: Sequence[int] = (),
    ) -> None:
        self.kept: dict[str, None] = {}  #: other images kept open, least recently used first
        self._word = struct.Struct(">I" if big_endian else "<I")
        self._largest = largest
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        self.process = Process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            bufsize=0,
            pass_fds=kept_open,
        )
        with contextlib.suppress(OSError):  # already gone: the first read will say so
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (written, written))
        assert self.process.stdin
        assert self.process.stdout
        self._in = self.process.stdin.fileno()
        self._out = self.process.stdout.fileno()
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLIN)
        self._buffer = bytearray()
        self._looked = 0.0

    def allow(self, seconds: float) -> None:
        """Limit the CPU time of the child, and of each process that it may fork, to more than another ``seconds``."""
        most = math.ceil(self._spent() + 2 * max(_CPU_SECONDS, seconds))
        with contextlib.suppress(OSError):  # it is gone
            _, hard = resource.prlimit(self.process.pid, resource.RLIMIT_CPU)
            soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.prlimit(self.process.pid, resource.RLIMIT_CPU, (soft, hard))

    def worn(self) -> bool:
        """The child has used so much CPU time that another should go on, as far as was looked lately."""
        now = time.monotonic()
        if now - self._looked < _CPU_SECONDS / _LOOKS:
            return False
        self._looked = now
        return self._spent() > _CPU_SECONDS

    def _spent(self) -> float:
        """Seconds of CPU time."""
        try:
            return time.clock_gettime(~self.process.pid << 3 | 2)  # as of clock_getcpuclockid(3)
        except OSError:  # it is gone
            return 0.0

    def send(self, data: bytes, head: int = 0) -> None:
        """Send one frame; ``head`` is or-ed into its length.  Raises :class:`ChildDied`."""
        self._write(self._word.pack(len(data) | head) + data)

    def _write(self, data: bytes | bytearray) -> None:
        frame = memoryview(data)
        try:
            while frame:
                frame = frame[os.write(self._in, frame) :]
        except BrokenPipeError:
            raise self.died() from None

    def receive(self, deadline: float, *, nap: float = 0.0) -> tuple[int, bytes]:
        """Status and payload of the next frame, by ``deadline`` (:func:`time.monotonic`).

        If there is none yet, ``nap`` seconds go by before it is read, so that more come with it.

        Raises :class:`ChildDied`.
        """
        if len(self._buffer) < 4:
            self._need(4, deadline, nap)
        (size,) = self._word.unpack_from(self._buffer)
        if not 4 <= size <= self._largest:
            raise self.ended(f"it wrote a frame of {size:,} bytes; 4 to {self._largest:,} are valid")
        end = 4 + size
        if len(self._buffer) < end:
            self._need(end, deadline)
        status, payload = self._word.unpack_from(self._buffer, 4)[0], bytes(self._buffer[8:end])
        del self._buffer[:end]
        return status, payload

    def _need(self, size: int, deadline: float, nap: float = 0.0) -> None:
        while len(self._buffer) < size:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not self._poll.poll(remaining * 1000):
                if time.monotonic() < deadline:
                    continue
                self.kill()
                raise ChildDied(None, self.stderr())
            if nap:
                time.sleep(nap)
            data = os.read(self._out, 1 << 16)
            if not data:
                raise self.died()
            self._buffer += data

    def stream(self, programs: Sequence[bytes], seconds: float) -> Iterator[tuple[int, bytes]]:
        """A frame for each program, in order; ``seconds`` is the deadline of each."""
        self.allow(seconds)
        sent = answered = in_flight = 0
        limit = len(programs)
        while answered < len(programs):
            if sent == answered or in_flight <= _IN_FLIGHT // 2:  # several programs a write, so that fewer are needed
                frames = bytearray()
                while sent < limit:
                    size = len(programs[sent])
                    if sent > answered and in_flight + size > _IN_FLIGHT:
                        break
                    frames += self._word.pack(size) + programs[sent]
                    in_flight += size
                    sent += 1
                try:
                    self._write(frames)
                except ChildDied:  # what it answered before is still to be read; then reading says how it died
                    limit = sent
            waiting = sent - answered
            nap = waiting * _NAP if waiting > _WORTH_A_NAP else 0.0
            frame = self.receive(time.monotonic() + seconds, nap=nap)
            in_flight -= len(programs[answered])
            answered += 1
            yield frame

    def died(self) -> ChildDied:
        """Way in which the child ended; it is given a moment to do so."""
        if not self.process.wait(2):
            return self.ended("it closed its standard input or output and went on")
        return ChildDied(self.process.end(), self.stderr())

    def ended(self, breach: str) -> ChildDied:
        """End the child for its ``breach`` of the protocol."""
        return ChildDied(self.process.end(), self.stderr(), breach)

    def stderr(self) -> str:
        """The end of what the child said, or its guest, as it can be shown to people."""
        end = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, end - _STDERR_KEPT))
        return printable(self._stderr.read().decode(errors="replace")).strip()

    def is_silent(self) -> bool:
        """Tell whether the child has written nothing since its last frame."""
        return not self._buffer and not self._poll.poll(0)

    def rest(self) -> None:
        """Use no CPU time until more is sent: a child that waits for its input uses none anyway."""

    def alive(self) -> bool:
        return not self.process.ended()

    def kill(self) -> None:
        """End the child at once, with whatever it has started."""
        self.process.end()

    def hang_up(self) -> None:
        """End the child's input; an idle child then ends by itself."""
        if self.process.stdin:
            self.process.stdin.close()

    def retire(self) -> None:
        """Let an idle child end by itself, then :meth:`close`."""
        self.hang_up()
        self.process.wait(0.5)
        self.close()

    def close(self) -> None:
        """End the child and give back what it held."""
        self.process.close()
        self._stderr.close()


class Pool:
    """Idle children by what they have open, so that the next batch on an image finds one warm."""

    def __init__(self, limit: int = 16) -> None:
        self._idle: list[tuple[str, Child]] = []
        self._lock = threading.Lock()
        self._limit = limit
        self._owner = os.getpid()

    def __len__(self) -> int:
        return len(self._idle)

    def take(self, key: str, *, any_other: bool = False) -> tuple[str, Child] | None:
        """An idle child that has ``key`` open.

        With ``any_other`` one that has kept it, or else one that has something else open.
        """
        with self._lock:
            if self._owner != os.getpid():  # forked: the children are the parent's
                self._idle.clear()
                self._owner = os.getpid()
            dead = [item for item in self._idle if not item[1].alive()]
            for item in dead:
                self._idle.remove(item)
                item[1].close()
            choice = next((item for item in reversed(self._idle) if item[0] == key), None)
            if choice is None and any_other and self._idle:
                choice = next((item for item in self._idle if key in item[1].kept), self._idle[0])
            if choice:
                self._idle.remove(choice)
            return choice

    def give(self, key: str, child: Child) -> None:
        """Back to the pool, unless it is worn; beyond the limit the oldest is closed."""
        if child.worn():
            child.retire()
            return
        child.rest()
        with self._lock:
            self._idle.append((key, child))
            surplus = self._idle[: -self._limit]
            del self._idle[: len(surplus)]
        for _, old in surplus:
            old.retire()

    def drain(self) -> None:
        """Close every idle child."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, child in idle:
            child.hang_up()
        for _, child in idle:
            child.retire()


def converse(
    start: Callable[[], Child],
    finish: Callable[[Child], None],
    programs: Sequence[bytes],
    seconds: float,
    interpret: Callable[[int, bytes], Reply],
    explain: Callable[[ChildDied], Reply],
) -> Iterator[Reply]:
    """Yield one reply a program, starting as many children as it takes.

    A child that dies before its first program, as it opens the image, costs one too.  Raises :class:`ChildDied` when
    that has happened to several in a row.
    """
    answered = stillborn = 0
    while answered < len(programs):
        try:
            child = start()
        except ChildDied as death:
            stillborn += 1
            if stillborn == _STILLBORN:
                raise
            answered += 1
            yield explain(death)
            continue
        stillborn = 0
        healthy = False
        try:
            for status, payload in child.stream(programs[answered:], seconds):
                answered += 1
                reply = interpret(status, payload)
                yield reply
                if reply.spoils or child.worn():
                    break
            else:
                healthy = child.is_silent()
        except ChildDied as death:
            answered += 1
            yield explain(death)
        finally:
            if healthy:
                finish(child)
            else:
                child.close()


class Session:
    """A child that runs for one guest alone, whose state lasts from one program to the next."""

    def __init__(
        self,
        child: Child,
        seconds: float,
        interpret: Callable[[int, bytes], Reply],
        explain: Callable[[ChildDied], Reply],
        give_back: Callable[[Child], None],
    ) -> None:
        self.child = child
        self._seconds = seconds
        self._interpret = interpret
        self._explain = explain
        self._give_back = give_back
        self._answered = True

    def run(self, program: bytes, *, keep: bool = True, head: int = 0) -> Reply:
        """The reply to ``program``; without ``keep`` it starts from the pristine image.

        ``head`` is or-ed into the frame's length: what else the child is asked.
        """
        self._answered = False
        self.child.allow(self._seconds)
        try:
            self.child.send(program, head | (KEEP if keep else 0))
            frame = self.child.receive(time.monotonic() + self._seconds)
        except ChildDied as death:
            return self._explain(death)
        reply = self._interpret(*frame)
        self._answered = not reply.spoils
        return reply

    def release(self) -> None:
        """Leave the child to whoever needs one next and will reset it; one that is not idle and sound is closed."""
        if self._answered and self.child.is_silent() and self.child.alive():
            self._give_back(self.child)
        else:
            self.close()

    def close(self) -> None:
        """End the child."""
        self.child.close()
