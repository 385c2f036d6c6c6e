"""The backends: ``arch/*/arch.toml`` read into frozen dataclasses.

One file describes one architecture and its variants.  Everything in it is checked when it is read; a mistake is
reported with the file, the key, what was found and what is valid.  Whether a mechanism exists for an architecture is
not written down: it does if the files it needs are in the folder (:meth:`Variant.supports`).
"""

from __future__ import annotations

import functools
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from farm import paths
from farm.contradictions import contradictions
from farm.errors import BackendError
from farm.text import printable

#: How a store to code becomes what is fetched.  ``coherent``: no maintenance (x86); ``clean-invalidate-sync``: clean
#: the data cache, invalidate the instruction cache, synchronise (arm64, powerpc).
Coherence = Literal["coherent", "clean-invalidate-sync"]

#: Ways round limits of Unicorn on a variant, each implemented once in :mod:`farm.machine`.
UnicornQuirk = Literal[
    "virtual-tlb",
    "x86-sse",
    "arm-fp",
    "arm64-fp",
    "little-endian-devices",
    "ppc-msr-fp",
    "ppc-msr-64",
    "ppc-msr-little-endian",
    "riscv-fp",
    "riscv-zbc",
    "mips-fr",
    "s390x-64",
    "s390x-fp",
    "s390x-vector",
    "sparc-stop-trap",
]

#: Unicorn's modules of constants, by its architecture names.
REGISTER_MODULES = {
    "X86": "x86_const",
    "ARM": "arm_const",
    "ARM64": "arm64_const",
    "PPC": "ppc_const",
    "RISCV": "riscv_const",
    "S390X": "s390x_const",
    "MIPS": "mips_const",
    "M68K": "m68k_const",
    "SPARC": "sparc_const",
}

#: What a CPU model may have that a scenario can require.
Feature = Literal["clmul", "float", "bti"]

#: What an ABI may have that a scenario or a negative control is about.
#:
#: ``int128``: a 16-byte integer type; ``extension``: whoever passes a narrow integer extends it to the register;
#: ``variadic-count``: a hidden register tells a variadic function how doubles are passed; ``red-zone``: memory below
#: the stack pointer that is its owner's; ``toc``: a register with the table of contents (ELFv2), the global pointer
#: (mips) or the base of all data (hppa); ``entry-register``: a register that holds a function's own address when it is
#: entered indirectly; ``kept-flags``, ``kept-floats``, ``kept-vectors``: flags, floating-point registers and vector
#: registers that survive a call; ``delay-slot``: the instruction behind a call is executed before the target is;
#: ``landing-pads``: what an indirect branch may lead to begins with an instruction that says so.
AbiFeature = Literal[
    "int128",
    "extension",
    "variadic-count",
    "red-zone",
    "toc",
    "entry-register",
    "kept-flags",
    "kept-floats",
    "kept-vectors",
    "delay-slot",
    "landing-pads",
]

#: The file with which an architecture redirects its call sites.
SITES_FILE = "sites.c"

#: The files that an architecture must have for a mechanism.
MECHANISM_FILES: dict[str, tuple[str, ...]] = {
    "pointer": (),
    "stub": ("stub.S", "patch.c"),
    "relocated": ("stub.S", "patch.c", SITES_FILE),
}

#: An architecture's functions that make a word of code (``images/mechanism/patch.h``).
ENCODERS = ("arch_jump", "arch_slot_jump", "arch_site_jump")

#: The file with which an architecture looks at registers around a call (:attr:`Variant.looks_at_registers`).
ABI_FILE = "abi.S"


@dataclass(frozen=True, kw_only=True)
class ZigSettings:
    """``[variant.V.toolchain.zig]``."""

    target: str  #: what the compiler is told to compile for
    emulation: str  #: the linker's ``-m``
    flags: tuple[str, ...] = ()
    retpoline_flags: tuple[str, ...] = ()  #: for the baseline ``retpoline``, which exists only where there are some
    integer_flags: tuple[str, ...] = ()  #: for all sources but the few that need floating-point registers
    link_flags: tuple[str, ...] = ()  #: for the linker itself


@dataclass(frozen=True, kw_only=True)
class GccSettings:
    """``[variant.V.toolchain.gcc]``."""

    prefix: str  #: of the command names, ``m68k-linux-gnu-``
    package: str  #: Debian's
    flags: tuple[str, ...] = ()
    retpoline_flags: tuple[str, ...] = ()  #: for the baseline ``retpoline``, which exists only where there are some
    integer_flags: tuple[str, ...] = ()  #: for all sources but the few that need floating-point registers
    link_flags: tuple[str, ...] = ()  #: for the linker itself
    libraries: tuple[str, ...] = ("gcc",)  #: what the compiler's code may call


ToolchainSettings = ZigSettings | GccSettings


@dataclass(frozen=True, kw_only=True)
class QemuUserSettings:
    """``[variant.V.engine.qemu-user]``; ``"qemu-user:PROFILE"`` is the same engine with another CPU model."""

    binary: str
    cpu: str  #: explicit, so that a default that changes between versions changes nothing
    package: str = "qemu-user"
    #: It says nothing when the guest dies of a signal: a target whose core files it cannot write.
    silent: bool = False
    features: tuple[Feature, ...] = ()


@dataclass(frozen=True, kw_only=True)
class UnicornSettings:
    """``[variant.V.engine.unicorn]``: names of Unicorn constants without their ``UC_...`` prefix."""

    arch: str
    mode: tuple[str, ...]
    stack_pointer: str
    program_counter: str
    cpu: str | None = None
    quirks: tuple[UnicornQuirk, ...] = ()
    since: str | None = None  #: the first version of Unicorn that runs it
    features: tuple[Feature, ...] = ()

    @property
    def cpu_prefix(self) -> str:
        """What ``cpu`` leaves out: some architectures have one list of CPU models a word size, named as the mode."""
        family = next((mode for mode in self.mode if mode.startswith(self.arch)), self.arch)
        return f"UC_CPU_{family}_"


@dataclass(frozen=True, kw_only=True)
class Unavailable:
    """``[variant.V.engine.NAME]`` with nothing but ``unavailable``: why this engine cannot run the variant."""

    unavailable: str


EngineSettings = QemuUserSettings | UnicornSettings | Unavailable

_ENGINE_TABLES: dict[str, type] = {"qemu-user": QemuUserSettings, "unicorn": UnicornSettings}
_TOOLCHAIN_TABLES: dict[str, type] = {"zig": ZigSettings, "gcc": GccSettings}


@dataclass(frozen=True, kw_only=True)
class BitPattern:
    """What some bits of a number are."""

    mask: int
    value: int


@dataclass(frozen=True, kw_only=True)
class Opcode:
    """Bits that tell an instruction: ``size`` bytes at ``at`` from the word, read in the variant's byte order.

    Those that have the bits of ``unless`` too are another instruction.
    """

    mask: int
    value: int
    at: int = 0
    size: Literal[1, 2, 4] = 4
    unless: BitPattern | None = None


@dataclass(frozen=True, kw_only=True)
class CallSiteForm:
    """``[[variant.V.call_site]]``: one form of instruction that calls or jumps to a patchable function directly.

    The displacement lies in one 32-bit *word* of the code; its bits are named from the most significant one, ``"31
    19:12 20 30:21"``, and mean ``word address + base + scale * displacement`` (``base``: how far the program counter is
    ahead of the word).  ``=29`` is a bit that is 1 if bit 29 equals the first one, the sign (thumb's J1 and J2).  With
    ``region``, the size in bytes of the aligned region around the next instruction, the field is absolute within
    it (mips ``j``).
    """

    instruction: str
    relocations: tuple[int, ...]  #: ELF types, any of which may stand for it: the opcode decides
    opcode: Opcode
    displacement: str = ""
    word: int = 0  #: of the word, from where the relocation points to
    scale: int = 1
    base: int = 0
    region: int | None = None
    #: What one store to the word needs to be atomic; ``never`` is a form that is known and left alone.
    store: Literal["aligned", "quadword", "never"] = "aligned"
    reason: str = ""  #: of ``never``


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What one guest is built for."""

    name: str
    architecture: str
    folder: Path
    machine: int  #: ELF ``e_machine``
    bits: Literal[32, 64]
    byte_order: Literal["little", "big"]
    page: int  #: bytes; the largest page size a kernel for it may use
    text_base: int
    far_base: int
    branch_range: int | None = None  #: bytes that the stub's near jump reaches in either direction; None: everything
    stub_jump: str = ""  #: what the stub's patched instruction may be, for people
    stub_store: str = ""  #: how it changes
    store_manual: str = ""  #: where the manual says that a store to a naturally aligned word is never seen in parts
    store_within: int | None = None  #: bytes; within an aligned block of so many, no other 32-bit store is either
    slot_manual: str = ""  #: where it says that the stub's load needs its data slot aligned; empty: ``store_manual``
    call_site: tuple[CallSiteForm, ...] = ()
    alignment: int  #: bytes; of instructions
    function_bias: int = 0  #: bits of a function's address that are not of its first instruction's (thumb: 1)
    coherence: Coherence
    abi: tuple[AbiFeature, ...] = ()
    #: capstone's architecture and modes, names without ``CS_ARCH_``/``CS_MODE_``; empty: it has none
    disassembler: tuple[str, ...] = ()
    toolchain: Mapping[str, ToolchainSettings] = field(default_factory=dict, hash=False)
    engine: Mapping[str, EngineSettings] = field(default_factory=dict, hash=False)

    @property
    def big_endian(self) -> bool:
        return self.byte_order == "big"

    @property
    def word_size(self) -> int:
        """Bytes in an address."""
        return self.bits // 8

    def profiled(self, engine: str) -> Variant:
        """The variant as ``engine`` (``NAME`` or ``NAME:PROFILE``) runs it: the profile's table in NAME's place."""
        name, _, profile = engine.partition(":")
        if not profile:
            return self
        missing = Unavailable(unavailable=f"{self.name} has no profile {profile} of {name}")
        return replace(self, engine={**self.engine, name: self.engine.get(engine, missing)})

    def features(self, engine: str) -> frozenset[str]:
        """What the CPU model of ``engine`` has."""
        settings = self.engine.get(engine)
        return frozenset() if settings is None or isinstance(settings, Unavailable) else frozenset(settings.features)

    def source(self, name: str) -> Path:
        """The architecture's source ``name``, or the one for this width alone: ``abi_32.S`` in place of ``abi.S``."""
        stem, dot, suffix = name.partition(".")
        own = self.folder / f"{stem}_{self.bits}{dot}{suffix}"
        return own if own.is_file() else self.folder / name

    @property
    def looks_at_registers(self) -> bool:
        """The architecture has its own asm around calls; else the guest's portable C stands in for it."""
        return self.source(ABI_FILE).is_file()

    def supports(self, mechanism: str) -> str | None:
        """None if ``mechanism`` exists here, else the reason why not."""
        missing = [name for name in MECHANISM_FILES[mechanism] if not self.source(name).is_file()]
        return f"{self.architecture} has no {mechanism}: no {' or '.join(missing)}" if missing else None


_DERIVED = {"name", "architecture", "folder"}


def load_folder(folder: Path) -> list[Variant]:
    """The variants that ``folder/arch.toml`` describes.

    Raises :class:`~farm.errors.BackendError` for anything in it that is not as it should be.
    """
    path = folder / "arch.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BackendError(f"{path}: no such file; an architecture is a folder with an arch.toml") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BackendError(f"{path}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise BackendError(f"{path}: not valid TOML: {error}") from None
    unknown = set(document) - {"variant"}
    if unknown or not isinstance(document.get("variant"), dict) or not document["variant"]:
        found = f"key {min(unknown)!r}" if unknown else "no variant"
        raise BackendError(f"{path}: {found}; expected one or more tables [variant.NAME] and nothing else")
    return [_variant(path, name, table) for name, table in document["variant"].items()]


def _variant(path: Path, name: str, table: object) -> Variant:
    key = f"variant.{name}"
    if not isinstance(table, dict):
        raise BackendError(f"{path}: {key}: expected a table, found {table!r}")
    table = dict(table)
    toolchains = _subtables(path, f"{key}.toolchain", table.pop("toolchain", {}), tuple(_TOOLCHAIN_TABLES))
    engines = _subtables(path, f"{key}.engine", table.pop("engine", {}), tuple(_ENGINE_TABLES))
    derived = {
        "name": name,
        "architecture": printable(path.parent.name),
        "folder": path.parent,
        "toolchain": {
            tool: _convert(path, f"{key}.toolchain.{tool}", settings, _TOOLCHAIN_TABLES[tool])
            for tool, settings in toolchains.items()
        },
        "engine": {
            engine: _convert(
                path,
                f"{key}.engine.{engine}",
                settings,
                Unavailable if "unavailable" in settings else _ENGINE_TABLES[engine.partition(":")[0]],
            )
            for engine, settings in engines.items()
        },
    }
    variant: Variant = _convert(path, key, table, Variant, derived)
    for where, why in contradictions(variant):
        raise BackendError(f"{path}: {key}{'.' if where else ''}{where}: {why}")
    return variant


def _subtables(path: Path, key: str, table: object, valid: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    if not isinstance(table, dict) or not all(isinstance(value, dict) for value in table.values()):
        raise BackendError(f"{path}: {key}: expected tables [{key}.NAME]")
    for name in table:
        if name.partition(":")[0] not in valid:
            raise BackendError(f"{path}: {key}.{name}: unknown name; valid are {', '.join(valid)}")
    return table


def _convert(path: Path, key: str, table: dict[str, Any], cls: type, derived: dict[str, Any] | None = None) -> Any:
    """``table`` as a ``cls``, with every complaint naming the file and the key."""
    derived = derived or {}
    hints = typing.get_type_hints(cls)
    expected = {f.name: f for f in fields(cls) if f.name not in derived}
    for name in table:
        if name not in expected:
            raise BackendError(f"{path}: {key}.{name}: unknown key; valid are {', '.join(expected)}")
    values: dict[str, Any] = dict(derived)
    for name, f in expected.items():
        blank = isinstance(table.get(name), str) and not table[name].strip()
        if name in table and (not blank or f.default == table[name]):
            values[name] = _value(path, f"{key}.{name}", table[name], hints[name])
        elif name in table:
            raise BackendError(
                f"{path}: {key}.{name}: {table[name]!r} found; expected {_describe(hints[name])} that is not empty"
            )
        elif f.default is MISSING and f.default_factory is MISSING:
            raise BackendError(f"{path}: {key}.{name}: missing; expected {_describe(hints[name])}")
    return cls(**values)


def _value(path: Path, key: str, value: object, hint: Any) -> Any:
    """``value`` as a ``hint``; of tables, and of lists of tables, every key is checked."""
    arguments = typing.get_args(hint)
    table = next((of for of in (hint, *arguments) if is_dataclass(of)), None)
    if typing.get_origin(hint) is tuple and table and isinstance(value, list):
        return tuple(_value(path, f"{key}[{number}]", each, table) for number, each in enumerate(value))
    if table and isinstance(value, dict):
        return _convert(path, key, value, typing.cast("type", table))
    try:
        converted = msgspec.convert(value, hint)
    except msgspec.ValidationError:
        raise BackendError(f"{path}: {key}: {value!r} found; expected {_describe(hint)}") from None
    for text in (value,) if isinstance(value, str) else value if isinstance(value, list) else ():
        if isinstance(text, str) and not text.isprintable():
            raise BackendError(f"{path}: {key}: {text!r} found; expected text without control characters")
    return converted


def _describe(hint: Any) -> str:
    """A type in the words of a TOML file."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(repr(value) for value in arguments)
    if typing.get_origin(hint) is tuple:
        return f"a list, each {_describe(arguments[0])}"
    if is_dataclass(hint):
        return f"a table of {', '.join(f.name for f in fields(hint))}"
    if arguments:  # X | None
        return _describe(arguments[0])
    return {int: "an integer", str: "a string", bool: "true or false"}[hint]


@functools.cache
def load(extra: tuple[Path, ...] = ()) -> dict[str, Variant]:
    """Every variant by name: the farm's own architectures, then those in ``extra`` folders.

    An extra folder is one architecture, or holds several.
    """
    folders = [path.parent for path in sorted(paths.data("arch").glob("*/arch.toml"))]
    for path in extra:
        if (path / "arch.toml").exists():
            folders.append(path)
        else:
            inner = [toml.parent for toml in sorted(path.glob("*/arch.toml"))]
            if not inner:
                raise BackendError(f"{path}: no arch.toml there, nor in a folder below it")
            folders += inner
    variants: dict[str, Variant] = {}
    for folder in folders:
        for variant in load_folder(folder.resolve()):
            if variant.name in variants:
                raise BackendError(
                    f"{folder / 'arch.toml'}: variant.{variant.name}: already defined in "
                    f"{variants[variant.name].folder / 'arch.toml'}"
                )
            variants[variant.name] = variant
    return variants
