"""The wire format: how a scenario becomes a program and how a trace comes back.

Both are arrays of 32-bit words in the variant's byte order; a 64-bit value is two words, low word first.  The
numbers are those of :mod:`farm.scenario.layout`, which the guest gets as ``wire.h``.

Program::

    magic, wire hash, number of words that follow, instructions...
    instruction = op | step << 16, length in words (with everything nested in it), operands...

Trace::

    magic, wire hash, machine (ELF e_machine), byte order | word size << 8 | mechanism << 16,
    number of events, dropped events, digest after the guest's own reset, number of code bytes,
    events of EVENT_WORDS words each, code bytes

Nothing in a trace is to be believed: a guest is broken until it is shown to be sound.  :class:`Decoder` reads whatever
bytes come, and says what is wrong with them.

A program travels to an engine's child as a frame: its length in bytes, then the program.  With KEEP set in the length
it runs on what the one before it left behind; without, on the pristine image.

A step's number is its place in a pre-order walk of the scenario.
"""

from __future__ import annotations

import array
import functools
import struct
from collections.abc import Sequence
from typing import NamedTuple

from farm.scenario import Scenario, Step, Target, prose, substeps
from farm.scenario.layout import (
    EVENT_WORDS,
    FNV_BASIS,
    FNV_PRIME,
    HEADER_WORDS,
    KINDS,
    PROGRAM_MAGIC,
    PROGRAM_WORDS,
    SITE_CAPACITY,
    TRACE_EVENTS,
    TRACE_MAGIC,
    wire_hash,
)

_HEAD = 4 * HEADER_WORDS  # bytes
_KIND_NAMES = {number: name for name, number in KINDS.items()}
_NO_KIND = "kind "  # and its number


def fnv(words: tuple[int, ...] | list[int], digest: int = FNV_BASIS) -> int:
    """FNV-1a over 32-bit words: the digest of arguments and of folded loops."""
    for word in words:
        digest = ((digest ^ word) * FNV_PRIME) & 0xFFFFFFFF
    return digest


class Event(NamedTuple):
    """One thing that the guest observed: EVENT_WORDS words.  Names in capitals are :mod:`farm.scenario.layout`'s.

    ``value`` is how many bytes go through accelerated code (``enter`` of CRC), the value returned (``return``), a
    :class:`~farm.scenario.Status` (``ANSWERED``), 0 or 1 (``code``: 1 if the bytes are not pristine; ``address``: 1 if
    two addresses differ; ``lock``: 1 if it is locked; ``load``: 1 if it failed), how many call sites are not as they
    must be (``sites``; or ``NO_SITES``), 1 + the number of the first byte of which a change went unnoticed
    (``tamper``), what is wrong with the text's protection (``protection``: ``TEXT_FAULTS``) or a digest (``output``;
    ``loop``, of the folded events). ``stack`` is the difference in bytes between the stack pointer after and before the
    call.

    ``abi`` is a mask of violations (``VIOLATIONS``); which register each is about, an architecture's ``arch.h`` and
    ``abi.S`` say, and a bit is never set where the ABI has no such thing. At ``enter``: bits 0 to 15 are the arguments,
    16 the alignment of the stack, 19 the register from which everyone addresses data, 20 the one that holds the
    target's own address, 24 in a variadic call the one that says how doubles are passed. For a call from a BARE site,
    under a mechanism that promises it, also 17 the return address, 18 the flags, 21 the red zone, and 24 and 25 the
    hidden registers: they carry no argument of this call but may one of another. At ``return``: bits 0 to 17 are the
    callee-saved registers, 19 as at ``enter``, 22 the flags that survive a call, 30 the callee-saved floating-point
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
        return prose.event(self)

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
    """Word by which an event names a target: the function's number above the target's."""
    return function << 8 | target._value_  # value is a property written in Python, and slow


class Header(NamedTuple):
    """Header of every trace, about the guest that wrote it."""

    magic: int
    wire_hash: int
    machine: int
    identity: int
    events: int
    dropped: int
    text_digest: int
    code_bytes: int


def identity(*, big_endian: bool, word_size: int, mechanism: int) -> int:
    """The header's fourth word: byte order (1 little, 2 big), word size in bytes, 16 bits that tell the mechanism."""
    return (2 if big_endian else 1) | word_size << 8 | mechanism << 16


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
    words: list[int] = []
    _encode(steps, words, 0)
    return words


def _encode(steps: tuple[Step, ...], words: list[int], number: int) -> int:
    """Add the instructions of ``steps``, the first of which is ``number``, to ``words``; the number after them."""
    for step in steps:
        start = len(words)
        words += (step.OP | number << 16, 0)
        for name, encode in step.OPERANDS:
            encode(words, getattr(step, name))
        number += 1
        if step.NESTED:
            number = _encode(substeps(step), words, number)
        words[start + 1] = len(words) - start
    return number


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


_DIGEST_AT = 4 * Header._fields.index("text_digest")


def attested(trace: bytes, digest: bytes) -> bytes:
    """``trace`` with the 4 bytes ``digest`` for its digest of text, from an engine that resets the guest itself."""
    return trace[:_DIGEST_AT] + digest + trace[_DIGEST_AT + 4 :]


class Trace(NamedTuple):
    """Trace that a guest sent, as far as it can be read."""

    header: Header | None  #: None: another guest wrote it, or none
    events: list[Event]
    code: bytes  #: what patching changes, as it was then; of ``relocated`` also the words of the call sites
    complaint: str  #: why it is not to be believed; empty if it is


class Decoder:
    """Reads the traces of one guest; whatever bytes a broken one sends, nothing is raised."""

    def __init__(self, *, machine: int, big_endian: bool, word_size: int, mechanism: int) -> None:
        self._big_endian = big_endian
        self._machine = machine
        self._identity = identity(big_endian=big_endian, word_size=word_size, mechanism=mechanism)
        order = ">" if big_endian else "<"
        self._counts = struct.Struct(f"{order}4I")
        self._proof = self._counts.pack(TRACE_MAGIC, wire_hash(), machine, self._identity)

    def agrees(self, trace: bytes, body: bytes, text_digest: int | None) -> bool:
        """Tell whether ``trace`` is sound and its events are exactly those of ``body``, as almost always.

        ``text_digest`` is the digest that the trace must report; None: any.
        """
        if len(trace) < _HEAD or not trace.startswith(self._proof) or not trace.startswith(body, _HEAD):
            return False
        events, dropped, digest, code = self._counts.unpack_from(trace, self._counts.size)
        if dropped or 4 * EVENT_WORDS * events != len(body) or len(trace) != _HEAD + len(body) + code:
            return False
        return text_digest is None or digest == text_digest

    def is_undone(self, trace: bytes, text_digest: int) -> bool:
        """Tell whether this guest wrote ``trace``, and reports that its reset has undone what it had changed."""
        return (
            len(trace) >= _HEAD
            and trace.startswith(self._proof)
            and self._counts.unpack_from(trace, self._counts.size)[2] == text_digest
        )

    def decode(self, trace: bytes) -> Trace:
        """``trace`` as far as it can be read, and a complaint if something is wrong with it."""
        header = decode_header(trace, big_endian=self._big_endian)
        foreign = self._foreign(trace, header)
        if header is None or foreign:
            return Trace(None, [], b"", f"the trace does not come from this guest: {foreign}")
        events = decode_events(trace, header.events, big_endian=self._big_endian)
        return Trace(header, events, trace[_HEAD + 4 * EVENT_WORDS * len(events) :], _contradiction(trace, header))

    def _foreign(self, trace: bytes, header: Header | None) -> str:
        """Reason to say that another guest, or none, wrote the trace; empty if this one did."""
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
        claim = f"{header.events:,} events and {header.code_bytes:,} bytes of code, {need:,} bytes in all"
        return f"the trace says that it has {claim}, and {have:,} follow its header"
    return ""
