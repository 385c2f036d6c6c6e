/* m68k: what can only be observed of a call in asm.  Register roles: System V ABI Motorola 68000 supplement,
 * "Registers"; a0 and a1 as GCC uses them on Linux.
 *
 * The condition codes are among what is observed, and almost every instruction writes them: MOVEM, LEA, EXG and the
 * arithmetic on address registers do not. */
#include "arch.h"
#include "wire.h"

#define SENTINEL 0x5e470000
#define ILLEGAL 0x4afc
#define NAMED 0x6000                /* marks a target's name: what a register holds by chance is no name */

/* abi_call's frame, from where sp then is: outer frame, fp2-fp7, d2-d7 and a2-a6, return address, arguments. */
#define FUNCTION 124
#define ARGUMENTS 128
#define RESULT 132

#define STACK_ARGUMENT(i) (4 + 4 * (i)) /* at a function's entry, from sp; counted from 0 */

/* void abi_call(function, arguments, result)
 *
 * Pushes eight words of arguments and calls function with a sentinel in each of d2-d7, a2-a6 and fp2-fp7, and with
 * every condition code set.  Nothing may be trusted to survive the call, not even sp, so the frame is found again
 * through abi_frame, which also chains nested calls. */
    .text
    .globl abi_call
    .type abi_call, @function
abi_call:
    movem.l %d2-%d7/%a2-%a6, -(%sp)
    fmovem.x %fp2-%fp7, -(%sp)
    move.l  abi_frame, -(%sp)
    move.l  %sp, abi_frame
    move.l  FUNCTION(%sp), %a0
    move.l  ARGUMENTS(%sp), %a1
    lea     32(%a1), %a1
    .rept   8
    move.l  -(%a1), -(%sp)
    .endr
    .macro  each_saved action
    \action %d2, 0
    \action %d3, 1
    \action %d4, 2
    \action %d5, 3
    \action %d6, 4
    \action %d7, 5
    \action %a2, 6
    \action %a3, 7
    \action %a4, 8
    \action %a5, 9
    \action %a6, 10
    .endm
    .macro  fill register, number
    move.l  #SENTINEL + \number, \register
    .endm
    each_saved fill
    fmovem.x abi_kept, %fp2-%fp7
    move.w  #ARCH_BARE_FLAGS, %ccr
    jsr     (%a0)

    lea     32(%sp), %a0            /* as it is without the eight words */
    move.l  abi_frame, %a1
    sub.l   %a1, %a0                /* stack delta */
    move.l  %a1, %sp
    move.l  RESULT(%sp), %a1
    move.l  (%sp)+, abi_frame
    move.l  %d0, (%a1)              /* result->value */
    move.l  %d1, 4(%a1)
    move.l  %a0, 8(%a1)             /* result->stack */
    moveq   #0, %d0
    .macro  kept register, number
    cmp.l   #SENTINEL + \number, \register
    beq.s   1f
    bset    #\number, %d0
1:
    .endm
    each_saved kept
    fmovem.x %fp2-%fp7, abi_seen
    fmovem.x (%sp)+, %fp2-%fp7
    lea     abi_seen, %a0
    lea     abi_kept, %a2
    moveq   #18 - 1, %d1
1:  cmpm.l  (%a0)+, (%a2)+
    dbne    %d1, 1b
    beq.s   1f
    bset    #VIOLATION_KEPT_FLOATS, %d0
1:  move.l  %d0, 12(%a1)            /* result->clobbered */
    movem.l (%sp)+, %d2-%d7/%a2-%a6
    rts

/* The BARE call sites: the condition codes are those that abi_call set; a0 and a1 are given values.  Nothing here
 * writes a condition code. */
    .section .sites, "ax"
    .irp n, INT_NUMBERS
    .balign 16
    .globl bare_\n
    .type bare_\n, @function
bare_\n:
    lea     1f, %a0
    movem.l %a0, abi_bare
    movem.l 4(%sp), %d0
    movem.l %d0, -(%sp)
#ifdef CONTROL_RELIES_ON_SCRATCH
    lea     1.w, %a0
    exg     %d1, %a0
#endif
    lea     BARE_HIDDEN.w, %a0
    lea     (BARE_HIDDEN + 1).w, %a1
    .balignw 4, 0x4e71              /* nop */
    nop                             /* so that the operand of the call is naturally aligned */
    jsr     whatever_\n
1:
#ifdef CONTROL_RELIES_ON_SCRATCH
    add.l   %d1, %d0                /* nobody promised that d1 is still 1 */
    subq.l  #1, %d0
#endif
    lea     4(%sp), %sp
    rts

/* The CONDITIONAL call sites: a branch to the function, whose return goes to the caller. */
    .balignw 4, 0x4e71
    .globl conditional_\n
    .type conditional_\n, @function
conditional_\n:
    nop                             /* so that the displacement is naturally aligned */
    move.l  4(%sp), %d0
    btst    #0, %d0
    bne.l   whatever_\n
    rts
    .endr
    .text

/* void abi_scrub(void): junk in every register that is not callee-saved. */
    .globl abi_scrub
    .type abi_scrub, @function
abi_scrub:
    move.l  #0x8e6b6a75, %d0
    move.l  %d0, %d1
    move.l  %d0, %a0
    move.l  %d0, %a1
    fmove.l %d0, %fp0
    fmove.l %d0, %fp1
    rts

/* The targets.  An entry names itself in d0 and goes on at target_entry; only d0, d1 and, once it is recorded, a0 are
 * written, and the condition codes only once they are recorded, so the body gets every argument, the return address
 * and the stack as the caller left them.  Before each lie illegal instructions: who jumps short of one is found out. */
    .macro  pad
    .rept   ARCH_ENTRY_INSTRUCTION / 2
    .word   ILLEGAL
    .endr
    .balignw 4, ILLEGAL
    .endm
    .macro  entry name, number, target
    pad
    .globl \name\()_\number
    .type \name\()_\number, @function
\name\()_\number:
    movem.l 1f(%pc), %d0
    jmp     target_entry
1:  .long   NAMED + (\number << 8) + \target
    .endm
    .irp n, FUNCTION_NUMBERS
    entry   default, \n, TARGET_DEFAULT
    entry   fast, \n, TARGET_FAST
    entry   other, \n, TARGET_OTHER
    .endr

    .section .far, "ax"
    .irp n, FUNCTION_NUMBERS
    entry   far, \n, TARGET_FAR
    .endr

    .text
    .balignw 4, ILLEGAL
target_entry:
#ifdef CONTROL_CLOBBER_ARGUMENT
    clr.l   STACK_ARGUMENT(3)(%sp)
#endif
#ifdef CONTROL_CLOBBER_SAVED
    moveq   #0, %d5
#endif
#ifdef CONTROL_CLOBBER_FLOAT
    fmove.l #0, %fp3
#endif
#ifdef CONTROL_CLOBBER_FLAGS
    andi.b  #0x1e, %ccr
#endif
#ifdef CONTROL_CLOBBER_STATIC_CHAIN
    sub.l   %a0, %a0
#endif
#ifdef CONTROL_CLOBBER_STRUCT_POINTER
    lea     abi_scratch, %a1
#endif
#ifdef CONTROL_CLOBBER_FLOAT_ARGUMENT
    clr.l   STACK_ARGUMENT(2)(%sp)  /* of eight doubles half of the second, of mixed arguments half of the first */
#endif
#ifdef CONTROL_CLOBBER_STACK_ARGUMENT
    clr.l   STACK_ARGUMENT(11)(%sp)
#endif
#ifdef CONTROL_NARROW_NOT_EXTENDED
    andi.l  #0xff, STACK_ARGUMENT(0)(%sp)
#endif
#ifdef CONTROL_WRONG_RETURN_ADDRESS
    move.l  (%sp), abi_scratch
    move.l  #return_here, (%sp)
#endif
#ifdef CONTROL_LEAK_STACK
    move.l  %d0, %d1
    andi.l  #0x1f00, %d1            /* of function 0 alone, whose call sites live with it */
    bne.s   1f
    move.l  (%sp)+, %d1
    move.l  (%sp), -16(%sp)         /* its argument comes along */
    lea     -16(%sp), %sp
    move.l  %d1, -(%sp)
1:
#endif
    movem.l %a0-%a1, abi_entry+44
    move.w  %ccr, %d1
    andi.l  #0xff, %d1
    move.l  %d1, abi_entry+40
    .irp i, 0, 1, 2, 3, 4, 5, 6, 7
    move.l  STACK_ARGUMENT(\i)(%sp), abi_entry + 4 * \i
    .endr
#ifdef CONTROL_MISALIGN_STACK
    subq.l  #2, %sp
    move.l  %sp, abi_entry+32
    addq.l  #2, %sp
#else
    move.l  %sp, abi_entry+32
#endif
    move.l  (%sp), abi_entry+36
    eori.l  #NAMED, %d0
    move.l  %d0, abi_entry+64
    lsr.l   #8, %d0
    andi.l  #(1 << FUNCTION_BITS) - 1, %d0 /* a target that did not name itself still finds a body */
    lea     target_bodies, %a0
    move.l  (%a0,%d0.l*4), %a0
    jmp     (%a0)

#ifdef CONTROL_WRONG_RETURN_ADDRESS
return_here:
    move.l  abi_scratch, %a0
    jmp     (%a0)
#endif

/* NULL and RET0 lead here. */
    pad
    .globl return_void
    .type return_void, @function
return_void:
    rts
    pad
    .globl return_zero
    .type return_zero, @function
return_zero:
#ifdef CONTROL_RET0_MINUS_ONE
    moveq   #-1, %d0
    moveq   #-1, %d1
#else
    moveq   #0, %d0
    moveq   #0, %d1                 /* the other half of a 64-bit result */
#endif
    rts

    .bss
    .balign 16
    .globl abi_entry, abi_frame, abi_bare
abi_entry:
    .skip   68
abi_frame:
    .skip   4
abi_bare:
    .skip   4
abi_scratch:
    .skip   32
abi_seen:
    .skip   72

/* What fp2-fp7 hold: sign and exponent, 16 unused bits, and a normalised mantissa of 64; each another number. */
    .section .rodata
    .balign 4
abi_kept:
    .irp n, 2, 3, 4, 5, 6, 7
    .long   (0x4000 + \n) << 16, 0x80005e47 + \n, 0x5e470000 + \n
    .endr
