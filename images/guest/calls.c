/* The call sites: every patchable function is called in each shape by a function of its own, so that the compiler
 * emits an ordinary call (and keeps a relocation) for each. */
#include "guest.h"

uint32_t call_count;

/* The addresses, taken: a call through this table must follow a patch as a direct call does. */
#define POINTER_MEMBER(n, kind) PROTOTYPE_##kind((*volatile pointer_##n));
static struct {
    FOR_EACH_FUNCTION(POINTER_MEMBER)
} taken = {
#define TAKE_ADDRESS(n, kind) .pointer_##n = whatever_##n,
    FOR_EACH_FUNCTION(TAKE_ADDRESS)};

/* PASS_kind(i): the arguments of a call with x + i, from the parameters of the call site's own function. */
#define PASS_INT(i) x + (i)
#define PASS_LONG(i) x + (i), long_argument(x + (i))
#define PASS_WIDE(i) a + (i), b + (i), c + (i), d + (i), e + (i), f + (i), g + (i), h + (i)
#define PASS_VOID(i) x + (i)

/* The arguments as they came, so that a tail call needs no moves. */
#define SAME_INT x
#define SAME_LONG x, y
#define SAME_WIDE a, b, c, d, e, f, g, h
#define SAME_VOID x

#define UNUSED_INT (void)x
#define UNUSED_LONG (void)y
#define UNUSED_WIDE (void)a
#define UNUSED_VOID (void)x

#define VALUE_SHAPES(n, kind, type)                                                                                    \
    CALL_SITE PROTOTYPE_##kind(used_##n) { return whatever_##n(SAME_##kind) + 1u; }                                    \
    CALL_SITE PROTOTYPE_##kind(ignored_##n)                                                                            \
    {                                                                                                                  \
        (void)whatever_##n(SAME_##kind);                                                                               \
        return 0;                                                                                                      \
    }                                                                                                                  \
    CALL_SITE PROTOTYPE_##kind(tail_##n) { return whatever_##n(SAME_##kind); }                                         \
    CALL_SITE PROTOTYPE_##kind(looped_##n)                                                                             \
    {                                                                                                                  \
        type sum = 0;                                                                                                  \
        UNUSED_##kind;                                                                                                 \
        for (uint32_t i = 0; i < call_count; i++)                                                                      \
            sum += whatever_##n(PASS_##kind(i));                                                                       \
        return sum;                                                                                                    \
    }                                                                                                                  \
    CALL_SITE PROTOTYPE_##kind(pointer_##n) { return taken.pointer_##n(SAME_##kind); }

#define SHAPES_INT(n) VALUE_SHAPES(n, INT, uint32_t)
#define SHAPES_LONG(n) VALUE_SHAPES(n, LONG, uint64_t)
#define SHAPES_WIDE(n) VALUE_SHAPES(n, WIDE, uint32_t)

#define SHAPES_VOID(n)                                                                                                 \
    extern volatile uint32_t after_##n;                                                                                \
    volatile uint32_t after_##n;                                                                                       \
    CALL_SITE PROTOTYPE_VOID(used_##n)                                                                                 \
    {                                                                                                                  \
        whatever_##n(x);                                                                                               \
        after_##n = x; /* something left to do, so not a tail call */                                                  \
    }                                                                                                                  \
    CALL_SITE PROTOTYPE_VOID(ignored_##n)                                                                              \
    {                                                                                                                  \
        whatever_##n(x);                                                                                               \
        after_##n = ~x;                                                                                                \
    }                                                                                                                  \
    CALL_SITE PROTOTYPE_VOID(tail_##n) { whatever_##n(x); }                                                            \
    CALL_SITE PROTOTYPE_VOID(looped_##n)                                                                               \
    {                                                                                                                  \
        for (uint32_t i = 0; i < call_count; i++)                                                                      \
            whatever_##n(PASS_VOID(i));                                                                                \
    }                                                                                                                  \
    CALL_SITE PROTOTYPE_VOID(pointer_##n) { taken.pointer_##n(x); }

/* Kinds whose arguments are derived from x: the call site itself is what the C compiler makes of CALL_kind. */
#define CALL_CRC(f, x) f((uint16_t)(piece_more(x) ? work.crc : 0), piece_start(x), piece_length(x))
#define CALL_CHACHA(f, x) f(chacha_counter(x), work_out + work.position, chacha_input(x), piece_length(x))

static uint32_t chacha_counter(uint64_t x)
{
    if (piece_more(x))
        return work.counter;
    work.position = 0;
    return piece_wrap(x) ? 0xffffffffu : 1;
}

static const uint8_t *chacha_input(uint64_t x)
{
    uint8_t *place = work_out + (piece_more(x) ? work.position : 0);
    if (!piece_in_place(x))
        return piece_start(x);
    for (size_t i = 0; i < piece_length(x); i++)
        ((volatile uint8_t *)place)[i] = piece_start(x)[i];
    return place;
}

#define DERIVED_SHAPES(n, kind, type)                                                                                  \
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
        return CALL_##kind(whatever_##n, x);                                                                           \
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
        return CALL_##kind(taken.pointer_##n, x);                                                                      \
    }

#define SHAPES_CRC(n) DERIVED_SHAPES(n, CRC, uint16_t)
#define SHAPES_CHACHA(n) DERIVED_SHAPES(n, CHACHA, uint32_t)

/* The prototype of a call site's own function. */
#define SITE_INT PROTOTYPE_INT
#define SITE_LONG PROTOTYPE_LONG
#define SITE_WIDE PROTOTYPE_WIDE
#define SITE_VOID PROTOTYPE_VOID
#define SITE_CRC PROTOTYPE_LONG
#define SITE_CHACHA PROTOTYPE_LONG

#define SHAPES(n, kind)                                                                                                \
    SITE_##kind(used_##n);                                                                                        \
    SITE_##kind(ignored_##n);                                                                                     \
    SITE_##kind(tail_##n);                                                                                        \
    SITE_##kind(looped_##n);                                                                                      \
    SITE_##kind(pointer_##n);                                                                                     \
    SHAPES_##kind(n)
FOR_EACH_FUNCTION(SHAPES)

#define ADDRESSES(n, kind)                                                                                             \
    {[SHAPE_USED] = (uintptr_t)used_##n,                                                                               \
     [SHAPE_IGNORED] = (uintptr_t)ignored_##n,                                                                         \
     [SHAPE_TAIL] = (uintptr_t)tail_##n,                                                                               \
     [SHAPE_LOOPED] = (uintptr_t)looped_##n,                                                                           \
     [SHAPE_POINTER] = (uintptr_t)pointer_##n},
const uintptr_t call_sites[FUNCTION_COUNT][SHAPE_RECURSIVE] = {FOR_EACH_FUNCTION(ADDRESSES)};
