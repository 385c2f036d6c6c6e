/* Call sites of kinds whose arguments are derived from x: each takes x as a LONG function does, and what calls the
 * patchable function is what the C compiler makes of CALL_kind.  TAIL goes through a relay that has the arguments
 * already: a tail call, where the compiler makes one of it. */
#ifndef CALL_SITES_H
#define CALL_SITES_H

#include "guest.h"

/* What an `original` step calls: a call site of its own has the address from memory.  lossy_kind is the bug of a way that
 * loses something: it stands between the two, whatever mechanism made the way (calls.c, calls_float.c). */
#define WAY_TO_ORIGINAL(kind) ((PROTOTYPE_##kind((*)))original_address)
#define ORIGINAL(kind) ORIGINAL_##kind
#if defined(CONTROL_ORIGINAL_LOSES_ARGUMENT) || defined(CONTROL_ORIGINAL_LOSES_SAVED)
#define ORIGINAL_INT lossy_int
#else
#define ORIGINAL_INT WAY_TO_ORIGINAL(INT)
#endif
#ifdef CONTROL_ORIGINAL_LOSES_FLOAT
#define ORIGINAL_DOUBLES lossy_doubles
#else
#define ORIGINAL_DOUBLES WAY_TO_ORIGINAL(DOUBLES)
#endif
#define ORIGINAL_LONG WAY_TO_ORIGINAL(LONG)
#define ORIGINAL_WIDE WAY_TO_ORIGINAL(WIDE)
#define ORIGINAL_VOID WAY_TO_ORIGINAL(VOID)
#define ORIGINAL_CRC WAY_TO_ORIGINAL(CRC)
#define ORIGINAL_CHACHA WAY_TO_ORIGINAL(CHACHA)
#define ORIGINAL_MANY WAY_TO_ORIGINAL(MANY)
#define ORIGINAL_NARROW WAY_TO_ORIGINAL(NARROW)
#define ORIGINAL_SMALL WAY_TO_ORIGINAL(SMALL)
#define ORIGINAL_LARGE WAY_TO_ORIGINAL(LARGE)
#define ORIGINAL_INT128 WAY_TO_ORIGINAL(INT128)
#define ORIGINAL_MIXED WAY_TO_ORIGINAL(MIXED)
#define ORIGINAL_VARIADIC WAY_TO_ORIGINAL(VARIADIC)

#define DERIVED_SHAPES(n, kind, type, relay)                                                                                \
    CALL_SITE PROTOTYPE_LONG(used_##n)                                                                                 \
    {                                                                                                                  \
        (void)y;                                                                                                       \
        return (type)(CALL_##kind(whatever_##n, x) + 1u);                                                              \
    }                                                                                                                  \
    CALL_SITE PROTOTYPE_LONG(ignored_##n)                                                                              \
    {                                                                                                                  \
        (void)y;                                                                                                       \
        (void)CALL_##kind(whatever_##n, x);                                                                            \
        return 0;                                                                                                      \
    }                                                                                                                  \
    CALL_SITE PROTOTYPE_LONG(tail_##n)                                                                                 \
    {                                                                                                                  \
        (void)y;                                                                                                       \
        return CALL_##kind(relay, x);                                                                                  \
    }                                                                                                                  \
    CALL_SITE PROTOTYPE_LONG(looped_##n)                                                                               \
    {                                                                                                                  \
        type sum = 0;                                                                                                  \
        (void)y;                                                                                                       \
        for (uint32_t i = 0; i < call_count; i++)                                                                      \
            sum = (type)(sum + CALL_##kind(whatever_##n, x + i));                                                      \
        return sum;                                                                                                    \
    }                                                                                                                  \
    CALL_SITE PROTOTYPE_LONG(pointer_##n)                                                                              \
    {                                                                                                                  \
        (void)y;                                                                                                       \
        return CALL_##kind(taken_##n, x);                                                                                  \
    }                                                                                                                  \
    CALL_SITE PROTOTYPE_LONG(original_##n)                                                                             \
    {                                                                                                                  \
        (void)y;                                                                                                       \
        return CALL_##kind(ORIGINAL(kind), x);                                                                         \
    }

#define RELAYED_SHAPES(n, kind, type)                                                                                  \
    static CALL_SITE PROTOTYPE_##kind(relay_##n) { return whatever_##n(SAME_##kind); }                                 \
    DERIVED_SHAPES(n, kind, type, relay_##n)

#define SHAPES_CRC(n) RELAYED_SHAPES(n, CRC, uint16_t)
#define SHAPES_CHACHA(n) RELAYED_SHAPES(n, CHACHA, uint32_t)
#define SHAPES_MANY(n) RELAYED_SHAPES(n, MANY, uint32_t)
#define SHAPES_NARROW(n) RELAYED_SHAPES(n, NARROW, uint32_t)
#define SHAPES_SMALL(n) RELAYED_SHAPES(n, SMALL, uint32_t)
#define SHAPES_LARGE(n) RELAYED_SHAPES(n, LARGE, uint32_t)
#define SHAPES_INT128(n) RELAYED_SHAPES(n, INT128, uint32_t)
#define SHAPES_DOUBLES(n) RELAYED_SHAPES(n, DOUBLES, uint32_t)
#define SHAPES_MIXED(n) RELAYED_SHAPES(n, MIXED, uint64_t)
#define SHAPES_VARIADIC(n) DERIVED_SHAPES(n, VARIADIC, uint32_t, whatever_##n)

/* The prototype of a call site's own function. */
#define SITE_INT PROTOTYPE_INT
#define SITE_LONG PROTOTYPE_LONG
#define SITE_WIDE PROTOTYPE_WIDE
#define SITE_VOID PROTOTYPE_VOID
#define SITE_CRC PROTOTYPE_LONG
#define SITE_CHACHA PROTOTYPE_LONG
#define SITE_MANY PROTOTYPE_LONG
#define SITE_NARROW PROTOTYPE_LONG
#define SITE_SMALL PROTOTYPE_LONG
#define SITE_LARGE PROTOTYPE_LONG
#define SITE_INT128 PROTOTYPE_LONG
#define SITE_DOUBLES PROTOTYPE_LONG
#define SITE_MIXED PROTOTYPE_LONG
#define SITE_VARIADIC PROTOTYPE_LONG

#define SITES(n, kind)                                                                                                 \
    SITE_##kind(used_##n);                                                                                             \
    SITE_##kind(ignored_##n);                                                                                          \
    SITE_##kind(tail_##n);                                                                                             \
    SITE_##kind(looped_##n);                                                                                           \
    SITE_##kind(pointer_##n);                                                                                          \
    SITE_##kind(original_##n);                                                                                         \
    extern PROTOTYPE_##kind((*volatile taken_##n));
FOR_EACH_FUNCTION(SITES)

#define SHAPES(n, kind)                                                                                                \
    PROTOTYPE_##kind((*volatile taken_##n)) = whatever_##n;                                                            \
    SHAPES_##kind(n)

#endif
