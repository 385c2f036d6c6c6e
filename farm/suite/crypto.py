"""Real work through the patchable call: CRC-16/T10-DIF and ChaCha20, superseded at run time and in mid-stream.

The default target of the CRC is the generic bitwise one, ``other`` is table-driven and ``fast`` uses the architecture's
carry-less multiply; the default of ChaCha20 makes one block at a time, ``fast`` four.
"""

from __future__ import annotations

from farm.scenario import (
    FUNCTIONS,
    Defect,
    Kind,
    Scenario,
    Step,
    best,
    call,
    loop,
    output,
    patch,
    piece,
    query,
    restore,
)

_CRC = FUNCTIONS.index(Kind.CRC)
_CHACHA = FUNCTIONS.index(Kind.CHACHA)
_PATCH = frozenset({Defect.LOST_PATCH})
_ACCELERATED = frozenset({"clmul"})
_MEMORY_END = 4096

#: Added to a piece: one byte longer; one byte later; and one byte moved from the end of a piece to its start.
_LONGER, _LATER = 1, 1 << 16
_SHORTER_AND_LATER = _LATER - _LONGER


def _lengths(target: str) -> tuple[Step, ...]:
    """Lengths 0 to 300, some around powers of two in sight, and the whole pattern."""
    shown = (1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 4096)
    return (
        patch(_CRC, target),
        loop(301, call(_CRC, piece(0), "tail", stride=_LONGER)),
        *(call(_CRC, piece(length), "tail") for length in shown),
    )


def _every_split(first: str, second: str) -> tuple[Step, ...]:
    """Every split of 257 bytes, the target switched at the split; the rest goes on where the first part ended."""
    return (
        loop(
            258,
            patch(_CRC, first),
            call(_CRC, piece(0), "tail", stride=_LONGER),
            patch(_CRC, second),
            call(_CRC, piece(257, more=True), "tail", stride=_SHORTER_AND_LATER),
        ),
        patch(_CRC, first),
        call(_CRC, piece(100), "tail"),
        patch(_CRC, second),
        call(_CRC, piece(157, 100, more=True), "tail"),
    )


def _unaligned(target: str) -> tuple[Step, ...]:
    """Sixteen alignments, then buffers of 0 to 300 bytes that end at an unmapped page."""
    return (
        patch(_CRC, target),
        loop(16, call(_CRC, piece(256), "tail", stride=_LATER)),
        call(_CRC, piece(100, 13), "tail"),
        loop(301, call(_CRC, piece(0, _MEMORY_END), "tail", stride=_LONGER - _LATER)),
        call(_CRC, piece(64, _MEMORY_END - 64), "tail"),
    )


SCENARIOS = (
    Scenario(
        "CR-01",
        "crc_lengths",
        "CRC-T10DIF, generic and table-driven: the same result for lengths 0 to 300 and 4096",
        (*_lengths("default"), *_lengths("other"), restore(_CRC)),
        _PATCH,
    ),
    Scenario(
        "CR-13",
        "crc_accelerated_lengths",
        "CRC-T10DIF by carry-less multiply: the same result for lengths 0 to 300 and 4096",
        _lengths("fast"),
        _PATCH,
        requires=_ACCELERATED,
    ),
    Scenario(
        "CR-02",
        "crc_short_falls_to_generic",
        "Below 16 bytes the accelerated target does the work in the generic way",
        (patch(_CRC, "fast"), *(call(_CRC, piece(length, 5), "tail") for length in (0, 1, 8, 15, 16, 17, 23, 24))),
        _PATCH,
        requires=_ACCELERATED,
    ),
    Scenario(
        "CR-03",
        "crc_unaligned_and_page_end",
        "Unaligned buffers, and buffers that end where an unmapped page begins",
        (*_unaligned("default"), *_unaligned("other")),
        frozenset({Defect.OVERREAD}),
    ),
    Scenario(
        "CR-16",
        "crc_accelerated_page_end",
        "The accelerated target on unaligned buffers, and up to an unmapped page",
        _unaligned("fast"),
        frozenset({Defect.OVERREAD, Defect.LOST_PATCH}),
        requires=_ACCELERATED,
    ),
    Scenario(
        "CR-04",
        "crc_every_split",
        "Every split of 257 bytes, switched from generic to table-driven at the split, and back",
        (*_every_split("default", "other"), *_every_split("other", "default")),
        frozenset({Defect.LOST_STATE, Defect.LOST_PATCH}),
    ),
    Scenario(
        "CR-05",
        "crc_superseded_in_mid_stream",
        "Every split of 257 bytes, generic superseded by accelerated at the split, and back",
        (*_every_split("default", "fast"), *_every_split("fast", "default")),
        frozenset({Defect.LOST_STATE, Defect.LOST_PATCH}),
        requires=_ACCELERATED,
        bugs=("B17",),
    ),
    Scenario(
        "CR-09",
        "crc_dispatch",
        "Dispatch takes the accelerated target where the CPU has it and stays with the generic one elsewhere",
        (best(_CRC), query(_CRC), call(_CRC, piece(257)), call(_CRC, piece(9)), restore(_CRC), query(_CRC)),
        frozenset({Defect.WRONG_DISPATCH}),
    ),
    Scenario(
        "CR-06",
        "chacha_blocks",
        "ChaCha20: one block, a message of several, and a block counter that wraps at 2**32",
        (
            call(_CHACHA, piece(64), "tail"),
            output(),
            patch(_CHACHA, "fast"),
            call(_CHACHA, piece(1024), "tail"),
            output(),
            call(_CHACHA, piece(512, wrap=True), "tail"),
            output(),
            restore(_CHACHA),
            call(_CHACHA, piece(512, wrap=True), "tail"),
            output(),
        ),
        _PATCH,
    ),
    Scenario(
        "CR-07",
        "chacha_switched_in_mid_stream",
        "ChaCha20: one block and four blocks at a time, switched at block boundaries of one stream",
        (
            call(_CHACHA, piece(192), "tail"),
            patch(_CHACHA, "fast"),
            call(_CHACHA, piece(1280, 192, more=True), "tail"),
            patch(_CHACHA, "other"),
            call(_CHACHA, piece(64, 1472, more=True), "tail"),
            patch(_CHACHA, "far"),
            call(_CHACHA, piece(600, 1536, more=True), "tail"),
            output(),
        ),
        frozenset({Defect.LOST_STATE, Defect.LOST_PATCH}),
    ),
    Scenario(
        "CR-08",
        "chacha_partial_and_in_place",
        "ChaCha20: lengths that are not whole blocks, in place and not",
        tuple(
            step
            for target in ("default", "fast")
            for in_place in (False, True)
            for length in (0, 1, 63, 65, 257, 300)
            for step in (
                patch(_CHACHA, target),
                call(_CHACHA, piece(length, 11, in_place=in_place), "tail"),
                output(),
            )
        ),
        _PATCH,
    ),
    Scenario(
        "CR-14",
        "crc_and_chacha_alternate",
        "Two algorithms whose functions lie side by side, patched alternately",
        (
            loop(
                8,
                patch(_CRC, "other"),
                call(_CRC, piece(40), "tail", stride=_LATER),
                call(_CHACHA, piece(40), "tail"),
                patch(_CHACHA, "fast"),
                call(_CRC, piece(40), "tail", stride=_LATER),
                call(_CHACHA, piece(300), "tail"),
                restore(_CRC),
                restore(_CHACHA),
            ),
            call(_CRC, piece(40), "tail"),
            patch(_CHACHA, "fast"),
            call(_CRC, piece(40), "tail"),
            call(_CHACHA, piece(300), "tail"),
            output(),
        ),
        frozenset({Defect.NEIGHBOUR_OVERWRITTEN, Defect.LOST_PATCH}),
    ),
    Scenario(
        "CR-10",
        "same_bytes_in_every_byte_order",
        "ChaCha20 and the CRC make the same bytes of the same bytes whatever the CPU's byte order is",
        (
            *(
                step
                for target in ("default", "fast")
                for step in (
                    patch(_CHACHA, target),
                    call(_CHACHA, piece(300, 1)),
                    output(),
                    call(_CHACHA, piece(5, 301, more=True)),
                    output(),
                )
            ),
            *(
                step
                for target in ("default", "other")
                for step in (patch(_CRC, target), call(_CRC, piece(77, 3)), call(_CRC, piece(9, 80, more=True)))
            ),
        ),
        frozenset({Defect.BYTE_ORDER, Defect.LOST_PATCH}),
    ),
)
