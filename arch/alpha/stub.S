/* alpha: the patchable functions as asm stubs.  Word 0 is `br target` or, for a target out of range, `nop`.  Only $27,
 * the procedure value, is written, and only on the way through the slot, where it holds the target, as C expects; all
 * arguments, $26 and the stack pass through.  Neither it nor the global pointer is relied on at entry. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign ARCH_STUB_BYTES
    .globl whatever_\n
    .type whatever_\n, @function
whatever_\n:
#ifdef CONTROL_INITIAL_FAST
    br      $31, fast_\n
#else
    br      $31, default_\n
#endif
    br      $27, 1f
1:  ldq     $27, 8($27)             /* the slot, which lies eight bytes from here */
    jmp     $31, ($27), 0
    .balign 8
    .quad   default_\n              /* ARCH_STUB_SLOT: naturally aligned, so one store replaces it */
    .balign ARCH_STUB_BYTES
    .endr
