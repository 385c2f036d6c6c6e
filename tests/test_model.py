"""The reference model: expectations worked out by hand, laws for every program, and the guest's own opinion."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm import suite
from farm.engines.unicorn import UNICORN
from farm.scenario import (
    FUNCTIONS,
    REAL_TARGETS,
    Call,
    Code,
    Defect,
    Kind,
    Load,
    LockText,
    Loop,
    Patch,
    Query,
    Restore,
    Scenario,
    Scribble,
    Shape,
    Status,
    Tamper,
    Target,
    algorithms,
    call,
    code,
    has_call_site,
    layout,
    loop,
    model,
    null,
    original,
    output,
    patch,
    prose,
    query,
    restore,
    ret0,
    sites,
    substeps,
    wire,
)
from farm.scenario.model import ScenarioError, predict
from farm.scenario.wire import Event

GOLDEN = Path(__file__).parent / "golden"
INT, LONG, WIDE, VOID, CRC, CHACHA = map(
    FUNCTIONS.index, (Kind.INT, Kind.LONG, Kind.WIDE, Kind.VOID, Kind.CRC, Kind.CHACHA)
)


def fnv(*words):
    """FNV-1a over words, written down once more so that the model's own is not its own judge."""
    digest = 2166136261
    for word in words:
        digest = (digest ^ word) * 16777619 % 2**32
    return digest


def returned(events):
    return [event.value for event in events if event.kind == "return"]


def entered(events):
    return [prose.target_name(event.target) for event in events if event.kind == "enter"]


def statuses(events):
    return [Status(event.value).name for event in events if event.kind in ("patch", "restore")]


# By hand.


def test_a_call_is_an_enter_and_a_return(scenario):
    assert predict(scenario(call(0, 5))) == (
        Event("enter", 0, 0x0000, 0x000C5540, 0, 0, 0, 0),
        Event("return", 0, 0x00FF, 0, 1006, 0, 0, 0),
    )


@pytest.mark.parametrize(("target", "expected"), [("default", 1005), ("fast", 11), ("other", 5 ^ 0x55), ("far", 22)])
def test_each_target_returns_its_own_value(scenario, target, expected):
    events = predict(scenario(patch(0, target), call(0, 5, "tail"), call(0, 5), call(0, 5, "ignored")))
    assert returned(events) == [expected, expected + 1, 0]
    assert entered(events) == [f"whatever_0 -> {target}"] * 3


def test_each_function_returns_a_value_of_its_own(scenario):
    events = predict(scenario(*(call(f, 5, "tail") for f in (0, 1, 2, 3))))
    assert returned(events) == [1005, 1005 + (1 << 20), 1005 + (2 << 20), 1005 + (3 << 20)]


def test_an_int_function_sees_the_low_32_bits_and_wraps_there(scenario):
    events = predict(scenario(call(0, 0x1_FFFF_FFFF, "tail"), patch(0, "far"), call(0, 0xFFFF_FFFF, "tail")))
    assert returned(events) == [999, 4]
    assert events[0].arguments == events[3].arguments == fnv(0xFFFFFFFF)


def test_a_long_function_sees_64_bits_and_a_second_argument(scenario):
    x = 0x1_0000_0005
    events = predict(scenario(call(LONG, x, "tail"), patch(LONG, "other"), call(LONG, x, "tail")))
    assert events[0].arguments == fnv(5, 1, 16)
    assert returned(events) == [x + 16 + 1000 + (4 << 20), ((x + 16) ^ 0x55) + (4 << 20)]


def test_a_long_result_wraps_at_64_bits(scenario):
    events = predict(scenario(patch(LONG, "fast"), call(LONG, 2**64 - 1, "tail")))
    second = (3 * 0xFFFFFFFF + 1) % 2**32
    assert returned(events) == [(2 * (second - 1) + 1 + (4 << 20)) % 2**64]


def test_a_wide_function_digests_eight_arguments(scenario):
    events = predict(scenario(call(WIDE, 0x1_0000_0003, "tail")))
    digest = fnv(*(3 + 0x1111 * i for i in range(8)))
    assert events[0].arguments == digest
    assert returned(events) == [(digest + 1000 + (5 << 20)) % 2**32]


def test_a_void_function_returns_nothing_in_any_shape(scenario):
    shapes = [shape for shape in Shape if has_call_site(VOID, shape) and shape is not Shape.COUNTED]
    events = predict(scenario(*(call(VOID, 5, shape, count=2) for shape in shapes)))
    assert set(returned(events)) == {0}
    assert len(entered(events)) == 1 + 1 + 1 + 2 + 1 + 3


def test_a_call_in_a_shape_that_its_function_does_not_have_is_refused(scenario):
    with pytest.raises(ScenarioError, match="whatever_4 has no call site of shape bare"):
        predict(scenario(call(LONG, 1, "bare")))
    with pytest.raises(ScenarioError, match="whatever_5 has no call site of shape counted"):
        predict(scenario(call(WIDE, 1, "counted")))


def test_a_counted_call_answers_one_whatever_it_leads_to(scenario):
    steps = (call(VOID, 5, "counted"), null(VOID), call(VOID, 5, "counted"), ret0(0), call(0, 5, "counted"))
    assert returned(predict(scenario(*steps))) == [1, 1, 1]


def test_narrow_numbers_are_extended_by_their_sign():
    ones = 2**32 - 1
    assert model.arguments(Kind.NARROW, 0x8280) == (
        *(ones - 0x7F, 0x80, ones - 0x7D7F, 0x8280, 0x8280, 0x8280, ones - 0x7D, 0),
    )


def test_a_looped_call_adds_up_its_results(scenario):
    events = predict(scenario(call(0, 5, "looped", count=3)))
    assert returned(events) == [1005 + 1006 + 1007]
    assert [event.arguments for event in events[:3]] == [fnv(5), fnv(6), fnv(7)]


def test_a_looped_call_of_no_iterations_enters_nothing(scenario):
    assert predict(scenario(call(0, 5, "looped", count=0))) == (Event("return", 0, 0x00FF, 0, 0, 0, 0, 0),)


def test_recursion_patched_half_way_finishes_in_the_new_target(scenario):
    events = predict(scenario(call(2, 10, "recursive", count=3, at=1, inside=(patch(2, "fast"),))))
    base = 2 << 20
    assert [(event.kind, event.depth) for event in events] == [
        ("enter", 0),
        ("enter", 1),
        ("patch", 2),
        ("enter", 2),
        ("enter", 3),
        ("return", 0),
    ]
    assert entered(events) == ["whatever_2 -> default"] * 2 + ["whatever_2 -> fast"] * 2
    assert returned(events) == [(1010 + base) + (1009 + base) + (2 * 8 + 1 + base) + (2 * 7 + 1 + base)]


def test_what_runs_inside_runs_once(scenario):
    events = predict(scenario(call(0, 1, "looped", count=3, inside=(query(0),))))
    assert [event.kind for event in events] == ["enter", "query", "enter", "enter", "return"]


def test_what_runs_inside_a_level_that_is_never_reached_never_runs(scenario):
    events = predict(scenario(call(0, 1, "recursive", count=2, at=3, inside=(patch(0, "fast"),)), call(0, 1)))
    assert set(entered(events)) == {"whatever_0 -> default"}


def test_a_running_target_returns_its_own_value_though_it_is_replaced_meanwhile(scenario):
    events = predict(scenario(call(0, 5, "tail", inside=(patch(0, "fast"),)), call(0, 5, "tail")))
    assert returned(events) == [1005, 11]


def test_null_lets_a_void_call_return_at_once(scenario):
    events = predict(scenario(null(VOID), call(VOID, 1), query(VOID), restore(VOID), call(VOID, 2)))
    assert [event.kind for event in events] == ["patch", "return", "query", "restore", "enter", "return"]
    assert prose.target_name(events[2].target) == "whatever_6 -> null"


@pytest.mark.parametrize("function", [INT, LONG, WIDE])
def test_null_is_refused_where_a_value_is_returned(scenario, function):
    events = predict(scenario(null(function), call(function, 1)))
    assert statuses(events) == ["BAD_TARGET"]
    assert entered(events) == [f"whatever_{function} -> default"]


@pytest.mark.parametrize("function", [INT, LONG, WIDE])
def test_ret0_returns_zero_and_enters_nothing(scenario, function):
    events = predict(scenario(ret0(function), call(function, 2**64 - 1, "tail"), call(function, 9)))
    assert returned(events) == [0, 1]  # and the call site adds one
    assert entered(events) == []


def test_next_follows_the_function_that_it_leads_to(scenario):
    events = predict(scenario(patch(0, "next"), patch(1, "next"), patch(2, "far"), call(0, 5, "tail"), query(0)))
    assert entered(events) == ["whatever_2 -> far"]
    assert returned(events) == [22 + (2 << 20)]
    assert prose.target_name(events[-1].target) == "whatever_0 -> next"
    assert events[-2].target == 0x00FF  # the caller's function returned, not the one that was reached


def test_recursion_through_a_chain_stays_where_the_chain_led(scenario):
    steps = (patch(0, "next"), call(0, 9, "recursive", count=1, inside=(restore(0),)))
    assert entered(predict(scenario(*steps))) == ["whatever_1 -> default"] * 2


def test_next_to_a_function_under_null_enters_nothing(scenario):
    events = predict(scenario(patch(6, "next"), null(7), call(6, 1)))
    assert [event.kind for event in events] == ["patch", "patch", "return"]


@pytest.mark.parametrize(
    ("step", "status"),
    [
        (patch(0, "stub"), "BAD_TARGET"),
        (patch(0, "data"), "BAD_TARGET"),
        (patch(0, "zero"), "BAD_TARGET"),
        (patch(0, "end"), "BAD_TARGET"),
        (patch(0, "far_end"), "BAD_TARGET"),
        (patch(0, "misaligned"), "MISALIGNED"),
        (patch(0, "halfway"), "MISALIGNED"),
        (Patch(0, Target.FAST, offset=1), "MISALIGNED"),
        (Patch(0, Target.FAST, offset=2), "MISALIGNED"),
    ],
)
def test_a_bad_request_is_refused_and_changes_nothing(scenario, step, status):
    events = predict(scenario(patch(0, "far"), step, query(0), call(0, 5)))
    assert statuses(events) == ["OK", status]
    assert prose.target_name(events[2].target) == "whatever_0 -> far"
    assert entered(events) == ["whatever_0 -> far"]


def test_foreign_bytes_are_left_alone(scenario):
    events = predict(scenario(Scribble(0), patch(0, "fast"), restore(0), code(0), patch(1, "fast"), code(1)))
    assert statuses(events) == ["FOREIGN", "FOREIGN", "OK"]
    assert [event.value for event in events if event.kind == "code"] == [1, 1]


def test_text_that_cannot_be_opened_keeps_its_bytes(scenario):
    events = predict(
        scenario(LockText(), patch(0, "fast"), restore(0), code(), LockText(locked=False), patch(0, "fast"), code())
    )
    assert statuses(events) == ["READ_ONLY", "READ_ONLY", "OK"]
    assert [event.value for event in events if event.kind == "lock"] == [1, 0]
    assert [event.value for event in events if event.kind == "code"] == [0, 1]


def test_call_sites_follow_and_what_is_tampered_with_is_as_it_was(scenario):
    steps = (patch(0, "fast"), sites(0, "fast"), Tamper(0), restore(0), sites(0, "default"), code())
    assert [event.value for event in predict(scenario(*steps)) if event.kind in ("sites", "tamper", "code")] == [0] * 4


@pytest.mark.parametrize("request_", [patch(VOID, t) for t in ("fast", "far", "next", "null", "ret0")] + [query(VOID)])
def test_an_original_is_the_default_whatever_the_function_leads_to(scenario, request_):
    _, entered, returned, *_ = predict(scenario(request_, original(VOID, 5)))
    assert (entered.kind, entered.target, entered.arguments) == ("enter", VOID << 8, fnv(5))
    assert (returned.kind, returned.target, returned.value) == ("return", VOID << 8 | 0xFF, 0)


def test_what_is_inside_an_original_runs_in_its_target(scenario):
    events = predict(scenario(patch(0, "fast"), original(0, 5, inside=(call(0, 1), restore(0))), call(0, 5)))
    kinds = ["patch", "enter", "enter", "return", "restore", "return", "enter", "return"]
    assert [event.kind for event in events] == kinds
    assert [event.target & 0xFF for event in events if event.kind == "enter"] == [0, 1, 0]
    assert [event.depth for event in events] == [0, 0, 1, 1, 1, 0, 0, 0]
    assert [event.step for event in events] == [0, 1, 2, 2, 3, 1, 4, 4]


def test_an_original_goes_on_with_work_where_the_last_target_ended(scenario):
    steps = (call(CRC, 100), patch(CRC, "other"), original(CRC, 28 | 100 << 16 | 1 << 32))
    assert predict(scenario(*steps))[-1].value == algorithms.crc_of_pattern(0, 128, 0)


def test_foreign_bytes_are_noticed_before_the_text_is_opened(scenario):
    assert statuses(predict(scenario(Scribble(0), LockText(), patch(0, "fast")))) == ["FOREIGN"]


def test_patching_to_the_default_is_restoring(scenario):
    events = predict(scenario(patch(0, "fast"), patch(0, "default"), code(), query(0)))
    assert events[2].value == 0
    assert prose.target_name(events[3].target) == "whatever_0 -> default"


def test_code_of_one_function_does_not_look_at_the_others(scenario):
    events = predict(scenario(patch(2, "fast"), code(1), code(2), code(3), code()))
    assert [event.value for event in events[1:]] == [0, 1, 0, 1]
    assert [event.target for event in events[1:]] == [0x01FF, 0x02FF, 0x03FF, layout.NO_TARGET]


def test_a_loop_is_one_event_with_the_digest_of_all_that_happened(scenario):
    events = predict(scenario(query(3), loop(2, patch(0, "fast"), call(0, 5))))
    once = (
        (3 | 2 << 16, 0x0001, 0, 0, 0, 0, 0, 0),  # patch, step 2
        (1 | 3 << 16, 0x0001, fnv(5), 0, 0, 0, 0, 0),  # enter, step 3
        (2 | 3 << 16, 0x00FF, 0, 12, 0, 0, 0, 0),  # return, step 3
    )
    digest = fnv(*(word for event in once * 2 for word in event))
    assert events[1:] == (Event("loop", 1, layout.NO_TARGET, 6, digest | 2 << 32, 0, 0, 0),)


def test_an_inner_loop_is_one_event_of_the_outer_one(scenario):
    (event,) = predict(scenario(loop(3, loop(2, query(0)), query(1))))
    query_0 = (5 | 2 << 16, 0x0000, 0, 0, 0, 0, 0, 0)
    inner = (9 | 1 << 16, 0xFFFF, 2, fnv(*query_0, *query_0), 2, 0, 0, 0)
    query_1 = (5 | 3 << 16, 0x0100, 0, 0, 0, 0, 0, 0)
    assert event == Event("loop", 0, 0xFFFF, 6, fnv(*(inner + query_1) * 3) | 3 << 32, 0, 0, 0)


def test_a_loop_that_never_runs_has_the_digest_of_nothing(scenario):
    (event,) = predict(scenario(loop(0, query(0))))
    assert (event.arguments, event.value) == (0, 0x811C9DC5)


@pytest.mark.parametrize("name", ["supersede_then_restore", "patched_by_grandchild"])
def test_the_trace_of_a_scenario_is_the_golden_one(name):
    text = "".join(f"{event}\n" for event in predict(suite.load()[name]))
    assert text == (GOLDEN / f"{name}.trace").read_text(encoding="utf-8")


# What the specification leaves open.


def test_a_scenario_without_events_is_refused(scenario):
    with pytest.raises(ScenarioError, match="no events: it would prove nothing"):
        predict(scenario())


def test_a_scenario_with_more_events_than_a_guest_holds_is_refused(scenario):
    predict(scenario(call(0, 1, "looped", count=layout.TRACE_EVENTS - 1)))
    with pytest.raises(
        ScenarioError, match=rf"{layout.TRACE_EVENTS + 1} events; a guest holds {layout.TRACE_EVENTS}: use loop\(\)"
    ):
        predict(scenario(call(0, 1, "looped", count=layout.TRACE_EVENTS)))


def test_a_call_that_would_execute_foreign_bytes_is_refused(scenario):
    with pytest.raises(ScenarioError, match="whatever_0 is called while foreign bytes are at its stub"):
        predict(scenario(Scribble(0), call(0, 1)))
    with pytest.raises(ScenarioError, match="whatever_0 is called while foreign bytes"):
        predict(scenario(Scribble(1), patch(0, "next"), call(0, 1)))


def test_a_chain_into_another_prototype_is_refused(scenario):
    with pytest.raises(ScenarioError, match="whatever_3 leads to whatever_4, which has another prototype"):
        predict(scenario(patch(3, "next"), call(3, 1)))


def test_a_chain_that_bites_its_tail_is_refused(scenario):
    with pytest.raises(ScenarioError, match="whatever_0 leads back to itself"):
        predict(scenario(*(patch(f, "next") for f in range(len(FUNCTIONS))), call(0, 1)))


def test_work_that_is_half_done_is_left_alone(scenario):
    for function in (CRC, CHACHA):
        with pytest.raises(ScenarioError, match=f"whatever_{function} is called from inside itself"):
            predict(scenario(call(function, 3, inside=(call(function, 3),))))
    with pytest.raises(ScenarioError, match="the output is asked for while it is being written"):
        predict(scenario(call(CHACHA, 3, inside=(output(),))))
    assert predict(scenario(call(CRC, 3, inside=(call(CHACHA, 3), output())), call(CRC, 3)))


def test_a_copy_goes_its_own_way():
    guest = model.Reference()
    guest.execute(patch(0, "fast"), 0)
    other = guest.copy()
    assert other == guest
    for number, step in enumerate((patch(0, "far"), Scribble(1), LockText(), call(CHACHA, 3), call(CRC, 3))):
        other.execute(step, number)
    assert guest.current[0] is Target.FAST
    assert (guest.scribbled, guest.locked, guest.work.out, guest.work.crc) == (set(), False, b"", 0)
    assert len(guest.events) == 1


def test_every_scenario_of_the_suite_is_within_the_specification():
    for scenario in suite.load().values():
        assert predict(scenario)


# Laws, for any program.

_numbers = st.one_of(
    st.sampled_from((0, 1, 0x55, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1)), st.integers(0, 2**64 - 1)
)
#: Few functions more often than the rest, so that steps meet.
_functions = st.sampled_from((0, 0, 0, 1, 6, 6)) | st.integers(0, 7)  # whose x is any number
#: Those whose next one has the same prototype, so that a chain of them ends in a legal call.
_CHAINABLE = (0, 1, 2, 6)
_REQUESTS = (
    Target.NULL,
    Target.RET0,
    Target.STUB,
    Target.DATA,
    Target.MISALIGNED,
    Target.HALFWAY,
    Target.END,
    Target.FAR_END,
    Target.ZERO,
)

_patches = st.one_of(
    st.builds(Patch, _functions, st.sampled_from(REAL_TARGETS)),
    st.builds(Patch, _functions, st.sampled_from(_REQUESTS)),
    st.builds(Patch, st.sampled_from(_CHAINABLE), st.just(Target.NEXT)),
)
_plain = st.one_of(
    _patches, st.builds(Restore, _functions), st.builds(Query, _functions), st.builds(Code, st.none() | _functions)
)
#: What only ``stub`` has: an instruction that is patched, in text that can be locked.
_in_text = st.builds(LockText, st.booleans()) | st.builds(
    Patch, _functions, st.sampled_from(REAL_TARGETS), st.integers(1, 3)
)


def _calls(inside):
    shapes = st.sampled_from([s for s in Shape if s not in (Shape.LOOPED, Shape.RECURSIVE) and has_call_site(4, s)])
    counts, levels = st.integers(0, 3), st.integers(0, 3)
    repeated = st.sampled_from((Shape.LOOPED, Shape.RECURSIVE))
    return st.builds(Call, _functions, _numbers, shapes, inside=inside) | st.builds(
        Call, _functions, _numbers, repeated, counts, levels, inside
    )


def _steps(simple, *, levels=2):
    step = simple | _calls(st.just(()))
    for _ in range(levels):
        nested = st.lists(step, max_size=3).map(tuple)
        step = simple | _calls(st.just(())) | _calls(nested) | st.builds(Loop, st.integers(0, 3), nested)
    return st.lists(step, min_size=1, max_size=8).map(tuple)


def _named(steps):
    return Scenario("BS-98", "random", "", steps, frozenset({Defect.LOST_PATCH}))


legal_anywhere = _steps(_plain).map(_named)
legal_in_text = _steps(_plain | _in_text).map(_named)
#: Anything that can be written down, legal or not.
_wild = _steps(
    _plain
    | _in_text
    | st.builds(Scribble, _functions)
    | st.builds(Patch, _functions, st.sampled_from(Target), st.integers(0, 8))
).map(_named)


def preorder(steps):
    for step in steps:
        yield step
        yield from preorder(substeps(step))


@given(legal_in_text)
@settings(max_examples=200, deadline=None)
def test_a_legal_program_has_a_trace(scenario):
    events = predict(scenario)
    assert events
    assert all(event.stack == event.abi == 0 for event in events)


@given(_wild)
@settings(max_examples=200, deadline=None)
def test_a_program_has_a_trace_or_leaves_the_specification_in_so_many_words(scenario):
    try:
        assert predict(scenario)
    except ScenarioError as error:
        assert "whatever_" in str(error) or "no events" in str(error)  # noqa: PT017 - either outcome is right


@given(legal_in_text)
@settings(max_examples=200, deadline=None)
def test_every_enter_is_left_again(scenario):
    running = []
    for event in predict(scenario):
        if event.kind == "return":
            assert all(step == event.step for step in running[event.depth :]), "a call returned before its target did"
            del running[event.depth :]
        else:
            del running[event.depth :]  # the targets of a looped call follow each other
            assert len(running) == event.depth
            if event.kind == "enter":
                running.append(event.step)
        assert len(running) == event.depth + (event.kind == "enter")
    assert event.depth == 0


@given(legal_in_text)
@settings(max_examples=200, deadline=None)
def test_steps_are_numbered_by_a_walk_in_pre_order(scenario):
    walk = list(preorder(scenario.steps))
    assert sum(model.size(step) for step in scenario.steps) == len(walk)
    kinds = {"enter": Call, "return": Call, "patch": Patch, "restore": Restore, "query": Query, "code": Code}
    kinds |= {"scribble": Scribble, "lock": LockText, "loop": Loop}
    for event in predict(scenario):
        step = walk[event.step]
        assert type(step) is kinds[event.kind]
        function = getattr(step, "function", None)
        if function is not None and event.kind != "enter":  # an enter may be at the end of a chain
            assert event.target >> 8 == function


@given(legal_in_text)
@settings(max_examples=100, deadline=None)
def test_a_query_answers_what_the_next_call_enters(scenario):
    events = predict(scenario)
    for before, after in itertools.pairwise(events):
        if before.kind == "query" and after.kind == "enter" and before.target & 0xFF < len(REAL_TARGETS):
            assert after.target >> 8 != before.target >> 8 or after.target == before.target


@given(legal_anywhere, st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_a_loop_counts_the_events_that_it_folds(scenario, count):
    (event,) = predict(_named((Loop(count, scenario.steps),)))
    try:
        unrolled = predict(_named(scenario.steps * count))
    except ScenarioError:  # no events
        unrolled = ()
    assert event.arguments == len(unrolled)


# The guest's own opinion.


def _agree(engine, built, variant, programs):
    encoded = [wire.encode(program, big_endian=built.big_endian) for program in programs]
    for program, reply in zip(programs, engine.run(built, variant, encoded, 5.0), strict=True):
        assert reply.failure is None, f"{reply}\n{program.steps}"
        header = wire.decode_header(reply.trace, big_endian=built.big_endian)
        assert header is not None
        assert header.dropped == 0
        seen = wire.decode_events(reply.trace, header.events, big_endian=built.big_endian)
        assert seen == list(predict(program))


@given(st.lists(legal_anywhere, min_size=4, max_size=12))
@settings(max_examples=30, deadline=None)
def test_the_guest_does_with_any_legal_program_what_the_model_says(guest, arm64, mechanism, engine, programs):
    _agree(engine, guest(mechanism), arm64, programs)


@given(st.lists(legal_in_text, min_size=4, max_size=12))
@settings(max_examples=30, deadline=None)
def test_the_guest_does_with_text_that_it_cannot_patch_what_the_model_says(guest, arm64, engine, programs):
    _agree(engine, guest("stub"), arm64, programs)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(
            (patch(0, "next"), call(0, 9, "recursive", count=3, at=1, inside=(restore(0), patch(1, "next")))),
            id="recursion through a chain",
        ),
        pytest.param((patch(0, "far"), patch(0, "fast"), restore(0), code(0)), id="far and back by a near one"),
        pytest.param((patch(0, "far"), restore(0), code(0)), id="far and back"),
        pytest.param((call(CHACHA, 65), ret0(CHACHA), call(CHACHA, 65), output()), id="begun anew and led nowhere"),
        pytest.param(
            (
                call(CHACHA, 65),
                ret0(CHACHA),
                call(CHACHA, 65 | 1 << 32),
                restore(CHACHA),
                call(CHACHA, 1 | 1 << 32),
                output(),
            ),
            id="gone on and led nowhere",
        ),
        pytest.param((Patch(0, Target.FAST, offset=4), code()), id="one instruction further"),
        pytest.param((Patch(0, Target.FAST, offset=32), code(), call(1, 5)), id="one stub further"),
        pytest.param((Patch(0, Target.DATA, offset=1),), id="bad target at a misaligned address"),
        pytest.param((LockText(), Scribble(0), code()), id="foreign bytes in locked text"),
        pytest.param((patch(0, "fast"), LockText(), original(0, 5)), id="an original in locked text"),
        pytest.param((Scribble(1), original(0, 5)), id="an original beside foreign bytes"),
        pytest.param(
            (call(0, 5, "recursive", count=2, at=1, inside=(original(0, 4),)),), id="an original in recursion"
        ),
        pytest.param(
            (loop(3, patch(0, "far"), original(0, 5, inside=(restore(0),)), code(0)),), id="originals in a loop"
        ),
    ],
)
def test_what_is_at_the_edge_of_a_rule_the_guest_does_too(guest, arm64, scenario, steps):
    _agree(UNICORN, guest("stub"), arm64, [scenario(*steps)])


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ((Patch(VOID, Target.NULL, offset=1), code()), "no guest can be asked"),
        ((Patch(0, Target.RET0, offset=1), code()), "no guest can be asked"),
        ((patch(0, "fast"), sites(0, "other")), "whatever_0 are expected at OTHER, where it does not lead"),
        ((patch(6, "null"), sites(6, "null")), "whatever_6 are expected at NULL"),
        ((patch(CRC, "best"), sites(CRC, "default")), "where whatever_8 leads depends on the CPU"),
        ((patch(0, "fast"), LockText(), Load(), sites(0, "fast")), "its calls of whatever_0 may stay"),
        ((Scribble(0), Tamper(0)), "is tampered with while its text is locked or foreign"),
        ((LockText(), Tamper(0)), "is tampered with while its text is locked or foreign"),
        ((Scribble(0), original(0)), "the original of whatever_0 is called while foreign bytes are at its stub"),
        ((call(CHACHA, 1, inside=(original(CHACHA, 1),)),), "is called from inside itself"),
        ((original(CHACHA, 1, inside=(call(CHACHA, 1),)),), "is called from inside itself"),
        ((original(CRC, 5000),), "are more than the pattern has"),
        ((Scribble(0), query(0)), "is queried while foreign bytes are at its stub"),
        (
            (patch(0, "next"), patch(1, "next"), Scribble(1), call(0, 5)),
            "is called while foreign bytes are at its stub",
        ),
    ],
)
def test_what_is_behind_a_rule_the_model_refuses(scenario, steps, why):
    with pytest.raises(ScenarioError, match=why):
        predict(scenario(*steps))
