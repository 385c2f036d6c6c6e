"""The system calls that no confined process may make, as the filter that Linux runs before each (seccomp(2)).

What a guest's layer for Linux and QEMU need stays: files that the box shows, memory, threads, signals within the box.
Refused, with EPERM, is what starts processes or looks into them, what makes sockets or memory that no limit counts,
what raises a limit, and what is for administrators, debuggers and drivers: no guest needs it, and faults of the kernel
are there.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Collection, Iterator, Mapping

#: Numbers by the kernel's table (``arch/x86/entry/syscalls/syscall_64.tbl`` and ``_32.tbl``, and
#: ``include/uapi/asm-generic/unistd.h``, which arm64, riscv64 and loongarch64 have); -1: there is none.
_REFUSED: Mapping[str, tuple[int, int, int]] = {
    "fork": (57, 2, -1),
    "vfork": (58, 190, -1),
    "ptrace": (101, 26, 117),
    "process_vm_readv": (310, 347, 270),
    "process_vm_writev": (311, 348, 271),
    "process_madvise": (440, 440, 440),
    "pidfd_open": (434, 434, 434),
    "pidfd_getfd": (438, 438, 438),
    "kcmp": (312, 349, 272),
    "socket": (41, 359, 198),
    "socketpair": (53, 360, 199),
    "socketcall": (-1, 102, -1),
    "ipc": (-1, 117, -1),
    "shmget": (29, 395, 194),
    "semget": (64, 393, 190),
    "msgget": (68, 399, 186),
    "mq_open": (240, 277, 180),
    "old mmap": (-1, 90, -1),
    "memfd_secret": (447, 447, 447),
    "setrlimit": (160, 75, 164),
    "io_uring_setup": (425, 425, 425),
    "bpf": (321, 357, 280),
    "perf_event_open": (298, 336, 241),
    "userfaultfd": (323, 374, 282),
    "fanotify_init": (300, 338, 262),
    "add_key": (248, 286, 217),
    "request_key": (249, 287, 218),
    "keyctl": (250, 288, 219),
    "mount": (165, 21, 40),
    "umount": (-1, 22, -1),
    "umount2": (166, 52, 39),
    "pivot_root": (155, 217, 41),
    "chroot": (161, 61, 51),
    "unshare": (272, 310, 97),
    "setns": (308, 346, 268),
    "open_tree": (428, 428, 428),
    "move_mount": (429, 429, 429),
    "fsopen": (430, 430, 430),
    "fsconfig": (431, 431, 431),
    "fsmount": (432, 432, 432),
    "fspick": (433, 433, 433),
    "mount_setattr": (442, 442, 442),
    "name_to_handle_at": (303, 341, 264),
    "open_by_handle_at": (304, 342, 265),
}
_CLONE, _PRLIMIT, _MMAP = (56, 120, 220), (302, 340, 261), (9, 192, 222)
_CLONE3 = 435  # everywhere; its flags are in memory, where no filter looks: libraries then take clone
_OTHER_NUMBERS = 0x40000000  # from here on x86-64 has those of another convention (x32)

_THREAD = 0x10000  # CLONE_THREAD, of clone(2)
_SHARED, _ANONYMOUS = 0x01, 0x20  # MAP_SHARED and MAP_ANONYMOUS, of mmap(2)

_X86_64, _I386, _AARCH64, _RISCV64, _LOONGARCH64 = 0xC000003E, 0x40000003, 0xC00000B7, 0xC00000F3, 0xC0000102

#: By the host's name: what calls may be made as (``AUDIT_ARCH_*`` of linux/audit.h), and the column of each above.
_HOSTS: Mapping[str, Mapping[int, int]] = {
    "x86_64": {_X86_64: 0, _I386: 1},
    "aarch64": {_AARCH64: 2},
    "riscv64": {_RISCV64: 2},
    "loongarch64": {_LOONGARCH64: 2},
}

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _MASK, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06  # of linux/bpf_common.h
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets of struct seccomp_data
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000

_Instruction = tuple[int, int, int, int]  # operation, then how many to pass over if so and if not, operand


def refusing(*, sockets: bool = True) -> bytes | None:
    """The filter for this host, a ``struct sock_filter`` after the other; None if its numbers are not known here.

    Without ``sockets`` those are not refused: a debugger's end of one, in a box without a network.
    """
    columns = _HOSTS.get(os.uname().machine)
    if columns is None:
        return None
    admitted = set() if sockets else {"socket"}
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in _program(columns, admitted))


def _program(columns: Mapping[int, int], admitted: Collection[str]) -> Iterator[_Instruction]:
    yield _LOAD, 0, 0, _ARCHITECTURE
    for architecture, column in columns.items():
        table = list(_table(column, admitted, by_x32=architecture == _X86_64))
        # A jump passes over at most 255, which no table has.
        yield _EQUAL, 0, len(table), architecture
        yield from table
    yield _RETURN, 0, 0, _KILL


def _table(column: int, admitted: Collection[str], *, by_x32: bool) -> Iterator[_Instruction]:
    yield _LOAD, 0, 0, _NUMBER
    if by_x32:
        yield from ((_AT_LEAST, 0, 1, _OTHER_NUMBERS), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS))
    yield from ((_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS))
    refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    allow = (_RETURN, 0, 0, _ALLOW)
    for name, numbers in _REFUSED.items():
        if numbers[column] >= 0 and name not in admitted:
            yield from ((_EQUAL, 0, 1, numbers[column]), refuse)
    # Threads are what is left of clone.
    yield from ((_EQUAL, 0, 4, _CLONE[column]), (_LOAD, 0, 0, _ARGUMENTS), (_ANY_BIT, 1, 0, _THREAD), refuse, allow)
    # A limit may be read: the third argument is NULL then.
    limit = _ARGUMENTS + 2 * 8
    yield _EQUAL, 0, 6, _PRLIMIT[column]
    yield from ((_LOAD, 0, 0, limit), (_EQUAL, 0, 2, 0), (_LOAD, 0, 0, limit + 4), (_EQUAL, 1, 0, 0), refuse, allow)
    # Memory that is shared but is no file is counted by no limit.
    both = _SHARED | _ANONYMOUS
    yield _EQUAL, 0, 4, _MMAP[column]
    yield from ((_LOAD, 0, 0, _ARGUMENTS + 3 * 8), (_MASK, 0, 0, both), (_EQUAL, 0, 1, both), refuse, allow)
