/* sparc: the patchable functions as asm stubs, each the tail call that GCC makes too.  `call` overwrites %o7, so %o7
 * goes through %g1, and the instruction in the delay slot, which runs before the target does, puts it back.  Only %g1
 * is written, which no call passes anything in (System V ABI, SPARC supplement, "Registers"; SCD 2.4, likewise); all
 * arguments, %o7 and the stack pass through.  Only the `call` changes: for a target out of its range it leads to the
 * load of the slot behind it, and 32-bit addresses are never out of its range. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign ARCH_STUB_BYTES
    .globl whatever_\n
    .type whatever_\n, %function
whatever_\n:
    mov     %o7, %g1
#ifdef CONTROL_INITIAL_FAST
    call    fast_\n
#else
    call    default_\n              /* ARCH_STUB_WORD */
#endif
    mov     %g1, %o7
#ifdef ARCH_STUB_SLOT
    sethi   %hi(1f), %g1
    ldx     [%g1 + %lo(1f)], %g1
    jmp     %g1
    nop
    .balign 8
1:  .xword  default_\n              /* ARCH_STUB_SLOT: naturally aligned, so one store replaces it */
#endif
    .balign ARCH_STUB_BYTES
    .endr
