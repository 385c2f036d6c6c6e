/* alpha: entry as a Linux process, entry for an engine without an operating system, and the system call. */
#include "arch.h"

    .text
    .globl _start
    .type _start, @function
_start:
    mov     $30, $16                /* arguments, environment, auxiliary vector; the kernel aligned $30 */
    global_pointer
    address $27, linux_main
    jsr     $26, ($27), 0
    call_pal 0x81                   /* bugchk */

/* farm_enter: $30 is set; runs one program and then branches to farm_stop, where the engine stops. */
    .globl farm_enter
    .type farm_enter, @function
farm_enter:
    global_pointer
    address $27, farm_run
    jsr     $26, ($27), 0
    br      $31, farm_stop

    .balign 64
    .globl farm_stop
farm_stop:
    nop

/* long arch_syscall6(const uintptr_t words[7]): number and six arguments; negative errno on failure */
    .globl arch_syscall6
    .type arch_syscall6, @function
arch_syscall6:
    ldq     $0, 0($16)
    ldq     $17, 16($16)
    ldq     $18, 24($16)
    ldq     $19, 32($16)
    ldq     $20, 40($16)
    ldq     $21, 48($16)
    ldq     $16, 8($16)
    call_pal 0x83                   /* callsys */
    beq     $19, 1f                 /* else $0 is an errno */
    subq    $31, $0, $0
1:  ret     $31, ($26), 1

/* long arch_syscall(long number, a, b, c): negative errno on failure */
    .globl arch_syscall
    .type arch_syscall, @function
arch_syscall:
    mov     $16, $0
    mov     $17, $16
    mov     $18, $17
    mov     $19, $18
    call_pal 0x83                   /* callsys */
    beq     $19, 1f                 /* else $0 is an errno */
    subq    $31, $0, $0
1:  ret     $31, ($26), 1
