"""A guest driven by hand: what it answers, what it refuses, and how it dies."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

import farm
from farm import live
from farm.engines.unicorn import UNICORN
from farm.errors import BuildError, ImageError, MissingToolError, UnknownNameError, UsageError
from farm.guest import arch_toml, image
from farm.scenario import (
    FUNCTIONS,
    Call,
    Kind,
    LockText,
    Loop,
    Scenario,
    Scribble,
    Shape,
    Status,
    Target,
    call,
    check,
    code,
    layout,
    model,
    patch,
    query,
)

ENGINES = ["unicorn", "qemu-user"]


@pytest.fixture
def boot(request):
    """``boot(...)``: :func:`farm.boot` of arm64, closed at the end."""
    guests = []

    def make(*arguments, **options):
        if (options.get("engine") or "unicorn") == "qemu-user":
            request.getfixturevalue("qemu")
        guest = farm.boot("arm64", *arguments, **options)
        guests.append(guest)
        return guest

    yield make
    for guest in guests:
        guest.close()


def test_the_farm_is_imported_without_anything_heavy():
    program = "import sys, farm; print(farm.__version__); print([n for n in sys.modules if n.startswith('farm.')])"
    out = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert out.split("\n")[1] == "[]"
    assert farm.boot is live.boot
    with pytest.raises(AttributeError, match="no attribute 'reboot'"):
        farm.reboot  # noqa: B018 - the access is the test


# The same on everything there is.


def test_every_guest_follows_its_patches(patchable):
    assert patchable.call(5) == 1005
    assert patchable.entered == "default"
    patchable.patch("fast")
    assert patchable.query() == "fast"
    assert patchable.call(5) == 2 * 5 + 1
    assert patchable.call(5, shape="tail") == 2 * 5 + 1
    assert patchable.entered == "fast"
    assert patchable.call(5, function=1, shape="tail") == 1005 + (1 << 20)
    patchable.patch("far", function=1)
    assert patchable.call(5, function=1, shape=Shape.POINTER) == 3 * 5 + 7 + (1 << 20)
    patchable.restore()
    assert (patchable.query(), patchable.query(1)) == ("default", "far")
    assert patchable.call(5, shape="tail") == 1005


@pytest.mark.patchable(mechanism="pointer,stub,detour,pad")
def test_every_guest_calls_the_original_of_what_is_patched(patchable):
    assert patchable.original(5) == 1005
    patchable.patch("far")
    assert (patchable.original(5), patchable.entered) == (1005, "default")
    assert (patchable.call(5), patchable.entered) == (3 * 5 + 7, "far")
    assert patchable.original(5, 4, inside=(patch(4, "fast"),)) == 5 + 16 + 1000 + (4 << 20)
    assert patchable.query(4) == "fast"
    assert patchable.original(1 << 40, 4) == (1 << 40) + 1 + 1000 + (4 << 20)


@pytest.mark.patchable(mechanism="pointer,stub,relocated")
def test_every_guest_does_null_and_ret0(patchable):
    patchable.null(6)
    patchable.call(1, function=6)
    assert patchable.entered is None
    assert patchable.query(6) == "null"
    patchable.ret0()
    assert patchable.call(7, shape="tail") == 0
    assert patchable.entered is None
    assert patchable.query() == "ret0"


@pytest.mark.patchable(mechanism="pointer,stub,relocated")
def test_every_guest_leaves_the_trace_that_the_model_predicts(patchable):
    steps = (call(0, 5), patch(0, "fast"), call(0, 5, "looped", count=3), query(0), code(0), code())
    for step in steps:
        patchable.run(step)
    together = Scenario("BS-99", "together", "", steps, frozenset({live.Defect.LOST_PATCH}))
    assert tuple(patchable.trace) == model.predict(together)


@pytest.mark.patchable(mechanism="pointer,stub,relocated")
def test_every_guest_keeps_what_is_not_in_the_text(patchable):
    patchable.run(LockText())
    refused = patchable.run(patch(0, "fast"))[0].value
    assert refused == (Status.OK if "/pointer/" in patchable.name else Status.READ_ONLY)
    patchable.run(LockText(locked=False))
    patchable.patch("other")
    assert patchable.query() == "other"


@pytest.mark.patchable(arch="arm64")
def test_the_fixture_refuses_what_a_file_of_scenarios_may_not_have(patchable):
    with pytest.raises(UsageError, match=r"^step 2: patch: function 99 found; expected a whole number from 0 to 17$"):
        patchable.run(call(0, inside=(query(0), patch(99, "fast"))))
    assert patchable.steps == []
    assert patchable.call(1, shape="tail") == 1001


@pytest.mark.patchable(mechanism="pointer,stub,literal,inline-cache")
def test_every_guest_shows_its_code_before_and_after(patchable):
    assert patchable.code() == ["no patched byte differs from the linked image"]
    patchable.patch("fast")
    patchable.patch("other", function=2)
    lines = patchable.code(0)
    changed = lines[lines.index("whatever_0 now:") + 1 :]
    assert lines[0] == "whatever_0 as linked:"
    variant, mechanism, *_ = patchable.name.split("/")
    if arch_toml.load()[variant].disassembler or mechanism == "pointer":
        assert "default_0" in "\n".join(lines[: -len(changed)])
        poked = "\n".join(line for line in changed if line.startswith("  > "))
        assert poked if mechanism == "inline-cache" else "fast_0" in poked, "code made at run time has no name"
    else:
        assert any(line.startswith("  > ") for line in changed), "in hexadecimal"
    assert "whatever_2 now:" not in lines
    assert "whatever_2 now:" in patchable.code()
    patchable.restore()
    assert patchable.code(0)[-1] == "whatever_0 now: the same"


@pytest.mark.parametrize(
    ("variant", "mechanism"),
    [
        ("x86_64", "detour"),
        ("arm64", "pad"),
        ("riscv64", "literal"),
        ("arm64", "inline-cache"),
        ("i386", "static-call"),
    ],
)
def test_a_guest_is_driven_alike_whatever_makes_its_functions_patchable(variant, mechanism):
    with farm.boot(variant, mechanism=mechanism, engine="unicorn") as guest:
        for target, answer in (("fast", 2 * 5 + 1), ("far", 3 * 5 + 7)):
            guest.patch(target)
            assert (guest.call(5, shape="tail"), guest.entered, guest.query()) == (answer, target, target)
            assert (guest.original(5), guest.entered) == (1005, "default")
            assert "whatever_0 now:" in guest.code(0)
        guest.null(6)
        guest.call(1, function=6)
        assert (guest.entered, guest.query(6)) == (None, "null")
        guest.ret0(1)
        assert (guest.call(7, function=1, shape="tail"), guest.entered, guest.query(1)) == (0, None, "ret0")
        guest.run(LockText())
        with pytest.raises(live.PatchRefused, match="whatever_0 -> other: read-only"):
            guest.patch("other")
        guest.run(LockText(locked=False))
        assert guest.query() == "far"
        for function in (0, 1, 6):
            guest.restore(function)
        assert guest.call(5, shape="tail") == 1005
        assert guest.code(0)[-1] == "whatever_0 now: the same"


@pytest.mark.patchable(mechanism="stub", engine="unicorn", source="own.c")
def test_every_guest_takes_targets_of_a_users_own(patchable):
    assert patchable.call(4, shape="tail") == 1004
    patchable.patch("fast")
    assert patchable.call(4, shape="tail") == 12
    patchable.patch("far", function=3)
    assert patchable.call(4, function=3, shape="tail") == 42


@pytest.mark.parametrize(("engine", "target"), [("unicorn", "fast"), ("unicorn:no-clmul", "default")])
def test_a_guest_has_the_cpu_of_its_profile(boot, engine, target):
    guest = boot(engine=engine)
    guest.patch("best", function=FUNCTIONS.index(Kind.CRC))
    assert guest.query(FUNCTIONS.index(Kind.CRC)) == target


# What it refuses.


def test_a_refused_patch_names_the_status(boot):
    guest = boot()
    with pytest.raises(live.PatchRefused, match=r"^whatever_0 -> data: bad-target$") as caught:
        guest.patch("data")
    assert caught.value.status == Status.BAD_TARGET
    with pytest.raises(live.PatchRefused, match=r"^whatever_0 -> null: bad-target$"):
        guest.null(0)
    with pytest.raises(live.PatchRefused, match=r"^whatever_0 -> misaligned: misaligned$"):
        guest.patch(Target.MISALIGNED)
    guest.run(Scribble(0))
    with pytest.raises(live.PatchRefused, match=r"^whatever_0 -> default: foreign$"):
        guest.restore()
    assert guest.call(1, function=1) == 1001 + (1 << 20)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (lambda guest: guest.patch("fats"), "unknown target 'fats': did you mean fast"),
        (lambda guest: guest.call(shape="square"), "unknown shape 'square': "),
        (
            lambda guest: guest.call(function=4, shape="bare"),
            "^step 0: call: shape bare found; whatever_4 has used, ignored",
        ),
        (
            lambda guest: guest.call(function=99),
            "^step 0: call: function 99 found; expected a whole number from 0 to 17$",
        ),
        (lambda guest: guest.patch("fast", function=-1), "^step 0: patch: function -1 found"),
        (lambda guest: guest.run(call(0, inside=(query(77),))), "^step 1: query: function 77 found"),
        (lambda guest: guest.run(*[call(0)] * layout.PROGRAM_WORDS), "^too many steps: more than 2046"),
        (
            lambda guest: guest.run(*[call(0)] * 1000),
            "^step 409: too many steps at once: a program of 10000 words; a guest takes",
        ),
        (lambda guest: guest.patch(99, "fast"), "^target 99 found; expected default, fast, other"),
        (lambda guest: guest.patch(["fast"]), r"^target \['fast'\] found; expected default, fast, other"),
        (lambda guest: guest.call(shape=None), "^shape None found; expected used, ignored, tail"),
        (lambda guest: guest.call(5.0), "^step 0: call: x 5.0 found"),
        (lambda guest: guest.run(None), "^step 0: None found; expected a step of farm.scenario: Call, Patch"),
        (lambda guest: guest.run(Loop(10**9, (call(0),))), "^step 0: 2000000001 events, .* expected 50000 at most$"),
        (lambda guest: guest.code(18), "^step 0: code: function 18 found"),
        (
            lambda guest: guest.run(call(0, 1, "looped", count=layout.TRACE_EVENTS + 4)),
            "^step 0: 1,029 events at once; a guest holds 1,024: use loop\\(\\)$",
        ),
        (lambda guest: guest.call(3, shape="looped", count=49_000), "^step 0: 49,001 events at once; a guest holds"),
        (lambda guest: guest.run(*[call(0)] * 400, call(0, 1, "looped", count=600)), "^step 400: 1,401 events at once"),
    ],
)
def test_a_request_that_no_guest_could_serve_costs_nothing(boot, request_, words):
    guest = boot()
    with pytest.raises(UsageError, match=words):
        request_(guest)
    assert (guest.steps, guest.trace) == ([], [])
    assert guest.call(1) == 1001


def test_events_that_a_patch_leaves_out_need_no_room(boot):
    guest = boot()
    guest.null(6)
    events = guest.run(call(6, 1, "looped", count=5000))
    assert [event.kind for event in events] == ["return"]


def test_events_that_only_the_guest_could_tell_the_number_of_are_counted_by_it(boot, monkeypatch):
    monkeypatch.setattr(live, "TRACE_EVENTS", 1 << 40)
    guest = boot()
    with pytest.raises(UsageError, match="no room for 5 events"):
        guest.call(1, shape="looped", count=layout.TRACE_EVENTS + 4)
    assert guest.call(1) == 1001


def test_steps_are_numbered_through(boot):
    guest = boot()
    guest.run(call(0, 1, inside=(query(0), query(1))))
    guest.patch("fast")
    assert [event.step for event in guest.trace] == [0, 1, 2, 0, 3]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"arch": "arm65"}, UnknownNameError, "unknown architecture 'arm65': did you mean arm64 or arm or arm64be?"),
        ({"mechanism": "stab"}, UnknownNameError, "unknown mechanism 'stab': did you mean stub?"),
        ({"engine": "unicron"}, UnknownNameError, "unknown engine 'unicron': did you mean unicorn"),
        ({"toolchain": "tcc"}, UnknownNameError, "unknown toolchain 'tcc': did you mean gcc?"),
        ({"arch": "powerpc"}, UsageError, "boot one guest at a time: powerpc, stub, unicorn name "),
        ({"source": "nowhere.c"}, ImageError, "source .*nowhere.c is missing"),
        ({"timeout": float("nan")}, UsageError, "timeout nan: expected seconds, from 0.1 to 86,400"),
        ({"timeout": 10**5000}, UsageError, "timeout a number of 16,610 bits: expected seconds, from 0.1 to 86,400"),
        ({"timeout": 10**400}, UsageError, "^timeout 1000000.{0,50}: expected seconds, from 0.1 to 86,400"),
        *(
            ({what: value}, UsageError, f"^{what} {re.escape(repr(value))} found; expected a name$")
            for what in ("arch", "mechanism", "engine", "toolchain")
            for value in (["arm64"], 5, "", b"arm64")
        ),
        ({"arch": None}, UsageError, "^arch None found; expected a name$"),
        *(
            ({what: value}, UsageError, f"^{what} {re.escape(repr(value))} found; expected a path$")
            for what in ("source", "arch_path")
            for value in (5, b"x.c", "a\0b", "")
        ),
        ({"arch_path": [5]}, UsageError, "^arch_path 5 found; expected a path$"),
        ({"arch_path": None}, UsageError, "^arch_path None found; expected a path$"),
        ({"engine": "unicorn:no-such"}, UnknownNameError, "unknown engine 'unicorn:no-such'"),
    ],
)
def test_names_that_boot_does_not_know(options, error, words):
    with pytest.raises(error, match=words.replace("?", "[?]")):
        farm.boot(**{"arch": "arm64", **options})


def test_what_cannot_run_is_said_at_boot(edited_arch, tmp_path):
    arch = edited_arch(("variant.arm64", "variant.mine"), name="mine")
    (arch / "stub.S").unlink()
    with pytest.raises(UsageError, match=r"mine has no stub: no stub\.S"):
        farm.boot("mine", arch_path=arch)
    with farm.boot("mine", mechanism="pointer", arch_path=[str(arch)]) as guest:
        assert guest.name == "mine/pointer/zig/unicorn"
        assert guest.call(1) == 1001


def test_a_missing_emulator_names_its_package(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match=r"^qemu-aarch64 is missing: apt-get install qemu-user$"):
        farm.boot("arm64", engine="qemu-user")


def test_a_source_that_does_not_compile_shows_command_and_complaint(tmp_path):
    source = tmp_path / "broken.c"
    source.write_text('#include "patchfarm.h"\nTARGET(fast, 0) { return 3 * y; }\n')
    with pytest.raises(BuildError) as caught:
        farm.boot("arm64", source=source)
    assert f"{source} does not compile for arm64\n  command: " in str(caught.value)
    assert "broken.c:2:30: error: use of undeclared identifier 'y'" in str(caught.value)


@pytest.mark.parametrize(("name", "words"), [("fats, 0", "IS_TARGET_fats"), ("fast, 4", "only functions 0 to 3")])
def test_a_target_that_does_not_exist_does_not_compile(tmp_path, name, words):
    source = tmp_path / "targets.c"  # a name that the guest has, too
    source.write_text(f'#include "patchfarm.h"\nTARGET({name}) {{ return 1; }}\n')
    with pytest.raises(BuildError, match=words):
        farm.boot("arm64", source=source)


def test_a_source_and_its_headers_are_part_of_what_is_built(boot, tmp_path):
    source, header = tmp_path / "targets.c", tmp_path / "mine.h"
    header.write_text("#define FACTOR 3\n")
    source.write_text('#include "mine.h"\n#include "patchfarm.h"\nTARGET(default, 0) { return FACTOR * x; }\n')
    assert boot(source=source).call(5, shape="tail") == 15
    header.write_text("#define FACTOR 4\n")
    assert boot(source=source).call(5, shape="tail") == 20


# How it dies.


def dies(guest, request_, how):
    """``request_`` kills the guest, and every later use says that it did."""
    with pytest.raises(live.GuestDied, match=how):
        request_()
    for later in (guest.call, guest.query, guest.restore, lambda: guest.patch("fast"), lambda: guest.run(call(0))):
        with pytest.raises(live.GuestDied, match=how):
            later()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_crash_names_the_place_and_the_code_can_still_be_seen(boot, engine):
    guest = boot(engine=engine)
    guest.patch("fast")
    guest.run(Scribble(0))
    dies(guest, guest.call, r"arm64/stub/zig/\S+ died in step 2: crash: .* in whatever_0(?:\+0x4)? \(pc 0x[0-9a-f]+\)")
    assert [event.kind for event in guest.trace] == ["patch", "scribble"]
    assert "brk #0" in "\n".join(guest.code(0))
    now = "now" if engine == "unicorn" else "before the step that it died in"
    assert f"whatever_0 {now}:" in guest.code(0)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_hang_ends_with_the_deadline(boot, engine, monkeypatch):
    monkeypatch.setattr(check, "MOST_EVENTS", 1 << 40)  # no scenario that is let through hangs by itself
    monkeypatch.setattr(live.Guest, "_foreseen", lambda guest, _: guest._expected)  # which would not end either
    guest = boot(engine=engine, timeout=0.3)
    dies(guest, lambda: guest.run(Loop(1 << 31, (Call(0),))), r"died in step 0: timeout: .* 0\.3 s")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_engine_is_not_blamed_on_the_guest(boot, engine):
    guest = boot(engine=engine)
    guest.call(1)
    os.kill(guest._session.child.process.program(), signal.SIGKILL)
    dies(guest, guest.call, "died in step 1: engine-error: .* died of SIGKILL")


def test_after_its_with_a_guest_is_closed(boot):
    with boot() as guest:
        child = guest._session.child
    assert not child.alive()
    dies(guest, guest.call, "the guest arm64/stub/zig/unicorn was closed")


def test_a_guest_of_ones_own_never_comes_from_the_pool_nor_goes_there(boot):
    UNICORN.pool.drain()
    with boot() as guest:
        guest.call(1)
    assert UNICORN.pool._idle == []


@pytest.fixture
def pooled(arm64):
    def make(**options):
        return live.Guest(image.Spec(arm64, "stub"), "unicorn", pooled=True, **options)

    return make


def test_a_pooled_guest_starts_pristine_on_the_child_of_the_last(pooled):
    with pooled() as first:
        first.patch("fast")
        first.run(LockText())
        child = first._session.child
    with pooled() as second:
        assert second._session.child is child
        assert second.query() == "default"
        second.patch("other")


def test_a_child_that_owes_an_answer_is_not_used_again(pooled, monkeypatch):
    guest = pooled()
    child = guest._session.child

    def interrupted(deadline):
        raise KeyboardInterrupt

    monkeypatch.setattr(child, "receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        guest.call(1)
    guest.close()
    assert not child.alive()
    with pooled() as other:
        assert other.call(1) == 1001


def test_a_child_that_died_is_not_used_again(pooled):
    guest = pooled()
    guest._session.child.kill()
    guest.close()
    with pooled() as other:
        assert other.call(1) == 1001


def test_an_emulator_that_refuses_the_guest_is_an_error_of_the_image(guest, arm64, tmp_path, with_fields):
    built = with_fields(guest(), path=str(tmp_path / "guest.elf"))
    shutil.copy(guest().path, tmp_path)
    (tmp_path / "image.json").write_text("{}")
    with pytest.raises(ImageError, match="unicorn cannot open"):
        UNICORN.session(built, arm64, 5.0, fresh=True)
