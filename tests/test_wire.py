"""The wire format: what is encoded comes back, and its layout is written down."""

from __future__ import annotations

import itertools
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm import suite
from farm.run.verdict import first_difference
from farm.scenario import Target, call, layout, patch, prose, query, restore, wire
from farm.scenario.wire import Event

GOLDEN = Path(__file__).parent / "golden"

_word = st.integers(0, 0xFFFFFFFF)
_half = st.integers(0, 0xFFFF)
_events = st.builds(
    Event,
    kind=st.sampled_from(sorted(layout.KINDS)),
    step=_half,
    target=_word,
    arguments=_word,
    value=st.integers(0, 2**64 - 1),
    stack=st.integers(-(2**31), 2**31 - 1),
    abi=_word,
    depth=_word,
)


def words_of(program, order="<"):
    return struct.unpack(f"{order}{len(program) // 4}I", program)


def instructions(words, depth=0):
    """Op, step and operands of each instruction, walked as the guest walks them: ``pc += pc[1]``."""
    operands = dict.fromkeys(range(1, 19), 1) | {1: 8, 2: 3, 9: 0, 12: 0, 13: 0, 14: 4, 15: 0, 16: 2, 18: 3}
    pc = 0
    while pc < len(words):
        op, length = words[pc] & 0xFFFF, words[pc + 1]
        inner = pc + 2 + operands[op]
        yield depth, op, words[pc] >> 16, words[pc + 2 : inner]
        yield from instructions(words[inner : pc + length], depth + 1)
        assert length >= 2 + operands[op]
        pc += length
    assert pc == len(words)


@given(st.lists(_events, max_size=8), st.booleans())
@settings(max_examples=100)
def test_events_survive_a_round_trip_in_either_byte_order(events, big_endian):
    trace = bytes(4 * layout.HEADER_WORDS) + wire.encode_events(events, big_endian=big_endian)
    assert wire.decode_events(trace, len(events), big_endian=big_endian) == events


@given(_events)
def test_the_two_byte_orders_of_an_event_hold_the_same_words(event):
    little = wire.encode_events([event], big_endian=False)
    big = wire.encode_events([event], big_endian=True)
    assert words_of(little) == words_of(big, ">") == event.words()


@given(st.lists(_events, min_size=1, max_size=4), st.integers(0, 31))
def test_a_trace_that_is_cut_off_gives_the_events_that_are_whole(events, missing):
    trace = bytes(4 * layout.HEADER_WORDS) + wire.encode_events(events, big_endian=False)
    whole = len(events) - (missing > 0)
    seen = wire.decode_events(trace[: len(trace) - missing], len(events), big_endian=False)
    assert seen == events[:whole]


def test_an_event_of_a_kind_nobody_knows_is_named_by_its_number():
    trace = bytes(4 * layout.HEADER_WORDS) + struct.pack("<8I", 77, 0, 0, 0, 0, 0, 0, 0)
    assert wire.decode_events(trace, 1, big_endian=False)[0].kind == "kind 77"


def test_a_trace_too_short_for_a_header_has_none():
    assert wire.decode_header(bytes(4 * layout.HEADER_WORDS - 1), big_endian=False) is None
    assert wire.decode_header(b"", big_endian=True) is None


@pytest.mark.parametrize(
    ("big_endian", "word_size", "mechanism", "expected"),
    [
        (False, 8, 2, 0x20801),
        (False, 8, 0x8001, 0x80010801),
        (True, 8, 2, 0x20802),
        (True, 4, 1, 0x10402),
    ],
)
def test_identity_tells_byte_order_word_size_and_mechanism(big_endian, word_size, mechanism, expected):
    assert wire.identity(big_endian=big_endian, word_size=word_size, mechanism=mechanism) == expected


@pytest.mark.parametrize("name", ["supersede_then_restore", "patched_by_grandchild"])
def test_the_layout_of_a_program_is_the_golden_one(name):
    words = words_of(wire.encode(suite.load()[name], big_endian=False))
    assert words[1] == layout.wire_hash()
    lines = [f"{words[0]:#x} HASH {words[2]}"]
    lines += [
        f"{'  ' * depth}op {op} step {step}: {' '.join(f'{word:#x}' for word in operands)}"
        for depth, op, step, operands in instructions(words[3:])
    ]
    assert "\n".join(lines) + "\n" == (GOLDEN / f"{name}.program").read_text(encoding="utf-8")


@pytest.mark.parametrize("scenario", suite.load().values(), ids=lambda scenario: scenario.name)
def test_lengths_of_instructions_nest(scenario):
    words = words_of(wire.encode(scenario, big_endian=True), ">")
    assert words[0] == layout.PROGRAM_MAGIC
    assert words[2] == len(words) - 3
    steps = [step for _, _, step, _ in instructions(words[3:])]
    assert steps == list(range(len(steps)))  # a pre-order walk


@pytest.mark.parametrize("scenario", suite.load().values(), ids=lambda scenario: scenario.name)
def test_the_two_byte_orders_of_a_program_hold_the_same_words(scenario):
    little = wire.encode(scenario, big_endian=False)
    assert words_of(little) == words_of(wire.encode(scenario, big_endian=True), ">")


def test_a_64_bit_number_is_two_words_the_low_one_first(scenario):
    words = words_of(wire.encode(scenario(call(4, 0x11112222_33334444)), big_endian=True), ">")
    assert words[3 + 4 : 3 + 6] == (0x33334444, 0x11112222)


def test_a_program_as_large_as_a_guest_takes_is_encoded_and_one_word_more_is_refused(scenario):
    room = layout.PROGRAM_WORDS - 3
    three, five = query(0), patch(0, "fast")  # words
    largest = wire.encode(scenario(*(three,) * 1361, *(five,) * 2), big_endian=False)
    assert len(largest) == 4 * layout.PROGRAM_WORDS
    with pytest.raises(ValueError, match=rf"a program of {room + 1} words; a guest takes {room}"):
        wire.encode(scenario(*(three,) * 1363, five), big_endian=False)


def test_the_guest_gets_the_hash_of_its_own_constants():
    text = layout.header()
    assert f"#define WIRE_HASH {layout.wire_hash():#x}\n" in text
    assert text.count("#define WIRE_HASH") == 1


@pytest.mark.parametrize(
    "constant",
    ["PROGRAM_MAGIC", "TRACE_MAGIC", "PROGRAM_WORDS", "TRACE_EVENTS", "EVENT_WORDS", "NO_TARGET", "FNV_PRIME"],
)
def test_the_hash_changes_with_a_constant(constant, monkeypatch):
    before = layout.wire_hash()
    monkeypatch.setattr(layout, constant, getattr(layout, constant) + 1)
    layout.wire_hash.cache_clear()
    try:
        assert layout.wire_hash() != before
    finally:
        layout.wire_hash.cache_clear()


@pytest.mark.parametrize("table", ["OPS", "KINDS"])
def test_the_hash_changes_with_a_number_in_a_table(table, monkeypatch):
    before = layout.wire_hash()
    monkeypatch.setitem(getattr(layout, table), next(iter(getattr(layout, table))), 99)
    layout.wire_hash.cache_clear()
    try:
        assert layout.wire_hash() != before
    finally:
        layout.wire_hash.cache_clear()


@pytest.mark.parametrize("table", ["OPS", "KINDS"])
def test_no_two_names_share_a_number(table):
    numbers = list(getattr(layout, table).values())
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            Event("enter", 3, 0x0501, 0xAB, 0, 0, 0, 2),
            "step 3: enter whatever_5 -> fast, arguments 0x000000ab, depth 2",
        ),
        (
            Event("return", 0, 0x00FF, 0, 1006, -8, 4, 0),
            "step 0: return whatever_0, value 0x3ee, stack -8, ABI violations 0x4",
        ),
        (Event("patch", 1, 0x06F0, 0, 4, 0, 0, 0), "step 1: patch whatever_6 -> null, read-only"),
        (Event("restore", 1, 0x0000, 0, 9, 0, 0, 0), "step 1: restore whatever_0 -> default, status 9"),
        (Event("code", 1, 0xFFFF, 0, 1, 0, 0, 0), "step 1: code nothing, changed"),
        (Event("query", 1, 0xFFFE, 0, 0, 0, 0, 0), "step 1: query unknown target 0xfffe"),
        (Event("enter", 1, 0x0077, 0, 0, 0, 0, 0), "step 1: enter whatever_0 -> unknown 0x77, arguments 0x00000000"),
        (Event("loop", 1, 0xFFFF, 5, 0x2_0000_0001, 0, 0, 0), "step 1: loop nothing, 5 events, digest 0x200000001"),
    ],
)
def test_an_event_reads_as_a_sentence(event, text):
    assert str(event) == text


_unknown = st.integers(77, 0xFFFF).map("kind {}".format)
_any_event = st.builds(
    Event,
    kind=st.sampled_from(sorted(layout.KINDS)) | _unknown,
    step=_half,
    target=st.sampled_from([0, 0xFF, 0x1FF, 0xF0, 0x77, layout.NO_TARGET, layout.UNKNOWN_TARGET]) | _word,
    arguments=st.integers(0, 3) | _word,
    value=st.integers(0, 8) | st.integers(0, 2**64 - 1),
    stack=st.integers(-8, 8) | st.integers(-(2**31), 2**31 - 1),
    abi=st.integers(0, 3) | _word,
    depth=st.integers(0, 3) | _word,
)


@given(_any_event, st.data())
@settings(max_examples=500)
def test_two_events_that_differ_have_different_words(event, data):
    other = data.draw(_any_event)
    changed = data.draw(st.sampled_from(Event._fields))
    assert (str(event) == str(other)) == (event == other)
    other = event._replace(**{changed: getattr(other, changed)})
    assert (str(event) == str(other)) == (event == other)


def test_small_events_that_differ_have_different_words():
    kinds, targets = [*layout.KINDS, "kind 77"], [0, 1, 0xFF, 0x100, layout.NO_TARGET, layout.UNKNOWN_TARGET]
    events = [Event(*parts, 0, 0, 0) for parts in itertools.product(kinds, [0, 1], targets, range(3), range(9))]
    assert len(set(map(str, events))) == len(events)


@pytest.mark.parametrize("kind", layout.KINDS)
def test_a_difference_in_the_value_alone_is_told(kind):
    right = Event(kind, 4, layout.NO_TARGET, 0, 0, 0, 0, 0)
    words = first_difference([right], [right._replace(value=1)])
    expected, seen = re.fullmatch(r"event 0: expected \[(.*)\], seen \[(.*)\]", words).groups()
    assert expected != seen


def test_targets_are_named_by_function_and_number():
    assert wire.target_word(3, Target.FAR) == 0x0303
    assert prose.target_name(wire.target_word(7, Target.RET0)) == "whatever_7 -> ret0"


def test_fnv_of_nothing_is_the_basis_and_is_chained_by_its_second_argument():
    assert wire.fnv(()) == 0x811C9DC5
    assert wire.fnv((1, 2)) == wire.fnv((2,), wire.fnv((1,)))
    assert wire.fnv((0,)) == (0x811C9DC5 * 0x01000193) % 2**32


def test_equal_steps_of_two_scenarios_encode_alike(scenario):
    steps = (patch(0, "fast"), call(0, 5), restore(0))
    one, other = scenario(*steps), scenario(*steps, name="another")
    assert wire.encode(one, big_endian=False) == wire.encode(other, big_endian=False)
