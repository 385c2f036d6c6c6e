"""What engines can notice of code that is stored: the probes, the classes, and who believes them."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import re
from collections import Counter

import pytest
from helpers import farm

from farm import paths
from farm.cli.calibrate import calibrate
from farm.cli.prove import prove
from farm.engines import NeedsHost, Reply, engines
from farm.errors import FarmError, OutputError, UsageError
from farm.guest import arch_toml, build
from farm.guest.disassemble import texts
from farm.prove import PROOFS
from farm.prove import engines as calibration
from farm.report import engines as report
from farm.run import measured, plan
from farm.run.measured import MAPPINGS, PROBES, Measured
from farm.scenario import Defect, Scenario, Shape, call, model, wire

ALL_STEPS = 0b11111  # of arm64
CLEAN, INVALIDATE = 0b00001, 0b00100
OLD, NEW, NEITHER, UNFIT, IMPOSSIBLE = range(5)


class Made:
    """An engine that answers a probe as it is told: ``executes(probe, mapping, left_out)``, a number or a failure."""

    name = "made-up"

    def __init__(self, trace_of, executes):
        self.executes, self.trace_of = executes, trace_of
        requests = [
            (probe, mapping, left_out)
            for probe in range(6)
            for mapping in range(len(MAPPINGS))
            for left_out in {0, ALL_STEPS, *(1 << step for step in range(5))}
        ]
        self.asked = {self.program(request): request for request in requests}

    @staticmethod
    def scenario(request):
        return Scenario("PR-00", "probe", "", (call(0, calibration.request(*request), Shape.TAIL),), frozenset())

    def program(self, request):
        return wire.encode(self.scenario(request), big_endian=False)

    def hole(self, _variant):
        return None

    def version(self, _variant):
        return "1"

    def run(self, built, _variant, programs, _timeout):
        for request in (self.asked[program] for program in programs):
            answer = ALL_STEPS if request[0] == 0 else self.executes(*request)
            if isinstance(answer, str):
                yield Reply(failure=answer)
                continue
            scenario = self.scenario(request)
            events = [
                event._replace(value=answer) if event.kind == "return" else event for event in model.predict(scenario)
            ]
            yield Reply(self.trace_of(built, scenario, events))


@pytest.fixture
def classes_of(trace_of, guest, arm64):
    """``classes_of(executes)``: the classes by mapping, and what was executed in the first one."""

    def make(executes):
        rows = calibration.probed(Made(trace_of, executes), arm64, guest("stub"), "1", 1.0)
        assert [row.mapping for row in rows] == list(MAPPINGS)
        assert all(tuple(row.classes) == PROBES for row in rows)
        return {row.mapping: row.classes for row in rows}, rows[0].seen

    return make


def whole(probe):
    return probe == calibration._Asked.WHOLE


def test_an_engine_that_executes_what_was_stored_whatever_is_left_out_is_blind(classes_of):
    classes, seen = classes_of(lambda *_: NEW)
    assert classes["rwx"] == dict.fromkeys(PROBES, "blind")
    assert set(seen) == {
        "maintained", "nothing done", "byte by byte", "half", "ahead", "ahead, maintained",
        "without dc cvau, {address}", "without dsb ish", "without ic ivau, {address}", "without dsb ish (2)",
        "without isb*",
    }  # fmt: skip


def test_an_engine_that_needs_one_piece_of_the_maintenance_is_sensitive_to_a_missing_flush(classes_of):
    classes, seen = classes_of(lambda _p, _m, left_out: OLD if left_out & INVALIDATE else NEW)
    assert {found["stale-fetch"] for found in classes.values()} == {"sensitive"}
    assert (seen["without ic ivau, {address}"], seen["without dc cvau, {address}"]) == ("old", "new")
    assert seen["nothing done"] == "old"


def test_an_engine_that_is_stale_although_nothing_is_left_out_is_no_witness(classes_of):
    alias = MAPPINGS.index("alias")
    classes, _ = classes_of(lambda _p, mapping, _l: OLD if mapping == alias else NEW)
    assert classes["alias"] == dict.fromkeys(PROBES, "false-stale")
    assert classes["closed-alias"]["stale-fetch"] == "blind"


def test_an_engine_on_which_a_torn_store_is_seen_is_sensitive_to_it(classes_of):
    classes, seen = classes_of(lambda probe, *_: NEITHER if probe == calibration._Asked.TORN else NEW)
    assert {found["torn-store"] for found in classes.values()} == {"sensitive"}
    assert {found["stale-fetch"] for found in classes.values()} == {"blind"}
    assert seen["byte by byte"] == "neither"


def test_an_engine_that_tears_a_whole_store_is_unusable(classes_of):
    classes, _ = classes_of(lambda probe, *_: NEITHER if whole(probe) else NEW)
    assert {classes["rwx"][probe] for probe in ("stale-fetch", "torn-store", "half-stored")} == {"unusable"}


@pytest.mark.parametrize("sight", [NEITHER, "crash", "timeout"])
def test_half_a_store_that_is_executed_shows_itself_by_its_value_or_by_an_end(classes_of, sight):
    classes, _ = classes_of(lambda probe, *_: sight if probe == calibration._Asked.HALF else NEW)
    assert classes["toggled"]["half-stored"] == "sensitive"
    assert classes["toggled"]["torn-store"] == "blind"


@pytest.mark.parametrize("failure", ["crash", "timeout", "engine-error", UNFIT, IMPOSSIBLE])
def test_an_engine_that_cannot_run_a_probe_is_unusable(classes_of, failure):
    classes, _ = classes_of(lambda *_: failure)
    assert classes["rwx"] == dict.fromkeys(PROBES, "unusable")


def test_what_is_executed_a_little_ahead_is_judged_by_what_the_architecture_wants():
    def next_of(ahead, maintained, *, needs_nothing=False):
        seen = dict.fromkeys(("maintained", "byte by byte", "half"), "new")
        seen |= {"ahead": ahead, "ahead, maintained": maintained}
        return calibration.classes(seen, needs_nothing=needs_nothing)["next-instruction"]

    assert next_of("old", "new") == "sensitive"
    assert next_of("old", "new", needs_nothing=True) == "false-stale"
    assert next_of("old", "old") == "false-stale"
    assert next_of("new", "new") == "blind"
    assert next_of("new", "impossible") == next_of("neither", "neither") == "unusable"


# Afresh.


@pytest.mark.parametrize("variant", ["arm64", "x86_64"])
def test_what_is_delivered_is_what_is_found_afresh(variant, engine):
    known = arch_toml.load()[variant]
    rows = calibration.measure(engine, known)
    assert [row.reason for row in rows] == [None] * len(MAPPINGS)
    assert measured.differing(rows) == []
    if not {row.name for row in rows} <= {row.name for row in measured.delivered()}:
        return  # of a version that may be another: QEMU heeds arm64's `ic ivau` from 8.1 on
    by_mapping = {row.mapping: row.classes["stale-fetch"] for row in rows}
    assert by_mapping == {"rwx": "blind", "toggled": "blind", "alias": "false-stale", "closed-alias": "blind"}
    next_ = "blind" if variant == "x86_64" else "sensitive"  # QEMU looks at each store of x86, and no other CPU's
    assert rows[0].classes["next-instruction"] == next_


@pytest.mark.parametrize("name", [name for name, one in engines().items() if not isinstance(one, NeedsHost)])
def test_of_a_version_that_is_delivered_every_variant_is(name):
    versions = {row.version for row in measured.delivered() if row.engine == name}
    assert versions
    able = [v for v in arch_toml.load().values() if engines()[name].hole(v) is None]
    assert all(measured.is_known(engines()[name], v) for v in able if engines()[name].version(v) in versions)
    assert measured.blind_everywhere(name) == {Defect.STALE_FETCH, Defect.TORN_STORE}


def test_the_page_says_what_is_delivered():
    page = (paths.data("arch").parent / "docs" / "engines.md").read_text(encoding="utf-8")
    blind, stale = {"x86_64", "i386"}, {"s390x", "sparc64", "sparc32"}
    for engine, version, count in (("qemu-user", "7.2.22", 25), ("unicorn", "2.1.2", 19), ("unicorn", "2.1.4", 21)):
        rows = [row for row in measured.delivered() if (row.engine, row.version) == (engine, version)]
        assert len(rows) == count * len(MAPPINGS)
        found = {
            mapping: {probe: {row.classes[probe] for row in rows if row.mapping == mapping} for probe in PROBES}
            for mapping in MAPPINGS
        }
        for mapping in ("rwx", "toggled", "closed-alias"):
            assert found[mapping]["stale-fetch"] == found[mapping]["torn-store"] == {"blind"}
            assert found[mapping]["half-stored"] == {"sensitive"}
        assert all(found["alias"][probe] == {"false-stale"} for probe in PROBES[:3])
        stale_here = stale | ({"alpha", "hppa"} if engine == "qemu-user" else set())
        for row in rows:
            if row.mapping in ("rwx", "toggled"):
                wanted = "false-stale" if row.variant in stale_here else "sensitive"
                assert row.classes["next-instruction"] == ("blind" if row.variant in blind else wanted)
    assert "QEMU 7.2 user mode, 25 variants | Unicorn 2.1.2, 19 variants, and 2.1.4, 21 |" in page
    assert "blind on x86_64 and i386; false-stale on s390x, sparc64, sparc32, alpha and hppa; else sensitive" in page
    assert "blind on x86_64 and i386; false-stale on s390x, sparc64 and sparc32; else sensitive" in page


@pytest.mark.parametrize("name", engines())
def test_an_engine_that_cannot_run_a_variant_is_unusable_with_the_reason(name, arm64):
    rows = calibration.measure(engines()[name], dataclasses.replace(arm64, engine={}))
    assert [row.classes["stale-fetch"] for row in rows] == ["unusable"] * len(MAPPINGS)
    assert {row.reason for row in rows} == {f"arch/arm64/arch.toml has no engine.{name}"}


# What the guest is made of.


def enumerators(name):
    text = (paths.data("images") / "probe" / "probe.c").read_text(encoding="utf-8")
    body = re.sub(r"/\*.*?\*/", "", re.search(rf"enum {name} \{{(.*?)\}}", text, re.DOTALL)[1], flags=re.DOTALL)
    return [word.strip() for word in body.split(",") if word.strip()]


def test_the_guest_and_the_host_number_probes_mappings_and_answers_alike():
    assert enumerators("probe") == [asked.name for asked in calibration._Asked]
    assert enumerators("mapping") == [
        "RWX", "TOGGLED", "ALIAS", "CLOSED_ALIAS",
    ]  # fmt: skip
    assert MAPPINGS == ("rwx", "toggled", "alias", "closed-alias")
    assert enumerators("answer") == ["OLD", "NEW", "NEITHER", "UNFIT", "CANNOT"]
    assert calibration.ANSWERS == ("old", "new", "neither", "unfit", "impossible")


@pytest.mark.parametrize("variant", arch_toml.load().values(), ids=lambda variant: variant.name)
def test_the_steps_in_arch_h_are_those_of_arch_toml(variant):
    text = (variant.folder / "arch.h").read_text(encoding="utf-8").replace("\\\n", "\n")
    steps = re.findall(r'STEP\((\d), "((?:[^"\\]|\\.)*)"((?:\s*"(?:[^"\\]|\\.)*")*)', text)
    maintenance = variant.coherence.maintenance
    by_kernel = "ARCH_SYNC_BY_KERNEL" in text
    if by_kernel:  # elsewhere a process may ask it too, and need not
        assert any(step.kernel for step in maintenance)
    else:
        assert [int(number) for number, *_ in steps] == list(range(len(maintenance)))
    for number, first, more in steps:
        wanted = maintenance[int(number)].instruction.split()[0]
        assert any(fnmatch.fnmatchcase(word, wanted) for word in re.split(r"\\[nt]|\s|\"", first + more))


def test_what_is_left_out_is_not_executed(arm64):
    """No class shows it on an engine that is blind."""
    unicorn, built = engines()["unicorn"], build.image(calibration.guest_of(arm64))

    def executed(left_out):
        program = wire.encode(Made.scenario((calibration._Asked.WHOLE, 0, left_out)), big_endian=False)
        counts = Counter(unicorn.path(built, arm64, program, 5.0).path)
        steps = Counter()
        for at, count in counts.items():
            _, _, text = next(texts(arm64, built.bytes_at(at, 4), at))
            steps[text.split(",")[0]] += count * text.startswith(("dc", "dsb", "ic", "isb"))
        return +steps

    everything, bare = executed(0), executed(ALL_STEPS)
    words = everything["isb"] // 2  # the first code's maintenance is always whole
    assert words == 64
    assert (everything["dsb ish"], bare["isb"], bare["dsb ish"]) == (4 * words, words, 2 * words)
    assert everything - executed(INVALIDATE) == {"ic ivau": words}
    assert everything - executed(CLEAN) == {"dc cvau": words}


# Who believes it.


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("PATCHFARM_CACHE", str(tmp_path))
    measured.known.cache_clear()
    yield tmp_path
    measured.known.cache_clear()


def rows_of(version, stale="sensitive", engine="unicorn", variant="arm64"):
    classes = {**dict.fromkeys(PROBES, "blind"), "stale-fetch": stale}
    return [Measured.of(engine, version, variant, mapping, classes, {"maintained": "new"}) for mapping in MAPPINGS]


class Newer:
    """Unicorn of a version that nobody has seen."""

    name, version, hole = "unicorn", staticmethod(lambda _variant: "9.9/x"), staticmethod(lambda _variant: None)


def test_of_what_nobody_has_measured_nothing_is_claimed(arm64, elsewhere):
    assert measured.blind_to(Newer, arm64, alias=False) == {Defect.STALE_FETCH, Defect.TORN_STORE}


def test_what_was_measured_says_which_passes_are_insensitive(arm64, elsewhere):
    measured.keep(rows_of("9.9/x"))
    assert measured.blind_to(Newer, arm64, alias=False) == {Defect.TORN_STORE}
    measured.keep(rows_of("9.9/x", "false-stale"))
    assert measured.blind_to(Newer, arm64, alias=True) == {Defect.STALE_FETCH, Defect.TORN_STORE}


def test_an_unknown_version_is_calibrated_before_it_is_needed_and_once(arm64, elsewhere, monkeypatch):
    asked = []
    monkeypatch.setattr(calibration, "engine_named", lambda _name: Newer)
    monkeypatch.setattr(
        calibration, "measure", lambda _engine, variant, _timeout: asked.append(variant.name) or rows_of("9.9/x")
    )
    about = plan.make(plan.Selection(arch=["arm64"], mechanism=["stub", "pointer"], engine=["unicorn"]))
    said = []
    for _ in range(2):
        calibration.measure_unknown(about, 1, said.append)
    assert said == ["nobody has calibrated unicorn 9.9/x: what it can show of 1 variant is measured first"]
    assert asked == ["arm64"]
    assert measured.blind_to(Newer, arm64, alias=False) == {Defect.TORN_STORE}


def test_what_cannot_be_calibrated_counts_as_blind_and_says_why(arm64, elsewhere, monkeypatch):
    def unusable(_engine, _variant, _timeout):
        classes = dict.fromkeys(PROBES, "unusable")
        return [Measured.of("unicorn", "9.9/x", "arm64", name, classes, reason="no probe") for name in MAPPINGS]

    monkeypatch.setattr(calibration, "engine_named", lambda _name: Newer)
    monkeypatch.setattr(calibration, "measure", unusable)
    said = []
    about = plan.make(plan.Selection(arch=["arm64"], mechanism=["stub"], engine=["unicorn"]))
    calibration.measure_unknown(about, 1, said.append)
    assert said[1:] == ["it could not be measured, and counts as blind: no probe"]
    assert measured.blind_to(Newer, arm64, alias=False) == {Defect.STALE_FETCH, Defect.TORN_STORE}


def test_nothing_is_measured_for_a_plan_whose_verdicts_do_not_depend_on_it(elsewhere, monkeypatch):
    monkeypatch.setattr(calibration, "engine_named", lambda _name: Newer)
    for scenario in ("BS-*", "CC-14"):
        about = plan.make(plan.Selection(arch=["arm64"], mechanism=["stub"], engine=["unicorn"], scenario=[scenario]))
        assert bool(calibration.unknown(about)) == (scenario == "CC-14")


def test_what_is_measured_here_goes_before_what_is_delivered_and_the_same_is_not_kept_twice(arm64, elsewhere):
    unicorn = engines()["unicorn"]
    version = unicorn.version(arm64)
    measured.keep([row for row in measured.delivered() if row.engine == "unicorn"])
    assert (elsewhere / "engines" / f"unicorn-{version}.jsonl").read_bytes() == b""
    rows = rows_of(version)
    measured.keep(rows)
    assert measured.blind_to(unicorn, arm64, alias=False) == {Defect.TORN_STORE}
    assert f"unicorn {version}/arm64/rwx: stale-fetch is sensitive, and was blind when the farm was made" in (
        measured.differing(rows)
    )


def test_what_is_kept_and_cannot_be_read_is_named(arm64, elsewhere):
    (elsewhere / "engines").mkdir()
    (elsewhere / "engines" / "unicorn-9.9_x.jsonl").write_text("{}\n")
    with pytest.raises(FarmError, match=r"unicorn-9\.9_x\.jsonl cannot be used \(.*\); delete it, and the engine is"):
        measured.blind_to(Newer, arm64, alias=False)


def test_a_cache_that_cannot_be_written_is_named(elsewhere):
    (elsewhere / "engines").write_text("")
    with pytest.raises(FarmError):
        measured.keep(rows_of("9.9"))
    assert OutputError.exit_status == 3


# What people see.


def test_variants_that_are_alike_share_a_row_and_what_was_not_measured_says_why():
    rows = [*rows_of("1"), *rows_of("1", variant="mips32"), *rows_of("1", "blind", variant="x86_64")]
    rows += [
        Measured.of("unicorn", "1", "alpha", mapping, dict.fromkeys(PROBES, "unusable"), reason="it has none")
        for mapping in MAPPINGS
    ]
    table = report.table(rows, ["something differs"])
    assert [[field.text for field in row] for row in table.rows if row[1].text == "rwx"] == [
        ["unicorn 1", "rwx", "sensitive", "blind", "blind", "blind", "arm64, mips32"],
        ["unicorn 1", "rwx", "blind", "blind", "blind", "blind", "x86_64"],
    ]
    assert table.notes == (
        "unusable, it has none: unicorn/alpha",
        "something differs",
        "3 variants of an engine measured",
    )


def test_the_command_measures_and_prints_an_array_of_objects_with_names():
    done = farm("calibrate", "--engines", "--arch", "arm64", "--engine", "unicorn", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    version = engines()["unicorn"].version(None)
    assert [row["name"] for row in rows] == [f"unicorn {version}/arm64/{mapping}" for mapping in MAPPINGS]
    assert rows[0]["classes"]["half-stored"] == "sensitive"
    assert rows[0]["seen"]["without ic ivau, {address}"] == "new"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"engines": True, "control": ["no-flush"]},
            "--engines and --control: a probe knows engines and variants only",
        ),
        (
            {"engines": True, "mechanism": ["stub"]},
            "--engines and --mechanism: a probe knows engines and variants only",
        ),
        ({"json": True}, "--json goes with --engines; --output DIR writes what is found about controls as JSON"),
    ],
)
def test_options_that_do_not_go_together_are_refused_in_one_sentence(options, said):
    with pytest.raises(UsageError, match=f"^{re.escape(said)}$"):
        calibrate(**options)


def test_an_engine_that_runs_nothing_of_what_is_selected_is_an_error():
    done = farm("calibrate", "--engines", "--arch", "alpha", "--engine", "unicorn")
    assert (done.returncode, done.stderr) == (3, "farm: nothing was measured: Unicorn has no alpha guest\n")


def test_a_proof_is_a_command_and_each_defect_that_is_probed_has_one():
    assert PROOFS.keys() == measured.PROBED.keys()
    commands = {f"farm prove {command.callback.__name__}" for command in prove.registered_commands}
    assert {proof for proofs in PROOFS.values() for proof in proofs} <= commands
