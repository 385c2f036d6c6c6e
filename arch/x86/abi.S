/* x86-64: what can only be observed of a call in asm.  Register roles: System V psABI, section 3.2. */
#include "arch.h"
#include "wire.h"

#define SENTINEL -0x5e47            /* negative, so that a register cut to 32 bits shows */
#define NAMED 0x6000                /* marks a target's name: what a register holds by chance is no name */

/* void abi_call(function rdi, arguments rsi, result rdx)
 *
 * Loads rdi, rsi, rdx, rcx, r8, r9 and two words of stack from arguments and calls function with a sentinel in each of
 * rbx, rbp and r12-r15, and every arithmetic flag set.  DF must come back clear.  There is no callee-saved vector
 * register (System V psABI, 3.2.1).  Nothing may be trusted to survive the call, not even rsp, so the frame is found
 * again through abi_frame, which also chains nested calls. */
    .text
    .globl abi_call
    .type abi_call, @function
abi_call:
    pushq   %rbp
    pushq   %rbx
    pushq   %r12
    pushq   %r13
    pushq   %r14
    pushq   %r15
    pushq   %rdx                    /* result */
    pushq   abi_frame(%rip)         /* outer frame */
    subq    $8, %rsp                /* 16-aligned again */
    movq    %rsp, abi_frame(%rip)
    movq    %rdi, %r10
    movq    %rsi, %r11
    movq    $(SENTINEL + 0), %rbx
    movq    $(SENTINEL + 1), %rbp
    movq    $(SENTINEL + 2), %r12
    movq    $(SENTINEL + 3), %r13
    movq    $(SENTINEL + 4), %r14
    movq    $(SENTINEL + 5), %r15
    pushq   56(%r11)
    pushq   48(%r11)
    movq    (%r11), %rdi
    movq    8(%r11), %rsi
    movq    16(%r11), %rdx
    movq    24(%r11), %rcx
    movq    32(%r11), %r8
    movq    40(%r11), %r9
    movb    $0x7f, %al
    incb    %al                     /* OF */
    movb    $(ARCH_BARE_FLAGS >> 8), %ah
    sahf                            /* the others; OF stays */
    call    *%r10

    movq    abi_frame(%rip), %rcx
    leaq    16(%rsp), %rsi          /* as it is without the two words */
    subq    %rcx, %rsi              /* stack delta */
    movq    %rcx, %rsp
    addq    $8, %rsp
    popq    abi_frame(%rip)
    popq    %rdi
    movq    %rax, (%rdi)            /* result->value */
    movq    %rdx, 8(%rdi)
    movq    %rsi, 16(%rdi)          /* result->stack */
    pushfq
    popq    %rax
    cld
    andl    $0x400, %eax            /* DF */
    shll    $(VIOLATION_KEPT_FLAGS - 10), %eax
    .macro  kept register, number
    xorl    %ecx, %ecx
    cmpq    $(SENTINEL + \number), %\register
    setne   %cl
    shll    $\number, %ecx
    orl     %ecx, %eax
    .endm
    kept    rbx, 0
    kept    rbp, 1
    kept    r12, 2
    kept    r13, 3
    kept    r14, 4
    kept    r15, 5
    movq    %rax, 24(%rdi)          /* result->clobbered */
    popq    %r15
    popq    %r14
    popq    %r13
    popq    %r12
    popq    %rbx
    popq    %rbp
    ret

/* The BARE call sites: the flags are those that abi_call set; rax and r10 are given values; what lies below the stack
 * pointer of the target is filled, as if it were in use.  Nothing here writes a flag. */
    .section .sites, "ax"
    .irp n, INT_NUMBERS
    .balign 16
    .globl bare_\n
    .type bare_\n, @function
bare_\n:
    leaq    -8(%rsp), %rsp          /* 16-aligned again */
    leaq    1f(%rip), %r11
    movq    %r11, abi_bare(%rip)
    .set    offset, -8 - RED_ZONE   /* below the return address that the call pushes */
    .rept   RED_ZONE / 8
    movq    $BARE_HIDDEN, offset(%rsp)
    .set    offset, offset + 8
    .endr
    movl    $BARE_HIDDEN, %eax
    movl    $(BARE_HIDDEN + 1), %r10d
#ifdef CONTROL_RELIES_ON_SCRATCH
    movl    $1, %r9d
    .balign 8                       /* nops: the operand crosses no aligned quadword */
    call    whatever_\n
1:  leal    -1(%rax,%r9), %eax      /* nobody promised that r9 is still 1 */
#else
    .balign 8                       /* nops: the operand crosses no aligned quadword */
    call    whatever_\n
1:
#endif
    leaq    8(%rsp), %rsp
    ret

/* The CONDITIONAL call sites: a branch to the function, whose return goes to the caller. */
    .balign 16
    .globl conditional_\n
    .type conditional_\n, @function
conditional_\n:
    movl    %edi, %eax
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
    movq    $-0x6a756e6b, %rax
    .irp register, rcx, rdx, rsi, rdi, r8, r9, r10, r11
    movq    %rax, %\register
    .endr
    testl   $FEATURE_FLOAT, farm_features(%rip)
    je      1f
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    movq    %rax, %xmm\n
    .endr
1:  ret

/* The targets.  An entry names itself in r11 and goes on at target_entry; only r11 and, once it is recorded, r10 are
 * written, so the body gets every argument (al of a variadic call too), the return address and the stack as the caller
 * left them.  Before each lie some `int3`: who jumps short of one is found out. */
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
    movl    $(NAMED | \n << 8 | TARGET_DEFAULT), %r11d
    jmp     target_entry
    pad
fast_\n:
    movl    $(NAMED | \n << 8 | TARGET_FAST), %r11d
    jmp     target_entry
    pad
other_\n:
    movl    $(NAMED | \n << 8 | TARGET_OTHER), %r11d
    jmp     target_entry
    .endr

/* Linked out of every near branch's reach, so they come back through a register. */
    .section .far, "ax"
    .irp n, FUNCTION_NUMBERS
    pad
    .globl far_\n
    .type far_\n, @function
far_\n:
    movl    $(NAMED | \n << 8 | TARGET_FAR), %r11d
    jmp     *1f(%rip)               /* no register: r10 is the caller's */
    .balign 8
1:  .quad   target_entry
    .endr

    .text
    .balign 16
target_entry:
#ifdef CONTROL_CLOBBER_ARGUMENT
    xorl    %r9d, %r9d
#endif
#ifdef CONTROL_CLOBBER_SAVED
    movl    $0, %r13d
#endif
#ifdef CONTROL_CLOBBER_FLAGS
    cmc
#endif
#ifdef CONTROL_CLOBBER_KEPT_FLAGS
    std
#endif
#ifdef CONTROL_CLOBBER_STATIC_CHAIN
    movl    $0, %r10d
#endif
#ifdef CONTROL_CLOBBER_VARIADIC_COUNT
    movl    $0, %eax
#endif
#ifdef CONTROL_CLOBBER_STRUCT_POINTER
    leaq    abi_scratch(%rip), %rdi
#endif
#ifdef CONTROL_CLOBBER_FLOAT_ARGUMENT
    pxor    %xmm1, %xmm1
#endif
#ifdef CONTROL_CLOBBER_STACK_ARGUMENT
    movq    $0, 16(%rsp)
#endif
#ifdef CONTROL_NARROW_NOT_EXTENDED
    movzbl  %dil, %edi
#endif
#ifdef CONTROL_OVERWRITE_RED_ZONE
    movq    $0, -64(%rsp)
#endif
#ifdef CONTROL_WRONG_RETURN_ADDRESS
    popq    abi_scratch(%rip)
    pushq   $return_here
#endif
#ifdef CONTROL_LEAK_STACK
    testl   $0x1f00, %r11d          /* of function 0 alone, whose call sites live with it */
    jnz     1f
    popq    %r10
    leaq    -16(%rsp), %rsp
    pushq   %r10
1:
#endif
    movq    %rdi, abi_entry(%rip)
    movq    %rsi, abi_entry+8(%rip)
    movq    %rdx, abi_entry+16(%rip)
    movq    %rcx, abi_entry+24(%rip)
    movq    %r8, abi_entry+32(%rip)
    movq    %r9, abi_entry+40(%rip)
    movq    %r10, abi_entry+80(%rip)
    movq    %rax, abi_entry+72(%rip)
    lahf
    seto    %al
    movw    %ax, abi_entry+64(%rip)
    movq    abi_entry+72(%rip), %rax
#ifdef CONTROL_MISALIGN_STACK
    leaq    -8(%rsp), %rsp
    movq    %rsp, abi_entry+48(%rip)
    leaq    8(%rsp), %rsp
#else
    movq    %rsp, abi_entry+48(%rip)
#endif
    movq    (%rsp), %r10
    movq    %r10, abi_entry+56(%rip)
    cmpq    $0, abi_bare(%rip)
    je      2f
    movq    $-RED_ZONE, %r10
1:  cmpq    $BARE_HIDDEN, (%rsp,%r10)
    jne     1f
    addq    $8, %r10
    jne     1b
1:  movq    %r10, abi_entry+88(%rip) /* 0: all of it is intact */
2:  xorl    $NAMED, %r11d
    movl    %r11d, abi_entry+112(%rip)
    shrl    $8, %r11d
    andl    $((1 << FUNCTION_BITS) - 1), %r11d /* a target that did not name itself still finds a body */
    leaq    target_bodies(%rip), %r10
    jmp     *(%r10,%r11,8)

#ifdef CONTROL_WRONG_RETURN_ADDRESS
return_here:
    jmp     *abi_scratch(%rip)
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
    movq    $-1, %rax
#else
    xorl    %eax, %eax              /* all of rax */
#endif
    ret

    .bss
    .balign 16
    .globl abi_entry, abi_frame, abi_bare
abi_entry:
    .skip   128
abi_frame:
    .skip   8
abi_bare:
    .skip   8
abi_scratch:
    .skip   32
