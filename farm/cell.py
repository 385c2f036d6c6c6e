"""The central nouns: a cell, the engine that it names, why it may not run, and what becomes of it."""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from farm.errors import Missing


class Verdict(enum.Enum):
    """Verdict on a cell, the worst last."""

    PASS = "pass"
    PASS_INSENSITIVE = "pass-insensitive"  #: as the model says, but this engine could not have shown the defect
    NOT_APPLICABLE = "not-applicable"  #: nothing that one could install or select would run it
    NOT_RUN = "not-run"  #: an install would
    XFAIL = "xfail"  #: failed, and is listed as known-bad
    XPASS = "xpass"  #: listed as known-bad, yet it passed
    FLAKY = "flaky"  #: failed, and not in the same way when run again
    TIMEOUT = "timeout"
    CRASH = "crash"  #: the guest's fault
    RULE_BROKEN = "rule-broken"  #: as the model says, but a store to code, or what follows it, breaks a rule
    MISMATCH = "mismatch"
    BUILD_ERROR = "build-error"
    ENGINE_ERROR = "engine-error"  #: the emulator died or misbehaved

    __hash__ = object.__hash__  # members are singletons; Enum's own is written in Python and slow

    def __str__(self) -> str:
        return self.value


PASSED = frozenset({Verdict.PASS, Verdict.PASS_INSENSITIVE})
SKIPPED = frozenset({Verdict.NOT_APPLICABLE, Verdict.NOT_RUN})
FAILED = frozenset(Verdict) - PASSED - SKIPPED - {Verdict.XFAIL}

#: Failures that say nothing of the guest's behaviour.
ERRORS = frozenset({Verdict.BUILD_ERROR, Verdict.ENGINE_ERROR})

#: Run once more on fresh state before they are believed.
UNSURE = frozenset({Verdict.MISMATCH, Verdict.CRASH, Verdict.TIMEOUT})


class EngineName(NamedTuple):
    """The name of an engine, and of its profile: a row of ``arch.toml`` with another CPU model, say."""

    engine: str
    profile: str = ""  #: empty: as the engine runs a variant by default

    @classmethod
    @functools.lru_cache(maxsize=256)  # there are few, and each result has one
    def of(cls, name: str) -> EngineName:
        """The parts of ``qemu-user:power8``, or of ``qemu-user``."""
        engine, _, profile = name.partition(":")
        return cls(engine, profile)

    def __str__(self) -> str:
        return f"{self.engine}:{self.profile}" if self.profile else self.engine


class Cell(msgspec.Struct, frozen=True, order=True, cache_hash=True):
    """The unit that has one verdict."""

    scenario: str
    variant: str
    mechanism: str
    toolchain: str
    engine: str  #: as :class:`EngineName` reads it

    def __str__(self) -> str:
        return f"{self.variant}/{self.mechanism}/{self.toolchain}/{self.engine}/{self.scenario}"

    def selectors(self) -> str:
        """The options of ``farm run`` that select this cell alone."""
        return (
            f"--arch {self.variant} --mechanism {self.mechanism} --toolchain {self.toolchain} "
            f"--engine {self.engine} --scenario {self.scenario}"
        )


@dataclass(frozen=True)
class Hole:
    """Why a cell cannot run: ``NOT_APPLICABLE`` if nothing helps, ``NOT_RUN`` if an install would."""

    verdict: Verdict
    reason: str
    missing: Missing | None = None  #: what an install would bring; not kept in plans

    @classmethod
    def to_install(cls, missing: Missing) -> Hole:
        """The hole that an install of what is ``missing`` would close."""
        return cls(Verdict.NOT_RUN, str(missing), missing)


class Planned(msgspec.Struct, frozen=True):
    """A cell, and why it will not run if it will not."""

    cell: Cell
    verdict: Verdict | None = None
    reason: str | None = None

    @classmethod
    def of(cls, cell: Cell, hole: Hole | None) -> Planned:
        """``cell``, which will not run if there is a ``hole``."""
        return cls(cell, hole.verdict, hole.reason) if hole else cls(cell)

    @property
    def hole(self) -> Hole | None:
        """Why the cell will not run; None if it will."""
        return Hole(self.verdict, self.reason or "") if self.verdict is not None else None
