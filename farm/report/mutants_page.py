"""Mutants in ``report.html``: by operator, by variant, by file and line, and each hole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from farm.prove.mutate.judged import Judged, Outcome
from farm.report.mutants import COLUMNS, Document, command, counts, grouped, holes, summary
from farm.report.text import line

_SHOWN = 500  # holes that a page has room for
_KILLERS = 12  # that are named

#: What a table is by: its title, and what it says of a mutant.
_TABLES: tuple[tuple[str, Callable[[Judged], str]], ...] = (
    ("operator", lambda each: each.mutant.operator),
    ("variant", lambda each: each.mutant.variant),
    ("mechanism", lambda each: each.mutant.mechanism),
    ("file", lambda each: each.mutant.file),
)


def page(made: Document | None) -> dict[str, Any] | None:
    """The data of the view; None if there are no mutants."""
    if made is None or not made.mutants:
        return None
    found = holes(made.mutants)
    return {
        "summary": summary(made.mutants),
        "seconds": made.seconds,
        "columns": [name for name, _ in COLUMNS],
        "tables": [_table(title, grouped(made.mutants, key)) for title, key in _TABLES],
        "killers": _killers(made.mutants),
        "holes": [_hole(each) for each in found[:_SHOWN]],
        "more": len(found[_SHOWN:]),
        "unbroken": [(guest.name, guest.unbroken) for guest in made.guests if guest.unbroken],
    }


def _table(title: str, groups: dict[str, list[Judged]]) -> dict[str, Any]:
    rows = []
    for name, mutants in groups.items():
        lines = Counter(each.mutant.line for each in holes(mutants)) if title == "file" else {}
        rows.append({"name": line(name), "counts": counts(mutants), "lines": ", ".join(map(str, sorted(lines)))})
    return {"title": title, "rows": rows}


def _killers(mutants: Sequence[Judged]) -> list[tuple[str, str, int]]:
    """Who noticed most mutants first: its name, the engine, and how many."""
    found = Counter((each.by, each.engine) for each in mutants if each.outcome is Outcome.KILLED)
    return [(line(by), engine, number) for (by, engine), number in found.most_common(_KILLERS)]


def _hole(each: Judged) -> dict[str, str]:
    mutant = each.mutant
    return {
        "guest": f"{mutant.variant}/{mutant.mechanism}",
        "place": line(f"{mutant.file}:{mutant.line}"),
        "operator": mutant.operator,
        "before": line(mutant.before),
        "after": line(mutant.after),
        "command": line(command(mutant, "")),
    }
