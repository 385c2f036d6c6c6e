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
