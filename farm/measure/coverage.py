"""Measures which lines and branches of the guest's own patch code the suite reaches.

The guest is not instrumented: it is the image that the farm tests.  The engine counts the blocks that it executes
(:class:`farm.engines.CountsBlocks`), and the image's line table (:mod:`farm.guest.dwarf`) says which lines they are of.

* A line of C was reached as often as blocks were executed that have the beginning of a statement of it.
* In asm a macro may stand for everything on one line, and is expanded for every patchable function.  So a line was
  reached as often as the least reached of its instructions was, of all functions together.
* A conditional branch has two ways, of which the second is to go on behind it; what did not go on was taken.

Every engine of the plan is asked, since what a guest does may depend on it: with a kernel below, some instructions are
the kernel's, and a guest that resets itself does so by code of its own.
"""

from __future__ import annotations

import bisect
import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from farm import __version__, documents, paths
from farm.cell import Verdict
from farm.engines import Block, CountsBlocks
from farm.errors import BuildError, ImageError, MissingToolError, UsageError
from farm.guest import build, dwarf
from farm.guest.disassemble import decoded, is_conditional, tells_branches
from farm.guest.image import Spec
from farm.processes import workers
from farm.run.batch import Batch, batches
from farm.text import printable

if TYPE_CHECKING:
    from farm.guest.image import Image
    from farm.guest.variant import Variant
    from farm.run.plan import Plan

SCHEMA = 1
TIMEOUT = 20.0  # seconds a cell: a log of what is executed takes its time

_Place = tuple[str, int, int]  # a file, a line, and of asm where in its function

_SLOT = 4  # bytes, of the instruction behind a branch that is executed before it
_EXCUSE = re.compile(r"/\* unreached(?: on (?P<on>[\w, ]+))?: (?P<why>.+?) \*/")
_COMMENT = re.compile(r"/\*.*?\*/")


class Branch(msgspec.Struct, frozen=True, array_like=True):
    """One way out of a conditional branch in ``line``; ``number`` counts the ways of that line from 0."""

    line: int
    number: int
    taken: int  #: times


class Source(msgspec.Struct, frozen=True):
    """A file of the guest's."""

    path: str  #: from the root of the project: ``arch/arm64/patch.c``
    lines: dict[int, int]  #: times that each line with code was reached
    branches: tuple[Branch, ...] = ()
    excused: dict[int, str] = {}  #: lines that the suite cannot reach, and why


class Unit(msgspec.Struct, frozen=True):
    """The measurement of one guest, or the reason why there is none."""

    variant: str
    mechanism: str
    toolchain: str
    engine: str | None
    sources: tuple[Source, ...] = ()
    reason: str | None = None  #: why it was not measured
    branches: bool = True  #: they were measured: there is a disassembler that tells them
    failed: tuple[str, ...] = ()  #: cells that did not do as the model says, and what they did


class Coverage(msgspec.Struct, frozen=True):
    """``coverage.json``."""

    schema: int
    farm: str
    units: tuple[Unit, ...]


# What is measured.


def sources(spec: Spec) -> dict[str, Path]:
    """The files that are measured, by their names in reports."""
    root = paths.data("images").parent
    files = (path for path in build.sources(spec) if _is_measured(path, spec))
    named = {printable(str(path.relative_to(root) if path.is_relative_to(root) else path)): path for path in files}
    return dict(sorted(named.items()))


def _is_measured(path: Path, spec: Spec) -> bool:
    own = [spec.variant.source(name) for name in ("patch.c", "stub.S", "sites.c")]
    return path in own or spec.made_by.at(spec.variant).compiles(path)


def _by_end(files: Mapping[str, Path], spec: Spec) -> dict[str, str]:
    """The names of ``files`` by the ends of their paths, as compilers write them.

    What a compiler writes depends on how it was called, but for the name of the file and of its folder.  Where two
    files share these, further folders tell them apart.
    """
    folder = spec.foreign.folder if spec.foreign else None  # compilers write another name for it
    told = {
        name: (build.FOREIGN, *path.relative_to(folder).parts) if folder and folder in path.parents else path.parts
        for name, path in files.items()
    }
    ends = {}
    for name, parts in told.items():
        others = [other for other in told.values() if other != parts]
        lengths = (n for n in range(2, len(parts)) if all(other[-n:] != parts[-n:] for other in others))
        ends[printable("/".join(parts[-next(lengths, len(parts)) :]))] = name
    return ends


def _named(path: str, ends: Mapping[str, str]) -> str | None:
    """The name of the file whose path a compiler wrote, by :func:`_by_end`."""
    parts = printable(path).split("/")
    return next((ends[end] for n in range(len(parts), 1, -1) if (end := "/".join(parts[-n:])) in ends), None)


class Guest:
    """The lines and branches of an image and where they lie, known before it runs."""

    def __init__(self, spec: Spec, built: Image) -> None:
        files = sources(spec)
        self._excuses = {name: excuses(path, spec.variant.name) for name, path in files.items()}
        named = functools.cache(functools.partial(_named, ends=_by_end(files, spec)))
        table = dwarf.read(Path(built.path), lambda path: named(path) is not None)
        functions = sorted(set(built.functions.values()))
        self.watched = table.spans
        #: By address: of C where a statement begins, of asm an instruction, at the same place in every expansion.
        self._places: list[tuple[int, _Place]] = [
            (row.address, (name, row.line, _offset(functions, row.address) if name.endswith(".S") else 0))
            for row in table.rows
            if row.begins and (name := named(row.path))
        ]
        self._places = list(self._without_copies(functions))
        self._addresses = [address for address, _ in self._places]
        self.tells_branches = tells_branches(spec.variant)
        #: Bytes of a branch's delay slot, which is a block of its own if it begins a page.
        self._slot = _SLOT if "delay-slot" in spec.variant.abi else 0
        #: Address of each conditional branch, and the address where it goes on if it is not taken.
        self.conditional = dict(self._conditional(spec.variant, built, table)) if self.tells_branches else {}
        #: Source file and line of each conditional branch.
        begun = {place[:2] for _, place in self._places}
        of_line = [(row.address, named(row.path), row.line) for row in table.rows]
        of_line = [row for row in of_line if row[1] is None or row[1:] in begun]
        starts = [address for address, _, _ in of_line]
        self.whose = {
            address: of_line[bisect.bisect_right(starts, address) - 1][1:] for address in sorted(self.conditional)
        }

    def _without_copies(self, functions: list[int]) -> Iterator[tuple[int, _Place]]:
        """The places but for code of other functions that is inlined in one with an excuse, which is theirs too."""
        excused = {address for address, (name, line, _) in self._places if line in self._excuses[name]}
        for address, place in self._places:
            name, line, _ = place
            begin = address - _offset(functions, address)
            if begin not in excused or line in self._excuses[name]:
                yield address, place

    @staticmethod
    def _conditional(variant: Variant, built: Image, table: dwarf.Table) -> Iterator[tuple[int, int]]:
        slot = _SLOT if "delay-slot" in variant.abi else 0
        for span in table.spans:
            for i in decoded(variant, built.bytes_at(span.start, len(span)), span.start):
                if is_conditional(variant, i) and not any(i.address in data for data in table.data):
                    yield i.address, i.address + len(i.data) + slot

    def measured(self, blocks: Mapping[Block, int]) -> tuple[Source, ...]:
        """Each source file, with the number of times that its lines and branches were reached."""
        reached: Counter[_Place] = Counter({place: 0 for _, place in self._places})
        came, went_on = Counter[int](), Counter[int]()
        #: Last instructions of blocks (engines differ in where one ends), and what came next.
        before = {(block.end - 1, block.next) for block in blocks} | {(block.end - 4, block.next) for block in blocks}
        for block, count in blocks.items():
            first, end = (bisect.bisect_left(self._addresses, address) for address in block[:2])
            reached.update(dict.fromkeys({place for _, place in self._places[first:end]}, count))
            for address, behind in self.conditional.items():
                slot = behind - self._slot
                apart = block.end <= slot == block.next < behind  # the way is taken at the end of the next block
                ends_apart = block.start == slot < block.end <= behind and (address, slot) in before
                if (block.start <= address < block.end and not apart) or ends_apart:
                    came[address] += count
                    went_on[address] += count * (block.next == behind)
        counts: dict[str, dict[int, int]] = {name: {} for name in self._excuses}
        ways: dict[str, list[Branch]] = {name: [] for name in self._excuses}
        for (name, line, _), count in reached.items():
            counts[name][line] = min(count, counts[name].get(line, count))
        number = Counter[tuple[str, int]]()
        for address, (of, line) in self.whose.items():
            if of is not None and not of.endswith(".S"):  # there is none in a stub
                for taken in (came[address] - went_on[address], went_on[address]):
                    ways[of].append(Branch(line, number[of, line], taken))
                    number[of, line] += 1
        return tuple(
            Source(
                name,
                dict(sorted(of_file.items())),
                tuple(sorted(ways[name], key=lambda way: (way.line, way.number))),
                {line: why for line, why in self._excuses[name].items() if line in of_file},
            )
            for name, of_file in counts.items()
            if of_file
        )


def _offset(functions: list[int], address: int) -> int:
    """Offset of ``address`` from the beginning of its function."""
    return address - functions[bisect.bisect_right(functions, address) - 1]


def excuses(path: Path, variant: str) -> dict[int, str]:
    """The lines of a file that ``variant`` cannot reach, with the reason from the comment ``/* unreached: why */``.

    A comment at the end of a line excuses that line.  One on a line of its own excuses what is behind it in its block,
    or, outside of every block, the definition that it precedes, with what is inlined there.  ``unreached on alpha,
    sh4:`` is of these variants alone.
    """
    text = path.read_text(encoding="utf-8").splitlines()
    excused = {}
    for number, line in enumerate(text, 1):
        excuse = _EXCUSE.search(line)
        if excuse and (excuse["on"] is None or variant in re.split(r",\s*", excuse["on"])):
            alone = not line[: excuse.start()].strip()
            last = _end_of_block(text, number) if alone else number
            excused.update(dict.fromkeys(range(number, last + 1), excuse["why"]))
    return excused


def _end_of_block(text: Sequence[str], number: int) -> int:
    """The last line that the comment alone on line ``number`` excuses."""
    depth = _indentation(text[number - 1])
    for after, line in enumerate(text[number:], number + 1):
        code = _COMMENT.sub("", line).rstrip()
        if depth == 0 and (code.startswith("}") or code.endswith("}")):
            return after
        if depth and code and _indentation(code) < depth:
            return after - 1
    return number


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


# Measuring.


def measure(batch: Batch, built: Image, guest: Guest) -> Unit:
    """Runs the cells of ``batch`` and measures the code that they reach."""
    spec, bench = batch.spec, batch.bench(built)
    if not isinstance(bench.engine, CountsBlocks):
        return _unmeasured(spec, f"{batch.engine} does not tell what it executes")
    replies, blocks = bench.blocks([bench.encode(scenario) for scenario in batch.scenarios], guest.watched)
    results = [bench.judge.judge(*each, 0.0) for each in zip(batch.cells, batch.scenarios, replies, strict=True)]
    return Unit(
        spec.variant.name,
        spec.mechanism,
        spec.toolchain,
        batch.engine,
        guest.measured(blocks),
        branches=guest.tells_branches,
        failed=tuple(f"{r.cell}: {r.verdict}: {r.reason}" for r in results if r.failed),
    )


def _measure_image(work: Sequence[Batch]) -> list[Unit]:
    """Measures one image on each of its engines."""
    spec = work[0].spec
    try:
        built = build.image(spec)
        guest = Guest(spec, built)
        return [measure(batch, built, guest) for batch in work]
    except MissingToolError as error:
        return [_unmeasured(spec, str(error))]
    except (BuildError, ImageError) as error:
        return [_unmeasured(spec, str(error), failed=(f"{spec}: {Verdict.BUILD_ERROR}: {error}",))]


def _unmeasured(spec: Spec, reason: str, failed: tuple[str, ...] = ()) -> Unit:
    return Unit(spec.variant.name, spec.mechanism, spec.toolchain, None, (), reason, failed=failed)


def measure_all(plan: Plan, jobs: int, timeout: float, on_images: Callable[[int, int], None]) -> Coverage:
    """Measures the code that the cells of ``plan`` reach; ``on_images`` gets the images done and their total."""
    work: dict[Spec, list[Batch]] = {}
    for batch in batches(plan, timeout=timeout, size=len(plan.cells)):
        work.setdefault(batch.spec, []).append(batch)
    units = []
    on_images(0, len(work))
    build.images(list(work), jobs)
    with workers(jobs) as pool:
        for done, measured in enumerate(pool.map(_measure_image, work.values()), 1):
            units += measured
            on_images(done, len(work))
    holes: dict[Spec, dict[str, Counter[str]]] = {}
    for planned in plan.cells:
        spec = plan.spec(planned.cell)
        if spec not in work:
            of_engine = holes.setdefault(spec, {}).setdefault(planned.cell.engine, Counter())
            of_engine[planned.reason or ""] += 1
    for spec, by_engine in holes.items():
        reasons = dict.fromkeys(counts.most_common(1)[0][0] for counts in by_engine.values())
        units.append(_unmeasured(spec, "; ".join(reasons)))
    order = {name: number for number, name in enumerate(plan.variants)}
    return Coverage(SCHEMA, __version__, tuple(sorted(units, key=lambda unit: order[unit.variant])))


def read(path: Path) -> Coverage | None:
    """The coverage of :func:`measure_all` that was written to ``path``; None if there is no such file.

    Raises :class:`~farm.errors.UsageError` if it is something else.
    """
    coverage = documents.read(path, Coverage, "a coverage", SCHEMA)
    if coverage is None:
        return None
    for source in (source for unit in coverage.units for source in unit.sources):
        unknown = sorted({way.line for way in source.branches}.union(source.excused) - source.lines.keys())
        if unknown:
            raise UsageError(f"{path}: not a coverage of the farm's: line {unknown[0]} of {source.path} has no count")
    return coverage


# What it comes to.


def merged(units: Iterable[Unit]) -> list[Source]:
    """The files of one variant over all mechanisms, toolchains and engines.

    The ways of branches are told apart by toolchain, since each makes its own of a line.
    """
    counts: dict[str, Counter[int]] = {}
    excused: dict[str, dict[int, str]] = {}
    ways: dict[str, Counter[tuple[int, str, int]]] = {}
    for unit in units:
        for source in unit.sources:
            counts.setdefault(source.path, Counter()).update(source.lines)
            excused.setdefault(source.path, {}).update(source.excused)
            of_file = ways.setdefault(source.path, Counter())
            of_file.update({(way.line, unit.toolchain, way.number): way.taken for way in source.branches})
    return [
        Source(path, dict(sorted(counts[path].items())), _renumbered(ways[path]), excused[path])
        for path in sorted(counts)
    ]


def _renumbered(ways: Mapping[tuple[int, str, int], int]) -> tuple[Branch, ...]:
    seen = Counter[int]()
    branches = []
    for (line, _, _), taken in sorted(ways.items()):
        branches.append(Branch(line, seen[line], taken))
        seen[line] += 1
    return tuple(branches)


def by_variant(coverage: Coverage) -> dict[str, list[Source]]:
    """The files of each variant that was measured."""
    units: dict[str, list[Unit]] = {}
    for unit in coverage.units:
        if unit.sources:
            units.setdefault(unit.variant, []).append(unit)
    return {variant: merged(of_variant) for variant, of_variant in units.items()}


class Line(msgspec.Struct, frozen=True):
    """A line of a file that was not reached, that was and has an excuse for it, or that always went one way."""

    path: str
    line: int
    excuse: str | None
    variants: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"

    @property
    def must_be_reached(self) -> bool:
        """True for a line of an architecture's patch routines."""
        return Path(self.path).name == "patch.c"


def _lines(coverage: Coverage, wanted: Callable[[Source], Iterable[int]]) -> list[Line]:
    by_line: dict[tuple[str, int, str | None], list[str]] = {}
    for variant, of_variant in by_variant(coverage).items():
        for source in of_variant:
            for line in wanted(source):
                by_line.setdefault((source.path, line, source.excused.get(line)), []).append(variant)
    return sorted(
        (Line(*key, tuple(variants)) for key, variants in by_line.items()),
        key=lambda line: (line.path, line.line),
    )


def unreached(coverage: Coverage) -> list[Line]:
    """Lines that no cell reached."""
    return _lines(coverage, lambda source: (line for line, count in source.lines.items() if not count))


def one_way(coverage: Coverage) -> list[Line]:
    """Lines that were reached, with a conditional branch of which a way was never taken."""
    return _lines(
        coverage, lambda source: {way.line for way in source.branches if not way.taken and source.lines[way.line]}
    )


def stale(coverage: Coverage) -> list[Line]:
    """Lines with an excuse that were reached all the same."""
    return _lines(coverage, lambda source: (line for line in source.excused if source.lines[line]))


def complaints(coverage: Coverage) -> list[str]:
    """A sentence for each thing that is not as it should be; if there is any, the exit status is 1."""
    return [
        *(
            f"{line}: not reached on {', '.join(line.variants)}; a scenario should, or a comment say why none can"
            for line in unreached(coverage)
            if line.must_be_reached and line.excuse is None
        ),
        *(
            f"{line}: reached on {', '.join(line.variants)}, though a comment says that it is not: {line.excuse}"
            for line in stale(coverage)
        ),
        *(cell for unit in coverage.units for cell in unit.failed),
    ]
