"""The numbers of the wire format, and the guest's ``wire.h`` that is written of them.

:mod:`farm.scenario.wire` encodes and decodes by them.  The hash of the layout travels in every program and in every
trace, so a guest built against another layout is found out.
"""

from __future__ import annotations

import functools
import zlib

from farm.scenario.fields import ALL_FUNCTIONS
from farm.scenario.functions import FLOAT, FUNCTIONS, PATTERN_SIZE, REAL_TARGETS, Kind, Shape, Status, Target
from farm.scenario.steps import OPS

PROGRAM_MAGIC = 0x50465047
TRACE_MAGIC = 0x50465452

#: Set in a frame's length: no reset before this program, nor after it.
KEEP = 1 << 30

#: Words a guest can take and events it can hold; ``wire.h`` gets both.
PROGRAM_WORDS = 4096
TRACE_EVENTS = 1024

HEADER_WORDS = 8
EVENT_WORDS = 8

KINDS = {
    "enter": 1,
    "return": 2,
    "patch": 3,
    "restore": 4,
    "query": 5,
    "code": 6,
    "scribble": 7,
    "lock": 8,
    "loop": 9,
    "output": 10,
    "address": 11,
    "fail-poke": 12,
    "load": 13,
    "unload": 14,
    "interrupt": 15,
    "protection": 16,
    "sites": 17,
    "tamper": 18,
}

#: The doubles that DOUBLES passes: -0.0, a NaN with a payload, infinity, a negative one, the smallest denormal, pi, the
#: largest, one.
DOUBLE_BITS = (
    0x8000000000000000,
    0x7FF8DEADBEEF0001,
    0x7FF0000000000000,
    0xFFF8000000001234,
    0x0000000000000001,
    0x400921FB54442D18,
    0x7FEFFFFFFFFFFFFF,
    0x3FF0000000000000,
)

#: Call sites that a guest's table holds, and the bit that marks those of the module in it.
SITE_CAPACITY = 512
SITE_IN_MODULE = 1 << 16

#: Value of a ``sites`` event where the guest's table is empty.
NO_SITES = 0xFFFFFFFF

#: Bytes of the module's text at most.
MODULE_SIZE = 1024

#: Faults in the protection of the text: bits of the value of a ``protection`` event.
TEXT_FAULTS = {"writable": 1, "unreadable": 2, "not-executable": 4}

#: Bit of the doorbell's value from which it says what is to be opened: 0 the stubs, 1 the module, 2 both and the call
#: sites, 3 the literals; with 4 more, in the second mapping of a guest that has one.
DOORBELL_REGION = 4

#: Features that a CPU may have, as bits of the guest's ``farm_features``.
FEATURES = {"clmul": 1, "float": 2, "bti": 4}

#: ABI violations, as bits of an event's ``abi`` (:class:`~farm.scenario.wire.Event`); hidden register i is bit 24 + i.
VIOLATIONS = {
    "stack-alignment": 16,
    "return-address": 17,
    "flags": 18,
    "toc": 19,
    "entry-register": 20,
    "red-zone": 21,
    "kept-flags": 22,
    "hidden": 24,
    "kept-floats": 30,
    "kept-vectors": 31,
}

#: Kinds of events whose value is a status.
ANSWERED = ("patch", "restore", "scribble", "interrupt")

#: Target word of an event that names no target, and of a target the guest does not know.
NO_TARGET = 0xFFFF
UNKNOWN_TARGET = 0xFFFE

FNV_BASIS = 0x811C9DC5
FNV_PRIME = 0x01000193


def _layout() -> str:
    """The constants of the format; their hash is the wire hash."""
    lines = [
        f"#define PROGRAM_MAGIC {PROGRAM_MAGIC:#x}",
        f"#define TRACE_MAGIC {TRACE_MAGIC:#x}",
        f"#define FRAME_KEEP {KEEP:#x}u",
        f"#define PROGRAM_WORDS {PROGRAM_WORDS}",
        f"#define TRACE_EVENTS {TRACE_EVENTS}",
        f"#define HEADER_WORDS {HEADER_WORDS}",
        f"#define EVENT_WORDS {EVENT_WORDS}",
        f"#define NO_TARGET {NO_TARGET:#x}",
        f"#define UNKNOWN_TARGET {UNKNOWN_TARGET:#x}",
        f"#define ALL_FUNCTIONS {ALL_FUNCTIONS:#x}",
        f"#define FNV_BASIS {FNV_BASIS:#x}",
        f"#define FNV_PRIME {FNV_PRIME:#x}",
        f"#define FUNCTION_COUNT {len(FUNCTIONS)}",
        f"#define FUNCTION_BITS {(len(FUNCTIONS) - 1).bit_length()}",
        f"#define PATTERN_SIZE {PATTERN_SIZE}",
        f"#define DOUBLE_BITS {', '.join(f'{bits:#x}u' for bits in DOUBLE_BITS)}",
        f"#define TARGET_COUNT {len(REAL_TARGETS)}",
        f"#define SITE_CAPACITY {SITE_CAPACITY}",
        f"#define SITE_IN_MODULE {SITE_IN_MODULE:#x}",
        f"#define NO_SITES {NO_SITES:#x}u",
        f"#define MODULE_SIZE {MODULE_SIZE}",
        f"#define DOORBELL_REGION {DOORBELL_REGION}",
    ]
    lines += [f"#define TEXT_{name.replace('-', '_').upper()} {bit}u" for name, bit in TEXT_FAULTS.items()]
    lines += [f"#define OP_{step.__name__.upper()} {OPS[step]}" for step in sorted(OPS, key=OPS.__getitem__)]
    lines += [f"#define EVENT_{name.upper().replace('-', '_')} {number}" for name, number in KINDS.items()]
    lines += [f"#define SHAPE_{shape.name} {shape.value}" for shape in Shape]
    lines += [f"#define TARGET_{target.name} {target.value:#x}" for target in Target]
    lines += [f"#define PATCH_{status.name} {status.value}" for status in Status]
    lines += [f"#define VIOLATION_{name.replace('-', '_').upper()} {bit}" for name, bit in VIOLATIONS.items()]
    lines += [f"#define KIND_{kind.name} {kind.value}" for kind in Kind]
    lines += [f"#define FEATURE_{name.upper()} {bit:#x}" for name, bit in FEATURES.items()]
    lines += [
        f"#define FOR_EACH_{word}FUNCTION(X) "
        + " ".join(f"X({number}, {kind.name})" for number, kind in enumerate(FUNCTIONS) if kind in kinds)
        for word, kinds in (
            ("", set(Kind)),
            ("INTEGER_", set(Kind) - FLOAT),
            ("FLOAT_", FLOAT),
            ("INT_", {Kind.INT}),
            ("VOID_", {Kind.VOID}),
        )
    ]
    numbers = [str(number) for number, kind in enumerate(FUNCTIONS) if kind is Kind.INT]
    lines.append(f"#define INT_NUMBERS {','.join(numbers)}")
    lines.append(f"#define FUNCTION_NUMBERS {','.join(str(number) for number in range(len(FUNCTIONS)))}")
    return "\n".join(lines) + "\n"


@functools.cache
def wire_hash() -> int:
    """CRC-32 of the layout."""
    return zlib.crc32(_layout().encode())


def header() -> str:
    """The text of ``wire.h``."""
    return (
        "/* Written by farm/scenario/layout.py; do not edit. */\n"
        "#ifndef WIRE_H\n#define WIRE_H\n"
        f"{_layout()}"
        f"#define WIRE_HASH {wire_hash():#x}\n"
        "#endif\n"
    )
