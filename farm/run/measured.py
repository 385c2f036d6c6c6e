"""What each engine was seen to notice of code that is stored, by version: what ``farm calibrate --engines`` measures.

``measured.jsonl`` has the versions that the farm's own runs are made with, a row a line, as one prints them::

    farm calibrate --engines --json | jq -c '.[] | select(.reason == null) | del(.seen, .reason)'

Any other version is calibrated before it is first needed (:mod:`farm.prove.engines`), and what was found is kept in the
cache, where it goes before what the file says.  Of what nobody has measured nothing is claimed: it counts as blind.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from farm import paths
from farm.errors import UNREADABLE, FarmError, MissingToolError, OutputError
from farm.scenario import Defect

if TYPE_CHECKING:
    from farm.engines import Engine
    from farm.guest.variant import Variant

#: How code that is stored to is mapped: it can always be written to and executed; it can be written to while it is
#: open (mprotect); in a second mapping; likewise, and then the platform closes that (images/platform/alias.c).
Mapping = Literal["rwx", "toggled", "alias", "closed-alias"]
MAPPINGS: tuple[Mapping, ...] = ("rwx", "toggled", "alias", "closed-alias")

#: What is tried: maintenance is left out after a store; a store is torn; halves are executed; code stores a little
#: ahead of itself.
Probe = Literal["stale-fetch", "torn-store", "half-stored", "next-instruction"]
PROBES: tuple[Probe, ...] = ("stale-fetch", "torn-store", "half-stored", "next-instruction")

#: What comes of it: the engine shows the bug; it does not; it shows one where there is none; nothing can be said.
Class = Literal["sensitive", "blind", "false-stale", "unusable"]

#: The defects that a probe is about.
PROBED: dict[Defect, Probe] = {Defect.STALE_FETCH: "stale-fetch", Defect.TORN_STORE: "torn-store"}


class Measured(msgspec.Struct, frozen=True):
    """What an engine notices of code in one mapping."""

    name: str  #: ``ENGINE VERSION/VARIANT/MAPPING``
    engine: str
    version: str
    variant: str
    mapping: Mapping
    classes: dict[Probe, Class]
    seen: dict[str, str] = {}  #: what was executed, by what was done: ``old``, ``new``, ``neither``, ``crash``
    reason: str | None = None  #: why nothing could be measured

    @classmethod
    def of(
        cls,
        engine: str,
        version: str,
        variant: str,
        mapping: Mapping,
        classes: dict[Probe, Class],
        seen: dict[str, str] | None = None,
        reason: str | None = None,
    ) -> Measured:
        """A row with its name."""
        name = f"{engine} {version}/{variant}/{mapping}"
        return cls(name, engine, version, variant, mapping, classes, seen or {}, reason)


_ROWS = msgspec.json.Decoder(Measured)  # made as this is imported, as in farm.guest.image

#: What is delivered with the farm.
_DELIVERED = Path(__file__).with_suffix(".jsonl")


@functools.cache
def delivered() -> tuple[Measured, ...]:
    """The rows of ``measured.jsonl``."""
    return tuple(_ROWS.decode_lines(_DELIVERED.read_bytes()))


_NOT_OF_A_NAME = re.compile(r"[^\w.+-]")


def _kept(engine: str, version: str) -> Path:
    return paths.cache() / "engines" / f"{engine}-{_NOT_OF_A_NAME.sub('_', version)}.jsonl"


@functools.cache
def known(engine: str, version: str) -> dict[tuple[str, Mapping], Measured]:
    """What is known of ``version`` of ``engine``, by variant and mapping.

    Raises :class:`~farm.errors.FarmError` if what is kept in the cache is something else.
    """
    path = _kept(engine, version)
    try:
        here = _ROWS.decode_lines(path.read_bytes())
    except FileNotFoundError:
        here = []
    except (OSError, *UNREADABLE) as error:
        raise FarmError(f"{path} cannot be used ({error}); delete it, and the engine is calibrated anew") from None
    rows = (row for row in (*delivered(), *here) if (row.engine, row.version) == (engine, version))
    return {(row.variant, row.mapping): row for row in rows}


def keep(rows: Sequence[Measured]) -> None:
    """Keep ``rows`` in the cache, but for those in which nothing could be measured, and those that are delivered.

    Raises :class:`~farm.errors.OutputError`.
    """
    from farm.guest.inputs import write

    as_delivered = {row.name: row.classes for row in delivered()}
    for engine, version in dict.fromkeys((row.engine, row.version) for row in rows if row.reason is None):
        new = [row for row in rows if row.reason is None and (row.engine, row.version) == (engine, version)]
        every = {row.name: row for row in (*known(engine, version).values(), *new)}
        others = [row for name, row in every.items() if as_delivered.get(name) != row.classes]
        path = _kept(engine, version)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, msgspec.json.Encoder().encode_lines(others))
        except OSError as error:
            raise OutputError(
                f"{path} cannot be written: {error.strerror}; set PATCHFARM_CACHE to another folder"
            ) from None
    known.cache_clear()


def is_known(engine: Engine, variant: Variant) -> bool:
    """Tell whether this version of the engine has been measured for ``variant``."""
    rows = known(engine.name, engine.version(variant))
    return any(variant_name == variant.name for variant_name, _ in rows)


def mapping_of(*, alias: bool) -> Mapping:
    """The mapping by which a mechanism patches; ``alias`` is as in its ``mechanism.toml``."""
    return "closed-alias" if alias else "toggled"


def blind_to(engine: Engine, variant: Variant, *, alias: bool) -> frozenset[Defect]:
    """Defects that can make no trace of a guest of ``variant`` differ on this engine."""
    try:
        version = engine.version(variant)
    except MissingToolError:  # the plan was made elsewhere, and nothing will run
        return _blind({})
    row = known(engine.name, version).get((variant.name, mapping_of(alias=alias)))
    return _blind(row.classes if row else {})


def blind_everywhere(engine: str) -> frozenset[Defect]:
    """Defects to which every version of ``engine`` is blind of which rows are delivered, whatever the guest."""
    mappings = {mapping_of(alias=alias) for alias in (False, True)}
    rows = [row for row in delivered() if row.engine == engine and row.mapping in mappings]
    return frozenset(PROBED).intersection(*(_blind(row.classes) for row in rows))


def _blind(classes: dict[Probe, Class]) -> frozenset[Defect]:
    return frozenset(defect for defect, probe in PROBED.items() if classes.get(probe) != "sensitive")


def differing(rows: Iterable[Measured]) -> list[str]:
    """A sentence for each class in ``rows`` that is another than the one that is delivered for the same version."""
    before = {row.name: row for row in delivered()}
    return [
        f"{row.name}: {probe} is {found}, and was {was} when the farm was made"
        for row in rows
        if row.name in before
        for probe, found in row.classes.items()
        if (was := before[row.name].classes.get(probe)) != found
    ]
