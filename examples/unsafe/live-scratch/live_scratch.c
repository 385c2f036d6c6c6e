/* The jump stands behind the load of the slot, not in front of it.  Every store is as it should be: the slot before the
 * word, a barrier between, an instruction that may change become another such, in one store.  But who has loaded the slot
 * before the patch branches through what the register holds behind it. */
#include "jump.h"
#include "redirect.h"

/* Where jump.h takes the stub to begin: its word is at JUMP of ours. */
static uintptr_t jump_of(uint32_t n) { return ARCH_CODE(function_addresses[n]) + JUMP - ARCH_STUB_WORD; }

static volatile uintptr_t *slot_of(uint32_t n)
{
    return (volatile uintptr_t *)(ARCH_CODE(function_addresses[n]) + SLOT);
}

bool mechanism_is_intact(uint32_t n) { return n < FUNCTION_COUNT; }

uint32_t mechanism_lead(uint32_t n, uintptr_t target)
{
    if (!jump_lead(jump_of(n), slot_of(n), arch_entry(target), target))
        return PATCH_READ_ONLY;
    if (target == target_addresses[n][TARGET_DEFAULT])
        farm_slot_write(slot_of(n), target); /* as linked */
    return PATCH_OK;
}

uintptr_t mechanism_query(uint32_t n)
{
    code_word word = *(const volatile code_word *)jump_word_at(jump_of(n));
    return jump_is_through_slot(jump_of(n), word) ? ARCH_CODE(*slot_of(n)) : arch_jump_target(jump_of(n), word);
}
