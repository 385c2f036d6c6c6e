/* s390x: entry as a Linux process, entry for an engine without an operating system, and the system call. */
#include "arch.h"

/* The first frame: where a callee saves registers, and no back chain. */
.macro first_frame
    aghi    %r15, -FRAME_BYTES
    xc      0(8,%r15), 0(%r15)
.endm

    .text
    .globl _start
    .type _start, @function
_start:
    lgr     %r2, %r15               /* arguments, environment, auxiliary vector; the kernel aligned r15 */
    first_frame
    brasl   %r14, linux_main
    .insn   e, 0x0000               /* no such instruction */

/* farm_enter: r15 is set; runs one program and then branches to farm_stop, where the engine stops. */
    .globl farm_enter
    .type farm_enter, @function
farm_enter:
    first_frame
    brasl   %r14, farm_run
    larl    %r1, farm_stop
    br      %r1

    .balign 64
    .globl farm_stop
farm_stop:
    nopr    %r0

/* long arch_syscall6(const uintptr_t words[7]): number and six arguments; negative errno on failure */
    .globl arch_syscall6
    .type arch_syscall6, @function
arch_syscall6:
    stmg    %r6, %r7, 48(%r15)      /* where the caller left room for them */
    lg      %r1, 0(%r2)             /* svc 0: the number is in r1 */
    lmg     %r3, %r7, 16(%r2)
    lg      %r2, 8(%r2)
    svc     0
    lmg     %r6, %r7, 48(%r15)
    br      %r14

/* long arch_syscall(long number, a, b, c): negative errno on failure */
    .globl arch_syscall
    .type arch_syscall, @function
arch_syscall:
    lgr     %r1, %r2                /* svc 0: the number is in r1 */
    lgr     %r2, %r3
    lgr     %r3, %r4
    lgr     %r4, %r5
    svc     0
    br      %r14
