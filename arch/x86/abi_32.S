/* i386: what can only be observed of a call in asm.  Register roles: i386 psABI, section 2.2. */
#include "arch.h"
#include "wire.h"

#define SENTINEL -0x5e47
#define NAMED 0x6000                /* marks a target's name: what a register holds by chance is no name */

/* void abi_call(function, arguments, result), all on the stack
 *
 * Pushes the eight words of arguments and calls function with a sentinel in each of ebx, ebp, esi and edi, and every
 * arithmetic flag set.  DF must come back clear (i386 psABI, 2.2.1); no vector register and no register of the x87
 * is the caller's.  Nothing may be trusted to survive the call, not even esp, so the frame is found again through
 * abi_frame, which also chains nested calls. */
    .text
    .globl abi_call
    .type abi_call, @function
abi_call:
    pushl   %ebp
    pushl   %ebx
    pushl   %esi
    pushl   %edi
    movl    20(%esp), %edx          /* function */
    movl    24(%esp), %ecx          /* arguments */
    pushl   28(%esp)                /* result */
    pushl   abi_frame               /* outer frame */
    subl    $4, %esp                /* 16-aligned again */
    movl    %esp, abi_frame
    .irp i, 7, 6, 5, 4, 3, 2, 1, 0
    pushl   4 * \i(%ecx)
    .endr
    movl    $(SENTINEL + 0), %ebx
    movl    $(SENTINEL + 1), %ebp
    movl    $(SENTINEL + 2), %esi
    movl    $(SENTINEL + 3), %edi
    movb    $0x7f, %al
    incb    %al                     /* OF */
    movb    $(ARCH_BARE_FLAGS >> 8), %ah
    sahf                            /* the others; OF stays */
    call    *%edx

    movl    %eax, abi_scratch       /* every other register is looked at */
    movl    %edx, abi_scratch+4
    movl    abi_frame, %ecx
    leal    32(%esp), %edx          /* as it is without the eight words */
    subl    %ecx, %edx              /* stack delta */
    movl    %ecx, %esp
    addl    $4, %esp
    popl    abi_frame
    popl    %ecx                    /* result */
    movl    %edx, 8(%ecx)           /* result->stack */
    pushfl
    popl    %eax
    cld
    andl    $0x400, %eax            /* DF */
    shll    $(VIOLATION_KEPT_FLAGS - 10), %eax
    .macro  kept register, number
    xorl    %edx, %edx
    cmpl    $(SENTINEL + \number), %\register
    setne   %dl
    shll    $\number, %edx
    orl     %edx, %eax
    .endm
    kept    ebx, 0
    kept    ebp, 1
    kept    esi, 2
    kept    edi, 3
    movl    %eax, 12(%ecx)          /* result->clobbered */
    movl    abi_scratch, %eax
    movl    %eax, (%ecx)            /* result->value */
    movl    abi_scratch+4, %eax
    movl    %eax, 4(%ecx)
    popl    %edi
    popl    %esi
    popl    %ebx
    popl    %ebp
    ret

/* The BARE call sites: the flags are those that abi_call set; ecx and ebx are given values.  Nothing here writes a
 * flag. */
    .section .sites, "ax"
    .irp n, INT_NUMBERS
    .balign 16
    .globl bare_\n
    .type bare_\n, @function
bare_\n:
    pushl   %ebx
    leal    -4(%esp), %esp
    pushl   12(%esp)                /* x; 16-aligned again */
    movl    $1f, abi_bare
    movl    $BARE_HIDDEN, %ecx
    movl    $(BARE_HIDDEN + 1), %ebx
#ifdef CONTROL_RELIES_ON_SCRATCH
    movl    $1, %edx
    .balign 8                       /* nops: the operand crosses no aligned quadword */
    call    whatever_\n
1:  leal    -1(%eax,%edx), %eax     /* nobody promised that edx is still 1 */
#else
    .balign 8                       /* nops: the operand crosses no aligned quadword */
    call    whatever_\n
1:
#endif
    leal    8(%esp), %esp
    popl    %ebx
    ret

/* The CONDITIONAL call sites: a branch to the function, whose return goes to the caller. */
    .balign 16
    .globl conditional_\n
    .type conditional_\n, @function
conditional_\n:
    movl    4(%esp), %eax
    testb   $1, %al
    .balign 8
    jne     whatever_\n
    ret
    .endr
    .text

/* void abi_scrub(void): junk in every register that is not callee-saved. */
    .globl abi_scrub
    .type abi_scrub, @function
abi_scrub:
    movl    $0x8e6b6a75, %eax
    movl    %eax, %ecx
    movl    %eax, %edx
    ret

/* The targets.  An entry names itself in edx and goes on at target_entry; only edx and eax are written, so the body
 * gets every argument, the return address and the stack as the caller left them.  Before each lie some `int3`: who
 * jumps short of one is found out. */
.macro pad
    .skip   ARCH_ENTRY_INSTRUCTION, 0xcc
    .balign 16, 0xcc
.endm

    .irp n, FUNCTION_NUMBERS
    pad
    .globl default_\n, fast_\n, other_\n
    .type default_\n, @function
    .type fast_\n, @function
    .type other_\n, @function
default_\n:
    movl    $(NAMED | \n << 8 | TARGET_DEFAULT), %edx
    jmp     target_entry
    pad
fast_\n:
    movl    $(NAMED | \n << 8 | TARGET_FAST), %edx
    jmp     target_entry
    pad
other_\n:
    movl    $(NAMED | \n << 8 | TARGET_OTHER), %edx
    jmp     target_entry
    .endr

/* More than 2 GiB away: the displacement of what leads here has wrapped. */
    .section .far, "ax"
    .irp n, FUNCTION_NUMBERS
    pad
    .globl far_\n
    .type far_\n, @function
far_\n:
    movl    $(NAMED | \n << 8 | TARGET_FAR), %edx
    jmp     target_entry
    .endr

    .text
    .balign 16
target_entry:
#ifdef CONTROL_CLOBBER_ARGUMENT
    movl    $0, 8(%esp)
#endif
#ifdef CONTROL_CLOBBER_SAVED
    movl    $0, %esi
#endif
#ifdef CONTROL_CLOBBER_FLAGS
    cmc
#endif
#ifdef CONTROL_CLOBBER_KEPT_FLAGS
    std
#endif
#ifdef CONTROL_CLOBBER_STATIC_CHAIN
    movl    $0, %ecx
#endif
#ifdef CONTROL_CLOBBER_STRUCT_POINTER
    movl    $abi_scratch, 4(%esp)
#endif
#ifdef CONTROL_CLOBBER_FLOAT_ARGUMENT
    movl    $0, 12(%esp)            /* the second double's low half */
#endif
#ifdef CONTROL_CLOBBER_STACK_ARGUMENT
    movl    $0, 16(%esp)
#endif
#ifdef CONTROL_WRONG_RETURN_ADDRESS
    popl    abi_scratch
    pushl   $return_here
#endif
#ifdef CONTROL_LEAK_STACK
    testl   $0x1f00, %edx           /* of function 0 alone, whose call sites live with it */
    jnz     1f
    popl    %eax
    leal    -16(%esp), %esp
    pushl   %eax
1:
#endif
    lahf
    seto    %al
    movw    %ax, abi_entry+40
    movl    %ecx, abi_entry+44
    movl    %ebx, abi_entry+48
    .irp i, 0, 1, 2, 3, 4, 5, 6, 7
    movl    4 + 4 * \i(%esp), %eax
    movl    %eax, abi_entry + 4 * \i
    .endr
#ifdef CONTROL_MISALIGN_STACK
    leal    -8(%esp), %eax
    movl    %eax, abi_entry+32
#else
    movl    %esp, abi_entry+32
#endif
    movl    (%esp), %eax
    movl    %eax, abi_entry+36
    xorl    $NAMED, %edx
    movl    %edx, abi_entry+64
    shrl    $8, %edx
    andl    $((1 << FUNCTION_BITS) - 1), %edx /* a target that did not name itself still finds a body */
    jmp     *target_bodies(,%edx,4)

#ifdef CONTROL_WRONG_RETURN_ADDRESS
return_here:
    jmp     *abi_scratch
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
    movl    $-1, %eax
    movl    $-1, %edx
#else
    xorl    %eax, %eax
    xorl    %edx, %edx              /* the other half of a result of 64 bits */
#endif
    ret

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
