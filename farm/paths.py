"""Paths of the farm's own files: in a checkout, beside an editable install, or inside the wheel."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from farm.errors import OutputError, UsageError

_PACKAGE = Path(__file__).resolve().parent


def data(name: str) -> Path:
    """The folder ``arch`` or ``images``."""
    packed = _PACKAGE / "_data"  # in the wheel; a checkout has them beside the package
    return packed / name if packed.is_dir() else _PACKAGE.parent / name


def module(name: str) -> Path:
    """The source of a module of the farm: of ``guest.image``, or of a package such as ``scenario``."""
    path = _PACKAGE.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def cache() -> Path:
    """Folder of built images: ``$PATCHFARM_CACHE``, else the user's cache folder, else one of the user's in ``/tmp``.

    Raises :class:`~farm.errors.OutputError` if there is none that can be trusted, and
    :class:`~farm.errors.UsageError` for a name that no compiler could be given.
    """
    chosen = os.environ.get("PATCHFARM_CACHE")
    if chosen and "\n" in chosen:
        raise UsageError(
            f"PATCHFARM_CACHE {chosen!r}: compilers cannot be told of a folder with a line feed in its name"
        )
    if chosen:
        return Path(chosen).absolute()
    import platformdirs

    return _usable(_own(platformdirs.user_cache_dir))


def _own(kind: Callable[[str], str]) -> Path | None:
    """A folder of the user's; None for a user without a home."""
    with contextlib.suppress(RuntimeError):
        folder = Path(kind("patchfarm"))
        return folder if folder.is_absolute() else None  # else it begins with a "~" that nothing is known of
    return None


@functools.cache
def _usable(folder: Path | None) -> Path:
    """``folder``; where it cannot be made, for want of a home, one for temporary files, and that is said."""
    with contextlib.suppress(OSError):
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            return folder
    try:
        temporary = Path(tempfile.gettempdir()) / f"patchfarm-{os.getuid()}"
        temporary.mkdir(mode=0o700, exist_ok=True)
        status = temporary.lstat()
    except OSError as error:
        raise OutputError(f"no folder for built images ({error.strerror}); set PATCHFARM_CACHE to one") from None
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise OutputError(f"{temporary}: others can write there; set PATCHFARM_CACHE to a folder for built images")
    sys.stderr.write(f"no home folder: built images are kept in {temporary}; PATCHFARM_CACHE chooses another folder\n")
    return temporary


def history() -> Path | None:
    """File that remembers runs: ``$PATCHFARM_HISTORY``, or none if it is ``off`` or empty; else in the user's data.

    None, too, if the user has no home.
    """
    chosen = os.environ.get("PATCHFARM_HISTORY")
    if chosen is not None:
        return Path(chosen) if chosen not in ("", "off") else None
    import platformdirs

    folder = _own(platformdirs.user_data_dir)
    return folder / "history.sqlite" if folder else None
