/* arm64: where the bare machine begins, at EL1 without page tables, and the way from the guest (EL0) and back. */
#include "bare_arch.h"

#define SCTLR_EE ((1 << 24) | (1 << 25)) /* data is big-endian, at EL0 and at EL1 */

    .section .text.start, "ax"
    .globl _start
    .type _start, %function
_start:
#ifdef __AARCH64EB__
    mrs     x0, sctlr_el1
    orr     x0, x0, #SCTLR_EE
    msr     sctlr_el1, x0
    isb
#endif
    adrp    x0, stack_end
    add     x0, x0, :lo12:stack_end
    mov     sp, x0
    adrp    x0, vectors
    add     x0, x0, :lo12:vectors
    msr     vbar_el1, x0
    bl      bare_main

/* A vector is 32 instructions long (Arm ARM DDI 0487, "Exception vectors"). */
    .macro fails number
    .balign 128
    mov     x0, #\number
    b       of_supervisor
    .endm

    .balign 2048
vectors:
    fails 0
    fails 1
    fails 2
    fails 3
    fails 4
    fails 5
    fails 6
    fails 7
    .balign 128
    b       of_guest
    fails 9
    fails 10
    fails 11
    fails 12
    fails 13
    fails 14
    fails 15

of_supervisor:
    mrs     x1, elr_el1
    mrs     x2, far_el1
    b       bare_fails

/* All of the guest's registers are kept but those that the supervisor is not compiled to use: it has no floating point. */
of_guest:
    sub     sp, sp, #REGISTERS_BYTES
    stp     x0, x1, [sp]
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x19, [sp, #144]
    stp     x20, x21, [sp, #160]
    stp     x22, x23, [sp, #176]
    stp     x24, x25, [sp, #192]
    stp     x26, x27, [sp, #208]
    stp     x28, x29, [sp, #224]
    mrs     x0, sp_el0
    mrs     x1, elr_el1
    mrs     x2, spsr_el1
    stp     x30, x0, [sp, #240]
    stp     x1, x2, [sp, #256]
    mov     x0, sp
    mrs     x1, esr_el1
    mrs     x2, far_el1
    bl      machine_trap
    ldp     x30, x0, [sp, #240]
    ldp     x1, x2, [sp, #256]
    msr     sp_el0, x0
    msr     elr_el1, x1
    msr     spsr_el1, x2
    ldp     x0, x1, [sp]
    ldp     x2, x3, [sp, #16]
    ldp     x4, x5, [sp, #32]
    ldp     x6, x7, [sp, #48]
    ldp     x8, x9, [sp, #64]
    ldp     x10, x11, [sp, #80]
    ldp     x12, x13, [sp, #96]
    ldp     x14, x15, [sp, #112]
    ldp     x16, x17, [sp, #128]
    ldp     x18, x19, [sp, #144]
    ldp     x20, x21, [sp, #160]
    ldp     x22, x23, [sp, #176]
    ldp     x24, x25, [sp, #192]
    ldp     x26, x27, [sp, #208]
    ldp     x28, x29, [sp, #224]
    add     sp, sp, #REGISTERS_BYTES
    eret

/* machine_enter(pc, stack): SPSR 0 is EL0 with nothing masked */
    .globl machine_enter
    .type machine_enter, %function
machine_enter:
    msr     elr_el1, x0
    msr     sp_el0, x1
    msr     spsr_el1, xzr
    adrp    x0, stack_end
    add     x0, x0, :lo12:stack_end
    mov     sp, x0
    .irp    number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    mov     x\number, #0
    .endr
    .irp    number, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
    mov     x\number, #0
    .endr
    eret

    .bss
    .balign 16
    .skip   16384
stack_end:
