/* sparc: the trampolines.  Only %g1, which no call passes anything in (System V ABI, SPARC supplement, "Registers"; SCD
 * 2.4, likewise), is written; all arguments, %o7 and the stack pass through. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 16
    .globl  whatever_\n
    .type   whatever_\n, @function
whatever_\n:
    sethi   %hi(literals + \n * WORD), %g1
    LOAD    [%g1 + %lo(literals + \n * WORD)], %g1
    jmp     %g1
    nop
    .endr
