/* arm: the patchable functions as asm stubs.  Word 0 is `b target` or, for a target out of range, `nop`.  No register
 * is written: ip is left to veneers (AAPCS32, 6.1.1), but it is GCC's static chain too.  All arguments, lr, the flags
 * and the stack pass through. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign ARCH_STUB_BYTES
    .globl whatever_\n
    .type whatever_\n, %function
whatever_\n:
#ifdef CONTROL_INITIAL_FAST
    WIDE(b) fast_\n
#else
    WIDE(b) default_\n              /* 32 bits at a multiple of 4, so one store replaces it */
#endif
    WIDE(ldr) pc, 1f                /* switches to the instruction set of its target */
1:  .word   default_\n              /* ARCH_STUB_SLOT: naturally aligned, so one store replaces it */
    .balign ARCH_STUB_BYTES
    .endr
