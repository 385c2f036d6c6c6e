/* loongarch: where the bare machine begins, and the way from the guest (privilege level 3) and back. */
#include "bare_arch.h"

    .section .text.start, "ax"
    .globl _start
    .type _start, @function
_start:
    la.pcrel $sp, stack_end
    bl      bare_main

    .macro all_but_t0 instruction
    .irp    number, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    \instruction $r\number, $t0, 8 * \number
    .endr
    .endm

/* Exceptions: all registers, pc, ESTAT, BADV, PRMD (struct registers). */
    .balign 4096
    .globl machine_exception
machine_exception:
    csrwr   $t0, SAVE0
    la.pcrel $t0, kept
    all_but_t0 st.d
    csrrd   $t1, SAVE0
    st.d    $t1, $t0, 8 * 12
    csrrd   $t1, ERA
    st.d    $t1, $t0, 8 * 32
    csrrd   $t1, ESTAT
    st.d    $t1, $t0, 8 * 33
    csrrd   $t1, BADV
    st.d    $t1, $t0, 8 * 34
    csrrd   $t1, PRMD
    st.d    $t1, $t0, 8 * 35
    move    $a0, $t0
    la.pcrel $sp, stack_end
    bl      machine_trap
back:
    la.pcrel $t0, kept
    ld.d    $t1, $t0, 8 * 32
    csrwr   $t1, ERA
    all_but_t0 ld.d
    ld.d    $t0, $t0, 8 * 12
    ertn

/* Misses of the TLB: the CPU is in direct address translation mode. */
    .balign 4096
    .globl machine_miss
machine_miss:
    csrwr   $t0, TLBRSAVE
    la.pcrel $t0, kept
    all_but_t0 st.d
    csrrd   $a0, TLBRBADV
    la.pcrel $sp, stack_end
    bl      machine_fill
    la.pcrel $t0, kept
    all_but_t0 ld.d
    csrrd   $t0, TLBRSAVE
    ertn

/* machine_enter(pc, stack): as if the guest had been left, with zeros in all other registers */
    .globl machine_enter
    .type machine_enter, @function
machine_enter:
    la.pcrel $t0, kept
    st.d    $a0, $t0, 8 * 32
    st.d    $a1, $t0, 8 * 3
    ori     $t1, $zero, 3
    csrwr   $t1, PRMD
    b       back

    .bss
    .balign 16
kept:
    .skip   8 * 36
    .balign 16
    .skip   16384
stack_end:
