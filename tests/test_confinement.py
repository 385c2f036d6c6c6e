"""Hostile guests (``tests/hostile``): what each tried, what came of it in the box and outside, and what held it.

The table of docs/security.md is :data:`MISDEEDS`; one batch a mode and engine runs them all, each before a good cell.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from farm import confinement, processes
from farm.cell import Cell
from farm.confinement import Box, around
from farm.engines import engines
from farm.engines.child import Child, ChildDied
from farm.engines.native import NATIVE
from farm.errors import UsageError
from farm.guest import arch_toml, build, image
from farm.prove import decoders
from farm.prove.litmus.judge import judge
from farm.run.batch import Batch, run_batch
from farm.scenario import call, patch, restore

FIRST = 1000  # number of a misdeed, in the guest's source
GOOD = (patch(0, "fast"), call(0, 5), restore(0))
DOCS = Path(__file__).parents[1] / "docs" / "security.md"

boxed = pytest.mark.skipif(bool(confinement.missing()), reason=f"guests cannot be confined: {confinement.missing()}")


class Misdeed(NamedTuple):
    """What a guest tries."""

    what: str
    inside: str  #: what comes of it in the box: a number that the guest saw, in brackets, or words of the reason
    outside: str  #: and where there is none; likewise
    by: str  #: what holds it


FILES, NAMES, FILTER, LIMIT, FARM = "mount namespace", "process namespace", "seccomp", "limit", "the farm itself"
NO_FILE, READ_ONLY, REFUSED, NO_CALL, NO_MEMORY = "[-2]", "[-30]", "[-1]", "[-38]", "[-12]"
DONE, NUMBER = "[1]", "[+]"  # the last: a number above 0
CRASH = "guest died of SIGSEGV"

#: What comes of it under QEMU instead: it knows no such call; or finds no memory for itself, and hangs.
UNDER_QEMU = {REFUSED: NO_CALL, NO_MEMORY: "no answer within 2 s"}

#: By number, from :data:`FIRST` on.
MISDEEDS = (
    Misdeed("read /etc/passwd", NO_FILE, NUMBER, FILES),
    Misdeed("open /var/lib", NO_FILE, NUMBER, FILES),
    Misdeed("write a file in /var/tmp", NO_FILE, NUMBER, FILES),
    Misdeed("write a file in the box's own root", READ_ONLY, NUMBER, FILES),
    Misdeed("open /proc/self/mem", NO_FILE, NUMBER, FILES),
    Misdeed("read another process's command", NO_FILE, NUMBER, FILES),
    Misdeed("open a device", NO_FILE, NUMBER, FILES),
    Misdeed("fork", REFUSED, NUMBER, FILTER),
    Misdeed("fork 64 times", "[0]", "[64]", FILTER),
    Misdeed("clone a process", REFUSED, NUMBER, FILTER),
    Misdeed("clone by clone3", NO_CALL, "[-22]", FILTER),
    Misdeed("fork twice and setsid, to outlive the run", REFUSED, NUMBER, FILTER),
    Misdeed("execute a shell", NO_FILE, "ended with status 5", FILES),
    Misdeed("connect to loopback", REFUSED, "[-111]", FILTER),
    Misdeed("make a Unix socket", REFUSED, NUMBER, FILTER),
    Misdeed("find the farm: its parent's number is not 1", DONE, "[0]", NAMES),
    Misdeed("kill its parent (only where that is the box)", DONE, "[0]", NAMES),
    Misdeed("be traced (ptrace)", REFUSED, "[0]", FILTER),
    Misdeed("read memory by process_vm_readv", REFUSED, "[16]", FILTER),
    Misdeed("take 2 GiB of memory", NO_MEMORY, DONE, LIMIT),
    Misdeed("take 2 GiB of shared memory", REFUSED, DONE, FILTER),
    Misdeed("set a limit of its own", REFUSED, "[0]", FILTER),
    Misdeed("make a user namespace", REFUSED, "[0]", FILTER),
    Misdeed("mount a file system", REFUSED, "[-2]", FILTER),
    Misdeed("look into the session's keys", REFUSED, NUMBER, FILTER),
    Misdeed("make an io_uring", "[0]", "[+0]", FILTER),
    Misdeed("make a file of 8 GiB in memory", "wrote without end (SIGXFSZ)", "wrote without end (SIGXFSZ)", LIMIT),
    Misdeed("write to standard error without end", "wrote without end (SIGXFSZ)", "wrote without end (SIGXFSZ)", LIMIT),
    Misdeed("write to standard output without end", "a frame of 0 bytes", "a frame of 0 bytes", FARM),
    Misdeed("write a frame of 2 GiB", "a frame of 2,147,483,647 bytes", "a frame of 2,147,483,647 bytes", FARM),
    Misdeed("write a frame of 3 bytes", "a frame of 3 bytes", "a frame of 3 bytes", FARM),
    Misdeed("forge the beginning of an answer", "its magic is", "its magic is", FARM),
    Misdeed("smash its stack", CRASH, CRASH, FARM),
)


def came(reason, expected):
    """Tell whether ``reason`` of a result tells what was ``expected``."""
    if not expected.startswith("["):
        return expected in reason
    (seen,) = re.findall(r"\[-?\d+\]", reason)[-1:] or ["[]"]
    if expected == NUMBER:
        return seen != "[]" and int(seen[1:-1]) > 0
    return seen in ("[0]", "[1]") if expected == "[+0]" else seen == expected


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """x86-64, whose guests do what ``tests/hostile/misdeeds.c`` has.

    Each of xdist's workers has images of its own, so that none ends what another one's guest has left.
    """
    variant = arch_toml.load()["x86_64"]
    folder = tmp_path_factory.mktemp("arch") / "x86"
    shutil.copytree(variant.folder, folder)
    source = folder / "patch.c"
    text = source.read_text(encoding="utf-8")
    barrier = 'void arch_store_barrier(void) { __asm__ volatile("" ::: "memory"); }\n'
    assert barrier in text
    misdeeds = (Path(__file__).parent / "hostile" / "misdeeds.c").read_text(encoding="utf-8")
    own = f"/* {os.environ.get('PYTEST_XDIST_WORKER', 'alone')} */"
    source.write_text(
        text.replace(barrier, f"{own}\n#ifdef __x86_64__\n{misdeeds}\n#else\n{barrier}#endif\n"), encoding="utf-8"
    )
    return next(variant for variant in arch_toml.load_folder(folder) if variant.name == "x86_64")


@pytest.fixture
def mode(monkeypatch):
    """``mode("off")``: guests are confined so, in this test."""
    monkeypatch.setattr(confinement._chosen, "mode", None)
    return lambda word: monkeypatch.setattr(confinement._chosen, "mode", word)


def end_of(program):
    """Kill what runs ``program`` still; how many that were."""
    number = 0
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str((entry / "exe").readlink()) == program:
                os.kill(int(entry.name), signal.SIGKILL)
                number += 1
    return number


@pytest.fixture(scope="module")
def outcomes(hostile):
    """``outcomes(engine, mode)``: a result for each misdeed, and the verdicts of the good cells behind them."""
    known = {}

    def run(engine, mode):
        if (engine, mode) not in known:
            from farm.scenario import Defect, Scenario

            def made(name, *steps):
                return Scenario("BS-99", name, "", steps, frozenset({Defect.LOST_PATCH}))

            programs = []
            for number in range(len(MISDEEDS)):
                steps = call(0, FIRST + number), patch(0, "far"), call(0, 5)
                programs += [made(f"bad{number}", *steps), made(f"good{number}", *GOOD)]
            cells = tuple(Cell(program.name, "x86_64", "stub", "zig", engine) for program in programs)
            batch = Batch(
                image.Spec(hostile, "stub"),
                engine,
                cells,
                tuple(programs),
                2.0,
                confirm=False,
                retries=0,
                cross_checked=1 << 40,
            )
            before = confinement._chosen.mode
            confinement.choose(mode)
            try:
                results = run_batch(batch)
            finally:
                confinement._chosen.mode = before
                engines()[engine].close()
                left = end_of(batch.bench().image.path)
                Path("/var/tmp/patchfarm-hostile").unlink(missing_ok=True)
                Path("/patchfarm-hostile").unlink(missing_ok=True)
            known[engine, mode] = results[::2], [str(result.verdict) for result in results[1::2]], left
        return known[engine, mode]

    return run


@boxed
@pytest.mark.usefixtures("qemu")
@pytest.mark.parametrize("engine", ["native", "qemu-user"])
@pytest.mark.parametrize("number", range(len(MISDEEDS)), ids=[misdeed.what for misdeed in MISDEEDS])
def test_what_a_hostile_guest_tries_is_held(outcomes, engine, number):
    if engine == "native" and not NATIVE.runs_here(arch_toml.load()["x86_64"]):
        pytest.skip("this host is no x86-64")
    results, behind, left = outcomes(engine, "require")
    expected = MISDEEDS[number].inside
    instead = UNDER_QEMU.get(expected) if engine == "qemu-user" else None
    assert came(results[number].reason, expected) or (instead and came(results[number].reason, instead))
    assert str(results[number].verdict) not in ("pass", "pass-insensitive")
    assert behind[number] == "pass"
    assert not left


@pytest.mark.parametrize("number", range(len(MISDEEDS)), ids=[misdeed.what for misdeed in MISDEEDS])
def test_what_a_hostile_guest_tries_would_succeed_outside(outcomes, number):
    """Else the box has held nothing.  Pretended here is less than a guest could do: see the source."""
    if not NATIVE.runs_here(arch_toml.load()["x86_64"]):
        pytest.skip("this host is no x86-64")
    results, behind, left = outcomes("native", "off")
    assert came(results[number].reason, MISDEEDS[number].outside)
    assert behind[number] == "pass"
    assert left, "one has outlived the run"


# The box itself.


def spoken(code, **options):
    """What a child in a box has had to say: Python that runs ``code``."""
    box = around(sys.executable, sys.base_prefix, *_homes(), **options)
    return Child([sys.executable, "-I", "-S", "-c", code], box)


def _homes():
    return [os.path.realpath(sys.executable)]


@boxed
@pytest.mark.parametrize(
    ("code", "options", "breach"),
    [
        ("hog = bytearray(96 << 20)", {"memory": 64 << 20}, "it took .* MiB of memory; 64 are allowed"),
        (
            "import threading\nfor _ in range(40): threading.Thread(target=time.sleep, args=(9,)).start()",
            {},
            "it started 4[0-9] threads; 32 are allowed",
        ),
    ],
)
def test_a_child_that_takes_too_much_is_ended(code, options, breach):
    child = spoken(f"import time\n{code}\ntime.sleep(9)", **options)
    try:
        with pytest.raises(ChildDied) as caught:
            child.receive(time.monotonic() + 8)
    finally:
        child.close()
    assert re.fullmatch(breach, caught.value.breach)


@boxed
def test_what_has_left_its_session_dies_with_the_box():
    child = spoken("import os, time\nos.setsid()\nos.write(1, bytes([4, 0, 0, 0, 7, 0, 0, 0]))\ntime.sleep(60)")
    assert child.receive(time.monotonic() + 8) == (7, b"")
    inner = child.process.program()
    child.close()
    until = time.monotonic() + 1
    while Path(f"/proc/{inner}").exists():
        assert time.monotonic() < until
        time.sleep(0.01)


@boxed
def test_the_box_has_no_privileges_and_limits_from_its_first_instruction():
    code = (
        "import resource as r; print(*map(r.getrlimit, (r.RLIMIT_FSIZE, r.RLIMIT_CORE, r.RLIMIT_DATA)))"
        "\nimport ctypes; l = ctypes.CDLL(None); print(l.prctl(39, 0, 0, 0, 0), l.prctl(23, 21, 0, 0, 0))"
    )
    box = around(sys.executable, sys.base_prefix, *_homes(), data=1 << 30)
    status, said = processes.run(
        [sys.executable, "-I", "-S", "-c", code], box=box, limits={resource.RLIMIT_FSIZE: 4096}
    )
    assert status == 0, said
    limits, privileges = said.splitlines()
    assert limits == f"(4096, 4096) (0, 0) ({1 << 30}, {1 << 30})"
    assert privileges == "1 0"  # PR_GET_NO_NEW_PRIVS, and CAP_SYS_ADMIN by PR_CAPBSET_READ


@boxed
def test_the_environment_of_the_farm_is_not_seen(monkeypatch):
    monkeypatch.setenv("SECRET", "of the CI")
    code = (
        "import os; print(sorted({*os.environ} - {'LC_CTYPE'}))"  # which Python itself sets in the C locale (PEP 538)
    )
    box = around(sys.executable, sys.base_prefix, *_homes())
    assert processes.run([sys.executable, "-I", "-S", "-c", code], box=box) == (0, "['PWD']\n")


def test_whatever_loads_an_emulator_runs_in_a_box(monkeypatch, mode, qemu):
    mode("auto")
    unboxed, start = [], processes.Process.__init__

    def noted(self, command, **options):
        if options.get("box") is None and re.search(r"qemu-|-m farm\.", " ".join(map(str, command))):
            unboxed.append(command)
        start(self, command, **options)

    monkeypatch.setattr(processes.Process, "__init__", noted)
    arm64 = arch_toml.load()["arm64"]
    litmus = Path(__file__).with_name("litmus") / "called.litmus"
    assert [judged.error for judged in judge([litmus])] == [""]
    asked = decoders.Decoders(arm64, build.image(decoders.spec_of(arm64, "zig")))
    assert list(asked.complaints(every=97)) == []
    assert unboxed == []


# What is used, and said.


@pytest.fixture
def without(monkeypatch):
    """Bubblewrap is not installed."""
    which = shutil.which

    def found(name, **where):
        return None if name == "bwrap" else which(name, **where)

    monkeypatch.setattr(confinement.shutil, "which", found)
    confinement.look_again()
    confinement.warn.cache_clear()
    yield
    monkeypatch.undo()
    confinement.look_again()
    confinement.warn.cache_clear()


@pytest.mark.usefixtures("without")
def test_without_a_box_guests_run_and_that_is_said(mode, capsys):
    mode("auto")
    assert processes.run(["true"], box=Box(())) == (0, "")
    assert processes.run(["true"], box=Box(())) == (0, "")
    why = "bwrap is missing: apt-get install bubblewrap"
    assert capsys.readouterr().err == f"guests are NOT confined ({why}): what is in one can do here what you can\n"
    assert confinement.account() == "none: bwrap is missing: apt-get install bubblewrap"


@pytest.mark.usefixtures("without")
def test_where_a_box_is_required_nothing_runs_without(mode, tmp_path):
    mode("require")
    with pytest.raises(
        confinement.ConfinementError, match="guests cannot be confined, as is required: bwrap is missing"
    ):
        processes.run(["touch", str(tmp_path / "ran")], box=Box(()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("without")
def test_a_run_that_requires_a_box_ends_with_status_3(mode, tmp_path):
    from typer.testing import CliRunner

    from farm.cli import load

    mode(None)
    done = CliRunner().invoke(
        load(), ["run", "--require-confinement", "--arch", "arm64", "--output", str(tmp_path / "o")]
    )
    assert isinstance(done.exception, confinement.ConfinementError)
    assert done.exception.exit_status == 3
    assert not (tmp_path / "o").exists()


def test_a_box_that_cannot_be_made_is_no_box(mode, monkeypatch, tmp_path):
    mode("auto")
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    confinement.look_again()
    try:
        assert not confinement.confines()
        assert "cannot make a box here (bwrap: No permissions to create new namespace)" in confinement.account()
    finally:
        monkeypatch.undo()
        confinement.look_again()


def test_the_environment_chooses_and_what_is_no_choice_is_said(mode, monkeypatch):
    mode(None)
    monkeypatch.setenv(confinement.VARIABLE, "off")
    assert confinement.account() == "none: it is not wanted"
    monkeypatch.setenv(confinement.VARIABLE, "on")
    with pytest.raises(UsageError, match="PATCHFARM_CONFINEMENT 'on': expected one of auto, require, off"):
        confinement.confines()


@boxed
def test_the_table_of_the_docs_is_that_of_the_tests():
    rows = [f"| {m.what} | {told(m.inside)} | {told(m.outside)} | {m.by} |" for m in MISDEEDS]
    text = DOCS.read_text(encoding="utf-8")
    assert "\n".join(rows) in text


#: Answers of Linux in words (errno(3)).
ERRORS = {
    "-1": "EPERM",
    "-2": "ENOENT",
    "-12": "ENOMEM",
    "-22": "EINVAL",
    "-30": "EROFS",
    "-38": "ENOSYS",
    "-111": "ECONNREFUSED",
}


def told(came):
    """What comes of a misdeed, for the table."""
    number = came[1:-1]
    if not came.startswith("["):
        return came
    return {"+": "done", "+0": "as the kernel is set"}.get(number) or ERRORS.get(number, number)
