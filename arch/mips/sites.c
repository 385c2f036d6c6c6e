/* mips: call sites.
 *
 * `jal` and `j` have the same field, an address within a region; a conditional branch, and with it `b` and `bal`, has
 * 16 bits of displacement in words from its delay slot (MIPS Architecture For Programmers, Volume II-A).  Only the
 * branch's own word is written: its delay slot belongs to the caller, who may compute an argument there. */
#include "patch.h"

#define REGION_BITS 28

static bool is_jump(uint32_t word) { return word >> 27 == 1; } /* 000010 j, 000011 jal */

bool arch_site_reaches(uintptr_t at, uint32_t word, uintptr_t to)
{
    intptr_t displacement = (intptr_t)(to - (at + 4));
    if (is_jump(word))
        return (at + 4) >> REGION_BITS == to >> REGION_BITS && !(to & 3);
    return displacement >= -(1 << 17) && displacement < 1 << 17 && !(displacement & 3);
}

uint32_t arch_site_jump(uintptr_t at, uint32_t word, uintptr_t to)
{
#ifdef CONTROL_LOST_LINK
    if (is_jump(word))
        word ^= 0x04000000u;
#endif
#ifdef CONTROL_LOST_CONDITION
    if (!is_jump(word))
        word = 0x10000000u; /* beq $0, $0 */
#endif
    if (is_jump(word))
        return (word & 0xfc000000u) | (((uint32_t)to >> 2) & 0x03ffffffu);
    return (word & 0xffff0000u) | (((uint32_t)(to - (at + 4)) >> 2) & 0xffffu);
}
