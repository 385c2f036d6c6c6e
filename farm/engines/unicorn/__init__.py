"""``unicorn``: the guest on a bare CPU in a child process (:mod:`farm.engines.unicorn.server`).

The embedded default: it comes from pip with everything else.  One child serves many images, one after the other, since
starting Python costs more than opening a guest.  Unicorn invalidates translated code on every store of the guest, so
it cannot show a missing cache flush, and one CPU has no one to see a torn store.
"""

from __future__ import annotations

import array
import difflib
import functools
import importlib.metadata
import importlib.util
import os
import re
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from farm.cell import Hole, Verdict
from farm.engines import Block, Reply, settings_or_hole
from farm.engines.child import Child, ChildDied, Pool, Session, converse
from farm.errors import UNREADABLE, BackendError, ImageError, Missing
from farm.guest import arch_toml
from farm.guest.variant import REGISTER_MODULES, UnicornSettings, Variant
from farm.scenario import Defect

if TYPE_CHECKING:
    from farm.guest.image import Image

#: Set in a frame's length: what follows opens an image.
OPEN = 1 << 31

#: Set in a frame's length: what is wanted of this program is its path.
PATH_OF = 1 << 29

#: Set in a frame's length: what is wanted of this program is all that it does.
STEPS_OF = 1 << 28

#: A reply with blocks: how many, each with how often it was executed, then the trace.
COUNT, COUNTED = struct.Struct("<I"), struct.Struct("<4Q")

TRACE, CRASH, TIMEOUT, ERROR, PATH, BLOCKS, STEPS = range(7)  # statuses of a reply

_NO_CODE_HOOKS = frozenset({"SPARC"})  # with one, `jmpl` goes to address 5

_COMMAND = [sys.executable, "-P", "-W", "ignore", "-m", "farm.engines.unicorn.server"]

_GRACE = 5.0  # seconds that the host waits beyond the child's own watchdog

KEPT = 64  #: guests that a child keeps open: all of the variants with all mechanisms


class Open(msgspec.Struct):
    """The request to open an image."""

    image: bytes  #: path of its ``image.json``, which need not be UTF-8
    settings: UnicornSettings
    timeout: float
    watched: tuple[tuple[int, int], ...] = ()  #: addresses whose blocks are to be counted


#: An address, a size, a word, a place in an array: JSON and msgpack have no larger one than 64 bits.
_Number = Annotated[int, msgspec.Meta(ge=0)]
_Word = Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)]


class Failure(msgspec.Struct):
    """Payload of a reply that is not a trace."""

    detail: str
    pc: _Number | None = None
    code: bytes | None = None


class Steps(msgspec.Struct, frozen=True):
    """Payload of a reply with all that a program did (:class:`farm.engines.unicorn.machine.Recorder`)."""

    status: int  #: and payload, of the reply that the program alone would have had
    payload: bytes
    count: _Number  #: of instructions executed, those that are not recorded too
    #: each instruction met: its address, and its bytes then; 16, if how long it is the emulator does not tell
    code: list[tuple[_Number, bytes]]
    executed: bytes  #: places in ``code``, in order: an array of unsigned 32-bit numbers
    stores: list[tuple[_Number, _Number, bytes, bytes]]  #: place in ``executed``, address, bytes before, bytes after
    protections: list[
        tuple[_Number, _Number, _Number, _Number]
    ]  #: place in ``executed``, address, size, 1 read, 2 write, 4 execute
    #: place in ``executed``, where the encoder begins, its first argument (0: not known), the word of code it returned
    encoded: list[tuple[_Number, _Number, _Number, _Number]]


# Made as this is imported: where two threads are the first to decode a type, msgspec (0.22) may crash.
_FAILURE = msgspec.json.Decoder(Failure)
_STEPS = msgspec.msgpack.Decoder(Steps)

#: Instructions of a program that are recorded at most.
RECORDED = 2_000_000


class Unicorn:
    """The engine."""

    name = "unicorn"
    blind_to = frozenset({Defect.STALE_FETCH, Defect.TORN_STORE})

    def __init__(self) -> None:
        self.pool = Pool()

    def close(self) -> None:
        self.pool.drain()

    def locate(self, image: Image, variant: Variant, program: bytes, timeout: float) -> int | None:
        del image, variant, program, timeout
        return None  # every reply says it

    def tells_path(self, variant: Variant) -> bool:
        settings = variant.engine[self.name]
        assert isinstance(settings, UnicornSettings)
        return settings.arch not in _NO_CODE_HOOKS

    def path(self, image: Image, variant: Variant, program: bytes, timeout: float) -> Reply:
        session = self.session(image, variant, timeout)
        try:
            return session.run(program, head=PATH_OF)
        finally:
            session.release()

    def steps(self, image: Image, variant: Variant, program: bytes, timeout: float) -> tuple[Reply, Steps | None]:
        """The reply to ``program``, which starts from the pristine image, and all that it did.

        None if the emulator itself failed.
        """
        recorded: list[Steps] = []

        def interpret(status: int, payload: bytes) -> Reply:
            if status != STEPS:
                return interpret_reply(status, payload)
            steps = decode_steps(payload)
            if steps is None:
                return _NO_REPLY
            recorded.append(steps)
            return interpret_reply(steps.status, steps.payload)

        session = self._session(image, variant, timeout, interpret, fresh=False)
        try:
            reply = session.run(program, keep=False, head=STEPS_OF)
        finally:
            session.release()
        return reply, recorded[0] if recorded else None

    def warm_up(self, count: int) -> None:
        """Have so many children at hand, whatever they have open; loading the emulator takes one 0.2 s."""
        for _ in range(count - len(self.pool)):
            self.pool.give("", Child(_COMMAND))

    def hole(self, variant: Variant) -> Hole | None:
        settings = settings_or_hole(variant, self.name)
        if isinstance(settings, Hole):
            return settings
        if importlib.util.find_spec("unicorn") is None:
            return Hole.to_install(Missing("unicorn", "pip install unicorn"))
        assert isinstance(settings, UnicornSettings)
        mistake = _unknown_name(settings)
        if mistake:
            key, why = mistake
            raise BackendError(f"{arch_toml.place(variant, f'engine.unicorn.{key}')}: {why}")
        installed = self.version(variant)
        if settings.since and _numbers(installed) < _numbers(settings.since):
            # Not a thing to install: what the farm depends on holds Unicorn where it is.
            needed = f"{variant.name} needs unicorn >= {settings.since}, which pwntools does not allow"
            return Hole(Verdict.NOT_APPLICABLE, f"{needed}; here is {installed}")
        return None

    def version(self, variant: Variant) -> str:
        del variant
        return importlib.metadata.version("unicorn")

    def run(
        self, image: Image, variant: Variant, programs: Sequence[bytes], timeout: float, *, fresh: bool = False
    ) -> Iterator[Reply]:
        return self._converse(image, variant, programs, timeout, fresh=fresh)

    def blocks(
        self, image: Image, variant: Variant, programs: Sequence[bytes], timeout: float, watched: Sequence[range]
    ) -> tuple[list[Reply], Counter[Block]]:
        replies, blocks = [], Counter[Block]()
        for reply in self._converse(image, variant, programs, timeout, watched=watched):
            replies.append(reply)
            blocks.update(reply.blocks)
        return replies, blocks

    def _converse(
        self,
        image: Image,
        variant: Variant,
        programs: Sequence[bytes],
        timeout: float,
        *,
        fresh: bool = False,
        watched: Sequence[range] = (),
    ) -> Iterator[Reply]:
        def start() -> Child:
            return self._start(image, variant, timeout, fresh=fresh, watched=watched)

        def finish(child: Child) -> None:
            self.pool.give(_key(image, variant, timeout, watched), child)

        answered = 0
        try:
            for reply in converse(start, finish, programs, timeout + _GRACE, interpret_reply, _explain):
                answered += 1
                yield reply
        except (CannotOpenError, ChildDied) as error:
            failure = Reply(failure="engine-error", detail=f"cannot open {image.path}: {error}")
            yield from (failure for _ in programs[answered:])

    def session(self, image: Image, variant: Variant, timeout: float, *, fresh: bool = False) -> Session:
        return self._session(image, variant, timeout, interpret_reply, fresh=fresh)

    def _session(
        self, image: Image, variant: Variant, timeout: float, interpret: Callable[[int, bytes], Reply], *, fresh: bool
    ) -> Session:
        try:
            child = self._start(image, variant, timeout, fresh=fresh)
        except (CannotOpenError, ChildDied) as error:
            raise ImageError(f"unicorn cannot open {image.path}: {error}") from None
        key = _key(image, variant, timeout)
        return Session(child, timeout + _GRACE, interpret, _explain, lambda child: self.pool.give(key, child))

    def _start(
        self, image: Image, variant: Variant, timeout: float, *, fresh: bool, watched: Sequence[range] = ()
    ) -> Child:
        """A child with ``image`` open.  Raises :class:`CannotOpenError` or :class:`ChildDied`."""
        settings = variant.engine[self.name]
        assert isinstance(settings, UnicornSettings)
        key = _key(image, variant, timeout, watched)
        idle = None if fresh else self.pool.take(key, any_other=True)
        if idle and idle[0] == key:
            return idle[1]
        child = idle[1] if idle else Child(_COMMAND)
        description = image.path.removesuffix("guest.elf") + "image.json"
        request = Open(os.fsencode(description), settings, timeout, tuple((span.start, span.stop) for span in watched))
        try:
            child.send(msgspec.json.encode(request), OPEN)
            status, payload = child.receive(time.monotonic() + timeout + _GRACE)
        except ChildDied as death:
            child.close()
            if death.status is not None and death.status >= 0:  # by itself: the next would too
                raise CannotOpenError(_explain(death).detail) from None
            raise
        if status != TRACE:
            child.close()
            raise CannotOpenError(interpret_reply(status, payload).detail)
        child.kept.pop(key, None)
        child.kept[key] = None
        if len(child.kept) > KEPT:  # as the child itself does
            del child.kept[next(iter(child.kept))]
        return child

    def cross_check(
        self, image: Image, variant: Variant, programs: Sequence[bytes], timeout: float
    ) -> Iterator[Reply] | None:
        del image, variant, programs, timeout
        return None  # stepping is another mode of the same translator, and some architectures cannot


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _key(image: Image, variant: Variant, timeout: float, watched: Sequence[range] = ()) -> str:
    return f"{image.sha256} {variant.engine['unicorn']} {timeout} {watched}"


@functools.cache
def _constants(module: str) -> tuple[str, ...]:
    """The names that Unicorn's module of constants has; read without loading the emulator."""
    package = importlib.util.find_spec("unicorn")
    for folder in (package.submodule_search_locations or []) if package else []:
        path = Path(folder) / f"{module}.py"
        if path.is_file():
            return tuple(re.findall(r"^(UC_\w+) *=", path.read_text(encoding="utf-8"), re.MULTILINE))
    return ()


@functools.cache
def _unknown_name(settings: UnicornSettings) -> tuple[str, str] | None:
    """The first of ``settings`` that names no constant of Unicorn: its key, and the name with what is valid."""
    module = REGISTER_MODULES.get(settings.arch, "")
    registers = f"UC_{module.removesuffix('_const').upper()}_REG_"
    for key, name, prefix, home in (
        ("arch", settings.arch, "UC_ARCH_", "unicorn_const"),
        *(("mode", mode, "UC_MODE_", "unicorn_const") for mode in settings.mode),
        ("stack_pointer", settings.stack_pointer, registers, module),
        ("program_counter", settings.program_counter, registers, module),
        ("cpu", settings.cpu, settings.cpu_prefix, module),
    ):
        valid = [c.removeprefix(prefix) for c in _constants(home) if c.startswith(prefix)]
        if key == "arch":
            valid = [arch for arch in valid if arch in REGISTER_MODULES]
        if name is not None and name not in valid:
            near = difflib.get_close_matches(name, valid, n=3) or valid[:12]
            return key, f"{name!r} found; expected one of {', '.join(near)}"
    return None


class CannotOpenError(Exception):
    """The emulator refuses the guest."""


_FAILURES: dict[int, Literal["crash", "timeout", "engine-error"]] = {
    CRASH: "crash",
    TIMEOUT: "timeout",
    ERROR: "engine-error",
}

#: What the child sent is nothing that it should ever send.
_NO_REPLY = Reply(failure="engine-error", detail="unicorn answered what is no reply", spoils=True)


def interpret_reply(status: int, payload: bytes) -> Reply:
    """What a frame of the child's is; whatever is in it, nothing is raised."""
    if status == TRACE:
        return Reply(payload)
    try:
        if status == PATH:
            return Reply(path=array.array("Q", payload))
        if status == BLOCKS:
            (count,) = COUNT.unpack_from(payload)
            end = COUNT.size + count * COUNTED.size
            counted = COUNTED.iter_unpack(payload[COUNT.size : end])
            blocks = {Block(*block): number for *block, number in counted}
            return Reply(payload[end:], blocks=blocks) if len(payload) >= end else _NO_REPLY
        if status not in _FAILURES:
            return _NO_REPLY
        failure = _FAILURE.decode(payload)
    except (struct.error, ValueError, *UNREADABLE):
        return _NO_REPLY
    return Reply(failure=_FAILURES[status], detail=failure.detail, pc=failure.pc, code=failure.code)


def decode_steps(payload: bytes) -> Steps | None:
    """The recording in the payload of a frame; None if it is none, or what it refers to is not there."""
    try:
        steps = _STEPS.decode(payload)
        executed = array.array("I", steps.executed)
    except (ValueError, *UNREADABLE):
        return None
    return steps if max(executed, default=-1) < len(steps.code) else None


def _explain(death: ChildDied) -> Reply:
    if death.breach:
        return Reply(failure="engine-error", detail=f"unicorn broke the protocol: {death.breach}")
    if death.status is None:
        return Reply(failure="engine-error", detail="unicorn hung: even its watchdog did not answer")
    how = f"died of {death.signal}" if death.signal else f"ended with {death.status}"
    return Reply(failure="engine-error", detail=f"unicorn {how} {death.stderr}".rstrip())


UNICORN = Unicorn()
