/* arm64: a jump to one of two ways, each of which reads a descriptor of its own. */
#include "arch.h"
#include "wire.h"

    .macro way descriptor
    ldr     x16, \descriptor
    ldr     x17, \descriptor + 8
    cmp     x16, x17
    b.ne    9f
    br      x16
9:  udf     #0
    .endm

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 128
    .globl whatever_\n
    .type whatever_\n, %function
whatever_\n:
    LANDING_PAD
    b       1f                      /* JUMP */
1:  way     3f                      /* WAY_A */
2:  way     4f                      /* WAY_B */
3:  .quad   default_\n, default_\n  /* DESCRIPTORS */
4:  .quad   default_\n, default_\n
    .balign 128
    .endr
