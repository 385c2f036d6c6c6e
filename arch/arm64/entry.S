/* arm64: the patchable functions as ordinary functions, for mechanisms that overwrite an entry.  Each begins with a
 * landing pad and another prologue, and goes on to its default target; only x16 and x17 are written.  A branch takes
 * the place of what stands there, which is awkward to move since
 *
 *   0  ldr x16, literal       is relative to the pc, and reaches 1 MiB
 *   1  adrp x16               is relative to the pc's page, and a pair with the add behind it
 *   2  tbz wzr, #0            is always taken, and reaches 32 KiB
 *   3  b                      is a branch already
 *   4  adr x17                is relative to the pc, and reaches 1 MiB
 *   5  paciasp                is the landing pad: nothing may be entered between it and its autiasp; then come the
 *                             frame pointer and the stack
 *   6  stp, bl                comes back, to where it was moved
 *   7  b.cs                   has two ends, and reaches 1 MiB
 *   8  ldrsw x16, literal     loads an offset, to which the address is added that an adr behind it has
 *
 * and so on, from 9 on again as from 0. */
#include "arch.h"
#include "entry.h"
#include "wire.h"

#ifdef CONTROL_NO_STUB_PAD
#define PAD nop
#define PAC_PAD nop
#define PAC_END nop
#else
#define PAD LANDING_PAD
#define PAC_PAD hint #25            /* paciasp, which compilers for older CPUs spell so */
#define PAC_END hint #29            /* autiasp */
#endif

.macro tail
    .balign ENTRY_HEAD
.endm

.macro entry n, target
    .balign ENTRY_BYTES
    .globl whatever_\n
    .type whatever_\n, %function
whatever_\n:
    .if \n % ENTRY_PROLOGUES == 5
    PAC_PAD
    stp     x29, x30, [sp, #-16]!
    mov     x29, sp
    ldp     x29, x30, [sp], #16
    PAC_END
    b       \target
    .else
    PAD
    .endif
    .if \n % ENTRY_PROLOGUES == 0
    ldr     x16, 1f
    br      x16
    tail
1:  .quad   \target
    .elseif \n % ENTRY_PROLOGUES == 1
    adrp    x16, \target
    add     x16, x16, :lo12:\target
    br      x16
    .elseif \n % ENTRY_PROLOGUES == 2
    tbz     wzr, #0, 1f
    brk     #1
    tail
1:  b       \target
    .elseif \n % ENTRY_PROLOGUES == 3
    b       \target
    .elseif \n % ENTRY_PROLOGUES == 4
    adr     x17, 1f
    ldr     x16, [x17]
    br      x16
    tail
1:  .quad   \target
    .elseif \n % ENTRY_PROLOGUES == 6
    stp     x29, x30, [sp, #-16]!
    bl      entry_called
    ldp     x29, x30, [sp], #16
    b       \target
    .elseif \n % ENTRY_PROLOGUES == 7
    b.cs    1f
    b       \target
    tail
1:  b       \target
    .elseif \n % ENTRY_PROLOGUES == 8
    ldrsw   x16, 1f
    adr     x17, 1f
    add     x16, x16, x17
    br      x16
    tail
1:  .word   \target - .
    .endif
.endm

    .section .stub, "ax"
    FOR_EACH_ENTRY
    .balign ENTRY_BYTES

    .text
    .type entry_called, %function
entry_called:
    ret
