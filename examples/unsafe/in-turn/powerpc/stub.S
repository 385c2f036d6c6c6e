/* powerpc: a jump to one of two ways, each of which reads a descriptor of its own. */
#include "arch.h"
#include "wire.h"

#ifdef __powerpc64__
#define COMPARE cmpld
#else
#define COMPARE cmplw
#endif

    .macro way descriptor
    lis     %r12, \descriptor@ha
    addi    %r12, %r12, \descriptor@l
    LOAD    %r11, 0(%r12)
    LOAD    %r12, WORD(%r12)
    COMPARE %r11, %r12
    mtctr   %r12
    beqctr
    .long   0
    .endm

    .section .stub, "ax"
    .irp n, FUNCTION_NUMBERS
    .balign 128
    function whatever_\n
    b       1f                      /* JUMP */
1:  way     3f                      /* WAY_A */
2:  way     4f                      /* WAY_B */
    .balign 8
3:  ADDRESS default_\n              /* DESCRIPTORS */
    ADDRESS default_\n
4:  ADDRESS default_\n
    ADDRESS default_\n
    .balign 128
    .endr
