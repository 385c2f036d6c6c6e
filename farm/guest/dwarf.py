"""Line tables: which source line an address of a guest belongs to (DWARF 5, 6.2 "Line Number Information").

What is said of a line is said where a statement begins (``is_stmt``): to these rows a debugger maps a line, and a
compiler that moves or merges instructions says with them where the line still is.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from farm.guest.elf import listed, opened

_EXECUTE = 1  # of a segment's flags


class Row(NamedTuple):
    """Row of a line table: from its address on, code is of its line."""

    address: int
    path: str  #: as the compiler was told: ``./arch/arm64/patch.c``
    line: int
    begins: bool  #: a statement


class Table(NamedTuple):
    """Code of some source files, by the line table of a guest."""

    rows: list[Row]  #: by address; also of other files, whose code is inlined there
    spans: list[range]  #: where the code is
    data: list[range]  #: what is among it but no code, where the ABI tells


def read(elf: Path, wanted: Callable[[str], bool]) -> Table:
    """The code of the files whose path is ``wanted``.  Raises :class:`~farm.errors.ImageError`."""
    rows: list[Row] = []
    spans: list[range] = []
    with opened(elf) as file:
        executable = [
            range(s["p_vaddr"], s["p_vaddr"] + s["p_memsz"])
            for s in file.iter_segments()
            if s["p_type"] == "PT_LOAD" and s["p_flags"] & _EXECUTE
        ]
        foreign = list(_global_entries(file))
        for program in _programs(file):
            paths = _paths(program)
            if not any(map(wanted, paths.values())):
                continue
            for *states, end in _sequences(program):
                sequence_rows = [
                    Row(s.address, paths[s.file], s.line, bool(s.is_stmt))
                    for s in states
                    if s.line and not any(s.address in entry for entry in foreign)
                ]
                linked = any(end.address - 1 in segment for segment in executable)
                if linked and any(wanted(row.path) for row in sequence_rows):
                    rows += sequence_rows
                    spans.append(range(states[0].address, end.address))
        data = [pool for pool in _data(file) if any(pool.start in span for span in spans)]
    return Table(sorted(rows, key=lambda row: row.address), sorted(spans, key=lambda span: span.start), data)


def places(elf: Path) -> list[tuple[int, str, int]]:
    """Beginning of the code of each line of the guest's sources: address, file and line, by address.

    Files are named from the root of the project: ``arch/arm64/patch.c``.  Code from no source (the linker's own) has an
    empty name and line 0.  Raises :class:`~farm.errors.ImageError`.
    """
    lines: dict[int, tuple[str, int]] = {}
    with opened(elf) as file:
        for program in _programs(file):
            paths = {number: str(PurePosixPath(path)) for number, path in _paths(program).items()}
            for *states, end in _sequences(program):
                lines |= {state.address: (paths[state.file], state.line) for state in states if state.line}
                lines.setdefault(end.address, ("", 0))
    return [(address, *lines[address]) for address in sorted(lines)]


def _programs(file: Any) -> Iterator[Any]:
    """The line number program of every compilation unit."""
    info = file.get_dwarf_info(relocate_dwarf_sections=False)  # it is linked
    for unit in info.iter_CUs():
        program = info.line_program_for_CU(unit)
        if program is not None:
            yield program


def _paths(program: Any) -> dict[int, str]:
    """The source files by their numbers.  Up to version 4 both files and folders count from 1."""
    header = program.header
    folders = [os.fsdecode(folder) for folder in header["include_directory"]]
    first = 0 if header["version"] >= 5 else 1
    paths = {}
    for number, entry in enumerate(header["file_entry"], first):
        folder = entry.dir_index - first
        name = os.fsdecode(entry.name)
        paths[number] = f"{folders[folder]}/{name}" if folder >= 0 else name
    return paths


def _sequences(program: Any) -> Iterator[list[Any]]:
    """Rows of ascending addresses; the last of each only says where the code ends."""
    sequence = []
    for entry in program.get_entries():
        if entry.state is None:
            continue
        sequence.append(entry.state)
        if entry.state.end_sequence:
            yield sequence
            sequence = []


def _data(file: Any) -> Iterator[range]:
    """Literal pools, by the mapping symbols that arm, arm64 and riscv have (ELF for the Arm Architecture, 5.5.5)."""
    marks = sorted((s.value, s.name) for s in listed(file) if s.name[:2] in ("$a", "$d", "$t", "$x"))
    for (start, name), (end, _) in itertools.pairwise(marks):
        if name.startswith("$d"):
            yield range(start, end)


def _global_entries(file: Any) -> Iterator[range]:
    """Code that a caller with another TOC executes before the function itself (ELFv2 ABI, 3.4.1 "Symbol Values").

    Every caller here is linked with the function and goes past it.
    """
    if file["e_machine"] != "EM_PPC64":
        return
    for symbol in listed(file):
        before = 1 << (symbol.other >> 5) & ~3
        if before >= 4:
            yield range(symbol.value, symbol.value + before)
