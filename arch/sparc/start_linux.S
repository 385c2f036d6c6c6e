/* sparc: entry as a Linux process, entry for an engine without an operating system, and the system call. */
#include "arch.h"

    .text
    .globl _start
    .type _start, %function
_start:
    clr     %fp                     /* the kernel aligned sp, and left room for a window */
    add     %sp, BIAS + 16 * WORD, %o0 /* arguments, environment, auxiliary vector */
    call    linux_main
    sub     %sp, FRAME, %sp
    ta      5

/* farm_enter: sp is set, without a bias; runs one program and then jumps to farm_stop, where the engine stops. */
    .globl farm_enter
    .type farm_enter, %function
farm_enter:
    clr     %fp
    call    farm_run
    sub     %sp, BIAS + FRAME, %sp
    sethi   %hi(farm_stop), %g1
    jmp     %g1 + %lo(farm_stop)
    nop

/* A trap, because Unicorn does not end a run at an address here. */
    .balign 64
    .globl farm_stop
farm_stop:
    ta      0x7f
    nop

/* long arch_syscall6(const uintptr_t words[7]): number and six arguments; negative errno on failure */
    .globl arch_syscall6
    .type arch_syscall6, %function
arch_syscall6:
    LOAD    [%o0 + 0 * WORD], %g1
    LOAD    [%o0 + 2 * WORD], %o1
    LOAD    [%o0 + 3 * WORD], %o2
    LOAD    [%o0 + 4 * WORD], %o3
    LOAD    [%o0 + 5 * WORD], %o4
    LOAD    [%o0 + 6 * WORD], %o5
    LOAD    [%o0 + 1 * WORD], %o0
    SYSTEM_CALL
    ON_NO_CARRY 1f                  /* else o0 is an errno */
    nop
    neg     %o0
1:  retl
    nop

/* long arch_syscall(long number, a, b, c): negative errno on failure */
    .globl arch_syscall
    .type arch_syscall, %function
arch_syscall:
    mov     %o0, %g1
    mov     %o1, %o0
    mov     %o2, %o1
    mov     %o3, %o2
    SYSTEM_CALL
    ON_NO_CARRY 1f                  /* else o0 is an errno */
    nop
    neg     %o0
1:  retl
    nop
