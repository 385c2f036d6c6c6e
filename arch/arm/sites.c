/* arm: call sites.  One aligned word; branches keep all but the displacement: link bit, condition.
 *
 * A32: `b` and `bl`, conditional ones too, have the displacement that the stub's jump has.  Thumb: so have `b.w` and
 * `bl`; `b<cond>.w` has a shorter one (Arm ARM DDI 0406C, A8.8.18, encoding T3).  None of them changes the instruction
 * set, as arch_reaches knows; `blx` does, and is left on the stub (arch.toml). */
#include "patch.h"

#ifdef __thumb__
#define FIELD 0x2fff07ffu /* J1, J2 and imm11 of the second halfword, S and imm10 of the first */
#define CONDITIONAL_FIELD 0x2fff043fu /* likewise, but imm6 */

static bool is_conditional(uint32_t word) { return !(word & 0x50000000u); }

bool arch_site_reaches(uintptr_t at, uint32_t word, uintptr_t to)
{
    intptr_t displacement = (intptr_t)(ARCH_CODE(to) - (at + 4));
    return arch_reaches(at, to) && (!is_conditional(word) || (displacement >= -(1 << 20) && displacement < 1 << 20));
}

/* The conditional displacement's bits are S:J2:J1:imm6:imm11:0, J1 and J2 as they are. */
uint32_t arch_site_jump(uintptr_t at, uint32_t word, uintptr_t to)
{
    uint32_t displacement = (uint32_t)(ARCH_CODE(to) - (at + 4));
#ifdef CONTROL_LOST_LINK
    if (!is_conditional(word))
        word ^= 0x40000000u;
#endif
#ifdef CONTROL_LOST_CONDITION
    if (is_conditional(word))
        return arch_jump(at, to);
#endif
    if (!is_conditional(word))
        return (word & ~FIELD) | (arch_jump(at, to) & FIELD);
    return (word & ~CONDITIONAL_FIELD) | (displacement >> 20 & 1) << 10 | (displacement >> 19 & 1) << 27 |
           (displacement >> 18 & 1) << 29 | (displacement >> 12 & 0x3f) | (displacement >> 1 & 0x7ff) << 16;
}
#else
#define FIELD ARCH_INSTRUCTION(0x00ffffffu)

bool arch_site_reaches(uintptr_t at, uint32_t word, uintptr_t to)
{
    (void)word; /* a condition does not shorten the displacement */
    return arch_reaches(at, to);
}

uint32_t arch_site_jump(uintptr_t at, uint32_t word, uintptr_t to)
{
#ifdef CONTROL_LOST_LINK
    word ^= ARCH_INSTRUCTION(0x01000000u);
#endif
#ifdef CONTROL_LOST_CONDITION
    word = (word & ~ARCH_INSTRUCTION(0xf0000000u)) | ARCH_INSTRUCTION(0xe0000000u); /* always */
#endif
    return (word & ~FIELD) | (arch_jump(at, to) & FIELD);
}
#endif
