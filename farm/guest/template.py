"""Files that a new mechanism begins with: templates in ``images/template``, and the farm's own files beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Literal

from farm import paths
from farm.errors import UsageError
from farm.guest import mechanisms
from farm.guest.variant import Variant

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_ASM = "stub.S"
_SAME = ("pointer.h", "pointer_float.c")  # what a pointer's functions are made of


def check_name(name: str, known: Iterable[str]) -> None:
    """Raise :class:`~farm.errors.UsageError` unless ``name`` may be that of a new mechanism beside ``known`` ones."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"NAME {name!r}: expected a letter, then letters, digits, '-' and '_'")
    if name in known:
        raise UsageError(f"NAME {name}: a mechanism of the farm's own is called so; expected another name")


def files(name: str, like: Literal["stub", "pointer"], variants: Sequence[Variant]) -> dict[Path, str]:
    """Contents of a new mechanism's files by their paths in its folder.

    Raises :class:`~farm.errors.UsageError` if an architecture has no asm to begin with.
    """
    house, folder = mechanisms.common().parent, paths.data("images") / "template" / like
    made: dict[Path, str] = {}
    if like == "stub":
        for variant in variants:
            source = variant.source(_ASM)
            if not source.is_file():
                no_asm = f"{variant.architecture} has no {_ASM} to begin with"
                raise UsageError(f"--arch {variant.name}: {no_asm}; --like pointer needs none")
            made[Path(variant.architecture, source.name)] = source.read_text(encoding="utf-8")
    else:
        made = {Path(same): (house / "pointer" / same).read_text(encoding="utf-8") for same in _SAME}
    words = {"name": name, "variants": ", ".join(f'"{variant.name}"' for variant in variants)}
    for path in sorted(folder.iterdir()):
        made[Path(path.name)] = Template(path.read_text(encoding="utf-8")).substitute(words)
    return dict(sorted(made.items(), key=lambda item: (len(item[0].parts), item[0].suffix != ".toml", item[0])))
