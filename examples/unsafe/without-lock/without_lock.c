/* Each store is as it should be, but nobody keeps a second CPU from patching meanwhile: whoever is done first closes the
 * text for both. */
static void lock(void) {}

static void unlock(void) {}

#include "one_jump.h"
#include "requests.h"

uint32_t mechanism_lead(uint32_t n, uintptr_t target)
{
    if (!jump_lead(stub_of(n), jump_slot(stub_of(n)), arch_entry(target), target))
        return PATCH_READ_ONLY;
    if (target == target_addresses[n][TARGET_DEFAULT])
        farm_slot_write(jump_slot(stub_of(n)), target); /* as linked */
    return PATCH_OK;
}
