/* parisc: what can only be observed of a call in asm.  Register roles: 32-bit PA-RISC Run-time Architecture Document,
 * "Register Usage"; PA-RISC Linux Register Conventions. */
#include "arch.h"
#include "wire.h"

#define SENTINEL -0x1e47
#define NAMED 0x6000                /* marks a target's name: what a register holds by chance is no name */
#define NAME(n, target) NAMED | (n) << 8 | (target) /* as ldil makes it, 11 bits to the left */

/* abi_call's frame: r3-r18, four words of its own, fr12-fr21; then what every frame has, with eight arguments. */
#define ABI_FRAME 256
#define SAVED(n) (4 * ((n) - 3) - ABI_FRAME)
#define RESULT (64 - ABI_FRAME)
#define OUTER (68 - ABI_FRAME)
#define FLOATS (80 - ABI_FRAME)

/* Where a callee finds or keeps what is not in a register, below the stack pointer. */
#define LINK -20
#define STACK_ARGUMENT -52          /* the fifth; the others follow, each below the one before */

/* void abi_call(function r26, arguments r25, result r24)
 *
 * Loads r26-r23 and four words of stack from arguments and calls function with a sentinel in each of r3-r18 and
 * fr12-fr21, with the carry bit set, and with a number in the shift amount register.  Nothing may be trusted to survive
 * the call, not even r30 and r27, so the frame is found again through abi_frame, which also chains nested calls. */
    .text
    .globl abi_call
    .type abi_call, @function
abi_call:
    stw     %r2, LINK(%r30)
    ldo     ABI_FRAME(%r30), %r30
    .irp n, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18
    stw     %r\n, SAVED(\n)(%r30)
    ldi     SENTINEL + \n, %r\n
    .endr
    stw     %r24, RESULT(%r30)
    ldil    L%abi_frame, %r1
    ldw     R%abi_frame(%r1), %r20
    stw     %r20, OUTER(%r30)
    stw     %r30, R%abi_frame(%r1)
    ldo     FLOATS(%r30), %r1
    address %r20, abi_kept
    .irp n, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21
    fstds,ma %fr\n, 8(%r1)
    fldds,ma 8(%r20), %fr\n
    .endr
    copy    %r26, %r22
    copy    %r25, %r21
    .irp n, 4, 5, 6, 7
    ldw     4 * \n(%r21), %r20
    stw     %r20, STACK_ARGUMENT + 16 - 4 * \n(%r30)
    .endr
    ldw     0(%r21), %r26
    ldw     4(%r21), %r25
    ldw     8(%r21), %r24
    ldw     12(%r21), %r23
    ldi     ARCH_BARE_FLAGS >> 1, %r20
    mtctl   %r20, %cr11
    ldi     -1, %r20
    add     %r20, %r20, %r0         /* a carry */
    ble     0(%sr4, %r22)
    copy    %r31, %r2

    ldil    L%abi_frame, %r1
    ldw     R%abi_frame(%r1), %r20
    sub     %r30, %r20, %r21        /* stack delta */
    copy    %r20, %r30
    ldw     OUTER(%r30), %r20
    stw     %r20, R%abi_frame(%r1)
    ldw     RESULT(%r30), %r22
    stw     %r28, 0(%r22)           /* result->value */
    stw     %r29, 4(%r22)
    stw     %r21, 8(%r22)           /* result->stack */
    ldi     0, %r23
    .irp n, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18
    ldo     -(SENTINEL + \n)(%r\n), %r20
    comiclr,= 0, %r20, %r0          /* skips the next */
    depi    1, 31 - (\n - 3), 1, %r23
    ldw     SAVED(\n)(%r30), %r\n
    .endr
    address %r20, $global$
    comclr,= %r20, %r27, %r0
    depi    1, 31 - VIOLATION_TOC, 1, %r23
    copy    %r20, %r27
    ldo     FLOATS(%r30), %r1
    address %r20, abi_seen
    .irp n, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21
    fstds,ma %fr\n, 8(%r20)
    fldds,ma 8(%r1), %fr\n
    .endr
    address %r21, abi_seen
    address %r20, abi_kept
    ldi     20, %r1
1:  ldws,ma 4(%r20), %r19
    ldws,ma 4(%r21), %r31
    comclr,= %r19, %r31, %r0
    depi    1, 31 - VIOLATION_KEPT_FLOATS, 1, %r23
    addib,> -1, %r1, 1b
    nop
    stw     %r23, 12(%r22)          /* result->clobbered */
    ldw     LINK - ABI_FRAME(%r30), %r2
    bv      %r0(%r2)
    ldo     -ABI_FRAME(%r30), %r30

/* Behind the call of a BARE site: it makes the argument what it is. */
#ifdef CONTROL_NOP_DELAY_SLOT
#define DELAY_SLOT nop
#else
#define DELAY_SLOT ldo 1(%r26), %r26
#endif

/* The BARE call sites: carry and shift amount are what abi_call made them; r28, where the address of a struct result
 * would be, and r29, the static chain, are given values.  Nothing here writes the carry bit. */
    .section .sites, "ax"
    .irp n, INT_NUMBERS
    .balign 16
    .globl bare_\n
    .type bare_\n, @function
bare_\n:
    stw     %r2, LINK(%r30)
    ldo     FRAME(%r30), %r30
    address %r1, .Lreturn_\n
    ldil    L%abi_bare, %r20
    stw     %r1, R%abi_bare(%r20)
    ldi     BARE_HIDDEN, %r28
    ldi     BARE_HIDDEN + 1, %r29
    ldo     -1(%r26), %r26
#ifdef CONTROL_RELIES_ON_SCRATCH
    ldi     1, %r20
    bl      whatever_\n, %r2
    DELAY_SLOT
.Lreturn_\n:
    addl    %r28, %r20, %r28        /* nobody promised that r20 is still 1 */
    ldo     -1(%r28), %r28
#else
    bl      whatever_\n, %r2
    DELAY_SLOT
.Lreturn_\n:
#endif
    ldw     LINK - FRAME(%r30), %r2
    bv      %r0(%r2)
    ldo     -FRAME(%r30), %r30
    .endr

/* void abi_scrub(void): junk in every register that is not callee-saved, but r2, which a return needs. */
    .text
    .globl abi_scrub
    .type abi_scrub, @function
abi_scrub:
    address %r1, abi_kept
    .irp n, 4, 5, 6, 7, 8, 9, 10, 11, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    fldds   0(%r1), %fr\n
    .endr
    address %r1, 0x8e6b6a75
    .irp n, 19, 20, 21, 22, 23, 24, 25, 26, 28, 29, 31
    copy    %r1, %r\n
    .endr
    mtctl   %r1, %cr11
#ifdef CONTROL_TOC_NOT_RESTORED
    ldi     0, %r27
#endif
    bv,n    %r0(%r2)

/* The targets.  An entry names itself in r20 and goes on at target_entry; only r1, r19, r20, r21 and, once it is
 * recorded, the carry bit are written, so the body gets every argument, the return address, r27 and the stack as the
 * caller left them.  Before each lie zeros, which are `break`: who jumps short of one is found out. */
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
    ldil    NAME(\n, TARGET_DEFAULT), %r20
    b,n     target_entry
    pad
fast_\n:
    ldil    NAME(\n, TARGET_FAST), %r20
    b,n     target_entry
    pad
other_\n:
    ldil    NAME(\n, TARGET_OTHER), %r20
    b,n     target_entry
    .endr

/* Linked out of every near branch's reach, so they come back through a register. */
    .section .far, "ax"
    .irp n, FUNCTION_NUMBERS
    pad
    .globl far_\n
    .type far_\n, @function
far_\n:
    ldil    NAME(\n, TARGET_FAR), %r20
    address %r1, target_entry
    bv,n    %r0(%r1)
    .endr

    .text
    .balign 16
target_entry:
#ifdef CONTROL_CLOBBER_ARGUMENT
    ldi     0, %r23
#endif
#ifdef CONTROL_CLOBBER_SAVED
    ldi     0, %r8
#endif
#ifdef CONTROL_CLOBBER_FLOAT
    fcpy,dbl %fr14, %fr13
#endif
#ifdef CONTROL_CLOBBER_FLAGS
    add     %r0, %r0, %r0           /* no carry */
#endif
#ifdef CONTROL_CLOBBER_STATIC_CHAIN
    ldi     0, %r29
#endif
#ifdef CONTROL_CLOBBER_STRUCT_POINTER
    address %r28, abi_scratch
#endif
#ifdef CONTROL_CLOBBER_FLOAT_ARGUMENT
    fcpy,dbl %fr5, %fr7
#endif
#ifdef CONTROL_CLOBBER_STACK_ARGUMENT
    stw     %r0, STACK_ARGUMENT(%r30)
#endif
#ifdef CONTROL_NARROW_NOT_EXTENDED
    extru   %r26, 31, 8, %r26
#endif
#ifdef CONTROL_CLOBBER_TOC
    ldi     0, %r27
#endif
#ifdef CONTROL_WRONG_RETURN_ADDRESS
    ldil    L%abi_scratch, %r1
    stw     %r2, R%abi_scratch(%r1)
    address %r2, return_here
#endif
    extru   %r20, 20, 21, %r20
#ifdef CONTROL_LEAK_STACK
    extru   %r20, 23, 5, %r1
    comib,<>,n 0, %r1, 1f           /* of function 0 alone */
    ldo     64(%r30), %r30
1:
#endif
    address %r1, abi_entry
    addc    %r0, %r0, %r19          /* the carry */
    mfctl   %cr11, %r21
    sh1addl %r21, %r19, %r19
    stw     %r19, 24(%r1)
    stw     %r26, 0(%r1)
    stw     %r25, 4(%r1)
    stw     %r24, 8(%r1)
    stw     %r23, 12(%r1)
#ifdef CONTROL_MISALIGN_STACK
    ldo     8(%r30), %r30
    stw     %r30, 16(%r1)
    ldo     -8(%r30), %r30
#else
    stw     %r30, 16(%r1)
#endif
    copy    %r2, %r19
    depi    0, 31, 2, %r19          /* of a return address, the privilege level */
    stw     %r19, 20(%r1)
    stw     %r28, 28(%r1)
    stw     %r29, 32(%r1)
    address %r19, $global$
    sub     %r27, %r19, %r19
    stw     %r19, 40(%r1)           /* 0: r27 is what it is everywhere in this guest */
    address %r19, NAMED
    xor     %r20, %r19, %r20
    stw     %r20, 48(%r1)
    extru   %r20, 31 - 8, FUNCTION_BITS, %r20 /* a target that did not name itself still finds a body */
    address %r1, target_bodies
    ldwx,s  %r20(%r1), %r1
    bv,n    %r0(%r1)

#ifdef CONTROL_WRONG_RETURN_ADDRESS
return_here:
    ldil    L%abi_scratch, %r1
    ldw     R%abi_scratch(%r1), %r2
    bv,n    %r0(%r2)
#endif

/* NULL and RET0 lead here. */
    pad
    .globl return_void
    .type return_void, @function
return_void:
    bv,n    %r0(%r2)
    pad
    .globl return_zero
    .type return_zero, @function
return_zero:
#ifdef CONTROL_RET0_MINUS_ONE
    ldi     -1, %r28
    bv      %r0(%r2)
    ldi     -1, %r29
#else
    ldi     0, %r28
    bv      %r0(%r2)
    ldi     0, %r29                 /* the other half of a result of 64 bits */
#endif

    .bss
    .balign 16
    .globl abi_entry, abi_frame, abi_bare
abi_entry:
    .skip   52
abi_frame:
    .skip   4
abi_bare:
    .skip   4
abi_scratch:
    .skip   32
    .balign 8
abi_seen:
    .skip   80

/* What the callee-saved registers hold, fr12-fr21: each word another number. */
    .section .rodata
    .balign 8
abi_kept:
    i = 0
    .rept   80 / 4
    .word   0x5e470000 + i
    i = i + 1
    .endr
