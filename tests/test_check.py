"""The check of scenarios: each mistake has a sentence that names the step, and what is let through can be run."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from farm import cli, suite
from farm.cell import Cell
from farm.engines import engines
from farm.errors import ScenarioFileError, UsageError
from farm.guest import arch_toml, build, image
from farm.measure.fuzz import generate
from farm.run.verdict import Judge
from farm.scenario import (
    FUNCTIONS,
    Address,
    Call,
    Code,
    Defect,
    Fact,
    FailPoke,
    Interrupted,
    Kind,
    Load,
    LockText,
    Loop,
    Original,
    Output,
    Patch,
    Promise,
    Protection,
    Query,
    Restore,
    Scenario,
    Scribble,
    Shape,
    Sites,
    Status,
    Tamper,
    Target,
    Unload,
    call,
    check,
    code,
    layout,
    loop,
    model,
    null,
    output,
    patch,
    piece,
    query,
    ret0,
    wire,
)

DETECTS = frozenset({Defect.LOST_PATCH})
IMPORTS = (
    "from dataclasses import replace\nfrom farm.scenario import *\nfrom farm.scenario import Target, Shape, Defect\n"
)


def made(*steps, **others):
    return Scenario(*map(others.pop, ("id", "name", "title"), ("BS-90", "mine", "")), steps, DETECTS, **others)


def complaint(scenario):
    with pytest.raises(UsageError) as caught:
        check.scenario(scenario)
    return str(caught.value)


def endless():
    """A call inside itself."""
    step = call(0)
    object.__setattr__(step, "inside", (step,))
    return step


def doubled():
    """8**12 steps that take next to no memory."""
    step = query(0)
    for _ in range(12):
        step = loop(1, *[step] * 8)
    return step


NUMBER = "expected a whole number from 0 to"

#: Python for a step, and what is said of it.
STEPS = {
    "patch(99, 'fast')": f"step 1: patch: function 99 found; {NUMBER} 17",
    "patch(-1, 'fast')": f"step 1: patch: function -1 found; {NUMBER} 17",
    "patch(True, 'fast')": f"step 1: patch: function True found; {NUMBER} 17",
    "patch(None, 'fast')": f"step 1: patch: function None found; {NUMBER} 17",
    "patch(0, 'fast', -1)": f"step 1: patch: offset -1 found; {NUMBER} 0xffffffff",
    "patch(0, 'fast', 2**32)": f"step 1: patch: offset 4294967296 found; {NUMBER} 0xffffffff",
    "Patch(0, 'fast')": "step 1: patch: target 'fast' found; expected Target.DEFAULT, Target.FAST, Target.OTHER, ",
    "Patch(0, 1)": "step 1: patch: target 1 found; expected Target.DEFAULT, ",
    "Patch(0, Shape.USED)": "step 1: patch: target <Shape.USED: 0> found; expected Target.DEFAULT, ",
    "restore(1.0)": f"step 1: restore: function 1.0 found; {NUMBER} 17",
    "query('0')": f"step 1: query: function '0' found; {NUMBER} 17",
    "code(18)": f"step 1: code: function 18 found; {NUMBER} 17",
    "address(18)": f"step 1: address: function 18 found; {NUMBER} 17",
    "Scribble(18)": f"step 1: scribble: function 18 found; {NUMBER} 17",
    "sites(18, 'fast')": f"step 1: sites: function 18 found; {NUMBER} 17",
    "sites(0, 'null')": "step 1: sites: target <Target.NULL: 240> found; expected Target.DEFAULT, Target.FAST, ",
    "sites(0, 'fast')": "step 1: the call sites of whatever_0 are expected at FAST, where it does not lead",
    "original(18)": f"step 1: original: function 18 found; {NUMBER} 17",
    "original(0, -1)": f"step 1: original: x -1 found; {NUMBER} 0xffffffffffffffff",
    "original(0, inside=(query(18),))": f"step 2: query: function 18 found; {NUMBER} 17",
    "original(0, inside=[])": "step 1: original: inside [] found; expected a tuple of steps",
    "Tamper(18)": f"step 1: tamper: function 18 found; {NUMBER} 17",
    "loop(1000, Tamper(0))": "step 1: 64002 events, counting those in loops; expected 50000 at most",
    "call(18)": f"step 1: call: function 18 found; {NUMBER} 17",
    "call(0, -1)": f"step 1: call: x -1 found; {NUMBER} 0xffffffffffffffff",
    "call(0, 2**64)": f"step 1: call: x 18446744073709551616 found; {NUMBER} 0xffffffffffffffff",
    "call(0, 10**5000)": f"step 1: call: x a number of 16,610 bits found; {NUMBER} 0xffffffffffffffff",
    "call(0, 1.5)": f"step 1: call: x 1.5 found; {NUMBER}",
    "call(0, 1, 'looped', count=-1)": f"step 1: call: count -1 found; {NUMBER} 0xffffffff",
    "call(0, 1, 'looped', count=2**32)": f"step 1: call: count 4294967296 found; {NUMBER} 0xffffffff",
    "call(0, 1, 'looped', count=True)": f"step 1: call: count True found; {NUMBER} 0xffffffff",
    "call(0, 1, at=-1)": f"step 1: call: at -1 found; {NUMBER} 0xffffffff",
    "call(0, 1, stride=2**64)": "step 1: call: stride 18446744073709551616 found; expected a whole number from -0xff",
    "call(0, 1, stride=0.5)": "step 1: call: stride 0.5 found; expected a whole number from -0xffffffffffffffff to",
    "call(4, 1, 'bare')": "step 1: call: shape bare found; whatever_4 has used, ignored, tail, looped, pointer",
    "Call(0, 1, 'tail')": "step 1: call: shape 'tail' found; expected Shape.USED, Shape.IGNORED, ",
    "call(0, inside=patch(0, 'fast'))": "step 1: call: inside Patch(function=0, ",
    "call(0, inside=[query(0)])": "step 1: call: inside [Query(function=0)] found; expected a tuple of steps",
    "call(0, inside=(query(0), None))": "step 3: None found; expected a step of farm.scenario: Call, Patch, Restore",
    "loop(2, query(0), loop(2, query(18)))": f"step 4: query: function 18 found; {NUMBER} 17",
    "None": "step 1: None found; expected a step of farm.scenario: Call, Patch, Restore",
    "(query(0),)": "step 1: (Query(function=0),) found; expected a step",
    "Load": "step 1: <class ",
    "loop(-1, query(0))": f"step 1: loop: count -1 found; {NUMBER} 0xffffffff",
    "loop(2.0, query(0))": f"step 1: loop: count 2.0 found; {NUMBER} 0xffffffff",
    "Loop(2, [query(0)])": "step 1: loop: steps [Query(function=0)] found; expected a tuple of steps",
    "loop(10**9, query(0))": "step 1: 1000000002 events, counting those in loops; expected 50000 at most",
    "loop(1000, *[call(0, 5)] * 500)": "step 1: 1000002 events, counting those in loops; expected 50000 at most",
    "loop(10**4, loop(10**4, query(0)))": "step 1: 100010002 events, counting those in loops; expected 50000 at most",
    "loop(10**4, output())": "step 1: 330002 events, counting those in loops; expected 50000 at most",
    "loop(10**4, call(9, piece(4096)))": "step 1: 180002 events, counting those in loops; expected 50000 at most",
    "call(0, 5, 'callback', count=10**6)": "step 1: 1000002 events, counting those in loops; expected 50000 at most",
    "call(0, 5, 'recursive', count=100)": "step 1: 101 calls inside one another; a guest takes 100",
    "call(0, 5, 'recursive', count=50, at=50, inside=(call(0, 5, 'recursive', count=60),))": (
        "step 1: 112 calls inside one another; a guest takes 100"
    ),
    "LockText(1)": "step 1: locktext: locked 1 found; expected True or False",
    "FailPoke(-1)": f"step 1: failpoke: number -1 found; {NUMBER} 0xffffffff",
    "Interrupted(0, Target.NULL, 1, Target.FAST)": (
        "step 1: interrupted: target <Target.NULL: 240> found; expected Target.DEFAULT, Target.FAST, Target.OTHER, "
        "Target.FAR"
    ),
    "Interrupted(0, Target.FAST, 18, Target.FAST)": f"step 1: interrupted: function 18 found; {NUMBER} 17",
    # What it takes the model to find.
    "call(0, 1, 'module')": "step 1: whatever_0 is called from the module, which is not loaded",
    "call(8, piece(10, 4090))": "step 1: 10 bytes from 4090 are more than the pattern has",
    "call(0, inside=(loop(2, Scribble(0), query(0)),))": "step 4: whatever_0 is queried while foreign bytes are at its",
    "call(0, 1, 'looped', count=1024)": "1026 events; a guest holds 1024: use loop()",
    "loop(0, *[patch(0, 'fast')] * 1000)": "step 1: a program of 5006 words; a guest takes 4093",
    "*[patch(0, 'fast')] * 1000": "step 819: a program of 5003 words; a guest takes 4093",
    # What only looks like a step.
    "Lines()": "step 1: a b c found; expected a step of farm.scenario: Call, Patch",
    "Leaving()": "step 1: something of type Leaving found; expected a step of farm.scenario: Call, Patch",
    "without(call(0), 'x')": "step 1: it has no x, though all of its kind have",
    "loop(2, query(0), without(patch(0, 'fast'), 'target'))": "step 3: it has no target, though all of its kind have",
}

#: What is in every file.
ODD = """
class Lines:
    def __repr__(self): return "a\\n  b\\r\\nc"
class Leaving:
    def __repr__(self): raise SystemExit(0)
def without(made, name):
    if isinstance(made, Scenario): del made.__dict__[name]
    else: object.__delattr__(made, name)
    return made
"""


@pytest.mark.parametrize("step", STEPS)
def test_a_mistake_in_a_step_of_a_file_is_named_with_file_scenario_and_step(tmp_path, step):
    file = tmp_path / "mine.py"
    text = f"{IMPORTS}{ODD}SCENARIOS = (Scenario('BS-90', 'mine', '', (query(0), {step}), {{Defect.LOST_PATCH}}),)"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioFileError) as caught:
        suite.load((file,))
    assert str(caught.value).startswith(f"{file}: SCENARIOS[0]: scenario BS-90 mine: {STEPS[step]}")


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (endless, "steps inside steps, 17 levels deep; a guest takes 16"),
        (doubled, "too many steps: more than 2046; expected no more than that many"),
    ],
)
def test_what_has_no_end_is_found_at_once(step, words):
    before = time.process_time()
    assert complaint(made(step())).endswith(words)
    assert time.process_time() - before < 0.1


WORD = "expected letters, digits, '_', '-' and '.', with neither of the last two first"
OTHERS = "expected None, or a set of mechanisms and the reason why the others are left out"

#: Python for the fields of a scenario, and what is said of them.
FIELDS = {
    "name=''": f"scenario BS-90 '': name '' found; {WORD}",
    "name=5": f"scenario BS-90 5: name 5 found; {WORD}",
    "name=['mine']": f"scenario BS-90 ['mine']: name ['mine'] found; {WORD}",
    "name='a/b'": f"scenario BS-90 'a/b': name 'a/b' found; {WORD}",
    "name='a,b'": f"scenario BS-90 'a,b': name 'a,b' found; {WORD}",
    "name='a b'": f"scenario BS-90 'a b': name 'a b' found; {WORD}",
    "name='a*'": f"scenario BS-90 'a*': name 'a*' found; {WORD}",
    "name='a?'": f"scenario BS-90 'a?': name 'a?' found; {WORD}",
    "name='[a]'": f"scenario BS-90 '[a]': name '[a]' found; {WORD}",
    "name='--all'": f"scenario BS-90 '--all': name '--all' found; {WORD}",
    "name='a\\n'": f"scenario BS-90 'a\\n': name 'a\\n' found; {WORD}",
    "name='a\\x1b[0m'": f"scenario BS-90 'a\\x1b[0m': name 'a\\x1b[0m' found; {WORD}",
    "name='a\\udcff'": f"scenario BS-90 'a\\udcff': name 'a\\udcff' found; {WORD}",
    "id=None": f"scenario None mine: id None found; {WORD}",
    "id='BS-9*'": f"scenario 'BS-9*' mine: id 'BS-9*' found; {WORD}",
    "id='XX-01'": "scenario XX-01 mine: id: the group must be one of BS, AB, CS",
    "title=None": "scenario BS-90 mine: title None found; expected a line of text",
    "title='a\\nb'": "scenario BS-90 mine: title 'a\\nb' found; expected a line of text",
    "title='\\udcff'": "scenario BS-90 mine: title '\\udcff' found; expected a line of text",
    "steps=query(0)": "scenario BS-90 mine: steps Query(function=0) found; expected a tuple of steps",
    "steps=[query(0)]": "scenario BS-90 mine: steps [Query(function=0)] found; expected a tuple of steps",
    "steps=()": "scenario BS-90 mine: no events: it would prove nothing",
    "detects=frozenset()": "scenario BS-90 mine: it detects nothing, so it proves nothing",
    "detects=None": "scenario BS-90 mine: detects None found; expected a set of farm.scenario.Defect",
    "detects=Defect.LOST_PATCH": "scenario BS-90 mine: detects <Defect.LOST_PATCH: 'lost-patch'> found; expected a set",
    "detects={'lost-patch'}": "scenario BS-90 mine: detects 'lost-patch' found; expected Defect.LOST_PATCH, Defect.WRO",
    "only={'stub'}": f"scenario BS-90 mine: only {{'stub'}} found; {OTHERS}",
    "only=({'stub'}, '')": f"scenario BS-90 mine: only ({{'stub'}}, '') found; {OTHERS}",
    "only=(set(), 'no')": f"scenario BS-90 mine: only (set(), 'no') found; {OTHERS}",
    "only=({'stub'}, None)": f"scenario BS-90 mine: only ({{'stub'}}, None) found; {OTHERS}",
    "only=({'st ab'}, 'no')": "scenario BS-90 mine: only 'st ab' found; expected the name of a mechanism",
    "needs={'grace'}": "scenario BS-90 mine: needs 'grace' found; expected refuses-foreign, refuses-reentry, ",
    "needs='ret0'": "scenario BS-90 mine: needs 'ret0' found; expected a set of refuses-foreign, ",
    "requires={'fpu'}": "scenario BS-90 mine: requires 'fpu' found; expected clmul, float",
    "requires='float'": "scenario BS-90 mine: requires 'float' found; expected a set of clmul, float",
    "abi={'tock'}": "scenario BS-90 mine: abi 'tock' found; expected int128, extension, variadic-count, ",
    "tags='storm'": "scenario BS-90 mine: tags 'storm' found; expected a set of names",
    "tags={5}": "scenario BS-90 mine: tags {5} found; expected a set of names",
    "tags={'a,b'}": "scenario BS-90 mine: tags {'a,b'} found; expected a set of names",
    "bugs=['B01']": "scenario BS-90 mine: bugs ['B01'] found; expected a tuple of text",
    "bugs=(1,)": "scenario BS-90 mine: bugs (1,) found; expected a tuple of text",
}

#: Python for what stands where a scenario should, and what is said of it.
WHOLES = {
    "without({good}, 'steps')": "scenario BS-90 mine: it has no steps, though all of its kind have",
    "without({good}, 'name')": "scenario BS-90 None: it has no name, though all of its kind have",
    "Leaving()": "something of type Leaving found; expected a farm.scenario.Scenario",
    "Lines()": "a b c found; expected a farm.scenario.Scenario",
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_mistake_in_a_field_of_a_file_is_named_with_file_and_scenario(tmp_path, field):
    file = tmp_path / "mine.py"
    good = "Scenario('BS-90', 'mine', '', (query(0),), {Defect.LOST_PATCH})"
    file.write_text(
        f"{IMPORTS}SCENARIOS = ({good}, replace({good}, id='BS-91', name='other'), replace({good}, {field}))"
    )
    with pytest.raises(ScenarioFileError) as caught:
        suite.load((file,))
    assert str(caught.value).startswith(f"{file}: SCENARIOS[2]: {FIELDS[field]}")


@pytest.mark.parametrize("whole", WHOLES)
def test_what_is_no_scenario_is_named_with_its_file_and_place(tmp_path, whole):
    file = tmp_path / "mine.py"
    good = "Scenario('BS-90', 'mine', '', (query(0),), {Defect.LOST_PATCH})"
    file.write_text(f"{IMPORTS}{ODD}SCENARIOS = ({whole.format(good=good)},)")
    with pytest.raises(ScenarioFileError) as caught:
        suite.load((file,))
    assert str(caught.value) == f"{file}: SCENARIOS[0]: {WHOLES[whole]}"


def test_what_a_mechanism_refuses_is_a_fine_scenario():
    good = made(
        *(patch(0, target) for target in Target if target is not Target.NEXT),
        *(patch(0, "fast", offset) for offset in (1, 2, 4, 0xFFFFFFFF)),
        *(null(f) for f in range(len(FUNCTIONS))),
        *(ret0(f) for f in range(len(FUNCTIONS))),
        call(0, (1 << 64) - 1, stride=-65535),
        call(0, 5, "looped", count=0),
        name="größer-als.2",
        title="Ein „Titel“, ohne Ende: ≤ 5 * x / [y]",
        only=({"stub", "one-of-theirs"}, "reason"),
        needs={"transparent", Promise.RET0, Fact.POKES},
    )
    check.scenario(good)
    check.by_model(good)


def test_the_suite_is_checked_in_a_few_milliseconds():
    scenarios = suite.load().values()

    def once():
        before = time.process_time()
        for scenario in scenarios:
            check.scenario(scenario)
        return time.process_time() - before

    assert min(once() for _ in range(10)) < 0.03  # 5 ms on a machine that does nothing else


@pytest.mark.parametrize("scenario", suite.load().values(), ids=lambda scenario: scenario.id)
def test_the_suite_passes_by_model_too(scenario):
    check.by_model(scenario)


def test_what_is_fuzzed_would_pass():
    for number in range(100):
        check.scenario(generate.program(7, number).scenario)


@pytest.mark.parametrize(
    "step",
    [
        loop(210, call(14, 5, "looped", count=20)),
        loop(140, output()),
        loop(260, call(9, piece(4096), stride=1 << 33)),
        loop(48, call(5, 9, "recursive", count=99)),
        loop(4900, Code()),
    ],
    ids=["doubles", "output", "chacha", "recursion", "code"],
)
def test_what_is_let_through_costs_the_model_little(step, monkeypatch):
    monkeypatch.setattr(check, "MOST_EVENTS", check.MOST_EVENTS // 10)
    scenario = made(call(9, piece(4096)), step)
    check.scenario(scenario)
    before = time.process_time()
    model.predict.__wrapped__(scenario)
    assert time.process_time() - before < 0.8  # a tenth of a second on a machine that does nothing else


def test_recursion_and_nesting_as_deep_as_is_let_through_are_predicted():
    step = call(0, 5, "recursive", count=99 - 14)
    for _ in range(14):
        step = call(0, 5, inside=(step,))
    check.scenario(deepest := made(step, code()))
    check.by_model(deepest)
    assert "17 levels deep" in complaint(made(call(0, inside=(call(0, inside=(step,)),))))


@pytest.mark.parametrize("name", ["sparc64", "s390x", "ppc64v1"])  # which need the most stack
def test_recursion_and_nesting_as_deep_as_is_let_through_fit_a_guest(name):
    step = call(5, 5, "recursive", count=99 - 14)
    for _ in range(14):
        step = call(11, 5, "looped", inside=(step,))
    check.scenario(program := made(step, query(0)))
    variant = arch_toml.load()[name]
    _agrees("unicorn", build.image(image.Spec(variant, "pointer", next(iter(variant.toolchain)))), variant, program)


# Whatever is written.

_functions = st.integers(0, len(FUNCTIONS) - 1)
_targets = st.sampled_from(Target)
_numbers = st.integers(0, 300) | st.integers(0, (1 << 64) - 1)


class Spiteful:
    """An object that can be asked nothing."""

    def fail(self, *_):
        raise RuntimeError("I would rather not")

    __repr__ = __str__ = __bool__ = __len__ = __iter__ = __eq__ = __hash__ = __index__ = fail


_nothing = st.sampled_from([None, (), [], {}, (None,), [None], {1}, object(), object, Load]) | st.builds(Spiteful)
_wrong_numbers = st.sampled_from([True, False, -1, 18, 99, 1.0, float("nan"), 1 << 32, 1 << 64, 10**5000])
_wrong_text = st.sampled_from(["fast", "", "a/b", "a,b", "*", "\x1b", "\udcff", b"x"])
_wrong_members = st.sampled_from([Target.FAST, Shape.TAIL, Kind.INT, Status.OK, Defect.BYPASS, query(0), (query(0),)])
_odd = _nothing | _wrong_numbers | _wrong_text | _wrong_members


def _steps(field):
    """Steps any field of which may be what ``field`` makes of it."""
    one = st.one_of(
        st.builds(Patch, field(_functions), field(_targets), field(st.integers(0, 3))),
        *(st.builds(step, field(_functions)) for step in (Restore, Query, Scribble, Tamper, Address)),
        st.builds(Sites, field(_functions), field(_targets)),
        st.builds(Code, field(st.none() | _functions)),
        st.builds(LockText, field(st.booleans())),
        st.builds(FailPoke, field(st.integers(0, 2))),
        st.builds(Interrupted, *map(field, (_functions, _targets, _functions, _targets))),
        *(st.builds(step) for step in (Protection, Load, Unload, Output)),
    )

    def nested(inner):
        program = field(st.lists(inner, max_size=3).map(tuple))
        shape, count, at, stride = st.sampled_from(Shape), st.integers(0, 3), st.integers(0, 3), st.integers(-3, 3)
        parts = map(field, (_functions, _numbers, shape, count, at))
        originals = st.builds(Original, field(_functions), field(_numbers), program)
        return st.builds(Call, *parts, program, field(stride)) | originals | st.builds(Loop, field(count), program)

    return field(st.recursive(one, nested, max_leaves=6))


def _scenarios(field):
    names = st.sampled_from(["mine", "other.2", "a-b"])
    return st.builds(
        Scenario,
        id=field(st.sampled_from(["BS-90", "FZ-1-2"])),
        name=field(names),
        title=field(st.sampled_from(["", "A title: of one line"])),
        steps=field(st.lists(_steps(field), max_size=5).map(tuple)),
        detects=field(st.sets(st.sampled_from(Defect), min_size=1, max_size=3).map(frozenset)),
        only=field(st.none() | st.tuples(st.sets(st.sampled_from(["stub", "pointer"]), min_size=1), names)),
        needs=field(st.just(frozenset()) | st.sets(st.sampled_from(["ret0", Promise.NULL, Fact.POKES]))),
        requires=field(st.just(frozenset()) | st.sets(st.sampled_from(["float", "clmul"]))),
        abi=field(st.just(frozenset()) | st.sets(st.sampled_from(["toc"]))),
        tags=field(st.just(frozenset()) | st.sets(names)),
        bugs=field(st.just(()) | st.lists(names, max_size=2).map(tuple)),
    )


def _sometimes_odd(field):
    return st.integers(0, 39).flatmap(lambda draw: _odd if draw == 17 else field)


def _is_valid(scenario):
    try:
        check.scenario(scenario)
        check.by_model(scenario)
    except UsageError as error:
        assert str(error).isprintable()  # noqa: PT017 - either outcome is right
        return False
    return True


@given(_sometimes_odd(_scenarios(_sometimes_odd)))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_whatever_is_called_a_scenario_is_one_or_is_refused_in_a_sentence(scenario):
    if _is_valid(scenario):
        assert wire.encode(scenario, big_endian=True)
        assert 0 < len(model.predict(scenario)) <= layout.TRACE_EVENTS


def _agrees(engine, built, variant, scenario):
    program = wire.encode(scenario, big_endian=built.big_endian)
    (reply,) = engines()[engine].run(built, variant, [program], 10.0)
    judge = Judge(built)
    cell = Cell(scenario.name, variant.name, "stub", "zig", engine)
    result = judge.judge(cell, scenario, reply, 0.0)
    assert not result.failed, result.reason


@given(_scenarios(lambda field: field))
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)
def test_a_scenario_that_is_let_through_runs(guest, arm64, scenario):
    assume(_is_valid(scenario))
    _agrees("unicorn", guest(), arm64, scenario)


# By the command line.

COMMANDS = (
    ("list", "scenarios"),
    ("plan",),
    ("run", "--output", "out"),
    ("calibrate", "--arch", "arm64", "--output", "out"),
    ("coverage", "--arch", "arm64", "--output", "out"),
    ("show", "arm64/stub/zig/unicorn/supersede_then_restore", "out"),
    ("trace", "arm64/stub/zig/unicorn/supersede_then_restore"),
    ("debug", "arm64/stub/zig/unicorn/supersede_then_restore"),
    ("ci", "plan"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            f"{IMPORTS}SCENARIOS = (Scenario('BS-90', 'mine', '', (patch(99, 'fast'),), {{Defect.LOST_PATCH}}),)",
            f"SCENARIOS[0]: scenario BS-90 mine: step 0: patch: function 99 found; {NUMBER} 17",
        ),
        ("import sys\nsys.exit(0)", "line 2: SystemExit: 0"),
        ("import os\nos._exit(0)", "line 2: SystemExit: 0"),
        ("raise ValueError('a\\nb')", "line 1: ValueError: a b"),
        (
            "class Leaving(Exception):\n    def __str__(self):\n        raise SystemExit(0)\nraise Leaving",
            "line 4: Leaving",
        ),
    ],
    ids=["mistake", "exit", "hard exit", "lines", "words that exit"],
)
def test_every_command_refuses_a_bad_file_in_the_same_words(tmp_path, monkeypatch, capsys, command, text, words):
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    if command[0] == "show":
        (tmp_path / "out").mkdir()
    monkeypatch.setattr("sys.argv", ["farm", *command, "--scenario-path", "mine.py"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    assert ended.value.code == 2, captured
    assert captured.err.removeprefix(f"farm: {tmp_path}/").removeprefix("farm: ") == f"mine.py: {words}\n"
    assert not captured.out
    assert not list(tmp_path.glob("out/*"))


def test_a_file_takes_no_output_away_and_may_end_what_it_forks(tmp_path):
    forks = "import os, sys\nif (child := os.fork()) == 0: os._exit(5)\nassert os.waitpid(child, 0)[1] == 5 << 8"
    good = "SCENARIOS = (Scenario('BS-90', 'mine', '', (query(0),), {Defect.LOST_PATCH}),)"
    file = tmp_path / "mine.py"
    file.write_text(f"{IMPORTS}{forks}\nsys.stdout.close()\nsys.stderr = None\n{good}\n")
    command = [sys.executable, "-m", "farm", "list", "scenarios", "--scenario-path", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nmine " in done.stdout
