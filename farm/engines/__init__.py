"""Engines: what executes a guest.

An engine is a module with one object behind :class:`Engine`.  What it can do is readable without loading an emulator;
the emulator itself always runs in a child process (:mod:`farm.engines.child`), so that a crash, a hang or a kill costs
one cell and never the run.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Protocol, runtime_checkable

import msgspec

from farm.cell import EngineName, Hole, Verdict
from farm.errors import UsageError
from farm.guest.variant import EngineSettings, Unavailable, Variant
from farm.scenario import shown

if TYPE_CHECKING:
    from collections import Counter

    from farm.engines.child import Session
    from farm.engines.together import Made, Together
    from farm.engines.views import Exploration, Explored
    from farm.guest.image import Image


#: Shortest and longest time that a program may be given to answer, in seconds.
SHORTEST, LONGEST = 0.1, 86_400.0


def timeout_of(value: object, what: str) -> float:
    """``value`` of the option ``what``, in seconds.  Raises :class:`~farm.errors.UsageError` if no run could use it."""
    try:
        seconds = float(value) if isinstance(value, str) else value
    except ValueError:
        seconds = None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not SHORTEST <= seconds <= LONGEST:
        text = value if isinstance(value, str) else shown(value)
        raise UsageError(f"{what} {text}: expected seconds, from {SHORTEST:g} to {LONGEST:,.0f}")
    return float(seconds)


class Block(NamedTuple):
    """Instructions that were executed one after the other, and where execution went then."""

    start: int
    end: int  #: at least behind where the last instruction begins
    next: int  #: where the next watched block begins; 0: none does


class Watched(msgspec.Struct, frozen=True):
    """An instruction to be noted when it is executed, with the sum of registers and a constant: its operand, say."""

    address: int
    registers: tuple[str, ...] = ()  #: as the engine names them
    constant: int = 0


class Watch(msgspec.Struct, frozen=True):
    """What an engine is to note of a program as it runs."""

    stores: tuple[tuple[int, int], ...]  #: to these addresses, each from the first to behind the last
    instructions: tuple[Watched, ...]
    begins: tuple[int, ...]  #: functions whose entry is noted as the beginning of something
    ends: tuple[int, ...]  #: and as the end of it
    entries: tuple[int, ...] = ()  #: functions whose entry is noted for its own sake
    most: int = 0  #: things that begin before which the notes end, for so many were noted; 0: there is no such number
    pcs: bool = True  #: note the instructions that store, too, which is slow on some architectures; else each is 0


class Noted(enum.IntEnum):
    """Kind of a note."""

    STORE = 0
    INSTRUCTION = 1
    BEGIN = 2
    END = 3
    PROTECTION = 4
    KERNEL = 5  #: the kernel is asked to make what lies in memory what is fetched
    ENTRY = 6
    CUT = 7  #: the notes end, for no more were wanted


class Note(NamedTuple):
    """A note of something that a program did, as a :class:`Watch` wanted it."""

    kind: int  #: of :class:`Noted`
    #: the address of a store, a function, the memory whose protection changes or that the kernel is asked about; the
    #: number of an instruction
    place: int
    #: of a store, the instruction that makes it; of an instruction, its operand; of a beginning, the stack pointer; of
    #: a protection and of what the kernel is asked, the size; of a cut, how many things begin behind it
    value: int
    before: bytes = b""  #: the bytes that a store replaces; of a protection one: 1 read, 2 write, 4 execute
    after: bytes = b""


class Reply(msgspec.Struct, frozen=True):
    """Reply to one program: a trace, or how it failed.

    ``crash`` and ``timeout`` are the guest's, ``engine-error`` is the emulator's.
    """

    trace: bytes = b""
    failure: Literal["crash", "timeout", "engine-error"] | None = None
    detail: str = ""
    pc: int | None = None  #: of the guest, where it failed
    code: bytes | None = None  #: what patching had changed, if it can still be read
    spoils: bool = False  #: the child that sent it is not to be believed any more
    path: Sequence[int] = ()  #: the address of every instruction executed, in order, where that was asked for
    blocks: Mapping[Block, int] = {}  #: and how often, where that was asked for
    notes: Sequence[Note] = ()  #: in order, where a watch was asked for


#: An address, a size, a word, a place in an array: JSON and msgpack have no larger one than 64 bits.
Number = Annotated[int, msgspec.Meta(ge=0)]


class Steps(msgspec.Struct, frozen=True):
    """All that a program did."""

    count: Number  #: of instructions executed, those that are not recorded too
    #: each instruction met: its address, and its bytes then; 16, if how long it is the emulator does not tell
    code: list[tuple[Number, bytes]]
    executed: bytes  #: places in ``code``, in order: an array of unsigned 32-bit numbers
    stores: list[tuple[Number, Number, bytes, bytes]]  #: place in ``executed``, address, bytes before, bytes after
    #: place in ``executed``, address, size, 1 read, 2 write, 4 execute, 8 in its second mapping
    protections: list[tuple[Number, Number, Number, Number]]
    #: place in ``executed``, where the encoder begins, its first argument (0: not known), the word of code it returned
    encoded: list[tuple[Number, Number, Number, Number]]


class Engine(Protocol):
    """Runs programs on an image.

    That is all that an engine must do.  Each thing that only some can do is a protocol of its own below, and whoever
    needs it asks ``isinstance(engine, TellsPath)``.
    """

    name: str

    def hole(self, variant: Variant) -> Hole | None:
        """None if ``variant`` can run here and now."""

    def version(self, variant: Variant) -> str:
        """The emulator's own version, recorded in the results."""

    def run(
        self, image: Image, variant: Variant, programs: Sequence[bytes], timeout: float, *, fresh: bool = False
    ) -> Iterator[Reply]:
        """Yield one reply a program, in order; each starts from the pristine image.

        ``timeout`` is in seconds a program.  ``fresh`` runs them on a child that has run nothing before.
        """

    def session(self, image: Image, variant: Variant, timeout: float, *, fresh: bool = False) -> Session:
        """A child for one guest alone; the first program must reset it.

        Raises :class:`~farm.errors.ImageError` if the emulator refuses the guest.
        """

    def close(self) -> None:
        """End the idle children."""


# What only some engines can do.


@runtime_checkable
class WarmsUp(Protocol):
    """An engine whose children take a while to start."""

    def warm_up(self, count: int) -> None:
        """Start what ``count`` workers will need, while the host is busy with something else."""


@runtime_checkable
class NeedsHost(Protocol):
    """An engine that depends on the host itself, so that its cells are in a plan by default only where they can run."""

    def runs_here(self, variant: Variant) -> bool:
        """Tell whether this host is one for ``variant``."""


@runtime_checkable
class WaitsToBeNamed(Protocol):
    """An engine whose cells are in a plan only if it is named, since they would add more time than news to each run."""

    waits_to_be_named: bool


@runtime_checkable
class CrossChecks(Protocol):
    """An engine that has a slow, simple mode too."""

    def cross_check(self, image: Image, variant: Variant, programs: Sequence[bytes], timeout: float) -> Iterator[Reply]:
        """Replies as of :meth:`Engine.run`, in the slow mode; a difference is the engine's fault."""


@runtime_checkable
class Locates(Protocol):
    """An engine whose replies do not say where the guest crashed, but which can find out."""

    def locate(self, image: Image, variant: Variant, program: bytes, timeout: float) -> int | None:
        """The address where the guest crashes that runs ``program``; None if it is not found."""


@runtime_checkable
class TellsPath(Protocol):
    """An engine that can say which instructions are executed."""

    def tells_path(self, variant: Variant) -> bool:
        """Tell whether the engine can for ``variant``."""

    def path(self, image: Image, variant: Variant, program: bytes, timeout: float) -> Reply:
        """A reply with nothing but the path of ``program``, which starts from the pristine image."""


@runtime_checkable
class TellsSteps(TellsPath, Protocol):
    """An engine that can say of each instruction what it was then, and what it stored."""

    def steps(self, image: Image, variant: Variant, program: bytes, timeout: float) -> tuple[Reply, Steps | None]:
        """The reply to ``program``, which starts from the pristine image, and all that it did.

        None if the emulator itself failed.  It works where :meth:`tells_path` says so.
        """


@runtime_checkable
class CountsBlocks(Protocol):
    """An engine that can count what is executed."""

    def blocks(
        self, image: Image, variant: Variant, programs: Sequence[bytes], timeout: float, watched: Sequence[range]
    ) -> tuple[list[Reply], Counter[Block]]:
        """Replies as of :meth:`Engine.run`, and how often each block in the ``watched`` addresses was executed.

        Of a program that fails, what it executed may be missing.
        """


@runtime_checkable
class Watches(Protocol):
    """An engine that can note what a program does to its code."""

    def watches(self, variant: Variant) -> bool:
        """Tell whether the engine can for ``variant``."""

    def registers(self, variant: Variant) -> frozenset[str]:
        """Names of the registers of ``variant`` that can be asked for."""

    def watch(
        self, image: Image, variant: Variant, programs: Sequence[bytes], timeout: float, watch: Watch
    ) -> Iterator[Reply]:
        """Replies as of :meth:`Engine.run`, each with its notes.  Of a program that fails there are none."""


@runtime_checkable
class Explores(Protocol):
    """An engine that can follow a call through all that it may see of a change (:mod:`farm.engines.views`)."""

    def explores(self, variant: Variant) -> bool:
        """Tell whether the engine can for ``variant``."""

    def explore(
        self, image: Image, variant: Variant, program: bytes, timeout: float, exploration: Exploration
    ) -> tuple[Reply, list[Explored]]:
        """All ends of the call that ``program`` makes last, by graph; how it failed is in the reply, if it did."""

    def make(
        self, image: Image, variant: Variant, program: bytes, timeout: float, together: Together
    ) -> tuple[Reply, Made | None]:
        """What may come of two requests of ``program`` that are made at once (:mod:`farm.engines.together`).

        None if they do not come to an end one after the other either: the reply says why.
        """


def settings_or_hole(variant: Variant, name: str) -> EngineSettings | Hole:
    """Settings of engine ``name`` in ``arch.toml``, or why it cannot run ``variant``."""
    settings = variant.engine.get(name)
    if settings is None:
        return Hole(Verdict.NOT_APPLICABLE, f"arch/{variant.architecture}/arch.toml has no engine.{name}")
    if isinstance(settings, Unavailable):
        return Hole(Verdict.NOT_APPLICABLE, settings.unavailable)
    return settings


def engines() -> dict[str, Engine]:
    """Every engine by name."""
    from farm.engines.native import NATIVE
    from farm.engines.qemu_system import QEMU_SYSTEM
    from farm.engines.qemu_user import QEMU_USER
    from farm.engines.unicorn import UNICORN

    return {engine.name: engine for engine in (UNICORN, QEMU_USER, NATIVE, QEMU_SYSTEM)}


def engine_named(name: str) -> Engine:
    """The engine that runs the cells of ``name``, whatever the profile."""
    return engines()[EngineName.of(name).engine]


def warm_up(names: Iterable[str], count: int) -> None:
    """Have the engines that run cells of these ``names`` start what ``count`` workers will need."""
    for name in dict.fromkeys(EngineName.of(name).engine for name in dict.fromkeys(names)):
        engine = engines()[name]
        if isinstance(engine, WarmsUp):
            engine.warm_up(count)
