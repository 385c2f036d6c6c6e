"""Builds of images: compiling, linking, and the cache that keeps what came of it.

An image's folder in the cache is named by a hash of everything that goes into it: what is asked for and by which
compiler, the farm's own code that fills and describes it (:data:`HOST_MODULES`), and every file that the tools read
(:mod:`farm.guest.inputs`).  So a changed source is a new image and an unchanged one is never built twice.  Objects are
kept in the same way, since a negative control changes few of them.

The cache::

    made/REQUEST.json      what the last builds of it were made of, and the hash of what came of them (inputs.Record)
    images/KEY/image.json  whose hash is there, and which has the hash of
    images/KEY/guest.elf
    objects/KEY.o

Nothing in it is believed before its hash is checked; what has a wrong one is built anew.  What nobody uses any more
goes in time (:mod:`farm.guest.tidy`).
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import msgspec

from farm import paths, processes
from farm.errors import BuildError, ImageError, OutputError, exhausted
from farm.guest import inputs, link, mechanisms, tidy
from farm.guest.call_sites import CallSite
from farm.guest.controls import CONTROLS
from farm.guest.image import DESCRIPTION, ELF, Image, Spec, describe, described
from farm.guest.inputs import Files, Places
from farm.guest.sources import of_guest
from farm.guest.toolchain import RETPOLINE_SOURCE, TOOLCHAINS
from farm.guest.variant import ABI_FILE, ENTRY_FILE, Variant
from farm.scenario import layout

#: The farm's code that makes a guest of what the compilers made, and describes it.
HOST_MODULES = (
    *("guest.build", "guest.call_sites", "guest.elf", "guest.image", "guest.inputs", "guest.layout", "guest.link"),
    *("guest.mechanisms", "guest.rules", "guest.sources", "guest.toml_table", "guest.toolchain", "guest.variant"),
    *("scenario", "scenario.functions", "scenario.layout", "scenario.promises", "scenario.wire"),
)

#: Name that compilers write for the folder of a mechanism that is none of the farm's own.
FOREIGN = "mechanism"

#: Variables of the environment that compilers see.  Others could change what they make, and are in no key.
_ENVIRONMENT = ("PATH", "HOME", "LD_LIBRARY_PATH")

#: Words of compilers for errors that are not the source's fault: message and Zig's name, by the error's number.
_NO_ROOM = {
    number: (os.strerror(number), name)
    for number, name in ((errno.ENOSPC, "NoSpaceLeft"), (errno.EDQUOT, "DiskQuota"), (errno.EFBIG, "FileTooBig"))
}

_ATTEMPTS = 3  # to build from sources that hold still


def sources(spec: Spec, files: Files | None = None) -> list[Path]:
    """The C and asm files of the guest.  Raises as :meth:`~farm.guest.mechanisms.Mechanism.check_ready`."""
    spec.made_by.check_ready()
    own = [spec.source] if spec.source else []
    if spec.baselines:
        cost = paths.data("images") / "cost"
        own.append(cost / "calls.c")
        if has_retpoline(spec.variant, spec.toolchain):
            own.append(cost / f"{RETPOLINE_SOURCE}.c")
    return [*own, *of_guest(spec.variant, spec.made_by, files)]


def has_retpoline(variant: Variant, toolchain: str) -> bool:
    """The compiler has retpolines for ``variant``."""
    return bool(variant.toolchain[toolchain].retpoline_flags)


def _places(spec: Spec, generated: Path | None = None) -> Places:
    data = paths.data("images")
    folders = {"farm": data.parent, "images": data, "arch": spec.variant.folder}
    if spec.foreign:
        folders["mechanism"] = spec.foreign.folder
    if spec.source:
        folders["source"] = spec.source.parent
    if generated:
        folders["generated"] = generated
    return Places(**folders, compiler=TOOLCHAINS[spec.toolchain].root(spec.variant))


def compile_flags(spec: Spec, source: Path, generated: Path) -> list[str]:
    """Flags that ``source`` is compiled with; ``generated`` is the folder of the farm's own ``wire.h``."""
    data, own = paths.data("images"), spec.made_by.flags_for(source, spec.variant)
    # The same guest wherever it is built.  Of two that fit, the last counts.
    flags = [f"-ffile-prefix-map={data.parent}=.", f"-ffile-prefix-map={generated}=generated"]
    flags += [f"-ffile-prefix-map={spec.variant.folder}=./arch/{spec.variant.architecture}"]
    if place := TOOLCHAINS[spec.toolchain].place():
        flags.append(f"-ffile-prefix-map={place}={spec.toolchain}")
    flags += [f"-I{generated}", f"-I{spec.variant.folder}", f"-I{data / 'guest'}", f"-I{mechanisms.common()}", *own]
    if spec.foreign and own:
        flags.append(f"-ffile-prefix-map={spec.foreign.folder}={FOREIGN}")
    if spec.source:
        flags.append(f"-ffile-prefix-map={spec.source.parent}=source")
    return flags


def link_flags(spec: Spec) -> list[str]:
    """Flags that the guest is linked with."""
    v = spec.variant
    values = {"TEXT_BASE": v.text_base, "FAR_BASE": spec.made_by.far_base(v), "PAGE": v.page}
    flags = [f"--defsym={name}={value:#x}" for name, value in values.items()]
    return [*flags, "-T", str(paths.data("images") / "platform" / "link.ld")]


@functools.cache
def _host(modules: tuple[str, ...]) -> bytes:
    """The digest of modules of the farm."""
    digest = hashlib.sha256()
    for name in modules:
        digest.update(hashlib.sha256(paths.module(name).read_bytes()).digest())
    return digest.digest()


@functools.lru_cache(maxsize=256)
def _settings(variant: Variant, toolchain: str) -> str:
    """Settings of an ``arch.toml`` that can change an image."""
    return repr(
        replace(variant, siblings=(), folder=Path(), toolchain={toolchain: variant.toolchain[toolchain]}, engine={})
    )


def _request(spec: Spec, files: Files) -> str:
    """The digest of all that is known of an image before its sources are read: hexadecimal, 32 characters."""
    digest, places = hashlib.sha256(_host(HOST_MODULES)), _places(spec)
    asked = (
        layout.wire_hash(),
        spec.mechanism,
        spec.made_by.digest,
        spec.toolchain,
        spec.baselines,
        spec.control and CONTROLS[spec.control],
    )
    digest.update(repr((asked, TOOLCHAINS[spec.toolchain].identity(spec.variant))).encode())
    digest.update(_settings(spec.variant, spec.toolchain).encode())
    digest.update("\n".join([places.name(str(path)) for path in sources(spec, files)]).encode())
    return digest.hexdigest()[:32]


def _made(request: str) -> Path:
    return paths.cache() / "made" / f"{request}.json"


def image(spec: Spec, files: Files | None = None) -> Image:
    """The image of ``spec``: from the cache if it is there and sound, else built.

    With ``files``, those are believed to be as they were when ``files`` first looked.

    Raises :class:`~farm.errors.BuildError`, :class:`~farm.errors.ImageError`, :class:`~farm.errors.MissingToolError` or
    :class:`~farm.errors.OutputError`.
    """
    from filelock import FileLock

    try:
        with contextlib.suppress(ImageError):  # under the lock it is looked into
            if sound := kept(spec, files):
                return sound
        record = _made(_request(spec, files or Files()))
        record.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(record.with_suffix(".lock")):
            try:
                if sound := kept(spec):
                    return sound
            except ImageError as error:
                sys.stderr.write(f"{error}; building it anew\n")
            for left in record.parent.glob(f"{record.stem}-*"):  # by a farm that was killed
                shutil.rmtree(left, ignore_errors=True)
            return _build(spec, record.stem)
    except (OSError, NotImplementedError) as error:  # the latter: its file system knows no locks
        if no_more := exhausted(error):
            raise no_more from None
        raise OutputError(
            f"images cannot be kept in {paths.cache()}: {getattr(error, 'strerror', None) or error}; "
            "set PATCHFARM_CACHE to a folder that can be written"
        ) from None


def images(specs: list[Spec], workers: int | None = None) -> dict[Spec, Image | Exception]:
    """Every image, built in parallel; a failed one is its exception."""
    files = Files()

    def attempt(spec: Spec) -> Image | Exception:
        try:
            return image(spec, files)
        except Exception as error:  # noqa: BLE001 - handed to whoever asked, one cell's failure is not another's
            return error

    with processes.workers(workers or os.cpu_count() or 1) as pool:
        made = dict(zip(specs, pool.map(attempt, specs), strict=True))
    tidy.tidy()
    return made


def kept(spec: Spec, files: Files | None = None) -> Image | None:
    """The image that was made of what the sources are now, if there is one.

    Raises :class:`~farm.errors.ImageError` if it is not sound.
    """
    files, places = files or Files(), _places(spec)
    request = _request(spec, files)
    for record in inputs.records(_made(request)):
        identity = inputs.key(request.encode(), record.inputs, places, files)
        folder = paths.cache() / "images" / identity
        if identity in record.built and folder.is_dir():
            loaded = _load(folder, record.built[identity])
            if (loaded.key, *_asked(loaded)) != (identity, *_asked(spec)):
                raise ImageError(f"image {folder} is another: {loaded.variant}/{loaded.mechanism}/{loaded.toolchain}")
            tidy.used(folder)
            tidy.used(_made(request))
            return loaded
    return None


def _asked(of: Image | Spec) -> tuple[str, str, str, str | None]:
    variant = of.variant if isinstance(of, Image) else of.variant.name
    return variant, of.mechanism, of.toolchain, of.control


#: Images that this process has found sound, by folder, with the hash of the description and the two files' stamps.
_sound: dict[Path, tuple[str, inputs.Stamp, inputs.Stamp, Image]] = {}


def _load(folder: Path, sha256: str) -> Image:
    """The image in ``folder``, whose description has this hash.

    Raises :class:`~farm.errors.ImageError` if it is not sound.
    """
    description, elf = folder / DESCRIPTION, folder / ELF
    try:
        stamps = inputs.stamp(description.stat()), inputs.stamp(elf.stat())
        checked = _sound.get(folder)
        if checked and checked[:3] == (sha256, *stamps):
            return checked[3]
        if hashlib.sha256(description.read_bytes()).hexdigest() != sha256:
            raise ImageError(f"image {description} has a wrong hash")
        loaded = described(description)
        if inputs.digest_of(elf) != loaded.sha256:
            raise ImageError(f"image {elf} has a wrong hash")
    except FileNotFoundError as error:
        raise ImageError(f"image {error.filename} is gone") from None
    except OSError as error:
        raise ImageError(f"image {error.filename} cannot be read ({error.strerror})") from None
    _sound[folder] = (sha256, *stamps, loaded)
    return loaded


def _build(spec: Spec, request: str) -> Image:
    toolchain = TOOLCHAINS[spec.toolchain]
    for source in sources(spec):
        if not source.is_file():
            raise ImageError(f"{spec}: source {source} is missing")
    for _ in range(_ATTEMPTS):
        with tempfile.TemporaryDirectory(dir=_made(request).parent, prefix=f"{request}-") as name:
            work = Path(name)
            (work / "wire.h").write_text(layout.header(), encoding="utf-8")
            began, places = (work / "wire.h").stat().st_ctime_ns, _places(spec, work)
            objects, names = _compile(spec, work, places, began)
            linked, told = work / ELF, work / "link.d"
            flags = [*link_flags(spec), f"--dependency-file={told}"]
            command = toolchain.link(spec.variant, flags, objects, linked)
            run_tool(spec, f"{spec} does not link", command, work)
            names |= inputs.linked(told, command, paths.data("images"), places, objects)
            sites = link.fill(linked, str(spec), spec.variant, spec.made_by)
            content = linked.read_bytes()
            names = {name for name in names if not name.startswith("generated/")}  # the request has what they hold
            identity = inputs.key(request.encode(), sorted(names), places, Files())
            moving = inputs.changed(names, places, began)
            if moving is None:
                return _keep(spec, request, identity, sorted(names), content, sites)
    raise ImageError(f"{spec}: {moving} changes while it is built")


def _keep(
    spec: Spec, request: str, identity: str, names: list[str], content: bytes, sites: tuple[CallSite, ...]
) -> Image:
    folder = paths.cache() / "images" / identity
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder / ELF, folder / DESCRIPTION):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)  # no file takes the place of a folder
    inputs.write(folder / ELF, content, 0o755)
    linked = describe(folder / ELF, spec, identity, sites)
    description = msgspec.json.encode(msgspec.structs.replace(linked, path=ELF))  # wherever the cache lies
    inputs.write(folder / DESCRIPTION, description)
    inputs.remember(_made(request), names, identity, hashlib.sha256(description).hexdigest())
    return linked


def bodies(spec: Spec, work: Path) -> Path:
    """The default bodies of the variant and the targets that they go on to, linked alone in the folder ``work``."""
    toolchain, objects = TOOLCHAINS[spec.toolchain], []
    (work / "wire.h").write_text(layout.header(), encoding="utf-8")
    for source in map(spec.variant.source, (ENTRY_FILE, ABI_FILE)):
        objects.append(work / f"{source.stem}.o")
        command = toolchain.compile(spec.variant, compile_flags(spec, source, work), source, objects[-1])
        run_tool(spec, f"{source} does not compile for {spec.variant.name}", command, work)
    flags = [*link_flags(spec), "--unresolved-symbols=ignore-all"]
    command = toolchain.link(spec.variant, flags, objects, work / ELF)
    run_tool(spec, f"{spec.variant.source(ENTRY_FILE)} does not link for {spec.variant.name}", command, work)
    return work / ELF


def objects(spec: Spec, work: Path) -> dict[Path, Path]:
    """The object of each source of the guest, in the order in which they are linked; new ones are in ``work``.

    Raises as :func:`image`.
    """
    (work / "wire.h").write_text(layout.header(), encoding="utf-8")
    began = (work / "wire.h").stat().st_ctime_ns
    made, _ = _compile(spec, work, _places(spec, work), began)
    return dict(zip(sources(spec), made, strict=True))


def _compile(spec: Spec, work: Path, places: Places, began: int) -> tuple[list[Path], set[str]]:
    """The objects, and the names of what they were made of."""
    objects, names = [], set()
    for number, source in enumerate(sources(spec)):
        path, of = _object(spec, source, work / str(number), places, began)
        objects.append(path)
        names |= of
    return objects, names


def _object(spec: Spec, source: Path, work: Path, places: Places, began: int) -> tuple[Path, set[str]]:
    """The object of ``source``, from the cache if it is there, and the names of the files it was made of."""
    toolchain, generated, flags = TOOLCHAINS[spec.toolchain], work.parent, []
    if spec.control:
        plain, names = _object(replace(spec, control=None), source, work.with_name(f"{work.name}-plain"), places, began)
        macro = CONTROLS[spec.control].macro
        if not _named(macro, names, places):
            return plain, names  # a negative control changes few of them
        flags = [f"-D{macro}"]
    flags += compile_flags(spec, source, generated)
    fixed = toolchain.compile(spec.variant, flags, source, Path("object"))
    request = hashlib.sha256(_host(("guest.inputs",)))
    request.update(repr((layout.wire_hash(), toolchain.identity(spec.variant), places.without_paths(fixed))).encode())
    record = _made(request.hexdigest()[:32])
    try:
        if kept := _kept_object(record, request.digest(), places):
            return kept
    except ImageError as error:
        sys.stderr.write(f"{error}; building it anew\n")
    output, told = work.with_suffix(".o"), work.with_suffix(".d")
    flags += ["-MD", "-MT", "object", "-MF", str(told)]
    command = toolchain.compile(spec.variant, flags, source, output)
    run_tool(spec, f"{source} does not compile for {spec.variant.name}", command, generated)
    names = inputs.compiled(told, command, paths.data("images"), places)
    names = {name for name in names if not name.startswith("generated/")}
    identity = inputs.key(request.digest(), sorted(names), places, Files())
    if inputs.changed(names, places, began):
        return output, names  # which is told of the whole image, too
    path, content = paths.cache() / "objects" / f"{identity}.o", output.read_bytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    # There are many, and a compiler makes one again in less time than a disk takes to be sure of several.
    inputs.write(path, content, durable=False)
    inputs.remember(record, sorted(names), identity, hashlib.sha256(content).hexdigest(), durable=False)
    return path, names


def _kept_object(made: Path, request: bytes, places: Places) -> tuple[Path, set[str]] | None:
    """The object that was made of what the sources are now, if there is one, and the names of what it was made of.

    Raises :class:`~farm.errors.ImageError` if it is not sound.
    """
    for record in inputs.records(made):
        identity = inputs.key(request, record.inputs, places, Files())
        path = paths.cache() / "objects" / f"{identity}.o"
        if identity in record.built and path.is_file():
            if inputs.digest_of(path) != record.built[identity]:
                raise ImageError(f"object {path} has a wrong hash")
            tidy.used(path)
            tidy.used(made)
            return path, set(record.inputs)
    return None


def _named(macro: str, names: set[str], places: Places) -> bool:
    """``macro`` occurs in one of the files."""
    paths_ = (Path(places.path(name)) for name in names if not name.startswith(inputs.COMPILER))
    return any(macro.encode() in path.read_bytes() for path in paths_ if path.is_file())


def run_tool(spec: Spec, complaint: str, command: list[str], work: Path, cache: Path | None = None) -> None:
    """Run a compiler or linker, whose files of passage are in ``work``; what it keeps, in ``cache`` if that is given.

    Raises :class:`~farm.errors.BuildError`, or :class:`OSError` if the disk is full.
    """
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    environment |= {"TMPDIR": str(work), "LC_ALL": "C", **TOOLCHAINS[spec.toolchain].environment()}
    environment |= {name: str(cache) for name in environment if cache and name.endswith("_CACHE_DIR")}
    try:
        # The debug information names the folder; zig names what is below it without the rest.
        status, output = processes.run(command, env=environment, cwd=paths.data("images"))
    except OSError as error:
        if exhausted(error):
            raise
        raise BuildError(complaint, command, f"{command[0]} cannot be started: {error.strerror}") from None
    if status:
        for number, words in _NO_ROOM.items():
            if any(word in output for word in words):
                raise OSError(number, os.strerror(number))
        raise BuildError(complaint, command, output)
