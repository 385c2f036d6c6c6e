/* arm64: adrp, add. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 32
    .globl whatever_\n
    .type whatever_\n, %function
whatever_\n:
    LANDING_PAD
    adrp    x16, default_\n         /* WORDS */
    add     x16, x16, :lo12:default_\n
    br      x16
    .balign 32
    .endr
