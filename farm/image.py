"""Builds guests and keeps them.

An image is one guest ELF: variant x mechanism x toolchain, plus a negative control if one is planted, or the baselines
that ``farm cost`` measures.  Its folder in the cache is named by a hash of everything that goes into it (sources,
flags, compiler version), so a changed source is a new image and an unchanged one is never built twice; objects are kept
in the same way, since a negative control changes few of them.  Beside the ELF lies ``image.json``: what the engines
need to know of it, so that running a guest never parses an ELF.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from farm import link, paths, wire
from farm.backend import ABI_FILE, MECHANISM_FILES, Variant
from farm.call_sites import CallSite
from farm.controls import CONTROLS
from farm.elf import Segment, bytes_at, inspect
from farm.errors import BuildError, ImageError, OutputError
from farm.toolchain import RETPOLINE_SOURCE, TOOLCHAINS

PLATFORM = "linux"

_MECHANISM_SOURCES = {
    "pointer": ("target.c", "pointer.c", "pointer_float.c", "no_sites.c"),
    "stub": ("target.c", "poke.c", "stub.c", "no_sites.c"),
    "relocated": ("target.c", "poke.c", "relocated.c", "site_table.c"),
}
_LAYOUT = 4  # of image.json
_interrupted = threading.Event()  # no compiler is started any more


class Image(msgspec.Struct, frozen=True):
    """A built guest."""

    layout: int
    key: str
    variant: str
    mechanism: str
    toolchain: str
    control: str | None
    machine: int
    big_endian: bool
    word_size: int
    path: str
    sha256: str
    text_digest: int  #: of text, stubs and state, as the guest itself computes it after a reset
    segments: tuple[Segment, ...]
    symbols: dict[str, int]
    functions: dict[str, int]  #: every function of the guest, for naming addresses
    function_bias: int  #: as in :class:`~farm.backend.Variant`
    sites: tuple[CallSite, ...] = ()  #: of the ``relocated`` mechanism, in the order of their words in a trace

    def read(self) -> bytes:
        return Path(self.path).read_bytes()

    def bytes_at(self, address: int, size: int) -> bytes:
        """``size`` bytes of the pristine image at ``address``."""
        return bytes_at(self.read(), self.segments, address, size)

    @property
    def patched(self) -> tuple[int, int]:
        """Start and size in bytes of what patching changes: stubs, or pointers."""
        return link.patched(self.symbols, self.mechanism)

    def name_of(self, address: int) -> str:
        """``fast_0+0x4`` for an address of the guest, or for a pointer to a function as C has it."""
        address &= ~self.function_bias
        best = max((a for a in self.functions.values() if a <= address), default=None)
        if best is None or address - best > 0x10000 or not self._together(best, address):
            return f"{address:#x}"
        name = next(name for name, a in self.functions.items() if a == best)
        return f"{name}+{address - best:#x}" if address > best else name

    def _together(self, a: int, b: int) -> bool:
        return any(s.address <= a and b < s.address + s.size for s in self.segments)


# Made as this is imported: where two threads are the first to decode a type, msgspec (0.22) may crash.
_DECODER = msgspec.json.Decoder(Image)


@dataclass(frozen=True)
class Spec:
    """What to build.  Picklable, so that a worker elsewhere can build the same."""

    variant: Variant
    mechanism: str
    toolchain: str = "zig"
    control: str | None = None
    source: Path | None = None  #: C of the user's own, with targets that take the place of the guest's (patchfarm.h)
    baselines: bool = False  #: with the call sites that are only measured (images/cost)

    def __str__(self) -> str:
        planted = f" with {self.control}" if self.control else " with baselines" if self.baselines else ""
        return f"{self.variant.name}/{self.mechanism}/{self.toolchain}{planted}"


def sources(spec: Spec) -> list[Path]:
    """The C and asm files of the guest."""
    images, variant = paths.data("images"), spec.variant
    guest = sorted((images / "guest").glob("*.[cS]"))
    mechanism = [images / "mechanism" / name for name in _MECHANISM_SOURCES[spec.mechanism]]
    asm = [variant.source(f"start_{PLATFORM}.S")]
    asm += [variant.source(ABI_FILE)] if variant.looks_at_registers else sorted((images / "portable").glob("*.c"))
    if variant.source("crc_t10dif.c").is_file():
        asm.append(variant.source("crc_t10dif.c"))
    asm += [variant.source(name) for name in MECHANISM_FILES[spec.mechanism]]
    if spec.mechanism == "pointer" and variant.source("patch.c").is_file():
        asm.append(variant.source("patch.c"))  # for the module's loader, which has to make code visible too
    own = [spec.source] if spec.source else []
    if spec.baselines:
        own.append(images / "cost" / "calls.c")
        if has_retpoline(spec.variant, spec.toolchain):
            own.append(images / "cost" / f"{RETPOLINE_SOURCE}.c")
    return [*own, *guest, *mechanism, images / "platform" / f"{PLATFORM}.c", *asm]


def has_retpoline(variant: Variant, toolchain: str) -> bool:
    """The compiler has retpolines for ``variant``."""
    return bool(variant.toolchain[toolchain].retpoline_flags)


def _headers(spec: Spec) -> list[Path]:
    images = paths.data("images")
    own = sorted(spec.source.parent.glob("*.h")) if spec.source else []
    return [
        *sorted(images.glob("*/*.h")),
        *sorted(spec.variant.folder.glob("*.h")),
        images / "platform" / "link.ld",
        *own,
    ]


def _compile_flags(spec: Spec, generated: Path, source: Path) -> list[str]:
    images = paths.data("images")
    # The same guest wherever it is built.  Of two that fit, the last counts.
    flags = [f"-ffile-prefix-map={images.parent}=.", f"-ffile-prefix-map={generated}=generated"]
    flags += [f"-ffile-prefix-map={spec.variant.folder}=./arch/{spec.variant.architecture}"]
    if place := TOOLCHAINS[spec.toolchain].place():
        flags.append(f"-ffile-prefix-map={place}={spec.toolchain}")
    flags += [f"-I{generated}", f"-I{spec.variant.folder}", f"-I{images / 'guest'}", f"-I{images / 'mechanism'}"]
    if spec.source:
        flags.append(f"-ffile-prefix-map={spec.source.parent}=source")
    if spec.control and _plants(spec, source):
        flags.append(f"-D{CONTROLS[spec.control].macro}")
    return flags


def _link_flags(spec: Spec) -> list[str]:
    v = spec.variant
    values = {"TEXT_BASE": v.text_base, "FAR_BASE": v.far_base, "PAGE": v.page}
    flags = [f"--defsym={name}={value:#x}" for name, value in values.items()]
    return [*flags, "-T", str(paths.data("images") / "platform" / "link.ld")]


@functools.lru_cache(maxsize=1024)
def _file_digest(path: Path, stamp: tuple[int, int]) -> bytes:
    del stamp  # only there so that a changed file is read again
    return hashlib.sha256(path.read_bytes()).digest()


def _digest_of(path: Path) -> bytes:
    stat = path.stat()
    return _file_digest(path, (stat.st_mtime_ns, stat.st_size))


def key(spec: Spec) -> str:
    """The content address of the image: hexadecimal, 24 characters."""
    toolchain = TOOLCHAINS[spec.toolchain]
    fixed = Path("generated")
    made_of = (_LAYOUT, toolchain.version(spec.variant), wire.wire_hash(), spec.control, spec.variant.architecture)
    digest = hashlib.sha256(repr(made_of).encode())
    files = sources(spec)
    for path in [*files, *_headers(spec)]:
        try:
            digest.update(path.name.encode() + _digest_of(path))
        except FileNotFoundError:
            raise ImageError(f"{spec}: source {path} is missing") from None
    commands = [toolchain.compile(spec.variant, [], Path(path.name), fixed)[1:] for path in files]
    commands.append(toolchain.link(spec.variant, [], [], fixed)[1:])
    digest.update(repr((commands, [flag for flag in _link_flags(spec) if flag.startswith("--defsym")])).encode())
    return digest.hexdigest()[:24]


def build(spec: Spec) -> Image:
    """The image of ``spec``: from the cache if it is there and sound, else built.

    Raises :class:`~farm.errors.BuildError`, :class:`~farm.errors.MissingToolError` or
    :class:`~farm.errors.OutputError`.
    """
    identity = key(spec)
    folder = paths.cache() / "images" / identity
    from filelock import FileLock

    try:
        with contextlib.suppress(FileNotFoundError, ImageError):  # under the lock they are looked into
            return _load(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            try:
                return _load(folder)
            except FileNotFoundError:
                pass
            except ImageError as error:
                sys.stderr.write(f"{error}; building it anew\n")
            return _build(spec, identity, folder)
    except (OSError, NotImplementedError) as error:  # the latter: its file system knows no locks
        raise OutputError(
            f"images cannot be kept in {paths.cache()}: {getattr(error, 'strerror', None) or error}; "
            "set PATCHFARM_CACHE to a folder that can be written"
        ) from None


def build_all(specs: list[Spec], workers: int | None = None) -> dict[Spec, Image | Exception]:
    """Every image, built in parallel; a failed one is its exception.

    Ctrl-C ends it after the commands that are running.
    """

    def attempt(spec: Spec) -> Image | Exception:
        try:
            return build(spec)
        except Exception as error:  # noqa: BLE001 - handed to whoever asked, one cell's failure is not another's
            return error

    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        try:
            return dict(zip(specs, pool.map(attempt, specs), strict=True))
        except KeyboardInterrupt:
            _interrupted.set()
            raise


_Stamp = tuple[int, int, int]


def _stamp(path: Path) -> _Stamp:
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


#: Images that this process has found sound, by folder, with the stamps of their two files.
_sound: dict[Path, tuple[_Stamp, _Stamp, Image]] = {}


def _load(folder: Path) -> Image:
    """The image in ``folder``.

    Raises :class:`FileNotFoundError` if there is none and :class:`~farm.errors.ImageError` if it is not sound.
    """
    described = _stamp(folder / "image.json")
    known = _sound.get(folder)
    with contextlib.suppress(FileNotFoundError):
        if known and known[:2] == (described, _stamp(Path(known[2].path))):
            return known[2]
    image = _verified(folder)
    _sound[folder] = (described, _stamp(Path(image.path)), image)
    return image


def _verified(folder: Path) -> Image:
    description = (folder / "image.json").read_bytes()
    try:
        image = _DECODER.decode(description)
    except msgspec.DecodeError as error:
        raise ImageError(f"image {folder / 'image.json'} is broken ({error})") from None
    try:
        digest = hashlib.sha256(image.read()).hexdigest()
    except FileNotFoundError:
        raise ImageError(f"image {image.path} is gone") from None
    if digest != image.sha256 or image.layout != _LAYOUT:
        raise ImageError(f"image {image.path} has a wrong hash ({digest[:12]}, expected {image.sha256[:12]})")
    return image


def _build(spec: Spec, identity: str, folder: Path) -> Image:
    with tempfile.TemporaryDirectory(dir=folder, prefix="build-") as name:
        work = Path(name)
        (work / "wire.h").write_text(wire.header(), encoding="utf-8")
        objects = _compile(spec, work)
        linked = work / "guest.elf"
        toolchain = TOOLCHAINS[spec.toolchain]
        _tool(spec, f"{spec} does not link", toolchain.link(spec.variant, _link_flags(spec), objects, linked))
        sites = link.fill(linked, str(spec), spec.variant, spec.mechanism)
        final = folder / "guest.elf"
        shutil.move(linked, final)
    image = describe(final, spec, identity, sites)
    partial = folder / "image.json.partial"
    partial.write_bytes(msgspec.json.encode(image))
    partial.replace(folder / "image.json")
    return image


def _compile(spec: Spec, work: Path) -> list[Path]:
    """The objects, from the cache where they are there: a negative control changes one or two of them."""
    toolchain = TOOLCHAINS[spec.toolchain]
    folder = paths.cache() / "objects"
    folder.mkdir(parents=True, exist_ok=True)
    objects = []
    for number, source in enumerate(sources(spec)):
        output = folder / f"{_object_key(spec, source)}.o"
        if not output.is_file():
            partial = work / f"{number}-{source.name}.o"  # a source of the user's may be named as one of ours
            command = toolchain.compile(spec.variant, _compile_flags(spec, work, source), source, partial)
            _tool(spec, f"{source} does not compile for {spec.variant.name}", command)
            partial.replace(output)
        objects.append(output)
    return objects


def _object_key(spec: Spec, source: Path) -> str:
    """The content address of one object: what is compiled, of what it could include, how, and by what; not where."""
    toolchain = TOOLCHAINS[spec.toolchain]
    fixed = Path("generated")
    of = (_LAYOUT, toolchain.version(spec.variant), wire.wire_hash(), spec.variant.architecture, source.parent.name)
    digest = hashlib.sha256(repr(of).encode())
    for path in [source, *_headers(spec)]:
        digest.update(path.name.encode() + _digest_of(path))
    flags = [flag for flag in _compile_flags(spec, fixed, source) if flag.startswith("-D")]
    command = toolchain.compile(spec.variant, flags, Path(source.name), fixed)
    digest.update(repr(command[1:]).encode())
    return digest.hexdigest()[:32]


def _plants(spec: Spec, source: Path) -> bool:
    """The negative control of ``spec`` is planted in ``source``, or in a header that it could include."""
    if spec.control is None:
        return False
    macro = CONTROLS[spec.control].macro.encode()
    return any(macro in path.read_bytes() for path in [source, *_headers(spec)])


def _tool(spec: Spec, complaint: str, command: list[str]) -> None:
    if _interrupted.is_set():
        raise BuildError(complaint, command, "interrupted")
    environment = {**os.environ, **TOOLCHAINS[spec.toolchain].environment()}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
            cwd=paths.data("images"),  # the debug information names it; zig names what is below it without the rest
        )
    except OSError as error:
        raise BuildError(complaint, command, f"{command[0]} cannot be started: {error.strerror}") from None
    if done.returncode:
        raise BuildError(complaint, command, done.stderr + done.stdout)


def describe(path: Path, spec: Spec, identity: str, sites: tuple[CallSite, ...] = ()) -> Image:
    """The :class:`Image` of a linked guest."""
    segments, symbols, functions = inspect(path, spec.variant)
    content = path.read_bytes()
    return Image(
        layout=_LAYOUT,
        key=identity,
        variant=spec.variant.name,
        mechanism=spec.mechanism,
        toolchain=spec.toolchain,
        control=spec.control,
        machine=spec.variant.machine,
        big_endian=spec.variant.big_endian,
        word_size=spec.variant.word_size,
        path=str(path),
        sha256=hashlib.sha256(content).hexdigest(),
        text_digest=link.text_digest(content, segments, symbols, big_endian=spec.variant.big_endian),
        segments=segments,
        symbols=symbols,
        functions=functions,
        sites=sites,
        function_bias=spec.variant.function_bias,
    )
