"""Compilers: how one source becomes an object and how objects become a guest.

A toolchain is two commands.  ``zig`` is the default: clang and LLD for all of LLVM's targets from one Python package,
with no headers or libraries needed.  ``zig cc`` itself refuses ``--emit-relocs``, hence the separate link with
``zig ld.lld``.  ``gcc`` is Debian's cross compilers, one package a target: for what LLVM does not build, and for the
rest a second compiler, which is a second set of call sites.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn, Protocol

from farm import paths
from farm.errors import MissingToolError
from farm.guest.variant import GccSettings, ToolchainSettings, Variant, ZigSettings

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


#: Flags that keep GCC from changing call sites: by merging equal functions, by relying on what it knows of a callee's
#: registers.
GCC_FLAGS = ("-fno-ipa-icf", "-fno-ipa-ra", "-fno-reorder-functions", "-fno-pie", "-Wno-pedantic")

#: End of the stem of a source that needs floating-point registers; all others get ``integer_flags``.
FLOAT_SOURCE = "_float"

#: The stem of the source that gets ``retpoline_flags``.
RETPOLINE_SOURCE = "retpoline"


class Toolchain(Protocol):
    """A compiler and its linker."""

    name: str

    def version(self, variant: Variant) -> str:
        """The compiler's version, for people.  Raises :class:`~farm.errors.MissingToolError`."""

    def identity(self, variant: Variant) -> str:
        """Part of every image's key: another one for another compiler, of the same version too."""

    def root(self, variant: Variant) -> Path:
        """The folder that it is installed in: what lies below is the compiler's own."""

    def compile(self, variant: Variant, flags: list[str], source: Path, output: Path) -> list[str]:
        """The command that compiles ``source`` (C or asm)."""

    def link(self, variant: Variant, flags: list[str], objects: list[Path], output: Path) -> list[str]:
        """The command that links ``objects``."""

    def place(self) -> Path | None:
        """Folder of the compiler's own headers, if that differs from machine to machine."""

    def environment(self) -> dict[str, str]:
        """Variables that the commands need in their environment beyond the farm's own."""


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

    def version(self, variant: Variant) -> str:
        del variant  # one compiler for all of them
        return self._version

    @functools.cached_property
    def _recorded(self) -> str:
        """The compiler's hash and size by the installed package's own record; empty if it has none."""
        record = importlib.metadata.distribution("ziglang").read_text("RECORD") or ""
        return record.partition("\nziglang/zig,")[2].partition("\n")[0]

    def identity(self, variant: Variant) -> str:
        return f"{self.version(variant)} {self._recorded or _identity(self._binary)}"

    @functools.cached_property
    def _root(self) -> Path:
        return Path(self._binary).resolve().parent

    def root(self, variant: Variant) -> Path:
        del variant
        return self._root

    def compile(self, variant: Variant, flags: list[str], source: Path, output: Path) -> list[str]:
        settings = variant.toolchain[self.name]
        assert isinstance(settings, ZigSettings)
        target = ["-target", settings.target, *_target_flags(settings, source)]
        return [self._binary, "cc", *target, *COMPILE_FLAGS, *flags, "-c", "-o", str(output), str(source)]

    def link(self, variant: Variant, flags: list[str], objects: list[Path], output: Path) -> list[str]:
        settings = variant.toolchain[self.name]
        assert isinstance(settings, ZigSettings)
        inputs = [str(path) for path in objects]
        passed = [*LINK_FLAGS, *settings.link_flags, *flags]
        return [self._binary, "ld.lld", "-m", settings.emulation, *passed, "-o", str(output), *inputs]

    def place(self) -> Path | None:
        return Path(self._binary).parent

    def environment(self) -> dict[str, str]:
        folder = str(paths.cache() / "zig")
        return {"ZIG_GLOBAL_CACHE_DIR": folder, "ZIG_LOCAL_CACHE_DIR": folder}


class Gcc:
    """Debian's ``gcc-TARGET``."""

    name = "gcc"

    @staticmethod
    def settings(variant: Variant) -> GccSettings:
        settings = variant.toolchain[Gcc.name]
        assert isinstance(settings, GccSettings)
        return settings

    def version(self, variant: Variant) -> str:
        """The stamp of the compiler's file: asking it would take longer than all else that a warm run does."""
        settings = self.settings(variant)
        return _stamp(f"{settings.prefix}gcc") or self._missing(settings)

    def identity(self, variant: Variant) -> str:
        settings = self.settings(variant)
        if not _installed(f"{settings.prefix}gcc"):
            self._missing(settings)
        return " ".join(_identity(f"{settings.prefix}{tool}") for tool in ("gcc", "as", "ld"))

    def root(self, variant: Variant) -> Path:
        settings = self.settings(variant)
        binary = _installed(f"{settings.prefix}gcc") or self._missing(settings)
        library, target = binary.parent.parent / "lib", settings.prefix.removesuffix("-")
        folders = [library / kind / target for kind in ("gcc-cross", "gcc")]
        return next((folder for folder in folders if folder.is_dir()), folders[-1])

    @staticmethod
    def _missing(settings: GccSettings) -> NoReturn:
        raise MissingToolError(f"{settings.prefix}gcc", f"apt-get install {settings.package}")

    def compile(self, variant: Variant, flags: list[str], source: Path, output: Path) -> list[str]:
        settings = self.settings(variant)
        target = _target_flags(settings, source)
        command = [f"{settings.prefix}gcc", *COMPILE_FLAGS, *GCC_FLAGS, *target, *flags]
        return [*command, "-c", "-o", str(output), str(source)]

    def link(self, variant: Variant, flags: list[str], objects: list[Path], output: Path) -> list[str]:
        settings = self.settings(variant)
        passed = [word for flag in (*LINK_FLAGS, *settings.link_flags, *flags) for word in ("-Xlinker", flag)]
        inputs = [str(path) for path in objects]
        target = [*settings.flags, "-nostdlib", "-no-pie", *passed]
        libraries = [f"-l{name}" for name in settings.libraries]
        return [f"{settings.prefix}gcc", *target, "-o", str(output), *inputs, *libraries]

    def place(self) -> Path | None:
        return None

    def environment(self) -> dict[str, str]:
        return {"LC_ALL": "C"}


def _target_flags(settings: ToolchainSettings, source: Path) -> list[str]:
    flags = list(settings.flags)
    if not source.stem.endswith(FLOAT_SOURCE):
        flags += settings.integer_flags
    if source.stem == RETPOLINE_SOURCE:
        flags += settings.retpoline_flags
    return flags


@functools.cache
def _installed(command: str) -> Path | None:
    """The file that ``command`` is in the end."""
    path = shutil.which(command)
    return Path(path).resolve() if path else None


@functools.cache
def _stamp(command: str) -> str | None:
    """Tells people one version of an installed command from another; None if it is not there."""
    path = _installed(command)
    return f"{path.name} of {datetime.fromtimestamp(path.stat().st_mtime, UTC):%Y-%m-%d}" if path else None


@functools.cache
def _identity(command: str) -> str:
    """Tells a key one build of an installed command from another."""
    path = _installed(command)
    if path is None:
        return f"no {command}"
    status = path.stat()
    return f"{path.name} of {status.st_size} bytes, {status.st_mtime_ns}"


TOOLCHAINS: dict[str, Toolchain] = {"zig": Zig(), "gcc": Gcc()}
