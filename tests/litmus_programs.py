"""Small litmus tests made by chance, on which two checkers must agree: ``python tests/litmus_programs.py``.

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
FUNCTIONS, DATA = (21, 25), (22, 23, 28)  # registers with addresses
FUNCTION = ("B end", "func: B old", "MOV W10,#1", "RET", "old: MOV W10,#0", "RET", "end:")


class _Thread:
    """A thread of a program that is being made.

    Registers: X20, X24 and X27 are instructions to patch in, X21 and X25 the functions, X22 and X23 places of data.
    """

    def __init__(self, chance: random.Random, number: int) -> None:
        self.chance, self.number = chance, number
        self.code: list[str] = []
        self.results: list[int] = []
        self.labels = itertools.count()
        self.loaded: int | None = None  # register of the last load

    def access(self, place: int, *, writes: bool, address: str = "", data: int | None = None) -> None:
        """Load or store, patch or call; ``address`` is a register to add, ``data`` one that the value depends on."""
        where, free = f"[X{place}{address}]", len(self.results)
        patches = place in FUNCTIONS
        if writes:
            name = "STR" if address else self.chance.choice(("STR", "STR", "STR", "STLR"))
            if patches:
                value = self.chance.choice((20, 20, 20, 20, 24, 27))
            elif data is None:
                value = 11
                self.code.append(f"MOV W11,#{self.chance.choice((1, 2))}")
            else:
                value = 12
                self.code += [f"EOR W12,W{data},W{data}", "ADD W12,W12,#1"]
            self.code.append(f"{name} W{value},{where}")
            return
        self.results.append(free)
        if patches and not address and self.chance.random() < 0.75:
            self.code += [f"BLR X{place}", f"MOV W{free},W10"]
            return
        name = "LDR" if address else self.chance.choice(("LDR", "LDR", "LDR", "LDAR", "LDAPR"))
        self.code.append(f"{name} W{free},{where}")
        self.loaded = free

    def between(self, before: int, after: int) -> tuple[str, int | None]:
        """Something that may order the accesses of two places: what the next one's address and data depend on."""
        loaded, label = self.loaded, f"l{next(self.labels)}"
        functions = [place for place in (before, after) if place in FUNCTIONS]
        kinds = ["nothing", "barrier", "barrier", "isb"]
        kinds += ["clean", "invalidate", "sync", "sync"] * bool(functions)
        kinds += ["control", "address", "address", "data", "select", "selected", "memory", "isb"] * (loaded is not None)
        for kind in self.chance.choices(kinds, k=self.chance.choice((1, 2, 2))):
            function = self.chance.choice(functions) if functions else 0
            if kind == "barrier":
                self.code.append(self.chance.choice(BARRIERS))
            elif kind == "isb":
                self.code += self.chance.choice((["ISB"], ["DSB ISH", "ISB"], ["DSB LD", "ISB"]))
                if loaded is not None and self.chance.random() < 0.5:
                    self.code[-1:] = [f"CBNZ W{loaded},{label}", f"{label}: ISB"]
                    label += "i"
            elif kind in ("clean", "invalidate"):
                self.code.append({"clean": f"DC CVAU,X{function}", "invalidate": f"IC IVAU,X{function}"}[kind])
                self.code += self.chance.choice(([], [self.chance.choice(BARRIERS)], ["DSB ISH"], ["DSB ISH", "ISB"]))
            elif kind == "sync":
                self.code += [f"DC CVAU,X{function}", "DSB ISH", f"IC IVAU,X{function}", "DSB ISH"]
                self.code += self.chance.choice(([], ["ISB"]))
            elif kind == "control":
                self.code += [f"CBNZ W{loaded},{label}", f"{label}:"]
                label += "c"
            elif kind == "address":
                self.code.append(f"EOR W13,W{loaded},W{loaded}")
                if self.chance.random() < 0.3:  # of a load of its own, and an ISB
                    self.code += ["LDR W14,[X26,W13,SXTW]", "ISB"]
                    continue
                return ",W13,SXTW", None
            elif kind == "data":
                return "", loaded
            elif kind == "memory":  # what is selected by a load, stored and loaded again
                free = len(self.results)
                self.code += [f"CMP W{loaded},#1", "CSET W14,EQ", "STR W14,[X26]", f"LDR W{free},[X26]"]
                self.results.append(free)
                loaded = self.loaded = free
            elif kind == "select":  # a branch on what is selected by a load
                self.code += [f"CMP W{loaded},#1", "CSET W14,EQ", f"CBNZ W14,{label}", f"{label}:"]
                label += "s"
            elif kind == "selected":  # an address that is selected by a load
                self.code += [f"CMP W{loaded},#1", "CSEL X13,X15,X15,EQ"]
                return ",X13", None
        return "", None


def program(seed: int) -> str:
    """The text of a litmus test made by chance; one of an odd seed changes what is executed.

    The threads are a ring: each accesses a place that the one before it accesses, and one that the next one does, and
    of two accesses of a place one is a store, as in a cycle of the rules; now and then there is one access more.
    """
    chance = random.Random(seed)
    count = chance.choice((2, 2, 2, 3)) if seed % 2 else chance.choice((2, 2, 3))
    places = chance.sample(DATA, count)
    if seed % 2:
        functions = chance.choice((1, 1, 2))
        places[:functions] = FUNCTIONS[:functions]
        chance.shuffle(places)
    threads = [_Thread(chance, number) for number in range(count)]
    writes = {(t, n): chance.random() < 0.5 for t in range(count) for n in range(2)}
    for t in range(count):
        if not writes[t, 1] and not writes[(t + 1) % count, 0]:
            writes[chance.choice(((t, 1), ((t + 1) % count, 0)))] = True
    for thread in threads:
        pair = places[thread.number], places[(thread.number + 1) % count]
        accesses = [(pair[n], writes[thread.number, n]) for n in range(2)]
        if chance.random() < 0.25:
            accesses.insert(chance.randrange(3), (chance.choice(pair), chance.random() < 0.3))
        thread.access(accesses[0][0], writes=accesses[0][1])
        for before, (place, stores) in itertools.pairwise(accesses):
            address, data = thread.between(before[0], place)
            thread.access(place, writes=stores, address=address, data=data)
    columns = [[f"P{thread.number}", *thread.code] for thread in threads]
    start = []
    for number, function in enumerate(sorted(set(places) & set(FUNCTIONS))):
        columns[number] += FUNCTION
        start += [f"{n}:X{function}=P{number}:func;" for n in range(count)]
    if any("W24" in line for thread in threads for line in thread.code):
        columns += [[f"P{n}.F", "MOV W10,#2", "MSR ELR_EL1,X30", "ERET"] for n in range(count)]
    names = dict(zip(DATA, "xyz", strict=True))
    for n in range(count):
        start.append(" ".join(f"{n}:X{r}={name};" for r, name in {**names, 26: "w"}.items()))
        start.append(f'{n}:X20=NOP; {n}:X27=instr:"ISB";' * (seed % 2))
    shown = [f"{t.number}:X{r}" for t in threads for r in t.results]
    shown += [f"[{names[place]}]" for place in sorted(set(places) & set(DATA))]
    table = "".join(" | ".join(row) + " ;\n" for row in itertools.zip_longest(*columns, fillvalue=""))
    begins = "\n".join(filter(None, start))
    return f"AArch64 by-chance-{seed}\n{{\n{begins}\n}}\n{table}locations [{'; '.join(shown)};]\n"


def differences(
    test: Litmus, caches: str, without: tuple[str, ...] = ()
) -> tuple[set[tuple[int, ...]], set[tuple[int, ...]]]:
    """States that only the rules permit, and states that only the machine reaches; ``without`` names clauses."""
    dic, idc = CACHES[caches]
    permitted = Checker(test, dic=dic, idc=idc, without=without).outcomes(Threads(test)).states
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
        sys.stdout.write(f"{difference}\n")
    spent = time.process_time() - start
    sys.stdout.write(
        f"{asked.programs} programs, {len(CACHES)} kinds of cache: {found} differences; {spent:.0f} s of CPU time\n"
    )
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
