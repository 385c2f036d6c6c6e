"""Two requests at once: what is proved of mechanisms that promise several writers, and how it goes wrong."""

from __future__ import annotations

import re
import shutil

import pytest

from farm import paths
from farm.engines.together import STUCK
from farm.engines.unicorn import UNICORN
from farm.engines.unicorn.machine import Machine
from farm.engines.unicorn.together import Pair
from farm.errors import BackendError
from farm.guest import arch_toml, mechanisms
from farm.guest.image import Spec
from farm.prove.calls import Guest
from farm.prove.guests import Work, prove
from farm.prove.proof import TOGETHER, Finding, What
from farm.prove.writers import PAIRS, together
from farm.run.bench import Bench

VARIANTS = arch_toml.load()
EXAMPLES = paths.data("arch").parent / "examples"
SPIN_LOCK = mechanisms.load((EXAMPLES / "spin-lock",))["spin-lock"]
LOCK = "while (__atomic_exchange_n(&taken, 1, __ATOMIC_ACQUIRE))\n        ;"


def guest_of(variant, mechanism):
    variant = VARIANTS[variant]
    made = mechanisms.load()[mechanism] if isinstance(mechanism, str) else mechanism
    toolchain = next(name for name in variant.toolchain if not made.missing(variant, name))
    return Guest(Bench.of(Spec.of(variant, made, toolchain), "unicorn", 20.0))


def changed(tmp_path, *edits, name="mine"):
    """The spin lock with something else in its source."""
    folder = shutil.copytree(EXAMPLES / "spin-lock", tmp_path / name)
    source = (folder / "spin_lock.c").read_text()
    for old, new in edits:
        assert old in source
        source = source.replace(old, new)
    (folder / "spin_lock.c").write_text(source)
    return mechanisms.read(folder)


class Forgetful(Pair):
    """Two requests of which every turn is taken."""

    def _turn(self, *given):
        self._taken.clear()
        return super()._turn(*given)


@pytest.mark.parametrize(
    ("variant", "mechanism"), [("x86_64", "stub"), ("x86_64", "inline-cache"), ("riscv64", "stub"), ("m68k", "stub")]
)
def test_a_turn_that_is_known_comes_to_what_it_would_come_to_if_it_were_taken(variant, mechanism, monkeypatch):
    guest, asked, taken = guest_of(variant, mechanism), [], []
    go = Pair._go
    monkeypatch.setattr(Pair, "_go", lambda self, *given: taken.append(type(self)) or go(self, *given))
    monkeypatch.setattr(UNICORN, "make", lambda *given: asked.append((given[2], given[4])) or ("", None))
    with pytest.raises(AttributeError):
        list(together(guest, PAIRS[1:2]))
    ((program, wanted),) = asked

    def made(kind):
        return kind(Machine(guest.bench.image, guest.bench.variant.engine["unicorn"]), wanted).run(program)

    assert made(Pair) == made(Forgetful)
    assert taken.count(Pair) < taken.count(Forgetful) / 2


@pytest.mark.parametrize(
    ("variant", "mechanism"),
    [
        ("x86_64", "stub"), ("arm64", "stub"), ("ppc64le", "literal"), ("riscv64", "inline-cache"),
        ("thumb", "literal"), ("s390x", "literal"), ("mips32", "pointer"), ("i386", "static-call"),
    ],
)  # fmt: skip
def test_a_mechanism_that_promises_several_writers_leaves_what_one_of_the_two_orders_leaves(variant, mechanism):
    made = list(together(guest_of(variant, mechanism), PAIRS))
    assert [(proof.request, proof.finding, proof.why) for proof in made] == [(n, Finding.PROVED, "") for n in PAIRS]
    assert {proof.reader for proof in made} == {TOGETHER}
    ends = 2 if mechanism == "pointer" else 4  # either was the last, or was refused
    assert made[0].moments == ends
    assert made[0].points > 4 * ends - 1


@pytest.mark.parametrize("variant", ["arm64", "ppc64le", "x86_64"])
def test_who_waits_for_a_lock_is_followed_until_it_is_free(variant):
    (made,) = together(guest_of(variant, SPIN_LOCK), PAIRS[:1])
    assert (made.finding, made.why, made.moments) == (Finding.PROVED, "", 2)


def test_what_is_not_promised_is_not_judged():
    guest = guest_of("arm64", mechanisms.load((EXAMPLES / "unsafe",))["two-words"])
    made = list(together(guest, PAIRS))
    assert {(proof.finding, proof.points) for proof in made} == {(Finding.UNEXPLORED, 0)}
    (why,) = {proof.why for proof in made}
    assert why.startswith("two-words does not promise several-writers: ")


def test_a_lock_that_is_looked_at_and_then_taken_holds_nobody_off(tmp_path):
    made = changed(tmp_path, (LOCK, "while (*(volatile uint32_t *)&taken)\n        ;\n    taken = 1;"))
    (found, *_) = together(guest_of("arm64", made), PAIRS[:1])
    assert found.finding is Finding.REFUTED
    loads = [line.cpu for line in found.story if re.match(r"loads 00000000 from 0x\w+ <taken>", line.text)]
    assert sorted(loads) == ["A", "B"]


@pytest.mark.parametrize(("prefix", "finding"), [("", Finding.REFUTED), ("lock ", Finding.PROVED)])
def test_an_instruction_of_x86_that_loads_and_stores_is_one_access_only_if_it_is_locked(tmp_path, prefix, finding):
    lock = (
        "for (uint8_t was = 1; was;)\n"
        f'        __asm__ volatile("{prefix}btsl $0, %1; setc %0" : "=r"(was), "+m"(taken) : : "cc", "memory");'
    )
    (made,) = together(guest_of("x86_64", changed(tmp_path, (LOCK, lock))), PAIRS[:1])
    assert made.finding is finding


def test_who_waits_for_ever_is_found(tmp_path):
    made = changed(tmp_path, ("__atomic_store_n(&taken, 0, __ATOMIC_RELEASE);", ""))
    (found,) = together(guest_of("arm64", made), PAIRS[-1:])
    assert (found.finding, found.why) == (Finding.REFUTED, STUCK)
    assert found.story[-1].text.startswith(f"fails: {STUCK} at ")


def test_a_request_that_no_lock_would_help_since_the_farm_opens_the_text_cannot_be_promised(tmp_path):
    folder = shutil.copytree(EXAMPLES / "spin-lock", tmp_path / "mine")
    described = folder / "mechanism.toml"
    described.write_text(described.read_text().replace('"closes-text", ', ""))
    with pytest.raises(BackendError, match=r"promises: several-writers found without closes-text; expected both"):
        mechanisms.read(folder)


def test_it_is_reproduced_by_the_command_that_is_told():
    unsafe = mechanisms.load((EXAMPLES / "unsafe",))["without-lock"]
    spec = guest_of("x86_64", unsafe).bench.spec
    (made,) = prove(Work(spec, What.INTERLEAVE, (PAIRS[1],))).proofs
    assert made.is_bad
    assert made.reproduce.endswith(f"--arch x86_64 --mechanism without-lock --toolchain zig --request {PAIRS[1]}")
    assert made.does == "CPU B patches, too"
