/* arm: the trampolines.  No register is written: ip is left to veneers (AAPCS32, 6.1.1), but it is GCC's static chain
 * too.  All arguments, lr, the flags and the stack pass through.
 *
 * A load that is relative to pc reaches 4 KiB, and needs no register.  So the trampolines are the last words of their
 * page, and the first of the next one are the literals (images/platform/link.ld): from each trampoline to its literal
 * it is as far as there are trampolines. */
#include "arch.h"
#include "wire.h"

#ifdef __thumb__
#define PC_AHEAD 4
#else
#define PC_AHEAD 8
#endif

    .section .stub, "ax"
    .space  4096 - 4 * FUNCTION_COUNT
    .irp n, FUNCTION_NUMBERS
    .balign 4
    .globl  whatever_\n
    .type   whatever_\n, %function
whatever_\n:
    WIDE(ldr) pc, [pc, #4 * FUNCTION_COUNT - PC_AHEAD] /* switches to the instruction set of its target */
    .endr
