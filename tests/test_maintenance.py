"""Maintenance and barriers of guests that no audit sees: what the linked image has is what arch.toml says."""

from __future__ import annotations

import re

import pytest

from farm.engines.unicorn import UNICORN
from farm.guest import arch_toml, build, mechanisms
from farm.guest.disassemble import texts
from farm.guest.image import Spec
from farm.guest.variant import UnicornSettings


def is_audited(variant):
    """The engine that notes stores runs the guest, and every step of its maintenance."""
    settings = variant.engine.get("unicorn")
    if not isinstance(settings, UnicornSettings) or settings.since or not UNICORN.watches(variant):
        return False
    return not any(step.unaudited for step in variant.coherence.maintenance)


UNSEEN = [variant for variant in arch_toml.load().values() if not is_audited(variant)]

#: By disassembler, where a function finds its first argument: here the address of the word that was stored.
ARGUMENT = {"hppa": "r26", "mips": "$a0", "sparc": "%o0"}

#: Instructions that a CPU may still have fetched before, behind the last step, by architecture (its patch.c).
FETCHED_BEFORE = {"parisc": 7, "sparc": 5}

everywhere = pytest.mark.parametrize("variant", UNSEEN, ids=lambda variant: variant.name)


def image_of(variant):
    mechanism = next(name for name in ("stub", "literal") if not mechanisms.load()[name].missing(variant))
    return build.image(Spec(variant, mechanism, next(iter(variant.toolchain))))


def code_of(variant, name):
    """The instructions of a function of the linked image, as text."""
    image = image_of(variant)
    starts = sorted({address & ~variant.function_bias for address in image.functions.values()})
    start = image.functions[name] & ~variant.function_bias
    end = min(each for each in starts if each > start)
    return [text for _, _, text in texts(variant, image.bytes_at(start, end - start), start)]


def does(variant, step, text):
    """The instruction is the step, for the word that was stored; of what a kernel does, it has the call's number."""
    if asks_the_kernel(step, text):
        return True
    operand = step.operand(text)
    return operand is not None and (not step.has_address or ARGUMENT[variant.disassembler[0]] in operand)


def asks_the_kernel(step, text):
    """The instruction makes the number of the system call that the step may be left to."""
    call = re.search(r"system call (\d+)", step.kernel)
    return bool(call and re.search(rf"#(\${int(call[1]):x}|{call[1]})\b", text))


def steps_of(variant):
    """The steps of the maintenance, without those that the same system call does as the one before, if it is made."""
    steps, code = variant.coherence.maintenance, code_of(variant, "arch_sync_code")
    asked = any(asks_the_kernel(step, text) for step in steps for text in code)
    return [step for step in steps if not asked or step.kernel != "the same call"]


def lacking(variant, code):
    """The steps that are not in ``code``, in their order."""
    rest = iter(code)
    return [step for step in steps_of(variant) if not any(does(variant, step, text) for text in rest)]


def test_the_guests_that_no_audit_sees_are_these():
    names = {variant.name for variant in UNSEEN}
    assert names >= {"alpha", "hppa", "loongarch64", "sh4", "sparc32", "sparc64"}
    assert all(variant.disassembler for variant in UNSEEN), "else nothing below can be read"


@everywhere
def test_every_step_of_the_maintenance_is_in_the_image(variant):
    code = code_of(variant, "arch_sync_code")
    assert steps_of(variant)
    assert lacking(variant, code) == []
    for step in steps_of(variant):
        place = next(i for i, text in enumerate(code) if does(variant, step, text))
        assert lacking(variant, code[:place] + code[place + 1 :])


@pytest.mark.parametrize("variant", [v for v in UNSEEN if v.architecture in FETCHED_BEFORE], ids=lambda v: v.name)
def test_what_was_fetched_before_the_last_step_does_nothing(variant):
    code, step = code_of(variant, "arch_sync_code"), variant.coherence.maintenance[-1]
    last = max(i for i, text in enumerate(code) if step.operand(text) is not None)
    behind = code[last + 1 : last + 1 + FETCHED_BEFORE[variant.architecture]]
    assert len(behind) == FETCHED_BEFORE[variant.architecture]
    assert set(behind) <= {"nop", "or r0, r0, r0"}


@everywhere
def test_the_barrier_between_slot_and_word_is_in_the_image(variant):
    barrier = variant.coherence.barrier
    if not image_of(variant).stubs.slot:
        assert "arch_store_barrier" not in image_of(variant).functions
        return
    does = [text for text in code_of(variant, "arch_store_barrier") if barrier.does(text)]
    assert len(does) == (1 if barrier.instructions else 0)
