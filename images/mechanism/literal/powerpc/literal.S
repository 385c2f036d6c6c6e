/* powerpc: the trampolines.  Only r12 and ctr, which all three ABIs leave to linkage, are written; all arguments, lr and
 * the stack pass through.  r12 holds the target, as the global entry of an ELFv2 function expects; r2 stays, for there
 * is one TOC, and where there is one the literal is found by it.  The literal is the function's address as C has it,
 * with ELFv1 its descriptor's: that is what changes, never a descriptor. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 16
    function whatever_\n
#ifdef __powerpc64__
    addis   %r12, %r2, (literals + \n * WORD)@toc@ha
    ld      %r12, (literals + \n * WORD)@toc@l(%r12)
#else
    lis     %r12, (literals + \n * WORD)@ha
    lwz     %r12, (literals + \n * WORD)@l(%r12)
#endif
#ifdef ARCH_DESCRIPTORS
    ld      %r12, 0(%r12)
#endif
    mtctr   %r12
    bctr
    .endr
