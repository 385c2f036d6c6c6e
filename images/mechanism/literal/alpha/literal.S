/* alpha: the trampolines.  A load that is relative to pc reaches 32 KiB, so what it loads is the address of the literal.
 * Only $27, the procedure value, is written; it holds the target, as C expects.  All arguments, $26 and the stack pass
 * through.  Neither $27 nor the global pointer is relied on at entry. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 16
    .globl  whatever_\n
    .type   whatever_\n, @function
whatever_\n:
    br      $27, 1f
1:  ldq     $27, 12($27)            /* the address of the literal, which lies twelve bytes from here */
    ldq     $27, 0($27)
    jmp     $31, ($27), 0
    .balign 8
    .quad   literals + \n * 8
    .endr
