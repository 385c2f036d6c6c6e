/* The `literal` mechanism: the patchable function loads a literal and branches to it (literal.S), as the trampoline of
 * arm64's static calls in Linux does.
 *
 * The literals are read-only data on pages of their own.  A patch is one aligned store to one of them: whoever calls
 * meanwhile loads the old target or the new one, no instruction changes, and no cache of instructions has to learn of
 * it.  So the text is never written, and what is written is never executable. */
#include "compare.h"
#include "initial.h"
#include "redirect.h"
#include "text.h"

/* Volatile: it is const for whoever calls, and none of them may know what it was linked with. */
#define LINKED_LITERAL(n, kind) (uintptr_t) LINKED_TARGET(n),
extern const volatile uintptr_t literals[FUNCTION_COUNT];
const volatile uintptr_t literals[FUNCTION_COUNT] __attribute__((section(".literal"))) = {
    FOR_EACH_FUNCTION(LINKED_LITERAL)};

static uintptr_t put[FUNCTION_COUNT]; /* where the literal was last led; 0: as linked */

static uintptr_t default_of(uint32_t n) { return target_addresses[n][TARGET_DEFAULT]; }

/* The literal is the one that was put there, by the linker or by this mechanism. */
bool mechanism_is_intact(uint32_t n)
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

uint32_t mechanism_lead(uint32_t n, uintptr_t target) { return store(n, target) ? PATCH_OK : PATCH_READ_ONLY; }

uintptr_t mechanism_query(uint32_t n) { return ARCH_CODE(literals[n]); }

struct patched_bytes patched_bytes(uint32_t n)
{
    return (struct patched_bytes){(uintptr_t)&literals[n], sizeof literals[n]};
}
