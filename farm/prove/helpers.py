"""What mechanisms share, asked about what no mechanism needs of it: ``images/mechanism/common``.

A mechanism stores words that are aligned, has room in the arena, and is led to targets in the middle of the text.  What
text.h, compare.h, surroundings.h, jump.h, arena.c and target.c promise is more than that: stores of any size to any
place, comparisons of each bit, memory up to the last byte, targets up to both edges.  They answer in a guest of QEMU
(``images/prove/helpers.c``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from farm import paths
from farm.engines.qemu_user import QEMU_USER
from farm.errors import FarmError
from farm.guest import build
from farm.guest.image import Image, Spec
from farm.guest.variant import Variant
from farm.prove.asking import Asked, ask
from farm.prove.encoders import NOWHERE
from farm.scenario import FUNCTIONS, Status

#: Files of ``common`` that are asked.
FILES = ("text.h", "compare.h", "surroundings.h", "reach.h", "jump.h", "arena.c", "target.c")

LINKED = "target.c"  #: of these, what the guest that is asked is linked with; it includes the others

_WRITE, _HOLDS, _IS_BESIDE, _ALLOCATE, _SLOT_HAS, _MAY_LEAD, _ADDRESS, _IS_WHOLE, _REACHES = range(9)
_ROOM = 64  # scratch bytes
_SCRATCH = bytes((0xA5 ^ i) & 0xFF for i in range(_ROOM))
_NEW = bytes(range(1, _ROOM + 1))
_SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 16, 24)
_ARENA, _ALIGNMENT = 4096, 16


class Question(NamedTuple):
    """A question."""

    what: int
    number: int = 0  #: of bytes; of a function
    at: int = 0  #: an offset in the scratch bytes, an address, or the number of a patchable function
    data: bytes = _NEW


class Expected(NamedTuple):
    """What is asked, in words, and the answer that is right."""

    text: str
    question: Question
    value: int
    scratch: bytes = _SCRATCH


def spec_of(variant: Variant, toolchain: str) -> Spec:
    """The guest that answers."""
    return Spec(variant, "stub", toolchain, source=paths.data("images") / "prove" / "helpers.c")


def ask_all(variant: Variant, toolchain: str) -> Asked:
    """Ask what mechanisms of ``variant`` share; whatever goes wrong is in the answer."""
    if hole := QEMU_USER.hole(variant):
        return Asked(variant.name, toolchain, unproved=hole.reason)
    try:
        image = build.image(spec_of(variant, toolchain))
        return Asked(variant.name, toolchain, tuple(complaints(variant, image)))
    except FarmError as error:
        return Asked(variant.name, toolchain, unproved=str(error).splitlines()[0])


def complaints(variant: Variant, image: Image) -> Iterator[str]:
    """A sentence for each answer that is wrong.  Raises as :func:`farm.prove.asking.ask`."""
    ((address, _),) = _ask(variant, image, [Question(_ADDRESS)])
    has_descriptors = address != image.functions["whatever_0"]
    edges = [] if has_descriptors else _edges(image)
    expected = [
        *_stores(),
        *_wholes(variant),
        *_reaches(variant),
        *_comparisons(),
        *_slot(variant, image),
        *_functions(),
        *edges,
    ]
    answers = _ask(variant, image, [each.question for each in expected])
    for each, (value, scratch) in zip(expected, answers, strict=True):
        if value != each.value:
            yield f"{each.text}: the answer is {value:#x} and not {each.value:#x}"
        elif scratch != each.scratch:
            at = next(i for i in range(_ROOM) if scratch[i] != each.scratch[i])
            yield f"{each.text}: byte {at} is {scratch[at]:#04x} and not {each.scratch[at]:#04x}"
    yield from _memory(variant, image)


def _ask(variant: Variant, image: Image, questions: Sequence[Question]) -> list[tuple[int, bytes]]:
    """Value and scratch bytes of each answer."""
    return [(value, left) for value, left in ask(variant, image, questions, f"IIQ{_ROOM}s", f"Q{_ROOM}s")]


def _stores() -> Iterator[Expected]:
    for size in _SIZES:
        for at in range(8, 17):
            left = _SCRATCH[:at] + _NEW[:size] + _SCRATCH[at + size :]
            text = f"a store of {size} bytes, {at} behind a multiple of {_ROOM}"
            yield Expected(text, Question(_WRITE, size, at), 1, left)


def _wholes(variant: Variant) -> Iterator[Expected]:
    """Which stores are one that no CPU tears: aligned, or inside a block in which none is torn."""
    within = variant.atomicity.within
    for size in (1, 2, 4, 8):
        for at in range(17):
            whole = at % size == 0 or bool(within and at // within == (at + size - 1) // within)
            text = f"a store of {size} bytes, {at} behind a multiple of {_ROOM}, is seen whole"
            yield Expected(text, Question(_IS_WHOLE, size, at), int(whole))


def _reaches(variant: Variant) -> Iterator[Expected]:
    """A stub reaches what its encoder says, which is asked by :mod:`.encoders`."""
    place = NOWHERE[variant.bits]
    for bit in range(1, variant.bits - 2):
        for away in (1 << bit, (1 << bit) - 4, -1 << bit, (-1 << bit) - 4):
            data = (away % (1 << 64)).to_bytes(8, variant.byte_order) + bytes(_ROOM - 8)
            yield Expected(f"what the stub at {place:#x} reaches {away:#x} on", Question(_REACHES, 0, place, data), 1)


def _comparisons() -> Iterator[Expected]:
    for what, name in ((_HOLDS, "farm_text_holds"), (_IS_BESIDE, "farm_text_is_beside")):
        for size in _SIZES[:8]:
            same = _SCRATCH[5 : 5 + size]
            whole = same + bytes(_ROOM - size)
            yield Expected(f"{name} of {size} bytes that are the same", Question(what, size, 5, whole), 1)
            for bit in range(8 * size):
                other = bytes(b ^ (1 << bit % 8 if i == bit // 8 else 0) for i, b in enumerate(whole))
                yield Expected(f"{name} of {size} bytes, bit {bit} of which differs", Question(what, size, 5, other), 0)


def _slot(variant: Variant, image: Image) -> Iterator[Expected]:
    """Which bytes belong to the data slot of a stub."""
    stubs, size = image.stubs, variant.bits // 8
    start = image.functions["whatever_0"] & ~image.function_bias
    if not stubs.slot:
        yield Expected("a stub that has no slot", Question(_SLOT_HAS, at=start), 0)
        return
    for byte in range(stubs.slot - size, stubs.slot + 2 * size + 1):
        has = stubs.slot <= byte < stubs.slot + size
        text = f"byte {byte} of a stub whose slot of {size} bytes is at {stubs.slot}"
        yield Expected(text, Question(_SLOT_HAS, at=start + byte), int(has))


def _functions() -> Iterator[Expected]:
    """Every patchable function may be led to every other."""
    count = len(FUNCTIONS)
    for n in range(count):
        for to in range(count):
            right = Status.OK if n != to else Status.BAD_TARGET
            yield Expected(f"whatever_{n} to whatever_{to}", Question(_MAY_LEAD, n, to), int(right))


def _edges(image: Image) -> Iterator[Expected]:
    """What function 0 may be led to at both edges of the text, and beyond them."""
    bias, symbols = image.function_bias, image.symbols
    unit = image.stubs.function_alignment
    for name in ("text", "far"):
        start, end = symbols[f"{name}_start"], symbols[f"{name}_end"]
        last = (end - 1) // unit * unit
        for where, address, right in (
            ("where the text begins", start, Status.OK),
            ("before it", start - unit, Status.BAD_TARGET),
            ("the last place in it", last, Status.OK),
            ("where it ends", end, Status.BAD_TARGET),
            *([("between two places", start + unit // 2, Status.MISALIGNED)] if unit > 1 else []),
        ):
            text = f"whatever_0 to {where} ({name}, {address:#x})"
            yield Expected(text, Question(_MAY_LEAD, 0, address + bias), int(right))


def _memory(variant: Variant, image: Image) -> Iterator[str]:
    """What the arena gives, one request after the other, until nothing is left."""
    start, end = image.symbols["text_start"], image.symbols["stub_end"]
    asked = [(0, 0), (1, 0), (16, start), (17, end - 1), (8, end), (8, start - 1), (_ARENA, 0), (31, start)]
    asked += [(256, 0)] * 15 + [(128, start), (33, 0), (32, 0), (1, 0)]
    answers = _ask(variant, image, [Question(_ALLOCATE, size, near) for size, near in asked])
    first: int | None = None
    taken = 0
    for (size, near), (value, _) in zip(asked, answers, strict=True):
        may = size and (not near or start <= near < end) and size <= _ARENA - taken
        where = f"{size} bytes of the arena near {near:#x}, {taken} of which are taken"
        if bool(value) != bool(may):
            yield f"{where}: {'given' if value else 'not given'}"
        elif value:
            first = value if first is None else first
            if value != first + taken or value % _ALIGNMENT:
                yield f"{where}: {value:#x} is given, and {first + taken:#x} is the next"
        if value:
            taken += -(-size // _ALIGNMENT) * _ALIGNMENT
