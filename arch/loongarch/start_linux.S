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

/* long arch_syscall6(const uintptr_t words[7]): number and six arguments; negative errno on failure */
    .globl arch_syscall6
    .type arch_syscall6, @function
arch_syscall6:
    ld.d    $a7, $a0, 0
    ld.d    $a1, $a0, 16
    ld.d    $a2, $a0, 24
    ld.d    $a3, $a0, 32
    ld.d    $a4, $a0, 40
    ld.d    $a5, $a0, 48
    ld.d    $a0, $a0, 8
    syscall 0
    ret

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
