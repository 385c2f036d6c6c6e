"""Coverage of the guest's code: what was executed, by another method; what is not reached is named; lcov reads it."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from helpers import farm
from rich.console import Console

from farm import paths, suite
from farm.engines import Block, engines
from farm.engines.qemu_user import _blocks
from farm.errors import UsageError
from farm.guest import arch_toml, build, dwarf, image
from farm.guest.disassemble import Instruction, is_conditional, tells_branches
from farm.measure import coverage
from farm.measure.coverage import Branch, Coverage, Source, Unit
from farm.report import coverage as report
from farm.report import lcov
from farm.run import plan
from farm.run.batch import batches
from farm.scenario import wire

ROOT = paths.data("arch").parent
VARIANTS = arch_toml.load()
SUITE = suite.load(())


def selected(**selectors):
    return plan.make(plan.Selection(**selectors))


def measured(**selectors):
    return coverage.measure_all(selected(**selectors), 2, 20.0, lambda _done, _of: None)


def first_toolchain(variant):
    return next(name for name in ("zig", "gcc") if name in VARIANTS[variant].toolchain)


# Line tables.

TINY = """\
volatile int sink;

static int twice(int x)
{
    return x + x;
}

int reached(int x)
{
    if (x > 5)
        sink = twice(x);
    sink = 1;
    return sink;
}

int dead(void)
{
    sink = 2;
    return 7;
}
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A linked program of two functions and an inlined one."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.c").write_text(TINY)
    options = ["-target", "aarch64-linux-none", "-O1", "-g", "-nostdlib", "-static", "-Wl,-e,reached"]
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(paths.cache() / "zig")}
    command = [sys.executable, "-m", "ziglang", "cc", *options, "tiny.c", "-o", "tiny"]
    subprocess.run(command, cwd=folder, check=True, env=environment)
    return folder / "tiny"


def symbols(elf):
    with dwarf.opened(elf) as file:
        return {
            s.name: range(s["st_value"], s["st_value"] + s["st_size"])
            for s in file.get_section_by_name(".symtab").iter_symbols()
            if s["st_info"]["type"] == "STT_FUNC"
        }


def test_a_line_table_gives_each_line_with_code_and_the_one_that_is_inlined(tiny):
    table = dwarf.read(tiny, lambda path: path.endswith("tiny.c"))
    code = symbols(tiny)
    of = {name: {row.line for row in table.rows if row.begins and row.address in span} for name, span in code.items()}
    assert of == {"reached": {5, 10, 11, 12, 13}, "dead": {18, 19}}
    assert min(span.start for span in table.spans) == min(span.start for span in code.values())
    assert all(any(row.address in span for span in table.spans) for row in table.rows)


def test_a_line_table_is_of_the_files_that_are_wanted(tiny):
    assert dwarf.read(tiny, lambda path: path.endswith("/other.c")) == ([], [], [])


def test_what_a_caller_with_another_toc_executes_is_of_no_line():
    built = build.image(image.Spec(VARIANTS["ppc64"], "stub"))
    table = dwarf.read(Path(built.path), lambda path: path.endswith("mechanism/common/poke.c"))
    with dwarf.opened(Path(built.path)) as file:
        (symbol,) = file.get_section_by_name(".symtab").get_symbol_by_name("mechanism_query")
    assert symbol["st_other"]["local"] == 3  # eight bytes
    entry = symbol["st_value"]
    assert not [row for row in table.rows if row.address in range(entry, entry + 8)]
    assert [row for row in table.rows if row.address in range(entry + 8, entry + 64)]


# What was executed, by another method: the path of a program.

#: Each way to end a block: delay slots, Thumb, variable lengths, descriptors; with the engine that tells its path.
PATHS = [
    *((v, "unicorn") for v in ("arm64", "thumb", "arm", "mips32", "ppc64le", "ppc64v1", "riscv64", "s390x", "x86_64")),
    *((v, "qemu-user") for v in ("alpha", "mips64el", "m68k", "sparc64", "i386")),
]


def executed(variant, engine, scenario):
    """Image, guest, blocks, and the path of the same program; a skip if the engine is missing."""
    found = engines()[engine]
    if hole := found.hole(VARIANTS[variant]):
        pytest.skip(hole.reason)
    spec = image.Spec(VARIANTS[variant], "stub", first_toolchain(variant))
    built = build.image(spec)
    guest = coverage.Guest(spec, built)
    program = wire.encode(SUITE[scenario], big_endian=built.big_endian)
    (reply,), blocks = found.blocks(built, spec.variant, [program], 20, guest.watched)
    assert reply.trace
    assert not reply.failure
    return spec, built, guest, blocks, found.path(built, spec.variant, program, 20).path


@pytest.mark.parametrize(("variant", "engine"), PATHS)
def test_blocks_agree_with_the_path(variant, engine):
    _, built, guest, blocks, path = executed(variant, engine, "supersede_then_restore")
    expected = Counter(a for a in path if any(a in span for span in guest.watched))
    assert sum(expected.values()) > 1000
    counted = {
        address: sum(count for block, count in blocks.items() if block.start <= address < block.end)
        for address in expected
    }
    different = {built.name_of(a): (expected[a], counted[a]) for a in expected if expected[a] != counted[a]}
    assert not different


@pytest.mark.parametrize(("variant", "engine"), [p for p in PATHS if tells_branches(VARIANTS[p[0]])])
def test_the_ways_of_branches_agree_with_the_path(variant, engine):
    spec, _, guest, blocks, path = executed(variant, engine, "supersede_then_restore")
    slot = 4 if "delay-slot" in spec.variant.abi else 0
    after = Counter()
    for here, *then in zip(path, path[1:], path[2:], strict=False):
        if here in guest.conditional:
            size = guest.conditional[here] - here - slot
            behind = then[1] if slot and then[0] == here + size else then[0]
            after[here, behind == guest.conditional[here]] += 1
    assert sum(after.values()) > 50
    total = Counter()
    for source in guest.measured(blocks):
        for way in source.branches:
            total[way.number % 2 == 1] += way.taken
    in_lines = {address for address, (name, _) in guest.whose.items() if name and not name.endswith(".S")}
    for went_on in (False, True):
        assert total[went_on] == sum(n for (a, on), n in after.items() if on is went_on and a in in_lines), went_on


def test_a_log_with_two_blocks_at_one_address():
    translated = "----------------\nIN: f\n0x1000:  one\n{}\nTrace 0: 0x7f{} [0/1000/0/0] f\n"
    log = translated.format("0x1004:  two\n", "01") + "Trace 0: 0x7f01 [0/1000/0/0] f\n"
    log += translated.format("", "02") + "Trace 0: 0x7f01 [0/1000/0/0] f\n"
    found = _blocks(log.encode().splitlines(keepends=True))
    assert found == {
        Block(0x1000, 0x1005, 0x1000): 2,
        Block(0x1000, 0x1001, 0x1000): 1,
        Block(0x1000, 0x1005, 0): 1,
    }


@pytest.mark.parametrize(
    ("variant", "conditional", "other"),
    [
        ("arm64", ("b.ne 1", "cbz x0, 1", "tbnz w0, #1, 1"), ("b 1", "bl 1", "br x0", "ret", "bfxil x0, x1, #0, #2")),
        ("arm", ("bne 1", "bxeq lr", "popeq {r4, pc}", "bls 1"), ("b 1", "bl 1", "blne 1", "bic r0, r1", "pop {pc}")),
        ("thumb", ("blo.w 1", "cbnz r0, 1"), ("b.w 1", "blx r0", "popne {r4, lr}")),
        ("mips32", ("bne $a0, $v0, 1", "beqz $v0, 1", "bnezl $v0, 1"), ("b 1", "j 1", "jal 1", "bal 1")),
        ("ppc32", ("bt eq, 1", "bflr 4*cr1+eq", "bdnz 1", "beq 1"), ("b 1", "blr", "bl 1", "bctrl", "btl eq, 1")),
        ("riscv64", ("beqz a0, 1", "bgeu a0, a1, 1", "c.bnez a0, 1"), ("j 1", "jal 1", "ret", "bset a0, a1, a2")),
        (
            "s390x",
            ("jlh 1", "cgrje %r1, %r2, 1", "blhr %r14", "brct %r1, 1"),
            ("j 1", "jg 1", "br %r14", "brasl %r1, 1"),
        ),
        ("sparc64", ("be,a,pn %xcc, 1", "brnz %g1, 1", "bleu 1"), ("ba 1", "ba,a 1", "call 1", "bset 1, %g1")),
        ("m68k", ("beq.b $1", "bcs.w $1"), ("bra.b $1", "bsr.b $1", "bclr.b #1, d0", "jmp $1")),
        ("x86_64", ("jne 1", "jo 1"), ("jmp 1", "call 1", "cmovne eax, ebx")),
        (
            "loongarch64",
            ("bnez $a0, 1", "bltu $a0, $a1, 1"),
            ("b 1", "bl 1", "bstrpick.d $a0, $a0, 1, 0", "jirl $ra, 1"),
        ),
    ],
)
def test_conditional_branches_are_told_by_their_names(variant, conditional, other):
    for text in (*conditional, *other):
        assert is_conditional(VARIANTS[variant], Instruction(0, b"", text)) is (text in conditional), text


# The suite.


MECHANISMS = ("pointer", "stub", "relocated")


@pytest.fixture(scope="module")
def three(once):
    """The whole suite under Unicorn, on a variant of each kind of patch code."""
    selectors = {"arch": ["arm64,x86_64,ppc64le"], "mechanism": [",".join(MECHANISMS)], "engine": ["unicorn"]}
    return once("three", lambda _folder: measured(**selectors))


def test_the_suite_reaches_every_line_of_the_patch_routines(three):
    found = coverage.by_variant(three)
    for variant, architecture in (("arm64", "arm64"), ("x86_64", "x86"), ("ppc64le", "powerpc")):
        sources = {source.path: source for source in found[variant]}
        patch = sources[f"arch/{architecture}/patch.c"]
        assert len(patch.lines) >= 7
        assert all(patch.lines.values())
        assert not patch.excused
        assert all(sources[f"arch/{architecture}/stub.S"].lines.values())
        assert sum(way.taken > 0 for way in sources["images/mechanism/common/poke.c"].branches) > 10
        relocated = sources["images/mechanism/relocated/relocated.c"].lines
        loading = line_of(
            ROOT / "images" / "mechanism" / "relocated" / "relocated.c", "void mechanism_sites_loaded(void)"
        )
        assert all(count for line, count in relocated.items() if line >= loading)  # text that is locked meanwhile too
    assert not coverage.complaints(three)


def test_the_suite_reaches_every_line_of_what_another_compiler_makes_of_them():
    found = measured(arch=["ppc64le"], mechanism=["stub"], engine=["unicorn"], toolchain=["gcc"])
    if reason := found.units[0].reason:
        pytest.skip(reason)
    (patch,) = (source for source in coverage.by_variant(found)["ppc64le"] if source.path.endswith("patch.c"))
    assert patch.excused
    assert not coverage.complaints(found)


def test_every_line_is_one_of_its_file(three):
    for unit in three.units:
        assert {Path(source.path).name for source in unit.sources} >= {"patch.c", "target.c"}
        for source in unit.sources:
            text = (ROOT / source.path).read_text().splitlines()
            assert all(text[line - 1].strip() for line in source.lines)
            assert {way.line for way in source.branches} <= set(source.lines)


def test_units_and_json_are_whole(three):
    keys = [(unit.variant, unit.mechanism, unit.toolchain, unit.engine) for unit in three.units]
    expected = {(v, m, "zig", "unicorn") for v in ("arm64", "x86_64", "ppc64le") for m in MECHANISMS}
    assert {key for key in keys if ":" not in key[3]} == expected
    assert len(keys) == len(set(keys))
    assert msgspec.json.decode(msgspec.json.encode(three), type=Coverage) == three


def test_a_mechanism_that_a_variant_lacks_is_a_unit_with_the_reason():
    (unit,) = measured(arch=["mips32"], mechanism=["pad"], engine=["unicorn"]).units
    assert unit.engine is None
    assert "NOPs" in unit.reason


def test_a_line_of_asm_is_reached_when_each_of_its_instructions_is():
    def stub(scenario):
        found = measured(arch=["arm64"], mechanism=["stub"], engine=["unicorn"], scenario=[scenario])
        (count,) = next(s for s in found.units[0].sources if s.path.endswith("stub.S")).lines.values()
        return count

    (step,) = (s for s in SUITE.values() if s.name == "supersede_then_restore")
    assert not [s for s in step.steps if getattr(s, "target", None) is not None and s.target.name == "FAR"]
    assert stub("supersede_then_restore") == 0  # one of three instructions: no target was out of reach
    assert stub("text_read_only") == 0  # nor was the slot used by any call
    assert stub("late_call_site") > 0


def test_merging_adds_counts_and_keeps_the_branches_of_toolchains_apart():
    def unit(toolchain, engine, count, *taken):
        ways = tuple(Branch(3, number, n) for number, n in enumerate(taken))
        return Unit("v", "stub", toolchain, engine, (Source("patch.c", {3: count, 4: 0}, ways),))

    (source,) = coverage.merged([unit("zig", "a", 2, 1, 0), unit("gcc", "a", 5, 7, 7), unit("zig", "b", 1, 0, 3)])
    assert source.lines == {3: 8, 4: 0}
    assert source.branches == (Branch(3, 0, 7), Branch(3, 1, 7), Branch(3, 2, 1), Branch(3, 3, 3))


# Excuses.

EXCUSED = """\
int a; /* unreached: of its own line */
/* unreached on alpha, sh4: a function */
int f(void)
{
    return 1;
}
int g(void)
{
    if (a) {
        /* unreached: a block */
        a++;

        a--;
    }
    return a;
}
/* unreached on s390x: on one line */
int h(void) { return 2; }
int i; /* a comment, that nothing is unreached: here */
"""


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("arm64", {1: "of its own line", **dict.fromkeys(range(10, 14), "a block")}),
        (
            "sh4",
            {
                1: "of its own line",
                **dict.fromkeys(range(2, 7), "a function"),
                **dict.fromkeys(range(10, 14), "a block"),
            },
        ),
        (
            "s390x",
            {1: "of its own line", **dict.fromkeys(range(10, 14), "a block"), 17: "on one line", 18: "on one line"},
        ),
    ],
)
def test_an_excuse_is_of_its_line_block_or_definition(tmp_path, variant, expected):
    (tmp_path / "a.c").write_text(EXCUSED)
    assert coverage.excuses(tmp_path / "a.c", variant) == expected


def test_excuses_name_variants_that_exist():
    found = 0
    for path in [*ROOT.glob("arch/*/*.[cS]"), *ROOT.glob("images/mechanism/*/*.c")]:
        for names, why in re.findall(r"/\* unreached(?: on ([^:*]+))?: (.+?) \*/", path.read_text()):
            found += 1
            assert why
            assert set(re.split(r",\s*", names)) - {""} <= set(VARIANTS), path
    assert found


@pytest.fixture(scope="module")
def planted(once):
    """arch/arm64 as ``mine``, with a dead branch, a dead function and a stale excuse in patch.c; and a run."""
    return once("arches", plant)


def plant(arches):
    folder = arches / "mine"
    subprocess.run(["cp", "-r", str(ROOT / "arch" / "arm64"), str(folder)], check=True)
    toml = folder / "arch.toml"
    toml.write_text(toml.read_text().partition("[variant.arm64be]")[0].replace("variant.arm64", "variant.mine"))
    patch = folder / "patch.c"
    text = patch.read_text().replace(
        "    (void)at;\n",
        "    if (at == 1)\n        *(volatile uint32_t *)at = 2;\n    (void)at; /* unreached: a lie */\n",
    )
    text = text.replace("    return ARCH_INSTRUCTION(NOP);", "    return ARCH_INSTRUCTION(NOP); /* unreached: a lie */")
    patch.write_text(
        text
        + "\nextern void dead(void);\nvoid dead(void)\n{\n    *(volatile uint32_t *)arch_entry(4) = 5;\n}\n"
        + "\nstatic uint32_t copied(uint32_t x)\n{\n    return x + *(volatile uint32_t *)8;\n}\n"
        + "extern void excused(void);\n/* unreached: nobody wants it */\nvoid excused(void)\n{\n"
        + "    *(volatile uint32_t *)4 = copied(6);\n}\n"
    )
    options = ("--engine", "unicorn", "--output", folder.parent / "out")
    done = farm("coverage", "--arch-path", folder, "--arch", "mine", *options, COLUMNS="200")
    return patch, done


def line_of(path, text):
    *_, number = (n for n, line in enumerate(path.read_text().splitlines(keepends=True), 1) if text in line)
    return number


def test_a_dead_branch_and_a_dead_function_are_named_and_fail(planted):
    patch, done = planted
    assert done.returncode == 1, done.stdout + done.stderr
    for text in ("at = 2;", ") = 5;"):
        assert f"✗ {patch}:{line_of(patch, text)}: not reached on mine; a scenario should" in done.stdout
    named = {int(number) for number in re.findall(rf"✗ {re.escape(str(patch))}:(\d+):", done.stdout)}
    function, excuses = line_of(patch, "void dead(void)\n"), set(coverage.excuses(patch, "mine"))
    assert named <= {line_of(patch, "at = 2;"), *range(function, function + 4)} | excuses
    assert len(named) == done.stdout.count("✗")


def test_an_excuse_for_a_line_that_is_reached_is_named_and_fails(planted):
    patch, done = planted
    line = line_of(patch, "ARCH_INSTRUCTION(NOP);")
    assert f"✗ {patch}:{line}: reached on mine, though a comment says that it is not: a lie" in done.stdout


def test_a_dead_branch_is_in_the_files(planted):
    patch, _ = planted
    folder = patch.parent.parent / "out"
    found = msgspec.json.decode((folder / "coverage.json").read_bytes(), type=Coverage)
    assert found.units[0].sources[0].path == str(patch)
    dead = line_of(patch, "at = 2;")
    assert f"DA:{dead},0\n" in (folder / "lcov.info").read_text()


def test_a_cell_that_fails_is_said():
    (batch, *_) = batches(selected(arch=["arm64"], mechanism=["stub"], engine=["unicorn"], scenario=["crc_*,BS-0*"]))
    spec = image.Spec(batch.spec.variant, "stub", "zig", "no-restore")
    built = build.image(spec)
    unit = coverage.measure(batch, built, coverage.Guest(spec, built))
    assert unit.failed
    assert all(": mismatch: " in cell for cell in unit.failed)
    found = Coverage(1, "", (unit,))
    assert set(unit.failed) <= set(coverage.complaints(found))


def test_a_mechanism_of_ones_own_is_measured_and_its_files_are_told_apart(mine):
    twin = mine / "twin" / "mechanism" / "pointer.c"  # as compilers write them, both end in mechanism/pointer.c
    twin.parent.mkdir(parents=True)
    twin.write_text("\n" * 500 + "unsigned mine(void);\nunsigned mine(void) { return 7; }\n", encoding="utf-8")
    toml = mine / "mechanism.toml"
    toml.write_text(
        toml.read_text(encoding="utf-8").replace('"pointer.c"', '"pointer.c", "twin/mechanism/pointer.c"'), "utf-8"
    )
    selection = {"arch": ["arm64"], "mechanism": ["mine"], "engine": ["unicorn"], "scenario": ["BS-*"]}
    (batch,) = batches(selected(**selection, mechanism_path=(mine,)))
    built = build.image(batch.spec)
    unit = coverage.measure(batch, built, coverage.Guest(batch.spec, built))
    lines = {source.path: source.lines for source in unit.sources}
    assert lines[str(twin)] == {502: 0}
    own = lines[str(mine / "pointer.c")]
    assert all(own.values())
    assert 0 < max(own) < 500
    assert not unit.failed


def test_on_an_engine_that_counts_no_blocks_nothing_is_measured(guest, monkeypatch, fake_engine):
    (batch, *_) = batches(selected(arch=["arm64"], mechanism=["stub"], engine=["unicorn"], scenario=["BS-01"]))
    monkeypatch.setattr("farm.engines.engines", lambda: {"unicorn": fake_engine([])})
    unit = coverage.measure(batch, guest("stub"), coverage.Guest(batch.spec, guest("stub")))
    assert (unit.sources, unit.reason, unit.failed) == ((), "unicorn does not tell what it executes", ())


# Reports.


def parsed(text):
    """A tracefile, read by its manual: (test, file) -> (lines, branches, what the totals say)."""
    records = {}
    for record in text.split("end_of_record\n")[:-1]:
        fields = [line.partition(":")[::2] for line in record.splitlines()]
        one = dict(fields)
        found = [tuple(map(int, value.split(","))) for key, value in fields if key == "DA"]
        ways = [tuple(value.split(",")) for key, value in fields if key == "BRDA"]
        totals = [int(one[key]) for key in ("LF", "LH", "BRF", "BRH")]
        assert (one["TN"], one["SF"]) not in records
        records[one["TN"], one["SF"]] = (dict(found), ways, totals)
    return records


def test_lcov_says_what_was_measured(three):
    records = parsed(lcov.render(three, ROOT))
    found = {(variant, s.path): s for variant, sources in coverage.by_variant(three).items() for s in sources}
    assert records.keys() == found.keys()
    for key, source in found.items():
        counts, ways, totals = records[key]
        assert counts == source.lines
        assert [(int(line), int(way)) for line, _, way, _ in ways] == [
            (way.line, way.number % 2) for way in source.branches
        ]
        assert [0 if taken == "-" else int(taken) for *_, taken in ways] == [way.taken for way in source.branches]
        hit = sum(n > 0 for n in counts.values())
        assert totals == [len(counts), hit, len(ways), sum(taken not in "-0" for *_, taken in ways)]


def lcov_of(*sources, folder=ROOT):
    """``lcov.info`` of variants ``v0``, ``v1``..., each with one of ``sources``."""
    units = tuple(Unit(f"v{n}", "stub", "zig", "unicorn", (source,)) for n, source in enumerate(sources))
    return lcov.render(Coverage(1, "", units), folder)


def test_lcov_tells_a_branch_that_was_not_taken_from_one_that_was_never_come_to():
    ways = tuple(Branch(line, n, taken) for line in (1, 4) for n, taken in enumerate((0, 2 * (line == 1), 0, 0)))
    text = lcov_of(Source("arch/a/patch.c", {1: 2, 4: 0}, ways))
    found = re.findall(r"BRDA:(.*)", text)
    assert found == ["1,0,0,0", "1,0,1,2", "1,1,0,-", "1,1,1,-", "4,0,0,-", "4,0,1,-", "4,1,0,-", "4,1,1,-"]
    assert "BRF:8\nBRH:1\n" in text


def test_lcov_2_finds_lines_and_branches_consistent():
    """It refuses a line that was reached without a branch that was evaluated, and the reverse."""
    ways = (Branch(1, 0, 0), Branch(1, 1, 0), Branch(4, 0, 3), Branch(4, 1, 0))
    text = lcov_of(Source("arch/a/patch.c", {1: 2, 4: 0}, ways))  # the code of line 1 is partly elsewhere
    assert re.findall(r"BRDA:(.*)", text) == ["1,0,0,0", "1,0,1,0", "4,0,0,-", "4,0,1,-"]
    assert "BRF:4\nBRH:0\n" in text


def test_lcov_adds_no_branches_up_that_two_compilers_made():
    one = Source("arch/a/patch.c", {1: 2}, (Branch(1, 0, 0), Branch(1, 1, 2)))
    two = Source("arch/a/patch.c", {1: 2}, (Branch(1, 0, 2), Branch(1, 1, 0), Branch(1, 2, 1), Branch(1, 3, 0)))
    found = re.findall(r"BRDA:(.*)", lcov_of(one, two, one))
    assert found == ["1,0,0,0", "1,0,1,2", "1,1,0,2", "1,1,1,0", "1,2,0,1", "1,2,1,0", "1,3,0,0", "1,3,1,2"]


def test_lcov_finds_every_file_from_the_folder_that_it_is_made_in(tmp_path):
    mine = tmp_path / "arch" / "mine" / "patch.c"
    sources = (Source("images/mechanism/common/poke.c", {1: 1}), Source(str(mine), {1: 1}))
    assert re.findall(r"SF:(.*)", lcov_of(*sources)) == ["images/mechanism/common/poke.c", str(mine)]
    poke = str(ROOT / "images" / "mechanism" / "common" / "poke.c")
    assert re.findall(r"SF:(.*)", lcov_of(*sources, folder=tmp_path)) == [poke, "arch/mine/patch.c"]


def test_genhtml_reads_it(three, tmp_path):
    genhtml = shutil.which("genhtml")
    if not genhtml:
        pytest.skip("genhtml is not installed")
    (tmp_path / "lcov.info").write_text(lcov.render(three, tmp_path))
    command = [genhtml, "--branch-coverage", "-o", "html", "lcov.info"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    sources = [s for of_variant in coverage.by_variant(three).values() for s in of_variant]
    ways = [way.taken for source in sources for way in source.branches]
    assert f"({sum(map(bool, ways))} of {len(ways)} branches)" in done.stdout


def shown(found):
    stream = io.StringIO()
    report.show(found, Console(file=stream, width=200))
    return stream.getvalue()


def test_the_table_gives_reasons_and_what_was_not_measured():
    excused = Source("arch/a/sites.c", {7: 0, 8: 0}, (), {8: "no such site"})
    found = Coverage(
        1,
        "",
        (
            Unit("v", "stub", "zig", "qemu-user:old", (excused, Source("arch/a/patch.c", {1: 5})), branches=False),
            Unit("w", "stub", "zig", None, (), "w is missing"),
        ),
    )
    text = shown(found)
    assert "arch/a/sites.c:7 not reached on v: no reason is given" in text
    assert "arch/a/sites.c:8 not reached on v: no such site" in text
    assert "1 guest not measured: w is missing" in text
    assert re.search(r"v +│ 1/1 \? +│ – +│ 0/2 \? +│ – +│ qemu-user ", text)
    assert not coverage.complaints(found)


def test_branches_that_always_go_one_way_are_named():
    def source(name, *taken):
        return Source(f"arch/a/{name}", {7: 5, 9: 0}, tuple(Branch(line, n, t) for line, n, t in taken))

    both, one, never = (7, 0, 1), (7, 1, 0), (9, 0, 0)
    units = tuple(
        Unit(variant, "stub", "zig", "unicorn", (source("patch.c", *ways), source("sites.c", *ways)))
        for variant, ways in (("v", (both, one)), ("w", (both, (7, 1, 3))), ("x", (never, one)))
    )
    found = Coverage(1, "", units)
    assert [(str(line), line.variants) for line in coverage.one_way(found)] == [
        ("arch/a/patch.c:7", ("v", "x")),
        ("arch/a/sites.c:7", ("v", "x")),
    ]
    assert [line for line in shown(found).splitlines() if "every way" in line] == [
        "arch/a/patch.c:7: not every way taken on v, x"
    ]


@pytest.mark.parametrize("source", [Source("a.c", {7: 1}, (Branch(9, 0, 0),)), Source("a.c", {7: 1}, (), {9: "why"})])
def test_a_file_in_which_a_line_has_no_count_is_no_coverage(tmp_path, source):
    units = (Unit("v", "stub", "zig", "unicorn", (source,)),)
    path = tmp_path / "coverage.json"
    path.write_bytes(msgspec.json.encode(Coverage(1, "", units)))
    with pytest.raises(UsageError, match=r"coverage\.json: not a coverage .*: line 9 of a\.c has no count$"):
        coverage.read(path)


def test_nothing_to_measure_is_an_error(tmp_path):
    done = farm("coverage", "--arch", "alpha", "--engine", "unicorn", "--json", "--output", tmp_path)
    assert done.returncode == 3
    assert "nothing was measured" in done.stderr
    units = msgspec.json.decode(done.stdout, type=Coverage).units
    assert [unit.reason for unit in units if unit.mechanism == "stub"] == ["Unicorn has no alpha guest"]
