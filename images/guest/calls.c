/* The call sites: every patchable function is called in each shape by a function of its own, so that the compiler
 * emits an ordinary call (and keeps a relocation) for each.  POINTER calls through the function's address, taken into
 * writable data: it must follow a patch as a direct call does. */
#include "call_sites.h"
#include "layer.h"

uint32_t call_count;
volatile uintptr_t original_address;

/* PASS_kind(i): the arguments of a call with x + i, from the parameters of the call site's own function. */
#define PASS_INT(i) x + (i)
#define PASS_LONG(i) x + (i), long_argument(x + (i))
#define PASS_WIDE(i) a + (i), b + (i), c + (i), d + (i), e + (i), f + (i), g + (i), h + (i)
#define PASS_VOID(i) x + (i)

#define UNUSED_INT (void)x
#define UNUSED_LONG (void)y
#define UNUSED_WIDE (void)a
#define UNUSED_VOID (void)x

#if defined(CONTROL_ORIGINAL_LOSES_ARGUMENT)
static __attribute__((noinline)) PROTOTYPE_INT(lossy_int) { return WAY_TO_ORIGINAL(INT)(~x); }
#elif defined(CONTROL_ORIGINAL_LOSES_SAVED)
static __attribute__((noinline)) PROTOTYPE_INT(lossy_int)
{
    __asm__ volatile(ARCH_LOSE_SAVED); /* of which the compiler is not told */
    return WAY_TO_ORIGINAL(INT)(x);
}
#endif

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
    CALL_SITE PROTOTYPE_##kind(pointer_##n)                                                                            \
    {                                                                                                                  \
        return taken_##n(SAME_##kind);                                                                                     \
    }                                                                                                                  \
    CALL_SITE PROTOTYPE_##kind(original_##n) { return ORIGINAL(kind)(SAME_##kind); }

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
    CALL_SITE PROTOTYPE_VOID(pointer_##n)                                                                              \
    {                                                                                                                  \
        taken_##n(x);                                                                                                      \
    }                                                                                                                  \
    CALL_SITE PROTOTYPE_VOID(original_##n) { ORIGINAL(VOID)(x); }

/* Kinds whose arguments are derived from x: the call site itself is what the C compiler makes of CALL_kind. */
#define CALL_CRC(f, x) f((uint16_t)(piece_more(x) ? work.crc : 0), piece_start(x), piece_length(x))
#define CALL_CHACHA(f, x) call_chacha(f, x)

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

CALLS uint32_t call_chacha(PROTOTYPE_CHACHA((*f)), uint64_t x)
{
    uint32_t counter = chacha_counter(x); /* before the position that it resets is looked at */
    return f(counter, work_out + work.position, chacha_input(x), piece_length(x));
}

FOR_EACH_INTEGER_FUNCTION(SHAPES)

#define TAKEN(n, kind) (const volatile uintptr_t *)&taken_##n,
const volatile uintptr_t *const taken_there[FUNCTION_COUNT] = {FOR_EACH_FUNCTION(TAKEN)};

/* An iterator, as qsort or a list walk is one: it knows the function by its address only. */
static CALL_SITE uint32_t iterate(PROTOTYPE_INT((*function)), uint32_t x)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < call_count; i++)
        sum += function(x + i);
    return sum;
}

#define CALLBACK(n, kind)                                                                                              \
    PROTOTYPE_INT(callback_##n);                                                                                       \
    CALL_SITE PROTOTYPE_INT(callback_##n) { return iterate(whatever_##n, x); }
FOR_EACH_INT_FUNCTION(CALLBACK)

/* An argument with a side effect, which happens once whatever the call leads to. */
static uint32_t evaluations;
static CALL_SITE uint32_t next(uint32_t x)
{
    evaluations++;
    return x;
}

#ifdef CONTROL_LAZY_ARGUMENT
#define EVALUATES(n) (patch_query(n) != ARCH_CODE((uintptr_t)return_void))
#else
#define EVALUATES(n) true
#endif

#define COUNTED(n, kind)                                                                                               \
    PROTOTYPE_INT(counted_##n);                                                                                        \
    CALL_SITE PROTOTYPE_INT(counted_##n)                                                                               \
    {                                                                                                                  \
        evaluations = 0;                                                                                               \
        if (EVALUATES(n))                                                                                              \
            whatever_##n(next(x));                                                                                     \
        return evaluations;                                                                                            \
    }
FOR_EACH_INT_FUNCTION(COUNTED)
FOR_EACH_VOID_FUNCTION(COUNTED)

/* Calls under a condition: a conditional branch to the function where compiler and architecture have one; arch.h says
 * if abi.S has one in asm. */
#ifndef ARCH_CONDITIONAL_CALL_SITES
#define CONDITIONAL(n, kind)                                                                                           \
    PROTOTYPE_INT(conditional_##n);                                                                                    \
    CALL_SITE PROTOTYPE_INT(conditional_##n) { return x & 1 ? whatever_##n(x) : x; }
#else
#define CONDITIONAL(n, kind) PROTOTYPE_INT(conditional_##n);
#endif
FOR_EACH_INT_FUNCTION(CONDITIONAL)

/* Two calls side by side. */
#define TWICE(n, kind)                                                                                                 \
    PROTOTYPE_INT(twice_##n);                                                                                          \
    CALL_SITE PROTOTYPE_INT(twice_##n)                                                                                 \
    {                                                                                                                  \
        uint32_t first = whatever_##n(x);                                                                              \
        return first + whatever_##n(x + 1u);                                                                           \
    }
FOR_EACH_INT_FUNCTION(TWICE)

#define IN_MODULE(n, kind) PROTOTYPE_INT(module_##n);
FOR_EACH_INT_FUNCTION(IN_MODULE)

#define ORIGINAL_SITE(n, kind) (uintptr_t)original_##n,
const uintptr_t original_sites[FUNCTION_COUNT] = {FOR_EACH_FUNCTION(ORIGINAL_SITE)};

#define ADDRESSES(n, kind)                                                                                             \
    {[SHAPE_USED] = (uintptr_t)used_##n,                                                                               \
     [SHAPE_IGNORED] = (uintptr_t)ignored_##n,                                                                         \
     [SHAPE_TAIL] = (uintptr_t)tail_##n,                                                                               \
     [SHAPE_LOOPED] = (uintptr_t)looped_##n,                                                                           \
     [SHAPE_POINTER] = (uintptr_t)pointer_##n},
const uintptr_t call_sites[FUNCTION_COUNT][SHAPE_RECURSIVE] = {
    FOR_EACH_FUNCTION(ADDRESSES)
#ifndef ARCH_NO_BARE_CALL_SITES
#define SPECIAL_BARE(n, kind) [n][SHAPE_BARE] = (uintptr_t)bare_##n,
        FOR_EACH_INT_FUNCTION(SPECIAL_BARE)
#endif
#define SPECIAL(n, kind)                                                                                               \
    [n][SHAPE_CALLBACK] = (uintptr_t)callback_##n, [n][SHAPE_CONDITIONAL] = (uintptr_t)conditional_##n,                \
    [n][SHAPE_TWICE] = (uintptr_t)twice_##n, [n][SHAPE_MODULE] = (uintptr_t)module_##n,
            FOR_EACH_INT_FUNCTION(SPECIAL)
#define SPECIAL_COUNTED(n, kind) [n][SHAPE_COUNTED] = (uintptr_t)counted_##n,
            FOR_EACH_INT_FUNCTION(SPECIAL_COUNTED) FOR_EACH_VOID_FUNCTION(SPECIAL_COUNTED)};
