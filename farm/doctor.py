"""``farm doctor``: what is here, what is missing, and the exact command that installs it.

Nothing is assumed from a version number alone where asking is cheap: the compiler and every emulator are run.  QEMU is
never required, since the farm also runs on Unicorn, which comes from pip with everything else.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from farm import paths
from farm.cell import EngineName
from farm.guest import arch_toml
from farm.guest.toolchain import Gcc, Zig
from farm.guest.variant import GccSettings, QemuSystemSettings, QemuUserSettings

#: Purpose of a dependency; those not listed serve the farm as a whole.
_PURPOSE = {
    "unicorn": "the unicorn engine",
    "ziglang": "building images",
    "capstone": "disassembly in reports",
    "pwntools": "debugging a cell",
    "pyelftools": "reading images",
    "pytest": "cells as tests",
    "pytest-xdist": "cells as tests, in parallel",
    "setuptools": "unicorn",
}

#: Commands that start a browser to test the report with; the first is also its Debian package.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

_ASK_SECONDS = 20
_APT_SECONDS = 900


@dataclass(frozen=True)
class Finding:
    """One thing that the farm can use."""

    what: str
    found: str | None  #: its version or place; None: it is not there, or not so that it can be used
    needed_by: str
    install: str | None  #: what puts it right, if anything has to
    required: bool
    package: str | None = None  #: the Debian package that :func:`install` would bring

    @property
    def ok(self) -> bool:
        return self.found is not None


def check(*, tests: bool = False) -> list[Finding]:
    """Everything the farm can use, in the order of a set-up; with ``tests`` what its own tests need besides."""
    findings = [_python(), *_dependencies(), _zig(), _unicorn(), _cache(), *_compilers(), *_emulators()]
    return [*findings, _debugger(install=tests), *([_browser(), _example()] if tests else [])]


def status(findings: Iterable[Finding]) -> int:
    """The exit status: 0 if everything required is here, else 3."""
    return 3 if any(finding.required and not finding.ok for finding in findings) else 0


def _python() -> Finding:
    return Finding(platform.python_implementation(), platform.python_version(), "the farm", None, required=True)


def _dependencies() -> list[Finding]:
    """A finding for each dependency that the installed package declares."""
    from packaging.requirements import Requirement

    try:
        declared = importlib.metadata.requires("patchfarm") or []
    except importlib.metadata.PackageNotFoundError:
        return [Finding("patchfarm", None, "the farm command", _pip("-e", "."), required=True)]
    findings = []
    for requirement in map(Requirement, declared):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        what, version = requirement.name, None
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            version = importlib.metadata.version(requirement.name)
        if version and not requirement.specifier.contains(version, prereleases=True):
            what, version = f"{what} {requirement.specifier}, not {version}", None
        needed_by = _PURPOSE.get(requirement.name, "the farm")
        install = None if version else _pip(str(requirement))
        findings.append(Finding(what, version, needed_by, install, required=True))
    return findings


def _zig() -> Finding:
    version = _ask([sys.executable, "-P", "-m", "ziglang", "version"])
    install = None if version else _pip("--force-reinstall", *shlex.split(Zig.install)[2:])
    return Finding("zig compiler", version, "building images", install, required=True)


def _unicorn() -> Finding:
    version = _ask([sys.executable, "-P", "-W", "ignore", "-c", "import unicorn; print(unicorn.__version__)"])
    install = None if version else _pip("--force-reinstall", "unicorn")
    return Finding("unicorn library", version, "the unicorn engine", install, required=True)


def _cache() -> Finding:
    folder = paths.cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        what = f"cache folder {folder}: {error.strerror}"
        remedy = "export PATCHFARM_CACHE=FOLDER  # one that can be written"
        return Finding(what, None, "built images", remedy, required=True)
    return Finding("cache folder", str(folder), "built images", None, required=True)


def _compilers() -> list[Finding]:
    """One finding a cross compiler that any ``arch.toml`` names."""
    users: dict[tuple[str, str], list[str]] = {}
    for variant in arch_toml.load().values():
        settings = variant.toolchain.get(Gcc.name)
        if isinstance(settings, GccSettings):
            users.setdefault((f"{settings.prefix}gcc", settings.package), []).append(variant.name)
    findings = []
    for (command, package), variants in sorted(users.items()):
        version = _ask([command, "--version"]) if shutil.which(command) else None
        install = None if version else _apt(package)
        needed_by = f"gcc on {', '.join(variants)}"
        findings.append(Finding(command, version, needed_by, install, required=False, package=package))
    return findings


def _emulators() -> list[Finding]:
    """One finding a QEMU binary that any ``arch.toml`` names, package by package."""
    users: dict[tuple[str, str, str], list[str]] = {}
    for variant in arch_toml.load().values():
        for engine, settings in variant.engine.items():
            if isinstance(settings, QemuUserSettings | QemuSystemSettings) and not EngineName.of(engine).profile:
                users.setdefault((settings.package, settings.binary, engine), []).append(variant.name)
    findings = []
    for (package, binary, engine), variants in sorted(users.items()):
        version = _ask([binary, "--version"]) if shutil.which(binary) else None
        needed_by = f"{engine} on {', '.join(variants)}"
        install = None if version else _apt(package)
        findings.append(Finding(binary, version, needed_by, install, required=False, package=package))
    return findings


def _debugger(*, install: bool) -> Finding:
    """The debugger: offered but left to the user, unless ``install``, for no cell needs it."""
    version = _ask(["gdb-multiarch", "--version"]) if shutil.which("gdb-multiarch") else None
    remedy = None if version else _apt("gdb-multiarch")
    package = "gdb-multiarch" if install else None
    return Finding("gdb-multiarch", version, "debugging a cell", remedy, required=False, package=package)


def _browser() -> Finding:
    """The browser that tests the report: Chromium, or another of :data:`BROWSERS`."""
    here = next(filter(None, map(shutil.which, BROWSERS)), None)
    version = _ask([here, "--version"]) if here else None
    remedy = None if version else _apt(BROWSERS[0])
    return Finding(BROWSERS[0], version, "tests of report.html", remedy, required=False, package=BROWSERS[0])


def _example() -> Finding:
    """The compiler of an architecture that the documentation adds."""
    command, package = "or1k-elf-gcc", "gcc-or1k-elf"
    version = _ask([command, "--version"]) if shutil.which(command) else None
    remedy = None if version else _apt(package)
    return Finding(command, version, "tests of examples/or1k", remedy, required=False, package=package)


def _ask(command: list[str]) -> str | None:
    """The version that a program names when it is run; None if it does not run."""
    try:
        output = subprocess.run(
            command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL, timeout=_ASK_SECONDS
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"\d+(?:\.\d+)+", output)
    return version[0] if version else None


def _pip(*arguments: str) -> str:
    return shlex.join([sys.executable, "-m", "pip", "install", *arguments])


def _apt(*packages: str) -> str:
    """The command that a user types; the same words as in the reason of a ``not-run`` cell."""
    return f"{'' if os.geteuid() == 0 else 'sudo '}apt-get install {' '.join(packages)}"


def report(findings: Sequence[Finding]) -> None:
    """Print the findings: a table on a terminal, else a line each."""
    from rich.console import Console

    console = Console()
    if console.is_terminal:
        from rich.table import Table
        from rich.text import Text

        table = Table("", "what", "found", "needed by", box=None, header_style="bold")
        for finding in findings:
            word = _word(finding)
            style = {"ok": "green", "missing": "bold red"}.get(word, "yellow")
            table.add_row(Text(word, style), *map(Text, (finding.what, finding.found or "-", finding.needed_by)))
        console.print(table)
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            found = finding.found or "-"
            _say(f"{_word(finding):8}  {finding.what:{width}}  {found}  ({finding.needed_by})")
    remedies: dict[str, list[str]] = {}
    for finding in findings:
        if finding.install:
            remedies.setdefault(finding.install, []).append(finding.what)
    for command, names in remedies.items():
        _say(f"for {', '.join(names)}:\n    {command}")
    if status(findings):
        _say("the farm cannot run yet")
    elif any(finding.package and not finding.ok for finding in findings):
        _say("the farm can run; cells of the missing emulators and compilers are not-run until they are installed")
    else:
        _say("the farm can run everything")


def _word(finding: Finding) -> str:
    if finding.ok:
        return "ok"
    return "missing" if finding.required else "optional"


def install(findings: Iterable[Finding]) -> int:
    """Install the missing Debian packages, silently unless that fails.

    Where only someone else may install (no root, no ``sudo`` without a password, no ``apt-get``), says what to run and
    returns 0, since the farm can do without; 3 means that ``apt-get`` was run and did not bring what it should.
    """
    missing = [finding for finding in findings if finding.package and not finding.ok]
    packages = sorted({finding.package for finding in missing if finding.package})
    if not packages:
        return 0
    meanwhile = "the farm runs on what there is meanwhile"
    apt = shutil.which("apt-get")
    if apt is None:
        _say(f"no apt-get here: install what Debian calls {' '.join(packages)}; {meanwhile}")
        return 0
    prefix = _root()
    if prefix is None:
        _say(f"only root can install packages: {_apt(*packages)}; {meanwhile}")
        return 0
    command = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", apt, "-o", "DPkg::Lock::Timeout=300"]
    # An update that fails need not matter: what is known already may be enough, and other lists are not our business.
    words = _run([*command, "update"])[1]
    install = [*command, "install", "-y", "--no-install-recommends"]
    ended, output = _run([*install, *packages])
    if ended and len(packages) > 1:  # one that this distribution lacks must not keep the others away
        tried = {package: _run([*install, package]) for package in packages}
        packages = [package for package, (failed, _) in tried.items() if failed]
        ended, output = max(tried.values())
    if ended:
        _say(f"{words}{output}".rstrip())
        _say(f"could not install {' '.join(packages)} (apt-get ended with {ended}); {meanwhile}")
        return 3
    absent = [finding.what for finding in missing if shutil.which(finding.what) is None]
    if absent:
        _say(f"{' '.join(packages)} installed, but {', '.join(absent)} not on PATH; {meanwhile}")
        return 3
    _say(f"installed {' '.join(packages)}")
    return 0


def _root() -> list[str] | None:
    """Words to put before a command so that root runs it; None if that is not possible without a password."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    return [sudo, "-n"] if sudo and _run([sudo, "-n", "true"])[0] == 0 else None


def _run(command: list[str]) -> tuple[int, str]:
    """Runs a command; returns its exit status and its output."""
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=_APT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, f"{error}\n"
    return done.returncode, done.stdout


def _say(text: str) -> None:
    from rich.console import Console

    Console().out(text, highlight=False)
