"""Starts the farm's child processes, and ends them however the farm itself ends.

What interrupts the farm (:mod:`farm.interrupts`) kills them.  If it is killed itself the kernel does: each child asks
for SIGKILL when its parent dies (``PR_SET_PDEATHSIG``, prctl(2)), and then looks whether the parent is still there.
The parent of that signal is the *thread* that forked, so one thread that stays as long as the farm starts them all.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import functools
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from farm import confinement
from farm.confinement import Box
from farm.errors import ExhaustedError
from farm.text import command_line

_PR_SET_PDEATHSIG = 1
_NAP = 0.002  # seconds between two looks at a process that is about to end
_ROOM = 1 << 30  # bytes of addresses that a farm and each of its children may have at least
_SHELL = 128  # and the number of a signal is the status of a box whose program died of it, as a shell's would be
_SWEEPS = 20  # of what a process that is ended has started
_STARTER = "farm-starter"  # name of the thread that starts processes


class Stopping(Exception):  # noqa: N818 - not a mistake
    """The run is being ended; no process is started any more."""


class _Children:
    """The processes that this one has started and not yet ended, and the thread that starts them."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.begin()

    def begin(self) -> None:
        """Have none; in a forked process they are the parent's, and the thread was not copied."""
        self.live: set[Process] = set()
        self.lock = threading.Lock()
        self.starter = concurrent.futures.ThreadPoolExecutor(1, _STARTER)


_children = _Children()
os.register_at_fork(after_in_child=_children.begin)


class Process:
    """A running program: the leader of a session of its own that ends with it, tied to the life of this process.

    ``session=False`` leaves it in this one, for a program that the terminal belongs to.  In a ``box``
    (:mod:`farm.confinement`), where those are used, it is the box that is tied and is what :attr:`pid` names.
    ``limits`` are by number (``resource.RLIMIT_*``), ``options`` of :class:`subprocess.Popen`.

    Raises :class:`OSError` if the program cannot be started, :class:`Stopping`, and
    :class:`~farm.confinement.ConfinementError`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        session: bool = True,
        box: Box | None = None,
        limits: Mapping[int, int] | None = None,
        **options: Any,
    ) -> None:
        program = shutil.which(command[0])
        if program is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])
        self._command = [str(Path(program).absolute()), *command[1:]]
        _tell(self._command if box else command, box.environment if box else options.get("env"))
        self._session = session
        self._limits = {resource.RLIMIT_CORE: 0, **(limits or {})}
        self._lock = threading.Lock()
        self._inner: int | None = None
        self.boxed = box is not None and confinement.confines()
        if box is not None:
            confinement.warn()
        _children.starter.submit(self._start, box, options).result()
        self.stdin, self.stdout, self.stderr = self._popen.stdin, self._popen.stdout, self._popen.stderr

    def _start(self, box: Box | None, options: Mapping[str, Any]) -> None:
        with _children.lock:  # so that none is started behind the back of `kill_all`
            if _children.stopping.is_set():
                raise Stopping
            self._popen = self._boxed(box, options) if box and self.boxed else self._tied(box, options)
            self.pid = self._popen.pid
            _children.live.add(self)

    def _boxed(self, box: Box, options: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        return confinement.confined(self._command, box, self._limits, **options)

    def _tied(self, box: Box | None, options: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        env = shutil.which("env", path=os.defpath) or "env"  # whatever PATH hides
        bare = [env, "-i", *(f"{name}={value}" for name, value in box.environment.items())] if box else []
        command = [*_tie(), str(os.getpid()), *bare, *self._command]
        popen = subprocess.Popen(command, start_new_session=self._session, **options)
        for which, most in self._limits.items():
            with contextlib.suppress(OSError):  # already gone: whoever waits for it will see
                confinement.limit(popen.pid, which, most)
        return popen

    def program(self) -> int | None:
        """Number of the process that the program itself is; None while it is not there yet, or not any more."""
        if not self.boxed:
            return self.pid
        if self._inner is None:  # between are the box and what is the first process in it
            families = _families(self.pid)
            first = {pid for pid, (parent, _) in families.items() if parent == self.pid}
            self._inner = next((pid for pid, (parent, _) in families.items() if parent in first), None)
        return self._inner

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def ended(self) -> bool:
        """The process has ended by itself, or was ended.  It is not reaped, so that its number stays its own."""
        return self._popen.returncode is not None or self._waits() is not False

    def _waits(self) -> bool | None:
        """The process has ended and waits to be reaped; None if it is not ours to reap any more."""
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return None

    def wait(self, seconds: float = math.inf) -> bool:
        """Wait for the process to end; False if it has not within so many seconds."""
        deadline = time.monotonic() + seconds
        while not self.ended():
            if time.monotonic() > deadline:
                return False
            time.sleep(_NAP)
        return True

    def end(self) -> int:
        """End it at once, with all that is left of its session; its status, as of :class:`subprocess.Popen`.

        What it has started in a session of its own is ended too, if the processes between are still there.
        """
        with self._lock:
            if self._popen.returncode is None:
                if self._waits() is not None:
                    if self.boxed:  # what is in it and not of this group dies with it
                        _kill_group(self.pid)
                    elif self._session:
                        _end_session(self.pid)
                    else:
                        _kill(self.pid)
                self._popen.wait()
        with _children.lock:
            _children.live.discard(self)
        status = self._popen.returncode
        return _SHELL - status if self.boxed and status > _SHELL else status

    def close(self) -> None:
        """End it, and close this end of its pipes."""
        self.end()
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream:
                stream.close()


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _end_session(leader: int) -> None:
    below = _below({leader})
    _kill_group(leader)
    for _ in range(_SWEEPS):  # one that is killed may just have forked
        if not below:
            break
        for pid in below:
            _kill(pid)
        below = _below({leader, *below}) - below


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _families(eldest: int) -> dict[int, tuple[int, int]]:
    """Parent and session of the live processes, those that cannot be below ``eldest`` left out.

    A process has a larger number than its parent, unless the kernel has begun to count anew.
    """
    try:
        newest = int(Path("/proc/loadavg").read_text(encoding="ascii").split()[-1])
        numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    except (OSError, ValueError):  # no /proc, no names
        return {}
    families: dict[int, tuple[int, int]] = {}
    for pid in numbers:
        if pid > eldest or newest < eldest:
            with contextlib.suppress(OSError):
                state, parent, _, session = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[:4]
                if state not in (b"Z", b"X"):
                    families[pid] = int(parent), int(session)
    return families


def _below(parents: set[int]) -> set[int]:
    """The live processes that one of ``parents`` has started, in turn or in its session."""
    families = _families(min(parents))
    below: set[int] = set()
    while more := {pid for pid, ties in families.items() if not parents.isdisjoint(ties)} - parents:
        parents = parents | more
        below |= more
    return below


def run(command: Sequence[str], **options: Any) -> tuple[int, str]:
    """Status of a command and all that it said, once it has ended.

    ``options`` are of :class:`subprocess.Popen`.  Raises :class:`OSError` if it cannot be started, and
    :class:`Stopping`, also if it was ended because the run is.
    """
    with Process(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options
    ) as process:
        assert process.stdout
        output = process.stdout.read().decode(errors="replace")
        process.wait()  # it may have closed its output and go on
        status = process.end()
    if status and _children.stopping.is_set():
        raise Stopping
    return status, output


@contextlib.contextmanager
def telling(tell: Callable[[str], None]) -> Iterator[None]:
    """Tell of each command that is started meanwhile, once, as one would type it into a shell."""
    _listeners[tell] = set()
    try:
        yield
    finally:
        del _listeners[tell]


_listeners: dict[Callable[[str], None], set[str]] = {}  # what each has heard


def _tell(command: Sequence[str], environment: Mapping[str, str] | None) -> None:
    for tell, heard in list(_listeners.items()):
        words = list(command)
        if environment is not None:  # what of it is not ours; none at all is what a guest gets
            own = [f"{name}={value}" for name, value in environment.items() if os.environ.get(name) != value]
            words = [*(["env", *own] if own else [] if environment else ["env", "-i"]), *words]
        line = command_line(words)
        if line not in heard:
            heard.add(line)
            tell(line)


def die_with_parent() -> None:
    """Let this process be killed when the thread that started it ends."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


#: Code that a process runs before it becomes the program that is named: it asks, and looks whether its parent is there.
_TIE = (
    f"import ctypes, os, sys; ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, {int(signal.SIGKILL)}, 0, 0, 0); "
    "os.execv(sys.argv[2], sys.argv[2:]) if os.getppid() == int(sys.argv[1]) else sys.exit(1)"
)


@functools.cache
def _tie() -> tuple[str, ...]:
    """Words before the number of this process and a command, so that its program does not outlive this process.

    The words take 1 ms by ``setpriv`` of util-linux (2.33), 11 ms by Python where that is not there.
    """
    setpriv, shell = shutil.which("setpriv"), shutil.which("sh")
    if setpriv and shell:
        command = (setpriv, "--pdeathsig", "KILL", shell, "-c")
        asked = subprocess.run([*command, "exit 0"], check=False, capture_output=True, stdin=subprocess.DEVNULL)
        if asked.returncode == 0:
            return (*command, 'test "$PPID" = "$0" && exec "$@"')
    return (sys.executable, "-I", "-S", "-c", _TIE)


@contextlib.contextmanager
def workers(count: int) -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    """Threads that talk to children; an interrupt ends the children, so that no thread waits for one.

    Raises :class:`~farm.errors.ExhaustedError` where there is no room for threads: one that dies as it starts is waited
    for without end.
    """
    room, _ = resource.getrlimit(resource.RLIMIT_AS)
    if room != resource.RLIM_INFINITY and room < _ROOM:
        raise ExhaustedError(
            f"{_ROOM >> 10:,} KiB of memory are needed, and {room >> 10:,} are to be had: raise the limit (ulimit -v)"
        )
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        try:
            yield pool
        except KeyboardInterrupt:
            kill_all()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextlib.contextmanager
def beside(work: Callable[[], None]) -> Iterator[None]:
    """A context while which a copy of this process does ``work``, of which nothing counts but the files it writes.

    If no copy can be made, or it does not come to the end of the work, that is done here, behind the rest, and raises
    what it raises.
    """
    copy = _copy(work) if _can_copy() else None
    done = False
    try:
        yield
        if copy is not None:
            status, copy = os.waitpid(copy, 0)[1], None
            done = status == 0
    finally:
        if copy is not None:
            _kill(copy)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(copy, 0)
    if not done:
        work()


def _can_copy() -> bool:
    """A copy has only the thread that forks, and would wait without end for what another one holds.

    The one that starts processes holds nothing now.
    """
    others = [thread for thread in threading.enumerate() if not thread.name.startswith(_STARTER)]
    return others == [threading.main_thread()] and len(os.sched_getaffinity(0)) > 1


def _copy(work: Callable[[], None]) -> int | None:
    """The number of a process that does ``work`` and ends with 0 if it could; None if there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of any other thread, since Python 3.12
        try:
            process = os.fork()
        except OSError:
            return None
    if process:
        return process
    status = 1
    try:
        die_with_parent()
        work()
        status = 0
    finally:
        os._exit(status)  # and nothing is said: whoever does the work again will say it


def stopping() -> bool:
    """The run is being ended: what children answer now is not to be believed."""
    return _children.stopping.is_set()


def kill_all() -> None:
    """End every child at once and start no more."""
    _children.stopping.set()
    with _children.lock:
        processes = list(_children.live)
    for process in processes:
        process.end()
