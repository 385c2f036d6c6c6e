/* parisc: the patchable functions as asm stubs.  Word 0 is `b,n target` or, for a target out of range, `nop`.  Only r1
 * is written, which the linker's own stubs for long branches use too; all arguments, r2 and the stack pass through.
 * `,n` keeps the instruction in the delay slot from running, so what follows is left to the way through the slot. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign ARCH_STUB_BYTES
    .globl whatever_\n
    .type whatever_\n, @function
whatever_\n:
#ifdef CONTROL_INITIAL_FAST
    b,n     fast_\n
#else
    b,n     default_\n
#endif
    ldil    L%.Lslot_\n, %r1
    ldw     R%.Lslot_\n(%r1), %r1
    bv,n    %r0(%r1)
    .balign 8
.Lslot_\n:
    .word   default_\n              /* ARCH_STUB_SLOT: naturally aligned, so one store replaces it */
    .balign ARCH_STUB_BYTES
    .endr
