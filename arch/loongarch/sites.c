/* loongarch: call sites.  One aligned word; `b` and `bl` keep their opcode, a conditional branch its condition and its
 * registers. */
#include "patch.h"

/* Bits of the displacement, in words, by opcode (LoongArch Reference Manual, volume 1, 2.2.5 "Branch Instructions"). */
static uint32_t width(uint32_t word)
{
    uint32_t opcode = word >> 26;
    return opcode == 0x14 || opcode == 0x15 ? 26  /* B, BL */
           : opcode >= 0x10 && opcode <= 0x12 ? 21 /* BEQZ, BNEZ, BCEQZ, BCNEZ */
                                              : 16; /* BEQ, BNE, BLT, BGE, BLTU, BGEU */
}

bool arch_site_reaches(uintptr_t at, uint32_t word, uintptr_t to)
{
    intptr_t displacement = (intptr_t)(to - at), reach = (intptr_t)1 << (width(word) + 1);
    return displacement >= -reach && displacement < reach && !(displacement & 3);
}

/* The low 16 bits lie in bits 25-10; those above them in the word's lowest bits, as many as there are. */
uint32_t arch_site_jump(uintptr_t at, uint32_t word, uintptr_t to)
{
#ifdef CONTROL_LOST_LINK
    if (width(word) == 26)
        word ^= 0x04000000u;
#endif
#ifdef CONTROL_LOST_CONDITION
    if (width(word) != 26)
        word = 0x50000000u; /* b */
#endif
    uint32_t displacement = (uint32_t)(to - at) >> 2, high = (1u << (width(word) - 16)) - 1;
    return (word & ~(0xffffu << 10 | high)) | (displacement & 0xffffu) << 10 | (displacement >> 16 & high);
}
