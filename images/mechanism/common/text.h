/* The store to text.  Include it to store: the bugs of stores are planted here, and only in a mechanism that does. */
#ifndef TEXT_H
#define TEXT_H

#include "patch.h"

/* text.c: a store to text may go ahead; false: it is the one that is to fail.  A request that is to interrupt the
 * present one comes now. */
bool store_is_admitted(void);

/* One store of n bytes to `at` is seen whole or not at all. */
static inline bool is_never_torn(uintptr_t at, size_t n)
{
#ifdef STORE_WITHIN
    if (at / STORE_WITHIN == (at + n - 1) / STORE_WITHIN)
        return true;
#endif
    return !(at & (n - 1)); /* asked of powers of 2 alone; a division may be a call */
}

/* Copy n bytes to the text at `at`, which is open, and make them what this CPU fetches; of literals, which nobody
 * fetches, nothing has to be made.  false: nothing was stored.
 *
 * If n is 1, 2, 4 or, on a 64-bit CPU, 8, and `at` a multiple of it, all n are stored by one instruction, which no CPU
 * tears: whoever fetches meanwhile sees the old bytes or the new ones.  So they are anywhere inside an aligned block of
 * STORE_WITHIN bytes, where the architecture has such (store_within in its arch.toml).  Anything else is stored byte by
 * byte in rising order, and is for code that nobody executes meanwhile. */
static inline bool farm_text_write(uintptr_t at, const void *bytes, size_t n)
{
    const bool admitted = store_is_admitted();
#ifndef CONTROL_HALF_DONE
    if (!admitted)
        return false;
#endif
#ifdef CONTROL_TORN_STORE
    const bool whole = false;
#else
    const bool whole = is_never_torn(at, n);
#endif
    const uintptr_t to = farm_text_alias(at);
    if (whole && n == sizeof(uint8_t))
        *(volatile uint8_t *)to = *(const uint8_t *)bytes;
    else if (whole && n == sizeof(uint16_t))
        *(volatile uint16_t *)to = *(const uint16_t *)bytes;
    else if (whole && n == sizeof(uint32_t))
        *(volatile uint32_t *)to = *(const uint32_t *)bytes;
    else if (whole && n == sizeof(uintptr_t))
        *(volatile uintptr_t *)to = *(const uintptr_t *)bytes;
    else
        for (size_t i = 0; i < n; i++)
            ((volatile uint8_t *)to)[i] = ((const uint8_t *)bytes)[i];
#if defined(PATCHES_STUB) && !defined(CONTROL_NO_FLUSH)
    for (size_t i = 0; i < n; i += sizeof(code_word))
        arch_sync_code(at + i);
#endif
    return admitted;
}

/* The data slot at `slot`, which lies in text that is open, becomes `value`: data, of which no CPU has to be told. */
static inline void farm_slot_write(volatile uintptr_t *slot, uintptr_t value)
{
    *(volatile uintptr_t *)farm_text_alias((uintptr_t)slot) = value;
}

#endif
