"""Every architecture's own encoders, asked about every bit and both edges of each displacement (RP-03).

They answer in a guest of QEMU (encoders.c): with the word that an encoder makes, or that it does not reach.  Where the
word leads is read by the disassembler.  What is in reach follows from the displacement's width, of which ``arch.toml``
has one for each form of call site; test_call_sites.py asks the disassembler about those.  What must never happen is a
displacement that is cut off in silence.
"""

from __future__ import annotations

import functools
import re
import struct
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from farm.engines.qemu_user import QEMU_USER, bare
from farm.errors import MissingToolError
from farm.guest import arch_toml, build, call_sites, disassemble, mechanisms
from farm.guest.image import Spec
from farm.guest.toolchain import TOOLCHAINS
from farm.guest.variant import CallSiteForm, Opcode
from farm.scenario import Call, Defect, Scenario, Shape, wire

VARIANTS = list(arch_toml.load().values())
FORMS = [
    pytest.param(variant, form, id=f"{variant.name}-{form.instruction}")
    for variant in VARIANTS
    for form in variant.call_site
    if form.store != "never"
]

#: The jump of a stub is as the first form of call site, but: alpha has none, and sh's is no instruction but a literal.
ANY = {"relocations": (), "opcode": Opcode(mask=0, value=0)}
ALPHA_BR = CallSiteForm(instruction="br", displacement="20:0", scale=4, base=4, **ANY)
SH_LITERAL = CallSiteForm(instruction="literal", displacement="31:0", region=1 << 32, **ANY)
JUMPS = {variant.name: next(iter(variant.call_site), None) for variant in VARIANTS}
JUMPS |= {"alpha": ALPHA_BR, "sh4": SH_LITERAL}


SCRATCH = (1 << 64) - 1


class Question(NamedTuple):
    """``at`` and ``to`` as C has them; SCRATCH is where the guest stores ``around``: its middle."""

    at: int
    to: int
    site: int = 0  #: 1: of a call site; 2: a system call
    word: int = 0
    around: bytes = bytes(16)


class Answer(NamedTuple):
    scratch: int
    target: int  #: of a stub: where the guest itself reads that the word leads
    reaches: int
    word: int
    slot_jump: int
    zero: int


@functools.cache
def built(variant):
    if hole := QEMU_USER.hole(variant):
        pytest.skip(hole.reason)
    toolchain = next(iter(variant.toolchain))
    try:
        TOOLCHAINS[toolchain].version(variant)
    except MissingToolError as error:
        pytest.skip(str(error))
    mechanism = "stub" if mechanisms.load()["relocated"].missing(variant) else "relocated"
    return build.image(Spec(variant, mechanism, toolchain, source=Path(__file__).with_name("encoders.c")))


def ask(variant, questions):
    order = ">" if variant.big_endian else "<"
    call = Scenario("BS-99", "ask", "", (Call(0, 0, Shape.TAIL),), frozenset({Defect.LOST_PATCH}))
    program = wire.encode(call, big_endian=variant.big_endian)
    asked = [struct.pack(f"{order}I", len(program)), program]
    asked += [struct.pack(f"{order}QQII16s", *question) for question in questions]
    command = bare(QEMU_USER.command(built(variant), variant))
    done = subprocess.run(command, input=b"".join(asked), capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    answers = [Answer(*fields) for fields in struct.iter_unpack(f"{order}QQIIII", done.stdout)]
    assert len(answers) == len(questions)
    return answers


@functools.cache
def scratch(variant):
    """Where the guest's scratch words are."""
    (answer,) = ask(variant, [Question(SCRATCH, SCRATCH)])
    return answer.scratch


def destination(variant, code, address, place):
    """Where the instruction of ``code`` that covers ``place`` leads; None if it leads nowhere."""
    arch = variant.disassembler[0]
    ahead = 4 if arch == "mips" else 0  # capstone takes the region that has the jump, the manual that of its delay slot
    decoded = disassemble.decoded(variant, code, address + ahead)
    instruction = next(i for i in decoded if i.address + len(i.data) > place + ahead)
    addresses = re.findall(r"\$[0-9a-f]+" if arch == "m68k" else "-?0x[0-9a-f]+", instruction.text)
    if not addresses:
        return None
    led = int(addresses[-1].replace("$", "0x"), 16)
    if not re.match(r"j", instruction.text):
        led -= ahead
    if arch == "sparc":  # capstone has 32 bits of it
        led = place + (led - place + (1 << 31)) % (1 << 32) - (1 << 31)
    return led % (1 << variant.bits)


def field(form):
    """The bits of the word that are displacement."""
    ends = (part.lstrip("=").partition(":") for part in form.displacement.split())
    return sum((2 << int(high)) - (1 << int(low or high)) for high, _, low in ends)


def goals(variant, form, place):
    """Where a word at ``place`` may be asked to lead, and whether it reaches that.

    Every bit of the displacement alone and all but it, both edges and a step beyond each, and between two instructions.
    """
    width, scale, space = call_sites.width(form), form.scale, 1 << variant.bits
    if form.region:
        origin = first = place + 4 & -form.region
        size = min(form.region, space)
        steps = [1 << i for i in range(width) if scale << i < size]
        steps += [size // scale - 1 - step for step in steps]
    else:
        origin, size = place + form.base, scale << width
        first = origin - size // 2
        steps = [1 << i for i in range(width - 1)]
        steps += [-1 - step for step in steps]
    asked = {origin, first, first + size - scale, *(origin + scale * step for step in steps)}
    beyond = {first - scale, first + size} if size < space else set()
    between = {to + odd for to in (origin, first, first + size - scale) for odd in range(1, scale)}
    wanted = {to % space: to in asked for to in asked | beyond | between}
    return sorted(wanted.items())


def pointer(variant, address):
    """What C has for a function that begins at ``address``."""
    return address ^ variant.function_bias


def around_edges(variant, form, place):
    """``place``, and where what is behind a jump decides about its region (its delay slot)."""
    yield place
    if form.region and form.region < 1 << variant.bits:
        edge = 3 * form.region
        yield from (edge - 8, edge - 4, edge, edge + form.region - 8, edge + form.region - 4)


#: Where nothing is: no encoder looks there.
NOWHERE = {32: 0x3579B540, 64: 0x2_468A_CD40}


@pytest.mark.parametrize(("variant", "form"), FORMS)
def test_a_call_site_gets_every_bit_and_is_refused_beyond_its_edges(variant, form):
    opcode, around = form.opcode, bytearray(16)
    beside = opcode.at < 0  # where an encoder may look
    if beside:
        around[8 + opcode.at : 8 + opcode.at + opcode.size] = opcode.value.to_bytes(opcode.size, variant.byte_order)
    own = {site.word for site in built(variant).sites if site.instruction == form.instruction and not beside}
    words = {word & ~field(form) for word in own | {0 if beside else opcode.value}}
    asked = [
        (place, to, reaches, word | old)
        for place in around_edges(variant, form, scratch(variant) if beside else NOWHERE[variant.bits])
        for to, reaches in goals(variant, form, place)
        for word in words
        for old in (0, field(form))
    ]
    questions = [
        Question(SCRATCH if beside else place, pointer(variant, to), site=True, word=word, around=bytes(around))
        for place, to, _, word in asked
    ]
    for (place, to, reaches, word), answer in zip(asked, ask(variant, questions), strict=True):
        assert bool(answer.reaches) == reaches, f"{form.instruction} at {place:#x} to {to:#x}"
        if reaches:
            assert (answer.word ^ word) & ~field(form) == 0, "link bit, condition and opcode are kept"
            code = bytes(around[8 + min(opcode.at, 0) : 8]) + answer.word.to_bytes(4, variant.byte_order)
            led = destination(variant, code, place + min(opcode.at, 0), place)
            assert led == to, f"{form.instruction} at {place:#x} to {to:#x}: {answer.word:#010x} leads to {led:#x}"


def stub_code(variant, word):
    """The bytes of a stub as linked, but with ``word``, and where in them it is."""
    guest, layout = built(variant), built(variant).stubs
    code = bytearray(guest.bytes_at(guest.functions["whatever_0"] & -variant.alignment, layout.size))
    code[layout.word : layout.word + layout.word_size] = word.to_bytes(layout.word_size, variant.byte_order)
    return bytes(code), layout.word


def check_jumps(variant, asked, answers):
    """Each of ``asked`` is where the stub is, where it is to jump to, and whether it reaches that."""
    for (at, to, reaches), answer in zip(asked, answers, strict=True):
        assert bool(answer.reaches) == reaches, f"{at:#x} to {to:#x}"
        if reaches:
            code, offset = stub_code(variant, answer.word)
            led = answer.word if variant.name == "sh4" else destination(variant, code, at, at + offset)
            assert led == to, f"{at:#x} to {to:#x}: {answer.word:#010x} leads to {led:#x}"
            assert answer.target == to, "what the guest itself reads of it"


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v.name not in ("alpha", "s390x")], ids=lambda v: v.name)
def test_a_stub_gets_every_bit_and_is_refused_beyond_its_edges(variant):
    form, offset = JUMPS[variant.name], built(variant).stubs.word
    asked = [
        (place - offset, to, reaches)
        for place in around_edges(variant, form, NOWHERE[variant.bits] + offset)
        for to, reaches in goals(variant, form, place)
    ]
    check_jumps(variant, asked, ask(variant, [Question(at, pointer(variant, to)) for at, to, _ in asked]))
    reach = form.region if variant.name.startswith("mips") else form.scale << call_sites.width(form) - 1
    assert variant.branch_range in (reach, None), "as arch.toml has it"


def test_a_stub_of_alpha_gets_every_bit_and_is_refused_beyond_its_edges():
    """What lies at the target decides too, so the target stays and the stub moves."""
    variant = arch_toml.load()["alpha"]
    to = scratch(variant)
    asked = [(to - (goal - to), to, reaches) for goal, reaches in goals(variant, ALPHA_BR, to)]
    check_jumps(variant, asked, ask(variant, [Question(at, SCRATCH) for at, _, _ in asked]))
    gp = struct.pack("<8xI4x", 0x27BB0001)  # ldah $29, 1($27)
    (needs_pv,) = ask(variant, [Question(to - 64, SCRATCH, around=gp)])
    assert not needs_pv.reaches, "what begins by reading the procedure value must be entered with it"


def test_a_stub_of_s390x_reaches_the_target_that_was_linked_and_nothing_else():
    """Its displacement never changes: the encoder reads it in the code."""
    variant = arch_toml.load()["s390x"]
    at, asked = scratch(variant), []
    for displacement in {0, -1 << 31, *(sign << i for i in range(31) for sign in (1, -1)), (1 << 31) - 1}:
        around = struct.pack(">8x2xi2x", displacement)
        linked = at + 2 * displacement
        asked += [
            (around, displacement, to, to == linked) for to in (linked, linked + 1, linked - 2, linked + (1 << 32))
        ]
    questions = [Question(SCRATCH, to % (1 << 64), around=around) for around, _, to, _ in asked]
    for (_, displacement, to, reaches), answer in zip(asked, ask(variant, questions), strict=True):
        assert bool(answer.reaches) == reaches, f"{to:#x} from {at:#x}, linked by {displacement:#x} halfwords"
        if reaches:
            assert answer.target == to % (1 << 64)
            assert stub_code(variant, answer.word)[0].startswith(b"\xc0\xf4"), "brcl 15"


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_the_way_to_the_slot_is_in_the_stub_itself_wherever_it_lies(variant):
    layout = built(variant).stubs
    if not layout.slot:
        assert variant.branch_range is None, "a jump that reaches every address needs no slot"
        return
    places = [NOWHERE[variant.bits] + offset for offset in (0, 0x40, 0x1000, 0x123440)]
    answers = ask(variant, [Question(SCRATCH if variant.name == "s390x" else at, SCRATCH) for at in places])
    for at, answer in zip(places, answers, strict=True):
        code, offset = stub_code(variant, answer.slot_jump)
        led = destination(variant, code, at, at + offset)
        if led is not None and variant.name != "s390x":
            assert at + offset < led < at + layout.slot, "a jump within the stub"
        assert answer.slot_jump == answers[0].slot_jump


#: Numbers of futex(2), where it is not 98 as in Linux's generic table.
FUTEX = {"alpha": 394, "arm": 240, "m68k": 235, "parisc": 210, "powerpc": 221, "s390": 238, "sh": 240, "sparc": 142}
FUTEX |= {"mips32": 4238, "mips32el": 4238, "mips64": 5194, "mips64el": 5194, "riscv32": 422}
FUTEX |= {"i386": 240, "x86_64": 202}


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_system_call_gets_each_of_six_arguments(variant):
    number = FUTEX.get(variant.name, FUTEX.get(variant.architecture, 98))
    right, *wrong = ask(variant, [Question(argument, 0, 2, number) for argument in range(7)])
    assert right.reaches
    assert not [number for number, answer in enumerate(wrong, 1) if answer.reaches]
