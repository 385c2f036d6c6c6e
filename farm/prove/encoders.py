"""An architecture's own encoders, asked about every bit and both edges of each displacement (RP-03).

They answer in a guest of QEMU (``images/prove/encoders.c``): with the word that an encoder makes, or that it does not
reach.  Where the word leads is read by the disassembler.  What is in reach follows from the displacement's width, of
which ``arch.toml`` has one for each form of call site.  What must never happen is a displacement that is cut off in
silence, and what need not is a target in reach that is refused.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from farm import paths
from farm.engines.qemu_user import QEMU_USER
from farm.errors import FarmError
from farm.guest import build, call_sites, disassemble, mechanisms
from farm.guest.image import Image, Spec
from farm.guest.variant import CallSiteForm, Opcode, Variant
from farm.prove.asking import Asked, ask

#: In a question, in place of an address: that of the guest's scratch words.
SCRATCH = (1 << 64) - 1

#: Where nothing is: no encoder looks there.
NOWHERE = {32: 0x3579B540, 64: 0x2_468A_CD40}

#: The jump of a stub is as the first form of call site, but: alpha has none, and sh's is no instruction but a literal.
_ANY = Opcode(mask=0, value=0)
_ALPHA_BR = CallSiteForm(instruction="br", displacement="20:0", scale=4, base=4, relocations=(), opcode=_ANY)
_SH_LITERAL = CallSiteForm(instruction="literal", displacement="31:0", region=1 << 32, relocations=(), opcode=_ANY)
_JUMPS = {"alpha": _ALPHA_BR, "sh": _SH_LITERAL}


class Question(NamedTuple):
    """A question; ``at`` and ``to`` are as C has them, ``around`` is stored around the middle of the scratch words."""

    at: int
    to: int
    site: int = 0  #: 1: of a call site; 2: a system call; 3: where a jump enters; else of a stub
    word: int = 0
    around: bytes = bytes(16)


class Answer(NamedTuple):
    """What the encoders say."""

    scratch: int
    target: int  #: of a stub: where the guest itself reads that the word leads
    reaches: int
    word: int
    slot_jump: int
    zero: int


def spec_of(variant: Variant, toolchain: str) -> Spec:
    """The guest that answers: with the sources of a mechanism that has all encoders that there are."""
    mechanism = "stub" if mechanisms.load()["relocated"].missing(variant) else "relocated"
    return Spec(variant, mechanism, toolchain, source=paths.data("images") / "prove" / "encoders.c")


def ask_all(variant: Variant, toolchain: str) -> Asked:
    """Ask every encoder of ``variant``; whatever goes wrong is in the answer."""
    if hole := QEMU_USER.hole(variant):
        return Asked(variant.name, toolchain, unproved=hole.reason)
    try:
        image = build.image(spec_of(variant, toolchain))
        return Asked(variant.name, toolchain, tuple(Encoders(variant, image).complaints()))
    except FarmError as error:
        return Asked(variant.name, toolchain, unproved=str(error).splitlines()[0])


def forms(variant: Variant) -> list[CallSiteForm]:
    """The forms of call site that are encoded."""
    return [form for form in variant.call_site if form.store != "never"]


class Encoders:
    """The encoders of a guest of :func:`spec_of`."""

    def __init__(self, variant: Variant, image: Image) -> None:
        self.variant, self.image = variant, image

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """An answer to each question.  Raises :class:`~farm.errors.FarmError` if the guest does not come to its end."""
        answers = ask(self.variant, self.image, questions, "QQII16s", "QQIIII")
        return [Answer(*fields) for fields in answers]

    def scratch(self) -> int:
        """Where the guest's scratch words are."""
        (answer,) = self.ask([Question(SCRATCH, SCRATCH)])
        return answer.scratch

    def complaints(self) -> Iterator[str]:
        """A sentence for each answer that is wrong.  Raises as :meth:`ask`."""
        for form in forms(self.variant):
            yield from self.of_call_sites(form)
        yield from self.of_stubs()
        if self.variant.name in ("ppc64", "ppc64le"):
            yield from self.of_local_entries()

    # Call sites.

    def of_call_sites(self, form: CallSiteForm) -> Iterator[str]:
        """What is wrong with the words that are made for one form of call site."""
        variant, opcode, around = self.variant, form.opcode, bytearray(16)
        beside = opcode.at < 0  # where an encoder may look
        if beside:
            around[8 + opcode.at : 8 + opcode.at + opcode.size] = opcode.value.to_bytes(opcode.size, variant.byte_order)
        own = {site.word for site in self.image.sites if site.instruction == form.instruction and not beside}
        words = sorted({word & ~field(form) for word in own | {0 if beside else opcode.value}})
        asked = [
            (place, to, reaches, word | old)
            for place in around_edges(form, self.scratch() if beside else NOWHERE[variant.bits], variant)
            for to, reaches in goals(variant, form, place)
            for word in words
            for old in (0, field(form))
        ]
        questions = [
            Question(SCRATCH if beside else place, self._pointer(to), site=True, word=word, around=bytes(around))
            for place, to, _, word in asked
        ]
        for (place, to, reaches, word), answer in zip(asked, self.ask(questions), strict=True):
            where = f"{form.instruction} at {place:#x} to {to:#x}"
            if bool(answer.reaches) != reaches:
                yield f"{where}: said to be {'in' if answer.reaches else 'out of'} reach, and is not"
            elif reaches:
                if (answer.word ^ word) & ~field(form):
                    yield f"{where}: {word:#010x} becomes {answer.word:#010x}: more than its displacement changes"
                code = bytes(around[8 + min(opcode.at, 0) : 8]) + answer.word.to_bytes(4, variant.byte_order)
                led = destination(variant, code, place + min(opcode.at, 0), place)
                if led != to:
                    yield f"{where}: {answer.word:#010x} leads {_to(led)}"

    def _pointer(self, address: int) -> int:
        """What C has for a function that begins at ``address``."""
        return address ^ self.variant.function_bias

    # Stubs.

    def of_stubs(self) -> Iterator[str]:
        """What is wrong with the words that are made for stubs."""
        special = {"alpha": self._of_alpha, "s390": self._of_s390}
        yield from special.get(self.variant.architecture, self._of_jumps)()
        if self.image.stubs.slot:
            yield from self._to_slots()

    def form(self) -> CallSiteForm:
        """The form of the jump in a stub."""
        return _JUMPS.get(self.variant.architecture) or self.variant.call_site[0]

    def _of_jumps(self) -> Iterator[str]:
        variant, form, offset = self.variant, self.form(), self.image.stubs.word
        asked = [
            (place - offset, to, reaches)
            for place in around_edges(form, NOWHERE[variant.bits] + offset, variant)
            for to, reaches in goals(variant, form, place)
        ]
        yield from self._wrong(asked, self.ask([Question(at, self._pointer(to)) for at, to, _ in asked]))

    def _of_alpha(self) -> Iterator[str]:
        """What lies at the target decides too, so the target stays and the stub moves."""
        to = self.scratch()
        asked = [(to - (goal - to), to, reaches) for goal, reaches in goals(self.variant, _ALPHA_BR, to)]
        yield from self._wrong(asked, self.ask([Question(at, SCRATCH) for at, _, _ in asked]))
        gp = struct.pack("<8xI4x", 0x27BB0001)  # ldah $29, 1($27)
        (needs_pv,) = self.ask([Question(to - 64, SCRATCH, around=gp)])
        if needs_pv.reaches:
            yield "what begins by reading the procedure value is said to be in reach of a branch, which does not set it"

    def _of_s390(self) -> Iterator[str]:
        """The displacement is the linker's, and read in the code."""
        at, asked = self.scratch(), []
        for displacement in sorted({0, -1 << 31, *(sign << i for i in range(31) for sign in (1, -1)), (1 << 31) - 1}):
            around = struct.pack(">8x2xi2x", displacement)
            linked = at + 2 * displacement
            others = (linked, linked + 1, linked - 2, linked + (1 << 32))
            asked += [(around, displacement, to, to == linked) for to in others]
        questions = [Question(SCRATCH, to % (1 << 64), around=around) for around, _, to, _ in asked]
        for (_, displacement, to, reaches), answer in zip(asked, self.ask(questions), strict=True):
            where = f"{to:#x} from {at:#x}, linked by {displacement:#x} halfwords"
            if bool(answer.reaches) != reaches:
                yield f"{where}: said to be {'in' if answer.reaches else 'out of'} reach, and is not"
            elif reaches and answer.target != to % (1 << 64):
                yield f"{where}: the guest itself reads that it leads to {answer.target:#x}"
            elif reaches and not self._stub(answer.word)[0].startswith(b"\xc0\xf4"):
                yield f"{where}: the word does not make a `brcl 15` of it"

    def of_local_entries(self) -> Iterator[str]:
        """A jump enters behind what makes a TOC pointer of r12 (ELF V2 ABI, 2.3.2.1), and only behind that."""
        at = self.scratch()
        sets, adds, other = (0x3C4C1234, 0x3C401234), 0x38425678, 0x60000000  # addis r2,r12; lis r2; addi r2,r2; nop
        asked = [((first, adds), 8) for first in sets] + [((first, other), 0) for first in sets]
        asked += [((other, adds), 0), ((other, other), 0)]
        order = ">" if self.variant.big_endian else "<"
        questions = [Question(SCRATCH, SCRATCH, 3, 0, struct.pack(f"{order}8x2I", *words)) for words, _ in asked]
        for (words, behind), answer in zip(asked, self.ask(questions), strict=True):
            if answer.target != at + behind:
                code = " ".join(f"{word:08x}" for word in words)
                yield f"what begins with {code} is entered {answer.target - at} bytes behind, and not {behind}"

    def _wrong(self, asked: Sequence[tuple[int, int, bool]], answers: Sequence[Answer]) -> Iterator[str]:
        """``asked`` is where the stub is, where it is to jump to, and whether it reaches that."""
        for (at, to, reaches), answer in zip(asked, answers, strict=True):
            where = f"the stub's jump from {at:#x} to {to:#x}"
            if bool(answer.reaches) != reaches:
                yield f"{where}: said to be {'in' if answer.reaches else 'out of'} reach, and is not"
            elif reaches:
                code, offset = self._stub(answer.word)
                is_address = self.variant.architecture == "sh"
                led = answer.word if is_address else destination(self.variant, code, at, at + offset)
                if led != to:
                    yield f"{where}: {answer.word:#x} leads {_to(led)}"
                elif answer.target != to:
                    yield f"{where}: the guest itself reads that {answer.word:#x} leads to {answer.target:#x}"

    def _stub(self, word: int) -> tuple[bytes, int]:
        """The bytes of a stub as linked, but with ``word``, and where in them it is."""
        stubs, start = self.image.stubs, self.image.functions["whatever_0"] & -self.variant.alignment
        code = bytearray(self.image.bytes_at(start, stubs.size))
        room = 1 << 8 * stubs.word_size
        code[stubs.word : stubs.word + stubs.word_size] = (word % room).to_bytes(
            stubs.word_size, self.variant.byte_order
        )
        return bytes(code), stubs.word

    def _to_slots(self) -> Iterator[str]:
        """The way to the slot is in the stub itself, wherever it lies."""
        variant, stubs = self.variant, self.image.stubs
        reads_code = variant.architecture == "s390"
        places = [NOWHERE[variant.bits] + offset for offset in (0, 0x40, 0x1000, 0x123440)]
        answers = self.ask([Question(SCRATCH if reads_code else at, SCRATCH) for at in places])
        for at, answer in zip(places, answers, strict=True):
            code, offset = self._stub(answer.slot_jump)
            led = destination(variant, code, at, at + offset)
            if led is not None and not reads_code and not at + offset < led < at + stubs.slot:
                yield f"the way to the slot of the stub at {at:#x} leads {_to(led)}, which is not before the slot in it"
            if answer.slot_jump != answers[0].slot_jump:
                yield f"the way to the slot of the stub at {at:#x} is {answer.slot_jump:#x}, and elsewhere another"


def _to(led: int | None) -> str:
    return "nowhere" if led is None else f"to {led:#x}"


def destination(variant: Variant, code: bytes, address: int, place: int) -> int | None:
    """Where the instruction of ``code`` that covers ``place`` leads; None if it leads nowhere."""
    arch = variant.disassembler[0]
    ahead = 4 if arch == "mips" else 0  # capstone takes the region that has the jump, the manual that of its delay slot
    decoded = disassemble.decoded(variant, code, address + ahead)
    instruction = next((i for i in decoded if i.address + len(i.data) > place + ahead), None)
    pattern = r"\$[0-9a-f]+" if arch == "m68k" else "-?0x[0-9a-f]+"
    addresses = re.findall(pattern, instruction.text) if instruction else []
    if not instruction or not addresses:
        return None
    led = int(addresses[-1].replace("$", "0x"), 16)
    if not instruction.text.startswith("j"):
        led -= ahead
    if arch == "sparc":  # capstone has 32 bits of it
        led = place + (led - place + (1 << 31)) % (1 << 32) - (1 << 31)
    return led % (1 << variant.bits)


def field(form: CallSiteForm) -> int:
    """The bits of the word that are displacement."""
    ends = (part.lstrip("=").partition(":") for part in form.displacement.split())
    return sum((2 << int(high)) - (1 << int(low or high)) for high, _, low in ends)


def goals(variant: Variant, form: CallSiteForm, place: int) -> list[tuple[int, bool]]:
    """Where a word at ``place`` may be asked to lead, and whether it reaches that.

    Every bit of the displacement alone and all but it, both edges and a step beyond each, and between two instructions.
    """
    width, scale, space = call_sites.width(form), form.scale, 1 << variant.bits
    if form.region:
        origin = first = place + 4 & -form.region
        size = min(form.region, space)
        steps = [1 << i for i in range(width) if scale << i < size]
        steps += [size // scale - 1 - step for step in steps]
    else:
        origin, size = place + form.base, scale << width
        first = origin - size // 2
        steps = [1 << i for i in range(width - 1)]
        steps += [-1 - step for step in steps]
    asked = {origin, first, first + size - scale, *(origin + scale * step for step in steps)}
    beyond = {first - scale, first + size} if size < space else set()
    between = {to + odd for to in (origin, first, first + size - scale) for odd in range(1, scale)}
    wanted = {to % space: to in asked for to in asked | beyond | between}
    return sorted(wanted.items())


def around_edges(form: CallSiteForm, place: int, variant: Variant) -> Iterator[int]:
    """``place``, and where what is behind a jump decides about its region (its delay slot)."""
    yield place
    if form.region and form.region < 1 << variant.bits:
        edge = 3 * form.region
        yield from (edge - 8, edge - 4, edge, edge + form.region - 8, edge + form.region - 4)
