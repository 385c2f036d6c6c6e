/* Which addresses a patchable function may be led to: the same rule for every mechanism. */
#include "mechanism.h"
#include "planted.h"

#ifdef ARCH_DESCRIPTORS /* a function's address is that of its descriptor */
extern const uint8_t descriptors_start[], descriptors_end[];
#else
extern const uint8_t text_start[], text_end[], far_start[], far_end[];
#endif

/* What the host checks of the finished image (farm/guest/layout.py): where functions begin; of stubs, if there are any, how
 * many bytes one has; and where the word and the data slot are, and how large the word, of stubs of arch/NAME/stub.S.
 * A mechanism with others of which the host may know as much has a table of its own. */
extern const int32_t farm_layout[5];
__attribute__((weak)) const int32_t farm_layout[5] = {
    ARCH_FUNCTION_ALIGNMENT,
#if defined(MECHANISM_BYTES)
    MECHANISM_BYTES,
#elif defined(ARCH_STUB_WORD)
    ARCH_STUB_BYTES, ARCH_STUB_WORD, sizeof(code_word),
#ifdef ARCH_STUB_SLOT
    ARCH_STUB_SLOT,
#endif
#endif
};

#define REGION(name) {(uintptr_t)name##_start, (uintptr_t)name##_end}

/* Where functions begin.  Read from memory, since no instruction that makes an address need reach the far text. */
static const volatile struct {
    uintptr_t start, end;
} regions[] = {
#ifdef ARCH_DESCRIPTORS
    REGION(descriptors),
#else
    REGION(text), REGION(far),
#endif
};

static bool may_begin(uintptr_t address)
{
    for (uint32_t i = 0; i < sizeof regions / sizeof regions[0]; i++)
#ifdef CONTROL_END_INCLUDED
        if (address >= regions[i].start && address <= regions[i].end)
            return true;
#else
        if (address >= regions[i].start && address < regions[i].end)
            return true;
#endif
    return false;
}

static bool is_patchable(uintptr_t address)
{
    for (uint32_t i = 0; i < FUNCTION_COUNT; i++)
        if (function_addresses[i] == address)
            return true;
    return false;
}

uint32_t check_target(uint32_t n, uintptr_t target)
{
#ifdef CONTROL_UNCHECKED
    (void)n, (void)target, (void)may_begin, (void)is_patchable;
    return PATCH_OK;
#else
#ifdef CALLED_FOR_NULL
    if (target == CALLED_FOR_NULL)
        return PATCH_OK;
#endif
    target -= TARGET_MISSED_BY;
    if (target == function_addresses[n]) /* would never return */
        return PATCH_BAD_TARGET;
    if (is_patchable(target))
        return PATCH_OK;
    if (!may_begin(target))
        return PATCH_BAD_TARGET;
#ifdef CONTROL_BIT_ZERO_ONLY
    if ((target - ARCH_FUNCTION_BIAS) % 2)
#else
    if ((target - ARCH_FUNCTION_BIAS) % ARCH_FUNCTION_ALIGNMENT)
#endif
        return PATCH_MISALIGNED;
    return PATCH_OK;
#endif
}

bool may_be_null(uint32_t n)
{
#ifdef CONTROL_UNCHECKED
    (void)n;
    return true;
#else
    return function_kinds[n] == KIND_VOID;
#endif
}

bool may_be_zero(uint32_t n)
{
#ifdef CONTROL_UNCHECKED
    (void)n;
    return true;
#else
    uint32_t kind = function_kinds[n];
    return kind != KIND_SMALL && kind != KIND_LARGE && kind != KIND_DOUBLES && kind != KIND_INT128;
#endif
}
