"""Loads Unicorn without ``pkg_resources``, which takes a child longer than Unicorn itself.

Before Python 3.12 Unicorn 2.1.2 asks it where the package ``unicorn`` is installed, and nothing else.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType


class _Stand(ModuleType):
    """Stands in for ``pkg_resources``."""

    @staticmethod
    def resource_filename(package: str, name: str) -> str:
        found = importlib.util.find_spec(package)
        assert found
        assert found.origin
        return str(Path(found.origin).parent / name)


def load() -> None:
    """Import Unicorn.  Raises :class:`ModuleNotFoundError` if it is not installed."""
    asked = "pkg_resources"
    if asked in sys.modules:
        importlib.import_module("unicorn")
        return
    sys.modules[asked] = _Stand(asked)
    try:
        importlib.import_module("unicorn")
    finally:
        del sys.modules[asked]


load()
