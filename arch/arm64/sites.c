/* arm64: call sites.  One aligned word; `b`, `bl` and `b.cond` keep all but the displacement. */
#include "patch.h"

/* The displacement's bits in `word`: B and BL have 26 (Arm ARM DDI 0487, C6.2.26, C6.2.34), B.cond 19 from bit 5 on. */
static bool is_conditional(uint32_t word) { return word >> 24 == 0x54u; }

bool arch_site_reaches(uintptr_t at, uint32_t word, uintptr_t to)
{
    intptr_t displacement = (intptr_t)(to - at), reach = is_conditional(word) ? 1 << 20 : 1 << 27;
    return displacement >= -reach && displacement < reach;
}

uint32_t arch_site_jump(uintptr_t at, uint32_t word, uintptr_t to)
{
    uint32_t displacement = (uint32_t)(to - at) >> 2;
    if (is_conditional(word))
        return (word & 0xff00001fu) | (displacement & 0x7ffffu) << 5;
    return (word & 0xfc000000u) | (displacement & 0x03ffffffu);
}
