/* What stays as it is beside what is overwritten, compared too.  Include it to compare: the bug of not looking at it is
 * planted here, and only in a mechanism that does. */
#ifndef SURROUNDINGS_H
#define SURROUNDINGS_H

#include "mechanism.h"

/* The text at `at` is the n bytes that are expected there. */
static inline bool farm_text_is_beside(uintptr_t at, const void *expected, size_t n)
{
#if defined(CONTROL_UNCHECKED) || defined(CONTROL_SURROUNDINGS_UNCHECKED)
    n = 0;
#endif
    for (size_t i = 0; i < n; i++)
        if (((const volatile uint8_t *)at)[i] != ((const uint8_t *)expected)[i])
            return false;
    return true;
}

#endif
