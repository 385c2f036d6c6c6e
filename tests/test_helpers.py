"""What mechanisms share does all that its headers promise, on every variant."""

from __future__ import annotations

import pytest

from farm.guest import arch_toml, build
from farm.prove import helpers

VARIANTS = arch_toml.load()


@pytest.mark.parametrize("name", ["arm64", "m68k", "ppc64v1", "thumb", "x86_64"])  # of each kind of slot and address
def test_what_mechanisms_share_answers_as_promised(name):
    variant = VARIANTS[name]
    asked = helpers.ask_all(variant, next(iter(variant.toolchain)))
    if asked.unproved:
        pytest.skip(asked.unproved)
    assert asked.wrong == ()


def test_a_wrong_answer_is_told(monkeypatch):
    variant = VARIANTS["arm64"]
    asked = helpers.ask

    def spoilt(*arguments):
        value, scratch = (answers := asked(*arguments))[0]
        if len(answers) < 100:
            return answers
        return [(value, scratch[:8] + b"\0" + scratch[9:]), (value ^ 1, scratch), *answers[2:]]

    monkeypatch.setattr(helpers, "ask", spoilt)
    image = build.image(helpers.spec_of(variant, next(iter(variant.toolchain))))
    first, second = helpers.complaints(variant, image)
    assert first == "a store of 1 bytes, 8 behind a multiple of 64: byte 8 is 0x00 and not 0x01"
    assert second == "a store of 1 bytes, 9 behind a multiple of 64: the answer is 0x0 and not 0x1"
