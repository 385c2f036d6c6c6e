/* An instruction is stored as two halfwords: whoever fetches between the two gets one that nobody wrote. */
#include "one_jump.h"

uint32_t mechanism_lead(uint32_t n, uintptr_t target)
{
    uintptr_t at = jump_word_at(stub_of(n));
    code_word word = jump_word(stub_of(n), arch_entry(target));
    uint16_t halves[2];
    __builtin_memcpy(halves, &word, sizeof word);
    slot_first(n, word, target);
    for (uint32_t i = 0; i < 2; i++)
        ((volatile uint16_t *)at)[i] = halves[i];
    arch_sync_code(at);
    return PATCH_OK;
}
