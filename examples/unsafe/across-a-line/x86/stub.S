/* x86: a jump that begins 3 bytes before the end of a cache line. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 128, 0xcc
    .fill   61, 1, 0xcc
    .globl whatever_\n
    .type whatever_\n, @function
whatever_\n:
    .byte   0xe9                    /* jmp; spelt out, or the assembler may choose the short form */
    .long   default_\n - . - 4
    .balign 128, 0xcc
    .endr
