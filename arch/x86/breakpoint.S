/* x86: a breakpoint as an engine without an operating system delivers it, and the way back from a signal's handler. */
#include "arch.h"
#include "breakpoint_arch.h"

/* farm_breakpoint: entered as if by a call from the breakpoint, behind which the return address lies; on x86-64, 128 bytes
 * further down, for what is below the stack pointer may be in use (System V psABI, 3.2.2).  It goes on where
 * mechanism_breakpoint says, with all registers, flags too, as they were; vector registers are not touched. */
#ifdef __x86_64__
    .text
    .globl farm_breakpoint
    .type farm_breakpoint, @function
farm_breakpoint:
    pushfq
    pushq   %rax
    pushq   %rcx
    pushq   %rdx
    pushq   %rsi
    pushq   %rdi
    pushq   %r8
    pushq   %r9
    pushq   %r10
    pushq   %r11
    pushq   %rbx
    cld
    movq    88(%rsp), %rdi          /* the return address, behind 11 words */
    subq    $BREAKPOINT_BYTES, %rdi
    movq    %rsp, %rbx
    andq    $-16, %rsp
    call    mechanism_breakpoint
    movq    %rbx, %rsp
    testq   %rax, %rax
    jz      0f
    movq    %rax, 88(%rsp)
    popq    %rbx
    popq    %r11
    popq    %r10
    popq    %r9
    popq    %r8
    popq    %rdi
    popq    %rsi
    popq    %rdx
    popq    %rcx
    popq    %rax
    popfq
    ret     $128
0:  ud2

    .globl breakpoint_return
    .type breakpoint_return, @function
breakpoint_return:
    movl    $ARCH_SYS_RT_SIGRETURN, %eax
    syscall

#else
    .text
    .globl farm_breakpoint
    .type farm_breakpoint, @function
farm_breakpoint:
    pushfl
    pushl   %eax
    pushl   %ecx
    pushl   %edx
    pushl   %ebx
    cld
    movl    20(%esp), %eax          /* the return address, behind 5 words */
    subl    $BREAKPOINT_BYTES, %eax
    movl    %esp, %ebx
    subl    $4, %esp
    andl    $-16, %esp
    movl    %eax, (%esp)
    call    mechanism_breakpoint
    movl    %ebx, %esp
    testl   %eax, %eax
    jz      0f
    movl    %eax, 20(%esp)
    popl    %ebx
    popl    %edx
    popl    %ecx
    popl    %eax
    popfl
    ret
0:  ud2

    .globl breakpoint_return
    .type breakpoint_return, @function
breakpoint_return:
    movl    $ARCH_SYS_RT_SIGRETURN, %eax
    int     $0x80
#endif
