/* riscv: entry as a Linux process, entry for an engine without an operating system, and the system call.  Nothing is
 * addressed from gp, for the linker relaxes nothing to it. */
#include "arch.h"

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

/* long arch_syscall6(const uintptr_t words[7]): number and six arguments; negative errno on failure */
    .globl arch_syscall6
    .type arch_syscall6, @function
arch_syscall6:
    LOAD    a7, 0 * WORD(a0)
    LOAD    a1, 2 * WORD(a0)
    LOAD    a2, 3 * WORD(a0)
    LOAD    a3, 4 * WORD(a0)
    LOAD    a4, 5 * WORD(a0)
    LOAD    a5, 6 * WORD(a0)
    LOAD    a0, 1 * WORD(a0)
    ecall
    ret

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
