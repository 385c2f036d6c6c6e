/* arm64: call sites.  One aligned word; `b`, `bl` and `b.cond` keep all but the displacement. */
#include "patch.h"

/* The displacement's bits in `word`: B and BL have 26 (Arm ARM DDI 0487, C6.2.26, C6.2.34), B.cond 19 from bit 5 on. */
static bool is_conditional(uint32_t word) { return ARCH_INSTRUCTION(word) >> 24 == 0x54u; }

bool arch_site_reaches(uintptr_t at, uint32_t word, uintptr_t to)
{
    intptr_t displacement = (intptr_t)(to - at), reach = is_conditional(word) ? 1 << 20 : 1 << 27;
    return displacement >= -reach && displacement < reach && !(displacement & 3);
}

uint32_t arch_site_jump(uintptr_t at, uint32_t word, uintptr_t to)
{
    uint32_t displacement = (uint32_t)(to - at) >> 2;
    uint32_t field = is_conditional(word) ? 0x00ffffe0u : 0x03ffffffu;
    uint32_t bits = is_conditional(word) ? displacement << 5 : displacement;
#ifdef CONTROL_LOST_LINK
    if (!is_conditional(word))
        word ^= ARCH_INSTRUCTION(0x80000000u);
#endif
#ifdef CONTROL_LOST_CONDITION
    if (is_conditional(word))
        word = (word & ~ARCH_INSTRUCTION(0xfu)) | ARCH_INSTRUCTION(0xeu); /* always */
#endif
    return (word & ~ARCH_INSTRUCTION(field)) | ARCH_INSTRUCTION(bits & field);
}
