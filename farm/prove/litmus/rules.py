"""The ordering rules of AArch64 with instruction fetch, one clause one function, each with its source.

The source is Arm's machine-readable memory model (``aarch64hwreqs.cat``, ``cm-after.cat`` and the ``aarch64.cat`` of
instruction fetch; Arm ARM DDI 0487, B2.3 says it in words).  A clause of :data:`LOCAL` gives pairs of events of one
thread, by their places in program order, that every observer sees in this order.  Those of :data:`CACHES` say what
follows from the order of a maintenance and a fetch or a store; :mod:`.check` adds them as it chooses that order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from farm.prove.litmus.execute import Event

Pairs = Iterator[tuple[int, int]]
Events = Sequence[Event]

DATA = ("R", "W")
SEEN = ("R", "W", "F", "dc", "ic")


def _between(events: Events, first: tuple[str, ...], barrier: str, then: tuple[str, ...]) -> Pairs:
    """Events before a barrier, with those behind it."""
    for at, event in enumerate(events):
        if event.kind == barrier:
            befores = [i for i in range(at) if events[i].kind in first]
            for j in range(at + 1, len(events)):
                if events[j].kind in then:
                    yield from ((i, j) for i in befores)


def fetch_first(events: Events) -> Pairs:
    """A fetch is before all that follows but fetches: ``[Imp & Instr & R]; po; [~(Imp & Instr & R)]``."""
    for i, event in enumerate(events):
        if event.kind == "F":
            yield from ((i, j) for j in range(i + 1, len(events)) if events[j].kind != "F")


def dsb_full(events: Events) -> Pairs:
    """``[M | DC.CVAU | IC]; po; [dsb.full]; po; [~(Imp & M)]``."""
    return _between(events, (*DATA, "F", "dc"), "dsb.full", ("R", "W", "dc", "ic"))


def dsb_full_ic(events: Events) -> Pairs:
    """The same of IC, which nothing else completes."""
    return _between(events, ("ic",), "dsb.full", ("R", "W", "dc", "ic"))


def dsb_ld(events: Events) -> Pairs:
    """``[Exp & R]; po; [dsb.ld]; po; [~(Imp & M)]``."""
    return _between(events, ("R",), "dsb.ld", ("R", "W", "dc", "ic"))


def dsb_st(events: Events) -> Pairs:
    """``[Exp & W]; po; [dsb.st]; po; [~(Imp & M)]``."""
    return _between(events, ("W",), "dsb.st", ("R", "W", "dc", "ic"))


def _behind(events: Events, at: int) -> Iterator[int]:
    return (j for j in range(at + 1, len(events)) if events[j].kind in SEEN)


def isb_after_dsb(events: Events) -> Pairs:
    """``DSB-ob; [CSE]; po``: what a DSB has before it is before all behind the ISB."""
    before = {"dsb.full": (*DATA, "F", "dc", "ic"), "dsb.ld": ("R",), "dsb.st": ("W",)}
    for at, event in enumerate(events):
        if event.kind == "isb":
            done = {i for k in range(at) for i in range(k) if events[i].kind in before.get(events[k].kind, ())}
            yield from ((i, j) for j in _behind(events, at) for i in done)


def isb_after_control(events: Events) -> Pairs:
    """``[Exp & R]; ctrl; [CSE]; po``; and ``[Exp]; pick-ctrl-dep; [CSE]; po; [M]``, which is of loads and stores."""
    for at, event in enumerate(events):
        if event.kind == "isb":
            for j in _behind(events, at):
                mask = event.control.direct | (event.control.picked if events[j].kind in DATA else 0)
                yield from ((i, j) for i in bits(mask))


def isb_after_address(events: Events) -> Pairs:
    """``[Exp & R]; addr; [Exp]; po; [CSE]; po``; of a picked address for loads and stores alone."""
    for at, event in enumerate(events):
        if event.kind == "isb":
            accesses = [e for e in events[:at] if e.kind in DATA]
            for j in _behind(events, at):
                for access in accesses:
                    picked = access.address.picked if events[j].kind in DATA else 0
                    yield from ((i, j) for i in bits(access.address.direct | picked))


def isb_fetched(events: Events) -> Pairs:
    """``[Imp & Instr & R]; f-ib; [CSE]; po``: the fetch of an ISB, or of what raises an exception."""
    for at, event in enumerate(events):
        if event.kind == "isb" and at and events[at - 1].kind == "F" and events[at - 1].number == event.number:
            yield from ((at - 1, j) for j in _behind(events, at))


def dmb_full(events: Events) -> Pairs:
    """``po; [dmb.full]; po`` of loads and stores (``bob``)."""
    return _between(events, DATA, "dmb.full", DATA)


def dmb_full_dc(events: Events) -> Pairs:
    """``[Exp & M | DC.CVAU]; po; [dmb.full]; po; [Exp & M | DC.CVAU]``, where one of them is a DC."""
    yield from _between(events, ("dc",), "dmb.full", (*DATA, "dc"))
    yield from _between(events, DATA, "dmb.full", ("dc",))


def dmb_ld(events: Events) -> Pairs:
    """``[R]; po; [dmb.ld]; po``, to loads and stores; not to a DC."""
    return _between(events, ("R",), "dmb.ld", DATA)


def dmb_st(events: Events) -> Pairs:
    """``[W]; po; [dmb.st]; po; [W]``; not to a DC."""
    return _between(events, ("W",), "dmb.st", ("W",))


def acquire_release(events: Events) -> Pairs:
    """``[A | Q]; po``, ``po; [L]`` and ``[L]; po; [A]``, of loads and stores (``bob``)."""
    for i, event in enumerate(events):
        if event.ordered:
            others = [j for j, e in enumerate(events) if e.kind in DATA]
            if event.kind == "R":
                yield from ((i, j) for j in others if j > i)
            else:
                yield from ((j, i) for j in others if j < i)
                yield from ((i, j) for j in others if j > i and events[j].ordered == "acquire")


def bits(mask: int) -> Iterator[int]:
    """The places of the bits that are set."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def needed(events: Events, store: int) -> int:
    """The loads, as bits, that a store depends on: by address, data or control, or by an earlier access's address."""
    event = events[store]
    mask = event.address.all | event.data.all | event.control.all
    for earlier in events[:store]:
        if earlier.kind in DATA:
            mask |= earlier.address.all
    return mask


def dependency(events: Events) -> Pairs:
    """``addr | data | ctrl; [W] | addr; [Exp]; po; [W] | addr; [Exp]; po; [CSE]; po; [R]`` (``dob``), with ``pob``."""
    for j, event in enumerate(events):
        if event.kind == "W":
            yield from ((i, j) for i in bits(needed(events, j)))
        elif event.kind == "R":
            yield from ((i, j) for i in bits(event.address.direct))
            for i in range(j - 1, -1, -1):  # ``(addr | data); lrs``: a load of one's own store
                if events[i].kind == "W" and events[i].place == event.place:
                    yield from ((k, j) for k in bits(events[i].address.direct | events[i].data.direct))
                    break


def dependency_maintenance(events: Events) -> Pairs:
    """``[Exp & R]; addr; [DC.CVAU | IC]``, and by control: neither is done speculatively."""
    for j, event in enumerate(events):
        if event.kind in ("dc", "ic"):
            yield from ((i, j) for i in bits(event.address.all | event.control.all))


def same_location(events: Events) -> Pairs:
    """``[M]; po-loc; [W]`` (``lws``)."""
    for j, event in enumerate(events):
        if event.kind == "W":
            yield from ((i, j) for i in range(j) if events[i].kind in DATA and events[i].place == event.place)


def same_line(events: Events) -> Pairs:
    """``(po & scl)`` of a DC with a load, a store or a DC; a location has a line of its own here."""
    for j, event in enumerate(events):
        for i in range(j):
            kinds = {events[i].kind, event.kind}
            if "dc" in kinds and kinds <= {"R", "W", "dc"} and events[i].place == event.place:
                yield i, j


#: Clauses of one thread, by name.
LOCAL: dict[str, Callable[[Events], Pairs]] = {
    clause.__name__: clause
    for clause in (
        fetch_first, dsb_full, dsb_full_ic, dsb_ld, dsb_st, isb_after_dsb, isb_after_control, isb_after_address,
        isb_fetched, dmb_full, dmb_full_dc, dmb_ld, dmb_st, acquire_release, dependency, dependency_maintenance,
        same_location, same_line,
    )
}  # fmt: skip

#: Clauses between threads and caches, by name, with what each says.
CACHES = {
    "fetch_reads": "`rf; [Imp & INSTR & R]`: a fetch is behind the store it takes from, its own thread's too",
    "reads_external": "`[Exp & M]; rf & ext; [Exp & M]`",
    "overwritten_external": "`[Exp & M]; (fr | co) & ext; [Exp & M]`",
    "hazard": "`[R]; po-loc; [R]; fre; [W]` (exp-haz-ob)",
    "through_memory": "`dtrm` with `rfi`: what a store depends on by way of a store that its thread has loaded",
    "internal": "coRW1, coWW and coWR: a thread sees its own stores in order",
    "ic_clean": "without DIC and IDC, `[IC]; ic-after; [F]; ca; [W]; dc-after; [DC.CVAU]`: the IC is before that DC",
    "ic_store": "with IDC alone, `[IC]; ic-after; [F]; ca; [W]`: the IC is before that store",
    "dic_store": "with DIC, `[F]; ca; [W]`: a fetch is before the store that it does not see",
    "ic_hazard": "`[F]; po; [F']; ic-after; [IC]; (DSB-ob | DSB-ob; [CSE]; po)`: before a fetch, too, behind an ISB",
    "dic_hazard": "with DIC, `[F]; po; [F']; ca; [W]`",
}

CLAUSES = (*LOCAL, *CACHES)  #: names of all
