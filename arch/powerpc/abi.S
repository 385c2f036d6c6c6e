/* powerpc: what can only be observed of a call in asm.  Register roles: System V ABI PowerPC supplement, "Registers";
 * ELFv2 ABI, "Register Roles". */
#include "arch.h"
#include "wire.h"

#define SENTINEL -0x5e47            /* negative, so that a register cut to 32 bits shows */
#define NAMED 0x6000                /* marks a target's name: what a register holds by chance is no name */

/* abi_call's frame in words: 12 for the linkage area and, in ELFv2, the callee's parameter save area; r14-r31; two of
 * its own. */
#define SAVED(n) (12 + (n) - 14) * WORD
#define RESULT 30 * WORD
#define OUTER 31 * WORD
#define FRAME 32 * WORD

/* void abi_call(function r3, arguments r4, result r5)
 *
 * Loads r3-r10 from arguments and calls function, with its address in r12, and with a sentinel in each of r14-r31.
 * Nothing may be trusted to survive the call, not even r1, so the frame is found again through abi_frame, which also
 * chains nested calls.  cr is left alone. */
    .text
    .globl abi_call
    .type abi_call, %function
abi_call:
    mflr    %r0
    STORE   %r0, LINK_SAVE(%r1)
    PUSH    %r1, -FRAME(%r1)
#ifdef __powerpc64__
    std     %r2, TOC_SAVE(%r1)
#endif
    .irp n, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    STORE   %r\n, SAVED(\n)(%r1)
    li      %r\n, SENTINEL + \n
    .endr
    lis     %r11, abi_frame@ha
    LOAD    %r12, abi_frame@l(%r11)
    STORE   %r5, RESULT(%r1)
    STORE   %r12, OUTER(%r1)
    STORE   %r1, abi_frame@l(%r11)
    mr      %r12, %r3
    mr      %r11, %r4
    mtctr   %r12
    .irp n, 3, 4, 5, 6, 7, 8, 9, 10
    LOAD    %r\n, (\n - 3) * WORD(%r11)
    .endr
    bctrl

    lis     %r11, abi_frame@ha
    LOAD    %r12, abi_frame@l(%r11)
    subf    %r5, %r12, %r1          /* stack delta */
    mr      %r1, %r12
    LOAD    %r6, RESULT(%r1)
    LOAD    %r7, OUTER(%r1)
    STORE   %r7, abi_frame@l(%r11)
    STORE   %r3, 0(%r6)             /* result->value */
    STORE   %r4, WORD(%r6)
    STORE   %r5, 2 * WORD(%r6)      /* result->stack */
    li      %r8, 0
    .irp n, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    addi    %r9, %r\n, -(SENTINEL + \n)
    addic   %r10, %r9, -1
    subfe   %r10, %r10, %r9         /* r9 != 0 */
    rlwimi  %r8, %r10, \n - 14, 45 - \n, 45 - \n
    LOAD    %r\n, SAVED(\n)(%r1)
    .endr
    STORE   %r8, 3 * WORD(%r6)      /* result->clobbered */
#ifdef __powerpc64__
    ld      %r2, TOC_SAVE(%r1)
#endif
    addi    %r1, %r1, FRAME
    LOAD    %r0, LINK_SAVE(%r1)
    mtlr    %r0
    blr

/* The targets.  An entry names itself in r11 and goes on at target_entry; only r0, r11, r12 and ctr are written, so
 * the body gets every argument, the return address, r2 and the stack as the caller left them. */
    .irp n, FUNCTION_NUMBERS
    .balign 16
    .globl default_\n, fast_\n, other_\n
    .type default_\n, %function
    .type fast_\n, %function
    .type other_\n, %function
default_\n:
    li      %r11, NAMED | \n << 8 | TARGET_DEFAULT
    b       target_entry
    .balign 16
fast_\n:
    li      %r11, NAMED | \n << 8 | TARGET_FAST
    b       target_entry
    .balign 16
other_\n:
    li      %r11, NAMED | \n << 8 | TARGET_OTHER
    b       target_entry
    .endr

/* Linked out of every near branch's reach, so they come back through a register. */
    .section .far, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 16
    .globl far_\n
    .type far_\n, %function
far_\n:
    li      %r11, NAMED | \n << 8 | TARGET_FAR
    address %r12, target_entry
    mtctr   %r12
    bctr
    .endr

    .text
    .balign 16
target_entry:
#ifdef CONTROL_CLOBBER_ARGUMENT
    li      %r9, 0
#endif
#ifdef CONTROL_CLOBBER_SAVED
    li      %r21, 0
#endif
    address %r12, abi_entry
    .irp n, 3, 4, 5, 6, 7, 8, 9, 10
    STORE   %r\n, (\n - 3) * WORD(%r12)
    .endr
    STORE   %r1, 8 * WORD(%r12)
    mflr    %r0
    STORE   %r0, 9 * WORD(%r12)
    xori    %r11, %r11, NAMED
    stw     %r11, 10 * WORD(%r12)
    /* bits 8-10, times WORD: a target that did not name itself still finds a body */
    rlwinm  %r11, %r11, 24 + WORD_SHIFT, 32 - FUNCTION_BITS - WORD_SHIFT, 31 - WORD_SHIFT
    lis     %r12, target_bodies@ha
    add     %r12, %r12, %r11
    LOAD    %r12, target_bodies@l(%r12)
    mtctr   %r12
    bctr

/* NULL and RET0 lead here. */
    .balign 16
    .globl return_void
    .type return_void, %function
return_void:
    blr
    .balign 16
    .globl return_zero
    .type return_zero, %function
return_zero:
#ifdef CONTROL_RET0_MINUS_ONE
    li      %r3, -1
    li      %r4, -1
#else
    li      %r3, 0
    li      %r4, 0                  /* the other half of a 32-bit result of 64 bits */
#endif
    blr

    .bss
    .balign 16
    .globl abi_entry, abi_frame
abi_entry:
    .skip   96
abi_frame:
    .skip   16
