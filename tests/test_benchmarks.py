"""Benchmarks are never timed here; a short form of each runs, so that none is broken unnoticed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.mark.usefixtures("qemu")
@pytest.mark.parametrize("name", sorted(path.stem for path in BENCHMARKS.glob("*.py")))
def test_a_short_form_of_every_benchmark_ends_with_its_figures(name, tmp_path):
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--quick"]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["measured"]
    assert all(
        one["cells"] > 0 and all(seconds > 0 for seconds in one["seconds"]) for one in figures["measured"].values()
    )
    assert figures["ratios"]
