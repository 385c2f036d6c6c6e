"""The decoders of the ``detour`` mechanism, asked about every kind of instruction: moved, it does the same.

A guest has a handful of prologues, so a run shows a decoder a handful of instructions.  Here they answer in a guest of
QEMU (``images/prove/decoders.c``): with what stands for an instruction in the annex, or that it is refused.  A
disassembler says how long the instruction is and whether it says where it lies; what was written anew, and whatever
branches, is executed in both places (:mod:`.displaced`).  What must never happen is that it does something else there.
What need not is that an instruction is refused that does the same anywhere.

Asked are instructions of each kind, and each of these with one bit changed, at several distances from the annex.
"""

from __future__ import annotations

import contextlib
import functools
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from farm import paths
from farm.engines.qemu_user import QEMU_USER
from farm.engines.unicorn import box_of_python
from farm.errors import FarmError
from farm.guest import build, disassemble
from farm.guest.image import Image, Spec
from farm.guest.variant import Variant
from farm.processes import Process
from farm.prove.asking import Asked, ask
from farm.prove.instructions import instructions
from farm.prove.moved import Done, Moved, Work

#: Architecture and name of what executes a variant's instructions; where data has another byte order nothing does.
EXECUTED = {name: name for name in ("arm64", "arm", "thumb", "x86_64", "i386", "riscv64", "riscv32")}

_SECONDS = 600.0  # for all instructions of a variant, which take half a minute

_CODE = 32  # bytes of a question
_MOVED, _ANNEX = 32, 128  # where the annex has what was moved, and its size (annex.h)
_OVERWRITTEN = 4  # bytes, from where the instruction begins
_NEAR = 0x800  # bytes that every branch reaches from the annex, too
_AWAY = (0x5AC0, -0x5AC0)  # bytes from the code to the annex

#: By architecture: text of instructions that a decoder may refuse although they do the same anywhere, for they are not
#: worth their decoding, as its source says.
_NOT_WORTH = {
    "arm": r"(rfe|srs)|(mcrr?|mrr?c|stc|ldc|cdp)2",
    "riscv": r"(c\.)?unimp|cv\.",
    "x86": r"v[a-z]|k[a-z]+[bwdq]\b|xbegin|extrq|insertq|salc|ljmp|lcall|l[de]s\b|bound\b",
}
#: By architecture: text of instructions about which manuals, disassembler and emulator do not agree.
_UNSURE = {"arm": r"bl?xns|(?!ldr|adr|add|sub|tb|b|mov|pop|ldm|vldr).*\bpc\b", "x86": r"ud[01]\b"}
_PREFIXES = rb"[\x26\x2e\x36\x3e\x64-\x66\xf0\xf2\xf3]*"
_SHORT_ADDRESSES = re.compile(_PREFIXES + rb"\x67")
_LATE_PREFIX = re.compile(
    rb"([\x26\x2e\x36\x3e\x64-\x67\xf0\xf2\xf3])*[\x40-\x4f]+[\x26\x2e\x36\x3e\x40-\x4f\x64-\x67\xf0\xf2\xf3]"
)

#: By architecture: what may not go on behind itself.
_BRANCHES = {
    "arm64": r"(b|br|ret|blr|bl|eret|cbn?z|tbn?z|b\.|bra|blra|reta)\w*\b",
    "arm": r"(b|bx|bl|blx|bxj|cbn?z|tb[bh])\b|(b|bl|bx|blx)(eq|ne|hs|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)\b|.*\bpc\b",
    "riscv": r"(c\.)?(j|jr|jal|jalr|ret|beq|bne|blt|bge|bltu|bgeu|beqz|bnez|blez|bgez|bltz|bgtz|call|tail)\b",
    "x86": r"((notrack|bnd|rep\w*) )*(j|call|ret\b|loop)",
}
#: By architecture: what never goes on behind itself.
_ENDS = {
    "arm64": r"(b|br|ret)\b(?!\.)",
    "arm": r"(b|bx)(\.w)?\s|pop(\.w)?\s.*\bpc\b|ldr(\.w)? pc",
    "riscv": r"(c\.)?(j|jr|ret)\b",
    "x86": r"((notrack|bnd|rep\w*) )*(jmp|ret\b|ud2)",
}
_MENTIONS = {"arm": r"tb[bh]\b|.*\bpc\b", "x86": r".*\b[re]ip\b"}  # its own address


class Question(NamedTuple):
    """An instruction, with what may belong to it, that is to be moved."""

    away: int  #: bytes from it to the annex
    offset: int  #: bytes from what is aligned
    overwritten: int
    code: bytes


class Answer(NamedTuple):
    """What the decoder says."""

    origin: int
    annex: int
    size: int
    ends: int
    failed: int
    end: int
    written: bytes


def spec_of(variant: Variant, toolchain: str) -> Spec:
    """The guest that answers."""
    return Spec(variant, "detour", toolchain, source=paths.data("images") / "prove" / "decoders.c")


def cannot(variant: Variant) -> str:
    """Why the decoder of a variant cannot be asked; empty: it can."""
    if variant.name not in EXECUTED:
        return f"{variant.name}: nothing executes its instructions one by one here"
    return hole.reason if (hole := QEMU_USER.hole(variant)) else ""


def ask_all(variant: Variant, toolchain: str) -> Asked:
    """Ask the decoder of ``variant``; whatever goes wrong is in the answer."""
    if why := cannot(variant):
        return Asked(variant.name, toolchain, unproved=why)
    try:
        image = build.image(spec_of(variant, toolchain))
        return Asked(variant.name, toolchain, tuple(Decoders(variant, image).complaints()))
    except FarmError as error:
        return Asked(variant.name, toolchain, unproved=str(error).splitlines()[0])


class Decoders:
    """The decoder of a guest of :func:`spec_of`."""

    def __init__(self, variant: Variant, image: Image) -> None:
        self.variant, self.image = variant, image

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """An answer to each question.  Raises :class:`~farm.errors.FarmError` if the guest does not come to its end."""
        asked = [(q.away % (1 << 64), q.offset, q.overwritten, q.code) for q in questions]
        answers = ask(self.variant, self.image, asked, f"QII{_CODE}s", f"QQIIII{_ANNEX}s")
        return [Answer(*fields) for fields in answers]

    def questions(self) -> list[Question]:
        """Every question."""
        return _questions(self.variant)

    def complaints(self, known: Sequence[Answer] = (), every: int = 1) -> Iterator[str]:
        """A sentence for each answer that is wrong.  Raises as :meth:`ask`.

        Of ``known`` answers to all questions, those that are the same again are not looked at.  With ``every``, only
        each so many-th question is asked.
        """
        questions = self.questions()[::every]
        answers = self.ask(questions)
        pairs = list(zip(questions, answers, strict=True))
        if known:
            pairs = [pair for pair, old in zip(pairs, known, strict=True) if pair[1] != old]
        executed: list[tuple[str, str, Question, Answer]] = []
        for question, answer in pairs:
            text, is_placed, size = self._read(question, answer)
            where = f"`{text}` ({question.code[: max(size, 2)].hex(' ')})"
            if not text or text.startswith(".") or self._is_said(_UNSURE, text):  # it is none
                continue
            if not answer.size:
                if not is_placed and not self._is_not_worth(text, question.code):
                    yield f"{where} is refused, and does the same anywhere"
            elif answer.failed:
                if not is_placed or (
                    self._leads(text, answer) in range(_OVERWRITTEN, _NEAR) and not text.startswith("c.jal")
                ):
                    yield f"{where} is said to lead where it may not, and does not"
            elif size and self._leads(text, answer) in range(_OVERWRITTEN):
                yield f"{where} leads into what is overwritten, and is moved"
            elif size and answer.size != size:
                yield f"{where} is taken to have {answer.size} bytes, and has {size}"
            elif is_placed and self._reads_the_same(text, size, answer):
                continue
            elif is_placed or not self._is_copied(question, answer) or self._branches(text):
                executed.append((text, where, question, answer))
            elif answer.ends and not self._is_said(_ENDS, text):
                yield f"{where} is said to be the last that is executed, and is not"
        yield from self._differing(executed)

    def _read(self, question: Question, answer: Answer) -> tuple[str, bool, int]:
        """The text of an instruction, whether it says where it lies, and its size, 0 if the mechanism decides that.

        No text: nothing can be decoded there.
        """
        texts = [
            next(disassemble.texts(self.variant, question.code[:16], at), (0, 0, ""))
            for at in (answer.origin, answer.annex)
        ]
        (_, size, text), (_, _, other) = texts
        architecture = self.variant.architecture
        is_placed = text != other or self._is_said(_MENTIONS, text)
        if re.match(r"it[te]{0,3}\b", text) and architecture == "arm":
            return text, True, 0
        return text, is_placed, size

    def _is_not_worth(self, text: str, code: bytes) -> bool:
        architecture = self.variant.architecture
        if architecture == "x86" and (_LATE_PREFIX if self.variant.bits == 64 else _SHORT_ADDRESSES).match(code):
            return True
        return self._is_said(_NOT_WORTH, text)

    def _is_said(self, patterns: Mapping[str, str], text: str) -> bool:
        """The pattern of this architecture, if there is one, fits the text from its beginning."""
        pattern = patterns.get(self.variant.architecture)
        return pattern is not None and re.match(pattern, text) is not None

    def _leads(self, text: str, answer: Answer) -> int | None:
        """Where a branch leads, from where it begins; None if it is none, or to no address."""
        address = re.search(r"#?(0x[0-9a-f]+)$", text) if self._branches(text) else None
        if not address:
            return None
        to = int(address[1], 16) & -self.variant.alignment
        if self.variant.architecture == "riscv":  # the disassembler has the displacement
            return to if "-" not in text else None
        return to - answer.origin

    def _branches(self, text: str) -> bool:
        return self._is_said(_BRANCHES, text)

    def _reads_the_same(self, text: str, size: int, answer: Answer) -> bool:
        """What was written is the same instruction, about the same place, and a jump behind the original."""
        if self.variant.architecture != "x86" or self._branches(text):
            return False
        start = answer.annex + _MOVED
        read = list(disassemble.texts(self.variant, answer.written[_MOVED : answer.end], start))
        if len(read) != 2 or answer.ends:
            return False
        (_, new_size, new), (_, _, jump) = read
        same = _absolute(text, answer.origin + size) == _absolute(new, start + new_size)
        return same and jump == f"jmp {answer.origin + size:#x}"

    @staticmethod
    def _is_copied(question: Question, answer: Answer) -> bool:
        return answer.written[_MOVED : _MOVED + answer.size] == question.code[: answer.size]

    def _differing(self, executed: Sequence[tuple[str, str, Question, Answer]]) -> Iterator[str]:
        """What does something else where it was moved to."""
        if not executed:
            return
        moved = tuple(Moved(a.origin, q.code, a.size, a.annex, a.written, _MOVED) for _, _, q, a in executed)
        for (text, where, _, answer), done in zip(executed, self._done(moved), strict=True):
            if done.differs:
                yield f"{where}, moved from {answer.origin:#x} to {answer.annex + _MOVED:#x}: {done.differs}"
            elif done.executed and not answer.ends and self._is_said(_ENDS, text):
                yield f"{where} is not said to be the last that is executed, and is"

    def _done(self, moved: tuple[Moved, ...]) -> list[Done]:
        work = msgspec.msgpack.encode(Work(EXECUTED[self.variant.name], moved))
        with contextlib.ExitStack() as files:
            asked, answered, told = (files.enter_context(tempfile.TemporaryFile()) for _ in range(3))
            asked.write(work)
            asked.seek(0)
            command = [sys.executable, "-m", "farm.prove.displaced"]
            with Process(command, box=box_of_python(), stdin=asked, stdout=answered, stderr=told) as process:
                ended = process.wait(_SECONDS)
                status = process.end()
            answered.seek(0)
            told.seek(0)
            if not ended or status:
                how = f"ended with status {status}" if ended else f"was still at it after {_SECONDS:g} s"
                last = told.read().decode(errors="replace").strip().splitlines()[-1:]
                raise FarmError(": ".join([f"{self.variant.name}: who executes instructions {how}", *last]))
            return msgspec.msgpack.decode(answered.read(), type=list[Done])


@functools.lru_cache(maxsize=2)
def _questions(variant: Variant) -> list[Question]:
    alignment, made = variant.alignment, []
    for number, code in enumerate(instructions(variant)):
        offset = alignment * (number % 2) if alignment < 4 else 0
        made.append(Question(_AWAY[number // 2 % 2], offset, _OVERWRITTEN, (code + bytes(_CODE))[:_CODE]))
    return made


def _absolute(text: str, behind: int) -> str:
    """The text with an address for what is said from where the instruction ends."""
    return re.sub(
        r"[re]ip ([+-]) (0x[0-9a-f]+|\d+)", lambda m: f"{(behind + int(m[1] + m[2], 0)) % (1 << 64):#x}", text
    )
