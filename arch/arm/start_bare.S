/* arm: where the bare machine begins, in supervisor mode without page tables, and the way from the guest (user mode) and
 * back.  Exceptions are taken in A32, whatever the guest is. */
#include "arch.h"

#define SUPERVISOR 0x13

    .arm
    .syntax unified
    .section .text.start, "ax"
    .globl _start
    .type _start, %function
_start:
#ifdef __ARMEB__
    setend  be
#endif
    ldr     sp, =stack_end
    ldr     r0, =vectors
    mcr     p15, 0, r0, c12, c0, 0  /* VBAR */
    mov     r0, #(0xf << 20)
    mcr     p15, 0, r0, c1, c0, 2   /* CPACR: floating point for everyone */
    isb
    mov     r0, #(1 << 30)
    .inst   0xeee80a10              /* vmsr fpexc, r0 */
    ldr     r0, =bare_main
    blx     r0
    .ltorg

    .balign 32
vectors:
    b       .
    b       undefined
    b       system_call
    b       fetch
    b       access
    b       .
    b       .
    b       .

/* Kept are the user's sp and lr, a word to align by, r0 to r12, and behind them pc and psr (struct registers). */
    .macro from_guest kind, behind
    .if \behind
    sub     lr, lr, #\behind
    .endif
    srsdb   sp!, #SUPERVISOR
    cps     #SUPERVISOR
    push    {r0-r12}
    mov     r1, #\kind
    b       of_guest
    .endm

undefined:
    from_guest 1, 0
system_call:
    from_guest 2, 0
fetch:
    from_guest 3, 4
access:
    from_guest 4, 8

of_guest:
    sub     sp, sp, #12
    stm     sp, {sp, lr}^
    nop
    mov     r0, sp
    ldr     r2, =machine_trap
    blx     r2
    ldm     sp, {sp, lr}^
    nop
    add     sp, sp, #12
    pop     {r0-r12}
    rfeia   sp!
    .ltorg

/* machine_enter(pc, stack): PSR 0x10 is user mode with nothing masked, 0x20 is Thumb, 0x200 is big-endian data */
    .globl machine_enter
    .type machine_enter, %function
machine_enter:
    mov     r2, #0x10
#ifdef __ARMEB__
    orr     r2, r2, #0x200
#endif
    tst     r0, #1
    orrne   r2, r2, #0x20
    bic     r0, r0, #1
    ldr     sp, =stack_end
    push    {r2}
    push    {r0}
    push    {r1}
    ldm     sp, {sp}^
    nop
    add     sp, sp, #4
    mov     r0, #0
    mov     r1, #0
    mov     r2, #0
    rfeia   sp!

/* machine_off(): PSCI (Arm DEN 0022), SYSTEM_OFF, by hvc #0 */
    .globl machine_off
    .type machine_off, %function
machine_off:
    ldr     r0, =0x84000008
    .inst   0xe1400070
    b       machine_off
    .ltorg

    .bss
    .balign 16
    .skip   16384
stack_end:
