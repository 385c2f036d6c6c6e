"""Variants: what one guest is built for, which compilers build it, and which engines run it.

Whether a mechanism exists for an architecture is not written down: it does if the files it needs are in the folder
(:meth:`Variant.supports`).  :mod:`farm.guest.arch_toml` reads variants from files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from farm.cell import EngineName
from farm.guest.rules import Atomicity, Coherence
from farm.scenario import AbiFeature, Feature

#: Ways round limits of Unicorn on a variant, each a function of :mod:`farm.engines.unicorn.quirks`.
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
    "cache-call",
    "m68k-supervisor",
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

#: The file with which an architecture redirects its call sites.
SITES_FILE = "sites.c"

#: An architecture's functions that make a word of code (``images/mechanism/common/patch.h``).
ENCODERS = ("arch_jump", "arch_slot_jump", "arch_site_jump")

#: The file with which an architecture looks at registers around a call (:attr:`Variant.looks_at_registers`).
ABI_FILE = "abi.S"

#: File of an architecture that has functions with various prologues, for mechanisms that overwrite an entry.
ENTRY_FILE = "entry.S"


@dataclass(frozen=True, kw_only=True)
class ZigSettings:
    """``[variant.V.toolchain.zig]``."""

    target: str  #: target that the compiler is given
    emulation: str  #: the linker's ``-m``
    flags: tuple[str, ...] = ()
    retpoline_flags: tuple[str, ...] = ()  #: for the baseline ``retpoline``, which exists only where there are some
    integer_flags: tuple[str, ...] = ()  #: for all sources but the few that need floating-point registers
    supervisor_flags: tuple[str, ...] = ()  #: for that of a bare machine: it leaves guests their floating point
    link_flags: tuple[str, ...] = ()  #: for the linker itself


@dataclass(frozen=True, kw_only=True)
class GccSettings:
    """``[variant.V.toolchain.gcc]``."""

    prefix: str  #: of the command names, ``m68k-linux-gnu-``
    package: str  #: Debian's
    flags: tuple[str, ...] = ()
    retpoline_flags: tuple[str, ...] = ()  #: for the baseline ``retpoline``, which exists only where there are some
    integer_flags: tuple[str, ...] = ()  #: for all sources but the few that need floating-point registers
    supervisor_flags: tuple[str, ...] = ()  #: for that of a bare machine: it leaves guests their floating point
    link_flags: tuple[str, ...] = ()  #: for the linker itself
    libraries: tuple[str, ...] = ("gcc",)  #: what the compiler's code may call


ToolchainSettings = ZigSettings | GccSettings


@dataclass(frozen=True, kw_only=True)
class QemuUserSettings:
    """``[variant.V.engine.qemu-user]``; ``"qemu-user:PROFILE"`` is the same engine with another CPU model."""

    binary: str
    cpu: str  #: explicit, so that a default that changes between versions changes nothing
    package: str = "qemu-user"
    #: QEMU says nothing when the guest dies of a signal: a target whose core files it cannot write.
    silent: bool = False
    features: tuple[Feature, ...] = ()


@dataclass(frozen=True, kw_only=True)
class QemuSystemSettings:
    """``[variant.V.engine.qemu-system]``: a bare machine of QEMU, and the supervisor that the guest has there."""

    binary: str
    package: str  #: Debian's
    machine: str  #: as ``-machine`` names it, with its properties
    cpu: str  #: explicit, as that of :class:`QemuUserSettings`
    console: tuple[str, ...]  #: options that make the chardev ``console`` the machine's
    memory: int  #: physical address of the machine's memory
    start: int  #: and where the supervisor is linked in it
    least: int = 0  #: bytes of memory that the machine must have, where that is more than the supervisor needs
    firmware: bool = False  #: the supervisor is in firmware's place: as a file of its memory, from address 0 on
    options: tuple[str, ...] = ()
    features: tuple[Feature, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NativeSettings:
    """``[variant.V.engine.native]``: the host's own CPU."""

    hosts: tuple[str, ...]  #: that run the variant, as ``uname -m`` names them
    exits: str  #: code that ends its process with status 0, in hexadecimal: whether the kernel starts it is tried
    flags: tuple[str, ...] = ()  #: what the CPU must have for ``features``, as ``/proc/cpuinfo`` names it
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
        """Prefix that ``cpu`` leaves out: some architectures have a list of models a word size, named as the mode."""
        family = next((mode for mode in self.mode if mode.startswith(self.arch)), self.arch)
        return f"UC_CPU_{family}_"


@dataclass(frozen=True, kw_only=True)
class Unavailable:
    """``unavailable.NAME`` in place of a table ``engine.NAME``: why this engine cannot run the variant."""

    unavailable: str


EngineSettings = QemuUserSettings | QemuSystemSettings | UnicornSettings | NativeSettings | Unavailable


@dataclass(frozen=True, kw_only=True)
class BitPattern:
    """Required values of some bits of a number."""

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
    #: Condition for one store to the word to be atomic; ``never`` is a form that is known and left alone.
    store: Literal["aligned", "quadword", "never"] = "aligned"
    reason: str = ""  #: of ``never``


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Variant of an architecture that a guest is built for."""

    name: str
    architecture: str
    siblings: tuple[str, ...] = ()  #: names of the architecture's variants, its own among them
    folder: Path
    machine: int  #: ELF ``e_machine``
    bits: Literal[32, 64]
    byte_order: Literal["little", "big"]
    page: int  #: bytes; the largest page size a kernel for it may use
    text_base: int
    far_base: int
    branch_range: int | None = None  #: bytes that the stub's near jump reaches in either direction; None: everything
    stub_jump: str = ""  #: what the stub's patched instruction may be, for people
    stub_store: str = ""  #: how that instruction changes
    call_site: tuple[CallSiteForm, ...] = ()
    alignment: int  #: bytes; of instructions
    function_bias: int = 0  #: bits set in a function pointer but not in its code address (thumb: 1)
    coherence: Coherence
    atomicity: Atomicity = field(default_factory=Atomicity)
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
        name, profile = EngineName.of(engine)
        if not profile:
            return self
        missing = Unavailable(unavailable=f"{self.name} has no profile {profile} of {name}")
        return replace(self, engine={**self.engine, name: self.engine.get(engine, missing)})

    def features(self, engine: str) -> frozenset[str]:
        """Features of the CPU model of ``engine``."""
        settings = self.engine.get(engine)
        return frozenset() if settings is None or isinstance(settings, Unavailable) else frozenset(settings.features)

    def source(self, name: str, folder: Path | None = None) -> Path:
        """The architecture's source ``name``, or the one for this width alone: ``abi_32.S`` in place of ``abi.S``.

        It is looked for in ``folder``, by default in the architecture's own.
        """
        folder = folder or self.folder
        stem, dot, suffix = name.partition(".")
        own = folder / f"{stem}_{self.bits}{dot}{suffix}"
        return own if own.is_file() else folder / name

    @property
    def looks_at_registers(self) -> bool:
        """The architecture has its own asm around calls; else the guest's portable C stands in for it."""
        return self.source(ABI_FILE).is_file()
