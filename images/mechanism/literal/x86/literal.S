/* x86: the trampolines.  No register and no flag is written; all arguments (al of a variadic call too), the return
 * address and the stack pass through. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 16
    .globl  whatever_\n
    .type   whatever_\n, @function
whatever_\n:
#ifdef __x86_64__
    jmp     *literals + \n * 8(%rip)
#else
    jmp     *literals + \n * 4
#endif
    .endr
