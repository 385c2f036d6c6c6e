/* riscv: the patchable functions as asm stubs.  Word 0 is `jal zero, target` or, for a target out of range, `nop`.
 * Only t1, which the procedure linkage table of the psABI writes too, is written; all arguments, ra and the stack pass
 * through.  Neither t0, a link register to a return-address predictor, nor t2, the static chain, would do. */
#include "arch.h"
#include "wire.h"

    .option norvc                   /* every instruction is an aligned word */
    .option norelax
    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign ARCH_STUB_BYTES
    .globl whatever_\n
    .type whatever_\n, %function
whatever_\n:
#ifdef CONTROL_INITIAL_FAST
    jal     zero, fast_\n
#else
    jal     zero, default_\n
#endif
    auipc   t1, 0
    LOAD    t1, (ARCH_STUB_SLOT - 4)(t1)
    jr      t1
    .balign 8
    ADDRESS default_\n              /* ARCH_STUB_SLOT: naturally aligned, so one store replaces it */
    .balign ARCH_STUB_BYTES
    .endr
