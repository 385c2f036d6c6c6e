"""Behaviours of the field's list that no scenario here shows, each with the reason.

``elsewhere`` names what proves it instead; the others wait for what a guest in user mode does not have.
"""

from __future__ import annotations

from typing import NamedTuple


class Absent(NamedTuple):
    """A behaviour without a scenario."""

    id: str
    title: str
    reason: str
    elsewhere: str = ""  #: what proves it, if something does


_ONE_IMAGE = "a guest is one static image: there are no shared objects, and no loader that runs before it"
_NO_SIGNALS = (
    "nothing interrupts a guest: it has no signals, and an engine without an operating system has none to give"
)
_NOTHING_BETWEEN = (
    "a guest has one CPU and no signals, so nothing executes between two stores: what another CPU would do there waits "
    "for preemption between them"
)
_NO_CACHE = (
    "no emulator here keeps an instruction cache, so what is stored is fetched, whatever maintenance is made: a stale "
    "fetch waits for a model of caches"
)
_AUDITED = (
    "`farm prove rules`, of what Unicorn has a guest of: each step that is not executed for a block of what was stored "
    "is a breach; what a process asks its kernel for, tests/test_poke.py"
)
_NO_API = "the mechanisms have no such operation, so there is no answer to expect"

ABSENT = (
    Absent("BS-10", "RET0 from a second object is the same RET0", _ONE_IMAGE),
    Absent("AB-20", "as many returns as calls", "no engine here keeps a shadow stack, so an imbalance goes unnoticed"),
    Absent("CS-09", "arm and thumb call each other", "a variant is built in one instruction set, for one kind of site"),
    Absent("CS-12", "a target that returns twice", "freestanding compilers have setjmp on some architectures only"),
    Absent(
        "CS-14",
        "compact forms of a call",
        "no guest here is built with compressed instructions at its call sites",
        "farm/guest/call_sites.py refuses what it cannot decode, tests/test_call_sites.py",
    ),
    Absent("CS-16", "a call from a signal handler", _NO_SIGNALS),
    Absent("CS-17", "a call through a procedure linkage table", _ONE_IMAGE),
    Absent("PT-02", "a patch before constructors and relocations have run", _ONE_IMAGE),
    Absent("PT-05", "a patch at every instruction of caller, stub and target", _NO_SIGNALS),
    Absent("PT-08", "many functions in one transaction", _NO_API),
    Absent("PT-09", "the patcher's own helpers are patchable", "the mechanisms call no patchable function"),
    Absent("PT-12", "a debugger's breakpoint on the stub", "no debugger is attached while a cell runs", "PT-07"),
    Absent("PT-13", "fork and exec of a patched image", "a guest is one process that makes no others"),
    Absent(
        "CC-01",
        "a store that is seen in parts, as two halves of a slot of 64 bits",
        _NOTHING_BETWEEN,
        "`farm prove rules` audits every store; farm/guest/layout.py refuses what no one store replaces",
    ),
    Absent(
        "CC-03",
        "a CPU inside the stub while it is patched",
        "a guest has one CPU: it waits for preemption inside the stub",
        "of a patch that fails, tests/test_call_sites.py: every byte is as before, the data slot's too",
    ),
    Absent(
        "CC-05",
        "the data slot is written, and a barrier made, before the word that leads to it",
        _NOTHING_BETWEEN,
        "`farm prove rules`: a word that leads to a slot without a barrier between, or before the slot, is a breach",
    ),
    Absent(
        "CC-15",
        "a patch that stops for ever after any of its stores",
        _NOTHING_BETWEEN,
        "tests/test_poke.py: the stub leads to the target before any of its call sites does",
    ),
    Absent("CO-01", "a step of the cache maintenance left out, or all of it at call sites alone", _NO_CACHE, _AUDITED),
    Absent("CO-04", "cache maintenance at the wrong address, or of the wrong length", _NO_CACHE, _AUDITED),
    Absent(
        "RP-03",
        "the exact edges of every displacement",
        "a guest has four targets a function, and none at an edge",
        "`farm prove encoders` asks every encoder of every variant for each bit, at both edges and beyond them",
    ),
    Absent(
        "RP-05",
        "a stub at every alignment",
        "every stub is aligned as its architecture needs: that is what makes a patch one store",
        "call sites come at every alignment, and those that one store cannot change are left on the stub",
    ),
    Absent("RP-06", "a stub that ends where a page does", "the linker script aligns pages, not their ends"),
    Absent(
        "RP-08", "a data slot that reads as an instruction", "a slot holds a target's address, which the linker chose"
    ),
    Absent(
        "RP-12",
        "every call site is found, and nothing else",
        "a property of the linked image",
        "farm/guest/layout.py scans the image and stops the build; RP-21 counts those that stay behind",
    ),
    Absent(
        "RP-13",
        "a call site without a relocation",
        "a property of the linked image",
        "farm/guest/layout.py scans the image and stops the build, tests/test_call_sites.py",
    ),
    Absent(
        "RP-14",
        "relocations against a section",
        "a property of the linked image",
        "farm/guest/call_sites.py takes the target from the code, tests/test_call_sites.py",
    ),
    Absent(
        "RP-15",
        "call sites that the linker has rewritten",
        "guests are linked without relaxation",
        "farm/guest/call_sites.py decodes the opcode, tests/test_call_sites.py",
    ),
    Absent("RP-16", "call sites folded, duplicated or split off", "guests are compiled so that sites stay as written"),
    Absent("RP-17", "stub and target in different shared objects", _ONE_IMAGE),
    Absent(
        "RP-18",
        "addresses around the sign boundary",
        "one layout a variant",
        "tests/test_placement.py links guests elsewhere",
    ),
    Absent(
        "RP-19",
        "another base address changes displacements only",
        "one layout a variant",
        "tests/test_placement.py links guests elsewhere",
    ),
    Absent("RP-20", "text in huge or relocated read-only pages", _ONE_IMAGE),
    Absent("FB-04", "no memory near the text", "the mechanisms allocate nothing"),
    Absent("FB-05", "a target of another type", "C checks prototypes at build time, and a guest is built once"),
    Absent("FB-10", "a half-made function is taken back", _NO_API),
    Absent(
        "FB-11",
        "an object of another architecture",
        "a property of the linked image",
        "farm/guest/elf.py refuses it, tests/test_image.py",
    ),
    Absent(
        "FB-12",
        "damaged relocation tables",
        "a property of the linked image",
        "farm/guest/call_sites.py refuses them, tests/test_call_sites.py",
    ),
    Absent("FB-15", "registered twice, or never", _NO_API),
    Absent(
        "FB-16",
        "a guest that never ends",
        "the engines' deadline, not a behaviour of a mechanism",
        "tests/test_child.py, tests/test_engines.py",
    ),
    Absent("CR-11", "an accelerated implementation registers and unregisters", _NO_API),
    Absent("CR-12", "cost in instructions", "measured, not judged", "farm cost"),
)
