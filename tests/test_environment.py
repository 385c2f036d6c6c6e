"""What a command finds around it: terminals of no width, names that are no text, few files, little memory, ``-OO``."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import shutil
import subprocess
import sys
import termios
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path

import helpers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm import cli, paths
from farm.cli import listing
from farm.errors import exhausted
from farm.guest import toolchain
from farm.run.plan import Selection
from farm.text import command_line, printable, quoted

SELECT = ("--arch", "arm64", "--mechanism", "stub", "--engine", "unicorn", "--scenario", "BS-0[123]")


farm = partial(helpers.farm, COLUMNS=None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    assert farm("run", *SELECT, "--output", folder).returncode == 0
    return folder


# Widths.


@pytest.fixture(scope="module")
def unknown_width(finished):
    return farm("report", finished)


@pytest.mark.parametrize("width", ["0", "39", "9" * 5000])
def test_a_width_that_cannot_be_used_is_an_unknown_one(finished, unknown_width, width):
    assert "3✓" in unknown_width.stdout
    done = farm("report", finished, COLUMNS=width, LINES=width)
    assert (done.returncode, done.stdout, done.stderr) == (0, unknown_width.stdout, "")


@pytest.mark.parametrize(
    ("width", "kept"),
    [(width, False) for width in ("-5", "1", "1001", "wide", "", "4e1")] + [("40", True), ("1000", True)],
)
def test_which_widths_can_be_used(monkeypatch, width, kept):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setenv("COLUMNS", width)
    cli._prepare_output()
    assert ("COLUMNS" in os.environ) is kept


def test_a_width_that_can_be_used_is_kept(finished, unknown_width):
    narrow = farm("report", finished, COLUMNS="40").stdout
    assert narrow.splitlines()[:7] == unknown_width.stdout.splitlines()[:7]  # the legend has to break
    assert max(map(len, narrow.splitlines())) < max(map(len, unknown_width.stdout.splitlines()))


@pytest.mark.parametrize("columns", [1, 3])
def test_a_terminal_that_is_too_narrow_is_one_of_unknown_width(finished, columns):
    ours, its = os.openpty()
    termios.tcsetwinsize(its, (1, columns))
    env = {name: value for name, value in os.environ.items() if name not in ("CI", "COLUMNS", "LINES")}
    done = subprocess.Popen([sys.executable, "-m", "farm", "report", finished], stdout=its, env=env)
    os.close(its)
    said = b""
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while part := os.read(ours, 4096):
            said += part
    os.close(ours)
    assert done.wait(60) == 0
    assert "3✓" in said.decode()
    assert max(map(len, said.decode().splitlines())) > 60


# Names.


@given(st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name))
def test_any_name_of_a_file_is_one_word_of_a_shell_and_text(name):
    path = os.fsdecode(name)
    echoed = subprocess.run(["bash", "-c", f"printf %s {quoted(path)}"], capture_output=True, check=True).stdout
    assert echoed == name
    quoted(path).encode()
    assert printable(path).encode().decode() == printable(path)


@pytest.fixture
def odd(tmp_path, arm64):
    """A folder whose name is no UTF-8, with an architecture and scenarios in such names."""
    folder = tmp_path / os.fsdecode(b"odd\xff")
    arch = folder / os.fsdecode(b"mine\xfe")
    shutil.copytree(arm64.folder, arch)
    toml = (arch / "arch.toml").read_text().partition("[variant.arm64be]")[0]
    (arch / "arch.toml").write_text(toml.replace("variant.arm64", "variant.mine"))
    (folder / os.fsdecode(b"own\xfd.py")).write_text(
        "from farm.scenario import Defect, Scenario, call, patch\n"
        "STEPS = (patch(0, 'fast'), call(0, 5))\n"
        "SCENARIOS = (Scenario('BS-98', 'own', 'Own', STEPS, frozenset({Defect.LOST_PATCH})),)\n"
    )
    return folder


def test_names_that_are_no_text_reach_every_report(odd):
    arch, own, out = odd / os.fsdecode(b"mine\xfe"), odd / os.fsdecode(b"own\xfd.py"), odd / "out"
    (arch / "patch.c").write_text((arch / "patch.c").read_text().replace("(to - at)", "(to - at + 4)"))
    given_ = ("--arch-path", arch, "--scenario-path", own)
    select = ("--arch", "mine", "--mechanism", "stub", "--engine", "unicorn", "--scenario", "own", *given_)
    assert farm("run", *select, "--output", out, PATCHFARM_HISTORY=odd / "h.sqlite").returncode == 1
    (line,) = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()[1:]]
    assert line["verdict"] == "mismatch"
    again = ["bash", "-c", f"exec {sys.executable} -m {line['reproduce']} --output {quoted(odd / 'again')}"]
    assert subprocess.run(again, capture_output=True, check=False).returncode == 1
    assert (odd / "again" / "results.jsonl").is_file()
    for name in ("summary.md", "report.html", "results.ktap", "badge.svg", "trace.json"):
        (out / name).read_text(encoding="utf-8")
    ET.parse(out / "junit.xml")
    with (out / "results.jsonl").open("a") as file:
        file.write("{\n")
    cell = "mine/stub/zig/unicorn/own"
    for command, status in (
        (("show", cell, out, *given_), 1),
        (("trace", cell, "--json", *given_), 1),
        (("debug", cell, "--print", *given_), 0),
        (("ci", "plan", *select, "--output", odd / "plan.json", "--format", "gitlab"), 0),
        (("run", *given_, "--plan", odd / "plan.json", "--output", odd / "two"), 1),
        (("ci", "merge", odd / "two", *given_, "--output", odd / "three", "--baseline", out), 1),
        (("diff", out, odd / "two", "--format", "json"), 0),
        (("report", out, *given_), 1),
    ):
        done = farm(*command)
        assert done.returncode == status, (command, done.stdout, done.stderr)


@pytest.mark.parametrize("name", [b"mine\xfe", b"mine"])
def test_code_in_a_folder_whose_name_is_no_text_is_measured(odd, name):
    arch = odd / os.fsdecode(b"mine\xfe")
    arch = arch.rename(odd / os.fsdecode(name))
    done = farm("coverage", *SELECT, "--arch", "mine", "--arch-path", arch, "--output", odd / "out", "--json")
    document = json.loads(done.stdout)
    (unit,) = [unit for unit in document["units"] if unit["variant"] == "mine"]
    names = [source["path"] for source in unit["sources"]]
    assert names[0] == printable(f"{arch}/patch.c")
    assert json.loads((odd / "out" / "coverage.json").read_text()) == document
    assert f"SF:{names[0]}\n" in (odd / "out" / "lcov.info").read_text(encoding="utf-8")


def test_the_compiler_s_words_of_a_source_whose_name_is_no_text_are_a_result(odd):
    arch = odd / os.fsdecode(b"mine\xfe")
    (arch / "patch.c").write_bytes(b'#error "not \xff today"\n')
    select = ("--arch", "mine", "--arch-path", arch, "--mechanism", "stub", "--scenario", "BS-01")
    done = farm("run", *select, "--engine", "unicorn", "--output", odd / "out")
    assert done.returncode == 1
    (line,) = [json.loads(line) for line in (odd / "out" / "results.jsonl").read_text().splitlines()[1:]]
    assert line["verdict"] == "build-error"
    assert re.search("mine\ufffd/patch.c does not compile.*today", line["reason"], re.DOTALL)


def test_a_cache_may_have_a_name_that_is_no_text(odd):
    (odd / "cache").mkdir()
    (odd / "cache" / "zig").symlink_to(paths.cache() / "zig")  # which is slow to fill
    done = farm("run", *SELECT, "--output", odd / "out", PATCHFARM_CACHE=os.fspath(odd / "cache"))
    assert done.returncode == 0, done.stdout
    assert (odd / "cache" / "images").is_dir()


def test_a_cache_with_a_line_feed_in_its_name_is_refused(tmp_path):
    done = farm("run", *SELECT, "--output", tmp_path / "out", PATCHFARM_CACHE=f"{tmp_path}/a\nb")
    assert done.returncode == 2
    assert done.stderr == (
        f"farm: PATCHFARM_CACHE '{tmp_path}/a\\nb': compilers cannot be told of a folder with a line feed in its name\n"
    )


# Python without docstrings and asserts.


def test_help_is_the_same_without_docstrings():
    for command in ((), ("run",), ("ci", "plan"), ("history", "import")):
        done = farm(*command, "--help")
        assert farm(*command, "--help", options=["-OO"]).stdout == done.stdout
    listed = re.findall(r"^  (\w+) +(\S.*)$", farm("--help", options=["-OO"]).stdout, re.MULTILINE)
    assert {"run", "plan", "report", "ci", "doctor"} <= {name for name, _ in listed}


def test_a_run_without_asserts_finds_the_same(finished, tmp_path):
    assert farm("run", *SELECT, "--output", tmp_path, options=["-OO"]).returncode == 0

    def traces(folder):
        lines = (Path(folder) / "results.jsonl").read_text().splitlines()[1:]
        return [(line["cell"], line["verdict"], line["trace"]) for line in map(json.loads, lines)]

    assert traces(tmp_path) == traces(finished)


# Tools.


def test_a_variant_without_its_compiler_is_not_called_ready(monkeypatch):
    monkeypatch.setattr(toolchain, "_stamp", lambda command: None if command == "or1k-elf-gcc" else "here")
    monkeypatch.setattr("shutil.which", lambda command: f"/bin/{command}")
    known = Selection(arch_path=(paths.data("arch").parent / "examples",))
    (row,) = [row for row in listing.rows("variants", known) if row["name"] == "or1k"]
    assert row["engines"]["qemu-user"] == "or1k-elf-gcc is missing: apt-get install gcc-or1k-elf"
    assert row["engines"]["unicorn"] == "Unicorn has no or1k guest"


def test_warnings_that_are_errors_stay_out_of_the_emulator(tmp_path):
    """Unicorn imports what is deprecated; each of its cells was an engine error."""
    done = farm("run", *SELECT, "--output", tmp_path, PYTHONWARNINGS="error")
    assert done.returncode == 0, done.stdout + done.stderr


# Limits.


@pytest.mark.parametrize("command", ["run", "fuzz --seconds 1", "calibrate", "build", "coverage"])
@pytest.mark.parametrize("room", [200_000, 400_000])
def test_no_room_for_threads_and_emulators_is_a_sentence(tmp_path, command, room):
    """With 200,000 KiB a thread died as it was started, and was waited for without end."""
    words = f"{sys.executable} -m farm {command} --arch arm64"
    done = subprocess.run(
        ["bash", "-c", f"ulimit -v {room}; exec {words}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stderr == (
        f"farm: 1,048,576 KiB of memory are needed, and {room:,} are to be had: raise the limit (ulimit -v)\n"
    )


@pytest.mark.parametrize("limit", ["-n 16"])
def test_a_limit_that_is_too_low_is_one_sentence_and_loses_no_result(tmp_path, limit):
    select = ("--arch", "arm64,ppc32", "--scenario", "BS-01")
    words = [sys.executable, "-m", "farm", "run", *select, "-j", "8", "--output", os.fspath(tmp_path)]
    done = subprocess.run(
        ["bash", "-c", f"ulimit {limit}; exec {command_line(words)}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert re.fullmatch(r"farm: no more [a-z ]+ to be had: fewer workers .*\(ulimit .*\).*\n", done.stderr)
    if (tmp_path / "results.jsonl").is_file():
        assert farm("run", *select, "--output", tmp_path, "--resume").returncode == 0


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "no more open files to be had: .*ulimit -n"),
        (OSError(errno.ENFILE, "Too many open files in system"), "no more open files"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "no more memory to be had: .*ulimit -v"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "no more processes to be had: .*ulimit -u"),
        (MemoryError(), "no more memory"),
        (RuntimeError("can't start new thread"), "no more threads"),
        (ImportError("libsqlite3.so.0: failed to map segment from shared object"), "no more memory"),
        (OSError("libcapstone.so: failed to map segment from shared object"), "no more memory"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/nowhere"), None),
        (RuntimeError("something else"), None),
        (ImportError("No module named 'x'"), None),
    ],
)
def test_what_the_machine_has_no_more_of_is_said(error, words):
    said = exhausted(error)
    assert (said is None) if words is None else (re.match(words, str(said)) and said.exit_status == 3)


def test_what_the_system_refuses_where_nobody_expects_it_is_a_sentence(monkeypatch, capsys):
    def refuse():
        raise PermissionError(errno.EPERM, "Operation not permitted", "/some/file")

    monkeypatch.setattr(cli, "app", refuse)
    monkeypatch.setattr(cli, "_prepare_output", lambda: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code, capsys.readouterr().err) == (3, "farm: /some/file: Operation not permitted\n")
