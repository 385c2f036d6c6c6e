"""The command ``farm`` without the time that Python and imports take: a process that has loaded it forks for each call.

The fork does what ``python -m farm`` would, but that Python began, modules were imported and the farm's own tables were
read before, in the server's environment.  So a call is not for it whose environment differs in what any of that has
looked at, and a test of starting itself is not either.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import os
import pickle
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

#: How variables begin that Python, its C library or the dynamic linker reads.
_EARLY = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "GLIBC_", "TZ")

#: Modules that a command has not loaded when it begins: the commands, and those of other processes.
_LATER = ("farm.__main__", "farm.cli.", "farm.pytest_plugin", "farm.engines.unicorn.")

#: What the farm imports where it is used, beside its own modules: they take most of the time.
_LIBRARIES = ("filelock", "rich.console", "rich.progress", "rich.table", "elftools.elf.elffile", "jinja2", "typer.main")


class Server:
    """A process that forks for each call.  Calls may be made at the same time."""

    def __init__(self) -> None:
        self._control, its = socket.socketpair()
        self._environment = dict(os.environ)
        with its:
            command = [sys.executable, __file__, str(its.fileno())]
            streams = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)  # as each call has them
            self._process = subprocess.Popen(command, pass_fds=[its.fileno()], stdin=subprocess.DEVNULL, **streams)
        with self._control.makefile("rb", buffering=0) as answer:
            self._looked_at = pickle.load(answer)

    def close(self) -> None:
        self._control.close()
        self._process.communicate()

    def fits(self, environment):
        """Nothing in ``environment`` is other than what has been looked at."""

        def early(variables):
            return {k: v for k, v in variables.items() if k in self._looked_at or k.startswith(_EARLY)}

        return early(environment) == early(self._environment)

    def run(self, words, env, cwd, encoding, errors, timeout):
        """What :func:`subprocess.run` would return of the farm, started with ``words``."""
        deadline = time.monotonic() + timeout
        with contextlib.ExitStack() as stack:
            call, its = map(stack.enter_context, socket.socketpair())
            ends = [os.pipe() for _ in range(2)]
            outputs = [stack.enter_context(os.fdopen(end, encoding=encoding, errors=errors)) for end, _ in ends]
            socket.send_fds(self._control, [b"."], [its.fileno(), 0, *(end for _, end in ends)])
            for _, end in ends:
                os.close(end)
            its.close()
            with contextlib.suppress(BrokenPipeError):
                call.sendall(pickle.dumps((words, env, str(Path.cwd() / (cwd or "")))))
                call.shutdown(socket.SHUT_WR)
            told = stack.enter_context(call.makefile("r"))
            pid = int(told.readline())
            pool = stack.enter_context(ThreadPoolExecutor(len(outputs)))
            said = [pool.submit(output.read) for output in outputs]
            try:
                call.settimeout(max(0.01, deadline - time.monotonic()))
                status = int(told.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(words, timeout) from None
            stdout, stderr = (output.result(max(0.01, deadline - time.monotonic())) for output in said)
        return subprocess.CompletedProcess(words, status, stdout, stderr)


@functools.cache
def server():
    """The server of this process."""
    return Server()


def fits(environment):
    """A fork is as good as a start with ``environment``: that is measured by nobody, nor of another kind."""
    return not any(name.startswith("COVERAGE_") for name in environment) and server().fits(environment)


def run(words, **how):
    """As :meth:`Server.run`."""
    return server().run(words, **how)


def close():
    """End the server of this process, if there is one."""
    if server.cache_info().currsize:
        server().close()
        server.cache_clear()


# The server's side.


@contextlib.contextmanager
def _overheard():
    """The names of the variables that are looked at meanwhile."""
    kind, names = type(os.environ), set()
    before = kind.__getitem__

    def heard(variables, name):
        names.add(name)
        return before(variables, name)

    def all_of_them(variables):
        raise NotImplementedError("a module that looks at the whole environment as it is imported")

    kind.__getitem__ = heard
    each, kind.__iter__ = kind.__iter__, all_of_them
    try:
        yield names
    finally:
        kind.__getitem__, kind.__iter__ = before, each


def _load():
    for name in _LIBRARIES:
        importlib.import_module(name)
    farm = importlib.import_module("farm")
    for module in pkgutil.walk_packages(farm.__path__, "farm."):
        if not module.name.startswith(_LATER) or module.name == "farm.cli.app":
            importlib.import_module(module.name)
    importlib.import_module("farm.cli")
    for name in (
        "farm.guest.arch_toml",
        "farm.guest.mechanisms",
        "farm.suite",
    ):  # files of the farm: no test edits them
        load = importlib.import_module(name).load
        load()
        load(())


def _serve(control):
    """Forks for each call; returns in the forks alone."""
    while True:
        word, ends, *_ = socket.recv_fds(control, 1, 4)
        if not word:
            os._exit(0)
        if not os.fork():
            control.close()
            return _begin(socket.socket(fileno=ends[0]), ends[1:])
        for end in ends:
            os.close(end)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _begin(call, streams):
    """Returns in a process of its own, which is as one that has just begun; the one between waits for it."""
    with call.makefile("rb") as request:
        words, environment, folder = pickle.load(request)
    if child := os.fork():
        for end in (0, 1, 2, *streams):
            os.close(end)
        call.sendall(f"{child}\n".encode())
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        call.sendall(f"{status}\n".encode())
        os._exit(0)
    call.close()
    for number, end in enumerate(streams):
        os.dup2(end, number)
        os.close(end)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv[1:] = words
    sys.path[0] = str(Path.cwd())


def main():
    control = socket.socket(fileno=int(sys.argv[1]))
    with _overheard() as names:
        _load()
    assert threading.active_count() == len([*Path("/proc/self/task").iterdir()]) == 1, "what forks has no other thread"
    interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the calls hear of it
    gc.freeze()  # what is looked at by no collection stays one copy
    control.sendall(pickle.dumps(names))
    _serve(control)
    signal.signal(signal.SIGINT, interrupted)
    runpy.run_module("farm", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
