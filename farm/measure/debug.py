"""One cell under a debugger: for ``farm debug``.

The guest runs under qemu-user, which is a gdb server (``-g``) and stops before its first instruction.  Its program is
on its standard input already, as in a run; so whoever connects needs only to continue.  QEMU keeps breakpoints beside
the guest's memory, so one in a stub does not change what the mechanism finds there.

Of pwntools' ``pwnlib.gdb`` the choice of the debugger is used (``binary``).  ``debug`` and ``attach`` are not: they
want a new terminal window and pick an emulator, its port and its CPU by themselves, where a cell has an engine with a
CPU model, and their Python bridge needs a module (rpyc) inside gdb that Debian does not have.  The architecture is
gdb's own reading of the ELF file: it is finer than ``get_gdb_arch``, which does not know sh and hppa.

A folder in the cache has everything, so that the commands can be typed too: the guest, its input, and gdb's script.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from farm import paths
from farm.cell import Cell, Verdict
from farm.engines.linux_guest import box_of
from farm.engines.qemu_user import QEMU_USER
from farm.errors import FarmError, Missing, MissingToolError, UsageError
from farm.guest import elf
from farm.guest.image import Image
from farm.guest.variant import ENCODERS, Variant
from farm.processes import Process
from farm.run.bench import Bench
from farm.run.plan import Plan, hole_of, on_engine
from farm.scenario import (
    REAL_TARGETS,
    Call,
    Interrupted,
    Patch,
    Restore,
    Scenario,
    Scribble,
    Target,
    layout,
    walk,
)
from farm.text import command_line, quoted

TIMEOUT = 60.0  # seconds of a session that nobody attends

PORT = 1234  #: in the commands that are printed

_TRY = "frame apply level 0 -q -c"  # a command whose error is said and ends no script

#: Some architectures' frames cannot be unwound to the outermost.
_BACKTRACE = f"{_TRY} backtrace 5"

_NO_FINISH = frozenset({43})  # EM_SPARCV9, of which gdb misses the end of a leaf function

_STOPS = 200  # of a session that nobody attends, after which it runs through
_SHOWN = 4  # stubs at a stop, and instructions of each
_LISTEN = 10.0  # seconds until the emulator listens
_ASK = 20.0  # seconds until gdb has said what it knows

_GDB = "gdb-multiarch"

#: The debugger that is missing, and the command that installs it.
MISSING_GDB = Missing(_GDB, f"apt-get install {_GDB}")

#: The generic file format that a gdb names when it does not know the architecture.
_GENERIC = re.compile(r"file type elf(32|64)-(little|big)\.")

_GUEST, _FRAME, _SCRIPT, _ATTEND = "guest.elf", "frame.bin", "debug.gdb", "batch.gdb"


@dataclass(frozen=True)
class Prepared:
    """A cell that is ready to be debugged."""

    cell: Cell  #: as it is run here: on qemu-user
    note: str  #: why that is not what was asked for; empty if it is
    missing: Missing | None  #: what it takes to run the guest here and is not there
    bench: Bench
    folder: Path

    def emulator(self, server: str) -> list[str]:
        """The command that runs the guest, in the folder, with a gdb server at ``server``: a port or a socket."""
        guest = msgspec.structs.replace(self.bench.image, path=_GUEST)
        return QEMU_USER.command(guest, self.bench.variant, "-g", server)

    def debugger(self, gdb: str, server: str) -> list[str]:
        """The command that debugs it, in the folder."""
        return [gdb, "-q", "-x", _SCRIPT, "-ex", f"target remote {server}"]


def prepare(plan: Plan, cell: Cell, control: str | None = None) -> Prepared:
    """Build the guest and the files that a session needs.

    Raises :class:`~farm.errors.FarmError` if qemu-user cannot run the cell, whatever is installed.
    """
    planned = on_engine(plan, cell, QEMU_USER.name)
    if planned.verdict is Verdict.NOT_APPLICABLE:
        raise FarmError(f"{cell} cannot be debugged: {planned.reason}")
    variant = plan.variants[cell.variant]
    spec = plan.spec(cell, control)
    bench = Bench.of(spec, planned.cell.engine, TIMEOUT, plan.selection.path_options(), kept=True)
    built, scenario = bench.image, plan.scenarios[cell.scenario]
    program = bench.encode(scenario)
    head = len(program) | layout.KEEP  # a reset behind it would stop at every word that it puts back
    frame = struct.pack(">I" if built.big_endian else "<I", head) + program
    name = f"{built.key}-{hashlib.sha256(frame).hexdigest()[:8]}"
    folder = _filled(
        paths.cache() / "debug" / name,
        {
            _GUEST: built.read(),
            _FRAME: frame,
            _SCRIPT: os.fsencode(script(built, variant, scenario)),
            _ATTEND: attend(built, scenario).encode(),
        },
    )
    note = "" if planned.cell == cell else f"{cell.engine} has no debugger: {planned.cell.engine} runs it here"
    hole = hole_of(plan, planned.cell)
    missing = hole.missing if hole else None
    return Prepared(planned.cell, note, missing, bench, folder)


def _filled(folder: Path, files: dict[str, bytes]) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            path = folder / name
            if not path.is_file() or path.read_bytes() != content:
                path.write_bytes(content)
        (folder / _GUEST).chmod(0o755)
    except OSError as error:
        raise FarmError(f"{folder}: cannot be written: {error.strerror}") from None
    return folder


# What gdb is told.


def script(built: Image, variant: Variant, scenario: Scenario) -> str:
    """The gdb script to run before it connects: symbols, sources, breakpoints, and what to show at each."""
    functions = _functions(scenario)
    entries = _entries(built)
    roots = dict.fromkeys((paths.data("images").parent, variant.folder.parent.parent, variant.folder))
    lines = [
        "set pagination off",
        "set confirm off",
        "set print frame-arguments scalars",
        f"set endian {variant.byte_order}",
        f"file {_GUEST}",
        f"directory {' '.join(_quoted(str(root)) for root in roots)}",
        "",
        "define patched",
        *(f"  {line}" for n in functions[:_SHOWN] for line in _patched(built, n)),
        "end",
        "document patched",
        "Show the patched code of the functions that this cell is about.",
        "end",
    ]
    for name, what in _stops(built, scenario, functions).items():
        if name not in entries:
            continue
        lines += [
            "",
            f"break *{entries[name]:#x}",
            "commands",
            *(f"  {line}" for line in _said(name, what)),
            "end",
        ]
    return "\n".join(lines) + "\n"


def attend(built: Image, scenario: Scenario) -> str:
    """The gdb script for unattended use: show every stop, and what the encoder makes, until the guest ends.

    A loop instead of what :func:`script` hangs on the breakpoints, since only outside of these gdb can ``finish``.
    """
    stops, entries = _stops(built, scenario, _functions(scenario)), _entries(built)
    pokes = "arch_sync_code" in stops and built.machine not in _NO_FINISH
    encoders = [name for name in ENCODERS if name in entries and pokes]
    lines = [f"break *{entries[name]:#x}" for name in encoders]
    lines += [
        "set $stops = 0",
        f"while $stops < {_STOPS}",
        "  continue",
        "  if !$_isvoid($_exitcode) || !$_isvoid($_exitsignal)",
        "    loop_break",
        "  end",
        "  set $known = 0",
    ]
    for name, what in stops.items():
        if name in entries:
            lines += _case(entries[name], _said(name, what))
    for name in encoders:
        at = entries[name]
        makes = f'printf "{name} makes 0x%08x\\n", (unsigned int)$'
        lines += _case(at, ["finish", f"if $pc != {at:#x}", f"  {makes}", "end"])
    lines += [
        "  if !$known",
        "    echo \\nthe guest does not go on by itself:\\n",
        f"    {_BACKTRACE}",
        "    patched",
        f"    {_TRY} x/4i $pc",
        "    loop_break",
        "  end",
        "  set $stops = $stops + 1",
        "end",
        f"if $stops == {_STOPS}",
        f"  echo \\n{_STOPS} stops: the rest runs through\\n",
        "  delete",
        "  continue",
        "end",
    ]
    return "\n".join(lines) + "\n"


def _entries(built: Image) -> dict[str, int]:
    """The address in each function that every call passes: a call may enter behind the function's beginning."""
    skipped = elf.local_entries(Path(built.path))
    return {name: address + skipped.get(name, 0) for name, address in built.functions.items()}


def _case(address: int, said: list[str]) -> list[str]:
    return [f"  if $pc == {address:#x}", "    set $known = 1", *(f"    {line}" for line in said), "  end"]


def _said(name: str, what: str) -> list[str]:
    """Commands at a stop."""
    return [f"echo \\n{name}: {what}\\n", _BACKTRACE, "patched"]


def _functions(scenario: Scenario) -> list[int]:
    """The patchable functions that the scenario is about, in the order in which it names them."""
    named = [
        step.function
        for step in walk(scenario.steps)
        if isinstance(step, Call | Patch | Restore | Scribble | Interrupted)
    ]
    return list(dict.fromkeys(named))


def _patched(built: Image, function: int) -> list[str]:
    """Commands that show what patching changes of ``function``."""
    start, _ = built.patched
    if built.region != "stub":
        at = start + function * built.word_size
        return [f"echo what whatever_{function} leads to:\\n", f"x/a {at:#x}"]
    at = built.functions[f"whatever_{function}"]
    return [f"x/{_SHOWN}i {at:#x}", f"x/{_SHOWN}xw {at & -4:#x}"]


def _stops(built: Image, scenario: Scenario, functions: Sequence[int]) -> dict[str, str]:
    """Functions to stop at: name, and what a stop there means."""
    stops: dict[str, str] = {}
    for step in walk(scenario.steps):
        match step:
            case Patch(target=Target.NULL):
                stops["patch_null"] = "asked to lead a function nowhere; nothing has changed yet"
            case Patch(target=Target.RET0):
                stops["patch_ret0"] = "asked to let a function return 0; nothing has changed yet"
            case Patch() | Interrupted():
                stops["patch_set"] = "asked to lead function n to target; nothing has changed yet"
            case Restore():
                stops["patch_restore"] = "asked to lead function n back to its default; nothing has changed yet"
            case Scribble():
                stops["patch_scribble"] = "about to overwrite the patched instruction as another tool would"
    if stops and built.region == "stub":
        stops["arch_sync_code"] = "the poke has stored to word; made visible from here on"
    for n in functions:
        stops[f"whatever_{n}"] = "the patchable function is entered"
    for n in functions:
        for target in REAL_TARGETS:
            stops[f"{target.name.lower()}_{n}"] = "a target is entered"
    return stops


def _quoted(text: str) -> str:
    """``text`` as one word for gdb."""
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


# Tools.


def find_gdb(chosen: str | None = None) -> str | None:
    """The path of the debugger: ``chosen``, or what pwntools takes for a foreign architecture; None if there is none.

    Raises :class:`~farm.errors.UsageError` if ``chosen`` is no program.
    """
    if chosen is not None and shutil.which(chosen) is None:
        raise UsageError(f"--gdb {chosen}: no such program")
    import pwnlib.gdb
    from pwnlib.context import context
    from pwnlib.exception import PwnlibException

    with context.local(arch="none", gdb_binary=chosen or "", log_level="critical"):
        try:
            path: str | None = pwnlib.gdb.binary()
        except PwnlibException:
            return None
    return path


def refusal(gdb: str, prepared: Prepared) -> str | None:
    """The reason why ``gdb`` cannot debug the guest; None if it can."""
    command = [gdb, "-nx", "-batch", "-ex", f"file {_GUEST}", "-ex", "info files"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
            cwd=prepared.folder,
            timeout=_ASK,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{gdb} does not run: {error}"
    if _GENERIC.search(done.stdout):
        return f"{gdb} does not know the architecture of {prepared.cell.variant} (--gdb names another)"
    return None if "file type elf" in done.stdout else f"{gdb} is no gdb: it does not say what {_GUEST} is"


def commands(prepared: Prepared, gdb: str | None) -> list[str]:
    """The commands to type in two terminals, after what is missing for them."""
    folder = quoted(prepared.folder)
    emulator = f"{command_line(prepared.emulator(str(PORT)))} < {_FRAME} > trace.bin"
    debugger = command_line(prepared.debugger(gdb or _GDB, f"localhost:{PORT}"))
    lines = [str(prepared.missing)] if prepared.missing else []
    why = str(MISSING_GDB) if gdb is None else refusal(gdb, prepared)
    lines += [why] if why else []
    lines += ["in one terminal:", f"    cd {folder}", f"    {emulator}"]
    lines += ["in another:", f"    cd {folder}", f"    {debugger}"]
    lines.append("then `continue`, and at each stop: backtrace, list, info registers, stepi, patched")
    return lines


# Sessions.


def run(
    prepared: Prepared, gdb: str, *, batch: bool = False, extra: Path | None = None, timeout: float = TIMEOUT
) -> bytes:
    """Debug ``prepared``, and return the trace that the guest left; empty if it did not live to answer.

    ``batch`` shows every stop until the guest ends; with ``extra``, a script for gdb, that is all that is done.  Either
    takes at most ``timeout`` seconds.  Otherwise the terminal belongs to gdb until it ends.  No emulator stays behind.
    """
    if prepared.missing:
        raise MissingToolError(*prepared.missing)
    why = refusal(gdb, prepared)
    if why:
        raise FarmError(f"{prepared.cell} cannot be debugged: {why}")
    with tempfile.TemporaryDirectory(prefix="patchfarm-") as name:
        server, answer = Path(name, "gdb"), Path(name, "trace.bin")
        with _emulator(prepared, server, answer):
            command = prepared.debugger(gdb, str(server))
            if extra is not None:
                command += ["-batch", "-x", str(extra.resolve())]
            elif batch:
                command += ["-nx", "-batch", "-x", _ATTEND]
            unattended = batch or extra is not None
            _attend(command, prepared.folder, timeout if unattended else None)
        return _answered(answer.read_bytes(), big_endian=prepared.bench.image.big_endian)


@contextlib.contextmanager
def _emulator(prepared: Prepared, server: Path, answer: Path) -> Iterator[None]:
    """The emulator, stopped before the first instruction and listening at ``server``."""
    guest = prepared.folder / _GUEST
    command = [*prepared.emulator(str(server))[:-1], str(guest)]
    box = box_of(command, str(guest), writes=(str(server.parent),), sockets=True)
    log = server.with_name("qemu.err")
    with (prepared.folder / _FRAME).open("rb") as frame, answer.open("wb") as out, log.open("wb") as err:
        process = Process(command, box=box, stdin=frame, stdout=out, stderr=err)
    with process:
        deadline = time.monotonic() + _LISTEN
        while not server.exists():
            if process.ended() or time.monotonic() > deadline:
                words = log.read_text(errors="replace").strip()
                raise FarmError(f"{prepared.cell}: {command[0]} does not listen: {words}")
            time.sleep(0.01)
        yield
        process.wait(0.5)  # what it has answered is on its way to the file


def _attend(command: list[str], folder: Path, timeout: float | None) -> None:
    """Run gdb to its end.  Raises :class:`~farm.errors.FarmError` if it takes longer than ``timeout`` seconds."""
    sys.stdout.flush()
    before = signal.getsignal(signal.SIGINT)
    if timeout is None:
        gdb = Process(command, session=False, cwd=folder)
        signal.signal(signal.SIGINT, lambda *_: None)  # gdb's, which takes it to stop the guest
    else:
        gdb = Process(command, cwd=folder, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        with gdb:
            if not gdb.wait(math.inf if timeout is None else timeout):
                raise FarmError(f"gdb was still running after {timeout:g} s: the guest does not end (--timeout)")
    finally:
        signal.signal(signal.SIGINT, before)


def _answered(frame: bytes, *, big_endian: bool) -> bytes:
    """The trace in what the guest wrote."""
    if len(frame) < 8:
        return b""
    (length,) = struct.unpack_from(">I" if big_endian else "<I", frame)
    return frame[8 : 4 + length]
