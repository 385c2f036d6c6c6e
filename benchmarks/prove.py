"""What the audit of stores to code costs: by itself, and in a run.

Run it with ``python benchmarks/prove.py``; it prints JSON.  Each is a whole process timed from outside, start-up
included, two workers, the whole default plan under Unicorn, with images that are built:

* ``rules``: ``farm prove rules``, every request of every cell;
* ``run``: ``farm run --audit off``;
* ``run-known``: ``farm run``, all of whose cells have passed the audit before;
* ``run-new``: ``farm run``, none of whose cells has: what was remembered is forgotten first.

They take turns, after a round that warms up.  A ratio is the median of the rounds'.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from throughput import Measurement, NotPossibleError, host, measure

from farm import paths
from farm.engines.unicorn import UNICORN
from farm.run.plan import Selection, make
from farm.text import counted

#: Ratio of seconds: what is measured, what it is compared with, the most that is aimed at.
RATIOS = {"known": ("run-known", "run", 1.1), "new": ("run-new", "run", None)}

SECONDS = 30.0  #: that `farm prove rules` may take, of the whole default plan on two cores


def forget() -> None:
    """Forget what every image in the cache has passed; the next run audits it again."""
    for record in (paths.cache() / "images").glob("*/audit-*.json"):
        record.unlink()


def asked(options: list[str]) -> dict[str, int]:
    """What `farm prove rules` audits: cells, requests and stores."""
    command = [sys.executable, "-m", "farm", "prove", "rules", "-j", "2", "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotPossibleError(f"farm prove rules: exit status {done.returncode}\n{done.stderr[-2000:]}")
    cells = [cell for cell in json.loads(done.stdout)["cells"] if cell["audited"]]
    return {
        "cells": len(cells),
        "requests": sum(cell["requests"] for cell in cells),
        "stores": sum(sum(cell["stores"].values()) for cell in cells),
    }


def measurements(options: list[str], selection: Selection, audited: int, folder: Path) -> dict[str, Measurement]:
    """What is compared, by name."""
    cells = sum(planned.verdict is None for planned in make(selection).cells)
    farm = [sys.executable, "-m", "farm"]
    rules = [*farm, "prove", "rules", "-j", "2", *options]
    run = [*farm, "run", "-j", "2", "--engine", UNICORN.name, "--no-history", *options, "--output"]
    forgetful = [sys.executable, __file__, "--forgetful", *run[1:], str(folder / "new")]
    return {
        "rules": Measurement(audited, (rules,), f"{counted(audited, 'cell')} audited, "),
        "run": Measurement(cells, ([*run, str(folder / "off"), "--audit", "off"],), " cells: "),
        "run-new": Measurement(cells, (forgetful,), "stores to code: all judged of "),
        "run-known": Measurement(cells, ([*run, str(folder / "known")],), "stores to code: all judged of "),
    }


def report(
    compared: dict[str, Measurement], seconds: dict[str, list[float]], done: dict[str, int], *, whole: bool
) -> dict[str, object]:
    """The figures, from the seconds of each round."""
    median = {name: statistics.median(rounds) for name, rounds in seconds.items()}
    figures: dict[str, dict[str, object]] = {
        name: {
            "cells": compared[name].cells,
            "cells_per_second": round(compared[name].cells / median[name], 1),
            "seconds": [round(taken, 3) for taken in rounds],
        }
        for name, rounds in seconds.items()
    }
    figures["rules"] |= {"requests": done["requests"], "requests_per_second": round(done["requests"] / median["rules"])}
    figures["rules"] |= {"stores": done["stores"]}
    if whole:
        figures["rules"] |= {"aim_seconds": SECONDS, "met": median["rules"] <= SECONDS}
    ratios: dict[str, dict[str, object]] = {}
    for name, (above, below, aim) in RATIOS.items():
        rounds = [one / other for one, other in zip(seconds[above], seconds[below], strict=True)]
        ratio = statistics.median(rounds)
        ratios[name] = {"what": f"{above} / {below}", "ratio": round(ratio, 3), "rounds": [round(r, 3) for r in rounds]}
        if aim is not None:
            ratios[name] |= {"aim": aim, "met": ratio <= aim}
    return {**host(), "workers": 2, "measured": figures, "ratios": ratios}


def main() -> int:
    """Exit status 3 if it cannot be measured here."""
    if sys.argv[1:2] == ["--forgetful"]:
        forget()
        return subprocess.run([sys.executable, *sys.argv[2:]], check=False).returncode
    parser = argparse.ArgumentParser(description="What the audit of stores to code costs, by itself and in a run.")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default %(default)s)")
    parser.add_argument("--arch", help="some architectures alone")
    parser.add_argument("--quick", action="store_true", help="does it still work: one scenario, one cold round")
    given = parser.parse_args()
    scenarios = ["patch_then_*"] if given.quick else []
    architectures = ["arm64,ppc64le"] if given.quick else [given.arch] if given.arch else []
    options = [word for name in scenarios for word in ("--scenario", name)]
    options += [word for name in architectures for word in ("--arch", name)]
    selection = Selection(arch=architectures, engine=[UNICORN.name], scenario=scenarios)
    rounds = 1 if given.quick else given.rounds
    try:
        with tempfile.TemporaryDirectory() as name:
            folder, done = Path(name), asked(options)
            compared = measurements(options, selection, done["cells"], folder)
            seconds = measure(compared, rounds, folder, warm_up=not given.quick)
            print(json.dumps(report(compared, seconds, done, whole=not options), indent=1))
    except NotPossibleError as error:
        print(error, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
