"""patchfarm: does a runtime-patchable call behave the same on every architecture, and would the test have noticed?"""  # noqa: D400 - it asks

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farm.live import boot as boot

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """``farm.boot``, whose module is not needed to import the farm."""
    if name == "boot":
        from farm.live import boot

        return boot
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
