/* x86-64: what can only be observed of a call in asm.  Register roles: System V psABI, section 3.2. */
#include "arch.h"
#include "wire.h"

#define SENTINEL -0x5e47            /* negative, so that a register cut to 32 bits shows */
#define NAMED 0x6000                /* marks a target's name: what a register holds by chance is no name */

/* void abi_call(function rdi, arguments rsi, result rdx)
 *
 * Loads rdi, rsi, rdx, rcx, r8, r9 and two words of stack from arguments and calls function with a sentinel in each of
 * rbx, rbp and r12-r15.  Nothing may be trusted to survive the call, not even rsp, so the frame is found again through
 * abi_frame, which also chains nested calls. */
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
    xorl    %eax, %eax
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

/* The targets.  An entry names itself in r11 and goes on at target_entry; only r10 and r11 are written, so the body
 * gets every argument (al of a variadic call too), the return address and the stack as the caller left them. */
    .irp n, FUNCTION_NUMBERS
    .balign 16
    .globl default_\n, fast_\n, other_\n
    .type default_\n, @function
    .type fast_\n, @function
    .type other_\n, @function
default_\n:
    movl    $(NAMED | \n << 8 | TARGET_DEFAULT), %r11d
    jmp     target_entry
    .balign 16
fast_\n:
    movl    $(NAMED | \n << 8 | TARGET_FAST), %r11d
    jmp     target_entry
    .balign 16
other_\n:
    movl    $(NAMED | \n << 8 | TARGET_OTHER), %r11d
    jmp     target_entry
    .endr

/* Linked out of every near branch's reach, so they come back through a register. */
    .section .far, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 16
    .globl far_\n
    .type far_\n, @function
far_\n:
    movl    $(NAMED | \n << 8 | TARGET_FAR), %r11d
    movabsq $target_entry, %r10
    jmp     *%r10
    .endr

    .text
    .balign 16
target_entry:
#ifdef CONTROL_CLOBBER_ARGUMENT
    xorl    %r9d, %r9d
#endif
#ifdef CONTROL_CLOBBER_SAVED
    xorl    %r13d, %r13d
#endif
    movq    %rdi, abi_entry(%rip)
    movq    %rsi, abi_entry+8(%rip)
    movq    %rdx, abi_entry+16(%rip)
    movq    %rcx, abi_entry+24(%rip)
    movq    %r8, abi_entry+32(%rip)
    movq    %r9, abi_entry+40(%rip)
    movq    %rsp, abi_entry+48(%rip)
    movq    (%rsp), %r10
    movq    %r10, abi_entry+56(%rip)
    xorl    $NAMED, %r11d
    movl    %r11d, abi_entry+64(%rip)
    shrl    $8, %r11d
    andl    $((1 << FUNCTION_BITS) - 1), %r11d /* a target that did not name itself still finds a body */
    leaq    target_bodies(%rip), %r10
    jmp     *(%r10,%r11,8)

/* NULL and RET0 lead here. */
    .balign 16
    .globl return_void
    .type return_void, @function
return_void:
    ret
    .balign 16
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
    .globl abi_entry, abi_frame
abi_entry:
    .skip   80
abi_frame:
    .skip   16
