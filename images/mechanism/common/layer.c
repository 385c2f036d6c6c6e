/* The farm's thin layer: between the interpreter, which asks, and a mechanism, which may know nothing of the farm.
 *
 * Around every request stands what the mechanism does not promise to do itself: its target is checked, the text is open
 * meanwhile.  Here, too, are the deliberate bugs (CONTROL_) that any mechanism can be given from outside; those about
 * text are in text.c and text.h, those about call sites in site_table.c and sites.h. */
#include "layer.h"
#include "planted.h"

const uint32_t mechanism_number = MECHANISM_IDENTITY;

/* What the mechanism promises, as its mechanism.toml has it. */
#ifdef PROMISES_TRANSPARENT
const bool mechanism_is_transparent = true;
#else
const bool mechanism_is_transparent = false;
#endif
#ifdef PATCHES_STUB
const bool mechanism_patches_code = true;
#else
const bool mechanism_patches_code = false;
#endif
#ifdef PROMISES_CHECKS_TARGETS
static const bool checks_targets = true;
#else
static const bool checks_targets = false;
#endif
#ifdef PROMISES_CLOSES_TEXT
static const bool closes_text = true;
#else
static const bool closes_text = false;
#endif

/* Whom a request leads where. */
enum wish { TO_TARGET, TO_DEFAULT, TO_NULL, TO_RET0 };

static uint32_t check(enum wish wish, uint32_t n, uintptr_t target)
{
    switch (wish) {
    case TO_TARGET:
        return check_target(n, target);
    case TO_NULL:
        return may_be_null(n) ? PATCH_OK : PATCH_BAD_TARGET;
    case TO_RET0:
        return may_be_zero(n) ? PATCH_OK : PATCH_BAD_TARGET;
    default:
        return PATCH_OK;
    }
}

static uint32_t pass_on(enum wish wish, uint32_t n, uintptr_t target)
{
    switch (wish) {
    case TO_TARGET:
        return mechanism_set(n, target);
    case TO_NULL:
#ifdef CONTROL_NULL_CALLED
        return check(wish, n, target) == PATCH_OK ? mechanism_set(n, CALLED_FOR_NULL) : PATCH_BAD_TARGET;
#else
        return mechanism_null(n);
#endif
    case TO_RET0:
#ifdef CONTROL_RET0_MINUS_ONE /* in return_zero, which a mechanism need not use */
        return check(wish, n, target) == PATCH_OK ? mechanism_set(n, (uintptr_t)return_zero) : PATCH_BAD_TARGET;
#else
        return mechanism_ret0(n);
#endif
    default:
        return mechanism_restore(n);
    }
}

static uint32_t perform(enum wish wish, uint32_t n, uintptr_t target)
{
    uint32_t status = checks_targets ? PATCH_OK : check(wish, n, target);
    if (status != PATCH_OK)
        return status;
    bool opens = !closes_text && patched_text_open;
    if (opens && !patched_text_open())
        return PATCH_READ_ONLY;
    status = pass_on(wish, n, target);
    if (opens)
        patched_text_close();
    return status;
}

static uintptr_t default_of(uint32_t n) { return target_addresses[n][TARGET_DEFAULT]; }

uint32_t failing_poke;

/* The bugs that a request can be given from outside, whatever performed it. */
static uint32_t request(enum wish wish, uint32_t n, uintptr_t target)
{
    uint32_t status;
#ifdef CONTROL_NO_PATCH
    (void)perform;
    status = check(wish, n, target);
#elif defined(CONTROL_NO_RESTORE)
    status = wish == TO_DEFAULT ? PATCH_OK : perform(wish, n, target);
#else
    status = perform(wish, n, wish == TO_TARGET ? target + TARGET_MISSED_BY : target);
#endif
#ifdef CONTROL_NEIGHBOUR
    if (status == PATCH_OK)
        perform(TO_TARGET, n ^ 1, default_of(n));
#endif
#ifdef CONTROL_SLOPPY_RESTORE
    if (status == PATCH_OK && wish == TO_DEFAULT && (!patched_text_open || patched_text_open())) {
        struct patched_bytes bytes = patched_bytes(n);
        *(volatile uint8_t *)farm_text_alias(bytes.start + bytes.size - 1) ^= 1;
        if (patched_text_close)
            patched_text_close();
    }
#endif
#ifdef CONTROL_UNCHECKED
    if (status == PATCH_FOREIGN) /* a mechanism that compares by itself (else compare.h) */
        status = PATCH_OK;
#endif
    return patched_text_after ? patched_text_after(n, status) : status;
}

uint32_t patch_set(uint32_t n, uintptr_t target, uint32_t offset)
{
#ifdef CONTROL_UNCHECKED
    offset = 0;
#endif
    if (offset) /* a wrong address is refused whatever the target */
        return mechanism_set_at ? mechanism_set_at(n, target, offset) : PATCH_UNSUPPORTED;
    return request(target == default_of(n) ? TO_DEFAULT : TO_TARGET, n, target);
}

uint32_t patch_restore(uint32_t n) { return request(TO_DEFAULT, n, default_of(n)); }

uint32_t patch_null(uint32_t n) { return request(TO_NULL, n, 0); }

uint32_t patch_ret0(uint32_t n) { return request(TO_RET0, n, 0); }

uintptr_t patch_query(uint32_t n)
{
#ifdef CONTROL_QUERY_DEFAULT
    return ARCH_CODE(default_of(n));
#else
    return mechanism_query(n);
#endif
}

uintptr_t patch_original(uint32_t n)
{
#ifdef CONTROL_ORIGINAL_IS_PATCHED
    return function_addresses[n];
#else
    return mechanism_original ? mechanism_original(n) : 0;
#endif
}

__attribute__((weak)) struct patched_bytes patched_bytes(uint32_t n)
{
    extern const uint8_t stub_start[];
    return (struct patched_bytes){(uintptr_t)stub_start + (size_t)n * ARCH_STUB_BYTES, ARCH_STUB_BYTES};
}
