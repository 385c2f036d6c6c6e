/* The kinds that exist for what an ABI does with their arguments and results.  Each has
 *     PROTOTYPE_kind(name)   the patchable function's prototype
 *     SAME_kind              its parameters, as arguments
 *     CALL_kind(f, x)        a call of f with arguments derived from x; an integer that stands for the result
 *     DIGEST_kind            digest of its parameters, over values of fixed width
 *     RESULT_kind(value)     a result made of 32 bits
 * and farm/scenario/model.py says the same in Python. */
#ifndef KINDS_H
#define KINDS_H

struct small {
    uint32_t a;
    int16_t b;
    uint8_t c;
    uint64_t d;
};

struct large {
    uint64_t words[4];
};

#ifdef __SIZEOF_INT128__
typedef unsigned __int128 wide_integer;
#define HIGH_HALF(value) ((uint64_t)((value) >> 64))
#define WIDE_INTEGER(high, low) ((wide_integer)(high) << 64 | (low))
#else
typedef uint64_t wide_integer; /* there is no such type: the function is there to be linked, not to be called */
#define HIGH_HALF(value) ((void)(value), 0u)
#define WIDE_INTEGER(high, low) ((void)(high), (low))
#endif

static inline uint32_t digest_words(const uint32_t *words, size_t count)
{
    uint32_t digest = FNV_BASIS;
    for (size_t i = 0; i < count; i++)
        digest = fnv(digest, words[i]);
    return digest;
}
#define DIGEST(...)                                                                                                    \
    digest_words((const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))
#define LOW(value) (uint32_t)(value)
#define HIGH(value) (uint32_t)((uint64_t)(value) >> 32)
#define BOTH(value) LOW(value), HIGH(value)

/* What must come back whole from more than one register: what a control loses of it. */
#ifdef CONTROL_TRUNCATED_RETURN
#define SECOND(value) ((value) * 0)
#else
#define SECOND(value) (value)
#endif

/* Twelve integers: every argument register there is, and the stack. */
#define PROTOTYPE_MANY(name)                                                                                           \
    uint32_t name(uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e, uintptr_t f, uintptr_t g,           \
                  uintptr_t h, uintptr_t i, uintptr_t j, uintptr_t k, uintptr_t l)
#define SAME_MANY a, b, c, d, e, f, g, h, i, j, k, l
#define CALL_MANY(f, x)                                                                                                \
    f(wide_argument(x, 0), wide_argument(x, 1), wide_argument(x, 2), wide_argument(x, 3), wide_argument(x, 4),         \
      wide_argument(x, 5), wide_argument(x, 6), wide_argument(x, 7), wide_argument(x, 8), wide_argument(x, 9),         \
      wide_argument(x, 10), wide_argument(x, 11))
#define DIGEST_MANY                                                                                                    \
    DIGEST(LOW(a), LOW(b), LOW(c), LOW(d), LOW(e), LOW(f), LOW(g), LOW(h), LOW(i), LOW(j), LOW(k), LOW(l))
#define RESULT_MANY(value) (value)

/* Integers narrower than a register, and a narrow result. */
#define PROTOTYPE_NARROW(name)                                                                                         \
    int16_t name(int8_t a, uint8_t b, int16_t c, uint16_t d, int32_t e, uint32_t f, int8_t g, uint16_t h)
#define SAME_NARROW a, b, c, d, e, f, g, h
#define CALL_NARROW(f, x)                                                                                              \
    (uint32_t)(int32_t) f((int8_t)(x), (uint8_t)(x), (int16_t)(x), (uint16_t)(x), (int32_t)(x), (uint32_t)(x),         \
                          (int8_t)((x) >> 8), (uint16_t)((x) >> 16))
#define DIGEST_NARROW DIGEST(LOW(a), LOW(b), LOW(c), LOW(d), LOW(e), LOW(f), LOW(g), LOW(h))
#define RESULT_NARROW(value) (int16_t)(value)

/* A struct of 16 bytes, by value and back. */
#define PROTOTYPE_SMALL(name) struct small name(struct small s, uint32_t n)
#define SAME_SMALL s, n
#define DIGEST_SMALL DIGEST(s.a, LOW(s.b), s.c, BOTH(s.d), n)
#define RESULT_SMALL(value)                                                                                            \
    (struct small) { (value), (int16_t)~(value), (uint8_t)(value), SECOND(~(uint64_t)(value)) }
#define CALL_SMALL(f, x) call_small(f, x)
CALLS uint32_t call_small(PROTOTYPE_SMALL((*f)), uint64_t x)
{
    struct small s = f((struct small){(uint32_t)x, (int16_t)x, (uint8_t)x, ~x}, 3u * (uint32_t)x);
    return DIGEST(s.a, LOW(s.b), s.c, BOTH(s.d));
}

/* A struct of 32 bytes, by value and back: neither fits into registers everywhere. */
#define PROTOTYPE_LARGE(name) struct large name(uint32_t n, struct large s)
#define SAME_LARGE n, s
#define DIGEST_LARGE DIGEST(n, BOTH(s.words[0]), BOTH(s.words[1]), BOTH(s.words[2]), BOTH(s.words[3]))
#define RESULT_LARGE(value)                                                                                            \
    (struct large)                                                                                                     \
    {                                                                                                                  \
        { (value), ~(uint64_t)(value), (uint64_t)(value) << 32, (uint64_t)(value) + 0x100000000u }                     \
    }
#define CALL_LARGE(f, x) call_large(f, x)
CALLS uint32_t call_large(PROTOTYPE_LARGE((*f)), uint64_t x)
{
    struct large s = f((uint32_t)x, (struct large){{x, ~x, x << 32, x + 0x100000000u}});
    return DIGEST(BOTH(s.words[0]), BOTH(s.words[1]), BOTH(s.words[2]), BOTH(s.words[3]));
}

/* A 16-byte integer, by value and back, behind one that takes a register: pairs may have to be aligned. */
#define PROTOTYPE_INT128(name) wide_integer name(uint32_t a, wide_integer b)
#define SAME_INT128 a, b
#define DIGEST_INT128 DIGEST(a, BOTH(b), BOTH(HIGH_HALF(b)))
#define RESULT_INT128(value) WIDE_INTEGER(SECOND(~(uint64_t)(value)), (uint64_t)(value))
#define CALL_INT128(f, x) call_int128(f, x)
CALLS uint32_t call_int128(PROTOTYPE_INT128((*f)), uint64_t x)
{
    wide_integer result = f((uint32_t)x, WIDE_INTEGER(~x, x));
    return DIGEST(BOTH(result), BOTH(HIGH_HALF(result)));
}

/* The kinds below need floating-point registers: what calls or defines them is in sources named *_float.c. */
#define PROTOTYPE_DOUBLES(name)                                                                                        \
    double name(double a, double b, double c, double d, double e, double f, double g, double h)
#define SAME_DOUBLES a, b, c, d, e, f, g, h
#define PROTOTYPE_MIXED(name)                                                                                          \
    uint64_t name(uint32_t a, double b, uint64_t c, uint32_t d, double e, uint64_t f, uint32_t g, double h, uint64_t i)
#define SAME_MIXED a, b, c, d, e, f, g, h, i
#define PROTOTYPE_VARIADIC(name) uint32_t name(uint32_t count, ...)

#endif
