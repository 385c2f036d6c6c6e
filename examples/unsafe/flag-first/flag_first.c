/* Two words of data: a flag, which is not 0 while the function is patched, and where it leads then.  The target is stored
 * before the flag, with a barrier between.  But who calls loads the flag and then the target, of which neither depends on
 * the other, and no barrier is there: a CPU that loads them the other way round finds the new flag and the old target.
 * x86 alone does not. */
#include "patch.h"
#include "redirect.h"
#include "text.h"

enum { FLAG, TARGET };

static volatile uintptr_t *words_of(uint32_t n)
{
    return (volatile uintptr_t *)(ARCH_CODE(function_addresses[n]) + WORDS);
}

static bool is_default(uint32_t n, uintptr_t target) { return target == target_addresses[n][TARGET_DEFAULT]; }

bool mechanism_is_intact(uint32_t n) { return n < FUNCTION_COUNT; }

uint32_t mechanism_lead(uint32_t n, uintptr_t target)
{
    volatile uintptr_t *words = words_of(n);
    if (!is_default(n, target)) {
        farm_slot_write(&words[TARGET], target);
        arch_store_barrier();
    }
    farm_slot_write(&words[FLAG], is_default(n, target) ? 0 : target);
    return PATCH_OK;
}

uintptr_t mechanism_query(uint32_t n)
{
    const volatile uintptr_t *words = words_of(n);
    return ARCH_CODE(words[FLAG] ? words[TARGET] : target_addresses[n][TARGET_DEFAULT]);
}
