/* arm64: x16 is loaded, then comes the jump that a patch changes to a nop and back. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 32
    .globl whatever_\n
    .type whatever_\n, %function
whatever_\n:
    LANDING_PAD
    ldr     x16, 1f
    b       default_\n              /* JUMP */
    br      x16
1:  .quad   default_\n              /* SLOT */
    .balign 32
    .endr
