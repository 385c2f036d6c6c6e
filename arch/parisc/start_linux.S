/* parisc: entry as a Linux process, entry for an engine without an operating system, and the system call. */
#include "arch.h"

    .text
    .globl _start
    .type _start, @function
_start:
    ldo     -4(%r24), %r26          /* argument count, which lies before the arguments; environment, auxiliary vector */
    address %r27, $global$
    ldo     FRAME + 63(%r30), %r30  /* the first frame, above what the kernel put there */
    depi    0, 31, 6, %r30
    bl      linux_main, %r2
    nop
    break   0, 0

/* farm_enter: r30 is set; runs one program and then branches to farm_stop, where the engine stops. */
    .globl farm_enter
    .type farm_enter, @function
farm_enter:
    address %r27, $global$
    bl      farm_run, %r2
    ldo     FRAME(%r30), %r30
    b,n     farm_stop

    .balign 64
    .globl farm_stop
farm_stop:
    nop

/* long arch_syscall6(const uintptr_t words[7]): number and six arguments; negative errno on failure */
    .globl arch_syscall6
    .type arch_syscall6, @function
arch_syscall6:
    stw     %r2, -20(%r30)
    ldw     0(%r26), %r20
    ldw     8(%r26), %r25
    ldw     12(%r26), %r24
    ldw     16(%r26), %r23
    ldw     20(%r26), %r22
    ldw     24(%r26), %r21
    ble     0x100(%sr2, %r0)
    ldw     4(%r26), %r26
    ldw     -20(%r30), %r2
    bv,n    %r0(%r2)

/* long arch_syscall(long number, a, b, c): negative errno on failure.  The kernel, entered by a branch to its gateway
 * page, keeps neither r2 nor the other registers that a call need not keep. */
    .globl arch_syscall
    .type arch_syscall, @function
arch_syscall:
    stw     %r2, -20(%r30)
    copy    %r26, %r20
    copy    %r25, %r26
    copy    %r24, %r25
    ble     0x100(%sr2, %r0)
    copy    %r23, %r24
    ldw     -20(%r30), %r2
    bv,n    %r0(%r2)

/* What r27 holds: the compiler addresses all data from it. */
    .data
    .globl $global$
    .type $global$, @object
$global$:
    .word   0
