/* x86: the patchable functions as trampolines (arch/x86/include/asm/static_call.h in Linux).  `jmp rel32` leads to the
 * target, or is `ret`; behind it stands `ud1 %esp, %ecx`, which is never executed and says whose jump this is.  In 64
 * bits, a target out of range is reached by the `jmp *slot` behind them, which the kernel, whose text fits into 2 GiB,
 * does not need.  No register and no flag is written. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign ARCH_STUB_BYTES, 0xcc
    .fill   3, 1, 0xcc              /* so that the operand is naturally aligned */
    .globl whatever_\n
    .type whatever_\n, @function
whatever_\n:
    .byte   0xe9                    /* jmp; spelt out, or the assembler may choose the short form */
#ifdef CONTROL_INITIAL_FAST
    .long   fast_\n - . - 4
#else
    .long   default_\n - . - 4
#endif
    .byte   0x0f, 0xb9, 0xcc        /* ud1 %esp, %ecx: the signature */
    .balign 16, 0xcc
#ifdef __x86_64__
    jmp     *1f(%rip)
    .balign 8, 0xcc
1:  .quad   default_\n              /* ARCH_STUB_SLOT: naturally aligned, so one store replaces it */
#endif
    .endr
    .balign ARCH_STUB_BYTES, 0xcc
