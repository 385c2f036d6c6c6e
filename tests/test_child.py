"""The parent's end of a child process: frames, deadlines, deaths and the pool of idle children."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from pathlib import Path

import pytest

from farm import processes
from farm.engines import Reply, child
from farm.engines.child import Child, ChildDied, Pool, converse

#: Answers each program: ``die N`` with signal N, ``sleep``, ``exit N``, ``env NAME``, ``burn SECONDS``, else an echo.
SERVER = """
import os, struct, sys, time
order = ">" if len(sys.argv) > 1 else "<"
read, write = sys.stdin.buffer.read, sys.stdout.buffer
while head := read(4):
    program = read(struct.unpack(order + "I", head)[0])
    verb, _, rest = program.partition(b" ")
    if verb == b"die":
        os.kill(os.getpid(), int(rest))
    elif verb == b"exit":
        sys.stderr.write("I have had enough")
        sys.exit(int(rest))
    elif verb == b"sleep":
        time.sleep(60)
    elif verb == b"env":
        program = repr(os.environ.get(rest.decode())).encode()
    elif verb == b"burn":
        while time.process_time() < float(rest):
            pass
    elif verb == b"pid":
        program = str(os.getpid()).encode()
    write.write(struct.pack(order + "II", len(program) + 4, 7) + program)
    write.flush()
"""


def start(**options):
    arguments = ["big"] if options.get("big_endian") else []
    return Child([sys.executable, "-S", "-E", "-c", SERVER, *arguments], **options)


@pytest.fixture
def served():
    running = start()
    yield running
    running.close()


def soon(seconds=10.0):
    return time.monotonic() + seconds


@pytest.fixture
def talk():
    """``talk(programs)``: the replies of as many servers as it takes, and how many that were."""

    def run(programs, seconds=10.0):
        begun, finished = [], []

        def begin():
            begun.append(start())
            return begun[-1]

        def explain(death):
            return Reply(failure="engine-error", detail=f"{death.status} {death.stderr}")

        replies = converse(begin, finished.append, programs, seconds, lambda _, payload: Reply(payload), explain)
        try:
            return list(replies), len(begun)
        finally:
            for one in finished:
                one.close()

    return run


@pytest.fixture
def pool():
    made = Pool(limit=2)
    yield made
    made.drain()


# Frames.


@pytest.mark.parametrize("big_endian", [False, True])
def test_a_frame_is_answered_by_a_frame_in_the_childs_byte_order(big_endian):
    served = start(big_endian=big_endian)
    served.send(b"hello")
    assert served.receive(soon()) == (7, b"hello")
    served.close()


def test_an_empty_program_and_one_larger_than_a_pipe_come_back_whole(served):
    for program in (b"", b"x" * (1 << 20)):
        served.send(program)
        assert served.receive(soon()) == (7, program)


@pytest.mark.parametrize(("count", "size"), [(1, 10), (500, 100), (40, 20_000), (3, 200_000)])
def test_a_stream_of_programs_is_answered_in_order_without_a_deadlock(served, count, size):
    programs = [f"{number} ".encode() + bytes(size) for number in range(count)]
    assert [payload for _, payload in served.stream(programs, 10)] == programs


def test_what_a_child_says_on_stderr_is_kept_but_not_all_of_it(served):
    os.kill(served.process.pid, signal.SIGKILL)
    loud = Child([sys.executable, "-c", "import sys; sys.stderr.write('x' * 100000 + 'the end')"])
    with pytest.raises(ChildDied) as caught:
        loud.receive(soon())
    assert caught.value.stderr.endswith("xthe end")
    assert len(caught.value.stderr) == 4000
    loud.close()


# Death and deadlines.


@pytest.mark.parametrize(
    ("program", "status"), [(b"die 9", -signal.SIGKILL), (b"die 11", -signal.SIGSEGV), (b"exit 3", 3), (b"exit 0", 0)]
)
def test_the_death_of_a_child_is_told_with_its_status(served, program, status):
    served.send(program)
    with pytest.raises(ChildDied) as caught:
        served.receive(soon())
    assert caught.value.status == status
    assert not served.alive()


def test_a_child_that_is_dead_already_takes_no_program(served):
    served.kill()
    with pytest.raises(ChildDied) as caught:
        next(served.stream([b"hello"], 10))
    assert caught.value.status == -signal.SIGKILL


def test_a_deadline_ends_the_child(served):
    served.send(b"sleep")
    before = time.monotonic()
    with pytest.raises(ChildDied) as caught:
        served.receive(soon(0.3))
    assert 0.25 < time.monotonic() - before < 3
    assert caught.value.status is None
    assert not served.alive()


def test_a_deadline_in_the_past_is_a_deadline(served):
    with pytest.raises(ChildDied):
        served.receive(time.monotonic() - 1)


def test_a_killed_child_costs_one_program_and_the_rest_are_answered(talk):
    programs = [b"a", b"b", b"die 9", b"c", b"exit 2", b"d"]
    replies, children = talk(programs)
    assert [reply.trace for reply in replies] == [b"a", b"b", b"", b"c", b"", b"d"]
    assert [reply.failure for reply in replies] == [None, None, "engine-error", None, "engine-error", None]
    assert replies[2].detail == "-9 "
    assert replies[4].detail == "2 I have had enough"
    assert children == 3


def test_a_child_that_dies_while_programs_are_being_sent_costs_the_program_that_killed_it(talk, monkeypatch):
    write = Child._write

    def unhurried(self, data):
        write(self, data)
        time.sleep(0.4)

    monkeypatch.setattr(Child, "_write", unhurried)
    monkeypatch.setattr(child, "_IN_FLIGHT", 1)  # so that there are several writes
    replies, _ = talk([b"a", b"die 9", b"b"])
    assert [reply.trace for reply in replies] == [b"a", b"", b"b"]


def test_children_that_die_on_every_program_answer_every_program(talk):
    replies, children = talk([b"die 9"] * 5)
    assert [reply.failure for reply in replies] == ["engine-error"] * 5
    assert children == 5


def test_a_hanging_program_costs_one_deadline(talk):
    before = time.monotonic()
    replies, children = talk([b"a", b"sleep", b"b"], 0.5)
    assert [reply.trace for reply in replies] == [b"a", b"", b"b"]
    assert replies[1].detail.startswith("None")
    assert children == 2
    assert time.monotonic() - before < 5


def test_no_programs_start_no_child(talk):
    assert talk([]) == ([], 0)


def test_a_conversation_that_is_given_up_ends_its_child():
    begun, finished = [], []

    def begin():
        begun.append(start())
        return begun[-1]

    replies = converse(begin, finished.append, [b"a", b"sleep"], 10, lambda _, payload: Reply(payload), str)
    assert next(replies) == Reply(b"a")
    replies.close()
    assert not begun[0].alive()
    assert finished == []


def dying(deaths):
    """``begin()``: a server, but first so many that die before they take a program."""
    begun = []

    def begin():
        if len(begun) < deaths:
            begun.append(None)
            raise ChildDied(-signal.SIGKILL, "")
        begun.append(start())
        return begun[-1]

    return begin


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_child_that_dies_as_it_opens_its_image_costs_one_program(deaths):
    def explain(death):
        return Reply(failure="engine-error", detail=str(death.status))

    programs = [b"a", b"b", b"c", b"d"]
    replies = list(converse(dying(deaths), Child.close, programs, 10, lambda _, payload: Reply(payload), explain))
    assert [reply.failure for reply in replies] == ["engine-error"] * deaths + [None] * (4 - deaths)
    assert [reply.trace for reply in replies[deaths:]] == programs[deaths:]


def test_an_image_that_kills_every_child_is_not_opened_for_ever():
    with pytest.raises(ChildDied):
        list(converse(dying(99), Child.close, [b"a"] * 99, 10, lambda _, payload: Reply(payload), str))


# The CPU time of a child.


def test_the_cpu_time_of_a_child_is_limited_with_room_for_its_next_program(served):
    assert list(served.stream([b"burn 0.3"], 200)) == [(7, b"burn 0.3")]
    soft, _ = resource.prlimit(served.process.pid, resource.RLIMIT_CPU)
    assert soft == 400 + 1  # twice the deadline, and what Python took to start, rounded up
    served.allow(1)
    soft, _ = resource.prlimit(served.process.pid, resource.RLIMIT_CPU)
    assert soft == 2 * child._CPU_SECONDS + 1


def test_a_child_that_has_used_its_cpu_time_is_replaced_before_it_is_ended(talk, monkeypatch, pool):
    monkeypatch.setattr(child, "_CPU_SECONDS", 0.3)
    replies, children = talk([b"pid", b"burn 0.4", b"pid", b"pid"])
    assert [reply.failure for reply in replies] == [None] * 4
    assert children == 2
    assert replies[0].trace != replies[2].trace == replies[3].trace
    worn = start()
    list(worn.stream([b"burn 0.4"], 10))
    pool.give("one", worn)
    assert pool.take("one") is None
    assert not worn.alive()


# What a child gets from its parent.


def test_a_child_leaves_no_core_file(served, monkeypatch, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    monkeypatch.chdir(tmp_path)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        dying = start()
        assert resource.prlimit(dying.process.pid, resource.RLIMIT_CORE) == (0, 0)
        dying.send(b"die 11")
        with pytest.raises(ChildDied):
            dying.receive(soon())
        dying.close()
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_child_is_in_a_session_of_its_own(served):
    served.send(b"pid")
    pid = int(served.receive(soon())[1])
    assert os.getsid(pid) == pid != os.getsid(0)


def test_a_closed_child_leaves_neither_process_nor_open_file():
    before = len(list(Path("/proc/self/fd").iterdir()))
    served = start()
    pid = served.process.pid
    served.close()
    assert not Path(f"/proc/{pid}").exists()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert served.process not in processes._children.live


# The pool.


def test_a_pool_gives_back_what_has_the_same_thing_open(pool):
    one, two = start(), start()
    pool.give("one", one)
    pool.give("two", two)
    assert pool.take("one") == ("one", one)
    assert pool.take("one") is None
    assert pool.take("three") is None
    assert pool.take("three", any_other=True) == ("two", two)
    one.close()
    two.close()


def test_a_child_that_has_kept_something_is_taken_before_one_that_would_have_to_open_it(pool):
    one, two = start(), start()
    pool.give("one", one)
    pool.give("two", two)
    two.kept["three"] = None
    assert pool.take("three") is None
    assert pool.take("three", any_other=True) == ("two", two)
    assert pool.take("three", any_other=True) == ("one", one)
    one.close()
    two.close()


def test_a_full_pool_closes_its_oldest(pool):
    children = [start() for _ in range(3)]
    for number, each in enumerate(children):
        pool.give(str(number), each)
    assert [each.alive() for each in children] == [False, True, True]
    assert pool.take("0") is None


def test_a_drained_pool_has_closed_everything(pool):
    served = start()
    pool.give("one", served)
    pool.drain()
    assert not served.alive()
    assert pool.take("one") is None


def test_a_pool_in_another_process_gives_none_of_its_parents_children(pool):
    served = start()
    pool.give("one", served)
    pool._owner = os.getpid() + 1
    assert pool.take("one", any_other=True) is None
    served.close()
