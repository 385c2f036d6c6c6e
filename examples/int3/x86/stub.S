/* x86: a jump of 5 or 6 bytes that begins 3 bytes before the end of a cache line, and the data slot of the longer one. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 128, 0xcc
    .fill   61, 1, 0xcc
    .globl whatever_\n
    .type whatever_\n, @function
whatever_\n:
    .byte   0xe9                    /* jmp rel32; spelt out, or the assembler may choose the short form */
    .long   default_\n - . - 4
    .byte   0xcc                    /* of jmp *rel32, which has 6 bytes */
    ret                             /* nobody comes here */
    .balign 8, 0xcc
#ifdef __x86_64__
    .quad   default_\n              /* SLOT */
#else
    .long   default_\n              /* SLOT */
#endif
    .balign 128, 0xcc
    .endr
