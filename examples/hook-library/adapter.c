/* The adapter: the farm's five functions in terms of ucm_bistro_patch and ucm_bistro_restore. */
#include "mechanism.h"

#include <ucm/bistro/bistro.h>

/* Patched functions: the way back, the way to the original where the library makes one, and the hook. */
static struct {
    ucm_bistro_restore_point_t *restore_point;
    void *original, *hook;
} patched[FUNCTION_COUNT];

static uint32_t answer(ucs_status_t status) { return UCS_STATUS_IS_ERR(status) ? PATCH_READ_ONLY : PATCH_OK; }

/* The library keeps originals on x86-64 alone, of functions only whose first instructions it knows, and while its memory
 * for them lasts, which it never frees. */
static ucs_status_t patch(uint32_t n, void *to)
{
    void *function = (void *)function_addresses[n];
    patched[n].original = NULL;
#ifdef PROMISES_ORIGINAL
    ucs_status_t status =
        ucm_bistro_patch(function, to, "whatever", &patched[n].original, &patched[n].restore_point);
    if (status != UCS_ERR_UNSUPPORTED && status != UCS_ERR_NO_MEMORY)
        return status;
#endif
    return ucm_bistro_patch(function, to, "whatever", NULL, &patched[n].restore_point);
}

static uint32_t hook(uint32_t n, void *to)
{
    uint32_t status = mechanism_restore(n);
    if (status == PATCH_OK)
        status = answer(patch(n, to));
    if (status == PATCH_OK)
        patched[n].hook = to;
    return status;
}

uint32_t mechanism_set(uint32_t n, uintptr_t target) { return hook(n, (void *)target); }

uint32_t mechanism_restore(uint32_t n)
{
    ucm_bistro_restore_point_t *point = patched[n].restore_point;
    if (!point)
        return PATCH_OK;
    uint32_t status = answer(ucm_bistro_restore(point));
    if (status == PATCH_OK)
        patched[n].restore_point = NULL;
    return status;
}

/* A hook may be any function, so these are hooks. */
uint32_t mechanism_null(uint32_t n) { return hook(n, (void *)return_void); }

uint32_t mechanism_ret0(uint32_t n) { return hook(n, (void *)return_zero); }

/* What was asked for, not what is there: `queries` is not promised, and only the farm's negative controls ask. */
uintptr_t mechanism_query(uint32_t n)
{
    return ARCH_CODE(patched[n].restore_point ? (uintptr_t)patched[n].hook : target_addresses[n][TARGET_DEFAULT]);
}

uintptr_t mechanism_original(uint32_t n)
{
    return patched[n].restore_point ? (uintptr_t)patched[n].original : function_addresses[n];
}
