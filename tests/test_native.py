"""The engine that is the host's own CPU."""

import os
import platform
import signal

import pytest

from farm.cell import Verdict
from farm.engines import native
from farm.engines.child import ChildDied
from farm.engines.native import NATIVE
from farm.guest import arch_toml, build
from farm.run import plan as plans
from farm.run.batch import batches, run_batch
from farm.run.plan import Selection

HERE = [variant for variant in arch_toml.load().values() if NATIVE.runs_here(variant)]
on_a_host = pytest.mark.skipif(not HERE, reason=f"no variant runs on a host that is {platform.machine()}")


@pytest.fixture
def host(monkeypatch):
    """Pretend that the host is another one."""
    native._misfit.cache_clear()
    yield lambda name: monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "host", "6.1", "#1", name)))
    native._misfit.cache_clear()


@pytest.mark.parametrize(
    ("name", "runs"), [("x86_64", {"x86_64", "i386"}), ("aarch64", {"arm64"}), ("i686", {"i386"}), ("mips", set())]
)
def test_a_host_runs_its_own_variants(host, monkeypatch, name, runs):
    host(name)
    monkeypatch.setattr(native, "_starts", lambda _program: True)
    monkeypatch.setattr(native, "_flags", lambda: frozenset({"pclmulqdq", "pmull"}))
    assert {variant.name for variant in arch_toml.load().values() if NATIVE.runs_here(variant)} == runs


def test_what_does_not_fit_is_said(host, monkeypatch):
    arm64 = arch_toml.load()["arm64"]
    host("riscv64")
    assert NATIVE.hole(arm64).reason == "this host is riscv64; the variant runs on aarch64"
    native._misfit.cache_clear()
    host("aarch64")
    monkeypatch.setattr(native, "_flags", frozenset)
    assert NATIVE.hole(arm64).reason == "this host's CPU has no pmull"
    native._misfit.cache_clear()
    monkeypatch.setattr(native, "_flags", lambda: frozenset({"pmull"}))
    monkeypatch.setattr(native, "_starts", lambda _program: False)
    assert NATIVE.hole(arm64).reason == "this host's kernel starts no 64-bit program of the variant"
    assert NATIVE.hole(arm64).verdict is Verdict.NOT_APPLICABLE


@on_a_host
@pytest.mark.parametrize("variant", HERE, ids=lambda variant: variant.name)
def test_a_kernel_starts_a_program_of_its_own_that_ends_well_and_no_other(variant):
    code = bytes.fromhex(variant.engine["native"].exits)

    def program(code, machine=variant.machine):
        return native._program(code, machine, variant.bits, big_endian=variant.big_endian)

    assert native._starts(program(code))
    assert not native._starts(program(code, machine=0x7FFF))
    assert not native._starts(program(b"\0" * 16))
    assert not native._starts(b"")


def test_a_plan_has_by_default_only_what_the_host_runs_and_all_of_it_if_asked():
    def variants(*engines):
        plan = plans.possible(Selection(scenario=("tail_call",), mechanism=("stub",), engine=engines))
        return {planned.cell.variant for planned in plan.cells if planned.cell.engine == "native"}

    assert variants() == {variant.name for variant in HERE}
    assert variants("native") == set(arch_toml.load())


@on_a_host
def test_cells_pass_on_the_host_s_own_cpu():
    plan = plans.make(Selection(arch=(HERE[0].name,), mechanism=("stub", "inline-cache"), engine=("native",)))
    results = [result for batch in batches(plan) for result in run_batch(batch)]
    NATIVE.close()
    assert len(results) > 100
    assert {result.verdict for result in results} <= {Verdict.PASS, Verdict.PASS_INSENSITIVE}


@on_a_host
def test_text_that_can_be_written_to_is_noticed():
    plan = plans.make(Selection(arch=(HERE[0].name,), mechanism=("stub",), engine=("native",)))
    left = plan.spec(plan.cells[0].cell, "left-writable")
    (cell,) = (each.cell for each in plan.cells if each.cell.scenario == "text_never_left_writable")
    (batch,) = batches(plan, {each.cell for each in plan.cells} - {cell})
    (result,) = run_batch(batch, build.image(left))
    NATIVE.close()
    assert result.verdict is Verdict.MISMATCH
    assert any(event.kind == "protection" and event.value for event in result.observed)


def test_who_ended_a_guest_is_told_by_how_it_ended():
    def failure(status, said=""):
        return NATIVE.explain(HERE[0] if HERE else None, ChildDied(status, said), 1).failure

    assert failure(-signal.SIGSEGV) == failure(-signal.SIGILL) == failure(0) == failure(3) == "crash"
    assert failure(None) == "timeout"
    assert failure(-signal.SIGKILL) == failure(126, "env: Exec format error") == "engine-error"
