"""``unicorn``: the guest on a bare CPU in a child process (:mod:`farm.engines.unicorn.server`).

The embedded default: it comes from pip with everything else.  One child serves many images, one after the other, since
starting Python costs more than opening a guest.  Unicorn invalidates translated code on every store of the guest to
where it executes, and the farm for it what is stored elsewhere (:mod:`farm.engines.unicorn.alias`); what it can show of
stores to code, ``farm calibrate --engines`` measures.
"""

from __future__ import annotations

import compileall
import difflib
import functools
import importlib.metadata
import importlib.util
import os
import re
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from farm import paths
from farm.cell import Hole, Verdict
from farm.confinement import Box, around
from farm.engines import Block, Reply, Steps, Watch, settings_or_hole
from farm.engines.child import Child, ChildDied, Pool, Session, converse
from farm.engines.unicorn.messages import (
    EXPLORE_OF,
    KEPT,
    MAKE_OF,
    OPEN,
    PATH_OF,
    STEPS_OF,
    TRACE,
    Explore,
    Make,
    Open,
    decode_explored,
    decode_made,
    decode_reply,
    decode_steps,
)
from farm.errors import BackendError, ImageError, Missing
from farm.guest.variant import REGISTER_MODULES, UnicornSettings, Variant

if TYPE_CHECKING:
    from farm.engines.together import Made, Together
    from farm.engines.views import Exploration, Explored
    from farm.guest.image import Image

_NO_CODE_HOOKS = frozenset({"SPARC"})  # with one, `jmpl` goes to address 5

_COMMAND = [sys.executable, "-P", "-W", "ignore", "-m", "farm.engines.unicorn.server"]

_MEMORY = 4 << 30  # bytes of a child with many images and a recording
#: Names of the environment that Python may need to find what it imports.
_ENVIRONMENT = ("PYTHON", "LD_LIBRARY_PATH")

_GRACE = 5.0  # seconds that the host waits beyond the child's own watchdog
#: Seconds to load the emulator and open an image.  Nothing of the guest runs meanwhile; a busy machine may need them.
_OPENING = 60.0


def box_of_python(*sees: str) -> Box:
    """The box of a process of Python's with Unicorn: it shows what that imports, the built images and ``sees``."""
    images = paths.cache()
    images.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name.startswith(_ENVIRONMENT)}
    return around(_COMMAND[0], *_imported(), str(images), *sees, environment=environment, memory=_MEMORY)


@functools.cache
def _imported() -> tuple[str, ...]:
    """Where Python finds itself, its library, the farm and Unicorn; not the folder that the farm was started in."""
    farm = Path(__file__).parents[2]
    if not sys.dont_write_bytecode:  # what the farm has not imported itself, and no child can keep
        for name in ("farm.engines.unicorn", "unicorn"):
            package = importlib.util.find_spec(name)
            for folder in (package and package.submodule_search_locations) or ():
                compileall.compile_dir(folder, quiet=2)
    found = [str(farm), os.path.realpath(sys.executable)]
    found += [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    found += [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages", "lib-dynload")]
    found += os.environ.get("PYTHONPATH", "").split(os.pathsep)
    found += [str(Path(sys.prefix) / "pyvenv.cfg"), sys.pycache_prefix or ""]
    return tuple(dict.fromkeys(path for path in found if path and Path(path).exists()))


class Unicorn:
    """The engine."""

    name = "unicorn"

    def __init__(self) -> None:
        self.pool = Pool()

    def close(self) -> None:
        self.pool.drain()

    def tells_path(self, variant: Variant) -> bool:
        settings = variant.engine[self.name]
        assert isinstance(settings, UnicornSettings)
        return settings.arch not in _NO_CODE_HOOKS

    def path(self, image: Image, variant: Variant, program: bytes, timeout: float) -> Reply:
        session = self.session(image, variant, timeout)
        try:
            return session.run(program, head=PATH_OF)
        finally:
            session.release()

    def steps(self, image: Image, variant: Variant, program: bytes, timeout: float) -> tuple[Reply, Steps | None]:
        """The reply to ``program``, which starts from the pristine image, and all that it did.

        None if the emulator itself failed.
        """
        recorded: list[Steps | None] = []

        def interpret(status: int, payload: bytes) -> Reply:
            reply, steps = decode_steps(status, payload)
            recorded.append(steps)
            return reply

        session = self._session(image, variant, timeout, interpret, fresh=False)
        try:
            reply = session.run(program, keep=False, head=STEPS_OF)
        finally:
            session.release()
        return reply, recorded[0] if recorded else None

    def explores(self, variant: Variant) -> bool:
        return self.tells_path(variant)

    def explore(
        self, image: Image, variant: Variant, program: bytes, timeout: float, exploration: Exploration
    ) -> tuple[Reply, list[Explored]]:
        """All ends of the call that ``program`` makes last, by graph."""
        found: list[Explored] = []

        def interpret(status: int, payload: bytes) -> Reply:
            reply, explored = decode_explored(status, payload)
            found.extend(explored)
            return reply

        session = self._session(image, variant, timeout, interpret, fresh=False)
        try:
            reply = session.run(Explore(program, exploration).encode(), keep=False, head=EXPLORE_OF)
        finally:
            session.release()
        return reply, found

    def make(
        self, image: Image, variant: Variant, program: bytes, timeout: float, together: Together
    ) -> tuple[Reply, Made | None]:
        """What may come of two requests of ``program`` that are made at once; None if nothing could be told."""
        found: list[Made | None] = []

        def interpret(status: int, payload: bytes) -> Reply:
            reply, made = decode_made(status, payload)
            found.append(made)
            return reply

        session = self._session(image, variant, timeout, interpret, fresh=False)
        try:
            reply = session.run(Make(program, together).encode(), keep=False, head=MAKE_OF)
        finally:
            session.release()
        return reply, found[0] if found else None

    def warm_up(self, count: int) -> None:
        """Have so many children at hand, whatever they have open; loading the emulator takes one 0.2 s."""
        for _ in range(count - len(self.pool)):
            self.pool.give("", Child(_COMMAND, box_of_python()))

    def hole(self, variant: Variant) -> Hole | None:
        settings = settings_or_hole(variant, self.name)
        if isinstance(settings, Hole):
            return settings
        if importlib.util.find_spec("unicorn") is None:
            return Hole.to_install(Missing("unicorn", "pip install unicorn"))
        assert isinstance(settings, UnicornSettings)
        mistake = _unknown_name(settings)
        if mistake:
            from farm.guest import arch_toml  # not for the child, which imports this module as well

            key, why = mistake
            raise BackendError(f"{arch_toml.place(variant, f'engine.unicorn.{key}')}: {why}")
        installed = self.version(variant)
        if settings.since and _numbers(installed) < _numbers(settings.since):
            # Not a thing to install: what the farm depends on holds Unicorn where it is.
            needed = f"{variant.name} needs unicorn >= {settings.since}, which pwntools does not allow"
            return Hole(Verdict.NOT_APPLICABLE, f"{needed}; here is {installed}")
        return None

    def version(self, variant: Variant) -> str:
        del variant
        return self._version

    @functools.cached_property
    def _version(self) -> str:
        return importlib.metadata.version("unicorn")

    def run(
        self, image: Image, variant: Variant, programs: Sequence[bytes], timeout: float, *, fresh: bool = False
    ) -> Iterator[Reply]:
        return self._converse(image, variant, programs, timeout, fresh=fresh)

    def blocks(
        self, image: Image, variant: Variant, programs: Sequence[bytes], timeout: float, watched: Sequence[range]
    ) -> tuple[list[Reply], Counter[Block]]:
        replies, blocks = [], Counter[Block]()
        for reply in self._converse(image, variant, programs, timeout, watched=watched):
            replies.append(reply)
            blocks.update(reply.blocks)
        return replies, blocks

    def watches(self, variant: Variant) -> bool:
        return self.tells_path(variant)

    def registers(self, variant: Variant) -> frozenset[str]:
        settings = variant.engine[self.name]
        assert isinstance(settings, UnicornSettings)
        module = REGISTER_MODULES[settings.arch]
        prefix = f"UC_{module.removesuffix('_const').upper()}_REG_"
        return frozenset(name.removeprefix(prefix) for name in _constants(module) if name.startswith(prefix))

    def watch(
        self, image: Image, variant: Variant, programs: Sequence[bytes], timeout: float, watch: Watch
    ) -> Iterator[Reply]:
        return self._converse(image, variant, programs, timeout, watch=watch)

    def _converse(
        self,
        image: Image,
        variant: Variant,
        programs: Sequence[bytes],
        timeout: float,
        *,
        fresh: bool = False,
        watched: Sequence[range] = (),
        watch: Watch | None = None,
    ) -> Iterator[Reply]:
        def start() -> Child:
            return self._start(image, variant, timeout, fresh=fresh, watched=watched, watch=watch)

        def finish(child: Child) -> None:
            self.pool.give(_key(image, variant, timeout, watched, watch), child)

        answered = 0
        try:
            for reply in converse(start, finish, programs, timeout + _GRACE, decode_reply, _explain):
                answered += 1
                yield reply
        except (CannotOpenError, ChildDied) as error:
            failure = Reply(failure="engine-error", detail=f"cannot open {image.path}: {_why(error)}")
            yield from (failure for _ in programs[answered:])

    def session(self, image: Image, variant: Variant, timeout: float, *, fresh: bool = False) -> Session:
        return self._session(image, variant, timeout, decode_reply, fresh=fresh)

    def _session(
        self, image: Image, variant: Variant, timeout: float, interpret: Callable[[int, bytes], Reply], *, fresh: bool
    ) -> Session:
        try:
            try:
                child = self._start(image, variant, timeout, fresh=fresh)
            except ChildDied:  # as it opened the image, for which there is no reason
                child = self._start(image, variant, timeout, fresh=True)
        except (CannotOpenError, ChildDied) as error:
            raise ImageError(f"unicorn cannot open {image.path}: {_why(error)}") from None
        key = _key(image, variant, timeout)
        return Session(child, timeout + _GRACE, interpret, _explain, lambda child: self.pool.give(key, child))

    def _start(
        self,
        image: Image,
        variant: Variant,
        timeout: float,
        *,
        fresh: bool,
        watched: Sequence[range] = (),
        watch: Watch | None = None,
    ) -> Child:
        """A child with ``image`` open.  Raises :class:`CannotOpenError` or :class:`ChildDied`."""
        settings = variant.engine[self.name]
        assert isinstance(settings, UnicornSettings)
        key = _key(image, variant, timeout, watched, watch)
        idle = None if fresh else self.pool.take(key, any_other=True)
        if idle and idle[0] == key:
            return idle[1]
        folder = str(Path(image.path).parent)
        if idle and not idle[1].sees(folder):  # which is of a user's that has moved
            idle[1].close()
            idle = None
        child = idle[1] if idle else Child(_COMMAND, box_of_python(folder))
        description = image.path.removesuffix("guest.elf") + "image.json"
        spans = tuple((span.start, span.stop) for span in watched)
        request = Open(os.fsencode(description), settings, timeout, spans, watch)
        try:
            child.send(request.encode(), OPEN)
            status, payload = child.receive(time.monotonic() + _OPENING)
        except ChildDied as death:
            child.close()
            if death.status is not None and death.status >= 0:  # by itself: the next would too
                raise CannotOpenError(_explain(death).detail) from None
            raise
        if status != TRACE:
            child.close()
            raise CannotOpenError(decode_reply(status, payload).detail)
        child.kept.pop(key, None)
        child.kept[key] = None
        if len(child.kept) > KEPT:  # as the child itself does
            del child.kept[next(iter(child.kept))]
        return child


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _key(
    image: Image, variant: Variant, timeout: float, watched: Sequence[range] = (), watch: Watch | None = None
) -> str:
    return f"{image.sha256} {variant.engine['unicorn']} {timeout} {watched} {hash(watch)}"


@functools.cache
def _constants(module: str) -> tuple[str, ...]:
    """The names that Unicorn's module of constants has; read without loading the emulator."""
    package = importlib.util.find_spec("unicorn")
    for folder in (package.submodule_search_locations or []) if package else []:
        path = Path(folder) / f"{module}.py"
        if path.is_file():
            return tuple(re.findall(r"^(UC_\w+) *=", path.read_text(encoding="utf-8"), re.MULTILINE))
    return ()


@functools.cache
def _unknown_name(settings: UnicornSettings) -> tuple[str, str] | None:
    """The first of ``settings`` that names no constant of Unicorn: its key, and the name with what is valid."""
    module = REGISTER_MODULES.get(settings.arch, "")
    registers = f"UC_{module.removesuffix('_const').upper()}_REG_"
    for key, name, prefix, home in (
        ("arch", settings.arch, "UC_ARCH_", "unicorn_const"),
        *(("mode", mode, "UC_MODE_", "unicorn_const") for mode in settings.mode),
        ("stack_pointer", settings.stack_pointer, registers, module),
        ("program_counter", settings.program_counter, registers, module),
        ("cpu", settings.cpu, settings.cpu_prefix, module),
    ):
        valid = [c.removeprefix(prefix) for c in _constants(home) if c.startswith(prefix)]
        if key == "arch":
            valid = [arch for arch in valid if arch in REGISTER_MODULES]
        if name is not None and name not in valid:
            near = difflib.get_close_matches(name, valid, n=3) or valid[:12]
            return key, f"{name!r} found; expected one of {', '.join(near)}"
    return None


class CannotOpenError(Exception):
    """The emulator refuses the guest."""


def _why(error: CannotOpenError | ChildDied) -> str:
    return str(error) if isinstance(error, CannotOpenError) else _explain(error).detail


def _explain(death: ChildDied) -> Reply:
    if death.breach:
        return Reply(failure="engine-error", detail=f"unicorn broke the protocol: {death.breach}")
    if death.status is None:
        return Reply(failure="engine-error", detail="unicorn hung: even its watchdog did not answer")
    how = f"died of {death.signal}" if death.signal else f"ended with {death.status}"
    return Reply(failure="engine-error", detail=f"unicorn {how} {death.stderr}".rstrip())


UNICORN = Unicorn()
