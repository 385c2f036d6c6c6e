/* x86-64: entry as a Linux process, entry for an engine without an operating system, and the system call. */
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
