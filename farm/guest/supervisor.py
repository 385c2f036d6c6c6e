"""The supervisor of a bare machine: what a kernel is for the guest, built for each variant (``images/bare``).

It is no part of an image: every image of a variant and compiler has the same one, which is kept beside them in the
cache, named by a hash of all that goes into it.
"""

from __future__ import annotations

import functools
import hashlib
import tempfile
from pathlib import Path

from farm import paths
from farm.errors import OutputError, exhausted
from farm.guest import build, elf, inputs, tidy
from farm.guest.image import Spec
from farm.guest.toolchain import TOOLCHAINS
from farm.guest.variant import QemuSystemSettings, Variant

#: Where what is in the machine's memory, in bytes from its beginning: the guest's file; what the host sends (behind a
#: page with its number of bytes); what the supervisor gives out, and its end, which is that of the memory.
GUEST, MAILBOX, FREE, END = 0x1000000, 0x1E00000, 0x2000000, 0x4000000
RING = 0x100000  #: bytes of what the host sends that are kept
RING_OFFSET = 4096  #: from :data:`MAILBOX`

#: Status of a frame: the machine is up; the guest has ended, or died.
UP, ENDED = 0x5550, 0x454E

ASM, ARCHITECTURE, HEADER = "start_bare.S", "bare.c", "bare_arch.h"  #: files of an architecture that has bare machines


def _memory(linked: Path) -> bytes:
    """What memory holds from address 0 on when ``linked`` is loaded."""
    memory = bytearray()
    with elf.opened(linked) as file:
        for segment in file.iter_segments("PT_LOAD"):
            start, data = segment["p_vaddr"], segment.data()
            memory.extend(bytes(max(0, start + segment["p_memsz"] - len(memory))))
            memory[start : start + len(data)] = data
    return bytes(memory)


def _definitions(settings: QemuSystemSettings) -> list[str]:
    values = {
        "MACHINE_RAM": settings.memory,
        "BARE_GUEST": GUEST,
        "BARE_MAILBOX": MAILBOX,
        "BARE_RING": RING,
        "BARE_RING_OFFSET": RING_OFFSET,
        "BARE_FREE": FREE,
        "BARE_END": END,
        "FRAME_UP": UP,
        "FRAME_ENDED": ENDED,
    }
    return [f"-D{name}={value:#x}" for name, value in values.items()]


@functools.lru_cache(maxsize=256)
def supervisor(variant: Variant, toolchain: str, settings: QemuSystemSettings) -> Path:
    """The supervisor's ELF file: from the cache if it is there, else built.

    Raises :class:`~farm.errors.BuildError`, :class:`~farm.errors.MissingToolError` or
    :class:`~farm.errors.OutputError`.
    """
    folder, tool = paths.data("images") / "bare", TOOLCHAINS[toolchain]
    sources = [folder / "bare.c", variant.source(ARCHITECTURE), variant.source(ASM)]
    read = [*sources, folder / "bare.h", folder / "link.ld", variant.source(HEADER), variant.source("arch.h")]
    flags = [f"-I{folder}", f"-I{variant.folder}", *_definitions(settings)]
    flags += variant.toolchain[toolchain].supervisor_flags
    flags.append(f"-ffile-prefix-map={paths.data('images').parent}=.")
    digest = hashlib.sha256(Path(__file__).read_bytes())
    digest.update(repr((variant.name, variant.toolchain[toolchain], tool.identity(variant), settings)).encode())
    for path in read:
        digest.update(path.read_bytes())
    kept = paths.cache() / "objects" / f"{digest.hexdigest()[:32]}.supervisor"
    if kept.is_file():
        tidy.used(kept)
        return kept
    spec = Spec(variant, "pointer", toolchain)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=paths.cache(), prefix="supervisor-") as name:
            work = Path(name)
            objects = [work / f"{number}.o" for number in range(len(sources))]
            for source, output in zip(sources, objects, strict=True):
                command = tool.compile(variant, flags, source, output)
                build.run_tool(spec, f"{source} does not compile for {variant.name}", command, work)
            layout = [f"--defsym=MACHINE_BASE={settings.start:#x}", "-T", str(folder / "link.ld")]
            command = tool.link(variant, layout, objects, work / "supervisor.elf")
            build.run_tool(spec, f"the supervisor of {variant.name} does not link", command, work)
            linked = work / "supervisor.elf"
            inputs.write(kept, _memory(linked) if settings.firmware else linked.read_bytes())
    except OSError as error:
        if no_more := exhausted(error):
            raise no_more from None
        what = f"the supervisor of {variant.name}"
        raise OutputError(f"{what} cannot be kept in {paths.cache()}: {error.strerror}") from None
    return kept
