/* The `pointer` mechanism: the patchable function is an ordinary C function that loads its target once, tests it for
 * NULL and calls it.  Works everywhere; a patch is one aligned store to data. */
#include "pointer.h"

const uint32_t mechanism_number = MECHANISM_IDENTITY;
const bool mechanism_is_transparent = false; /* a C function lies between */
uint32_t failing_poke;                        /* there are none */

/* One store to data has no middle. */
void patch_interrupted_by(uint32_t n, uintptr_t target) { (void)n, (void)target; } /* unreached: never asked for */

uint32_t patch_interruption(void) { return PATCH_UNSUPPORTED; } /* unreached: never asked for */

struct pointer pointers[FUNCTION_COUNT] __attribute__((section(".data.pointers"))) = {
#ifdef CONTROL_INITIAL_FAST
#define INITIAL_TARGET(n, kind) {(uintptr_t)fast_##n},
#else
#define INITIAL_TARGET(n, kind) {(uintptr_t)default_##n},
#endif
    FOR_EACH_FUNCTION(INITIAL_TARGET)};

FOR_EACH_INTEGER_FUNCTION(FUNCTION)

static uint32_t store(uint32_t n, uintptr_t target)
{
#ifdef CONTROL_NO_PATCH
    (void)n, (void)target;
#else
    pointers[n].target = target;
#endif
#ifdef CONTROL_NEIGHBOUR
    pointers[n ^ 1].target = target;
#endif
    return PATCH_OK;
}

uint32_t patch_set(uint32_t n, uintptr_t target, uint32_t offset)
{
    uint32_t status = check_target(n, target);
    if (offset)
        return PATCH_UNSUPPORTED; /* no instruction is patched */ /* unreached: never asked for */
    if (status != PATCH_OK)
        return status;
    if (target == target_addresses[n][TARGET_DEFAULT])
        return patch_restore(n);
#ifdef CONTROL_OFF_BY_ONE
    target += ARCH_ENTRY_INSTRUCTION;
#endif
#ifdef CONTROL_FALLS_SHORT
    target -= ARCH_ENTRY_INSTRUCTION;
#endif
    return store(n, target);
}

uint32_t patch_restore(uint32_t n)
{
#ifdef CONTROL_NO_RESTORE
    (void)n;
    return PATCH_OK;
#else
    return store(n, target_addresses[n][TARGET_DEFAULT]);
#endif
}

uint32_t patch_null(uint32_t n)
{
#ifdef CONTROL_NULL_CALLED
    if (function_kinds[n] == KIND_VOID)
        return store(n, ARCH_ENTRY_INSTRUCTION); /* almost 0, so that the test for NULL does not see it */
#endif
    return may_be_null(n) ? store(n, 0) : PATCH_BAD_TARGET;
}

uint32_t patch_ret0(uint32_t n)
{
    return may_be_zero(n) ? store(n, (uintptr_t)return_zero) : PATCH_BAD_TARGET;
}

uintptr_t patch_query(uint32_t n)
{
#ifdef CONTROL_QUERY_DEFAULT
    return ARCH_CODE(target_addresses[n][TARGET_DEFAULT]);
#else
    uintptr_t target = pointers[n].target;
    return ARCH_CODE(target ? target : (uintptr_t)return_void);
#endif
}

/* unreached: never asked for */
uint32_t patch_scribble(uint32_t n)
{
    (void)n;
    return PATCH_UNSUPPORTED;
}

/* unreached: never asked for */
uint32_t patch_tamper(uint32_t n)
{
    (void)n;
    return PATCH_UNSUPPORTED;
}

struct patched_bytes patched_bytes(uint32_t n)
{
    return (struct patched_bytes){(uintptr_t)&pointers[n], sizeof pointers[n]};
}
