/* mips: what can only be observed of a call in asm.  Register roles: System V ABI MIPS supplement, "Registers"; MIPSpro
 * N32 ABI Handbook, "Calling Convention", whose registers are those of n64. */
#include "arch.h"
#include "wire.h"

#define SENTINEL -0x5e47            /* negative, so that a register cut to 32 bits shows */
#define NAMED 0x6000                /* marks a target's name: what a register holds by chance is no name */

/* abi_call's frame in words: arguments on the stack, with the four places before them where an o32 callee may store its
 * registers; $16-$23, $30 and $31; three of its own; then the floating-point registers. */
#define SAVED(i) (8 + (i)) * WORD
#define RESULT 18 * WORD
#define OUTER 19 * WORD
#define FCSR_SAVED 20 * WORD
#define FLOATS_SAVED 22 * WORD
#define FRAME (FLOATS_SAVED + 64)

/* Where abi_entry (guest.h) has what an entry records. */
#ifdef __mips64
#define ARGUMENTS 8
#define KEPT_WORDS 16
#else
#define ARGUMENTS 4
#define KEPT_WORDS 12
#endif
#define ENTRY(i) (ARGUMENTS + (i)) * WORD

/* One place for each callee-saved general register. */
.macro for_each_saved what
    \what   16, 0
    \what   17, 1
    \what   18, 2
    \what   19, 3
    \what   20, 4
    \what   21, 5
    \what   22, 6
    \what   23, 7
    \what   30, 8
.endm

.macro save_and_mark n, i
    STORE   $\n, SAVED(\i)($29)
    ADD_IMMEDIATE $\n, $0, SENTINEL + \i
.endm

.macro check_and_load n, i          /* bit i of $12 */
    ADD_IMMEDIATE $13, $\n, -(SENTINEL + \i)
    sltu    $13, $0, $13
    sll     $13, $13, \i
    or      $12, $12, $13
    LOAD    $\n, SAVED(\i)($29)
.endm

/* void abi_call(function $4, arguments $5, result $6)
 *
 * Loads eight words of arguments, $4 and up and the stack, and calls function with a sentinel in each of $16-$23, $30
 * and the callee-saved floating-point registers, which are $f20-$f31 (o32) or $f24-$f31 (n64), and with the
 * floating-point conditions set.  $28 must survive as well.  Nothing may be trusted to survive the call, not even $29,
 * so the frame is found again through abi_frame, which also chains nested calls. */
    .text
    .globl abi_call
    .type abi_call, %function
abi_call:
    ADD_IMMEDIATE $29, $29, -FRAME
    for_each_saved save_and_mark
    STORE   $31, SAVED(9)($29)
    lui     $12, %hi(abi_frame)
    LOAD    $13, %lo(abi_frame)($12)
    STORE   $6, RESULT($29)
    STORE   $13, OUTER($29)
    STORE   $29, %lo(abi_frame)($12)
    cfc1    $12, $31
    sw      $12, FCSR_SAVED($29)
    address 12, abi_kept
    ADD_IMMEDIATE $13, $29, FLOATS_SAVED
    .irp n, FLOATS_KEPT
    sdc1    $f\n, 0($13)
    ldc1    $f\n, 0($12)
    ADD_IMMEDIATE $13, $13, 8
    ADD_IMMEDIATE $12, $12, 8
    .endr
    lui     $12, ARCH_BARE_FLAGS >> 16
    ctc1    $12, $31
    move    $25, $4
    move    $12, $5
#ifdef __mips64
    .irp n, 4, 5, 6, 7, 8, 9, 10, 11
    ld      $\n, 8 * (\n - 4)($12)
    .endr
#else
    .irp i, 4, 5, 6, 7
    lw      $13, 4 * \i($12)
    sw      $13, 4 * \i($29)
    .endr
    .irp n, 4, 5, 6, 7
    lw      $\n, 4 * (\n - 4)($12)
    .endr
#endif
    jalr    $25
    nop

    lui     $8, %hi(abi_frame)
    LOAD    $9, %lo(abi_frame)($8)
    SUBTRACT $10, $29, $9           /* stack delta */
    move    $29, $9
    LOAD    $11, RESULT($29)
    LOAD    $12, OUTER($29)
    STORE   $12, %lo(abi_frame)($8)
    STORE   $2, 0($11)              /* result->value */
    STORE   $3, WORD($11)
    STORE   $10, 2 * WORD($11)      /* result->stack */
    move    $12, $0
    for_each_saved check_and_load
    address 13, GLOBAL_POINTER
    beq     $28, $13, 1f
    lui     $14, 1 << (VIOLATION_TOC - 16)
    or      $12, $12, $14
    move    $28, $13
1:  address 8, abi_seen
    ADD_IMMEDIATE $13, $29, FLOATS_SAVED
    .irp n, FLOATS_KEPT
    sdc1    $f\n, 0($8)
    ldc1    $f\n, 0($13)
    ADD_IMMEDIATE $8, $8, 8
    ADD_IMMEDIATE $13, $13, 8
    .endr
    address 8, abi_seen
    address 9, abi_kept
    li      $10, KEPT_WORDS
    lui     $14, 1 << (VIOLATION_KEPT_FLOATS - 16)
1:  lw      $13, 0($8)
    lw      $15, 0($9)
    ADD_IMMEDIATE $8, $8, 4
    beq     $13, $15, 2f
    ADD_IMMEDIATE $9, $9, 4
    or      $12, $12, $14
2:  addiu   $10, $10, -1
    bnez    $10, 1b
    nop
    STORE   $12, 3 * WORD($11)      /* result->clobbered */
    lw      $12, FCSR_SAVED($29)
    ctc1    $12, $31
    LOAD    $31, SAVED(9)($29)
    jr      $31
    ADD_IMMEDIATE $29, $29, FRAME

/* Behind the call of a BARE site: it makes the argument what it is. */
#ifdef CONTROL_NOP_DELAY_SLOT
#define DELAY_SLOT nop
#else
#define DELAY_SLOT addiu $4, $4, 1
#endif

/* The BARE call sites: the floating-point conditions are those that abi_call set; $15 is given a value. */
    .section .sites, "ax"
    .irp n, INT_NUMBERS
    .balign 16
    .globl bare_\n
    .type bare_\n, %function
bare_\n:
    ADD_IMMEDIATE $29, $29, -32
    STORE   $31, 24($29)
    address 12, 1f
    lui     $13, %hi(abi_bare)
    STORE   $12, %lo(abi_bare)($13)
    li      $15, BARE_HIDDEN
    addiu   $4, $4, -1
#ifdef CONTROL_RELIES_ON_SCRATCH
    li      $14, 1
    jal     whatever_\n
    DELAY_SLOT
1:  addu    $2, $2, $14             /* nobody promised that $14 is still 1 */
    addiu   $2, $2, -1
#else
    jal     whatever_\n
    DELAY_SLOT
1:
#endif
    LOAD    $31, 24($29)
    jr      $31
    ADD_IMMEDIATE $29, $29, 32
    .endr

/* The CONDITIONAL call sites: a branch to the function, whose return goes to the caller.  It reaches 128 KiB, so they
 * come first. */
    .section .sites.first, "ax"
    .irp n, INT_NUMBERS
    .globl conditional_\n
    .type conditional_\n, %function
conditional_\n:
    andi    $12, $4, 1
    bnez    $12, whatever_\n
    move    $2, $4
    jr      $31
    nop
    .endr
    .text

/* void abi_scrub(void): junk in every register that is not callee-saved, but $26 and $27, which are the kernel's, $28
 * and the return address. */
    .globl abi_scrub
    .type abi_scrub, %function
abi_scrub:
    lui     $1, 0x8e6b
    .irp n, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25
    move    $\n, $1
    .endr
    mthi    $1
    mtlo    $1
    .irp n, FLOATS_SCRATCH
    mtc1    $1, $f\n
    mthc1   $1, $f\n
    .endr
#ifdef CONTROL_TOC_NOT_RESTORED
    move    $28, $0
#endif
    jr      $31
    nop

/* The targets.  An entry names itself in $24 and goes on at target_entry; only $24 and, once that is there, $12 and $25
 * are written, so the body gets every argument, $28, the return address and the stack as the caller left them.  Before
 * each lie some `break`: who jumps short of one is found out. */
.macro pad
    .balign 16
    .rept   4
    break
    .endr
.endm

    .irp n, FUNCTION_NUMBERS
    pad
    .globl default_\n, fast_\n, other_\n
    .type default_\n, %function
    .type fast_\n, %function
    .type other_\n, %function
default_\n:
    li      $24, NAMED | \n << 8 | TARGET_DEFAULT
    j       target_entry
    nop
    pad
fast_\n:
    li      $24, NAMED | \n << 8 | TARGET_FAST
    j       target_entry
    nop
    pad
other_\n:
    li      $24, NAMED | \n << 8 | TARGET_OTHER
    j       target_entry
    nop
    .endr

/* Linked into another region, so they come back through a register. */
    .section .far, "ax"
    .irp n, FUNCTION_NUMBERS
    pad
    .globl far_\n
    .type far_\n, %function
far_\n:
    li      $24, NAMED | \n << 8 | TARGET_FAR
    address 25, target_entry
    jr      $25
    nop
    .endr

    .text
    .balign 16
target_entry:
#ifdef CONTROL_CLOBBER_ARGUMENT
    move    $6, $0
#endif
#ifdef CONTROL_CLOBBER_SAVED
    move    $19, $0
#endif
#ifdef CONTROL_CLOBBER_FLOAT
    mtc1    $0, $f26
#endif
#ifdef CONTROL_CLOBBER_FLAGS
    ctc1    $0, $31
#endif
#ifdef CONTROL_CLOBBER_STATIC_CHAIN
    move    $15, $0
#endif
#ifdef CONTROL_CLOBBER_STRUCT_POINTER
    address 4, abi_scratch
#endif
#ifdef CONTROL_CLOBBER_FLOAT_ARGUMENT
#ifdef __mips64
    mtc1    $0, $f13
#else
    mtc1    $0, $f14
    move    $6, $0                  /* behind an integer, o32 passes a double in general registers */
#endif
#endif
#ifdef CONTROL_CLOBBER_STACK_ARGUMENT
    STORE   $0, STACK_ARGUMENT($29)
#endif
#ifdef CONTROL_NARROW_NOT_EXTENDED
    andi    $4, $4, 0xff
#endif
#ifdef CONTROL_CLOBBER_TOC
    move    $28, $0
#endif
#ifdef CONTROL_WRONG_RETURN_ADDRESS
    lui     $12, %hi(abi_scratch)
    STORE   $31, %lo(abi_scratch)($12)
    address 31, return_here
#endif
#ifdef CONTROL_LEAK_STACK
    andi    $12, $24, 0x1f00
    bnez    $12, 1f                 /* of function 0 alone, whose call sites live with it */
    nop
    ADD_IMMEDIATE $29, $29, -16
1:
#endif
    address 25, abi_entry
    .irp n, 4, 5, 6, 7
    STORE   $\n, (\n - 4) * WORD($25)
    .endr
#ifdef __mips64
    .irp n, 8, 9, 10, 11
    STORE   $\n, (\n - 4) * WORD($25)
    .endr
#endif
#ifdef CONTROL_MISALIGN_STACK
    ADD_IMMEDIATE $29, $29, -ARCH_STACK_ALIGNMENT / 2
    STORE   $29, ENTRY(0)($25)
    ADD_IMMEDIATE $29, $29, ARCH_STACK_ALIGNMENT / 2
#else
    STORE   $29, ENTRY(0)($25)
#endif
    STORE   $31, ENTRY(1)($25)
    cfc1    $12, $31
    STORE   $12, ENTRY(2)($25)
    STORE   $15, ENTRY(3)($25)
    address 12, GLOBAL_POINTER
    SUBTRACT $12, $28, $12
    STORE   $12, ENTRY(6)($25)      /* 0: $28 is what it is everywhere in this guest */
    xori    $24, $24, NAMED
    sw      $24, ENTRY(8)($25)
    srl     $24, $24, 8
    andi    $24, $24, (1 << FUNCTION_BITS) - 1 /* a target that did not name itself still finds a body */
    sll     $24, $24, WORD_SHIFT
    lui     $12, %hi(target_bodies)
    ADD     $12, $12, $24
    LOAD    $25, %lo(target_bodies)($12)
    jr      $25
    nop

#ifdef CONTROL_WRONG_RETURN_ADDRESS
return_here:
    lui     $12, %hi(abi_scratch)
    LOAD    $31, %lo(abi_scratch)($12)
    jr      $31
    nop
#endif

/* NULL and RET0 lead here. */
    pad
    .globl return_void
    .type return_void, %function
return_void:
    jr      $31
    nop
    pad
    .globl return_zero
    .type return_zero, %function
return_zero:
#ifdef CONTROL_RET0_MINUS_ONE
    li      $2, -1
    jr      $31
    li      $3, -1
#else
    move    $2, $0
    jr      $31
    move    $3, $0                  /* the other half of an o32 result of 64 bits */
#endif

    .bss
    .balign 16
    .globl abi_entry, abi_frame, abi_bare
abi_entry:
    .skip   ENTRY(9)
    .balign 8
abi_frame:
    .skip   8
abi_bare:
    .skip   8
abi_scratch:
    .skip   32
abi_seen:
    .skip   64

/* What the callee-saved floating-point registers hold; each word another number. */
    .section .rodata
    .balign 8
abi_kept:
    .set    i, 0
    .rept   KEPT_WORDS
    .long   0x5e470000 + i
    .set    i, i + 1
    .endr
