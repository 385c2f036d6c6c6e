"""How long `farm litmus` takes for 300 tests, once it has started.

Run it with ``python benchmarks/litmus.py``; it prints JSON.  Each is a whole process timed from outside, start-up
included: ``one`` judges one test, ``all`` every test of ``tests/litmus`` for each of three kinds of cache, and none of
the files is the same.  What ``all`` takes beyond ``one`` is what the tests take.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from throughput import Measurement, NotPossibleError, host, measure

TESTS = Path(__file__).resolve().parent.parent / "tests" / "litmus"
CACHES = ("", "CacheType=IDC\n", "CacheType=DIC\n")
WANTED = 300
SECONDS = 2.0  #: that so many may take, once started


def files(folder: Path, *, quick: bool) -> list[Path]:
    """Each test once for each kind of cache, as files of their own."""
    made = []
    for path in sorted(TESTS.glob("*.litmus"))[: 3 if quick else None]:
        title, _, rest = path.read_text(encoding="utf-8").partition("\n")
        for number, caches in enumerate(CACHES):
            made.append(folder / f"{path.stem}-{number}.litmus")
            made[-1].write_text(f"{title}\n{caches}{rest}", encoding="utf-8")
    return made


def report(compared: dict[str, Measurement], seconds: dict[str, list[float]]) -> dict[str, object]:
    """The figures, from the seconds of each round."""
    figures = {
        name: {"cells": compared[name].cells, "seconds": [round(taken, 3) for taken in rounds]}
        for name, rounds in seconds.items()
    }
    more = compared["all"].cells - compared["one"].cells
    rounds = [WANTED * (every - one) / more for every, one in zip(seconds["all"], seconds["one"], strict=True)]
    taken = statistics.median(rounds)
    once_started = {
        "what": f"seconds of {WANTED} tests once started, of what is allowed", "ratio": round(taken / SECONDS, 3),
        "rounds": [round(one / SECONDS, 3) for one in rounds], "aim_seconds": SECONDS, "met": taken <= SECONDS,
    }  # fmt: skip
    return {**host(), "measured": figures, "ratios": {"once-started": once_started}}


def main() -> int:
    """Exit status 3 if it cannot be measured here."""
    parser = argparse.ArgumentParser(description="How long `farm litmus` takes for 300 tests, once it has started.")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="does it still work: three tests, one cold round")
    given = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as name:
            made = files(Path(name), quick=given.quick)
            farm = [sys.executable, "-m", "farm", "litmus"]
            compared = {
                "one": Measurement(1, ([*farm, str(made[0])],), "1 tests, "),
                "all": Measurement(len(made), ([*farm, *map(str, made)],), f"{len(made)} tests, "),
            }
            seconds = measure(compared, 1 if given.quick else given.rounds, Path(name), warm_up=not given.quick)
            print(json.dumps(report(compared, seconds), indent=1))
    except NotPossibleError as error:
        print(error, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
