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
