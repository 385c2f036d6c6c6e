/* sh: what can only be observed of a call in asm.  Register roles: as GCC has them for SH-4 (gcc/config/sh/sh.h). */
#include "arch.h"
#include "wire.h"

#define ILLEGAL 0xfffd
#define NAMED 0x6000                /* marks a target's name: what a register holds by chance is no name */

/* Where abi_entry (guest.h) has what an entry records. */
#define ENTRY_STACK 16
#define ENTRY_RETURN 20
#define ENTRY_FLAGS 24
#define ENTRY_HIDDEN 28
#define ENTRY_TARGET 48

/* void abi_call(function r4, arguments r5, result r6)
 *
 * Loads r4-r7 and four words of stack from arguments and calls function with a sentinel in each of r8-r14 and
 * fr12-fr15, and T set.  PR, SZ and FR of fpscr must survive.  Nothing may be trusted to survive the call, not even
 * r15, so the frame is found again through abi_frame, which also chains nested calls. */
    .text
    .balign 4
    .globl abi_call
    .type abi_call, %function
abi_call:
    .irp n, 8, 9, 10, 11, 12, 13, 14
    mov.l   r\n, @-r15
    .endr
    sts.l   pr, @-r15
    .irp n, 12, 13, 14, 15
    fmov.s  fr\n, @-r15
    .endr
    sts.l   fpscr, @-r15
    mov.l   r6, @-r15               /* result */
    mov.l   .Lframe, r0
    mov.l   @r0, r1
    mov.l   r1, @-r15               /* outer frame */
    mov.l   r15, @r0
    add     #-16, r15
    .irp i, 0, 4, 8, 12
    mov.l   @(16 + \i, r5), r0
    mov.l   r0, @(\i, r15)
    .endr
    mov     r4, r1
    mov     r5, r0
    mov.l   .Lsentinel, r8
    mov     r8, r9
    add     #1, r9
    mov     r8, r10
    add     #2, r10
    mov     r8, r11
    add     #3, r11
    mov     r8, r12
    add     #4, r12
    mov     r8, r13
    add     #5, r13
    mov     r8, r14
    add     #6, r14
    mov     r8, r2
    .irp n, 12, 13, 14, 15
    add     #-1, r2
    lds     r2, fpul
    fsts    fpul, fr\n
    .endr
    mov.l   @(0, r0), r4
    mov.l   @(4, r0), r5
    mov.l   @(8, r0), r6
    mov.l   @(12, r0), r7
    sett
    jsr     @r1
    nop

    mov.l   .Lframe, r2
    mov.l   @r2, r3
    mov     r15, r4
    add     #16, r4                 /* as it is without the four words */
    sub     r3, r4                  /* stack delta */
    mov     r3, r15
    mov.l   @r15+, r5
    mov.l   r5, @r2
    mov.l   @r15+, r5
    mov.l   r0, @r5                 /* result->value */
    mov.l   r1, @(4, r5)
    mov.l   r4, @(8, r5)            /* result->stack */
    mov     #0, r0
    mov.l   .Lsentinel, r3
    add     #6, r3
    .irp n, 14, 13, 12, 11, 10, 9, 8
    cmp/eq  r3, r\n
    rotcl   r0                      /* bit i of r0: the i-th is intact */
    add     #-1, r3
    .endr
    xor     #0x7f, r0
    sts     fpscr, r1
    mov.l   @r15+, r2
    lds     r2, fpscr
    xor     r2, r1
    mov.l   .Lfpscr_kept, r2
    tst     r2, r1
    bt      1f
    mov.l   .Lkept_flags, r2
    or      r2, r0
1:  mov.l   .Lkept_floats, r2
    .irp n, 12, 13, 14, 15          /* r3 is where the loop above left it, one below the first */
    flds    fr\n, fpul
    sts     fpul, r1
    cmp/eq  r3, r1
    bt      1f
    or      r2, r0
1:  add     #-1, r3
    .endr
    mov.l   r0, @(12, r5)           /* result->clobbered */
    .irp n, 15, 14, 13, 12
    fmov.s  @r15+, fr\n
    .endr
    lds.l   @r15+, pr
    .irp n, 14, 13, 12, 11, 10, 9
    mov.l   @r15+, r\n
    .endr
    rts
    mov.l   @r15+, r8
    .balign 4
.Lframe:
    .long   abi_frame
.Lsentinel:
    .long   -0x5e47
.Lfpscr_kept:
    .long   FPSCR_KEPT
.Lkept_flags:
    .long   1 << VIOLATION_KEPT_FLAGS
.Lkept_floats:
    .long   1 << VIOLATION_KEPT_FLOATS

/* Behind the call of a BARE site: it makes the argument what it is. */
#ifdef CONTROL_NOP_DELAY_SLOT
#define DELAY_SLOT nop
#else
#define DELAY_SLOT add #1, r4
#endif

/* The BARE call sites: T is what abi_call made it; r2 and r3 are given values. */
    .section .sites, "ax"
    .irp n, INT_NUMBERS
    .balign 4
    .globl bare_\n
    .type bare_\n, %function
bare_\n:
    sts.l   pr, @-r15
    mov.l   2f, r0
    mov.l   3f, r1
    mov.l   r0, @r1
    mov.l   4f, r0
    mov.w   5f, r2
    mov     r2, r3
    add     #1, r3
    add     #-1, r4
#ifdef CONTROL_RELIES_ON_SCRATCH
    mov     #1, r1
    jsr     @r0
    DELAY_SLOT
1:  add     r1, r0                  /* nobody promised that r1 is still 1 */
    add     #-1, r0
#else
    jsr     @r0
    DELAY_SLOT
1:
#endif
    lds.l   @r15+, pr
    rts
    nop
5:  .word   BARE_HIDDEN
    .balign 4
2:  .long   1b
3:  .long   abi_bare
4:  .long   whatever_\n
    .endr
    .text

/* void abi_scrub(void): junk in every register that is not callee-saved, but the return address. */
    .balign 4
    .globl abi_scrub
    .type abi_scrub, %function
abi_scrub:
    mov.l   1f, r0
    .irp n, 1, 2, 3, 4, 5, 6, 7
    mov     r0, r\n
    .endr
    lds     r0, macl
    lds     r0, mach
    lds     r0, fpul
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
    fsts    fpul, fr\n
    .endr
    rts
    clrt
    .balign 4
1:  .long   0x8e6b6a75

/* The targets.  An entry names itself in r1 and goes on at target_entry; only r0 and r1, and the stack below r15, are
 * written, so the body gets every argument, r2, r3, fpscr, the return address and the stack as the caller left them.
 * Before each lie illegal instructions: who jumps short of one is found out. */
.macro pad
    .word   ILLEGAL
    .balignw 4, ILLEGAL
.endm

.macro target name, number, n
    pad
    .globl \name\()_\n
    .type \name\()_\n, %function
\name\()_\n:
    mov.w   1f, r1
    bra     target_entry
    nop
1:  .word   NAMED | \n << 8 | \number
.endm
    .irp n, FUNCTION_NUMBERS
    target  default, TARGET_DEFAULT, \n
    target  fast, TARGET_FAST, \n
    target  other, TARGET_OTHER, \n
    .endr

    .section .far, "ax"
    .irp n, FUNCTION_NUMBERS
    pad
    .globl far_\n
    .type far_\n, %function
far_\n:
    mov.w   1f, r1
    mov.l   2f, r0
    jmp     @r0
    nop
1:  .word   NAMED | \n << 8 | TARGET_FAR
    .balign 4
2:  .long   target_entry
    .endr

    .text
    .balign 4
target_entry:
#ifdef CONTROL_CLOBBER_ARGUMENT
    mov     #0, r6
#endif
#ifdef CONTROL_CLOBBER_SAVED
    mov     #0, r10
#endif
#ifdef CONTROL_CLOBBER_FLOAT
    mov     #0, r0
    lds     r0, fpul
    fsts    fpul, fr13
#endif
#ifdef CONTROL_CLOBBER_FLAGS
    clrt
#endif
#ifdef CONTROL_CLOBBER_KEPT_FLAGS
    mov.l   .Lpr, r0
    mov.l   r1, @-r15
    sts     fpscr, r1
    xor     r1, r0
    lds     r0, fpscr
    mov.l   @r15+, r1
#endif
#ifdef CONTROL_CLOBBER_STATIC_CHAIN
    mov     #0, r3
#endif
#ifdef CONTROL_CLOBBER_STRUCT_POINTER
    mov.l   .Lscratch, r2
#endif
#ifdef CONTROL_CLOBBER_FLOAT_ARGUMENT
    mov     #0, r0
    lds     r0, fpul
    fsts    fpul, fr6
#endif
#ifdef CONTROL_CLOBBER_STACK_ARGUMENT
    mov     #0, r0
    mov.l   r0, @r15
#endif
#ifdef CONTROL_NARROW_NOT_EXTENDED
    extu.b  r4, r4
#endif
#ifdef CONTROL_WRONG_RETURN_ADDRESS
    mov.l   r1, @-r15
    mov.l   .Lscratch, r0
    sts     pr, r1
    mov.l   r1, @r0
    mov.l   .Lreturn_here, r0
    lds     r0, pr
    mov.l   @r15+, r1
#endif
#ifdef CONTROL_LEAK_STACK
    mov     r1, r0
    shlr8   r0
    tst     #0x1f, r0
    bf      1f                      /* of function 0 alone, whose call sites live with it */
    add     #-16, r15
1:
#endif
    movt    r0
    mov.l   r0, @-r15               /* there is no red zone */
    mov.l   .Lentry, r0
    mov.l   r4, @(0, r0)
    mov.l   r5, @(4, r0)
    mov.l   r6, @(8, r0)
    mov.l   r7, @(12, r0)
    mov.l   r2, @(ENTRY_HIDDEN, r0)
    mov.l   r3, @(ENTRY_HIDDEN + 4, r0)
    sts     fpscr, r2               /* these are put back below */
    mov.l   .Lkept, r3
    and     r3, r2
    mov.l   @r15+, r3
    or      r3, r2
    mov.l   r2, @(ENTRY_FLAGS, r0)
    sts     pr, r2
    mov.l   r2, @(ENTRY_RETURN, r0)
#ifdef CONTROL_MISALIGN_STACK
    mov     r15, r2
    add     #-ARCH_STACK_ALIGNMENT / 2, r2
    mov.l   r2, @(ENTRY_STACK, r0)
#else
    mov.l   r15, @(ENTRY_STACK, r0)
#endif
    mov.l   .Lnamed, r2
    xor     r2, r1
    mov.l   r1, @(ENTRY_TARGET, r0)
    shlr8   r1
    mov     #(1 << FUNCTION_BITS) - 1, r2 /* a target that did not name itself still finds a body */
    and     r2, r1
    shll2   r1
    mov.l   .Lbodies, r2
    add     r2, r1
    mov.l   @r1, r1
    mov.l   @(ENTRY_HIDDEN, r0), r2
    jmp     @r1
    mov.l   @(ENTRY_HIDDEN + 4, r0), r3

#ifdef CONTROL_WRONG_RETURN_ADDRESS
    .balign 4
return_here:
    mov.l   .Lscratch, r3
    mov.l   @r3, r3
    lds     r3, pr
    rts
    nop
#endif

    .balign 4
.Lentry:
    .long   abi_entry
.Lkept:
    .long   FPSCR_KEPT
.Lnamed:
    .long   NAMED
.Lbodies:
    .long   target_bodies
#ifdef CONTROL_CLOBBER_KEPT_FLAGS
.Lpr:
    .long   FPSCR_PR
#endif
#if defined(CONTROL_CLOBBER_STRUCT_POINTER) || defined(CONTROL_WRONG_RETURN_ADDRESS)
.Lscratch:
    .long   abi_scratch
#endif
#ifdef CONTROL_WRONG_RETURN_ADDRESS
.Lreturn_here:
    .long   return_here
#endif

/* NULL and RET0 lead here. */
    pad
    .globl return_void
    .type return_void, %function
return_void:
    rts
    nop
    pad
    .globl return_zero
    .type return_zero, %function
return_zero:
#ifdef CONTROL_RET0_MINUS_ONE
    mov     #-1, r0
    rts
    mov     #-1, r1
#else
    mov     #0, r0
    rts
    mov     #0, r1                  /* the other half of a result of 64 bits */
#endif

    .bss
    .balign 16
    .globl abi_entry, abi_frame, abi_bare
abi_entry:
    .skip   64
abi_frame:
    .skip   8
abi_bare:
    .skip   8
abi_scratch:
    .skip   32
