"""Proofs that were left in a folder: as they are read, and as ``report.html`` shows them."""

from __future__ import annotations

import re

import msgspec
import pytest
from helpers import RUN, result
from hypothesis import given, settings
from hypothesis import strategies as st
from test_html import HOSTILE, Shape, text_of

from farm.prove.proof import Finding, Line, Mutation, Proof, Reader, What
from farm.report import Material, html, proof, proof_page
from farm.report.proof import Document, Guest
from farm.run.plan import Plan

NAME = "arm64/stub/zig"
STORY = (
    Line("A", "stores 08 over e8 at 0x100b004 <whatever_0+0x1>: `jmp 0x1003af0` becomes `jmp 0x1003a10`"),
    Line("B", "executes `jmp 0x1003a10` at 0x100b003 <whatever_0>"),
    Line("B", "read of unmapped memory at 0x1003a11"),
)
REFUTED = Proof(
    NAME, "fast-other", "used", Reader.OTHER.value, Finding.REFUTED, "read of unmapped memory",
    story=STORY, reproduce="farm prove interleave --arch arm64 --call used",
)  # fmt: skip
PROVED = msgspec.structs.replace(REFUTED, finding=Finding.PROVED, why="", story=(), reproduce="")
UNEXPLORED = msgspec.structs.replace(PROVED, finding=Finding.UNEXPLORED, why="there are too many points")


def mutant(finding, mutation=Mutation.TORN, why="", **others):
    return msgspec.structs.replace(PROVED, finding=finding, mutant="a mutant", mutation=mutation, why=why, **others)


ARM64 = Guest("arm64", "stub", "zig", None, 1234)


def document(*proofs, guests=(ARM64,), what=What.INTERLEAVE):
    return Document(proof.SCHEMA, "0.1.0", what, guests, proofs)


def rendered(*documents):
    return html.render(Material(RUN, [result()], Plan((), {}, {}), proofs=documents))


def view(*documents):
    """The view of proofs in the page."""
    return re.search(r'<section id="proofs".*?</section>', rendered(*documents).decode(), re.DOTALL)[0]


def rows(part):
    """The text of each field of each row of a table."""
    return [
        [text_of(field.encode()) for field in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr[^>]*>(.*?)</tr>", part, re.DOTALL)
    ]


# What is read.


@pytest.mark.parametrize("what", What)
def test_what_was_written_is_found(tmp_path, what):
    made = document(REFUTED, mutant(Finding.HARMLESS), what=what)
    (tmp_path / f"{what}.json").write_bytes(msgspec.json.encode(made))
    assert html.found(tmp_path) == html.Found(proofs=[made])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "not proofs of the farm's: "),
        (b"\xff", "not proofs of the farm's: "),
        (b"[" * 100_000, "not proofs of the farm's: "),
        (b"[]", "not proofs of the farm's: "),
        (msgspec.json.encode(document()).replace(b'"schema":1', b'"schema":99'), "proofs of schema 99; this farm "),
        (msgspec.json.encode(document(what=What.COHERENCE)), "holds what `farm prove coherence` writes"),
        (msgspec.json.encode(document(REFUTED)).replace(b'"cpu":"A"', b'"cpu":"Z"'), "not proofs of the farm's: "),
        (msgspec.json.encode(document(REFUTED, guests=())), f"not proofs of the farm's: {NAME} is none of its guests"),
    ],
)
def test_what_cannot_be_used_is_left_out_and_said_in_one_sentence(tmp_path, content, said):
    path = tmp_path / "interleave.json"
    path.write_bytes(content)
    found = html.found(tmp_path)
    assert found.proofs == []
    (complaint,) = found.complaints
    assert complaint.startswith(f"{path}: {said}")
    assert complaint.endswith("; it is left out")


# The page.


def test_where_there_is_none_the_page_says_which_command_makes_it():
    text = text_of(rendered())
    for name in ("interleave", "coherence"):
        assert f"farm prove {name} --output DIR makes this; then farm report DIR shows it here" in text


def test_the_grid_has_a_square_for_each_guest_with_what_was_found():
    guests = (
        ARM64,
        Guest("arm64", "pad", "zig", None, 1),
        Guest("sparc64", "stub", "gcc", "it cannot be followed", 0),
    )
    elsewhere = msgspec.structs.replace(PROVED, guest="arm64/pad/zig")
    made = document(
        PROVED, PROVED, REFUTED, UNEXPLORED, mutant(Finding.REFUTED), mutant(Finding.HARMLESS), elsewhere, guests=guests
    )
    head, arm64, sparc64 = rows(re.search(r"<table.*?</table>", view(made), re.DOTALL)[0])
    assert head == ["variant", "stub", "pad"]
    assert arm64[1:] == ["2✓ 1✗ 1○ mutants: 1 refuted, 1 harmless 1,234 points", "1✓ 1 point"]
    assert sparc64 == ["sparc64 gcc", "–", ""]
    assert re.findall(r'<div class="square (\w+)"', view(made)) == ["fail", "pass", "hole"]
    assert "it cannot be followed sparc64/stub/gcc" in text_of(view(made).encode())


def test_the_first_screen_says_that_something_is_refuted():
    def first_screen(*documents):
        return re.search(r'<section id="overview".*?</section>', rendered(*documents).decode(), re.DOTALL)[0]

    said = text_of(first_screen(document(REFUTED, REFUTED, mutant(Finding.REFUTED))).encode())
    assert "farm prove interleave has refuted what is claimed of the guests, 2 times : no engine" in said
    assert "has refuted" not in first_screen(document(PROVED, mutant(Finding.REFUTED)))


def test_a_counterexample_is_a_picture_of_two_columns_a_row_a_step():
    part = re.search(r'<table class="trace story">.*?</table>', view(document(REFUTED)), re.DOTALL)[0]
    assert rows(part) == [
        ["", "CPU A patches", "CPU B calls"],
        ["1", STORY[0].text.replace("`", ""), ""],
        ["2", "", STORY[1].text.replace("`", "")],
        ["3", "", STORY[2].text],
    ]
    assert re.findall(r'<tr class="end"><td class="n">(\d)', part) == ["3"]
    assert "<code>jmp 0x1003a10</code>" in part
    assert "&lt;whatever_0&gt;" in part
    assert REFUTED.reproduce in text_of(view(document(REFUTED)).encode())


def test_who_calls_on_the_cpu_that_patches_is_an_interrupt_there():
    same = msgspec.structs.replace(REFUTED, reader=Reader.SAME.value)
    assert '<th scope="col">an interrupt calls</th>' in view(document(same))
    assert [same.doer(step.cpu) for step in STORY] == ["CPU A", "an interrupt", "an interrupt"]


def test_one_counterexample_of_each_guest_comes_first_and_what_is_left_out_is_said():
    other = Guest("mips32", "stub", "zig", None, 1)
    late = msgspec.structs.replace(REFUTED, guest=other.name)
    made = document(*[REFUTED] * 150, late, guests=(ARM64, other))
    page = proof_page.page(made)
    assert [picture["name"] for picture in page["pictures"]][:2] == [REFUTED.name, late.name]
    assert [picture["open"] for picture in page["pictures"]].count(True) == 3
    assert len(page["pictures"]) == 100
    assert "and 51 more in interleave.json" in text_of(view(made).encode())


def test_mutants_are_counted_by_kind_and_folded_away():
    made = document(
        mutant(Finding.REFUTED, why="stale"),
        mutant(Finding.REFUTED, Mutation.LEFT_OUT, story=STORY),
        mutant(Finding.HARMLESS, Mutation.LEFT_OUT, "fetches are coherent", source="Manual 1.2"),
        mutant(Finding.UNEXPLORED, Mutation.SWAPPED, "there are too many orders"),
        what=What.COHERENCE,
    )
    folded = re.search(r"<details.*</details>", view(made), re.DOTALL)[0]
    assert "<summary>4 mutants: 2 refuted, 1 harmless, 1 unexplored</summary>" in folded
    assert not re.search(r"<details[^>]* open", folded)
    assert rows(folded) == [
        ["a step is", "refuted", "harmless", "unexplored"],
        ["left out", "1", "1", "0"],
        ["swapped with what comes next", "0", "0", "1"],
        ["stored in two halves", "1", "0", "0"],
        ["mutants", "reason", "where"],
        ["1", "fetches are coherent (Manual 1.2)", NAME],
    ]
    assert "story" not in folded.partition("tells each")[0]  # a mutant that is refuted is as it should be


def test_what_was_not_explored_and_what_is_relied_on_is_counted_with_where():
    relying = msgspec.structs.replace(PROVED, relied_on=("Linux",))
    found = rows(view(document(UNEXPLORED, UNEXPLORED, relying)))
    assert found[2:] == [
        ["proofs", "reason", "where"],
        ["2", "there are too many points", NAME],
        ["proofs", "system", "where"],
        ["1", "Linux", NAME],
    ]


hostile = st.text(max_size=30) | st.sampled_from(HOSTILE)


@settings(max_examples=20)
@given(texts=st.tuples(*[hostile] * 6))
def test_no_name_in_a_proof_changes_the_page(texts):
    def made(variant, mechanism, why, source, told, command):
        guest = Guest(variant, mechanism, "zig", why, 1)
        bad = msgspec.structs.replace(
            REFUTED, guest=guest.name, why=why, source=source, story=(Line("A", told),), reproduce=command,
            call=mechanism, relied_on=(source,),
        )  # fmt: skip
        harmless = mutant(Finding.HARMLESS, why=why, guest=guest.name)
        return rendered(document(bad, harmless, guests=(guest,)))

    shown = [text.replace("`", "'").replace("-", "_") + "x" for text in texts]  # both divide what is shown
    assert Shape(made(*shown)).found == Shape(made(*"abcdef")).found
