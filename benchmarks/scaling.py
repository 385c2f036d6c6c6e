"""How the time of a run grows: with the size of the plan, and with the number of workers.

Run it with ``python benchmarks/scaling.py``; it prints JSON.  Each is ``farm run`` as a whole process timed from
outside, start-up included, with warm images: 1/8, 1/4, 1/2 and all of the default plan with two workers, and all of it
with one.  A part is a shard, so it has cells of every image.  They take turns, after a round that warms up.

Growth is linear if a cell more costs the same wherever the plan ends: ``growth`` is what the second half of the plan
takes over what two eighths take, per cell.  ``workers`` is one worker's time over that of two.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from throughput import Measurement, NotPossibleError, host, measure

from farm.run.plan import Plan, Selection, make

PARTS = (8, 4, 2, 1)


def command(plan: Plan, part: int, jobs: int, options: list[str], output: Path) -> Measurement:
    """``farm run`` over the first of ``part`` shards."""
    cells = plan.shard(1, part).cells
    words = [sys.executable, "-m", "farm", "run", "-j", str(jobs), "--shard", f"1/{part}", *options]
    return Measurement(len(cells), ([*words, "--output", str(output)],), f"{len(cells):,} cells: ")


def measurements(options: list[str], selection: Selection, folder: Path) -> dict[str, Measurement]:
    """What is compared, by name."""
    plan = make(selection)
    compared = {f"1/{part}": command(plan, part, 2, options, folder / f"part{part}") for part in PARTS}
    return {**compared, "one worker": command(plan, 1, 1, options, folder / "one")}


def report(compared: dict[str, Measurement], seconds: dict[str, list[float]]) -> dict[str, object]:
    """The figures, from the seconds of each round."""
    median = {name: statistics.median(rounds) for name, rounds in seconds.items()}
    cells = {name: compared[name].cells for name in compared}

    def slope(small: str, large: str) -> float:
        return (median[large] - median[small]) / (cells[large] - cells[small])

    figures = {
        name: {"cells": cells[name], "seconds": [round(taken, 3) for taken in rounds]}
        for name, rounds in seconds.items()
    }
    ratios = {
        "growth": round(slope("1/2", "1/1") / slope("1/8", "1/4"), 2),
        "workers": round(median["one worker"] / median["1/1"], 2),
    }
    return {**host(), "measured": figures, "ratios": ratios}


def main() -> int:
    """Exit status 3 if it cannot be measured here."""
    parser = argparse.ArgumentParser(description="How the time of a run grows with cells and with workers.")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default %(default)s)")
    parser.add_argument("--engine", help="one engine alone")
    parser.add_argument("--quick", action="store_true", help="does it still work: few cells, one cold round")
    given = parser.parse_args()
    selection = Selection(
        arch=["arm64", "x86_64"] if given.quick else [],
        engine=[given.engine] if given.engine else [],
        scenario=["BS-0*"] if given.quick else [],
    )
    named = {"arch": selection.arch, "engine": selection.engine, "scenario": selection.scenario}
    options = [word for selector, names in named.items() for name in names for word in (f"--{selector}", name)]
    rounds = 1 if given.quick else given.rounds
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            compared = measurements(options, selection, folder)
            print(json.dumps(report(compared, measure(compared, rounds, folder, warm_up=not given.quick)), indent=1))
    except NotPossibleError as error:
        print(error, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
