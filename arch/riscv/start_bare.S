/* riscv: where the bare machine begins, in machine mode, and the way from the guest (user mode) and back. */
#include "bare_arch.h"

#if __riscv_xlen == 64
#define SAVE sd
#define LOAD ld
#else
#define SAVE sw
#define LOAD lw
#endif

    .section .text.start, "ax"
    .globl _start
    .type _start, @function
_start:
    la      sp, stack_end
    la      t0, of_supervisor
    csrw    mtvec, t0
    call    bare_main

    .balign 4
of_supervisor:
    csrr    a0, mcause
    csrr    a1, mepc
    csrr    a2, mtval
    la      sp, stack_end
    j       bare_fails

/* mscratch holds the end of the supervisor's stack while the guest runs.  x1 to x31 lie behind pc. */
    .balign 4
of_guest:
    csrrw   sp, mscratch, sp
    addi    sp, sp, -REGISTERS_BYTES
    .irp    number, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    SAVE    x\number, (REGISTER_BYTES * \number)(sp)
    .endr
    la      t0, of_supervisor
    csrw    mtvec, t0
    csrr    t0, mscratch
    SAVE    t0, (REGISTER_BYTES * 2)(sp)
    csrr    t0, mepc
    SAVE    t0, 0(sp)
    mv      a0, sp
    csrr    a1, mcause
    csrr    a2, mtval
    call    machine_trap
    LOAD    t0, 0(sp)
    csrw    mepc, t0
    la      t0, of_guest
    csrw    mtvec, t0
    la      t0, stack_end
    csrw    mscratch, t0
    .irp    number, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    LOAD    x\number, (REGISTER_BYTES * \number)(sp)
    .endr
    LOAD    sp, (REGISTER_BYTES * 2)(sp)
    mret

/* machine_enter(pc, stack) */
    .globl machine_enter
    .type machine_enter, @function
machine_enter:
    csrw    mepc, a0
    la      t0, of_guest
    csrw    mtvec, t0
    la      t0, stack_end
    csrw    mscratch, t0
    mv      sp, a1
    .irp    number, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    li      x\number, 0
    .endr
    mret

    .bss
    .balign 16
    .skip   16384
stack_end:
