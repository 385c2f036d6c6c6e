/* The mechanism $name: its patchable functions, which pointer.h makes, and its five functions.  Each refuses until you
 * fill it in.
 *
 * mechanism.h (the farm's, in images/mechanism/common) says what each must do, and what else there may be.  Function n
 * is whatever_n, which calls pointers[n].target and does nothing if that is NULL.
 *
 * The farm has checked the target before it asks, unless mechanism.toml promises that $name does so itself
 * (`checks-targets`). */
#include "initial.h"
#include "pointer.h"

#define INITIAL_TARGET(n, kind) {(uintptr_t)LINKED_TARGET(n)},
struct pointer pointers[FUNCTION_COUNT] __attribute__((section(".data.pointers"))) = {FOR_EACH_FUNCTION(INITIAL_TARGET)};

FOR_EACH_INTEGER_FUNCTION(FUNCTION)

/* Lead function n to target, which may be patchable itself. */
uint32_t mechanism_set(uint32_t n, uintptr_t target)
{
    (void)n, (void)target;
    return PATCH_UNSUPPORTED;
}

/* Lead function n to target_addresses[n][TARGET_DEFAULT]; `restores-bytes`: with the bytes that the linker left. */
uint32_t mechanism_restore(uint32_t n)
{
    (void)n;
    return PATCH_UNSUPPORTED;
}

/* `null`: a call of function n, which is void, returns at once. */
uint32_t mechanism_null(uint32_t n)
{
    (void)n;
    return PATCH_UNSUPPORTED;
}

/* `ret0`: a call of function n returns 0 at once; return_zero is a function that does. */
uint32_t mechanism_ret0(uint32_t n)
{
    (void)n;
    return PATCH_UNSUPPORTED;
}

/* `queries`: ARCH_CODE of what a call of function n reaches now, read from what is patched, not from what is remembered;
 * of NULL that is return_void, of RET0 return_zero. */
uintptr_t mechanism_query(uint32_t n)
{
    (void)n;
    return 0;
}

/* What a patch of function n changes. */
struct patched_bytes patched_bytes(uint32_t n)
{
    return (struct patched_bytes){(uintptr_t)&pointers[n], sizeof pointers[n]};
}
