"""``farm new mechanism``, and ``docs/your-mechanism.md``, which goes on from there: typed as it stands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest

from farm import paths, suite
from farm.guest import arch_toml, mechanisms, template
from farm.scenario.promises import Promise
from tests.helpers import FARM, farm, lines_of

ROOT = paths.data("arch").parent
PAGE = (ROOT / "docs" / "your-mechanism.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:^`([^`\n]+)`:\n\n)?^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def new(folder, *arguments):
    return farm("new", "mechanism", *arguments, cwd=folder)


# The page.


FEW = "BS-0[12579]"  # of the scenarios that a new mechanism is shown red with


def typed(command, folder, *, both):
    """What ends a command of the page, typed in ``folder``; where it takes long, of one variant, engine or scenario."""
    words = [word.replace("BS-0*", FEW) for word in shlex.split(command, comments=True)]
    verb = words[1]
    if words[0] == "pytest":
        words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words[1:]]
    elif verb in {"run", "calibrate"}:
        words = [*FARM, *(word if both else word.replace("arm64,x86_64", "arm64") for word in words[1:])]
        words += ["--engine", "unicorn"] * ("--engine" not in words)
        words += ["--scenario", "BS-06"] * (verb == "calibrate")
    elif words[0] == "farm":
        words = [*FARM, *words[1:], *(["--print"] if verb == "debug" else [])]
    env = {name: value for name, value in os.environ.items() if name != "CI"}
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300)


def verdicts(folder):
    """Names of scenarios of the last run in ``folder``, by verdict."""
    by_verdict = {}
    for result in lines_of(folder / "farm-out")[1]:
        by_verdict.setdefault(result["verdict"], set()).add(result["cell"]["scenario"])
    return by_verdict


#: Verdicts of a new mechanism: calls work, no request does.
REFUSING = {
    "pass": {"default_before_patch"},
    "mismatch": {"update_then_call", "null_void_call", "ret0_returns_zero", "idempotent_update"},
}


def test_the_page_leads_from_nothing_to_green_as_it_stands(tmp_path):
    ended, out = [], ""
    commands = PAGE.count("\n$ ")
    for file, language, content in BLOCK.findall(PAGE):
        if file:
            (tmp_path / file).write_text(content, encoding="utf-8")
            continue
        if language == "text":
            assert content in out, "the command above does not print this"
            continue
        for line in content.splitlines():
            done = typed(line.removeprefix("$ "), tmp_path, both=ended.count("run") == 3)
            assert done.returncode == ("# red" in line), f"{line}\n{done.stdout}\n{done.stderr}"
            ended.append(line.split()[2])
            out = done.stdout
            if ended == ["new", "run"]:
                assert verdicts(tmp_path) == REFUSING
    assert len(ended) == commands
    assert ended.count("run") == 4
    assert "2 passed" in out  # of pytest, for two variants
    promises = mechanisms.read(tmp_path / "mine").promises
    assert len(promises) == 7
    holes = [result for result in lines_of(tmp_path / "farm-out")[1] if result["verdict"] == "not-applicable"]
    assert not [hole for hole in holes for name in promises if f"does not promise {name}:" in hole["reason"]]
    assert len(verdicts(tmp_path)["pass"]) >= 85


def test_the_page_says_of_every_promise_which_scenarios_judge_it():
    needs = {scenario.id: scenario.all_needs for scenario in suite.load().values()}
    rows = re.findall(r"^\| (`[^|]+`) \| [^|]+ \| ([A-Z]{2}-\d\d[^|]*) \|$", PAGE, re.MULTILINE)
    named = [(re.findall(r"`([^`]+)`", promises), ids.split(", ")) for promises, ids in rows]
    assert re.search(r"^\| `several-writers` \| [^|]+ \| \[`farm prove interleave`\]", PAGE, re.MULTILINE)
    judged = set(Promise) - {Promise.SEVERAL_WRITERS}
    assert sorted(promise for promises, _ in named for promise in promises) == sorted(judged)
    for promises, ids in named:
        assert [name for name in ids if not set(needs[name]).intersection(promises)] == []


# What is written.


def test_a_new_mechanism_of_c_builds_and_each_of_its_functions_refuses(tmp_path):
    done = new(tmp_path, "mine", "--arch", "arm64", "--like", "pointer")
    assert done.returncode == 0, done.stderr
    (command,) = re.findall(r"^  farm (.*)$", done.stdout, re.MULTILINE)
    red = farm(*shlex.split(command.replace("BS-0*", FEW)), cwd=tmp_path)
    assert red.returncode == 1, red.stdout + red.stderr
    assert verdicts(tmp_path) == REFUSING
    assert "unsupported: the mechanism has no such operation" in red.stdout


def test_every_variant_has_files_to_begin_with(tmp_path):
    variants = list(arch_toml.load().values())
    files = template.files("mine", "stub", variants)
    for path, content in files.items():
        (tmp_path / "mine" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / path).write_text(content, encoding="utf-8")
    made = mechanisms.read(tmp_path / "mine")
    assert [variant.name for variant in variants if made.missing(variant)] == []
    for variant in variants:
        assert {path for path in made.files(variant) if path.name.startswith("stub")} == {
            tmp_path / "mine" / variant.architecture / variant.source("stub.S").name
        }


def test_files_of_a_template_say_everything_that_is_promised():
    for like in ("stub", "pointer"):
        files = template.files("mine", like, [arch_toml.load()["arm64"]])
        assert not [path for path, content in files.items() if "$" in content]
        (source,) = (content for path, content in files.items() if path.name == "mechanism.c")
        assert source.count("return PATCH_UNSUPPORTED;") == 4
        assert all(f"mechanism_{name}(" in source for name in ("set", "restore", "null", "ret0", "query"))


# What is refused.


def test_nothing_that_exists_is_overwritten(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mechanism.c").write_text("mine")
    done = new(tmp_path, "mine", "--arch", "arm64")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "farm: mine exists, and nothing is overwritten: choose another NAME, or --output DIR\n"
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["mechanism.c"]
    assert new(tmp_path, "mine", "--arch", "arm64", "--output", "below").returncode == 0
    assert (tmp_path / "below" / "mine" / "mechanism.toml").is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("a/b", "--arch", "arm64"), "NAME 'a/b': expected a letter, then letters, digits, '-' and '_'"),
        (("", "--arch", "arm64"), "NAME '': expected a letter, then letters, digits, '-' and '_'"),
        (("stub", "--arch", "arm64"), "NAME stub: a mechanism of the farm's own is called so; expected another name"),
        (("x",), "--arch is missing: name the architectures that it is for, such as --arch arm64,x86_64"),
        (("x", "--arch", "arm65"), "unknown architecture 'arm65': did you mean arm64"),
        (("x", "--arch", "arm64", "--output", "file"), "file/x: cannot be made: Not a directory; --output DIR names"),
        (("x", "--arch", "or1k", "--arch-path", "EXAMPLES"), "--arch or1k: or1k has no stub.S to begin with"),
    ],
    ids=["slash", "empty", "taken", "no-arch", "unknown-arch", "no-folder", "no-asm"],
)
def test_a_mistake_is_one_sentence(tmp_path, arguments, sentence):
    (tmp_path / "file").touch()
    done = new(tmp_path, *(argument.replace("EXAMPLES", str(ROOT / "examples")) for argument in arguments))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"farm: {sentence}")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# What is listed.


def test_a_listed_mechanism_says_what_it_does_not_promise(tmp_path):
    assert new(tmp_path, "mine", "--arch", "arm64,x86_64").returncode == 0
    listed = farm("list", "mechanisms", "--mechanism-path", "mine", cwd=tmp_path).stdout
    paragraph = listed[listed.index("\nmine ") :]
    assert "on 2 variants: arm64, x86_64\n" in paragraph
    assert "promises null, queries, restores-bytes, ret0\n" in paragraph
    assert "does not promise checks-targets, closes-text, original, " in paragraph
    assert str(tmp_path / "mine") in paragraph
