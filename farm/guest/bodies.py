"""Default bodies: patchable functions whose own entry a mechanism overwrites, each with another prologue.

An architecture that has them has them in its ``entry.S``, whose head says which prologue is awkward to move, and why.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from farm.errors import ImageError
from farm.guest import build, disassemble
from farm.guest.elf import read
from farm.guest.image import Image, Spec
from farm.guest.variant import ENTRY_FILE, Variant
from farm.scenario import FUNCTIONS

#: What fills the rest of a head and of a slot, as capstone writes it.
_FILL = frozenset({"nop", "c.nop", "int3", "udf #0", "c.unimp", "unimp", "andeq r0, r0, r0", "movs r0, r0"})


class Body(NamedTuple):
    """A default body."""

    function: str  #: ``whatever_0``
    code: list[str]  #: its instructions and, behind them, its literals


def exist(variant: Variant) -> bool:
    """The architecture of ``variant`` has default bodies."""
    return variant.source(ENTRY_FILE).is_file() and variant.looks_at_registers


def of(variant: Variant, toolchain: str) -> list[Body]:
    """The default bodies of ``variant``, assembled and linked by ``toolchain``.

    Raises :class:`~farm.errors.BuildError`, :class:`~farm.errors.ImageError` or
    :class:`~farm.errors.MissingToolError`.
    """
    spec = Spec(variant, "stub", toolchain)
    with tempfile.TemporaryDirectory() as work:
        image = _image(build.bodies(spec, Path(work)), spec)
        starts = [image.functions[f"whatever_{number}"] for number in range(len(FUNCTIONS))]
        size = starts[1] - starts[0]
        if starts != list(range(starts[0], starts[0] + size * len(starts), size)):
            raise ImageError(f"{variant.source(ENTRY_FILE)}: its functions are not of one size")
        return [Body(f"whatever_{n}", _code(variant, image, start, size)) for n, start in enumerate(starts)]


def _image(path: Path, spec: Spec) -> Image:
    """An image that knows names and bytes, and is no guest."""
    variant = spec.variant
    segments, symbols, functions = read(path, variant)
    return Image(
        key="",
        variant=variant.name,
        mechanism=spec.mechanism,
        toolchain=spec.toolchain,
        control=None,
        machine=variant.machine,
        big_endian=variant.big_endian,
        word_size=variant.word_size,
        path=str(path),
        sha256="",
        text_digest=0,
        segments=segments,
        symbols=symbols,
        functions=functions,
        function_bias=variant.function_bias,
        mechanism_identity=spec.made_by.identity,
        region="stub",
    )


def _code(variant: Variant, image: Image, start: int, size: int) -> list[str]:
    """The lines of the ``size`` bytes at ``start``, head and tail, each without what fills it."""
    lines: list[str] = []
    for half in (start, start + size // 2):
        texts = [p.text for p in disassemble.parts(variant, image.bytes_at(half, size // 2), half, image)]
        while texts and texts[-1] in _FILL:
            texts.pop()
        lines += texts
    return lines
