/* x86: QEMU's machine `microvm`. */
#ifndef BARE_ARCH_H
#define BARE_ARCH_H

#define MACHINE_SEEN 0x40000000 /* guests begin where physical memory has them, too: it is seen a second time, higher up */

#define MACHINE_CONSOLE 0x3f8 /* a 16550; its first register sends */
#define MACHINE_POWER 0xf4    /* isa-debug-exit */

#define PAGE_TABLES 5 /* of those that start_bare.S makes: each of the last four is of 1 GiB */

/* Selectors of segments. */
#define SUPERVISOR_CODE 0x08
#define SUPERVISOR_DATA 0x10
#define USER_CODE_32 0x1b
#define USER_DATA 0x23
#define USER_CODE_64 0x2b
#define TASK 0x30

#endif
