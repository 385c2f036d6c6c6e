/* The kinds that need floating-point registers, as kinds.h has the others. */
#ifndef KINDS_FLOAT_H
#define KINDS_FLOAT_H

#include "guest.h"

#include <stdarg.h>

/* Doubles are made of bits and taken apart into bits; nothing computes with them. */
static inline double from_bits(uint64_t bits)
{
    union {
        uint64_t bits;
        double value;
    } both = {.bits = bits};
    return both.value;
}

static inline uint64_t to_bits(double value)
{
    union {
        double value;
        uint64_t bits;
    } both = {.value = value};
    return both.bits;
}

/* The i-th double for x: -0.0, a NaN, infinity, a negative NaN, the smallest denormal, pi, the largest, one. */
static inline double double_argument(uint64_t x, uint32_t i)
{
    static const uint64_t bits[8] = {DOUBLE_BITS};
    return from_bits(bits[i] ^ (i % 2 ? x & 0xffff : 0));
}

#define DIGEST_DOUBLES                                                                                                 \
    DIGEST(BOTH(to_bits(a)), BOTH(to_bits(b)), BOTH(to_bits(c)), BOTH(to_bits(d)), BOTH(to_bits(e)), BOTH(to_bits(f)), \
           BOTH(to_bits(g)), BOTH(to_bits(h)))
#define RESULT_DOUBLES(value) from_bits(0x7ff8000000000000u | (value))
#define CALL_DOUBLES(f, x) call_doubles(f, x)
CALLS uint32_t call_doubles(PROTOTYPE_DOUBLES((*f)), uint64_t x)
{
    double result = f(double_argument(x, 0), double_argument(x, 1), double_argument(x, 2), double_argument(x, 3),
                      double_argument(x, 4), double_argument(x, 5), double_argument(x, 6), double_argument(x, 7));
    return DIGEST(BOTH(to_bits(result)));
}

#define DIGEST_MIXED                                                                                                   \
    DIGEST(a, BOTH(to_bits(b)), BOTH(c), d, BOTH(to_bits(e)), BOTH(f), g, BOTH(to_bits(h)), BOTH(i))
#define RESULT_MIXED(value) ((value) | SECOND(~(uint64_t)(value) << 32))
#define CALL_MIXED(f, x)                                                                                               \
    f((uint32_t)(x), double_argument(x, 1), (x), ~(uint32_t)(x), double_argument(x, 3), ~(x), 3u * (uint32_t)(x),      \
      double_argument(x, 5), 3u * (x))

/* The body of a variadic target, for whoever has its arguments as a list. */
#define DECLARE_LISTED_DOUBLES(n)
#define DECLARE_LISTED_MIXED(n)
#define DECLARE_LISTED_VARIADIC(n) uint32_t listed_##n(uint32_t count, va_list arguments);
#define DECLARE_LISTED(n, kind) DECLARE_LISTED_##kind(n)
FOR_EACH_FLOAT_FUNCTION(DECLARE_LISTED)

/* count times an integer, a double and a 64-bit integer. */
#define VARIADIC_COUNT 4
#define CALL_VARIADIC(f, x)                                                                                            \
    f(VARIADIC_COUNT, (uint32_t)(x), double_argument(x, 1), (x), (uint32_t)(x) + 1u, double_argument(x, 2), (x) + 1u,  \
      (uint32_t)(x) + 2u, double_argument(x, 3), (x) + 2u, (uint32_t)(x) + 3u, double_argument(x, 4), (x) + 3u)

#endif
