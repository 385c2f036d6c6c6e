/* powerpc, 64 bits: QEMU's machine `pseries`, whose hypervisor is QEMU itself. */
#ifndef BARE_ARCH_H
#define BARE_ARCH_H

#define MACHINE_SEEN 0 /* the supervisor runs without address translation */

#define MACHINE_CONSOLE 0x30000000 /* number of the terminal */

#define VECTORS_END 0xe00
#define SYSTEM_CALL 0xc00

#endif
