"""A live guest: one step at a time, from Python.

>>> with farm.boot("arm64", mechanism="stub", engine="unicorn") as guest:
...     guest.patch("fast")
...     assert guest.call(3) == (2 * 3 + 1) + 1  # this call site adds one
...     guest.restore()

It is the guest of every cell, driven by hand: each step is a program of its own that runs on what the one before left
behind (:data:`farm.scenario.layout.KEEP`).  Nothing is judged; what the guest observed is there to be asserted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from farm import scenario
from farm.engines import Reply, timeout_of
from farm.errors import FarmError, MissingToolError, UsageError
from farm.guest import disassemble, image
from farm.run import plan
from farm.run.bench import Bench
from farm.run.verdict import LEFT_BEHIND
from farm.scenario import FUNCTIONS, Defect, Restore, Scenario, Shape, Status, Step, Target, check, prose, shown, wire
from farm.scenario.layout import TRACE_EVENTS
from farm.scenario.model import Reference, ScenarioError, size
from farm.scenario.wire import Event

#: The scenario to plan with when only the rest of a cell is wanted: every mechanism can express it.
ANY_SCENARIO = ("supersede_then_restore",)
TIMEOUT = 5.0  # seconds a program


class GuestDied(FarmError):  # noqa: N818 - an event, not a mistake
    """The guest cannot be used any more; says how it died."""


class PatchRefused(FarmError):  # noqa: N818 - the mechanism's answer, not a mistake
    """The mechanism refused a request; ``status`` is a :class:`~farm.scenario.Status`, if it answered one."""

    def __init__(self, event: Event) -> None:
        self.status = event.value
        super().__init__(f"{prose.target_name(event.target)}: {prose.status_name(event.value)}")


class Guest:
    """One booted guest.

    ``steps`` is all that was asked of it, ``trace`` all that it has observed; the steps are numbered through.
    """

    def __init__(self, spec: image.Spec, engine: str, timeout: float = TIMEOUT, *, pooled: bool = False) -> None:
        self.name = f"{spec}/{engine}"
        self.steps: list[Step] = []
        self.trace: list[Event] = []
        #: Name of the target that the last :meth:`call` entered first; None if it entered none.
        self.entered: str | None = None
        self._numbers = 0  # taken by the steps so far
        self._expected = Reference(spec.variant.features(engine), redirects=spec.made_by.redirects)
        self._death: str | None = None
        self._pooled = pooled
        self._bench = Bench.of(spec, engine, timeout)
        self._image = self._bench.image
        self._before = self._after = self._image.bytes_at(*self._image.patched)
        self._when = "now"  # is when ``_after`` was read
        self._decoder = self._image.decoder()
        self._session = self._bench.session(fresh=not pooled)
        if pooled and not self._is_pristine():  # what another guest left there is not this one's fault
            self._session.close()
            self._session = self._bench.session(fresh=True)
        self._send((), keep=False)

    def __repr__(self) -> str:
        return f"<guest {self.name}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the guest.  A pooled one's child lives on, for the next guest of this image, which will reset it."""
        if self._death is None:
            self._death = f"the guest {self.name} was closed"
            (self._session.release if self._pooled else self._session.close)()

    def call(self, x: int = 0, function: int = 0, shape: Shape | str = Shape.TAIL, **options: Any) -> int:
        """The call site's return value: the function's own for the shape ``tail``, one more for ``used``.

        ``options`` are those of :func:`farm.scenario.call`: ``count``, ``at``, ``inside``.
        """
        events = self._ask("return", scenario.call(function, x, shape, **options))
        self.entered = next((_target(event) for event in events if event.kind == "enter"), None)
        return events[-1].value

    def original(self, x: int = 0, function: int = 0, *, inside: tuple[Step, ...] = ()) -> int:
        """The value of the default target of ``function``, called whatever the function leads to.

        Only a mechanism that promises ``original`` keeps a way to it; of any other it is a :class:`GuestDied`.
        """
        events = self._ask("return", scenario.original(function, x, inside=inside))
        self.entered = next((_target(event) for event in events if event.kind == "enter"), None)
        return events[-1].value

    def patch(self, target: Target | str, function: int = 0) -> None:
        """Lead ``function`` to ``target``.  Raises :class:`PatchRefused`, as the three below do."""
        self._request(scenario.patch(function, target))

    def restore(self, function: int = 0) -> None:
        """Lead ``function`` back to its default."""
        self._request(scenario.restore(function))

    def null(self, function: int) -> None:
        """Let calls of the void ``function`` return at once."""
        self._request(scenario.null(function))

    def ret0(self, function: int = 0) -> None:
        """Let calls of ``function`` return 0 at once."""
        self._request(scenario.ret0(function))

    def _request(self, step: Step) -> None:
        event = self._ask("restore" if isinstance(step, Restore) else "patch", step)[-1]
        if event.value != Status.OK:
            raise PatchRefused(event)

    def query(self, function: int = 0) -> str:
        """The name of the target that ``function`` reaches now, as the mechanism itself answers."""
        return _target(self._ask("query", scenario.query(function))[-1])

    def _ask(self, kind: str, step: Step) -> list[Event]:
        """The events of ``step``, the last of which is its answer, of this kind.  Raises as :meth:`run`."""
        first = self._numbers
        events = self.run(step)
        if not events or (events[-1].kind, events[-1].step) != (kind, first):
            seen = f"[{events[-1]}]" if events else "nothing"
            raise self._died(Reply(), first, f"it answered with {seen} where a {kind} is due")
        return events

    def run(self, *steps: Step) -> list[Event]:
        """The events of ``steps`` (:mod:`farm.scenario`), run as one program.

        Raises :class:`GuestDied`, or :class:`~farm.errors.UsageError` for steps that no guest could run.
        """
        check.steps(steps, first=self._numbers)
        return self._send(steps, keep=True)

    def code(self, function: int | None = None) -> list[str]:
        """Disassembly of the patched code, as linked and as it is now: of ``function``, or of all that differ."""
        before, after = self._before, self._after
        if function is not None:
            check.steps((scenario.code(function),), first=self._numbers)
            each = len(before) // len(FUNCTIONS)
            of_function = slice(function * each, (function + 1) * each)
            after = before[: of_function.start] + after[of_function] + before[of_function.stop :]
        image, start = self._image, self._image.patched[0]
        return disassemble.listing(
            disassemble.patched(
                self._bench.variant,
                self._bench.spec.made_by,
                start,
                before,
                after,
                image=image,
                focus=function,
                when=self._when,
            )
        )

    def _send(self, steps: tuple[Step, ...], *, keep: bool) -> list[Event]:
        if self._death is not None:
            raise GuestDied(self._death)
        program, first, expected = self._program(steps), self._numbers, self._foreseen(steps)
        self.steps += steps
        self._numbers += sum(map(size, steps))
        reply = self._session.run(program, keep=keep)
        trace = self._decoder.decode(reply.trace)
        if reply.failure or trace.complaint or trace.header is None:
            raise self._died(reply, first, trace.complaint)
        if reply.spoils:
            raise self._died(reply, first, LEFT_BEHIND)
        events = [event._replace(step=first + event.step) for event in trace.events]
        self.trace += events
        self._after, self._expected = trace.code, expected
        if trace.header.dropped:
            raise UsageError(
                f"the guest has no room for {trace.header.dropped:,} events: fewer steps at once, or loop()"
            )
        return events

    def _is_pristine(self) -> bool:
        """Returns whether the session's child can be brought back to the linked image."""
        reply = self._session.run(self._program(()), keep=False)
        return not reply.failure and not reply.spoils

    def _foreseen(self, steps: tuple[Step, ...]) -> Reference:
        """The state of a faultless guest after ``steps``; the state before them if the model leaves that open.

        Raises :class:`~farm.errors.UsageError` if it had no room for the events.
        """
        after = self._expected.copy()
        after.events = []
        try:
            after.run(steps, self._numbers)
        except ScenarioError:
            return self._expected
        if len(after.events) > TRACE_EVENTS:
            at = after.events[TRACE_EVENTS].step
            raise UsageError(
                f"step {at}: {len(after.events):,} events at once; a guest holds {TRACE_EVENTS:,}: use loop()"
            )
        return after

    def _program(self, steps: Iterable[Step]) -> bytes:
        anonymous = Scenario("BS-00", "live", "", tuple(steps), frozenset(Defect))
        try:
            return self._bench.encode(anonymous)
        except wire.TooLongError as error:
            at = self._numbers + error.step
            raise UsageError(f"step {at}: too many steps at once: {error}") from None

    def _died(self, reply: Reply, step: int, complaint: str = "") -> GuestDied:
        self._session.close()
        if reply.code is None:
            self._when = "before the step that it died in"
        self._after = reply.code or self._after
        pc = self._locate() if reply.failure == "crash" and reply.pc is None else reply.pc
        where = f" in {self._image.name_of(pc)} (pc {pc:#x})" if pc is not None else ""
        how = f"{reply.failure}: {reply.detail}" if reply.failure else complaint
        self._death = f"the guest {self.name} died in step {step}: {how}{where}"
        return GuestDied(self._death)

    def _locate(self) -> int | None:
        """The place of the crash, from a guest that does all the same in a single program, if that is not too long."""
        try:
            program = self._program(self.steps)
        except UsageError:
            return None
        return self._bench.locate(program)


def boot(
    arch: str,
    mechanism: str = "stub",
    engine: str = "unicorn",
    toolchain: str | None = None,
    source: Path | str | None = None,
    arch_path: Iterable[Path | str] | Path | str = (),
    timeout: float = TIMEOUT,
    mechanism_path: Iterable[Path | str] | Path | str = (),
) -> Guest:
    """A guest of one's own, built if it has to be; close it, or use it in a ``with``.

    ``source`` is C with targets of the user's own (``patchfarm.h``), ``timeout`` is in seconds a program.
    ``arch_path`` and ``mechanism_path`` are folders with architectures and mechanisms of the user's own.

    Raises :class:`~farm.errors.UnknownNameError`, :class:`~farm.errors.BuildError`,
    :class:`~farm.errors.MissingToolError`, or :class:`~farm.errors.UsageError` for what cannot run.
    """
    names = {"arch": arch, "mechanism": mechanism, "engine": engine, "toolchain": toolchain}
    for what, name in names.items():
        if not (isinstance(name, str) and name.strip()) and not (what == "toolchain" and name is None):
            raise UsageError(f"{what} {shown(name)} found; expected a name")
    own = None if source is None else _path("source", source).resolve()
    seconds = timeout_of(timeout, "timeout")
    tools = () if toolchain is None else (toolchain,)
    selection = plan.Selection((arch,), (mechanism,), (engine,), tools, ANY_SCENARIO)
    arches, mechanisms = _paths("arch_path", arch_path), _paths("mechanism_path", mechanism_path)
    selected = plan.make(replace(selection, arch_path=arches, mechanism_path=mechanisms))
    if len(selected.cells) != 1:
        raise UsageError(f"boot one guest at a time: {arch}, {mechanism}, {engine} name {len(selected.cells)}")
    cell = selected.cells[0].cell
    hole = plan.hole_of(selected, cell)
    if hole:
        raise MissingToolError(*hole.missing) if hole.missing else UsageError(hole.reason)
    spec = replace(selected.spec(cell), source=own)
    return Guest(spec, cell.engine, seconds)


def _paths(what: str, given: Any) -> tuple[Path, ...]:
    """``given``, one path or several, as absolute ones.  Raises :class:`~farm.errors.UsageError` if one is none."""
    single = isinstance(given, str | bytes | Path) or not isinstance(given, Iterable)
    return tuple(_path(what, folder).absolute() for folder in ([given] if single else given))


def _path(what: str, value: object) -> Path:
    """``value`` as a path.  Raises :class:`~farm.errors.UsageError` if it is none."""
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise UsageError(f"{what} {shown(value)} found; expected a path")
    return Path(value)


def _target(event: Event) -> str:
    return prose.target_name(event.target).rpartition(" -> ")[2]
