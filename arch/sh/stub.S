/* sh: the patchable functions as asm stubs.  The target is a literal, so a patch changes data alone.  Only r0, which
 * carries no argument, is written; r2, r3, pr, T, fpscr and the stack pass through. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign ARCH_STUB_BYTES
    .globl whatever_\n
    .type whatever_\n, %function
whatever_\n:
    mov.l   1f, r0
    jmp     @r0
    nop
    .balign 4
#ifdef CONTROL_INITIAL_FAST
1:  .long   fast_\n                 /* ARCH_STUB_WORD: naturally aligned, so one store replaces it */
#else
1:  .long   default_\n
#endif
    .balign ARCH_STUB_BYTES
    .endr
