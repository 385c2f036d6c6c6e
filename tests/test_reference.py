"""The reference algorithms against published vectors, for they judge the guest's implementations."""

from __future__ import annotations

import pytest

from farm import suite
from farm.scenario import algorithms
from farm.scenario.model import predict

#: SBC-3 (the first four of 32 bytes) and a bit-by-bit calculation.
CRC = [
    (b"", 0x0000),
    (b"abc", 0x443B),
    (b"123456789", 0xD0DB),
    (bytes(32), 0x0000),
    (b"\xff" * 32, 0xA293),
    (bytes(range(32)), 0x0224),
    (b"\xff\xff" + bytes(30), 0x21B8),
    (bytes(range(0xFF, 0xDF, -1)), 0xA0B7),
    (b"\xff" * 512, 0xE6A1),
    (bytes(range(256)), 0x563B),
]

#: The guest's pattern by length.
PATTERN = {
    1: 0x176E, 2: 0xECC2, 3: 0x0B6A, 7: 0x2005, 8: 0xE3C8, 15: 0x4EAA, 16: 0x9F43, 17: 0x5510, 31: 0xB452, 32: 0xCCA4,
    33: 0x474C, 63: 0xDFF0, 64: 0x9677, 65: 0xC2FC, 127: 0x5074, 128: 0x8022, 129: 0x356E, 255: 0x453F, 256: 0x9CEC,
    257: 0xC8AA, 511: 0xC1D2, 512: 0xF958, 4096: 0x3CE1,
}  # fmt: skip

SUNSCREEN = (
    b"Ladies and Gentlemen of the class of '99: If I could offer you "
    b"only one tip for the future, sunscreen would be it."
)


@pytest.mark.parametrize(("data", "crc"), CRC, ids=range(len(CRC)))
def test_crc_t10dif_is_the_published_one(data, crc):
    assert algorithms.crc_t10dif(data) == crc


@pytest.mark.parametrize(("length", "crc"), PATTERN.items())
def test_crc_t10dif_of_the_pattern_is_the_calculated_one(length, crc):
    assert algorithms.crc_of_pattern(0, length, 0) == crc


def test_every_split_of_257_bytes_has_one_crc():
    for split in range(258):
        first = algorithms.crc_of_pattern(0, split, 0)
        assert algorithms.crc_of_pattern(split, 257 - split, first) == PATTERN[257]


def test_the_trace_of_a_scenario_has_the_calculated_values():
    values = [e.value for e in predict(suite.load()["crc_lengths"]) if e.kind == "return"]
    assert values == list(PATTERN.values()) * 2


def test_a_chacha20_block_is_that_of_rfc_8439():
    nonce = bytes.fromhex("000000090000004a00000000")
    assert algorithms.chacha20_block(1, bytes(range(32)), nonce).hex() == (
        "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
        "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
    )


@pytest.mark.parametrize(
    ("counter", "first"),
    [
        (0, "76b8e0ada0f13d90405d6ae55386bd28"),
        (1, "9f07e7be5551387a98ba977c732d080d"),
        (0xFFFFFFFF, "ace4cd09e294d1912d4ad205d06f95d9"),
    ],
)
def test_the_key_stream_of_an_all_zero_key_is_the_published_one(counter, first):
    assert algorithms.chacha20_block(counter, bytes(32), bytes(12))[:16].hex() == first


def test_a_chacha20_message_is_that_of_rfc_8439():
    assert algorithms.chacha20(SUNSCREEN, 1).hex() == (
        "6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0bf91b65c5524733ab8f593dabcd62b357"
        "1639d624e65152ab8f530c359f0861d807ca0dbf500d6a6156a38e088a22b65e52bc514d16ccf806818ce91ab7793736"
        "5af90bbf74a35be6b40b8eedf2785e42874d"
    )


def test_the_block_counter_wraps():
    two = algorithms.chacha20(bytes(128), 0xFFFFFFFF)
    assert two == algorithms.chacha20(bytes(64), 0xFFFFFFFF) + algorithms.chacha20(bytes(64), 0)
