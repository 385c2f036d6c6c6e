"""Builds a guest with one text of it broken: what is made of that text is compiled anew, and nothing is overwritten."""

from __future__ import annotations

import functools
import shutil
import tempfile
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
        self._roots = tuple(path.resolve() for path in (spec.made_by.folder, common(), spec.variant.folder))
        self.objects = build.objects(spec, folder)
        self.image = build.image(spec)
        self._loaded = self._memory(self.image)

    @functools.cache  # noqa: B019 - as long-lived as what it keeps
    def plain(self, source: Path) -> bytes:
        """The object of ``source`` as it is, made as broken ones are."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            return self._compile(source, Path(name), {})

    def compiled(self, broken: Broken, work: Path) -> dict[Path, bytes]:
        """The objects in which the mutant differs from the guest, by source; none: the compiler makes the same of it.

        Raises :class:`~farm.errors.BuildError`.
        """
        path = broken.text.path
        root = next((folder for folder in self._roots if path.is_relative_to(folder)), path.parent)
        copy = work / "overlay" / root.name
        _mirror(root, copy, deep=root in self._roots)
        target = copy / path.relative_to(root)
        target.unlink()
        target.write_bytes(broken.content)
        differing = {}
        for source in broken.text.users:
            made = self._compile(source, work, {root: copy})
            if made != self.plain(source):
                differing[source] = made
        return differing

    def _compile(self, source: Path, work: Path, moved: dict[Path, Path]) -> bytes:
        flags = [*build.compile_flags(self.spec, source, self.folder), *_FLAGS]
        flags = [flag for flag in flags if not flag.startswith("-ffile-prefix-map=")]
        place = source
        for root, copy in moved.items():
            flags = [f"-I{_moved(Path(flag[2:]), root, copy)}" if flag.startswith("-I") else flag for flag in flags]
            place = _moved(source, root, copy)
        if source.parent not in self._roots:
            flags.append(f"-iquote{source.parent}")
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


def _moved(path: Path, root: Path, copy: Path) -> Path:
    path = path.resolve()
    return copy / path.relative_to(root) if path.is_relative_to(root) else path


def _mirror(root: Path, copy: Path, *, deep: bool) -> None:
    """A folder of links to what is in ``root``."""
    copy.mkdir(parents=True, exist_ok=True)
    for path in root.iterdir():
        if path.is_dir() and deep:
            _mirror(path, copy / path.name, deep=True)
        else:
            (copy / path.name).symlink_to(path)


def clear(work: Path) -> None:
    """Remove what a mutant was made in."""
    shutil.rmtree(work, ignore_errors=True)
