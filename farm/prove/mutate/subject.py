"""What is broken: the patch code of a guest, and which lines of it its compiler sees."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from farm import paths
from farm.guest import build
from farm.guest.image import Spec
from farm.guest.mechanisms import common
from farm.guest.toolchain import TOOLCHAINS
from farm.prove.mutate import asm, c
from farm.prove.mutate.judged import Mutant
from farm.prove.mutate.operators import Mutation, Terms
from farm.text import printable

#: Files of ``common`` that are the farm's layer around a mechanism, not patch code.
_LAYER = frozenset({"layer.c", "layer.h", "planted.h", "mechanism.h", "text.c", "site_table.c", "libc.c", "stdio.h"})

_CHECKS = "target.c"  # the rule for targets, of mechanisms that promise to check them

#: Files of an architecture that are patch code.
_OF_ARCHITECTURE = ("patch.c", "stub.S", "sites.c", "arch.h")

#: By architecture, what a stub of asm must not write: in place of a scratch register one that is kept, an argument.
_REGISTERS: dict[str, tuple[tuple[str, str], ...]] = {
    "alpha": ((r"\$27\b", "$9"), (r"\$27\b", "$16"), (r"\$28\b", "$9")),
    "arm": ((r"\b(ip|r12)\b", "r4"), (r"\b(ip|r12)\b", "r0")),
    "arm64": ((r"\bx1[67]\b", "x19"), (r"\bx1[67]\b", "x0")),
    "loongarch": ((r"\$t\d\b", "$s0"), (r"\$t\d\b", "$a0")),
    "m68k": ((r"%a[01]\b", "%a2"), (r"%d[01]\b", "%d2")),
    "mips": ((r"\$25\b", "$16"), (r"\$25\b", "$4")),
    "parisc": ((r"%r(1|2[0-2])\b", "%r3"), (r"%r(1|2[0-2])\b", "%r26")),
    "powerpc": ((r"\b1[12]\b", "14"), (r"\b1[12]\b", "3")),
    "riscv": ((r"\bt\d\b", "s1"), (r"\bt\d\b", "a0")),
    "s390": ((r"%r1\b", "%r6"), (r"%r1\b", "%r2")),
    "sh": ((r"\br[0-3]\b", "r8"), (r"\br[0-3]\b", "r4")),
    "sparc": ((r"%g[15]\b", "%l0"), (r"%g[15]\b", "%o0")),
    "x86": ((r"%r1[01]\b", "%rbx"), (r"%r1[01]\b", "%rdi"), (r"%[er]ax\b", "%ebx")),
}

#: By architecture, calls and the jumps that they become.
_LINKS: dict[str, tuple[tuple[str, str], ...]] = {
    "alpha": (("bsr", "br"), ("jsr", "jmp")),
    "arm": (("bl", "b"), ("blx", "bx")),
    "arm64": (("bl", "b"), ("blr", "br")),
    "loongarch": (("bl", "b"),),
    "m68k": (("jsr", "jmp"), ("bsr", "bra")),
    "mips": (("jal", "j"), ("jalr", "jr"), ("bal", "b")),
    "powerpc": (("bl", "b"), ("bctrl", "bctr"), ("bcl", "bc")),
    "riscv": (("jal", "j"), ("jalr", "jr"), ("call", "tail")),
    "s390": (("brasl", "brcl"), ("basr", "bcr")),
    "sh": (("jsr", "jmp"), ("bsr", "bra")),
    "sparc": (("call", "ba"),),
    "x86": (("call", "jmp"),),
}

#: By architecture, conditional branches and those that are always taken.
_CONDITIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "arm": ((r"b(?!l|x|ic|kpt)[a-z]{2}(\.w)?", r"b\1"),),
    "arm64": ((r"b\.\w+", "b"),),
    "m68k": ((r"b(?!ra|sr)[a-z]{2}(\.\w)?", r"bra\1"),),
    "powerpc": ((r"b(eq|ne|lt|gt|le|ge)", "b"),),
    "s390": ((r"j(?!g)(e|ne|h|l|nl|nh)", "j"),),
    "x86": ((r"j(?!mp)\w+", "jmp"),),
}

_COMMENTS = {"arm": "@", "arm64": "//", "x86": "#", "riscv": "#", "mips": "#", "powerpc": "#", "s390": "#"}
_MARKER = re.compile(rb"#(?:line)? (\d+) \"((?:[^\"\\]|\\.)*)\"")
_WORD = re.compile(rb"\b[A-Z]\w+\b")
_ALL_LINES = 64  # bytes: maintenance is aimed so far at most


@dataclass(frozen=True)
class Text:
    """A file of patch code as one guest has it."""

    name: str  #: from the root of the project, or of the mechanism's folder
    path: Path
    content: bytes
    lines: frozenset[int]  #: that the compiler sees
    users: tuple[Path, ...]  #: sources that are made of it: itself, or what includes it


@dataclass(frozen=True)
class Broken:
    """A mutant, and what it is made of."""

    mutant: Mutant
    text: Text = field(repr=False)
    mutation: Mutation = field(repr=False)

    @property
    def content(self) -> bytes:
        """The text, broken."""
        return self.mutation.of(self.text.content)

    @property
    def digest(self) -> str:
        """What tells the mutant from every other one of its guest: of the file's name and its broken text."""
        return hashlib.sha256(self.text.name.encode() + b"\0" + self.content).hexdigest()[:32]


def patch_code(spec: Spec) -> tuple[list[Path], tuple[Path, ...]]:
    """The sources of patch code in a guest, and the folders in which its headers are.

    Of a mechanism that is none of the farm's own, nothing of the farm's is.
    """
    made, variant = spec.made_by.at(spec.variant), spec.variant
    folders = (made.folder, *((made.folder / name).resolve() for name in made.include))
    folders = folders if made.foreign else (*folders, common(), variant.folder)
    own = () if made.foreign else tuple(variant.source(name) for name in _OF_ARCHITECTURE)
    named = set(map(made.source, made.sources))
    sources = [
        path
        for path in build.sources(spec)
        if (path in own or path.is_relative_to(made.folder) or (path in named and not path.is_relative_to(common())))
        or (not made.foreign and path.parent == common() and is_patch_code(path, spec))
    ]
    return sources, folders


def is_patch_code(path: Path, spec: Spec) -> bool:
    """A file in ``common`` is no part of the farm's layer, as far as this mechanism is concerned."""
    if path.name == _CHECKS:
        return "checks-targets" in spec.made_by.promises
    return path.name not in _LAYER


def texts(spec: Spec, work: Path) -> list[Text]:
    """The texts of patch code of the guest; ``work`` has its ``wire.h``.  Raises as :func:`farm.guest.build.image`."""
    sources, folders = patch_code(spec)
    lines: dict[Path, set[int]] = {}
    users: dict[Path, list[Path]] = {}
    for source in sources:
        for path, seen in _seen(spec, source, work).items():
            of_architecture = path.parent == spec.variant.folder and path.name not in _OF_ARCHITECTURE
            of_layer = path.parent == common() and not is_patch_code(path, spec)
            if path in sources or (any(map(path.is_relative_to, folders)) and not of_architecture and not of_layer):
                lines.setdefault(path, set()).update(seen)
                users.setdefault(path, []).append(source)
    root = paths.data("images").parent
    made = []
    for path in sorted(lines):
        of = next((folder for folder in (root, spec.made_by.folder.parent) if path.is_relative_to(folder)), None)
        name = printable(str(path.relative_to(of) if of else path))
        made.append(Text(name, path, path.read_bytes(), frozenset(lines[path]), tuple(users[path])))
    return made


def _seen(spec: Spec, source: Path, work: Path) -> dict[Path, set[int]]:
    """Files that the compiler reads as it compiles ``source``, each with the lines of it that are not skipped."""
    output = work / "preprocessed"
    flags = [*build.compile_flags(spec, source, work), "-dD", "-w", "-Wno-error"]
    command = TOOLCHAINS[spec.toolchain].compile(spec.variant, flags, source, output)
    command[command.index("-c")] = "-E"
    build.run_tool(spec, f"{source} does not compile for {spec.variant.name}", command, work)
    found: dict[Path, set[int]] = {}
    lines: set[int] = set()
    number = 0
    for line in output.read_bytes().splitlines():
        marker = _MARKER.match(line)
        if marker:
            number = int(marker[1])
            path = Path(os.path.normpath(marker[2].decode(errors="replace")))
            lines = found.setdefault(path, set()) if path.is_absolute() else set()
        else:
            if line.strip():
                lines.add(number)
            number += 1
    return found


def mutants(spec: Spec, of: list[Text]) -> Iterator[Broken]:
    """Every mutant of the guest."""
    variant = spec.variant
    block = variant.coherence.block
    terms = Terms(
        variant.alignment,
        max(block.most if block else 0, _ALL_LINES),
        _REGISTERS.get(variant.architecture, ()),
        _LINKS.get(variant.architecture, ()),
        _CONDITIONS.get(variant.architecture, ()),
        _COMMENTS.get(variant.architecture, ""),
    )
    used = {word.decode() for text in of if text.path.name != "arch.h" for word in _WORD.findall(text.content)}
    for text in of:
        if text.path.suffix == ".S":
            found = asm.mutations(text.content, text.lines, terms)
        else:
            macros = used if text.path.name == "arch.h" else None
            found = c.mutations(text.content, text.lines, terms, macros)
        for mutation in found:
            start = text.content.rfind(b"\n", 0, mutation.start) + 1
            before = text.content[mutation.start : mutation.end]
            yield Broken(
                Mutant(
                    variant.name,
                    spec.mechanism,
                    spec.toolchain,
                    text.name,
                    mutation.line,
                    mutation.start - start + 1,
                    mutation.operator,
                    _short(before),
                    _short(mutation.replacement),
                ),
                text,
                mutation,
            )


def _short(text: bytes) -> str:
    return " ".join(printable(text.decode(errors="replace")).split())
