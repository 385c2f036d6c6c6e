/* m68k: QEMU's machine `virt` with a 68040 (qemu, hw/m68k/virt.c: its memory map). */
#ifndef BARE_ARCH_H
#define BARE_ARCH_H

#define MACHINE_SEEN 0 /* what the supervisor accesses is translated transparently */

#define MACHINE_CONSOLE 0xff008000 /* a goldfish TTY; its first register sends */
#define MACHINE_POWER 0xff009004

#define SYSTEM_CALL 32 /* of vectors: trap #0 */

#endif
