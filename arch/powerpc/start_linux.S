/* powerpc: entry as a Linux process, entry for an engine without an operating system, and the system call. */
#include "arch.h"

/* The first frame, with room for what a callee may store in its caller's, and r2 for the C code. */
.macro first_frame
    li      %r0, 0
    PUSH    %r0, -16 * WORD(%r1)
#ifdef __powerpc64__
    address %r2, .TOC.
#endif
.endm

    .text
    function _start
    mr      %r3, %r1                /* arguments, environment, auxiliary vector */
    first_frame                     /* the kernel aligned r1 */
    bl      linux_main
    trap

/* farm_enter: r1 is set; runs one program and then branches to farm_stop, where the engine stops.  Not a C function:
 * where an engine starts is code, never a descriptor. */
    .globl farm_enter
farm_enter:
    first_frame
    bl      farm_run
    address %r12, farm_stop
    mtctr   %r12
    bctr

    .balign 64
    .globl farm_stop
farm_stop:
    nop

/* long arch_syscall6(const uintptr_t words[7]): number and six arguments; negative errno on failure */
    function arch_syscall6
    LOAD    %r0, 0 * WORD(%r3)
    LOAD    %r4, 2 * WORD(%r3)
    LOAD    %r5, 3 * WORD(%r3)
    LOAD    %r6, 4 * WORD(%r3)
    LOAD    %r7, 5 * WORD(%r3)
    LOAD    %r8, 6 * WORD(%r3)
    LOAD    %r3, 1 * WORD(%r3)
    sc
    bnslr                           /* cr0.SO: r3 is an errno */
    neg     %r3, %r3
    blr

/* long arch_syscall(long number, a, b, c): negative errno on failure */
    function arch_syscall
    mr      %r0, %r3
    mr      %r3, %r4
    mr      %r4, %r5
    mr      %r5, %r6
    sc
    bnslr                           /* cr0.SO: r3 is an errno */
    neg     %r3, %r3
    blr
