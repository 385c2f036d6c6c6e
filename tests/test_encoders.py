"""Every architecture's own encoder, run in its guest at and beyond the edges of its reach (RP-03).

A guest is built whose target for ``whatever_0`` answers questions from a table: does a jump at ``at`` reach ``to``,
with which word, and where does that word lead?  What must never happen is a displacement that is cut off in silence.
"""

from __future__ import annotations

import pytest

from farm.engines.unicorn.machine import Machine
from farm.guest import arch_toml, call_sites, image
from farm.guest.image import Spec
from farm.scenario import Call, Defect, Scenario, Shape, wire

VARIANTS = [
    variant
    for variant in arch_toml.load().values()
    if isinstance(variant.engine.get("unicorn"), arch_toml.UnicornSettings) and not variant.engine["unicorn"].since
]
STUBS = [variant for variant in VARIANTS if not variant.supports("stub")]
#: But m68k, whose encoder looks at the opcode in front of the word, and there is none at the edges of nowhere.
SITES = [variant for variant in VARIANTS if not variant.supports("relocated") and variant.name != "m68k"]

QUESTIONS = """
#include "patch.h"
#include "patchfarm.h"

static const struct question {{
    uintptr_t at;
    uint32_t word;
    uintptr_t to;
}} questions[] = {{{table}}};

/* 0 stands for this guest's own stub, and for its default target. */
static uintptr_t place(const struct question *q) {{ return q->at ? q->at : ARCH_CODE(function_addresses[0]); }}
static uintptr_t goal(const struct question *q)
{{
    return q->to ? q->to : arch_entry(target_addresses[0][TARGET_DEFAULT]);
}}

/* x: a question's number, and which answer of it. */
TARGET(default, 0)
{{
    const struct question *q = &questions[x >> 2];
    uintptr_t reached = place(q);
    bool reaches = {reaches};
    if ((x & 3) == 0)
        return reaches;
    if (!reaches)
        return 0;
    if ((x & 3) == 1)
        return (uint32_t){word};
    reached = {target};
    return (uint32_t)((x & 3) == 2 ? reached : (uint64_t)reached >> 32);
}}
"""
SITE = {
    "reaches": "arch_site_reaches(q->at, q->word, goal(q))",
    "word": "arch_site_jump(q->at, q->word, goal(q))",
    "target": "goal(q)",
}
STUB = {
    "reaches": "arch_reaches(place(q), goal(q))",
    "word": "arch_jump(place(q), goal(q))",
    "target": "arch_jump_target(place(q), arch_jump(place(q), goal(q)))",
}


class Answers:
    """What the encoder of a variant says to a list of questions (at, word, to); to is where code begins."""

    def __init__(self, variant, tmp_path, questions, expressions):
        source = tmp_path / "questions.c"
        bias = variant.function_bias
        table = ", ".join(f"{{{at:#x}u, {word:#x}u, {to and to | bias:#x}u}}" for at, word, to in questions)
        source.write_text(QUESTIONS.format(table=table, **expressions), encoding="utf-8")
        mechanism = "relocated" if expressions is SITE else "stub"
        built = image.build(Spec(variant, mechanism, next(iter(variant.toolchain)), source=source))
        self.stub = built.functions["whatever_0"] & -variant.alignment
        self.machine = Machine(built, variant.engine["unicorn"])
        self.variant = variant

    def ask(self, number, answer):
        asked = Scenario(
            "BS-99", "ask", "", (Call(0, number << 2 | answer, Shape.TAIL),), frozenset({Defect.LOST_PATCH})
        )
        self.machine.reset()
        big = self.variant.big_endian
        trace = self.machine.run(wire.encode(asked, big_endian=big))
        return wire.decode_events(trace, 2, big_endian=big)[-1].value

    def target(self, number):
        return self.ask(number, 2) | self.ask(number, 3) << 32


def edges(reach, unit):
    """Displacements around 0, and around either edge."""
    for edge in (-reach, 0, reach):
        yield from (edge + i * unit for i in range(-12, 13))


@pytest.mark.parametrize("variant", STUBS, ids=lambda variant: variant.name)
def test_a_stub_reaches_up_to_its_edges_and_never_cuts_a_displacement_off(variant, tmp_path):
    plain = image.build(Spec(variant, "stub", next(iter(variant.toolchain))))
    stub = plain.functions["whatever_0"] & -variant.alignment
    reach, space = variant.branch_range or 1 << 27, 1 << variant.bits
    unit = max(variant.alignment, 2)
    targets = [0, *(stub + d for d in edges(reach, unit) if 0 <= stub + d < space)]
    answers = Answers(variant, tmp_path, [(0, 0, to) for to in targets], STUB)
    said = [bool(answers.ask(i, 0)) for i in range(len(targets))]
    assert said[0], "the default, as linked"
    for i, to in list(enumerate(targets))[1:]:
        if said[i]:
            assert answers.target(i) == to, f"{to - stub:#x} from the stub"
        if variant.branch_range and abs(to - stub) > reach + 12 * unit:
            assert not said[i]
    if not variant.branch_range:
        assert all(said), "it reaches everything"


#: Those whose jump stays within an aligned region: that of the instruction behind it, which is its delay slot (MIPS
#: Architecture For Programmers, Volume II-A, "J").
REGIONS = [variant for variant in SITES if any(form.region for form in variant.call_site)]


@pytest.mark.parametrize("expressions", [STUB, SITE], ids=["stub", "site"])
@pytest.mark.parametrize("variant", REGIONS, ids=lambda variant: variant.name)
def test_a_jump_takes_the_region_of_its_delay_slot(variant, expressions, tmp_path):
    (form,) = (form for form in variant.call_site if form.region)
    edge, jump = 3 * form.region, form.opcode.value
    places = [edge - 8, edge - 4, edge, edge + form.region - 8, edge + form.region - 4]
    goals = [edge - form.region, edge - 4, edge, edge + form.region - 4, edge + form.region]
    questions = [(at, jump, to) for at in places for to in goals]
    answers = Answers(variant, tmp_path, questions, expressions)
    for i, (at, _, to) in enumerate(questions):
        reaches = to in range(at + 4 & -form.region, (at + 4 & -form.region) + form.region)
        assert bool(answers.ask(i, 0)) == reaches, f"{to:#x} from {at:#x}"
        if reaches:
            assert call_sites.leads_to(form, at, answers.ask(i, 1), variant.bits) == to
            assert answers.target(i) == to


@pytest.mark.parametrize("variant", SITES, ids=lambda variant: variant.name)
def test_a_call_site_reaches_up_to_its_edges_and_keeps_what_is_not_displacement(variant, tmp_path):
    questions = []
    space = 1 << variant.bits
    for form in variant.call_site:
        if form.store == "never":
            continue
        reach = form.region or form.scale << call_sites.width(form) - 1
        at = (space >> 1) + 0x100000 if variant.bits == 32 else 0x8_0010_0000
        word = form.opcode.value if form.opcode.at == 0 and form.opcode.size == 4 else 0
        questions += [(form, at, word, at + d) for d in edges(reach, form.scale * 2) if 0 <= at + d < space]
    answers = Answers(variant, tmp_path, [question[1:] for question in questions], SITE)
    reached = set()
    for i, (form, at, word, to) in enumerate(questions):
        if not answers.ask(i, 0):
            assert to - at not in range(-form.scale, form.scale + 1) or form.region, "a site reaches what is beside it"
            continue
        made = answers.ask(i, 1)
        assert call_sites.leads_to(form, at, made, variant.bits) == to, f"{form.instruction} by {to - at:#x}"
        if word:
            assert made & form.opcode.mask == word & form.opcode.mask, "link bit, condition and opcode are kept"
        reached.add((form.instruction, to > at))
    assert reached == {
        (form.instruction, side) for form in variant.call_site if form.store != "never" for side in (True, False)
    }
