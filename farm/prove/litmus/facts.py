"""What the rules of arm64 (``arch.toml``) say that a barrier or an instruction of maintenance does.

The proofs of pokes read the same rules, so that an instruction means the same to both.
"""

from __future__ import annotations

import functools

from farm import paths
from farm.guest import arch_toml
from farm.guest.rules import Coherence

_KINDS = {"clean": "dc", "invalidate": "ic", "synchronise": "isb", "order": "dsb.full"}


@functools.cache
def coherence() -> Coherence:
    """The table ``[coherence]`` of arm64."""
    return arch_toml.load_folder(paths.data("arch") / "arm64")[0].coherence


def kind_of(text: str) -> str:
    """The kind of event that an instruction is, which the disassembler writes as ``text``; ``nop``: it orders nothing.

    A barrier that orders all, but completes no maintenance, is a ``dmb.full``, whatever its name.
    """
    rules = coherence()
    for step in rules.maintenance:
        if step.operand(text) is not None:
            return _KINDS[step.does[0]]
    stores = bool(rules.barrier and rules.barrier.does(text))
    loads = bool(rules.barrier and rules.barrier.orders_loads(text))
    if stores and loads:
        return "dmb.full"
    name = text.partition(" ")[0]
    return f"{name}.st" if stores else f"{name}.ld" if loads else "nop"
