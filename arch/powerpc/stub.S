/* powerpc: the patchable functions as asm stubs.  Word 0 is `b target` or, for a target out of range, `nop`.  Only r12
 * and ctr, which all three ABIs leave to linkage, are written; all arguments, lr and the stack pass through.  r12 holds
 * the target, as the global entry of an ELFv2 function expects; r2 stays, for there is one TOC.  The slot holds the
 * function's address as C has it, with ELFv1 its descriptor's: that is what changes, never a descriptor. */
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
    lis     %r12, 1f@ha
    LOAD    %r12, 1f@l(%r12)
#ifdef ARCH_DESCRIPTORS
    ld      %r12, 0(%r12)
#endif
    mtctr   %r12
    bctr
    .balign 8
1:  ADDRESS default_\n              /* ARCH_STUB_SLOT: naturally aligned, so one store replaces it */
    .balign ARCH_STUB_BYTES
    .endr
