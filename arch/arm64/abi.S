/* arm64: what can only be observed of a call in asm.  Register roles: AAPCS64, section 6.1.1. */
#include "arch.h"
#include "wire.h"

#define SENTINEL 0x5e47
#define NAMED 0x6000                /* marks a target's name: what a register holds by chance is no name */

/* void abi_call(function x0, arguments x1, result x2)
 *
 * Loads x0-x7 from arguments and calls function with a sentinel in each of x19-x29 and, where the CPU
 * profile has them, d8-d15 (AAPCS64, 6.1.2), and with every flag set.  Nothing may be trusted to survive the call, not
 * even sp, so the frame is found again through abi_frame, which also chains nested calls. */
    .text
    .globl abi_call
    .type abi_call, %function
abi_call:
    stp     x29, x30, [sp, #-192]!
    stp     x19, x20, [sp, #16]
    stp     x21, x22, [sp, #32]
    stp     x23, x24, [sp, #48]
    stp     x25, x26, [sp, #64]
    stp     x27, x28, [sp, #80]
    adrp    x9, abi_frame
    ldr     x10, [x9, :lo12:abi_frame]
    stp     x2, x10, [sp, #96]      /* result, outer frame */
    mov     x10, sp
    str     x10, [x9, :lo12:abi_frame]
    mov     x16, x0
    mov     x17, x1
    mov     x19, #SENTINEL
    add     x20, x19, #1
    add     x21, x19, #2
    add     x22, x19, #3
    add     x23, x19, #4
    add     x24, x19, #5
    add     x25, x19, #6
    add     x26, x19, #7
    add     x27, x19, #8
    add     x28, x19, #9
    add     x29, x19, #10
    adrp    x9, farm_features
    ldr     w9, [x9, :lo12:farm_features]
    tst     w9, #FEATURE_FLOAT
    b.eq    1f
    stp     d8, d9, [sp, #128]
    stp     d10, d11, [sp, #144]
    stp     d12, d13, [sp, #160]
    stp     d14, d15, [sp, #176]
    .irp n, 8, 9, 10, 11, 12, 13, 14, 15
    add     x10, x29, #\n
    fmov    d\n, x10
    .endr
1:  mov     w9, #ARCH_BARE_FLAGS
    msr     nzcv, x9
    ldp     x0, x1, [x17]
    ldp     x2, x3, [x17, #16]
    ldp     x4, x5, [x17, #32]
    ldp     x6, x7, [x17, #48]
    blr     x16

    adrp    x9, abi_frame
    ldr     x10, [x9, :lo12:abi_frame]
    mov     x11, sp
    sub     x11, x11, x10           /* stack delta */
    mov     sp, x10
    ldp     x12, x13, [sp, #96]
    str     x13, [x9, :lo12:abi_frame]
    stp     x0, x1, [x12]           /* result->value */
    mov     x13, #0
    mov     x14, #SENTINEL
    .irp n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29
    cmp     x\n, x14
    cset    x15, ne
    lsl     x15, x15, #(\n - 19)
    orr     x13, x13, x15
    add     x14, x14, #1
    .endr
    adrp    x9, farm_features
    ldr     w9, [x9, :lo12:farm_features]
    tst     w9, #FEATURE_FLOAT
    b.eq    1f
    mov     x14, #SENTINEL + 10
    .irp n, 8, 9, 10, 11, 12, 13, 14, 15
    fmov    x15, d\n
    sub     x15, x15, #\n
    cmp     x15, x14
    cset    x15, ne
    lsl     x15, x15, #VIOLATION_KEPT_FLOATS
    orr     x13, x13, x15
    .endr
    ldp     d8, d9, [sp, #128]
    ldp     d10, d11, [sp, #144]
    ldp     d12, d13, [sp, #160]
    ldp     d14, d15, [sp, #176]
1:
    stp     x11, x13, [x12, #16]    /* result->stack, result->clobbered */
    ldp     x19, x20, [sp, #16]
    ldp     x21, x22, [sp, #32]
    ldp     x23, x24, [sp, #48]
    ldp     x25, x26, [sp, #64]
    ldp     x27, x28, [sp, #80]
    ldp     x29, x30, [sp], #192
    ret

/* The BARE call sites: the flags are those that abi_call set; x8 and x18 are given values. */
    .section .sites, "ax"
    .irp n, INT_NUMBERS
    .balign 16
    .globl bare_\n
    .type bare_\n, %function
bare_\n:
    LANDING_PAD
    str     x30, [sp, #-16]!
    adr     x17, 1f
    adrp    x16, abi_bare
    str     x17, [x16, :lo12:abi_bare]
    mov     x8, #BARE_HIDDEN
    mov     x18, #(BARE_HIDDEN + 1)
#ifdef CONTROL_RELIES_ON_SCRATCH
    mov     w9, #1
    bl      whatever_\n
1:  add     w0, w0, w9              /* nobody promised that w9 is still 1 */
    sub     w0, w0, #1
#else
    bl      whatever_\n
1:
#endif
    ldr     x30, [sp], #16
    ret

/* The CONDITIONAL call sites: a branch to the function, whose return goes to the caller. */
    .globl conditional_\n
    .type conditional_\n, %function
conditional_\n:
    LANDING_PAD
    tst     w0, #1
    b.ne    whatever_\n
    ret
    .endr
    .text

/* void abi_scrub(void): junk in every register that is not callee-saved. */
    .globl abi_scrub
    .type abi_scrub, %function
abi_scrub:
    adrp    x9, farm_features
    ldr     w9, [x9, :lo12:farm_features]
    tst     w9, #FEATURE_FLOAT
    mov     x0, #0x6a75
    movk    x0, #0x8e6b, lsl #48
    .irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18
    mov     x\n, x0
    .endr
    b.eq    1f
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    fmov    d\n, x0
    .endr
1:  ret

/* The targets.  An entry names itself in w17 and falls into target_entry; only x16 and x17 are written, so the body
 * gets every argument, the return address and the stack as the caller left them.  Before each lie zeros, which are no
 * instruction: who jumps short of one is found out. */
#ifdef CONTROL_NO_TARGET_PAD
#define TARGET_PAD nop
#else
#define TARGET_PAD LANDING_PAD
#endif
.macro pad
    .skip   ARCH_ENTRY_INSTRUCTION
    .balign 16, 0
.endm

    .irp n, FUNCTION_NUMBERS
    pad
    .globl default_\n, fast_\n, other_\n
    .type default_\n, %function
    .type fast_\n, %function
    .type other_\n, %function
default_\n:
    TARGET_PAD
    mov     w17, #(NAMED | \n << 8 | TARGET_DEFAULT)
    b       target_entry
    pad
fast_\n:
    TARGET_PAD
    mov     w17, #(NAMED | \n << 8 | TARGET_FAST)
    b       target_entry
    pad
other_\n:
    TARGET_PAD
    mov     w17, #(NAMED | \n << 8 | TARGET_OTHER)
    b       target_entry
    .endr

/* Linked out of every near branch's reach, so they come back through a register. */
    .section .far, "ax"
    .irp n, FUNCTION_NUMBERS
    pad
    .globl far_\n
    .type far_\n, %function
far_\n:
    TARGET_PAD
    mov     w17, #(NAMED | \n << 8 | TARGET_FAR)
    ldr     x16, 1f
    br      x16
    .balign 8
1:  .quad   target_entry
    .endr

    .text
    .balign 16
target_entry:
    LANDING_PAD                     /* from the far targets through x16 */
#ifdef CONTROL_CLOBBER_ARGUMENT
    mov     x6, #0
#endif
#ifdef CONTROL_CLOBBER_SAVED
    mov     x21, #0
#endif
#ifdef CONTROL_CLOBBER_FLOAT
    fmov    d9, xzr
#endif
#ifdef CONTROL_CLOBBER_FLAGS
    tst     xzr, xzr
#endif
#ifdef CONTROL_CLOBBER_STATIC_CHAIN
    mov     x18, #0
#endif
#ifdef CONTROL_CLOBBER_STRUCT_POINTER
    adrp    x8, abi_scratch
    add     x8, x8, :lo12:abi_scratch
#endif
#ifdef CONTROL_CLOBBER_FLOAT_ARGUMENT
    fmov    d1, xzr
#endif
#ifdef CONTROL_CLOBBER_STACK_ARGUMENT
    str     xzr, [sp, #8]
#endif
#ifdef CONTROL_WRONG_RETURN_ADDRESS
    adrp    x16, abi_scratch
    str     x30, [x16, :lo12:abi_scratch]
    adr     x30, return_here
#endif
#ifdef CONTROL_LEAK_STACK
    and     w16, w17, #0x1f00
    cbnz    w16, 1f                 /* of function 0 alone, whose call sites live with it */
    sub     sp, sp, #16
1:
#endif
    adrp    x16, abi_entry
    add     x16, x16, :lo12:abi_entry
    stp     x0, x1, [x16]
    stp     x2, x3, [x16, #16]
    stp     x4, x5, [x16, #32]
    stp     x6, x7, [x16, #48]
    str     x30, [x16, #72]
    stp     x8, x18, [x16, #88]
    eor     w17, w17, #NAMED
    str     w17, [x16, #128]
    mrs     x17, nzcv
    str     x17, [x16, #80]
#ifdef CONTROL_MISALIGN_STACK
    sub     sp, sp, #8
    mov     x17, sp
    add     sp, sp, #8
#else
    mov     x17, sp
#endif
    str     x17, [x16, #64]
    ldr     w17, [x16, #128]
    ubfx    w17, w17, #8, #FUNCTION_BITS /* a target that did not name itself still finds a body */
    adrp    x16, target_bodies
    add     x16, x16, :lo12:target_bodies
    ldr     x16, [x16, w17, uxtw #3]
    br      x16

#ifdef CONTROL_WRONG_RETURN_ADDRESS
return_here:
    adrp    x16, abi_scratch
    ldr     x30, [x16, :lo12:abi_scratch]
    ret
#endif

/* NULL and RET0 lead here. */
    pad
    .globl return_void
    .type return_void, %function
return_void:
    TARGET_PAD
    ret
    pad
    .globl return_zero
    .type return_zero, %function
return_zero:
    TARGET_PAD
#ifdef CONTROL_RET0_MINUS_ONE
    mov     x0, #-1
#else
    mov     x0, #0
#endif
    ret

    .bss
    .balign 16
    .globl abi_entry, abi_frame, abi_bare
abi_entry:
    .skip   144
abi_frame:
    .skip   8
abi_bare:
    .skip   8
abi_scratch:
    .skip   32
