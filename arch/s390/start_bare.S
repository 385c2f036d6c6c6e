/* s390x: where the bare machine begins, and the way from the guest (problem state) and back. */
#include "bare_arch.h"

    .section .text.start, "ax"
    .globl _start
    .type _start, @function
_start:
    larl    %r15, stack_end
    aghi    %r15, -FRAME_BYTES
    brasl   %r14, bare_main

    .globl machine_system_call
machine_system_call:
    stmg    %r0, %r15, REGISTERS(%r0)
    lghi    %r2, 1
    j       of_guest

    .globl machine_program
machine_program:
    stmg    %r0, %r15, REGISTERS(%r0)
    lghi    %r2, 0

of_guest:
    larl    %r15, stack_end
    aghi    %r15, -FRAME_BYTES
    brasl   %r14, machine_trap      /* returns from a system call alone */
    lmg     %r0, %r15, REGISTERS(%r0)
    lpswe   OLD_SVC(%r0)

/* long machine_service(command, block): the condition code */
    .globl machine_service
    .type machine_service, @function
machine_service:
    .insn   rre, 0xb2200000, %r2, %r3 /* servc */
    ipm     %r2
    srl     %r2, 28
    llgfr   %r2, %r2
    br      %r14

/* machine_enter(pc, stack) */
    .globl machine_enter
    .type machine_enter, @function
machine_enter:
    stg     %r2, OLD_SVC + 8(%r0)
    larl    %r1, user_mask
    lg      %r1, 0(%r1)
    stg     %r1, OLD_SVC(%r0)
    lgr     %r15, %r3
    lghi    %r0, 0
    lghi    %r1, 0
    lghi    %r2, 0
    lghi    %r3, 0
    lpswe   OLD_SVC(%r0)

/* machine_off(): a wait that nothing ends */
    .globl machine_off
    .type machine_off, @function
machine_off:
    larl    %r1, no_more
    lpswe   0(%r1)

    .data
    .balign 8
user_mask:
    .quad   0x0401000180000000      /* translation, problem state, 64 bits */
no_more:
    .quad   0x0002000180000000, 0xfff

    .bss
    .balign 16
    .skip   16384
stack_end:
