"""The audit of stores to code: whether a mechanism obeys its architecture's rules (:mod:`farm.guest.rules`).

No second CPU is needed, and no cache: an engine notes what is stored where, which maintenance was executed for which
address, and how the text's protection changed (:class:`~farm.engines.Watches`); here that is compared with the rules.
So it sees what no trace shows: an emulator fetches what was stored, flush or no flush, whole or in halves.

Only what a mechanism does in a request is judged; the farm's own loader of modules and its fault injection store to
text too.  Decisions:

* A word that holds an address in the image is a data slot, whatever the mechanism: no instruction here reads as one.
* What a mechanism makes at run time, behind ``patched_end``, is *fresh* in the request that first stores to it: nothing
  leads there yet, so it may be stored in any way, but its maintenance must be over before something live leads there.
* A live instruction changes by stores to one and the same bytes in a request.  The halves of a torn word may each read
  as a harmless branch; that there are two of them is what gives them away.
* The least block that the architecture allows is what a step with an address is for, so maintenance that happens to
  hit the same line of a larger cache is not enough.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from farm.engines import Note, Noted
from farm.prove.breakpoints import Breakpoints
from farm.prove.demands import ANNEX, Demands, Store, around
from farm.prove.findings import Breach, Findings
from farm.prove.pages import Pages
from farm.prove.repeats import Judged, Repeats, Request
from farm.scenario import prose

if TYPE_CHECKING:
    from farm.scenario.wire import Event

_SHOWN = 3  # call sites
_PAGE = 0x1000  # bytes; protection changes by so many at least
_WRITE = 2


#: Source of the rule that text is writable for no longer than a request.
_CLOSED = "images/mechanism/common/mechanism.h, text_open and text_close"


@dataclass
class _Pending:
    """Bytes of code whose maintenance is not over."""

    store: Store
    step: int = 0  #: the next one


@dataclass(frozen=True)
class Entered:
    """The targets that a trace says were entered, in order."""

    words: tuple[int, ...]  #: each as :func:`~farm.scenario.wire.target_word` has it
    is_all: bool  #: else others were entered too, of which a trace has a digest alone

    @classmethod
    def of(cls, events: Sequence[Event]) -> Self:
        """Of a trace with these events."""
        words = tuple(event.target for event in events if event.kind == "enter")
        return cls(words, is_all=not any(event.kind == "loop" for event in events))


def judge(
    demands: Demands, notes: Sequence[Note], entered: Entered | None = None, repeats: Repeats | None = None
) -> Findings:
    """What a program did of which these are all notes; with ``entered``, whether that is what it executed.

    ``repeats`` are the requests that were judged of the same image by the same ``demands``; others are added.
    """
    run = _Run(demands, repeats or Repeats())
    findings = run.judge(notes)
    if entered:
        run.compare(entered)
    return findings


class _Run:
    """The audit of one program."""

    def __init__(self, demands: Demands, repeats: Repeats) -> None:
        self.demands = demands
        self._repeats = repeats
        self.findings = Findings()
        self._code = Pages(demands.pristine)
        self._depth: list[int] = []  # stack pointers of the requests that are under way
        self._open: set[int] = set()  # numbers of pages that can be written
        self._open_before: set[int] = set()
        self._pending: dict[int, _Pending] = {}  # by number of block
        self._made: set[int] = set()  # pieces of the annex that earlier requests made
        self._asked: set[int] = set()  # pieces that the request stores to
        self._executed: list[int] = []  # addresses of targets
        self._module = False  # it is loaded
        self._cut = 0  # requests that are not in the notes
        self._leads: dict[int, int] = {}  # by function: where its stub leads, if a branch there says so
        self._reset()

    def _reset(self) -> None:
        """A request begins."""
        self._breakpoints = Breakpoints(self.demands.variant.atomicity)
        self._live: list[Store] = []  # to live code
        self._changed: dict[range, Store] = {}  # by instruction: the last store that changed it
        self._making: set[int] = set()
        self._patched: dict[int, Store] = {}  # by function: the last store to its stub, or to a call site of its
        self._unordered: Store | None = None  # the last one to a slot, without a barrier behind it
        self._leading: dict[int, Store] = {}  # by stub: the last one to a word, if it leads to the slot

    def judge(self, notes: Sequence[Note]) -> Findings:
        """What the program did, of which these are all notes."""
        outside, place = self.demands.watched.outside, 0
        while place < len(notes):
            if notes[place].kind != Noted.BEGIN or self._goes_on(notes[place].value):
                self._on_note(notes[place])
                place += 1
                continue
            request = Request.of(notes, place, outside)
            state = frozenset(self._open), self._module
            judged = self._repeats.find(request, state, self._code, self._made)
            if judged is None:
                judged = self._judged(request)
                if request.is_over:
                    self._repeats.keep(request, state, judged)
            else:
                self._take(judged)
            self.findings.add(judged.findings)
            place += len(request.notes)
        self._unfinished()
        if self._cut:
            self.findings.unaudited[f"requests behind the first {self.findings.requests}"] = self._cut
        elif self._open:
            self._breach(
                "closed", "text can be written although every request is over", _CLOSED, None, min(self._open) * _PAGE
            )
        return self.findings

    def _goes_on(self, stack: int) -> bool:
        """A request is still under way as another begins."""
        while self._depth and self._depth[-1] <= stack:
            self._on_end()  # it is over, and nothing said so
        return bool(self._depth)

    def _judged(self, request: Request) -> Judged:
        """The ``request``, judged note by note."""
        all_findings, self.findings = self.findings, Findings()
        executed, self._executed = self._executed, []
        made, self._asked = frozenset(self._made), set()
        self._code.look()
        for note in request.notes:
            self._on_note(note)
        written = tuple((note.place, note.after) for note in request.notes if note.kind == Noted.STORE)
        functions = {self.demands.sites.function(address) for address, _ in written}
        judged = Judged(
            findings=self.findings,
            executed=tuple(self._executed),
            written=written,
            leads={function: self._leads.get(function) for function in functions if function is not None},
            made=frozenset(self._made - made),
            open=frozenset(self._open),
            module=self._module,
            looked_at=self._code.looked_at(),
            asked={piece: piece not in made for piece in self._asked},
        )
        self.findings = all_findings
        self._executed = [*executed, *judged.executed]
        return judged

    def _take(self, judged: Judged) -> None:
        """Do again what a request did that has been judged."""
        for address, after in judged.written:
            self._code.write(address, after)
        self._executed += judged.executed
        self._made |= judged.made
        self._open, self._open_before, self._module = set(judged.open), set(judged.open), judged.module
        for function, to in judged.leads.items():
            self._leads.pop(function, None)
            if to is not None:
                self._leads[function] = to

    def _on_note(self, note: Note) -> None:
        kind = note.kind
        if kind == Noted.INSTRUCTION:
            self._on_instruction(note.place, note.value)
        elif kind == Noted.STORE:
            self._on_store(Store(note.place, note.before, note.after, note.value))
        elif kind == Noted.ENTRY:
            self._executed.append(note.place)
        elif kind == Noted.PROTECTION:
            self._on_protection(note)
        elif kind == Noted.BEGIN:
            self._on_begin(note.value)
        elif kind == Noted.KERNEL:
            self._on_kernel(range(note.place, note.place + note.value))
        elif kind == Noted.CUT:
            self._cut = note.value
        elif kind == Noted.END:
            self._on_end()
            while self._depth and note.place in self.demands.watched.outside:
                self._on_end()
            if note.place in self.demands.watched.outside:
                self._module = note.place == self.demands.watched.loader

    # What is noted.

    def _on_begin(self, stack: int) -> None:
        if not self._goes_on(stack):
            self.findings.requests += 1
            self._open_before = set(self._open)
            self._reset()
        self._depth.append(stack)

    def _on_end(self) -> None:
        if not self._depth:
            return
        self._unfinished()
        self._depth.pop()
        if self._depth:
            return
        self._made |= self._making
        self._left_behind()
        for page in sorted(self._open - self._open_before):
            self._breach(
                "closed", "text can be written after the request, and could not before", _CLOSED, None, page * _PAGE
            )
            break
        self._open_before = set(self._open)

    def _left_behind(self) -> None:
        """The request is over, and of the functions that it patched, all call sites lead where some do."""
        demands = self.demands
        left = demands.sites.left(self._patched, self._leads, self._code.read, module=self._module)
        if left:
            behind = ", ".join(demands.name(address) for address in left.behind[:_SHOWN])
            more = f" and {len(left.behind) - _SHOWN} more" if len(left.behind) > _SHOWN else ""
            why = (
                f"of the {left.total} call sites of whatever_{left.function}, {len(left.behind)} do not lead to "
                f"{demands.name(left.to)}: {behind}{more}"
            )
            store = self._patched[left.function]
            self._breach("sites", why, "`redirects` in its mechanism.toml", store, store.address)

    def compare(self, entered: Entered) -> None:
        """What the trace says was entered was executed."""
        known = self.demands.watched.entries
        executed = [known[address] for address in self._executed]
        if self._cut and not entered.is_all:
            return
        if entered.is_all:
            words = entered.words[: len(executed)] if self._cut else entered.words
            pairs = enumerate(itertools.zip_longest(words, executed), 1)
            number, (said, seen) = next((pair for pair in pairs if pair[1][0] != pair[1][1]), (0, (None, None)))
            did = f"{prose.target_name(seen)} was executed" if seen is not None else "none was executed"
        else:
            rest = iter(executed)
            number, said = next(((i, word) for i, word in enumerate(entered.words, 1) if word not in rest), (0, None))
            seen, did = None, "it was not executed then"
        if number:
            says = f"is {prose.target_name(said)}" if said is not None else "is none"
            at = next(address for address, word in known.items() if word == (said if said is not None else seen))
            self._breach(
                "entered", f"target number {number} that the trace says was entered {says}, and {did}", "", None, at
            )

    def _on_protection(self, note: Note) -> None:
        pages = set(range(note.place // _PAGE, -(-(note.place + note.value) // _PAGE)))
        self._open = self._open | pages if note.before[0] & _WRITE else self._open - pages

    def _on_instruction(self, number: int, operand: int) -> None:
        demands, steps = self.demands, self.demands.steps_for(number)
        if demands.watched.meanings[number].serialises:
            self._breakpoints.serialise()
        if demands.watched.meanings[number].is_barrier:
            self._unordered = None
        for block, pending in list(self._pending.items()):
            if pending.step not in steps:
                continue
            if not demands.is_for(demands.steps[pending.step], operand, block):
                continue
            pending.step += 1
            if pending.step == len(demands.steps):
                del self._pending[block]

    def _on_kernel(self, asked: range) -> None:
        """The kernel does the steps that it may be asked for, of all blocks that it is asked about."""
        demands = self.demands
        for block, pending in list(self._pending.items()):
            if not demands.is_asked(asked, block):
                continue
            while pending.step < len(demands.steps) and demands.steps[pending.step].kernel:
                pending.step += 1
            if pending.step == len(demands.steps):
                del self._pending[block]

    def _on_store(self, store: Store) -> None:
        self._code.write(store.address, store.after)
        if (function := self.demands.sites.function(store.address)) is not None:
            self._patched[function] = store
            self._leads.pop(function, None)
        if not self._depth:
            self.findings.unaudited["made outside of requests"] += 1
            return
        demands = self.demands
        if not demands.is_declared(store):
            where = ", ".join(f"{span.start:#x} to {span.stop:#x}" for span in demands.declared)
            why = f"the mechanism says that it changes nothing but {where}"
            self._breach("declared", why, "`writes` in its mechanism.toml", store, store.address)
        elif not demands.is_code(store.address):
            self._on_data(store)
        elif store.changed:
            self._on_code(store)
        else:
            self._on_same(store)

    def _on_data(self, store: Store) -> None:
        """A pointer, a literal, or the data slot of a stub."""
        demands, word = self.demands, self.demands.variant.word_size
        self.findings.stores["data"] += 1
        manual = demands.is_whole(store)
        if manual is not None or store.size != word:
            why = f"a word of data, of {word} bytes, is stored in parts, and a load between them has half of each"
            self._breach("data", why, manual or demands.variant.atomicity.manual, store, store.address)

    def _on_code(self, store: Store) -> None:
        demands = self.demands
        fresh = self._is_fresh(store)
        if demands.is_slot(store):
            self._on_slot(store)
            return
        if fresh:
            self.findings.stores["fresh"] += 1
            self._making.add(store.address // ANNEX)
        else:
            self.findings.stores["code"] += 1
            if demands.concurrent:
                self._on_live(store)
        for why in demands.unseen:
            self.findings.unaudited[f"without a step of the maintenance: {why}"] += 1
        if demands.steps:
            for block in range(store.changed.start // demands.block, (store.changed.stop - 1) // demands.block + 1):
                self._pending[block] = _Pending(store)

    def _on_slot(self, store: Store) -> None:
        self._on_data(store)
        if not store.changed:
            return
        self._unordered = store
        stub = self._stub(store.address)
        if self.demands.concurrent and stub in self._leading:
            leading = self._leading[stub]
            why = (
                f"the slot is stored to behind the word at {self.demands.name(leading.address)} that leads to it, so "
                "who comes meanwhile goes where it led before"
            )
            self._breach("order", why, self.demands.barrier_manual, store, store.address)

    def _on_same(self, store: Store) -> None:
        """Live code is stored to, and is what it was: it may be a part of an instruction that another store changed."""
        if self.demands.concurrent and not self._is_fresh(store):
            self._live.append(store)
            for instruction, other in list(self._changed.items()):
                if self._is_part(other, instruction, store):
                    break

    def _is_fresh(self, store: Store) -> bool:
        if not self.demands.is_fresh_place(store.address):
            return False
        piece = store.address // ANNEX
        self._asked.add(piece)
        return piece not in self._made

    def _is_part(self, store: Store, instruction: range, other: Store) -> bool:
        """Both store to the ``instruction``, which the first changes, and not to the same bytes: a breach, then."""
        apart = (store.address, store.size) != (other.address, other.size)
        if not apart or other.end <= instruction.start or instruction.stop <= other.address:
            return False
        demands = self.demands
        why = (
            f"one instruction is stored in parts: {demands.name(other.pc)} stores {other.size} bytes of it at "
            f"{other.address:#x}, and who executes it between the two has some of each"
        )
        self._breach("whole", why, demands.variant.atomicity.manual, store, store.address)
        return True

    def _on_live(self, store: Store) -> None:
        """Code that others may be executing changes."""
        if self._is_by_breakpoint(store):
            return
        self._live.append(store)
        demands = self.demands
        manual = demands.is_whole(store)
        if manual is not None:
            self._breach("whole", f"a store of {store.size} bytes there is seen in parts", manual, store, store.address)
            return
        promised = demands.promised(store, self._code.read)
        basis, source, start = promised.basis, promised.source, promised.instruction.start
        if basis == "none" or (demands.strict and basis == "practice"):
            old, new = self._instructions(store, start)
            relied = f"; only {source} relies on it" if basis == "practice" else ""
            why = f"`{old}` becomes `{new}` while other CPUs may execute it, and no rule allows that{relied}"
            self._breach("fetch", why, "" if basis == "practice" else source, store, store.address)
            return
        if basis == "practice":
            self.findings.relied_on[source] += 1
        self._changed[promised.instruction] = store
        if any(self._is_part(store, promised.instruction, other) for other in self._live):
            return
        target = self._target(promised.instruction, store)
        if (function := demands.stub_of(store)) is not None and target not in demands.stubs:
            self._leads[function] = target
        if demands.leads_to_slot(target, self._code.read):
            self._on_lead(store)
        else:
            self._leading.pop(self._stub(store.address), None)
        if self._making and self._pending:
            made = next(iter(self._pending.values())).store
            why = f"code was made in this request of which the maintenance is not over: {self._missing(made)}"
            self._breach("maintenance", why, "", store, store.address)

    def _is_by_breakpoint(self, store: Store) -> bool:
        promised = self._breakpoints.promised(store)
        if promised is None or (promised.basis == "practice" and self.demands.strict):
            return False
        if promised.basis == "practice":
            self.findings.relied_on[promised.source] += 1
        return True

    def _target(self, instruction: range, store: Store) -> int:
        """Where execution goes from the ``instruction`` that was stored: if it does not say, to itself."""
        after = around(store, instruction.start, self._code.read)[1]
        return self.demands.destination(instruction.start, after)

    def _on_lead(self, store: Store) -> None:
        """A live instruction now leads to a slot."""
        demands = self.demands
        self._leading[self._stub(store.address)] = store
        if self._unordered and demands.barriers:
            slot = self._unordered
            why = (
                f"it leads to the slot at {demands.name(slot.address)}, which {demands.name(slot.pc)} stored to, and "
                f"nothing between the two orders them for other CPUs: {' or '.join(demands.barriers)}"
            )
            self._breach("order", why, demands.barrier_manual, store, store.address)

    # What is said.

    def _unfinished(self) -> None:
        """All maintenance is over as a request is; else it is a breach."""
        for block, pending in sorted(self._pending.items()):
            step = self.demands.steps[pending.step]
            at = block * self.demands.block
            why = (
                f"the request is over, and of the maintenance step {pending.step + 1}, `{step.instruction}`, has not "
                f"been executed for {at:#x}"
            )
            self._breach("maintenance", why, step.manual, pending.store, pending.store.address)
            break
        self._pending.clear()

    def _missing(self, store: Store) -> str:
        pending = next(each for each in self._pending.values() if each.store is store)
        return f"step {pending.step + 1}, `{self.demands.steps[pending.step].instruction}`, for {store.address:#x}"

    def _breach(self, rule: str, why: str, source: str, store: Store | None, address: int) -> None:
        demands = self.demands
        self.findings.breaches.append(
            Breach(
                rule=rule,
                why=why,
                source=source,
                address=address,
                before=store.before.hex() if store else "",
                after=store.after.hex() if store else "",
                pc=store.pc if store else 0,
                where=demands.name(address),
                by=demands.name(store.pc) if store else "",
            )
        )

    def _stub(self, address: int) -> int:
        """Number of the stub that the address is in."""
        return address // self.demands.stub_size

    def _instructions(self, store: Store, start: int) -> tuple[str, str]:
        """The instruction at ``start`` before the store and after it."""
        (_, old), (_, new) = (self.demands.instruction(start, code) for code in around(store, start, self._code.read))
        return old, new
