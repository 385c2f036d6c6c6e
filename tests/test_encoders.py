"""Every architecture's own encoders, asked about every bit and both edges of each displacement (RP-03).

What is asked is in farm/prove/encoders.py; test_call_sites.py asks the disassembler about the forms themselves.
"""

from __future__ import annotations

import functools

import pytest

from farm.engines.qemu_user import QEMU_USER
from farm.errors import MissingToolError
from farm.guest import arch_toml, build, call_sites
from farm.guest.toolchain import TOOLCHAINS
from farm.prove.encoders import Encoders, Question, forms, spec_of

VARIANTS = list(arch_toml.load().values())
FORMS = [
    pytest.param(variant, form, id=f"{variant.name}-{form.instruction}")
    for variant in VARIANTS
    for form in forms(variant)
]


@functools.cache
def encoders(variant):
    if hole := QEMU_USER.hole(variant):
        pytest.skip(hole.reason)
    toolchain = next(iter(variant.toolchain))
    try:
        TOOLCHAINS[toolchain].version(variant)
    except MissingToolError as error:
        pytest.skip(str(error))
    return Encoders(variant, build.image(spec_of(variant, toolchain)))


@pytest.mark.parametrize(("variant", "form"), FORMS)
def test_a_call_site_gets_every_bit_and_is_refused_beyond_its_edges(variant, form):
    assert list(encoders(variant).of_call_sites(form)) == []


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_stub_gets_every_bit_and_is_refused_beyond_its_edges(variant):
    assert list(encoders(variant).of_stubs()) == []


@pytest.mark.parametrize(
    "variant", [v for v in VARIANTS if v.name not in ("alpha", "s390x", "sh4")], ids=lambda v: v.name
)
def test_the_reach_of_a_stub_is_that_of_its_jump(variant):
    form = encoders(variant).form()
    reach = form.region if variant.architecture == "mips" else form.scale << call_sites.width(form) - 1
    assert variant.branch_range in (reach, None), "as arch.toml has it"
    assert bool(encoders(variant).image.stubs.slot) or variant.branch_range is None, (
        "what reaches everything needs none"
    )


@pytest.mark.parametrize("name", ["ppc64", "ppc64le"])
def test_a_jump_enters_behind_what_makes_a_toc_pointer_and_only_there(name, monkeypatch):
    asked = encoders(next(variant for variant in VARIANTS if variant.name == name))
    assert list(asked.of_local_entries()) == []
    answers = asked.ask
    monkeypatch.setattr(
        asked, "ask", lambda questions: [answer._replace(target=answer.target + 8) for answer in answers(questions)]
    )
    assert (
        list(asked.of_local_entries())[-1] == "what begins with 60000000 60000000 is entered 8 bytes behind, and not 0"
    )


#: Numbers of futex(2), where it is not 98 as in Linux's generic table.
FUTEX = {"alpha": 394, "arm": 240, "m68k": 235, "parisc": 210, "powerpc": 221, "s390": 238, "sh": 240, "sparc": 142}
FUTEX |= {"mips32": 4238, "mips32el": 4238, "mips64": 5194, "mips64el": 5194, "riscv32": 422}
FUTEX |= {"i386": 240, "x86_64": 202}


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_system_call_gets_each_of_six_arguments(variant):
    number = FUTEX.get(variant.name, FUTEX.get(variant.architecture, 98))
    right, *wrong = encoders(variant).ask([Question(argument, 0, 2, number) for argument in range(7)])
    assert right.reaches
    assert not [number for number, answer in enumerate(wrong, 1) if answer.reaches]
