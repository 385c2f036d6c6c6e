"""Negative controls: guests with one deliberate bug each.

A control is a macro, ``CONTROL_NAME``, that the sources under ``images/`` and ``arch/`` honour.  It plants exactly one
defect.  Every scenario that claims to detect the defect must fail on that guest wherever the engine is not blind to it;
a claim that has never been seen red proves nothing (:mod:`farm.calibrate`).
"""

from __future__ import annotations

from dataclasses import dataclass

from farm.backend import Variant
from farm.scenario import Defect

_ALL = frozenset({"pointer", "stub"})
_CODE = frozenset({"stub"})


@dataclass(frozen=True)
class Control:
    """One planted bug."""

    name: str
    defect: Defect
    what: str
    mechanisms: frozenset[str] = _ALL
    cpu: tuple[str, bool] | None = None  #: only on a CPU that has (True) or lacks (False) this feature
    abi: str | None = None  #: only where the ABI has this (``Variant.abi``)
    register: str = ""  #: the register or slot that it clobbers

    @property
    def macro(self) -> str:
        return "CONTROL_" + self.name.upper().replace("-", "_")

    def applies(self, variant: Variant, mechanism: str, features: frozenset[str] = frozenset()) -> bool:
        """The macro changes the guest: a coherent architecture has no cache maintenance to leave out."""
        if self.defect is Defect.STALE_FETCH and variant.coherence == "coherent":
            return False
        if self.abi and self.abi not in variant.abi:
            return False
        if self.cpu and (self.cpu[0] in features) != self.cpu[1]:
            return False
        return mechanism in self.mechanisms


CONTROLS: dict[str, Control] = {
    control.name: control
    for control in (
        Control(
            "initial-fast", Defect.WRONG_INITIAL_TARGET, "the image is linked with a target other than the default"
        ),
        Control("no-patch", Defect.LOST_PATCH, "a patch reports success and stores nothing"),
        Control("off-by-one", Defect.WRONG_DISPLACEMENT, "the target is missed by one instruction"),
        Control("no-range-check", Defect.RANGE_TRUNCATION, "a displacement out of range is truncated", _CODE),
        Control("no-flush", Defect.STALE_FETCH, "no cache maintenance after the store", _CODE),
        Control("torn-store", Defect.TORN_STORE, "the instruction is stored byte by byte", _CODE),
        Control("no-restore", Defect.LOST_RESTORE, "restore reports success and does nothing"),
        Control("sloppy-restore", Defect.INEXACT_RESTORE, "restore goes through the data slot", _CODE),
        Control("neighbour", Defect.NEIGHBOUR_OVERWRITTEN, "a patch reaches the function beside it too"),
        Control("null-called", Defect.NULL_CALLED, "NULL is called instead of skipped"),
        Control("ret0-minus-one", Defect.RET0_VALUE, "RET0 returns -1"),
        Control("query-default", Defect.WRONG_QUERY, "query always answers the default"),
        Control(
            "clobber-saved",
            Defect.CLOBBERED_REGISTER,
            "a callee-saved register is lost on the way",
            register="x86-64 r13, arm64 x21, powerpc r21",
        ),
        Control(
            "clobber-argument",
            Defect.CLOBBERED_ARGUMENT,
            "an argument register is lost on the way",
            register="x86-64 r9, arm64 x6, powerpc r9",
        ),
        Control(
            "clobber-float",
            Defect.CLOBBERED_FLOAT,
            "a callee-saved floating-point register is lost on the way",
            abi="kept-floats",
            register="arm64 d9, powerpc f20",
        ),
        Control(
            "clobber-vector",
            Defect.CLOBBERED_VECTOR,
            "a callee-saved vector register is lost on the way",
            abi="kept-vectors",
            register="ELFv2 v22",
        ),
        Control(
            "clobber-flags",
            Defect.CLOBBERED_FLAGS,
            "flags that a call need not keep are changed before the target is entered",
            _CODE,
            register="x86-64 CF, arm64 NZCV, powerpc cr0",
        ),
        Control(
            "clobber-kept-flags",
            Defect.CLOBBERED_KEPT_FLAGS,
            "flags that survive a call are lost on the way",
            abi="kept-flags",
            register="x86-64 DF, powerpc cr2",
        ),
        Control(
            "relies-on-scratch",
            Defect.CLOBBERED_SCRATCH,
            "a caller trusts that the default target leaves a scratch register alone",
            register="x86-64 r9, arm64 x9, powerpc r10",
        ),
        Control(
            "clobber-static-chain",
            Defect.HIDDEN_REGISTER,
            "the static chain of a nested function is lost on the way",
            _CODE,
            register="x86-64 r10, arm64 x18 (also the platform register), powerpc r11",
        ),
        Control(
            "clobber-entry-register",
            Defect.ENTRY_REGISTER,
            "a target that is entered indirectly does not find its own address",
            abi="entry-register",
            register="ELFv2 r12",
        ),
        Control(
            "clobber-variadic-count",
            Defect.VARIADIC_COUNT,
            "a variadic function is not told that doubles are in registers",
            _CODE,
            abi="variadic-count",
            register="x86-64 al, ppc32 cr bit 6",
        ),
        Control(
            "clobber-struct-pointer",
            Defect.STRUCT_POINTER,
            "a struct result goes elsewhere",
            register="x86-64 rdi, arm64 x8, powerpc r3",
        ),
        Control(
            "clobber-float-argument",
            Defect.FLOAT_ARGUMENT,
            "a floating-point argument register is lost on the way",
            register="x86-64 xmm1, arm64 d1, powerpc f2",
        ),
        Control(
            "clobber-stack-argument",
            Defect.STACK_ARGUMENT,
            "an argument on the stack is lost on the way",
            register="x86-64 16(rsp), arm64 [sp, #8], ppc32 8(r1), ELFv2 96(r1)",
        ),
        Control(
            "narrow-not-extended",
            Defect.NARROW_EXTENSION,
            "a negative 8-bit argument arrives without its sign",
            abi="extension",
            register="x86-64 edi, powerpc r3, above bit 7",
        ),
        Control(
            "truncated-return",
            Defect.TRUNCATED_RETURN,
            "the second half of a result is lost on the way back",
            register="x86-64 rdx (of a 64-bit result rax), arm64 x1 (x0), ppc32 r3 or memory, ELFv2 r4 (r3): high half",
        ),
        Control(
            "wrong-return-address",
            Defect.RETURN_ADDRESS,
            "the target returns into the mechanism, which returns to the caller",
            _CODE,
            register="x86-64 (rsp), arm64 x30, powerpc lr",
        ),
        Control(
            "overwrite-red-zone",
            Defect.RED_ZONE,
            "the mechanism stores below the stack pointer",
            _CODE,
            abi="red-zone",
            register="64 bytes below rsp or r1",
        ),
        Control(
            "misalign-stack",
            Defect.WRONG_STACK,
            "the target is entered with a stack pointer that is 8 bytes off",
            register="x86-64 rsp, arm64 sp, powerpc r1",
        ),
        Control(
            "leak-stack",
            Defect.WRONG_STACK,
            "16 bytes of stack are never given back, by function 0",
            register="x86-64 rsp, arm64 sp, powerpc r1",
        ),
        Control(
            "clobber-toc",
            Defect.LOST_TOC,
            "the table of contents is lost on the way",
            abi="toc",
            register="ELFv2 r2",
        ),
        Control(
            "toc-not-restored",
            Defect.LOST_TOC,
            "the call comes back with another table of contents",
            _CODE,
            abi="toc",
            register="ELFv2 r2; a call through a pointer restores it itself",
        ),
        Control("target-for-address", Defect.WRONG_ADDRESS, "the function's address is that of its target"),
        Control("lazy-argument", Defect.LAZY_ARGUMENT, "under NULL the argument is not evaluated"),
        Control("unchecked", Defect.UNCHECKED_REQUEST, "targets and old bytes are not checked"),
        Control("lost-state", Defect.LOST_STATE, "a target other than the default begins anew in mid-stream"),
        Control("overread", Defect.OVERREAD, "one byte behind the buffer is read"),
        Control("dispatch-default", Defect.WRONG_DISPATCH, "dispatch never accelerates", cpu=("clmul", True)),
        Control("dispatch-fast", Defect.WRONG_DISPATCH, "dispatch accelerates on any CPU", cpu=("clmul", False)),
        Control("ignore-error", Defect.IGNORED_ERROR, "a failure to open the text is reported as success", _CODE),
    )
}


def has_control(defects: frozenset[Defect], mechanism: str) -> bool:
    """Some control plants one of ``defects`` in ``mechanism``."""
    return any(control.defect in defects and mechanism in control.mechanisms for control in CONTROLS.values())
