/* loongarch: what can only be observed of a call in asm.  Register roles: LoongArch Procedure Call Standard, "Basic
 * architecture". */
#include "arch.h"
#include "wire.h"

#define SENTINEL -0x5e47            /* negative, so that a register cut to 32 bits shows */
#define NAMED 0x6000                /* marks a target's name: what a register holds by chance is no name */

/* abi_call's frame: ra, twelve registers that must survive, two words of its own, fs0-fs7. */
#define SAVED(n) (8 * (1 + (n)))
#define RESULT 104
#define OUTER 112
#define FLOAT_SAVED(n) (120 + 8 * (n))
#define FRAME 192

/* void abi_call(function a0, arguments a1, result a2)
 *
 * Loads a0-a7 from arguments and calls function with a sentinel in each of s0-s8, fp, tp, r21 and fs0-fs7.  Nothing may
 * be trusted to survive the call, not even sp, so the frame is found again through abi_frame, which also chains nested
 * calls. */
    .text
    .globl abi_call
    .type abi_call, @function
abi_call:
    addi.d  $sp, $sp, -FRAME
    st.d    $ra, $sp, 0
    .macro  set register, number
    st.d    \register, $sp, SAVED(\number)
    li.w    \register, SENTINEL + \number
    .endm
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8
    set     $s\n, \n
    .endr
    set     $fp, 9
    set     $tp, 10
    set     $r21, 11
    la.pcrel $t0, abi_kept
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7
    fst.d   $fs\n, $sp, FLOAT_SAVED(\n)
    fld.d   $fs\n, $t0, 8 * \n
    .endr
    la.pcrel $t0, abi_frame
    ld.d    $t1, $t0, 0
    st.d    $a2, $sp, RESULT
    st.d    $t1, $sp, OUTER
    st.d    $sp, $t0, 0
    move    $t0, $a0
    move    $t1, $a1
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7
    ld.d    $a\n, $t1, 8 * \n
    .endr
    jirl    $ra, $t0, 0

    la.pcrel $t0, abi_frame
    ld.d    $t1, $t0, 0
    sub.d   $t2, $sp, $t1           /* stack delta */
    move    $sp, $t1
    ld.d    $a2, $sp, RESULT
    ld.d    $t1, $sp, OUTER
    st.d    $t1, $t0, 0
    st.d    $a0, $a2, 0             /* result->value */
    st.d    $a1, $a2, 8
    st.d    $t2, $a2, 16            /* result->stack */
    move    $a3, $zero
    .macro  kept register, number
    li.w    $t0, SENTINEL + \number
    xor     $t0, $t0, \register
    sltu    $t0, $zero, $t0
    slli.d  $t0, $t0, \number
    or      $a3, $a3, $t0
    ld.d    \register, $sp, SAVED(\number)
    .endm
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8
    kept    $s\n, \n
    .endr
    kept    $fp, 9
    kept    $tp, 10
    kept    $r21, 11
    la.pcrel $t0, abi_kept
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7
    movfr2gr.d $t1, $fs\n
    ld.d    $t2, $t0, 8 * \n
    xor     $t1, $t1, $t2
    sltu    $t1, $zero, $t1
    slli.d  $t1, $t1, VIOLATION_KEPT_FLOATS
    or      $a3, $a3, $t1
    fld.d   $fs\n, $sp, FLOAT_SAVED(\n)
    .endr
    st.d    $a3, $a2, 24            /* result->clobbered */
    ld.d    $ra, $sp, 0
    addi.d  $sp, $sp, FRAME
    ret

/* The BARE call sites: the condition flags and t8 are given values. */
    .section .sites, "ax"
    .irp n, INT_NUMBERS
    .balign 16
    .globl bare_\n
    .type bare_\n, @function
bare_\n:
    addi.d  $sp, $sp, -16
    st.d    $ra, $sp, 0
    la.pcrel $t0, 1f
    la.pcrel $t1, abi_bare
    st.d    $t0, $t1, 0
    li.w    $t0, ARCH_BARE_FLAGS
    .irp flag, 0, 1, 2, 3, 4, 5, 6, 7
    movgr2cf $fcc\flag, $t0         /* of its lowest bit */
    srli.d  $t0, $t0, 1
    .endr
    li.w    $t8, BARE_HIDDEN
#ifdef CONTROL_RELIES_ON_SCRATCH
    li.w    $a7, 1
    bl      whatever_\n
1:  add.w   $a0, $a0, $a7           /* nobody promised that a7 is still 1 */
    addi.w  $a0, $a0, -1
#else
    bl      whatever_\n
1:
#endif
    ld.d    $ra, $sp, 0
    addi.d  $sp, $sp, 16
    ret

/* The CONDITIONAL call sites: a branch to the function, whose return goes to the caller. */
    .globl conditional_\n
    .type conditional_\n, @function
conditional_\n:
    andi    $t0, $a0, 1
    bnez    $t0, whatever_\n
    ret
    .endr
    .text

/* void abi_scrub(void): junk in every register that is not callee-saved, but ra, which the return needs. */
    .globl abi_scrub
    .type abi_scrub, @function
abi_scrub:
    lu12i.w $t0, 0x6a756
    lu52i.d $t0, $t0, -0x715
    .irp register, $t1, $t2, $t3, $t4, $t5, $t6, $t7, $t8, $a0, $a1, $a2, $a3, $a4, $a5, $a6, $a7
    move    \register, $t0
    .endr
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23
    movgr2fr.d $f\n, $t0
    .endr
    .irp flag, 0, 1, 2, 3, 4, 5, 6, 7
    movgr2cf $fcc\flag, $t0
    .endr
    ret

/* The targets.  An entry names itself in bits 31-12 of t3 and goes on at target_entry; only t1 and t3, which linkage
 * may write, are written, so the body gets every argument, the return address and the stack as the caller left them.
 * Before each lie zeros, which are no instruction: who jumps short of one is found out. */
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
    lu12i.w $t3, NAMED | \n << 8 | TARGET_DEFAULT
    b       target_entry
    pad
fast_\n:
    lu12i.w $t3, NAMED | \n << 8 | TARGET_FAST
    b       target_entry
    pad
other_\n:
    lu12i.w $t3, NAMED | \n << 8 | TARGET_OTHER
    b       target_entry
    .endr

/* Linked out of every near branch's reach, so they come back through a register. */
    .section .far, "ax"
    .irp n, FUNCTION_NUMBERS
    pad
    .globl far_\n
    .type far_\n, @function
far_\n:
    lu12i.w $t3, NAMED | \n << 8 | TARGET_FAR
    la.pcrel $t1, target_entry
    jr      $t1
    .endr

    .text
    .balign 16
target_entry:
    srli.d  $t3, $t3, 12
#ifdef CONTROL_CLOBBER_ARGUMENT
    move    $a6, $zero
#endif
#ifdef CONTROL_CLOBBER_SAVED
    move    $s5, $zero
#endif
#ifdef CONTROL_CLOBBER_GLOBAL_POINTER
    move    $tp, $zero
#endif
#ifdef CONTROL_CLOBBER_FLOAT
    fmov.d  $fs5, $fs6
#endif
#ifdef CONTROL_CLOBBER_FLAGS
    fcmp.caf.d $fcc0, $fa0, $fa0    /* never true */
#endif
#ifdef CONTROL_CLOBBER_STATIC_CHAIN
    move    $t8, $zero
#endif
#ifdef CONTROL_CLOBBER_STRUCT_POINTER
    la.pcrel $a0, abi_scratch
#endif
#ifdef CONTROL_CLOBBER_FLOAT_ARGUMENT
    fmov.d  $fa1, $fa0
#endif
#ifdef CONTROL_CLOBBER_STACK_ARGUMENT
    st.d    $zero, $sp, 8
#endif
#ifdef CONTROL_NARROW_NOT_EXTENDED
    andi    $a0, $a0, 0xff
#endif
#ifdef CONTROL_WRONG_RETURN_ADDRESS
    la.pcrel $t1, abi_scratch
    st.d    $ra, $t1, 0
    la.pcrel $ra, return_here
#endif
#ifdef CONTROL_LEAK_STACK
    bstrpick.d $t1, $t3, 8 + FUNCTION_BITS - 1, 8
    bnez    $t1, 1f                 /* of function 0 alone, whose call sites live with it */
    addi.d  $sp, $sp, -16
1:
#endif
    la.pcrel $t1, abi_entry
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7
    st.d    $a\n, $t1, 8 * \n
    .endr
#ifdef CONTROL_MISALIGN_STACK
    addi.d  $sp, $sp, -8
    st.d    $sp, $t1, 64
    addi.d  $sp, $sp, 8
#else
    st.d    $sp, $t1, 64
#endif
    st.d    $ra, $t1, 72
    st.d    $t8, $t1, 88
    lu12i.w $t8, NAMED >> 12
    xor     $t3, $t3, $t8
    st.w    $t3, $t1, 128
    move    $t3, $zero
    .irp flag, 0, 1, 2, 3, 4, 5, 6, 7
    movcf2gr $t8, $fcc\flag
    slli.d  $t8, $t8, \flag
    or      $t3, $t3, $t8
    .endr
    st.d    $t3, $t1, 80
    ld.d    $t8, $t1, 88
    ld.wu   $t3, $t1, 128
    bstrpick.d $t3, $t3, 8 + FUNCTION_BITS - 1, 8 /* a target that did not name itself still finds a body */
    slli.d  $t3, $t3, 3
    la.pcrel $t1, target_bodies
    ldx.d   $t1, $t1, $t3
    jr      $t1

#ifdef CONTROL_WRONG_RETURN_ADDRESS
return_here:
    la.pcrel $t1, abi_scratch
    ld.d    $ra, $t1, 0
    ret
#endif

/* NULL and RET0 lead here. */
    pad
    .globl return_void
    .type return_void, @function
return_void:
    ret
    pad
    .globl return_zero
    .type return_zero, @function
return_zero:
#ifdef CONTROL_RET0_MINUS_ONE
    li.w    $a0, -1
#else
    move    $a0, $zero
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

/* What fs0-fs7 hold; each word another number. */
    .section .rodata
    .balign 8
abi_kept:
    .set    i, 0
    .rept   8 * 8 / 4
    .long   0x5e470000 + i
    .set    i, i + 1
    .endr
