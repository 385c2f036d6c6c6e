"""A guest that is a Linux process (``images/platform/linux.c``), for the engines that start it as one.

One process runs many programs: the guest loops over frames and resets itself.
"""

from __future__ import annotations

import abc
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from farm.engines import Reply
from farm.engines.child import Child, ChildDied, Pool, Session, converse
from farm.scenario.wire import trace_limit

if TYPE_CHECKING:
    from farm.guest.image import Image
    from farm.guest.variant import Variant

#: Signals by which a guest dies of what it does.
GUEST_SIGNALS = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGTRAP, signal.SIGFPE})


class LinuxGuests(abc.ABC):
    """What the engines have in common."""

    def __init__(self) -> None:
        self.pool = Pool()

    @abc.abstractmethod
    def command(self, image: Image, variant: Variant, *options: str) -> list[str]:
        """The exact command that runs the guest; ``options`` are the engine's own."""

    @abc.abstractmethod
    def explain(self, variant: Variant, death: ChildDied, timeout: float) -> Reply:
        """Whose fault it is that the guest's process has ended, and how it did."""

    def child(self, image: Image, variant: Variant, command: list[str]) -> Child:
        """A new child that is the guest of ``image``."""
        del variant
        return child_of(image, command)

    def interpreter(self, image: Image) -> Callable[[int, bytes], Reply]:
        """The function that reads what such a child answers."""
        return interpreter(image)

    def close(self) -> None:
        self.pool.drain()

    def run(
        self, image: Image, variant: Variant, programs: Sequence[bytes], timeout: float, *, fresh: bool = False
    ) -> Iterator[Reply]:
        return self._converse(image, variant, programs, timeout, fresh=fresh)

    def session(self, image: Image, variant: Variant, timeout: float, *, fresh: bool = False) -> Session:
        command = self.command(image, variant)
        key = f"{image.sha256} {command}"
        return Session(
            self._start(key, command, image, variant, fresh=fresh),
            timeout,
            self.interpreter(image),
            lambda death: self.explain(variant, death, timeout),
            lambda child: self.pool.give(key, child),
        )

    def _start(self, key: str, command: list[str], image: Image, variant: Variant, *, fresh: bool) -> Child:
        idle = None if fresh else self.pool.take(key)
        return idle[1] if idle else self.child(image, variant, command)

    def _converse(
        self,
        image: Image,
        variant: Variant,
        programs: Sequence[bytes],
        timeout: float,
        *options: str,
        fresh: bool = False,
    ) -> Iterator[Reply]:
        command = self.command(image, variant, *options)
        key = f"{image.sha256} {command}"

        def start() -> Child:
            return self._start(key, command, image, variant, fresh=fresh)

        def explain(death: ChildDied) -> Reply:
            return self.explain(variant, death, timeout)

        def finish(child: Child) -> None:
            self.pool.give(key, child)

        return converse(start, finish, programs, timeout, self.interpreter(image), explain)


def bare(command: Sequence[str]) -> list[str]:
    """The ``command`` that starts a guest, with an empty environment.

    What is in it would be on the guest's stack, where a broken guest may find it; and ``QEMU_*`` change what QEMU does.
    """
    program = shutil.which(command[0]) or command[0]  # there is no PATH any more to find it by
    return ["env", "-i", program, *command[1:]]


def child_of(image: Image, command: Sequence[str], **options: Any) -> Child:
    """A child that is the guest of ``image``, started by ``command``; ``options`` are those of :class:`Child`."""
    largest = 4 + trace_limit(image.patched[1])
    return Child(bare(command), big_endian=image.big_endian, largest=largest, **options)


def interpreter(image: Image) -> Callable[[int, bytes], Reply]:
    """Function that reads a frame as a reply.

    After a frame that shows a guest out of order, nothing of that process is to be believed.
    """
    decoder, text_digest = image.decoder(), image.text_digest

    def interpret(status: int, trace: bytes) -> Reply:
        if status:
            return Reply(failure="crash", detail=f"the guest answered with status {status:#x}, not 0", spoils=True)
        return Reply(trace, spoils=not decoder.is_undone(trace, text_digest))

    return interpret


def explained(death: ChildDied, timeout: float) -> Reply | None:
    """How the guest ended, where that is told by what became of its process alone."""
    if death.breach:
        return Reply(failure="crash", detail=f"the guest broke the protocol: {death.breach}")
    if death.status is None:
        return Reply(failure="timeout", detail=f"no answer within {timeout:g} s")
    if death.status == -signal.SIGXFSZ:
        return Reply(failure="crash", detail=f"the guest wrote without end ({death.signal})")
    if death.status in (3, 4):
        return Reply(failure="crash", detail="the guest lost the connection")
    if death.status == 0:  # which nothing but the guest has a reason to end with
        return Reply(failure="crash", detail="the guest ended before it had answered")
    return None
