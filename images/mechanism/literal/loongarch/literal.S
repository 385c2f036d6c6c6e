/* loongarch: the trampolines.  Only t3, which the procedure linkage table writes too, is written; all arguments, ra, t8
 * (the static chain) and the stack pass through. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 16
    .globl  whatever_\n
    .type   whatever_\n, @function
whatever_\n:
    pcalau12i $t3, %pc_hi20(literals + \n * 8)
    ld.d    $t3, $t3, %pc_lo12(literals + \n * 8)
    jr      $t3
    .endr
