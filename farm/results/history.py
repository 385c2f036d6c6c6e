"""The history: what earlier runs found, in one SQLite file.

A run is one row, holding its :class:`Record` as compressed JSON; the list of its cells is a row of another table that
all runs of the same cells share.  Of a passed cell a record keeps one letter, of one that did not pass also the reason,
and times only of groups.  So a run of 15,600 cells takes some 4 kB, none depends on another, and adding, removing,
exporting and importing them in any order is trivial.  A row a cell and run was rejected, for it takes a hundred times
as much; rows for changes alone were too, for a change is against an earlier run, which may come later or go away.

The file is in WAL mode, every change is one transaction, and nothing is written to a file that is not a history of
this version.  A line of an export is what a row holds.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import os
import sqlite3
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from farm.cell import FAILED, PASSED, SKIPPED, Cell, Verdict
from farm.errors import UNREADABLE, HistoryError, UsageError
from farm.results.diff import Changed, classify
from farm.run.journal import Run
from farm.run.verdict import Result
from farm.text import printable

SCHEMA = 1
WAIT = 5.0  # seconds for another process to finish writing
_APPLICATION = 0x70617463  # marks the file as the farm's
_TABLES = """
CREATE TABLE cells (sha256 TEXT PRIMARY KEY, list BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE run (
  id TEXT PRIMARY KEY, started TEXT NOT NULL, cells TEXT NOT NULL REFERENCES cells, record BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX run_by_time ON run (started, id);
"""

#: The letter that the history keeps for each verdict.
LETTERS = {
    Verdict.PASS: "p",
    Verdict.PASS_INSENSITIVE: "i",
    Verdict.NOT_APPLICABLE: "-",
    Verdict.NOT_RUN: "o",
    Verdict.XFAIL: "x",
    Verdict.XPASS: "X",
    Verdict.FLAKY: "f",
    Verdict.TIMEOUT: "t",
    Verdict.CRASH: "c",
    Verdict.RULE_BROKEN: "r",
    Verdict.MISMATCH: "m",
    Verdict.BUILD_ERROR: "b",
    Verdict.ENGINE_ERROR: "e",
}
VERDICTS = {letter: verdict for verdict, letter in LETTERS.items()}
_REASON = 200  # characters kept
_MOST = (1 << 63) - 1  # that SQLite counts to

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_BROKEN = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}


class Group(msgspec.Struct, frozen=True, array_like=True):
    """The seconds that the cells of one group took together."""

    variant: str
    mechanism: str
    toolchain: str
    engine: str
    cells: int  #: that ran
    seconds: float


class Failure(msgspec.Struct, frozen=True):
    """A cell that did not pass, known-bad ones included."""

    cell: Cell
    verdict: Verdict
    reason: str | None  #: its first 200 characters
    trace: str | None
    seconds: float


class Lines(msgspec.Struct, frozen=True):
    """Lines of the guest's own code, those left out that have an excuse."""

    reached: int
    total: int


class Record(msgspec.Struct, frozen=True, tag_field="type", tag="run"):
    """A run, as the history keeps it."""

    id: str  #: sha256 of the header and the results
    run: Run
    cells: str  #: sha256 of their list
    verdicts: str  #: a letter a cell, in the order of the list
    seconds: float | None  #: from when the first cell began to when the last ended
    groups: list[Group]
    failures: list[Failure]
    lines: Lines | None = None

    @property
    def totals(self) -> dict[str, int]:
        """The number of cells with each verdict that occurs."""
        counts = Counter(self.verdicts)
        return {str(verdict): counts[letter] for verdict, letter in LETTERS.items() if counts[letter]}


class Cells(msgspec.Struct, frozen=True, tag_field="type", tag="cells"):
    """The cells of one or more runs."""

    sha256: str
    cells: list[Cell]


_Content = TypeVar("_Content", Record, Cells)


class _Head(msgspec.Struct, frozen=True, tag_field="type", tag="history"):
    """The first line of an export."""

    schema: int


def record(run: Run, results: Sequence[Result], lines: Lines | None = None) -> tuple[Record, Cells]:
    """The record of a run and its cells, as the history keeps them."""
    identity = hashlib.sha256(
        msgspec.json.encode(msgspec.structs.replace(run, phases={}))
    )  # a resumed run adds to them
    identity.update(msgspec.json.encode(results))
    cells = [result.cell for result in results]
    times: dict[tuple[str, str, str, str], list[float]] = {}
    for result in results:
        if result.verdict not in SKIPPED:
            cell = result.cell
            times.setdefault((cell.variant, cell.mechanism, cell.toolchain, cell.engine), []).append(result.seconds)
    began = [result for result in results if result.began]
    seconds = max(r.began + r.seconds for r in began) - min(r.began for r in began) if began else None
    kept = Record(
        identity.hexdigest(),
        run,
        _sha256(cells),
        "".join([LETTERS[result.verdict] for result in results]),
        round(seconds, 3) if seconds is not None else None,
        [Group(*key, len(took), round(sum(took), 6)) for key, took in times.items()],
        [
            Failure(r.cell, r.verdict, r.reason and r.reason[:_REASON], r.trace, r.seconds)
            for r in results
            if r.verdict in FAILED or r.verdict is Verdict.XFAIL
        ],
        lines,
    )
    return kept, Cells(kept.cells, cells)


def _sha256(cells: list[Cell]) -> str:
    return hashlib.sha256(msgspec.json.encode(cells)).hexdigest()


def lines_of(folder: Path, results: Iterable[Result]) -> Lines | None:
    """The lines reached, by the ``coverage.json`` in ``folder``; None if it is missing or older than ``results``.

    Raises :class:`~farm.errors.UsageError` if the file is something else.
    """
    from farm.measure import coverage

    path = folder / "coverage.json"
    began = min((result.began for result in results if result.began), default=0.0)
    if not path.is_file() or path.stat().st_mtime < began:
        return None
    measured = coverage.read(path)
    if measured is None:
        return None
    counts = [
        count
        for sources in coverage.by_variant(measured).values()
        for source in sources
        for line, count in source.lines.items()
        if count or line not in source.excused
    ]
    return Lines(sum(count > 0 for count in counts), len(counts)) if counts else None


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


class History:
    """The file at ``path``; a context manager.

    With ``create`` it is made if need be, else it must be there.  Another process that writes may take ``wait`` seconds
    to end.  Every method raises
    :class:`~farm.errors.HistoryError` if the file cannot be used.
    """

    def __init__(self, path: Path, *, create: bool = False, wait: float = WAIT) -> None:
        self.path = path
        self._wait = wait
        self._lists: dict[str, list[Cell]] = {}
        if create:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise HistoryError(f"{path}: its folder cannot be made: {error.strerror}") from None
        else:
            try:
                path.stat()
            except FileNotFoundError:
                raise HistoryError(
                    f"{path}: there is no history yet: farm run, or farm history add, begins one"
                ) from None
            except OSError as error:
                raise HistoryError(f"{path}: cannot be read: {error.strerror}") from None
        mode = "mode=rwc" if create else "mode=rw"
        if not create and not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists():
            mode = "mode=ro&immutable=1"  # else even reading needs a file beside it
        with self._guarded():
            uri = f"{path.absolute().as_uri()}?{mode}"
            self._db = sqlite3.connect(uri, timeout=wait, isolation_level=None, uri=True)
        try:
            self._open(create)
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._guarded():
            self._db.close()

    def _occupied(self) -> str:
        return f"another process has been writing to it for {self._wait:g} seconds: try again"

    def _open(self, create: bool) -> None:  # noqa: FBT001
        with self._guarded():
            deadline = time.monotonic() + self._wait
            while not self._begun(create):
                if time.monotonic() > deadline:
                    raise HistoryError(f"{self.path}: {self._occupied()}")
                time.sleep(0.02)
            self._db.execute("PRAGMA synchronous = NORMAL")

    def _begun(self, create: bool) -> bool:  # noqa: FBT001
        """Makes the file ours; False if others are beginning it, for whom SQLite does not always wait here."""
        try:
            if not self._is_ours():
                if not create:
                    raise HistoryError(f"{self.path}: holds no run: farm run, or farm history add, adds one")
                self._db.execute("PRAGMA journal_mode = WAL")
                with self._transaction():
                    if not self._is_ours():  # nobody was quicker
                        for statement in _TABLES.split(";"):
                            self._db.execute(statement)
                        self._db.execute(f"PRAGMA application_id = {_APPLICATION}")
                        self._db.execute(f"PRAGMA user_version = {SCHEMA}")
        except sqlite3.Error as error:
            if _code(error) in _BUSY:
                return False
            raise
        return True

    def _is_ours(self) -> bool:
        """Returns whether the file is a history; an empty file is not one yet."""
        ((tables,),) = self._db.execute("SELECT count(*) FROM sqlite_master")
        ((application,),) = self._db.execute("PRAGMA application_id")
        ((version,),) = self._db.execute("PRAGMA user_version")
        if not tables and not application:
            return False
        if application != _APPLICATION:
            raise HistoryError(f"{self.path}: a database of something else; it is left as it is: name another file")
        if version != SCHEMA:
            raise HistoryError(
                f"{self.path}: a history of version {version}, this farm has version {SCHEMA}; it is left as it is: "
                "update patchfarm, or name another file"
            )
        return True

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = _code(error)
            if code in _BUSY:
                what = self._occupied()
            elif code in _BROKEN:
                raise self._broken(error) from None
            else:
                what = f"cannot be used ({error}): name another file with --file or PATCHFARM_HISTORY"
            raise HistoryError(f"{self.path}: {what}") from None

    def _broken(self, error: object) -> HistoryError:
        return HistoryError(
            f"{self.path}: no usable history ({error}): it is left as it is: move it away, and the next run begins one"
        )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """A transaction: all or nothing, even after an interrupt or the end of the process."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def add(self, record: Record, cells: Cells) -> bool:
        """Add a run; False if it is there already.  Coverage is added to one that is there without."""
        with self._guarded(), self._transaction():
            if self._insert(record, cells):
                return True
            old = self._read(self._db.execute("SELECT record FROM run WHERE id = ?", (record.id,)).fetchone()[0])
            if record.lines and not old.lines:
                new = msgspec.structs.replace(old, lines=record.lines)
                self._db.execute("UPDATE run SET record = ? WHERE id = ?", (_packed(new), record.id))
            return False

    def _insert(self, record: Record, cells: Cells) -> bool:
        if self._db.execute("SELECT 1 FROM run WHERE id = ?", (record.id,)).fetchone():
            return False
        if not self._db.execute("SELECT 1 FROM cells WHERE sha256 = ?", (cells.sha256,)).fetchone():
            self._db.execute("INSERT INTO cells VALUES (?, ?)", (cells.sha256, _packed(cells)))
        row = (record.id, record.run.started, record.cells, _packed(record))
        self._db.execute("INSERT INTO run VALUES (?, ?, ?, ?)", row)
        return True

    def _unpacked(self, packed: object, what: type[_Content]) -> _Content:
        try:
            return msgspec.json.decode(zlib.decompress(packed), type=what)  # type: ignore[arg-type]
        except (zlib.error, TypeError, *UNREADABLE) as error:
            raise self._broken(error) from None

    def _read(self, packed: object) -> Record:
        record = self._unpacked(packed, Record)
        try:
            _check_run(record, self.cells(record.cells))
        except ValueError as error:
            raise self._broken(f"run {record.id}: {error}") from None
        return record

    def runs(self, last: int | None = None) -> list[Record]:
        """The runs, or the ``last`` of them, the oldest first."""
        with self._guarded():
            limit = -1 if last is None else min(last, _MOST)
            rows = self._db.execute("SELECT record FROM run ORDER BY started DESC, id DESC LIMIT ?", (limit,))
            return [self._read(packed) for (packed,) in rows][::-1]

    def cells(self, sha256: str) -> list[Cell]:
        """The cells that a record names."""
        if sha256 in self._lists:
            return self._lists[sha256]
        with self._guarded():
            row = self._db.execute("SELECT list FROM cells WHERE sha256 = ?", (sha256,)).fetchone()
        if row is None:
            raise self._broken("the cells of a run are not there")
        cells = self._unpacked(row[0], Cells).cells
        if _sha256(cells) != sha256:
            raise self._broken("the cells of a run are others than it had")
        self._lists[sha256] = cells
        return cells

    def export(self) -> Iterator[bytes]:
        """The lines of an export: a head, and each run after the cells that it is the first to need."""
        yield msgspec.json.encode(_Head(SCHEMA))
        told = set()
        with self._guarded():
            for (packed,) in self._db.execute("SELECT record FROM run ORDER BY started, id"):
                record = self._read(packed)
                if record.cells not in told:
                    told.add(record.cells)
                    yield msgspec.json.encode(Cells(record.cells, self.cells(record.cells)))
                yield msgspec.json.encode(record)

    def load(self, lines: Iterable[bytes], name: str) -> tuple[int, list[str]]:
        """Add the runs of an export called ``name``; how many were new, and a sentence for each unusable line.

        Raises :class:`~farm.errors.UsageError` if it is no export of this version.
        """
        lines = iter(lines)
        try:
            head = msgspec.json.decode(next(lines, b""), type=_Head)
        except UNREADABLE:
            raise UsageError(f"{name}: line 1 is no head of an exported history") from None
        if head.schema != SCHEMA:
            raise UsageError(f"{name}: a history of version {head.schema}; this farm reads {SCHEMA}")
        decoder = msgspec.json.Decoder(Cells | Record)
        cells: dict[str, Cells] = {}
        added, complaints = 0, []
        with self._guarded(), self._transaction():
            for number, line in enumerate(lines, 2):
                try:
                    found = decoder.decode(line)
                    _check(found, cells)
                except (*UNREADABLE, ValueError) as error:
                    complaints.append(f"{name}: line {number} is no part of a history ({error}); it is left out")
                    continue
                if isinstance(found, Record):
                    added += self._insert(found, cells[found.cells])
                else:
                    cells[found.sha256] = found
        return added, complaints

    def prune(self, keep: int) -> int:
        """Keep the ``keep`` newest runs; how many were removed."""
        with self._guarded():
            with self._transaction():
                newest = "SELECT id FROM run ORDER BY started DESC, id DESC LIMIT ?"
                forget = f"DELETE FROM run WHERE id NOT IN ({newest})"  # noqa: S608
                gone = self._db.execute(forget, (min(keep, _MOST),)).rowcount
                self._db.execute("DELETE FROM cells WHERE sha256 NOT IN (SELECT cells FROM run)")
            self._db.execute("VACUUM")
            return gone


def _check(found: Cells | Record, cells: dict[str, Cells]) -> None:
    """Raises :class:`ValueError` if ``found`` contradicts itself, or ``cells``, which came before it."""
    if isinstance(found, Cells):
        if found.sha256 != _sha256(found.cells):
            raise ValueError("its hash is not that of its cells")
    elif found.cells not in cells:
        raise ValueError("no line before it has its cells")
    else:
        _check_run(found, cells[found.cells].cells)


def _check_run(run: Record, cells: list[Cell]) -> None:
    """Raises :class:`ValueError` if ``run`` does not fit its ``cells``."""
    if len(cells) != len(run.verdicts) or not VERDICTS.keys() >= set(run.verdicts):
        raise ValueError("its verdicts do not fit its cells")


def _packed(content: Record | Cells) -> bytes:
    return zlib.compress(msgspec.json.encode(content), 3)


# What the runs tell together.


class Summary(msgspec.Struct, frozen=True):
    """A run in a few numbers; with a pattern, those of the cells that it matches."""

    id: str
    run: Run
    verdicts: dict[str, int]
    planned: int
    ran: int
    passed: int
    seconds: float | None
    lines: Lines | None


class Turn(msgspec.Struct, frozen=True):
    """The cells whose verdict in one run was not that of the last run before it in which they ran."""

    id: str
    started: str
    cells: list[Changed]


class Suspect(msgspec.Struct, frozen=True):
    """A cell whose verdict went and came back: flaky, or broken and mended."""

    cell: Cell
    verdicts: list[Verdict]  #: each that differs from the one before
    ran: int  #: in how many runs
    rate: float  #: changes, of as many as there could have been


class Strip(msgspec.Struct, frozen=True):
    """A cell's verdict in each run; None where it was not."""

    cell: Cell
    verdicts: list[Verdict | None]


class View(msgspec.Struct, frozen=True):
    """The output of ``farm history --json``: the oldest run first."""

    schema: int
    path: str
    runs: list[Summary]
    turns: list[Turn]
    suspects: list[Suspect]  #: those that changed most first
    cells: list[Strip]  #: those that were asked for


def view(history: History, last: int | None = None, pattern: str | None = None) -> View:
    """The view of the ``last`` runs, with the cells that the glob ``pattern`` matches.

    Raises :class:`~farm.errors.UsageError` if it matches none.
    """
    runs = history.runs(last)
    number: dict[Cell, int] = {}
    lists: dict[str, list[tuple[int, int]]] = {}  # where a cell's letter is, and the cell's number
    for sha256 in dict.fromkeys(run.cells for run in runs):
        lists[sha256] = [
            (place, number.setdefault(cell, len(number)))
            for place, cell in enumerate(history.cells(sha256))
            if pattern is None or fnmatch.fnmatchcase(str(cell), pattern)
        ]
    cells = list(number)
    if pattern is not None:
        if not cells:
            raise UsageError(f"--cell {pattern}: matches no cell of these {len(runs)} runs")
        runs = [run for run in runs if lists[run.cells]]
    skipped = {LETTERS[verdict] for verdict in SKIPPED}
    seen = [""] * len(cells)  # the letters of each cell, as often as they changed
    ran = [0] * len(cells)
    strips: list[list[Verdict | None]] = [[None] * len(runs) for _ in cells] if pattern is not None else []
    turns, summaries = [], []
    for position, run in enumerate(runs):
        changed = []
        letters = [run.verdicts[place] for place, _ in lists[run.cells]]
        reasons: dict[Cell, str | None] | None = None
        for letter, (_, cell) in zip(letters, lists[run.cells], strict=True):
            if strips:
                strips[cell][position] = VERDICTS[letter]
            if letter in skipped:
                continue
            ran[cell] += 1
            if seen[cell][-1:] == letter:
                continue
            if seen[cell]:
                if reasons is None:
                    reasons = {failure.cell: failure.reason for failure in run.failures}
                before, after = VERDICTS[seen[cell][-1]], VERDICTS[letter]
                reason = reasons.get(cells[cell])
                changed.append(Changed(cells[cell], classify(before, after), before, after, None, reason, None))
            seen[cell] += letter
        if changed:
            turns.append(Turn(run.id, run.run.started, changed))
        summaries.append(_summary(run, Counter(letters)))
    suspects = [
        Suspect(cells[i], [VERDICTS[letter] for letter in found], ran[i], round((len(found) - 1) / (ran[i] - 1), 4))
        for i, found in enumerate(seen)
        if any(a == b for a, b in zip(found, found[2:], strict=False))
    ]
    suspects.sort(key=lambda suspect: -len(suspect.verdicts))
    shown = [Strip(cells[i], strip) for i, strip in enumerate(strips)]
    return View(SCHEMA, printable(str(history.path)), summaries, turns, suspects, shown)


def _summary(run: Record, counts: Counter[str]) -> Summary:
    def of(verdicts: Iterable[Verdict]) -> int:
        return sum(counts[LETTERS[verdict]] for verdict in verdicts)

    planned = counts.total()
    verdicts = {str(verdict): counts[letter] for letter, verdict in VERDICTS.items() if counts[letter]}
    return Summary(run.id, run.run, verdicts, planned, planned - of(SKIPPED), of(PASSED), run.seconds, run.lines)
