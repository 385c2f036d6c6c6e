/* m68k: entry as a Linux process, entry for an engine without an operating system, and the system call. */
    .text
    .globl _start
    .type _start, @function
_start:
    move.l  %sp, %a0                /* arguments, environment, auxiliary vector; the kernel aligned sp */
    move.l  %a0, -(%sp)
    jsr     linux_main
    illegal

/* farm_enter: sp is set; runs one program and then branches to farm_stop, where the engine stops. */
    .globl farm_enter
    .type farm_enter, @function
farm_enter:
    jsr     farm_run
    jmp     farm_stop

    .balign 64
    .globl farm_stop
farm_stop:
    nop

/* long arch_syscall6(const uintptr_t words[7]): number and six arguments; negative errno on failure */
    .globl arch_syscall6
    .type arch_syscall6, @function
arch_syscall6:
    movem.l %d2-%d5, -(%sp)
    move.l  20(%sp), %a1
    movem.l (%a1), %d0-%d5
    move.l  24(%a1), %a0
    trap    #0
    movem.l (%sp)+, %d2-%d5
    rts

/* long arch_syscall(long number, a, b, c): negative errno on failure */
    .globl arch_syscall
    .type arch_syscall, @function
arch_syscall:
    movem.l %d2-%d3, -(%sp)
    movem.l 12(%sp), %d0-%d3
    trap    #0
    movem.l (%sp)+, %d2-%d3
    rts
