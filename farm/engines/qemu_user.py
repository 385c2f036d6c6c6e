"""``qemu-user``: the guest as a Linux process under QEMU's user-mode emulation.

QEMU invalidates translated code on every store it sees; what it can show of stores to code, ``farm calibrate
--engines`` measures.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import select
import shutil
import struct
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from farm.cell import Hole
from farm.engines import Block, Reply, settings_or_hole
from farm.engines.child import Child, ChildDied, converse
from farm.engines.linux_guest import GUEST_SIGNALS, LinuxGuests, box_of, child_of, explained, interpreter
from farm.errors import Missing, MissingToolError
from farm.guest.variant import QemuSystemSettings, QemuUserSettings, Variant
from farm.processes import Process
from farm.scenario.layout import KEEP

if TYPE_CHECKING:
    from farm.guest.image import Image

_LOG_KEPT = 4096
_LOG_WRITTEN = 1 << 30  # bytes that a log may have
_LINE = 4096  # bytes of a line of it at most


@functools.cache
def qemu_version(binary: str) -> tuple[int, ...]:
    """The version of a QEMU, which says it whatever it emulates."""
    out = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    match = re.search(r"version (\d+(?:\.\d+)*)", out.stdout)
    return tuple(int(part) for part in match[1].split(".")) if match else (0,)


def missing_qemu(settings: QemuUserSettings | QemuSystemSettings) -> Missing | None:
    """The QEMU that ``settings`` name, if it is not installed."""
    if shutil.which(settings.binary):
        return None
    return Missing(settings.binary, f"apt-get install {settings.package}")


def told_version(settings: QemuUserSettings | QemuSystemSettings) -> str:
    """The version of the QEMU that ``settings`` name, as a run tells it.

    Raises :class:`~farm.errors.MissingToolError` if it is not installed: the plan was made elsewhere.
    """
    if missing := missing_qemu(settings):
        raise MissingToolError(*missing)
    return ".".join(str(part) for part in qemu_version(settings.binary))


class QemuUser(LinuxGuests):
    """The engine."""

    name = "qemu-user"

    @staticmethod
    def settings(variant: Variant) -> QemuUserSettings:
        """The variant's ``[engine.qemu-user]`` table, which :meth:`hole` has found to be there."""
        settings = variant.engine["qemu-user"]
        assert isinstance(settings, QemuUserSettings)
        return settings

    def hole(self, variant: Variant) -> Hole | None:
        settings = settings_or_hole(variant, self.name)
        if isinstance(settings, Hole):
            return settings
        assert isinstance(settings, QemuUserSettings)
        missing = missing_qemu(settings)
        return Hole.to_install(missing) if missing else None

    def version(self, variant: Variant) -> str:
        return told_version(self.settings(variant))

    def command(self, image: Image, variant: Variant, *options: str) -> list[str]:
        settings = self.settings(variant)
        return [settings.binary, "-cpu", settings.cpu, *options, image.path]

    def explain(self, variant: Variant, death: ChildDied, timeout: float) -> Reply:
        return _explain(death, timeout, silent=self.settings(variant).silent)

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
        return "-one-insn-per-tb" if qemu_version(self.settings(variant).binary) >= (8, 1) else "-singlestep"

    def blocks(
        self, image: Image, variant: Variant, programs: Sequence[bytes], timeout: float, watched: Sequence[range]
    ) -> tuple[list[Reply], Counter[Block]]:
        """Count blocks by QEMU's log of what it translates and executes, of the watched addresses alone."""
        ranges = ",".join(f"{span.start:#x}..{span.stop - 1:#x}" for span in watched)
        with tempfile.TemporaryDirectory(prefix="patchfarm-") as folder:
            logs = (Path(folder) / str(number) for number in itertools.count())

            def start() -> Child:
                command = self.command(
                    image, variant, "-d", "in_asm,exec,nochain", "-dfilter", ranges, "-D", str(next(logs))
                )
                return child_of(image, command, writes=(folder,), written=_LOG_WRITTEN)

            def explain(death: ChildDied) -> Reply:
                return self.explain(variant, death, timeout)

            replies = list(converse(start, Child.retire, programs, timeout, interpreter(image), explain))
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
            command,
            box=box_of(command, image.path),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
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
        with tempfile.TemporaryDirectory(prefix="patchfarm-") as folder:
            log = Path(folder) / "log"
            command = self.command(image, variant, self._stepping(variant), "-d", "exec,nochain", "-D", str(log))
            child = child_of(image, command, writes=(folder,), written=_LOG_WRITTEN)
            child.allow(timeout)
            try:
                child.send(program, KEEP)  # it has run nothing before
                child.receive(time.monotonic() + timeout)
                child.hang_up()
                child.died()  # the log is whole
            except ChildDied as death:
                return self.explain(variant, death, timeout)
            finally:
                child.close()
            with log.open("rb") as lines:
                return Reply(path=_executed(_lines(lines)))


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


#: Words of QEMU about a guest's death: on most targets, and on one where an exception (of hppa) is dumped first.
_OF_A_GUEST = ("uncaught target signal", "Failing executable: ")


def _explain(death: ChildDied, timeout: float, *, silent: bool = False) -> Reply:
    if told := explained(death, timeout):
        return told
    assert death.status is not None
    if death.status < 0:
        names_guest = any(words in death.stderr for words in _OF_A_GUEST) or (silent and not death.stderr)
        if -death.status in GUEST_SIGNALS and names_guest:
            return Reply(failure="crash", detail=f"guest died of {death.signal}")
        return Reply(failure="engine-error", detail=f"qemu died of {death.signal} {death.stderr}".rstrip())
    trap = re.match(r"Unhandled trap: (\w+)", death.stderr)
    if trap:  # QEMU makes no signal of it; the registers follow
        return Reply(failure="crash", detail=f"guest died of trap {trap[1]}")
    if not death.stderr:  # QEMU says why it ends
        return Reply(failure="crash", detail=f"the guest ended with status {death.status}")
    return Reply(failure="engine-error", detail=f"qemu ended with status {death.status}: {death.stderr}")


QEMU_USER = QemuUser()
