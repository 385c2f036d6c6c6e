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

    @property
    def macro(self) -> str:
        return "CONTROL_" + self.name.upper().replace("-", "_")

    def applies(self, variant: Variant, mechanism: str, features: frozenset[str] = frozenset()) -> bool:
        """The macro changes the guest: a coherent architecture has no cache maintenance to leave out."""
        if self.defect is Defect.STALE_FETCH and variant.coherence == "coherent":
            return False
        if self.cpu and (self.cpu[0] in features) != self.cpu[1]:
            return False
        return mechanism in self.mechanisms


CONTROLS: dict[str, Control] = {
    control.name: control
    for control in (
        Control("initial-fast", Defect.WRONG_INITIAL_TARGET, "the image is linked with a target other than the default"),
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
        Control("clobber-saved", Defect.CLOBBERED_REGISTER, "a callee-saved register is lost on the way"),
        Control("clobber-argument", Defect.CLOBBERED_ARGUMENT, "an argument register is lost on the way"),
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
