/* m68k: the trampolines.  A jump through memory (M68000 Family Programmer's Reference Manual, "Memory Indirect
 * Addressing Modes", of the 68020 and later): no register and no condition code is written; all arguments, the return
 * address and the stack pass through. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 16
    .globl  whatever_\n
    .type   whatever_\n, @function
whatever_\n:
    jmp     ([literals + \n * 4])
    .endr
