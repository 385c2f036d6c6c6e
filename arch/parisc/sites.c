/* parisc: call sites.  One aligned word; branches keep all but the displacement: link register, condition, what is
 * compared, and whether the delay slot, which stays as it is, may run.  A conditional branch reaches no target here:
 * they are more than 8 KiB away. */
#include "patch.h"

#define BRANCH_AND_LINK 0x3au
#define AHEAD 8 /* of a branch, from where its displacement counts */

/* BL has 17 bits of word displacement, a conditional branch 12 ("Instruction Formats", assemble_17, assemble_12). */
static bool is_conditional(uint32_t word) { return word >> 26 != BRANCH_AND_LINK; }

bool arch_site_reaches(uintptr_t at, uint32_t word, uintptr_t to)
{
    intptr_t displacement = (intptr_t)(to - (at + AHEAD)), reach = is_conditional(word) ? 1 << 13 : 1 << 18;
    return displacement >= -reach && displacement < reach && !(displacement & 3);
}

/* The sign is bit 0; BL has five bits below it from bit 16 on; the next one is bit 2; the others are from bit 3 on. */
uint32_t arch_site_jump(uintptr_t at, uint32_t word, uintptr_t to)
{
    uint32_t words = (uint32_t)(to - (at + AHEAD)) >> 2;
    uint32_t low = (words >> 10 & 1) << 2 | (words & 0x3ff) << 3;
#ifdef CONTROL_LOST_LINK
    if (!is_conditional(word))
        word ^= 2u << 21; /* the link register, r2 or none */
#endif
    if (is_conditional(word))
        return (word & ~0x00001ffdu) | (words >> 11 & 1) | low; /* unreached: every target is too far away */
    return (word & ~0x001f1ffdu) | (words >> 16 & 1) | (words >> 11 & 0x1f) << 16 | low;
}
