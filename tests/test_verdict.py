"""Verdicts: what a reply is worth, and why."""

from __future__ import annotations

import pytest

from farm.cell import FAILED, PASSED, SKIPPED, UNSURE, Hole, Verdict
from farm.engines import Reply
from farm.guest import mechanisms
from farm.run import verdict
from farm.run.verdict import Judge, digest, first_difference, is_sensitive
from farm.scenario import Defect, Scenario, call, layout, patch, restore, wire
from farm.scenario.model import predict
from farm.scenario.wire import Event

STEPS = (call(0, 5), patch(0, "fast"), call(0, 5), restore(0))


@pytest.fixture
def judged(guest, scenario, cell):
    """``judged(reply)``: the result for a reply to STEPS on the arm64 stub."""

    def judge(reply, blind_to=frozenset()):
        return Judge(guest("stub"), blind_to=blind_to).judge(cell, scenario(*STEPS), reply, 0.1234567)

    return judge


@pytest.fixture
def trace(guest, scenario, trace_of):
    """``trace(events=..., word_of_header=...)``: a trace of STEPS, correct but for what is said."""

    def make(events=None, **header):
        return trace_of(guest("stub"), scenario(*STEPS), events, **header)

    return make


def test_a_trace_as_the_model_says_passes(judged, trace, guest):
    result = judged(Reply(trace()))
    assert result.verdict is Verdict.PASS
    assert result.reason is None
    assert result.trace == result.expected
    assert result.trace is not None
    assert result.image == guest("stub").sha256
    assert result.seconds == 0.123457
    assert result.sensitive
    assert (result.observed, result.code, result.reproduce, result.failed) == (None, None, None, False)


def test_a_pass_where_the_engine_could_not_have_noticed_is_insensitive(judged, trace):
    result = judged(Reply(trace()), frozenset({Defect.LOST_PATCH, Defect.TORN_STORE}))
    assert result.verdict is Verdict.PASS_INSENSITIVE
    assert not result.sensitive
    assert not result.failed


def test_one_defect_that_the_engine_can_show_makes_it_sensitive():
    blind = frozenset({Defect.STALE_FETCH})
    detects = frozenset({Defect.STALE_FETCH, Defect.LOST_PATCH})
    assert is_sensitive(Scenario("BS-99", "x", "", STEPS, detects), blind)
    assert not is_sensitive(Scenario("BS-99", "x", "", STEPS, frozenset({Defect.STALE_FETCH})), blind)


# The header.

#: What a little-endian guest of 64 bits with stubs says of itself.
STUB = wire.identity(big_endian=False, word_size=8, mechanism=mechanisms.load()["stub"].identity)


@pytest.mark.parametrize(
    ("word", "seen", "complaint"),
    [
        ("magic", 0x1234, "its magic is 0x1234, expected 0x50465452"),
        ("wire_hash", 0, "its wire hash is 0x0, expected 0x"),
        ("machine", 62, "its machine is 0x3e, expected 0xb7"),
        ("identity", STUB ^ 0x3, f"its byte order, word size and mechanism is {STUB ^ 0x3:#x}, expected {STUB:#x}"),
        ("identity", STUB ^ 0xC00, f"its byte order, word size and mechanism is {STUB ^ 0xC00:#x}, expected {STUB:#x}"),
        (
            "identity",
            STUB ^ 0x10000,
            f"its byte order, word size and mechanism is {STUB ^ 0x10000:#x}, expected {STUB:#x}",
        ),
    ],
)
def test_a_trace_of_another_guest_is_a_mismatch(judged, trace, word, seen, complaint):
    result = judged(Reply(trace(**{word: seen})))
    assert result.verdict is Verdict.MISMATCH
    assert result.reason.startswith("the trace does not come from this guest: ")
    assert complaint in result.reason


@pytest.mark.parametrize(
    ("length", "complaint"),
    [(0, "it is empty"), *((n, f"it has {n} bytes, and its header alone should have 32") for n in (1, 31))],
)
def test_a_trace_too_short_for_its_header_is_a_mismatch(judged, trace, length, complaint):
    result = judged(Reply(trace()[:length]))
    assert result.verdict is Verdict.MISMATCH
    assert result.reason == f"the trace does not come from this guest: {complaint}"


def test_a_trace_without_events_is_a_mismatch(judged, trace):
    result = judged(Reply(trace(events=[])))
    assert result.verdict is Verdict.MISMATCH
    assert result.reason.startswith("event 0: expected [step 0: enter whatever_0 -> default")
    assert result.reason.endswith("seen nothing: the trace ends")


def test_dropped_events_are_a_mismatch_though_all_others_are_right(judged, trace):
    result = judged(Reply(trace(dropped=3)))
    assert result.verdict is Verdict.MISMATCH
    assert result.reason == "the trace says that 3 events were dropped, though it has only 6"


def test_a_trace_that_is_full_says_how_many_events_were_dropped(judged, trace, scenario):
    events = [predict(scenario(*STEPS))[0]] * layout.TRACE_EVENTS
    assert judged(Reply(trace(events=events, dropped=3))).reason == "3 events were dropped: the trace is full"


def test_a_trace_that_is_cut_off_is_a_mismatch_with_the_events_that_are_whole(judged, trace, scenario):
    result = judged(Reply(trace()[: 4 * layout.HEADER_WORDS + 40]))
    assert result.verdict is Verdict.MISMATCH
    assert result.reason == (
        "the trace says that it has 6 events and 576 bytes of code, 768 bytes in all, and 40 follow its header"
    )
    assert result.observed == list(predict(scenario(*STEPS)))[:1]


# The events.


def test_a_lost_patch_is_explained_by_its_first_event(judged, trace, scenario):
    lost = predict(scenario(call(0, 5), patch(0, "default"), call(0, 5), restore(0)))
    events = [*predict(scenario(*STEPS))[:3], *lost[3:]]
    result = judged(Reply(trace(events=events)))
    assert result.verdict is Verdict.MISMATCH
    assert result.reason == (
        "event 3: expected [step 2: enter whatever_0 -> fast, arguments 0x000c5540], "
        "seen [step 2: enter whatever_0 -> default, arguments 0x000c5540]"
    )
    assert result.observed == events
    assert result.trace == digest(events) != result.expected
    assert result.reproduce == (
        "farm run --arch arm64 --mechanism stub --toolchain zig --engine unicorn --scenario made_up -v"
    )


@pytest.mark.parametrize("field", [name for name in Event._fields if name != "kind"])
def test_a_difference_in_any_field_of_any_event_is_a_mismatch(judged, trace, scenario, field):
    for number, event in enumerate(predict(scenario(*STEPS))):
        events = list(predict(scenario(*STEPS)))
        events[number] = event._replace(**{field: getattr(event, field) + 1})
        result = judged(Reply(trace(events=events)))
        assert result.verdict is Verdict.MISMATCH
        assert result.reason.startswith(f"event {number}: ")


def test_the_first_difference_is_the_one_that_is_told():
    one, two, three = (Event("query", step, 0, 0, 0, 0, 0, 0) for step in (1, 2, 3))
    assert first_difference([one, two], [one, three]).startswith("event 1: expected [step 2: query")
    assert first_difference([one, two], [one]).endswith("seen nothing: the trace ends")
    assert first_difference([one], [one, two]).startswith("event 1: expected nothing, seen [step 2: query")


def test_one_event_too_many_is_a_mismatch(judged, trace, scenario):
    events = list(predict(scenario(*STEPS)))
    result = judged(Reply(trace(events=[*events, events[-1]])))
    assert result.reason == f"event {len(events)}: expected nothing, seen [{events[-1]}]"


def test_a_mismatch_carries_the_code_before_and_after(judged, trace, guest, scenario):
    built = guest("stub")
    pristine = built.bytes_at(*built.patched)
    changed = b"\x1f\x20\x03\xd5" + pristine[4:]
    raw = trace(events=list(predict(scenario(*STEPS)))[:-1])
    result = judged(Reply(raw[: -len(pristine)] + changed))
    assert result.code.address == built.patched[0]
    assert bytes.fromhex(result.code.before) == pristine
    assert bytes.fromhex(result.code.after) == changed


def test_the_digest_of_a_trace_does_not_depend_on_byte_order(trace_of, guest, scenario, cell, with_fields):
    little = guest("stub")
    big = with_fields(little, big_endian=True)
    events = [*predict(scenario(*STEPS))[:-1]]
    results = [
        Judge(built).judge(cell, scenario(*STEPS), Reply(trace_of(built, scenario(*STEPS), events)), 0)
        for built in (little, big)
    ]
    assert results[0].trace == results[1].trace == digest(events)
    assert results[0].expected == results[1].expected == digest(predict(scenario(*STEPS)))
    passed = Judge(big).judge(cell, scenario(*STEPS), Reply(trace_of(big, scenario(*STEPS))), 0)
    assert passed.verdict is Verdict.PASS


# What a reset found, by the guest itself or by the engine.


def test_bytes_that_a_guest_cannot_put_back_are_its_own_fault(judged, trace, scenario):
    assert judged(Reply(trace())).verdict is Verdict.PASS
    result = judged(Reply(trace(text_digest=1)))
    assert result.verdict is Verdict.MISMATCH
    assert result.reason.startswith("the guest left bytes changed that its own reset does not put back")
    assert result.observed == list(predict(scenario(*STEPS)))


# Failures.


@pytest.mark.parametrize("failure", ["crash", "timeout", "engine-error"])
def test_a_failure_is_its_own_verdict_with_the_place_named(judged, guest, failure):
    pc = guest("stub").functions["fast_0"] + 4
    code = bytes(guest("stub").patched[1])
    result = judged(Reply(failure=failure, detail="so it was", pc=pc, code=code))
    assert result.verdict is Verdict(failure)
    assert result.reason == f"so it was in fast_0+0x4 (pc {pc:#x})"
    assert result.trace is None
    assert result.expected is not None
    assert result.code.after == code.hex()
    assert result.failed


def test_a_failure_without_a_place_has_only_its_reason(judged):
    result = judged(Reply(failure="engine-error", detail="it died"))
    assert result.reason == "it died"
    assert result.code.after is None


def test_every_verdict_is_passed_or_skipped_or_failed():
    for each in Verdict:
        groups = (PASSED, SKIPPED, FAILED, {Verdict.XFAIL})
        assert [each in group for group in groups].count(True) == 1
    assert Verdict.FLAKY in FAILED
    assert UNSURE < FAILED
    assert Verdict.ENGINE_ERROR not in UNSURE


@pytest.mark.parametrize("name", ["not-run", "not-applicable"])
def test_a_cell_that_was_skipped_is_not_failed_and_says_why(cell, name):
    result = verdict.skipped(cell, Hole(Verdict(name), "because"))
    assert (str(result.verdict), result.reason, result.failed, result.sensitive) == (name, "because", False, False)
