"""A step is declared once: its encoding, check, words and random programs follow, and nothing is left out of any."""

# Annotations are looked at when a step is declared: they are not left for later by an import from __future__.

import random
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import pytest

from farm import scenario
from farm.errors import UsageError
from farm.measure.fuzz import generate, source
from farm.scenario import Call, Shape, Step, Target, check, layout, model, patch, prose, query, wire
from farm.scenario.fields import LONG, Flag, Function, FunctionOrAll, Long, Member, Nested, Number, Offset
from farm.scenario.promises import Fact, Promise
from farm.scenario.steps import OPS, Cost, declare

INTERPRETER = Path(__file__).parent.parent / "images" / "guest" / "interp.c"
NAMES = {Target.FAST: "the fast one", Target.OTHER: "the other one"}


@pytest.fixture
def probe(monkeypatch):
    """A step that is declared here alone, with a field of every kind."""

    @declare(
        99,
        "Probe {function} and {whose} for {target}{off} with {x}, {times}, {loud}",
        events=5,
        needs=(Fact.POKES, Promise.REPORTS_FAILED_POKE),
    )
    @dataclass(frozen=True, slots=True)
    class Probe(Step):
        function: Annotated[int, Function()]
        whose: Annotated[int | None, FunctionOrAll()]
        target: Annotated[Target, Member(NAMES, NAMES)]
        times: Annotated[int, Number(7, 2, unit="time")]
        off: Annotated[int, Offset()]
        x: Annotated[int, Long(LONG, -LONG)]
        loud: Annotated[bool, Flag("aloud", "in silence")]
        steps: Annotated[tuple[Step, ...], Nested()] = ()

    monkeypatch.setattr(scenario, "Probe", Probe, raising=False)
    yield Probe
    del OPS[Probe]


GOOD = {"function": 3, "whose": None, "target": Target.OTHER, "times": 2, "off": 1, "x": -1, "loud": True}


def test_a_new_step_is_encoded_as_it_is_declared(probe):
    step = probe(**GOOD, steps=(query(1),))
    instruction = [99, 2 + 8 + 3, 3, 0xFF, Target.OTHER.value, 2, 1, 0xFFFFFFFF, 0xFFFFFFFF, 1]
    assert wire.program_words((query(0), step, query(2))) == [
        *(4, 3, 0),
        *(instruction[0] | 1 << 16, *instruction[1:], 4 | 2 << 16, 3, 1),
        *(4 | 3 << 16, 3, 2),
    ]


def test_the_guest_gets_the_number_of_a_new_step_and_another_hash(probe):
    assert "#define OP_ORIGINAL 18\n#define OP_PROBE 99\n" in layout.header()
    layout.wire_hash.cache_clear()
    try:
        with_probe = layout.wire_hash()
        del OPS[probe]
        layout.wire_hash.cache_clear()
        assert layout.wire_hash() != with_probe
    finally:
        OPS[probe] = 99
        layout.wire_hash.cache_clear()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("function", 18, "probe: function 18 found; expected a whole number from 0 to 17"),
        ("whose", -1, "probe: function -1 found; expected a whole number from 0 to 17"),
        ("target", Target.FAR, "probe: target <Target.FAR: 3> found; expected Target.FAST, Target.OTHER"),
        ("target", 1, "probe: target 1 found; expected Target.FAST, Target.OTHER"),
        ("times", 1, "probe: times 1 found; expected a whole number from 2 to 7"),
        ("off", 1 << 32, "probe: off 4294967296 found; expected a whole number from 0 to 0xffffffff"),
        ("x", 0.5, f"probe: x 0.5 found; expected a whole number from {-LONG:#x} to {LONG:#x}"),
        ("loud", 1, "probe: loud 1 found; expected True or False"),
        ("steps", [query(0)], "probe: steps [Query(function=0)] found; expected a tuple of steps"),
    ],
)
def test_each_field_of_a_new_step_is_checked_as_it_is_declared(probe, field, value, words):
    check.steps((probe(**GOOD),))
    with pytest.raises(UsageError, match=f"^step 0: {re.escape(words)}$"):
        check.steps((probe(**{**GOOD, field: value}),))


def test_steps_inside_a_new_step_are_checked_counted_and_numbered(probe):
    assert probe(**GOOD).cost(Cost(3, 2)) == Cost(8, 2)
    with pytest.raises(UsageError, match=r"^step 2: query: function 18 found"):
        check.steps((probe(**GOOD, steps=(query(0), query(18))),))


def test_a_new_step_is_said_as_it_is_declared(probe):
    step = probe(**GOOD, steps=(patch(0, "fast"),))
    words = (
        "Probe whatever_3 and every patchable function for the other one, 1 byte past its beginning with -1, 2 times, "
    )
    assert list(prose.lines((step,))) == [(0, f"{words}aloud"), (1, "Lead whatever_0 to fast")]
    assert probe(**{**GOOD, "whose": 2, "off": 0, "loud": False}).sentence() == (
        "Probe whatever_3 and whatever_2 for the other one with -1, 2 times, in silence"
    )


def test_a_new_step_is_drawn_and_written_as_source(probe):
    writer = generate.Writer(random.Random(1), frozenset(), (0, 1))
    drawn = [generate.any_step(probe, writer, 0) for _ in range(200)]
    assert {step.target for step in drawn} == set(NAMES)
    assert {step.whose is None for step in drawn} == {step.loud for step in drawn} == {True, False}
    assert {len(step.steps) for step in drawn} == {1, 2, 3}
    assert all(wire.program_words((step,)) for step in drawn)
    assert set(generate.needs(drawn[0])) == {"text"}
    assert source.expression(probe(**GOOD)) == "Probe(3, None, Target.OTHER, 2, 1, -1, loud=True)"


def test_the_model_refuses_a_step_that_it_does_not_know(probe):
    with pytest.raises(TypeError, match="the model does not know what Probe does"):
        model.Reference().execute(probe(**GOOD), 0)


def test_the_model_and_the_guest_know_every_step():
    assert set(model.DOES) == set(OPS)
    cases = re.findall(r"\bcase OP_(\w+):", INTERPRETER.read_text(encoding="utf-8"))
    assert sorted(cases) == sorted(step.__name__.upper() for step in OPS)


@pytest.mark.parametrize("step", OPS, ids=lambda step: step.__name__)
def test_users_import_a_step_from_the_words(step):
    assert getattr(scenario, step.__name__) is step
    assert step.__name__ in scenario.__all__


def test_no_two_steps_have_one_number():
    assert len(set(OPS.values())) == len(OPS)


@pytest.mark.parametrize("step", OPS, ids=lambda step: step.__name__)
def test_a_step_has_a_kind_for_each_field_an_operand_for_each_that_is_not_nested_and_a_sentence(step):
    assert list(step.FIELDS) == [field.name for field in fields(step)]
    plain = sorted(name for name in step.FIELDS if name != step.NESTED)
    assert sorted(name for name, _ in step.OPERANDS) == sorted(name for _, name, _ in step.CHECKS) == plain
    if step.SENTENCE:
        assert sorted(re.findall(r"{(\w+)}", step.SENTENCE)) == plain
    assert bool(step.SENTENCE) == (step.sentence is Step.sentence)


def test_every_target_and_shape_has_words():
    for function, target in enumerate(Target):
        assert patch(function, target).sentence().startswith(f"Lead whatever_{function} to ")
    for shape in Shape:
        assert Call(0, 1, shape).sentence().startswith("Call whatever_0(1) ")
