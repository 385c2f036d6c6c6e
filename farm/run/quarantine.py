"""Quarantine: cells that are known to be bad, each with an issue, an owner and a day by which someone looks again.

The list is a TOML file, ``quarantine.toml`` in the current folder unless one is named::

    [[known-bad]]
    cells = "arm64/stub/*/qemu-user/far_*"    # as cells are written, each part as in a selector; or a list of these
    when = { engine = "qemu-user", version = "<8.1" }    # optional
    verdict = "mismatch"    # optional: one of these, or a list; by default mismatch, crash and timeout
    issue = "https://example.org/17"
    owner = "ada"
    review = 2031-03-01
    reason = "the jump is cut to 26 bits"    # optional

A listed cell that fails as listed is ``xfail``; one that passes is ``xpass`` and fails.  So that failures are not put
here to be forgotten, an entry past its review date is an error, and so is one that no cell of the farm could match; no
two entries in effect share a cell; and nothing is excused that the entry does not say.  ``flaky``, ``build-error`` and
``engine-error`` must therefore be named, for in none of them has the guest steadily done the known thing.  Listing
``flaky`` permits passes; listing ``engine-error`` permits passes after a retry.

Chosen: the list is applied to verdicts, by whoever collects results.  Rejected: leaving listed cells out of the plan,
which would never notice that one has been repaired.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from farm.cell import FAILED, PASSED, SKIPPED, UNSURE, Cell, EngineName, Hole, Verdict
from farm.engines import engines
from farm.errors import UNREADABLE, QuarantineError, UnknownNameError, UsageError
from farm.run import plan as plans
from farm.run.plan import Plan, Selection
from farm.run.verdict import Result

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

DEFAULT = Path("quarantine.toml")

_PARTS = ("arch", "mechanism", "toolchain", "engine", "scenario")  # of a cell as it is written, and of a selection
_EXCUSABLE = FAILED - {Verdict.XPASS}

_Words = Annotated[str, msgspec.Meta(min_length=1, pattern=r"\S")]


class When(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Conditions for an entry to be in effect."""

    engine: _Words | None = None  #: with whatever profile, unless it names one
    version: _Words | None = None  #: of the cell's engine, as in ``pip install``: ``<8.1``, ``>=7,<8``


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One table ``[[known-bad]]``."""

    cells: _Words | Annotated[tuple[_Words, ...], msgspec.Meta(min_length=1)]
    issue: _Words
    owner: _Words
    review: date
    when: When = When()
    verdict: str | tuple[str, ...] = ()
    reason: str = ""

    def __str__(self) -> str:
        return f"known-bad ({self.issue}, {self.owner}, review by {self.review})"


class _File(msgspec.Struct, rename="kebab", forbid_unknown_fields=True):
    known_bad: list[Any] = []


@dataclass(frozen=True)
class Listed:
    """An entry, and what it means here."""

    number: int  #: in its file, from 1
    entry: Entry
    expected: frozenset[Verdict]  #: what it excuses
    cells: frozenset[Cell]  #: those that can run and for which it is in effect
    idle: Hole | None = None  #: if there are none, why


@dataclass(frozen=True)
class Quarantine:
    """A list as it applies here; by default an empty one."""

    path: Path = DEFAULT
    entries: tuple[Listed, ...] = ()

    @functools.cached_property
    def cells(self) -> dict[Cell, Listed]:
        """Every listed cell, with its entry."""
        return {cell: listed for listed in self.entries for cell in listed.cells}

    @functools.cached_property
    def sha256(self) -> str | None:
        """Identifies what is listed, if anything is."""
        entries = [listed.entry for listed in self.entries]
        return hashlib.sha256(msgspec.json.encode(entries)).hexdigest() if entries else None

    def only(self, plan: Plan) -> Plan:
        """The part of ``plan`` that is listed."""
        listed = tuple(planned for planned in plan.cells if planned.cell in self.cells)
        return Plan(listed, plan.scenarios, plan.variants, plan.selection)

    def settle(self, result: Result) -> Result:
        """``result`` as it counts, which for a cell that is not listed is as it is."""
        listed = self.cells.get(result.cell)
        if listed is None or result.verdict in SKIPPED:
            return result
        entry, expected = listed.entry, listed.expected
        if result.verdict in PASSED:
            if Verdict.FLAKY in expected or (result.retried and Verdict.ENGINE_ERROR in expected):
                return result
            verdict, reason = Verdict.XPASS, f"it passes, though it is {entry}: take it out of {self.path}"
        elif result.verdict in expected:
            reason = f"{entry}: {result.verdict}: {result.reason}"
            return msgspec.structs.replace(result, verdict=Verdict.XFAIL, reason=reason, excused=result.verdict)
        else:
            verdicts = " or ".join(str(verdict) for verdict in Verdict if verdict in expected)
            verdict, reason = result.verdict, f"{result.reason}; as {verdicts} alone it is {entry}"
        return msgspec.structs.replace(result, verdict=verdict, reason=reason)


def find(path: Path | None, selection: Selection) -> Quarantine:
    """The list in ``path`` if one is named, else in ``quarantine.toml`` if there is one, else an empty one.

    Raises :class:`~farm.errors.QuarantineError`.
    """
    if path is None and not DEFAULT.exists():
        return Quarantine()
    return load(path or DEFAULT, selection)


def load(path: Path, selection: Selection, today: date | None = None) -> Quarantine:
    """The list in ``path`` on the day ``today`` (by default today, UTC), with the folders that ``selection`` names.

    Raises :class:`~farm.errors.QuarantineError` for anything in it that is not as it should be.
    """
    try:
        tables = msgspec.toml.decode(path.read_bytes(), type=_File).known_bad
    except OSError as error:
        raise QuarantineError(f"{path}: cannot be read: {error.strerror}") from None
    except UNREADABLE as error:
        raise QuarantineError(f"{path}: not a list of [[known-bad]] tables: {_words(error)}") from None
    today = today or datetime.now(UTC).date()
    entries: list[Listed] = []
    taken: dict[Cell, int] = {}
    for number, table in enumerate(tables, 1):
        try:
            listed = _listed(number, table, selection, today)
        except UsageError as error:
            raise QuarantineError(f"{path}: entry {number}: {error}") from None
        shared = listed.cells & taken.keys()
        if shared:
            cell = min(shared)
            raise QuarantineError(
                f"{path}: entries {taken[cell]} and {number} both list {cell}; one cell has one issue and one owner"
            )
        taken.update(dict.fromkeys(listed.cells, number))
        entries.append(listed)
    return Quarantine(path, tuple(entries))


def _several(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _words(error: Exception, **tables: type[msgspec.Struct]) -> str:
    """A complaint of msgspec's, what it is about first, with the keys that its table has."""
    what, _, where = str(error).partition(" - at `$.")
    where = where.removesuffix("`")
    if what.startswith("Object ") and (where or "entry") in tables:  # it lacks a key, or has one too many
        what += f"; its keys are {', '.join(tables[where or 'entry'].__struct_fields__)}"
    return f"{where}: {what}" if where else what


def _listed(number: int, table: Any, selection: Selection, today: date) -> Listed:
    try:
        entry = msgspec.convert(table, Entry)
    except msgspec.ValidationError as error:
        raise UsageError(_words(error, entry=Entry, when=When)) from None
    if entry.review < today:
        raise UsageError(
            f"its review was due by {entry.review}: {entry.owner} looks at {entry.issue} and sets a new date, or takes "
            "the entry out"
        )
    cells, idle = _in_effect(entry, _matched(entry, selection))
    return Listed(number, entry, _expected(entry), cells, idle)


def _expected(entry: Entry) -> frozenset[Verdict]:
    valid = [str(verdict) for verdict in Verdict if verdict in _EXCUSABLE]
    for name in _several(entry.verdict):
        if name not in valid:
            raise UsageError(f"verdict: {UnknownNameError('verdict', name, valid)}")
    return frozenset(map(Verdict, _several(entry.verdict))) or UNSURE


def _matched(entry: Entry, selection: Selection) -> Plan:
    """Every cell that the entry could be about, whatever is installed or selected."""
    plans = [_cells(pattern, selection) for pattern in _several(entry.cells)]
    planned = list(dict.fromkeys(planned for each in plans for planned in each.cells))
    engine = entry.when.engine
    if engine is not None:
        profiles = [name for variant in plans[0].variants.values() for name in variant.engine if ":" in name]
        valid = dict.fromkeys([*engines(), *profiles])
        if engine not in valid:
            raise UsageError(f"when.engine: {UnknownNameError('engine', engine, valid)}")
        planned = [p for p in planned if engine in (p.cell.engine, _emulator(p.cell))]
        if not planned:
            raise UsageError(f"when.engine: none of its cells is of {engine}")
    return replace(plans[0], cells=tuple(planned))


def _cells(pattern: str, selection: Selection) -> Plan:
    parts = pattern.split("/")
    if len(parts) != len(_PARTS) or not all(part.strip(", ") for part in parts):
        raise UsageError(
            f"cells: {pattern!r} found; expected VARIANT/MECHANISM/TOOLCHAIN/ENGINE/SCENARIO, each a name or a glob"
        )
    asked: dict[str, Any] = {part: (names,) for part, names in zip(_PARTS, parts, strict=True)}
    try:
        return plans.possible(replace(selection, tag=(), **asked))
    except UsageError as error:
        raise UsageError(f"cells: {pattern!r} matches no cell: {error}") from None


def _emulator(cell: Cell) -> str:
    return EngineName.of(cell.engine).engine


def _in_effect(entry: Entry, plan: Plan) -> tuple[frozenset[Cell], Hole | None]:
    """The cells of ``plan`` that can run and have the version that the entry is about; if there are none, why."""
    wanted = _specifier(entry.when.version, {_emulator(planned.cell) for planned in plan.cells})
    able = [planned.cell for planned in plan.cells if planned.verdict is None]
    if not able:
        holes = [planned.hole for planned in plan.cells if planned.hole]
        return frozenset(), max(holes, key=lambda hole: hole.verdict is Verdict.NOT_RUN)
    versions = {cell: _version(cell, plan) for cell in able}
    cells = frozenset(cell for cell in able if wanted.contains(versions[cell], prereleases=True))
    if cells:
        return cells, None
    here = " and ".join(sorted(set(versions.values())))
    return cells, Hole(Verdict.NOT_APPLICABLE, f"it is about {_emulator(able[0])} {wanted}, and here is {here}")


def _specifier(text: str | None, emulators: set[str]) -> SpecifierSet:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if text is not None and len(emulators) > 1:
        raise UsageError(f"when.version: its cells are of {', '.join(sorted(emulators))}; say which with when.engine")
    try:
        return SpecifierSet(text or "")
    except InvalidSpecifier:
        raise UsageError(f"when.version: {text!r} found; expected for example '<8.1' or '>=7,<8'") from None


def _version(cell: Cell, plan: Plan) -> str:
    return engines()[_emulator(cell)].version(plan.variants[cell.variant].profiled(cell.engine))
