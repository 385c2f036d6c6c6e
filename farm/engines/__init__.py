"""Engines: what executes a guest.

An engine is a module with one object behind :class:`Engine`.  What it can do is readable without loading an emulator;
the emulator itself always runs in a child process (:mod:`farm.engines.child`), so that a crash, a hang or a kill costs
one cell and never the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from farm.backend import QemuUserSettings, Unavailable, UnicornSettings, Variant
from farm.errors import UsageError
from farm.scenario import shown

if TYPE_CHECKING:
    from collections import Counter

    from farm.engines.child import Session
    from farm.image import Image
    from farm.scenario import Defect


#: How long a program may be given to answer, in seconds.
SHORTEST, LONGEST = 0.1, 86_400.0


def timeout_of(value: object, what: str) -> float:
    """``value`` of the option ``what``, in seconds.  Raises :class:`~farm.errors.UsageError` if no run could use it."""
    try:
        seconds = float(value) if isinstance(value, str) else value
    except ValueError:
        seconds = None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not SHORTEST <= seconds <= LONGEST:
        said = value if isinstance(value, str) else shown(value)
        raise UsageError(f"{what} {said}: expected seconds, from {SHORTEST:g} to {LONGEST:,.0f}")
    return float(seconds)


@dataclass(frozen=True)
class Hole:
    """Why a cell cannot run: ``not-applicable`` if nothing helps, ``not-run`` if an install would."""

    verdict: Literal["not-applicable", "not-run"]
    reason: str


class Block(NamedTuple):
    """Instructions that were executed one after the other, and where execution went then."""

    start: int
    end: int  #: at least behind where the last instruction begins
    next: int  #: where the next watched block begins; 0: none does


@dataclass(frozen=True)
class Reply:
    """What came back for one program: a trace, or how it failed.

    ``crash`` and ``timeout`` are the guest's, ``engine-error`` is the emulator's.
    """

    trace: bytes = b""
    failure: Literal["crash", "timeout", "engine-error"] | None = None
    detail: str = ""
    pc: int | None = None  #: of the guest, where it failed
    code: bytes | None = None  #: what patching had changed, if it can still be read
    spoils: bool = False  #: the child that sent it is not to be believed any more
    path: Sequence[int] = ()  #: the address of every instruction executed, in order, where that was asked for
    blocks: Mapping[Block, int] = field(default_factory=dict)  #: and how often, where that was asked for


class Engine(Protocol):
    """Runs programs on an image."""

    name: str
    #: Defects that cannot make any trace differ on this engine; measured by ``farm calibrate``.
    blind_to: frozenset[Defect]

    def hole(self, variant: Variant) -> Hole | None:
        """None if ``variant`` can run here and now."""

    def version(self, variant: Variant) -> str:
        """The emulator's own version, recorded in the results."""

    def run(
        self, image: Image, variant: Variant, programs: Sequence[bytes], timeout: float, *, fresh: bool = False
    ) -> Iterator[Reply]:
        """One reply a program, in order; each starts from the pristine image.

        ``timeout`` is in seconds a program.  ``fresh`` runs them on a child that has run nothing before.
        """

    def session(self, image: Image, variant: Variant, timeout: float, *, fresh: bool = False) -> Session:
        """A child for one guest alone; the first program must reset it.

        Raises :class:`~farm.errors.ImageError` if the emulator refuses the guest.
        """

    def cross_check(
        self, image: Image, variant: Variant, programs: Sequence[bytes], timeout: float
    ) -> Iterator[Reply] | None:
        """The same programs in the engine's slow, simple mode, if it has one; a difference is the engine's fault."""

    def locate(self, image: Image, variant: Variant, program: bytes, timeout: float) -> int | None:
        """Where in the guest ``program`` crashes, for an engine whose replies do not say; else None."""

    def tells_path(self, variant: Variant) -> bool:
        """:meth:`path` works for ``variant``."""

    def path(self, image: Image, variant: Variant, program: bytes, timeout: float) -> Reply:
        """A reply with nothing but the path of ``program``, which starts from the pristine image."""

    def blocks(
        self, image: Image, variant: Variant, programs: Sequence[bytes], timeout: float, watched: Sequence[range]
    ) -> tuple[list[Reply], Counter[Block]]:
        """As :meth:`run`, and how often each block in the ``watched`` addresses was executed.

        Of a program that fails, what it executed may be missing.
        """

    def warm_up(self, count: int) -> None:
        """Start what ``count`` workers will need, while the host is busy with something else."""

    def close(self) -> None:
        """End the idle children."""


def settings_or_hole(variant: Variant, name: str) -> QemuUserSettings | UnicornSettings | Hole:
    """What ``arch.toml`` says of engine ``name``, or why it cannot run ``variant``."""
    settings = variant.engine.get(name)
    if settings is None:
        return Hole("not-applicable", f"arch/{variant.architecture}/arch.toml has no engine.{name}")
    if isinstance(settings, Unavailable):
        return Hole("not-applicable", settings.unavailable)
    return settings


def engines() -> dict[str, Engine]:
    """Every engine by name."""
    from farm.engines.qemu_user import QEMU_USER
    from farm.engines.unicorn import UNICORN

    return {engine.name: engine for engine in (UNICORN, QEMU_USER)}
