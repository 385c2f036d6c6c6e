"""The assembler of litmus tests, held against clang's and against what capstone says that an instruction reads."""

from __future__ import annotations

import subprocess
import sys

import capstone
import pytest
from elftools.elf.elffile import ELFFile

from farm.prove.litmus.assemble import MNEMONICS, assemble, decoded
from farm.prove.litmus.forms import CONDITIONS, FormError

#: Every mnemonic, with every form of operands and both edges of what they hold.
FORMS = """
MOV W1,#0 | MOV W1,#65535 | MOV X1,#65536 | MOV X1,#-1 | MOV W1,#-65536 | MOV X1,#0xff00ff00ff00ff
MOV X1,#0x123400000000 | MOV W9,#0xffff0000 | MOV X1,X2 | MOV WZR,W2
MOVZ X1,#5,LSL #32 | MOVZ W1,#5 | MOVN W1,#1 | MOVN X1,#2,LSL #48 | MOVK X1,#3 | MOVK X1,#3,LSL #16
ADD W1,W2,#7 | ADD X1,X2,#4095 | ADD X1,X2,#1,LSL #12 | ADD X1,X2,#0x5000 | ADD X1,X2,X3 | ADD X1,X2,X3,LSL #63
ADD W1,W2,W3,ASR #31 | ADD X1,X1,W4,SXTW | ADD X1,X2,W4,UXTB #4 | ADD W1,W2,W4,SXTH #2 | ADD X1,X2,X4,SXTX #1
ADDS W1,W2,#1 | ADDS X1,X2,X3 | SUB X1,X2,X3 | SUB W1,W2,#3 | SUBS W1,W2,W3,LSR #3 | SUBS XZR,X1,W2,UXTW
AND W1,W2,#255 | AND X1,X2,#0xf0f0f0f0f0f0f0f0 | AND W1,W2,#-2 | AND W1,W2,W3,ROR #7 | ANDS X1,X2,X3
ANDS W1,W2,#1 | ORR W1,W2,W3 | ORR X1,X2,#1 | EOR W1,W2,W2 | EOR W1,W2,#1 | BIC W1,W2,W3 | BICS X1,X2,X3,LSL #2
ORN X1,X2,X3 | EON W1,W2,W3
CMP W1,#1 | CMP X1,X2 | CMP X1,X2,LSL #3 | CMP X1,W2,SXTW | CMN W1,#1 | CMN X1,X2 | TST W1,#1 | TST X1,X2
NEG W1,W2 | NEG X1,X2,LSL #2 | NEGS W1,W2 | MVN X1,X2 | MVN W1,W2,LSL #3
LSL W1,W2,#0 | LSL W1,W2,#5 | LSL X1,X2,#63 | LSL X1,X2,X3 | LSR W1,W2,#5 | LSR X1,X2,#5 | LSR W1,W2,W3
ASR W1,W2,#31 | ASR X1,X2,#1 | ASR X1,X2,X3 | ROR W1,W2,#3 | ROR X1,X2,#60 | ROR W1,W2,W3 | SXTW X1,W2
CSEL X1,X2,X3,EQ | CSEL W1,WZR,WZR,NE | CSINC W1,W2,W3,LT | CSINV X1,X2,X3,HI | CSNEG W1,W2,W3,VC | CSET W1,NE
CSET X1,EQ | CSETM W1,GE | CINC W1,W2,EQ | CINV X1,X2,CS | CNEG W1,W2,HS
LDR W1,[X2] | LDR X1,[X2,#8] | LDR X1,[X2,#32760] | LDR W1,[X2,W3,SXTW] | LDR W1,[X2,W3,SXTW #2]
LDR X1,[X2,X3] | LDR X1,[X2,X3,LSL #3] | LDR W1,[X2,W3,UXTW] | LDR X1,[X2,X3,SXTX] | STR W1,[X2] | STR WZR,[X2]
STR X1,[X2,#16] | STR W1,[X2,W3,SXTW] | STR X1,[X2,X3,LSL #3]
LDUR W1,[X2,#-4] | LDUR X1,[X2] | STUR W1,[X2,#255] | STUR X1,[X2,#-256] | LDAR W1,[X2] | LDAR X1,[X2]
LDAPR W1,[X2] | LDAPR X1,[X2] | STLR W1,[X2] | STLR X1,[X2]
DMB SY | DMB ST | DMB LD | DMB ISH | DMB ISHST | DMB ISHLD | DMB OSH | DMB OSHST | DMB OSHLD | DSB SY | DSB ST
DSB LD | DSB ISH | DSB ISHST | DSB ISHLD | DSB OSH | DSB OSHST | DSB OSHLD | ISB | ISB SY
DC CVAU,X3 | IC IVAU,X3 | IC IALLU | IC IALLUIS | NOP | ERET | UDF #5 | UDF #0 | BR X4 | BLR X4 | RET | RET X1
MSR ELR_EL1,X9 | MSR ELR_EL1,XZR | MRS X9,ELR_EL1
B .+8 | B .-4 | B there | BL .-4 | BL there | CBZ W1,there | CBNZ X1,there | TBZ W1,#3,there | TBNZ X1,#63,there
TBZ X1,#3,there | ADR X1,there | ADR X1,.+4
"""
TEXTS = [form.strip() for line in FORMS.strip().splitlines() for form in line.split("|")]
TEXTS += [f"B.{condition} there" for condition in CONDITIONS]
THERE = 4 * len(TEXTS)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """What clang makes of each form, in one call."""
    source, made = (tmp_path_factory.mktemp("forms") / name for name in ("forms.s", "forms.o"))
    source.write_text("\n".join((".arch armv8.4-a", *TEXTS, "there:", "")))
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-freestanding", "-c", "-o", made, source]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with made.open("rb") as file:
        code = ELFFile(file).get_section_by_name(".text").data()
    assert len(code) == THERE
    return dict(zip(TEXTS, (int.from_bytes(code[at : at + 4], "little") for at in range(0, THERE, 4)), strict=True))


def ours(text):
    return assemble(text, 4 * TEXTS.index(text), {"there": THERE})


def test_every_form_is_what_clang_makes_of_it(words):
    assert {text: hex(ours(text).word) for text in TEXTS} == {text: hex(word) for text, word in words.items()}


def test_no_mnemonic_is_without_a_form():
    assert set(MNEMONICS) == {text.split()[0] for text in TEXTS if not text.startswith("B.")}


def test_what_a_form_reads_and_writes_is_what_a_decoder_says():
    decoder = capstone.Cs(capstone.CS_ARCH_AARCH64, capstone.CS_MODE_LITTLE_ENDIAN)
    decoder.detail = True

    def told(text):
        (found,) = decoder.disasm(ours(text).word.to_bytes(4, "little"), 0)
        read, written = ({decoder.reg_name(one) for one in each} for each in found.regs_access())
        numbers = [
            {{"fp": 29, "lr": 30}.get(name) or int(name[1:]) for name in each if name not in ("wzr", "xzr", "nzcv")}
            for each in (read, written)
        ]
        return *numbers, "nzcv" in read, "nzcv" in written

    def said(text):
        one = ours(text)
        return set(one.reads) - {31}, {one.writes} - {None}, one.flags, one.sets_flags

    assert {text: said(text) for text in TEXTS} == {text: told(text) for text in TEXTS}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("LDRB W1,[X2]", "no instruction that is read"),
        ("LDXR W1,[X2]", "no instruction that is read"),
        ("STR W1,[X2],#4", "STR has 2 operands here"),
        ("LDR W1,[X2,#8]!", "no place that is read"),
        ("LDR W1,[X2,#3]", "no place that is read"),
        ("LDR W1,[X2,W3,SXTW #3]", "no place that is read"),
        ("STLR W1,[X2,#4]", "no place that is read"),
        ("MOV X1,#0x12345", "no immediate of this instruction"),
        ("MOV W1,#0x100000000", "is not from"),
        ("AND W1,W2,#0", "no immediate of this instruction"),
        ("ADD W1,X2,W3", "registers of two widths"),
        ("ADD X1,X2,X3,SXTW", "an extension is of a W register"),
        ("ADD X1,X2,X3,ROR #1", "ADD has no ROR"),
        ("ADD SP,X2,#1", "`SP` is no register that is read"),
        ("CSEL X1,X2,X3,AL", "`AL` is no condition"),
        ("TBZ W1,#32,.+8", "32 is not from 0 to 31"),
        ("B nowhere", "no label `nowhere`"),
        ("TBZ W1,#1,.+32768", "is not in reach"),
        ("DC ZVA,X1", "is none of DC CVAU"),
        ("DSB NSH", "`NSH` is no domain that is read"),
        ("MRS X1,NZCV", "no system register that is read"),
    ],
)
def test_what_is_no_form_is_refused_with_the_reason(text, said):
    with pytest.raises(FormError, match=said.replace("`", ".")):
        assemble(text)


def test_an_instruction_is_shown_in_capitals_with_a_distance():
    shown = {
        "b  there": "B .+8",
        "B .+ 8": "B .+8",
        "adr x3, there": "ADR X3,.+8",
        "mov W6, w4": "MOV W6,W4",
        "ldr w1, [x2, #4]": "LDR W1,[X2,#4]",
        "ADD X1, X2, W3, sxtw  #2": "ADD X1,X2,W3,SXTW #2",
        "dc cvau, x1": "DC CVAU,X1",
        "nop": "NOP",
    }
    assert {text: assemble(text, 0, {"there": 8}).shown for text in shown} == shown
    assert decoded(0x14000003).shown == "B .+12"
