/* x86-64: a jump to one of two ways, each of which reads a descriptor of its own. */
#include "arch.h"
#include "wire.h"

    .macro way descriptor
    movq    \descriptor(%rip), %r11
    cmpq    \descriptor + 8(%rip), %r11
    jne     9f
    jmp     *%r11
9:  ud2
    .endm

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 128, 0xcc
    .fill   3, 1, 0xcc              /* the jump's operand is aligned */
    .globl whatever_\n
    .type whatever_\n, @function
whatever_\n:
    .byte   0xe9                    /* JUMP */
    .long   1f - . - 4
1:  way     3f                      /* WAY_A */
2:  way     4f                      /* WAY_B */
    .balign 8, 0xcc
3:  .quad   default_\n, default_\n  /* DESCRIPTORS */
4:  .quad   default_\n, default_\n
    .balign 128, 0xcc
    .endr
