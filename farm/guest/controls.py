"""Negative controls: guests with one deliberate bug each.

A control is a macro, ``CONTROL_NAME``, that the sources under ``images/`` and ``arch/`` honour.  It plants exactly one
defect.  Every scenario that claims to detect the defect must fail on that guest wherever the engine is not blind to it;
a claim that has never been seen red proves nothing (:mod:`farm.prove.calibrate`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from farm.guest import arch_toml, mechanisms, sources
from farm.guest.mechanisms import Mechanism
from farm.guest.variant import ABI_FILE, SITES_FILE, Variant
from farm.scenario import Call, Defect, Scenario, Shape, walk
from farm.scenario.promises import Fact, Promise


@dataclass(frozen=True)
class Control:
    """One planted bug."""

    name: str
    defect: Defect
    what: str
    cpu: tuple[str, bool] | None = None  #: only on a CPU that has (True) or lacks (False) this feature
    abi: str | None = None  #: only where the ABI has this (``Variant.abi``)
    big: bool = False  #: only on a big-endian CPU
    file: str | None = None  #: architecture file that must contain the macro
    asm: bool = False  #: needs targets written in assembly: only then is it known what lies before one
    aligned: bool = False  #: needs functions aligned to more than two bytes
    transparent: bool = False  #: needs a mechanism that promises not to do the like itself
    original: bool = False  #: needs a mechanism that promises a way to the original
    code: bool = False  #: needs a mechanism that stores to code
    slot: bool = False  #: needs the data slot, which a stub has only where its jump does not reach every address

    @property
    def macro(self) -> str:
        return "CONTROL_" + self.name.upper().replace("-", "_")

    @property
    def probe(self) -> bool:
        """Only asm that looks at registers around a call can notice it."""
        return self.file == ABI_FILE

    @functools.cached_property
    def mechanisms(self) -> frozenset[str]:
        """Names of the farm's own mechanisms that can have the bug on some variant."""
        variants, known = arch_toml.load().values(), mechanisms.load()
        return frozenset(name for name in known if not all(self.impossible(v, known[name]) for v in variants))

    def applies(self, variant: Variant, mechanism: Mechanism | str, features: frozenset[str] = frozenset()) -> bool:
        """The macro changes the guest: a coherent architecture has no cache maintenance to leave out."""
        if self.impossible(variant, mechanism):
            return False
        return self.cpu is None or (self.cpu[0] in features) == self.cpu[1]

    def impossible(self, variant: Variant, mechanism: Mechanism | str | None = None) -> str | None:
        """Why there is no such bug on ``variant``, or under ``mechanism`` there; None if there is."""
        if mechanism is None:
            return self._impossible_on(variant)
        made = _named(mechanism)
        if made.missing(variant):
            return self._impossible_on(variant) or UNPLANTED
        return self.impossible_in(variant, made.at(variant))

    def impossible_in(self, variant: Variant, here: Mechanism) -> str | None:
        """The same, where there is a guest of ``variant`` with the mechanism, which is ``here`` as it is there."""
        return self._impossible_on(variant) or self._impossible_under(here, variant)

    def _impossible_under(self, mechanism: Mechanism, variant: Variant) -> str | None:
        if self.macro not in sources.controls(variant, mechanism):
            return UNPLANTED
        if self.transparent and Promise.TRANSPARENT not in mechanism.promises:
            return mechanism.lacking(Promise.TRANSPARENT)
        if self.original and Promise.ORIGINAL not in mechanism.promises:
            return mechanism.lacking(Promise.ORIGINAL)
        if self.code and not mechanism.pokes:
            return mechanism.lacking(Fact.POKES)
        if self.defect is Defect.TORN_STORE and mechanism.pokes and _BYTE_WORD.search(_text(variant.folder / "arch.h")):
            return "the stub's word is one byte, which no store tears"
        return None

    def _impossible_on(self, variant: Variant) -> str | None:
        if self.abi and self.abi not in variant.abi:
            return f"the ABI has no {self.abi}"
        if self.big and not variant.big_endian:
            return "it is little-endian"
        if self.file and self.macro not in _text(variant.source(self.file)):
            return _unplanted(variant, self.file)
        if self.asm and not variant.looks_at_registers:
            return f"{variant.architecture} has no {ABI_FILE}, so what lies before a target is the compiler's"
        if self.defect is Defect.STALE_FETCH and not variant.coherence.maintenance:
            return "caches are coherent, so there is no maintenance to leave out"
        if self.aligned and variant.alignment == 2:
            return "a function may begin at every second byte, so bit 0 is all that there is to look at"
        if self.slot and variant.branch_range is None:
            return "the stub's jump reaches every address, so there is no data slot"
        return None


#: Why a mechanism cannot have a bug: nothing that its guests are compiled of names it.
UNPLANTED = "its sources have nothing to plant it in"


def _named(mechanism: Mechanism | str) -> Mechanism:
    return mechanisms.load()[mechanism] if isinstance(mechanism, str) else mechanism


def _unplanted(variant: Variant, file: str) -> str:
    """Why an architecture's ``file`` has no macro of a control."""
    if not variant.source(file).is_file():
        return f"{variant.architecture} has no {file}"
    if file == SITES_FILE and all(form.opcode.at for form in variant.call_site if form.store != "never"):
        return "a call site's opcode lies beside the word that is replaced, so it cannot be lost"
    return f"{file} has nothing to plant it in"


#: Line of ``arch.h`` by which one poke of a stub stores a byte.
_BYTE_WORD = re.compile(r"^#define ARCH_CODE_WORD uint8_t\b", re.MULTILINE)


@functools.cache
def _text(path: Path) -> str:
    """A file of an architecture; empty if it has none of this name."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


CONTROLS: dict[str, Control] = {
    control.name: control
    for control in (
        Control(
            "initial-fast", Defect.WRONG_INITIAL_TARGET, "the image is linked with a target other than the default"
        ),
        Control("no-patch", Defect.LOST_PATCH, "a patch reports success and stores nothing"),
        Control("off-by-one", Defect.WRONG_DISPLACEMENT, "the target is missed by one instruction"),
        Control(
            "falls-short", Defect.WRONG_DISPLACEMENT, "the target is missed by one instruction before it", asm=True
        ),
        Control("no-range-check", Defect.RANGE_TRUNCATION, "a displacement out of range is truncated", slot=True),
        Control(
            "pad-half-written",
            Defect.RANGE_TRUNCATION,
            "of what stands before an entry, the address of a target out of range is left out",
            slot=True,
        ),
        Control("no-flush", Defect.STALE_FETCH, "no cache maintenance after the store", code=True),
        Control("torn-store", Defect.TORN_STORE, "the instruction is stored byte by byte"),
        Control("torn-literal", Defect.TORN_STORE, "a literal is stored in two halves"),
        Control("no-restore", Defect.LOST_RESTORE, "restore reports success and does nothing"),
        Control(
            "wrong-restore-inside",
            Defect.WRONG_RESTORE_INSIDE,
            "a restore asked for while a target runs leads elsewhere",
        ),
        Control("sloppy-restore", Defect.INEXACT_RESTORE, "restore leaves one bit other than it was"),
        Control("neighbour", Defect.NEIGHBOUR_OVERWRITTEN, "a patch reaches the function beside it too"),
        Control("null-called", Defect.NULL_CALLED, "NULL is called instead of skipped"),
        Control("ret0-minus-one", Defect.RET0_VALUE, "RET0 returns -1"),
        Control("original-is-patched", Defect.WRONG_ORIGINAL, "the way to the original leads to the patched function"),
        Control(
            "original-loses-argument",
            Defect.ORIGINAL_ARGUMENT,
            "an argument is lost on the way to the original",
            original=True,
        ),
        Control(
            "original-loses-saved",
            Defect.ORIGINAL_REGISTER,
            "a callee-saved register is lost on the way to the original",
            original=True,
            asm=True,
        ),
        Control(
            "original-loses-float",
            Defect.ORIGINAL_FLOAT,
            "a floating-point argument is lost on the way to the original",
            original=True,
        ),
        Control("prologue-not-relocated", Defect.UNRELOCATED, "instructions that are moved are copied as they are"),
        Control("resumes-late", Defect.WRONG_RESUMPTION, "behind instructions that are moved, one is left out"),
        Control("resumes-in-jump", Defect.WRONG_RESUMPTION, "behind instructions that are moved, it begins anew"),
        Control("query-default", Defect.WRONG_QUERY, "query always answers the default"),
        Control(
            "clobber-saved",
            Defect.CLOBBERED_REGISTER,
            "a callee-saved register is lost on the way",
            file=ABI_FILE,
        ),
        Control(
            "clobber-global-pointer",
            Defect.CLOBBERED_REGISTER,
            "a register that everyone may address data from is lost on the way",
            file=ABI_FILE,
        ),
        Control(
            "clobber-argument",
            Defect.CLOBBERED_ARGUMENT,
            "an argument register is lost on the way",
            file=ABI_FILE,
        ),
        Control(
            "clobber-float",
            Defect.CLOBBERED_FLOAT,
            "a callee-saved floating-point register is lost on the way",
            abi="kept-floats",
            file=ABI_FILE,
        ),
        Control(
            "clobber-vector",
            Defect.CLOBBERED_VECTOR,
            "a callee-saved vector register is lost on the way",
            abi="kept-vectors",
            file=ABI_FILE,
        ),
        Control(
            "clobber-flags",
            Defect.CLOBBERED_FLAGS,
            "flags that a call need not keep are changed before the target is entered",
            transparent=True,
            file=ABI_FILE,
        ),
        Control(
            "clobber-kept-flags",
            Defect.CLOBBERED_KEPT_FLAGS,
            "flags that survive a call are lost on the way",
            abi="kept-flags",
            file=ABI_FILE,
        ),
        Control(
            "relies-on-scratch",
            Defect.CLOBBERED_SCRATCH,
            "a caller trusts that the default target leaves a scratch register alone",
            file=ABI_FILE,
        ),
        Control(
            "clobber-static-chain",
            Defect.HIDDEN_REGISTER,
            "the static chain of a nested function is lost on the way",
            transparent=True,
            file=ABI_FILE,
        ),
        Control(
            "nop-delay-slot",
            Defect.LOST_DELAY_SLOT,
            "the instruction behind a call is lost",
            abi="delay-slot",
            file=ABI_FILE,
        ),
        Control(
            "clobber-entry-register",
            Defect.ENTRY_REGISTER,
            "a target that is entered indirectly does not find its own address",
            abi="entry-register",
            file=ABI_FILE,
        ),
        Control(
            "no-entry-register",
            Defect.ENTRY_REGISTER,
            "a near jump leads to a target that needs the register which only an indirect entry sets",
            transparent=True,
            code=True,
            abi="entry-register",
            file="patch.c",
        ),
        Control(
            "clobber-variadic-count",
            Defect.VARIADIC_COUNT,
            "a variadic function is not told that doubles are in registers",
            transparent=True,
            abi="variadic-count",
            file=ABI_FILE,
        ),
        Control(
            "clobber-struct-pointer",
            Defect.STRUCT_POINTER,
            "a struct result goes elsewhere",
            file=ABI_FILE,
        ),
        Control(
            "clobber-float-argument",
            Defect.FLOAT_ARGUMENT,
            "a floating-point argument register is lost on the way",
            file=ABI_FILE,
        ),
        Control(
            "clobber-stack-argument",
            Defect.STACK_ARGUMENT,
            "an argument on the stack is lost on the way",
            file=ABI_FILE,
        ),
        Control(
            "narrow-not-extended",
            Defect.NARROW_EXTENSION,
            "a negative 8-bit argument arrives without its sign",
            abi="extension",
            file=ABI_FILE,
        ),
        Control(
            "truncated-return",
            Defect.TRUNCATED_RETURN,
            "the second half of a result is lost on the way back",
        ),
        Control(
            "wrong-return-address",
            Defect.RETURN_ADDRESS,
            "the target returns into the mechanism, which returns to the caller",
            transparent=True,
            file=ABI_FILE,
        ),
        Control(
            "overwrite-red-zone",
            Defect.RED_ZONE,
            "the mechanism stores below the stack pointer",
            transparent=True,
            abi="red-zone",
            file=ABI_FILE,
        ),
        Control(
            "misalign-stack",
            Defect.WRONG_STACK,
            "the target is entered with a stack pointer that is not aligned",
            file=ABI_FILE,
        ),
        Control(
            "leak-stack",
            Defect.WRONG_STACK,
            "16 bytes of stack are never given back, by function 0",
            file=ABI_FILE,
        ),
        Control(
            "clobber-toc",
            Defect.LOST_TOC,
            "the table of contents is lost on the way",
            abi="toc",
            file=ABI_FILE,
        ),
        Control(
            "toc-not-restored",
            Defect.LOST_TOC,
            "the call comes back with another table of contents",
            transparent=True,
            abi="toc",
            file=ABI_FILE,
        ),
        Control(
            "no-target-pad",
            Defect.MISSING_PAD,
            "a target has no landing pad",
            abi="landing-pads",
            cpu=("bti", True),
            file=ABI_FILE,
        ),
        Control(
            "no-stub-pad",
            Defect.MISSING_PAD,
            "a stub has no landing pad",
            abi="landing-pads",
            cpu=("bti", True),
        ),
        Control(
            "pad-overwritten",
            Defect.PAD_OVERWRITTEN,
            "a patch writes over the landing pad",
            abi="landing-pads",
            code=True,
        ),
        Control("target-for-address", Defect.WRONG_ADDRESS, "the function's address is that of its target"),
        Control("lazy-argument", Defect.LAZY_ARGUMENT, "under NULL the argument is not evaluated"),
        Control("unchecked", Defect.UNCHECKED_REQUEST, "targets and old bytes are not checked"),
        Control("lost-state", Defect.LOST_STATE, "a target other than the default begins anew in mid-stream"),
        Control("overread", Defect.OVERREAD, "one byte behind the buffer is read"),
        Control("dispatch-default", Defect.WRONG_DISPATCH, "dispatch never accelerates", cpu=("clmul", True)),
        Control("dispatch-fast", Defect.WRONG_DISPATCH, "dispatch accelerates on any CPU", cpu=("clmul", False)),
        Control("half-done", Defect.HALF_DONE, "a failure half way leaves what was done"),
        Control("sites-stay", Defect.BYPASS, "call sites are left on the stub"),
        Control(
            "every-other-site",
            Defect.SITE_LEFT_BEHIND,
            "every other call site is left on the stub",
        ),
        Control(
            "bare-sites-only",
            Defect.SITE_LEFT_BEHIND,
            "call sites that the compiler made are left on the stub",
        ),
        Control(
            "bit-zero-only", Defect.COARSE_ALIGNMENT, "of a target's alignment only bit 0 is looked at", aligned=True
        ),
        Control("end-included", Defect.END_INCLUDED, "the first address behind the text is taken for one inside it"),
        Control("half-compared", Defect.HALF_COMPARED, "of old code only the lower half is looked at"),
        Control("surroundings-unchecked", Defect.UNCHECKED_SURROUNDINGS, "what surrounds the word is not looked at"),
        Control("reentrant", Defect.NOT_SERIALISED, "a request is granted in the middle of another"),
        Control("left-writable", Defect.LEFT_WRITABLE, "the text stays writable after a patch"),
        Control(
            "closed-in-part",
            Defect.LEFT_WRITABLE,
            "the stubs are closed, and the call sites that were opened with them stay writable",
        ),
        Control("in-place", Defect.LEFT_WRITABLE, "text is stored to where it executes, not in its second mapping"),
        Control("execute-only", Defect.WRONG_PROTECTION, "after a patch the text cannot be read"),
        Control("not-executable", Defect.WRONG_PROTECTION, "after a patch the text cannot be executed", code=True),
        Control(
            "stale-cache",
            Defect.STALE_CACHE,
            "after a restore, a patch leads where the one before it did",
        ),
        Control(
            "stale-site",
            Defect.STALE_SITE,
            "call sites of text that is gone are still written",
        ),
        Control(
            "lost-link",
            Defect.LOST_LINK,
            "a redirected call becomes a jump, and a jump a call",
            file=SITES_FILE,
        ),
        Control(
            "tail-as-call",
            Defect.TAIL_AS_CALL,
            "a redirected jump of a tail call becomes a call",
        ),
        Control(
            "lost-condition",
            Defect.LOST_CONDITION,
            "a redirected branch is taken whatever its condition",
            file=SITES_FILE,
        ),
        Control(
            "late-site-default",
            Defect.LATE_SITE,
            "call sites that appear late lead to the default",
        ),
        Control("native-order", Defect.BYTE_ORDER, "a cipher takes words in the CPU's byte order", big=True),
        Control("ignore-error", Defect.IGNORED_ERROR, "a failure to open the text is reported as success"),
    )
}


@functools.lru_cache(maxsize=4096)
def needs_probes(scenario: Scenario) -> bool:
    """Only asm that looks at registers around a call can run ``scenario``, or could notice what it is about."""
    bare = any(isinstance(step, Call) and step.shape is Shape.BARE for step in walk(scenario.steps))
    return bare or _only_probes_notice(scenario.detects)


@functools.cache
def _only_probes_notice(defects: frozenset[Defect]) -> bool:
    about = _about(defects)
    return bool(about) and all(control.probe for control in about)


@functools.cache
def _about(defects: frozenset[Defect]) -> tuple[Control, ...]:
    """The controls that plant one of ``defects``."""
    return tuple(control for control in CONTROLS.values() if control.defect in defects)


def absent(scenario: Scenario, impossible: Callable[[Control], str | None]) -> list[str]:
    """The controls of ``scenario``, if all are planted in an architecture's files and are ``impossible`` in a guest.

    It is about a register or flag that this architecture does not have, if something looks at these there.
    """
    about = _about(scenario.detects)
    if not all(control.file for control in about):
        return []
    return [control.name for control in about] if all(map(impossible, about)) else []


def has_control(defects: frozenset[Defect], variants: Iterable[Variant], mechanism: Mechanism | str) -> bool:
    """Some control plants one of ``defects`` in ``mechanism``, on one of ``variants``."""
    about = _about(defects)
    return any(not control.impossible(variant, mechanism) for variant in variants for control in about)
