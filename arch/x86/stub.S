/* x86: the patchable functions as asm stubs.  `jmp rel32` leads to the target; only its operand ever changes.  In 32
 * bits it reaches every address; in 64 bits it leads to the `jmp *slot` behind it for a target out of range.  No
 * register and no flag is written; all arguments (al of a variadic call too), the return address and the stack pass
 * through. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign ARCH_STUB_BYTES, 0xcc
    .fill   3, 1, 0xcc              /* so that the operand is naturally aligned, and the jump in one line of 16 */
    .globl whatever_\n
    .type whatever_\n, @function
whatever_\n:
    .byte   0xe9                    /* jmp; spelt out, or the assembler may choose the short form */
#ifdef CONTROL_INITIAL_FAST
    .long   fast_\n - . - 4
#else
    .long   default_\n - . - 4      /* ARCH_STUB_WORD: naturally aligned, so one store replaces it */
#endif
    .balign 16, 0xcc
#ifdef __x86_64__
    jmp     *1f(%rip)
    .balign 8, 0xcc
1:  .quad   default_\n              /* ARCH_STUB_SLOT: likewise */
#endif
    .endr
    .balign ARCH_STUB_BYTES, 0xcc
