"""ABI preservation: nothing between a call site and its target may touch what the ABI promises."""

from __future__ import annotations

from farm.scenario import FUNCTIONS, Defect, Kind, Scenario, Step, call, patch, restore

_WIDE = FUNCTIONS.index(Kind.WIDE)
_LONG = FUNCTIONS.index(Kind.LONG)
_MANY = FUNCTIONS.index(Kind.MANY)
_NARROW = FUNCTIONS.index(Kind.NARROW)
_SMALL = FUNCTIONS.index(Kind.SMALL)
_LARGE = FUNCTIONS.index(Kind.LARGE)
_DOUBLES = FUNCTIONS.index(Kind.DOUBLES)
_MIXED = FUNCTIONS.index(Kind.MIXED)
_VARIADIC = FUNCTIONS.index(Kind.VARIADIC)
_INT128 = FUNCTIONS.index(Kind.INT128)
_FLOAT = frozenset({"float"})

#: Numbers with each byte different, with the sign of every width set, and small ones.
_NUMBERS = (0x0123_4567_89AB_CDEF, 0xFEDC_BA98_7654_8280, 0xFFFF_FFFF_FFFF_FFFF, 0)


def _through(function: int) -> tuple[Step, ...]:
    """``function`` called with various numbers, before a patch and through every target."""
    return tuple(
        step
        for target in ("default", "fast", "other", "far")
        for step in (patch(function, target), *(call(function, x, "tail") for x in _NUMBERS))
    )



SCENARIOS = (
    Scenario(
        "AB-01",
        "callee_saved_intact",
        "Every callee-saved register holds its sentinel after the call, whichever target ran",
        (
            call(0, 1, "tail"),
            patch(0, "fast"),
            call(0, 1, "tail"),
            patch(0, "far"),
            call(0, 1, "tail"),
            restore(0),
            call(0, 1, "tail"),
        ),
        frozenset({Defect.CLOBBERED_REGISTER}),
    ),
    Scenario(
        "AB-02",
        "arguments_intact_at_entry",
        "Every argument register reaches the target with the caller's value",
        (
            call(_WIDE, 0x0123_4567_89AB_CDEF, "tail"),
            patch(_WIDE, "fast"),
            call(_WIDE, 0xFEDC_BA98_7654_3210, "tail"),
            patch(_WIDE, "far"),
            call(_WIDE, 3, "tail"),
            patch(_LONG, "far"),
            call(_LONG, 0x8000_0000_0000_0001, "tail"),
        ),
        frozenset({Defect.CLOBBERED_ARGUMENT}),
        bugs=("B69", "B109", "B123", "B145", "B146"),
    ),
    Scenario(
        "AB-04",
        "doubles",
        "Eight doubles arrive bit for bit, and one comes back: -0.0, infinity, NaNs with payloads",
        _through(_DOUBLES),
        frozenset({Defect.FLOAT_ARGUMENT}),
        requires=_FLOAT,
        bugs=("B115",),
    ),
    Scenario(
        "AB-05",
        "narrow_integers",
        "8, 16 and 32-bit arguments and results, negative ones too, extended as far as the ABI says",
        _through(_NARROW),
        frozenset({Defect.NARROW_EXTENSION, Defect.CLOBBERED_ARGUMENT}),
        bugs=("B76",),
    ),
    Scenario(
        "AB-10",
        "small_struct",
        "A struct of 16 bytes by value and as the result: two registers where the ABI does that",
        _through(_SMALL),
        frozenset({Defect.TRUNCATED_RETURN}),
    ),
    Scenario(
        "AB-11",
        "large_struct",
        "A struct of 32 bytes by value and as the result: the hidden pointer reaches the target",
        _through(_LARGE),
        frozenset({Defect.STRUCT_POINTER}),
    ),
    Scenario(
        "AB-12",
        "stack_arguments",
        "Twelve integer arguments: every register, and the stack",
        _through(_MANY),
        frozenset({Defect.STACK_ARGUMENT, Defect.CLOBBERED_ARGUMENT}),
    ),
    Scenario(
        "AB-13",
        "mixed_arguments",
        "Integers, doubles and 64-bit numbers interleaved: register pairs, skipped registers, the stack",
        _through(_MIXED),
        frozenset({Defect.FLOAT_ARGUMENT, Defect.TRUNCATED_RETURN}),
        requires=_FLOAT,
    ),
    Scenario(
        "AB-14",
        "variadic",
        "Integers and doubles behind an ellipsis",
        _through(_VARIADIC),
        frozenset({Defect.VARIADIC_COUNT, Defect.CLOBBERED_ARGUMENT}),
        only=(frozenset({"stub"}), "C cannot forward the arguments of a variadic function"),
        requires=_FLOAT,
    ),
    Scenario(
        "AB-15",
        "int128",
        "An integer of 16 bytes as an argument and as the result",
        _through(_INT128),
        frozenset({Defect.TRUNCATED_RETURN}),
        abi=frozenset({"int128"}),
    ),
    Scenario(
        "AB-16",
        "wide_result",
        "A 64-bit result: a pair of registers on 32-bit architectures",
        (*_through(_LONG), call(_LONG, 1 << 33, "used"), call(_LONG, (1 << 32) - 2, "looped", count=4)),
        frozenset({Defect.TRUNCATED_RETURN}),
    ),
)
