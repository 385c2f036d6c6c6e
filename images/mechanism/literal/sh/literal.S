/* sh: the trampolines.  A load that is relative to pc reaches 1 KiB, so what it loads is the address of the literal.
 * Only r0, which carries no argument, is written; r2, r3, pr, T, fpscr and the stack pass through. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 16
    .globl  whatever_\n
    .type   whatever_\n, %function
whatever_\n:
    mov.l   1f, r0
    mov.l   @r0, r0
    jmp     @r0
    nop
    .balign 4
1:  .long   literals + \n * 4
    .endr
