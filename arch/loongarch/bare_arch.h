/* loongarch: QEMU's machine `virt` (qemu, hw/loongarch/virt.c: its memory map). */
#ifndef BARE_ARCH_H
#define BARE_ARCH_H

#define MACHINE_SEEN 0 /* in a window that is mapped directly, at privilege level 0 alone */

#define MACHINE_PAGE 16384 /* bytes; QEMU 7.2 looks at no fewer at a time */

#define MACHINE_CONSOLE 0x1fe001e0 /* a 16550; its first register sends */
#define MACHINE_POWER 0x100e001c

/* Control and status registers (LoongArch Reference Manual volume 1, "Control and Status Registers"). */
#define CRMD 0x0
#define PRMD 0x1
#define EUEN 0x2
#define ESTAT 0x5
#define ERA 0x6
#define BADV 0x7
#define EENTRY 0xc
#define STLBPS 0x1e
#define SAVE0 0x30
#define TLBRENTRY 0x88
#define TLBRBADV 0x89
#define TLBRSAVE 0x8b
#define TLBRELO0 0x8c
#define TLBRELO1 0x8d
#define TLBREHI 0x8e
#define DMW0 0x180

#endif
