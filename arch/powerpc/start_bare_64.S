/* powerpc, 64 bits: where the bare machine begins (0x100, big-endian, without address translation), the vectors of
 * exceptions (Power ISA Book III, "Interrupt Definitions"), and the way from the guest (problem state) and back. */
#include "arch.h"
#include "bare_arch.h"

#define SRR0 26
#define SRR1 27
#define DAR 19
#define SPRG0 272
#define SPRG1 273

    .section .text.start, "ax"
    .globl _start
vectors:
    .org    vectors + 0x100
_start:
#ifdef __LITTLE_ENDIAN__
    /* Words of big-endian code: SRR1 = MSR with LE, SRR0 = 0x118, and go there. */
    .long   0xa600607d              /* mfmsr r11 */
    .long   0x01006b61              /* ori r11, r11, 1 */
    .long   0xa6037b7d              /* mtsrr1 r11 */
    .long   0x18014039              /* li r10, 0x118 */
    .long   0xa6035a7d              /* mtsrr0 r10 */
    .long   0x2400004c              /* rfid */
#endif
    address %r1, stack_end
    addi    %r1, %r1, -256
    address %r2, .TOC.
    bl      bare_main
    nop
    trap

    .macro vector number
    .org    vectors + \number
    mtspr   SPRG0, %r1
    mtspr   SPRG1, %r3
    li      %r3, \number
    b       of_exception
    .endm

    vector  0x200
    vector  0x300
    vector  0x380
    vector  0x400
    vector  0x480
    vector  0x600
    vector  0x700
    vector  0x800
    vector  0xc00
    vector  0xd00
    .org    vectors + VECTORS_END

/* All registers, cr, lr, ctr, xer, pc, msr, DAR, the vector (struct registers). */
of_exception:
    address %r1, kept
    std     %r3, (8 * 39)(%r1)
    .irp    number, 0, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    std     %r\number, (8 * \number)(%r1)
    .endr
    mfspr   %r3, SPRG0
    std     %r3, (8 * 1)(%r1)
    mfspr   %r3, SPRG1
    std     %r3, (8 * 3)(%r1)
    mfcr    %r3
    std     %r3, (8 * 32)(%r1)
    mflr    %r3
    std     %r3, (8 * 33)(%r1)
    mfctr   %r3
    std     %r3, (8 * 34)(%r1)
    mfxer   %r3
    std     %r3, (8 * 35)(%r1)
    mfspr   %r3, SRR0
    std     %r3, (8 * 36)(%r1)
    mfspr   %r3, SRR1
    std     %r3, (8 * 37)(%r1)
    mfspr   %r3, DAR
    std     %r3, (8 * 38)(%r1)
    mr      %r3, %r1
    address %r1, stack_end
    addi    %r1, %r1, -256
    address %r2, .TOC.
    bl      machine_trap
    nop
back:
    address %r1, kept
    ld      %r3, (8 * 32)(%r1)
    mtcr    %r3
    ld      %r3, (8 * 33)(%r1)
    mtlr    %r3
    ld      %r3, (8 * 34)(%r1)
    mtctr   %r3
    ld      %r3, (8 * 35)(%r1)
    mtxer   %r3
    ld      %r3, (8 * 36)(%r1)
    mtspr   SRR0, %r3
    ld      %r3, (8 * 37)(%r1)
    mtspr   SRR1, %r3
    .irp    number, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    ld      %r\number, (8 * \number)(%r1)
    .endr
    ld      %r1, (8 * 1)(%r1)
    rfid

/* machine_return(const struct registers *): the guest has all of these. */
    function machine_return
    address %r4, kept
    li      %r5, 40
    mtctr   %r5
0:  ld      %r5, 0(%r3)
    std     %r5, 0(%r4)
    addi    %r3, %r3, 8
    addi    %r4, %r4, 8
    bdnz    0b
    b       back

/* long machine_ask(number, a, b, c, d): of the hypervisor */
    function machine_ask
    .long   0x44000022              /* sc 1 */
    blr

    .bss
    .balign 16
kept:
    .skip   8 * 40
    .balign 16
    .skip   16384
stack_end:
