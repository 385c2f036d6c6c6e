/* arm: what can only be observed of a call in asm.  Register roles: AAPCS32, section 6.1. */
#include "arch.h"
#include "wire.h"

    .fpu    neon                    /* so that d16-d31 exist */

#define SENTINEL 0x5e47
#define NAMED 0x6000                /* marks a target's name: what a register holds by chance is no name */

/* abi_call's frame, from sp: four words of arguments, two words of its own, d8-d15, and what it pushed: r4-r11, lr. */
#define RESULT 16
#define OUTER 20
#define FLOATS 24
#define FRAME 92                    /* with what was pushed, a multiple of 8 */

/* struct abi_entry (guest.h) */
#define ENTRY_STACK 16
#define ENTRY_RETURN_ADDRESS 20
#define ENTRY_FLAGS 24
#define ENTRY_HIDDEN 28
#define ENTRY_TARGET 48
#define ENTRY_SIZE 52

/* void abi_call(function r0, arguments r1, result r2)
 *
 * Loads r0-r3 and four words of stack from arguments and calls function with a sentinel in each of r4-r11 and d8-d15
 * (AAPCS32, 6.1.1, 6.1.2.1), and with every flag set.  Nothing may be trusted to survive the call, not even sp, so the
 * frame is found again through abi_frame, which also chains nested calls. */
    .text
    .globl abi_call
    .type abi_call, %function
abi_call:
    push    {r4-r11, lr}
    sub     sp, sp, #FRAME
    address r4, abi_frame
    ldr     r5, [r4]
    mov     r6, sp
    str     r6, [r4]
    str     r2, [sp, #RESULT]
    str     r5, [sp, #OUTER]
    add     r4, sp, #FLOATS
    vstmia  r4, {d8-d15}
    .irp n, 8, 9, 10, 11, 12, 13, 14, 15
    movw    r4, #(SENTINEL + \n)
    vmov    d\n, r4, r4
    .endr
    mov     ip, r0
    mov     lr, r1
    add     r4, lr, #16
    ldmia   r4, {r5-r8}
    stmia   sp, {r5-r8}
    .irp n, 4, 5, 6, 7, 8, 9, 10, 11
    movw    r\n, #(SENTINEL + \n)
    .endr
    ldr     r0, =ARCH_BARE_FLAGS
    msr     apsr_nzcvq, r0
    ldmia   lr, {r0-r3}
    blx     ip

    address r3, abi_frame
    ldr     ip, [r3]
    mov     r2, sp
    mov     sp, ip
    sub     r2, r2, ip              /* stack delta */
    ldr     ip, [sp, #OUTER]
    str     ip, [r3]
    mov     r3, #0
    .irp n, 4, 5, 6, 7, 8, 9, 10, 11
    movw    ip, #(SENTINEL + \n)
    cmp     r\n, ip
    it      ne
    orrne   r3, r3, #(1 << (\n - 4))
    .endr
    .irp n, 8, 9, 10, 11, 12, 13, 14, 15
    vmov    r4, r5, d\n
    movw    ip, #(SENTINEL + \n)
    cmp     r4, ip
    it      eq
    cmpeq   r5, ip
    it      ne
    orrne   r3, r3, #(1 << VIOLATION_KEPT_FLOATS)
    .endr
    ldr     ip, [sp, #RESULT]
    stmia   ip, {r0-r3}             /* result->value, stack, clobbered */
    add     r4, sp, #FLOATS
    vldmia  r4, {d8-d15}
    add     sp, sp, #FRAME
    pop     {r4-r11, pc}
    .ltorg

/* The BARE call sites: the flags are those that abi_call set; ip is given a value. */
    .section .sites, "ax"
    .irp n, INT_NUMBERS
    .balign 16
    .globl bare_\n
    .type bare_\n, %function
bare_\n:
    push    {r3, lr}                /* two words, for the alignment */
    WIDE(adr) ip, 1f
    orr     ip, ip, #ARCH_FUNCTION_BIAS
    address r3, abi_bare
    str     ip, [r3]
    movw    ip, #BARE_HIDDEN
#ifdef CONTROL_RELIES_ON_SCRATCH
    mov     r3, #1
    .balign 4
    bl      whatever_\n
1:  add     r0, r0, r3              /* nobody promised that r3 is still 1 */
    sub     r0, r0, #1
#else
    .balign 4                       /* one word, also of two halfwords: so that it can be redirected */
    bl      whatever_\n
1:
#endif
    pop     {r3, pc}

/* The CONDITIONAL call sites: a branch to the function, whose return goes to the caller. */
    .balign 4
    .globl conditional_\n
    .type conditional_\n, %function
conditional_\n:
    tst     r0, #1                  /* four bytes in Thumb, too */
    WIDE(bne) whatever_\n
    bx      lr
    .endr
    .text

/* void abi_scrub(void): junk in every register that is not callee-saved, but lr, which the return needs. */
    .globl abi_scrub
    .type abi_scrub, %function
abi_scrub:
    address r0, 0x8e6b6a75
    .irp n, 1, 2, 3, 12
    mov     r\n, r0
    .endr
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    vmov    d\n, r0, r0
    .endr
    bx      lr

/* The targets.  An entry pushes ip, the only register that a callee may write at once, names itself in it, and goes on
 * at target_entry; that gives the stack back, so the body gets every argument, the return address and the stack as the
 * caller left them.  Before each lie some `udf`: who jumps short of one is found out. */
.macro pad
    .balign 16
    .rept   4
    WIDE(udf) #0
    .endr
.endm

    .irp n, FUNCTION_NUMBERS
    pad
    .globl default_\n, fast_\n, other_\n
    .type default_\n, %function
    .type fast_\n, %function
    .type other_\n, %function
default_\n:
    str     ip, [sp, #-4]!
    movw    ip, #(NAMED | \n << 8 | TARGET_DEFAULT)
    b       target_entry
    pad
fast_\n:
    str     ip, [sp, #-4]!
    movw    ip, #(NAMED | \n << 8 | TARGET_FAST)
    b       target_entry
    pad
other_\n:
    str     ip, [sp, #-4]!
    movw    ip, #(NAMED | \n << 8 | TARGET_OTHER)
    b       target_entry
    .endr

/* Linked out of every near branch's reach, so they come back through a pointer. */
    .section .far, "ax"
    .irp n, FUNCTION_NUMBERS
    pad
    .globl far_\n
    .type far_\n, %function
far_\n:
    str     ip, [sp, #-4]!
    movw    ip, #(NAMED | \n << 8 | TARGET_FAR)
    ldr     pc, 1f
    .balign 4
1:  .word   target_entry
    .endr

    .text
    .balign 16
    .type target_entry, %function
target_entry:                       /* sp: ip as the caller left it; the first argument on the stack is behind that */
#ifdef CONTROL_CLOBBER_ARGUMENT
    mov     r3, #0
#endif
#ifdef CONTROL_CLOBBER_SAVED
    mov     r8, #0
#endif
#ifdef CONTROL_CLOBBER_FLOAT
    vmov.f64 d9, d8
#endif
#ifdef CONTROL_CLOBBER_FLAGS
    cmp     r0, r0                  /* N and V clear */
#endif
#ifdef CONTROL_CLOBBER_STATIC_CHAIN
    str     lr, [sp]
#endif
#ifdef CONTROL_CLOBBER_STRUCT_POINTER
    address r0, abi_scratch
#endif
#ifdef CONTROL_CLOBBER_FLOAT_ARGUMENT
    vmov.f64 d1, d0
#endif
#ifdef CONTROL_CLOBBER_STACK_ARGUMENT
    str     lr, [sp, #8]
#endif
#ifdef CONTROL_NARROW_NOT_EXTENDED
    uxtb    r0, r0
#endif
#ifdef CONTROL_WRONG_RETURN_ADDRESS
    push    {r4}
    address r4, abi_scratch
    str     lr, [r4]
    address lr, return_here
    pop     {r4}
#endif
    push    {r4, r5}
    address r4, abi_entry
    stmia   r4, {r0-r3}
#ifdef CONTROL_MISALIGN_STACK
    add     r5, sp, #8
#else
    add     r5, sp, #12             /* as it was before anything was pushed here */
#endif
    str     r5, [r4, #ENTRY_STACK]
    str     lr, [r4, #ENTRY_RETURN_ADDRESS]
    mrs     r5, apsr
    and     r5, r5, #0xf8000000     /* the other bits are no flags, or none that this sets */
    str     r5, [r4, #ENTRY_FLAGS]
    ldr     r5, [sp, #8]
    str     r5, [r4, #ENTRY_HIDDEN]
    eor     ip, ip, #NAMED
    str     ip, [r4, #ENTRY_TARGET]
    ubfx    r5, ip, #8, #FUNCTION_BITS /* a target that did not name itself still finds a body */
    address r4, target_bodies
    ldr     ip, [r4, r5, lsl #2]
#ifdef CONTROL_LEAK_STACK
    cmp     r5, #0                  /* function 0 alone, whose call sites live with it */
    pop     {r4, r5}
    it      eq
    subeq   sp, sp, #16
    add     sp, sp, #4
#else
    pop     {r4, r5}
    add     sp, sp, #4
#endif
    bx      ip

#ifdef CONTROL_WRONG_RETURN_ADDRESS
    .type return_here, %function
return_here:
    address ip, abi_scratch
    ldr     pc, [ip]
#endif

/* NULL and RET0 lead here. */
    pad
    .globl return_void
    .type return_void, %function
return_void:
    bx      lr
    pad
    .globl return_zero
    .type return_zero, %function
return_zero:
#ifdef CONTROL_RET0_MINUS_ONE
    mvn     r0, #0
    mvn     r1, #0
#else
    mov     r0, #0
    mov     r1, #0                  /* the other half of a result of 64 bits */
#endif
    bx      lr

    .bss
    .balign 16
    .globl abi_entry, abi_frame, abi_bare
abi_entry:
    .skip   ENTRY_SIZE
abi_frame:
    .skip   4
abi_bare:
    .skip   4
abi_scratch:
    .skip   32
