/* loongarch: the patchable functions as asm stubs.  Word 0 is `b target` or, for a target out of range, `nop`.  Only
 * t3, which the procedure linkage table writes too, is written; all arguments, ra and the stack pass through, and so
 * does t8, the static chain. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign ARCH_STUB_BYTES
    .globl whatever_\n
    .type whatever_\n, @function
whatever_\n:
#ifdef CONTROL_INITIAL_FAST
    b       fast_\n
#else
    b       default_\n
#endif
    pcaddu12i $t3, 0
    ld.d    $t3, $t3, ARCH_STUB_SLOT - 4
    jr      $t3
    .balign 8
    .quad   default_\n              /* ARCH_STUB_SLOT: naturally aligned, so one store replaces it */
    .balign ARCH_STUB_BYTES
    .endr
