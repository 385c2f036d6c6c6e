"""Small litmus tests made by chance, and the two checkers compared: ``python tests/litmus_programs.py --programs 1000``.

A program is two or three threads; each accesses data or code a few times, with something between two accesses that may
order them: a barrier, a dependency, maintenance, an ISB.  Half of them change instructions that are executed.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from litmus_machine import Machine

from farm.prove.litmus.check import Checker
from farm.prove.litmus.execute import Threads
from farm.prove.litmus.model import Litmus
from farm.prove.litmus.parse import parse

CACHES = {"dic0-idc0": (False, False), "dic0-idc1": (False, True), "dic1-idc1": (True, True)}
BARRIERS = ("DMB ISH", "DMB ISHLD", "DMB ISHST", "DSB ISH", "DSB LD", "DSB ST")
FUNCTION = ("B end", "func: B old", "MOV W10,#1", "RET", "old: MOV W10,#0", "RET", "end:")


class _Thread:
    """A thread of a program that is being made; registers: X20 NOP, X21 the function, X22 and up data."""

    def __init__(self, chance: random.Random, number: int, patching: bool) -> None:
        self.chance, self.number, self.patching = chance, number, patching
        self.code: list[str] = []
        self.results: list[int] = []
        self.labels = itertools.count()
        self.loaded: int | None = None  # register of the last load

    def access(self, kind: str, address: str = "", data: int | None = None) -> None:
        """Load, store, patch or call; ``address`` is a register to add, ``data`` one that the value depends on."""
        place = self.chance.choice((21, 22, 23) if self.patching and not address else (22, 23))
        where = f"[X{place}{address}]"
        free = len(self.results)
        if kind == "load":
            name = "LDR" if address else self.chance.choice(("LDR", "LDR", "LDR", "LDAR", "LDAPR"))
            self.code.append(f"{name} W{free},{where}")
            self.results.append(free)
            self.loaded = free
        elif kind == "store":
            value, name = 20, "STR" if address else self.chance.choice(("STR", "STR", "STR", "STLR"))
            if place != 21 and data is None:
                value = 11
                self.code.append(f"MOV W11,#{self.chance.choice((1, 2))}")
            elif place != 21:
                value = 12
                self.code += [f"EOR W12,W{data},W{data}", "ADD W12,W12,#1"]
            elif self.chance.random() < 0.15:
                value = 24  # UDF
            self.code.append(f"{name} W{value},{where}")
        elif kind == "patch":
            self.code.append("STR W20,[X21]")
        else:
            self.code += ["BLR X21", f"MOV W{free},W10"]
            self.results.append(free)

    def between(self) -> tuple[str, int | None]:
        """Something that may order the accesses around it: what the next one's address and data depend on."""
        loaded = self.loaded
        kinds = ["nothing", "barrier", "isb"]
        kinds += ["clean", "invalidate", "sync", "barrier"] * self.patching
        kinds += ["control", "address", "data", "select", "selected"] * (loaded is not None)
        for kind in self.chance.choices(kinds, k=self.chance.choice((1, 1, 2))):
            if kind == "barrier":
                self.code.append(self.chance.choice(BARRIERS))
            elif kind == "isb":
                self.code += self.chance.choice((["ISB"], ["DSB ISH", "ISB"], ["DSB LD", "ISB"]))
            elif kind in ("clean", "invalidate"):
                self.code.append({"clean": "DC CVAU,X21", "invalidate": "IC IVAU,X21"}[kind])
                self.code += self.chance.choice(([], [self.chance.choice(BARRIERS)], ["DSB ISH"], ["DSB ISH", "ISB"]))
            elif kind == "sync":
                self.code += ["DC CVAU,X21", "DSB ISH", "IC IVAU,X21", "DSB ISH"]
            elif kind == "control":
                label = f"l{next(self.labels)}"
                self.code += [f"CBNZ W{loaded},{label}", f"{label}:"]
            elif kind == "address":
                self.code.append(f"EOR W13,W{loaded},W{loaded}")
                return ",W13,SXTW", None
            elif kind == "data":
                return "", loaded
            elif kind == "select":  # a branch on what is selected by a load
                label = f"l{next(self.labels)}"
                self.code += [f"CMP W{loaded},#1", "CSET W14,EQ", f"CBNZ W14,{label}", f"{label}:"]
            elif kind == "selected":  # an address that is selected by a load
                self.code += [f"CMP W{loaded},#1", "CSEL X13,X15,X15,EQ"]
                return ",X13", None
        return "", None


def program(seed: int) -> str:
    """The text of a litmus test made by chance."""
    chance = random.Random(seed)
    patching = bool(seed % 2)
    count = chance.choice((2, 2, 2, 3))
    threads = [_Thread(chance, number, patching) for number in range(count)]
    for thread in threads:
        accesses = chance.choice((2, 2, 3) if count == 2 else (1, 2, 2))
        if patching:
            accesses = min(accesses, 2)
        address, data = "", None
        for number in range(accesses):
            if number:
                address, data = thread.between()
            kinds = ["load", "load", "store"]
            kinds += ["patch", "call", "call", "call"] * patching
            if address:
                kinds = ["load", "store"]
            thread.access("store" if data is not None else chance.choice(kinds), address, data)
    columns = [[f"P{thread.number}", *thread.code] for thread in threads]
    if patching:
        columns[0] += FUNCTION
        if any("W24" in line for thread in threads for line in thread.code):
            columns += [[f"P{n}.F", "MOV W10,#2", "MSR ELR_EL1,X30", "ERET"] for n in range(count)]
    rows = itertools.zip_longest(*columns, fillvalue="")
    start = [f"{n}:X22=x; {n}:X23=y;" + f" {n}:X20=NOP; {n}:X21=P0:func;" * patching for n in range(count)]
    places = [f"{t.number}:X{r}" for t in threads for r in t.results] + ["[x]", "[y]"]
    table = "".join(" | ".join(row) + " ;\n" for row in rows)
    start = "\n".join(start)
    return f"AArch64 by-chance-{seed}\n{{\n{start}\n}}\n{table}locations [{'; '.join(places)};]\n"


def differences(test: Litmus, caches: str) -> tuple[set[tuple[int, ...]], set[tuple[int, ...]]]:
    """States that only the rules permit, and states that only the machine reaches."""
    dic, idc = CACHES[caches]
    permitted = Checker(test, dic=dic, idc=idc).outcomes(Threads(test)).states
    reached = Machine(test, dic=dic, idc=idc).states()
    return permitted - reached, reached - permitted


def different(seeds: Iterator[int] | range) -> Iterator[str]:
    """What the checkers do not agree on, with the program's text."""
    for seed in seeds:
        text = program(seed)
        test = parse(text, f"by-chance-{seed}")
        for caches in CACHES:
            for who, states in zip(("the rules permit", "the machine reaches"), differences(test, caches), strict=True):
                if states:
                    yield f"{caches}: {who} alone {sorted(states)} of {list(map(str, test.places))}\n{text}"


def main() -> int:
    """Compare the checkers over programs made by chance; 1 if they differ."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--programs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first program")
    asked = parser.parse_args()
    start, found = time.process_time(), 0
    for difference in different(range(asked.seed, asked.seed + asked.programs)):
        found += 1
        print(difference, flush=True)
    spent = time.process_time() - start
    print(f"{asked.programs} programs, {len(CACHES)} kinds of cache: {found} differences; {spent:.0f} s of CPU time")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
