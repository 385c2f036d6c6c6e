"""The audit that `farm run` does besides: what passes is audited once, and says so."""

from __future__ import annotations

import dataclasses
import pickle
import shutil
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from farm import suite
from farm.cell import Verdict
from farm.cli import load
from farm.engines import Note, Noted
from farm.engines.unicorn import UNICORN
from farm.guest import arch_toml, mechanisms
from farm.guest.image import Spec
from farm.prove import memory
from farm.prove.auditor import Auditor
from farm.prove.watching import watching
from farm.run.batch import Batch, run_batch
from farm.run.bench import Bench
from farm.scenario import Defect, Scenario, call, loop, patch, restore

VARIANTS = arch_toml.load()
STALE = suite.load()["patch_then_call_at_once"]
THERE_AND_BACK = Scenario(
    "T-1", "there", "Near, far and back", (patch(0, "fast"), call(0, 1), patch(0, "far"), restore(0)), frozenset()
)
LONG = Scenario("T-4", "long", "Twenty patches", (loop(10, patch(0, "fast"), patch(0, "far")),), frozenset())
TORN = dataclasses.replace(THERE_AND_BACK, name="torn", detects=frozenset({Defect.TORN_STORE}))


@pytest.fixture
def run(tmp_path):
    """Run scenarios as `farm run` does; nothing is remembered but by the test itself."""

    def run(*scenarios, variant="arm64", foreign=None, auditor=Auditor(), sink=None, forgets=True):  # noqa: B008 - frozen
        spec = Spec.of(VARIANTS[variant], mechanisms.load()["stub"], next(iter(VARIANTS[variant].toolchain)))
        bench = Bench.of(spec, "unicorn", 20.0)
        others = shutil.ignore_patterns("audit-*")  # what the cache remembers of other runs
        beside = shutil.copytree(Path(bench.image.path).parent, tmp_path / variant, ignore=others, dirs_exist_ok=True)
        for record in beside.glob("audit-*") if forgets else ():
            record.unlink()
        built = msgspec.structs.replace(bench.image, path=str(beside / "guest.elf"))
        spec = dataclasses.replace(spec, foreign=foreign)  # with the image that is there
        batch = Batch(spec, "unicorn", tuple(map(bench.cell, scenarios)), scenarios, 20.0, auditor=auditor)
        return run_batch(batch, built, sink)

    return run


def verdicts(results):
    return [(str(result.verdict), result.sensitive, result.audited) for result in results]


def test_where_the_audit_has_looked_a_stale_fetch_would_have_been_seen(run):
    assert verdicts(run(STALE, TORN, auditor=None)) == [("pass-insensitive", False, False)] * 2
    assert verdicts(run(STALE, TORN)) == [("pass", True, True)] * 2


def test_where_nothing_must_be_done_after_a_store_there_is_nothing_to_see(run):
    assert verdicts(run(STALE, variant="x86_64")) == [("pass-insensitive", False, True)]


def test_a_torn_store_is_seen_where_others_may_execute_meanwhile(run):
    calm = mechanisms.replace(mechanisms.load()["stub"], patching="quiesced")
    assert verdicts(run(STALE, TORN, foreign=calm)) == [("pass", True, True), ("pass-insensitive", False, True)]


def test_what_lies_behind_the_first_requests_is_not_judged_and_nothing_is_made_of_it(run):
    stale = dataclasses.replace(LONG, detects=frozenset({Defect.STALE_FETCH}))
    assert verdicts(run(stale)) == [("pass-insensitive", False, False)]
    assert verdicts(run(stale, auditor=Auditor(limit=0))) == [("pass", True, True)]


def test_a_cell_is_audited_in_the_one_run_that_it_has(run, monkeypatch):
    ran = []
    for name in ("run", "watch"):
        asked = getattr(UNICORN, name)
        monkeypatch.setattr(
            UNICORN, name, lambda *a, asked=asked, name=name, **k: ran.append((name, len(a[2]))) or asked(*a, **k)
        )
    assert verdicts(run(STALE, LONG)) == [("pass", True, True), ("pass-insensitive", False, False)]
    assert ran == [("watch", 2)]


def test_what_no_engine_watches_is_as_it_was(run):
    assert verdicts(run(STALE, variant="sparc64")) == [("pass-insensitive", False, False)]


def test_a_pass_is_remembered_and_a_broken_record_is_not_believed(run, monkeypatch, tmp_path):
    heard, watched = [], []
    first = run(STALE, THERE_AND_BACK, sink=heard.append)
    assert heard == first  # at once
    (record,) = (tmp_path / "arm64").glob("audit-*")
    sound = record.read_bytes()
    watch = UNICORN.watch
    monkeypatch.setattr(UNICORN, "watch", lambda *asked: watched.append(1) or watch(*asked))
    assert verdicts(run(STALE, THERE_AND_BACK, forgets=False)) == verdicts(first)
    assert not watched
    key = msgspec.json.decode(sound)["key"].encode()
    for broken in (b"{", sound.replace(b"true", b"null"), sound.replace(b"true", b"false"), sound.replace(key, b"old")):
        record.write_bytes(broken)
        watched.clear()
        assert verdicts(run(STALE, THERE_AND_BACK, forgets=False)) == verdicts(first)
        assert len(watched) == 1  # with both
        assert record.read_bytes() == sound


def test_other_rules_code_or_requests_are_not_remembered(run):
    variant = VARIANTS["arm64"]
    image = Bench.of(Spec.of(variant, mechanisms.load()["stub"], "zig"), "unicorn", 20.0).image
    other = dataclasses.replace(variant, coherence=dataclasses.replace(variant.coherence, fetch="coherent"))
    keys = [memory.key(image, v, "unicorn", limit) for v in (variant, other) for limit in (0, 16)]
    keys.append(memory.key(msgspec.structs.replace(image, sha256="another"), variant, "unicorn", 16))
    assert len(set(keys)) == len(keys)


def test_an_auditor_can_be_sent_elsewhere():
    assert pickle.loads(pickle.dumps(Auditor())) == Auditor()


# The watch without its costly parts.


def notes_of(scenario, **wanted):
    variant = VARIANTS["arm64"]
    bench = Bench.of(Spec.of(variant, mechanisms.load()["stub"], "zig"), "unicorn", 20.0)
    watch = msgspec.structs.replace(watching(variant, bench.image, UNICORN).watch, **wanted)
    programs = [bench.encode(scenario)] * 2
    first, second = UNICORN.watch(bench.image, variant, programs, 20.0, watch)
    assert first.notes == second.notes  # nothing is left of the program before
    assert [first.trace, second.trace] == [reply.trace for reply in UNICORN.run(bench.image, variant, programs, 20.0)]
    return list(first.notes)


def test_without_program_counters_all_else_is_noted():
    whole, quick = notes_of(THERE_AND_BACK), notes_of(THERE_AND_BACK, pcs=False)
    assert {note.value for note in quick if note.kind == Noted.STORE} == {0}
    assert [n._replace(value=0) if n.kind == Noted.STORE else n for n in whole] == quick


def test_the_notes_end_before_what_begins_too_late():
    whole, cut = notes_of(LONG), notes_of(LONG, most=16)
    begins = [i for i, note in enumerate(whole) if note.kind == Noted.BEGIN]
    assert len(begins) == 20
    assert cut == [*whole[: begins[16]], Note(Noted.CUT, 0, 4)]
    assert notes_of(LONG, most=20) == whole


# The command.


SOURCE = """
#include "jump.h"
#include "redirect.h"

static uintptr_t stub_of(uint32_t n) { return ARCH_CODE(function_addresses[n]); }

static void store(uintptr_t at, code_word word) { *(volatile code_word *)at = word; }

bool mechanism_is_intact(uint32_t n) { return n < FUNCTION_COUNT; }

uint32_t mechanism_lead(uint32_t n, uintptr_t target)
{
    uintptr_t at = jump_word_at(stub_of(n));
    store(at, jump_word(stub_of(n), arch_entry(target)));
    if (n != 2)
        arch_sync_code(at);
    return PATCH_OK;
}

uintptr_t mechanism_query(uint32_t n)
{
    return arch_jump_target(stub_of(n), *(const volatile code_word *)jump_word_at(stub_of(n)));
}
"""

TOML = """
what = "of one function the maintenance is forgotten"
sources = ["careless.c", "original.c", "redirect.c"]
architecture = ["stub.S", "patch.c"]
patching = "concurrent"
promises = ["queries", "null", "ret0", "restores-bytes"]
"""


@pytest.fixture
def careless(tmp_path):
    folder = tmp_path / "careless"
    folder.mkdir()
    (folder / "careless.c").write_text(SOURCE)
    (folder / "mechanism.toml").write_text(TOML)
    return folder


def ran(output):
    """The last result of each cell, by its scenario."""
    lines = (output / "results.jsonl").read_bytes().splitlines()[1:]
    results = {(result := msgspec.json.decode(line))["cell"]["scenario"]: result for line in lines}
    return [results[name] for name in sorted(results)]


def farm_run(output, *arguments):
    return CliRunner().invoke(load(), ["run", "--output", str(output), "--no-history", *arguments])


def test_a_run_tells_a_broken_rule_with_its_story_and_ends_with_1(careless, tmp_path):
    scenario = tmp_path / "mine.py"
    scenario.write_text(
        "from farm.scenario import Defect, Scenario, call, patch\n"
        "SEEN = frozenset({Defect.STALE_FETCH})\n"
        "def one(n): return Scenario(f'CO-9{n}', f'planted_{n}', 'Plant', (patch(n, 'fast'), call(n, 1)), SEEN)\n"
        "SCENARIOS = (one(0), one(2))\n"
    )
    selected = (
        "--arch", "arm64", "--engine", "unicorn", "--mechanism", "careless", "--mechanism-path", str(careless),
        "--scenario-path", str(scenario), "--scenario", "planted_*",
    )  # fmt: skip
    for audit in ((), ("--audit", "full"), ()):  # the last time some is remembered
        done = farm_run(tmp_path / "out", *selected, *audit)
        assert isinstance(done.exception, SystemExit), done.output + repr(done.exception)
        assert done.exit_code == 1, done.output
        sound, broken = ran(tmp_path / "out")
        assert (sound["verdict"], sound["audited"]) == ("pass", True)
        assert (broken["verdict"], broken["audited"]) == ("rule-broken", True)
        assert broken["reason"].startswith("0x")
        assert "<mechanism_lead+" in broken["reason"]
        assert "of the maintenance step 1" in broken["reason"]
        assert broken["reproduce"].endswith("planted_2 -v")
        assert ("--audit full" in broken["reproduce"]) == bool(audit)
        assert "rule-broken" in done.output
        assert "stores to code: all judged of 1 cell that passed on unicorn\n" in done.output
    done = farm_run(tmp_path / "out", *selected, "--audit", "off")
    assert done.exit_code == 0, done.output
    assert "stores to code" not in done.output
    assert all("audited" not in result for result in ran(tmp_path / "out"))


def test_any_other_word_for_the_audit_is_refused(tmp_path):
    done = farm_run(tmp_path, "--audit", "some")
    assert done.exit_code == 2
    assert "'first', 'full', 'off'" in done.output
    assert Verdict.RULE_BROKEN.value not in done.output
