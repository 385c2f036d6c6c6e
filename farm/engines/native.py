"""``native``: the guest as a process of this host, on its own CPU, where that is the variant's.

No emulator is between a guest and the caches: what the CPU itself shows of a missing step, ``farm calibrate --engines``
measures.  A guest is never started by way of binfmt, which would be an emulator again: the host is asked what it is.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from farm import paths
from farm.cell import Hole, Verdict
from farm.engines import Reply, settings_or_hole
from farm.engines.linux_guest import GUEST_SIGNALS, LinuxGuests, explained
from farm.guest.variant import NativeSettings, Variant
from farm.text import one_line

if TYPE_CHECKING:
    from farm.engines.child import ChildDied
    from farm.guest.image import Image

_TRIAL_SECONDS = 5
_TRIAL_ADDRESS = 0x400000
_NAME = 80  # characters of a CPU's name


class Native(LinuxGuests):
    """The engine."""

    name = "native"

    def hole(self, variant: Variant) -> Hole | None:
        settings = settings_or_hole(variant, self.name)
        if isinstance(settings, Hole):
            return settings
        assert isinstance(settings, NativeSettings)
        why = _misfit(settings, variant.machine, variant.bits, big_endian=variant.big_endian)
        return Hole(Verdict.NOT_APPLICABLE, why) if why else None

    def runs_here(self, variant: Variant) -> bool:
        return self.hole(variant) is None

    def version(self, variant: Variant) -> str:
        del variant
        return _cpu()

    def command(self, image: Image, variant: Variant, *options: str) -> list[str]:
        del variant, options
        return [image.path]

    def explain(self, variant: Variant, death: ChildDied, timeout: float) -> Reply:
        del variant
        if told := explained(death, timeout):
            return told
        assert death.status is not None
        if -death.status in GUEST_SIGNALS:
            return Reply(failure="crash", detail=f"guest died of {death.signal}")
        how = f"died of {death.signal}" if death.status < 0 else f"ended with status {death.status}"
        return Reply(failure="engine-error", detail=f"the guest's process {how} {death.stderr}".rstrip())


@functools.cache
def _misfit(settings: NativeSettings, machine: int, bits: int, *, big_endian: bool) -> str:
    """Why this host cannot run a variant; empty if it can."""
    host = os.uname().machine
    if host not in settings.hosts:
        return f"this host is {host}; the variant runs on {' or '.join(settings.hosts)}"
    if lacking := sorted(set(settings.flags) - _flags()):
        return f"this host's CPU has no {' or '.join(lacking)}"
    if not _starts(_program(bytes.fromhex(settings.exits), machine, bits, big_endian=big_endian)):
        return f"this host's kernel starts no {bits}-bit program of the variant"
    return ""


def _program(code: bytes, machine: int, bits: int, *, big_endian: bool) -> bytes:
    """An ELF executable of nothing but ``code``."""
    order = ">" if big_endian else "<"
    word = "Q" if bits == 64 else "I"
    head, segment = (64, 56) if bits == 64 else (52, 32)
    entry, size = _TRIAL_ADDRESS + head + segment, head + segment + len(code)
    identity = b"\x7fELF" + bytes([2 if bits == 64 else 1, 2 if big_endian else 1, 1]) + bytes(9)
    header = struct.pack(f"{order}HHI3{word}I6H", 2, machine, 1, entry, head, 0, 0, head, segment, 1, 0, 0, 0)
    place = (0, _TRIAL_ADDRESS, _TRIAL_ADDRESS, size, size)
    readable_and_executable, alignment = 5, 0x10000
    if bits == 64:
        loaded = struct.pack(f"{order}2I6Q", 1, readable_and_executable, *place, alignment)
    else:
        loaded = struct.pack(f"{order}8I", 1, *place, readable_and_executable, alignment)
    return identity + header + loaded + code


def _starts(program: bytes) -> bool:
    """Tell whether the kernel starts ``program``, which then ends with status 0; in the folder of the images."""
    try:
        paths.cache().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=paths.cache(), prefix="trial-") as folder:
            path = Path(folder) / "program"
            path.write_bytes(program)
            path.chmod(0o700)
            return _status_of(path) == 0
    except OSError:
        return False


def _status_of(path: Path) -> int | None:
    """The exit status of the program in ``path``; None if it hangs.  Raises :class:`OSError`."""
    until = time.monotonic() + _TRIAL_SECONDS
    while True:
        try:
            return subprocess.run(
                [path], env={}, stdin=subprocess.DEVNULL, timeout=_TRIAL_SECONDS, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            return None
        except OSError as error:  # whoever forked while the file was written has it open until it is another program
            if error.errno != errno.ETXTBSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


@functools.cache
def _told() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _flags() -> frozenset[str]:
    """What the first CPU has, by the kernel's names."""
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", _told(), re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()


def _cpu() -> str:
    """The name of the host's CPU."""
    parts = [
        re.search(rf"^{key}\s*:(.*)$", _told(), re.MULTILINE)
        for key in ("model name", "CPU implementer", "CPU part", "cpu", "uarch")
    ]
    name = " ".join(one_line(part[1]) for part in parts if part)
    return (name or os.uname().machine)[:_NAME]


NATIVE = Native()
