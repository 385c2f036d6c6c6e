/* riscv: entry as a Linux process, entry for an engine without an operating system, and the system call.  Nothing is
 * addressed from gp, for the linker relaxes nothing to it. */
    .text
    .globl _start
    .type _start, %function
_start:
    mv      a0, sp                  /* arguments, environment, auxiliary vector; the kernel aligned sp */
    call    linux_main
    ebreak

/* farm_enter: sp is set; runs one program and then branches to farm_stop, where the engine stops. */
    .globl farm_enter
    .type farm_enter, %function
farm_enter:
    call    farm_run
    lla     t1, farm_stop
    jr      t1

    .balign 64
    .globl farm_stop
farm_stop:
    nop

/* long arch_syscall(long number, a, b, c): negative errno on failure */
    .globl arch_syscall
    .type arch_syscall, %function
arch_syscall:
    mv      a7, a0
    mv      a0, a1
    mv      a1, a2
    mv      a2, a3
    ecall
    ret
