"""What ``farm run -v`` tells, and where ``--max-failures`` and ``-x`` stop."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
import time

import pytest
from helpers import farm, lines_of

from farm import processes


def results(folder):
    """The last line of each cell."""
    return list({tuple(line["cell"].values()): line for line in lines_of(folder)[1]}.values())


@pytest.fixture
def mine(arm64, tmp_path):
    """``mine(old, new)``: a copy of arch/arm64 as variant `mine`, with a part of its patch code changed."""

    def make(old, new):
        folder = tmp_path / "mine"
        shutil.copytree(arm64.folder, folder)
        toml, source = folder / "arch.toml", folder / "patch.c"
        text = toml.read_text().partition("[variant.arm64be]")[0]
        toml.write_text(text.replace("variant.arm64", "variant.mine"))
        assert source.read_text().count(old) == 1
        source.write_text(source.read_text().replace(old, new))
        return folder

    return make


JUMP = "code_word arch_jump(uintptr_t at, uintptr_t to)\n{\n"
HANG = JUMP + '    for (;;) __asm__ volatile("");\n'
STUB = ("--arch", "mine", "--mechanism", "stub")


# Verbose.


def test_verbose_prints_the_command_of_each_compiler_and_emulator_once(mine, tmp_path, qemu, own_cache):
    folder = mine("#define NOP", "/* another guest */\n#define NOP")
    done = farm("run", *STUB, "--arch-path", folder, "--scenario", "BS-0[12]", "--output", tmp_path / "out", "-v")
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line[2:] for line in done.stdout.splitlines() if line.startswith("$ ")]
    assert len(said) == len(set(said))
    words = [shlex.split(line) for line in said]
    (guest,) = {word for line in words for word in line if word.endswith("guest.elf") and "/images/" in word}
    assert ["env", "-i", shutil.which("qemu-aarch64"), "-cpu", "cortex-a57", guest] in words
    assert [sys.executable, "-P", "-W", "ignore", "-m", "farm.engines.unicorn.server"] in words
    compiled = [line for line in words if "cc" in line and line[-1].endswith("mine/patch.c")]
    assert len(compiled) == 1
    assert any(word.startswith("ZIG_GLOBAL_CACHE_DIR=") for word in compiled[0])
    assert sum("ld.lld" in line for line in words) == 1
    quiet = farm("run", *STUB, "--arch-path", folder, "--scenario", "BS-01", "--output", tmp_path / "quiet")
    assert "$ " not in quiet.stdout


def test_whoever_listens_hears_each_command_once_and_what_is_special_about_its_environment():
    heard = []
    with processes.telling(heard.append):
        for environment in (None, None, {}, {**os.environ, "A": "b c"}):
            processes.run(["true", "a b"], env=environment)
    processes.run(["true", "nobody listens"])
    assert heard == ["true 'a b'", "env -i true 'a b'", "env 'A=b c' true 'a b'"]


def test_verbose_tells_the_words_of_a_compiler_once_as_it_goes_and_once_at_the_end(mine, tmp_path):
    folder = mine("#define NOP", "nonsense\n#define NOP")
    select = ("--arch-path", folder, "--engine", "unicorn", "--scenario", "BS-0*", "--output", tmp_path / "out")
    done = farm("run", *STUB, *select, "-v", COLUMNS="1000")
    assert done.returncode == 1
    cells = len(results(tmp_path / "out"))
    assert cells > 5
    assert done.stdout.count("unknown type name 'nonsense'") == 2
    assert (
        len(
            re.findall(
                r"^build-error +mine/\S+  .*patch\.c does not compile for mine: as above$", done.stdout, re.MULTILINE
            )
        )
        == cells - 1
    )


# The end after some failures.


def test_a_guest_in_which_everything_hangs_says_so_soon(mine, tmp_path):
    folder, out = mine(JUMP, HANG), tmp_path / "out"
    select = (*STUB, "--arch-path", folder, "--engine", "unicorn", "--timeout", "0.5", "--output", out, "-j", "1")
    began = time.monotonic()
    done = farm("run", *select, "-x")
    assert done.returncode == 1
    assert time.monotonic() - began < 60  # all of them would take minutes
    first = results(out)
    assert [line["verdict"] for line in first if line["verdict"] != "not-applicable"].count("timeout") == 1
    assert not any(line.get("provisional") for line in first)
    planned = len(json.loads((out / "plan.json").read_text())["cells"])
    said = re.search(r"^--max-failures 1: (\d+) cells were not run; --resume runs them$", done.stdout, re.MULTILINE)
    assert int(said[1]) == planned - len(first) > 50
    assert said[0] in (out / "summary.md").read_text()
    assert (out / "report.html").is_file()
    again = farm("run", *select, "--resume", "--max-failures", "2")
    assert again.returncode == 1
    second = results(out)
    assert [line["verdict"] for line in second].count("timeout") == 3
    assert {json.dumps(line) for line in first} <= {json.dumps(line) for line in second}


def test_a_run_without_so_many_failures_is_as_any_other(mine, tmp_path):
    folder = mine("(to - at) >> 2", "(to - at + 4) >> 2")
    select = (*STUB, "--arch-path", folder, "--engine", "unicorn", "--scenario", "BS-0*")
    whole = farm("run", *select, "--output", tmp_path / "whole")
    same = farm("run", *select, "--output", tmp_path / "same", "--max-failures", "1000")
    assert whole.returncode == same.returncode == 1
    cut = farm("run", *select, "--output", tmp_path / "cut", "--max-failures", "2", "-j", "1")
    assert cut.returncode == 1

    def verdicts(name):
        return {tuple(line["cell"].values()): line["verdict"] for line in results(tmp_path / name)}

    assert verdicts("same") == verdicts("whole")
    assert verdicts("cut").items() <= verdicts("whole").items()
    assert sum(verdict == "mismatch" for verdict in verdicts("cut").values()) >= 2


def test_failures_are_not_counted_where_known_bad_ones_are_looked_at(tmp_path):
    done = farm("run", "--quarantine-verify", "-x", "--output", tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        "farm: --max-failures: --quarantine-verify must run all that is listed\n",
    )
