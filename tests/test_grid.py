"""The grid: what it counts, and how it stays readable however many mechanisms, engines and profiles there are."""

from __future__ import annotations

import io
import re

import pytest
from helpers import RUN, result
from markdown_it import MarkdownIt
from rich.cells import cell_len
from rich.console import Console

from farm.cell import Verdict
from farm.report import markdown, terminal
from farm.report.grid import ALL, Grid, Square, folded
from farm.run.plan import Plan

EMPTY = Plan((), {}, {})
MECHANISMS = ("pointer", "stub", "relocated", "veneers", "dispatch", "nop5", "my-trampoline", "linux-static-call")
ENGINES = ("unicorn", "qemu-user", "qemu-user:bti", "unicorn:no-clmul")
VARIANTS = ("loongarch64", "x86_64", "ppc64v1")
FAILING = ("ppc64v1", "my-trampoline", "qemu-user")


def verdict_of(variant, mechanism, engine, number):
    """What a farm of eight mechanisms has: one that failed, one that is for x86 alone, profiles of some CPUs."""
    if engine == "qemu-user:bti" or (mechanism == "nop5" and variant != "x86_64"):
        return Verdict.NOT_APPLICABLE
    if number == 3 and engine == "unicorn":
        return Verdict.PASS_INSENSITIVE
    return Verdict.CRASH if number == 4 and (variant, mechanism, engine) == FAILING else Verdict.PASS


@pytest.fixture(scope="module")
def many():
    places = [(v, m, e, n) for v in VARIANTS for m in MECHANISMS for e in ENGINES for n in range(120)]
    return [
        result(verdict_of(*place), str(n), reason="because", variant=v, mechanism=m, engine=e)
        for place in places
        for v, m, e, n in (place,)
    ]


def shown(results, width, **options):
    out = io.StringIO()
    terminal.show(results, EMPTY, Console(file=out, width=width), **options)
    return out.getvalue()


def tables(text):
    """Heads and rows of each table on a terminal: lists of cells, which may have several lines."""
    found = []
    for line in text.splitlines():
        if line.startswith("┏"):
            found.append([])
        elif line.startswith(("┡", "├")):
            found[-1].append([])
        elif line.startswith(("┃", "│")):
            cells = [cell.strip() for cell in re.split("[┃│]", line)[1:-1]]
            if line.startswith("┃"):
                head = found[-1][0] if found[-1] else found[-1].append([""] * len(cells)) or found[-1][0]
                found[-1][0] = [f"{a} {b}".strip() for a, b in zip(head, cells, strict=True)]
            elif cells[0]:
                found[-1].append(cells)
            else:
                found[-1][-1] = [f"{a} {b}".strip() for a, b in zip(found[-1][-1], cells, strict=True)]
    return [[row for row in table if row] for table in found]


def test_the_grid_counts_by_variant_mechanism_and_engine():
    results = [
        result(),
        result(scenario="b"),
        result(Verdict.MISMATCH, scenario="c"),
        result(variant="ppc32"),
        result(Verdict.NOT_RUN, engine="qemu-user", reason="qemu-ppc is missing"),
    ]
    made = Grid.of(results)
    assert made.rows == ["arm64", "ppc32"]
    assert made.columns == [("stub", "unicorn"), ("stub", "qemu-user")]
    square = made.squares["arm64", ("stub", "unicorn")]
    assert square.text() == "2✓ 1✗ mismatch"
    assert square.worst is Verdict.MISMATCH


def test_a_variant_built_by_two_toolchains_has_two_rows():
    assert Grid.of([result(), result(toolchain="gcc")]).rows == ["arm64 (zig)", "arm64 (gcc)"]


def test_the_columns_of_a_mechanism_are_side_by_side_whatever_the_order_of_the_results():
    made = Grid.of([result(mechanism=m, engine=e) for e in ("unicorn", "qemu-user") for m in ("stub", "pointer")])
    assert [mechanism for mechanism, _ in made.columns] == ["stub", "stub", "pointer", "pointer"]


def test_engines_are_added_up_and_no_cell_is_lost(many):
    whole = Grid.of(many)
    added = whole.added_up()
    assert added.columns == [(mechanism, ALL) for mechanism in MECHANISMS]
    for grid in (whole, added):
        assert sum(square.counts.total() for square in grid.squares.values()) == len(many)
    assert added.squares["ppc64v1", ("my-trampoline", ALL)].counts[Verdict.CRASH] == 1


def test_a_square_says_its_counts_at_length_in_lines_and_in_brief():
    square = Square()
    square.counts.update({Verdict.PASS: 2, Verdict.NOT_APPLICABLE: 1, Verdict.CRASH: 3, Verdict.TIMEOUT: 1})
    assert square.text() == "2✓ 1– 1✗ timeout 3✗ crash"
    assert square.lines() == ["2✓ 1–", "1✗ timeout", "3✗ crash"]
    assert square.brief() == "2✓ 1– 4✗"


def test_columns_in_which_no_cell_ran_are_folded_with_their_number_and_a_reason(many):
    whole = Grid.of(many)
    assert whole.holes() == [(mechanism, "qemu-user:bti") for mechanism in MECHANISMS]
    said = folded(whole.holes(), many)
    assert said.startswith("8 columns in which no cell ran (pointer, stub, ")
    assert said.endswith(" on qemu-user:bti): not-applicable: because")
    one = folded([("stub", ALL)], [result(Verdict.NOT_RUN, reason=why, scenario=why) for why in ("no qemu", "no zig")])
    assert one == "1 column in which no cell ran (stub): most are not-run: no qemu"


def test_nothing_is_folded_where_no_cell_ran_at_all():
    made = Grid.of([result(Verdict.NOT_RUN, reason="no qemu", engine=engine) for engine in ENGINES])
    assert made.holes() == []
    assert made.without_holes().columns == made.columns


# On a terminal.


@pytest.mark.parametrize("width", [60, 80, 100, 160, 400])
@pytest.mark.parametrize("verbose", [False, True])
def test_no_width_cuts_or_wraps_what_is_in_a_grid(many, width, verbose):
    text = shown(many, width, verbose=verbose)
    grids = text[: text.index("✓ pass")]
    assert max(map(cell_len, grids.splitlines())) <= width
    whole, heads = Grid.of(many), set()
    for head, *rows in tables(grids):
        heads.update(head[1:])
        for variant, *squares in rows:
            for name, square in zip(head[1:], squares, strict=True):
                mechanism, _, engine = name.partition(" ")
                column = mechanism, engine.replace(" ", ":") or ALL
                expected = (whole if engine else whole.added_up()).squares[variant, column]
                assert square in (expected.text(), expected.brief())
    assert {name.partition(" ")[0] for name in heads} == set(MECHANISMS)
    assert "…" not in grids
    assert not any("bti" in name for name in heads)


def test_a_grid_that_fits_shows_every_engine_and_says_what_is_folded(many):
    text = shown(many, 600)
    ((head, *rows),) = tables(text)
    assert head[:4] == ["variant", "pointer unicorn", "pointer qemu-user", "pointer unicorn no-clmul"]
    assert [row[0] for row in rows] == list(VARIANTS)
    assert "folded away: 8 columns in which no cell ran" in text
    assert "added up" not in text


def test_a_grid_that_does_not_fit_adds_engines_up_and_shows_them_where_a_cell_failed(many):
    text = shown(many, 100)
    *overview, by_engine = tables(text)
    assert [name for head, *_ in overview for name in head[1:]] == list(MECHANISMS)
    head, *rows = by_engine
    assert head == ["variant", "my-trampoline unicorn", "my-trampoline qemu-user", "my-trampoline unicorn no-clmul"]
    assert rows == [["ppc64v1", "119✓ 1≈", "119✓ 1✗ crash", "120✓"]]
    assert "engines are added up (unicorn, qemu-user, unicorn:no-clmul): -v shows each" in text
    assert "By engine" not in shown([one for one in many if not one.failed], 100)


def test_a_mechanism_that_fits_is_not_divided(many):
    found = terminal.blocks(Grid.of(many).without_holes(), 100)
    assert len(found) > 1
    for block in found:
        for mechanism in {name for name, _ in block}:
            assert sum(name == mechanism for name, _ in block) == len(ENGINES) - 1


def test_the_legend_ends_its_lines_between_two_signs():
    lines = shown([result()], 60).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("✓ pass"))
    assert lines[start : start + 3] == [
        "✓ pass",
        "≈ pass, but this engine could not have shown the defect",
        "– not applicable   ○ not run   ✗ failed",
    ]


@pytest.mark.parametrize("number", [1, 2])
def test_one_cell_is_no_cells(number):
    text = shown([result(scenario=str(n)) for n in range(number)], 100)
    assert text.splitlines()[-1] == ("1 cell: 1 pass" if number == 1 else "2 cells: 2 pass")
    holes = [result(Verdict.NOT_RUN, str(n), reason="no qemu") for n in range(number)]
    assert ("1 cell not-run" if number == 1 else "2 cells not-run") in shown(holes, 100)


# In summary.md.


def test_a_wide_grid_is_an_overview_then_a_table_a_mechanism_those_that_failed_first_and_open(many):
    text = markdown.render(many, EMPTY, RUN)
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    heads = [tokens[i + 1].content.replace("`", "") for i, token in enumerate(tokens) if token.type == "th_open"]
    assert heads[:10] == ["variant", *MECHANISMS[:4], "variant", *MECHANISMS[4:]]
    engines = ["unicorn", "qemu-user", "unicorn:no-clmul"]
    others = [mechanism for mechanism in MECHANISMS if mechanism != "my-trampoline"]
    assert heads[10:] == [name for mechanism in ("my-trampoline", *others) for name in (mechanism, *engines)]
    opened = re.findall(r"<details open>\n<summary>([\w-]+) by engine", text)
    assert opened == ["my-trampoline"]
    assert "| `ppc64v1` | 359✓ 1≈ 120– | 480– | 358✓ 1≈ 120– 1✗ | 359✓ 1≈ 120– |" in text


def test_a_grid_of_few_columns_is_one_table_without_those_in_which_no_cell_ran():
    made = [result(mechanism=m, engine=e) for m in ("stub", "pointer") for e in ("unicorn", "qemu-user")]
    made += [result(Verdict.NOT_APPLICABLE, mechanism="stub", engine="qemu-user:bti", reason="no such CPU")]
    text = markdown.render(made, EMPTY, RUN)
    assert text.count("| variant |") == 1
    assert "Folded away: `1 column in which no cell ran (stub on qemu-user:bti): not-applicable: no such CPU`" in text
