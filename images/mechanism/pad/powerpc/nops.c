/* powerpc: what stands in the NOPs (nops.h).  The slot has the address of code, and r2 stays: there is one TOC. */
#include "words.h"

#ifdef __powerpc64__
#define LOAD_R12 0xe98c0000u /* ld r12, 0(r12) */
#else
#define LOAD_R12 0x818c0000u /* lwz r12, 0(r12) */
#endif

static uint32_t far_word(uint32_t n, uint32_t i)
{
    uint32_t slot = (uint32_t)(block_of(n) + PAD_SLOT);
    const uint32_t words[FAR_WORDS] = {
        0x3d800000u | (slot + 0x8000u) >> 16, /* lis r12, slot@ha */
        LOAD_R12 | (slot & 0xffffu),          /* slot@l */
        0x7d8903a6u,                          /* mtctr r12 */
        0x4e800420u,                          /* bctr */
    };
    return words[i];
}
