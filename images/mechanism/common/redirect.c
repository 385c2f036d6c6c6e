/* The requests, for a mechanism that has one way to lead a function anywhere (redirect.h). */
#include "redirect.h"

static bool busy; /* all that a patch changes changes as one: nobody else may come between */

/* To find it free and to take it are one access, for another CPU may be about to: what whoever had it did before it was
 * free is seen behind. */
#ifdef PROMISES_SEVERAL_WRITERS
static bool take(void) { return !__atomic_test_and_set(&busy, __ATOMIC_ACQUIRE); }

static void release(void) { __atomic_clear(&busy, __ATOMIC_RELEASE); }
#else
static bool take(void) { return busy ? false : (busy = true); }

static void release(void) { busy = false; }
#endif

static uint32_t lead(uint32_t n, uintptr_t target)
{
    if (!mechanism_is_intact(n))
        return PATCH_FOREIGN;
    if (!text_open(MECHANISM_TEXT))
        return PATCH_READ_ONLY;
    uint32_t status = mechanism_lead(n, target);
    text_close(MECHANISM_TEXT);
    return status;
}

static uint32_t redirect(uint32_t n, uintptr_t target)
{
    if (!take())
        return PATCH_BUSY;
    uint32_t status = lead(n, target);
    release();
    return status;
}

uint32_t mechanism_set(uint32_t n, uintptr_t target)
{
    uint32_t status = check_target(n, target);
    return status == PATCH_OK ? redirect(n, target) : status;
}

/* What is patched begins at one address and nowhere else. */
uint32_t mechanism_set_at(uint32_t n, uintptr_t target, uint32_t offset)
{
    return offset ? PATCH_MISALIGNED : mechanism_set(n, target);
}

uint32_t mechanism_restore(uint32_t n) { return redirect(n, target_addresses[n][TARGET_DEFAULT]); }

uint32_t mechanism_null(uint32_t n)
{
    return may_be_null(n) ? redirect(n, (uintptr_t)return_void) : PATCH_BAD_TARGET;
}

uint32_t mechanism_ret0(uint32_t n)
{
    return may_be_zero(n) ? redirect(n, (uintptr_t)return_zero) : PATCH_BAD_TARGET;
}
