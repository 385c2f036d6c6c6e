"""Comparing two runs: every cell has one change, and what matters cannot be overlooked."""

from __future__ import annotations

import io
import json
import math
import re
import shutil
from collections import Counter
from functools import partial
from random import Random

import helpers
import msgspec
import pytest
from helpers import RUN, farm, save
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from msgspec.structs import replace
from rich.console import Console

from farm import paths
from farm.cell import FAILED, PASSED, SKIPPED, Cell, Verdict
from farm.report import diff as reports
from farm.results import diff
from farm.results.diff import Change, classify, compare
from farm.run.journal import Recorded

DEEP = '{"run": ' * 100_000


result = partial(helpers.result, seconds=0.01)


def recorded(*results, **header):
    return Recorded(replace(RUN, **header), list(results), [])


# Every cell has one change.


def test_of_each_pair_of_verdicts_one_change():
    both = [None, *Verdict]
    table = {(a, b): classify(a, b) for a in both for b in both if (a, b) != (None, None)}
    assert set(table.values()) == set(Change)
    for (before, after), change in table.items():
        newly = after in FAILED - {Verdict.XPASS} and before not in FAILED - {Verdict.XPASS}
        assert (change in (Change.NEW_FAILURE, Change.NEW_FLAKY)) == newly
        if before is after:
            assert change is (Change.STILL_FAILING if after in FAILED - {Verdict.XPASS} else Change.UNCHANGED)


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ("pass", "mismatch", Change.NEW_FAILURE),
        (None, "crash", Change.NEW_FAILURE),
        ("not-run", "timeout", Change.NEW_FAILURE),
        ("xfail", "mismatch", Change.NEW_FAILURE),
        ("xpass", "mismatch", Change.NEW_FAILURE),
        ("pass", "flaky", Change.NEW_FLAKY),
        ("mismatch", "flaky", Change.STILL_FAILING),
        ("flaky", "crash", Change.STILL_FAILING),
        ("mismatch", "pass", Change.FIXED),
        ("xfail", "pass-insensitive", Change.FIXED),
        ("pass", None, Change.VANISHED),
        ("not-run", None, Change.VANISHED),
        (None, "pass", Change.ADDED),
        (None, "not-applicable", Change.ADDED),
        ("pass", "not-run", Change.NEWLY_SKIPPED),
        ("crash", "not-applicable", Change.NEWLY_SKIPPED),
        ("not-run", "pass", Change.NOW_RUN),
        ("not-run", "not-applicable", Change.UNCHANGED),
        ("pass", "pass-insensitive", Change.WEAKENED),
        ("pass-insensitive", "pass", Change.STRENGTHENED),
        ("mismatch", "xfail", Change.KNOWN_BAD),
        ("pass", "xfail", Change.KNOWN_BAD),
        ("xfail", "xpass", Change.KNOWN_BAD),
        ("xpass", "pass", Change.KNOWN_BAD),
    ],
)
def test_the_change_of(before, after, wanted):
    assert classify(before and Verdict(before), after and Verdict(after)) is wanted


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [
        (Verdict.PASS, Verdict.MISMATCH, True),
        (Verdict.PASS, Verdict.FLAKY, True),
        (Verdict.PASS, Verdict.PASS_INSENSITIVE, True),
        (Verdict.PASS, Verdict.NOT_RUN, True),
        (Verdict.MISMATCH, Verdict.NOT_RUN, True),
        (Verdict.PASS, None, True),
        (Verdict.MISMATCH, None, True),
        (None, Verdict.MISMATCH, True),
        (Verdict.NOT_RUN, None, False),
        (None, Verdict.PASS, False),
        (Verdict.MISMATCH, Verdict.CRASH, False),
        (Verdict.XFAIL, Verdict.XPASS, False),
        (Verdict.PASS_INSENSITIVE, Verdict.PASS, False),
    ],
)
def test_what_is_a_regression(before, after, worse):
    other = result(scenario="other")
    a = recorded(other, *([result(before)] if before else []))
    b = recorded(other, *([result(after)] if after else []))
    assert compare(a, b).regression is worse


CELLS = [result(scenario=s, variant=v, engine=e).cell for s in "ab" for v in ("x", "y") for e in ("u", "q")]


@st.composite
def runs(draw):
    verdicts = draw(st.dictionaries(st.sampled_from(CELLS), st.sampled_from(list(Verdict)), min_size=1))
    return recorded(*(replace(result(verdict), cell=cell) for cell, verdict in verdicts.items()))


@given(runs(), runs())
def test_every_cell_of_either_run_has_exactly_one_change(a, b):
    found = compare(a, b)
    cells = {r.cell for r in a.results} | {r.cell for r in b.results}
    assert sum(found.counts.values()) == len(cells)
    told = [changed.cell for changed in found.cells]
    assert len(told) == len(set(told)) == len(cells) - found.counts.get("unchanged", 0)
    assert set(told) <= cells
    assert Counter(str(c.change) for c in found.cells) == {k: n for k, n in found.counts.items() if k != "unchanged"}


@given(runs())
def test_a_run_does_not_differ_from_itself_but_for_what_still_fails(a):
    found = compare(a, a)
    assert {changed.change for changed in found.cells} <= {Change.STILL_FAILING}
    assert not found.regression
    assert (found.facts, found.images, found.slower, found.expectations) == ([], [], [], [])
    assert found.nothing == (not found.cells)


@given(runs(), runs())
def test_the_other_way_round_everything_is_the_other_way_round(a, b):
    def of(found, *changes, known=True):
        return {c.cell for c in found.cells if c.change in changes and (c.before is not None) == known}

    there, back = compare(a, b), compare(b, a)
    assert of(there, Change.VANISHED) == {c.cell for c in back.cells if c.before is None}
    assert of(there, Change.NEWLY_SKIPPED) == {
        c.cell for c in back.cells if c.before in SKIPPED and c.after is not None and c.after not in SKIPPED
    }
    assert of(there, Change.WEAKENED) == of(back, Change.STRENGTHENED)
    assert of(there, Change.STILL_FAILING) == of(back, Change.STILL_FAILING)
    fixed = {c.cell for c in there.cells if c.change is Change.FIXED and c.before is not Verdict.XFAIL}
    failed = of(back, Change.NEW_FAILURE, Change.NEW_FLAKY)
    assert fixed == {c.cell for c in back.cells if c.cell in failed and c.before in PASSED}


# What differs beside the cells.


def test_versions_hosts_images_and_expectations_that_differ_are_told():
    a = recorded(result(), result(scenario="b"), result(variant="ppc32"))
    b = recorded(
        result(image="b" * 64),
        result(scenario="b", image="b" * 64, expected="bb"),
        result(variant="ppc32"),
        farm="0.2.0",
        host="Linux aarch64, 4 CPUs",
        versions={"unicorn": "2.1.4", "qemu-user": "10.0"},
    )
    found = compare(a, b)
    assert [(fact.what, fact.before, fact.after) for fact in found.facts] == [
        ("farm", "0.1.0", "0.2.0"),
        ("host", "Linux x86_64, 2 CPUs", "Linux aarch64, 4 CPUs"),
        ("unicorn", "2.1.2", "2.1.4"),
        ("qemu-user", None, "10.0"),
    ]
    assert found.images == [diff.NewImage("arm64", "stub", "zig", "0" * 64, "b" * 64)]
    assert found.expectations == ["b"]
    assert not found.regression
    assert not found.nothing


def test_shards_of_one_plan_are_no_other_plan():
    a, b = (recorded(result(), plan=part * 64, whole="c" * 64, shard=f"{n}/2") for n, part in ((1, "a"), (2, "b")))
    assert [(fact.what, fact.before, fact.after) for fact in compare(a, b).facts] == [("shard", "1/2", "2/2")]


def test_a_known_failure_that_is_another_one_now_is_told():
    was = result(Verdict.XFAIL, "a", "known-bad: mismatch"), result(Verdict.XFAIL, "b"), result(Verdict.XFAIL, "c")
    a = recorded(*(replace(each, excused=Verdict.MISMATCH) for each in was))
    crashes = replace(was[0], excused=Verdict.CRASH, reason="known-bad: crash")
    differs, same = replace(was[1], excused=Verdict.MISMATCH, trace="bb"), a.results[2]
    found = compare(a, recorded(crashes, differs, same))
    assert [(each.cell.scenario, each.change) for each in found.cells] == [
        ("a", Change.KNOWN_BAD),
        ("b", Change.KNOWN_BAD),
    ]
    assert not found.regression
    assert "1 known-bad changed\n  a: xfail, in another way on arm64" in reports.text(
        compare(recorded(a.results[0]), recorded(crashes))
    )


def test_another_list_of_known_bad_cells_is_told():
    a, b = recorded(result()), recorded(result(), quarantine="c" * 64)
    assert "changed: known-bad list: nothing -> cccccccccccc\n" in reports.text(compare(a, b))


def test_of_many_versions_only_those_that_differ_are_shown():
    a = recorded(result(), versions={"gcc": "alpha-gcc 12 and sh4-gcc 12"})
    b = recorded(result(), versions={"gcc": "alpha-gcc 12 and sh4-gcc 13"})
    assert "changed: gcc: sh4-gcc 12 -> sh4-gcc 13\n" in reports.text(compare(a, b))


# Times.


def timed(times):
    """A run of groups: ``{variant: [seconds, ...]}``."""
    return recorded(
        *(result(variant=v, scenario=f"s{i}", seconds=t) for v, ts in times.items() for i, t in enumerate(ts))
    )


TIMES = st.lists(st.floats(1e-5, 5.0), min_size=1, max_size=12)
WHOLE = st.dictionaries(st.sampled_from("abcdefghijkl"), TIMES, min_size=1)


@given(WHOLE, st.floats(0.01, 100))
def test_a_host_of_another_speed_makes_nothing_slower(times, scale):
    found = compare(timed(times), timed({v: [t * scale for t in ts] for v, ts in times.items()}))
    assert found.slower == []
    assert found.ratio == pytest.approx(scale)


@given(st.floats(0.1, 10), st.integers(1, 12), st.randoms(use_true_random=False), st.sampled_from("abcdefgh"))
def test_one_group_that_is_five_times_slower_is_found_through_noise_and_another_host(scale, cells, random, which):
    times = {v: [random.uniform(0.1, 0.5) for _ in range(cells)] for v in "abcdefgh"}
    noisy = {
        v: [t * scale * random.uniform(0.9, 1.1) * (5 if v == which else 1) for t in ts] for v, ts in times.items()
    }
    found = compare(timed(times), timed(noisy))
    lost = 4 * scale * sum(times[which])
    groups = [slow.name for slow in found.slower if slow.cells > 1 or cells == 1]
    assert groups == [f"{which}/stub/zig/unicorn"] or lost < 2 * diff.SECONDS
    assert all(slow.name.startswith(f"{which}/") for slow in found.slower)
    assert not found.regression


def test_one_cell_that_is_slower_is_named():
    times = {v: [0.1 * (1 + i % 3) for i in range(40)] for v in "ab"}
    later = {v: list(ts) for v, ts in times.items()}
    later["b"][7] += 1.2
    later["a"][7] += 0.5  # less than a host may lose anywhere
    (slow,) = compare(timed(times), timed(later)).slower
    assert (slow.name, slow.cells) == ("b/stub/zig/unicorn/s7", 1)
    assert slow.factor == pytest.approx(7)


def engines_and_mechanisms(slower=lambda _: 1.0, noise=lambda: 1.0):
    """Six variants, each of two mechanisms under two engines, in cells of 20 ms."""
    return recorded(
        *(
            result(variant=v, mechanism=m, engine=e, scenario=f"s{i}", seconds=0.02 * noise() * slower((v, m, e)))
            for v in "abcdef"
            for m in ("pointer", "stub")
            for e in ("unicorn", "qemu-user")
            for i in range(20)
        )
    )


@given(st.sampled_from(["unicorn", "qemu-user", "pointer", "stub"]), st.integers(0, 1000))
def test_a_slower_engine_or_mechanism_is_found_though_it_is_half_of_the_run(which, seed):
    random = Random(seed)

    def noise():
        return math.exp(random.gauss(0, 0.3))

    after = engines_and_mechanisms(lambda names: 3 if which in names else 1, noise)
    (slow,) = compare(engines_and_mechanisms(noise=noise), after).slower
    assert (slow.name, slow.cells) == (f"*/{which}/*/*" if which in ("pointer", "stub") else f"*/*/*/{which}", 240)
    assert slow.factor == pytest.approx(3, rel=0.5)
    assert slow.after / slow.before == pytest.approx(3, rel=0.5)


def test_a_slower_engine_hides_no_slower_group():
    before, after = engines_and_mechanisms(), engines_and_mechanisms(lambda names: 3 if "unicorn" in names else 1)
    after.results[0] = replace(after.results[0], seconds=2.0)
    assert [slow.name for slow in compare(before, after).slower] == ["*/*/*/unicorn", "a/pointer/zig/unicorn"]


def test_a_host_that_is_busy_while_some_variants_run_makes_no_part_slower():
    busy = engines_and_mechanisms(lambda names: 9 if names[0] in "ef" else 1)
    assert not any("*" in slow.name for slow in compare(engines_and_mechanisms(), busy).slower)


def test_what_lost_most_comes_first():
    times = {variant: [0.1] * 5 for variant in "abcdefgh"}
    later = {variant: [0.1 * {"b": 3, "d": 9, "f": 6}.get(variant, 1)] * 5 for variant in times}
    assert [slow.name[0] for slow in compare(timed(times), timed(later)).slower] == ["d", "f", "b"]


def test_what_lies_within_the_noise_of_the_pair_is_not_slower():
    """A tenfold loss, in a pair where cells differ by ten either way."""
    times = {v: [0.1] * 20 for v in "abcdefghijkl"}
    wild = {v: [0.1 * 10 ** ((i + k) % 3 - 1) for i in range(20)] for k, v in enumerate(times)}
    assert compare(timed(times), timed(wild)).slower == []


def test_times_of_what_failed_are_not_compared():
    a, b = timed({"a": [0.1] * 9}), timed({"a": [0.1] * 9})
    b.results[0] = replace(b.results[0], verdict=Verdict.TIMEOUT, seconds=5.0)
    assert compare(a, b).slower == []


# What is shown.


@pytest.fixture(scope="module")
def pair():
    """Two small runs with a bit of everything."""
    differs = "event 3: expected [step 2: enter whatever_0 -> fast], seen [step 2: enter whatever_0 -> other]"
    a = recorded(
        *(result(variant=v) for v in ("arm64", "ppc32", "ppc64")),
        result(Verdict.CRASH, "old", reason="it died"),
        result(Verdict.CRASH, "old", reason="it died", variant="ppc32"),
        result(Verdict.MISMATCH, "mended", reason=differs),
        result(Verdict.NOT_RUN, engine="qemu-user", reason="qemu-user is missing: apt-get install qemu-user"),
        result(scenario="weak"),
        result(scenario="gone"),
        result(scenario="skipped"),
        result(scenario="moody"),
        *(result(scenario=f"slow{i}") for i in range(3)),
    )
    b = recorded(
        result(Verdict.MISMATCH, reason=differs),
        result(Verdict.MISMATCH, reason=differs, variant="ppc32"),
        result(variant="ppc64"),
        result(Verdict.CRASH, "old", reason="it died"),
        result(Verdict.CRASH, "old", reason="it died elsewhere", variant="ppc32"),
        result(scenario="mended"),
        result(engine="qemu-user"),
        result(Verdict.PASS_INSENSITIVE, "weak"),
        result(Verdict.NOT_RUN, "skipped", reason="qemu-user is missing: apt-get install qemu-user"),
        result(Verdict.FLAKY, "moody", reason="first crash (it died), then pass (as expected)"),
        result(scenario="slow0", seconds=1.17),
        *(result(scenario=f"slow{i}") for i in range(1, 3)),
        result(scenario="new", variant="ppc64"),
        versions={"unicorn": "2.1.4"},
        started="2026-01-02T00:00:00+00:00",
    )
    return compare(a, b, ("before", "after"))


TEXT = """\
A: before, begun 2026-01-01T00:00:00+00:00: 14 cells, 10 pass, 1 not-run, 2 crash, 1 mismatch
B: after, begun 2026-01-02T00:00:00+00:00: 14 cells, 7 pass, 1 pass-insensitive, 1 not-run, 1 flaky, 2 crash, 2 mismatch
changed: unicorn: 2.1.2 -> 2.1.4
2 new failures
  calls: pass -> mismatch on arm64, ppc32 under stub/zig/unicorn (2 cells)
      event 3: expected [step 2: enter whatever_0 -> fast], seen [step 2: enter whatever_0 -> other]
      farm run --arch arm64 --mechanism stub --toolchain zig --engine unicorn --scenario calls -v
1 new flaky
  moody: pass -> flaky on arm64 under stub/zig/unicorn
      first crash (it died), then pass (as expected)
      farm run --arch arm64 --mechanism stub --toolchain zig --engine unicorn --scenario moody -v
1 vanished
  gone: pass -> not there on arm64 under stub/zig/unicorn
1 newly skipped
  skipped: pass -> not-run on arm64 under stub/zig/unicorn
      qemu-user is missing: apt-get install qemu-user
1 weakened
  weak: pass -> pass-insensitive on arm64 under stub/zig/unicorn
2 still failing
  old: crash, in another way on arm64, ppc32 under stub/zig/unicorn (2 cells)
      it died (and 1 other reason)
      farm run --arch arm64 --mechanism stub --toolchain zig --engine unicorn --scenario old -v
1 fixed
  mended: mismatch -> pass on arm64 under stub/zig/unicorn
1 now run
  calls: not-run -> pass on arm64 under stub/zig/qemu-user
1 new cell
  new: not there -> pass on ppc64 under stub/zig/unicorn
slower by more than the noise (the median cell took 1.00 times as long)
  arm64/stub/zig/unicorn: 0.040 s -> 1.200 s, 30.0 times
regression: 2 new failures, 1 new flaky, 1 vanished, 1 newly skipped, 1 weakened
"""

MARKDOWN = """# patchfarm: regression: 2 new failures, 1 new flaky, 1 vanished, 1 newly skipped, 1 weakened

- A: `before, begun 2026-01-01T00:00:00+00:00: 14 cells, 10 pass, 1 not-run, 2 crash, 1 mismatch`
- B: `after, begun 2026-01-02T00:00:00+00:00: 14 cells, 7 pass, 1 pass-insensitive, 1 not-run, 1 flaky, 2 crash, 2 mismatch`
- changed: `unicorn: 2.1.2 -> 2.1.4`

## 2 new failures

- `calls: pass -> mismatch on arm64, ppc32 under stub/zig/unicorn (2 cells)`: `event 3: expected [step 2: enter whatever_0 -> fast], seen [step 2: enter whatever_0 -> other]`

```text
farm run --arch arm64 --mechanism stub --toolchain zig --engine unicorn --scenario calls -v
```

## 1 new flaky
"""  # noqa: E501


def test_the_text_groups_cells_that_went_the_same_way(pair):
    assert reports.text(pair) == TEXT


def test_on_a_terminal_it_is_the_same_text(pair):
    out = io.StringIO()
    reports.show(pair, Console(file=out, width=60))
    assert out.getvalue() == TEXT


def test_the_markdown_gives_the_reason_and_the_reproducers(pair):
    assert reports.markdown(pair).startswith(MARKDOWN)


def test_a_hundred_scenarios_that_fail_in_the_same_place_are_one_line():
    names = [f"s{i}" for i in range(100)]
    engines = ("unicorn", "qemu-user")
    found = compare(
        recorded(*(result(scenario=name, engine=e) for name in names for e in engines)),
        recorded(*(result(Verdict.CRASH, name, "it died", engine=e) for name in names for e in engines)),
    )
    (line,) = (line for line in reports.text(found).splitlines() if "-> crash" in line)
    assert line.startswith("  s0, s1, ")
    assert line.endswith(" and 92 more: pass -> crash on arm64 under stub/zig/unicorn, stub/zig/qemu-user (200 cells)")


def test_what_vanished_though_it_ran_comes_before_what_never_did():
    skipped = [result(Verdict.NOT_RUN, f"s{i}") for i in range(30)]
    text = reports.text(
        compare(recorded(result(scenario="kept"), *skipped, result()), recorded(result(scenario="kept")))
    )
    first, second = (line for line in text.splitlines() if "not there" in line)
    assert first.startswith("  calls: pass -> not there")
    assert second.startswith("  s0, s1")
    assert text.endswith("regression: 1 vanished\n")


texts = st.text(max_size=30) | st.sampled_from(
    [
        "```",
        "~~~",
        "\n# x",
        "- x",
        "1. x",
        "<script>",
        "|a|",
        "]]>",
        "\x1b[31m",
        "![x](y)",
        "> q",
        "&lt;",
        "\n\n    x",
        "---",
    ]
)


def structure(text):
    return [(token.type, token.tag) for token in MarkdownIt("commonmark").enable("table").parse(text)]


def inside(text):
    """The kinds of what stands in lines."""
    tokens = MarkdownIt("commonmark").enable("table").enable("strikethrough").parse(text)
    return {child.type for token in tokens for child in token.children or ()}


@settings(max_examples=200)
@given(name=texts, variant=texts, reason=texts, reproduce=texts, path=texts, version=texts)
def test_no_name_and_no_reason_breaks_the_markdown(name, variant, reason, reproduce, path, version):
    def made(name, variant, reason, reproduce, path, version):
        cell = Cell(name, variant, "stub", "zig", "unicorn")
        a, b = replace(result(), cell=cell), replace(result(Verdict.CRASH), cell=cell)
        b = replace(b, reason=f"r{reason}", reproduce=f"farm {reproduce}")
        return reports.markdown(compare(recorded(a), recorded(b, versions={"unicorn": f"3{version}"}), (path, "B")))

    hostile = made(name, variant, reason, reproduce, path, version)
    assert structure(hostile) == structure(made("n", "v", "r", "c", "p", "2"))
    assert inside(hostile) <= {"text", "code_inline", "softbreak"}


@settings(max_examples=100)
@given(name=texts, variant=texts, reason=texts)
def test_no_name_breaks_a_line_of_the_text(name, variant, reason):
    cell = Cell(name, variant, "stub", "zig", "unicorn")
    a, b = replace(result(), cell=cell), replace(result(Verdict.CRASH), cell=cell, reason=f"r{reason}")
    text = reports.text(compare(recorded(a), recorded(b)))
    assert len(text.splitlines()) == 7
    assert text.replace("\n", "").isprintable()


def test_the_markdown_always_fits_a_comment():
    def many(verdict, reason=None):
        return recorded(
            *(
                replace(result(verdict, f"{i:03}{'_' * 300}", reason, variant=f"v{i % 97}"), reproduce="x" * 400)
                for i in range(3000)
            )
        )

    flood = [compare(many(a), many(b, "<" * 400)) for a in (Verdict.PASS, Verdict.NOT_RUN) for b in FAILED]
    mixed = [r for v in Verdict for r in many(v, "_" * 400).results[:60] for r in (replace(r, reproduce="`" * 400),)]
    mixed = [replace(r, cell=replace(r.cell, engine=f"{i}")) for i, r in enumerate(mixed)]
    before = recorded(*(replace(r, verdict=Verdict(v)) for r, v in zip(mixed, 60 * list(Verdict), strict=True)))
    flood.append(compare(before, recorded(*mixed)))
    sizes = [len(reports.markdown(found).encode()) for found in flood]
    assert max(sizes) > reports.LIMIT // 2
    assert max(sizes) <= reports.LIMIT
    assert any(reports.markdown(found).endswith("The rest does not fit here.\n") for found in flood)


# The command.


def test_a_run_against_itself_is_no_difference(tmp_path):
    folder = save(tmp_path / "a", RUN, [result()])
    done = farm("diff", folder, folder / "results.jsonl")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "no difference"


@pytest.mark.parametrize("form", ["text", "markdown", "json"])
def test_a_file_holds_what_would_be_printed(tmp_path, form):
    a = save(tmp_path / "a", RUN, [result(), result(scenario="b")])
    b = save(tmp_path / "b", RUN, [result(Verdict.CRASH, reason="it died"), result(scenario="b")])
    printed = farm("diff", a, b, "--format", form)
    saved = farm("diff", a, b, "--format", form, "--output", tmp_path / "out")
    assert (printed.returncode, saved.returncode, saved.stdout) == (1, 1, "")
    assert (tmp_path / "out").read_text() == printed.stdout
    assert "it died" in printed.stdout


def test_the_json_is_the_documented_structure(tmp_path):
    a = save(tmp_path / "a", RUN, [result(), result(scenario="b")])
    b = save(tmp_path / "b", RUN, [result(Verdict.CRASH, reason="it died"), result(scenario="b")])
    found = msgspec.json.decode(farm("diff", a, b, "--format", "json").stdout, type=diff.Diff)
    assert found.regression
    assert found.counts == {"new failure": 1, "unchanged": 1}
    (only,) = found.cells
    assert (only.change, only.before, only.after, only.reason) == (
        Change.NEW_FAILURE,
        Verdict.PASS,
        Verdict.CRASH,
        "it died",
    )
    assert only.reproduce.startswith("farm run --arch arm64")


def test_broken_lines_of_either_are_named_and_the_rest_is_compared(tmp_path):
    a = save(tmp_path / "a", RUN, [result(), result(scenario="b")])
    b = save(tmp_path / "b", RUN, [result(), result(scenario="b")])
    with (a / "results.jsonl").open("a") as file:
        file.write('{"foreign": 1}\n' + DEEP + "\n")
    whole = (b / "results.jsonl").read_text()
    (b / "results.jsonl").write_text(whole[:-20])
    done = farm("diff", a, b)
    assert f"{a / 'results.jsonl'}: line 4 is no result" in done.stderr
    assert f"{a / 'results.jsonl'}: line 5 is no result" in done.stderr
    assert f"{b / 'results.jsonl'}: line 3 was cut off" in done.stderr
    assert done.returncode == 1
    assert "  b: pass -> not there on arm64" in done.stdout


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        (None, 2, "cannot be read: No such file or directory"),
        (b'{"run": {"farm": "\xff"}}\n', 2, "line 1 is no run header; is it a results.jsonl?"),
        (DEEP.encode() + b"\n", 2, "line 1 is no run header; is it a results.jsonl?"),
        (b"no journal\n", 2, "line 1 is no run header; is it a results.jsonl?"),
        (msgspec.json.encode({"run": replace(RUN, schema=3)}), 2, "results of schema 3; this farm reads 1 and 2"),
        (msgspec.json.encode({"run": RUN}), 3, "holds no result"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_sentence(tmp_path, content, status, sentence):
    good = save(tmp_path / "a", RUN, [result()])
    if content is not None:
        (tmp_path / "b").write_bytes(content)
    for pair in ((good, tmp_path / "b"), (tmp_path / "b", good)):
        done = farm("diff", *pair)
        assert done.returncode == status
        assert done.stderr == f"farm: {tmp_path / 'b'}: {sentence}\n"


def test_a_planted_regression_is_exactly_what_differs(tmp_path):
    """The same architecture twice, the second time with one wrong line in its patch.c."""
    for name in ("good", "bad"):
        folder = tmp_path / name / "mine"
        shutil.copytree(paths.data("arch") / "arm64", folder)
        toml = folder / "arch.toml"
        text = toml.read_text().partition("[variant.arm64be]")[0]
        toml.write_text(text.replace("variant.arm64", "variant.mine"))
    source = tmp_path / "bad" / "mine" / "patch.c"
    line = "((uint32_t)(to - at) >> 2)"
    assert source.read_text().count(line) == 1
    source.write_text(source.read_text().replace(line, "((uint32_t)(to - at + 8) >> 2)"))
    select = ("--arch", "mine", "--engine", "unicorn", "--mechanism", "pointer,stub", "--scenario", "BS-*")
    for name, status in (("good", 0), ("bad", 1)):
        done = farm("run", *select, "--arch-path", tmp_path / name / "mine", "--output", tmp_path / f"out-{name}")
        assert done.returncode == status, done.stdout + done.stderr
    verdicts = [json.loads(line) for line in (tmp_path / "out-bad" / "results.jsonl").read_text().splitlines()[1:]]
    failing = {tuple(r["cell"].values()) for r in verdicts if r["verdict"] in {str(v) for v in FAILED}}
    assert failing

    done = farm("diff", tmp_path / "out-good", tmp_path / "out-bad", "--format", "json")
    assert done.returncode == 1
    found = msgspec.json.decode(done.stdout, type=diff.Diff)
    assert {msgspec.structs.astuple(c.cell) for c in found.cells} == failing
    assert {c.change for c in found.cells} == {Change.NEW_FAILURE}
    assert {c.cell.mechanism for c in found.cells} == {"stub"}
    assert ("mine", "stub", "zig") in {(i.variant, i.mechanism, i.toolchain) for i in found.images}
    text = farm("diff", tmp_path / "out-good", tmp_path / "out-bad").stdout
    assert re.search(r"\n\d+ new failures\n", text)
    assert text.splitlines()[-1] == f"regression: {len(failing)} new failures"
    assert farm("diff", tmp_path / "out-bad", tmp_path / "out-good").returncode == 0
