"""The decoders of the mechanism detour: what they move does the same elsewhere.

Each is asked a part of what `farm prove decoders` asks it, and its answers are changed to see that this is noticed.
"""

from __future__ import annotations

import functools

import pytest

from farm.engines.qemu_user import QEMU_USER
from farm.guest import arch_toml, build
from farm.prove.decoders import EXECUTED, Decoders, cannot, spec_of

VARIANTS = arch_toml.load()
_EVERY = {"x86_64": 101, "i386": 101}  # of the questions


@functools.cache
def decoders(name):
    variant = VARIANTS[name]
    if hole := QEMU_USER.hole(variant):
        pytest.skip(hole.reason)
    return Decoders(variant, build.image(spec_of(variant, next(iter(variant.toolchain)))))


@pytest.mark.parametrize("name", sorted(EXECUTED))
def test_what_is_moved_does_the_same(name):
    assert list(decoders(name).complaints(every=_EVERY.get(name, 23))) == []


def test_a_variant_whose_instructions_nothing_executes_says_so():
    assert cannot(VARIANTS["arm64be"]) == "arm64be: nothing executes its instructions one by one here"


@pytest.fixture
def answered(monkeypatch):
    """Complaints about a few instructions of arm64 whose answers are changed."""
    asked = decoders("arm64")

    def complain(word, change):
        code = word.to_bytes(4, "little")
        (question,) = [q for q in asked.questions() if q.code[:4] == code]
        monkeypatch.setattr(asked, "questions", lambda: [question])
        answers = [change(answer) for answer in Decoders.ask(asked, [question])]
        monkeypatch.setattr(asked, "ask", lambda _: answers)
        return list(asked.complaints())

    yield complain
    monkeypatch.undo()


def _in_place(answer, at, new):
    return answer._replace(written=answer.written[:at] + new + answer.written[at + len(new) :])


ADR, ADD, RET, BEQ = 0x10000083, 0x8B020020, 0xD65F03C0, 0x54000040


@pytest.mark.parametrize(
    ("word", "change", "said"),
    [
        (ADR, lambda a: _in_place(a, 96, b"\1"), "register 3 is"),  # the literal
        (ADD, lambda a: a._replace(size=0), "is refused, and does the same anywhere"),
        (ADD, lambda a: a._replace(size=8), "is taken to have 8 bytes, and has 4"),
        (ADD, lambda a: a._replace(ends=1), "is said to be the last that is executed, and is not"),
        (ADD, lambda a: a._replace(failed=1), "is said to lead where it may not, and does not"),
        (RET, lambda a: a._replace(ends=0), "is not said to be the last that is executed, and is"),
        (BEQ, lambda a: _in_place(a, 32, (BEQ ^ 1).to_bytes(4, "little")), "it goes on at"),
    ],
)
def test_a_wrong_answer_is_noticed(answered, word, change, said):
    (complaint,) = answered(word, change)
    assert said in complaint


def test_a_right_answer_is_not(answered):
    assert answered(ADR, lambda answer: answer) == []
