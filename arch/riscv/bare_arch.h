/* riscv: QEMU's machine `virt` without firmware (qemu, hw/riscv/virt.c: its memory map). */
#ifndef BARE_ARCH_H
#define BARE_ARCH_H

#define MACHINE_SEEN 0 /* machine mode sees physical memory where it is, whatever satp says */

#define MACHINE_CONSOLE 0x10000000 /* a 16550; its first register sends */
#define MACHINE_POWER 0x100000

#if __riscv_xlen == 64
#define REGISTER_BYTES 8
#else
#define REGISTER_BYTES 4
#endif
#define REGISTERS_BYTES (REGISTER_BYTES * 32) /* of struct registers */

#endif
