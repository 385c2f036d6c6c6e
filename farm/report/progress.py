"""Shows progress while a plan runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from farm.report.explain import outcome
from farm.report.text import Once, printable
from farm.run.verdict import Result
from farm.text import counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar

    from farm.run.plan import Plan


def bar(console: Console) -> Bar:
    """A progress bar, which only a terminal shows."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


class Progress:
    """Progress of a run: a live bar on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console, plan: Plan, *, verbose: bool) -> None:
        self._console = console
        self._verbose = verbose
        self._plan = plan
        self._total = len(plan.cells)
        self._once = Once()
        self._done = self._failed = 0
        self._said = 0
        # Colour alone (FORCE_COLOR, as CI servers have it) makes no terminal, and a dumb one cannot go back.
        self._live = console.is_interactive and console.file.isatty()
        self._bar = bar(console) if self._live else None
        self._task = self._bar.add_task("building guests", total=self._total) if self._bar else None

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar:
            self._bar.stop()

    def begin(self) -> None:
        """Say how many cells there are, so that what is written can be: nothing else has been touched by then."""
        if not self._live:
            self._console.print(f"cells: {self._total:,} in the plan", highlight=False)

    def building(self, count: int) -> None:
        """Say that ``count`` guests are being made ready."""
        if not self._live:
            self._console.print(f"guests: {count} to have ready", highlight=False)

    def results(self, results: Sequence[Result]) -> None:
        """Count ``results`` and show them."""
        self._done += len(results)
        self._failed += sum(result.failed for result in results)
        failed = f", [red]{self._failed} failed[/red]" if self._failed else ""
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=self._done, description=f"running cells{failed}")
        if self._verbose:
            for result in results:
                why = f"  {self._once(result.reason) or outcome(result, self._plan)}"
                text = printable(f"{result.verdict!s:<16} {result.cell}{why}")
                self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        elif not self._live and (self._done - self._said >= self._total / 4 or self._done == self._total):
            self._said = self._done
            of = counted(self._total, "cell")
            self._console.print(f"{self._done:,}/{of}, {self._failed:,} failed", highlight=False)
