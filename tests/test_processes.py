"""The farm's child processes: who starts them, what ends with them, and with what they end."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers import until

from farm import processes
from farm.interrupts import Ended, interruptible, status_of
from farm.processes import Process, Stopping, workers

SLEEPS = ["sleep", "60"]


@pytest.fixture
def start():
    """``start(command, **options)``: a :class:`Process` that ends with the test."""
    begun = []

    def begin(command=SLEEPS, **options):
        begun.append(Process(command, **options))
        return begun[-1]

    yield begin
    for process in begun:
        process.close()


@pytest.fixture
def alone(monkeypatch):
    """As if this process had no children yet: those of other tests live on."""
    monkeypatch.setattr(processes, "_children", processes._Children())


@pytest.fixture(autouse=True)
def _usual_signals():
    """As a program finds them that nobody started in the background and no plugin of pytest watches over."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def is_there(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(params=["setpriv", "python"])
def tie(request, monkeypatch):
    """What ties a child to its parent: what this machine has, and what there is without setpriv."""
    which = processes.shutil.which
    if request.param == "python":
        monkeypatch.setattr(
            processes.shutil, "which", lambda name, **k: None if name == "setpriv" else which(name, **k)
        )
    processes._tie.cache_clear()
    assert request.param in processes._tie()[0]
    yield processes._tie()
    processes._tie.cache_clear()


# One process.


def test_a_process_is_the_program_itself_in_a_session_of_its_own(start, tie):
    del tie
    process = start([sys.executable, "-c", "import os; print(os.getpid(), os.getsid(0))"], stdout=subprocess.PIPE)
    assert process.stdout.read().split() == [str(process.pid).encode()] * 2
    assert process.wait(5)
    assert process.end() == 0


@pytest.mark.parametrize(("script", "status"), [("exit 3", 3), ("kill -TERM $$", -signal.SIGTERM)])
def test_how_a_process_ended_is_told_after_its_session_is_ended(start, tie, script, status):
    del tie
    process = start(["sh", "-c", script])
    assert process.wait(5)
    assert process.end() == status == process.end()


def test_a_process_that_is_ended_takes_its_children_with_it(start):
    process = start(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE)
    below = int(process.stdout.readline())
    assert is_there(below)
    assert process.end() == -signal.SIGKILL
    until(lambda: not is_there(below))


def test_what_a_process_left_behind_when_it_ended_by_itself_is_ended_too(start):
    process = start(["sh", "-c", "sleep 60 >&- & echo $!"], stdout=subprocess.PIPE)
    below = int(process.stdout.readline())
    assert process.wait(5)
    assert is_there(below)
    assert process.end() == 0
    until(lambda: not is_there(below))


@pytest.mark.parametrize(("leaves", "rest"), [("os.setpgid(0, 0)", 0), ("os.setpgid(0, 0)", 60), ("os.setsid()", 60)])
def test_what_leaves_the_group_of_a_process_or_its_session_is_ended_with_it(start, leaves, rest):
    """A child in a group of its own was left, and burned a CPU, after a green run."""
    away = f"{leaves}\n print(os.getpid(), flush=True)\n time.sleep(60)"
    program = f"import os, time\nif os.fork():\n time.sleep({rest})\nelse:\n {away}"
    process = start([sys.executable, "-c", program], stdout=subprocess.PIPE)
    pid = int(process.stdout.readline())
    assert is_there(pid)
    assert process.wait(0 if rest else 5) is not bool(rest)
    process.end()
    until(lambda: not is_there(pid))


def test_only_what_a_process_has_started_is_ended_with_it(start):
    one, other = start(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE), start()
    assert int(one.stdout.readline()) > one.pid
    one.end()
    assert is_there(other.pid)


def test_a_program_of_the_terminal_stays_in_its_session_and_is_ended_alone(start):
    process = start(session=False)
    assert os.getsid(process.pid) == os.getsid(0)
    assert os.getpgid(process.pid) == os.getpgid(0)
    assert process.end() == -signal.SIGKILL


def test_a_program_that_does_not_exist_is_named(start):
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        start(["no-such-program"])


def test_a_process_leaves_no_core_file_and_dies_only_once(start):
    process = start()
    assert resource.prlimit(process.pid, resource.RLIMIT_CORE) == (0, 0)
    process.end()
    process.end()
    assert process not in processes._children.live


# The death of the parent.


def parent(program):
    """A Python process of its own that runs ``program``, as far as its first line."""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    said = process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    return said


PARENT = """
import shutil, subprocess, sys, time
from farm import processes
which = shutil.which
shutil.which = lambda name, **k: None if name == {hidden!r} else which(name, **k)
child = processes.Process([sys.executable, "-c", "print(1, flush=True); import time; time.sleep(60)"],
                          stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("hidden", ["nothing", "setpriv"])
def test_a_child_does_not_outlive_its_parent(hidden):
    pid = int(parent(PARENT.format(hidden=hidden)))
    until(lambda: not is_there(pid), 1)


def test_a_child_whose_parent_died_before_it_could_ask_does_not_begin(tie, tmp_path):
    trace = tmp_path / "began"
    done = subprocess.run([*tie, "1", "/usr/bin/env", "touch", trace], check=False)
    assert done.returncode
    assert not trace.exists()
    subprocess.run([*tie, str(os.getpid()), "/usr/bin/env", "touch", trace], check=True)
    assert trace.exists()


def test_a_child_outlives_the_thread_that_asked_for_it(start):
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    time.sleep(0.2)
    (process,) = (p for p in processes._children.live if not p.ended() and b"sleep" in cmdline(p))
    assert not process.ended()


def cmdline(process):
    return Path(f"/proc/{process.pid}/cmdline").read_bytes()


FORK = """
import os
from farm import processes
mine = processes.Process(["sleep", "60"])
pid = os.fork()
if pid == 0:
    assert not processes._children.live
    mine.end()  # which is not its to end
    other = processes.Process(["sleep", "60"])
    os._exit(other.end() + 9)
assert os.waitpid(pid, 0)[1] == 0
assert not mine.ended()
"""


def test_a_forked_process_starts_children_of_its_own_and_leaves_its_parents_alone():
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], check=True, timeout=20)


# The end of the farm.


@pytest.mark.usefixtures("alone")
def test_after_kill_all_every_child_is_dead_and_none_is_started(start):
    first, second = start(), start()
    before = time.monotonic()
    processes.kill_all()
    assert time.monotonic() - before < 1
    assert first.ended()
    assert second.ended()
    with pytest.raises(Stopping):
        start()
    with pytest.raises(Stopping):
        processes.run(["true"])


@pytest.mark.usefixtures("alone")
def test_a_command_that_is_killed_because_the_run_ends_has_not_failed():
    ended = []

    def work():
        try:
            processes.run(SLEEPS)
        except Stopping as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: processes._children.live)
    processes.kill_all()
    thread.join(5)
    assert len(ended) == 1


def test_all_that_a_command_says_is_kept():
    assert processes.run(["sh", "-c", "echo one; echo two >&2; exit 3"]) == (3, "one\ntwo\n")


@pytest.mark.usefixtures("alone")
def test_an_interrupt_waits_for_no_child():
    before = time.monotonic()

    def interrupted():
        with workers(2) as pool:
            for _ in range(5):
                pool.submit(processes.run, SLEEPS)
            until(lambda: len(processes._children.live) == 2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - before < 5
    assert not processes._children.live


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_an_interrupt_with_a_status_of_its_own(number):
    def interrupted():
        with interruptible():
            os.kill(os.getpid(), number)
            time.sleep(5)

    with pytest.raises(Ended, match=number.name) as caught:
        interrupted()
    assert isinstance(caught.value, KeyboardInterrupt)
    assert status_of(caught.value) == 128 + number
    assert status_of(KeyboardInterrupt()) == 130
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_second_signal_does_not_disturb_the_end_and_an_error_on_the_way_does_not_hide_it():
    cleaned = []

    def interrupted():
        with interruptible():
            try:
                os.kill(os.getpid(), signal.SIGHUP)
                time.sleep(5)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.1)
                cleaned.append(True)
                raise OSError("the terminal is gone")

    with pytest.raises(Ended, match="SIGHUP"):
        interrupted()
    assert cleaned


def test_a_signal_that_is_ignored_or_handled_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    heard = []
    other = signal.signal(signal.SIGTERM, lambda *_: heard.append(True))
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert heard == [True]
    finally:
        signal.signal(signal.SIGHUP, before)
        signal.signal(signal.SIGTERM, other)


def test_in_another_thread_signals_are_left_alone():
    def use():
        with interruptible():
            used.append(signal.getsignal(signal.SIGTERM))

    used = []
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert used == [signal.SIG_DFL]


# A copy of this process that does a part of the work.


def test_a_copy_of_the_process_works_beside_it(tmp_path):
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from farm import processes\n"
        "with processes.Process(['true']) as started:\n"
        "    started.wait()\n"  # the thread that starts processes is no hindrance
        "with processes.beside(lambda: Path('pid').write_text(str(os.getpid()))):\n"
        "    print(os.getpid())\n"
    )
    command = [sys.executable, "-W", "error", "-c", program]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    alone = len(os.sched_getaffinity(0)) == 1
    assert ((tmp_path / "pid").read_text() == ran.stdout.strip()) == alone


def test_what_a_copy_cannot_do_is_done_again_and_raises_here(monkeypatch, capfd, tmp_path):
    monkeypatch.setattr(processes, "_can_copy", lambda: True)

    def work():
        with (tmp_path / "tried").open("a") as file:
            file.write(f"{os.getpid() == me} ")
        raise OSError(28, "no space")

    me = os.getpid()
    with pytest.raises(OSError, match="no space"), processes.beside(work):
        pass
    assert (tmp_path / "tried").read_text() == "False True "
    assert capfd.readouterr() == ("", "")


def test_a_copy_ends_with_what_interrupts_the_rest(monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "_can_copy", lambda: True)

    def work():
        (tmp_path / "pid").write_text(str(os.getpid()))
        time.sleep(60)
        (tmp_path / "done").touch()

    def rest():
        until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), processes.beside(work):
        rest()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert not (tmp_path / "done").exists()


def test_no_copy_is_made_where_another_thread_may_hold_something():
    done, over = [], threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        with processes.beside(lambda: done.append(os.getpid())):
            assert done == []
    finally:
        over.set()
        thread.join()
    assert done == [os.getpid()]


def test_where_there_is_no_room_for_a_copy_the_work_is_done_here(monkeypatch):
    def refused():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(processes, "_can_copy", lambda: True)
    monkeypatch.setattr(os, "fork", refused)
    done = []
    with processes.beside(lambda: done.append(os.getpid())):
        pass
    assert done == [os.getpid()]
