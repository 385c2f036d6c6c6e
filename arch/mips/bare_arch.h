/* mips: QEMU's machine `malta` (qemu, hw/mips/malta.c). */
#ifndef BARE_ARCH_H
#define BARE_ARCH_H

#ifdef __mips64
#define KSEG0 0xffffffff80000000
#define KSEG1 0xffffffffa0000000
#else
#define KSEG0 0x80000000
#define KSEG1 0xa0000000
#endif

#define MACHINE_SEEN KSEG0

#define MACHINE_CONSOLE (KSEG1 + 0x180003f8) /* a 16550; its first register sends */
#define MACHINE_POWER (KSEG1 + 0x1f000500)   /* SOFTRES */

#define EXCEPTION_LEVEL 2
#define USER_MODE 0x10

/* Status of the guest: floating point, with the registers that its ABI has; 64-bit addresses. */
#ifdef __mips64
#define STATUS 0x248000e0
#else
#define STATUS 0x20000000
#endif

#endif
