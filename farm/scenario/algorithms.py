"""Reference algorithms: CRC-16/T10-DIF and ChaCha20 in plain Python, for the model.

Written for clarity and checked against published vectors; the guest's implementations are judged by them.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence

from farm.scenario import PATTERN_SIZE

_POLYNOMIAL = 0x8BB7  # SBC-3; init 0, not reflected, no final xor


@functools.cache
def pattern() -> bytes:
    """The guest's buffer."""
    return bytes((7 * i + 3) & 0xFF for i in range(PATTERN_SIZE))


@functools.cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (_POLYNOMIAL if crc & 0x8000 else 0)) & 0xFFFF
        table.append(crc)
    return tuple(table)


def crc_t10dif(data: bytes, crc: int = 0) -> int:
    """CRC-16/T10-DIF of ``data``, going on from ``crc``."""
    table = _crc_table()
    for byte in data:
        crc = (crc << 8 & 0xFF00) ^ table[crc >> 8 ^ byte]
    return crc


@functools.cache
def crc_of_pattern(start: int, length: int, crc: int) -> int:
    """:func:`crc_t10dif` of a piece of the pattern; the same pieces come again in many scenarios."""
    return crc_t10dif(pattern()[start : start + length], crc)


#: Key 00..1f and nonce 000000000000004a00000000 (RFC 8439, 2.4.2).
CHACHA_KEY = bytes(range(32))
CHACHA_NONCE = bytes.fromhex("000000000000004a00000000")


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> 32 - bits) & 0xFFFFFFFF


def _quarter(state: list[int], a: int, b: int, c: int, d: int) -> None:
    for first, second, third, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        state[first] = (state[first] + state[second]) & 0xFFFFFFFF
        state[third] = _rotate(state[third] ^ state[first], bits)


@functools.lru_cache(maxsize=4096)
def chacha20_block(counter: int, key: bytes = CHACHA_KEY, nonce: bytes = CHACHA_NONCE) -> bytes:
    """64 bytes of key stream (RFC 8439, 2.3)."""
    initial = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574]
    initial += [*struct.unpack("<8I", key), counter, *struct.unpack("<3I", nonce)]
    state = list(initial)
    for _ in range(10):
        for i in range(4):
            _quarter(state, i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            _quarter(state, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(state, initial, strict=True)))


def chacha20(data: bytes, counter: int) -> bytes:
    """``data`` encrypted from block ``counter`` on; the counter wraps at 2**32."""
    out = bytearray()
    for start in range(0, len(data), 64):
        stream = chacha20_block((counter + start // 64) & 0xFFFFFFFF)
        out += bytes(a ^ b for a, b in zip(data[start : start + 64], stream, strict=False))
    return bytes(out)


def fnv_bytes(data: Sequence[int], digest: int) -> int:
    """FNV-1a over bytes, going on from ``digest``: what the guest answers for an output buffer."""
    for byte in data:
        digest = ((digest ^ byte) * 0x01000193) & 0xFFFFFFFF
    return digest
