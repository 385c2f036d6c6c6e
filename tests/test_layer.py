"""The farm's layer around a mechanism that knows nothing of the farm, and the bugs that are planted there."""

from __future__ import annotations

import pytest

from farm.cell import Verdict
from farm.guest import build, mechanisms, sources
from farm.guest.controls import CONTROLS, UNPLANTED
from farm.guest.image import Spec
from farm.run.bench import Bench
from farm.scenario import (
    FUNCTIONS,
    Defect,
    Kind,
    LockText,
    Protection,
    Scenario,
    call,
    code,
    null,
    patch,
    query,
    restore,
    ret0,
)

#: It checks no target, opens no text, compares no old code, and jumps as far as its jump reaches.
RECKLESS = """
#include "patch.h"
#include "text.h"

static uint32_t lead(uint32_t n, uintptr_t target)
{
    uintptr_t at = ARCH_CODE(function_addresses[n]);
    code_word word = arch_jump(at, arch_entry(target));
    return farm_text_write(at + ARCH_STUB_WORD, &word, sizeof word) ? PATCH_OK : PATCH_READ_ONLY;
}

uint32_t mechanism_set(uint32_t n, uintptr_t target) { return lead(n, target); }
uint32_t mechanism_restore(uint32_t n) { return lead(n, target_addresses[n][TARGET_DEFAULT]); }
uint32_t mechanism_null(uint32_t n) { return lead(n, (uintptr_t)return_void); }
uint32_t mechanism_ret0(uint32_t n) { return lead(n, (uintptr_t)return_zero); }
uintptr_t mechanism_query(uint32_t n)
{
    uintptr_t at = ARCH_CODE(function_addresses[n]);
    return arch_jump_target(at, *(const volatile code_word *)(at + ARCH_STUB_WORD));
}
"""

MANIFEST = """
what = "a jump that is stored over whatever is there"
sources = ["reckless.c"]
architecture = ["stub.S", "patch.c"]
promises = ["restores-bytes", "ret0", "null", "queries", "transparent"]
"""

VOID = FUNCTIONS.index(Kind.VOID)

#: What the layer makes of it on every engine.
STEPS = (
    *(step for target in ("fast", "other") for step in (patch(0, target), query(0), call(0, 5))),
    *(patch(0, target) for target in ("data", "zero", "end", "misaligned")),  # refused
    *(call(0, 6), Protection(), ret0(0), call(0, 7), restore(0), query(0), code(0), call(0, 8)),
    *(LockText(), patch(0, "fast"), restore(0), call(0, 9)),
)

#: Bugs that it can have although nothing in its own source plants them.
BUGS = (
    *("no-patch", "off-by-one", "no-restore", "sloppy-restore", "neighbour", "query-default", "unchecked"),
    *("end-included", "left-writable", "execute-only", "not-executable", "ignore-error"),
)


@pytest.fixture(scope="module")
def reckless(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mechanisms") / "reckless"
    folder.mkdir()
    (folder / "mechanism.toml").write_text(MANIFEST, encoding="utf-8")
    (folder / "reckless.c").write_text(RECKLESS, encoding="utf-8")
    return mechanisms.read(folder)


def outcome(variant, mechanism, control=None, steps=STEPS, engine="unicorn"):
    spec = Spec(variant, mechanism.name, next(iter(variant.toolchain)), control, foreign=mechanism)
    scenario = Scenario("BS-99", "mine", "mine", steps, frozenset({Defect.LOST_PATCH}))
    bench = Bench.of(spec, engine, 5.0)
    (reply,) = bench.replies([bench.encode(scenario)])
    return bench.judged(scenario, reply)


@pytest.mark.parametrize("engine", ["unicorn", "qemu-user"])
def test_targets_are_checked_and_text_is_opened_and_closed_for_a_mechanism_that_does_neither(reckless, arm64, engine):
    result = outcome(arm64, reckless, engine=engine)
    assert (result.verdict, result.reason) == (Verdict.PASS, None)


@pytest.mark.parametrize("control", BUGS)
def test_a_bug_is_planted_in_a_mechanism_that_knows_nothing_of_it(reckless, arm64, control):
    assert CONTROLS[control].applies(arm64, reckless)
    steps = (*STEPS, call(1, 5), query(1))
    assert outcome(arm64, reckless, control, steps).verdict in {Verdict.MISMATCH, Verdict.CRASH}


def test_null_is_called_in_a_mechanism_that_knows_nothing_of_it(reckless, arm64):
    steps = (null(VOID), call(VOID, 5))
    assert outcome(arm64, reckless, steps=steps).verdict is Verdict.PASS
    assert outcome(arm64, reckless, "null-called", steps).verdict is Verdict.CRASH


def test_a_bug_has_to_be_named_by_something_that_the_guest_is_compiled_of(reckless, arm64):
    assert CONTROLS["torn-store"].impossible(arm64, reckless) is None  # it stores by text.h
    for control in ("half-compared", "surroundings-unchecked", "no-range-check", "sites-stay", "stale-site"):
        assert CONTROLS[control].impossible(arm64, reckless) == UNPLANTED
        assert not CONTROLS[control].applies(arm64, reckless)
    assert CONTROLS["left-writable"].impossible(arm64, "pointer") == UNPLANTED
    assert CONTROLS["half-compared"].impossible(arm64, "stub") is None


def test_a_header_that_a_header_includes_is_looked_into(reckless, arm64):
    """``reach.h`` is included by ``sites.h`` alone, whose words for call sites ask it."""
    (reckless.folder / "also.c").write_text("  #  include <sites.h>\n", encoding="utf-8")
    wider = mechanisms.read(reckless.folder)
    further = type(wider)(**{**vars(wider), "sources": (*wider.sources, "also.c")})
    assert "CONTROL_NO_RANGE_CHECK" not in sources.controls(arm64, reckless)
    assert "CONTROL_NO_RANGE_CHECK" in sources.controls(arm64, further)


def test_only_what_a_mechanism_needs_of_the_layer_is_compiled(arm64, reckless):
    def of_the_layer(mechanism):
        return {path.name for path in mechanism.files(arm64)} & {"layer.c", "target.c", "text.c", "site_table.c"}

    known = mechanisms.load()
    assert of_the_layer(known["pointer"]) == {"layer.c", "target.c"}
    assert of_the_layer(known["stub"]) == of_the_layer(reckless) == {"layer.c", "target.c", "text.c"}
    assert of_the_layer(known["relocated"]) == {"layer.c", "target.c", "text.c", "site_table.c"}
    assert "patch_scribble" not in build.image(Spec(arm64, "pointer")).functions


#: Each line is one thing that must be so of the stand-ins; the restore says which of them is not.
HOOKING = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t wrong(void)
{
    char text[] = "abcdef";
    puts("nobody reads this");
    memmove(text + 1, text, 4);
    if (memcmp(text, "aabcdf", strlen(text)))
        return 1;
    memmove(text, text + 1, 4);
    if (memcmp(text, "abcddf", 7) || memcmp("b", "a", 1) <= 0)
        return 2;
    memset(text, 'x', 3);
    memcpy(text + 3, "yz", 2);
    return memcmp(text, "xxxyzf", 7) ? 3 : 0;
}
"""


def test_foreign_code_finds_stand_ins_for_a_c_library(reckless, arm64, tmp_path):
    folder = tmp_path / "hooking"
    folder.mkdir()
    manifest = MANIFEST.replace('"reckless.c"', '"hooking.c", "libc.c"')
    (folder / "mechanism.toml").write_text(manifest, encoding="utf-8")
    checked = "uint32_t mechanism_restore(uint32_t n) { if (wrong()) abort();"
    body = RECKLESS.replace("uint32_t mechanism_restore(uint32_t n) {", checked)
    body = body.replace("PATCH_OK :", "(__builtin___clear_cache((char *)at, (char *)at + 8), PATCH_OK) :")
    (folder / "hooking.c").write_text(HOOKING.replace("static", '#include "mechanism.h"\nstatic', 1) + body, "utf-8")
    made = mechanisms.read(folder)
    assert outcome(arm64, made).verdict is Verdict.PASS
    assert "__clear_cache" in build.image(Spec(arm64, "hooking", "zig", foreign=made)).functions
    (folder / "hooking.c").write_text((folder / "hooking.c").read_text().replace("xxxyzf", "xxxyzg"), "utf-8")
    assert outcome(arm64, mechanisms.read(folder)).verdict is Verdict.CRASH
