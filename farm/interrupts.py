"""SIGTERM and SIGHUP, which end the farm as Ctrl-C does."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Ended(KeyboardInterrupt):
    """The farm got SIGTERM or SIGHUP: everything ends as by Ctrl-C."""

    def __init__(self, number: int) -> None:
        self.number = signal.Signals(number)
        super().__init__(self.number.name)


def status_of(interrupt: KeyboardInterrupt) -> int:
    """The exit status of what was interrupted."""
    return 128 + (interrupt.number if isinstance(interrupt, Ended) else signal.SIGINT)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into :class:`Ended`: raised where the main thread is, and again at the end of this block.

    By then what had to be said and written may have met an error of its own: a closed terminal, for one.  A signal that
    is ignored (nohup) or handled already stays so; a second one waits for the end of the first.
    """
    received: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        received.append(number)
        if len(received) == 1:
            raise Ended(number)

    taken = []
    if threading.current_thread() is threading.main_thread():
        taken = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
        if received:
            raise Ended(received[0]) from None
