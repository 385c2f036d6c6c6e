"""Audits that an image has passed, remembered beside it in the cache: what has not changed is not judged again.

A record is believed only if it was made by the same rules and the same code (:func:`key`), and of the same image, in
whose folder it lies and with which it goes.  What broke a rule is never in it: that is judged, and told, every time.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import threading
from collections.abc import Mapping
from pathlib import Path

import msgspec

from farm import paths
from farm.guest import inputs
from farm.guest.image import Image
from farm.guest.variant import Variant

#: The farm's code that watches a guest, judges what it did, and knows what it should have done.
_PACKAGES = ("prove", "engines/unicorn", "scenario")
_MODULES = ("engines", "guest.disassemble", "guest.rules", "guest.call_sites")

#: What decodes and runs a guest.
_DEPENDENCIES = ("capstone", "unicorn")


class Record(msgspec.Struct):
    """The programs that an image has run without a breach."""

    key: str
    digest: str  #: of the programs, so that a broken file is not believed
    passed: dict[str, bool]  #: by a program's digest: all that it stored could be judged


# Made as this is imported: where two threads are the first to decode a type, msgspec (0.22) may crash.
_RECORD = msgspec.json.Decoder(Record)


@functools.lru_cache(maxsize=8192)  # every guest of a byte order runs the same
def program_digest(program: bytes) -> str:
    """The name of ``program`` in a record: 32 hexadecimal characters."""
    return hashlib.blake2b(program, digest_size=16).hexdigest()


def key(image: Image, variant: Variant, engine: str, limit: int) -> str:
    """The digest of all that a passing audit depends on besides the program: 16 hexadecimal characters."""
    asked = image.sha256, variant.engine[engine], variant.coherence, variant.atomicity, limit, _versions()
    return hashlib.sha256(_code() + repr(asked).encode()).hexdigest()[:16]


_writing = threading.Lock()


class Memory:
    """The record of one image, one engine with its profile, and one number of requests."""

    def __init__(self, image: Image, engine: str, limit: int, key: str) -> None:
        self._path = Path(image.path).with_name(f"audit-{engine.replace(':', '-')}-{limit or 'all'}.json")
        self._key = key

    def recall(self) -> Mapping[str, bool]:
        """The programs that the image has passed, by this :func:`key`; none if there is no sound record of that."""
        with contextlib.suppress(OSError):
            status = self._path.stat()
            return _recalled(self._path, self._key, (status.st_ino, status.st_mtime_ns, status.st_size))
        return {}

    def remember(self, passed: Mapping[str, bool]) -> None:
        """Add to the record; where nothing can be written, the next run audits again."""
        with _writing:  # batches of an image may end at once
            whole = {**self.recall(), **passed}
            record = msgspec.json.encode(Record(self._key, _digest_of(whole), whole))
            with contextlib.suppress(OSError):
                inputs.write(self._path, record, durable=False)


@functools.lru_cache(maxsize=8)  # the batches of an image follow each other
def _recalled(path: Path, key: str, version: tuple[int, int, int]) -> Mapping[str, bool]:
    """What is in the record at ``path``; ``version`` tells it from what was there before.  Raises :class:`OSError`."""
    del version
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        record = _RECORD.decode(path.read_bytes())
        if record.key == key and record.digest == _digest_of(record.passed):
            return record.passed
    return {}


def _digest_of(passed: Mapping[str, bool]) -> str:
    return hashlib.sha256(msgspec.json.encode(passed)).hexdigest()


@functools.cache
def _versions() -> tuple[str, ...]:
    return tuple(importlib.metadata.version(name) for name in _DEPENDENCIES)


@functools.cache
def _code() -> bytes:
    root = paths.module("paths").parent
    files = [path for package in _PACKAGES for path in sorted((root / package).glob("*.py"))]
    digest = hashlib.sha256()
    for path in (*files, *map(paths.module, _MODULES)):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.digest()
