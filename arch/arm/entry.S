/* arm: the patchable functions as ordinary functions, for mechanisms that overwrite an entry.  Each begins with another
 * prologue and goes on to its default target; the flags, all arguments, lr and the stack pass through, and ip too in
 * functions 0 to 3.  A branch takes the place of what stands there, which is awkward to move since
 *
 *      A32                   Thumb
 *   0  ldr pc, literal       ldr.w pc, literal    is relative to the pc, and a branch (Thumb: to the aligned pc)
 *   1  bcs                   bcs.n                has two ends (Thumb: in two bytes, within 256)
 *   2  add pc, pc, #24       cbz r0               computes with the pc; has no form that reaches further than 126 bytes
 *   3  b                     b.w                  is a branch already
 *   4  ldr ip, literal       ldr.w ip, literal    is relative to the pc
 *   5  push {fp, lr}         push {r7, lr}        sets up the frame pointer (Thumb: in pairs of two bytes)
 *   6  push, bl              push.w, bl           comes back, to where it was moved
 *   7  adr ip                adr.w ip             computes with the pc
 *   8  ldrcs pc, literal     it cs, ldrcs.w pc    is conditional (Thumb: in a block that may not be taken apart)
 *
 * and so on, from 9 on again as from 0. */
#include "arch.h"
#include "entry.h"
#include "wire.h"

.macro tail
    .balign ENTRY_HEAD
.endm

.macro entry n, target
    .balign ENTRY_BYTES, 0
    .globl whatever_\n
    .type whatever_\n, %function
whatever_\n:
    .if \n % ENTRY_PROLOGUES == 0
    WIDE(ldr) pc, 1f
    tail
1:  .word   \target
    .elseif \n % ENTRY_PROLOGUES == 1
    bcs     1f
    WIDE(b) \target
    tail
1:  WIDE(b) \target
    .elseif \n % ENTRY_PROLOGUES == 2
#ifdef __thumb__
    cbz     r0, 1f
    b.w     \target
#else
    add     pc, pc, #ENTRY_HEAD - 8
#endif
    tail
1:  WIDE(b) \target
    .elseif \n % ENTRY_PROLOGUES == 3
    WIDE(b) \target
    .elseif \n % ENTRY_PROLOGUES == 4
    WIDE(ldr) ip, 1f
    bx      ip
    tail
1:  .word   \target
    .elseif \n % ENTRY_PROLOGUES == 5
#ifdef __thumb__
    push    {r7, lr}
    mov     r7, sp
    pop.w   {r7, lr}
#else
    push    {fp, lr}
    add     fp, sp, #4
    pop     {fp, lr}
#endif
    WIDE(b) \target
    .elseif \n % ENTRY_PROLOGUES == 6
    push    {ip, lr}
    bl      entry_called
    pop     {ip, lr}
    WIDE(b) \target
    .elseif \n % ENTRY_PROLOGUES == 7
    WIDE(adr) ip, 1f
    WIDE(ldr) pc, [ip]
    tail
1:  .word   \target
    .else
#ifdef __thumb__
    it      cs
#endif
    WIDE(ldrcs) pc, 1f
    WIDE(b) \target
    tail
1:  .word   \target
    .endif
.endm

    .section .stub, "ax"
    FOR_EACH_ENTRY
    .balign ENTRY_BYTES, 0

    .text
    .type entry_called, %function
entry_called:
    bx      lr
