"""How long `farm mutate` takes for a thousand mutants.

Run it with ``python benchmarks/mutate.py``; it prints JSON.  A sample of the mutants of every built-in mechanism on
seven variants is judged by two workers; what was judged before is forgotten first, the images are built.  Then the same
again, all of it remembered: what an incremental hunt costs at least.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from throughput import host

from farm import paths

VARIANTS = "arm64,x86_64,ppc64le,riscv64,s390x,thumb,mips32"

SECONDS = 900.0  #: that a thousand mutants may take on two cores


def forget() -> None:
    """Forget every mutant that was judged."""
    for record in (paths.cache() / "images").glob("*/mutants-*.jsonl"):
        record.unlink()


def hunt(options: list[str], folder: Path) -> tuple[float, Counter[str]]:
    """Seconds that a hunt takes, and what became of how many mutants."""
    command = [sys.executable, "-m", "farm", "mutate", "-j", "2", "--output", str(folder), *options]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - began
    if done.returncode not in (0, 1):
        raise SystemExit(f"farm mutate: exit status {done.returncode}\n{done.stderr[-2000:]}")
    found = json.loads((folder / "mutants.json").read_text(encoding="utf-8"))["mutants"]
    return taken, Counter(each["outcome"] for each in found)


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="How long farm mutate takes.")
    parser.add_argument("--sample", type=int, default=1000, help="how many mutants (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which (default %(default)s)")
    parser.add_argument("--arch", default=VARIANTS, help="of which variants (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="does it still work: a few of one guest")
    given = parser.parse_args()
    sample, options = given.sample, ["--arch", given.arch]
    if given.quick:
        sample, options = 4, ["--arch", "arm64", "--mechanism", "stub", "--at", "redirect.c"]
    options += ["--sample", str(sample), "--seed", str(given.seed)]
    forget()
    with tempfile.TemporaryDirectory() as name:
        cold, outcomes = hunt(options, Path(name))
        warm, _ = hunt(options, Path(name))
    count = sum(outcomes.values())
    measured = {
        "judged": {
            "cells": count,
            "seconds": [round(cold, 3)],
            "per_thousand": round(1000 * cold / count, 1),
            "outcomes": dict(sorted(outcomes.items())),
        },
        "remembered": {"cells": count, "seconds": [round(warm, 3)]},
    }
    if not given.quick:
        measured["judged"] |= {"aim_per_thousand": SECONDS, "met": 1000 * cold / count <= SECONDS}
    ratios = {"remembered": {"what": "remembered / judged", "ratio": round(warm / cold, 3)}}
    print(json.dumps({**host(), "workers": 2, "measured": measured, "ratios": ratios}, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
