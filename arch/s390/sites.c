/* s390x: call sites.  The word is the displacement of BRASL or BRCL, the last four of its six bytes: 32 bits, signed,
 * in halfwords from the instruction, which begins two bytes before.
 *
 * A store to a naturally aligned word is not torn ("Block-Concurrent References").  That a CPU that executes the
 * instruction meanwhile fetches the old word or the new one is how machines behave: the Principles of Operation promise
 * it of a mask alone (patch.c). */
#include "patch.h"

#define OPCODE 2 /* bytes of the instruction before the word */

bool arch_site_reaches(uintptr_t at, uint32_t word, uintptr_t to)
{
    intptr_t displacement = (intptr_t)(to - (at - OPCODE)), halfwords = displacement >> 1;
    (void)word;
    return halfwords == (int32_t)halfwords && !(displacement & 1);
}

/* Mask, link register and opcode are not in the word. */
uint32_t arch_site_jump(uintptr_t at, uint32_t word, uintptr_t to)
{
    (void)word;
    return (uint32_t)((to - (at - OPCODE)) >> 1);
}
