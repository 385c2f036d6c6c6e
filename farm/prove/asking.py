"""Questions to patch code itself, which answers them one by one in a guest of QEMU (``images/prove``)."""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from farm.engines.linux_guest import box_of
from farm.engines.qemu_user import QEMU_USER
from farm.errors import FarmError
from farm.guest.image import Image
from farm.guest.variant import Variant
from farm.processes import Process
from farm.scenario import Call, Defect, Scenario, Shape, wire

_SECONDS = 60.0  # for all questions to a guest


@dataclass(frozen=True)
class Asked:
    """What the patch code of a variant, as one toolchain builds it, said wrong."""

    variant: str
    toolchain: str
    wrong: tuple[str, ...] = ()
    unproved: str = ""  #: why it was not asked


def ask(
    variant: Variant, image: Image, questions: Sequence[Iterable[Any]], form: str, answer: str
) -> list[tuple[Any, ...]]:
    """The fields of an answer to each of the ``questions``; both have a form, as :mod:`struct` has it without order.

    Raises :class:`~farm.errors.FarmError` if the guest does not come to its end.
    """
    order = ">" if variant.big_endian else "<"
    call = Scenario("BS-99", "ask", "", (Call(0, 0, Shape.TAIL),), frozenset({Defect.LOST_PATCH}))
    program = wire.encode(call, big_endian=variant.big_endian)
    packed, unpacked = struct.Struct(order + form), struct.Struct(order + answer)
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as answered:
        asked.write(struct.pack(f"{order}I", len(program)) + program)
        asked.writelines(packed.pack(*question) for question in questions)
        asked.seek(0)
        command = QEMU_USER.command(image, variant)
        box = box_of(command, image.path)
        with Process(command, box=box, stdin=asked, stdout=answered, stderr=subprocess.DEVNULL) as process:
            ended = process.wait(_SECONDS)
            status = process.end()
        answered.seek(0)
        said = answered.read()
    if not ended or status or len(said) != unpacked.size * len(questions):
        how = f"ended with status {status}" if ended else f"was still at it after {_SECONDS:g} s"
        raise FarmError(f"{variant.name}: the guest that is asked {how}, {len(said):,} bytes of answers behind")
    return list(unpacked.iter_unpack(said))
