/* x86: what stands in the NOPs (nops.h). */
#include "back.h"
#include "reach.h"

#define SLOT_JUMP 8
#define NEAR_JUMP 27
#define OPERAND 28
#define JMP 0xe9

static void lead_before(uint32_t n, uint8_t *head, uintptr_t to)
{
    uintptr_t at = block_of(n) + NEAR_JUMP;
    code_word operand = arch_jump(at, to);
#ifdef PAD_SLOT
    static const uint8_t jump_by_slot[6] = {0xff, 0x25, (uint8_t)(PAD_SLOT - SLOT_JUMP - 6), 0xff, 0xff, 0xff};
    if (!stub_reaches(at, to)) {
        copy(head + PAD_SLOT, &to, sizeof to);
        copy(head + SLOT_JUMP, jump_by_slot, sizeof jump_by_slot);
        operand = arch_jump(at, block_of(n) + SLOT_JUMP);
    }
#endif
    head[NEAR_JUMP] = JMP;
    copy(head + OPERAND, &operand, sizeof operand);
}

static uintptr_t target_before(uint32_t n)
{
    uintptr_t to = arch_jump_target(block_of(n) + NEAR_JUMP, *(const volatile uint32_t *)(block_of(n) + OPERAND));
#ifdef PAD_SLOT
    if (to == block_of(n) + SLOT_JUMP)
        return *(const volatile uintptr_t *)(block_of(n) + PAD_SLOT);
#endif
    return to;
}
