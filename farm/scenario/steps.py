"""The steps of a scenario, each declared once: its number in a program, its fields, its sentence, what it costs.

Encoding (:mod:`farm.scenario.wire`), the check (:mod:`farm.scenario.check`), words (:mod:`farm.scenario.prose`) and the
random programs and Python source of ``farm fuzz`` follow from what is declared here.  What a step does is said by the
reference model (:mod:`farm.scenario.model`), on its own, and done by the guest's interpreter
(``images/guest/interp.c``): a new step is a class here, a method there and an opcode in the interpreter.
"""

# Annotations are looked at when a step is declared: they are not left for later by an import from __future__.

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple, TypeAlias, TypeVar

from farm.errors import UsageError
from farm.scenario import fields
from farm.scenario.fields import LONG, Flag, FunctionOrAll, Long, Member, Nested, Number, Offset
from farm.scenario.functions import (
    COMPOSITE,
    FUNCTIONS,
    PATTERN_SIZE,
    REAL_TARGETS,
    WORK,
    Kind,
    Shape,
    Target,
    has_call_site,
)
from farm.scenario.promises import Fact, Need, Promise
from farm.text import counted


class Cost(NamedTuple):
    """Upper bounds of what steps cost: events, and targets that run at once."""

    events: int
    running: int = 0


#: A piece of real work costs as much as one event for every so many bytes.
_BYTES = 256


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a scenario.  :func:`declare` sets the attributes in capitals."""

    OP: ClassVar[int]  #: its number in a program
    SENTENCE: ClassVar[str]  #: with the names of fields in braces
    FIELDS: ClassVar[dict[str, fields.Field]]  #: their kinds by name
    OPERANDS: ClassVar[tuple[tuple[str, Callable[[list[int], Any], None]], ...]]  #: in an instruction's order
    CHECKS: ClassVar[tuple[tuple[str, str, Callable[[str, object], None]], ...]]  #: what errors call it, its name
    NESTED: ClassVar[str | None]  #: the name of the field that holds the steps inside it
    COST: ClassVar[Cost]  #: what it comes to without the steps inside it
    NEEDS: ClassVar[frozenset[Need]]  #: of a mechanism, whatever its fields hold

    def sentence(self) -> str:
        """``Lead whatever_0 to fast``; what is nested in the step has sentences of its own."""
        return self.SENTENCE.format(**{name: kind.words(getattr(self, name)) for name, kind in self.FIELDS.items()})

    def words(self, name: str) -> str:
        """Value of the field ``name``, as a part of a sentence."""
        return self.FIELDS[name].words(getattr(self, name))

    def check(self) -> None:
        """Raise :class:`~farm.errors.UsageError` if the step is not what a guest can be asked for.

        What is nested in it is not looked at.
        """
        for what, name, check in self.CHECKS:
            check(what, getattr(self, name))

    def needs(self) -> frozenset[Need]:
        """What a mechanism must offer to be asked for the step, without what is nested in it."""
        return self.NEEDS

    def cost(self, inside: Cost) -> Cost:
        """Upper bound of the step's cost if the steps nested in it cost ``inside``.  The step has passed the check."""
        return Cost(self.COST.events + inside.events, inside.running)


#: The number of each step in a program, in the order in which they are declared.
OPS: dict[type[Step], int] = {}

_Step = TypeVar("_Step", bound=Step)


def declare(
    number: int, sentence: str = "", *, operands: tuple[str, ...] = (), events: int = 1, needs: tuple[Need, ...] = ()
) -> Callable[[type[_Step]], type[_Step]]:
    """Declare the step ``number``, a dataclass each of whose fields is annotated with its kind.

    ``operands`` names its fields in the order of the instruction's words, where that is not their own; ``events`` is
    how many the step makes at most, or costs as many as; ``needs`` is what a mechanism must offer to be asked for it.
    A class without a ``sentence`` has a method for it.
    """

    def declared(step: type[_Step]) -> type[_Step]:
        kinds = {field.name: field.type.__metadata__[0] for field in dataclasses.fields(step)}  # type: ignore[union-attr]
        nested = [name for name, kind in kinds.items() if isinstance(kind, Nested)]
        plain = {name: kind for name, kind in kinds.items() if name not in nested}
        step.OP, step.SENTENCE, step.COST, step.NEEDS = number, sentence, Cost(events), frozenset(needs)
        step.FIELDS, step.NESTED = kinds, nested[0] if nested else None
        step.OPERANDS = tuple((name, plain[name].encode) for name in operands or plain)
        word = step.__name__.lower()
        step.CHECKS = tuple((f"{word}: {kind.called or name}", name, kind.check) for name, kind in plain.items())
        OPS[step] = number
        return step

    return declared


# What the fields are.

_TARGETS = {
    Target.DEFAULT: "its default",
    Target.FAST: "fast",
    Target.OTHER: "other",
    Target.FAR: "far, which no near branch reaches",
    Target.NULL: "nowhere (NULL)",
    Target.RET0: "a return of 0 (RET0)",
    Target.STUB: "itself",
    Target.DATA: "data, which is no code",
    Target.MISALIGNED: "the middle of an instruction",
    Target.HALFWAY: "an address between two that functions may have",
    Target.END: "the first address behind the text",
    Target.FAR_END: "the first address behind the far text",
    Target.ZERO: "address 0",
    Target.NEXT: "the next patchable function",
    Target.BEST: "the best target for this CPU",
}

_SHAPES = {
    Shape.USED: "and use the value",
    Shape.IGNORED: "and ignore the value",
    Shape.TAIL: "as a tail call",
    Shape.LOOPED: "in a loop, {times}",
    Shape.POINTER: "through its address",
    Shape.BARE: "from asm, with hidden registers, flags and red zone in use",
    Shape.CALLBACK: "through an iterator that has its address, {times}",
    Shape.COUNTED: "and count how often the argument is evaluated",
    Shape.CONDITIONAL: "if the argument is odd",
    Shape.MODULE: "from the module",
    Shape.TWICE: "at two sites side by side, the second with one more",
    Shape.RECURSIVE: "through a target that calls it again, {levels} deep",
}

_Function: TypeAlias = Annotated[int, fields.Function()]
_AnyTarget: TypeAlias = Annotated[Target, Member(Target, _TARGETS)]
_RealTarget: TypeAlias = Annotated[Target, Member(REAL_TARGETS, _TARGETS)]
_Count: TypeAlias = Annotated[int, Number()]
_Steps: TypeAlias = Annotated[tuple[Step, ...], Nested()]


#: Of a step that does what another tool would do to what a patch changes.
_FOREIGN = (Promise.REFUSES_FOREIGN,)


# The steps.


@declare(1, operands=("function", "shape", "x", "count", "at", "stride"))
@dataclass(frozen=True, slots=True)
class Call(Step):
    """Call a patchable function through a call site of the given shape.

    ``count`` is the number of iterations (LOOPED) or the recursion depth (RECURSIVE).  ``inside`` is a sub-program
    that the target runs before it returns, at recursion level ``at`` (0 is the outermost).  ``stride`` is added to
    ``x`` for every iteration of the innermost :class:`Loop` around it.
    """

    function: _Function
    x: Annotated[int, Long(LONG)] = 0
    shape: Annotated[Shape, Member(Shape, _SHAPES)] = Shape.USED
    count: _Count = 1
    at: _Count = 0
    inside: _Steps = ()
    stride: Annotated[int, Long(LONG, -LONG)] = 0

    def check(self) -> None:
        Step.check(self)
        if self.shape not in _CALLED[self.function]:
            valid = ", ".join(shape.name.lower() for shape in Shape if shape in _CALLED[self.function])
            raise UsageError(f"call: shape {self.shape.name.lower()} found; whatever_{self.function} has {valid}")

    def needs(self) -> frozenset[Need]:
        return frozenset({Fact.VARIADIC}) if FUNCTIONS[self.function] is Kind.VARIADIC else frozenset()

    def cost(self, inside: Cost) -> Cost:
        match self.shape:
            case Shape.LOOPED | Shape.CALLBACK:
                entries = self.count
            case Shape.RECURSIVE:
                entries = self.count + 1
            case _:
                entries = 2 if self.shape is Shape.TWICE else 1
        each = _entry(self.function, self.x if entries == 1 and not self.stride else PATTERN_SIZE)
        levels = entries if self.shape is Shape.RECURSIVE else 1
        running = max(levels, min(self.at + 1, levels) + inside.running)
        return Cost(1 + entries * each + inside.events, running)

    def sentence(self) -> str:
        how = self.words("shape")
        if "{" in how:
            how = how.format(times=counted(self.count, "time"), levels=counted(self.count, "level"))
        parts = [f"Call {_called(self)} {how}"]
        if self.stride:
            parts.append(f"with {self.words('stride')} more in each iteration")
        if self.inside:
            where = f"inside the target, {counted(self.at, 'level')} down" if self.at else "inside the target"
            parts.append(f"{where}:")
        return ", ".join(parts)


@declare(18, needs=(Promise.ORIGINAL,))
@dataclass(frozen=True, slots=True)
class Original(Step):
    """Call the default target of a patchable function, whatever that leads to, by the way that the mechanism keeps.

    ``inside`` is a sub-program that the default target runs before it returns.  Legal at any time, inside targets too,
    but while foreign bytes are at the stub: the way may lead through what is left of the entry.
    """

    function: _Function
    x: Annotated[int, Long(LONG)] = 0
    inside: _Steps = ()

    def cost(self, inside: Cost) -> Cost:
        return Cost(1 + _entry(self.function, self.x) + inside.events, 1 + inside.running)

    def sentence(self) -> str:
        words = f"Call the original of {_called(self)}, its default target"
        return f"{words}, inside the target:" if self.inside else words


def _entry(function: int, x: int) -> int:
    """Events that entering a target of ``function`` with ``x`` costs as much as."""
    return 1 + min(x & 0xFFFF, PATTERN_SIZE) // _BYTES if FUNCTIONS[function] in WORK else 1


def _called(step: Call | Original) -> str:
    """``whatever_0(5)``."""
    kind = FUNCTIONS[step.function]
    operand = _piece(kind, step.x) if kind in WORK else step.words("x")
    return f"{step.words('function')}({operand})"


_CALLED = [frozenset(shape for shape in Shape if has_call_site(function, shape)) for function in range(len(FUNCTIONS))]


def _piece(kind: Kind, x: int) -> str:
    """``x`` of a CRC or CHACHA call (:func:`farm.scenario.piece`) in words."""
    name = "crc_t10dif" if kind is Kind.CRC else "chacha20"
    words = [f"{name} of {counted(x & 0xFFFF, 'byte')} from {x >> 16 & 0xFFFF}"]
    words += [text for bit, text in ((32, "going on"), (33, "in place"), (34, "at the counter's end")) if x >> bit & 1]
    return ", ".join(words)


#: The targets that no function may be led to.
_REFUSED = frozenset(
    {
        Target.STUB,
        Target.DATA,
        Target.MISALIGNED,
        Target.HALFWAY,
        Target.END,
        Target.FAR_END,
        Target.ZERO,
    }
)


@declare(2, "Lead {function} to {target}{offset}")
@dataclass(frozen=True, slots=True)
class Patch(Step):
    """Ask the mechanism to lead ``function`` to ``target``; ``offset`` is added to the address that is patched."""

    function: _Function
    target: _AnyTarget
    offset: Annotated[int, Offset()] = 0

    def needs(self) -> frozenset[Need]:
        kind, needs = FUNCTIONS[self.function], set[Need]()
        if self.target is Target.NULL:
            needs.add(Promise.NULL if kind is Kind.VOID else Promise.CHECKS_TARGETS)
        elif self.target is Target.RET0:
            needs.add(Promise.CHECKS_TARGETS if kind in COMPOSITE else Promise.RET0)
        elif self.target in _REFUSED:
            needs.add(Promise.CHECKS_TARGETS)
        return frozenset(needs | ({Fact.POKES, Promise.CHECKS_TARGETS} if self.offset else set()))


@declare(3, "Restore {function}")
@dataclass(frozen=True, slots=True)
class Restore(Step):
    """Lead ``function`` back to its default, byte for byte."""

    function: _Function


@declare(4, "Ask which target {function} reaches", needs=(Promise.QUERIES,))
@dataclass(frozen=True, slots=True)
class Query(Step):
    """Ask which target ``function`` reaches now."""

    function: _Function


@declare(5, "Compare the patched bytes of {function} with those of the linked image", needs=(Promise.RESTORES_BYTES,))
@dataclass(frozen=True, slots=True)
class Code(Step):
    """Compare the patched bytes of ``function`` (all of them for ``None``) with those of the pristine image."""

    function: Annotated[int | None, FunctionOrAll()] = None


@declare(16, "Look whether every call site of {function} leads to {target}")
@dataclass(frozen=True, slots=True)
class Sites(Step):
    """Look at every call site of ``function`` that one store redirects, where the mechanism redirects any.

    Each must lead straight to ``target``, or to the patchable function if it does not reach.  What a site has to hold
    comes from the linked image: nothing that the mechanism knows is believed.
    """

    function: _Function
    target: _RealTarget


@declare(6, "Overwrite the patched instruction of {function} as another tool would", needs=_FOREIGN)
@dataclass(frozen=True, slots=True)
class Scribble(Step):
    """Overwrite the patched instruction, or literal, with what is not the mechanism's, as another tool would."""

    function: _Function


@declare(17, "Change {function} and its call sites bit by bit, with a request each time", events=64, needs=_FOREIGN)
@dataclass(frozen=True, slots=True)
class Tamper(Step):
    """Change the code of ``function`` and of its call sites, bit by bit, as another tool would.

    While a bit is changed a request is made, which must be refused; then the bit is put back.  Every byte has its turn
    but those of a data slot.
    """

    function: _Function


@declare(7, "{locked}")
@dataclass(frozen=True, slots=True)
class LockText(Step):
    """Make every later attempt to open the text for writing fail (or, with ``locked=False``, succeed again).

    The memory of the module can be filled all the same: it is not text before that.  A scenario that asks for a patch
    meanwhile needs ``reports-failed-poke``.
    """

    locked: Annotated[bool, Flag("Let no text be opened for writing", "Let text be opened for writing again")] = True


@declare(11, needs=(Promise.REPORTS_FAILED_POKE,))
@dataclass(frozen=True, slots=True)
class FailPoke(Step):
    """Make the ``number``-th store to code from now fail, once (0: none); a request that meets it changes nothing."""

    number: _Count = 1

    def sentence(self) -> str:
        return f"Make store {self.number} to code from now fail, once" if self.number else "Let no store fail"


@declare(
    14,
    "Lead {function} to {target}; in the middle of that, ask to lead {other} to {elsewhere}",
    needs=(Promise.REFUSES_REENTRY,),
)
@dataclass(frozen=True, slots=True)
class Interrupted(Step):
    """Lead ``function`` to ``target``; in the middle of that, another request wants ``other`` led to ``elsewhere``."""

    function: _Function
    target: _RealTarget
    other: _Function
    elsewhere: _RealTarget


@declare(15, "Ask the memory whether text can be read and executed, and none written", needs=(Promise.CLOSES_TEXT,))
@dataclass(frozen=True, slots=True)
class Protection(Step):
    """Ask the memory itself whether all text can be read and executed now, and none of it be written."""


@declare(12, "Load the module")
@dataclass(frozen=True, slots=True)
class Load(Step):
    """Load the module: text with call sites of its own appears and is called with the MODULE shape."""


@declare(13, "Unload the module")
@dataclass(frozen=True, slots=True)
class Unload(Step):
    """Unload the module: its memory belongs to somebody else until it is loaded again."""


@declare(8, "Repeat {count}:")
@dataclass(frozen=True, slots=True)
class Loop(Step):
    """Run ``steps`` ``count`` times; the trace folds them into one event that carries a digest."""

    count: Annotated[int, Number(unit="time")]
    steps: _Steps

    def cost(self, inside: Cost) -> Cost:
        return Cost(1 + self.count * inside.events, inside.running)


@declare(9, "Take the digest of what chacha20 has written", events=1 + 2 * PATTERN_SIZE // _BYTES)
@dataclass(frozen=True, slots=True)
class Output(Step):
    """Digest of what the CHACHA calls have written since the one that began anew."""


@declare(10, "Compare the addresses of {function} that several translation units have")
@dataclass(frozen=True, slots=True)
class Address(Step):
    """Compare the address of ``function`` as several translation units and writable data have it."""

    function: _Function


# The steps of a program.


def substeps(step: Step) -> tuple[Step, ...]:
    """The steps nested in ``step``."""
    return getattr(step, step.NESTED) if step.NESTED else ()


def walk(steps: Iterable[Step]) -> Iterator[Step]:
    """Every step and everything nested in it, in the order of their numbers."""
    for step in steps:
        yield step
        if inside := substeps(step):
            yield from walk(inside)
