/* m68k: the patchable functions as asm stubs.  `jmp` with an absolute operand reaches every address; only that operand
 * ever changes.  No register and no condition code is written; all arguments, the return address and the stack pass
 * through. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign ARCH_STUB_BYTES
    nop                             /* so that the operand is naturally aligned */ /* unreached: in no function */
    .globl whatever_\n
    .type whatever_\n, @function
whatever_\n:
    .word   0x4ef9                  /* jmp abs.l; spelt out, or the assembler may choose a short form */
#ifdef CONTROL_INITIAL_FAST
    .long   fast_\n
#else
    .long   default_\n              /* ARCH_STUB_WORD: naturally aligned, so one store replaces it */
#endif
    .endr
