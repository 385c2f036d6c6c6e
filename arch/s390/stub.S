/* s390x: the patchable functions as asm stubs.  `brcl` leads to the default target or, with a mask of 0, nowhere: then
 * the jump through the slot behind it is taken.  Only that mask ever changes.  Only r1, which no call keeps and
 * every entry of a PLT uses (ELF ABI s390x Supplement, "Registers"), is written; all arguments, r0, r14, the condition
 * code and the stack pass through. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign ARCH_STUB_BYTES
    .globl whatever_\n
    .type whatever_\n, @function
whatever_\n:
#ifdef CONTROL_INITIAL_FAST
    brcl    15, fast_\n
#else
    brcl    15, default_\n          /* ARCH_STUB_WORD: its second byte, mask and opcode */
#endif
    lgrl    %r1, 1f
    br      %r1
    .balign 8
1:  .quad   default_\n              /* ARCH_STUB_SLOT: naturally aligned, as lgrl wants it, and one store replaces it */
    .balign ARCH_STUB_BYTES
    .endr
