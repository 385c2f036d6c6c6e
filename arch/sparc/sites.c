/* sparc: call sites.  One aligned word; `call` and the branches keep all but the displacement: condition, annul bit,
 * prediction, registers.  What is in the delay slot stays as it is, so a tail call stays one.  There is no link bit to
 * lose: a `call` always links, and a branch never does. */
#include "patch.h"

/* The displacement's bits in `word`, by its format (V9, 6.2 "Instruction Formats"): CALL has 30; of the branches, Bicc
 * and FBfcc have 22, BPcc and FBPfcc 19, and BPr 16 in two places. */
#define SPLIT 0x00303fffu

static uint32_t field_of(uint32_t word)
{
    if (word >> 30 == 1)
        return 0x3fffffffu;
    switch (word >> 22 & 3) { /* of op2: the third bit is set for floating-point conditions */
    case 1:
        return 0x0007ffffu;
    case 2:
        return 0x003fffffu;
    default:
        return SPLIT; /* unreached: no such call site */
    }
}

bool arch_site_reaches(uintptr_t at, uint32_t word, uintptr_t to)
{
    uint32_t field = field_of(word);
    int64_t displacement = (intptr_t)(to - at), reach = 2 * ((int64_t)(field == SPLIT ? 0xffffu : field) + 1);
    return displacement >= -reach && displacement < reach && !(displacement & 3);
}

uint32_t arch_site_jump(uintptr_t at, uint32_t word, uintptr_t to)
{
    uint32_t field = field_of(word), displacement = (uint32_t)(to - at) >> 2;
#ifdef CONTROL_LOST_CONDITION
    if (word >> 30 == 0)
        word = (word & ~(0xfu << 25)) | 8u << 25; /* always */
#endif
    if (field == SPLIT) /* unreached: no such call site */
        displacement = (displacement & 0x3fffu) | (displacement & 0xc000u) << 6; /* unreached: no such call site */
    return (word & ~field) | (displacement & field);
}
