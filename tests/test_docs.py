"""The guide says what is so: its listings are the example's files, its numbers are counted, its commands work."""

from __future__ import annotations

import dataclasses
import re
import shutil

import msgspec
import pytest
from helpers import farm

from farm import paths
from farm.guest import mechanisms
from farm.scenario.promises import NEEDS, Fact, Promise

ROOT = paths.data("arch").parent
GUIDE = (ROOT / "docs" / "adding-an-architecture.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "examples" / "or1k"


def lines(folder):
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in sorted(folder.iterdir()))


@pytest.mark.parametrize("name", ["arch.toml", "arch.h", "start_linux.S"])
def test_the_listings_are_the_files_of_the_example(name):
    content = (EXAMPLE / name).read_text(encoding="utf-8")
    assert content.rstrip() in GUIDE


def test_the_example_has_no_other_file():
    assert {path.name for path in EXAMPLE.iterdir()} == {"arch.toml", "arch.h", "start_linux.S"}
    assert f"{lines(EXAMPLE)} lines" in GUIDE


def test_the_sizes_of_the_folders_are_counted():
    rows = dict(re.findall(r"^\| `arch/(\w+)` \| [^|]+ \| (\d+) \|$", GUIDE, re.MULTILINE))
    folders = [path.parent for path in sorted(paths.data("arch").glob("*/arch.toml"))]
    assert rows == {folder.name: str(lines(folder)) for folder in folders}


def test_every_command_about_the_example_says_where_it_is():
    commands = re.findall(r"^\$ (farm .*or1k.*)$", GUIDE, re.MULTILINE)
    assert len(commands) >= 5
    assert [command for command in commands if "--arch-path examples" not in command] == []


def test_the_example_passes_everything_that_needs_no_registers(tmp_path):
    for command, package in (("or1k-elf-gcc", "gcc-or1k-elf"), ("qemu-or1k", "qemu-user")):
        if shutil.which(command) is None:
            pytest.skip(f"{command} is missing: apt-get install {package}")
    done = farm("run", "--arch-path", EXAMPLE.parent / "or1k", "--arch", "or1k", "--output", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    results = [msgspec.json.decode(line) for line in (tmp_path / "results.jsonl").read_bytes().splitlines()[1:]]
    ran = [result for result in results if result["verdict"].startswith("pass")]
    assert len(ran) >= 55
    assert {result["cell"]["mechanism"] for result in ran} == {"pointer"}
    assert {r["verdict"] for r in results} <= {"pass", "pass-insensitive", "not-applicable"}


def test_every_key_promise_and_macro_of_a_mechanism_is_explained():
    page = (ROOT / "docs" / "mechanism-toml.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `\[?([\w-]+)(?:\.[A-Z]+)?\]?` \|", page, re.MULTILINE))
    derived = {"name", "folder", "digest", "unready"}
    assert explained >= {field.name for field in dataclasses.fields(mechanisms.Mechanism)} - derived
    for promise in Promise:
        assert f"| `{promise}` | {NEEDS[promise]} |" in page
    assert all(f"`{fact}` (" in page and NEEDS[fact] in page.replace("\n", " ") for fact in Fact)
    told = {name for mechanism in mechanisms.load().values() for name in mechanism.defines()}
    assert not [name for name in told if not name.startswith("PROMISES_") and f"`{name}`" not in page]
