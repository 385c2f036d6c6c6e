/* x86-64: the flag, then the target. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 64, 0xcc
    .globl whatever_\n
    .type whatever_\n, @function
whatever_\n:
    movq    2f(%rip), %r11
    testq   %r11, %r11
    jz      default_\n
    jmp     *3f(%rip)
    .balign 32, 0xcc
2:  .quad   0                       /* WORDS */
3:  .quad   0
    .balign 64, 0xcc
    .endr
