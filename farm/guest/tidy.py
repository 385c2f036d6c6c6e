"""Upkeep of the cache of images: it forgets what nobody has used for long, and does not grow for ever.

At most once a day, after images were asked for, entries go that were not used for :data:`OLD`; and where the cache is
still larger than :data:`LIMIT`, the least recently used ones, but none that was used within :data:`SAFE`: a farm that
runs may open its guest again at any time, and a guest that is gone costs it a cell.  An entry that is missing is built
again, so nothing more than time is ever lost.

The time of an entry's last use is the time stamp of its file or folder; a file system's own times of access are often
off.  What Zig keeps there is small and left alone, and so are the locks: who waits for one has it open already.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from farm import paths

DAY = 24 * 3600.0  # seconds
OLD = 30 * DAY
SAFE = 2 * DAY
LIMIT = 2 << 30  # bytes

_STAMP = "tidied"


def used(entry: Path) -> None:
    """Note that ``entry`` of the cache is used, once a day; where nothing can be written, nothing is removed either."""
    with contextlib.suppress(OSError):
        if time.time() - entry.stat().st_mtime > DAY:
            os.utime(entry)


def tidy() -> list[Path]:
    """Remove what is too old, or too much; the entries that went.  Nothing if that was done within a day."""
    from filelock import FileLock, Timeout

    cache = paths.cache()
    gone: list[Path] = []
    with contextlib.suppress(OSError, Timeout, NotImplementedError):  # upkeep is never a reason to fail
        stamp = cache / _STAMP
        if stamp.exists() and time.time() - stamp.stat().st_mtime < DAY:
            return gone
        with FileLock(cache / f"{_STAMP}.lock", timeout=0):
            stamp.touch()
            entries = sorted(_entries(cache))
            total = sum(size for _, size, _ in entries)
            for last, size, path in entries:
                unused = time.time() - last
                if unused < SAFE or (unused < OLD and total <= LIMIT):
                    break
                if _removed(path, last):
                    total -= size
                    gone.append(path)
    return gone


def _entries(cache: Path) -> Iterator[tuple[float, int, Path]]:
    """Time of the last use, size in bytes, and path of each image, object and record, and of what builds left."""
    for path in (*cache.glob("images/*"), *cache.glob("objects/*"), *cache.glob("made/*")):
        with contextlib.suppress(OSError):
            if path.suffix != ".lock":
                files = path.iterdir() if path.is_dir() else [path]
                yield path.stat().st_mtime, sum(file.stat().st_size for file in files), path


def _removed(path: Path, last: float) -> bool:
    """Remove an entry, unless it was used since ``last``."""
    with contextlib.suppress(OSError):
        if path.stat().st_mtime == last:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
            return True
    return False
