/* The maintenance is for the buffer that the instruction came from, not for where it went. */
#include "one_jump.h"

uint32_t mechanism_lead(uint32_t n, uintptr_t target)
{
    code_word word = jump_word(stub_of(n), arch_entry(target));
    slot_first(n, word, target);
    *(volatile code_word *)jump_word_at(stub_of(n)) = word;
    arch_sync_code((uintptr_t)&word);
    return PATCH_OK;
}
