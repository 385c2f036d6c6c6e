"""Images: what a built guest is, and what the engines need to know of one.

An image is one guest ELF: variant x mechanism x toolchain, plus a negative control if one is planted, or the baselines
that ``farm cost`` measures.  Its description is kept beside it in ``image.json``, so that running a guest never parses
an ELF.  :mod:`farm.guest.build` makes images.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from farm.errors import UNREADABLE, ImageError
from farm.guest import link, mechanisms
from farm.guest.call_sites import CallSite
from farm.guest.elf import Segment, bytes_at, inspect
from farm.guest.layout import REGIONS, Stubs
from farm.guest.mechanisms import Mechanism
from farm.guest.variant import Variant
from farm.scenario import wire

#: The files of an image in its folder.
DESCRIPTION, ELF = "image.json", "guest.elf"


class Image(msgspec.Struct, frozen=True):
    """A built guest."""

    key: str
    variant: str
    mechanism: str
    mechanism_identity: int  #: as the header of a trace has it
    toolchain: str
    control: str | None
    machine: int
    big_endian: bool
    word_size: int
    path: str
    sha256: str
    text_digest: int  #: of text and state, as the guest itself computes it after a reset
    segments: tuple[Segment, ...]
    symbols: dict[str, int]
    functions: dict[str, int]  #: every function of the guest, for naming addresses
    function_bias: int  #: as in :class:`~farm.guest.variant.Variant`
    region: Literal["pointer", "stub", "literal"]  #: whose bytes a patch changes
    alias: str | None = None  #: the region (:data:`REGIONS`) that is stored to through a second mapping
    sites: tuple[CallSite, ...] = ()  #: that a patch redirects, in the order of their words in a trace

    def read(self) -> bytes:
        return Path(self.path).read_bytes()

    def bytes_at(self, address: int, size: int) -> bytes:
        """``size`` bytes of the pristine image at ``address``."""
        return bytes_at(self.read(), self.segments, address, size)

    @property
    def patched(self) -> tuple[int, int]:
        """Start and size in bytes of what patching changes: stubs, literals, or pointers."""
        return link.patched(self.symbols, self.region)

    @property
    def mapped_twice(self) -> range:
        """Addresses of :attr:`alias`; of the second mapping, they begin at ``alias_start``.  Empty if there is none."""
        start, end = REGIONS[self.alias] if self.alias else ("alias_start", "alias_start")
        return range(self.symbols[start], self.symbols[end])

    @property
    def stubs(self) -> Stubs:
        """Layout of a stub, its word and its slot, as the guest was compiled."""
        size = 4 * len(Stubs._fields)
        content = self.bytes_at(self.symbols["farm_layout"], size)
        return Stubs(*struct.unpack(f"{'>' if self.big_endian else '<'}{size // 4}i", content))

    def decoder(self) -> wire.Decoder:
        """Decoder of the guest's traces."""
        return wire.Decoder(
            machine=self.machine,
            big_endian=self.big_endian,
            word_size=self.word_size,
            mechanism=self.mechanism_identity,
        )

    def name_of(self, address: int) -> str:
        """``fast_0+0x4`` for an address of the guest, or for a pointer to a function as C has it."""
        address &= ~self.function_bias
        best = max((a for a in self.functions.values() if a <= address), default=None)
        if best is None or address - best > 0x10000 or not self._together(best, address):
            return f"{address:#x}"
        name = next(name for name, a in self.functions.items() if a == best)
        return f"{name}+{address - best:#x}" if address > best else name

    def _together(self, a: int, b: int) -> bool:
        return any(s.address <= a and b < s.address + s.size for s in self.segments)


# Made as this is imported: where two threads are the first to decode a type, msgspec (0.22) may crash.
_DECODER = msgspec.json.Decoder(Image)


@dataclass(frozen=True)
class Spec:
    """Specification of an image to build.  Picklable, so that a worker elsewhere can build the same."""

    variant: Variant
    mechanism: str
    toolchain: str = "zig"
    control: str | None = None
    source: Path | None = None  #: C of the user's own, with targets that take the place of the guest's (patchfarm.h)
    baselines: bool = False  #: with the call sites that are only measured (images/cost)
    foreign: Mechanism | None = None  #: the mechanism, if it is none of the farm's own

    @property
    def made_by(self) -> Mechanism:
        """The mechanism that :attr:`mechanism` names."""
        return self.foreign or mechanisms.load()[self.mechanism]

    @classmethod
    def of(cls, variant: Variant, mechanism: Mechanism, toolchain: str, control: str | None = None) -> Spec:
        """The specification of a guest of ``mechanism``, whoever's it is."""
        return cls(variant, mechanism.name, toolchain, control, foreign=mechanism if mechanism.foreign else None)

    def __str__(self) -> str:
        planted = f" with {self.control}" if self.control else " with baselines" if self.baselines else ""
        return f"{self.variant.name}/{self.mechanism}/{self.toolchain}{planted}"


def described(path: Path) -> Image:
    """The image that the ``image.json`` in ``path`` describes.  Raises :class:`~farm.errors.ImageError`."""
    try:
        return msgspec.structs.replace(_DECODER.decode(path.read_bytes()), path=str(path.with_name(ELF)))
    except UNREADABLE as error:
        raise ImageError(f"image {path} is broken ({error})") from None


def describe(path: Path, spec: Spec, identity: str, sites: tuple[CallSite, ...] = ()) -> Image:
    """The :class:`Image` of a linked guest."""
    segments, symbols, functions = inspect(path, spec.variant)
    content = path.read_bytes()
    return Image(
        key=identity,
        variant=spec.variant.name,
        mechanism=spec.mechanism,
        mechanism_identity=spec.made_by.identity,
        toolchain=spec.toolchain,
        control=spec.control,
        machine=spec.variant.machine,
        big_endian=spec.variant.big_endian,
        word_size=spec.variant.word_size,
        path=str(path),
        sha256=hashlib.sha256(content).hexdigest(),
        text_digest=link.text_digest(content, segments, symbols, big_endian=spec.variant.big_endian),
        segments=segments,
        symbols=symbols,
        functions=functions,
        sites=sites,
        function_bias=spec.variant.function_bias,
        region=spec.made_by.patches,
        alias=spec.made_by.region if spec.made_by.alias else None,
    )
