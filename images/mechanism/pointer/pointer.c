/* The `pointer` mechanism: the patchable function is an ordinary C function that loads its target once, tests it for
 * NULL and calls it.  Works everywhere; a patch is one aligned store to data. */
#include "initial.h"
#include "pointer.h"

#define INITIAL_TARGET(n, kind) {(uintptr_t)LINKED_TARGET(n)},
struct pointer pointers[FUNCTION_COUNT] __attribute__((section(".data.pointers"))) = {FOR_EACH_FUNCTION(INITIAL_TARGET)};

FOR_EACH_INTEGER_FUNCTION(FUNCTION)

static uint32_t store(uint32_t n, uintptr_t target)
{
    pointers[n].target = target;
    return PATCH_OK;
}

uint32_t mechanism_set(uint32_t n, uintptr_t target)
{
    uint32_t status = check_target(n, target);
    return status == PATCH_OK ? store(n, target) : status;
}

uint32_t mechanism_restore(uint32_t n) { return store(n, target_addresses[n][TARGET_DEFAULT]); }

uint32_t mechanism_null(uint32_t n) { return may_be_null(n) ? store(n, 0) : PATCH_BAD_TARGET; }

uint32_t mechanism_ret0(uint32_t n)
{
    return may_be_zero(n) ? store(n, (uintptr_t)return_zero) : PATCH_BAD_TARGET;
}

uintptr_t mechanism_query(uint32_t n)
{
    uintptr_t target = pointers[n].target;
    return ARCH_CODE(target ? target : (uintptr_t)return_void);
}

struct patched_bytes patched_bytes(uint32_t n)
{
    return (struct patched_bytes){(uintptr_t)&pointers[n], sizeof pointers[n]};
}
