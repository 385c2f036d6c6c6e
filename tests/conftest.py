"""What several test modules stand on: one variant, its built guests, and engines that do as they are told."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess

import msgspec
import pytest

from farm import paths
from farm.cell import Cell
from farm.engines.qemu_user import QEMU_USER
from farm.engines.unicorn import UNICORN
from farm.guest import arch_toml, build, image, mechanisms
from farm.scenario import Defect, Scenario, layout, model, wire


@pytest.fixture(scope="session", autouse=True)
def _no_child_is_left_behind():
    yield
    UNICORN.pool.drain()
    QEMU_USER.pool.drain()


@pytest.fixture
def unmeasured():
    """The environment of a process that `tox -e coverage` is not to measure, since it may write nothing."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


@pytest.fixture(scope="session")
def arm64():
    return arch_toml.load()["arm64"]


@pytest.fixture(scope="session")
def guest(arm64):
    """``guest("stub")``: the arm64 image of a mechanism, with a planted bug if one is named."""

    def made(mechanism="stub", control=None):
        return build.image(image.Spec(arm64, mechanism, control=control))

    return made


@pytest.fixture(scope="session", params=["pointer", "stub"])
def mechanism(request):
    return request.param


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI a test that was skipped for want of something that can be installed has failed."""
    del item, call
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        reason = report.longrepr[2]
        if " is missing: " in reason:
            report.outcome, report.longrepr = "failed", f"CI=true: {reason}"
    return report


@pytest.fixture(scope="session")
def qemu():
    """The ``qemu-user`` engine."""
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("qemu-aarch64 is missing: apt-get install qemu-user")
    return QEMU_USER


@pytest.fixture(scope="session")
def gdb(qemu):
    """The debugger."""
    from farm.measure import debug

    del qemu
    if shutil.which("gdb-multiarch") is None:
        pytest.skip("gdb-multiarch is missing: apt-get install gdb-multiarch")
    return debug.find_gdb()


@pytest.fixture(scope="session", params=["unicorn", "qemu-user"])
def engine(request):
    return UNICORN if request.param == "unicorn" else request.getfixturevalue("qemu")


@pytest.fixture(scope="session")
def scenario():
    """``scenario(step, ...)``: a scenario of these steps."""

    def make(*steps, **others):
        return Scenario("BS-99", others.pop("name", "made_up"), "", steps, frozenset({Defect.LOST_PATCH}), **others)

    return make


@pytest.fixture(scope="session")
def cell():
    return Cell("made_up", "arm64", "stub", "zig", "unicorn")


@pytest.fixture(scope="session")
def trace_of():
    """``trace_of(image, scenario)``: the trace that a correct guest writes; words of its header can be replaced."""

    def make(built, scenario, events=None, **replaced):
        events = list(model.predict(scenario) if events is None else events)
        code = built.bytes_at(*built.patched)
        identity = wire.identity(
            big_endian=built.big_endian, word_size=built.word_size, mechanism=built.mechanism_identity
        )
        header = wire.Header(
            layout.TRACE_MAGIC,
            layout.wire_hash(),
            built.machine,
            identity,
            len(events),
            0,
            built.text_digest,
            len(code),
        )._replace(**replaced)
        order = ">" if built.big_endian else "<"
        body = wire.encode_events(events, big_endian=built.big_endian)
        return struct.pack(f"{order}{layout.HEADER_WORDS}I", *header) + body + code

    return make


class FakeEngine:
    """Answers each run with the next list of replies (the last one for ever), and remembers what it was asked."""

    name = "fake"

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def hole(self, _variant):
        return None

    def version(self, _variant):
        return "1"

    def run(self, _built, _variant, programs, _timeout, *, fresh=False):
        self.asked.append((len(programs), fresh))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        assert len(answer) == len(programs)
        yield from answer


class SlowFakeEngine(FakeEngine):
    """As :class:`FakeEngine`, and has a slow mode, in which it answers with ``slow``."""

    def __init__(self, *answers, slow):
        super().__init__(*answers)
        self.slow = slow

    def cross_check(self, _built, _variant, _programs, _timeout):
        return self.slow


@pytest.fixture(scope="session")
def fake_engine():
    """``fake_engine(answer, ..., slow=None)``: an engine that answers as it is told."""

    def make(*answers, slow=None):
        return FakeEngine(*answers) if slow is None else SlowFakeEngine(*answers, slow=slow)

    return make


@pytest.fixture
def edited_arch(arm64, tmp_path):
    """``edited_arch((old, new), name="arm64")``: a copy of arch/arm64, text of its arch.toml replaced.

    Its variant is arm64 alone.
    """

    def copy(*replacements, name="arm64"):
        folder = tmp_path / name
        shutil.copytree(arm64.folder, folder)
        toml = folder / "arch.toml"
        text = toml.read_text(encoding="utf-8").partition("[variant.arm64be]")[0]
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        toml.write_text(text, encoding="utf-8")
        return folder

    return copy


@pytest.fixture
def mine(tmp_path):
    """The folder of a mechanism out of the tree, ``mine``: ``pointer`` by another name."""
    return shutil.copytree(mechanisms.load()["pointer"].folder, tmp_path / "mechanisms" / "mine")


@pytest.fixture(scope="session")
def objects(arm64, tmp_path_factory):
    """A cache that has what the arm64 guests are linked from, and no image; with the compiler's own, slow to fill."""
    compiler = paths.cache() / "zig"
    compiler.mkdir(parents=True, exist_ok=True)
    folder = tmp_path_factory.mktemp("objects") / "cache"
    folder.mkdir()
    (folder / "zig").symlink_to(compiler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATCHFARM_CACHE", str(folder))
        for mechanism in ("pointer", "stub"):
            build.image(image.Spec(arm64, mechanism))
    shutil.rmtree(folder / "images")
    for lock in folder.glob("made/*.lock"):
        lock.unlink()
    return folder


@pytest.fixture
def own_cache(objects, monkeypatch, tmp_path):
    """A cache of images that is empty, so that they are linked anew."""
    folder = shutil.copytree(objects, tmp_path / "cache", symlinks=True)
    monkeypatch.setenv("PATCHFARM_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def with_fields():
    return msgspec.structs.replace


@pytest.fixture
def launch():
    """``launch(command, **options)``: a process that signals end, but for those ``ignored``; it ends here.

    What a shell starts in the background ignores SIGINT, with nohup SIGHUP too, and so does all that this starts.
    """
    begun = []

    def start(command, *, ignored=(), **options):
        usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
        usual |= dict.fromkeys(ignored, signal.SIG_IGN)
        before = {number: signal.signal(number, handler) for number, handler in usual.items()}
        try:
            begun.append(subprocess.Popen(command, **options))
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()
