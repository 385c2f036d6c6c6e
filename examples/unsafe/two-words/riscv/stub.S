/* riscv: auipc, jalr. */
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
    auipc   t1, %pcrel_hi(default_\n)   /* WORDS */
    jalr    zero, %pcrel_lo(whatever_\n)(t1)
    .balign 32
    .endr
