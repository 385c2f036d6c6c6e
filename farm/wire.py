"""The wire format: how a scenario becomes a program and how a trace comes back.

Both are arrays of 32-bit words in the variant's byte order; a 64-bit value is two words, low word first.  This module
is the only place that knows the layout: it encodes and decodes on the host and writes ``wire.h`` for the guest.  The
hash of that header travels in every program and in every trace, so a guest built against another layout is found out.

Program::

    magic, wire hash, number of words that follow, instructions...
    instruction = op | step << 16, length in words (with everything nested in it), operands...

Trace::

    magic, wire hash, machine (ELF e_machine), byte order | word size << 8 | mechanism << 16,
    number of events, dropped events, digest after the guest's own reset, number of code bytes,
    events of EVENT_WORDS words each, code bytes

Nothing in a trace is to be believed: a guest is broken until it is shown to be sound.  :class:`Decoder` reads whatever
bytes come, and says what is wrong with them.

A program travels to an engine's child as a frame: its length in bytes, then the program.  With :data:`KEEP` set in the
length it runs on what the one before it left behind; without, on the pristine image.

A step's number is its place in a pre-order walk of the scenario.
"""

from __future__ import annotations

import array
import functools
import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from farm.scenario import (
    FLOAT,
    FUNCTIONS,
    PATTERN_SIZE,
    REAL_TARGETS,
    Address,
    Call,
    Code,
    FailPoke,
    Interrupted,
    Kind,
    Load,
    LockText,
    Loop,
    Output,
    Patch,
    Protection,
    Query,
    Restore,
    Scenario,
    Scribble,
    Shape,
    Sites,
    Status,
    Step,
    Tamper,
    Target,
    Unload,
)

PROGRAM_MAGIC = 0x50465047
TRACE_MAGIC = 0x50465452

#: Set in a frame's length: no reset before this program, nor after it.
KEEP = 1 << 30

#: Words a guest can take and events it can hold; ``wire.h`` gets both.
PROGRAM_WORDS = 4096
TRACE_EVENTS = 1024

HEADER_WORDS = 8
EVENT_WORDS = 8
_HEAD = 4 * HEADER_WORDS  # bytes

OPS: dict[type, int] = {
    Call: 1,
    Patch: 2,
    Restore: 3,
    Query: 4,
    Code: 5,
    Scribble: 6,
    LockText: 7,
    Loop: 8,
    Output: 9,
    Address: 10,
    FailPoke: 11,
    Load: 12,
    Unload: 13,
    Interrupted: 14,
    Protection: 15,
    Sites: 16,
    Tamper: 17,
}

KINDS = {
    "enter": 1,
    "return": 2,
    "patch": 3,
    "restore": 4,
    "query": 5,
    "code": 6,
    "scribble": 7,
    "lock": 8,
    "loop": 9,
    "output": 10,
    "address": 11,
    "fail-poke": 12,
    "load": 13,
    "unload": 14,
    "interrupt": 15,
    "protection": 16,
    "sites": 17,
    "tamper": 18,
}
_KIND_NAMES = {number: name for name, number in KINDS.items()}
_NO_KIND = "kind "  # and its number

MECHANISMS = {"pointer": 1, "stub": 2, "relocated": 3}

#: The doubles that DOUBLES passes: -0.0, a NaN with a payload, infinity, a negative one, the smallest denormal, pi, the
#: largest, one.
DOUBLE_BITS = (
    0x8000000000000000,
    0x7FF8DEADBEEF0001,
    0x7FF0000000000000,
    0xFFF8000000001234,
    0x0000000000000001,
    0x400921FB54442D18,
    0x7FEFFFFFFFFFFFFF,
    0x3FF0000000000000,
)

#: Call sites that a guest's table holds, and the bit that marks those of the module in it.
SITE_CAPACITY = 512
SITE_IN_MODULE = 1 << 16

#: Value of a ``sites`` event where the guest's table is empty.
NO_SITES = 0xFFFFFFFF

#: Bytes of the module's text at most.
MODULE_SIZE = 1024

#: What may be wrong with the protection of the text: bits of the value of a ``protection`` event.
TEXT_FAULTS = {"writable": 1, "unreadable": 2, "not-executable": 4}

#: Where the doorbell's value says what is to be opened: 0 the stubs, 1 the module, 2 both and the call sites.
DOORBELL_REGION = 4

#: What a CPU may have, as bits of the guest's ``farm_features``.
FEATURES = {"clmul": 1, "float": 2, "bti": 4}

#: What an ABI violation is, as bits of an event's ``abi`` (:class:`Event`); hidden register i is bit 24 + i.
VIOLATIONS = {
    "stack-alignment": 16,
    "return-address": 17,
    "flags": 18,
    "toc": 19,
    "entry-register": 20,
    "red-zone": 21,
    "kept-flags": 22,
    "hidden": 24,
    "kept-floats": 30,
    "kept-vectors": 31,
}

#: Kinds of events whose value is a status.
ANSWERED = ("patch", "restore", "scribble", "interrupt")

#: What the values from 0 on of an event mean.
_VALUES = {
    "code": ("pristine", "changed"),
    "lock": ("unlocked", "locked"),
    "address": ("the same everywhere", "not the same everywhere"),
    "load": ("done", "failed"),
}

#: Target word of an event that names no target, and of a target the guest does not know.
NO_TARGET = 0xFFFF
UNKNOWN_TARGET = 0xFFFE

#: ``code`` for all functions.
ALL_FUNCTIONS = 0xFF

FNV_BASIS = 0x811C9DC5
FNV_PRIME = 0x01000193


def fnv(words: tuple[int, ...] | list[int], digest: int = FNV_BASIS) -> int:
    """FNV-1a over 32-bit words: the digest of arguments and of folded loops."""
    for word in words:
        digest = ((digest ^ word) * FNV_PRIME) & 0xFFFFFFFF
    return digest


class Event(NamedTuple):
    """One thing that the guest observed: :data:`EVENT_WORDS` words.

    ``value`` is how many bytes go through accelerated code (``enter`` of CRC), the value returned (``return``), a
    :class:`~farm.scenario.Status` (:data:`ANSWERED`), 0 or 1 (``code``: 1 if the bytes are not pristine; ``address``: 1
    if two addresses differ; ``lock``, ``load``: :data:`_VALUES`), how many call sites are not as they must be
    (``sites``; or :data:`NO_SITES`), 1 + the number of the first byte of which a change went unnoticed (``tamper``),
    what is wrong with the text's protection (``protection``: :data:`TEXT_FAULTS`) or a digest (``output``; ``loop``, of
    the folded events).  ``stack`` is the difference in bytes between the stack pointer after and before the call.

    ``abi`` is a mask of violations (:data:`VIOLATIONS`); which register each is about, an architecture's ``arch.h``
    and ``abi.S`` say, and a bit is never set where the ABI has no such thing. At ``enter``: bits 0 to 15 are the
    arguments, 16 the alignment of the stack, 19 the register from which everyone addresses data, 20 the one that holds
    the target's own address, 24 in a variadic call the one that says how doubles are passed. For a call from a BARE
    site, under a mechanism that promises it, also 17 the return address, 18 the flags, 21 the red zone, and 24 and 25
    the hidden registers: they carry no argument of this call but may one of another. At ``return``: bits 0 to 17 are
    the callee-saved registers, 19 as at ``enter``, 22 the flags that survive a call, 30 the callee-saved floating-point
    registers, 31 the callee-saved vector registers.
    """

    kind: str
    step: int
    target: int
    arguments: int
    value: int
    stack: int
    abi: int
    depth: int

    def __str__(self) -> str:
        """The event in words, which are those of no other event."""
        kind, step, target, arguments, _, stack, abi, depth = self
        words = f"step {step}: {kind} {target_name(target)}"
        if kind == "enter":
            words += f", arguments {arguments:#010x}"
        elif kind in ("output", "loop"):
            words += f", {arguments} {'bytes' if kind == 'output' else 'events'}"
        elif arguments:
            words += f", arguments {arguments:#x}"
        if value := self._value_words():
            words += f", {value}"
        if stack:
            words += f", stack {stack:+d}"
        if abi:
            words += f", ABI violations {abi:#x}"
        if depth:
            words += f", depth {depth}"
        return words

    def _value_words(self) -> str:
        """What ``value`` means in an event of this kind; nothing for a 0 that means nothing."""
        if self.kind == "enter":
            return f"{self.value} bytes accelerated" if self.value else ""
        if self.kind in ANSWERED:
            return status_name(self.value)
        if self.kind in ("output", "loop"):
            return f"digest {self.value:#x}"
        if self.kind == "sites":
            return _left_behind(self.value)
        if self.kind == "tamper":
            return f"byte {self.value - 1} may be changed unnoticed" if self.value else "every change is refused"
        if self.kind == "protection":
            return "text " + (", ".join(_names(TEXT_FAULTS, self.value)) or "as it must be")
        if self.value < len(named := _VALUES.get(self.kind, ())):
            return named[self.value]
        return f"value {self.value:#x}" if self.value or self.kind == "return" else ""

    def words(self) -> tuple[int, ...]:
        """The event as the guest writes it, also one of a kind that nobody knows."""
        number = KINDS.get(self.kind)
        return (
            (int(self.kind.removeprefix(_NO_KIND)) if number is None else number) | self.step << 16,
            self.target,
            self.arguments,
            self.value & 0xFFFFFFFF,
            self.value >> 32,
            self.stack & 0xFFFFFFFF,
            self.abi,
            self.depth,
        )


def target_word(function: int, target: Target) -> int:
    """How an event names a target: the function's number above the target's."""
    return function << 8 | target.value


@functools.lru_cache(maxsize=1024)
def target_name(word: int) -> str:
    """``whatever_0 -> fast`` for an event's target word."""
    if word == NO_TARGET:
        return "nothing"
    function, number = word >> 8, word & 0xFF
    if function >= len(FUNCTIONS):
        return f"unknown target {word:#x}"
    try:
        return f"whatever_{function} -> {Target(number).name.lower()}"
    except ValueError:
        return f"whatever_{function}" if number == 0xFF else f"whatever_{function} -> unknown {number:#x}"


@functools.lru_cache(maxsize=64)
def status_name(value: int) -> str:
    """``bad-target`` for what a request answered."""
    try:
        return Status(value).name.lower().replace("_", "-")
    except ValueError:
        return f"status {value}"


def _names(bits: dict[str, int], value: int) -> list[str]:
    """What the bits of ``value`` are called; of those that have no name, their number."""
    unnamed = value & ~sum(bits.values())
    return [name for name, bit in bits.items() if value & bit] + ([f"{unnamed:#x}"] if unnamed else [])


def _left_behind(sites: int) -> str:
    """``3 call sites left behind`` for the value of a ``sites`` event."""
    if sites == NO_SITES:
        return "no call site was found in the image"
    return f"{sites} call sites left behind" if sites else "every call site follows"


def violations(event: Event) -> list[str]:
    """What the bits of ``event.abi`` are about: ``callee-saved register 3``, ``red-zone``."""
    registers = ("callee-saved register", 18) if event.kind == "return" else ("argument", 16)
    hidden, names = VIOLATIONS["hidden"], {bit: name for name, bit in VIOLATIONS.items()}
    found = []
    for bit in (bit for bit in range(32) if event.abi >> bit & 1):
        if bit < registers[1]:
            found.append(f"{registers[0]} {bit}")
        elif hidden <= bit < VIOLATIONS["kept-floats"]:
            found.append(f"hidden register {bit - hidden}")
        else:
            found.append(names.get(bit, f"bit {bit}"))
    return found


class Header(NamedTuple):
    """What every trace says of the guest that wrote it."""

    magic: int
    wire_hash: int
    machine: int
    identity: int
    events: int
    dropped: int
    text_digest: int
    code_bytes: int


def identity(*, big_endian: bool, word_size: int, mechanism: str) -> int:
    """The header's fourth word: byte order (1 little, 2 big), word size in bytes, mechanism."""
    return (2 if big_endian else 1) | word_size << 8 | MECHANISMS[mechanism] << 16


# Programs.


class TooLongError(ValueError):
    """A guest has no room for a program; ``step`` is the outermost step in which its room ends."""

    def __init__(self, words: Sequence[int]) -> None:
        room = PROGRAM_WORDS - 3
        at = 0
        while at + words[at + 1] <= room:
            at += words[at + 1]
        self.step = words[at] >> 16
        super().__init__(f"a program of {len(words)} words; a guest takes {room}")


def program_words(steps: tuple[Step, ...]) -> list[int]:
    """The instructions of ``steps``, without the program's header."""
    counter = iter(range(1 << 16))
    words: list[int] = []
    for step in steps:
        words += _instruction(step, counter)
    return words


def _instruction(step: Step, counter: object) -> list[int]:
    number = next(counter)  # type: ignore[call-overload]
    nested: list[int] = []
    match step:
        case Call():
            operands = [step.function, step.shape.value, step.x & 0xFFFFFFFF, step.x >> 32 & 0xFFFFFFFF]
            operands += [step.count, step.at, step.stride & 0xFFFFFFFF, step.stride >> 32 & 0xFFFFFFFF]
            for inner in step.inside:
                nested += _instruction(inner, counter)
        case Loop():
            operands = [step.count]
            for inner in step.steps:
                nested += _instruction(inner, counter)
        case Patch():
            operands = [step.function, step.target.value, step.offset]
        case Sites():
            operands = [step.function, step.target.value]
        case Code():
            operands = [ALL_FUNCTIONS if step.function is None else step.function]
        case LockText():
            operands = [int(step.locked)]
        case FailPoke():
            operands = [step.number]
        case Interrupted():
            operands = [step.function, step.target.value, step.other, step.elsewhere.value]
        case Output() | Load() | Unload() | Protection():
            operands = []
        case Restore() | Query() | Scribble() | Tamper() | Address():
            operands = [step.function]
    return [OPS[type(step)] | number << 16, 2 + len(operands) + len(nested), *operands, *nested]


@functools.lru_cache(maxsize=4096)
def encode(scenario: Scenario, *, big_endian: bool) -> bytes:
    """``scenario`` as a program.

    Raises :class:`TooLongError` if it is larger than a guest can take.
    """
    if big_endian:
        return swapped(encode(scenario, big_endian=False))
    words = program_words(scenario.steps)
    if len(words) > PROGRAM_WORDS - 3:
        raise TooLongError(words)
    words = [PROGRAM_MAGIC, wire_hash(), len(words), *words]
    return struct.pack(f"<{len(words)}I", *words)


# Traces.


def swapped(words: bytes) -> bytes:
    """A program, or the body of a trace, in the other byte order."""
    other = array.array("I", words)
    other.byteswap()
    return other.tobytes()


def encode_events(events: Sequence[Event], *, big_endian: bool) -> bytes:
    """The body of a trace: what a correct guest writes behind the header."""
    words = [word for event in events for word in event.words()]
    return struct.pack(f"{'>' if big_endian else '<'}{len(words)}I", *words)


def trace_limit(code_bytes: int) -> int:
    """The size in bytes of the largest trace of a guest in which patching changes ``code_bytes`` and call sites."""
    return 4 * (HEADER_WORDS + TRACE_EVENTS * EVENT_WORDS + SITE_CAPACITY) + code_bytes


def decode_header(trace: bytes, *, big_endian: bool) -> Header | None:
    """The header of ``trace``, or None if it is too short to have one."""
    if len(trace) < 4 * HEADER_WORDS:
        return None
    return Header(*struct.unpack_from(f"{'>' if big_endian else '<'}{HEADER_WORDS}I", trace))


def decode_events(trace: bytes, count: int, *, big_endian: bool) -> list[Event]:
    """The first ``count`` events of ``trace``, or as many of them as it holds and a guest has room for."""
    order = ">" if big_endian else "<"
    count = min(count, TRACE_EVENTS, (len(trace) - 4 * HEADER_WORDS) // (4 * EVENT_WORDS))
    events = []
    for i in range(count):
        offset = 4 * (HEADER_WORDS + i * EVENT_WORDS)
        head, target, arguments, low, high, stack, abi, depth = struct.unpack_from(f"{order}5Ii2I", trace, offset)
        kind = _KIND_NAMES.get(head & 0xFFFF) or f"{_NO_KIND}{head & 0xFFFF}"
        events.append(Event(kind, head >> 16, target, arguments, low | high << 32, stack, abi, depth))
    return events


def attested(trace: bytes, digest: bytes) -> bytes:
    """``trace`` with the 4 bytes ``digest`` for its digest of text, from an engine that resets the guest itself."""
    at = 4 * Header._fields.index("text_digest")
    return trace[:at] + digest + trace[at + 4 :]


class Trace(NamedTuple):
    """What a guest sent, as far as it can be read."""

    header: Header | None  #: None: another guest wrote it, or none
    events: list[Event]
    code: bytes  #: what patching changes, as it was then; of ``relocated`` also the words of the call sites
    complaint: str  #: why it is not to be believed; empty if it is


class Decoder:
    """Reads the traces of one guest; whatever bytes a broken one sends, nothing is raised."""

    def __init__(self, *, machine: int, big_endian: bool, word_size: int, mechanism: str) -> None:
        self._big_endian = big_endian
        self._machine = machine
        self._identity = identity(big_endian=big_endian, word_size=word_size, mechanism=mechanism)
        order = ">" if big_endian else "<"
        self._counts = struct.Struct(f"{order}4I")
        self._proof = self._counts.pack(TRACE_MAGIC, wire_hash(), machine, self._identity)

    def agrees(self, trace: bytes, body: bytes, text_digest: int | None) -> bool:
        """Whether ``trace`` is sound and its events are exactly those of ``body``, as almost always.

        ``text_digest`` is what it must report; None: whatever it reports.
        """
        if len(trace) < _HEAD or not trace.startswith(self._proof) or not trace.startswith(body, _HEAD):
            return False
        events, dropped, digest, code = self._counts.unpack_from(trace, self._counts.size)
        if dropped or 4 * EVENT_WORDS * events != len(body) or len(trace) != _HEAD + len(body) + code:
            return False
        return text_digest is None or digest == text_digest

    def is_undone(self, trace: bytes, text_digest: int) -> bool:
        """Whether this guest wrote ``trace``, and reports that its reset has undone what it had changed."""
        return (
            len(trace) >= _HEAD
            and trace.startswith(self._proof)
            and self._counts.unpack_from(trace, self._counts.size)[2] == text_digest
        )

    def decode(self, trace: bytes) -> Trace:
        """What can be read of ``trace``, and what is wrong with it."""
        header = decode_header(trace, big_endian=self._big_endian)
        foreign = self._foreign(trace, header)
        if header is None or foreign:
            return Trace(None, [], b"", f"the trace does not come from this guest: {foreign}")
        events = decode_events(trace, header.events, big_endian=self._big_endian)
        return Trace(header, events, trace[_HEAD + 4 * EVENT_WORDS * len(events) :], _contradiction(trace, header))

    def _foreign(self, trace: bytes, header: Header | None) -> str:
        """What shows that another guest, or none, wrote the trace."""
        if header is None:
            return f"it has {len(trace)} bytes, and its header alone should have {_HEAD}" if trace else "it is empty"
        for what, seen, wanted in (
            ("magic", header.magic, TRACE_MAGIC),
            ("wire hash", header.wire_hash, wire_hash()),
            ("machine", header.machine, self._machine),
            ("byte order, word size and mechanism", header.identity, self._identity),
        ):
            if seen != wanted:
                return f"its {what} is {seen:#x}, expected {wanted:#x}"
        return ""


def _contradiction(trace: bytes, header: Header) -> str:
    """Why the counts in ``header`` cannot be; empty if they can."""
    if header.events > TRACE_EVENTS:
        return f"the trace says that it has {header.events:,} events, and a guest has room for {TRACE_EVENTS:,}"
    if header.dropped and header.events < TRACE_EVENTS:
        return f"the trace says that {header.dropped:,} events were dropped, though it has only {header.events:,}"
    need, have = 4 * EVENT_WORDS * header.events + header.code_bytes, len(trace) - _HEAD
    if need != have:
        said = f"{header.events:,} events and {header.code_bytes:,} bytes of code, {need:,} bytes in all"
        return f"the trace says that it has {said}, and {have:,} follow its header"
    return ""


# The guest's header.


def _layout() -> str:
    """The constants of the format; their hash is the wire hash."""
    lines = [
        f"#define PROGRAM_MAGIC {PROGRAM_MAGIC:#x}",
        f"#define TRACE_MAGIC {TRACE_MAGIC:#x}",
        f"#define FRAME_KEEP {KEEP:#x}u",
        f"#define PROGRAM_WORDS {PROGRAM_WORDS}",
        f"#define TRACE_EVENTS {TRACE_EVENTS}",
        f"#define HEADER_WORDS {HEADER_WORDS}",
        f"#define EVENT_WORDS {EVENT_WORDS}",
        f"#define NO_TARGET {NO_TARGET:#x}",
        f"#define UNKNOWN_TARGET {UNKNOWN_TARGET:#x}",
        f"#define ALL_FUNCTIONS {ALL_FUNCTIONS:#x}",
        f"#define FNV_BASIS {FNV_BASIS:#x}",
        f"#define FNV_PRIME {FNV_PRIME:#x}",
        f"#define FUNCTION_COUNT {len(FUNCTIONS)}",
        f"#define FUNCTION_BITS {(len(FUNCTIONS) - 1).bit_length()}",
        f"#define PATTERN_SIZE {PATTERN_SIZE}",
        f"#define DOUBLE_BITS {', '.join(f'{bits:#x}u' for bits in DOUBLE_BITS)}",
        f"#define TARGET_COUNT {len(REAL_TARGETS)}",
        f"#define SITE_CAPACITY {SITE_CAPACITY}",
        f"#define SITE_IN_MODULE {SITE_IN_MODULE:#x}",
        f"#define NO_SITES {NO_SITES:#x}u",
        f"#define MODULE_SIZE {MODULE_SIZE}",
        f"#define DOORBELL_REGION {DOORBELL_REGION}",
    ]
    lines += [f"#define TEXT_{name.replace('-', '_').upper()} {bit}u" for name, bit in TEXT_FAULTS.items()]
    lines += [f"#define OP_{cls.__name__.upper()} {number}" for cls, number in OPS.items()]
    lines += [f"#define EVENT_{name.upper().replace('-', '_')} {number}" for name, number in KINDS.items()]
    lines += [f"#define MECHANISM_{name.upper()} {number}" for name, number in MECHANISMS.items()]
    lines += [f"#define SHAPE_{shape.name} {shape.value}" for shape in Shape]
    lines += [f"#define TARGET_{target.name} {target.value:#x}" for target in Target]
    lines += [f"#define PATCH_{status.name} {status.value}" for status in Status]
    lines += [f"#define VIOLATION_{name.replace('-', '_').upper()} {bit}" for name, bit in VIOLATIONS.items()]
    lines += [f"#define KIND_{kind.name} {kind.value}" for kind in Kind]
    lines += [f"#define FEATURE_{name.upper()} {bit:#x}" for name, bit in FEATURES.items()]
    lines += [
        f"#define FOR_EACH_{word}FUNCTION(X) "
        + " ".join(f"X({number}, {kind.name})" for number, kind in enumerate(FUNCTIONS) if kind in kinds)
        for word, kinds in (
            ("", set(Kind)),
            ("INTEGER_", set(Kind) - FLOAT),
            ("FLOAT_", FLOAT),
            ("INT_", {Kind.INT}),
            ("VOID_", {Kind.VOID}),
        )
    ]
    numbers = [str(number) for number, kind in enumerate(FUNCTIONS) if kind is Kind.INT]
    lines.append(f"#define INT_NUMBERS {','.join(numbers)}")
    lines.append(f"#define FUNCTION_NUMBERS {','.join(str(number) for number in range(len(FUNCTIONS)))}")
    return "\n".join(lines) + "\n"


@functools.cache
def wire_hash() -> int:
    """CRC-32 of the layout."""
    return zlib.crc32(_layout().encode())


def header() -> str:
    """The text of ``wire.h``."""
    return (
        "/* Written by farm/wire.py; do not edit. */\n"
        "#ifndef WIRE_H\n#define WIRE_H\n"
        f"{_layout()}"
        f"#define WIRE_HASH {wire_hash():#x}\n"
        "#endif\n"
    )
