/* riscv: what can only be observed of a call in asm.  Register roles: RISC-V psABI, "Register Convention". */
#include "arch.h"
#include "wire.h"

#define SENTINEL -0x5e47            /* negative, so that a register cut to 32 bits shows */
#define NAMED 0x6000                /* marks a target's name: what a register holds by chance is no name */

/* abi_call's frame in words: ra, s0-s11, gp, tp, two of its own; then fs0-fs11, eight bytes each. */
#define SAVED(n) (1 + (n)) * WORD
#define RESULT 15 * WORD
#define OUTER 16 * WORD
#define FLOAT_SAVED(n) (18 * WORD + 8 * (n))
#define FRAME ((18 * WORD + 8 * 12 + 15) & -16)

    .option norvc                   /* an entry's first instruction has ARCH_ENTRY_INSTRUCTION bytes */
    .option norelax                 /* and call sites stay where they are aligned */

/* void abi_call(function a0, arguments a1, result a2)
 *
 * Loads a0-a7 from arguments and calls function with a sentinel in each of s0-s11, gp, tp and fs0-fs11.  Nothing may be
 * trusted to survive the call, not even sp, so the frame is found again through abi_frame, which also chains nested
 * calls. */
    .text
    .globl abi_call
    .type abi_call, %function
abi_call:
    addi    sp, sp, -FRAME
    STORE   ra, 0(sp)
    lla     t0, abi_kept
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
    STORE   s\n, SAVED(\n)(sp)
    li      s\n, SENTINEL + \n
    fsd     fs\n, FLOAT_SAVED(\n)(sp)
    fld     fs\n, 8 * \n(t0)
    .endr
    STORE   gp, SAVED(12)(sp)
    li      gp, SENTINEL + 12
    STORE   tp, SAVED(13)(sp)
    li      tp, SENTINEL + 13
    lla     t0, abi_frame
    LOAD    t1, (t0)
    STORE   a2, RESULT(sp)
    STORE   t1, OUTER(sp)
    STORE   sp, (t0)
    mv      t0, a0
    mv      t1, a1
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7
    LOAD    a\n, \n * WORD(t1)
    .endr
    jalr    ra, t0

    lla     t0, abi_frame
    LOAD    t1, (t0)
    sub     t2, sp, t1              /* stack delta */
    mv      sp, t1
    LOAD    a2, RESULT(sp)
    LOAD    t1, OUTER(sp)
    STORE   t1, (t0)
    STORE   a0, (a2)                /* result->value */
    STORE   a1, WORD(a2)
    STORE   t2, 2 * WORD(a2)        /* result->stack */
    li      a3, 0
    .macro  kept register, number
    li      t0, SENTINEL + \number
    xor     t0, t0, \register
    snez    t0, t0
    slli    t0, t0, \number
    or      a3, a3, t0
    LOAD    \register, SAVED(\number)(sp)
    .endm
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
    kept    s\n, \n
    .endr
    kept    gp, 12
    kept    tp, 13
    lla     t0, abi_seen
    lla     t1, abi_kept
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
    fsd     fs\n, 8 * \n(t0)
    fld     fs\n, FLOAT_SAVED(\n)(sp)
    .endr
    li      t2, 8 * 12 / 4
1:  lw      t3, (t0)
    lw      t4, (t1)
    addi    t0, t0, 4
    addi    t1, t1, 4
    addi    t2, t2, -1
    beq     t3, t4, 2f
    li      t5, 1 << VIOLATION_KEPT_FLOATS
    or      a3, a3, t5
2:  bnez    t2, 1b
    STORE   a3, 3 * WORD(a2)        /* result->clobbered */
    LOAD    ra, 0(sp)
    addi    sp, sp, FRAME
    ret

/* The BARE call sites: one aligned instruction that calls, where compilers use two; t2 is given a value. */
    .section .sites, "ax"
    .irp n, INT_NUMBERS
    .balign 16
    .globl bare_\n
    .type bare_\n, %function
bare_\n:
    addi    sp, sp, -16
    STORE   ra, 0(sp)
    lla     t0, 1f
    lla     t1, abi_bare
    STORE   t0, (t1)
    li      t2, BARE_HIDDEN
#ifdef CONTROL_RELIES_ON_SCRATCH
    li      a7, 1
    jal     ra, whatever_\n
1:  add     a0, a0, a7              /* nobody promised that a7 is still 1 */
    addi    a0, a0, -1
#else
    jal     ra, whatever_\n
1:
#endif
    LOAD    ra, 0(sp)
    addi    sp, sp, 16
    ret
    .endr
    .text

/* void abi_scrub(void): junk in every register that is not callee-saved, but ra, which the return needs. */
    .globl abi_scrub
    .type abi_scrub, %function
abi_scrub:
    lla     t0, abi_junk
    .irp register, ft0, ft1, ft2, ft3, ft4, ft5, ft6, ft7, ft8, ft9, ft10, ft11, fa0, fa1, fa2, fa3, fa4, fa5, fa6, fa7
    fld     \register, (t0)
    .endr
    LOAD    t0, (t0)
    .irp register, t1, t2, t3, t4, t5, t6, a0, a1, a2, a3, a4, a5, a6, a7
    mv      \register, t0
    .endr
    ret

/* The targets.  An entry names itself in the upper 20 bits of t3 and goes on at target_entry; only t1 and t3, which the
 * psABI leaves to linkage, are written, so the body gets every argument, the return address and the stack as the caller
 * left them.  Before each lie zeros, which are no instruction: who jumps short of one is found out. */
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
    lui     t3, NAMED | \n << 8 | TARGET_DEFAULT
    jal     zero, target_entry
    pad
fast_\n:
    lui     t3, NAMED | \n << 8 | TARGET_FAST
    jal     zero, target_entry
    pad
other_\n:
    lui     t3, NAMED | \n << 8 | TARGET_OTHER
    jal     zero, target_entry
    .endr

/* Linked out of every near jump's reach, so they come back through a register. */
    .section .far, "ax"
    .irp n, FUNCTION_NUMBERS
    pad
    .globl far_\n
    .type far_\n, %function
far_\n:
    lui     t3, NAMED | \n << 8 | TARGET_FAR
    lla     t1, target_entry
    jr      t1
    .endr

    .text
    .balign 16
target_entry:
    srli    t3, t3, 12
#ifdef CONTROL_CLOBBER_ARGUMENT
    li      a6, 0
#endif
#ifdef CONTROL_CLOBBER_SAVED
    li      s5, 0
#endif
#ifdef CONTROL_CLOBBER_GLOBAL_POINTER
    li      gp, 0
#endif
#ifdef CONTROL_CLOBBER_FLOAT
    fmv.d   fs5, fs6
#endif
#ifdef CONTROL_CLOBBER_STATIC_CHAIN
    li      t2, 0
#endif
#ifdef CONTROL_CLOBBER_STRUCT_POINTER
    lla     a0, abi_scratch
#endif
#ifdef CONTROL_CLOBBER_FLOAT_ARGUMENT
    fmv.d   fa1, fa0
#endif
#ifdef CONTROL_CLOBBER_STACK_ARGUMENT
    STORE   zero, WORD(sp)
#endif
#ifdef CONTROL_NARROW_NOT_EXTENDED
    andi    a0, a0, 0xff
#endif
#ifdef CONTROL_WRONG_RETURN_ADDRESS
    lla     t1, abi_scratch
    STORE   ra, (t1)
    lla     ra, return_here
#endif
#ifdef CONTROL_LEAK_STACK
    srli    t1, t3, 8
    andi    t1, t1, (1 << FUNCTION_BITS) - 1
    bnez    t1, 1f                  /* of function 0 alone, whose call sites live with it */
    addi    sp, sp, -16
1:
#endif
    lla     t1, abi_entry
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7
    STORE   a\n, \n * WORD(t1)
    .endr
#ifdef CONTROL_MISALIGN_STACK
    addi    sp, sp, -8
    STORE   sp, 8 * WORD(t1)
    addi    sp, sp, 8
#else
    STORE   sp, 8 * WORD(t1)
#endif
    STORE   ra, 9 * WORD(t1)
    STORE   t2, 11 * WORD(t1)
    li      t2, NAMED
    xor     t3, t3, t2
    LOAD    t2, 11 * WORD(t1)
    sw      t3, 16 * WORD(t1)
    srli    t3, t3, 8
    andi    t3, t3, (1 << FUNCTION_BITS) - 1 /* a target that did not name itself still finds a body */
    slli    t3, t3, WORD_SHIFT
    lla     t1, target_bodies
    add     t1, t1, t3
    LOAD    t1, (t1)
    jr      t1

#ifdef CONTROL_WRONG_RETURN_ADDRESS
return_here:
    lla     t1, abi_scratch
    LOAD    ra, (t1)
    ret
#endif

/* NULL and RET0 lead here. */
    pad
    .globl return_void
    .type return_void, %function
return_void:
    ret
    pad
    .globl return_zero
    .type return_zero, %function
return_zero:
#ifdef CONTROL_RET0_MINUS_ONE
    li      a0, -1
    li      a1, -1
#else
    li      a0, 0
    li      a1, 0                   /* the other half of a 32-bit result of 64 bits */
#endif
    ret

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
abi_seen:
    .skip   8 * 12

    .section .rodata
    .balign 8
abi_junk:
    .quad   0x8e6b00008e6b6a75

/* What fs0-fs11 hold; each word another number. */
abi_kept:
    .set    i, 0
    .rept   8 * 12 / 4
    .long   0x5e470000 + i
    .set    i, i + 1
    .endr
