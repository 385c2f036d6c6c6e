"""The reference: what any correct mechanism must do with a scenario, on any architecture.

The model predicts the whole trace by itself and is the only judge.  What differs between architectures is fixed here
by the specification rather than masked in the comparison:

* digests and values are of fixed width (32 bits, 64 for LONG), taken over values and never over memory;
* targets are named by function and number, never by address;
* NULL is legal for void functions only, so no call has an unspecified value;
* RET0 returns zero in the full width of the function's type, and is legal for integers only;
* patching a function to its default is the same as restoring it;
* stack and ABI words are differences and violations, so they are zero everywhere.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from farm.scenario import (
    COMPOSITE,
    DERIVED,
    FUNCTIONS,
    PATTERN_SIZE,
    REAL_TARGETS,
    WORK,
    Address,
    Call,
    Code,
    FailPoke,
    Interrupted,
    Kind,
    Load,
    LockText,
    Loop,
    Original,
    Output,
    Patch,
    Protection,
    Query,
    Restore,
    Scenario,
    Scribble,
    Shape,
    Sites,
    Status,
    Step,
    Tamper,
    Target,
    Unload,
    algorithms,
    has_call_site,
    substeps,
)
from farm.scenario.layout import DOUBLE_BITS, FNV_BASIS, NO_TARGET, TRACE_EVENTS
from farm.scenario.wire import Event, fnv, target_word

_MASK32 = 0xFFFFFFFF
_MASK64 = 0xFFFFFFFFFFFFFFFF

#: The low byte of an event's target word when it names a function and no target.
ANY_TARGET = 0xFF


class ScenarioError(ValueError):
    """The scenario asks for something that the specification leaves open.

    ``step`` is the number of the step that does, where that is known.
    """

    step: int | None = None

    def __str__(self) -> str:
        words = super().__str__()
        return words if self.step is None else f"step {self.step}: {words}"


def _halves(*values: int) -> tuple[int, ...]:
    """64-bit values as 32-bit words, low ones first."""
    return tuple(word for value in values for word in (value & _MASK32, value >> 32 & _MASK32))


def _extended(value: int, bits: int) -> int:
    """The low ``bits`` of ``value`` as a signed number, in 32 bits."""
    value &= (1 << bits) - 1
    return (value - (value >> bits - 1 << bits)) & _MASK32


def _double(x: int, i: int) -> int:
    """The bits of the ``i``-th double for ``x``."""
    return DOUBLE_BITS[i] ^ (x & 0xFFFF if i % 2 else 0)


def arguments(kind: Kind, x: int) -> tuple[int, ...]:
    """The 32-bit words that a target's argument digest covers, for a call with ``x``.

    LONG gets a second argument, ``3 * (uint32_t)x + 1``; WIDE and MANY get ``x + 0x1111 * i``, of which the digest
    takes the low 32 bits (the guest itself checks the upper ones).  For the others see ``images/guest/kinds.h``.
    """
    x &= _MASK64
    low = x & _MASK32
    match kind:
        case Kind.INT | Kind.VOID:
            return (low,)
        case Kind.LONG:
            return (low, x >> 32, (3 * low + 1) & _MASK32)
        case Kind.WIDE | Kind.MANY:
            return tuple((x + 0x1111 * i) & _MASK32 for i in range(8 if kind is Kind.WIDE else 12))
        case Kind.NARROW:
            sixteen = (_extended(x, 16), low & 0xFFFF)
            return (_extended(x, 8), low & 0xFF, *sixteen, low, low, _extended(x >> 8, 8), low >> 16)
        case Kind.SMALL:
            return (low, _extended(x, 16), low & 0xFF, *_halves(~x), 3 * low & _MASK32)
        case Kind.LARGE:
            return (low, *_halves(x, ~x, x << 32, x + (1 << 32)))
        case Kind.INT128:
            return (low, *_halves(x, ~x))
        case Kind.DOUBLES:
            return _halves(*(_double(x, i) for i in range(8)))
        case Kind.MIXED:
            integers, more = (low, *_halves(_double(x, 1), x)), (~low & _MASK32, *_halves(_double(x, 3), ~x))
            return (*integers, *more, 3 * low & _MASK32, *_halves(_double(x, 5), 3 * x))
        case Kind.VARIADIC:
            triples = (((low + i) & _MASK32, *_halves(_double(x, i + 1), x + i)) for i in range(4))
            return (4, *(word for triple in triples for word in triple))
        case Kind.CRC | Kind.CHACHA:
            raise ValueError(f"the arguments of {kind.name} depend on the calls before")


def value(function: int, target: Target, x: int) -> int:
    """Result of a call of ``target`` with ``x``: 0 for a void function, a digest for a result of several words."""
    kind = FUNCTIONS[function]
    match kind:
        case Kind.VOID:
            return 0
        case Kind.INT:
            operand = x & _MASK32
        case Kind.LONG:
            operand = (x + ((3 * x + 1) & _MASK32)) & _MASK64
        case Kind.CRC | Kind.CHACHA:
            raise ValueError(f"the value of {kind.name} depends on the calls before")
        case _:
            operand = fnv(arguments(kind, x))
    result = _BODIES[target](operand) + (function << 20)
    return _returned(kind, result) & _width(function)


#: Result that each target computes from a function's operand.
_BODIES: dict[Target, Callable[[int], int]] = {
    Target.DEFAULT: lambda operand: operand + 1000,
    Target.FAST: lambda operand: 2 * operand + 1,
    Target.OTHER: lambda operand: operand ^ 0x55,
    Target.FAR: lambda operand: 3 * operand + 7,
}


def _returned(kind: Kind, result: int) -> int:
    """``result`` as a call site receives it in the function's return type."""
    if kind is Kind.LONG:
        return result
    result &= _MASK32
    match kind:
        case Kind.NARROW:
            return _extended(result, 16)
        case Kind.SMALL:
            return fnv((result, _extended(~result, 16), result & 0xFF, *_halves(~result)))
        case Kind.LARGE:
            return fnv(_halves(result, ~result, result << 32, result + (1 << 32)))
        case Kind.INT128:
            return fnv(_halves(result, ~result))
        case Kind.DOUBLES:
            return fnv(_halves(0x7FF8 << 48 | result))
        case Kind.MIXED:
            return result | (~result & _MASK32) << 32
    return result


_WIDTHS = tuple({Kind.LONG: _MASK64, Kind.MIXED: _MASK64, Kind.CRC: 0xFFFF}.get(k, _MASK32) for k in FUNCTIONS)


def _width(function: int) -> int:
    """The mask of a function's return type."""
    return _WIDTHS[function]


@dataclass
class _Work:
    """State of CRC and CHACHA, and the bytes that CHACHA has written."""

    crc: int = 0
    counter: int = 1
    out: bytes = b""


#: Method of :class:`Reference` that does each type of step.
DOES: dict[type[Step], Callable[[Any, Any, int], None]] = {}

_Method = TypeVar("_Method", bound=Callable[[Any, Any, int], None])


def _does(*types: type[Step]) -> Callable[[_Method], _Method]:
    """Mark the method that says what steps of ``types`` do."""

    def marked(method: _Method) -> _Method:
        DOES.update(dict.fromkeys(types, method))
        return method

    return marked


@dataclass
class Reference:
    """A guest that makes no mistake, on a CPU with ``features``.  After a :class:`ScenarioError` it is of no use."""

    features: frozenset[str] = frozenset()
    redirects: bool = False  #: every mechanism that runs this redirects call sites
    events: list[Event] = field(default_factory=list)
    current: list[Target] = field(default_factory=lambda: [Target.DEFAULT] * len(FUNCTIONS))
    scribbled: set[int] = field(default_factory=set)
    locked: bool = False
    behind: set[int] = field(default_factory=set)  #: loaded while text was locked: its call sites may be on the stub
    chosen: set[int] = field(default_factory=set)  #: led to BEST: where that is depends on the CPU
    failing_poke: int = 0  #: the number of the store to code from now that fails; 0: none
    loaded: bool = False
    depth: int = 0
    iteration: int = 0
    work: _Work = field(default_factory=_Work)
    at_work: set[Kind] = field(default_factory=set)

    def copy(self) -> Reference:
        """A guest in the same state, which goes its own way."""
        return Reference(**{name: copy.copy(value) for name, value in vars(self).items()})

    def emit(self, kind: str, step: int, target: int = NO_TARGET, *, arguments: int = 0, value: int = 0) -> None:
        self.events.append(Event(kind, step, target, arguments, value, 0, 0, self.depth))

    def run(self, steps: tuple[Step, ...], first: int) -> None:
        for step in steps:
            try:
                self.execute(step, first)
            except ScenarioError as error:
                error.step = first if error.step is None else error.step
                raise
            first += size(step) if step.NESTED else 1

    def execute(self, step: Step, number: int) -> None:
        """Do ``step``.  Raises :class:`TypeError` for one that the specification knows nothing of."""
        does = DOES.get(type(step))
        if does is None:
            raise TypeError(f"the model does not know what {type(step).__name__} does")
        does(self, step, number)

    @_does(Patch)
    def patch(self, step: Patch, number: int) -> None:
        self.emit("patch", number, target_word(step.function, step.target), value=self.request(step))

    @_does(Restore)
    def restore(self, step: Restore, number: int) -> None:
        word = target_word(step.function, Target.DEFAULT)
        self.emit("restore", number, word, value=self.set(step.function, Target.DEFAULT))

    @_does(Query)
    def query(self, step: Query, number: int) -> None:
        if step.function in self.scribbled:
            raise ScenarioError(f"whatever_{step.function} is queried while foreign bytes are at its stub")
        self.emit("query", number, target_word(step.function, self.current[step.function]))

    @_does(Address)
    def address(self, step: Address, number: int) -> None:
        self.emit("address", number, step.function << 8 | ANY_TARGET)

    @_does(Scribble)
    def scribble(self, step: Scribble, number: int) -> None:
        status = Status.READ_ONLY if self.locked else Status.OK
        if status is Status.OK:
            self.scribbled.add(step.function)
        self.emit("scribble", number, step.function << 8 | ANY_TARGET, value=status)

    @_does(Tamper)
    def tamper(self, step: Tamper, number: int) -> None:
        if self.locked or step.function in self.scribbled:
            raise ScenarioError(f"whatever_{step.function} is tampered with while its text is locked or foreign")
        self.emit("tamper", number, step.function << 8 | ANY_TARGET)

    @_does(LockText)
    def lock_text(self, step: LockText, number: int) -> None:
        self.locked = step.locked
        self.emit("lock", number, value=int(step.locked))

    @_does(FailPoke)
    def fail_poke(self, step: FailPoke, number: int) -> None:
        self.failing_poke = step.number
        self.emit("fail-poke", number, value=step.number)

    @_does(Protection)
    def protection(self, step: Protection, number: int) -> None:
        del step
        self.emit("protection", number)

    @_does(Output)
    def output(self, step: Output, number: int) -> None:
        del step
        if Kind.CHACHA in self.at_work:
            raise ScenarioError("the output is asked for while it is being written")
        digest = algorithms.fnv_bytes(self.work.out, FNV_BASIS)
        self.emit("output", number, arguments=len(self.work.out), value=digest)

    def request(self, step: Patch) -> Status:
        """The mechanism's answer to ``step``."""
        if step.offset and step.target in (Target.NULL, Target.RET0):
            raise ScenarioError(f"{step.target.name} at an offset of whatever_{step.function}: no guest can be asked")
        if step.offset:
            return Status.MISALIGNED
        match step.target:
            case Target.BEST:
                status = self.set(step.function, Target.FAST if "clmul" in self.features else Target.DEFAULT)
                self.chosen |= {step.function} if status is Status.OK else set()
                return status
            case Target.STUB | Target.DATA | Target.ZERO | Target.END | Target.FAR_END:
                return Status.BAD_TARGET
            case Target.MISALIGNED | Target.HALFWAY:
                return Status.MISALIGNED
            case Target.NULL if FUNCTIONS[step.function] is not Kind.VOID:
                return Status.BAD_TARGET
            case Target.RET0 if FUNCTIONS[step.function] in COMPOSITE:
                return Status.BAD_TARGET
        return self.set(step.function, step.target)

    def set(self, function: int, target: Target) -> Status:
        if function in self.scribbled:
            return Status.FOREIGN
        if self.locked:
            return Status.READ_ONLY
        if self.failing_poke:  # a request stores to the stub first, and to call sites if they have to change
            near = target in (Target.DEFAULT, Target.FAST, Target.OTHER)
            if self.failing_poke > 1 and (target is self.current[function] or not near):
                raise ScenarioError(f"whatever_{function}: how many stores to code this takes is left open")
            self.failing_poke = 0
            return Status.READ_ONLY
        self.current[function] = target
        self.behind.discard(function)
        self.chosen.discard(function)
        return Status.OK

    @_does(Interrupted)
    def interrupted(self, step: Interrupted, number: int) -> None:
        if not {step.target, step.elsewhere} <= set(REAL_TARGETS) or self.locked or self.failing_poke or self.scribbled:
            raise ScenarioError(f"whatever_{step.function}: this request may be refused before it has a middle")
        self.current[step.function] = step.target
        self.behind.discard(step.function)
        self.chosen.discard(step.function)
        self.emit("interrupt", number, target_word(step.other, step.elsewhere), value=Status.BUSY)
        self.emit("patch", number, target_word(step.function, step.target))

    @_does(Load, Unload)
    def load(self, step: Load | Unload, number: int) -> None:
        loading = isinstance(step, Load)
        if loading is self.loaded or self.failing_poke or self.depth:
            raise ScenarioError(
                "the module is loaded and unloaded in turn, at the outermost level, while no store to code is to fail"
            )
        self.loaded = loading
        patched = {function for function, target in enumerate(self.current) if target is not Target.DEFAULT}
        self.behind = patched if loading and self.locked else set()
        self.emit("load" if loading else "unload", number)

    @_does(Code)
    def code(self, step: Code, number: int) -> None:
        functions = range(len(FUNCTIONS)) if step.function is None else (step.function,)
        word = NO_TARGET if step.function is None else step.function << 8 | ANY_TARGET
        changed = any(f in self.scribbled or self.current[f] is not Target.DEFAULT for f in functions)
        self.emit("code", number, word, value=int(changed))

    @_does(Sites)
    def sites(self, step: Sites, number: int) -> None:
        function = f"whatever_{step.function}"
        if step.target is not self.current[step.function] or step.target not in REAL_TARGETS:
            raise ScenarioError(
                f"the call sites of {function} are expected at {step.target.name}, where it does not lead"
            )
        if step.function in self.chosen:
            raise ScenarioError(f"where {function} leads depends on the CPU, and the step would be legal on some only")
        if step.function in self.behind:
            raise ScenarioError(f"the module was loaded while its text was locked: its calls of {function} may stay")
        self.emit("sites", number, target_word(step.function, step.target))

    @_does(Call)
    def call(self, step: Call, number: int) -> None:
        function = step.function
        inside = [step.inside]
        base = (step.x + step.stride * self.iteration) & _MASK64
        kind = FUNCTIONS[function]

        def reach(start: int, x: int, level: int) -> int:
            via, passed = start, {start}
            while self.current[via] is Target.NEXT:
                via = (via + 1) % len(FUNCTIONS)
                if via in passed:
                    raise ScenarioError(f"whatever_{function} leads back to itself")
                passed.add(via)
            if FUNCTIONS[via] is not kind:
                raise ScenarioError(f"whatever_{function} leads to whatever_{via}, which has another prototype")
            if self.scribbled and self.scribbled & passed and not self.bypasses(step, via):
                raise ScenarioError(f"whatever_{function} is called while foreign bytes are at its stub")
            if kind in WORK:
                self.begin_work(function, x)
            target = self.current[via]
            if target not in REAL_TARGETS:  # NULL or RET0
                return 0
            result = self.enter(via, target, x, number)
            if level == step.at and inside[0]:
                steps, inside[0] = inside[0], ()
                self.run_inside(via, steps, number + 1)
            if step.shape is Shape.RECURSIVE and level < step.count and kind not in DERIVED:
                result += reach(via, (x - 1) & _MASK64, level + 1)
            self.depth -= 1
            return result & _width(function)

        if not has_call_site(function, step.shape):
            raise ScenarioError(f"whatever_{function} has no call site of shape {step.shape.name.lower()}")
        if step.shape is Shape.MODULE and not self.loaded:
            raise ScenarioError(f"whatever_{function} is called from the module, which is not loaded")
        match step.shape:
            case Shape.CONDITIONAL:
                result = reach(function, base, 0) if base & 1 else base
            case Shape.USED | Shape.MODULE:
                result = reach(function, base, 0) + 1
            case Shape.IGNORED:
                reach(function, base, 0)
                result = 0
            case Shape.COUNTED:
                reach(function, base, 0)
                result = 1
            case Shape.TWICE:
                result = reach(function, base, 0) + reach(function, (base + 1) & _MASK64, 0)
            case Shape.LOOPED | Shape.CALLBACK:
                result = sum(reach(function, (base + i) & _MASK64, 0) for i in range(step.count))
            case Shape.TAIL | Shape.POINTER | Shape.BARE | Shape.RECURSIVE:
                result = reach(function, base, 0)
        if kind is Kind.VOID and step.shape is not Shape.COUNTED:
            result = 0
        self.emit("return", number, function << 8 | ANY_TARGET, value=result & _width(function))

    @_does(Original)
    def original(self, step: Original, number: int) -> None:
        function = step.function
        if function in self.scribbled:
            raise ScenarioError(f"the original of whatever_{function} is called while foreign bytes are at its stub")
        if FUNCTIONS[function] in WORK:
            self.begin_work(function, step.x)
        result = self.enter(function, Target.DEFAULT, step.x & _MASK64, number)
        self.run_inside(function, step.inside, number + 1)
        self.depth -= 1
        self.emit("return", number, function << 8 | ANY_TARGET, value=result)

    def enter(self, function: int, target: Target, x: int, number: int) -> int:
        """Result of ``target``, which is entered with ``x`` and now runs."""
        kind = FUNCTIONS[function]
        if kind in WORK:
            digest, note, result = self.do_work(kind, target, x)
        else:
            digest, note, result = fnv(arguments(kind, x)), 0, value(function, target, x)
        self.emit("enter", number, target_word(function, target), arguments=digest, value=note)
        self.depth += 1
        return result

    def run_inside(self, function: int, steps: tuple[Step, ...], number: int) -> None:
        """Run ``steps``, the first of which is ``number``, inside the target of ``function`` that was entered last."""
        self.at_work |= {FUNCTIONS[function]} & WORK
        self.run(steps, number)
        self.at_work.discard(FUNCTIONS[function])

    def bypasses(self, call: Call, reached: int) -> bool:
        """The call does not come by the stub, so that foreign bytes there do not matter to it."""
        redirected = reached == call.function and self.current[reached] in (Target.FAST, Target.OTHER)
        return self.redirects and call.shape is Shape.BARE and redirected

    def begin_work(self, function: int, x: int) -> None:
        """The call site's part of a CRC or CHACHA call (:func:`piece`), whatever the call leads to."""
        length, start, more = x & 0xFFFF, x >> 16 & 0xFFFF, x >> 32 & 1
        if FUNCTIONS[function] in self.at_work:  # its state is both the caller's and the target's
            raise ScenarioError(f"whatever_{function} is called from inside itself, with its work half done")
        if start + length > PATTERN_SIZE:
            raise ScenarioError(f"{length} bytes from {start} are more than the pattern has")
        if FUNCTIONS[function] is Kind.CHACHA:
            if not more:
                self.work.out = b""
            if len(self.work.out) + length > 2 * PATTERN_SIZE:
                raise ScenarioError(f"{len(self.work.out) + length} bytes are more than the output holds")

    def do_work(self, kind: Kind, target: Target, x: int) -> tuple[int, int, int]:
        """Argument digest, bytes that accelerated code takes, and value of a CRC or CHACHA call (:func:`piece`)."""
        length, start, more = x & 0xFFFF, x >> 16 & 0xFFFF, x >> 32 & 1
        work = self.work
        if kind is Kind.CRC:
            before = work.crc if more else 0
            work.crc = algorithms.crc_of_pattern(start, length, before)
            fast = length & ~7 if target is Target.FAST and length >= 16 and "clmul" in self.features else 0
            return fnv((before, start, length)), fast, work.crc
        data = algorithms.pattern()[start : start + length]
        counter = work.counter if more else (_MASK32 if x >> 34 & 1 else 1)
        work.out += algorithms.chacha20(data, counter)
        work.counter = (counter + -(-length // 64)) & _MASK32
        return fnv((counter, length)), 0, work.counter

    @_does(Loop)
    def loop(self, step: Loop, number: int) -> None:
        outer, self.events, iteration = self.events, [], self.iteration
        digest, folded = FNV_BASIS, 0
        for self.iteration in range(step.count):
            self.run(step.steps, number + 1)
            folded += len(self.events)
            for event in self.events:
                digest = fnv(event.words(), digest)
            self.events.clear()
        self.events, self.iteration = outer, iteration
        self.emit("loop", number, arguments=folded, value=digest | step.count << 32)


def size(step: Step) -> int:
    """Number of step numbers that ``step`` takes: one, and those of everything nested in it."""
    inside = substeps(step)
    return 1 + sum(map(size, inside)) if inside else 1


@functools.lru_cache(maxsize=4096)
def predict(scenario: Scenario, features: frozenset[str] = frozenset()) -> tuple[Event, ...]:
    """The trace that any correct mechanism leaves on a CPU with ``features``.

    Raises :class:`ScenarioError` if the scenario leaves the specification, or if a guest could not hold its trace.
    """
    guest = Reference(features, redirects=scenario.redirected)
    guest.run(scenario.steps, 0)
    if not guest.events:
        raise ScenarioError("no events: it would prove nothing")
    if len(guest.events) > TRACE_EVENTS:
        raise ScenarioError(f"{len(guest.events)} events; a guest holds {TRACE_EVENTS}: use loop()")
    return tuple(guest.events)
