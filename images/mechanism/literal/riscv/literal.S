/* riscv: the trampolines.  Only t1, which the procedure linkage table of the psABI writes too, is written; all arguments,
 * ra, t2 (the static chain) and the stack pass through. */
#include "arch.h"
#include "wire.h"

    .option norelax
    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 16
    .globl  whatever_\n
    .type   whatever_\n, %function
whatever_\n:
1:  auipc   t1, %pcrel_hi(literals + \n * WORD)
    LOAD    t1, %pcrel_lo(1b)(t1)
    jr      t1
    .endr
