/* sparc: what stands in the NOPs (nops.h). */
#include "back.h"
#include "reach.h"

#define MOV_O7_G1 0x8210000fu
#define MOV_G1_O7 0x9e100001u
#define SETHI_G1 0x03000000u
#define LDX_G1_G1 0xc2586000u /* ldx [%g1 + 0], %g1 */
#define JMP_G1 0x81c04000u
#define NOP 0x01000000u

static void put(uint8_t *to, uint32_t word) { copy(to, &word, sizeof word); }

static void lead_before(uint32_t n, uint8_t *head, uintptr_t to)
{
    uint32_t call = arch_jump(block_of(n), to);
#ifdef PAD_SLOT
    if (!stub_reaches(block_of(n), to)) {
        uint32_t slot = (uint32_t)(block_of(n) + PAD_SLOT); /* the whole guest lies below 4 GiB */
        copy(head + PAD_SLOT, &to, sizeof to);
        put(head + 12, SETHI_G1 | slot >> 10);
        put(head + 16, LDX_G1_G1 | (slot & 0x3ffu));
        put(head + 20, JMP_G1);
        put(head + 24, NOP);
        call = arch_slot_jump(block_of(n));
    }
#endif
    put(head, MOV_O7_G1);
    put(head + ARCH_STUB_WORD, call);
    put(head + 8, MOV_G1_O7);
}

static uintptr_t target_before(uint32_t n)
{
    uint32_t call = *(const volatile uint32_t *)(block_of(n) + ARCH_STUB_WORD);
#ifdef PAD_SLOT
    if (call == arch_slot_jump(block_of(n)))
        return *(const volatile uintptr_t *)(block_of(n) + PAD_SLOT);
#endif
    return arch_jump_target(block_of(n), call);
}
