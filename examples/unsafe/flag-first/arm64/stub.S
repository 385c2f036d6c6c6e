/* arm64: the flag, then the target. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 64
    .globl whatever_\n
    .type whatever_\n, %function
whatever_\n:
    LANDING_PAD
    ldr     x16, 2f
    ldr     x17, 3f
    cbz     x16, 1f
    br      x17
1:  b       default_\n
    .balign 32
2:  .quad   0                       /* WORDS */
3:  .quad   0
    .balign 64
    .endr
