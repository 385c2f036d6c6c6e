"""Annotations: what GitHub shows beside a job, at its summary and in the pull request (its "workflow commands")."""

from __future__ import annotations

from collections.abc import Sequence

from farm.report import by_kind
from farm.run.verdict import Result

_SHOWN = 10  # more than that GitHub does not show of one step
_MESSAGE = 4_000  # characters; GitHub cuts a longer one at 4,096, and with it the command at its end


def render(results: Sequence[Result], problems: Sequence[str]) -> list[str]:
    """Annotations for the first things wrong: ``problems`` of a merge, a failure of each kind, then the others."""
    commands = [annotation("the results are not whole", problem) for problem in problems[:_SHOWN]]
    failures = by_kind(result for result in results if result.failed)[: _SHOWN - len(commands)]
    return commands + [annotation(f"{r.verdict} {r.cell}", r.reason or "", r.reproduce) for r in failures]


def annotation(title: str, text: str, command: str | None = None) -> str:
    """The workflow command that GitHub shows as an error; ``command``, for a shell, stays when ``text`` is cut."""
    last = f"\n{command}" if text and command else command or ""
    room = max(0, _MESSAGE - len(last))
    if len(text) > room:
        text = f"{text[:room]}…"
    return f"::error title={_property(title)}::{_data(text + last)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
