/* x86: entry as a Linux process, entry for an engine without an operating system, and the system call. */
#ifdef __x86_64__
    .text
    .globl _start
    .type _start, @function
_start:
    xorl    %ebp, %ebp              /* the kernel aligned rsp */
    movq    %rsp, %rdi              /* arguments, environment, auxiliary vector */
    call    linux_main
    ud2

/* farm_enter: rsp is set; runs one program and then branches to farm_stop, where the engine stops. */
    .globl farm_enter
    .type farm_enter, @function
farm_enter:
    xorl    %ebp, %ebp
    call    farm_run
    leaq    farm_stop(%rip), %rax
    jmp     *%rax

    .balign 64
    .globl farm_stop
farm_stop:
    nop

/* long arch_syscall6(const uintptr_t words[7]): number and six arguments; negative errno on failure */
    .globl arch_syscall6
    .type arch_syscall6, @function
arch_syscall6:
    movq    (%rdi), %rax
    movq    16(%rdi), %rsi
    movq    24(%rdi), %rdx
    movq    32(%rdi), %r10
    movq    40(%rdi), %r8
    movq    48(%rdi), %r9
    movq    8(%rdi), %rdi
    syscall
    ret

/* long arch_syscall(long number, a, b, c): negative errno on failure */
    .globl arch_syscall
    .type arch_syscall, @function
arch_syscall:
    movq    %rdi, %rax
    movq    %rsi, %rdi
    movq    %rdx, %rsi
    movq    %rcx, %rdx
    syscall
    ret

#else
    .text
    .globl _start
    .type _start, @function
_start:
    xorl    %ebp, %ebp              /* the kernel aligned esp */
    movl    %esp, %eax              /* arguments, environment, auxiliary vector */
    subl    $12, %esp
    pushl   %eax
    call    linux_main
    ud2

/* farm_enter: esp is set; runs one program and then branches to farm_stop, where the engine stops. */
    .globl farm_enter
    .type farm_enter, @function
farm_enter:
    xorl    %ebp, %ebp
    call    farm_run
    movl    $farm_stop, %eax
    jmp     *%eax

    .balign 64
    .globl farm_stop
farm_stop:
    nop

/* long arch_syscall6(const uintptr_t words[7]): number and six arguments; negative errno on failure */
    .globl arch_syscall6
    .type arch_syscall6, @function
arch_syscall6:
    pushl   %ebx
    pushl   %esi
    pushl   %edi
    pushl   %ebp
    movl    20(%esp), %ebp
    movl    (%ebp), %eax
    movl    4(%ebp), %ebx
    movl    8(%ebp), %ecx
    movl    12(%ebp), %edx
    movl    16(%ebp), %esi
    movl    20(%ebp), %edi
    movl    24(%ebp), %ebp
    int     $0x80
    popl    %ebp
    popl    %edi
    popl    %esi
    popl    %ebx
    ret

/* long arch_syscall(long number, a, b, c): negative errno on failure */
    .globl arch_syscall
    .type arch_syscall, @function
arch_syscall:
    pushl   %ebx
    movl    8(%esp), %eax
    movl    12(%esp), %ebx
    movl    16(%esp), %ecx
    movl    20(%esp), %edx
    int     $0x80
    popl    %ebx
    ret
#endif
