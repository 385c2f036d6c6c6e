"""Builds a guest with one text of it broken: what is made of that text is compiled anew, and nothing is overwritten."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from farm.guest import build, link
from farm.guest.image import DESCRIPTION, ELF, Image, Spec, describe
from farm.guest.mechanisms import common
from farm.guest.toolchain import TOOLCHAINS
from farm.prove.mutate.subject import Broken

#: Flags behind all others: a mutant may leave a variable unused, and nobody reads its debug information.
_FLAGS = ("-g0", "-w", "-Wno-error")


class Workshop:
    """The objects of a guest as it is, and a folder in which broken ones are made."""

    def __init__(self, spec: Spec, folder: Path) -> None:
        """Raises as :func:`farm.guest.build.image`."""
        self.spec, self.folder = spec, folder
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
        path, top = broken.text.path, work / "overlay"
        roots = [*self._roots, *(() if any(map(path.is_relative_to, self._roots)) else (path.parent,))]
        for root in roots:
            _mirror(root, _copy_of(root, top), deep=root in self._roots)
        target = _copy_of(path, top)
        target.unlink()
        target.write_bytes(broken.content)
        differing = {}
        for source in broken.text.users:
            made = self._compile(source, work, roots, top)
            if made != self.plain(source):
                differing[source] = made
        return differing

    def _compile(self, source: Path, work: Path, roots: Sequence[Path] = (), top: Path = Path()) -> bytes:
        """The object of ``source``; what is in one of ``roots`` is taken from its copy below ``top``."""

        def moved(path: Path) -> Path:
            path = path.resolve()
            return _copy_of(path, top) if any(map(path.is_relative_to, roots)) else path

        flags = [*build.compile_flags(self.spec, source, self.folder), *_FLAGS]
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
