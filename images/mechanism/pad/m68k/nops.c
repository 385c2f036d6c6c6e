/* m68k: what stands in the NOPs (nops.h). */
#include "back.h"

#define JUMP 2
#define OPERAND 4

static void lead_before(uint32_t n, uint8_t *head, uintptr_t to)
{
    static const uint16_t jmp = 0x4ef9;
    const code_word operand = arch_jump(block_of(n) + JUMP, to);
    copy(head + JUMP, &jmp, sizeof jmp);
    copy(head + OPERAND, &operand, sizeof operand);
}

static uintptr_t target_before(uint32_t n)
{
    return arch_jump_target(block_of(n) + JUMP, *(const volatile code_word *)(block_of(n) + OPERAND));
}
