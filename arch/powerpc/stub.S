/* powerpc: the patchable functions as asm stubs.  Word 0 is `b target` or, for a target out of range, `nop`.  Only r12
 * and ctr, which both ABIs leave to linkage, are written; all arguments, lr and the stack pass through.  r12 holds the
 * target, as the global entry of an ELFv2 function expects; r2 stays, for there is one TOC. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign ARCH_STUB_BYTES
    .globl whatever_\n
    .type whatever_\n, %function
whatever_\n:
#ifdef CONTROL_INITIAL_FAST
    b       fast_\n
#else
    b       default_\n
#endif
    lis     %r12, 1f@ha
    LOAD    %r12, 1f@l(%r12)
    mtctr   %r12
    bctr
    .balign 8
1:  ADDRESS default_\n              /* ARCH_STUB_SLOT: naturally aligned, so one store replaces it */
    .balign ARCH_STUB_BYTES
    .endr
