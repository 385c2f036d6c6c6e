/* parisc: what stands in the NOPs (nops.h).  r1 is what the linker's own stubs for long branches use. */
#include "words.h"

#define LDIL_R1 0x20200000u
#define LDW_R1_R1 0x48210000u /* ldw 0(%r1), %r1 */
#define BV_N_R1 0xe820c002u

/* The upper 21 bits of an address as LDIL has them ("Instruction Formats", assemble_21). */
static uint32_t left_part(uint32_t address)
{
    uint32_t upper = address >> 11;
    return (upper & 3) << 12 | (upper >> 2 & 0x1f) << 16 | (upper >> 7 & 3) << 14 | (upper >> 9 & 0x7ff) << 1 | upper >> 20;
}

static uint32_t far_word(uint32_t n, uint32_t i)
{
    uint32_t slot = (uint32_t)(block_of(n) + PAD_SLOT);
    const uint32_t words[FAR_WORDS] = {LDIL_R1 | left_part(slot), LDW_R1_R1 | (slot & 0x7ff) << 1, BV_N_R1};
    return words[i];
}
