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

/* long arch_syscall6(const uintptr_t words[7]): number and six arguments; negative errno on failure */
    .globl arch_syscall6
    .type arch_syscall6, %function
arch_syscall6:
#ifdef __mips64
    ld      $2, 0($4)
    ld      $5, 16($4)
    ld      $6, 24($4)
    ld      $7, 32($4)
    ld      $8, 40($4)
    ld      $9, 48($4)
    ld      $4, 8($4)
    syscall
#else
    addiu   $29, $29, -32           /* o32: the last two are on the stack */
    lw      $8, 20($4)
    lw      $9, 24($4)
    sw      $8, 16($29)
    sw      $9, 20($29)
    lw      $2, 0($4)
    lw      $5, 8($4)
    lw      $6, 12($4)
    lw      $7, 16($4)
    lw      $4, 4($4)
    syscall
    addiu   $29, $29, 32
#endif
    beqz    $7, 1f                  /* else $2 is an errno */
    nop
    SUBTRACT $2, $0, $2
1:  jr      $31
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
