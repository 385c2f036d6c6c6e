/* A jump is published before the slot that it leads to holds its target. */
#include "one_jump.h"

uint32_t mechanism_lead(uint32_t n, uintptr_t target)
{
    uintptr_t stub = stub_of(n);
    code_word word = jump_word(stub, arch_entry(target));
    if (!farm_text_write(jump_word_at(stub), &word, sizeof word))
        return PATCH_READ_ONLY;
    if (slot_has(n, word, target))
        farm_slot_write(jump_slot(stub), target); /* too late: the jump has led to what it held before */
    return PATCH_OK;
}
