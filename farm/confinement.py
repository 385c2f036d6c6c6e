"""The box that a process runs in which executes what a guest's author wrote, so that nothing of it reaches the host.

Chosen: bubblewrap (``bwrap``), which makes it of the kernel's namespaces.  What is in the box sees the files that it is
given, read-only, and nothing else of the machine: no home, no ``/proc``, no network, no other process.  It has no
privileges and gets none, its system calls are filtered (:mod:`farm.system_calls`), what it uses is limited, and it is
dead when the farm is, whatever it has tried.  Rejected: seccomp and landlock by a package of Python's, for want of one
that is looked after; a filter alone, which cannot tell one file from another.

Where there is no box the guests run all the same, unless one is required, and the run says so.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from farm.errors import FarmError, UsageError
from farm.system_calls import refusing

VARIABLE = "PATCHFARM_CONFINEMENT"  #: of the environment: one of :data:`Mode`

#: ``auto``: where it works; ``require``: or nothing is run; ``off``: never.
Mode = Literal["auto", "require", "off"]

UNCONFINED = "none"  #: begins what :func:`account` says of guests that are not confined

INSTALL = "apt-get install bubblewrap"

_FILES = 64  # open files of a process in the box at most
_PROBE_SECONDS = 20
_FOLDERS = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")  # of libraries, where nothing lists those of a program
_SYSTEM = ("/usr", "/bin", "/lib", "/lib64")  # of programs and libraries, which a script may name

#: Options of bwrap for every box.
_ISOLATION = ("--unshare-all", "--die-with-parent", "--cap-drop", "ALL", "--chdir", "/")


class ConfinementError(FarmError):
    """Guests have to be confined and cannot be."""


@dataclass(frozen=True)
class Box:
    """What a confined process sees and may use; :func:`around` makes one."""

    sees: tuple[str, ...]  #: files and folders, where they are outside; read-only
    writes: tuple[str, ...] = ()  #: folders that it may write to
    environment: Mapping[str, str] = field(default_factory=dict)  #: all of it, confined or not
    memory: int = 1 << 30  #: bytes that it may hold, by whoever looks now and then
    sockets: bool = False  #: it may listen for a debugger at one among its files
    data: int | None = None  #: bytes of writable memory of its own, where the kernel is to count them

    def shows(self, folder: str) -> bool:
        """Tell whether a ``folder`` outside is seen inside."""
        path = Path(folder).absolute()
        return any(Path(seen).absolute() in (path, *path.parents) for seen in self.sees)


def around(program: str, *sees: str, **more: Any) -> Box:
    """A box for ``program``, which sees that, the libraries it is linked with, and ``sees``.

    ``more`` is of :class:`Box`.
    """
    found = shutil.which(program) or program
    libraries = _libraries(found) if found not in sees else ()  # what it sees anyhow is an image, linked with nothing
    return Box((found, *libraries, *sees), **more)


@functools.cache
def _libraries(program: str) -> tuple[str, ...]:
    """The dynamic linker of ``program`` and the folders of its libraries; of a script, what the system has."""
    with contextlib.suppress(OSError), Path(program).open("rb") as file:
        if file.read(2) == b"#!":
            return tuple(filter(os.path.exists, _SYSTEM))
    lister = shutil.which("ldd")
    if lister is None:
        return tuple(filter(os.path.exists, _FOLDERS))
    listed = subprocess.run(
        [lister, program], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, errors="replace"
    ).stdout
    linked = dict.fromkeys(str(Path(path).parent) for path in re.findall(r"=> (/.*?) \(0x", listed))
    linker = re.findall(r"^\s*(/\S+) \(0x", listed, re.MULTILINE)
    return (*linked, *linker, *filter(os.path.exists, ["/etc/ld.so.cache"]))


class _Chosen:
    """What the farm was told, and what is there; asked once."""

    def __init__(self) -> None:
        self.mode: Mode | None = None
        self.lock = threading.Lock()


_chosen = _Chosen()


def choose(mode: Mode) -> None:
    """Confine all that is started from now on as ``mode`` says, whatever the environment does."""
    _chosen.mode = mode


def mode() -> Mode:
    """What was chosen, else what the environment says.  Raises :class:`~farm.errors.UsageError` for no valid word."""
    if _chosen.mode:
        return _chosen.mode
    word = os.environ.get(VARIABLE) or "auto"
    valid: tuple[Mode, ...] = get_args(Mode)
    for each in valid:
        if each == word:
            return each
    raise UsageError(f"{VARIABLE} {word!r}: expected one of {', '.join(valid)}")


def confines() -> bool:
    """Tell whether boxes are used.  Raises :class:`ConfinementError` if they must be and cannot."""
    chosen = mode()
    if chosen == "off":
        return False
    why = missing()
    if why and chosen == "require":
        raise ConfinementError(f"guests cannot be confined, as is required: {why}")
    return not why


@functools.cache
def warn() -> None:
    """Say once, where errors go, that guests are not confined, and what changes that."""
    if not confines():
        sys.stderr.write(f"guests are NOT confined ({_why()}): what is in one can do here what you can\n")


def account() -> str:
    """What confines guests, with its version; or ``none``, and why.  Raises as :func:`confines` does."""
    return _found().name if confines() else f"{UNCONFINED}: {_why()}"


def _why() -> str:
    return "it is not wanted" if mode() == "off" else missing()


def look_again() -> None:
    """Forget what is there: something was installed."""
    _probe.cache_clear()


def found() -> str:
    """What could confine guests here, with its version; empty if nothing can."""
    return _found().name


def missing() -> str:
    """Why guests cannot be confined here, and what puts that right; empty if they can."""
    return _found().missing


@dataclass(frozen=True)
class _Found:
    name: str
    missing: str
    bwrap: str = ""


def _found() -> _Found:
    with _chosen.lock:  # so that it is asked once
        return _probe()


@functools.cache
def _probe() -> _Found:
    """What is there, found out by a box around a program that does nothing."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return _Found("", f"bwrap is missing: {INSTALL}")
    try:
        version = subprocess.run([bwrap, "--version"], capture_output=True, text=True, check=False).stdout.split()
        process = start(bwrap, [shutil.which("true") or "true"], Box(("/",)), {}, stderr=subprocess.PIPE)
        try:
            said = process.communicate(timeout=_PROBE_SECONDS)[1].decode(errors="replace").split("\n")[0]
        except subprocess.TimeoutExpired:
            said = f"nothing for {_PROBE_SECONDS} s"
        finally:
            process.kill()
            process.wait()
    except OSError as error:
        return _Found("", f"{bwrap} cannot be started: {error.strerror}")
    if process.returncode:
        return _Found("", f"{bwrap} cannot make a box here ({said}): does this machine allow user namespaces?")
    filtered = ", seccomp" if refusing() else f" without a filter of system calls ({os.uname().machine} is unknown)"
    return _Found(f"bubblewrap {version[-1] if version else '?'}{filtered}", "", bwrap)


def confined(command: Sequence[str], box: Box, limits: Mapping[int, int], **options: Any) -> subprocess.Popen[bytes]:
    """Start ``command`` in ``box``; ``limits`` are by number (``resource.RLIMIT_*``), ``options`` of ``Popen``."""
    return start(_found().bwrap, command, box, limits, **options)


def start(
    bwrap: str, command: Sequence[str], box: Box, limits: Mapping[int, int], **options: Any
) -> subprocess.Popen[bytes]:
    """Start ``command`` in ``box`` by this ``bwrap``, as :func:`confined` does by the one that was found.

    It waits for its options, which come through a pipe, and is limited meanwhile: nothing that it starts is not.
    """
    with contextlib.ExitStack() as held:
        told, tell = _pipe(held)
        passed = [told.fileno()]
        words = list(_words(box))
        if program := refusing(sockets=not box.sockets):
            filtered, fill = _pipe(held)
            fill.write(program)
            fill.close()
            passed.append(filtered.fileno())
            words += ["--seccomp", str(filtered.fileno())]
        process = subprocess.Popen(
            [bwrap, "--args", str(told.fileno()), "--", *command],
            pass_fds=passed,
            env=dict(box.environment),
            start_new_session=True,
            **{"stdin": subprocess.DEVNULL, **options},
        )
        most = {resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: _FILES, **limits}
        if box.data is not None:
            most[resource.RLIMIT_DATA] = box.data
        with contextlib.suppress(ProcessLookupError, BrokenPipeError):  # it is gone: whoever waits for it will see
            for which, value in most.items():
                limit(process.pid, which, value)
            tell.write(b"".join(os.fsencode(word) + b"\0" for word in words))
    return process


def limit(pid: int, which: int, value: int) -> None:
    """Limit a process to ``value``, and no more than it may have already; of CPU time it may be given more later."""
    _, hard = resource.prlimit(pid, which)
    most = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.prlimit(pid, which, (most, hard if which == resource.RLIMIT_CPU else most))


def _pipe(held: contextlib.ExitStack) -> tuple[BinaryIO, BinaryIO]:
    """Both ends of a pipe, closed with ``held``."""
    out, into = os.pipe()
    return held.enter_context(open(out, "rb", 0)), held.enter_context(open(into, "wb", 0))  # noqa: PTH123 - no paths


def _words(box: Box) -> Iterator[str]:
    yield from _ISOLATION
    for path in _outermost(box.sees):
        yield from ("--ro-bind", path, path)
    for path in box.writes:
        yield from ("--bind", path, path)
    yield from ("--remount-ro", "/")


def _outermost(paths: Iterable[str]) -> list[str]:
    """``paths`` without those that are in a folder which is one of them too, outer ones first."""
    kept: dict[Path, None] = {}
    for path in sorted({Path(path).absolute() for path in paths}, key=lambda path: len(path.parts)):
        if kept.keys().isdisjoint(path.parents):
            kept[path] = None
    return [str(path) for path in kept]
