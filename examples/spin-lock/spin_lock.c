/* Whoever patches waits until nobody else does.  To find the lock free and to take it are one access; what its last
 * holder did is seen behind, and what the holder does is seen before it is free again. */
#include "jump.h"

static uint32_t taken __attribute__((aligned(4)));

static void lock(void)
{
    while (__atomic_exchange_n(&taken, 1, __ATOMIC_ACQUIRE))
        ;
}

static void unlock(void) { __atomic_store_n(&taken, 0, __ATOMIC_RELEASE); }

#include "requests.h"

static uintptr_t stub_of(uint32_t n) { return ARCH_CODE(function_addresses[n]); }

uint32_t mechanism_lead(uint32_t n, uintptr_t target)
{
    if (!jump_lead(stub_of(n), jump_slot(stub_of(n)), arch_entry(target), target))
        return PATCH_READ_ONLY;
#ifdef ARCH_STUB_SLOT
    if (target == target_addresses[n][TARGET_DEFAULT])
        farm_slot_write(jump_slot(stub_of(n)), target); /* as linked */
#endif
    return PATCH_OK;
}

uintptr_t mechanism_query(uint32_t n)
{
    code_word word = *(const volatile code_word *)jump_word_at(stub_of(n));
    return jump_is_through_slot(stub_of(n), word) ? ARCH_CODE(*jump_slot(stub_of(n)))
                                                  : arch_jump_target(stub_of(n), word);
}
