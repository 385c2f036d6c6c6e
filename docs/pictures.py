"""The pictures of the README, made anew: ``python docs/pictures.py FOLDER [CELL]``.

FOLDER holds a run.  ``grid.svg`` is its grid; with a CELL, ``report.png`` is that cell in its ``report.html``, by
chromium.  The README's are of a default run, and of the cell that "Look closer" traces after "Break it".
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from farm.report import agreed, totals
from farm.report.grid import Grid
from farm.report.terminal import blocks, legend, table
from farm.run import journal
from farm.text import counted

DOCS = Path(__file__).parent
COLUMNS = 124  # of the terminal: all mechanisms side by side
WINDOW = "1280,900"


def grid(folder: Path) -> str:
    """The grid of the results in ``folder`` as a terminal shows it, without the reasons, as SVG."""
    results = journal.read(folder / journal.FILE).results
    console = Console(file=io.StringIO(), force_terminal=True, width=COLUMNS, record=True)
    cells = Grid.of(results).added_up().without_holes()
    for columns in blocks(cells, COLUMNS):
        console.print(table(cells.only(columns)))
    console.print(legend(COLUMNS), markup=False, highlight=False)
    if sentence := agreed(results):
        console.print(f"\n{sentence}", highlight=False)
    console.print(f"{counted(len(results), 'cell')}: {totals(results)}", highlight=False)
    return console.export_svg(title="farm run")


def page(folder: Path, cell: str, picture: Path) -> int:
    """Take a picture of ``cell`` in the report in ``folder``; returns chromium's exit status."""
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--virtual-time-budget=3000"]
    options += [f"--window-size={WINDOW}", "--blink-settings=preferredColorScheme=1", f"--screenshot={picture}"]
    url = f"{(folder / 'report.html').resolve().as_uri()}#cell={cell}"
    return subprocess.run(["chromium", *options, url], check=False).returncode


def main() -> int:
    """Make the pictures that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of results.jsonl and report.html")
    parser.add_argument("cell", nargs="?", help="VARIANT/MECHANISM/TOOLCHAIN/ENGINE/SCENARIO")
    given = parser.parse_args()
    if given.cell:
        return page(given.folder, given.cell, DOCS / "report.png")
    (DOCS / "grid.svg").write_text(grid(given.folder), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
