/* arm64: the trampolines.  Only x16, which AAPCS64 (6.1.1) leaves to veneers and from which a branch may enter a `bti c`,
 * is written; all arguments, x30 and the stack pass through. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 16
    .globl  whatever_\n
    .type   whatever_\n, %function
whatever_\n:
#ifdef CONTROL_NO_STUB_PAD
    nop
#else
    LANDING_PAD
#endif
    adrp    x16, literals + \n * 8
    ldr     x16, [x16, #:lo12:literals + \n * 8]
    br      x16
    .endr
