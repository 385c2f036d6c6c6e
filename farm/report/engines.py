"""The calibration of engines: what each could show of code that is stored, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from farm.report.table import Field, State, Table
from farm.run.measured import PROBES, Class, Measured, Probe
from farm.text import counted

NAME = "engines"

_STATES: dict[Class, State] = {"sensitive": "good", "blind": "weak", "false-stale": "bad", "unusable": "none"}


def table(rows: Sequence[Measured], notes: Sequence[str] = ()) -> Table:
    """A row for all variants that an engine treats alike in a mapping; then why nothing was measured of some."""
    alike: dict[tuple[str, str, tuple[tuple[Probe, Class], ...]], list[str]] = {}
    for row in rows:
        if row.reason is None:
            key = (f"{row.engine} {row.version}", row.mapping, tuple((probe, row.classes[probe]) for probe in PROBES))
            alike.setdefault(key, []).append(row.variant)
    fields = tuple(
        (
            Field(engine),
            Field(mapping),
            *(Field(found, _STATES[found]) for _, found in found_by_probe),
            Field(", ".join(variants)),
        )
        for (engine, mapping, found_by_probe), variants in sorted(alike.items(), key=lambda item: item[0][:2])
    )
    measured = len({(row.engine, row.variant) for row in rows if row.reason is None})
    what = f"{counted(measured, 'variant')} of an engine measured"
    return Table(
        NAME,
        "what engines show of code that is stored",
        "sensitive: the bug is shown; blind: it is not; false-stale: old code is executed although nothing is wrong",
        ("engine", "mapping", *PROBES, "variants"),
        fields,
        (*_unusable(rows), *notes, what),
    )


def _unusable(rows: Iterable[Measured]) -> list[str]:
    reasons: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.reason is not None:
            reasons.setdefault(row.reason, {})[f"{row.engine}/{row.variant}"] = None
    return [f"unusable, {reason}: {', '.join(names)}" for reason, names in reasons.items()]
