/* powerpc: what can only be observed of a call in asm.  Register roles: System V ABI PowerPC supplement, "Registers";
 * 64-bit PowerPC ELF ABI (ELFv1), "Registers"; ELFv2 ABI, "Register Roles". */
#include "arch.h"
#include "wire.h"

#define SENTINEL -0x5e47            /* negative, so that a register cut to 32 bits shows */
#define NAMED 0x6000                /* marks a target's name: what a register holds by chance is no name */

/* abi_call's frame in words: 14 for the linkage area and, in 64 bits, the callee's parameter save area; r14-r31; four
 * of its own; then f14-f31 and, for 64 bits, v20-v31. */
#define SAVED(n) (14 + (n) - 14) * WORD
#define RESULT 32 * WORD
#define OUTER 33 * WORD
#define CR_SAVED 34 * WORD
#define FLOAT_SAVED(n) (36 * WORD + 8 * ((n) - 14))
#ifdef __powerpc64__
#define VECTOR_SAVED(n) (432 + 16 * ((n) - 20))
#define FRAME 624
#else
#define FRAME 288
#endif

/* void abi_call(function r3, arguments r4, result r5)
 *
 * Loads r3-r10 from arguments and calls function, with the address of its code in r12, and with a sentinel in each of
 * r14-r31, f14-f31 and, for 64 bits, v20-v31, and in cr, of which fields 2 to 4 must survive.  Nothing may be trusted
 * to survive the call, not even r1, so the frame is found again through abi_frame, which also chains nested calls. */
    .text
    function abi_call
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
    code    %r12, %r3
    mr      %r11, %r4
    mfcr    %r9
    stw     %r9, CR_SAVED(%r1)
    address %r9, abi_kept
    .irp n, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    stfd    %f\n, FLOAT_SAVED(\n)(%r1)
    lfd     %f\n, 8 * (\n - 14)(%r9)
    .endr
#ifdef __powerpc64__
    .irp n, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    li      %r10, VECTOR_SAVED(\n)
    stvx    %v\n, %r1, %r10
    li      %r10, 144 + 16 * (\n - 20)
    lvx     %v\n, %r9, %r10
    .endr
#endif
    lis     %r9, ARCH_BARE_FLAGS@h
    ori     %r9, %r9, ARCH_BARE_FLAGS@l
    mtcrf   255, %r9
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
    mfcr    %r9
    lis     %r10, ARCH_BARE_FLAGS@h
    ori     %r10, %r10, ARCH_BARE_FLAGS@l
    xor     %r9, %r9, %r10
    rlwinm. %r9, %r9, 0, 8, 19      /* cr2, cr3, cr4 */
    beq     1f
    oris    %r8, %r8, 1 << (VIOLATION_KEPT_FLAGS - 16)
1:
#ifdef __powerpc64__
    ld      %r9, TOC_SAVE(%r1)
    cmpd    %r9, %r2
    beq     1f
    oris    %r8, %r8, 1 << (VIOLATION_TOC - 16)
1:  mr      %r2, %r9
#endif
    address %r9, abi_seen
    address %r11, abi_kept
    .irp n, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    stfd    %f\n, 8 * (\n - 14)(%r9)
    lfd     %f\n, FLOAT_SAVED(\n)(%r1)
    .endr
    li      %r10, 144 / 4
    lis     %r7, 1 << (VIOLATION_KEPT_FLOATS - 16)
    bl      compare_kept
#ifdef __powerpc64__
    .irp n, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    li      %r10, 16 * (\n - 20)
    stvx    %v\n, %r9, %r10
    li      %r10, VECTOR_SAVED(\n)
    lvx     %v\n, %r1, %r10
    .endr
    li      %r10, 192 / 4
    lis     %r7, 1 << (VIOLATION_KEPT_VECTORS - 16)
    bl      compare_kept
#endif
    STORE   %r8, 3 * WORD(%r6)      /* result->clobbered */
    lwz     %r9, CR_SAVED(%r1)
    mtcrf   255, %r9
    addi    %r1, %r1, FRAME
    LOAD    %r0, LINK_SAVE(%r1)
    mtlr    %r0
    blr

/* ORs r7 into r8 if r10 words at r9 are not those at r11, and leaves r11 behind them. */
compare_kept:
    mtctr   %r10
    li      %r10, 0
1:  lwzx    %r0, %r9, %r10
    lwz     %r12, 0(%r11)
    addi    %r10, %r10, 4
    addi    %r11, %r11, 4
    cmpw    %r0, %r12
    beq     2f
    or      %r8, %r8, %r7
2:  bdnz    1b
    blr

/* The BARE call sites: cr is what abi_call made it; r11 is given a value; and what lies below the stack pointer is
 * filled, as if it were in use, where the ABI lets a function use it. */
    .section .sites, "ax"
    .irp n, INT_NUMBERS
    .balign 16
    function bare_\n
    mflr    %r0
    STORE   %r0, LINK_SAVE(%r1)
    PUSH    %r1, -16 * WORD(%r1)
    address %r12, 1f
    lis     %r11, abi_bare@ha
    STORE   %r12, abi_bare@l(%r11)
    li      %r11, BARE_HIDDEN
#ifdef __powerpc64__
    .set    offset, -RED_ZONE
    .rept   RED_ZONE / 8
    std     %r11, offset(%r1)
    .set    offset, offset + 8
    .endr
#endif
#ifdef CONTROL_RELIES_ON_SCRATCH
    li      %r10, 1
    bl      whatever_\n
1:  add     %r3, %r3, %r10          /* nobody promised that r10 is still 1 */
    addi    %r3, %r3, -1
#else
    bl      whatever_\n
1:
#endif
    addi    %r1, %r1, 16 * WORD
    LOAD    %r0, LINK_SAVE(%r1)
    mtlr    %r0
    blr
    .endr
    .text

/* void abi_scrub(void): junk in every register that is not callee-saved, but r0, lr and ctr, which a return needs or
 * nobody trusts, and r2. */
    function abi_scrub
    address %r11, abi_kept
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13
    lfd     %f\n, 8 * \n(%r11)
    .endr
    lis     %r3, 0x8e6b
    .irp n, 4, 5, 6, 7, 8, 9, 10, 11, 12
    mr      %r\n, %r3
    .endr
#ifdef CONTROL_TOC_NOT_RESTORED
    li      %r2, 0
#endif
    blr

/* The targets.  An entry names itself in r0 and goes on at target_entry; only r0, ctr and, once they are recorded, r11
 * and r12 are written, so the body gets every argument, cr, the return address, r2 and the stack as the caller left
 * them.  Before each lie zeros, which are no instruction: who jumps short of one is found out. */
.macro pad
    .skip   ARCH_ENTRY_INSTRUCTION
    .balign 16, 0
.endm

    .irp n, FUNCTION_NUMBERS
    pad
    function default_\n
    li      %r0, NAMED | \n << 8 | TARGET_DEFAULT
    b       target_entry
    pad
    function fast_\n
    li      %r0, NAMED | \n << 8 | TARGET_FAST
    b       target_entry
    pad
    function other_\n
    li      %r0, NAMED | \n << 8 | TARGET_OTHER
    b       target_entry
    .endr

/* Linked out of every near branch's reach, so they come back through a register. */
    .section .far, "ax"
    .irp n, FUNCTION_NUMBERS
    pad
    function far_\n
    lis     %r0, target_entry@h
    ori     %r0, %r0, target_entry@l
    mtctr   %r0
    li      %r0, NAMED | \n << 8 | TARGET_FAR
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
#ifdef CONTROL_CLOBBER_FLOAT
    fmr     %f20, %f21
#endif
#ifdef CONTROL_CLOBBER_VECTOR
    vxor    %v22, %v22, %v22
#endif
#ifdef CONTROL_CLOBBER_FLAGS
    crclr   0                       /* of cr0 */
#endif
#ifdef CONTROL_CLOBBER_KEPT_FLAGS
    crnot   8, 8                    /* of cr2 */
#endif
#ifdef CONTROL_CLOBBER_VARIADIC_COUNT
    crclr   6                       /* of cr1: doubles are in registers */
#endif
#ifdef CONTROL_CLOBBER_STATIC_CHAIN
    li      %r11, 0
#endif
#ifdef CONTROL_CLOBBER_STRUCT_POINTER
    address %r3, abi_scratch
#endif
#ifdef CONTROL_CLOBBER_FLOAT_ARGUMENT
    fmr     %f2, %f1
#endif
#ifdef CONTROL_CLOBBER_STACK_ARGUMENT
    li      %r11, 0
    STORE   %r11, STACK_ARGUMENT(%r1)
#endif
#ifdef CONTROL_NARROW_NOT_EXTENDED
    rlwinm  %r3, %r3, 0, 24, 31
#endif
#ifdef CONTROL_OVERWRITE_RED_ZONE
    std     %r0, -64(%r1)
#endif
#ifdef CONTROL_CLOBBER_TOC
    li      %r2, 0
#endif
#ifdef CONTROL_CLOBBER_ENTRY_REGISTER
    li      %r12, 0
#endif
#ifdef CONTROL_WRONG_RETURN_ADDRESS
    mtctr   %r0
    lis     %r12, abi_scratch@ha
    mflr    %r0
    STORE   %r0, abi_scratch@l(%r12)
    address %r12, return_here
    mtlr    %r12
    mfctr   %r0
#endif
#ifdef CONTROL_LEAK_STACK
    andi.   %r12, %r0, 0x1f00
    bne     1f                      /* of function 0 alone, whose call sites live with it */
    addi    %r1, %r1, -16
1:
#endif
    mtctr   %r12
    address %r12, abi_entry
    STORE   %r11, 11 * WORD(%r12)
    mfctr   %r11
    STORE   %r11, 15 * WORD(%r12)
    mfcr    %r11
    STORE   %r11, 10 * WORD(%r12)
#ifdef __powerpc64__
    address %r11, .TOC.
    subf    %r11, %r11, %r2
    std     %r11, 14 * WORD(%r12)   /* 0: r2 is what it is everywhere in this guest */
#endif
    .irp n, 3, 4, 5, 6, 7, 8, 9, 10
    STORE   %r\n, (\n - 3) * WORD(%r12)
    .endr
#ifdef CONTROL_MISALIGN_STACK
    addi    %r1, %r1, -8
    STORE   %r1, 8 * WORD(%r12)
    addi    %r1, %r1, 8
#else
    STORE   %r1, 8 * WORD(%r12)
#endif
    mflr    %r11
    STORE   %r11, 9 * WORD(%r12)
#ifdef __powerpc64__
    lis     %r11, abi_bare@ha
    ld      %r11, abi_bare@l(%r11)
    cmpdi   %cr7, %r11, 0           /* cr7 is the callee's; bit 6, in cr1, may be an argument */
    beq     %cr7, 3f
    li      %r11, -RED_ZONE
1:  ldx     %r12, %r1, %r11
    cmpldi  %cr7, %r12, BARE_HIDDEN
    bne     %cr7, 2f
    addi    %r11, %r11, 8
    cmpdi   %cr7, %r11, 0
    bne     %cr7, 1b
2:  address %r12, abi_entry
    std     %r11, 13 * WORD(%r12)   /* 0: all of it is intact */
3:
#endif
    xori    %r11, %r0, NAMED
    stw     %r11, 16 * WORD(%r12)
    /* bits 8 and up, times WORD: a target that did not name itself still finds a body */
    rlwinm  %r11, %r11, 24 + WORD_SHIFT, 32 - FUNCTION_BITS - WORD_SHIFT, 31 - WORD_SHIFT
    lis     %r12, target_bodies@ha
    add     %r12, %r12, %r11
    LOAD    %r11, target_bodies@l(%r12)
    code    %r12, %r11
    mtctr   %r12
    bctr

#ifdef CONTROL_WRONG_RETURN_ADDRESS
return_here:
    lis     %r12, abi_scratch@ha
    LOAD    %r12, abi_scratch@l(%r12)
    mtlr    %r12
    blr
#endif

/* NULL and RET0 lead here. */
    pad
    function return_void
    blr
    pad
    function return_zero
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
    .globl abi_entry, abi_frame, abi_bare
abi_entry:
    .skip   17 * WORD
    .balign 8
abi_frame:
    .skip   8
abi_bare:
    .skip   8
abi_scratch:
    .skip   32
    .balign 16
abi_seen:
    .skip   192

/* What the callee-saved registers hold: f14-f31, then v20-v31; each word another number. */
    .section .rodata
    .balign 16
abi_kept:
    .set    i, 0
    .rept   (144 + 192) / 4
    .long   0x5e470000 + i
    .set    i, i + 1
    .endr
