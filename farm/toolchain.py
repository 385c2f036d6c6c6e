"""Compilers: how one source becomes an object and how objects become a guest.

A toolchain is two commands.  ``zig`` is the default: clang and LLD for all of LLVM's targets from one Python package,
with no headers or libraries needed.  ``zig cc`` itself refuses ``--emit-relocs``, hence the separate link with
``zig ld.lld``.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Protocol

from farm import paths
from farm.backend import Variant
from farm.errors import MissingToolError

#: Freestanding C11; warnings are errors.  ``-fno-sanitize=all`` because zig adds checks of its own.
COMPILE_FLAGS = (
    *("-std=c11", "-O2", "-g", "-Wall", "-Wextra", "-Werror"),
    *("-ffreestanding", "-fno-pic", "-fno-builtin", "-fno-stack-protector", "-fomit-frame-pointer"),
    *("-fno-asynchronous-unwind-tables", "-fno-sanitize=all"),
)

#: Relocations are kept: they are the record of the call sites.
LINK_FLAGS = (
    *("-static", "--emit-relocs", "--no-relax", "--build-id=none", "--no-dynamic-linker"),
    *("-z", "norelro", "-z", "max-page-size=65536"),
)


#: How the stem of a source ends that needs floating-point registers; all others get ``integer_flags``.
FLOAT_SOURCE = "_float"


class Toolchain(Protocol):
    """A compiler and its linker."""

    name: str

    def version(self) -> str:
        """Part of every image's key.  Raises :class:`~farm.errors.MissingToolError`."""

    def compile(self, variant: Variant, flags: list[str], source: Path, output: Path) -> list[str]:
        """The command that compiles ``source`` (C or asm)."""

    def link(self, variant: Variant, flags: list[str], objects: list[Path], output: Path) -> list[str]:
        """The command that links ``objects``."""

    def environment(self) -> dict[str, str]:
        """What the commands need in their environment beyond the farm's own."""


class Zig:
    """``ziglang`` from PyPI."""

    name = "zig"
    install = "pip install 'ziglang==0.17.*'"

    @functools.cached_property
    def _binary(self) -> str:
        spec = importlib.util.find_spec("ziglang")
        for folder in spec.submodule_search_locations or [] if spec else []:
            binary = Path(folder) / "zig"
            if binary.is_file():
                return str(binary)
        raise MissingToolError("the zig compiler", self.install)

    @functools.cached_property
    def _version(self) -> str:
        try:
            return importlib.metadata.version("ziglang")
        except importlib.metadata.PackageNotFoundError:
            raise MissingToolError("the zig compiler", self.install) from None

    def version(self) -> str:
        return self._version

    def compile(self, variant: Variant, flags: list[str], source: Path, output: Path) -> list[str]:
        settings = variant.toolchain[self.name]
        target = ["-target", settings.target, *settings.flags]
        if not source.stem.endswith(FLOAT_SOURCE):
            target += settings.integer_flags
        return [self._binary, "cc", *target, *COMPILE_FLAGS, *flags, "-c", "-o", str(output), str(source)]

    def link(self, variant: Variant, flags: list[str], objects: list[Path], output: Path) -> list[str]:
        emulation = variant.toolchain[self.name].emulation
        inputs = [str(path) for path in objects]
        return [self._binary, "ld.lld", "-m", emulation, *LINK_FLAGS, *flags, "-o", str(output), *inputs]

    def environment(self) -> dict[str, str]:
        folder = str(paths.cache() / "zig")
        return {"ZIG_GLOBAL_CACHE_DIR": folder, "ZIG_LOCAL_CACHE_DIR": folder}


TOOLCHAINS: dict[str, Toolchain] = {"zig": Zig()}
