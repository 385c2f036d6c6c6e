"""How many cells a second the farm runs, beside a bare emulator and beside ordinary test runners.

Run it with ``python benchmarks/throughput.py``; it prints JSON.  Measured, each as a whole process timed from outside,
start-up included, two workers each:

* ``farm-unicorn``, ``farm-qemu-user``: ``farm run -j 2`` over one warm plan (its images are built), 20,000 cells;
* ``bare-unicorn``: the same cells in a loop that resets as the farm does, writes the program, runs and reads the trace,
  two processes with half of every image's cells each;
* ``lit``, ``pytest``: one QEMU process a cell, for an even sample of 400 of those cells.

The cells are generated scenarios of ten steps, each on every variant and mechanism.  Every answer is compared with the
expected one by everything that is measured.  The measurements take turns, after a round that warms up, and a ratio is
the median of the rounds'.
It needs QEMU's user mode emulators and LLVM's lit: ``apt-get install qemu-user`` and ``pip install lit``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import random
import shlex
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from farm.engines.qemu_user import QEMU_USER
from farm.engines.unicorn import UNICORN
from farm.engines.unicorn.machine import Machine
from farm.guest import arch_toml, build, image
from farm.guest.variant import UnicornSettings, Variant
from farm.scenario import FUNCTIONS, REAL_TARGETS, Kind, Scenario, Shape, layout, model, wire
from farm.suite import load

VARIANTS = ("arm64", "ppc32", "ppc64", "ppc64le", "x86_64")
MECHANISMS = ("pointer", "stub")
IMAGES = len(VARIANTS) * len(MECHANISMS)
STEPS = 10
#: What every mechanism can do, whatever the suite grows to: figures of different days are of the same cells.
SHAPES = (Shape.USED, Shape.IGNORED, Shape.TAIL, Shape.LOOPED, Shape.POINTER, Shape.RECURSIVE)
PLAIN = [n for n, kind in enumerate(FUNCTIONS) if kind in (Kind.INT, Kind.LONG, Kind.WIDE, Kind.VOID)]
SEED = 20181005
TIMEOUT = 5.0

#: Ratio of cells a second: the one measured, the one it is compared with, the least that is aimed at.
RATIOS = {
    "a/b": ("farm-unicorn", "bare-unicorn", 0.5),
    "a/d": ("farm-unicorn", "lit", 60.0),
    "c/d": ("farm-qemu-user", "lit", 10.0),
    "a/e": ("farm-unicorn", "pytest", None),
}


class NotPossibleError(Exception):
    """Something is missing, or went wrong; the message is for the user."""


# The scenarios: a Python file outside the tree, as a user would have.


def step(rng: random.Random) -> str:
    """One step in the words of :mod:`farm.scenario`, legal after any other on every mechanism."""
    function = rng.choice(PLAIN)
    kind = rng.choices(("call", "patch", "restore", "query"), (6, 3, 1, 1))[0]
    if kind == "call":
        shape = rng.choice(SHAPES)
        count = rng.randint(1, 3) if shape in (Shape.LOOPED, Shape.RECURSIVE) else 1
        return f"call({function}, {rng.getrandbits(40):#x}, {shape.name.lower()!r}, count={count})"
    if kind == "patch":
        return f"patch({function}, {rng.choice(REAL_TARGETS).name.lower()!r})"
    return f"{kind}({function})"


def scenario_file(folder: Path, count: int) -> Path:
    """``count`` scenarios ``b_0000``...; the same whenever this is called."""
    rng = random.Random(SEED)  # noqa: S311 - the same scenarios everywhere is the point
    lines = ["from farm.scenario import Defect, Scenario, call, patch, query, restore", ""]
    lines += ["LOST = frozenset({Defect.LOST_PATCH})", "SCENARIOS = ("]
    for number in range(count):
        steps = ", ".join(step(rng) for _ in range(STEPS))
        lines.append(f"    Scenario('BS-b{number:04}', 'b_{number:04}', 'Ten random steps', ({steps}), LOST),")
    path = folder / "generated.py"
    path.write_text("\n".join([*lines, ")", ""]))
    return path


# What is measured; each returns a command that is to be timed.


@dataclass(frozen=True)
class Guest:
    """One image, and every scenario for it: programs, and the events that the model expects."""

    variant: Variant
    built: image.Image
    programs: list[bytes]
    bodies: list[bytes]


def guests(scenarios: list[Scenario]) -> list[Guest]:
    """Every image, built or from the cache."""
    variants = arch_toml.load()
    made = []
    for name in VARIANTS:
        for mechanism in MECHANISMS:
            built = build.image(image.Spec(variants[name], mechanism))
            order = built.big_endian
            programs = [wire.encode(scenario, big_endian=order) for scenario in scenarios]
            bodies = [wire.encode_events(list(model.predict(scenario)), big_endian=order) for scenario in scenarios]
            made.append(Guest(variants[name], built, programs, bodies))
    return made


def farm_command(engine: str, scenarios: Path, output: Path) -> list[str]:
    """``farm run`` over every cell."""
    options = {"--engine": engine, "--arch": ",".join(VARIANTS), "--mechanism": ",".join(MECHANISMS), "-j": "2"}
    options |= {"--scenario-path": str(scenarios), "--scenario": "b_*", "--output": str(output)}
    return [sys.executable, "-m", "farm", "run", *(word for option in options.items() for word in option)]


class Share(msgspec.Struct):
    """What a bare process does with one image."""

    image: str  #: path of its image.json
    settings: UnicornSettings
    cells: list[tuple[bytes, bytes]]  #: program, events


def bare_command(made: list[Guest], half: int, path: Path) -> list[str]:
    """The loop around Unicorn: this file again."""
    shares = []
    for guest in made:
        settings = guest.variant.engine["unicorn"]
        assert isinstance(settings, UnicornSettings)
        cells = list(zip(guest.programs[half::2], guest.bodies[half::2], strict=True))
        shares.append(Share(str(Path(guest.built.path).with_name("image.json")), settings, cells))
    path.write_bytes(msgspec.msgpack.encode(shares))
    return [sys.executable, __file__, "--bare", str(path)]


def bare(path: Path) -> None:
    """The loop.  Comparing the trace costs 0.2 us of some 40."""
    start = 4 * layout.HEADER_WORDS
    for share in msgspec.msgpack.decode(path.read_bytes(), type=list[Share]):
        machine = Machine(image.described(Path(share.image)), share.settings)
        for program, body in share.cells:
            machine.reset()
            trace = machine.run(program)
            if trace[start : start + len(body)] != body:
                raise SystemExit(f"{share.image}: a trace is not as the model says")
    os._exit(0)  # as the farm's own child: no time for destructors of emulators


@dataclass(frozen=True)
class Sample:
    """A cell for the runners that start one process each."""

    command: list[str]
    question: Path
    answer: Path


def samples(made: list[Guest], count: int, folder: Path) -> list[Sample]:
    """An even choice of ``count`` cells; the answers are what the farm's own engine said and its model approves."""
    taken = []
    for number, guest in enumerate(made):
        share = range(0, len(guest.programs), -(-len(guest.programs) * IMAGES // count))
        order = ">" if guest.built.big_endian else "<"
        replies = QEMU_USER.run(guest.built, guest.variant, [guest.programs[i] for i in share], TIMEOUT)
        for i, reply in zip(share, replies, strict=True):
            start, program = 4 * layout.HEADER_WORDS, guest.programs[i]
            if reply.trace[start : start + len(guest.bodies[i])] != guest.bodies[i]:
                raise NotPossibleError(f"{guest.built.path}: qemu-user does not do as the model says: {reply.detail}")
            question, answer = folder / f"{number}-{i}.program", folder / f"{number}-{i}.expected"
            question.write_bytes(struct.pack(f"{order}I", len(program)) + program)
            answer.write_bytes(struct.pack(f"{order}2I", len(reply.trace) + 4, 0) + reply.trace)
            taken.append(Sample(QEMU_USER.command(guest.built, guest.variant), question, answer))
    QEMU_USER.close()
    return taken


def lit_command(taken: list[Sample], folder: Path) -> list[str]:
    """A test a cell, run by lit's own shell: no process but QEMU and cmp."""
    folder.mkdir()
    config = ["import lit.formats", "config.name = 'throughput'", "config.suffixes = ['.test']"]
    config.append("config.test_format = lit.formats.ShTest(execute_external=False)")
    (folder / "lit.cfg").write_text("\n".join([*config, ""]))
    for sample in taken:
        run = f"RUN: {shlex.join(sample.command)} < {sample.question} | cmp - {sample.answer}\n"
        (folder / f"{sample.question.stem}.test").write_text(run)
    start = "import sys; from lit.main import main; sys.exit(main())"
    return [sys.executable, "-c", start, "-j", "2", "-s", str(folder)]


_TESTS = """\
import json, pathlib, subprocess, pytest
CELLS = json.loads(pathlib.Path(__file__).with_name("cells.json").read_text())

@pytest.mark.parametrize(("command", "question", "answer"), CELLS)
def test_cell(command, question, answer):
    with open(question, "rb") as program:
        done = subprocess.run(command, stdin=program, capture_output=True)
    assert done.stdout == pathlib.Path(answer).read_bytes()
"""


def pytest_command(taken: list[Sample], folder: Path) -> list[str]:
    """A test item a cell; no plugin but xdist."""
    folder.mkdir()
    (folder / "test_cells.py").write_text(_TESTS)
    cells = [(sample.command, str(sample.question), str(sample.answer)) for sample in taken]
    (folder / "cells.json").write_text(json.dumps(cells))
    options = ["-q", "-n", "2", "-p", "no:cacheprovider", "--rootdir", str(folder), "-c", os.devnull]
    return [sys.executable, "-m", "pytest", *options, str(folder)]


# Measuring.


@dataclass(frozen=True)
class Measurement:
    """Commands that run ``cells`` cells when started together, and what the last of them says then."""

    cells: int
    commands: tuple[list[str], ...]
    says: str

    def seconds(self, folder: Path) -> float:
        """Until all commands have ended; raises :class:`NotPossibleError` unless they did what they should."""
        with tempfile.TemporaryFile("w+") as log:
            before = time.perf_counter()
            running = [subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) for command in self.commands]
            statuses = [process.wait() for process in running]
            taken = time.perf_counter() - before
            log.seek(0)
            said = log.read()
        if any(statuses) or self.says not in said:
            raise NotPossibleError(f"{shlex.join(self.commands[0])[:300]}: exit status {max(statuses)}\n{said[-2000:]}")
        return taken


def measurements(cells: int, sample: int, folder: Path) -> dict[str, Measurement]:
    """What is compared, by name."""
    scenarios = scenario_file(folder, cells // IMAGES)
    made = guests([s for name, s in load((scenarios,)).items() if name.startswith("b_")])
    taken = samples(made, sample, folder)
    halves = tuple(bare_command(made, half, folder / f"half{half}") for half in (0, 1))
    farm = {name: farm_command(name, scenarios, folder / f"farm-{name}") for name in ("unicorn", "qemu-user")}
    return {
        "farm-unicorn": Measurement(cells, (farm["unicorn"],), f"{cells:,} cells: {cells:,} pass"),
        "bare-unicorn": Measurement(cells, halves, ""),
        "farm-qemu-user": Measurement(cells, (farm["qemu-user"],), f"{cells:,} cells: {cells:,} pass"),
        "lit": Measurement(len(taken), (lit_command(taken, folder / "lit"),), f"Passed: {len(taken)} "),
        "pytest": Measurement(len(taken), (pytest_command(taken, folder / "pytest"),), f"{len(taken)} passed"),
    }


def require() -> None:
    """Raises :class:`NotPossibleError` unless everything that is compared is here."""
    variants = arch_toml.load()
    for engine in (UNICORN, QEMU_USER):
        for name in VARIANTS:
            hole = engine.hole(variants[name])
            if hole:
                raise NotPossibleError(hole.reason)
    if importlib.util.find_spec("lit") is None:
        raise NotPossibleError("lit is missing: pip install lit")


def host() -> dict[str, object]:
    """What the figures depend on."""
    packages = ("patchfarm", "unicorn", "msgspec", "lit", "pytest", "pytest-xdist")
    versions = {name: importlib.metadata.version(name) for name in packages}
    versions["qemu"] = QEMU_USER.version(arch_toml.load()["arm64"])
    versions["python"] = platform.python_version()
    machine = f"{platform.system()} {platform.machine()}"
    return {"host": machine, "cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 2), "versions": versions}


def measure(
    compared: dict[str, Measurement], rounds: int, folder: Path, *, warm_up: bool = True
) -> dict[str, list[float]]:
    """Seconds of each round; a round before the first warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in compared}
    for number in range(0 if warm_up else 1, rounds + 1):
        for name, measurement in compared.items():
            taken = measurement.seconds(folder)
            print(f"round {number} of {rounds}: {name}, {taken:.2f} s", file=sys.stderr)
            if number:
                seconds[name].append(taken)
    return seconds


def report(compared: dict[str, Measurement], seconds: dict[str, list[float]]) -> dict[str, object]:
    """The figures, from the seconds of each round."""
    rates = {name: [compared[name].cells / taken for taken in rounds] for name, rounds in seconds.items()}
    figures = {
        name: {
            "cells": compared[name].cells,
            "cells_per_second": round(statistics.median(rates[name]), 1),
            "seconds": [round(taken, 3) for taken in rounds],
        }
        for name, rounds in seconds.items()
    }
    ratios = {}
    for name, (above, below, aim) in RATIOS.items():
        rounds = [one / other for one, other in zip(rates[above], rates[below], strict=True)]
        ratio = statistics.median(rounds)
        ratios[name] = {"what": f"{above} / {below}", "ratio": round(ratio, 3), "rounds": [round(r, 3) for r in rounds]}
        if aim is not None:
            ratios[name] |= {"aim": aim, "met": ratio >= aim}
    return {**host(), "workers": 2, "measured": figures, "ratios": ratios}


def main() -> int:
    """Exit status 3 if it cannot be measured here."""
    parser = argparse.ArgumentParser(description="Cells a second: the farm, a bare emulator, lit and pytest.")
    parser.add_argument("--cells", type=int, default=20_000, help=f"a multiple of {IMAGES} (default %(default)s)")
    parser.add_argument("--sample", type=int, default=400, help="cells for lit and pytest (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="does it still work: few cells, one cold round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON here too")
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        bare(options.bare)
    if options.quick:
        options.cells, options.sample, options.rounds = 100, 10, 1
    if options.cells % IMAGES or not IMAGES <= options.sample <= options.cells or options.rounds < 1:
        parser.error(f"--cells must be a multiple of {IMAGES}, --sample from {IMAGES} to that, --rounds above 0")
    os.environ |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "xdist.plugin"}
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # warm: what is imported has been compiled
    try:
        require()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "pycache")
            compared = measurements(options.cells, options.sample, folder)
            seconds = measure(compared, options.rounds, folder, warm_up=not options.quick)
    except NotPossibleError as error:
        print(f"throughput: {error}", file=sys.stderr)
        return 3
    text = json.dumps(report(compared, seconds), indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
