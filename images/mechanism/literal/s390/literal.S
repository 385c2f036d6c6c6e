/* s390x: the trampolines.  Only r1, which no call keeps and every entry of a PLT uses (ELF ABI s390x Supplement,
 * "Registers"), is written; all arguments, r0, r14, the condition code and the stack pass through.  `lgrl` demands a
 * literal that is naturally aligned (z/Architecture Principles of Operation, "Load Relative Long"). */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 16
    .globl  whatever_\n
    .type   whatever_\n, @function
whatever_\n:
    lgrl    %r1, literals + \n * 8
    br      %r1
    .endr
