/* s390x: what can only be observed of a call in asm.  Register roles: ELF ABI s390x Supplement, "Registers". */
#include "arch.h"
#include "wire.h"

#define SENTINEL -0x5e47            /* negative, so that a register cut to 32 bits shows */
#define FLOAT_SENTINEL (SENTINEL + 16)
#define NAMED 0x6000                /* marks a target's name: what a register holds by chance is no name */

/* Where a function keeps r6-r15 and r14 alone, in its caller's frame ("The Stack Frame"). */
#define SAVED 48
#define LINK_SAVED 112

/* abi_call's frame: FRAME_BYTES and three words of arguments for the callee; four of its own; then f8-f15. */
#define RESULT (FRAME_BYTES + 24)
#define OUTER (FRAME_BYTES + 32)
#define FIFTH (FRAME_BYTES + 40)
#define FLOAT_SAVED(n) (FRAME_BYTES + 48 + 8 * ((n) - 8))
#define FRAME (FRAME_BYTES + 112)

/* void abi_call(function r2, arguments r3, result r4)
 *
 * Loads r2-r6 and three words of stack from arguments and calls function with a sentinel in each of r7-r13 and f8-f15
 * and condition code 3.  r6 is the fifth argument, and must survive all the same.  Nothing may be trusted to survive
 * the call, not even r15, so the frame is found again through abi_frame, which also chains nested calls. */
    .text
    .globl abi_call
    .type abi_call, @function
abi_call:
    stmg    %r6, %r15, SAVED(%r15)
    aghi    %r15, -FRAME
    stg     %r4, RESULT(%r15)
    lgrl    %r1, abi_frame
    stg     %r1, OUTER(%r15)
    stgrl   %r15, abi_frame
    lgr     %r1, %r2
    lgr     %r14, %r3
    .irp n, 8, 9, 10, 11, 12, 13, 14, 15
    std     %f\n, FLOAT_SAVED(\n)(%r15)
    lghi    %r2, FLOAT_SENTINEL + \n
    ldgr    %f\n, %r2
    .endr
    .irp n, 7, 8, 9, 10, 11, 12, 13
    lghi    %r\n, SENTINEL + \n
    .endr
    mvc     STACK_ARGUMENT(24,%r15), 40(%r14)
    mvc     FIFTH(8,%r15), 32(%r14)
    lmg     %r2, %r6, 0(%r14)
    tmhh    %r7, 0x8000             /* the sign of a sentinel: all selected bits are ones, which is code 3 */
    basr    %r14, %r1

    lgrl    %r1, abi_frame
    lgr     %r4, %r15
    sgr     %r4, %r1                /* stack delta */
    lgr     %r15, %r1
    lg      %r5, RESULT(%r15)
    lg      %r1, OUTER(%r15)
    stgrl   %r1, abi_frame
    stg     %r2, 0(%r5)             /* result->value */
    stg     %r3, 8(%r5)
    stg     %r4, 16(%r5)            /* result->stack */
    lghi    %r2, 0
    cg      %r6, FIFTH(%r15)
    je      1f
    oill    %r2, 1
1:
    .irp n, 7, 8, 9, 10, 11, 12, 13
    cghi    %r\n, SENTINEL + \n
    je      1f
    oill    %r2, 1 << (\n - 6)
1:
    .endr
    .irp n, 8, 9, 10, 11, 12, 13, 14, 15
    lgdr    %r1, %f\n
    ld      %f\n, FLOAT_SAVED(\n)(%r15)
    cghi    %r1, FLOAT_SENTINEL + \n
    je      1f
    oilh    %r2, 1 << (VIOLATION_KEPT_FLOATS - 16)
1:
    .endr
    stg     %r2, 24(%r5)            /* result->clobbered */
    lmg     %r6, %r15, FRAME + SAVED(%r15)
    br      %r14

/* The BARE call sites: the condition code is the one that abi_call set; r0 is given a value.  Nothing here writes the
 * condition code. */
    .section .sites, "ax"
    .irp n, INT_NUMBERS
    .balign 16
    .globl bare_\n
    .type bare_\n, @function
bare_\n:
    stg     %r14, LINK_SAVED(%r15)
    lay     %r15, -FRAME_BYTES(%r15)
    larl    %r1, 1f
    stgrl   %r1, abi_bare
    lghi    %r0, BARE_HIDDEN
    nopr    %r0                     /* so that the displacement of the call is naturally aligned */
#ifdef CONTROL_RELIES_ON_SCRATCH
    lghi    %r5, 1
    brasl   %r14, whatever_\n
1:  agr     %r2, %r5                /* nobody promised that r5 is still 1 */
    aghi    %r2, -1
#else
    brasl   %r14, whatever_\n
1:
#endif
    la      %r15, FRAME_BYTES(%r15)
    lg      %r14, LINK_SAVED(%r15)
    br      %r14

/* The CONDITIONAL call sites: a branch to the function, whose return goes to the caller. */
    .balign 4
    .globl conditional_\n
    .type conditional_\n, @function
conditional_\n:
    nopr    %r0                     /* so that the displacement is naturally aligned */
    tmll    %r2, 1
    jgne    whatever_\n
    br      %r14
    .endr
    .text

/* void abi_scrub(void): junk in every register that is not callee-saved, but r14, which the return needs. */
    .globl abi_scrub
    .type abi_scrub, @function
abi_scrub:
    lgfi    %r0, -0x6a756e6b
    .irp n, 1, 2, 3, 4, 5
    lgr     %r\n, %r0
    .endr
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7
    ldgr    %f\n, %r0
    .endr
    br      %r14

/* The targets.  An entry names itself in r1 and goes on at target_entry; only r1 and, once it is recorded, r0 are
 * written, and the condition code only once it is recorded, so the body gets every argument, the return address and
 * the stack as the caller left them.  Before each lie zeros, which are no instruction: who jumps short of one is
 * found out. */
.macro pad
    .skip   ARCH_ENTRY_INSTRUCTION
    .balign 16, 0
.endm

    .irp n, FUNCTION_NUMBERS
    pad
    .globl default_\n, fast_\n, other_\n
    .type default_\n, @function
    .type fast_\n, @function
    .type other_\n, @function
default_\n:
    lgfi    %r1, NAMED | \n << 8 | TARGET_DEFAULT
    jg      target_entry
    pad
fast_\n:
    lgfi    %r1, NAMED | \n << 8 | TARGET_FAST
    jg      target_entry
    pad
other_\n:
    lgfi    %r1, NAMED | \n << 8 | TARGET_OTHER
    jg      target_entry
    pad
from_far_\n:
    lgfi    %r1, NAMED | \n << 8 | TARGET_FAR
    jg      target_entry
    .endr

/* Linked out of every near branch's reach, so they come back through a register, the only one there is, and are named
 * where they arrive. */
    .section .far, "ax"
    .irp n, FUNCTION_NUMBERS
    pad
    .globl far_\n
    .type far_\n, @function
far_\n:
    larl    %r1, 1f
    lg      %r1, 0(%r1)
    br      %r1
    .balign 8
1:  .quad   from_far_\n
    .endr

    .text
    .balign 16, 0
target_entry:
#ifdef CONTROL_CLOBBER_ARGUMENT
    lghi    %r5, 0
#endif
#ifdef CONTROL_CLOBBER_SAVED
    lghi    %r8, 0
#endif
#ifdef CONTROL_CLOBBER_FLOAT
    lzdr    %f9
#endif
#ifdef CONTROL_CLOBBER_FLAGS
    tmll    %r1, 0                  /* no bits selected: code 0 */
#endif
#ifdef CONTROL_CLOBBER_STATIC_CHAIN
    lghi    %r0, 0
#endif
#ifdef CONTROL_CLOBBER_STRUCT_POINTER
    larl    %r2, abi_scratch
#endif
#ifdef CONTROL_CLOBBER_FLOAT_ARGUMENT
    lzdr    %f2
#endif
#ifdef CONTROL_CLOBBER_STACK_ARGUMENT
    mvghi   STACK_ARGUMENT(%r15), 0
#endif
#ifdef CONTROL_NARROW_NOT_EXTENDED
    llgcr   %r2, %r2
#endif
#ifdef CONTROL_WRONG_RETURN_ADDRESS
    stgrl   %r14, abi_scratch
    larl    %r14, return_here
#endif
#ifdef CONTROL_LEAK_STACK
    tmll    %r1, 0x1f00             /* of function 0 alone, whose call sites live with it */
    jne     1f
    lay     %r15, -16(%r15)
1:
#endif
    stgrl   %r2, abi_entry
    stgrl   %r3, abi_entry+8
    stgrl   %r4, abi_entry+16
    stgrl   %r5, abi_entry+24
    stgrl   %r6, abi_entry+32
    stgrl   %r14, abi_entry+48
    stgrl   %r0, abi_entry+64
#ifdef CONTROL_MISALIGN_STACK
    lay     %r15, -4(%r15)
    stgrl   %r15, abi_entry+40
    lay     %r15, 4(%r15)
#else
    stgrl   %r15, abi_entry+40
#endif
    lgr     %r0, %r1
    lghi    %r1, 0
    ipm     %r1
    stgrl   %r1, abi_entry+56
    xilf    %r0, NAMED
    strl    %r0, abi_entry+104
    /* bits 8 and up, times 8: a target that did not name itself still finds a body */
    risbg   %r0, %r0, 61 - FUNCTION_BITS, 128 + 60, 64 - 8 + 3
    larl    %r1, target_bodies
    agr     %r1, %r0
    lg      %r1, 0(%r1)
    br      %r1

#ifdef CONTROL_WRONG_RETURN_ADDRESS
return_here:
    lgrl    %r14, abi_scratch
    br      %r14
#endif

/* NULL and RET0 lead here. */
    pad
    .globl return_void
    .type return_void, @function
return_void:
    br      %r14
    pad
    .globl return_zero
    .type return_zero, @function
return_zero:
#ifdef CONTROL_RET0_MINUS_ONE
    lghi    %r2, -1
#else
    lghi    %r2, 0
#endif
    br      %r14

    .bss
    .balign 16
    .globl abi_entry, abi_frame, abi_bare
abi_entry:
    .skip   112
abi_frame:
    .skip   8
abi_bare:
    .skip   8
abi_scratch:
    .skip   32
