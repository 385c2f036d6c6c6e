/* mips: the patchable functions as asm stubs.  Word 0 is `j target` or, for a target out of range, `nop`; word 1 is the
 * jump's delay slot and harmless either way.  Only $25, which the ABIs leave to linkage, is written; all arguments, $31
 * and the stack pass through.  Through the slot $25 holds the target, as a function built with abicalls would expect;
 * the near jump does not set it, so only functions built without may be its targets. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign ARCH_STUB_BYTES
    .globl whatever_\n
    .type whatever_\n, %function
whatever_\n:
#ifdef CONTROL_INITIAL_FAST
    j       fast_\n
#else
    j       default_\n
#endif
    nop
    lui     $25, %hi(1f)
    LOAD    $25, %lo(1f)($25)
    jr      $25
    nop
    .balign 8
1:  ADDRESS default_\n              /* ARCH_STUB_SLOT: naturally aligned, so one store replaces it */
    .balign ARCH_STUB_BYTES
    .endr
