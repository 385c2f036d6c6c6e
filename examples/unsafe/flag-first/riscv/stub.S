/* riscv: the flag, then the target. */
#include "arch.h"
#include "wire.h"

    .option norvc
    .option norelax
    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 64
    .globl whatever_\n
    .type whatever_\n, %function
whatever_\n:
    auipc   t2, 0
    LOAD    t1, 24(t2)
    LOAD    t2, 24 + WORD(t2)
    beqz    t1, 1f
    jr      t2
1:  jal     zero, default_\n
    ADDRESS 0                       /* WORDS */
    ADDRESS 0
    .balign 64
    .endr
