/* loongarch: entry as a Linux process, entry for an engine without an operating system, and the system call. */
    .text
    .globl _start
    .type _start, @function
_start:
    move    $a0, $sp                /* arguments, environment, auxiliary vector; the kernel aligned sp */
    bl      linux_main
    break   0

/* farm_enter: sp is set; runs one program and then branches to farm_stop, where the engine stops. */
    .globl farm_enter
    .type farm_enter, @function
farm_enter:
    bl      farm_run
    la.pcrel $t0, farm_stop
    jr      $t0

    .balign 64
    .globl farm_stop
farm_stop:
    nop

/* long arch_syscall(long number, a, b, c): negative errno on failure */
    .globl arch_syscall
    .type arch_syscall, @function
arch_syscall:
    move    $a7, $a0
    move    $a0, $a1
    move    $a1, $a2
    move    $a2, $a3
    syscall 0
    ret
