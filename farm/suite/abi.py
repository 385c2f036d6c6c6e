"""ABI preservation: nothing between a call site and its target may touch what the ABI promises.

Every call of every scenario is probed (``arch/NAME/abi.S``); those here set up what the others leave alone.

On ppc32 a pair of 32-bit registers holds a 64-bit number (AB-13, AB-16), structs are passed and returned through
memory (AB-10), and doubles are in floating-point registers: its guests are built hard-float.
"""

from __future__ import annotations

from farm.scenario import FUNCTIONS, Defect, Kind, Promise, Scenario, Step, call, null, original, patch, restore, ret0

_WIDE = FUNCTIONS.index(Kind.WIDE)
_LONG = FUNCTIONS.index(Kind.LONG)
_VOID = FUNCTIONS.index(Kind.VOID)
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
    steps: list[Step] = []
    for target in ("default", "fast", "other", "far"):
        steps += [patch(function, target), *(call(function, x, "tail") for x in _NUMBERS)]
    return tuple(steps)


_TRANSPARENT = frozenset({Promise.TRANSPARENT})


def _originals(*functions: int) -> tuple[Step, ...]:
    """The originals of ``functions``, called with various numbers while those lead elsewhere."""
    return tuple(
        step
        for function in functions
        for target in ("fast", "far")
        for step in (patch(function, target), *(original(function, x) for x in _NUMBERS))
    )


def _bare() -> tuple[Step, ...]:
    """Calls from an asm call site that sets everything there is, before a patch and through every target."""
    return tuple(
        step
        for target in ("fast", "other", "far", "default")
        for step in (call(0, 5, "bare"), patch(0, target), call(0, 6, "bare"))
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
        "AB-03",
        "flags_intact",
        "The target is entered with the flags as the caller set them",
        _bare(),
        frozenset({Defect.CLOBBERED_FLAGS, Defect.CLOBBERED_KEPT_FLAGS}),
        needs=_TRANSPARENT,
        bugs=("B113", "B114"),
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
        "AB-06",
        "red_zone_intact",
        "What a function keeps below the stack pointer is still there when its jump reaches the target",
        _bare(),
        frozenset({Defect.RED_ZONE}),
        needs=_TRANSPARENT,
        abi=frozenset({"red-zone"}),
        bugs=("B43", "B112"),
    ),
    Scenario(
        "AB-07",
        "stack_alignment",
        "The target finds the stack aligned, and after the call it is what it was, with arguments on it and without",
        tuple(step for f in (0, _VOID, _LONG, _WIDE, _MANY) for step in _through(f)),
        frozenset({Defect.WRONG_STACK}),
        bugs=("B106", "B107", "B125", "B127", "B143"),
    ),
    Scenario(
        "AB-08",
        "toc_preserved",
        "The table of contents is the same at entry and after the call",
        (*_bare(), *_through(_LONG)),
        frozenset({Defect.LOST_TOC}),
        abi=frozenset({"toc"}),
        bugs=("B67", "B73", "B78", "B79"),
    ),
    Scenario(
        "AB-09",
        "hostile_scratch",
        "Every target leaves junk in every register that a call need not keep, and no caller minds",
        (*_bare(), call(0, 9, "looped", count=5), call(_MANY, 9, "looped", count=5)),
        frozenset({Defect.CLOBBERED_SCRATCH}),
        bugs=("B130",),
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
    Scenario(
        "AB-17",
        "landing_pads",
        "Where indirect branches must meet landing pads, stubs and targets begin with one",
        (
            *(
                step
                for f in (0, _VOID)
                for target in ("fast", "far", "other", "default")
                for step in (call(f, 5, "pointer"), patch(f, target), call(f, 6), call(f, 7, "pointer"))
            ),
            *(null(_VOID), call(_VOID, 1, "pointer"), restore(_VOID)),
            *(ret0(0), call(0, 1, "pointer"), restore(0), call(0, 5, "pointer")),
        ),
        frozenset({Defect.MISSING_PAD}),
        requires=frozenset({"bti"}),
        abi=frozenset({"landing-pads"}),
        bugs=("B36", "B51"),
    ),
    Scenario(
        "AB-18",
        "return_address",
        "The return address at entry is behind the call site, not inside the mechanism",
        _bare(),
        frozenset({Defect.RETURN_ADDRESS}),
        needs=_TRANSPARENT,
    ),
    Scenario(
        "AB-19",
        "delay_slot_executed_once",
        "What stands in the delay slot of a call is executed once, whichever target the call is led to, and back",
        tuple(
            step
            for f in (0, 1, 2, 3)
            for target in ("default", "fast", "far", "other")
            for step in (patch(f, target), call(f, 7, "bare"), restore(f), call(f, 8, "bare"))
        ),
        frozenset({Defect.LOST_DELAY_SLOT}),
        abi=frozenset({"delay-slot"}),
    ),
    Scenario(
        "AB-21",
        "callee_saved_floats_intact",
        "Every callee-saved floating-point register holds its sentinel after the call",
        (*_through(0), *_through(_DOUBLES)),
        frozenset({Defect.CLOBBERED_FLOAT}),
        requires=_FLOAT,
        abi=frozenset({"kept-floats"}),
    ),
    Scenario(
        "AB-22",
        "hidden_registers_intact",
        "Registers that carry no argument of this call, but may one of another, reach the target unchanged",
        _bare(),
        frozenset({Defect.HIDDEN_REGISTER, Defect.VARIADIC_COUNT, Defect.STRUCT_POINTER}),
        needs=_TRANSPARENT,
        bugs=("B69", "B145", "B146"),
    ),
    Scenario(
        "AB-23",
        "kept_flags_intact",
        "The flags that survive a call do",
        (*_through(0), *_through(_MANY)),
        frozenset({Defect.CLOBBERED_KEPT_FLAGS}),
        abi=frozenset({"kept-flags"}),
    ),
    Scenario(
        "AB-24",
        "entry_register",
        "A target that is entered indirectly finds its own address in the register that the ABI names",
        tuple(step for f in (0, _LONG, _MANY) for step in _through(f)),
        frozenset({Defect.ENTRY_REGISTER}),
        abi=frozenset({"entry-register"}),
    ),
    Scenario(
        "AB-25",
        "callee_saved_vectors_intact",
        "Every callee-saved vector register holds its sentinel after the call",
        (*_through(0), *_through(_LARGE)),
        frozenset({Defect.CLOBBERED_VECTOR}),
        requires=_FLOAT,
        abi=frozenset({"kept-vectors"}),
    ),
    Scenario(
        "AB-26",
        "original_keeps_registers",
        "The original gets every argument, and keeps what a call keeps",
        _originals(0, _LONG, _WIDE, _MANY, _NARROW, _SMALL, _LARGE),
        frozenset({Defect.WRONG_ORIGINAL, Defect.CLOBBERED_REGISTER, Defect.CLOBBERED_ARGUMENT, Defect.STACK_ARGUMENT})
        | frozenset({Defect.ORIGINAL_ARGUMENT, Defect.ORIGINAL_REGISTER}),
    ),
    Scenario(
        "AB-27",
        "original_keeps_floats",
        "The original gets every floating-point argument, and keeps what a call keeps",
        _originals(_DOUBLES, _MIXED, _VARIADIC),
        frozenset({Defect.WRONG_ORIGINAL, Defect.FLOAT_ARGUMENT, Defect.ORIGINAL_FLOAT}),
        requires=_FLOAT,
    ),
)
