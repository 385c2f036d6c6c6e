/* powerpc: ctr is loaded, then comes the jump that a patch changes to a nop and back. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 32
    function whatever_\n
    lis     %r12, 1f@ha
    LOAD    %r12, 1f@l(%r12)
    mtctr   %r12
    b       default_\n              /* JUMP */
    bctr
    .balign 8
1:  ADDRESS default_\n              /* SLOT */
    .balign 32
    .endr
