"""Instructions of each kind that a prologue may have, for whoever asks a decoder (:mod:`.decoders`)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from farm.guest.variant import Variant

#: One of each kind of A64 (Arm ARM DDI 0487, C4.1): branches, what lies beside the code, what does the same anywhere.
_A64 = """
14000002 17fffff0 94000010 54000040 5400004d 34000043 b4000043 35000043 b5000044 36080043 b7f80043 10000083 90000083
30000083 18000083 58000083 98000083 d8000080 1c000083 5c000083 9c000081 5800009f 1800009f d61f0200 d63f0040 d65f03c0
910003fd a9bf7bfd f9400041 8b020020 d503201f d503245f d503233f d2800020 7100041f 1a821020 12000000
"""

#: One of each kind of A32 (Arm ARM DDI 0406C, A5).
_A32 = """
ea000002 0a000002 eb000002 1b000002 e59f1008 e51f1008 e59ff008 059f1008 e28f1008 e24f1008 028f1008 e1a0f00e e12fff1e
e12fff33 e92d4010 e8bd8010 e1a01002 e0811002 e0811312 e3a01001 e3001234 e3401234 e0010291 e0832192 e1921f9f e1821f93
e1d210b4 e1c210b4 e1c200d0 e7921003 e7821003 e6ef1071 e7c1001f e7e00251 e16f1f12 e10f1000 ed921b00 ee071fba ee1d1f70
f57ff05f f2200150 f421070f e320f000
"""

#: One of each kind of Thumb with two halfwords (A6.3), the first of them first.
_T32 = """
f000b802 f000f802 f000e802 f0008002 f3408002 f8df1008 f85f1008 f8dff008 f20f0108 f2af0108 e92d4010 e8bd8010 e8d1f002
f8d21004 f8521b04 eb0f0102 ebaf0102 f852f804 ea4f0102 eb010102 f0410101 f04f0101 f06f0101 f2410134 f891f000 e8521f01
e9df0102 f89f1008 f83f1008 f99f1008 ed9f1b02
e9d20100 ed921b00 fb01f202 fa1ff182 f3bf8f5f f3af8000
"""
_T16_LOW = (0x00, 0x0F, 0x47, 0x7F, 0x80, 0xB8, 0xFF)  # of a halfword, with each high byte
_IT_FILLINGS = ((0x2001, 0x3101), (0x4801, 0xA101), (0x1C49, 0xF8DF, 0x1004), (0xE7FE, 0x4478))

#: One of each kind of RISC-V with 32 bits (Unprivileged ISA, Instruction Set Listings).
_RV = """
00001297 00001017 fffff517 008000ef 0080006f ff9ff06f 008002ef 00008067 000300e7 00030067 00628463 fe629ce3 0062c463
00627463 0002b303 0062b023 00a28293 000122b7 0012829b 0ff0000f 02628333 0000000b 0000005b 0000001f 00030313
"""
_RVC_LOW = (0x00, 0x01, 0x02, 0x05, 0x41, 0x7D, 0x82, 0xFE, 0x99, 0x12)

_PREFIXES = ("", "66", "67", "f0", "f2", "f3", "2e", "64", "65", "36")
_REX = ("48", "4866", "6648", "41", "4f", "40", "f348")
#: ModRM bytes with all that may follow: beside the code (or at an address), SIB, displacements, registers.
_OPERANDS = ("0544332211", "03", "04254433 2211", "044e", "4433 11", "4411", "8433 44332211", "8144332211", "c1", "f8")
_TAIL = bytes(range(0x11, 0x99, 0x11)) + bytes(range(0x12, 0x8A, 0x11))


def instructions(variant: Variant) -> Iterator[bytes]:
    """Instructions, each with bytes behind it that may belong to it, as they lie in memory."""
    if variant.name == "thumb":
        yield from _thumb()
    elif variant.architecture == "arm64":
        yield from _words(_A64)
    elif variant.architecture == "arm":
        yield from _words(_A32)
    elif variant.architecture == "riscv":
        yield from _words(_RV)
        yield from (bytes((low, high)) for high in range(256) for low in _RVC_LOW)
    elif variant.architecture == "x86":
        yield from _x86(is_64=variant.bits == 64)


def _neighbours(words: str) -> Iterator[int]:
    """Words, and each with one bit changed."""
    for word in words.split():
        value = int(word, 16)
        yield value
        yield from (value ^ 1 << bit for bit in range(32))


def _words(words: str) -> Iterator[bytes]:
    yield from (value.to_bytes(4, "little") for value in dict.fromkeys(_neighbours(words)))


def _halves(halves: Sequence[int]) -> bytes:
    return b"".join(half.to_bytes(2, "little") for half in halves)


def _thumb() -> Iterator[bytes]:
    yield from (_halves((value >> 16, value & 0xFFFF)) for value in dict.fromkeys(_neighbours(_T32)))
    yield from (bytes((low, high)) for high in range(0xE8) for low in _T16_LOW)
    for condition, mask in itertools.product(range(14), range(1, 16)):
        for filling in _IT_FILLINGS:
            yield _halves((0xBF00 | condition << 4 | mask, *filling, *filling, *filling))


def _x86(*, is_64: bool) -> Iterator[bytes]:
    """Every opcode of the four maps that have names in one to three bytes, with operands and prefixes of each kind."""
    prefixes = (*_PREFIXES, *(_REX if is_64 else ()))
    operands = [bytes.fromhex(each) for each in _OPERANDS]
    for escape in ("", "0f", "0f38", "0f3a"):
        for opcode in range(256):
            code = bytes.fromhex(escape) + bytes((opcode,))
            for operand in operands if len(escape) < 4 else operands[::4]:
                yield code + operand + _TAIL
            for field in range(1, 8) if len(escape) < 4 else ():
                yield code + bytes((0x05 | field << 3,)) + _TAIL
                yield code + bytes((0xC0 | field << 3,)) + _TAIL
            for prefix in prefixes[1:] if len(escape) < 4 else ():
                for operand in operands[:1] + operands[-2:-1]:
                    yield bytes.fromhex(prefix) + code + operand + _TAIL
