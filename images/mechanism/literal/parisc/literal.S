/* parisc: the trampolines.  Only r1 is written, which the linker's own stubs for long branches use too; all arguments, r2
 * and the stack pass through. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 16
    .globl  whatever_\n
    .type   whatever_\n, @function
whatever_\n:
    ldil    L%literals+\n*4, %r1
    ldw     R%literals+\n*4(%r1), %r1
    bv,n    %r0(%r1)
    nop
    .endr
