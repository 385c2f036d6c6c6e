/* m68k: where the bare machine begins, and the way from the guest (user mode) and back. */
#include "bare_arch.h"

    .section .text.start, "ax"
    .globl _start
    .type _start, @function
_start:
    lea     stack_end, %sp
    jsr     bare_main

    .balign 4
    .globl machine_system_call
machine_system_call:
    movem.l %d0-%d7/%a0-%a6, -(%sp)
    move.l  %sp, -(%sp)
    jsr     machine_called
    addq.l  #4, %sp
    movem.l (%sp)+, %d0-%d7/%a0-%a6
    rte

/* Every other vector: the frame is the CPU's (M68000 Family Programmer's Reference Manual, "Exception Stack Frames"). */
    .balign 4
    .globl machine_exception
machine_exception:
    move.l  %sp, -(%sp)
    jsr     machine_trap

/* machine_enter(pc, stack): a frame of format 0, with a status register that is 0 */
    .globl machine_enter
    .type machine_enter, @function
machine_enter:
    move.l  4(%sp), %a0
    move.l  8(%sp), %a1
    move.l  %a1, %usp
    lea     stack_end, %sp
    clr.w   -(%sp)
    move.l  %a0, -(%sp)
    clr.w   -(%sp)
    moveq   #0, %d0
    moveq   #0, %d1
    moveq   #0, %d2
    moveq   #0, %d3
    moveq   #0, %d4
    moveq   #0, %d5
    moveq   #0, %d6
    moveq   #0, %d7
    sub.l   %a0, %a0
    sub.l   %a1, %a1
    sub.l   %a2, %a2
    sub.l   %a3, %a3
    sub.l   %a4, %a4
    sub.l   %a5, %a5
    sub.l   %a6, %a6
    rte

    .bss
    .balign 16
    .skip   16384
stack_end:
