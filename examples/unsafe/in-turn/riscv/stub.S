/* riscv: a jump to one of two ways, each of which reads a descriptor of its own. */
#include "arch.h"
#include "wire.h"

    .macro way offset
    auipc   t2, 0
    LOAD    t1, \offset(t2)
    LOAD    t2, \offset + WORD(t2)
    bne     t1, t2, 9f
    jr      t1
9:  unimp
    .endm

    .option norvc
    .option norelax
    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 128
    .globl whatever_\n
    .type whatever_\n, %function
whatever_\n:
    jal     zero, 1f                /* JUMP */
1:  way     52                      /* WAY_A */
2:  way     28 + 2 * WORD           /* WAY_B */
    .balign 8
    ADDRESS default_\n              /* DESCRIPTORS */
    ADDRESS default_\n
    ADDRESS default_\n
    ADDRESS default_\n
    .balign 128
    .endr
