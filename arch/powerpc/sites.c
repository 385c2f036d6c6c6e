/* powerpc: call sites.  One aligned word; `b`, `bl`, `bc` keep all but the displacement: link bit, condition, hint.  A
 * `bc` reaches no target here: they are on other pages of 64 KiB. */
#include "patch.h"

#define BC 16u

/* I-form has 24 bits of word displacement, B-form 14 (Power ISA, Book I, 2.4 "Branch Instructions"). */
static bool is_conditional(uint32_t word) { return word >> 26 == BC; }

bool arch_site_reaches(uintptr_t at, uint32_t word, uintptr_t to)
{
    intptr_t displacement = (intptr_t)(to - at), reach = is_conditional(word) ? 1 << 15 : 1 << 25;
    return displacement >= -reach && displacement < reach && !(displacement & 3);
}

uint32_t arch_site_jump(uintptr_t at, uint32_t word, uintptr_t to)
{
    uint32_t field = is_conditional(word) ? 0x0000fffcu : 0x03fffffcu;
#ifdef CONTROL_LOST_LINK
    word ^= 1u;
#endif
    return (word & ~field) | ((uint32_t)(to - at) & field);
}
