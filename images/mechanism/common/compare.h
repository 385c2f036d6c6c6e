/* Old code, compared before it is overwritten.  Include it to compare: the bugs of comparing are planted here, and only
 * in a mechanism that does. */
#ifndef COMPARE_H
#define COMPARE_H

#include "mechanism.h"

/* The bits of byte i that are looked at, of a word of n bytes. */
static inline uint8_t compared(size_t i, size_t n)
{
#ifdef CONTROL_HALF_COMPARED
    bool low = (i < n / 2) == (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
    return n == 1 ? 0x0f : low ? 0xff : 0;
#else
    return (void)i, (void)n, 0xff;
#endif
}

/* The text at `at` is the n bytes that are expected there. */
static inline bool farm_text_holds(uintptr_t at, const void *expected, size_t n)
{
#ifdef CONTROL_UNCHECKED
    n = 0;
#endif
    for (size_t i = 0; i < n; i++)
        if ((((const volatile uint8_t *)at)[i] ^ ((const uint8_t *)expected)[i]) & compared(i, n))
            return false;
    return true;
}

#endif
