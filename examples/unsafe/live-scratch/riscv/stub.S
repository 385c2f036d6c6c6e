/* riscv: t1 is loaded, then comes the jump that a patch changes to a nop and back. */
#include "arch.h"
#include "wire.h"

    .option norvc
    .option norelax
    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 32
    .globl whatever_\n
    .type whatever_\n, %function
whatever_\n:
    auipc   t1, 0
    LOAD    t1, 16(t1)
    jal     zero, default_\n        /* JUMP */
    jr      t1
    ADDRESS default_\n              /* SLOT */
    .balign 32
    .endr
