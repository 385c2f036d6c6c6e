/* arm: entry as a Linux process, entry for an engine without an operating system, and the system call. */
#include "arch.h"

    .text
    .globl _start
    .type _start, %function
_start:
    mov     r0, sp                  /* arguments, environment, auxiliary vector; the kernel aligned sp */
    bl      linux_main
    udf     #0

/* farm_enter: sp is set; runs one program and then branches to farm_stop, where the engine stops. */
    .globl farm_enter
    .type farm_enter, %function
farm_enter:
    bl      farm_run
    address ip, farm_stop
    mov     pc, ip                  /* stays in this instruction set: farm_stop is a place, no function */

    .balign 64
    .globl farm_stop
farm_stop:
    nop

/* long arch_syscall6(const uintptr_t words[7]): number and six arguments; negative errno on failure */
    .globl arch_syscall6
    .type arch_syscall6, %function
arch_syscall6:
    push    {r4-r7, lr}
    mov     r6, r0
    ldr     r7, [r6]
    ldr     r0, [r6, #4]
    ldr     r1, [r6, #8]
    ldr     r2, [r6, #12]
    ldr     r3, [r6, #16]
    ldr     r4, [r6, #20]
    ldr     r5, [r6, #24]
    svc     #0
    pop     {r4-r7, pc}

/* long arch_syscall(long number, a, b, c): negative errno on failure */
    .globl arch_syscall
    .type arch_syscall, %function
arch_syscall:
    push    {r7, lr}
    mov     r7, r0
    mov     r0, r1
    mov     r1, r2
    mov     r2, r3
    svc     #0
    pop     {r7, pc}
