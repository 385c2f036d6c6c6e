"""Examples of mechanisms whose code is somebody else's: adapters, which need a checkout to be compiled with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers import farm

from farm.cell import FAILED, Verdict
from farm.errors import BackendError
from farm.guest import arch_toml, mechanisms
from farm.run import journal, plan
from farm.run.plan import Selection

EXAMPLES = Path(__file__).parents[1] / "examples"

#: The folders: the variable that each needs, what it is, and of a checkout the file that x86_64 needs first.
FOREIGN = {
    "kernel-static-call": (
        "KERNEL",
        "a Linux tree with arch/, include/ and kernel/; for one, `apt-get source linux`",
        "kernel/static_call.c",
    ),
    "hook-library": (
        "LIBRARY",
        "a checkout of UCX, with src/ucm/bistro; for one, `apt-get source ucx`",
        "src/ucm/bistro/bistro.c",
    ),
}
everyone = pytest.mark.parametrize("name", FOREIGN)


def of(name, **selectors):
    return Selection(mechanism=(name,), mechanism_path=(EXAMPLES / name,), **selectors)


@everyone
def test_without_a_checkout_it_is_said_what_is_wanted_and_where_it_is(name, monkeypatch):
    variable, what, _ = FOREIGN[name]
    monkeypatch.delenv(variable, raising=False)
    done = farm("run", "--mechanism-path", EXAMPLES / name, "--arch", "x86_64")
    assert done.returncode == 2
    toml = EXAMPLES / name / mechanisms.FILE
    assert done.stderr == f"farm: {toml}: environment.{variable}: {variable} is not set: {what}\n"
    monkeypatch.setenv(variable, "/gone")
    with pytest.raises(BackendError, match=f"{variable} is '/gone', and nothing is there: {what[:9]}"):
        mechanisms.read(EXAMPLES / name).check_ready()


@everyone
def test_an_architecture_whose_code_the_checkout_lacks_is_a_hole_with_the_file(name, monkeypatch, tmp_path):
    variable, _, first = FOREIGN[name]
    monkeypatch.setenv(variable, str(tmp_path))
    mechanisms.load.cache_clear()
    made = plan.make(of(name, arch=("x86_64", "arm64", "s390x"), toolchain=("zig",), engine=("unicorn",)))
    assert {planned.verdict for planned in made.cells} == {Verdict.NOT_APPLICABLE}
    known, variants = mechanisms.load((EXAMPLES / name,))[name], arch_toml.load()
    why = known.missing(variants["x86_64"])
    assert why.startswith(f"x86 has no {name}: no {tmp_path / first} or {tmp_path}/")
    assert why in {planned.reason for planned in made.cells}
    assert known.missing(variants["s390x"]).startswith(f"{name} is not made for s390x")
    mechanisms.load.cache_clear()


@everyone
def test_nothing_of_the_foreign_code_lies_in_the_folder(name, monkeypatch, tmp_path):
    monkeypatch.setenv(FOREIGN[name][0], str(tmp_path))
    made = mechanisms.read(EXAMPLES / name)
    parts = [made, *made.on.values()]
    assert any(source.startswith(str(tmp_path)) for part in parts for source in part.sources)
    texts = [path.read_text(encoding="utf-8") for path in made.folder.rglob("*") if path.is_file()]
    assert [text for text in texts if "SPDX" in text or "Copyright" in text] == []
    assert made.warnings == "foreign"


@pytest.mark.skipif("KERNEL" not in os.environ, reason="needs a Linux tree, which KERNEL names")
def test_the_kernels_own_static_calls_do_all_that_they_promise():
    selection = of("kernel-static-call")
    select = ("--mechanism-path", selection.mechanism_path[0], "--mechanism", "kernel-static-call")
    done = farm("run", *select, "--arch", "x86_64,i386,ppc32", "--engine", "unicorn", "--toolchain", "zig")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        farm("calibrate", *select, "--arch", "ppc32", "--engine", "unicorn", "--control", "no-*,off-*").returncode == 0
    )


@pytest.mark.skipif("LIBRARY" not in os.environ, reason="needs a checkout of UCX, which LIBRARY names")
def test_the_hook_library_does_all_that_it_promises_but_for_a_jump_that_it_moves(tmp_path):
    select = ("--mechanism-path", EXAMPLES / "hook-library", "--mechanism", "hook-library", "--engine", "qemu-user")
    done = farm("run", *select, "--arch", "arm64,x86_64", "--toolchain", "zig", "--output", tmp_path)
    assert done.returncode in {0, 1}, done.stdout + done.stderr  # UCX has mended it since (README.md)
    red = {
        (result.cell.variant, result.cell.scenario.partition("_")[0])
        for result in journal.read(tmp_path / "results.jsonl").results
        if result.verdict in FAILED
    }
    assert red <= {("x86_64", "original")}
