/* alpha: what can only be observed of a call in asm.  Register roles: Calling Standard for Alpha Systems, "Register
 * usage conventions". */
#include "arch.h"
#include "wire.h"

#define SENTINEL -0x5e47            /* negative, so that a register cut to 32 bits shows */
#define NAMED 0x6000                /* marks a target's name: what a register holds by chance is no name */

/* abi_call's frame: two words of arguments, $26, $9-$15, two of its own, $f2-$f9. */
#define RETURN_SAVED 16
#define SAVED(n) (24 + 8 * ((n) - 9))
#define RESULT 80
#define OUTER 88
#define FLOAT_SAVED(n) (96 + 8 * ((n) - 2))
#define FRAME 160

/* void abi_call(function $16, arguments $17, result $18)
 *
 * Loads $16-$21 and two words of stack from arguments and calls function, with its address in $27, and with a sentinel
 * in each of $9-$15 and $f2-$f9.  Nothing may be trusted to survive the call, not even $30, so the frame is found again
 * through abi_frame, which also chains nested calls. */
    .text
    .globl abi_call
    .type abi_call, @function
abi_call:
    global_pointer
    lda     $30, -FRAME($30)
    stq     $26, RETURN_SAVED($30)
    stq     $18, RESULT($30)
    address $1, abi_frame
    ldq     $2, 0($1)
    stq     $2, OUTER($30)
    stq     $30, 0($1)
    .irp n, 9, 10, 11, 12, 13, 14, 15
    stq     $\n, SAVED(\n)($30)
    lda     $\n, SENTINEL + \n - 9($31)
    .endr
    address $1, abi_kept
    .irp n, 2, 3, 4, 5, 6, 7, 8, 9
    stt     $f\n, FLOAT_SAVED(\n)($30)
    ldt     $f\n, 8 * (\n - 2)($1)
    .endr
    mov     $16, $27
    mov     $17, $1
    ldq     $2, 48($1)
    stq     $2, 0($30)
    ldq     $2, 56($1)
    stq     $2, 8($30)
    .irp n, 16, 17, 18, 19, 20, 21
    ldq     $\n, 8 * (\n - 16)($1)
    .endr
    jsr     $26, ($27), 0

    global_pointer
    address $1, abi_frame
    ldq     $2, 0($1)
    subq    $30, $2, $3             /* stack delta */
    mov     $2, $30
    ldq     $4, RESULT($30)
    ldq     $5, OUTER($30)
    stq     $5, 0($1)
    stq     $0, 0($4)               /* result->value: one register */
    stq     $31, 8($4)
    stq     $3, 16($4)              /* result->stack */
    mov     0, $5
    .irp n, 9, 10, 11, 12, 13, 14, 15
    lda     $6, -(SENTINEL + \n - 9)($\n)
    cmpult  $31, $6, $6             /* not 0 */
    sll     $6, \n - 9, $6
    bis     $5, $6, $5
    ldq     $\n, SAVED(\n)($30)
    .endr
    address $1, abi_kept
    address $2, abi_scratch
    .irp n, 2, 3, 4, 5, 6, 7, 8, 9
    stt     $f\n, 0($2)
    ldq     $6, 0($2)
    ldq     $7, 8 * (\n - 2)($1)
    xor     $6, $7, $6
    cmpult  $31, $6, $6
    sll     $6, VIOLATION_KEPT_FLOATS, $6
    bis     $5, $6, $5
    ldt     $f\n, FLOAT_SAVED(\n)($30)
    .endr
    stq     $5, 24($4)              /* result->clobbered */
    ldq     $26, RETURN_SAVED($30)
    lda     $30, FRAME($30)
    ret     $31, ($26), 1

/* The BARE call sites: $1 is given a value. */
    .section .sites, "ax"
    .irp n, INT_NUMBERS
    .balign 16
    .globl bare_\n
    .type bare_\n, @function
bare_\n:
    global_pointer
    lda     $30, -16($30)
    stq     $26, 0($30)
    address $2, .Lreturn_\n
    address $3, abi_bare
    stq     $2, 0($3)
    lda     $1, BARE_HIDDEN($31)
    address $27, whatever_\n
#ifdef CONTROL_RELIES_ON_SCRATCH
    lda     $8, 1($31)
    jsr     $26, ($27), 0
.Lreturn_\n:
    addl    $0, $8, $0              /* nobody promised that $8 is still 1 */
    subl    $0, 1, $0
#else
    jsr     $26, ($27), 0
.Lreturn_\n:
#endif
    ldq     $26, 0($30)
    lda     $30, 16($30)
    ret     $31, ($26), 1
    .endr
    .text

/* void abi_scrub(void): junk in every register that is not callee-saved, the global pointer among them, but $26, which
 * a return needs. */
    .globl abi_scrub
    .type abi_scrub, @function
abi_scrub:
    global_pointer
    address $1, abi_kept
    .irp n, 0, 1, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
    ldt     $f\n, 0($1)
    .endr
    ldah    $0, -0x7195($31)
    .irp n, 1, 2, 3, 4, 5, 6, 7, 8, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 27, 28, 29
    mov     $0, $\n
    .endr
    ret     $31, ($26), 1

/* The targets.  An entry names itself in $25 and goes on at target_entry; only $24, $25, $28 and $29, whose value every
 * function makes anew, and once it is recorded $27 are written, so the body gets every argument, the return address and
 * the stack as the caller left them.  Before each lie zeros, which are `call_pal halt`: who jumps short of one is found
 * out. */
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
    lda     $25, NAMED | \n << 8 | TARGET_DEFAULT($31)
    br      $31, target_entry
    pad
fast_\n:
    lda     $25, NAMED | \n << 8 | TARGET_FAST($31)
    br      $31, target_entry
    pad
other_\n:
    ldah    $29, 0($27)             /* as C begins that needs its procedure value, so no near jump may lead here */
    lda     $25, NAMED | \n << 8 | TARGET_OTHER($31)
    br      $31, target_entry
    .endr

/* Linked out of every near branch's reach, so they come back through a register. */
    .section .far, "ax"
    .irp n, FUNCTION_NUMBERS
    pad
    .globl far_\n
    .type far_\n, @function
far_\n:
    lda     $25, NAMED | \n << 8 | TARGET_FAR($31)
    br      $28, 1f
1:  ldq     $28, 8($28)
    jmp     $31, ($28), 0
    .balign 8
    .quad   target_entry            /* eight bytes behind the ldq */
    .endr

    .text
    .balign 16
target_entry:
#ifdef CONTROL_CLOBBER_ARGUMENT
    mov     0, $17
#endif
#ifdef CONTROL_CLOBBER_SAVED
    mov     0, $11
#endif
#ifdef CONTROL_CLOBBER_FLOAT
    cpys    $f31, $f31, $f4
#endif
#ifdef CONTROL_CLOBBER_STATIC_CHAIN
    mov     0, $1
#endif
#ifdef CONTROL_CLOBBER_FLOAT_ARGUMENT
    cpys    $f31, $f31, $f17
#endif
#ifdef CONTROL_CLOBBER_STACK_ARGUMENT
    stq     $31, 8($30)
#endif
#ifdef CONTROL_NARROW_NOT_EXTENDED
    and     $16, 0xff, $16
#endif
#ifdef CONTROL_CLOBBER_ENTRY_REGISTER
    mov     0, $27
#endif
    global_pointer
#ifdef CONTROL_CLOBBER_STRUCT_POINTER
    address $16, abi_scratch
#endif
#ifdef CONTROL_WRONG_RETURN_ADDRESS
    address $24, abi_scratch
    stq     $26, 0($24)
    address $26, return_here
#endif
#ifdef CONTROL_LEAK_STACK
    lda     $24, 0x1f00($31)
    and     $25, $24, $24
    bne     $24, 1f                 /* of function 0 alone, whose call sites live with it */
    lda     $30, -16($30)
1:
#endif
    address $28, abi_entry
    .irp n, 16, 17, 18, 19, 20, 21
    stq     $\n, 8 * (\n - 16)($28)
    .endr
#ifdef CONTROL_MISALIGN_STACK
    lda     $24, -8($30)
    stq     $24, 48($28)
#else
    stq     $30, 48($28)
#endif
    stq     $26, 56($28)
    stq     $1, 72($28)
    stq     $27, 104($28)
    lda     $24, NAMED($31)
    xor     $25, $24, $25
    stl     $25, 112($28)
    srl     $25, 8, $25
    and     $25, (1 << FUNCTION_BITS) - 1, $25 /* a target that did not name itself still finds a body */
    address $27, target_bodies
    s8addq  $25, $27, $27
    ldq     $27, 0($27)
    jmp     $31, ($27), 0

#ifdef CONTROL_WRONG_RETURN_ADDRESS
return_here:
    global_pointer
    address $24, abi_scratch
    ldq     $26, 0($24)
    ret     $31, ($26), 1
#endif

/* NULL and RET0 lead here. */
    pad
    .globl return_void
    .type return_void, @function
return_void:
    ret     $31, ($26), 1
    pad
    .globl return_zero
    .type return_zero, @function
return_zero:
#ifdef CONTROL_RET0_MINUS_ONE
    lda     $0, -1($31)
#else
    mov     0, $0
#endif
    ret     $31, ($26), 1

    .bss
    .balign 16
    .globl abi_entry, abi_frame, abi_bare
abi_entry:
    .skip   120
abi_frame:
    .skip   8
abi_bare:
    .skip   8
abi_scratch:
    .skip   32

/* What $f2-$f9 hold; each another number. */
    .section .rodata
    .balign 8
abi_kept:
    .equ    i, 0
    .rept   8
    .quad   0x5e470000 + i
    .equ    i, i + 1
    .endr
