/* powerpc: the flag, then the target. */
#include "arch.h"
#include "wire.h"

#ifdef __powerpc64__
#define COMPARE cmpldi
#else
#define COMPARE cmplwi
#endif

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 64
    function whatever_\n
    lis     %r12, 2f@ha
    addi    %r12, %r12, 2f@l
    LOAD    %r11, 0(%r12)
    LOAD    %r12, WORD(%r12)
    COMPARE %r11, 0
    beq     1f
    mtctr   %r12
    bctr
1:  b       default_\n
    .balign 8
2:  ADDRESS 0                       /* WORDS */
    ADDRESS 0
    .balign 64
    .endr
