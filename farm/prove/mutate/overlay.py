"""Builds a guest with one text of it broken: what is made of that text is compiled anew, and nothing is overwritten."""

from __future__ import annotations

import contextlib
import functools
import io
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from farm.errors import BuildError
from farm.guest import build, link
from farm.guest.image import DESCRIPTION, ELF, Image, Spec, describe
from farm.guest.mechanisms import common
from farm.guest.toolchain import TOOLCHAINS
from farm.prove.mutate.operators import Mutation
from farm.prove.mutate.subject import Broken

#: Flags behind all others: a mutant may leave a variable unused, and nobody reads its debug information.
_FLAGS = ("-g0", "-w", "-Wno-error")


class Workshop:
    """The objects of a guest as it is, and a folder in which broken ones are made."""

    def __init__(self, spec: Spec, folder: Path, flags: tuple[str, ...] = ()) -> None:
        """``flags`` are the compiler's, behind all others.  Raises as :func:`farm.guest.build.image`."""
        self.spec, self.folder, self._flags = spec, folder, (*_FLAGS, *flags)
        self._toolchain = TOOLCHAINS[spec.toolchain]
        made = spec.made_by.at(spec.variant)
        own = (made.folder, *(made.folder / name for name in made.include), common(), spec.variant.folder)
        self._roots = tuple(dict.fromkeys(path.resolve() for path in own))
        self.objects = build.objects(spec, folder)
        self.image = build.image(spec)
        self._loaded = self._memory(self.image)

    @functools.cache  # noqa: B019 - as long-lived as what it keeps
    def plain(self, source: Path) -> bytes:
        """The object of ``source`` as it is, made as broken ones are."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            return self._compile(source, Path(name))

    def compiled(self, broken: Broken, work: Path) -> dict[Path, bytes]:
        """The objects in which the mutant differs from the guest, by source; none: the compiler makes the same of it.

        Raises :class:`~farm.errors.BuildError`.
        """
        return {source: made for source, made in self.made(broken, work).items() if made != self.plain(source)}

    def made(self, broken: Broken, work: Path) -> dict[Path, bytes]:
        """The objects of all sources that are made of a broken text.  Raises :class:`~farm.errors.BuildError`."""
        path, top = broken.text.path, work / "overlay"
        roots = [*self._roots, *(() if any(map(path.is_relative_to, self._roots)) else (path.parent,))]
        for root in roots:
            _mirror(root, _copy_of(root, top), deep=root in self._roots)
        target = _copy_of(path, top)
        target.unlink()
        target.write_bytes(broken.content)
        return {source: self._compile(source, work, roots, top) for source in broken.text.users}

    def _compile(self, source: Path, work: Path, roots: Sequence[Path] = (), top: Path = Path()) -> bytes:
        """The object of ``source``; what is in one of ``roots`` is taken from its copy below ``top``."""

        def moved(path: Path) -> Path:
            path = path.resolve()
            return _copy_of(path, top) if any(map(path.is_relative_to, roots)) else path

        flags = [*build.compile_flags(self.spec, source, self.folder), *self._flags]
        flags = [flag for flag in flags if not flag.startswith("-ffile-prefix-map=")]
        flags = [f"-I{moved(Path(flag[2:]))}" if flag.startswith("-I") else flag for flag in flags]
        if source.parent not in self._roots:
            flags.append(f"-iquote{source.parent}")
        place = moved(source)
        output = work / "object.o"
        command = self._toolchain.compile(self.spec.variant, flags, place, output)
        build.run_tool(
            self.spec, f"{source.name} does not compile for {self.spec.variant.name}", command, work, self.folder
        )
        return output.read_bytes()

    def absent(self, source: Path) -> set[str]:
        """Names of functions that ``source`` may have and the guest has not: their address is NULL."""
        wanted = {s.name for s in _symbols(self.plain(source)) if s["st_info"]["bind"] == "STB_WEAK" and _undefined(s)}
        return wanted - {s.name for s in _symbols(Path(self.image.path).read_bytes()) if not _undefined(s)}

    def link(self, objects: dict[Path, bytes], work: Path) -> Image:
        """The guest with ``objects`` in place of its own.

        Raises :class:`~farm.errors.BuildError`, and :class:`~farm.errors.ImageError` if it breaks a rule of layout.
        """
        spec, linked = self.spec, work / ELF
        parts = []
        for number, (source, own) in enumerate(self.objects.items()):
            if source in objects:
                own = work / f"{number}.o"  # noqa: PLW2901 - in its place
                own.write_bytes(objects[source])
            parts.append(own)
        flags = [*build.link_flags(spec), "--strip-debug"]
        command = self._toolchain.link(spec.variant, flags, parts, linked)
        build.run_tool(spec, f"{spec} does not link", command, work, self.folder)
        sites = link.fill(linked, str(spec), spec.variant, spec.made_by)
        made = describe(linked, spec, "mutant", sites)
        (work / DESCRIPTION).write_bytes(msgspec.json.encode(msgspec.structs.replace(made, path=ELF)))
        return made

    def is_same(self, image: Image) -> bool:
        """In memory, ``image`` is what the guest is."""
        return self._memory(image) == self._loaded

    @staticmethod
    def _memory(image: Image) -> list[tuple[int, int, int, bytes]]:
        content = image.read()
        return [(s.address, s.size, s.flags, content[s.offset : s.offset + s.file_size]) for s in image.segments]


def _symbols(content: bytes) -> list[Any]:
    """The symbols of an ELF file."""
    from elftools.elf.elffile import ELFFile

    table = ELFFile(io.BytesIO(content)).get_section_by_name(".symtab")
    return list(table.iter_symbols()) if table else []


def _undefined(symbol: Any) -> bool:
    return bool(symbol["st_shndx"] == "SHN_UNDEF")


def _copy_of(path: Path, top: Path) -> Path:
    """Where ``path`` is among the copies below ``top``: as far from one another as they were."""
    return top / path.relative_to(path.anchor)


def _mirror(root: Path, copy: Path, *, deep: bool) -> None:
    """A folder of links to what is in ``root``."""
    copy.mkdir(parents=True, exist_ok=True)
    for path in root.iterdir():
        if (copy / path.name).exists():  # one root is in another
            continue
        if path.is_dir() and deep:
            _mirror(path, copy / path.name, deep=True)
        else:
            (copy / path.name).symlink_to(path)


def clear(work: Path) -> None:
    """Remove what a mutant was made in."""
    shutil.rmtree(work, ignore_errors=True)


def without_absent(workshop: Workshop, broken: Broken) -> str:
    """Why a mutant is the guest as it is, if it is once the optional functions are NULL that the guest has not."""
    text, mutation = broken.text, broken.mutation
    names = workshop.absent(text.path) if text.path.suffix == ".c" else set()
    pattern = re.compile(rb"(?<![\w.>])(%b)\b" % b"|".join(name.encode() for name in sorted(names)))
    if not names or not pattern.search(broken.content):
        return ""
    made = []
    for content in (text.content, broken.content):
        known = Mutation(mutation.operator, 1, 1, 0, len(text.content), pattern.sub(rb"((__typeof__(&\1))0)", content))
        with tempfile.TemporaryDirectory(dir=workshop.folder) as work, contextlib.suppress(BuildError):
            made.append(workshop.made(replace(broken, mutation=known), Path(work)))
    if len(made) != 2 or made[0] != made[1]:
        return ""
    return f"the compiler makes the same of it, for this guest has no {', '.join(sorted(names))}"
