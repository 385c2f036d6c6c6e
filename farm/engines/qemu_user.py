"""``qemu-user``: the guest as a Linux process under QEMU's user-mode emulation.

One process runs many programs: the guest loops over frames and resets itself (``images/platform/linux.c``).  QEMU
invalidates translated code on every store it sees; what it can show of stores to code, ``farm calibrate --engines``
measures.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from farm.cell import Hole
from farm.engines import Block, Reply, settings_or_hole
from farm.engines.child import Child, ChildDied, Pool, Session, converse
from farm.errors import Missing, MissingToolError
from farm.guest.variant import QemuUserSettings, Variant
from farm.processes import Process
from farm.scenario.layout import KEEP
from farm.scenario.wire import trace_limit

if TYPE_CHECKING:
    from farm.guest.image import Image

_LOG_KEPT = 4096
_LOG_WRITTEN = 1 << 30  # bytes that a log may have
_LINE = 4096  # bytes of a line of it at most


@functools.cache
def _version(binary: str) -> tuple[int, ...]:
    out = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    match = re.search(r"version (\d+(?:\.\d+)*)", out.stdout)
    return tuple(int(part) for part in match[1].split(".")) if match else (0,)


def bare(command: Sequence[str]) -> list[str]:
    """The ``command`` that starts QEMU, with an empty environment.

    What is in it would be on the guest's stack, where a broken guest may find it; and ``QEMU_*`` change what QEMU does.
    """
    program = shutil.which(command[0]) or command[0]  # there is no PATH any more to find it by
    return ["env", "-i", program, *command[1:]]


class QemuUser:
    """The engine."""

    name = "qemu-user"

    def __init__(self) -> None:
        self.pool = Pool()

    @staticmethod
    def settings(variant: Variant) -> QemuUserSettings:
        """The variant's ``[engine.qemu-user]`` table, which :meth:`hole` has found to be there."""
        settings = variant.engine["qemu-user"]
        assert isinstance(settings, QemuUserSettings)
        return settings

    def close(self) -> None:
        self.pool.drain()

    def hole(self, variant: Variant) -> Hole | None:
        settings = settings_or_hole(variant, self.name)
        if isinstance(settings, Hole):
            return settings
        assert isinstance(settings, QemuUserSettings)
        if shutil.which(settings.binary) is None:
            return Hole.to_install(Missing(settings.binary, f"apt-get install {settings.package}"))
        return None

    def version(self, variant: Variant) -> str:
        settings = self.settings(variant)
        if shutil.which(settings.binary) is None:  # the plan was made elsewhere
            raise MissingToolError(settings.binary, f"apt-get install {settings.package}")
        return ".".join(str(part) for part in _version(settings.binary))

    def command(self, image: Image, variant: Variant, *options: str) -> list[str]:
        """The exact command that runs the guest."""
        settings = self.settings(variant)
        return [settings.binary, "-cpu", settings.cpu, *options, image.path]

    def run(
        self, image: Image, variant: Variant, programs: Sequence[bytes], timeout: float, *, fresh: bool = False
    ) -> Iterator[Reply]:
        return self._converse(image, variant, programs, timeout, fresh=fresh)

    def session(self, image: Image, variant: Variant, timeout: float, *, fresh: bool = False) -> Session:
        command = self.command(image, variant)
        key = f"{image.sha256} {command}"
        silent = self.settings(variant).silent
        child = self._start(key, command, image, fresh=fresh)
        return Session(
            child,
            timeout,
            _interpreter(image),
            lambda death: _explain(death, timeout, silent=silent),
            lambda child: self.pool.give(key, child),
        )

    def _start(self, key: str, command: list[str], image: Image, *, fresh: bool) -> Child:
        idle = None if fresh else self.pool.take(key)
        return idle[1] if idle else _child(image, command)

    def cross_check(self, image: Image, variant: Variant, programs: Sequence[bytes], timeout: float) -> Iterator[Reply]:
        return self._in_steps(image, variant, programs, 20 * timeout)

    def _in_steps(self, image: Image, variant: Variant, programs: Sequence[bytes], timeout: float) -> Iterator[Reply]:
        """Yield one reply a program, asking again where the emulator failed: that tells nothing of the other mode."""
        slow = self._stepping(variant)
        for program, reply in zip(programs, self._converse(image, variant, programs, timeout, slow), strict=True):
            if reply.failure == "engine-error":
                yield from self._converse(image, variant, [program], timeout, slow, fresh=True)
            else:
                yield reply

    def _stepping(self, variant: Variant) -> str:
        """The option that makes a block of every instruction."""
        return "-one-insn-per-tb" if _version(self.settings(variant).binary) >= (8, 1) else "-singlestep"

    def _converse(
        self,
        image: Image,
        variant: Variant,
        programs: Sequence[bytes],
        timeout: float,
        *options: str,
        fresh: bool = False,
    ) -> Iterator[Reply]:
        command = self.command(image, variant, *options)
        key = f"{image.sha256} {command}"
        silent = self.settings(variant).silent

        def start() -> Child:
            return self._start(key, command, image, fresh=fresh)

        def explain(death: ChildDied) -> Reply:
            return _explain(death, timeout, silent=silent)

        return converse(
            start, lambda child: self.pool.give(key, child), programs, timeout, _interpreter(image), explain
        )

    def blocks(
        self, image: Image, variant: Variant, programs: Sequence[bytes], timeout: float, watched: Sequence[range]
    ) -> tuple[list[Reply], Counter[Block]]:
        """Count blocks by QEMU's log of what it translates and executes, of the watched addresses alone."""
        ranges = ",".join(f"{span.start:#x}..{span.stop - 1:#x}" for span in watched)
        silent = self.settings(variant).silent
        with tempfile.TemporaryDirectory(prefix="patchfarm-") as folder:
            logs = (Path(folder) / str(number) for number in itertools.count())

            def start() -> Child:
                command = self.command(
                    image, variant, "-d", "in_asm,exec,nochain", "-dfilter", ranges, "-D", str(next(logs))
                )
                return _child(image, command, written=_LOG_WRITTEN)

            def explain(death: ChildDied) -> Reply:
                return _explain(death, timeout, silent=silent)

            replies = list(converse(start, Child.retire, programs, timeout, _interpreter(image), explain))
            counts = Counter[Block]()
            for path in Path(folder).iterdir():
                with path.open("rb") as log:
                    counts.update(_blocks(_lines(log)))
        return replies, counts

    def locate(self, image: Image, variant: Variant, program: bytes, timeout: float) -> int | None:
        """Start of the last block that the guest began before it died on ``program``, from QEMU's execution log."""
        command = self.command(image, variant, "-d", "exec,nochain")
        order = ">" if image.big_endian else "<"
        deadline = time.monotonic() + timeout
        tail = b""
        with Process(
            bare(command), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, bufsize=0
        ) as process:
            assert process.stdin
            assert process.stderr
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(struct.pack(f"{order}I", len(program)) + program)
                process.stdin.close()
            output = select.poll()
            output.register(process.stderr, select.POLLIN)
            while (left := deadline - time.monotonic()) > 0 and output.poll(left * 1000):
                data = os.read(process.stderr.fileno(), 1 << 16)
                if not data:
                    break
                tail = (tail + data)[-_LOG_KEPT:]
        blocks = _executed([tail])
        return blocks[-1] if blocks else None

    def tells_path(self, variant: Variant) -> bool:
        del variant
        return True

    def path(self, image: Image, variant: Variant, program: bytes, timeout: float) -> Reply:
        """Read the path from QEMU's execution log, with every instruction a block of its own."""
        with tempfile.NamedTemporaryFile(prefix="patchfarm-") as log:
            command = self.command(image, variant, self._stepping(variant), "-d", "exec,nochain", "-D", log.name)
            child = _child(image, command, written=_LOG_WRITTEN)
            try:
                child.send(program, KEEP)  # it has run nothing before
                child.receive(time.monotonic() + timeout)
                child.hang_up()
                child.died()  # the log is whole
            except ChildDied as death:
                return _explain(death, timeout)
            finally:
                child.close()
            with Path(log.name).open("rb") as lines:
                return Reply(path=_executed(_lines(lines)))


def _child(image: Image, command: Sequence[str], **options: int) -> Child:
    largest = 4 + trace_limit(image.patched[1])
    return Child(bare(command), big_endian=image.big_endian, largest=largest, **options)


def _interpreter(image: Image) -> Callable[[int, bytes], Reply]:
    """Function that reads a frame as a reply.

    After a frame that shows a guest out of order, nothing of that process is to be believed.
    """
    decoder, text_digest = image.decoder(), image.text_digest

    def interpret(status: int, trace: bytes) -> Reply:
        if status:
            return Reply(failure="crash", detail=f"the guest answered with status {status:#x}, not 0", spoils=True)
        return Reply(trace, spoils=not decoder.is_undone(trace, text_digest))

    return interpret


#: Line of QEMU's execution log about a block; the guest has the file open too, and may have written into it.
_TRACE = re.compile(rb"Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]{1,16})/")
_INSTRUCTION = re.compile(rb"0x([0-9a-f]{1,16}):")


def _lines(log: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: log.readline(_LINE), b"")


def _executed(log: Iterable[bytes]) -> list[int]:
    """The addresses of the blocks that QEMU's execution log names."""
    return [int(address, 16) for line in log for address in _TRACE.findall(line)]


def _blocks(log: Iterable[bytes]) -> Counter[Block]:
    """Number of executions of each block, by a log of what was translated and what was executed.

    Two blocks that begin at one address may end elsewhere.  A line ``Trace`` tells them apart by where the translation
    is; that of a first execution stands behind the instructions of the block.
    """
    followed = Counter[tuple[bytes, bytes]]()
    ends: dict[bytes, int] = {}
    before = last = b""
    for line in log:
        if line.startswith(b"Trace "):
            followed[before, line] += 1
            if last:
                if begins := _INSTRUCTION.match(last):
                    ends[line] = int(begins[1], 16) + 1
                last = b""
            before = line
        elif line.startswith(b"0x"):
            last = line
    followed[before, b""] += 1
    counts = Counter[Block]()
    starts = {line: int(match[1], 16) for line in ends if (match := _TRACE.match(line))}
    for (line, then), count in followed.items():
        if line in starts:
            counts[Block(starts[line], ends[line], starts.get(then, 0))] += count
    return counts


_GUEST_SIGNALS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGTRAP, signal.SIGFPE}


#: Words of QEMU about a guest's death: on most targets, and on one where an exception (of hppa) is dumped first.
_OF_A_GUEST = ("uncaught target signal", "Failing executable: ")


def _explain(death: ChildDied, timeout: float, *, silent: bool = False) -> Reply:
    if death.breach:
        return Reply(failure="crash", detail=f"the guest broke the protocol: {death.breach}")
    if death.status is None:
        return Reply(failure="timeout", detail=f"no answer within {timeout:g} s")
    if death.status < 0:
        names_guest = any(words in death.stderr for words in _OF_A_GUEST) or (silent and not death.stderr)
        if -death.status in _GUEST_SIGNALS and names_guest:
            return Reply(failure="crash", detail=f"guest died of {death.signal}")
        if -death.status == signal.SIGXFSZ:
            return Reply(failure="crash", detail=f"the guest wrote without end ({death.signal})")
        return Reply(failure="engine-error", detail=f"qemu died of {death.signal} {death.stderr}".rstrip())
    if death.status in (3, 4):
        return Reply(failure="crash", detail="the guest lost the connection")
    if death.status == 0:  # which QEMU has no reason to end with by itself
        return Reply(failure="crash", detail="the guest ended before it had answered")
    trap = re.match(r"Unhandled trap: (\w+)", death.stderr)
    if trap:  # QEMU makes no signal of it; the registers follow
        return Reply(failure="crash", detail=f"guest died of trap {trap[1]}")
    if not death.stderr:  # QEMU says why it ends
        return Reply(failure="crash", detail=f"the guest ended with status {death.status}")
    return Reply(failure="engine-error", detail=f"qemu ended with status {death.status}: {death.stderr}")


QEMU_USER = QemuUser()
