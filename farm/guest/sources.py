"""Sources of a guest, and what they name: which negative control can be planted in them is seen in their text."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path

from farm import paths
from farm.guest.inputs import Files
from farm.guest.mechanisms import Mechanism, common
from farm.guest.variant import ABI_FILE, Variant

PLATFORM, ALIAS = "linux", "alias"  #: files of ``images/platform``; the second is for mechanisms with ``alias``

_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*[\"<]([^\">]+)[\">]", re.MULTILINE)
_CONTROL = re.compile(r"\bCONTROL_\w+")


def of_guest(variant: Variant, mechanism: Mechanism, files: Files | None = None) -> list[Path]:
    """C and asm files of every guest of ``variant`` and ``mechanism``."""
    folder, files = paths.data("images"), files or Files()
    asm = [variant.source(f"start_{PLATFORM}.S")]
    asm += [variant.source(ABI_FILE)] if variant.looks_at_registers else files.matching(folder / "portable", "*.c")
    if variant.source("crc_t10dif.c").is_file():
        asm.append(variant.source("crc_t10dif.c"))
    platform = [PLATFORM, ALIAS] if mechanism.alias else [PLATFORM]
    guest = [*files.matching(folder / "guest", "*.[cS]"), *mechanism.files(variant)]
    return [*guest, *(folder / "platform" / f"{name}.c" for name in platform), *asm]


@functools.lru_cache(maxsize=1024)
def controls(variant: Variant, mechanism: Mechanism) -> frozenset[str]:
    """Macros of negative controls that the guest's sources name, or headers which they include."""
    folder = mechanism.folder
    further = [folder / variant.architecture, folder, *(folder / name for name in mechanism.include)]
    folders = (variant.folder, paths.data("images") / "guest", common(), *further)
    seen: set[Path] = set()
    names: set[str] = set()
    wanted = of_guest(variant, mechanism)
    while wanted:
        path = wanted.pop()
        if path not in seen and path.is_file():
            seen.add(path)
            macros, included = _named(path)
            names |= macros
            wanted += (header for name in included for header in _found(name, (path.parent, *folders)))
    return frozenset(names)


def _found(name: str, folders: tuple[Path, ...]) -> Iterator[Path]:
    """The header that ``#include`` finds in the first of ``folders`` that has it; none is the compiler's, or made."""
    yield from [path for folder in folders if (path := folder / name).is_file()][:1]


@functools.cache
def _named(path: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Macros of controls and included files that a source names."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return frozenset(_CONTROL.findall(text)), frozenset(_INCLUDE.findall(text))
