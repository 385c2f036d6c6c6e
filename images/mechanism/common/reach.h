/* What a branch reaches, for whoever must go another way where it does not.  Include it to ask: the bug of not asking is
 * planted here. */
#ifndef REACH_H
#define REACH_H

#include "patch.h"

/* A jump in the stub at `at` reaches `to`. */
static inline bool stub_reaches(uintptr_t at, uintptr_t to)
{
#ifdef CONTROL_NO_RANGE_CHECK
    return (void)at, (void)to, true;
#else
    return arch_reaches(at, to);
#endif
}

/* The branch at the call site at `at`, whose word is `word`, reaches `to`. */
static inline bool site_reaches(uintptr_t at, uint32_t word, uintptr_t to)
{
#ifdef CONTROL_NO_RANGE_CHECK
    return (void)at, (void)word, (void)to, true;
#else
    return arch_site_reaches(at, word, to);
#endif
}

#endif
