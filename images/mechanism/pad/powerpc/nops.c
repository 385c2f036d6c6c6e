/* ppc32: what stands in the NOPs (nops.h). */
#include "words.h"

static uint32_t far_word(uint32_t n, uint32_t i)
{
    uint32_t slot = (uint32_t)(block_of(n) + PAD_SLOT);
    const uint32_t words[FAR_WORDS] = {
        0x3d800000u | (slot + 0x8000u) >> 16, /* lis r12, slot@ha */
        0x818c0000u | (slot & 0xffffu),       /* lwz r12, slot@l(r12) */
        0x7d8903a6u,                          /* mtctr r12 */
        0x4e800420u,                          /* bctr */
    };
    return words[i];
}
