/* mips: entry as a Linux process, entry for an engine without an operating system, and the system call. */
#include "arch.h"

    .text
    .globl _start
    .type _start, %function
_start:
    address 28, GLOBAL_POINTER
    move    $4, $29                 /* arguments, environment, auxiliary vector */
    jal     linux_main
    ADD_IMMEDIATE $29, $29, -32     /* the kernel aligned it; o32: where linux_main may store its arguments */
    break

/* farm_enter: $29 is set; runs one program and then jumps to farm_stop, where the engine stops. */
    .globl farm_enter
    .type farm_enter, %function
farm_enter:
    address 28, GLOBAL_POINTER
    jal     farm_run
    ADD_IMMEDIATE $29, $29, -32
    address 25, farm_stop
    jr      $25
    nop

    .balign 64
    .globl farm_stop
farm_stop:
    nop

/* long arch_syscall(long number, a, b, c): negative errno on failure */
    .globl arch_syscall
    .type arch_syscall, %function
arch_syscall:
    move    $2, $4
    move    $4, $5
    move    $5, $6
    move    $6, $7
    syscall
    beqz    $7, 1f                  /* else $2 is an errno */
    nop
    SUBTRACT $2, $0, $2
1:  jr      $31
    nop
