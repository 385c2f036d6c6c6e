/* arm64: QEMU's machine `virt` (qemu, hw/arm/virt.c: its memory map). */
#ifndef BARE_ARCH_H
#define BARE_ARCH_H

#define MACHINE_SEEN 0 /* the supervisor sees physical memory where it is */

#define MACHINE_CONSOLE 0x9000000 /* a PL011 */

#define REGISTERS_BYTES 272 /* of struct registers */

#endif
