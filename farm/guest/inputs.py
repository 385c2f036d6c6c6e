"""Inputs of a guest: the files that compilers and linkers read, and how they are known again.

Only the tools can say which files they read, and they say it when they have read them.  So the list of the last build
is kept (a :class:`Record`), and the next build asks whether every file on it is what it was: if so, the same commands
would make the same of it.  A file is known by its contents; what belongs to the compiler's own installation, by size
and time.  On the list is also what was *not* there: every place where an include could have been found and was not,
since a file that appears there later is read in place of the other.

A source that makes a tool read a file without listing it (``.incbin``, ``#embed``) is refused, and so is an include
whose name is worked out by macros: a change to such a file would go unnoticed, and the old guest would pass in its
place.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from farm.errors import UNREADABLE, ImageError

_LISTS, _BUILDS = 8, 32  # so many are kept of one request, for who goes back and forth between branches

#: Beginning of the names of files that belong to the compiler.
COMPILER = "compiler/"


class Record(msgspec.Struct, frozen=True):
    """The builds that were made of the same files."""

    inputs: tuple[str, ...]  #: names (:class:`Places`)
    built: dict[str, str]  #: SHA-256 of what came of them, by :func:`key`; the last one first


# Made as this is imported: where two threads are the first to decode a type, msgspec (0.22) may crash.
_RECORDS = msgspec.json.Decoder(list[Record])


class Places:
    """Names of files that are the same wherever the farm lies: ``arch/patch.c``; elsewhere the whole path."""

    def __init__(self, **folders: Path) -> None:
        self._folders = {name: str(folder) for name, folder in folders.items()}
        self._deepest_first = sorted(self._folders.items(), key=lambda item: -len(item[1]))

    def name(self, path: str) -> str:
        for name, folder in self._deepest_first:
            if path.startswith(f"{folder}/"):
                return name + path[len(folder) :]
        return path

    def path(self, name: str) -> str:
        place, slash, rest = name.partition("/")
        return f"{self._folders[place]}/{rest}" if place and slash and place in self._folders else name

    def without_paths(self, command: Iterable[str]) -> str:
        """``command`` as it would be elsewhere, for a key."""
        text = "\0".join(command)
        for name, folder in self._deepest_first:
            text = text.replace(folder, name)
        return text


Stamp = tuple[int, int, int, int]


def stamp(status: os.stat_result) -> Stamp:
    """The file's stamp, which is another once the file has been written."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class Files:
    """Files as they are at one moment: each is looked at once, however many images it is part of."""

    #: Digests by path, of files with this stamp.
    _digests: dict[str, tuple[Stamp, bytes]] = {}  # noqa: RUF012 - shared by all
    _TICK = 50_000_000  # ns; of two changes within one, the second may leave the stamp as it is

    def __init__(self) -> None:
        self._states: dict[str, bytes] = {}
        self._names: dict[tuple[Path, str], list[Path]] = {}

    def matching(self, folder: Path, pattern: str) -> list[Path]:
        """The files in ``folder`` that ``pattern`` fits, in order."""
        if (folder, pattern) not in self._names:
            self._names[folder, pattern] = sorted(folder.glob(pattern))
        return self._names[folder, pattern]

    def state(self, name: str, places: Places) -> bytes:
        """State that tells one content of the file from another; empty if there is no file."""
        path = places.path(name)
        state = self._states.get(path)
        if state is None:
            state = self._states[path] = self._look(path, whole=not name.startswith(COMPILER))
        return state

    def _look(self, path: str, *, whole: bool) -> bytes:
        try:
            status = Path(path).stat()
            if not stat.S_ISREG(status.st_mode):
                return b"no file"
            if not whole:
                return b"%d" % status.st_size  # installed anew they are the same; the request names the compiler
            now = stamp(status)
            kept = self._digests.get(path)
            if kept and kept[0] == now:
                return kept[1]
            digest = hashlib.sha256(Path(path).read_bytes()).digest()
        except (FileNotFoundError, NotADirectoryError, ValueError):  # the last for a name that no file can have
            return b""
        except OSError as error:
            raise ImageError(f"{path}: cannot be read: {error.strerror}") from None
        if time.time_ns() - status.st_ctime_ns > self._TICK:
            self._digests[path] = now, digest
        return digest


def key(request: bytes, inputs: Iterable[str], places: Places, files: Files) -> str:
    """The content address of what ``request`` makes of ``inputs`` as they are now: hexadecimal, 32 characters."""
    digest = hashlib.sha256(request)
    for name in inputs:
        state = files.state(name, places)
        digest.update(b"%d %b %d " % (len(name), name.encode(), len(state)))
        digest.update(state)
    return digest.hexdigest()[:32]


# Keeping what was built.


def write(path: Path, content: bytes, mode: int = 0o644, *, durable: bool = True) -> None:
    """Write the whole file or nothing, whatever happens on the way; if it is ``durable`` a power failure too.

    Raises :class:`OSError`.
    """
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(handle, mode)
            if durable:
                os.fsync(handle)
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink()
        raise


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def records(path: Path) -> list[Record]:
    """Records kept in ``path``, the last one first; none if there is no file.

    Raises :class:`~farm.errors.ImageError` if it is broken.
    """
    try:
        return _RECORDS.decode(path.read_bytes())
    except FileNotFoundError:
        return []
    except UNREADABLE as error:
        raise ImageError(f"list of inputs {path} is broken ({error})") from None


def remember(path: Path, names: Iterable[str], key: str, sha256: str, *, durable: bool = True) -> None:
    """Put into ``path`` that of these files, as they are by ``key``, something with this hash was built."""
    names, earlier = tuple(names), []
    with contextlib.suppress(ImageError):  # it has been said
        earlier = records(path)
    others = [record for record in earlier if record.inputs != names]
    same = [record.built.items() for record in earlier if record.inputs == names]
    built = {key: sha256} | {k: sha for items in same for k, sha in items if k != key}
    record = Record(names, dict(list(built.items())[:_BUILDS]))
    write(path, msgspec.json.encode([record, *others[: _LISTS - 1]]), durable=durable)


# What a tool has read.

_INCLUDE = re.compile(rb"^[ \t]*(?:#|%:)[ \t]*(?:include|include_next|import)\b[ \t]*(.*)", re.MULTILINE)
_HAS_INCLUDE = re.compile(rb"(?<!define )\b__has_include(?:_next)?[ \t]*\([ \t]*(.*)")
_NAME = re.compile(rb"\"([^\"\n]+)\"|<([^>\n]+)>")
_UNTOLD = re.compile(rb"(?<![\w.])\.(?:incbin|include)\b|(?:#|%:)[ \t]*embed\b|\b__has_embed\b", re.IGNORECASE)
_JOINT = re.compile(rb"\"\s*\"")  # of two literals that are one
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|(.))")
_SCRIPT_INCLUDE = re.compile(rb"\bINCLUDE\s+\"?([^\s\";]+)")
_SEARCHED = ("-I", "-iquote", "-isystem", "-idirafter", "-L")


def compiled(depfile: Path, command: list[str], at: Path, places: Places) -> set[str]:
    """Names of all that a compiler read, and of what it would have read, run as ``command`` in the folder ``at``.

    Raises :class:`~farm.errors.ImageError` for what it reads and does not tell of.
    """
    _, _, listed = _told(depfile).replace(b"\\\n", b" ").partition(b": ")
    read = _there(re.findall(rb"(?:\\.|[^\s\\])+", listed), at)
    searched = _search_path(command, at)
    names = {places.name(path) for path in (*read, *_given(command, at))}
    for path in read:
        if not places.name(path).startswith(COMPILER):
            looked_in = (Path(path).parent, *searched)
            names.update(places.name(str(folder / name)) for name in _included(path) for folder in looked_in)
    return _in_unicode(names)


def linked(depfile: Path, command: list[str], at: Path, places: Places, objects: Iterable[Path]) -> set[str]:
    """Names of all but ``objects`` that a linker read, and of the scripts that it would have read."""
    _, *listed = (
        _told(depfile).partition(b"\n\n")[0].replace(b"\\\n", b"\n").splitlines()
    )  # after the target, a line each
    read = _there([line.strip() for line in listed], at) - {str(path) for path in objects}
    searched = _search_path(command, at)
    names = {places.name(path) for path in (*read, *_given(command, at))}
    for path in read:
        if not places.name(path).startswith(COMPILER):
            looked_in = (at, Path(path).parent, *searched)
            scripts = map(os.fsdecode, _SCRIPT_INCLUDE.findall(Path(path).read_bytes()))
            names.update(places.name(str(folder / name)) for name in scripts for folder in looked_in)
    return _in_unicode(names)


def changed(names: Iterable[str], places: Places, since: int) -> str | None:
    """The path of a file that was changed after ``since`` (ns, of the file system's clock), if one was."""
    for name in names:
        path = places.path(name)
        with contextlib.suppress(OSError):
            if not name.startswith(COMPILER) and Path(path).stat().st_ctime_ns >= since:
                return path
    return None


def _told(depfile: Path) -> bytes:
    try:
        return depfile.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"the compiler does not say what it read: it wrote no {depfile}") from None


def _there(names: Iterable[bytes], at: Path) -> set[str]:
    """The paths of files named as for ``make``."""
    unquoted = (re.sub(rb"\\([ #\\])", rb"\1", name).replace(b"$$", b"$") for name in names)
    paths = {str(at / os.fsdecode(name)) for name in unquoted}
    for path in paths:
        if not Path(path).is_file():
            raise ImageError(f"the compiler says that it read {path}, and there is no such file")
    return paths


def _in_unicode(names: set[str]) -> set[str]:
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ImageError(f"a file with a name that is not UTF-8 is no part of a guest: {name!a}") from None
    return names


def _included(path: str) -> tuple[str, ...]:
    """Names that a source includes or asks for (``__has_include``), even in parts that no compiler reaches."""
    return _includes(path, Path(path).read_bytes())


@functools.lru_cache(maxsize=1024)
def _includes(path: str, text: bytes) -> tuple[str, ...]:
    """As :func:`_included`, of the source's ``text``: most objects are made of the same headers."""
    return tuple(_named(path, text))


def _named(path: str, text: bytes) -> Iterator[str]:
    unescaped = _ESCAPE.sub(_resolved, text)
    for written in (text, unescaped, _JOINT.sub(b"", unescaped)):  # the last has lost its lines
        if untold := _UNTOLD.search(written):
            where = _line(path, written, untold) if written is text or written is unescaped else path
            raise ImageError(
                f"{where}: {untold.group().decode()} reads a file that no compiler tells of, so that a change to it "
                "would not be seen; put its contents into the source"
            )
    for directive in (*_INCLUDE.finditer(text), *_HAS_INCLUDE.finditer(text)):
        name = _NAME.match(directive.group(1))
        if not name:
            raise ImageError(
                f"{_line(path, text, directive)}: an include whose name is worked out by a macro; write the name out, "
                'as "NAME" or <NAME>'
            )
        yield os.fsdecode(name.group(1) or name.group(2))


def _resolved(escape: re.Match[bytes]) -> bytes:
    """Byte that an escape in a literal stands for; a space for a control character."""
    octal, hexadecimal, other = escape.groups()
    if other is not None:
        return b" " if other in b"abfnrtv" else escape.group()
    return bytes([int(octal, 8) & 0xFF if octal else int(hexadecimal, 16)])


def _line(path: str, text: bytes, match: re.Match[bytes]) -> str:
    number = text.count(b"\n", 0, match.start()) + 1
    return f"{path}:{number}"


def _given(command: list[str], at: Path) -> Iterator[str]:
    """Paths of the files that an option of ``command`` has as its value: ``-specs=FILE``."""
    for word in command:
        for value in re.split("[=,]", word)[1:]:
            if (path := at / value).is_file():
                yield str(path)


def _search_path(command: list[str], at: Path) -> list[Path]:
    """The folders in which ``command`` has includes looked for, or linker scripts."""
    words = [word for word in command if word != "-Xlinker"]
    return [
        at / (word.removeprefix(flag) or following)
        for word, following in zip(words, [*words[1:], ""], strict=True)
        for flag in _SEARCHED
        if word.startswith(flag)
    ]
