/* powerpc: lis, ori. */
#include "arch.h"
#include "wire.h"

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 32
    function whatever_\n
    lis     %r12, default_\n@h      /* WORDS */
    ori     %r12, %r12, default_\n@l
    mtctr   %r12
    bctr
    .balign 32
    .endr
