"""Messages between the engine and its child (:mod:`farm.engines.unicorn.server`).

A frame's length has a flag for what is asked besides the trace of a program; a reply has a status, and a payload of
its own kind for each.  The child is not believed: whatever it sends is read as some :class:`~farm.engines.Reply`.
"""

from __future__ import annotations

import array
import struct
from collections.abc import Mapping
from typing import Literal, Self

import msgspec

from farm.engines import Block, Note, Number, Reply, Steps, Watch
from farm.engines.together import Made, Together
from farm.engines.views import Exploration, Explored
from farm.errors import UNREADABLE
from farm.guest.variant import UnicornSettings

#: Set in a frame's length: what follows opens an image.
OPEN = 1 << 31

#: Set in a frame's length: what is wanted of this program is its path.
PATH_OF = 1 << 29

#: Set in a frame's length: what is wanted of this program is all that it does.
STEPS_OF = 1 << 28

#: Set in a frame's length: what follows is a call that is to be explored (:class:`Explore`).
EXPLORE_OF = 1 << 27

#: Set in a frame's length: what follows are two requests that are to be made at once (:class:`Make`).
MAKE_OF = 1 << 26

TRACE, CRASH, TIMEOUT, ERROR, PATH, BLOCKS, STEPS, NOTES, EXPLORED, MADE = range(10)  # statuses of a reply

KEPT = 64  #: guests that a child keeps open: all of the variants with all mechanisms

#: Instructions of a program that are recorded at most.
RECORDED = 2_000_000

#: A reply with blocks: how many, each with how often it was executed, then the trace.
_COUNT, _COUNTED = struct.Struct("<I"), struct.Struct("<4Q")


class Open(msgspec.Struct):
    """The request to open an image."""

    image: bytes  #: path of its ``image.json``, which need not be UTF-8
    settings: UnicornSettings
    timeout: float
    watched: tuple[tuple[int, int], ...] = ()  #: addresses whose blocks are to be counted
    watch: Watch | None = None  #: what is to be noted

    def encode(self) -> bytes:
        """The frame."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, frame: bytes) -> Self:
        """The request in ``frame``."""
        return msgspec.json.decode(frame, type=cls)


class Failure(msgspec.Struct):
    """Payload of a reply that is not a trace."""

    detail: str
    pc: Number | None = None
    code: bytes | None = None

    def encode(self) -> bytes:
        """The payload."""
        return msgspec.json.encode(self)


class Explore(msgspec.Struct, frozen=True):
    """The request to explore a call of ``program``."""

    program: bytes
    exploration: Exploration

    def encode(self) -> bytes:
        """The frame."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, frame: bytes) -> Self:
        """The request in ``frame``."""
        return msgspec.msgpack.decode(frame, type=cls)


class Make(msgspec.Struct, frozen=True):
    """The request to make two requests of ``program`` at once."""

    program: bytes
    together: Together

    def encode(self) -> bytes:
        """The frame."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, frame: bytes) -> Self:
        """The request in ``frame``."""
        return msgspec.msgpack.decode(frame, type=cls)


class Recorded(msgspec.Struct, frozen=True):
    """Payload of a reply with all that a program did."""

    status: int  #: and payload, of the reply that the program alone would have had
    payload: bytes
    steps: Steps

    def encode(self) -> bytes:
        """The payload."""
        return msgspec.msgpack.encode(self)


class Watching(msgspec.Struct, frozen=True):
    """Payload of a reply with a trace, and the notes of what a program did."""

    trace: bytes
    notes: list[Note]

    def encode(self) -> bytes:
        """The payload."""
        return msgspec.msgpack.encode(self)


# Made as this is imported: where two threads are the first to decode a type, msgspec (0.22) may crash.
_FAILURE = msgspec.json.Decoder(Failure)
_RECORDED = msgspec.msgpack.Decoder(Recorded)
_WATCHING = msgspec.msgpack.Decoder(Watching)
_EXPLORED = msgspec.msgpack.Decoder(list[Explored])
_MADE = msgspec.msgpack.Decoder(Made)

_FAILURES: dict[int, Literal["crash", "timeout", "engine-error"]] = {
    CRASH: "crash",
    TIMEOUT: "timeout",
    ERROR: "engine-error",
}

#: Reply to stand for a frame that the child should never send.
_NO_REPLY = Reply(failure="engine-error", detail="unicorn answered what is no reply", spoils=True)


def encode_path(path: list[int]) -> bytes:
    """The payload of a :data:`PATH`."""
    return array.array("Q", path).tobytes()


def encode_blocks(blocks: Mapping[tuple[int, int, int], int], trace: bytes) -> bytes:
    """The payload of :data:`BLOCKS`."""
    counted = [_COUNTED.pack(*block, count) for block, count in blocks.items()]
    return _COUNT.pack(len(counted)) + b"".join(counted) + trace


def decode_reply(status: int, payload: bytes) -> Reply:
    """The reply in a frame of the child's; whatever is in it, nothing is raised."""
    if status == TRACE:
        return Reply(payload)
    try:
        if status == PATH:
            return Reply(path=array.array("Q", payload))
        if status == BLOCKS:
            (count,) = _COUNT.unpack_from(payload)
            end = _COUNT.size + count * _COUNTED.size
            counted = _COUNTED.iter_unpack(payload[_COUNT.size : end])
            blocks = {Block(*block): number for *block, number in counted}
            return Reply(payload[end:], blocks=blocks) if len(payload) >= end else _NO_REPLY
        if status == NOTES:
            watching = _WATCHING.decode(payload)
            return Reply(watching.trace, notes=watching.notes)
        if status not in _FAILURES:
            return _NO_REPLY
        failure = _FAILURE.decode(payload)
    except (struct.error, ValueError, *UNREADABLE):
        return _NO_REPLY
    return Reply(failure=_FAILURES[status], detail=failure.detail, pc=failure.pc, code=failure.code)


def decode_steps(status: int, payload: bytes) -> tuple[Reply, Steps | None]:
    """The reply in a frame that should be :data:`STEPS`, and what was recorded, if that is sound."""
    if status != STEPS:
        return decode_reply(status, payload), None
    try:
        recorded = _RECORDED.decode(payload)
        executed = array.array("I", recorded.steps.executed)
    except (ValueError, *UNREADABLE):
        return _NO_REPLY, None
    if max(executed, default=-1) >= len(recorded.steps.code):
        return _NO_REPLY, None
    return decode_reply(recorded.status, recorded.payload), recorded.steps


def decode_explored(status: int, payload: bytes) -> tuple[Reply, list[Explored]]:
    """The reply in a frame that should be :data:`EXPLORED`, and what was found, if that is sound."""
    if status != EXPLORED:
        return decode_reply(status, payload), []
    try:
        return Reply(), _EXPLORED.decode(payload)
    except (ValueError, *UNREADABLE):
        return _NO_REPLY, []


def decode_made(status: int, payload: bytes) -> tuple[Reply, Made | None]:
    """The reply in a frame that should be :data:`MADE`, and what may come of it, if that is sound."""
    if status != MADE:
        return decode_reply(status, payload), None
    try:
        return Reply(), _MADE.decode(payload)
    except (ValueError, *UNREADABLE):
        return _NO_REPLY, None
