"""Mutants: what each operator makes of a text, what is patch code, and what becomes of one that is judged."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from helpers import RUN, result
from typer.testing import CliRunner

from farm.cli import load
from farm.errors import BuildError, UsageError
from farm.guest import arch_toml, mechanisms
from farm.guest.image import Spec
from farm.processes import workers
from farm.prove.mutate import asm, c, history, hunt, subject
from farm.prove.mutate.differ import Code, difference, places
from farm.prove.mutate.judge import Court
from farm.prove.mutate.judged import Judged, Mutant, Outcome
from farm.prove.mutate.operators import ASM, OPERATORS, C, Terms
from farm.prove.mutate.overlay import Workshop, without_absent
from farm.report import Material, html, mutants_page
from farm.report import mutants as report
from farm.run import plan as plans

TERMS = Terms(
    4, 64, registers=((r"\bx16\b", "x19"),), links=(("bl", "b"),), conditions=((r"b\.\w+", "b"),), comments="//"
)

#: By operator: a text, and what stands in it then.
IN_C = {
    "drop-statement": ("void f(void) { g(); }", "void f(void) { ; }"),
    "duplicate-statement": ("void f(void) { g(); }", "void f(void) { { g(); g(); } }"),
    "swap-statements": ("void f(void) { *slot = a; poke(b); }", "void f(void) { poke(b); *slot = a; }"),
    "narrow-store": ("void f(void) { *p = a; }", "void f(void) { *(volatile unsigned short *)&(*p) = a; }"),
    "widen-store": ("void f(void) { w(p, &v, sizeof v); }", "void f(void) { w(p, &v, (sizeof v * 2)); }"),
    "split-store": (
        "int f(void) { return w(p, &v, sizeof v); }",
        (
            "int f(void) { return (w(p, &v, (sizeof v) / 2) && w(p + (sizeof v) / 2, (const unsigned char *)(&v) + "
            "(sizeof v) / 2, (sizeof v) - (sizeof v) / 2)); }"
        ),
    ),
    "byte-order": (
        "uint16_t f(void) { return a | b; }",
        (
            "uint16_t f(void) { return (sizeof(uint16_t) == 8 ? __builtin_bswap64((uint16_t)(a | b)) : "
            "sizeof(uint16_t) == 4 ? __builtin_bswap32((uint16_t)(a | b)) : sizeof(uint16_t) == 2 ? "
            "__builtin_bswap16((uint16_t)(a | b)) : ((uint16_t)(a | b))); }"
        ),
    ),
    "flip-bit": ("int b = 0x14000000u;", "int b = 0x04000000u;"),
    "shift-displacement": ("int d = to - at;", "int d = (to - at + 4);"),
    "shift-count": ("int d = x >> 2;", "int d = x >> 3;"),
    "drop-bits": ("int d = B | (x & MASK);", "int d = B | ((x));"),
    "off-by-one": ("int d = x + 8;", "int d = x + 7;"),
    "wrong-sign": ("int d = (intptr_t)(to - at) < reach;", "int d = (uintptr_t)(to - at) < reach;"),
    "plus-minus": ("int d = at + 8;", "int d = at - 8;"),
    "swap-operands": ("int d = reaches(at, to);", "int d = reaches(to, at);"),
    "boundary": ("int d = x < reach;", "int d = x <= reach;"),
    "negate-condition": ("void f(void) { if (x) g(); }", "void f(void) { if (!(x)) g(); }"),
    "skip-check": ("int f(void) { if (!ok(n)) return FOREIGN; return OK; }", "int f(void) { ; return OK; }"),
    "drop-operand": ("int d = a && b;", "int d = (b);"),
    "drop-error": ("int f(void) { return PATCH_FOREIGN; }", "int f(void) { return 0; }"),
    "unwrap-call": ("void f(void) { *alias(at) = v; }", "void f(void) { *(at) = v; }"),
    "loop-stride": (
        "void f(void) { for (i = 0; i < n; i += 4) sync(i); }",
        "void f(void) { for (i = 0; i < n; i += 2 * (4)) sync(i); }",
    ),
    "loop-once": (
        "void f(void) { for (i = 0; i < n; i++) g(); }",
        "void f(void) { for (i = 0; i < n; i++) { g(); break; } }",
    ),
    "loop-late": ("void f(void) { for (i = 0; i < n; i++) g(); }", "void f(void) { for (i = 1; i < n; i++) g(); }"),
    "maintenance-place": ("void f(void) { sync_code(at); }", "void f(void) { sync_code(at + 64); }"),
    "maintenance-length": ("void f(void) { flush(at, n); }", "void f(void) { flush(at, (n) / 2); }"),
    "drop-instruction": ('#define SYNC(S) S(0, "dc cvau, %0") S(1, "isb")\n', '#define SYNC(S) S(0, "dc cvau, %0") \n'),
    "duplicate-instruction": ('void f(void) { __asm__("isb"); }', r'void f(void) { __asm__("isb\n\tisb"); }'),
    "swap-instructions": (r'void f(void) { __asm__("sync\n\tisync"); }', r'void f(void) { __asm__("isync\n\tsync"); }'),
    "drop-volatile": ("int d = *(const volatile int *)p;", "int d = *(const  int *)p;"),
}
IN_ASM = {
    "drop-instruction": ("    nop\n    br x16\n", "    nop\n    \n"),
    "duplicate-instruction": ("1:  nop\n", "1:  nop\n    nop\n"),
    "swap-instructions": ("    ldr x16, 1f /* slot */\n    br x16\n", "    br x16 /* slot */\n    ldr x16, 1f\n"),
    "drop-directive": ("    .balign 8\n", "    \n"),
    "clobber-register": ("    br x16\n", "    br x19\n"),
    "lost-link": ("    bl f\n", "    b f\n"),
    "lost-condition": ("    b.eq f\n", "    b f\n"),
    "flip-bit": ("    .byte 0xe9\n", "    .byte 0xe8\n"),
    "off-by-one": ("    .balign 4\n    hint #34\n", "    .balign 4\n    hint #35\n"),
    "shift-displacement": ("    b default_\\n\n", "    b default_\\n + 4\n"),
    "narrow-store": ("1:  .quad default_\\n\n", "1:  .4byte default_\\n\n"),
}


class Everywhere:
    def __contains__(self, line):
        return True


def made(mutations, text, operator):
    return [each.of(text).decode() for each in mutations(text, Everywhere(), TERMS) if each.operator == operator]


@pytest.mark.parametrize("operator", C)
def test_each_operator_breaks_c(operator):
    text, broken = IN_C[operator]
    assert broken in made(c.mutations, text.encode(), operator)


@pytest.mark.parametrize("operator", ASM)
def test_each_operator_breaks_asm(operator):
    text, broken = IN_ASM[operator]
    assert broken in made(asm.mutations, text.encode(), operator)


def test_each_operator_has_a_sentence():
    assert {*IN_C, *IN_ASM} == set(OPERATORS)
    assert all(each.what[0].islower() and not each.what.endswith(".") for each in OPERATORS.values())


def test_what_a_macro_is_defined_as_is_broken_where_it_is_used():
    text = b"#define USED 0x8\n#define OTHER 0x8\n"
    lines = [each.line for each in c.mutations(text, Everywhere(), TERMS, {"USED"})]
    assert set(lines) == {1}


def test_a_line_that_no_compiler_sees_is_not_broken():
    assert not list(c.mutations(b"void f(void) { g(); }", {2}, TERMS))


def test_a_mutation_of_a_statement_knows_all_its_lines():
    text = b"int f(void)\n{\n    return a &&\n        b;\n}\n"
    assert {(each.line, each.last) for each in c.mutations(text, Everywhere(), TERMS)} == {(3, 4)}


# Of a guest.


@pytest.fixture(scope="module")
def stub():
    """The plan of arm64's stub under Unicorn, and its guest."""
    plan = plans.make(plans.Selection(arch=("arm64",), mechanism=("stub",), engine=("unicorn",)))
    return plan, plan.spec(plan.cells[0].cell)


@pytest.fixture(scope="module")
def court(stub, tmp_path_factory):
    return Court(*stub, tmp_path_factory.mktemp("court"))


@pytest.fixture(scope="module")
def mutants(court):
    return list(subject.mutants(court.spec, court.texts))


def test_the_patch_code_is_broken_and_not_the_farms_layer(court):
    names = {text.name for text in court.texts}
    assert {"arch/arm64/patch.c", "arch/arm64/stub.S", "images/mechanism/common/text.h"} <= names
    assert not any(name.endswith(("layer.c", "text.c", "interp.c", "targets.c", "mechanism.h")) for name in names)


def test_of_a_mechanism_of_the_users_own_nothing_of_the_farms_is_broken():
    folder = Path(__file__).parent.parent / "examples" / "unsafe"
    (path, *_) = sorted(toml.parent for toml in folder.rglob("mechanism.toml"))
    mechanism = mechanisms.read(path)
    variant = next(v for v in arch_toml.load().values() if not mechanism.missing(v))
    sources, folders = subject.patch_code(Spec.of(variant, mechanism, next(iter(variant.toolchain))))
    assert set(folders) <= {mechanism.folder, folder / "include"}
    assert sources
    assert all(source.is_relative_to(mechanism.folder) for source in sources)


def test_a_header_beside_the_mechanism_is_broken_for_whoever_includes_it(tmp_path):
    mechanism = mechanisms.read(Path(__file__).parent.parent / "examples" / "unsafe" / "halfwords")
    workshop = Workshop(Spec.of(arch_toml.load()["arm64"], mechanism, "zig"), tmp_path)
    texts = subject.texts(workshop.spec, tmp_path)
    mutants = list(subject.mutants(workshop.spec, texts))
    broken = next(each for each in mutants if each.mutant.file.endswith("include/one_jump.h"))
    (work := tmp_path / "work").mkdir()
    assert set(workshop.compiled(broken, work)) <= set(broken.text.users)
    broken = one(mutants, "include/one_jump.h", "drop-statement", "arch_store_barrier();")
    (again := tmp_path / "again").mkdir()
    assert set(workshop.compiled(broken, again)) == set(broken.text.users)


def test_lines_of_a_negative_control_are_not_broken(mutants):
    assert not any("fast_" in each.mutant.before for each in mutants)


def one(mutants, file, operator, before, after=None):
    def is_it(mutant):
        found = mutant.file.endswith(file), mutant.operator, mutant.before
        return found == (True, operator, before) and after in (None, mutant.after)

    return next(each for each in mutants if is_it(each.mutant))


def test_a_scenario_notices_a_lost_opcode(court, mutants):
    judged = court.judge(one(mutants, "patch.c", "flip-bit", "0x14000000u", "0x04000000u"))
    assert (judged.outcome, judged.engine, judged.proved) == (Outcome.KILLED, "unicorn", False)
    assert judged.by.startswith("BS-02 ")
    assert judged.why.startswith(("mismatch: ", "crash: "))


def test_a_proof_notices_a_barrier_that_is_left_out(court, mutants):
    judged = court.judge(one(mutants, "patch.c", "drop-instruction", "dmb ishst"))
    assert (judged.outcome, judged.by, judged.proved) == (Outcome.KILLED, "interleave", True)


def test_encoders_that_are_asked_about_every_bit_notice_one_that_no_target_shows(court, mutants):
    judged = court.judge(one(mutants, "patch.c", "flip-bit", "0x14000000u", "0x14000001u"))
    assert (judged.outcome, judged.by, judged.engine) == (Outcome.KILLED, "encoders", "qemu-user")
    assert "the stub's jump from " in judged.why


def test_what_mechanisms_share_is_asked_what_no_mechanism_needs(court, mutants):
    judged = court.judge(one(mutants, "text.h", "loop-late", "= 0"))  # a store that is not aligned leaves out a byte
    assert (judged.outcome, judged.by, judged.engine) == (Outcome.KILLED, "helpers", "qemu-user")
    assert judged.why.startswith("a store of 2 bytes, 9 behind a multiple of 64: byte 9 is ")


def test_who_looks_behind_an_array_is_noticed_by_the_compilers_checks(court, mutants, monkeypatch):
    broken = one(mutants, "target.c", "boundary", "<", "<=")
    assert broken.mutant.line < 50, "the loop over the regions"
    monkeypatch.setattr(court._inquiry, "complaints", lambda *_: iter(()))
    judged = court.judge(broken)
    assert (judged.outcome, judged.by, judged.proved) == (Outcome.KILLED, "bounds", True)
    assert judged.why.startswith("built with the compiler's checks of bounds, ")


def test_a_check_whose_case_never_comes_is_told_by_a_trap(court, mutants, monkeypatch, tmp_path):
    broken = next(
        each for each in mutants if each.mutant.operator == "skip-check" and "!admitted" in each.mutant.before
    )
    assert not court._never_fails(broken, tmp_path), "FB-02 has a store fail"
    trapped = []
    monkeypatch.setattr(court, "_run", lambda image, *_: trapped.append(image))
    (again := tmp_path / "again").mkdir()
    assert court._never_fails(broken, again)
    assert trapped
    calls = next(each for each in mutants if each.mutant.before.startswith("if (!take())"))
    assert not court._never_fails(calls, tmp_path), "to take it is an effect"


def test_a_call_of_what_this_guest_has_not_is_no_hole(court, mutants):
    broken = one(mutants, "poke.c", "drop-operand", "!sites_are_ours || sites_are_ours(n)", "(!sites_are_ours)")
    told = without_absent(court.workshop, broken)
    assert told == "the compiler makes the same of it, for this guest has no sites_are_ours, sites_follow"
    negated = one(mutants, "poke.c", "drop-operand", "!sites_are_ours || sites_are_ours(n)", "(sites_are_ours(n))")
    assert without_absent(court.workshop, negated) == ""


def test_the_same_code_is_equivalent_and_never_run(court, mutants, monkeypatch):
    monkeypatch.setattr(Court, "_run", None)
    judged = court.judge(one(mutants, "compare.h", "wrong-sign", "size_t"))
    assert judged.outcome is Outcome.EQUIVALENT


def test_what_does_not_build_is_no_finding(court, mutants, monkeypatch):
    def refuse(*_):
        raise BuildError("no", ["cc"], "x.c:1: error: unknown type")

    monkeypatch.setattr(type(court.workshop), "compiled", refuse)
    judged = court.judge(mutants[0])
    assert (judged.outcome, judged.why) == (Outcome.NOT_BUILT, "unknown type")


def test_nothing_is_written_beside_the_sources(court, mutants):
    text = court.texts[0]
    before = sorted(path.name for path in text.path.parent.iterdir()), text.path.read_bytes()
    court.judge(next(each for each in mutants if each.text is text))
    assert (sorted(path.name for path in text.path.parent.iterdir()), text.path.read_bytes()) == before


def test_maintenance_that_no_rule_demands_is_no_hole(court, mutants):
    broken = one(mutants, "text.h", "drop-statement", "arch_sync_code(at + i);")
    x86 = arch_toml.load()["x86_64"]
    coherent = SimpleNamespace(spec=SimpleNamespace(variant=x86, made_by=court.spec.made_by))
    assert Court._needless(coherent, broken).startswith("it is maintenance, and fetches are coherent")
    assert Court._needless(court, broken) == ""
    assert Court._needless(coherent, one(mutants, "jump.h", "drop-statement", "farm_slot_write(slot, before);")) == ""


def test_two_objects_differ_in_the_instructions_that_a_mutation_changes(court, mutants, tmp_path):
    broken = one(mutants, "redirect.c", "drop-statement", "text_close(MECHANISM_TEXT);")
    (source,) = broken.text.users
    before, after = (
        Code.of(court.spec.variant, content)
        for content in (court.workshop.plain(source), court.workshop.compiled(broken, tmp_path)[source])
    )
    found = difference(before, after)
    assert not found.data
    assert found.before
    where = places(before, court.workshop.image, found.before)
    names = {court.workshop.image.name_of(place.start).partition("+")[0] for place in where}
    assert names & {"redirect", "mechanism_set", "mechanism_restore", "mechanism_null", "mechanism_ret0"}
    assert difference(before, before) == ([], [], False)


def test_what_no_scenario_executes_is_unreachable_and_no_hole(court, mutants):
    broken = one(mutants, "poke.c", "narrow-store", "sizeof state.word")  # no call site follows a stub alone
    assert not court._is_reached(broken)
    assert court._is_reached(one(mutants, "patch.c", "flip-bit", "0x14000000u"))


def test_an_instruction_in_the_middle_of_a_function_is_met_where_the_function_is_executed(court):
    image = court.workshop.image
    start = image.functions["arch_jump"]
    assert court._meets(image, [range(start + 8, start + 12)])


# Of a selection.


@pytest.fixture
def pool():
    with workers(2) as made:
        yield made


def test_a_sample_is_the_same_for_the_same_seed(stub, pool):
    plan, _ = stub

    def drawn(seed):
        found = hunt.find(plan, hunt.Wanted(frozenset(OPERATORS), sample=5, seed=seed), pool)
        return [each.mutant for guest in found for each in guest.mutants]

    assert len(drawn(1)) == 5
    assert drawn(1) == drawn(1) != drawn(2)


def test_what_is_judged_is_remembered(stub, pool, tmp_path, monkeypatch):
    plan, _ = stub
    wanted = hunt.Wanted(frozenset({"flip-bit"}), at="arch/arm64/patch.c:7", sample=1, seed=1)
    found = hunt.find(plan, wanted, pool)
    monkeypatch.setattr(hunt, "_code", str(tmp_path).encode)
    heard = []

    for _ in range(2):
        hunt.hunt(plan, found, pool, lambda *told: heard.append(told))
    (first, new), (again, known) = heard
    assert (new, known) == (False, True)
    assert first == again


def test_only_lines_that_have_changed_since_are_broken(tmp_path):
    def git(*arguments):
        subprocess.run(["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *arguments], check=True)

    file = tmp_path / "patch.c"
    file.write_text("a\nb\nc\n", encoding="utf-8")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    file.write_text("a\nB\nc\nd\n", encoding="utf-8")
    assert hunt._changed("HEAD", {tmp_path}) == {file: {2, 4}}


def farm(*arguments):
    return CliRunner().invoke(load(), ["mutate", "--arch", "arm64", "--mechanism", "stub", *arguments])


def test_holes_are_the_exit_status_and_the_report_leads_to_them(stub, tmp_path, monkeypatch):
    def judge(self, broken):
        return Judged(broken.mutant, Outcome.HOLE, digest=broken.digest)

    monkeypatch.setattr(Court, "judge", judge)
    monkeypatch.setattr(hunt, "_code", str(tmp_path).encode)
    done = farm("--at", "patch.c:7", "--operator", "flip-bit", "--output", str(tmp_path))
    assert done.exit_code == 1
    assert "hole arm64/stub/zig arch/arm64/patch.c:7:11 flip-bit: `0x14000000u` -> `0x14000001u`\n" in done.stdout
    assert "--operator flip-bit --at arch/arm64/patch.c:7\n" in done.stdout
    assert done.stdout.endswith(
        "3 mutants: 0 killed (0 by a proof alone), 0 equivalent, 0 unreachable here, 3 holes, 0 not built\n"
    )
    lines = (tmp_path / report.LOG).read_bytes().splitlines()
    assert len(lines) == 3
    assert report.read(tmp_path).mutants[0].outcome is Outcome.HOLE


def test_a_selection_without_mutants_says_so():
    done = farm("--at", "nowhere.c")
    assert str(done.exception) == "no mutant was judged: nothing that was selected can be broken so"


def test_mutants_have_names_that_lead_to_them():
    mutant = Mutant("arm64", "stub", "zig", "arch/arm64/patch.c", 7, 11, "flip-bit", "0x1", "0x0")
    assert mutant.name == "arm64/stub/zig arch/arm64/patch.c:7:11 flip-bit"
    assert msgspec.json.decode(msgspec.json.encode(mutant), type=Mutant) == mutant


# Of a report.


def test_the_page_counts_mutants_by_operator_and_file_and_escapes_what_stands_there():
    mutant = Mutant("arm64", "stub", "zig", "arch/arm64/patch.c", 7, 11, "boundary", "x < 1", "x <= <b>")
    judged = [
        Judged(mutant, Outcome.HOLE),
        Judged(msgspec.structs.replace(mutant, line=9), Outcome.KILLED, "interleave", "unicorn", proved=True),
    ]
    guest = report.Guest("arm64/stub/zig", "arm64", "stub", "zig", 2)
    document = report.Document(report.SCHEMA, "0", 1.5, (guest,), tuple(judged))
    made = mutants_page.page(document)
    by_file = next(table for table in made["tables"] if table["title"] == "file")
    assert by_file["rows"] == [{"name": "arch/arm64/patch.c", "counts": [2, 0, 1, 0, 0, 0, 1, 0], "lines": "7"}]
    text = html.render(Material(RUN, [result()], plans.Plan((), {}, {}), mutants=document)).decode()
    assert "x &lt;= &lt;b&gt;" in text
    assert "2 mutants: 1 killed (1 by a proof alone), 0 equivalent, 0 unreachable here, 1 hole, 0 not built" in text


# Of history.

HISTORY = Path(__file__).parent / "history"
BUGS = {bug.name.split()[0]: bug for bug in history.read(HISTORY)}


@pytest.mark.parametrize("bug", BUGS.values(), ids=list(BUGS))
def test_each_bug_that_somebody_had_applies(bug):
    path = HISTORY.parent.parent / bug.file
    text = path.read_text(encoding="utf-8")
    assert bug.of(text) != text
    slug = re.sub(r"[^a-z0-9]+", "-", bug.name.partition(" ")[2].lower())
    assert bug.path.stem == f"{bug.name.split()[0]}-{slug}"


def test_a_patch_of_another_text_does_not_apply():
    with pytest.raises(UsageError, match="does not apply"):
        BUGS["B49"].of("int x;\n" * 50)


@pytest.mark.parametrize(("number", "by"), [("B49", "encoders"), ("B25", "coherence"), ("B50", "BS-04 ")])
def test_a_bug_that_somebody_had_is_noticed(court, number, by):
    judged = court.judge(BUGS[number].broken(court.texts, "zig"))
    assert judged.outcome is Outcome.KILLED
    assert judged.by.startswith(by)


def test_what_the_page_says_of_history_is_what_there_is():
    text = (HISTORY.parent.parent / "docs" / "mutants.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (B\d+) ", text, re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(BUGS) <= set(rows)
