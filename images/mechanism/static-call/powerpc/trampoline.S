/* ppc32: the patchable functions as trampolines (arch/powerpc/include/asm/static_call.h in Linux).  The first word is
 * `b target`; `nop` for a target out of range, whose address is in the last word; `blr` for NULL; or `b .+20` for RET0.
 * Only r12 and ctr, which the ABI leaves to linkage, are written. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign ARCH_STUB_BYTES
    function whatever_\n
#ifdef CONTROL_INITIAL_FAST
    b       fast_\n
#else
    b       default_\n
#endif
    lis     %r12, 2f@ha
    lwz     %r12, 2f@l(%r12)
    mtctr   %r12
    bctr
#ifdef CONTROL_RET0_MINUS_ONE
1:  li      %r3, -1
#else
1:  li      %r3, 0
#endif
    blr
2:  .long   default_\n
    .endr
