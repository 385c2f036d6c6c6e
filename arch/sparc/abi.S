/* sparc: what can only be observed of a call in asm.  Register roles: System V ABI, SPARC supplement, "Registers"; SCD
 * 2.4, "Registers"; in a flat function there is one window, so arguments are in %o0-%o5 on both sides, and the callee
 * saves the local and in registers. */
#include "arch.h"
#include "wire.h"

#define SENTINEL 0x5e4700           /* inverted, so that a register cut to 32 bits shows */
#define NAMED 0x6000                /* marks a target's name: what a register holds by chance is no name */
#define NAME(n, target) ((NAMED | (n) << 8 | (target)) << 10) /* as one instruction makes it */

/* abi_call's frame: what it needs to call, with two arguments on the stack; l0-l7, i0-i7, g6, g7; and three words of
 * its own. */
#define SAVED(i) (STACK_ARGUMENT + 2 * WORD + (i) * WORD)
#define LINK SAVED(18)
#define RESULT SAVED(19)
#define OUTER SAVED(20)
#define ABI_FRAME ((SAVED(21) - BIAS + 15) & -16)
#define BARE_FRAME (FRAME + 16)

/* N, V and C, by arithmetic where user mode cannot write them; and the flags as V9 has them in %ccr, by branches where
 * it cannot read them either.  No other flag changes. */
.macro set_flags register
#ifdef __arch64__
    wr      %g0, ARCH_BARE_FLAGS, %ccr
#else
    address \register, 0x7fffffff
    subcc   \register, -1, %g0
#endif
.endm
.macro get_flags register
#ifdef __arch64__
    rd      %ccr, \register
#else
    clr     \register
    bneg,a  . + 8
    or      \register, 8, \register
    be,a    . + 8
    or      \register, 4, \register
    bvs,a   . + 8
    or      \register, 2, \register
    bcs,a   . + 8
    or      \register, 1, \register
#endif
.endm

/* void abi_call(function o0, arguments o1, result o2)
 *
 * Loads o0-o5 and two words of stack from arguments and calls function with a sentinel in each of l0-l7, i0-i7, g6 and
 * g7, and with flags set.  There is no callee-saved floating-point register.  Nothing may be trusted to survive the
 * call, not even sp, so the frame is found again through abi_frame, which also chains nested calls. */
    .register %g2, #ignore
    .register %g3, #ignore
    .register %g6, #ignore
    .register %g7, #ignore
    .text
    .globl abi_call
    .type abi_call, %function
abi_call:
    sub     %sp, ABI_FRAME, %sp
    .set    i, 0
    .irp register, l0, l1, l2, l3, l4, l5, l6, l7, i0, i1, i2, i3, i4, i5, i6, i7, g6, g7
    STORE   %\register, [%sp + SAVED(i)]
    .set    i, i + 1
    .endr
    STORE   %o7, [%sp + LINK]
    STORE   %o2, [%sp + RESULT]
    address %g1, abi_frame
    LOAD    [%g1], %g3
    STORE   %g3, [%sp + OUTER]
    STORE   %sp, [%g1]
    address %l0, SENTINEL
    not     %l0
    .set    i, 1
    .irp register, l1, l2, l3, l4, l5, l6, l7, i0, i1, i2, i3, i4, i5, i6, i7, g6, g7
    add     %l0, i, %\register
    .set    i, i + 1
    .endr
    mov     %o0, %g1
    mov     %o1, %g4
    LOAD    [%g4 + 6 * WORD], %g3
    STORE   %g3, [%sp + STACK_ARGUMENT]
    LOAD    [%g4 + 7 * WORD], %g3
    STORE   %g3, [%sp + STACK_ARGUMENT + WORD]
    .irp n, 0, 1, 2, 3, 4, 5
    LOAD    [%g4 + \n * WORD], %o\n
    .endr
    set_flags %g3
    call    %g1
    nop

    address %g1, abi_frame
    LOAD    [%g1], %g2
    sub     %sp, %g2, %o2           /* stack delta */
    mov     %g2, %sp
    LOAD    [%sp + OUTER], %g2
    STORE   %g2, [%g1]
    LOAD    [%sp + RESULT], %g3
    STORE   %o0, [%g3]              /* result->value */
    STORE   %o1, [%g3 + WORD]
    STORE   %o2, [%g3 + 2 * WORD]   /* result->stack */
    address %g2, SENTINEL
    not     %g2
    mov     1, %o1
    clr     %o2
    .set    i, 0
    .irp register, l0, l1, l2, l3, l4, l5, l6, l7, i0, i1, i2, i3, i4, i5, i6, i7, g6, g7
    sub     %\register, %g2, %o0
    cmp     %o0, i
    ON_DIFFERENCE 1f
    or      %o2, %o1, %o2
1:  sll     %o1, 1, %o1
    LOAD    [%sp + SAVED(i)], %\register
    .set    i, i + 1
    .endr
    STORE   %o2, [%g3 + 3 * WORD]   /* result->clobbered */
    LOAD    [%sp + LINK], %o7
    retl
    add     %sp, ABI_FRAME, %sp

/* Behind the call of a BARE site: it makes the argument what it is. */
#ifdef CONTROL_NOP_DELAY_SLOT
#define DELAY_SLOT nop
#else
#define DELAY_SLOT add %o0, 1, %o0
#endif

/* The BARE call sites: the flags are those that abi_call set; the static chain and where the address of a struct would
 * be are given values.  Nothing here writes a flag. */
    .section .sites, "ax"
    .irp n, INT_NUMBERS
    .balign 16
    .globl bare_\n
    .type bare_\n, %function
bare_\n:
    sub     %sp, BARE_FRAME, %sp
    STORE   %o7, [%sp + BIAS + FRAME + 8]
    address %g1, 1f
    sethi   %hi(abi_bare), %g3
    STORE   %g1, [%g3 + %lo(abi_bare)]
    address STATIC_CHAIN, BARE_HIDDEN
#ifdef STRUCT_RESULT
    add     STATIC_CHAIN, 1, %g1
    st      %g1, [%sp + STRUCT_RESULT]
#else
    add     STATIC_CHAIN, 1, %o1
#endif
    sub     %o0, 1, %o0
#ifdef CONTROL_RELIES_ON_SCRATCH
    mov     1, %o4
    call    whatever_\n
    DELAY_SLOT
1:  add     %o0, %o4, %o0           /* nobody promised that o4 is still 1 */
    sub     %o0, 1, %o0
#else
    call    whatever_\n
    DELAY_SLOT
1:
#endif
    LOAD    [%sp + BIAS + FRAME + 8], %o7
    retl
    add     %sp, BARE_FRAME, %sp

/* The CONDITIONAL call sites: a branch to the function, whose return goes to the caller. */
    .balign 16
    .globl conditional_\n
    .type conditional_\n, %function
conditional_\n:
    btst    1, %o0
#ifdef __arch64__
    bne,pn  %xcc, whatever_\n
#else
    bne     whatever_\n
#endif
    nop
    retl
    nop
    .endr
    .text

/* void abi_scrub(void): junk in every register that is not callee-saved, but %o7, which a return needs. */
    .globl abi_scrub
    .type abi_scrub, %function
abi_scrub:
    address %g1, farm_features
    ld      [%g1], %g1
    btst    FEATURE_FLOAT, %g1
    be      1f
    nop
    address %g1, abi_junk
    .irp n, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
    ldd     [%g1], %f\n
    .endr
#ifdef __arch64__
    .irp n, 32, 34, 36, 38, 40, 42, 44, 46, 48, 50, 52, 54, 56, 58, 60, 62
    ldd     [%g1], %f\n
    .endr
#endif
1:  address %o0, 0x8e6b6a75
    .irp register, o1, o2, o3, o4, o5, g1, g2, g3, g4
    mov     %o0, %\register
    .endr
#ifdef __arch64__
    mov     %o0, %g5                /* on 32 bits it is the system's */
#endif
    retl
    wr      %o0, %y

/* The targets.  An entry names itself in g4 and goes on at target_entry; only g1, g3 and g4 are written, so the body
 * gets every argument, the return address and the stack as the caller left them.  Before each lie zeros, which are
 * `unimp`: who jumps short of one is found out. */
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
    sethi   %hi(NAME(\n, TARGET_DEFAULT)), %g4
    ba      target_entry
    nop
    pad
fast_\n:
    sethi   %hi(NAME(\n, TARGET_FAST)), %g4
    ba      target_entry
    nop
    pad
other_\n:
    sethi   %hi(NAME(\n, TARGET_OTHER)), %g4
    ba      target_entry
    nop
    .endr

/* Linked out of every near branch's reach, so they come back through a register. */
    .section .far, "ax"
    .irp n, FUNCTION_NUMBERS
    pad
    .globl far_\n
    .type far_\n, %function
far_\n:
    sethi   %hi(NAME(\n, TARGET_FAR)), %g4
    sethi   %hi(target_entry), %g1
    jmp     %g1 + %lo(target_entry)
    nop
    .endr

    .text
    .balign 16
target_entry:
#ifdef CONTROL_CLOBBER_ARGUMENT
    clr     %o5
#endif
#ifdef CONTROL_CLOBBER_SAVED
    clr     %l3
#endif
#ifdef CONTROL_CLOBBER_GLOBAL_POINTER
    clr     %g7                     /* the thread pointer */
#endif
#ifdef CONTROL_CLOBBER_FLAGS
    tst     %g0
#endif
#ifdef CONTROL_CLOBBER_STATIC_CHAIN
    clr     STATIC_CHAIN
#endif
#ifdef CONTROL_CLOBBER_STRUCT_POINTER
#ifdef STRUCT_RESULT
    address %g1, abi_scratch
    st      %g1, [%sp + STRUCT_RESULT]
#else
    address %o1, abi_scratch        /* by value: a result of 32 bytes is in registers */
#endif
#endif
#ifdef CONTROL_CLOBBER_FLOAT_ARGUMENT
#ifdef __arch64__
    fmovd   %f0, %f2
#else
    not     %o2                     /* half of a double */
#endif
#endif
#ifdef CONTROL_CLOBBER_STACK_ARGUMENT
    STORE   %g0, [%sp + STACK_ARGUMENT]
#endif
#ifdef CONTROL_NARROW_NOT_EXTENDED
    and     %o0, 0xff, %o0
#endif
#ifdef CONTROL_WRONG_RETURN_ADDRESS
    sethi   %hi(abi_scratch), %g1
    STORE   %o7, [%g1 + %lo(abi_scratch)]
    address %o7, return_here - 8
#endif
    srl     %g4, 10, %g4
#ifdef CONTROL_LEAK_STACK
    srl     %g4, 8, %g3
    btst    0x1f, %g3
    bne     1f                      /* of function 0 alone, whose call sites live with it */
    nop
    sub     %sp, 16, %sp
1:
#endif
    address %g1, abi_entry
    get_flags %g3
    STORE   %g3, [%g1 + 8 * WORD]
    .irp n, 0, 1, 2, 3, 4, 5
    STORE   %o\n, [%g1 + \n * WORD]
    .endr
#ifdef CONTROL_MISALIGN_STACK
    sub     %sp, ARCH_STACK_ALIGNMENT / 2, %sp
    STORE   %sp, [%g1 + 6 * WORD]
    add     %sp, ARCH_STACK_ALIGNMENT / 2, %sp
#else
    STORE   %sp, [%g1 + 6 * WORD]
#endif
    add     %o7, 8, %g3             /* o7 is the address of the call */
    STORE   %g3, [%g1 + 7 * WORD]
    STORE   STATIC_CHAIN, [%g1 + 9 * WORD]
#ifdef STRUCT_RESULT
    ld      [%sp + STRUCT_RESULT], %g3
    st      %g3, [%g1 + 10 * WORD]
#else
    stx     %o1, [%g1 + 10 * WORD]
#endif
    address %g3, NAMED
    xor     %g4, %g3, %g4
    st      %g4, [%g1 + 14 * WORD]
    srl     %g4, 8, %g4
    and     %g4, (1 << FUNCTION_BITS) - 1, %g4 /* a target that did not name itself still finds a body */
    sll     %g4, WORD_SHIFT, %g4
    address %g1, target_bodies
    LOAD    [%g1 + %g4], %g1
    jmp     %g1
    nop

#ifdef CONTROL_WRONG_RETURN_ADDRESS
return_here:
    sethi   %hi(abi_scratch), %g1
    LOAD    [%g1 + %lo(abi_scratch)], %o7
    retl
    nop
#endif

/* NULL and RET0 lead here. */
    pad
    .globl return_void
    .type return_void, %function
return_void:
    retl
    nop
    pad
    .globl return_zero
    .type return_zero, %function
return_zero:
#ifdef CONTROL_RET0_MINUS_ONE
    mov     -1, %o1
    retl
    mov     -1, %o0
#else
    clr     %o1                     /* the other half of a 32-bit result of 64 bits */
    retl
    clr     %o0
#endif

    .bss
    .balign 16
    .globl abi_entry, abi_frame, abi_bare
abi_entry:
    .skip   15 * WORD
    .balign 8
abi_frame:
    .skip   8
abi_bare:
    .skip   8
abi_scratch:
    .skip   32

    .section .rodata
    .balign 8
abi_junk:
    .word   0x6a756e6b, 0x8e6b6a75
