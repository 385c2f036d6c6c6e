/* arm64: the patchable functions as asm stubs.  Behind the landing pad stands `b target` or, for a target out of range,
 * `nop`.  Only x16, which AAPCS64 (6.1.1) leaves to veneers, is written; all arguments, x30 and the stack pass through.
 * A call through the function's address needs the pad, and so does a target that `br x16` enters. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign ARCH_STUB_BYTES
    .globl whatever_\n
    .type whatever_\n, %function
whatever_\n:
#ifdef CONTROL_NO_STUB_PAD
    nop
#else
    LANDING_PAD
#endif
#ifdef CONTROL_INITIAL_FAST
    b       fast_\n
#else
    b       default_\n
#endif
    ldr     x16, 1f
    br      x16
    .balign 8
1:  .quad   default_\n              /* ARCH_STUB_SLOT: naturally aligned, so one store replaces it */
    .balign ARCH_STUB_BYTES
    .endr
