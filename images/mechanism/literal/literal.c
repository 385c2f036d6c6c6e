/* The `literal` mechanism: the patchable function loads a literal and branches to it (literal.S), as the trampoline of
 * arm64's static calls in Linux does.
 *
 * The literals are read-only data on pages of their own.  A patch is one aligned store to one of them: whoever calls
 * meanwhile loads the old target or the new one, no instruction changes, and no cache of instructions has to learn of
 * it.  So the text is never written, and what is written is never executable. */
#include "compare.h"
#include "initial.h"
#include "text.h"

/* Volatile: it is const for whoever calls, and none of them may know what it was linked with. */
#define LINKED_LITERAL(n, kind) (uintptr_t) LINKED_TARGET(n),
extern const volatile uintptr_t literals[FUNCTION_COUNT];
const volatile uintptr_t literals[FUNCTION_COUNT] __attribute__((section(".literal"))) = {
    FOR_EACH_FUNCTION(LINKED_LITERAL)};

static uintptr_t put[FUNCTION_COUNT]; /* where the literal was last led; 0: as linked */

static uintptr_t default_of(uint32_t n) { return target_addresses[n][TARGET_DEFAULT]; }

/* The literal is the one that was put there, by the linker or by this mechanism. */
static bool is_ours(uint32_t n)
{
    uintptr_t expected = put[n] ? put[n] : default_of(n);
    return farm_text_holds((uintptr_t)&literals[n], &expected, sizeof expected);
}

/* The literal becomes target, in one store; false: it failed. */
static bool store(uint32_t n, uintptr_t target)
{
    const uint8_t *bytes = (const uint8_t *)&target;
    uintptr_t at = (uintptr_t)&literals[n];
#ifdef CONTROL_TORN_LITERAL
    const size_t half = sizeof target / 2;
    if (!farm_text_write(at, bytes, half) || !farm_text_write(at + half, bytes + half, half))
        return false;
#else
    if (!farm_text_write(at, bytes, sizeof target))
        return false;
#endif
    put[n] = target;
    return true;
}

static bool busy; /* between the look at the literal and the store nobody else may come */

/* Lead function n to target, which has been checked. */
static uint32_t lead(uint32_t n, uintptr_t target)
{
    if (busy)
        return PATCH_BUSY;
    if (!is_ours(n))
        return PATCH_FOREIGN;
    if (!text_open(MECHANISM_TEXT))
        return PATCH_READ_ONLY;
    busy = true;
    bool done = store(n, target);
    busy = false;
    text_close(MECHANISM_TEXT);
    return done ? PATCH_OK : PATCH_READ_ONLY;
}

uint32_t mechanism_set(uint32_t n, uintptr_t target)
{
    uint32_t status = check_target(n, target);
    return status == PATCH_OK ? lead(n, target) : status;
}

uint32_t mechanism_restore(uint32_t n) { return lead(n, default_of(n)); }

uint32_t mechanism_null(uint32_t n) { return may_be_null(n) ? lead(n, (uintptr_t)return_void) : PATCH_BAD_TARGET; }

uint32_t mechanism_ret0(uint32_t n) { return may_be_zero(n) ? lead(n, (uintptr_t)return_zero) : PATCH_BAD_TARGET; }

uintptr_t mechanism_query(uint32_t n) { return ARCH_CODE(literals[n]); }

struct patched_bytes patched_bytes(uint32_t n)
{
    return (struct patched_bytes){(uintptr_t)&literals[n], sizeof literals[n]};
}
