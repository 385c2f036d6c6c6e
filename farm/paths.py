"""Where the farm's own files are: in a checkout, beside an editable install, or inside the wheel."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def data(name: str) -> Path:
    """The folder ``arch`` or ``images``."""
    checkout = _PACKAGE.parent / name
    return checkout if (_PACKAGE.parent / "pyproject.toml").is_file() else _PACKAGE / "_data" / name


def cache() -> Path:
    """Where built images live: ``$PATCHFARM_CACHE``, else the user's cache folder."""
    chosen = os.environ.get("PATCHFARM_CACHE")
    if chosen:
        return Path(chosen).absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("patchfarm"))


def history() -> Path | None:
    """Where runs are remembered: ``$PATCHFARM_HISTORY``, or nowhere if it is ``off`` or empty; else the user's data."""
    chosen = os.environ.get("PATCHFARM_HISTORY")
    if chosen is not None:
        return Path(chosen) if chosen not in ("", "off") else None
    import platformdirs

    return Path(platformdirs.user_data_dir("patchfarm")) / "history.sqlite"
