"""Mechanisms: how a function is made patchable, each a folder with a ``mechanism.toml``.

The farm's own are under ``images/mechanism``; ``--mechanism-path`` adds others.  Sources lie in the mechanism's own
folder, or in ``images/mechanism/common``, which holds what several share; what an architecture has to supply lies in
the mechanism's folder of the architecture's name, or in the architecture's own under ``arch``.
"""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

from farm import paths
from farm.errors import BackendError
from farm.guest.rules import Patching
from farm.guest.toml_table import Complaint, convert, document_in
from farm.guest.variant import Variant
from farm.scenario import Scenario
from farm.scenario.promises import NEEDS, Fact, Need, Promise, ordered

FILE = "mechanism.toml"

#: Bytes from the near text to the far text, where that is to be within reach: behind all else.
NEAR_FAR = 0x800000

#: Files of ``common`` that every guest has, whatever its mechanism; if it patches text; if it redirects call sites.
SHARED, SHARED_IF_TEXT, SHARED_IF_SITES = ("layer.c", "target.c"), ("text.c",), ("site_table.c",)

_FIRST = ("pointer", "stub", "relocated")  # of the farm's own, which come by name
_OPTIONAL = "?"
_TWICE = "ARCH_SYS_MEMFD_CREATE"  # in arch.h: memory that can be mapped twice
_LIBC = "libc.c"  # among the sources of a mechanism that wants a C library's headers
_WORD = re.compile(r"\w+")
_VARIABLE = re.compile(r"\$\{(\w*)\}")
_EXPANDED = ("sources", "include", "flags")  # keys in which variables stand
_Part = TypeVar("_Part", "Mechanism", "On")


@dataclass(frozen=True, kw_only=True)
class Patched:
    """``[patched]``: what a patch changes, in words."""

    instruction: str
    store: str
    reach: str


@dataclass(frozen=True, kw_only=True)
class On:
    """``[on.PATTERN]``: what differs on the variants that the pattern fits, as :attr:`Mechanism.variants` has them."""

    what: str = ""  #: one line, if it is not quite the same there
    sources: tuple[str, ...] = ()  #: further ones
    include: tuple[str, ...] = ()  #: further ones
    flags: tuple[str, ...] = ()  #: further ones
    far: bool | None = None  #: in place of the mechanism's own
    patching: Patching | None = None  #: likewise
    lacks: Mapping[str, str] = field(default_factory=dict, hash=False)  #: promises that are not made there, and why
    patched: Patched | None = None  #: in place of the mechanism's own


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """A mechanism, as its ``mechanism.toml`` describes it."""

    name: str  #: of its folder
    folder: Path
    digest: str  #: SHA-256 of its name and its ``mechanism.toml``, hexadecimal
    unready: str | None  #: why it cannot be built: a variable that is not set, what that is; None: it can
    what: str  #: one line
    sources: tuple[str, ...]  #: C and asm, in the folder or in ``common``
    architecture: tuple[str, ...] = ()  #: what an architecture supplies; ``?`` behind a file that it need not have
    include: tuple[str, ...] = ()  #: folders in which its own sources find more headers
    flags: tuple[str, ...] = ()  #: for the compiler, of its own sources alone
    warnings: Literal["errors", "foreign"] = "errors"  #: ``foreign``: the farm's warnings are not for its own sources
    variants: tuple[str, ...] = ()  #: that have it: names, architectures or globs; empty: all that have its files
    functions: Literal["stub", "c", "entry"] = "stub"  #: a patchable function: asm, C, or the default target itself
    bytes: int | None = None  #: of a function in the region that a patch changes; None: ``ARCH_STUB_BYTES``
    patches: Literal["stub", "pointer", "literal"] = "stub"  #: region whose bytes a patch changes; not ``stub``: data
    writes: Literal["stubs", "all", "literals", "data"] | None = None  #: what a patch opens; None: by ``patches``
    alias: bool = False  #: stores go through a second mapping of what is opened for a patch, which the platform makes
    redirects: bool = False  #: a patch redirects call sites besides, those that kept relocations lead to
    far: bool = True  #: a branch's reach is no limit to it; else the far text is linked within reach
    patching: Patching = "quiesced"  #: what it promises of other CPUs
    promises: frozenset[Promise] = frozenset()
    absent: Mapping[str, str] = field(default_factory=dict, hash=False)  #: why some lack it, by PATTERN[/TOOLCHAIN]
    lacks: Mapping[str, str] = field(default_factory=dict, hash=False)  #: why a promise is not made, a fact not so
    patched: Patched | None = None  #: None: what ``arch.toml`` says of the stub
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)  #: variables: what each is, how to get it
    on: Mapping[str, On] = field(default_factory=dict, hash=False)  #: what differs on some variants, by pattern

    @property
    def foreign(self) -> bool:
        """It is none of the farm's own."""
        return self.folder.parent != common().parent

    @property
    def pokes(self) -> bool:
        """A patch stores to code; else to data alone."""
        return self.patches == "stub"

    @property
    def identity(self) -> int:
        """Number by which a guest tells its mechanism in the header of a trace: 16 bits of :attr:`digest`."""
        return int(self.digest[:4], 16)

    @functools.cached_property
    def offers(self) -> frozenset[Need]:
        """The promises, and the facts that follow from the rest."""
        facts = {Fact.POKES: self.pokes, Fact.REDIRECTS: self.redirects, Fact.FAR: self.far}
        facts |= {Fact.VARIADIC: self.functions != "c"}
        return self.promises | {fact for fact, is_so in facts.items() if is_so}

    def at(self, variant: Variant) -> Mechanism:
        """The mechanism as it is on ``variant``: with what :attr:`on` says of it."""
        made = self
        for part in (part for pattern, part in self.on.items() if fits(pattern, variant)):
            made = replace(
                made,
                sources=(*made.sources, *part.sources),
                include=(*made.include, *part.include),
                flags=(*made.flags, *part.flags),
                far=made.far if part.far is None else part.far,
                patching=part.patching or made.patching,
                promises=made.promises.difference(part.lacks),
                lacks={**made.lacks, **part.lacks},
                patched=part.patched or made.patched,
                on={},
            )
        return made

    def cannot_run(self, scenario: Scenario) -> str | None:
        """None if ``scenario`` can be asked of the mechanism, else the reason why not."""
        if scenario.only and self.name not in scenario.only[0]:
            return scenario.only[1]
        absent = next((need for need in scenario.all_needs if need not in self.offers), None)
        return self.lacking(absent) if absent else None

    def lacking(self, need: Promise | Fact) -> str:
        """The reason why the mechanism does not offer ``need``."""
        if need in self.lacks:
            return self.lacks[need]
        if isinstance(need, Fact):
            return f"with {self.name} it is not so that {NEEDS[need]}"
        return f"{self.name} does not promise {need}: {NEEDS[need]}"

    def source(self, name: str) -> Path:
        """The file that one of :attr:`sources` is: the mechanism's own comes before the one in ``common``."""
        own = self.folder / name
        return own if own.is_file() or not (common() / name).is_file() else common() / name

    @property
    def region(self) -> str | None:
        """The region that is opened for a patch, as C has it (``text_open``); None if what it stores to is writable."""
        writes = self.writes or {"stub": "stubs", "literal": "literals", "pointer": "data"}[self.patches]
        return {"stubs": "TEXT_STUBS", "all": "TEXT_ALL", "literals": "TEXT_LITERALS"}.get(writes)

    @property
    def shared(self) -> list[str]:
        """Files of the farm's layer around the mechanism."""
        return [*SHARED, *(SHARED_IF_TEXT if self.region else ()), *(SHARED_IF_SITES if self.redirects else ())]

    def far_base(self, variant: Variant) -> int:
        """Where the far text lies: further away than a branch reaches, unless the mechanism leads nowhere then."""
        return variant.far_base if self.at(variant).far else variant.text_base + NEAR_FAR

    def files(self, variant: Variant) -> list[Path]:
        """The C and asm files, shared ones and those of the architecture included."""
        sources = [self.source(name) for name in dict.fromkeys([*self.shared, *self.at(variant).sources])]
        supplied = [self._supplied(name.removesuffix(_OPTIONAL), variant) for name in self.architecture]
        return [*sources, *(path for path in supplied if path.is_file())]

    def flags_for(self, source: Path, variant: Variant) -> list[str]:
        """Flags that ``source`` is compiled with, besides those of every guest.

        What is not the mechanism's own is told only what it asks, so that one object serves several mechanisms.
        """
        made, shared = self.at(variant), source.is_relative_to(common())
        told = made.defines() | ({"STORE_WITHIN": f"{within}u"} if (within := variant.atomicity.within) else {})
        if shared or not made.compiles(source):
            asked = _words(source, *(common().glob("*.h") if shared else ()))
            if "ARCH_STUB_BYTES" in asked:  # which are MECHANISM_BYTES, if there are such (guest.h)
                asked.add("MECHANISM_BYTES")
            return [f"-D{name}={value}" for name, value in told.items() if name in asked]
        flags = [f"-D{name}={value}" for name, value in told.items()]
        folders = [self.folder / variant.architecture, self.folder, *(self.folder / name for name in made.include)]
        folders += [common() / "include"] if _LIBC in made.sources else []
        flags += [f"-I{folder}" for folder in folders if folder.is_dir()]
        return [*flags, *(("-w", "-Wno-error") if self.warnings == "foreign" else ()), *made.flags]

    def defines(self) -> dict[str, str]:
        """Macros that tell the mechanism's sources, and those in ``common``, what its ``mechanism.toml`` says."""
        defines = {"MECHANISM_IDENTITY": f"{self.identity:#06x}"}
        defines |= {f"PROMISES_{_macro(promise)}": "1" for promise in sorted(self.promises)}
        defines |= {f"FUNCTIONS_{_macro(self.functions)}": "1", f"PATCHES_{_macro(self.patches)}": "1"}
        defines |= {"MECHANISM_TEXT": self.region} if self.region else {}
        defines |= {"MECHANISM_BYTES": str(self.bytes)} if self.bytes else {}
        return defines | ({"MECHANISM_ALIAS": self.region} if self.alias and self.region else {})

    def missing(self, variant: Variant, toolchain: str | None = None) -> str | None:
        """None if the mechanism exists on ``variant``, built by ``toolchain`` or by any, else the reason why not."""
        reasons = [self.why_absent(variant, tool) for tool in ([toolchain] if toolchain else variant.toolchain)]
        if reasons and all(reasons):
            return "; ".join(dict.fromkeys(filter(None, reasons)))
        if self.variants and not any(fits(pattern, variant) for pattern in self.variants):
            return f"{self.name} is not made for {variant.name}: its {FILE} names {', '.join(self.variants)}"
        required = [name for name in self.architecture if not name.endswith(_OPTIONAL)]
        absent = [name for name in required if not self._supplied(name, variant).is_file()]
        if self.alias and _TWICE not in variant.source("arch.h").read_text(encoding="utf-8"):
            return f"{variant.architecture} has no {self.name}: no {_TWICE} in arch.h, and memory is to be mapped twice"
        elsewhere = [] if self.unready else [name for name in self.at(variant).sources if _is_elsewhere(name)]
        absent += [name for name in elsewhere if not Path(name).is_file()]
        return f"{variant.architecture} has no {self.name}: no {' or '.join(absent)}" if absent else None

    def why_absent(self, variant: Variant, toolchain: str) -> str | None:
        """The reason in :attr:`absent` why ``toolchain`` builds no such guest of ``variant``; None: it does."""
        for pattern, reason in self.absent.items():
            of, _, tool = pattern.partition("/")
            if fits(of, variant) and tool in ("", toolchain):
                return reason
        return None

    def check_ready(self) -> None:
        """Raise :class:`~farm.errors.BackendError` if a variable is missing that its sources need."""
        if self.unready:
            raise BackendError(self.unready)

    def _supplied(self, name: str, variant: Variant) -> Path:
        own = variant.source(name, self.folder / variant.architecture)
        return own if own.is_file() else variant.source(name)

    def compiles(self, source: Path) -> bool:
        """``source`` is the mechanism's own, or in ``common``."""
        own = (self.folder, common())
        return any(source.is_relative_to(folder) for folder in own) or source in map(self.source, self.sources)


def _words(*files: Path) -> set[str]:
    return {word for path in files for word in _WORD.findall(path.read_text(encoding="utf-8", errors="replace"))}


def common() -> Path:
    """Folder of what several mechanisms share, those out of the tree too."""
    return paths.data("images") / "mechanism" / "common"


@functools.cache
def load(extra: tuple[Path, ...] = ()) -> dict[str, Mechanism]:
    """Every mechanism by name: the farm's own, then those in ``extra`` folders.

    An extra folder is one mechanism, or holds several.  One that needs a variable which is not set is here too, and
    :attr:`~Mechanism.unready`.

    Raises :class:`~farm.errors.BackendError` with file and key if one cannot be used.
    """
    house = common().parent
    others = sorted({path.parent.name for path in house.glob(f"*/{FILE}")}.difference(_FIRST))
    folders = [house / name for name in (*_FIRST, *others)]
    for path in extra:
        inner = [path] if (path / FILE).exists() else [toml.parent for toml in sorted(path.glob(f"*/{FILE}"))]
        if not inner:
            raise BackendError(f"{path}: no {FILE} there, nor in a folder below it")
        folders += inner
    mechanisms: dict[str, Mechanism] = {}
    for made in map(read, folders):
        if made.name in mechanisms:
            raise BackendError(
                f"{made.folder / FILE}: {made.name}: already the name of {mechanisms[made.name].folder}; a mechanism "
                "is called as its folder is"
            )
        mechanisms[made.name] = made
    return mechanisms


def read(folder: Path) -> Mechanism:
    """The mechanism that the ``mechanism.toml`` in ``folder`` describes; raises as :func:`load`."""
    path, folder = folder / FILE, folder.resolve()

    def wrong(key: str, why: str) -> BackendError:
        return BackendError(f"{path}: {key}: {why}")

    document = document_in(path, f"a mechanism is a folder with a {FILE}")
    digest = hashlib.sha256(folder.name.encode() + b"\0" + path.read_bytes()).hexdigest()
    derived = {"name": folder.name, "folder": folder, "digest": digest, "unready": None}
    made = convert(document, Mechanism, wrong, derived=derived)
    if made.bytes is not None and made.bytes < 1:
        raise wrong("bytes", f"{made.bytes} found; expected a number of bytes greater than 0")
    if made.alias and not made.region:
        raise wrong("alias", "true found, but a patch writes data; expected only with writes = stubs, all or literals")
    if {Promise.SEVERAL_WRITERS} <= made.promises and Promise.CLOSES_TEXT not in made.promises:
        why = f"{Promise.SEVERAL_WRITERS} found without {Promise.CLOSES_TEXT}"
        raise wrong("promises", f"{why}; expected both, for nobody holds off others while the farm opens the text")
    for need in sorted(made.lacks):
        if need not in NEEDS:
            raise wrong(f"lacks.{need}", f"unknown key; valid are {', '.join(NEEDS)}")
        if need in made.offers:
            where = "promises" if need in made.promises else "what the other keys say"
            raise wrong(f"lacks.{need}", f"also in {where}; expected in one of the two")
    for pattern, differing in made.on.items():
        valid = [*ordered(made.promises), *((Fact.FAR,) if differing.far is False else ())]
        for need in differing.lacks:
            if need not in valid:
                promised = ", ".join(valid) or "none, for nothing is promised"
                raise wrong(f"on.{pattern}.lacks.{need}", f"not promised elsewhere; valid are {promised}")
    made = _expanded(made, wrong)
    for prefix, part in _parts(made):
        for name in part.sources:
            if not (_is_elsewhere(name) or made.source(name).is_file()):
                raise wrong(f"{prefix}sources", f"{name!r} is neither in {folder} nor in {common()}")
        for name in part.include:
            if not (_is_elsewhere(name) or (folder / name).is_dir()):
                raise wrong(f"{prefix}include", f"{name!r} is no folder in {folder}")
    return made


def _parts(made: Mechanism) -> list[tuple[str, Mechanism | On]]:
    """The mechanism and what differs on some variants, each with the prefix of its keys."""
    return [("", made), *((f"on.{pattern}.", part) for pattern, part in made.on.items())]


def _expanded(made: Mechanism, wrong: Complaint) -> Mechanism:
    """``made`` with ``${NAME}`` in its sources, folders and flags replaced by the variable's value.

    In sources and folders it is the path of something that is there, absolute or from the current folder.  If one is
    not set, or nothing is there, all stay as they are and ``made`` is unready.
    """
    values: dict[tuple[bool, str], str] = {}
    for prefix, part in _parts(made):
        for field_name in _EXPANDED:
            names = {name for text in getattr(part, field_name) for name in _VARIABLE.findall(text)}
            for name in sorted(names):
                if name not in made.environment:
                    declared = ", ".join(made.environment) or "none"
                    raise wrong(f"{prefix}{field_name}", f"${{{name}}} is none of [environment]: {declared}")
                text, is_path = os.environ.get(name), field_name != "flags"
                if not text or (is_path and not Path(text).exists()):
                    why = f"is {text!r}, and nothing is there" if text else "is not set"
                    complaint = wrong(f"environment.{name}", f"{name} {why}: {made.environment[name]}")
                    made = made if made.unready else replace(made, unready=str(complaint))
                else:
                    values[is_path, name] = str(Path(text).resolve()) if is_path else text
    if made.unready:
        return made

    def expanded(part: _Part) -> _Part:
        def of(field_name: str) -> tuple[str, ...]:
            is_path = field_name != "flags"
            texts = getattr(part, field_name)
            return tuple(_VARIABLE.sub(lambda found: values[is_path, found[1]], text) for text in texts)

        return replace(part, sources=of("sources"), include=of("include"), flags=of("flags"))

    return replace(expanded(made), on={pattern: expanded(part) for pattern, part in made.on.items()})


def _is_elsewhere(name: str) -> bool:
    """A variable names the file or folder: it need not be there, and then an architecture lacks the mechanism."""
    return Path(name).is_absolute() or bool(_VARIABLE.search(name))


def fits(pattern: str, variant: Variant) -> bool:
    """``pattern``, one of :attr:`Mechanism.variants`, is or fits the name of ``variant`` or of its architecture.

    As in a selection, the name of a variant is itself before it is an architecture's.
    """
    of_architecture = pattern not in variant.siblings and fnmatch.fnmatchcase(variant.architecture, pattern)
    return of_architecture or fnmatch.fnmatchcase(variant.name, pattern)


def _macro(name: str) -> str:
    return name.replace("-", "_").upper()
