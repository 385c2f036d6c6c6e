/* The farm's own jump (arch/NAME/stub.S), for a mechanism whose mistake is how it stores to it: what is right about all
 * of them is here. */
#ifndef ONE_JUMP_H
#define ONE_JUMP_H

#include "jump.h"
#include "redirect.h"

static inline uintptr_t stub_of(uint32_t n) { return ARCH_CODE(function_addresses[n]); }

/* Function n leads to target through its slot; or it is led back, and the slot is to be as linked. */
static inline bool slot_has(uint32_t n, code_word word, uintptr_t target)
{
    return jump_is_through_slot(stub_of(n), word) || target == target_addresses[n][TARGET_DEFAULT];
}

/* The slot is as it must be before `word` may lead to it. */
static inline void slot_first(uint32_t n, code_word word, uintptr_t target)
{
    if (slot_has(n, word, target))
        farm_slot_write(jump_slot(stub_of(n)), target);
    arch_store_barrier();
}

bool mechanism_is_intact(uint32_t n) { return n < FUNCTION_COUNT; }

uintptr_t mechanism_query(uint32_t n)
{
    code_word word = *(const volatile code_word *)jump_word_at(stub_of(n));
    return jump_is_through_slot(stub_of(n), word) ? ARCH_CODE(*jump_slot(stub_of(n)))
                                                  : arch_jump_target(stub_of(n), word);
}

#endif
