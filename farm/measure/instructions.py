"""Records a cell instruction by instruction, for ``farm trace``.

Chosen: Unicorn, which calls a hook before every instruction and every store, so that an instruction has the bytes that
it had when it was executed, and a store what it replaced.  What QEMU's execution log tells instead, where Unicorn has
no such guest or cannot step it, is less: addresses.  Then nothing is known of stores, and of code that a patch may have
changed not even the instruction.

A whole trace has thousands of instructions, of which a patch is a few hundred.  So what belongs to the test (the
interpreter, the probes around a call, the targets' bodies) is folded to a line a stretch, and so are loops; what is
left is the mechanism, the call sites and the stubs.  Nothing is cut out of the order of things.
"""

from __future__ import annotations

import array
import bisect
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

import msgspec

from farm.cell import Cell
from farm.engines import Reply
from farm.engines.qemu_user import QEMU_USER
from farm.engines.unicorn import UNICORN
from farm.errors import FarmError, UsageError
from farm.guest import disassemble, dwarf, elf, image
from farm.guest.image import Image
from farm.guest.variant import Variant
from farm.run.bench import Bench
from farm.run.plan import Plan, on_engine
from farm.run.verdict import Result
from farm.scenario import walk

TIMEOUT = 60.0  # seconds; recording is some twenty times slower than running

_EXECUTE = 1  # of a segment's flags
_LONGEST = 16  # bytes of an instruction
_LONGEST_LOOP = 4096  # items
_LAST = "\U0010ffff"  # behind every name
_OUTSIDE = "outside"  # of the guest's code
_SITE_ENCODER = "arch_site_jump"
_WORTH_FOLDING = 8  # items
_TRIES = 8  # periods that are tried for a loop
_PERMISSIONS = ((1, "read"), (2, "write"), (4, "execute"), (8, "in the second mapping"))

#: Text on pages of its own, whose protection changes: always the mechanism's, or a call site.
_PATCHED = ("module", "sites", "stub")

#: The mechanism's sources, beside all of ``images/mechanism``.
_MECHANISM = ("patch.c", "sites.c")


class Store(msgspec.Struct, frozen=True):
    """A store: the bytes in memory before and after it."""

    address: int
    symbol: str
    before: str  #: hexadecimal, as in memory
    after: str
    into_code: bool
    was: list[str] = []  #: the code there, disassembled
    now: list[str] = []


class Instruction(msgspec.Struct, frozen=True, tag_field="what", tag="instruction"):
    """An instruction that was executed."""

    step: int | None  #: of the scenario; None: not known, or none yet
    address: int
    symbol: str
    bytes: str  #: hexadecimal, when it was executed; empty: not known
    text: str
    source: str  #: ``images/mechanism/common/poke.c:78``
    stores: list[Store] = []


class Folded(msgspec.Struct, frozen=True, tag_field="what", tag="folded"):
    """Instructions one after the other that belong to the test."""

    step: int | None
    instructions: int
    functions: list[str]  #: in the order in which they were entered first
    code_stores: int = 0  #: stores into code among them


class Repeated(msgspec.Struct, frozen=True, tag_field="what", tag="repeated"):
    """The number of times that the items above were executed again."""

    step: int | None
    times: int
    items: int
    instructions: int


class Protected(msgspec.Struct, frozen=True, tag_field="what", tag="protection"):
    """The last instruction changed what may be done with some text."""

    step: int | None
    address: int
    size: int
    permissions: str


class Encoded(msgspec.Struct, frozen=True, tag_field="what", tag="encoded"):
    """A word of code that the architecture's encoder made."""

    step: int | None
    function: str
    word: int
    text: str  #: what it is at the address that it was made for; empty if it is only a part of an instruction


Item = Instruction | Folded | Repeated | Protected | Encoded


@dataclass(frozen=True)
class Recording:
    """Everything that was executed, before anything is folded or left out."""

    engine: str  #: and its version
    note: str  #: why it is not what was asked for; empty if it is
    count: int  #: of instructions executed
    code: Sequence[tuple[int, bytes | None]]  #: each instruction met: its address, and its bytes then, if known
    executed: Sequence[int]  #: places in ``code``, in order; fewer than ``count`` if that is very large
    stores: Sequence[tuple[int, int, bytes, bytes]] = ()  #: place in ``executed``, address, bytes before, bytes after
    protections: Sequence[tuple[int, int, int, int]] = ()  #: place in ``executed``, address, size, permissions
    encoded: Sequence[tuple[int, int, int, int]] = ()  #: place in ``executed``, function, address the word is for, word
    steps: bool = True  #: it tells which instructions are of which step


@dataclass(frozen=True)
class Trace:
    """A cell, what it executed, and what became of it."""

    cell: Cell
    recording: Recording
    items: list[Item]
    more: bool  #: than the items there are
    result: Result


def trace(
    plan: Plan,
    cell: Cell,
    control: str | None = None,
    *,
    whole: bool = False,
    first: int | None = None,
    limit: int | None = None,
) -> Trace:
    """Run ``cell`` and tell what it executed: ``whole``, or folded; from step ``first`` on; ``limit`` items at most.

    Raises :class:`~farm.errors.FarmError` if nothing here can run and watch it, or it has no such step.
    """
    scenario = plan.scenarios[cell.scenario]
    steps = sum(1 for _ in walk(scenario.steps))
    if first is not None and first >= steps:
        raise UsageError(f"step {first}: {scenario.name} has steps 0 to {steps - 1}")
    variant = plan.variants[cell.variant]
    spec = plan.spec(cell, control)
    bench, recording, reply = _record(plan, cell, spec)
    result = bench.judged(scenario, reply)
    stream = _Reader(bench.image, variant, recording, whole=whole).items()
    if first is not None:
        stream = itertools.dropwhile(lambda item: item.step != first, stream)
    items = list(stream if limit is None or not whole else itertools.islice(stream, limit + 1))
    if first is not None and not items:
        why = "not reached" if recording.steps else f"{recording.engine} does not tell steps"
        raise FarmError(f"step {first} of {cell}: {why}")
    if not whole:
        items = fold(items)
    more = limit is not None and len(items) > limit
    return Trace(cell, recording, items[:limit], more, result)


def _record(plan: Plan, cell: Cell, spec: image.Spec) -> tuple[Bench, Recording, Reply]:
    """The bench on which the cell was run, what was recorded, and the reply that is to be judged."""
    scenario, options = plan.scenarios[cell.scenario], plan.selection.path_options()
    planned = on_engine(plan, cell, UNICORN.name)
    if planned.verdict is None and UNICORN.tells_path(spec.variant.profiled(planned.cell.engine)):
        bench = Bench.of(spec, planned.cell.engine, TIMEOUT, options)
        reply, steps = bench.steps(bench.encode(scenario))
        if steps is None:
            raise FarmError(f"{planned.cell} cannot be recorded: {reply.detail}")
        executed = array.array("I", steps.executed)
        note = "" if planned.cell == cell else f"{cell.engine} tells less than {planned.cell.engine}, which ran it here"
        engine = f"{UNICORN.name} {UNICORN.version(bench.variant)}"
        recording = Recording(
            engine, note, steps.count, steps.code, executed, steps.stores, steps.protections, steps.encoded
        )
        return bench, recording, reply
    why = planned.reason or f"{UNICORN.name} cannot step {cell.variant}"
    planned = on_engine(plan, cell, QEMU_USER.name)
    if planned.verdict is not None:
        raise FarmError(f"{cell} cannot be traced: {'; '.join(dict.fromkeys((why, planned.reason or '')))}")
    bench = Bench.of(spec, planned.cell.engine, TIMEOUT, options)
    program, built = bench.encode(scenario), bench.image
    path = bench.path(program)
    if path.failure:
        raise FarmError(f"{cell} cannot be traced: {why}; under {QEMU_USER.name}: {path.detail}")
    (reply,) = bench.replies([program])
    code: dict[int, int] = {}
    executed = array.array("I", (code.setdefault(address, len(code)) for address in path.path))
    code_bytes = [(address, None if _may_change(built, address) else _linked(built, address)) for address in code]
    note = f"{why}: this is QEMU's log, without stores and steps, and without what stood in patched code"
    engine = f"{QEMU_USER.name} {QEMU_USER.version(bench.variant)}"
    return bench, Recording(engine, note, len(executed), code_bytes, executed, steps=False), reply


def _is_patched(built: Image, address: int) -> bool:
    return any(built.symbols[f"{name}_start"] <= address < built.symbols[f"{name}_end"] for name in _PATCHED)


def _may_change(built: Image, address: int) -> bool:
    """Returns whether a patch may change the instruction at ``address``: in a stub, or at a redirected call site."""
    if built.region == "stub" and built.symbols["stub_start"] <= address < built.symbols["stub_end"]:
        return True
    return any(site.address - 4 < address <= site.address for site in built.sites)


def _linked(built: Image, address: int) -> bytes | None:
    """The linked bytes at ``address``, as many as the longest instruction; None if the image has no such address."""
    for segment in built.segments:
        if segment.address <= address < segment.address + segment.size:
            size = min(_LONGEST, segment.address + segment.size - address)
            return built.bytes_at(address, size).ljust(_LONGEST, b"\0")
    return None


class _Place(NamedTuple):
    """The facts of an instruction that stay the same each time it is executed."""

    item: Instruction
    function: str
    of_test: bool


class _Stretch:
    """Instructions of the test that are being folded."""

    def __init__(self) -> None:
        self._instructions = self._stores = 0
        self._functions: dict[str, None] = {}

    def add(self, place: _Place, stores: int) -> None:
        self._instructions += 1
        self._functions[place.function] = None
        self._stores += stores

    def take(self, step: int | None) -> Iterator[Folded]:
        """Yields the folded stretch, if there is any, and begins a new one."""
        if self._instructions:
            yield Folded(step, self._instructions, list(self._functions), self._stores)
        self.__init__()  # type: ignore[misc]


class _Reader:
    """Makes items of a recording."""

    def __init__(self, built: Image, variant: Variant, recording: Recording, *, whole: bool) -> None:
        path, content = Path(built.path), built.read()
        self._image, self._variant, self._recording, self._whole = built, variant, recording, whole
        self._stub_word = built.stubs.word
        self._lines = dwarf.places(path)
        labels = elf.labels(path)
        self._step_word = labels.get("running_step")
        names = {at: name for table in (labels, built.functions) for name, at in table.items()}
        self._names = sorted(names.items())
        #: Code as the stores so far have left it, by where it begins.
        self._code = {
            s.address: bytearray(elf.bytes_at(content, built.segments, s.address, s.size))
            for s in built.segments
            if s.flags & _EXECUTE
        }

    def items(self) -> Iterator[Item]:
        """Everything in order, with what belongs to the test folded unless the whole is wanted."""
        places = [self._place(address, code) for address, code in self._recording.code]
        stores, protections = _by_place(self._recording.stores), _by_place(self._recording.protections)
        encoded = _by_place(self._recording.encoded)
        step: int | None = None
        in_test = True
        stretch = _Stretch()
        for at, number in enumerate(self._recording.executed):
            place, stored = places[number], stores.get(at, ())
            if place.of_test and in_test and not self._whole:
                stretch.add(place, sum(self._change(address, after) for _, address, _, after in stored))
            else:  # of the test's, the first instruction: where a call led
                yield from stretch.take(step)
                written = [self._store(address, before, after) for _, address, before, after in stored]
                yield msgspec.structs.replace(place.item, step=step, stores=written)
            in_test = place.of_test
            for _, address, size, permissions in protections.get(at, ()):
                yield from stretch.take(step)
                words = " ".join(word for bit, word in _PERMISSIONS if permissions & bit)
                yield Protected(step, address, size, words)
            for _, function, address, word in encoded.get(at, ()):
                yield from stretch.take(step)
                name = self._symbol(function)
                within = 0 if name == _SITE_ENCODER else self._stub_word  # the others are told where the stub is
                yield Encoded(step, name, word, self._word(word, address + within if address else 0))
            for _, address, _, after in stored:
                if address == self._step_word:
                    yield from stretch.take(step)
                    step = int.from_bytes(after, "big" if self._image.big_endian else "little")
        yield from stretch.take(step)

    def _place(self, address: int, code: bytes | None) -> _Place:
        data, text = self._first(code, address)
        if self._segment(address) is None:
            return _Place(Instruction(None, address, _OUTSIDE, data.hex(), text, ""), _OUTSIDE, of_test=False)
        start, function = self._nearest(address)
        source, line = self._source(address)
        begins_in = PurePosixPath(self._source(start)[0])
        of_test = not self._is_mechanism(begins_in, function) and not self._is_call_site(begins_in, address)
        where = f"{source}:{line}" if source else ""
        return _Place(Instruction(None, address, self._symbol(address), data.hex(), text, where), function, of_test)

    def _first(self, code: bytes | None, address: int) -> tuple[bytes, str]:
        """The instruction at ``address``, with which ``code`` begins if that is known, and what it is in words."""
        if code is None:
            return b"", "? (patched code)" if self._segment(address) is not None else "? (no code of the guest's)"
        read = list(self._decoded(code, address))
        if len(code) == _LONGEST:  # how long it is, the disassembler knows
            return read[0].data, read[0].text
        return code, "; ".join(i.text for i in read)

    def _word(self, word: int, address: int) -> str:
        """The instruction that ``word`` is at ``address``, where one word is one instruction."""
        if not address or not disassemble.is_instruction(self._variant, self._image):
            return ""
        data = word.to_bytes(4, self._variant.byte_order)
        return "; ".join(i.text for i in self._decoded(data, address))

    def _is_mechanism(self, source: PurePosixPath, function: str) -> bool:
        """Returns whether code counts as the mechanism's, as the linker's own and millicode do, which have no source.

        Asm of sh has none either, since GCC does not ask the assembler for lines there; but it has ordinary names.
        """
        if not source.name:
            return function.startswith(("0x", "$$"))
        return "mechanism" in source.parts or source.name in _MECHANISM

    def _is_call_site(self, source: PurePosixPath, address: int) -> bool:
        return _is_patched(self._image, address) and not source.name.startswith("targets")

    def _decoded(self, data: bytes, address: int) -> Iterator[disassemble.Instruction]:
        return disassemble.decoded(self._variant, data, address, self._image)

    def _nearest(self, address: int) -> tuple[int, str]:
        """The last name in the segment of ``address`` that is not behind it, and where that is."""
        i = bisect.bisect_right(self._names, (address, _LAST)) - 1
        home = next((s for s in self._image.segments if s.address <= address < s.address + s.size), None)
        if i < 0 or home is None or self._names[i][0] < home.address:
            return address, f"{address:#x}" if home else "stack"
        return self._names[i]

    def _symbol(self, address: int) -> str:
        start, name = self._nearest(address)
        return f"{name}+{address - start:#x}" if address > start else name

    def _source(self, address: int) -> tuple[str, int]:
        i = bisect.bisect_right(self._lines, (address, _LAST, 0)) - 1
        return self._lines[i][1:] if i >= 0 and self._segment(address) is not None else ("", 0)

    def _segment(self, address: int) -> int | None:
        """Start of the code segment that contains ``address``; None if none does."""
        return next((start for start, code in self._code.items() if start <= address < start + len(code)), None)

    def _change(self, address: int, after: bytes) -> bool:
        """Keep what a store has left, if it was into code."""
        start = self._segment(address)
        if start is not None:
            self._code[start][address - start : address - start + len(after)] = after
        return start is not None

    def _store(self, address: int, before: bytes, after: bytes) -> Store:
        was = self._code_at(address, len(after))
        into_code = self._change(address, after)
        now = self._code_at(address, len(after))
        return Store(address, self._symbol(address), before.hex(), after.hex(), into_code, was, now)

    def _code_at(self, address: int, size: int) -> list[str]:
        """The code at ``address`` now: a pointer if it leads to a function, else the instructions; nothing for data."""
        start = self._segment(address)
        if start is None:
            return []
        function = self._nearest(address)[0]
        code = self._code[start]
        data = bytes(code[function - start : address - start + size + _LONGEST])
        read = list(self._decoded(data, function))
        begins = [i.address for i in read]
        first = max(bisect.bisect_right(begins, address) - 1, 0)
        if size == self._image.word_size and begins[first] == address:
            (pointer,) = disassemble.pointers(
                self._variant, bytes(code[address - start : address - start + size]), address, self._image
            )
            if not pointer.name.startswith("0x"):
                return [pointer.text]
        last = bisect.bisect_left(begins, address + size)
        return [i.text for i in read[first:last]]


_Entry = TypeVar("_Entry", bound=tuple[Any, ...])


def _by_place(entries: Iterable[_Entry]) -> dict[int, list[_Entry]]:
    """``entries`` by the place in the path that each begins with."""
    grouped: dict[int, list[_Entry]] = {}
    for entry in entries:
        grouped.setdefault(entry[0], []).append(entry)
    return grouped


def fold(items: Sequence[Item]) -> list[Item]:
    """``items`` with what is executed several times, one after the other, only once, and how often more."""
    keys = [_key(item) for item in items]
    following: list[int | None] = [None] * len(keys)  # where the same is again
    seen: dict[object, int] = {}
    for i in range(len(keys) - 1, -1, -1):
        following[i] = seen.get(keys[i])
        seen[keys[i]] = i
    folded: list[Item] = []
    i = 0
    while i < len(items):
        period, times = _loop(keys, following, i)
        if times == 1:
            folded.append(items[i])
            i += 1
            continue
        body = items[i : i + period]
        folded += fold(body)
        instructions = sum(_instructions(item) for item in body)
        folded.append(Repeated(body[0].step, times - 1, period, instructions))
        i += period * times
    return folded


def _loop(keys: list[object], following: list[int | None], i: int) -> tuple[int, int]:
    """The length of what is repeated at ``i``, and how often it is there."""
    again = following[i]
    for _ in range(_TRIES):
        if again is None or again - i > _LONGEST_LOOP:
            break
        period = again - i
        times = 1
        while keys[i : i + period] == keys[i + times * period : i + (times + 1) * period]:
            times += 1
        if (times - 1) * period >= _WORTH_FOLDING:
            return period, times
        again = following[again]
    return 1, 1


def _key(item: Item) -> object:
    """The key by which two items are the same in a loop: everything but their stores into data."""
    if isinstance(item, Instruction):
        return item.step, item.address, item.bytes, tuple((s.address, s.after) for s in item.stores if s.into_code)
    if isinstance(item, Folded):
        return item.step, item.instructions, tuple(item.functions), item.code_stores
    return item.step, item


def _instructions(item: Item) -> int:
    if isinstance(item, Folded | Repeated):
        return item.instructions
    return int(isinstance(item, Instruction))
