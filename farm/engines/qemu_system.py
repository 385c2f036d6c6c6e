"""``qemu-system``: the guest on a bare machine of QEMU's, unprivileged, under a supervisor (``images/bare``).

The same guest as a process has, at the same addresses: its memory is protected by the machine's page tables, its system
calls are the supervisor's to answer, and it goes on from program to program.  What it reads this host puts into the
machine's memory, which is a file; what it writes comes out of the machine's console.  No other device is there: no
network, no disk, no display.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from farm.cell import Hole, Verdict
from farm.engines import Reply, settings_or_hole
from farm.engines.child import Child, ChildDied, Session
from farm.engines.linux_guest import LinuxGuests, box_of, interpreter
from farm.engines.qemu_user import missing_qemu, qemu_version, told_version
from farm.errors import BuildError, ImageError
from farm.guest import supervisor
from farm.guest.variant import QemuSystemSettings, Variant
from farm.scenario.wire import trace_limit

if TYPE_CHECKING:
    from farm.guest.image import Image

#: Seconds in which a machine must come up; it takes 0.05.
_UP_SECONDS = 20.0

#: No device but the machine's own, no window, no configuration of the user's.
_NOTHING_ELSE = (
    *("-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot"),
    *("-chardev", "stdio,id=console,signal=off"),
    *("-accel", "tcg,tb-size=64"),  # MiB of translated code; else it is a gigabyte of address space
)


_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder made there is ours alone


class NeverUpError(Exception):
    """The machine did not come up, so that no guest has done anything: why, in words."""

    def __init__(self, death: ChildDied) -> None:
        self.silent = death.status is None and not death.breach  #: it was waited for in vain
        super().__init__(f"the machine did not come up: {_how(death, _UP_SECONDS)}")


class Machine(Child):
    """A machine with one guest and ``size`` bytes of memory, in which is a ring of what the guest reads."""

    def __init__(self, command: list[str], image: Image, size: int) -> None:
        self._order = ">" if image.big_endian else "<"
        self._sent = 0
        self._resting = False
        self._folder = tempfile.TemporaryDirectory(
            prefix="farm-machine-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None
        )
        path = Path(self._folder.name) / "memory"
        self._memory = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.ftruncate(self._memory, size)
            os.pwrite(self._memory, image.read(), supervisor.GUEST)
            memory = ["-object", f"memory-backend-file,id=memory,share=on,size={size},mem-path={path}"]
            super().__init__(
                [*command, *memory],
                box_of(command, command[-1], *_parts(command[0]), writes=(self._folder.name,)),
                big_endian=image.big_endian,
                largest=4 + trace_limit(image.patched[1]),
            )
        except BaseException:
            self._free()
            raise
        try:
            self._come_up()
        except BaseException:
            self.close()
            raise
        self._folder.cleanup()  # both have the file open, so nothing is left of it, however they end

    def _come_up(self) -> None:
        self.allow(_UP_SECONDS)
        try:
            status, said = self.receive(time.monotonic() + _UP_SECONDS)
            if status != supervisor.UP:
                raise self.ended(_said(status, said, self._order))
        except ChildDied as death:
            raise NeverUpError(death) from None

    def _write(self, data: bytes | bytearray) -> None:
        if not self.alive():
            raise self.died()
        self._wake()
        at = self._sent % supervisor.RING
        first = min(len(data), supervisor.RING - at)
        ring = supervisor.MAILBOX + supervisor.RING_OFFSET
        os.pwrite(self._memory, data[:first], ring + at)
        os.pwrite(self._memory, data[first:], ring)
        self._sent = (self._sent + len(data)) % (1 << 32)
        os.pwrite(self._memory, struct.pack(f"{self._order}I", self._sent), supervisor.MAILBOX)

    def rest(self) -> None:
        """Stop the machine, whose supervisor looks for input without end."""
        self._resting = True
        self._signal(signal.SIGSTOP)

    def _wake(self) -> None:
        if self._resting:
            self._resting = False
            self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        program = self.process.program()
        with contextlib.suppress(ProcessLookupError):
            if program is not None:
                os.kill(program, number)

    def hang_up(self) -> None:
        """End the machine: nothing is in it that it should save."""
        self.kill()

    def close(self) -> None:
        super().close()
        self._free()

    def _free(self) -> None:
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1
            self._folder.cleanup()


class QemuSystem(LinuxGuests):
    """The engine."""

    name = "qemu-system"
    waits_to_be_named = True

    def __init__(self) -> None:
        super().__init__()
        self._silent: dict[str, NeverUpError] = {}  #: machines that were waited for in vain: nobody does it again

    @staticmethod
    def settings(variant: Variant) -> QemuSystemSettings:
        """The variant's ``[engine.qemu-system]`` table, which :meth:`hole` has found to be there."""
        settings = variant.engine["qemu-system"]
        assert isinstance(settings, QemuSystemSettings)
        return settings

    def hole(self, variant: Variant) -> Hole | None:
        settings = settings_or_hole(variant, self.name)
        if isinstance(settings, Hole):
            return settings
        assert isinstance(settings, QemuSystemSettings)
        if missing := missing_qemu(settings):
            return Hole.to_install(missing)
        unknown = _unknown(settings.binary, settings.machine, settings.cpu)
        return Hole(Verdict.NOT_RUN, unknown) if unknown else None

    def version(self, variant: Variant) -> str:
        return told_version(self.settings(variant))

    def command(self, image: Image, variant: Variant, *options: str) -> list[str]:
        settings = self.settings(variant)
        kernel = supervisor.supervisor(variant, image.toolchain, settings)
        machine = [*("-machine", f"{settings.machine},memory-backend=memory"), "-m", f"{_size(settings) >> 20}M"]
        own = [*machine, "-cpu", settings.cpu, *_NOTHING_ELSE, *settings.console, *settings.options, *options]
        return [settings.binary, *own, "-bios" if settings.firmware else "-kernel", str(kernel)]

    def child(self, image: Image, variant: Variant, command: list[str]) -> Child:
        key = f"{image.sha256} {command}"
        if key in self._silent:
            raise self._silent[key]
        try:
            return Machine(command, image, _size(self.settings(variant)))
        except NeverUpError as error:
            if error.silent:
                self._silent[key] = error
            raise

    def run(
        self, image: Image, variant: Variant, programs: Sequence[bytes], timeout: float, *, fresh: bool = False
    ) -> Iterator[Reply]:
        answered = 0
        try:
            for reply in super().run(image, variant, programs, timeout, fresh=fresh):
                answered += 1
                yield reply
        except (NeverUpError, BuildError) as error:  # the latter: of the supervisor, which is the engine's
            failure = Reply(failure="engine-error", detail=str(error))
            yield from (failure for _ in programs[answered:])

    def session(self, image: Image, variant: Variant, timeout: float, *, fresh: bool = False) -> Session:
        try:
            return super().session(image, variant, timeout, fresh=fresh)
        except NeverUpError as error:
            raise ImageError(f"{image.path}: {error}") from None

    def interpreter(self, image: Image) -> Callable[[int, bytes], Reply]:
        guests, order = interpreter(image), ">" if image.big_endian else "<"

        def interpret(status: int, payload: bytes) -> Reply:
            if status == supervisor.ENDED:
                return _ended(payload, order)
            return guests(status, payload)

        return interpret

    def explain(self, variant: Variant, death: ChildDied, timeout: float) -> Reply:
        del variant
        if death.breach:
            return Reply(failure="crash", detail=f"the guest broke the protocol: {death.breach}")
        if death.status is None:
            return Reply(failure="timeout", detail=f"no answer within {timeout:g} s")
        return Reply(failure="engine-error", detail=_how(death, timeout))  # the guest cannot reach the power switch


@functools.cache
def _parts(binary: str) -> tuple[str, ...]:
    """Folders of the firmware and the modules of a QEMU, wherever it is installed."""
    prefixes = dict.fromkeys([Path(shutil.which(binary) or binary).resolve().parents[1], Path("/usr")])
    patterns = ("share/qemu", "lib/qemu", "lib/*/qemu", "lib64/qemu")
    return tuple(str(folder) for prefix in prefixes for pattern in patterns for folder in sorted(prefix.glob(pattern)))


def _size(settings: QemuSystemSettings) -> int:
    """Bytes of memory of a machine."""
    return max(supervisor.END, settings.least)


def _how(death: ChildDied, seconds: float) -> str:
    if death.breach:
        return death.breach
    if death.status is None:
        return f"it was silent for {seconds:g} s"
    if death.signal:
        return f"qemu died of {death.signal} {death.stderr}".rstrip()
    if not death.status and not death.stderr:
        return "qemu ended, as if the machine was switched off"
    return f"qemu ended with status {death.status}: {death.stderr}"


def _cause(payload: bytes, order: str) -> tuple[int, int, int] | None:
    """Cause, program counter and address of the supervisor's last frame."""
    if len(payload) != 20:
        return None
    return struct.unpack(f"{order}I", payload[:4])[0], *_wide(payload[4:], order)


def _wide(words: bytes, order: str) -> tuple[int, int]:
    high, low, other_high, other_low = struct.unpack(f"{order}4I", words)
    return high << 32 | low, other_high << 32 | other_low


def _ended(payload: bytes, order: str) -> Reply:
    """How the guest ended, by the supervisor's last frame."""
    told = _cause(payload, order)
    if told is None:
        return Reply(failure="crash", detail="the guest broke the protocol: its last frame is none", spoils=True)
    cause, pc, address = told
    if not cause:
        how = f"the guest ended with status {address}" if address else "the guest ended before it had answered"
        how = "the guest lost the connection" if address in (3, 4) else how
        return Reply(failure="crash", detail=how, spoils=True)
    try:
        name = signal.Signals(cause).name
    except ValueError:
        how = f"the supervisor failed: cause {cause:#x} at {pc:#x}, address {address:#x}"
        return Reply(failure="engine-error", detail=how, spoils=True)
    return Reply(failure="crash", detail=f"guest died of {name}", pc=pc, spoils=True)


def _said(status: int, payload: bytes, order: str) -> str:
    """What a machine said in place of being up, in words."""
    if status == supervisor.ENDED:
        return _ended(payload, order).detail
    return f"its first words were {struct.pack(f'{order}I', status) + payload[:28]!r}"


@functools.cache
def _unknown(binary: str, machine: str, cpu: str) -> str:
    """What this QEMU has not, in a sentence; empty if it has both."""
    asked = {"machine": (machine, ["-machine", "help"]), "CPU": (cpu, ["-machine", "none", "-cpu", "help"])}
    for what, (wanted, options) in asked.items():
        name = wanted.partition(",")[0]
        known = subprocess.run(
            [binary, *options], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        ).stdout
        if name not in known.replace("'", " ").split():
            version = ".".join(str(part) for part in qemu_version(binary))
            return f"{Path(binary).name} {version} has no {what} {name}"
    return ""


QEMU_SYSTEM = QemuSystem()
