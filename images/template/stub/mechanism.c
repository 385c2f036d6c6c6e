/* The mechanism $name: its five functions.  Each refuses until you fill it in.
 *
 * mechanism.h (the farm's, in images/mechanism/common) says what each must do, and what else there may be.  The
 * patchable functions are asm, stub.S of each architecture: function n is whatever_n, and its code begins at
 * ARCH_CODE(function_addresses[n]).  A call of it reaches default_n until a patch leads it elsewhere.
 *
 * The farm has checked the target and has opened the text before it asks, unless mechanism.toml promises that $name
 * does so itself (`checks-targets`, `closes-text`).  What helps here:
 *
 *     farm_text_write(at, bytes, size)   text.h: store to text, and make it what this CPU fetches; false: it failed
 *     arch_reaches, arch_jump, ...       patch.h: encoders of the jump that stub.S has; none if yours is another
 *     return_void, return_zero           functions for NULL and RET0 to lead to
 */
#include "text.h"

/* Lead function n to target.  PATCH_OK, or PATCH_READ_ONLY if a store failed. */
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

/* `ret0`: a call of function n returns 0 at once. */
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
