/* mips: where the bare machine begins, in kseg0, and the way from the guest (user mode) and back. */
#include "arch.h"
#include "bare_arch.h"

#ifdef __mips64
#define FROM dmfc0
#define TO dmtc0
#else
#define FROM mfc0
#define TO mtc0
#endif

    .section .text.start, "ax"
    .globl _start
    .type _start, %function
_start:
    lui     $8, %hi(STATUS)
    ori     $8, $8, STATUS & 0xffff
    mtc0    $8, $12                 /* Status: BEV is clear */
    ehb
    address 29, stack_end
    jal     bare_main
    ADD_IMMEDIATE $29, $29, -64

/* What is copied to the vectors. */
    .globl machine_vector
machine_vector:
    address 26, of_guest
    jr      $26
    nop

/* All registers, hi, lo, pc, Cause, BadVAddr, Status (struct registers). */
of_guest:
    address 26, kept
    .irp    number, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 28, 29, 30, 31
    STORE   $\number, (WORD * \number)($26)
    .endr
    mfhi    $8
    mflo    $9
    STORE   $8, (WORD * 32)($26)
    STORE   $9, (WORD * 33)($26)
    FROM    $8, $14                 /* EPC */
    STORE   $8, (WORD * 34)($26)
    mfc0    $8, $13                 /* Cause */
    STORE   $8, (WORD * 35)($26)
    FROM    $8, $8                  /* BadVAddr */
    STORE   $8, (WORD * 36)($26)
    mfc0    $8, $12                 /* Status */
    STORE   $8, (WORD * 37)($26)
    move    $4, $26
    address 29, stack_end
    jal     machine_trap
    ADD_IMMEDIATE $29, $29, -64
back:
    address 26, kept
    LOAD    $8, (WORD * 32)($26)
    LOAD    $9, (WORD * 33)($26)
    mthi    $8
    mtlo    $9
    LOAD    $8, (WORD * 34)($26)
    TO      $8, $14
    .irp    number, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 28, 29, 30, 31
    LOAD    $\number, (WORD * \number)($26)
    .endr
    ehb
    eret

/* machine_enter(pc, stack): as if the guest had been left, with zeros in all other registers */
    .globl machine_enter
    .type machine_enter, %function
machine_enter:
    address 26, kept
    STORE   $4, (WORD * 34)($26)
    STORE   $5, (WORD * 29)($26)
    lui     $8, %hi(STATUS)
    ori     $8, $8, (STATUS & 0xffff) | USER_MODE | EXCEPTION_LEVEL
    mtc0    $8, $12
    b       back
    nop

    .bss
    .balign 16
kept:
    .skip   WORD * 38
    .balign 16
    .skip   16384
stack_end:
