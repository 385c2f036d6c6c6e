"""What litmus files say and how: their format is read as herd reads it, and states are shown as herd shows them."""

from __future__ import annotations

import pytest

from farm.errors import UsageError
from farm.prove.litmus import judge as judges
from farm.prove.litmus.child import Question, judge

#: One thread that counts, so that a final state is known.
COUNTS = """AArch64 counts
{ 0:X1=x; 0:X2=y; }
P0 ;
MOV W0,#1 ;
STR W0,[X1] ;
MOV W3,#2 ;
STR W3,[X2] ;
"""


def told(text, **options):
    """What comes of a text."""
    return judge(Question("t.litmus", text, **options))


def states(text, **options):
    one = told(text, **options)
    assert not one.error
    return one.states


@pytest.mark.parametrize(
    ("condition", "verdict"),
    [
        ("exists 0:X0=1 /\\ x=1", "Allowed"),
        ("exists (0:X0=1 /\\ [x]=1)", "Allowed"),
        ("exists 0:x0==1;", "Allowed"),
        ("exists (P0:W0=1)", "Allowed"),
        ("(0:X0=1)", "Allowed"),
        ("final 0:X0=0", "Forbidden"),
        ("~ exists 0:X0=1", "Allowed"),
        ("~exists ~(0:X0=1)", "Forbidden"),
        ("exists not 0:X0=0", "Allowed"),
        ("exists 0:X0!=1 \\/ 0:X0<>1", "Forbidden"),
        ("exists 0:X0=0 /\\ x=0 \\/ x=1", "Allowed"),
        ("exists x=1 \\/ 0:X0=0 /\\ x=0", "Allowed"),
        ("exists x=1 => x=0", "Forbidden"),
        ("exists x=0 => x=0 /\\ x=1", "Allowed"),
        ("forall true", "Required"),
        ("exists false", "Forbidden"),
        ("exists 0:X0=[x] /\\ x=0:X0", "Allowed"),
        ("exists 0:X0=[y]", "Forbidden"),
        ("exists 0:X1=x /\\ 0:X2=y", "Allowed"),
        ("exists z=0", "Allowed"),
        ("filter x=2 exists true", "Forbidden"),
        ("filter x=1 forall x=1", "Required"),
        ("exists (* (* nested *) *) x=1 (* behind *)", "Allowed"),
        ("exists fault(P0) \\/ Fault(P0,UndefinedInstruction)", "Forbidden"),
    ],
)
def test_a_condition_is_read_as_herd_reads_it(condition, verdict):
    one = told(COUNTS + condition)
    assert (one.error, one.verdict) == ("", verdict)


def test_locations_are_shown_and_a_filter_is_not():
    text = COUNTS + "locations [y; 0:X3; [x]; 0:X0 int*;] filter 0:X1=x exists 0:X2=y"
    assert states(text) == ["0:X0=1; 0:X2=y; 0:X3=2; [x]=1; [y]=2;"]


def test_a_filter_leaves_states_out():
    racing = "AArch64 t\n{ 0:X1=x; 1:X1=x; }\nP0 | P1 ;\nMOV W0,#1 | LDR W2,[X1] ;\nSTR W0,[X1] | ;\n"
    assert states(racing + "exists 1:X2=1") == ["1:X2=0;", "1:X2=1;"]
    assert states(racing + "filter ~1:X2=1 exists x=1") == ["[x]=1;"]


def test_without_a_condition_every_state_is_as_required():
    one = told(COUNTS)
    assert (one.verdict, one.states) == ("Required", [""])


def test_values_are_shown_as_herd_shows_them():
    text = """AArch64 values
    { ins_t 0:X1=instr:"BL .+8"; 0:X2=P0:here; 0:X3=x; 0:X4=-2; 0:X5=0x10; ins_t 0:X7; 0:X8=NOP; }
    P0 ;
    here: there: B onward ;
    onward: LDR W6,[X2] ;
    BL last ;
    last: ADR X9,onward ;
    LDR W7,[X9] ;
    locations [0:X1;0:X2;0:X3;0:X4;0:X5;0:X6;0:X7;0:X8;0:X30;]
    """
    (state,) = states(text)
    assert state.split("; ") == [
        '0:X1=instr:"BL .+8"', '0:X2=label:"P0:here"', "0:X3=x", "0:X4=-2", "0:X5=16", '0:X6=instr:"B .+4"',
        '0:X7=instr:"LDR W6,[X2]"', "0:X8=NOP", '0:X30=label:"P0:last";',
    ]  # fmt: skip


def test_an_address_of_code_without_a_label_is_shown_by_its_distance():
    text = "AArch64 t\n{ }\nP0 ;\nBL over ;\nMOV W0,#1 ;\nover: ;\nlocations [0:X30;]"
    assert states(text) == ["0:X30=P0+0x4;"]


def test_an_address_within_a_location_is_shown_by_its_distance():
    assert states("AArch64 t\n{ 0:X1=x; }\nP0 ;\nADD X2,X1,#4 ;\nlocations [0:X2;]") == ["0:X2=x+4;"]


def test_declarations_with_and_without_a_value_are_read():
    text = """AArch64 declared
    { uint64_t x=3; int y = 4; void *0:X1=x; _Atomic int z; int *0:X2=&y; ins_t *1:X1; 1:X1=z; 0:X9; [w]=5; P1:X2=w;
      pte_x=(oa:phy_x) }
    P0 | P1 ;
    LDR W3,[X1] | LDR W3,[X2] ;
    LDR W4,[X2] | ;
    forall (0:X3=3 /\\ 0:X4=4 /\\ 1:X3=5 /\\ 0:X9=0 /\\ 1:X1=z)
    """
    assert told(text).verdict == "Required"


def test_rows_with_comments_labels_alone_and_a_label_at_the_end_are_read():
    text = """AArch64 rows (* of
    several *)
    "a cycle, in quotes"
    Com=Rf Fr
    { 0:X1=P0:end; (* one *) 0:X3=label:"P1:end"; }
      P0       | P1 ; (* heads *)
     a:b: NOP  |    ;
     c:        |    ; (* nothing there *)
     (* here *)|    ;
       BR X1   | MOV W2 , #1 ; (* and here *)
       UDF #0  |    ;
     end:      | end: ;
    forall (1:X2=1 /\\ ~fault(P0))
    """
    assert (told(text).error, told(text).verdict) == ("", "Required")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (COUNTS + "exists\nx=1 /\\\nx", "t.litmus:10: the condition ends early"),
        (COUNTS + "exists x=1 x=2", "t.litmus:8: `x` follows the condition"),
        (COUNTS + "exists fault(P0,MMU:Permission)", "is no fault that is read"),
        (COUNTS + "exists fault(P0:nowhere)", "P0 has no label nowhere"),
        (COUNTS + "exists 0:X0 /\\ x=1", "compared with nothing"),
        (COUNTS + "locations x exists x=1", "`locations` is followed by places in brackets"),
        (COUNTS + "observed x=1;", "t.litmus:8: `observed` is no condition that is read"),
        (COUNTS.replace("0:X1=x;", "0:X1=x; 0:X1=y;"), "t.litmus:2: `0:X1` has two values"),
        (COUNTS.replace("0:X1=x;", "int t[2]={1,2};"), "t.litmus:2: an array"),
        (COUNTS.replace("0:X1=x;", "0:X1=x+4;"), "t.litmus:2: `x+4` is no value that is read"),
        (COUNTS.replace("counts\n", "counts\nvariant=vmsa\n"), "t.litmus:2: variant=vmsa: valid are self"),
    ],
)
def test_what_is_not_of_the_format_is_refused_with_its_line(text, said):
    one = told(text)
    assert one.refused
    assert said in one.error


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("{ 0:X1=x; }\nP0 ;\nBR X1 ;", "t.litmus:4: P0: `BR X1` leads to x, where no instruction is"),
        ("{ 0:X1=0; }\nP0 ;\nBR X1 ;", "t.litmus:4: P0: `BR X1` leads to 0, where no instruction is"),
        ("{ }\nP0 ;\nNOP ;\nB .+12 ;\nNOP ;", "t.litmus:5: P0: `B .+12` leads to"),
        ("{ 0:X1=P0:end; }\nP0 ;\nSTR W0,[X1] ;\nend: ;", '`STR W0,[X1]` is at label:"P0:end", which is no location'),
        ("{ 0:X1=8; }\nP0 ;\nLDR W0,[X1] ;", "t.litmus:4: P0: `LDR W0,[X1]` is at 8, which is no location"),
        ("{ 0:X1=P0:a; 0:X2=0x12345678; }\nP0 ;\nSTR W2,[X1] ;\na: NOP ;", "P0 fetches 0x12345678, which is no"),
    ],
)
def test_a_thread_that_cannot_go_on_is_refused_with_its_line(program, said):
    one = told(f"AArch64 astray\n{program}\nforall (0:X0=0)")
    assert one.refused
    assert said in one.error


def test_a_thread_that_goes_astray_in_no_execution_is_judged():
    text = """AArch64 ordered
    { 0:X1=x; 0:X3=flag; 0:X4=x; 1:X1=x; 1:X3=flag; [x]=0; }
    P0 | P1 ;
    STR X4,[X1] | LDR W2,[X3] ;
    DMB SY | CBZ W2,out ;
    MOV W2,#1 | DMB SY ;
    STR W2,[X3] | LDR X5,[X1] ;
     | LDR W6,[X5] ;
     | out: ;
    exists (1:X2=1)
    """
    assert (told(text).error, told(text).verdict) == ("", "Allowed")
    assert "is at 0, which is no location" in told(text.replace("DMB SY", "NOP")).error


def test_kinds_are_read_as_herd_writes_them(tmp_path):
    path = tmp_path / "kinds"
    path.write_text("## caches ##\na  Allow\nb Forbid # why\nc\tRequire\nd Allowed\ne\n\na Allowed\n")
    assert judges.read_kinds(path) == {"a": "Allowed", "b": "Forbidden", "c": "Required", "d": "Allowed"}
    path.write_text("a Allow\na Forbid\n")
    with pytest.raises(UsageError, match=r":2: a has another kind above"):
        judges.read_kinds(path)
    path.write_text("a Perhaps\n")
    with pytest.raises(UsageError, match=r":1: not a test and its kind; valid kinds are Allowed, Forbidden, Required"):
        judges.read_kinds(path)
