/* mips: the trampolines.  Only $25, which the ABIs leave to linkage, is written; all arguments, $31 and the stack pass
 * through.  $25 holds the target, as a function built with abicalls expects. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 16
    .globl  whatever_\n
    .type   whatever_\n, %function
whatever_\n:
    lui     $25, %hi(literals + \n * WORD)
    LOAD    $25, %lo(literals + \n * WORD)($25)
    jr      $25
    nop
    .endr
