/* x86: what stands in the NOPs (nops.h). */
#include "pad.h"
#include "reach.h"

#define SLOT 0
#define SLOT_JUMP 8
#define NEAR_JUMP 27
#define OPERAND 28
#define SHORT_JUMP 0xeb
#define JMP 0xe9

static uintptr_t block_of(uint32_t n) { return ARCH_CODE(function_addresses[n]) - PAD_ENTRY; }

static void copy(uint8_t *to, const void *from, size_t size)
{
    for (size_t i = 0; i < size; i++)
        to[i] = ((const volatile uint8_t *)from)[i];
}

void pad_lead(uint32_t n, uint8_t *head, uintptr_t to)
{
    uintptr_t at = block_of(n) + NEAR_JUMP;
    code_word operand = arch_jump(at, to);
#ifdef __x86_64__
    static const uint8_t jump_by_slot[6] = {0xff, 0x25, (uint8_t)(SLOT - SLOT_JUMP - 6), 0xff, 0xff, 0xff};
    if (!stub_reaches(at, to)) {
        copy(head + SLOT, &to, sizeof to);
        copy(head + SLOT_JUMP, jump_by_slot, sizeof jump_by_slot);
        operand = arch_jump(at, block_of(n) + SLOT_JUMP);
    }
#endif
    head[NEAR_JUMP] = JMP;
    copy(head + OPERAND, &operand, sizeof operand);
    head[PAD_ENTRY] = SHORT_JUMP;
    head[PAD_ENTRY + 1] = (uint8_t)(NEAR_JUMP - PAD_ENTRY - 2);
}

uintptr_t pad_target(uint32_t n)
{
    if (*(const volatile uint8_t *)(block_of(n) + PAD_ENTRY) != SHORT_JUMP)
        return 0;
    uintptr_t to = arch_jump_target(block_of(n) + NEAR_JUMP, *(const volatile uint32_t *)(block_of(n) + OPERAND));
    return to == block_of(n) + SLOT_JUMP ? *(const volatile uintptr_t *)(block_of(n) + SLOT) : to;
}

uintptr_t pad_behind(uint32_t n) { return block_of(n) + PAD_ENTRY + NOPS_AT; }
