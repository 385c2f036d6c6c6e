"""Guests and children that send what nobody should: it is judged in words, costs one cell, and leaves nothing behind.

``PATCHFARM_MANGLED`` is how many mangled messages are tried beside those that hypothesis finds: 100000 take minutes.
"""

from __future__ import annotations

import io
import os
import random
import shutil
import struct
import sys
import time
import zlib
from collections import Counter

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farm import confinement, suite
from farm.cell import PASSED, Cell, Verdict
from farm.engines import Block, Reply, Steps, qemu_user
from farm.engines.child import Child, ChildDied
from farm.engines.linux_guest import interpreter
from farm.engines.unicorn import UNICORN, messages
from farm.engines.unicorn.machine import GuestFault, Machine
from farm.engines.unicorn.messages import Failure, Recorded
from farm.guest import arch_toml, build, image, mechanisms
from farm.live import Guest, GuestDied, PatchRefused
from farm.report.explain import explain
from farm.report.show import outcome
from farm.run import plan
from farm.run.batch import Batch, run_batch
from farm.run.verdict import LEFT_BEHIND, Judge, Result
from farm.scenario import call, code, layout, model, patch, query, restore, wire
from farm.text import printable

MANGLED = int(os.environ.get("PATCHFARM_MANGLED", "3000"))
mangling = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
PLENTY = 10.0  # seconds

WAYS = ("cut", "word", "byte", "insert", "repeat", "drop")
SPECIAL = (0, 1, 4, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_words = st.sampled_from(SPECIAL) | st.integers(0, 0xFFFFFFFF)
_edits = st.lists(
    st.tuples(st.sampled_from(WAYS), st.integers(0, 1 << 16), _words),
    min_size=1,
    max_size=4,
)


def mangled(message, edits):
    """``message`` with some of it changed, lost or added."""
    data = bytearray(message)
    for what, place, word in edits:
        at = place % (len(data) + 1)
        if what == "cut":
            del data[at:]
        elif what == "word":
            at &= ~3
            data[at : at + 4] = struct.pack("<I", word)
        elif what == "byte":
            data[at : at + 1] = bytes([word & 0xFF])
        elif what == "insert":
            data[at:at] = random.Random(word).randbytes(word % 64)
        elif what == "repeat":
            data[at:at] = data[at : at + word % 256]
        else:
            del data[at : at + word % 256]
    return bytes(data)


def raised(expected, action):
    """What ``action`` raises of what is expected of it, if anything."""
    try:
        action()
    except expected as error:
        return error
    return None


# Broken guests: arm64 with C of this test's in what the mechanism calls before it leads a stub to its slot.

GOOD = (patch(0, "fast"), call(0, 5), patch(0, "best"), call(0, 5), restore(0))

#: What a guest may do, by name.
MISDEEDS = {
    "zeros": 'say(1, "\\0\\0\\0\\0", 4);',
    "huge frame": 'say(1, "\\377\\377\\377\\377", 4);',
    "status": 'say(1, "\\10\\0\\0\\0\\7\\0\\0\\0....", 12);',
    "closed": "arch_syscall(CLOSE, 1, 0, 0); for (;;) {}",
    "exit 0": "arch_syscall(ARCH_SYS_EXIT_GROUP, 0, 0, 0);",
    "exit 9": "arch_syscall(ARCH_SYS_EXIT_GROUP, 9, 0, 0);",
    "flood": "for (;;) say(2, farm_program, 4096);",
    "escapes": 'say(2, "\\33[31m\\302\\205\\n", 8); arch_syscall(ARCH_SYS_EXIT_GROUP, 9, 0, 0);',
    "signal": "arch_syscall(KILL, (uintptr_t)arch_syscall(GETPID, 0, 0, 0), 50, 0);",
    "sites": "((volatile uint32_t *)sites_end)[-1] ^= 1;",
    "module": "((volatile uint32_t *)module_end)[-1] = 0;",
    "leftovers": """
        farm_features = 0;
        text_locked = 1;
        if (has_kernel()) farm_doorbell = 0x5a50;
        for (uint32_t i = 2048; i < PROGRAM_WORDS; i++) farm_program[i] = 0x5a5a5a5a;
        for (uint32_t i = 0; i < sizeof work_out; i++) work_out[i] = 0x5a;
        work.crc = work.counter = work.position = 0x5a;
        abi_bare = abi_frame = call_count = 0x5a;""",
    "doorbell word": "*(volatile uint32_t *)farm_doorbell = 0xffffffffu;",
    "doorbell region": "*(volatile uint32_t *)farm_doorbell = 0x45;",
    "doorbell permission": "*(volatile uint32_t *)farm_doorbell = 0xf;",
    "doorbell half": "*(volatile uint16_t *)farm_doorbell = 5;",
    "doorbell beside": "*(volatile uint32_t *)(farm_doorbell + 8) = 5;",
    "doorbell call": "((void (*)(void))farm_doorbell)();",
    "doorbell load": "if (!*(volatile uint32_t *)farm_doorbell) for (;;) {}",
}
_CHOICE = 1000  # and the place of one of them: what the first call of a program passes to choose it

MISBEHAVING = """
extern uintptr_t farm_doorbell;
extern uint32_t farm_program[], text_locked;
extern uint8_t sites_end[], module_end[];
enum { CLOSE = 57, WRITE = 64, KILL = 129, GETPID = 172 };
#define say(descriptor, text, size) arch_syscall(WRITE, descriptor, (uintptr_t)(text), size)
void arch_store_barrier(void)
{
    switch (farm_program[7]) { /* the argument of a call that is the first step */
%s
    }
}
"""


@pytest.fixture(scope="module")
def broken(arm64, tmp_path_factory):
    """A variant whose guests do what :data:`MISDEEDS` has."""
    folder = tmp_path_factory.mktemp("arch") / "broken"
    shutil.copytree(arm64.folder, folder)
    toml, source = folder / "arch.toml", folder / "patch.c"
    toml.write_text(toml.read_text(encoding="utf-8").partition("[variant.arm64be]")[0], encoding="utf-8")
    text = source.read_text(encoding="utf-8")
    barrier = 'void arch_store_barrier(void) { __asm__ volatile("dmb ishst" ::: "memory"); }\n'
    assert barrier in text
    cases = "\n".join(f"case {_CHOICE + i}: {body} break;" for i, body in enumerate(MISDEEDS.values()))
    source.write_text(text.replace(barrier, MISBEHAVING % cases), encoding="utf-8")
    (variant,) = arch_toml.load_folder(folder)
    return variant


@pytest.fixture
def misbehaving(broken, scenario):
    """``misbehaving(engine, misdeed)``: results of a good cell, of the one that misbehaves, and of two good ones."""

    def run(engine, misdeed, mechanism="stub", **options):
        bad = (call(0, _CHOICE + list(MISDEEDS).index(misdeed)), patch(0, "far"), call(0, 5))
        programs = [
            scenario(*steps, name=name) for name, steps in (("a", GOOD), ("bad", bad), ("b", GOOD), ("c", GOOD))
        ]
        cells = [Cell(program.name, "arm64", mechanism, "zig", engine) for program in programs]
        return run_batch(Batch(image.Spec(broken, mechanism), engine, tuple(cells), tuple(programs), **options))

    return run


def verdicts(results):
    return [str(result.verdict) for result in results]


@pytest.mark.usefixtures("qemu")
@pytest.mark.parametrize(
    ("misdeed", "verdict", "reason"),
    [
        ("zeros", "crash", "the guest broke the protocol: it wrote a frame of 0 bytes; 4 to "),
        ("huge frame", "crash", "the guest broke the protocol: it wrote a frame of 4,294,967,295 bytes; 4 to 35,428 "),
        ("status", "crash", "the guest answered with status 0x7, not 0"),
        ("closed", "crash", "it closed its standard input or output and went on"),
        ("exit 0", "crash", "the guest ended before it had answered"),
        ("exit 9", "crash", "the guest ended with status 9"),
        ("flood", "crash", "the guest wrote without end (SIGXFSZ)"),
        ("escapes", "engine-error", "qemu ended with status 9: \ufffd[31m\ufffd"),
        ("signal", "engine-error", "qemu died of signal "),
    ],
)
def test_what_a_guest_does_to_its_process_costs_its_cell_and_no_other(misbehaving, misdeed, verdict, reason):
    options = {}
    if misdeed == "closed" and confinement.confines():  # the box holds its end of both open
        options, verdict, reason = {"timeout": 2.0}, "timeout", "no answer within 2 s"
    results = misbehaving("qemu-user", misdeed, confirm=False, **options)
    assert verdicts(results) == ["pass", verdict, "pass", "pass"]
    assert reason in results[1].reason
    assert printable(results[1].reason) == results[1].reason


@pytest.mark.usefixtures("qemu")
@pytest.mark.parametrize("engine", ["unicorn", "qemu-user"])
def test_bytes_that_a_mechanism_leaves_are_blamed_on_the_cell_that_left_them(misbehaving, engine):
    """Unicorn's reset healed them unseen once, and the cell was green there."""
    results = misbehaving(engine, "sites", "relocated")
    assert verdicts(results) == ["pass", "mismatch", "pass", "pass"]
    assert (results[1].reason, results[1].retried) == (LEFT_BEHIND, None)


@pytest.mark.usefixtures("qemu")
@pytest.mark.parametrize(("misdeed", "mechanism"), [("leftovers", "stub"), ("module", "relocated")])
@pytest.mark.parametrize("engine", ["unicorn", "qemu-user"])
def test_what_a_guest_leaves_in_its_memory_does_not_reach_the_next_cell(misbehaving, engine, misdeed, mechanism):
    results = misbehaving(engine, misdeed, mechanism)
    assert [verdicts(results)[i] for i in (0, 2, 3)] == ["pass"] * 3


@pytest.mark.usefixtures("qemu")
def test_a_live_guest_does_not_inherit_what_another_could_not_put_back(broken):
    spec = image.Spec(broken, "relocated")
    last = Guest(spec, "qemu-user", pooled=True)
    last.run(call(0, _CHOICE + list(MISDEEDS).index("sites")), patch(0, "far"))
    child = last._session.child
    last.close()
    assert child.alive()
    guest = Guest(spec, "qemu-user", pooled=True)
    assert guest._session.child is not child
    assert guest.call(5) == 1005
    guest.close()


@pytest.mark.parametrize(
    ("misdeed", "store"),
    [
        ("doorbell word", "0xffffffff (4 bytes)"),
        ("doorbell region", "0x45 (4 bytes)"),
        ("doorbell permission", "0xf (4 bytes)"),
        ("doorbell half", "0x5 (2 bytes)"),
        ("doorbell beside", "0x5 (4 bytes)"),
    ],
)
def test_a_store_to_the_doorbell_that_means_nothing_is_the_guest_s_crash(misbehaving, misdeed, store):
    results = misbehaving("unicorn", misdeed)
    assert verdicts(results) == ["pass", "crash", "pass", "pass"]
    assert results[1].reason.startswith(f"a store of {store} to the doorbell, which takes no such value at 0x")
    assert " in arch_store_barrier+" in results[1].reason


def test_a_call_of_the_doorbell_is_a_crash(misbehaving):
    assert verdicts(misbehaving("unicorn", "doorbell call")) == ["pass", "crash", "pass", "pass"]


# Mangled messages.


@pytest.fixture(scope="module")
def traces(arm64):
    """Real ones: image, cell, scenario and bytes of each."""
    found = []
    for mechanism in ("pointer", "stub", "relocated"):
        built = build.image(image.Spec(arm64, mechanism))
        names = ("supersede_then_restore", "patched_by_grandchild", "removed_call_site", "chacha_counter_wraps")
        able = mechanisms.load()[mechanism]
        scenarios = [s for s in suite.load().values() if s.name in names and not able.cannot_run(s)]
        programs = [wire.encode(program, big_endian=False) for program in scenarios]
        for program, reply in zip(scenarios, UNICORN.run(built, arm64, programs, PLENTY), strict=True):
            cell = Cell(program.name, "arm64", mechanism, "zig", "unicorn")
            found.append((built, cell, program, reply.trace))
    return found


@pytest.fixture(scope="module")
def made():
    """A plan, which reports need."""
    return plan.make(plan.Selection(("arm64",), (), ("unicorn",)))


@mangling
@given(data=st.data(), edits=_edits)
def test_whatever_a_guest_writes_is_a_verdict_in_words(traces, made, data, edits):
    built, cell, program, trace = data.draw(st.sampled_from(traces))
    judge = Judge(built, frozenset({"clmul", "float"}))
    wrong = mangled(trace, edits)
    assert interpreter(built)(0, wrong).trace == wrong
    result = judge.judge(cell, program, Reply(wrong), 0.0)
    if result.verdict in PASSED:
        body = wire.encode_events(model.predict(program, frozenset({"clmul", "float"})), big_endian=False)
        assert wrong[: 4 * 6] == trace[: 4 * 6]
        assert wrong[4 * layout.HEADER_WORDS :].startswith(body)
        assert len(wrong) == len(trace) or wrong[4 * 7 : 4 * 8] != trace[4 * 7 : 4 * 8]
        return
    assert result.verdict is Verdict.MISMATCH
    said = [result.reason]
    if zlib.crc32(wrong) % 8 == 0:  # they disassemble what is said to be code, which takes a while
        said += [explain(result, made), *outcome(result, made, 80, None)]
    assert all(printable(text) == text for text in said)
    assert msgspec.json.decode(msgspec.json.encode(result), type=Result) == result


_kinds = st.sampled_from(["call", "patch", "restore", "query", "null"])


@pytest.fixture(scope="module")
def live(arm64):
    guest = Guest(image.Spec(arm64, "stub"), "unicorn")
    yield guest
    guest._death = None
    guest.close()


@mangling
@given(kind=_kinds, edits=_edits)
def test_whatever_a_live_guest_answers_is_an_answer_or_its_death(live, kind, edits):
    ask = {
        "call": lambda: live.call(5),
        "patch": lambda: live.patch("fast"),
        "restore": live.restore,
        "query": live.query,
        "null": lambda: live.null(6),
    }[kind]
    session = live._session
    live._death, live.steps, live.trace, live._numbers = None, [], [], 0

    class Mangling:
        def run(self, program, *, keep=True):
            reply = session.run(program, keep=keep)
            return msgspec.structs.replace(reply, trace=mangled(reply.trace, edits))

        def close(self):
            """The session goes on."""

    live._session = Mangling()
    try:
        said = raised((GuestDied, PatchRefused), ask)
    finally:
        live._session = session
    assert printable(str(said)) == str(said)
    assert all(printable(line) == line for line in (*live.code(), *map(str, live.trace)))


_REPLIES = [
    (messages.TRACE, b"x" * 100),
    (messages.PATH, messages.encode_path(list(range(9)))),
    (messages.BLOCKS, messages.encode_blocks({(1, 2, 3): 4, (5, 6, 7): 8}, b"trace")),
    (messages.CRASH, Failure("jump to unmapped memory", 0x1000, b"code").encode()),
    (messages.TIMEOUT, Failure("still running", 2**64 - 1).encode()),
    (messages.ERROR, Failure("it failed").encode()),
    (
        messages.STEPS,
        Recorded(
            messages.TRACE,
            b"trace",
            Steps(
                3,
                [(0x1000, b"\x1f\x20\x03\xd5"), (0x1004, b"\xc0\x03\x5f\xd6")],
                struct.pack("<3I", 0, 1, 0),
                [(1, 0x2000, b"\0" * 4, b"\1" * 4)],
                [(2, 0x3000, 0x1000, 7)],
                [(1, 0x1000, 0x1004, 0xD503201F)],
            ),
        ).encode(),
    ),
]


@mangling
@given(reply=st.sampled_from(_REPLIES), edits=_edits, status=st.none() | _words)
def test_whatever_a_child_answers_is_a_reply(reply, edits, status):
    payload = mangled(reply[1], edits)
    told = messages.decode_reply(reply[0] if status is None else status, payload)
    assert told.failure in (None, "crash", "timeout", "engine-error")
    told, steps = messages.decode_steps(messages.STEPS, payload)
    assert told.failure in (None, "crash", "timeout", "engine-error")
    if steps is not None:
        assert all(len(steps.code) > place for place in memoryview(steps.executed).cast("I"))


@pytest.mark.parametrize(
    ("status", "payload"),
    [
        (99, b""),
        (messages.PATH, b"1234567"),
        (messages.BLOCKS, b"12"),
        (messages.BLOCKS, struct.pack("<I", 0xFFFFFFFF)),
        (messages.BLOCKS, struct.pack("<I", 1) + b"1234567"),
        (messages.CRASH, b"{}"),
        (messages.CRASH, b"\xff"),
        (messages.CRASH, b'{"detail": "x", "pc": -1}'),
        (messages.CRASH, b'{"detail": "x", "pc": NaN}'),
        (messages.CRASH, b'{"detail": "x", "more": ' + b"[" * 100_000),
        (messages.STEPS, b""),
    ],
)
def test_what_is_no_reply_of_a_child_is_the_engine_s_fault(status, payload):
    told = messages.decode_reply(status, payload)
    assert (told.failure, told.detail, told.spoils) == ("engine-error", "unicorn answered what is no reply", True)


def test_the_blocks_of_a_reply_come_back():
    told = messages.decode_reply(*_REPLIES[2])
    assert (told.trace, told.blocks) == (b"trace", {Block(1, 2, 3): 4, Block(5, 6, 7): 8})


@settings(mangling, max_examples=100)
@given(edits=_edits)
def test_whatever_comes_out_of_a_pipe_is_a_frame_or_the_death_of_who_wrote_it(edits):
    frame = struct.pack("<II", 12, 0) + b"payload."
    echo = Child(["cat"], largest=1000)
    try:
        echo._write(mangled(frame * 2, edits) + frame)
        echo.hang_up()
        for _ in range(20):
            death = raised(ChildDied, lambda: echo.receive(time.monotonic() + PLENTY))
            if death:
                break
        assert death.breach or death.status == 0
    finally:
        echo.close()


@pytest.mark.parametrize("size", [0, 3, 1001, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_frame_of_a_size_that_cannot_be_is_not_read(size):
    endless = "import sys, struct\nsys.stdout.buffer.write(struct.pack('<I', int(sys.argv[1])))\n"
    endless += "while True: sys.stdout.buffer.write(bytes(1 << 16))"
    child = Child([sys.executable, "-S", "-c", endless, str(size)], largest=1000)
    try:
        with pytest.raises(ChildDied) as caught:
            child.receive(time.monotonic() + PLENTY)
        assert caught.value.breach == f"it wrote a frame of {size:,} bytes; 4 to 1,000 are valid"
        assert len(child._buffer) <= 1 << 17
        assert not child.alive()
    finally:
        child.close()


_LOG = b"""IN: farm_run
0x01000000:  d10043ff  sub sp, sp, #0x10
0x01000004:  d65f03c0  ret

Trace 0: 0x7f7c40000100 [00000000/0000000001000000/00000051/ff000000] farm_run
Trace 0: 0x7f7c40000100 [00000000/0000000001000000/00000051/ff000000] farm_run
"""


@mangling
@given(edits=_edits)
def test_whatever_is_in_an_emulator_s_log_is_read(edits):
    log = mangled(_LOG, edits)
    counted = qemu_user._blocks(qemu_user._lines(io.BytesIO(log)))
    assert all(0 <= block.start < 1 << 64 for block in counted)
    assert all(0 <= address < 1 << 64 for address in qemu_user._executed(qemu_user._lines(io.BytesIO(log))))


def test_a_log_without_line_ends_is_read_a_piece_at_a_time():
    assert max(map(len, qemu_user._lines(io.BytesIO(bytes(1 << 20))))) == 4096
    assert qemu_user._blocks([b"0xzz: what the guest wrote\n", *_LOG.splitlines(keepends=True)[4:]]) == {}
    assert qemu_user._executed([_LOG]) == [0x1000000] * 2
    assert qemu_user._blocks(qemu_user._lines(io.BytesIO(_LOG))) == {
        Block(0x1000000, 0x1000005, 0x1000000): 1,
        Block(0x1000000, 0x1000005, 0): 1,
    }


def test_many_mangled_messages_raise_nothing(traces, made):
    """Traces, replies of Unicorn's child and logs of QEMU's in turn; every 500th trace is explained too."""
    features = frozenset({"clmul", "float"})
    judges = [(Judge(built, features), interpreter(built), *rest) for built, *rest in traces]
    chosen, found = random.Random(1), Counter()
    for number in range(MANGLED):
        count = chosen.randint(1, 4)
        words = [chosen.choice(SPECIAL) if chosen.random() < 0.5 else chosen.getrandbits(32) for _ in range(count)]
        edits = [(chosen.choice(WAYS), chosen.getrandbits(16), word) for word in words]
        if number % 4 == 0:
            status, message = chosen.choice(_REPLIES)
            found[str(messages.decode_reply(status, mangled(message, edits)).failure)] += 1
            messages.decode_steps(messages.STEPS, mangled(message, edits))
        elif number % 4 == 1:
            log = list(qemu_user._lines(io.BytesIO(mangled(_LOG, edits))))
            found[f"{len(qemu_user._blocks(log))} blocks"] += bool(qemu_user._executed(log))
        else:
            judge, interpret, cell, program, trace = chosen.choice(judges)
            result = judge.judge(cell, program, interpret(0, mangled(trace, edits)), 0.0)
            assert msgspec.json.decode(msgspec.json.encode(result), type=Result) == result
            if number % 500 == 2:
                assert printable(explain(result, made)) == explain(result, made)
            found[str(result.verdict)] += 1
    assert found["mismatch"] > found["pass"]
    assert set(found) >= {"None", "engine-error", "mismatch", "2 blocks", "0 blocks"}


# An event that nobody knows.


def test_an_event_of_a_kind_nobody_knows_fails_its_cell_and_no_other(
    guest, cell, scenario, trace_of, fake_engine, made
):
    built, program = guest("stub"), scenario(*GOOD)
    events = list(model.predict(program, frozenset({"clmul", "float"})))
    trace = bytearray(trace_of(built, program, events))
    struct.pack_into("<I", trace, 4 * layout.HEADER_WORDS, 77)
    result = Judge(built, frozenset({"clmul", "float"})).judge(cell, program, Reply(bytes(trace)), 0.0)
    assert result.verdict is Verdict.MISMATCH
    assert "seen [step 0: kind 77 whatever_0 -> " in result.reason
    assert result.observed[0].kind == "kind 77"
    assert wire.encode_events(result.observed, big_endian=False) == trace[4 * layout.HEADER_WORDS : -built.patched[1]]
    assert "kind 77" in explain(result, made)


# What a machine puts back.


@pytest.fixture
def machine(guest, arm64):
    return Machine(guest("relocated"), arm64.engine["unicorn"])


def test_after_a_reset_nothing_of_the_last_cell_is_left(machine, scenario):
    """All memory that the guest can write, and what it may do with its text."""
    program = wire.encode(scenario(*GOOD, code(), query(1)), big_endian=False)
    machine.reset()
    pristine = [bytes(memory.data) for memory in machine._memory]
    first = machine.run(program)
    writable = [memory for memory in machine._memory if machine.permissions(memory.start) & 2]
    stack = machine._memory[-1]
    assert stack in writable
    assert len(stack.data) == 0x10000
    for value in (0x20, 0x07, 0x17, 0x27):  # nothing may be done with any text, then everything with each region
        machine._on_doorbell(machine.uc, 0, 4, value, None)
    for memory in writable:
        memory.data[:] = random.Random(memory.start).randbytes(len(memory.data))
    regions = [
        machine._place(*(machine.image.symbols[f"{name}_{end}"] for end in ("start", "end")))
        for name in ("module", "sites", "stub")
    ]
    for region in regions:
        machine.uc.mem_write(region.address, bytes(region.size))
    machine.reset()
    assert [bytes(memory.data) for memory in machine._memory] == pristine
    assert {machine.permissions(region.address) for region in regions} == {5}
    assert machine.run(program) == first


def test_a_trace_of_the_last_cell_is_not_taken_for_one_of_this(machine, scenario, with_fields):
    program = wire.encode(scenario(*GOOD), big_endian=False)
    machine.reset()
    machine.run(program)
    machine.reset()
    symbols = machine.image.symbols
    machine.image = with_fields(machine.image, symbols={**symbols, "farm_enter": symbols["farm_stop"]})
    assert machine.run(program) == bytes(4 * layout.HEADER_WORDS)  # of a guest that runs past everything


def test_what_is_too_long_to_be_told_is_not_told(machine, scenario):
    program = wire.encode(scenario(*GOOD), big_endian=False)
    machine.reset()
    with pytest.raises(GuestFault, match="more than 100 instructions"):
        machine.path(program, 100)


def test_the_last_instruction_before_unmapped_memory_is_recorded(guest, arm64):
    """What is read of an instruction whose size is not known may go beyond the memory that it is in."""
    machine = Machine(guest("stub"), arm64.engine["unicorn"])
    recorder = machine.record(10)
    far = next(memory for memory in machine._memory if memory.start == machine.image.symbols["far_start"])
    last = far.start + len(far.data) - 4
    recorder.on_instruction(machine.uc, last, 16, None)
    assert list(recorder.code) == [(last, bytes(4))]
